package portal

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// environmentsPage lists the environments.
type environmentsPage struct {
	Environments []environmentRow `json:"environments"`
}

type environmentRow struct {
	link
	Title    string `json:"title,omitempty"`
	Stage    string `json:"stage"`
	Requests int    `json:"requests"`
	NotReady int    `json:"notReady"`
	Cost     string `json:"cost"`
}

func environments(v *view, _ *http.Request) (any, error) {
	v.title, v.here = "Environments", "/environments"
	p := &environmentsPage{}
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Environments)) {
		e, in := v.Platform.Environments[name], v.requestsIn[name]
		row := environmentRow{v.to("environment", name), described(e.JSON).Title, e.Stage, len(in), 0, v.money(sum(in))}
		for _, r := range in {
			if r.State.Tone == "bad" || r.State.Tone == "wait" {
				row.NotReady++
			}
		}
		p.Environments = append(p.Environments, row)
	}
	return p, nil
}

// environmentPage is an environment.
type environmentPage struct {
	Name     string       `json:"name"`
	Title    string       `json:"title,omitempty"`
	Stage    string       `json:"stage"`
	At       spot         `json:"at"`
	Facts    []fact       `json:"facts"`
	Freezes  []freeze     `json:"freezes,omitempty"`
	Requests []*requestIn `json:"requests"`
	More     count        `json:"allRequests"`
}

type freeze struct {
	From   string `json:"from"`
	For    string `json:"for"`
	Zone   string `json:"timeZone"`
	Reason string `json:"reason"`
}

func environment(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	e, found := v.Platform.Environments[name]
	if !found {
		return nil, v.missing("environment", name, slices.Collect(maps.Keys(v.Platform.Environments)))
	}
	v.title, v.here = name, "/environments"
	var d struct {
		Title  string   `json:"title"`
		Freeze []freeze `json:"freeze"`
	}
	if len(e.JSON) > 0 {
		if err := json.Unmarshal(e.JSON, &d); err != nil {
			return nil, fmt.Errorf("read environment %s: %w", name, err)
		}
	}
	in := v.requestsIn[name]
	p := &environmentPage{
		Name: name, Title: d.Title, Stage: e.Stage, At: v.at(e.Position), Freezes: d.Freeze,
		Requests: v.rows(in[:min(mostRows, len(in))]), More: count{link: link{"all requests", v.among("requests", "environment", name).Href}, Number: len(in)},
	}
	add := func(label, text, field string) {
		if text != "" {
			p.Facts = append(p.Facts, fact{label, text, nil, v.field(e.Position, "environment", name, field)})
		}
	}
	add("Stage", e.Stage, "stage")
	add("State is kept in", e.Backend.Type, "backend")
	add("Providers", strings.Join(slices.Sorted(maps.Keys(e.Providers)), ", "), "providers")
	add("Drift", map[string]string{reconciler.Heal: "put right", "report": "reported"}[e.Drift.Do], "drift")
	add("Cost a month", v.money(sum(in)), "")
	return p, nil
}
