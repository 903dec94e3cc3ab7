package reconciler

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// situation is a pass before it decides. Its units are rendered from their
// names and inputs alone.
type situation struct {
	decider
	blueprints map[string]Module
}

// newSituation is a revision with the requests, of which nothing was applied.
func newSituation(requests ...*Request) *situation {
	p := &Platform{
		Services: map[string]*Service{"checkout": {Name: "checkout", Owner: "payments"}},
		Environments: map[string]Environment{
			"development": {Name: "development", Stage: "development"}, "staging": {Name: "staging", Stage: "staging"},
			"production": {Name: "production", Stage: Production}},
		Blueprints: map[string]Blueprint{"db": {Name: "db"}, "cache": {Name: "cache"}},
		Requests:   map[string]*Request{},
	}
	p.Settings.Guards = Guards{MaxDeletes: 2, MaxDeletesPerHour: 3}
	p.Settings.Rollout.Stages, p.Settings.Rollout.MaxParallel, p.Settings.Rollout.MaxFailures = []string{"development", "staging", "production"}, 2, 1
	p.Settings.Intervals.Drift, p.Settings.Intervals.Retry = Interval(24*time.Hour), Interval(time.Minute)
	for _, r := range requests {
		p.Requests[r.Name] = r
	}
	s := &situation{blueprints: map[string]Module{"db": {Digest: "db-1"}, "cache": {Digest: "cache-1"}}}
	s.decider = decider{
		checked: &Checked{Revision: Revision{Commit: "second", Time: noon}, Platform: p, Complete: true, Units: map[string]*Unit{}, holds: map[string]hold{}},
		record:  NewRecord(), engine: Engine{Name: "terraform", Version: "1.11.4"}, render: renderPlainly,
		running: map[string]bool{}, attempts: map[string]attempt{}, unverified: map[string]bool{}, now: noon, sure: noon, calendar: timetable{},
		verdict: func(string, bool, bool) string { return "these rules" },
		shapes:  &shapes{}, quiet: &quiet{},
	}
	return s.sorted()
}

// sorted makes units of the requests that nothing holds.
func (s *situation) sorted() *situation {
	clear(s.checked.Units)
	for name, r := range s.checked.Platform.Requests {
		if _, held := s.checked.holds["request/"+name]; held {
			continue
		}
		module := s.blueprints[r.Blueprint]
		module.Lock = []byte("lock")
		environment, blueprint := s.checked.Platform.Environments[r.Environment], s.checked.Platform.Blueprints[r.Blueprint]
		s.checked.Units[name] = &Unit{Request: r, Service: s.checked.Platform.Service(r.Service), Environment: &environment, Blueprint: &blueprint, Module: &module}
	}
	return s
}

func renderPlainly(u Unit) (Rendering, error) {
	r := Rendering{Address: "local:" + u.Name(), Variables: map[string]json.RawMessage{}, References: map[string]Ref{}}
	for name, value := range u.Request.Inputs.All() {
		if ref, ok := Reference(value); ok {
			r.References[name] = ref
		} else {
			r.Variables[name] = value
		}
	}
	return r, nil
}

// ask is a request, in development unless a change says otherwise.
func ask(name string, changes ...func(*Request)) *Request {
	r := &Request{Name: name, Blueprint: "db", Service: "checkout", Environment: "development"}
	for _, change := range changes {
		change(r)
	}
	return r
}

func in(environment string) func(*Request) { return func(r *Request) { r.Environment = environment } }

func using(upstream string) func(*Request) {
	return func(r *Request) {
		r.Inputs = FieldsOf(map[string]json.RawMessage{"host": json.RawMessage(fmt.Sprintf(`{"from": {"request": %q, "output": "host"}}`, upstream))})
	}
}

// applied records every unit of the revision as it would be after its apply,
// upstream units first.
func (s *situation) applied(names ...string) *situation {
	for _, name := range names {
		u := s.checked.Units[name]
		rendering, _ := renderPlainly(*u)
		status := &UnitStatus{Version: 1, Request: name, Blueprint: u.Blueprint.Name, Environment: u.Environment.Name, Stage: u.Environment.Stage, Owner: u.Service.Owner,
			Module: u.Module.Digest, Protect: u.Request.Protect, References: rendering.References, OutputsVersion: name + ":1",
			State: State{Address: rendering.Address, Lineage: "lineage of " + name, Serial: 1}, FirstApplied: "2027-01-01T00:00:00Z",
			Fingerprint: fingerprint(s.basis(name), u.Module.Lock)}
		s.record.Units[name] = status
	}
	return s
}

func (s *situation) basis(name string) string {
	u := s.checked.Units[name]
	rendering, _ := renderPlainly(*u)
	return basis(u.Module.Digest, rendering, s.engine, func(up string) string {
		if status := s.record.Units[up]; status != nil {
			return status.OutputsVersion
		}
		return ""
	})
}

// failed notes a last run that failed and is to be tried again later.
func (s *situation) failed(name string, message string) *situation {
	s.attempts[name] = attempt{basis: s.basis(name), module: s.checked.Units[name].Module.Digest, failures: 1, next: noon.Add(time.Minute)}
	status := s.record.Units[name]
	if status == nil {
		status = &UnitStatus{Version: 1, Request: name}
		s.record.Units[name] = status
	}
	status.Fingerprint = ""
	status.Conditions.Set(Ready, false, ReasonApplyFailed, message, noon)
	return s
}

// denied notes that rules denied the last plan, long ago.
func (s *situation) denied(name, rules string) *situation {
	s.failed(name, "denied")
	a := s.attempts[name]
	a.denied, a.next = rules, noon.Add(-time.Hour)
	s.attempts[name] = a
	return s
}

