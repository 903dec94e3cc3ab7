package reconciler

import (
	"strings"
	"testing"
)

// Only what is known to hold nothing holds nothing.
func TestLevelsThatHold(t *testing.T) {
	for level, want := range map[Level]bool{Deny: true, Approve: true, Warn: false, Preapprove: false, "": true, "other": true} {
		if level.Holds() != want {
			t.Errorf("%q holds: %v", level, level.Holds())
		}
	}
}

// Two teams that are asked with the same words are two needs.
func TestSortKeepsTeams(t *testing.T) {
	v := func(team string) Violation { return Violation{Level: Approve, Message: "ask", Team: team} }
	var teams []string
	for _, v := range SortViolations([]Violation{v("b"), v("a"), v("b")}) {
		teams = append(teams, v.Team)
	}
	if got := strings.Join(teams, " "); got != "a b" {
		t.Errorf("got %s", got)
	}
}

// A denial outranks the need for an approval, which outranks a pre-approval, in
// whatever order they come. What needs an approval is planned, so that there is
// something to approve.
func TestDenialOutranksApproval(t *testing.T) {
	violation := func(level Level) Violation {
		return Violation{Level: level, Scope: ScopeDocument, Rule: "rule", Kind: "request", Name: "db", Message: string(level)}
	}
	denied := hold{Allowed, ReasonDenied, "request db: deny (rule)"}
	for levels, want := range map[string]struct {
		hold hold
		asks int
	}{
		"preapprove":              {hold{}, 0},
		"warn preapprove":         {hold{}, 0},
		"preapprove approve":      {hold{}, 1},
		"preapprove approve deny": {denied, 1},
		"deny approve preapprove": {denied, 1},
	} {
		c := &Checked{Platform: &Platform{Requests: map[string]*Request{"db": {Name: "db"}}}, Units: map[string]*Unit{}, holds: map[string]hold{}}
		for level := range strings.FieldsSeq(levels) {
			c.Violations = append(c.Violations, violation(Level(level)))
		}
		c.sort(nil)
		if got := c.holds["request/db"]; got != want.hold {
			t.Errorf("%s: got %+v, want %+v", levels, got, want.hold)
		}
		if _, runs := c.Units["db"]; runs != (want.hold == hold{}) {
			t.Errorf("%s: runs: %v", levels, runs)
		}
		if got := len(c.needs("db")); got != want.asks {
			t.Errorf("%s: asks for %d approvals, want %d", levels, got, want.asks)
		}
	}
}
