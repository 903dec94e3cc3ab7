package portal

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pageSize is the number of rows that a list shows at a time.
const pageSize = 50

// pager leads through a list.
type pager struct {
	Total    int    `json:"total"`
	From     int    `json:"from"`
	To       int    `json:"to"`
	Previous string `json:"previous,omitempty"`
	Next     string `json:"next,omitempty"`
}

// paged returns the part of a list that a request asks for.
func paged[T any](p *pager, v *view, r *http.Request, all []T) []T {
	query := r.URL.Query()
	n, _ := strconv.Atoi(query.Get("page")) // what is no number is the first
	last := max(1, (len(all)+pageSize-1)/pageSize)
	n = min(max(1, n), last)
	from, to := (n-1)*pageSize, min(n*pageSize, len(all))
	*p = pager{Total: len(all), From: min(from+1, to), To: to}
	query.Del("format")
	turn := func(n int) string {
		query.Set("page", strconv.Itoa(n))
		return v.base + r.URL.Path + "?" + query.Encode()
	}
	if n > 1 {
		p.Previous = turn(n - 1)
	}
	if n < last {
		p.Next = turn(n + 1)
	}
	return all[from:to]
}

// filter is a choice of values of one field.
type filter struct {
	Name    string   `json:"name"`
	Label   string   `json:"-"`
	Value   string   `json:"value"`
	Choices []choice `json:"-"`
}

// choice is a value and how many have it.
type choice struct {
	Value  string
	Number int
}

// filtered is a list with its filters.
type filtered struct {
	Action  string   `json:"-"`
	Text    string   `json:"text,omitempty"`
	Filters []filter `json:"filters"`
	Active  bool     `json:"-"`
	Pager   pager    `json:"pager"`
}

// field is something to filter by.
type field[T any] struct {
	name, label string
	value       func(T) string
}

// narrow returns what the filters of a request let through, and shows them.
func narrow[T any](v *view, r *http.Request, all []T, fields []field[T], text func(T) string) (filtered, []T) {
	query := r.URL.Query()
	l := filtered{Action: v.base + r.URL.Path, Text: words(query.Get("q"))}
	l.Active = l.Text != ""
	asked := strings.Fields(strings.ToLower(l.Text))
	left := all
	for _, f := range fields {
		shown := filter{Name: f.name, Label: f.label, Value: query.Get(f.name), Choices: choices(all, f.value, query.Get(f.name))}
		if shown.Value != "" {
			l.Active = true
			left = keep(left, func(row T) bool { return f.value(row) == shown.Value })
		}
		l.Filters = append(l.Filters, shown)
	}
	if len(asked) > 0 {
		left = keep(left, func(row T) bool {
			said := text(row)
			return !slices.ContainsFunc(asked, func(word string) bool { return !strings.Contains(said, word) })
		})
	}
	return l, left
}

// words is what a search looks for: no more than a person types.
func words(query string) string {
	return strings.ToValidUTF8(query[:min(len(query), 200)], "")
}

func keep[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, row := range all {
		if keep(row) {
			kept = append(kept, row)
		}
	}
	return kept
}

// choices counts the values of a field. One that was asked for is among them.
func choices[T any](all []T, value func(T) string, asked string) []choice {
	counts := map[string]int{}
	if asked != "" {
		counts[asked] = 0
	}
	for _, row := range all {
		if said := value(row); said != "" {
			counts[said]++
		}
	}
	var list []choice
	for _, said := range slices.SortedFunc(maps.Keys(counts), cmp.Compare[string]) {
		list = append(list, choice{said, counts[said]})
	}
	return list
}

// servicesPage is the catalog.
type servicesPage struct {
	filtered
	Services []*serviceIn `json:"services"`
}

func services(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Services", "/services"
	list, left := narrow(v, r, v.services, []field[*serviceRow]{
		{"owner", "Owner", func(s *serviceRow) string { return s.Owner }},
		{"type", "Type", func(s *serviceRow) string { return s.Type }},
		{"lifecycle", "Lifecycle", func(s *serviceRow) string { return s.Lifecycle }},
		{"tier", "Tier", func(s *serviceRow) string {
			if s.Tier == 0 {
				return ""
			}
			return strconv.Itoa(s.Tier)
		}},
	}, func(s *serviceRow) string { return s.text })
	p := &servicesPage{filtered: list}
	p.Services = v.serviceRows(paged(&p.Pager, v, r, left))
	return p, nil
}

// requestsPage lists requests.
type requestsPage struct {
	filtered
	Requests []*requestIn `json:"requests"`
	Cost     string       `json:"cost"` // of all that the filters let through
}

func requests(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Requests", "/requests"
	list, left := narrow(v, r, v.requests, []field[*requestRow]{
		{"owner", "Owner", func(r *requestRow) string { return r.Owner }},
		{"environment", "Environment", func(r *requestRow) string { return r.Environment }},
		{"blueprint", "Blueprint", func(r *requestRow) string { return r.Blueprint }},
		{"state", "State", func(r *requestRow) string { return r.State.Word }},
		{"drift", "Drift", func(r *requestRow) string { return map[bool]string{true: "drifted"}[r.Drifted] }},
	}, func(r *requestRow) string { return r.text })
	p := &requestsPage{filtered: list, Cost: v.money(sum(left))}
	p.Requests = v.rows(paged(&p.Pager, v, r, left))
	return p, nil
}

// requestIn is a request in a list, with where its parts lead.
type requestIn struct {
	*requestRow
	Link     link   `json:"link"`
	Of       link   `json:"-"`
	By       link   `json:"-"`
	In       link   `json:"-"`
	From     link   `json:"-"`
	CostText string `json:"-"`
}

func (v *view) rows(rows []*requestRow) []*requestIn {
	shown := make([]*requestIn, len(rows))
	for i, r := range rows {
		shown[i] = &requestIn{
			requestRow: r, Link: v.to("request", r.Name), Of: v.to("service", r.Service), By: v.to("team", r.Owner),
			In: v.to("environment", r.Environment), From: v.to("blueprint", r.Blueprint), CostText: v.money(r.Cost),
		}
	}
	return shown
}

// serviceIn is a service in a list.
type serviceIn struct {
	*serviceRow
	Link link `json:"link"`
	By   link `json:"-"`
}

func (v *view) serviceRows(rows []*serviceRow) []*serviceIn {
	shown := make([]*serviceIn, len(rows))
	for i, s := range rows {
		shown[i] = &serviceIn{s, v.to("service", s.Name), v.to("team", s.Owner)}
	}
	return shown
}
