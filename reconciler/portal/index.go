package portal

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// index is what the pages look up in a snapshot. A page never goes over all
// documents but through it.
type index struct {
	services []*serviceRow // by name
	requests []*requestRow // by name, with those that are recorded only
	service  map[string]*serviceRow
	request  map[string]*requestRow

	requestsOf  map[string][]*requestRow // by service
	requestsIn  map[string][]*requestRow // by environment
	requestsBy  map[string][]*requestRow // by blueprint
	servicesOf  map[string][]*serviceRow // by team
	requestsFor map[string][]*requestRow // by team
	dependents  map[string][]string      // the services that need one
	users       map[string][]string      // the requests that use a request's outputs
	aliases     map[string]string        // the service that had a name before

	entries   []entry          // what the search finds
	documents int              // how many files it looked into for them
	touched   map[string][]int // the commits that changed a file, as indexes of Snapshot.Changes
	events    []*event         // what runs did, the latest first
	cut       bool             // there were more
	waiting   []*requestRow
	drifted   []*requestRow
	ending    []*requestRow
	cost      float64 // a month, of what exists
}

// serviceRow is a service as a list shows it.
type serviceRow struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	Owner     string `json:"owner"`
	Type      string `json:"type"`
	Lifecycle string `json:"lifecycle"`
	Tier      int    `json:"tier,omitempty"`
	Requests  int    `json:"requests"`
	NotReady  int    `json:"notReady"`

	text string // lower case: what a text filter and the search look at, the title first
}

// requestRow is a request as a list shows it.
type requestRow struct {
	Name        string  `json:"name"`
	Service     string  `json:"service"`
	Owner       string  `json:"owner"`
	Environment string  `json:"environment"`
	Blueprint   string  `json:"blueprint"`
	State       state   `json:"state"`
	Drifted     bool    `json:"drifted"`
	Expires     string  `json:"expires,omitempty"`
	Cost        float64 `json:"cost"`
	Applied     string  `json:"lastApplied,omitempty"`
	// Gone tells that the revision does not ask for it, or that its document is refused.
	Gone bool `json:"gone,omitempty"`

	text string // as of a service
}

// state is how a request stands, in one word and one tone.
type state struct {
	Word    string `json:"word"`
	Tone    string `json:"tone"` // good, wait, bad or none
	Message string `json:"message,omitempty"`
}

// waitingReasons are the reasons that need nobody.
var waitingReasons = map[string]bool{
	reconciler.ReasonWaiting: true, reconciler.ReasonUpstream: true, reconciler.ReasonRollout: true,
	reconciler.ReasonApproval: true, reconciler.ReasonSuspended: true, reconciler.ReasonFreeze: true,
}

func stateOf(u *reconciler.UnitStatus) state {
	if u == nil {
		return state{Word: "Not recorded", Tone: "none", Message: "Pave has not said anything of it yet."}
	}
	ready, said := u.Conditions.Get(reconciler.Ready)
	switch {
	case ready.Status:
		return state{Word: "Ready", Tone: "good"}
	case !said:
		return state{Word: "Unknown", Tone: "none"}
	case waitingReasons[ready.Reason]:
		return state{ready.Reason, "wait", ready.Message}
	}
	return state{ready.Reason, "bad", ready.Message}
}

func newIndex(s *Snapshot) *index {
	x := &index{
		service: map[string]*serviceRow{}, request: map[string]*requestRow{},
		requestsOf: map[string][]*requestRow{}, requestsIn: map[string][]*requestRow{}, requestsBy: map[string][]*requestRow{},
		servicesOf: map[string][]*serviceRow{}, requestsFor: map[string][]*requestRow{},
		dependents: map[string][]string{}, users: map[string][]string{}, aliases: map[string]string{}, touched: map[string][]int{},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Platform.Services)) {
		x.addService(s.Platform.Service(name))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Platform.Requests)) {
		x.addRequest(s, s.Platform.Request(name))
	}
	for name, unit := range s.Record.Units {
		if x.request[name] == nil {
			x.addRow(&requestRow{
				Name: name, Service: unit.Service, Owner: unit.Owner, Environment: unit.Environment, Blueprint: unit.Blueprint, Gone: true,
			}, unit, "")
		}
	}
	slices.SortFunc(x.requests, func(a, b *requestRow) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(x.ending, func(a, b *requestRow) int {
		return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.Name, b.Name))
	})
	for _, r := range x.requests {
		x.file(r)
	}
	x.search(s)
	x.audit(s)
	for i, c := range s.Changes {
		for _, path := range c.Paths {
			x.touched[path] = append(x.touched[path], i)
		}
	}
	return x
}

