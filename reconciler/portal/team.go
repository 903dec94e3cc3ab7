package portal

import (
	"maps"
	"net/http"
	"slices"
)

// teamsPage lists the teams.
type teamsPage struct {
	Teams []teamRow `json:"teams"`
}

type teamRow struct {
	link
	Title    string `json:"title"`
	About    string `json:"about,omitempty"`
	Services int    `json:"services"`
	Requests int    `json:"requests"`
	Cost     string `json:"cost"`
}

func teams(v *view, _ *http.Request) (any, error) {
	v.title, v.here = "Teams", "/teams"
	p := &teamsPage{}
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Teams)) {
		t := v.Platform.Teams[name]
		p.Teams = append(p.Teams, teamRow{
			v.to("team", name), t.Title, described(t.JSON).Description, len(v.servicesOf[name]), len(v.requestsFor[name]), v.money(sum(v.requestsFor[name])),
		})
	}
	return p, nil
}

func sum(rows []*requestRow) float64 {
	cost := 0.0
	for _, r := range rows {
		cost += r.Cost
	}
	return cost
}

// teamPage is a team.
type teamPage struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	At          spot         `json:"at"`
	Facts       []fact       `json:"facts"`
	Members     []string     `json:"members"`
	Lead        string       `json:"lead,omitempty"`
	Services    []*serviceIn `json:"services"`
	MoreOf      count        `json:"allServices"`
	Requests    []*requestIn `json:"requests"`
	MoreFor     count        `json:"allRequests"`
}

// mostRows bounds the lists on pages that are about something else.
const mostRows = 50

func team(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	t, found := v.Platform.Teams[name]
	if !found {
		return nil, v.missing("team", name, slices.Collect(maps.Keys(v.Platform.Teams)))
	}
	v.title, v.here = t.Title, "/teams"
	of, asked := v.servicesOf[name], v.requestsFor[name]
	p := &teamPage{
		Name: name, Title: t.Title, Description: described(t.JSON).Description, At: v.at(t.Position), Members: t.Members, Lead: t.Lead,
		Services: v.serviceRows(of[:min(mostRows, len(of))]), MoreOf: count{link: link{"all services", v.among("services", "owner", name).Href}, Number: len(of)},
		Requests: v.rows(asked[:min(mostRows, len(asked))]), MoreFor: count{link: link{"all requests", v.among("requests", "owner", name).Href}, Number: len(asked)},
	}
	add := func(label, text, field string) {
		if text != "" {
			p.Facts = append(p.Facts, fact{label, text, nil, v.field(t.Position, "team", name, field)})
		}
	}
	add("On call", t.OnCall, "onCall")
	add("Channel", t.Channel, "channel")
	add("Forge team", t.Groups.Forge, "groups")
	add("Lead", t.Lead, "lead")
	cost := v.money(sum(asked))
	if t.Budget != nil {
		cost += " of " + v.money(*t.Budget)
	}
	add("Cost a month", cost, "budget")
	return p, nil
}
