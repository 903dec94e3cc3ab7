package reconciler

import (
	"fmt"
	"slices"
	"strings"
)

// unplanned are the outcomes of a preview that has no plan.
var unplanned = []Outcome{PlanFailed, StateLost, NotOwned, Interrupted, Unknown}

// conclude gives the report its state and its headline, from all that it says.
// pending tells that plans are still being made.
func (r *Report) conclude(pending bool) {
	var denied []Violation
	for _, v := range r.AllViolations() {
		if v.Level == Deny {
			denied = append(denied, v)
		}
	}
	var failed []PlannedUnit
	for _, u := range r.Units {
		if slices.Contains(unplanned, u.Outcome) {
			failed = append(failed, u)
		}
	}
	var missing []Needed
	for _, n := range r.Approvals {
		if !n.Given {
			missing = append(missing, n)
		}
	}
	switch {
	case len(denied) > 0:
		r.State, r.Headline = CheckFailed, "Denied: "+firstOf(len(denied), brief(denied[0]))
	case len(failed) > 0:
		r.State, r.Headline = CheckFailed, "No plan: "+firstOf(len(failed), failed[0].Request+": "+failed[0].Message)
	case pending:
		r.State, r.Headline = CheckPending, "Planning "+Plural(len(r.Units), "unit")
	case len(missing) > 0:
		var teams []string
		for _, n := range missing {
			if !slices.Contains(teams, n.Team) {
				teams = append(teams, n.Team)
			}
		}
		r.State, r.Headline = CheckWaiting, fmt.Sprintf("%s must approve: %s", strings.Join(teams, " and "), r.summary())
	case r.empty():
		r.State, r.Headline = CheckPassed, "Nothing to do: no document and no code changes"
	default:
		r.State, r.Headline = CheckPassed, "Ready to merge: "+r.summary()
	}
}

// AllViolations are those of the revision and those that rules found in the plans
// of its units.
func (r *Report) AllViolations() []Violation {
	all := slices.Clone(r.Violations)
	for _, u := range r.Units {
		for _, v := range u.Violations {
			if v.Name == "" {
				v.Kind, v.Name = "request", u.Request
			}
			all = append(all, v)
		}
	}
	return all
}

// empty tells whether the change changes nothing that Pave looks at.
func (r *Report) empty() bool {
	return len(r.Units)+len(r.Effects)+len(r.Governance)+len(r.Violations)+len(r.Affected)+len(r.Costs) == 0
}

// summary says in a few words what the change does.
func (r *Report) summary() string {
	if len(r.Units) == 0 {
		if len(r.Governance) > 0 {
			return Plural(len(r.Governance), "file") + " that others are judged by"
		}
		return "no unit changes"
	}
	text := Plural(len(r.Units), "unit")
	if len(r.Units) == 1 {
		text = r.Units[0].Request
	}
	var sum PlanSummary
	planned := false
	for _, u := range r.Units {
		planned = planned || u.Plan.Digest != ""
		sum.Add, sum.Change, sum.Destroy = sum.Add+u.Plan.Add, sum.Change+u.Plan.Change, sum.Destroy+u.Plan.Destroy
	}
	if planned {
		return text + ", resources " + sum.String()
	}
	if len(r.Units) == 1 && r.Units[0].Message != "" {
		return text + " " + r.Units[0].Message
	}
	return text
}

// brief says what is wrong, of what; the place and the rule are told beside it.
func brief(v Violation) string {
	if v.Name != "" {
		v.Position = Position{}
	}
	v.Rule = ""
	return v.String()
}

// firstOf names the first of several.
func firstOf(n int, text string) string {
	if n > 1 {
		return fmt.Sprintf("%s (and %d more)", text, n-1)
	}
	return text
}