func (x *index) addService(s *reconciler.Service) {
	row := &serviceRow{Name: s.Name, Title: s.Title, Owner: s.Owner, Type: s.Type, Lifecycle: s.Lifecycle, Tier: s.Tier}
	said := described(s.JSON)
	row.text = searched(cmp.Or(s.Title, s.Name), append(append([]string{s.Name, s.Owner, said.Description}, s.Aliases...), said.Tags...)...)
	x.services = append(x.services, row)
	x.service[s.Name] = row
	x.servicesOf[s.Owner] = append(x.servicesOf[s.Owner], row)
	for _, needed := range s.DependsOn {
		x.dependents[needed] = append(x.dependents[needed], s.Name)
	}
	for _, alias := range s.Aliases {
		x.aliases[alias] = s.Name
	}
}

func (x *index) addRequest(s *Snapshot, r *reconciler.Request) {
	row := &requestRow{
		Name: r.Name, Service: r.Service, Owner: s.Platform.Service(r.Service).Owner, Environment: r.Environment, Blueprint: r.Blueprint,
		Expires: r.Expires, Cost: r.Cost.Monthly,
	}
	for _, value := range r.Inputs.All() {
		if ref, is := reconciler.Reference(value); is && !slices.Contains(x.users[ref.Request], r.Name) {
			x.users[ref.Request] = append(x.users[ref.Request], r.Name)
		}
	}
	x.addRow(row, s.Record.Units[r.Name], described(r.JSON).Description)
}

// addRow completes a row by what is recorded and by what people are told of it.
func (x *index) addRow(row *requestRow, unit *reconciler.UnitStatus, about string) {
	row.State = stateOf(unit)
	if unit != nil {
		row.Drifted, row.Applied = unit.Is(reconciler.Drifted), day(unit.LastApplied)
		row.Expires = cmp.Or(unit.Expires, row.Expires)
		if unit.Exists() {
			x.cost += unit.Cost
		}
		if row.Gone {
			row.Cost = unit.Cost
		}
		if unit.Is(reconciler.Expiring) {
			x.ending = append(x.ending, row)
		}
	}
	row.text = searched(row.Name, row.Blueprint+" for "+row.Service+" in "+row.Environment, about)
	x.request[row.Name] = row
	x.requests = append(x.requests, row)
}

// searched is a text that words are looked for in, the title first.
func searched(title string, more ...string) string {
	return strings.ToLower(strings.Join(append([]string{title}, more...), "\n"))
}

// file puts a request where pages look for it.
func (x *index) file(r *requestRow) {
	x.requestsOf[r.Service] = append(x.requestsOf[r.Service], r)
	x.requestsIn[r.Environment] = append(x.requestsIn[r.Environment], r)
	x.requestsBy[r.Blueprint] = append(x.requestsBy[r.Blueprint], r)
	x.requestsFor[r.Owner] = append(x.requestsFor[r.Owner], r)
	notReady := r.State.Tone == "bad" || r.State.Tone == "wait"
	if notReady {
		x.waiting = append(x.waiting, r)
	}
	if r.Drifted {
		x.drifted = append(x.drifted, r)
	}
	if service := x.service[r.Service]; service != nil {
		service.Requests++
		if notReady {
			service.NotReady++
		}
	}
}

// described is what many documents say and only people read.
func described(document json.RawMessage) (d struct {
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}) {
	_ = json.Unmarshal(document, &d) // a document that was evaluated; where it was not, it says nothing
	return d
}

// day is the date of a time as the record writes it.
func day(at string) string { return at[:min(len(at), len("2006-01-02"))] }
