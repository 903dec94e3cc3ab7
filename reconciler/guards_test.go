package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// world is a platform whose runs never start: what is decided and what is
// recorded of it.
type world struct {
	*testing.T
	now      time.Time
	record   *Record
	journal  *journal
	checked  *Checked
	running  map[string]bool
	distrust map[string]bool
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), record: NewRecord(), running: map[string]bool{}, distrust: map[string]bool{}}
	w.journal = newJournal(w.record, nil, &quiet{}, "", "")
	return w
}

// request is one whose unit gives the engine nothing but its name.
func request(name string) *Request {
	return &Request{Name: name, Blueprint: "db", Service: "checkout", Environment: "staging",
		Document: Document{JSON: json.RawMessage(fmt.Sprintf(`{"name": %q}`, name))}}
}

// revise brings a revision with the requests into force.
func (w *world) revise(commit string, requests ...*Request) {
	p := &Platform{
		Services:     map[string]*Service{"checkout": {Name: "checkout", Owner: "payments"}},
		Environments: map[string]Environment{"staging": {Name: "staging", Stage: "staging"}, "production": {Name: "production", Stage: Production}},
		Blueprints:   map[string]Blueprint{"db": {Name: "db"}, "cache": {Name: "cache"}},
		Requests:     map[string]*Request{},
	}
	p.Settings.Guards.MaxDeletes, p.Settings.Guards.MaxDeletesPerHour = 3, 10
	p.Settings.Rollout.Stages, p.Settings.Rollout.MaxParallel, p.Settings.Rollout.MaxFailures = stages, 4, 1
	for _, r := range requests {
		p.Requests[r.Name] = r
	}
	w.checked = &Checked{Revision: Revision{Commit: commit, Time: w.now}, Platform: p, Units: map[string]*Unit{}, holds: map[string]hold{}}
	w.checked.sort(nil)
	w.journal.inForce(w.checked)
}

func (w *world) render(u Unit) (Rendering, error) {
	return Rendering{Address: "local:" + u.Name()}, nil
}

// decide makes one pass and returns what it decided about a unit.
func (w *world) decide(name string) decision {
	d := decider{checked: w.checked, record: w.record, render: w.render, running: w.running, attempts: map[string]attempt{},
		unverified: w.distrust, now: w.now, sure: w.now, shapes: &shapes{}, quiet: &quiet{}}
	made := d.decide()
	w.journal.note(w.checked, made, w.now)
	return made[name]
}

// expect makes passes until they decide the same, and compares.
func (w *world) expect(name string, verb verb, reason string) {
	w.Helper()
	for range 3 {
		w.decide(name)
	}
	if made := w.decide(name); made.verb != verb || made.reason != reason {
		w.Errorf("%s at %s: expected verb %d for %q, got %d for %q: %s", name, w.checked.Revision.Commit, verb, reason, made.verb, made.reason, made.message)
	}
}

// job is the run that the unit would get.
func (w *world) job(name string) Job {
	u := w.checked.Units[name]
	rendering, _ := w.render(*u)
	return Job{ID: "run", Unit: name, Mode: Converge, Revision: w.checked.Revision.Commit, Rendering: rendering, Folder: "blueprints/db",
		Basis: basis(u.Module.Digest, rendering, Engine{}, func(string) string { return "" }),
		Success: &UnitStatus{Version: 1, Request: name, Service: "checkout", Owner: "payments", Blueprint: u.Blueprint.Name,
			Environment: u.Environment.Name, Stage: u.Environment.Stage, Protect: u.Request.Protect, Document: u.Request.JSON}}
}

// end records the result of a job.
func (w *world) end(job Job, outcome Outcome) {
	result := Result{ID: job.ID, Unit: job.Unit, Outcome: outcome, Finished: w.now}
	if outcome != Unknown {
		result.State = State{Address: job.Rendering.Address, Lineage: "lineage of " + job.Unit, Serial: 1}
	}
	w.journal.result(job, result, w.now)
}

func (w *world) apply(name string) { w.end(w.job(name), Applied) }

func protected(r *Request) *Request { r.Protect = true; return r }

func TestProtectionIsLiftedInARevisionOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.revise("one", protected(request("db")))
	w.apply("db")
	w.expect("db", keep, ReasonApplied)

	replaced := request("db")
	replaced.Blueprint, replaced.Replace = "cache", true
	w.revise("two", replaced)
	w.expect("db", halt, ReasonProtected)
	w.revise("three")
	w.expect("db", halt, ReasonProtected)
	w.revise("four", request("db"))
	w.expect("db", keep, ReasonApplied)
	w.revise("five", replaced)
	w.expect("db", destroy, ReasonIdentity)
}

