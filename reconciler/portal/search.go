package portal

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	builtin "github.com/pave-dev/pave/policies"
	"github.com/pave-dev/pave/reconciler"
)

// searchPage is what a query finds.
type searchPage struct {
	Query   string   `json:"query"`
	Results []result `json:"results"`
	Pager   pager    `json:"pager"`
}

// result is one thing that was found.
type result struct {
	link
	Kind  string `json:"kind"`
	Title string `json:"title"`
	About string `json:"about,omitempty"`
}

func search(v *view, r *http.Request) (any, error) {
	query := words(r.URL.Query().Get("q"))
	v.title = "Search"
	found := v.find(query)
	p := &searchPage{Query: query}
	for _, e := range paged(&p.Pager, v, r, found) {
		p.Results = append(p.Results, result{v.leads(e), e.kind, e.title, v.about(e)})
	}
	return p, nil
}

// entry is something that the search finds. There are many: what a result shows
// beside is looked up when it is found.
type entry struct {
	kind, name, title string
	of                string // the service or request that it belongs to; of a policy the address of its page
	text              string // lower case: all that is looked at beside the name, the title first
	titled            int    // how long that is
}

// leads leads to the page of what was found.
func (v *view) leads(e *entry) link {
	to := v.to(e.kind, e.name)
	switch e.kind {
	case "API":
		to.Href = v.to("service", e.of).Href
	case "document":
		to.Href = v.docsOf(e.of, "", e.name)
	case "resource":
		to.Href = v.to("request", e.of).Href
	case "policy":
		to.Href = v.base + e.of
	}
	return to
}

// about is what a result shows below its title.
func (v *view) about(e *entry) string {
	p := v.Platform
	switch e.kind {
	case "service":
		return described(p.Service(e.name).JSON).Description
	case "team":
		return described(p.Teams[e.name].JSON).Description
	case "blueprint":
		return p.Blueprints[e.name].Description
	case "environment":
		return p.Environments[e.name].Stage
	case "request":
		row := v.index.request[e.name]
		return row.Blueprint + " for " + row.Service + " in " + row.Environment
	case "API":
		d, _ := readService(p.Service(e.of)) // it was evaluated
		for _, a := range d.APIs {
			if a.Name == e.name {
				return a.Type + " of " + e.of
			}
		}
	case "document":
		return "documentation of " + e.of
	case "policy":
		if e.of == "/policies" {
			return "comes with Pave"
		}
		return e.name
	}
	return "of " + e.of
}

// mostDocuments is how many files of documentation, and of APIs, the search knows.
const mostDocuments = 5_000

// search makes the entries, in the order in which equals are shown.
func (x *index) search(s *Snapshot) {
	p := s.Platform
	x.entries = slices.Grow(x.entries, len(x.services)+2*len(x.requests))
	for _, row := range x.services {
		x.addText("service", row.Name, row.Title, "", row.text)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Teams)) {
		t := p.Teams[name]
		x.add("team", name, t.Title, "", append(slices.Clone(t.Members), t.OnCall, t.Channel, described(t.JSON).Description)...)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Blueprints)) {
		x.add("blueprint", name, p.Blueprints[name].Title, "", p.Blueprints[name].Description)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Environments)) {
		x.add("environment", name, described(p.Environments[name].JSON).Title, "", p.Environments[name].Stage)
	}
	for _, r := range x.requests {
		x.addText("request", r.Name, r.Name, "", r.text)
	}
	for _, row := range x.services {
		x.searchService(s, row)
	}
	x.searchPolicies(s.Tree)
	for _, r := range x.requests {
		if unit := s.Record.Units[r.Name]; unit != nil {
			for _, address := range unit.Resources {
				x.add("resource", address, address, r.Name, "of "+r.Name, unit.IDs.Of(address))
			}
		}
	}
}

// add adds an entry, of which all that is said is looked at.
func (x *index) add(kind, name, title, of string, more ...string) {
	title = cmp.Or(title, name)
	x.addText(kind, name, title, of, searched(title, more...))
}

