package portal

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	then, now := short(a.tracked[0])+"-"+short(a.status[0]), short(a.tracked[1])+"-"+short(a.status[1])
	for _, path := range []string{"/compare/2026-01-10...2026-02-20", "/compare/2026-01-10...", "/compare/" + a.tracked[0] + "..." + a.tracked[1], "/at/2026-02-20/compare/2026-01-10..."} {
		expect(t, a, path, http.StatusOK, "owner", "<del>payments</del>", "<ins>storefront</ins>", "/at/"+then+"/services/checkout", "/at/"+now+"/services/checkout",
			"+EUR 170.00", "Drifted", "AwaitingApproval", "/at/"+then+"/requests/checkout-config", "!Nothing changed")
	}
	expect(t, a, "/compare/2026-02-20...2026-01-10", http.StatusOK, "<del>storefront</del>", "EUR -170.00")
	expect(t, a, "/compare/2026-02-20...", http.StatusOK, "Nothing changed")
	expect(t, a, "/compare", http.StatusOK, `name="from"`)
	for _, path := range []string{"/compare/2026-01-10", "/compare/...2026-01-10", "/compare/1999-01-01...", "/compare/2026-01-10...yesterday"} {
		expect(t, a, path, http.StatusNotFound, "There is no such time")
	}
	if w := get(a, "/compare?from=2026-01-10&to="); w.Code != http.StatusFound || w.Header().Get("Location") != "/compare/2026-01-10..." {
		t.Errorf("the form: got %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// TestCompareDocuments adds, removes and changes documents of several kinds.
func TestCompareDocuments(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	must(t, os.Remove(filepath.Join(a.repo, "catalog/search/caches.cue")))
	must(t, os.WriteFile(filepath.Join(a.repo, "catalog/search/new.cue"), []byte("package platform\n\nservice: brandnew: {title: \"New\", owner: \"search\", type: \"job\", lifecycle: \"experimental\"}\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(a.repo, "blueprints/queue/README.md"), []byte("# Queues\n"), 0o644))
	a.commit("2026-03-01T12:00:00Z", "Change much")
	a.until("/services", "brandnew")
	w := get(a, "/compare/2026-02-20...?format=json")
	var page struct {
		Page struct {
			Kinds []struct {
				Kind                    string
				Added, Removed, Changed []struct {
					Name   string
					Fields []fieldChange
				}
			}
		}
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &page))
	kinds := page.Page.Kinds
	if len(kinds) != 5 || kinds[0].Kind != "service" || len(kinds[0].Added) != 1 || kinds[0].Added[0].Name != "brandnew" || len(kinds[1].Removed) == 0 {
		t.Errorf("got %s", w.Body)
	}
	if b := kinds[4].Changed; len(b) != 1 || b[0].Name != "queue" || len(b[0].Fields) != 1 || b[0].Fields[0].Path != "README.md" {
		t.Errorf("of blueprints: got %+v", b)
	}
}

func TestFieldChanges(t *testing.T) {
	t.Parallel()
	got := fieldChanges(json.RawMessage(`{"a":1,"b":{"c":"x","d":[1]},"e":{}}`), json.RawMessage(`{"a":1,"b":{"c":"y","d":[1,2]},"f":"z"}`))
	want := []fieldChange{{"b.c", "x", "y"}, {"b.d", "[\n  1\n]", "[\n  1,\n  2\n]"}, {"e", "{}", ""}, {"f", "", "z"}}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, expected %q", got[i], want[i])
		}
	}
}
