package portal

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

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
		p.Results = append(p.Results, result{v.to(e.kind, e.name), e.kind, cmp.Or(e.title, e.name), e.about})
	}
	return p, nil
}

// entry is something that the search finds.
type entry struct {
	kind, name, title string
	about             string // what a result shows below its title
	text              string // lower case: all that is looked at beside the name
}

// search makes the entries, in the order in which equals are shown.
func (x *index) search(p *reconciler.Platform) {
	add := func(kind, name, title, about string, more ...string) {
		x.entries = append(x.entries, entry{kind, name, title, about, strings.ToLower(title + "\n" + about + "\n" + strings.Join(more, "\n"))})
	}
	for _, row := range x.services {
		s := p.Services[row.Name]
		d := described(s.JSON)
		add("service", s.Name, s.Title, d.Description, append(append([]string{s.Owner}, s.Aliases...), d.Tags...)...)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Teams)) {
		t := p.Teams[name]
		add("team", name, t.Title, described(t.JSON).Description, append(slices.Clone(t.Members), t.OnCall, t.Channel)...)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Blueprints)) {
		add("blueprint", name, p.Blueprints[name].Title, p.Blueprints[name].Description)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Environments)) {
		add("environment", name, described(p.Environments[name].JSON).Title, p.Environments[name].Stage)
	}
	for _, r := range x.requests {
		add("request", r.Name, r.Name, r.Blueprint+" for "+r.Service+" in "+r.Environment, described(p.Requests[r.Name].JSON).Description)
	}
}

// find returns the entries that hold all words, the best first.
func (x *index) find(query string) []entry {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil
	}
	type hit struct {
		rank int
		entry
	}
	var hits []hit
	for _, e := range x.entries {
		if rank := e.rank(words); rank > 0 {
			hits = append(hits, hit{rank, e})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.rank, a.rank) })
	found := make([]entry, len(hits))
	for i, h := range hits {
		found[i] = h.entry
	}
	return found
}

// rank tells how well an entry fits; 0 where a word is not in it. A name counts
// more than a title, and that more than what is said further.
func (e entry) rank(words []string) int {
	rank := 0
	title := strings.ToLower(e.title)
	for _, word := range words {
		switch {
		case e.name == word:
			rank += 100
		case strings.HasPrefix(e.name, word):
			rank += 50
		case strings.HasPrefix(title, word):
			rank += 40
		case strings.Contains(e.name, word):
			rank += 30
		case strings.Contains(title, word):
			rank += 20
		case strings.Contains(e.text, word):
			rank += 5
		default:
			return 0
		}
	}
	return rank
}
