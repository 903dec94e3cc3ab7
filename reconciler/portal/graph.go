package portal

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/pave-dev/pave/reconciler"
)

// graphPage is what a service or a request is made of and what it needs, and what
// breaks if it goes.
type graphPage struct {
	Subject *vertex    `json:"subject,omitempty"`
	Drawing *drawing   `json:"-"`
	Parts   []part     `json:"parts,omitempty"`
	More    int        `json:"moreParts,omitempty"`
	Needs   []vertex   `json:"needs,omitempty"`
	Impact  []impact   `json:"impact,omitempty"`
	Tiers   []count    `json:"tiers,omitempty"`
	Pager   pager      `json:"pager"`
	Popular []popular  `json:"mostNeeded,omitempty"`
	Choice  graphField `json:"-"`
}

// graphField is what the form for another subject shows.
type graphField struct{ Action, Service, Request string }

// vertex is a service, a request or a resource.
type vertex struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Href  string `json:"href,omitempty"`
	About string `json:"about,omitempty"` // a second line
	Tier  int    `json:"tier,omitempty"`
	Tone  string `json:"tone,omitempty"`
}

// part is a resource of a request.
type part struct {
	Request link   `json:"request"`
	Address string `json:"address"`
	ID      string `json:"id,omitempty"` // what the provider calls it
}

// impact is something that does not work if the subject goes.
type impact struct {
	vertex
	Distance int    `json:"distance"`
	How      string `json:"how"`
	Via      vertex `json:"via"`
}

// popular is a service that many need.
type popular struct {
	link
	Tier   int `json:"tier,omitempty"`
	Number int `json:"number"`
}

// thing is a service or a request by its name.
type thing struct{ kind, name string }

// reached is how the impact comes to a thing.
type reached struct {
	thing
	distance int
	how      string
	via      thing
	tier     int
}

func graph(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Graph", "/graph"
	query := r.URL.Query()
	p := &graphPage{Choice: graphField{v.base + "/graph", query.Get("service"), query.Get("request")}}
	subject := thing{"service", p.Choice.Service}
	switch {
	case p.Choice.Service == "" && p.Choice.Request == "":
		p.Popular = v.popular()
		return p, nil
	case p.Choice.Service == "":
		subject = thing{"request", p.Choice.Request}
		if v.index.request[subject.name] == nil {
			return nil, v.missing("request", subject.name, slices.Collect(maps.Keys(v.index.request)))
		}
	case v.index.service[subject.name] == nil:
		return nil, v.missing("service", subject.name, slices.Collect(maps.Keys(v.index.service)))
	}
	v.title = "Graph of " + subject.name
	at := v.vertex(subject)
	p.Subject = &at
	own := v.own(subject)
	all := v.impact(subject, own)
	needs := v.needs(subject, own)
	p.parts(v, own)
	for _, n := range needs[:min(mostRows, len(needs))] {
		p.Needs = append(p.Needs, v.vertex(n.to))
	}
	p.tiers(v, all)
	for _, i := range paged(&p.Pager, v, r, all) {
		p.Impact = append(p.Impact, impact{v.vertex(i.thing), i.distance, i.how, v.vertex(i.via)})
	}
	p.Drawing = v.draw(subject, own, needs, all)
	return p, nil
}

// own returns the requests that go with a subject: itself, or those of a service.
func (v *view) own(subject thing) []string {
	if subject.kind == "request" {
		return []string{subject.name}
	}
	var names []string
	for _, row := range v.requestsOf[subject.name] {
		names = append(names, row.Name)
	}
	return names
}

// impact returns what breaks, transitively, if a subject goes with its requests:
// the nearest first, and of those the most important.
func (v *view) impact(subject thing, own []string) []reached {
	queue := []reached{{thing: subject}}
	seen := map[thing]bool{subject: true}
	for _, name := range own {
		if t := (thing{"request", name}); !seen[t] {
			seen[t] = true
			queue = append(queue, reached{thing: t})
		}
	}
	gone := len(queue)
	for i := 0; i < len(queue); i++ {
		from := queue[i]
		reach := func(kind, name, how string) {
			t := thing{kind, name}
			if name != "" && !seen[t] {
				seen[t] = true
				queue = append(queue, reached{thing: t, distance: from.distance + 1, how: how, via: from.thing})
			}
		}
		if from.kind == "request" {
			for _, user := range v.users[from.name] {
				reach("request", user, "uses its outputs")
			}
			if row := v.index.request[from.name]; row != nil && v.index.service[row.Service] != nil {
				reach("service", row.Service, "runs on it")
			}
			continue
		}
		for _, dependent := range v.dependents[from.name] {
			reach("service", dependent, "depends on it")
		}
	}
	broken := queue[gone:]
	for i := range broken {
		broken[i].tier = v.tierOf(broken[i].thing)
	}
	slices.SortStableFunc(broken, func(a, b reached) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.tier, b.tier), cmp.Compare(a.name, b.name))
	})
	return broken
}