func (x *index) addText(kind, name, title, of, text string) {
	title = cmp.Or(title, name)
	x.entries = append(x.entries, entry{kind, name, title, of, text, len(strings.ToLower(title))})
}

// searchService adds the APIs and the documentation of a service.
func (x *index) searchService(s *Snapshot, row *serviceRow) {
	if x.documents >= mostDocuments {
		return
	}
	d, _ := readService(s.Platform.Service(row.Name)) // it was evaluated
	for _, a := range d.APIs {
		var said description
		if f, inside := s.Tree.Find(path.Clean(a.Definition)); inside && a.Type == "openapi" {
			said = s.library.api(s.Tree, f)
			x.documents++
		}
		more := []string{a.Type + " of " + row.Name, said.About}
		for _, o := range said.Operations {
			more = append(more, o.Method+" "+o.Path, o.Summary)
		}
		x.add("API", a.Name, said.Title, row.Name, more...)
	}
	if d.Docs == "" {
		return
	}
	for _, f := range s.Tree.Under(d.Docs) {
		if !strings.HasSuffix(f.Path, ".md") || x.documents >= mostDocuments {
			continue
		}
		x.documents++
		file := strings.TrimPrefix(f.Path, d.Docs+"/")
		headings := s.library.headings(s.Tree, f)
		title := ""
		if len(headings) > 0 {
			title = headings[0]
		}
		x.add("document", file, title, row.Name, append([]string{"documentation of " + row.Name}, headings...)...)
	}
}

// searchPolicies adds the rules by the titles in their metadata.
func (x *index) searchPolicies(tree *reconciler.Tree) {
	for name, source := range policiesOf() {
		for _, t := range titlesOf(source) {
			x.add("policy", name, t.title, "/policies")
		}
	}
	for _, f := range tree.Under("policies") {
		if !strings.HasSuffix(f.Path, ".rego") || strings.HasSuffix(f.Path, "_test.rego") {
			continue
		}
		content, err := readSmall(tree, f, largestAPI)
		if err != nil {
			continue
		}
		for _, t := range titlesOf(string(content)) {
			x.add("policy", f.Path, t.title, fmt.Sprintf("/source/%s#L%d", escapePath(f.Path), t.line))
		}
	}
}

// policiesOf are the built-in rules, in the order of their names.
func policiesOf() iter.Seq2[string, string] {
	files := builtin.Files()
	return func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if !strings.HasSuffix(name, "_test.rego") && !yield(name, files[name]) {
				return
			}
		}
	}
}

// titled is a title in the metadata of Rego, and its line.
type titled struct {
	title string
	line  int
}

func titlesOf(source string) []titled {
	var all []titled
	for i, line := range strings.Split(source, "\n") {
		if title, is := strings.CutPrefix(line, "# title: "); is {
			all = append(all, titled{cutTo(strings.TrimSpace(title), mostValue), i + 1})
		}
	}
	return all
}

// find returns the entries that hold all words, the best first.
func (x *index) find(query string) []*entry {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil
	}
	type hit struct{ rank, at int }
	var hits []hit
	for i := range x.entries {
		if rank := x.entries[i].rank(words); rank > 0 {
			hits = append(hits, hit{rank, i})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.at, b.at)) })
	found := make([]*entry, len(hits))
	for i, h := range hits {
		found[i] = &x.entries[h.at]
	}
	return found
}

// rank tells how well an entry fits; 0 where a word is not in it. A name counts
// more than a title, and that more than what is said further.
func (e *entry) rank(words []string) int {
	rank := 0
	for _, word := range words {
		switch {
		case e.name == word:
			rank += 100
		case strings.HasPrefix(e.name, word):
			rank += 50
		case strings.HasPrefix(e.text[:e.titled], word):
			rank += 40
		case strings.Contains(e.name, word):
			rank += 30
		case strings.Contains(e.text[:e.titled], word):
			rank += 20
		case strings.Contains(e.text, word):
			rank += 5
		default:
			return 0
		}
	}
	return rank
}
