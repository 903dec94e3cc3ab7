package portal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// fact is one thing that a document says, with the place where it says so.
type fact struct {
	Label string `json:"label"`
	Text  string `json:"text,omitempty"`
	Links []link `json:"links,omitempty"`
	At    spot   `json:"at"`
}

// servicePage is a service.
type servicePage struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	Lifecycle   string       `json:"lifecycle"`
	Tier        int          `json:"tier,omitempty"`
	Type        string       `json:"type"`
	At          spot         `json:"at"`
	Graph       string       `json:"graph"`
	Owner       link         `json:"owner"`
	Facts       []fact       `json:"facts"`
	Tags        []link       `json:"tags,omitempty"`
	SLOs        []slo        `json:"slos,omitempty"`
	APIs        []api        `json:"apis,omitempty"`
	Links       []external   `json:"links,omitempty"`
	Requests    []*requestIn `json:"requests"`
	Cost        string       `json:"cost"`
	Strip       []stop       `json:"environments,omitempty"`
	Changes     []recent     `json:"changes,omitempty"`
	Audit       string       `json:"-"`
	Conditions  []condition  `json:"conditions,omitempty"`
	Needs       []neighbour  `json:"dependsOn,omitempty"`
	NeededBy    []neighbour  `json:"dependents,omitempty"`
	Unfinished  bool         `json:"unfinished"`
	Violations  []fault      `json:"violations,omitempty"`
}

// slo is what a service promises.
type slo struct {
	Name        string  `json:"name"`
	Objective   float64 `json:"objective"`
	Window      string  `json:"window"`
	Description string  `json:"description,omitempty"`
}

// api is an interface that a service offers.
type api struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
	File       spot   `json:"file"` // where it is a file of the repository
	URL        string `json:"-"`    // where it is an address
	// Says is what the document says, where it is OpenAPI in the repository.
	Says *description `json:"says,omitempty"`
}

// external leads out of the portal.
type external struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// neighbour is a service at the other end of a dependency.
type neighbour struct {
	link
	Title     string `json:"title"`
	Tier      int    `json:"tier,omitempty"`
	Lifecycle string `json:"lifecycle"`
}

// serviceDocument is what only people read of a service.
type serviceDocument struct {
	Description string     `json:"description"`
	System      string     `json:"system"`
	Repository  string     `json:"repository"`
	Language    string     `json:"language"`
	Links       []external `json:"links"`
	Docs        string     `json:"docs"`
	APIs        []api      `json:"apis"`
	SLOs        []slo      `json:"slos"`
	Tags        []string   `json:"tags"`
}

func readService(s *reconciler.Service) (d serviceDocument, err error) {
	if len(s.JSON) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(s.JSON, &d); err != nil {
		return d, fmt.Errorf("read service %s: %w", s.Name, err)
	}
	return d, nil
}

func service(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	s, found := v.Platform.Services[name]
	if !found {
		if now, renamed := v.aliases[name]; renamed {
			return nil, moved(v.to("service", now).Href)
		}
		return nil, v.missing("service", name, slices.Collect(maps.Keys(v.Platform.Services)))
	}
	v.title, v.here = s.Title, "/services"
	d, err := readService(s)
	if err != nil {
		return nil, err
	}
	p := &servicePage{
		Name: s.Name, Title: s.Title, Description: d.Description, Lifecycle: s.Lifecycle, Tier: s.Tier, Type: s.Type,
		At: v.at(s.Position), Graph: v.graphOf("service", name), Owner: v.to("team", s.Owner), SLOs: d.SLOs, Links: d.Links, Requests: v.rows(v.requestsOf[name]),
		Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "service" && x.Name == name }),
		Needs:      v.neighbours(s.DependsOn), NeededBy: v.neighbours(v.dependents[name]),
	}
	for i, l := range p.Links {
		p.Links[i].URL = web(l.URL)
	}
	cost := 0.0
	for _, row := range v.requestsOf[name] {
		cost += row.Cost
	}
	p.Cost = v.money(cost)
	for _, tag := range d.Tags {
		p.Tags = append(p.Tags, link{tag, v.among("search", "q", tag).Href})
	}
	for _, a := range d.APIs {
		if f, inside := v.Tree.Find(path.Clean(a.Definition)); inside {
			a.File = v.at(reconciler.Position{File: f.Path})
			if a.Type == "openapi" {
				says := v.library.api(v.Tree, f)
				a.Says = &says
			}
		} else {
			a.URL = web(a.Definition)
		}
		p.APIs = append(p.APIs, a)
	}
	p.Facts, p.Unfinished = v.serviceFacts(s, d), v.unfinished(v.requestsOf[name]...)
	p.Strip, p.Changes = v.strip(name), v.changesOf(glance, v.filesOf(s)...)
	p.Audit = v.base + "/audit?" + url.Values{"service": {name}}.Encode()
	if status := v.Record.Services[name]; status != nil {
		p.Conditions = conditionsOf(status.Conditions)
	}
	return p, nil
}

