package portal

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
)

// as is the browser of somebody whom a provider knows by the ids of their groups.
func (a *acme) as(groups ...string) *browser {
	p := a.Handler.(*portal)
	b := newBrowser(a, a.Handler)
	name := p.cookieName(&http.Request{Host: "localhost:8080"}, sessionCookie)
	b.cookies[name] = &http.Cookie{Name: name, Value: p.sessions.begin(Identity{ID: "https://login.acme.example li-na", Name: "Li Na", Groups: groups})}
	return b
}

// The ids of the groups of examples/acme.
const (
	paymentsGroup = "5f0c1d52-payments"
	searchGroup   = "77ab90e4-search"
	platformGroup = "19e3f6bd-platform"
)

// viewOf is what a page is made with, for the browser.
func (b *browser) viewOf() *view {
	b.Helper()
	p := b.Handler.(*portal)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "localhost:8080"
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	v, err := p.view(r, p.sessions.find(p.sessionID(r)))
	must(b, err)
	return v
}

// TestMay asks for requests in the names of teams.
func TestMay(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	known := a.as(platformGroup).viewOf().Platform
	add := func(name, service string) *reconciler.Request {
		return &reconciler.Request{Name: name, Service: service, Document: reconciler.Document{JSON: json.RawMessage(`{"name":"` + name + `"}`)}}
	}
	for what, c := range map[string]struct {
		groups  []string
		action  string
		request *reconciler.Request
		denial  string // of which this is a part; empty where there is none
	}{
		"a member":                 {[]string{paymentsGroup}, "create", add("ledger-more", "ledger"), ""},
		"a member, of what is":     {[]string{paymentsGroup}, "update", known.Requests["ledger-db"], ""},
		"a member, of its end":     {[]string{paymentsGroup, searchGroup}, "delete", known.Requests["ledger-db"], ""},
		"the platform team":        {[]string{platformGroup}, "delete", known.Requests["ledger-db"], ""},
		"another team":             {[]string{searchGroup}, "create", add("ledger-more", "ledger"), "service ledger belongs to Payments, and Li Na is not in that team; ask Payments in #team-payments"},
		"another team, of its end": {[]string{searchGroup}, "delete", known.Requests["ledger-db"], "ask Payments in #team-payments"},
		"nobody's team":            {nil, "update", known.Requests["ledger-db"], "ask Payments in #team-payments"},
		"for what is no service":   {[]string{platformGroup}, "create", add("more", "nothing"), "cannot be applied"},
		"something else":           {[]string{platformGroup}, "view", known.Requests["ledger-db"], "cannot be applied"},
	} {
		violations := a.as(c.groups...).viewOf().may(t.Context(), c.action, c.request)
		text := ""
		for _, v := range violations {
			text += v.Message + "; " + v.Hint
		}
		if denied(violations) != (c.denial != "") || !strings.Contains(text, c.denial) {
			t.Errorf("%s: got %q", what, text)
		}
	}
	anonymous := newBrowser(t, a.Handler).viewOf()
	if !denied(anonymous.may(t.Context(), "update", known.Requests["ledger-db"])) {
		t.Error("nobody asks for something")
	}
}

// own adds a policy to the platform, and its portal.
func (a *acme) own(rego string) {
	a.Helper()
	must(a, os.WriteFile(filepath.Join(a.repo, "policies/seen.rego"), []byte(rego), 0o644))
	a.commit("2026-03-01T12:00:00Z", "Say who sees what")
	books := filepath.Join(a.repo, "catalog/payments/ledger.cue")
	text, err := os.ReadFile(books)
	must(a, err)
	must(a, os.WriteFile(books, []byte(strings.Replace(string(text), "storage: 800", "storage: 900", 1)), 0o644))
	a.commit("2026-03-01T12:30:00Z", "Give ledger-db more room")
	a.record("2026-03-01T13:00:00Z", "Apply ledger-db", "Unit: ledger-db applied +1 ~0 -0 blueprint=db-credentials plan=88bb",
		reconciler.UnitStatus{Version: 1, Request: "ledger-db", Service: "ledger", Owner: "payments", Blueprint: "db-credentials", Environment: "production", Conditions: ready(true, reconciler.ReasonApplied, "")},
		reconciler.UnitStatus{Version: 1, Request: "old-books", Service: "ledger", Owner: "payments", Blueprint: "db-credentials", Environment: "production", Conditions: ready(false, reconciler.ReasonDeletionGuard, "")},
		reconciler.UnitStatus{Version: 1, Request: "vault-key", Service: "vault", Owner: "payments", Blueprint: "db-credentials", Environment: "production", Conditions: ready(false, reconciler.ReasonDeletionGuard, "")},
		reconciler.UnitStatus{Version: 1, Request: "search-cache", Service: "search", Owner: "search", Blueprint: "queue", Environment: "production", Conditions: ready(true, reconciler.ReasonApplied, "")})
	a.options.Rules = &policy.Compiler{}
	a.options.Judgements = NewJudgements(func(_ context.Context, s *Snapshot) (Verdict, error) {
		return Verdict{Rules: []Rule{{ID: "x"}}, Violations: []reconciler.Violation{
			{Level: reconciler.Warn, Rule: "x", Kind: "service", Name: "ledger", Message: "the books are shut"}, {Level: reconciler.Warn, Rule: "x", Kind: "service", Name: "search", Message: "the search is slow"}}}, nil
	})
	a.Cleanup(a.options.Judgements.Close)
	a.options.Health = func() Health { return Health{Progress: reconciler.Progress{LastError: "ledger-db: it broke"}} }
	a.Handler = New(a.options)
}

