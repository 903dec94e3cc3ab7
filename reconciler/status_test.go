package reconciler

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestConditionsKeepTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		stamp := func(after time.Duration) string { return start.Add(after).UTC().Format(time.RFC3339) }
		var cs Conditions
		expect := func(kind string, want Condition) {
			t.Helper()
			want.Type = kind
			if got, found := cs.Get(kind); !found || got != want {
				t.Errorf("%s: got %+v, want %+v", kind, got, want)
			}
		}
		cs.Set(Ready, false, ReasonPlanFailed, "no such zone", time.Now())
		expect(Ready, Condition{Reason: ReasonPlanFailed, Message: "no such zone", Since: stamp(0)})

		time.Sleep(time.Minute)
		cs.Set(Ready, false, ReasonPlanFailed, "no such bucket", time.Now()) // what it says may change
		expect(Ready, Condition{Reason: ReasonPlanFailed, Message: "no such bucket", Since: stamp(0)})
		cs.Set(Ready, false, ReasonApplyFailed, "no such bucket", time.Now())
		expect(Ready, Condition{Reason: ReasonApplyFailed, Message: "no such bucket", Since: stamp(time.Minute)})

		time.Sleep(time.Minute)
		cs.Set(Ready, true, ReasonApplied, "", time.Now())
		expect(Ready, Condition{Status: true, Reason: ReasonApplied, Since: stamp(2 * time.Minute)})

		cs.Drop(Ready)
		cs.Drop(Stalled) // which was never stated
		if _, found := cs.Get(Ready); found || len(cs) != 0 {
			t.Errorf("got %+v after Drop", cs)
		}
	})
}

func TestConditionsComeInOneOrder(t *testing.T) {
	var cs Conditions
	for _, kind := range []string{Ready, Stalled, Valid, Done, Allowed, Drifted, Approved, Planned} {
		cs.Set(kind, true, kind, "", noon)
	}
	for i, kind := range []string{Valid, Allowed, Planned, Approved, Done, Ready, Drifted, Stalled} {
		if cs[i].Type != kind {
			t.Errorf("%d: got %s, want %s", i, cs[i].Type, kind)
		}
	}
}

// A clone shares nothing: what is recorded of one unit never changes another's.
func TestConditionsAreDroppedFromOneCopy(t *testing.T) {
	var cs Conditions
	cs.Set(Valid, true, Valid, "", noon)
	cs.Set(Ready, true, ReasonApplied, "", noon)
	copied := cs
	cs.Drop(Valid)
	if len(copied) != 2 || copied[0].Type != Valid || copied[1].Type != Ready {
		t.Errorf("got %+v", copied)
	}
}
