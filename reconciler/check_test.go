package reconciler

import "testing"

// The status branch could not hold what is named like this, nor anything else
// beside it.
func TestImpossibleNamesAreNotRecorded(t *testing.T) {
	c := &Checked{Platform: &Platform{}, Units: map[string]Unit{}, holds: map[string]hold{}}
	for _, name := range []string{"../x", "a/b", "Upper", "", "good"} {
		c.Violations = append(c.Violations, Violation{Level: Deny, Scope: ScopeDocument, Kind: "request", Name: name, Message: "m"})
	}
	c.sort()
	if _, good := c.holds["request/good"]; len(c.holds) != 1 || !good {
		t.Errorf("got %v", c.holds)
	}
}
