package reconciler

import (
	"fmt"
	"testing"
)

// The status branch could not hold what is named like this, nor anything else
// beside it.
func TestImpossibleNamesAreNotRecorded(t *testing.T) {
	c := &Checked{Platform: &Platform{}, Units: map[string]*Unit{}, holds: map[string]hold{}}
	for _, name := range []string{"../x", "a/b", "Upper", "", "good"} {
		c.Violations = append(c.Violations, Violation{Level: Deny, Scope: ScopeDocument, Kind: "request", Name: name, Message: "m"})
	}
	c.sort(nil)
	if _, good := c.holds["request/good"]; len(c.holds) != 1 || !good {
		t.Errorf("got %v", c.holds)
	}
}

// Sums of the same amounts differ in their last digits by the order of a map.
func TestCostsDoNotDependOnAnOrder(t *testing.T) {
	p := &Platform{Services: map[string]*Service{"shop": {Owner: "storefront"}}, Requests: map[string]*Request{}, Teams: map[string]Team{"storefront": {}}}
	for i := range 100 {
		r := &Request{Service: "shop"}
		r.Cost.Monthly = 0.1 * float64(i)
		p.Requests[fmt.Sprint("shop-", i)] = r
	}
	c := &Checked{Platform: p}
	c.sumCosts(&news{})
	for range 100 {
		if changes := costChanges(p, p); len(changes) > 0 {
			t.Fatalf("nothing changes, got %+v", changes)
		}
		if after := c.teamCosts(&Record{})["storefront"].After; after != 495 {
			t.Fatalf("got %v, want 495", after)
		}
	}
}