// tierOf is the tier of a service, or of that of a request; last where none is set.
func (v *view) tierOf(t thing) int {
	name := t.name
	if t.kind == "request" {
		name = ""
		if row := v.index.request[t.name]; row != nil {
			name = row.Service
		}
	}
	if s := v.index.service[name]; s != nil && s.Tier > 0 {
		return s.Tier
	}
	return 9
}

// need is something that one of a subject's own needs.
type need struct{ by, to thing }

// needs returns what a subject needs directly.
func (v *view) needs(subject thing, own []string) []need {
	var all []need
	seen := map[thing]bool{}
	add := func(by, to thing) {
		if !seen[to] && !(to.kind == "request" && slices.Contains(own, to.name)) {
			seen[to] = true
			all = append(all, need{by, to})
		}
	}
	if subject.kind == "service" {
		for _, name := range v.Platform.Service(subject.name).DependsOn {
			add(subject, thing{"service", name})
		}
	}
	for _, name := range own {
		for _, value := range v.Platform.Request(name).Inputs.All() {
			if ref, is := reconciler.Reference(value); is {
				add(thing{"request", name}, thing{"request", ref.Request})
			}
		}
	}
	return all
}

// parts lists the resources of a subject's requests.
func (p *graphPage) parts(v *view, own []string) {
	for _, name := range own {
		unit := v.Record.Units[name]
		if unit == nil {
			continue
		}
		for _, address := range unit.Resources {
			if len(p.Parts) == mostChanged {
				p.More++
				continue
			}
			p.Parts = append(p.Parts, part{v.to("request", name), address, unit.IDs.Of(address)})
		}
	}
}

// tiers counts the services that break, by tier.
func (p *graphPage) tiers(v *view, all []reached) {
	numbers := map[int]int{}
	for _, i := range all {
		if i.kind == "service" {
			numbers[i.tier]++
		}
	}
	for _, tier := range slices.Sorted(maps.Keys(numbers)) {
		of := " without a tier"
		if tier < 9 {
			of = " of tier " + strconv.Itoa(tier)
		}
		p.Tiers = append(p.Tiers, counted(numbers[tier], "service", of, ""))
	}
}

func (v *view) vertex(t thing) vertex {
	n := vertex{Kind: t.kind, Name: t.name}
	switch {
	case t.name == "":
		return vertex{}
	case t.kind == "service":
		n.Href = v.to("service", t.name).Href
		if s := v.index.service[t.name]; s != nil {
			n.About, n.Tier = cmp.Or(s.Title, s.Name), s.Tier
		}
	case v.index.request[t.name] != nil:
		row := v.index.request[t.name]
		n.Href, n.About, n.Tone = v.to("request", t.name).Href, row.Blueprint+" · "+row.Environment, row.State.Tone
	}
	return n
}

// popular returns the services that most others need directly.
func (v *view) popular() []popular {
	var rows []*serviceRow
	for name := range v.dependents {
		if s := v.index.service[name]; s != nil {
			rows = append(rows, s)
		}
	}
	slices.SortFunc(rows, func(a, b *serviceRow) int {
		return cmp.Or(cmp.Compare(len(v.dependents[b.Name]), len(v.dependents[a.Name])), cmp.Compare(a.Name, b.Name))
	})
	var most []popular
	for _, s := range rows[:min(2*glance, len(rows))] {
		most = append(most, popular{link{cmp.Or(s.Title, s.Name), v.graphOf("service", s.Name)}, s.Tier, len(v.dependents[s.Name])})
	}
	return most
}

// graphOf leads to the graph of a service or a request.
func (v *view) graphOf(kind, name string) string {
	return v.base + "/graph?" + url.Values{kind: {name}}.Encode()
}
