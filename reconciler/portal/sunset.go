package portal

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// sunsetPage is what ends, and who still needs it.
type sunsetPage struct {
	Ending []ending `json:"services"`
	Pager  pager    `json:"pager"`
}

// ending is a service that is deprecated or retired.
type ending struct {
	*serviceIn
	Sunset    string      `json:"sunset,omitempty"`
	Over      bool        `json:"over"` // the day has passed
	Successor link        `json:"successor,omitzero"`
	Changed   recent      `json:"lastChange,omitzero"`
	NeededBy  []neighbour `json:"dependents,omitempty"`
	More      int         `json:"moreDependents,omitempty"`
	Users     []link      `json:"usedBy,omitempty"` // requests of others
	At        spot        `json:"at"`
	Graph     string      `json:"graph"`
}

// ended are the lifecycles of a service that somebody should leave.
var ended = map[string]bool{"deprecated": true, "retired": true}

func sunset(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Sunset", "/sunset"
	p := &sunsetPage{Ending: []ending{}}
	rows := keep(v.services, func(s *serviceRow) bool { return ended[s.Lifecycle] || v.Platform.Service(s.Name).Sunset != "" })
	day := func(s *serviceRow) string { return cmp.Or(v.Platform.Service(s.Name).Sunset, "9999") }
	slices.SortStableFunc(rows, func(a, b *serviceRow) int { return cmp.Compare(day(a), day(b)) })
	for _, row := range paged(&p.Pager, v, r, rows) {
		p.Ending = append(p.Ending, v.sunsetOf(row))
	}
	return p, nil
}

func (v *view) sunsetOf(row *serviceRow) ending {
	s := v.Platform.Service(row.Name)
	by := v.dependents[s.Name]
	e := ending{
		serviceIn: v.serviceRows([]*serviceRow{row})[0], Sunset: s.Sunset, Successor: v.to("service", s.Successor),
		NeededBy: v.neighbours(by[:min(mostRows, len(by))]), More: max(0, len(by)-mostRows), At: v.field(s.Position, "service", s.Name, "lifecycle"), Graph: v.graphOf("service", s.Name),
	}
	e.Over = s.Sunset != "" && s.Sunset < v.today()
	if changes := v.changesOf(1, s.Position.File); len(changes) > 0 {
		e.Changed = changes[0]
	}
	for _, own := range v.requestsOf[s.Name] {
		for _, user := range v.users[own.Name] {
			if other := v.index.request[user]; other != nil && other.Service != s.Name && len(e.Users) < mostRows {
				e.Users = append(e.Users, v.to("request", user))
			}
		}
	}
	return e
}

// today is the day of what is shown: that of the latest commit of both branches.
func (v *view) today() string {
	return max(v.Revision.Time.UTC().Format(time.DateOnly), v.Status.Time.UTC().Format(time.DateOnly))
}