// stop is an environment on the way from the one that may break to the one that
// must not, as far as a service is there.
type stop struct {
	link
	Stage    string `json:"stage"`
	Requests int    `json:"requests"`
	Ready    int    `json:"ready"`
	NotReady int    `json:"notReady"`
	Drifted  int    `json:"drifted"`
	Cost     string `json:"cost"`
}

// strip shows where a service is.
func (v *view) strip(name string) []stop {
	in := map[string][]*requestRow{}
	for _, row := range v.requestsOf[name] {
		in[row.Environment] = append(in[row.Environment], row)
	}
	stages := v.Platform.Settings.Rollout.Stages
	at := func(name string) int { return slices.Index(stages, v.Platform.Environments[name].Stage) }
	var stops []stop
	for _, e := range slices.SortedFunc(maps.Keys(in), func(a, b string) int { return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a, b)) }) {
		s := stop{link: v.to("environment", e), Stage: v.Platform.Environments[e].Stage, Requests: len(in[e]), Cost: v.money(sum(in[e]))}
		for _, row := range in[e] {
			switch row.State.Tone {
			case "good":
				s.Ready++
			case "bad", "wait":
				s.NotReady++
			}
			if row.Drifted {
				s.Drifted++
			}
		}
		stops = append(stops, s)
	}
	return stops
}

// filesOf returns the files that say what a service is, what it asked for and how
// it is described.
func (v *view) filesOf(s *reconciler.Service) []string {
	files := append([]string{s.Position.File}, s.Sources...)
	for _, row := range v.requestsOf[s.Name] {
		q := v.Platform.Request(row.Name)
		files = append(append(files, q.Position.File), q.Sources...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func (v *view) serviceFacts(s *reconciler.Service, d serviceDocument) []fact {
	t := v.Platform.Teams[s.Owner]
	var facts []fact
	add := func(label, text, field string, links ...link) {
		if text != "" || len(links) > 0 {
			facts = append(facts, fact{label, text, links, v.field(s.Position, "service", s.Name, field)})
		}
	}
	add("Owner", "", "owner", link{cmp.Or(t.Title, s.Owner), v.to("team", s.Owner).Href})
	if s.OnCall != "" {
		add("On call", s.OnCall, "onCall")
	} else if t.OnCall != "" {
		facts = append(facts, fact{"On call", t.OnCall, nil, v.field(t.Position, "team", t.Name, "onCall")})
	}
	if t.Channel != "" {
		facts = append(facts, fact{"Channel", t.Channel, nil, v.field(t.Position, "team", t.Name, "channel")})
	}
	if s.Tier > 0 {
		add("Tier", strconv.Itoa(s.Tier), "tier")
	}
	add("Lifecycle", s.Lifecycle, "lifecycle")
	add("Type", s.Type, "type")
	add("System", d.System, "system")
	add("Language", d.Language, "language")
	if d.Repository != "" {
		add("Repository", "", "repository", link{d.Repository, web(d.Repository)})
	}
	if f, found := v.document(d.Docs, ""); found {
		add("Documentation", "", "docs", link{d.Docs, v.docsOf(s.Name, d.Docs, f.Path)})
	} else if d.Docs != "" {
		add("Documentation", "", "docs", v.at(reconciler.Position{File: d.Docs}).link)
	}
	add("Ends", s.Sunset, "sunset")
	if s.Successor != "" {
		add("Then", "", "successor", v.to("service", s.Successor))
	}
	add("Earlier names", strings.Join(s.Aliases, ", "), "aliases")
	return facts
}

func (v *view) neighbours(names []string) []neighbour {
	var all []neighbour
	for _, name := range names {
		s := v.Platform.Service(name)
		all = append(all, neighbour{v.to("service", name), s.Title, s.Tier, s.Lifecycle})
	}
	return all
}
