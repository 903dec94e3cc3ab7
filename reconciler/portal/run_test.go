package portal

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// TestRun shows what a run says, to whoever may see the request and to nobody else.
func TestRun(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	const page = "/requests/checkout-db"
	expect(t, a, page, http.StatusOK, "the portal of pave serve shows it", `!class="log"`)
	expect(t, a, page+"?format=json", http.StatusOK, `"noRun": "What a run says`, `!"run":`)

	var said atomic.Pointer[reconciler.RunLog]
	a.own(`package acme.seen

deny contains "the books are for those who keep them" if {
	input.kind == "view"
	input.service.name == "ledger"
	not "payments" in object.get(input, ["person", "teams"], [])
}
`)
	a.options.Runs = func(request string) (reconciler.RunLog, bool) {
		log := said.Load()
		if log == nil || request != "checkout-db" && request != "ledger-db" {
			return reconciler.RunLog{}, false
		}
		return *log, true
	}
	a.Handler = New(a.options)
	expect(t, a, page, http.StatusOK, "The daemon has no log", `!class="log"`)

	at := time.Date(2026, 3, 1, 13, 0, 5, 0, time.UTC)
	log := reconciler.RunLog{Run: "run-7", Revision: a.tracked[1], Lines: []reconciler.LogLine{
		{Time: at, Text: "plan: +1 ~0 -0"}, {Time: at.Add(time.Second), Text: "<script>alert(1)</script> \u202eof ledger"}}}
	said.Store(&log)
	line := `<li><time>13:00:06</time> &lt;script&gt;alert(1)&lt;/script&gt; \u{202e}of ledger</li>`
	w := get(a, page)
	for _, want := range []string{"The run that goes on", "run-7", "2026-03-01 13:00", "data-live", "<time>13:00:05</time> plan: &#43;1 ~0 -0", line, "/at/" + short(a.tracked[1]) + page} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("expected %q:\n%s", want, w.Body)
		}
	}
	expect(t, a, page+"?format=json", http.StatusOK, `"run": "run-7"`, `"text": "plan: +1 ~0 -0"`, `"unfinished": true`)
	for _, past := range []string{"/at/2026-02-20", "/at/" + short(a.status[1])} {
		expect(t, a, past+page, http.StatusOK, "!run-7", "!The last run")
	}

	log.Ended, log.Outcome, log.Left = at.Add(time.Minute), reconciler.Applied, 12
	said.Store(&log)
	expect(t, a, page, http.StatusOK, `The last run <span class="badge good">applied</span>`, "without the first 12 lines")

	for who, code := range map[*browser]int{newBrowser(t, a.Handler): http.StatusNotFound, a.as(searchGroup): http.StatusNotFound, a.as(paymentsGroup): http.StatusOK} {
		for _, format := range []string{"", "?format=json"} {
			w := who.get("/requests/ledger-db" + format)
			if w.Code != code || (code == http.StatusOK) != strings.Contains(w.Body.String(), "run-7") {
				t.Errorf("expected %d: got %d %s", code, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "data-live") {
				t.Error("it is ready and its run has ended, and the page goes on asking")
			}
		}
	}
}

// TestLongRun shows the most that a log holds.
func TestLongRun(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	log := reconciler.RunLog{Run: "run-7", Outcome: reconciler.ApplyFailed, Ended: time.Now()}
	for i := range 200 {
		log.Lines = append(log.Lines, reconciler.LogLine{Time: log.Ended, Text: fmt.Sprintf("line %d %s", i, strings.Repeat("x", 1000))})
	}
	a.options.Runs = func(string) (reconciler.RunLog, bool) { return log, true }
	a.Handler = New(a.options)
	expect(t, a, "/requests/checkout-db", http.StatusOK, "line 0 ", "line 199 ", `<span class="badge bad">apply-failed</span>`)
}