// seen notes a last look at what runs, so long ago.
func (s *situation) seen(name string, ago time.Duration, failures int) *situation {
	if s.observed == nil {
		s.observed = map[string]sight{}
	}
	s.observed[name] = sight{at: noon.Add(-ago), failures: failures}
	return s
}

// timetable holds schedules that begin at one time each.
type timetable struct{}

func (timetable) Last(schedule, _ string, _ time.Time) (time.Time, error) {
	return time.Parse(time.DateOnly, schedule)
}

// frozen freezes production for the first week of March.
func (s *situation) frozen() *situation {
	e := s.checked.Platform.Environments["production"]
	e.Freeze = []Freeze{{From: "2027-02-27", For: Interval(time.Hour), Reason: "is over"}, {From: "2027-03-01", For: Interval(7 * 24 * time.Hour), Reason: "we move house"}}
	s.checked.Platform.Environments["production"] = e
	return s.sorted()
}

// heals lets drift be put right in development and in production.
func (s *situation) heals() *situation {
	for _, name := range []string{"development", "production"} {
		e := s.checked.Platform.Environments[name]
		e.Drift.Do = Heal
		s.checked.Platform.Environments[name] = e
	}
	return s.sorted()
}

// drifted notes that what runs of a unit differs, so many times in a row.
func (s *situation) drifted(name string, times int, ended time.Time) *situation {
	status := s.record.Units[name]
	status.Conditions.Set(Drifted, true, ReasonDrift, "what runs differs", noon)
	status.Drift = &Drift{Times: times, Ended: ended.Format(time.RFC3339)}
	return s
}

// committed dates the revision.
func (s *situation) committed(day string) *situation {
	s.checked.Revision.Time, _ = time.Parse(time.DateOnly, day)
	return s
}

// fourOfEight removes four requests of eight and changes one of the others, where
// the guards allow any number.
func fourOfEight() *situation {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var requests []*Request
	for _, name := range names {
		requests = append(requests, ask(name))
	}
	s := newSituation(requests...).applied(names...).removed("a", "b", "c", "d").changed("e", size("2"))
	guards := &s.checked.Platform.Settings.Guards
	guards.MaxDeletes, guards.MaxDeletesPerHour, guards.MaxDeletesShare = 1000, 1000, 25
	return s
}

func shrink(s *situation, to int) {
	s.checked.Platform.Settings.Guards.Shrink = &struct {
		To     int    `json:"to"`
		Reason string `json:"reason"`
	}{to, "the shop is closed"}
}

// invalid notes that a run which failed long ago could not read the code.
func (s *situation) invalid(name string) {
	a := s.attempts[name]
	a.invalid, a.next = true, noon.Add(-time.Hour)
	s.attempts[name] = a
}

// then changes the situation and makes its units anew.
func (s *situation) then(change func(*situation)) *situation {
	change(s)
	return s.sorted()
}

// removed takes requests out of the revision.
func (s *situation) removed(names ...string) *situation {
	for _, name := range names {
		delete(s.checked.Platform.Requests, name)
	}
	return s.sorted()
}

// changed asks for something else.
func (s *situation) changed(name string, changes ...func(*Request)) *situation {
	r := *s.checked.Platform.Requests[name]
	for _, change := range changes {
		change(&r)
	}
	s.checked.Platform.Requests[name] = &r
	return s.sorted()
}

func size(value string) func(*Request) {
	return func(r *Request) { r.Inputs = FieldsOf(map[string]json.RawMessage{"size": json.RawMessage(value)}) }
}

var verbs = map[verb]string{keep: "keep", busy: "busy", wait: "wait", halt: "halt", start: "start", destroy: "destroy", forget: "forget"}

// told renders a decision: verb, condition, reason and message.
func told(made decision) string {
	said := verbs[made.verb]
	if made.takes != nil {
		said += " takes " + cmp.Or(made.takes.Unit, "file "+made.takes.File)
		if made.takes.Unit != "" {
			said += " at " + made.takes.State.Address
		}
	}
	if made.condition != "" {
		said += " " + made.condition
	}
	if made.reason != "" {
		said += " " + made.reason
	}
	if made.message != "" {
		said += ": " + made.message
	}
	if made.glass != nil {
		said += ", breaking the glass"
	}
	return said
}

const (
	frozenUntil  = "production is frozen until 2027-03-08 00:00 UTC: we move house; what cannot wait says `breakGlass`"
	puttingRight = "puts right what was changed behind Pave's back"
	removed      = "destroy Removed: was removed from the platform"
	over         = "destroy Expired: expired at the end of 2027-02-27"
	halfGone     = "halt Stalled DeletionGuard: this revision deletes 4 of 8 requests, more than 25%, so nothing of it happens: " +
		`restore them, or say in platform.cue: guards: shrink: {to: 4, reason: "…"}`
)

const disbelieved = "nothing is deleted on the word of a status branch that is not believed: run `pave status adopt`"

