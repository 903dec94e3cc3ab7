package portal

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSunset(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	expect(t, a, "/sunset", http.StatusOK, "Legacy shop", "until 2027-06-30", "/services/shop", "no other service", "!>over<", "!Checkout", "2026-01-10 12:00")
	file := filepath.Join(a.repo, "catalog/payments/ledger.cue")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `lifecycle:   "production"`, "lifecycle: \"deprecated\"\n\tsunset: \"2026-02-01\"", 1)), 0o644))
	a.commit("2026-03-01T12:00:00Z", "End the ledger")
	a.until("/sunset", "Ledger")
	expect(t, a, "/sunset", http.StatusOK, ">over<", "/services/checkout", "2026-03-01 12:00", "/compare/"+short(a.tracked[1])+"..."+short(a.tracked[2]), "#L")
	expect(t, a, "/at/2026-02-28/sunset", http.StatusOK, "!Ledger")
}
