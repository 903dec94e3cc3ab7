package reconciler

import "testing"

func TestPlanOutlives(t *testing.T) {
	made := &PlanSummary{Add: 1, Change: 1, Changes: []ChangedField{{Address: "a.new", Action: "create"}, {Address: "a.old", Action: "update"}}}
	for _, c := range []struct {
		plan *PlanSummary
		end  PlanSummary
		want bool
	}{
		{nil, PlanSummary{}, true},
		{&PlanSummary{}, PlanSummary{Destroy: 1, Changes: []ChangedField{{Address: "a.old", Action: "delete"}}}, true},
		{made, PlanSummary{Destroy: 1, Changes: []ChangedField{{Address: "a.old", Action: "delete"}}}, true},
		{made, PlanSummary{Destroy: 1, Changes: []ChangedField{{Address: "a.new", Action: "delete"}}}, false},
		{&PlanSummary{Destroy: 1, Changes: []ChangedField{{Address: "a.old", Action: "delete"}}}, PlanSummary{}, false},
	} {
		if got := c.plan.outlives(c.end); got != c.want {
			t.Errorf("%+v after %+v: got %t", c.end, c.plan, got)
		}
	}
}