func TestDecide(t *testing.T) {
	for _, test := range []struct {
		name string
		s    *situation
		want map[string]string
	}{
		{"first apply", newSituation(ask("a")), map[string]string{"a": "start"}},
		{"unchanged", newSituation(ask("a")).applied("a"), map[string]string{"a": "keep Applied"}},
		{"an input changed", newSituation(ask("a")).applied("a").changed("a", size("2")), map[string]string{"a": "start"}},
		{"the module changed", newSituation(ask("a")).applied("a").then(func(s *situation) { s.blueprints["db"] = Module{Digest: "db-2"} }),
			map[string]string{"a": "start"}},
		{"the engine changed", newSituation(ask("a")).applied("a").then(func(s *situation) { s.engine.Version = "1.12.0" }),
			map[string]string{"a": "start"}},
		{"only the engine's patch changed", newSituation(ask("a")).applied("a").then(func(s *situation) { s.engine.Version = "1.11.9" }),
			map[string]string{"a": "keep Applied"}},
		{"what is said of it changed", newSituation(ask("a")).applied("a").changed("a", func(r *Request) {
			r.Protect, r.ShareWith, r.JSON = true, []string{"search"}, json.RawMessage(`{"description": "other"}`)
		}), map[string]string{"a": "keep Applied"}},
		{"a run is going on", newSituation(ask("a")).then(func(s *situation) { s.running["a"] = true }),
			map[string]string{"a": "busy Waiting: a run is going on"}},
		{"the record is not believed", newSituation(ask("a")).applied("a").then(func(s *situation) { s.unverified["a"] = true }),
			map[string]string{"a": "start"}},
		{"it cannot be rendered", newSituation(ask("a")).then(func(s *situation) {
			s.render = func(Unit) (Rendering, error) { return Rendering{}, errors.New("backend: refused") }
		}), map[string]string{"a": "halt Valid Invalid: backend: refused"}},
		{"the document is refused", newSituation(ask("a"), ask("b")).then(func(s *situation) {
			s.checked.holds["request/a"] = hold{Allowed, ReasonDenied, "a rule denies it"}
		}), map[string]string{"a": "halt Allowed DeniedByPolicy: a rule denies it", "b": "start"}},
		{"suspended", newSituation(ask("a", suspended)), map[string]string{"a": "halt Ready Suspended: the move goes on"}},

		// Upstream units.
		{"upstream is new", newSituation(ask("a"), ask("b", using("a"))),
			map[string]string{"a": "start", "b": "wait WaitingForUpstream: waits for a, which this revision changes"}},
		{"upstream is done", newSituation(ask("a"), ask("b", using("a"))).applied("a"), map[string]string{"a": "keep Applied", "b": "start"}},
		{"upstream changes and so does it", newSituation(ask("a"), ask("b", using("a"))).applied("a", "b").changed("a", size("2")).
			changed("b", func(r *Request) { r.Inputs = append(r.Inputs, Named[json.RawMessage]{"size", json.RawMessage("1")}) }),
			map[string]string{"a": "start", "b": "wait WaitingForUpstream: waits for a, which this revision changes"}},
		{"upstream changes, it does not", newSituation(ask("a"), ask("b", using("a"))).applied("a", "b").changed("a", size("2")),
			map[string]string{"a": "start", "b": "keep Applied"}},
		{"upstream runs", newSituation(ask("a"), ask("b", using("a"))).then(func(s *situation) { s.running["a"] = true }),
			map[string]string{"a": "busy Waiting: a run is going on", "b": "wait WaitingForUpstream: waits for a, which this revision changes"}},
		{"upstream is only looked at", newSituation(ask("a"), ask("b", using("a"))).applied("a").then(func(s *situation) {
			s.running["a"], s.looking = true, map[string]bool{"a": true}
		}), map[string]string{"a": "busy Waiting: a run is going on", "b": "start"}},
		{"upstream is looked at and changes then", newSituation(ask("a"), ask("b", using("a"))).applied("a").changed("a", size("2")).then(func(s *situation) {
			s.running["a"], s.looking = true, map[string]bool{"a": true}
		}), map[string]string{"a": "busy Waiting: a run is going on", "b": "wait WaitingForUpstream: waits for a, which this revision changes"}},
		{"upstream's outputs changed", newSituation(ask("a"), ask("b", using("a"))).applied("a", "b").then(func(s *situation) { s.record.Units["a"].OutputsVersion = "a:2" }),
			map[string]string{"a": "keep Applied", "b": "start"}},
		{"upstream failed at first", newSituation(ask("a"), ask("b", using("a"))).failed("a", "no such zone"),
			map[string]string{"a": "keep", "b": "wait WaitingForUpstream: waits for a, which failed: no such zone"}},
		{"upstream failed with earlier outputs", newSituation(ask("a"), ask("b", using("a"))).applied("a").changed("a", size("2")).failed("a", "no such zone"),
			map[string]string{"a": "keep", "b": "wait WaitingForUpstream: waits for a, which failed: no such zone"}},
		{"upstream is held with earlier outputs", newSituation(ask("a"), ask("b", using("a"))).applied("a").then(func(s *situation) {
			s.checked.holds["request/a"] = hold{Valid, ReasonInvalid, "inputs.size: wrong"}
		}), map[string]string{"a": "halt Valid Invalid: inputs.size: wrong", "b": "start"}},
		{"upstream is held and was never applied", newSituation(ask("a"), ask("b", using("a"))).then(func(s *situation) {
			s.checked.holds["request/a"] = hold{Valid, ReasonInvalid, "inputs.size: wrong"}
		}), map[string]string{"a": "halt Valid Invalid: inputs.size: wrong", "b": "wait WaitingForUpstream: waits for a, which was never applied: inputs.size: wrong"}},
		{"upstream waits itself", newSituation(ask("a"), ask("b", using("a")), ask("c", using("b"))), map[string]string{"a": "start",
			"b": "wait WaitingForUpstream: waits for a, which this revision changes",
			"c": "wait WaitingForUpstream: waits for b, which waits itself: waits for a, which this revision changes"}},
		{"upstream is not believed", newSituation(ask("a"), ask("b", using("a"))).applied("a").then(func(s *situation) {
			s.unverified["a"] = true
			s.checked.holds["request/a"] = hold{Valid, ReasonInvalid, "wrong"}
		}), map[string]string{"a": "halt Valid Invalid: wrong",
			"b": "wait WaitingForUpstream: waits for a, which is recorded on a status branch that is not believed: run `pave status adopt`"}},

		// Lifetime.
		{"its last day", newSituation(ask("a", expires("2027-03-01"))).applied("a"), map[string]string{"a": "keep Applied"}},
		{"expired", newSituation(ask("a", expires("2027-02-28"))).applied("a"), map[string]string{"a": "destroy Expired: expired at the end of 2027-02-28"}},
		{"expired before it was applied", newSituation(ask("a", expires("2027-02-28"))),
			map[string]string{"a": "halt Ready Expired: expired at the end of 2027-02-28: set a later date, or remove the request"}},
		{"expired and protected", newSituation(ask("a", expires("2027-02-28"), protect)).applied("a"),
			map[string]string{"a": "halt Stalled Expired: expired at the end of 2027-02-28, but is protected: extend `expires`, or set protect: false in a revision of its own"}},
		{"expired while protection is lifted", newSituation(ask("a", expires("2027-02-28"))).applied("a").then(func(s *situation) { s.record.Units["a"].Unprotected = "second" }),
			map[string]string{"a": "halt Stalled Expired: expired at the end of 2027-02-28 and was protected until this revision: the next one destroys it, unless it extends `expires`"}},
		{"the blueprint's lifetime is over", newSituation(ask("a")).applied("a").then(func(s *situation) { lifetime(s, 30) }),
			map[string]string{"a": "destroy Expired: expired at the end of 2027-01-31"}},
		{"the blueprint's lifetime does not count in production", newSituation(ask("a", in("production"))).applied("a").then(func(s *situation) { lifetime(s, 30) }),
			map[string]string{"a": "keep Applied"}},
		{"expired and used", newSituation(ask("a", expires("2027-02-28")), ask("b", using("a"))).applied("a", "b"),
			map[string]string{"a": "wait Referenced: expired at the end of 2027-02-28; it is destroyed after b, which uses its outputs", "b": "keep Applied"}},
		{"expired and not believed", newSituation(ask("a", expires("2027-02-28"))).applied("a").then(func(s *situation) { s.unverified["a"] = true }),
			map[string]string{"a": "halt Stalled Waiting: " + disbelieved}},

		{"a time to live is over", newSituation(ask("a", ttl(30))).applied("a"), map[string]string{"a": "destroy Expired: expired at the end of 2027-01-31"}},
		{"a time to live is not over", newSituation(ask("a", ttl(90))).applied("a"), map[string]string{"a": "keep Applied"}},
		{"a time to live counts in production", newSituation(ask("a", ttl(30), in("production"))).applied("a"),
			map[string]string{"a": "destroy Expired: expired at the end of 2027-01-31"}},
		{"a time to live goes before the blueprint's", newSituation(ask("a", ttl(90))).applied("a").then(func(s *situation) { lifetime(s, 30) }),
			map[string]string{"a": "keep Applied"}},
		{"a time to live is extended", newSituation(ask("a", ttl(30))).applied("a").changed("a", ttl(60)), map[string]string{"a": "keep Applied"}},

		// The clock. The last day is over by this host's clock, and nobody else says so.
		{"over by the clock alone", newSituation(ask("a", expires("2027-02-28"))).applied("a").committed("2027-02-28"),
			map[string]string{"a": "wait Expired: expired at the end of 2027-02-28 as this host's clock says: it is destroyed a day later, in case that is wrong"}},
		{"over by the clock for a day", newSituation(ask("a", expires("2027-02-27"))).applied("a").committed("2027-02-01"),
			map[string]string{"a": "destroy Expired: expired at the end of 2027-02-27"}},
		{"over by the clock for a month, which was set forward", newSituation(ask("a", expires("2027-01-31"))).applied("a").committed("2027-01-15").
			then(func(s *situation) { s.sure = noon.AddDate(0, -1, 0) }),
			map[string]string{"a": "wait Expired: expired at the end of 2027-01-31 as this host's clock says: it is destroyed a day later, in case that is wrong"}},
		{"over by a commit and not by the clock", newSituation(ask("a", expires("2027-03-01"))).applied("a").committed("2027-03-05"),
			map[string]string{"a": "keep Applied"}},
		{"counted from a first apply, and over by a commit", newSituation(ask("a", ttl(58))).applied("a"),
			map[string]string{"a": "wait Expired: expired at the end of 2027-02-28 as this host's clock says: it is destroyed a day later, in case that is wrong"}},

		// Freezes: production, in the first week of March.
		{"frozen and new", newSituation(ask("a", in("production"))).frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil}},
		{"frozen and changed", newSituation(ask("a", in("production"))).applied("a").changed("a", size("2")).frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil}},
		{"frozen and unchanged", newSituation(ask("a", in("production"))).applied("a").frozen(), map[string]string{"a": "keep Applied"}},
		{"frozen and removed", newSituation(ask("a", in("production"))).applied("a").removed("a").frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil}},
		{"frozen and expired", newSituation(ask("a", in("production"), expires("2027-02-28"))).applied("a").frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil}},
		{"frozen elsewhere", newSituation(ask("a")).frozen(), map[string]string{"a": "start"}},
		{"the freeze is over", newSituation(ask("a", in("production"))).frozen().then(func(s *situation) { s.now = noon.AddDate(0, 0, 7) }), map[string]string{"a": "start"}},
		{"upstream is frozen", newSituation(ask("a", in("production")), ask("b", using("a"))).frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil,
			"b": "wait WaitingForUpstream: waits for a, which waits itself: " + frozenUntil}},
		{"frozen, looked at", newSituation(ask("a", in("production"))).applied("a").changed("a", size("2")).frozen().seen("a", 24*time.Hour, 0),
			map[string]string{"a": "wait Freeze: " + frozenUntil + "; looks"}},
		{"frozen, and the glass is broken", newSituation(ask("a", in("production"), breakGlass("2027-03-01"))).frozen(), map[string]string{"a": "start, breaking the glass"}},
		{"frozen, and the glass was broken", newSituation(ask("a", in("production"), breakGlass("2027-02-28"))).frozen(), map[string]string{"a": "wait Freeze: " + frozenUntil}},
		{"the glass is broken and nothing is frozen", newSituation(ask("a", breakGlass("2027-03-01"))).frozen(), map[string]string{"a": "start"}},
		{"frozen, removed, and the glass was broken before", newSituation(ask("a", in("production"))).applied("a").removed("a").frozen().then(func(s *situation) {
			s.record.Units["a"].Document = json.RawMessage(`{"breakGlass": {"until": "2027-03-02", "reason": "the shop is down"}}`)
		}), map[string]string{"a": "destroy Removed: was removed from the platform, breaking the glass"}},

		// Healing.
		{"drift is reported", newSituation(ask("a")).applied("a").drifted("a", 1, noon), map[string]string{"a": "keep Applied"}},
		{"drift is healed", newSituation(ask("a")).applied("a").drifted("a", 1, time.Time{}).heals(), map[string]string{"a": "start Drift: " + puttingRight}},
		{"drift is healed where the environment says so", newSituation(ask("a", in("staging"))).applied("a").drifted("a", 1, time.Time{}).heals(), map[string]string{"a": "keep Applied"}},
		{"drift comes back", newSituation(ask("a")).applied("a").drifted("a", 3, noon.Add(-time.Minute)).heals(), map[string]string{"a": "keep Applied"}},
		{"drift came back a while ago", newSituation(ask("a")).applied("a").drifted("a", 3, noon.Add(-2*time.Minute)).heals(), map[string]string{"a": "start Drift: " + puttingRight}},
		{"drift of what is suspended is not healed", newSituation(ask("a", suspended)).applied("a").drifted("a", 1, time.Time{}).heals(),
			map[string]string{"a": "halt Ready Suspended: the move goes on"}},
		{"drift is not healed in a freeze", newSituation(ask("a", in("production"))).applied("a").drifted("a", 1, time.Time{}).heals().frozen(), map[string]string{"a": "keep Applied"}},
		{"drift and a change", newSituation(ask("a")).applied("a").drifted("a", 1, time.Time{}).heals().changed("a", size("2")), map[string]string{"a": "start"}},
		{"healing was denied", newSituation(ask("a")).applied("a").drifted("a", 1, time.Time{}).heals().then(func(s *situation) {
			s.attempts["a"] = attempt{basis: s.basis("a"), failures: 1, denied: "these rules"}
		}), map[string]string{"a": "keep"}},
		{"drift that could not be healed is over", newSituation(ask("a")).applied("a").heals().then(func(s *situation) {
			s.attempts["a"] = attempt{basis: s.basis("a"), failures: 1, denied: "these rules"}
		}), map[string]string{"a": "keep Applied"}},

		// Identity and state.
		{"another environment", newSituation(ask("a")).applied("a").changed("a", in("staging")),
			map[string]string{"a": "halt Stalled IdentityChanged: it runs as db in development and is asked for as db in staging: use another name, or set replace: true, which destroys and creates"}},
		{"another blueprint", newSituation(ask("a")).applied("a").changed("a", func(r *Request) { r.Blueprint = "cache" }),
			map[string]string{"a": "halt Stalled IdentityChanged: it runs as db in development and is asked for as cache in development: use another name, or set replace: true, which destroys and creates"}},
		{"to be replaced", newSituation(ask("a")).applied("a").changed("a", in("staging"), replace),
			map[string]string{"a": "destroy IdentityChanged: it runs as db in development and is asked for as db in staging"}},
		{"to be replaced but protected", newSituation(ask("a", protect)).applied("a").changed("a", in("staging"), replace),
			map[string]string{"a": "halt Stalled Protected: it runs as db in development and is asked for as db in staging, but is protected: set protect: false in a revision of its own first"}},
		{"the state moved", newSituation(ask("a")).applied("a").then(func(s *situation) { s.record.Units["a"].State.Address = "s3:elsewhere" }),
			map[string]string{"a": "halt Stalled StateMoved: its state is at s3:elsewhere and would be looked for at local:a: run `pave state move a`, or restore the backend's settings"}},
		{"the state may move", newSituation(ask("a")).applied("a").then(func(s *situation) {
			s.record.Units["a"].State.Address, s.moves = "s3:elsewhere", map[string]bool{"a": true}
		}), map[string]string{"a": "start takes a at s3:elsewhere"}},
		{"a state is imported", newSituation(ask("a")).then(func(s *situation) { s.imports = map[string]string{"a": "/x.tfstate"} }),
			map[string]string{"a": "start takes file /x.tfstate"}},
		{"renamed", renamed(), map[string]string{"a": "wait RenamePending: is renamed to b, which takes over its state", "b": "start takes a at local:a"}},
		{"renamed with an unfinished run", renamed().then(func(s *situation) { s.running["a"] = true }),
			map[string]string{"a": "busy Waiting: a run is going on", "b": "wait RenamePending: waits for a run of a to end"}},
		{"renamed into another environment", renamed(in("staging")), map[string]string{"a": "wait RenamePending: is renamed to b, which takes over its state",
			"b": "halt Stalled RenamePending: a runs as db in development, owned by payments, and this request as db in staging, owned by payments: a rename keeps the three; change them in a revision of its own"}},
		{"a rename that was killed half-way", renamed().applied("b").then(func(s *situation) { s.record.Units["b"].State.Lineage = s.record.Units["a"].State.Lineage }),
			map[string]string{"a": "wait RenamePending: is renamed to b, which takes over its state", "b": "start takes a at local:a"}},
		{"a rename that was taken back half-way", newSituation(ask("a"), ask("b")).applied("a", "b").removed("b").then(func(s *situation) {
			s.record.Units["b"].State.Lineage = s.record.Units["a"].State.Lineage
		}), map[string]string{"a": "keep Applied",
			"b": "halt Stalled RenamePending: has the state of a, whose rename has not ended: put this request back, or let a say renamedFrom: \"b\""}},
		{"a rename long ago", renamed().applied("b"), map[string]string{"a": "destroy Removed: was removed from the platform", "b": "keep Applied"}},
		{"two take one state", renamed().then(func(s *situation) {
			s.checked.Platform.Requests["c"] = ask("c", func(r *Request) { r.RenamedFrom = "a" })
		}), map[string]string{"a": "wait RenamePending: is renamed to b, which takes over its state",
			"b": "halt Stalled RenamePending: c says renamedFrom: \"a\" as well: one request can take over a state",
			"c": "halt Stalled RenamePending: b says renamedFrom: \"a\" as well: one request can take over a state"}},

		// Attempts.
		{"it failed a moment ago", newSituation(ask("a")).failed("a", "no"), map[string]string{"a": "keep"}},
		{"it cannot be read", newSituation(ask("a")).failed("a", "no").then(func(s *situation) { s.invalid("a") }), map[string]string{"a": "keep"}},
		{"it could not be read and is changed", newSituation(ask("a")).failed("a", "no").then(func(s *situation) { s.invalid("a") }).changed("a", size("2")),
			map[string]string{"a": "start"}},
		{"it failed and is changed", newSituation(ask("a")).failed("a", "no").changed("a", size("2")), map[string]string{"a": "start"}},
		{"it failed and is due", newSituation(ask("a")).failed("a", "no").then(func(s *situation) { s.now = noon.Add(time.Minute) }), map[string]string{"a": "start"}},
		{"a rule denied the plan", newSituation(ask("a")).denied("a", "these rules"), map[string]string{"a": "keep"}},
		{"other rules may let it pass", newSituation(ask("a")).denied("a", "other rules"), map[string]string{"a": "start"}},
		{"a rule denied the plan of something else", newSituation(ask("a")).denied("a", "these rules").changed("a", size("2")), map[string]string{"a": "start"}},
		{"a rule denied the end", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) {
			s.attempts["a"] = attempt{failures: 1, denied: "these rules"}
		}), map[string]string{"a": "keep"}},
		{"a look failed", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 1), map[string]string{"a": "keep; looks"}},
		{"drift is due", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 0), map[string]string{"a": "keep Applied; looks"}},
		{"drift is not due", newSituation(ask("a")).applied("a").seen("a", 21*time.Hour, 0), map[string]string{"a": "keep Applied"}},
		{"drift is due more often in its environment", newSituation(ask("a"), ask("b", in("staging"))).applied("a", "b").seen("a", time.Hour, 0).seen("b", time.Hour, 0).
			then(func(s *situation) { every(s, "staging", time.Hour) }), map[string]string{"a": "keep Applied", "b": "keep Applied; looks"}},
		{"a look that failed is soon due", newSituation(ask("a")).applied("a").seen("a", time.Minute, 1), map[string]string{"a": "keep; looks"}},
		{"and ever later", newSituation(ask("a")).applied("a").seen("a", time.Minute, 3), map[string]string{"a": "keep"}},
		{"drift of what is suspended", newSituation(ask("a", suspended)).applied("a").seen("a", 24*time.Hour, 0),
			map[string]string{"a": "halt Ready Suspended: the move goes on; looks"}},
		{"drift of what is refused", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 0).then(func(s *situation) {
			s.checked.holds["request/a"] = hold{Allowed, ReasonDenied, "a rule denies it"}
		}), map[string]string{"a": "halt Allowed DeniedByPolicy: a rule denies it; looks"}},
		{"drift of what could not be planned", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 0).changed("a", size("2")).then(func(s *situation) {
			s.attempts["a"] = attempt{basis: s.basis("a"), failures: 1, next: noon.Add(time.Minute)}
		}), map[string]string{"a": "keep; looks"}},
		{"drift of what was removed and is protected", newSituation(ask("a", protect)).applied("a").seen("a", 24*time.Hour, 0).removed("a"),
			map[string]string{"a": "halt Stalled Protected: was removed while protected: restore it, set protect: false in one revision and remove it in the next; looks"}},
		{"what was applied by half is not compared", newSituation(ask("a")).applied("a").failed("a", "no").seen("a", 24*time.Hour, 0),
			map[string]string{"a": "keep"}},
		{"what runs is not looked at", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 0).then(func(s *situation) { s.running["a"] = true }),
			map[string]string{"a": "busy Waiting: a run is going on"}},
		{"what changes is not looked at", newSituation(ask("a")).applied("a").seen("a", 24*time.Hour, 0).changed("a", size("2")), map[string]string{"a": "start"}},
		{"what was never applied is not looked at", newSituation(ask("a", suspended)).seen("a", 24*time.Hour, 0),
			map[string]string{"a": "halt Ready Suspended: the move goes on"}},
		{"upstream is only looked at", newSituation(ask("a"), ask("b", using("a"))).applied("a").seen("a", 24*time.Hour, 0),
			map[string]string{"a": "keep Applied; looks", "b": "start"}},

		// Rollout.
		{"a blueprint changes in stages", rollout(ask("a"), ask("b", in("staging")), ask("c", in("production"))), map[string]string{"a": "start",
			"b": "wait Rollout: the rollout of db is at development", "c": "wait Rollout: the rollout of db is at development"}},
		{"two at a time", rollout(ask("a"), ask("b"), ask("c")), map[string]string{"a": "start", "b": "start",
			"c": "wait Rollout: the rollout of db runs 2 at a time"}},
		{"one runs already", rollout(ask("a"), ask("b"), ask("c")).then(func(s *situation) { s.running["c"] = true }), map[string]string{"a": "start",
			"b": "wait Rollout: the rollout of db runs 2 at a time", "c": "busy Waiting: a run is going on"}},
		{"the blueprint's own pace", rollout(ask("a"), ask("b")).then(func(s *situation) { pace(s, 1, 0) }), map[string]string{"a": "start",
			"b": "wait Rollout: the rollout of db runs 1 at a time"}},
		{"stopped by a failure", rollout(ask("a"), ask("b"), ask("c", in("staging"))).failed("a", "no"), map[string]string{"a": "keep",
			"b": "wait Rollout: the rollout of db stopped: a failed", "c": "wait Rollout: the rollout of db stopped: a failed"}},
		{"as many failures as allowed", rollout(ask("a"), ask("b")).failed("a", "no").then(func(s *situation) { pace(s, 0, 2) }),
			map[string]string{"a": "keep", "b": "start"}},
		{"a new unit waits for no rollout", rollout(ask("b", in("development"))).then(func(s *situation) { s.checked.Platform.Requests["c"] = ask("c", in("production")) }),
			map[string]string{"b": "start", "c": "start"}},
		{"another blueprint's units are not touched", rollout(ask("a"), ask("b", func(r *Request) { r.Blueprint = "cache" })),
			map[string]string{"a": "start", "b": "keep Applied"}},

		// Deletion.
		{"removed", newSituation(ask("a")).applied("a").removed("a"), map[string]string{"a": "destroy Removed: was removed from the platform"}},
		{"removed and protected", newSituation(ask("a", protect)).applied("a").removed("a"),
			map[string]string{"a": "halt Stalled Protected: was removed while protected: restore it, set protect: false in one revision and remove it in the next"}},
		{"removed and never applied", newSituation().then(func(s *situation) { s.record.Units["a"] = &UnitStatus{Request: "a"} }), map[string]string{"a": "forget"}},
		{"removed while it runs", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) { s.running["a"] = true }),
			map[string]string{"a": "busy Waiting: a run is going on"}},
		{"a file cannot be read", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) { s.checked.Complete = false }),
			map[string]string{"a": "wait Waiting: nothing is deleted while a file of the revision cannot be read"}},
		{"removed and not believed", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) { s.unverified["a"] = true }),
			map[string]string{"a": "halt Stalled Waiting: " + disbelieved}},
		{"removed and used", newSituation(ask("a"), ask("b", using("a"))).applied("a", "b").removed("a"), map[string]string{
			"a": "halt Stalled Referenced: was removed, but b uses its outputs: remove that use first", "b": "keep Applied"}},
		{"removed with what used it", newSituation(ask("a"), ask("b", using("a"))).applied("a", "b").removed("a", "b"), map[string]string{
			"a": "wait Referenced: was removed from the platform; it is destroyed after b, which uses its outputs", "b": "destroy Removed: was removed from the platform"}},
		{"a destroy failed", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) {
			s.attempts["a"] = attempt{failures: 1, next: noon.Add(time.Minute)}
		}), map[string]string{"a": "keep"}},
		{"an apply failed before it was removed", newSituation(ask("a")).applied("a").failed("a", "no").removed("a"),
			map[string]string{"a": "destroy Removed: was removed from the platform"}},

		// Guards: two a revision, three an hour.
		{"as many deletions as a revision may have", newSituation(ask("a"), ask("b")).applied("a", "b").removed("a", "b"), map[string]string{
			"a": "destroy Removed: was removed from the platform", "b": "destroy Removed: was removed from the platform"}},
		{"too many deletions", newSituation(ask("a"), ask("b"), ask("c")).applied("a", "b", "c").removed("a", "b", "c"), map[string]string{
			"a": tooMany(3, "a"), "b": tooMany(3, "b"), "c": tooMany(3, "c")}},
		{"too many, one after another", newSituation(ask("b"), ask("c")).applied("b", "c").removed("b", "c").then(func(s *situation) { deleted(s, "a", "second", noon) }),
			map[string]string{"b": tooMany(3, "b"), "c": tooMany(3, "c")}},
		{"too many, one of them waiting", newSituation(ask("a"), ask("b", using("a")), ask("c")).applied("a", "b", "c").removed("a", "b", "c"), map[string]string{
			"a": "wait Referenced: was removed from the platform; it is destroyed after b, which uses its outputs", "b": tooMany(3, "b"), "c": tooMany(3, "c")}},
		{"released", newSituation(ask("a"), ask("b"), ask("c")).applied("a", "b", "c").removed("a", "b", "c").then(func(s *situation) { release(s, "a") }),
			map[string]string{"a": "destroy Removed: was removed from the platform", "b": "destroy Removed: was removed from the platform",
				"c": "destroy Removed: was removed from the platform"}},
		{"an expired request counts", newSituation(ask("a"), ask("b"), ask("c", expires("2027-02-28"))).applied("a", "b", "c").removed("a", "b"), map[string]string{
			"a": tooMany(3, "a"), "b": tooMany(3, "b"), "c": tooMany(3, "c")}},
		{"the hour is full", newSituation(ask("a"), ask("b")).applied("a", "b").removed("a", "b").then(func(s *situation) {
			deleted(s, "x", "first", noon.Add(-time.Minute))
			deleted(s, "y", "first", noon.Add(-59*time.Minute))
			deleted(s, "z", "first", noon.Add(-61*time.Minute))
		}), map[string]string{"a": "destroy Removed: was removed from the platform",
			"b": `wait DeletionGuard: 3 requests may be deleted within an hour: it is deleted later, or at once where platform.cue releases it: guards: release: [{request: "b", reason: "…"}]`}},
		{"half of all is gone", fourOfEight(), map[string]string{"a": halfGone, "b": halfGone, "c": halfGone, "d": halfGone,
			"e": halfGone, "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"half of all may go", fourOfEight().then(func(s *situation) { shrink(s, 4) }), map[string]string{"a": removed, "b": removed, "c": removed, "d": removed,
			"e": "start", "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"less than may go", fourOfEight().then(func(s *situation) { shrink(s, 5) }), map[string]string{"a": halfGone, "b": halfGone, "c": halfGone, "d": halfGone,
			"e": halfGone, "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"half of all is gone, and one is released", fourOfEight().then(func(s *situation) { release(s, "a") }), map[string]string{"a": removed, "b": removed, "c": removed, "d": removed,
			"e": "start", "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"half of all is gone, one after another", fourOfEight().then(func(s *situation) {
			delete(s.record.Units, "a")
			deleted(s, "a", "second", noon)
		}), map[string]string{"b": halfGone, "c": halfGone, "d": halfGone, "e": halfGone, "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"half of all is over", fourOfEight().then(func(s *situation) {
			for _, name := range []string{"a", "b", "c", "d"} {
				s.checked.Platform.Requests[name] = ask(name, expires("2027-02-27"))
			}
		}), map[string]string{"a": over, "b": over, "c": over, "d": over, "e": "start", "f": "keep Applied", "g": "keep Applied", "h": "keep Applied"}},
		{"nothing may be deleted", newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) { s.checked.Platform.Settings.Guards.MaxDeletes = 0 }),
			map[string]string{"a": `halt Stalled DeletionGuard: this revision deletes 1 request and may delete 0: restore them, or release this one in platform.cue: guards: release: [{request: "a", reason: "…"}]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := test.s.decide()
			got := map[string]string{}
			for name, d := range made {
				got[name] = told(d)
			}
			names, _ := test.s.looks()
			for _, name := range names {
				got[name] += "; looks"
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", listed(got), listed(test.want))
			}
			if again := test.s.decide(); len(again) != len(made) {
				t.Errorf("another pass over the same decides about %d units, not %d", len(again), len(made))
			}
		})
	}
}

func listed(said map[string]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(said)) {
		lines = append(lines, "  "+name+": "+said[name])
	}
	return strings.Join(lines, "\n")
}

func expires(day string) func(*Request) { return func(r *Request) { r.Expires = day } }
func ttl(days int) func(*Request) {
	return func(r *Request) { r.TTL = Interval(time.Duration(days) * 24 * time.Hour) }
}

func breakGlass(until string) func(*Request) {
	return func(r *Request) { r.BreakGlass = &BreakGlass{Until: until, Reason: "the shop is down"} }
}

func protect(r *Request) { r.Protect = true }
func replace(r *Request) { r.Replace = true }

func suspended(r *Request) {
	r.Suspend = &struct {
		Reason string `json:"reason"`
	}{"the move goes on"}
}

func every(s *situation, environment string, interval time.Duration) {
	e := s.checked.Platform.Environments[environment]
	e.Drift.Every = Interval(interval)
	s.checked.Platform.Environments[environment] = e
}

func lifetime(s *situation, days int) {
	b := s.checked.Platform.Blueprints["db"]
	b.Lifetime = &struct {
		Default Interval `json:"default"`
		Max     Interval `json:"max"`
	}{Default: Interval(time.Duration(days) * 24 * time.Hour)}
	s.checked.Platform.Blueprints["db"] = b
}

func pace(s *situation, maxParallel, maxFailures int) {
	b := s.checked.Platform.Blueprints["db"]
	b.Rollout = &struct {
		MaxParallel int `json:"maxParallel"`
		MaxFailures int `json:"maxFailures"`
	}{maxParallel, maxFailures}
	s.checked.Platform.Blueprints["db"] = b
}

// rollout is a change of the blueprint db, from which the requests were applied.
func rollout(requests ...*Request) *situation {
	s := newSituation(requests...)
	return s.applied(sortedNames(s.checked.Units)...).then(func(s *situation) { s.blueprints["db"] = Module{Digest: "db-2"} })
}

// renamed is a revision that gives a, which was applied, the name b.
func renamed(changes ...func(*Request)) *situation {
	return newSituation(ask("a")).applied("a").removed("a").then(func(s *situation) {
		s.checked.Platform.Requests["b"] = ask("b", append(changes, func(r *Request) { r.RenamedFrom = "a" })...)
	})
}

func deleted(s *situation, name, revision string, at time.Time) {
	s.record.Platform.Deletions = append(s.record.Platform.Deletions, Deletion{Request: name, Revision: revision, At: at.Format(time.RFC3339)})
}

func release(s *situation, name string) {
	s.checked.Platform.Settings.Guards.Release = append(s.checked.Platform.Settings.Guards.Release, struct {
		Request string `json:"request"`
		Reason  string `json:"reason"`
	}{name, "it is empty"})
}

func tooMany(n int, name string) string {
	return fmt.Sprintf("halt Stalled DeletionGuard: this revision deletes %d requests and may delete 2: restore them, or release this one in platform.cue: guards: release: [{request: %q, reason: \"…\"}]", n, name)
}

// What failed together is not tried again together, and never sooner than four
// fifths of the wait.
func TestBackoff(t *testing.T) {
	different := map[time.Duration]bool{}
	for failures, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 5: 16 * time.Minute, 7: time.Hour, 100: time.Hour} {
		for _, name := range []string{"a", "b", "c"} {
			wait := backoff(name, time.Minute, failures, time.Hour)
			if wait > want || wait < want*4/5 {
				t.Errorf("%s waits %s after %d failures; want about %s", name, wait, failures, want)
			}
			different[wait] = true
		}
	}
	if len(different) != 15 {
		t.Errorf("got %d different waits", len(different))
	}
}
