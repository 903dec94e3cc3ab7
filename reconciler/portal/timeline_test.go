package portal

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// TestTimeline follows a change from its commit to its apply.
func TestTimeline(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	unit := reconciler.UnitStatus{Version: 1, Request: "checkout-db", Service: "checkout", Owner: "storefront", Blueprint: "db-credentials", Environment: "production", Conditions: ready(true, reconciler.ReasonApplied, "")}
	a.record("2026-02-20T14:00:00Z", "Hold two", "Pull-Request: #7 by carol\nUnit: checkout-db held +0 ~1 -0 reason=AwaitingApproval\nUnit: checkout-db-2 applied +9 ~0 -0", unit)
	a.record("2026-02-20T15:00:00Z", "Apply two", "checkout-db: look for what is left\ncheckout-db-2: nothing\n\nPull-Request: #7 by carol\nApproved-By: dave\nUnit: checkout-db waiting reason=Rollout\nUnit: checkout-db applied +0 ~1 -0 plan=77aa", unit)
	a.until("/requests/checkout-db", "dave")
	var page struct{ Page struct{ History []step } }
	must(t, json.Unmarshal(get(a, "/requests/checkout-db?format=json").Body.Bytes(), &page))
	var got []string
	for _, s := range page.Page.History {
		got = append(got, strings.Join([]string{s.Time, s.Did.Word, s.Did.Tone, s.Text, s.By, s.Pulls, s.Approved, s.About}, "|"))
	}
	want := []string{
		"2026-02-20 15:00|applied|good|+0 ~1 -0 plan=77aa|carol|#7|dave|look for what is left",
		"2026-02-20 15:00|waiting|wait|reason=Rollout|carol|#7|dave|",
		"2026-02-20 14:00|held|wait|+0 ~1 -0 reason=AwaitingApproval|carol|#7||",
		"2026-02-20 13:00|applied|good|+0 ~1 -0 blueprint=db-credentials plan=77aa||||",
		"2026-02-20 12:00|committed|none|Hand checkout over|Jo|||",
		"2026-01-10 13:00|applied|good|+2 ~0 -0 blueprint=db-credentials plan=3fa9||||",
		"2026-01-10 12:00|committed|none|Start the platform|Jo|||",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range page.Page.History {
		if w := get(a, s.Href); w.Code != http.StatusOK {
			t.Errorf("%s: got %d", s.Href, w.Code)
		}
		if (s.Did.Word == "committed") != (s.Revision.Href == "") || s.Revision.Href != "" && get(a, s.Revision.Href).Code != http.StatusOK {
			t.Errorf("%s leads to %q", s.Did.Word, s.Revision.Href)
		}
	}
	expect(t, a, "/requests/checkout-db", http.StatusOK, "approved by dave", "pull request #7", "!+9")
	// What is no more has the commits that made it.
	gone := unit
	gone.Request, gone.Sources = "old-cache", []string{"catalog/payments/checkout.cue"}
	a.record("2026-02-20T16:00:00Z", "Keep one", "Unit: old-cache held reason=DeletionGuard", unit, gone)
	a.until("/requests", "old-cache")
	expect(t, a, "/requests/old-cache", http.StatusOK, "Hand checkout over", "reason=DeletionGuard")
}
