package portal

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	a.record("2026-03-05T10:00:00Z", "Apply two", "Pull-Request: #7 by carol\nApproved-By: dave\nUnit: checkout-zone applied +1 ~2 -3 blueprint=dns-zone plan=aa\nUnit: checkout-cert held reason=AwaitingApproval\nUnit: old-queue destroyed +0 ~0 -2 blueprint=queue\nUnit: ledger-db failed +0 ~0 -0 reason=ApplyFailed",
		reconciler.UnitStatus{Version: 1, Request: "checkout-zone", Service: "checkout", Blueprint: "dns-zone", Environment: "production", Conditions: ready(true, reconciler.ReasonApplied, "")})
	a.until("/audit", "checkout-zone")
	for path, texts := range map[string][]string{
		"/audit":                               {"checkout-zone", "#7", "carol", "dave", "destroyed", "old-queue", "Jo", "2026-01-10 13:00", "!checkout-cert", "1–5 of 5"},
		"/audit?person=carol":                  {"1–3 of 3", "!/requests/checkout-db"},
		"/audit?person=Jo":                     {"1–2 of 2", "checkout-db", "!/requests/checkout-zone"},
		"/audit?service=checkout&did=applied":  {"1–3 of 3"},
		"/audit?from=2026-02-01&to=2026-02-28": {"1–1 of 1", "2026-02-20 13:00"},
		"/audit?from=2026-03-05&q=QUEUE":       {"1–1 of 1", "old-queue"},
		"/audit?to=2025-01-01":                 {"Nothing is recorded that is like that."},
		"/audit?from=nonsense":                 {"1–5 of 5"},
		"/at/2026-01-31/audit":                 {"1–1 of 1", "!carol"},
	} {
		expect(t, a, path, http.StatusOK, texts...)
	}
	w := get(a, "/audit?person=carol&rows=all&format=csv")
	rows, err := csv.NewReader(w.Body).ReadAll()
	must(t, err)
	if kind := w.Header().Get("Content-Type"); kind != "text/csv; charset=utf-8" || len(rows) != 4 || len(rows[1]) != len(rows[0]) {
		t.Fatalf("got %s %q", kind, rows)
	}
	if got := strings.Join(rows[1][:10], "|"); got != "2026-03-05T10:00:00Z|carol|checkout-zone|checkout|applied|1|2|3|dns-zone|aa" {
		t.Errorf("got %s", got)
	}
	var page struct {
		Page struct{ Events []struct{ By string } }
	}
	must(t, json.Unmarshal(get(a, "/audit?rows=all&format=json").Body.Bytes(), &page))
	if len(page.Page.Events) != 5 || page.Page.Events[4].By != "Jo" {
		t.Errorf("got %+v", page.Page.Events)
	}
}

// TestFormulas checks that a spreadsheet computes nothing of an export.
func TestFormulas(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", " =1": "' =1", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1", "|calc": "'|calc", "＝1": "'＝1",
		"checkout-db": "checkout-db", "2026-03-05": "2026-03-05", "": "", "a=b": "a=b", "#7": "#7",
	} {
		if got := inert(text); got != want {
			t.Errorf("%q: got %q, expected %q", text, got, want)
		}
	}
}
