package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// auditPage is who provisioned what, and when.
type auditPage struct {
	filtered
	Service string     `json:"service,omitempty"`
	From    string     `json:"from,omitempty"` // a day, as is To
	To      string     `json:"to,omitempty"`
	Events  []auditRow `json:"events"`
	CSV     string     `json:"-"`
	JSON    string     `json:"-"`
	Cut     bool       `json:"cut"` // there are more than an export or the index holds
	Since   string     `json:"since,omitempty"`
}

// auditRow is an event with where its parts lead.
type auditRow struct {
	*event
	When     string `json:"-"`
	Of       link   `json:"-"`
	Link     link   `json:"-"`
	Revision link   `json:"revision"`
	Status   link   `json:"record"`
}

// event is what a run did to a request, as a status commit says.
type event struct {
	*occasion
	Request   string `json:"request"`
	Service   string `json:"service,omitempty"`
	Did       string `json:"did"`
	Add       int    `json:"added"`
	Change    int    `json:"changed"`
	Destroy   int    `json:"destroyed"`
	Blueprint string `json:"blueprint,omitempty"`
	Plan      string `json:"plan,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// occasion is what a status commit says of all that it tells of.
type occasion struct {
	Time     time.Time `json:"time"`
	By       string    `json:"by,omitempty"`       // who made the change
	Pulls    string    `json:"pulls,omitempty"`    // the pull requests that brought it
	Approved string    `json:"approved,omitempty"` // who approved

	commit, revision string
}

// text is what a text filter looks at.
func (e *event) text() string {
	return searched(e.Request, e.Service, e.Blueprint, e.By, e.Pulls, e.Approved)
}

// done are the first words of what a status commit says of a unit that a run
// changed, or was to.
var done = map[string]bool{"applied": true, "healed": true, "destroyed": true, "retained": true, "renamed": true, "released": true, "failed": true}

// The events that are known, and those that one export holds.
const (
	mostEvents = 50_000
	mostExport = 10_000
)

// audit collects what runs did, the latest first.
func (x *index) audit(s *Snapshot) {
	author := make(map[string]string, len(s.Changes))
	for _, c := range s.Changes {
		author[c.ID] = c.Author
	}
	for _, c := range s.Log {
		if c.cut {
			x.cut = true
			return
		}
		said := c.said()
		e := &occasion{Time: c.Time, commit: c.ID, revision: said.revision, By: cmp.Or(said.by, author[said.revision]), Pulls: said.pulls, Approved: said.approved}
		for _, unit := range said.units {
			if x.cut = len(x.events) == mostEvents; x.cut {
				return
			}
			x.event(e, unit)
		}
	}
}

// event adds what a status commit says of a unit: its name, a word, the counts of
// a plan and what else there is as key=value.
func (x *index) event(on *occasion, said string) {
	words := strings.Fields(said)
	if len(words) < 2 || !done[words[1]] {
		return
	}
	e := &event{occasion: on, Request: words[0], Did: words[1]}
	if row := x.request[e.Request]; row != nil {
		e.Service, e.Blueprint = row.Service, row.Blueprint
	}
	for _, word := range words[2:] {
		key, value, pair := strings.Cut(word, "=")
		number, err := strconv.Atoi(strings.TrimLeft(word, "+~-"))
		switch {
		case key == "blueprint" && pair:
			e.Blueprint = value
		case key == "plan" && pair:
			e.Plan = value
		case key == "reason" && pair:
			e.Reason = value
		case pair || err != nil:
		case word[0] == '+':
			e.Add = number
		case word[0] == '~':
			e.Change = number
		case word[0] == '-':
			e.Destroy = number
		}
	}
	x.events = append(x.events, e)
}

func audit(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Audit", "/audit"
	query := r.URL.Query()
	p := &auditPage{Service: query.Get("service"), From: dayOf(query.Get("from")), To: dayOf(query.Get("to"))}
	all := v.events
	if p.Service != "" || p.From != "" || p.To != "" {
		all = keep(all, func(e *event) bool {
			on := e.Time.UTC().Format(time.DateOnly)
			return (p.Service == "" || e.Service == p.Service) && p.From <= on && (p.To == "" || on <= p.To)
		})
	}
	list, left := narrow(v, r, all, []field[*event]{
		{"person", "Person", func(e *event) string { return e.By }},
		{"did", "What", func(e *event) string { return e.Did }},
		{"blueprint", "Blueprint", func(e *event) string { return e.Blueprint }},
	}, (*event).text)
	p.filtered = list
	p.Active = p.Active || len(all) < len(v.events)
	p.Cut = v.index.cut
	if n := len(v.events); n > 0 {
		p.Since = moment(v.events[n-1].Time)
	}
	shown := paged(&p.Pager, v, r, left)
	if query.Get("rows") == "all" {
		shown = left[:min(mostExport, len(left))]
		p.Cut = p.Cut || len(left) > mostExport
		p.Pager = pager{Total: len(left), From: min(1, len(shown)), To: len(shown)}
	}
	p.Events = []auditRow{}
	for _, e := range shown {
		p.Events = append(p.Events, v.auditRow(e))
	}
	query.Del("page")
	query.Set("rows", "all")
	export := func(format string) string {
		query.Set("format", format)
		return v.base + r.URL.Path + "?" + query.Encode()
	}
	p.CSV, p.JSON = export("csv"), export("json")
	return p, nil
}

// dayOf returns a day, or nothing where the text is none.
func dayOf(text string) string {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return ""
	}
	return text
}

func (v *view) auditRow(e *event) auditRow {
	row := auditRow{event: e, When: moment(e.Time), Status: link{short(e.commit), "/at/" + url.PathEscape(short(e.commit)) + "/"}}
	if v.index.request[e.Request] != nil {
		row.Link = v.to("request", e.Request)
	}
	if v.index.service[e.Service] != nil {
		row.Of = v.to("service", e.Service)
	}
	if e.revision != "" {
		row.Revision = link{short(e.revision), "/at/" + url.PathEscape(short(e.revision)) + "/"}
	}
	return row
}

// table implements [tabular].
func (p *auditPage) table() [][]string {
	rows := [][]string{{"time", "by", "request", "service", "did", "added", "changed", "destroyed", "blueprint", "plan", "reason", "pull requests", "approved by", "revision", "record"}}
	for _, e := range p.Events {
		rows = append(rows, []string{e.Time.UTC().Format(time.RFC3339), e.By, e.Request, e.Service, e.Did, strconv.Itoa(e.Add), strconv.Itoa(e.Change), strconv.Itoa(e.Destroy),
			e.Blueprint, e.Plan, e.Reason, e.Pulls, e.Approved, e.revision, e.commit})
	}
	return rows
}