// TestVisible hides a service from all but its team, on every page and at any time.
func TestVisible(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	a.own(`package acme.seen

deny contains "the books are for those who keep them" if {
	input.kind == "view"
	input.service.name in {"ledger", "vault"}
	not "payments" in object.get(input, ["person", "teams"], [])
}
`)
	past := a.tracked[0]
	pages := []string{"/", "/search?q=ledger", "/search?q=books", "/services", "/services?q=ledger", "/requests", "/requests?q=ledger", "/teams/payments", "/environments/production", "/blueprints/db-credentials",
		"/source/catalog/payments", "/graph", "/audit", "/policies", "/health", "/compare/" + past + "..."}
	gone := []string{"/services/ledger", "/requests/ledger-db", "/requests/old-books", "/requests/vault-key", "/source/catalog/payments/ledger.cue", "/services/ledger/docs/"}
	for _, who := range []*browser{newBrowser(t, a.Handler), a.as(searchGroup), a.as(platformGroup)} {
		for _, base := range []string{"", "/at/" + past, "/at/2026-02-20", "/at/" + a.status[2]} {
			for _, page := range pages {
				w := who.get(base + page)
				text := strings.NewReplacer("q=ledger", "", `value="ledger"`, "", "“ledger”", "").Replace(w.Body.String())
				for _, secret := range []string{"ledger-db", "old-books", "vault-key", "ledger.cue", "Postings", `href="` + base + `/services/ledger"`, "the books are shut", "it broke"} {
					if strings.Contains(text, secret) {
						t.Errorf("%s%s: says %q: %s", base, page, secret, text)
					}
				}
				if w.Code != http.StatusOK {
					t.Errorf("%s%s: got %d %s", base, page, w.Code, w.Body)
				}
			}
			for _, page := range gone {
				for _, format := range []string{"", "?format=json"} {
					if w := who.get(base + page + format); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "Postings") {
						t.Errorf("%s%s: got %d %s", base, page, w.Code, w.Body)
					}
				}
			}
		}
	}
	for _, c := range a.as(searchGroup).viewOf().Changes {
		if strings.Contains(c.Subject+c.Message+strings.Join(c.Paths, " "), "ledger") {
			t.Errorf("a commit says %q of %v", c.Subject, c.Paths)
		}
	}
	member := a.as(paymentsGroup)
	for _, page := range gone[:5] {
		if w := member.get(page); w.Code != http.StatusOK {
			t.Errorf("%s for its team: got %d %s", page, w.Code, w.Body)
		}
	}
	if text := member.get("/policies").Body.String(); !strings.Contains(text, "the books are shut") {
		t.Errorf("what the rules say, for its team: %s", text)
	}
	if text := newBrowser(t, a.Handler).get("/policies").Body.String(); !strings.Contains(text, "the search is slow") {
		t.Errorf("what the rules say, for others: %s", text)
	}
}

// TestRulesFail shows nothing where the rules do not say who sees it.
func TestRulesFail(t *testing.T) {
	t.Parallel()
	for what, rego := range map[string]string{
		"a function that fails": "package acme.seen\n\ndeny contains \"x\" if {\n\tinput.kind == \"view\"\n\tto_number(input.name) > 3\n}\n",
		"what does not compile": "package acme.seen\n\ndeny contains \"x\" if input.kind == nothing\n",
	} {
		a := newAcme(t)
		a.own(rego)
		for _, page := range []string{"/", "/services/ledger?format=json", "/at/2026-02-20/requests", "/source/platform.cue"} {
			if w := a.as(platformGroup).get(page); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "ledger") || !strings.Contains(w.Body.String(), "pave validate") {
				t.Errorf("%s, %s: got %d %s", what, page, w.Code, w.Body)
			}
		}
	}
	handler := New(Options{Snapshots: nothing(), Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	if w := get(handler, "/"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without rules: got %d %s", w.Code, w.Body)
	}
}
