package reconciler

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// trailers returns what the next status commit says of a unit, and forgets it.
func (w *world) trailers(name string) []string {
	var said []string
	for _, e := range w.journal.events[name] {
		said = append(said, e.trailer)
	}
	clear(w.journal.events)
	return said
}

// The history of drift is in the trailers: each appearance and each end, once.
func TestHistoryOfDrift(t *testing.T) {
	w := newWorld(t)
	w.revise("one", request("db"))
	w.apply("db")
	w.expect("db", keep, ReasonApplied)
	look := w.job("db")
	look.Mode, look.Success = Observe, nil
	sees := func(outcome Outcome, digest string) []string {
		clear(w.journal.events)
		w.now = w.now.Add(time.Hour)
		result := Result{ID: "run", Unit: "db", Outcome: outcome, State: w.record.Units["db"].State, Finished: w.now}
		if digest != "" {
			result.Plan = PlanSummary{Change: 1, Digest: digest, Changes: []ChangedField{{Address: "x.y", Action: "update", Attributes: []string{"size"}, By: "maria"}}}
		}
		w.journal.result(look, result, w.now)
		return w.trailers("db")
	}
	for i, step := range []struct {
		outcome Outcome
		digest  string
		want    []string
	}{
		{Changed, "a", []string{"drifted +0 ~1 -0"}},
		{Changed, "a", nil},
		{PlanFailed, "", []string{"failed +0 ~0 -0 reason=PlanFailed"}},
		{Changed, "b", []string{"drifted +0 ~1 -0"}},
		{Unchanged, "", []string{"undrifted blueprint=db"}},
		{Unchanged, "", nil},
		{Changed, "a", []string{"drifted +0 ~1 -0 times=2"}},
	} {
		if got := sees(step.outcome, step.digest); !slices.Equal(got, step.want) {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
	c, _ := w.record.Units["db"].Conditions.Get(Drifted)
	if want := "what runs differs from what was applied: x.y differs in size, changed last by maria (drifted again, 2 times since 2027-03-01T13:00:00Z)"; c.Message != want {
		t.Errorf("got %q", c.Message)
	}

	// Putting it right ends it and forgets nothing; a change forgets.
	heals := w.job("db")
	heals.Heals = true
	w.end(heals, Applied)
	if said := w.trailers("db"); len(said) != 1 || said[0] != "healed +0 ~0 -0 blueprint=db drift=ended" {
		t.Errorf("got %q", said)
	}
	if d := w.record.Units["db"].Drift; d == nil || d.Times != 2 || d.Ended == "" {
		t.Errorf("got %+v", d)
	}
	if got := sees(Changed, "a"); !slices.Equal(got, []string{"drifted +0 ~1 -0 times=3"}) {
		t.Errorf("got %q", got)
	}
	w.apply("db")
	if said := w.trailers("db"); len(said) != 1 || !strings.HasSuffix(said[0], " drift=ended") || w.record.Units["db"].Drift != nil {
		t.Errorf("got %q, %+v", said, w.record.Units["db"].Drift)
	}
}

// What comes back much later is new.
func TestDriftIsForgotten(t *testing.T) {
	d := (*Drift)(nil).appears(noon)
	d.Ended = noon.Format(time.RFC3339)
	if again := d.appears(noon.Add(time.Hour)); again.Times != 2 || again.First != d.First {
		t.Errorf("got %+v", again)
	}
	if again := d.appears(noon.Add(25 * time.Hour)); again.Times != 1 {
		t.Errorf("got %+v", again)
	}
}

func TestDriftInWords(t *testing.T) {
	d := &Drift{Times: 1, Plan: PlanSummary{Changes: []ChangedField{
		{Address: "a.a", Action: "create"}, {Address: "b.b", Action: "replace", Attributes: []string{"zone"}}, {Address: "c.c", Action: "delete"}, {Address: "d.d", Action: "update"},
	}}}
	want := "what runs differs from what was applied: a.a is gone; b.b differs in zone, and only another one would be right; c.c should not be there; and 1 more"
	if got := d.describe(); got != want {
		t.Errorf("got %q", got)
	}
}

// The record keeps that the glass was broken.
func TestBrokenGlassIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.revise("one", request("db"))
	job := w.job("db")
	job.used(&BreakGlass{Until: "2027-03-02", Reason: "the shop is down"}, w.now)
	w.end(job, Applied)
	if got := w.record.Units["db"].BreakGlass; got == nil || got.Used != "2027-03-01T12:00:00Z" || got.Reason != "the shop is down" {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(w.journal.credits, []string{"Break-Glass: db until 2027-03-02: the shop is down"}) {
		t.Errorf("got %q", w.journal.credits)
	}
}
