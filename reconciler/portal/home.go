package portal

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/pave-dev/pave/reconciler"
)

// homePage is the platform at a glance.
type homePage struct {
	Counts     []count      `json:"counts"`
	Cost       string       `json:"cost"`
	Ready      int          `json:"ready"`
	Recorded   int          `json:"recorded"`
	Percent    int          `json:"-"`
	Refused    *refusal     `json:"refused,omitempty"`
	Warnings   []string     `json:"warnings,omitempty"`
	Violations []fault      `json:"violations,omitempty"`
	MoreFaults int          `json:"moreViolations,omitempty"`
	Waiting    []*requestIn `json:"notReady"`
	MoreNot    int          `json:"moreNotReady,omitempty"`
	Drifted    []*requestIn `json:"drifted"`
	Ending     []*requestIn `json:"expiring"`
	Recent     []recent     `json:"recent"`
	Mine       *mine        `json:"mine,omitempty"`
}

// mine is what the teams of a person answer for; nil where they are in none.
type mine struct {
	Waiting      []*requestIn `json:"notReady"`
	Ending       []*requestIn `json:"expiring"`
	Services     []*serviceIn `json:"services"`
	MoreServices []count      `json:"allServices,omitempty"` // by team, where there are more
	Requests     []*requestIn `json:"requests"`
	MoreRequests []count      `json:"allRequests,omitempty"`
}

// count is how many there are of one kind.
type count struct {
	link
	Number int    `json:"number"`
	one    string // what it is called where there is one; empty where that is all the same
}

// counted is how many there are of what a noun names, and what is said of them.
func counted(n int, noun, of, href string) count {
	return count{link{noun + "s" + of, href}, n, noun + of}
}

// Label is what stands beside the number.
func (c count) Label() string {
	if c.Number == 1 && c.one != "" {
		return c.one
	}
	return c.Text
}

// refusal is a later revision that is not in force.
type refusal struct {
	Revision string  `json:"revision"`
	Waiting  bool    `json:"waiting"`
	Why      []fault `json:"why"`
}

// recent is a commit as a list shows it.
type recent struct {
	Commit string `json:"commit"`
	Href   string `json:"href"`
	Time   string `json:"time"`
	Text   string `json:"text"`
	By     string `json:"by,omitempty"` // of a commit of the tracked branch
}

// glance is how many rows of each list the home page shows.
const glance = 10

func home(v *view, _ *http.Request) (any, error) {
	v.title = cmp.Or(v.Platform.Settings.Title, "Platform")
	p := &homePage{
		Counts: []count{
			counted(len(v.services), "service", "", v.base+"/services"),
			counted(len(v.requests), "request", "", v.base+"/requests"),
			counted(len(v.Platform.Blueprints), "blueprint", "", v.base+"/blueprints"),
			counted(len(v.Platform.Teams), "team", "", v.base+"/teams"),
			counted(len(v.Platform.Environments), "environment", "", v.base+"/environments"),
		},
		Cost: v.Platform.Settings.Currency + " " + strconv.FormatFloat(v.index.cost, 'f', 0, 64), Warnings: v.Record.Platform.Warnings, Recorded: len(v.Record.Units),
		Waiting: v.rows(first(v.waiting)), MoreNot: max(0, len(v.waiting)-glance),
		Drifted: v.rows(first(v.drifted)), Ending: v.rows(first(v.ending)),
	}
	for _, u := range v.Record.Units {
		if u.Is(reconciler.Ready) {
			p.Ready++
		}
	}
	if p.Recorded > 0 {
		p.Percent = 100 * p.Ready / p.Recorded
	}
	p.Violations = v.faults(func(reconciler.Violation) bool { return true })
	if more := len(p.Violations) - glance; more > 0 {
		p.Violations, p.MoreFaults = p.Violations[:glance], more
	}
	p.Refused, p.Mine = v.refused(), v.mine()
	for _, c := range first(v.Log) {
		p.Recent = append(p.Recent, v.recent(c, c.Subject, "/"))
	}
	return p, nil
}

// mine gathers what the person's teams answer for.
func (v *view) mine() *mine {
	if v.person == nil || len(v.person.Teams) == 0 {
		return nil
	}
	own := func(r *requestRow) bool { return slices.Contains(v.person.Teams, r.Owner) }
	m := &mine{Waiting: v.rows(first(keep(v.waiting, own))), Ending: v.rows(first(keep(v.ending, own)))}
	for _, team := range v.person.Teams {
		services, requests := v.servicesOf[team], v.requestsFor[team]
		m.Services = append(m.Services, v.serviceRows(first(services))...)
		if len(services) > glance {
			m.MoreServices = append(m.MoreServices, count{link: link{"all of " + team, v.among("services", "owner", team).Href}, Number: len(services)})
		}
		m.Requests = append(m.Requests, v.rows(first(requests))...)
		if len(requests) > glance {
			m.MoreRequests = append(m.MoreRequests, count{link: link{"all of " + team, v.among("requests", "owner", team).Href}, Number: len(requests)})
		}
	}
	return m
}

// refused returns the revision that is not in force; nil where there is none.
func (v *view) refused() *refusal {
	refused := v.Record.Platform.Refused
	if refused == nil {
		return nil
	}
	r := &refusal{Revision: short(refused.Revision), Waiting: refused.Waiting}
	for _, x := range first(refused.Violations) {
		r.Why = append(r.Why, v.fault(x))
	}
	return r
}

func first[T any](all []T) []T { return all[:min(glance, len(all))] }

// recent shows a status commit; it leads to a page as it was then.
func (v *view) recent(c Commit, text, page string) recent {
	return recent{c.ID[:min(8, len(c.ID))], "/at/" + short(c.ID) + page, moment(c.Time), text, ""}
}

func (v *view) money(amount float64) string {
	return v.Platform.Settings.Currency + " " + strconv.FormatFloat(amount, 'f', 2, 64)
}
