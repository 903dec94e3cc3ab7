package portal_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/portal"
)

// unread is a repository that cannot be read.
type unread struct{}

func (unread) Now(context.Context) (*portal.Snapshot, error) {
	return nil, errors.New("fetch https://git.acme.example/platform: no route to host")
}
func (u unread) At(ctx context.Context, _ string) (*portal.Snapshot, error) { return u.Now(ctx) }

// sends is a place to sign in at that sends everybody back at once, as somebody or for
// a reason.
type sends struct {
	back string
	as   portal.Identity
	err  error
}

func (s *sends) Begin(_ context.Context, state, _, _ string) (string, error) {
	return s.back + "?code=1&state=" + state, nil
}

func (s *sends) Identify(context.Context, string, string, string) (portal.Identity, error) {
	return s.as, s.err
}

// owned is a platform with a service and another team than its own.
func owned() *portal.Snapshot {
	document := func(text string) reconciler.Document { return reconciler.Document{JSON: json.RawMessage(text)} }
	search := reconciler.Team{Name: "search", Title: "Search", Document: document(`{"name": "search", "title": "Search"}`)}
	search.Groups.OIDC = "77ab"
	s := standing(true, reconciler.ReasonApplied)
	s.Revision.Time, s.Platform.Settings.Document = time.Unix(0, 0), document(`{}`)
	s.Platform.Teams = map[string]reconciler.Team{
		"payments": {Name: "payments", Title: "Payments", Channel: "#team-payments", Document: document(`{"name": "payments", "title": "Payments", "channel": "#team-payments"}`)},
		"search":   search,
	}
	s.Platform.Services = map[string]*reconciler.Service{"ledger": {Name: "ledger", Title: "Ledger", Owner: "payments", Document: document(`{"name": "ledger", "owner": "payments"}`)}}
	s.Platform.Environments = map[string]reconciler.Environment{"production": {Name: "production"}}
	s.Platform.Blueprints = map[string]reconciler.Blueprint{"queue": {Name: "queue", Title: "Queue"}}
	return s
}

// TestRefusals looks at the pages that say why there is no other, light, dark and on a
// phone, and has them judged as all are.
func TestRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Chromium and axe: make test")
	}
	axe := script(t)
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	known := &latest{}
	known.Store(owned())
	searcher := portal.Identity{ID: "https://login.acme.example dave", Name: "Dave", Groups: []string{"77ab"}}
	asks := func(tab context.Context) error {
		return chromedp.Do(tab, chromedp.SetValue("#name", "ledger-queue"), chromedp.SetValue("#service", "ledger"), chromedp.SetValue("#environment", `"production"`),
			chromedp.Click(`button[value="check"]`), chromedp.WaitVisible(`[role="alert"], .wrong`))
	}
	for _, c := range []struct {
		name, path string
		code       int // of what the path answers at first
		options    portal.Options
		provider   *sends
		busy       bool // whether others ask too often meanwhile
		does       func(tab context.Context) error
		says       string
	}{
		{name: "401", path: "/services", code: http.StatusUnauthorized, says: "Nobody is signed in", options: portal.Options{Snapshots: known}},
		{name: "403", path: "/login?token=used", code: http.StatusForbidden, says: "This address lets nobody in", options: portal.Options{Snapshots: known, Anonymous: true}},
		{name: "404", path: "/nothing", code: http.StatusNotFound, says: "There is no such page", options: portal.Options{Snapshots: known, Anonymous: true}},
		{name: "429", path: "/login?token=often", code: http.StatusTooManyRequests, says: "That is too often", options: portal.Options{Snapshots: known, Anonymous: true}, busy: true},
		{name: "503", path: "/", code: http.StatusServiceUnavailable, says: "no route to host", options: portal.Options{Snapshots: unread{}, Anonymous: true}},
		{name: "expired", path: "/login", code: http.StatusSeeOther, says: "You were not let in", options: portal.Options{Snapshots: known}, provider: &sends{err: errors.New("the token is expired")}},
		{name: "denied", path: "/login?next=/blueprints/queue/new", code: http.StatusSeeOther, says: "service ledger belongs to Payments, and Dave is not in that team", options: portal.Options{Snapshots: known, Edits: &portal.Edits{Writer: catalog.Writer{}}}, provider: &sends{as: searcher}, does: asks},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, as := range ways {
				server := httptest.NewUnstartedServer(nil)
				t.Cleanup(server.Close)
				o := c.options
				o.Rules, o.Log = &policy.Compiler{}, slog.New(slog.DiscardHandler)
				if c.provider != nil {
					c.provider.back = "http://" + server.Listener.Addr().String() + "/login/back"
					o.Provider = c.provider
				}
				handler := portal.New(o)
				server.Config.Handler = handler
				server.Start()
				if c.busy {
					server.Config.Handler = crowded{handler}
				}
				if code := first(t, server.URL+c.path); code != c.code {
					t.Errorf("expected %d: got %d", c.code, code)
				}
				seen, err := look(browser, server.URL, c.path, as, func(tab context.Context) error {
					if c.does != nil {
						if err := c.does(tab); err != nil {
							return err
						}
					}
					text, err := chromedp.Run(tab, chromedp.Text("main"))
					if err == nil && !strings.Contains(text, c.says) {
						t.Errorf("%s: expected %q: got %s", as.name, c.says, text)
					}
					if err != nil {
						return err
					}
					wide, err := chromedp.Run(tab, chromedp.Evaluate[bool]("document.documentElement.scrollWidth > window.innerWidth"))
					if err != nil {
						return err
					}
					if wide {
						t.Errorf("%s: it is wider than the window", as.name)
					}
					return as.judge(t, tab, axe)
				})
				must(t, err)
				as.report(t, seen)
				if *screens != "" {
					must(t, os.WriteFile(filepath.Join(*screens, "refused-"+c.name+"-"+as.name+".png"), seen.picture, 0o644))
				}
			}
		})
	}
}

// crowded is a portal at which somebody else of the same address signs in all the time.
type crowded struct{ http.Handler }

func (c crowded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for strings.HasPrefix(r.URL.Path, "/login") {
		before := httptest.NewRecorder()
		if c.Handler.ServeHTTP(before, r); before.Code == http.StatusTooManyRequests {
			break
		}
	}
	c.Handler.ServeHTTP(w, r)
}

// first is what an address answers at first.
func first(t *testing.T, address string) int {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(address)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode
}