func TestProtectionOutlivesTheEnd(t *testing.T) {
	w := newWorld(t)
	r := protected(request("db"))
	r.Expires = "2027-03-02"
	w.revise("one", r)
	w.apply("db")
	w.now = w.now.AddDate(0, 0, 5)
	w.expect("db", halt, ReasonExpired)

	r.Protect = false
	w.revise("two", r)
	w.expect("db", halt, ReasonExpired)
	w.revise("three", r)
	w.expect("db", destroy, ReasonExpired)
	if doc := w.record.Units["db"].lastDocument(); string(doc) != `{"name":"db","protect":false}` {
		t.Errorf("the rules see %s", doc)
	}

	// Lifted before the end, it ends with its day, though no revision follows.
	w = newWorld(t)
	r.Protect = true
	w.revise("one", r)
	w.apply("db")
	r.Protect = false
	w.revise("two", r)
	w.expect("db", keep, ReasonApplied)
	w.now = w.now.AddDate(0, 0, 5)
	w.expect("db", destroy, ReasonExpired)
}

// A run that began before a revision does not undo what that says.
func TestProtectionSurvivesALateResult(t *testing.T) {
	w := newWorld(t)
	w.revise("one", request("db"))
	w.apply("db")
	late := w.job("db")
	w.revise("two", protected(request("db")))
	w.decide("db")
	w.revise("three")
	w.end(late, Applied)
	w.expect("db", halt, ReasonProtected)

	w = newWorld(t)
	w.revise("one", protected(request("db")))
	w.apply("db")
	late = w.job("db")
	w.revise("two", request("db"))
	w.decide("db")
	w.revise("three")
	w.end(late, Applied)
	w.expect("db", destroy, "Removed")
}

// What a run may have made before it died is destroyed, not forgotten.
func TestUnknownFirstApplyIsNotForgotten(t *testing.T) {
	for _, outcome := range []Outcome{Unknown, ApplyFailed} {
		w := newWorld(t)
		w.revise("one", request("db"))
		w.end(w.job("db"), outcome)
		w.expect("db", start, "")
		w.revise("two")
		w.expect("db", destroy, "Removed")
		if len(w.journal.edits["db"]) == 0 {
			t.Errorf("%s: what it was applied from is not kept", outcome)
		}
	}
}

// What a run made and could not write down nothing can destroy. It is said where
// that may be, and nowhere else.
func TestDestroyAfterAFailedApplySaysWhatMayBeLeft(t *testing.T) {
	for _, test := range []struct {
		outcomes []Outcome // of runs before the destroy
		left     bool
	}{
		{[]Outcome{Unknown}, true},
		{[]Outcome{ApplyFailed, PlanFailed}, true},
		{[]Outcome{ApplyFailed, Applied}, false},
		{[]Outcome{Applied, PlanFailed}, false},
	} {
		w := newWorld(t)
		w.revise("one", request("db"))
		for _, outcome := range test.outcomes {
			w.journal.result(w.job("db"), Result{Outcome: outcome, Doubt: []string{"terraform_data.db"}}, w.now)
		}
		job := w.job("db")
		job.Destroy, job.Success = true, nil
		w.end(job, Destroyed)
		events := w.journal.events["db"]
		if last := events[len(events)-1]; (last.text != "") != test.left {
			t.Errorf("%v: got %q", test.outcomes, last.text)
		}
	}
}

// A destroy that failed is tried again from all that is known.
func TestFailedDestroyForgetsNothing(t *testing.T) {
	w := newWorld(t)
	r := request("db")
	r.Expires = "2027-02-01"
	w.revise("one", r)
	w.apply("db")
	before := *w.record.Units["db"]
	job := w.job("db")
	job.Destroy, job.Success = true, &UnitStatus{Service: "checkout", Owner: "payments"}
	w.end(job, ApplyFailed)
	after := *w.record.Units["db"]
	if string(after.Document) != string(before.Document) || after.Blueprint != before.Blueprint || after.State != before.State {
		t.Errorf("got %+v after %+v", after, before)
	}
}

// A rename whose new document has an error of its own is no deletion.
func TestBrokenRenameDeletesNothing(t *testing.T) {
	w := newWorld(t)
	w.revise("one", request("db"), request("cache"))
	w.apply("db")
	w.apply("cache")
	w.revise("two", request("cache"))
	w.checked.hold(Violation{Level: Deny, Scope: ScopeDocument, Kind: "request", Name: "database", Message: "inputs.size is missing"})
	w.expect("db", wait, ReasonWaiting)

	// One that was applied before renames nothing.
	w.revise("three")
	w.checked.hold(Violation{Level: Deny, Scope: ScopeDocument, Kind: "request", Name: "cache", Message: "inputs.size is missing"})
	w.expect("db", destroy, "Removed")
}

