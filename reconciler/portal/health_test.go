package portal

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	expect(t, a, "/health", http.StatusOK, "None is at hand here", "up to date", "checkout-config", "old-queue", "checkout-db", "not recorded yet", "terraform 1.11.4 (1)", "!The last error")
	a.options.Health = func() Health {
		return Health{Progress: reconciler.Progress{LastError: "fetch: no route to host", LastFetch: time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), Running: 3}, Version: "1.2.3", Forge: "https://git.acme.example/acme/platform"}
	}
	a.Handler = New(a.options)
	expect(t, a, "/health", http.StatusOK, "fetch: no route to host", "2026-03-01 09:30", "https://git.acme.example/acme/platform", "1.2.3")
	expect(t, a, "/at/2026-02-20/health", http.StatusOK, "checkout-config", "!no route to host")
	must(t, os.WriteFile(filepath.Join(a.repo, "README.md"), []byte("# Acme\n"), 0o644))
	a.commit("2026-03-01T12:00:00Z", "Say what this is")
	a.until("/health", "1 commit behind the tracked branch")
	in := a.tracked[1]
	a.platform = &reconciler.PlatformStatus{Version: 1, Revision: in, Warnings: []string{"anybody may push"}, Orphans: []reconciler.Orphan{{Request: "gone-db", Owner: "search", Resources: []reconciler.RetainedResource{{Address: "aws_db_instance.main", ID: "db-9"}}}}}
	stalled := append(ready(false, reconciler.ReasonStateLost, "the state is empty"), reconciler.Condition{Type: reconciler.Stalled, Status: true, Reason: reconciler.ReasonStateLost})
	a.record("2026-03-01T13:00:00Z", "Fail", "Unit: ledger-db failed +0 ~0 -0 reason=ApplyFailed", reconciler.UnitStatus{Version: 1, Request: "ledger-db", Service: "ledger", Conditions: stalled})
	a.until("/health", "anybody may push")
	expect(t, a, "/health", http.StatusOK, "Stalled</h2>", "StateLost", "ledger-db", "gone-db", "db-9", "What failed last", "ApplyFailed")
}