// A stage that the order of rollouts leaves out comes last, not first.
func TestUnlistedStageIsReachedLast(t *testing.T) {
	w := newWorld(t)
	live := request("live")
	live.Environment = "production"
	w.revise("one", request("db"), live)
	w.apply("db")
	w.apply("live")
	w.revise("two", request("db"), live)
	w.checked.Platform.Settings.Rollout.Stages = []string{"development", "staging"}
	for name, u := range w.checked.Units {
		u.Module.Digest = "changed"
		w.checked.Units[name] = u
	}
	w.expect("db", start, "")
	w.expect("live", wait, ReasonRollout)
}

// ended is a run that left its result, in a folder that may refuse to go.
type ended struct {
	job     Job
	stuck   bool
	removed bool
}

func (e *ended) Job() Job { return e.job }
func (e *ended) Wait(context.Context) (Result, error) {
	return Result{ID: e.job.ID, Unit: e.job.Unit, Outcome: Unchanged}, nil
}
func (e *ended) Stop() error { return nil }
func (e *ended) Forget() error {
	e.removed = !e.stuck
	if e.stuck {
		return errors.New("not empty")
	}
	return nil
}

func left(unit, id string) *ended { return &ended{job: Job{Unit: unit, ID: id, Mode: Converge}} }

// The results of an earlier process are taken in the order of the runs, and
// never twice.
func TestEarlierRunsAreTakenInOrder(t *testing.T) {
	w := newWorld(t)
	r := New(Options{Runner: runnerFunc(nil), Trust: NewTrust(filepath.Join(t.TempDir(), "status.json"))})
	r.record, r.journal = w.record, w.journal
	recorded, stuck := left("db", "1"), left("cache", "1")
	stuck.stuck = true
	if err := r.Trust.save(trusted{written: written{Tip: "tip", Recorded: []string{"1"}}}); err != nil {
		t.Fatal(err)
	}
	preview := left("db", "4")
	preview.job.Mode = Preview
	runs := []Running{left("db", "3"), recorded, left("db", "2"), preview, stuck}
	for range 2 { // begun twice, since the repository could not be read at first
		if err := r.adopt(runs); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for range 2 {
		f := <-r.results
		if _, busy := r.running["db"]; !busy {
			t.Error("the unit is free while a run of it is left")
		}
		order = append(order, f.run.Job().ID)
		r.finish(f)
	}
	select {
	case f := <-r.results:
		t.Errorf("got the result of %s of %s besides", f.run.Job().ID, f.run.Job().Unit)
	case <-time.After(50 * time.Millisecond):
	}
	if !slices.Equal(order, []string{"2", "3"}) || len(r.running) != 0 {
		t.Errorf("got results of %v, left %v", order, r.running)
	}
	if err := r.forgetRuns(); err != nil || !recorded.removed {
		t.Errorf("a recorded run is left: %v", err)
	}
	if len(r.journal.done) == 0 || r.journal.done[0] != stuck {
		t.Errorf("a run that could not be removed is forgotten: %v", r.journal.done)
	}
}

// Whoever runs next, a rollout that stopped stays stopped.
func TestStoppedRolloutStaysStopped(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	var all []*Request
	for _, name := range names {
		all = append(all, request(name))
	}
	w.revise("one", all...)
	for _, name := range names {
		w.apply(name)
	}
	w.revise("two", all...)
	for name, u := range w.checked.Units {
		u.Module.Digest = "changed"
		w.checked.Units[name] = u
	}
	w.expect("a", start, "")
	w.expect("e", wait, ReasonRollout) // four at a time
	job := w.job("a")
	job.Success.Module = "changed"
	w.end(job, PlanFailed)
	w.expect("a", start, "") // is tried again
	for _, name := range names[1:] {
		w.expect(name, wait, ReasonRollout)
	}
	w.end(job, Applied)
	w.expect("b", start, "")
}

// A look that finds what was applied says nothing, at whatever revision; one
// that ends a drift does.
func TestObservationSaysNothingNew(t *testing.T) {
	w := newWorld(t)
	w.revise("one", request("db"))
	w.apply("db")
	w.expect("db", keep, ReasonApplied)
	w.revise("two", request("db"))
	w.expect("db", keep, ReasonApplied)
	before, _ := encode(w.record.Units["db"])
	clear(w.journal.events)
	job := w.job("db")
	job.Mode = Observe
	w.end(job, Unchanged)
	w.expect("db", keep, ReasonApplied)
	if after, _ := encode(w.record.Units["db"]); string(after) != string(before) || len(w.journal.events) != 0 {
		t.Errorf("got %s\nafter %s\nand %v", after, before, w.journal.events)
	}
	w.end(job, Changed)
	if w.expect("db", keep, ReasonApplied); !w.record.Units["db"].Is(Drifted) {
		t.Error("the drift is not recorded")
	}
	w.end(job, Unchanged)
	if w.expect("db", keep, ReasonApplied); w.record.Units["db"].Is(Drifted) || len(w.journal.events) != 1 {
		t.Errorf("the end of the drift is not recorded: %v", w.journal.events)
	}
}
