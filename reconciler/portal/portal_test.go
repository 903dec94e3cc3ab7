package portal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
)

// The test binary is its own evaluator.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "__eval" {
		if err := catalog.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clone makes a clone what the portal reads, as cmd/pave does.
type clone struct{ *git.Clone }

func (c clone) Heads(ctx context.Context) (heads reconciler.Heads, err error) {
	if heads.Tracked, err = c.Resolve(ctx, "main"); err == nil {
		heads.Status, _, err = c.Tip("pave/status")
	}
	return heads, err
}

func (c clone) Record(ctx context.Context, commit string, known *reconciler.Record) (*reconciler.Record, error) {
	return reconciler.RecordAt(ctx, c, commit, known)
}

func (c clone) Log(ctx context.Context, tip string, most int) ([]Commit, error) {
	entries, err := c.Clone.Log(ctx, tip, most, nil)
	var all []Commit
	for _, e := range entries {
		all = append(all, Commit{ID: e.Commit, Time: e.Time, Subject: e.Subject, Message: e.Message})
	}
	return all, err
}

func (c clone) Changes(ctx context.Context, tip, since string, most, compared int) ([]Change, bool, error) {
	changes, reached, err := c.Clone.Changes(ctx, tip, since, most, compared)
	var all []Change
	for _, made := range changes {
		all = append(all, Change{Commit{ID: made.Commit, Time: made.Time, Subject: made.Subject}, made.Author, made.Paths})
	}
	return all, reached, err
}

// acme is a repository with examples/acme as its platform, a record of two days,
// and its portal.
type acme struct {
	testing.TB
	dir, repo string
	options   Options
	http.Handler
	// The commits of both branches, the first one first.
	tracked, status []string
	platform        *reconciler.PlatformStatus // that the next record holds, where it says more
}

func newAcme(t testing.TB) *acme {
	t.Helper()
	dir := t.TempDir()
	a := &acme{TB: t, dir: dir, repo: filepath.Join(dir, "platform")}
	must(t, os.CopyFS(a.repo, os.DirFS("../../examples/acme")))
	a.git("", "init", "--quiet", "--initial-branch", "main")
	a.commit("2026-01-10T12:00:00Z", "Start the platform")
	a.record("2026-01-10T13:00:00Z", "Apply checkout-db", "Unit: checkout-db applied +2 ~0 -0 blueprint=db-credentials plan=3fa9",
		reconciler.UnitStatus{Version: 1, Request: "checkout-db", Service: "checkout", Owner: "payments", Blueprint: "db-credentials", Environment: "production",
			Conditions: ready(true, reconciler.ReasonApplied, "")})
	file := filepath.Join(a.repo, "catalog/payments/checkout.cue")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `owner:       "payments"`, `owner:       "storefront"`, 1)), 0o644))
	a.commit("2026-02-20T12:00:00Z", "Hand checkout over")
	a.record("2026-02-20T13:00:00Z", "Apply checkout-db again", "Unit: checkout-db applied +0 ~1 -0 blueprint=db-credentials plan=77aa",
		reconciler.UnitStatus{Version: 1, Request: "checkout-db", Service: "checkout", Owner: "storefront", Blueprint: "db-credentials", Environment: "production",
			Conditions: append(ready(true, reconciler.ReasonApplied, ""), reconciler.Condition{Type: reconciler.Drifted, Status: true, Reason: reconciler.ReasonDrift, Since: "2026-02-20T13:00:00Z"}),
			Plan:       &reconciler.PlanSummary{Change: 1, Changes: []reconciler.ChangedField{{Address: "terraform_data.database", Action: "update", Attributes: []string{"input"}}}},
			Outputs:    reconciler.FieldsOf(map[string]json.RawMessage{"host": json.RawMessage(`"db-7.acme.example"`)}), Sensitive: []string{"password"},
			Resources: []string{"terraform_data.database", "random_password.user"}, IDs: reconciler.FieldsOf(map[string]string{"terraform_data.database": "db-7f3a"}), State: reconciler.State{Address: "local"}, Cost: 170,
			Engine: "terraform 1.11.4", LastApplied: "2026-02-20T12:59:00Z", AppliedRevision: a.tracked[1]},
		reconciler.UnitStatus{Version: 1, Request: "checkout-config", Service: "checkout", Owner: "storefront", Blueprint: "app-config", Environment: "production",
			Conditions: ready(false, reconciler.ReasonApproval, "the plan waits for storefront")},
		reconciler.UnitStatus{Version: 1, Request: "old-queue", Service: "checkout", Owner: "storefront", Blueprint: "queue", Environment: "staging",
			Conditions: ready(false, reconciler.ReasonDeletionGuard, "deletions wait for a reviewed change")},
	)
	opened, err := git.OpenClone(a.repo)
	must(t, err)
	t.Cleanup(opened.Close)
	self, err := os.Executable()
	must(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	history := NewHistory(clone{opened}, func() reconciler.Evaluator { return catalog.New([]string{self, "__eval"}, 0) }, 0, log)
	t.Cleanup(history.Close)
	a.options = Options{Snapshots: history, Rules: compiler, Anonymous: true, Direct: true, Hosts: []string{"portal.acme.example"}, Log: log}
	a.Handler = New(a.options)
	return a
}

func ready(is bool, reason, message string) reconciler.Conditions {
	return reconciler.Conditions{{Type: reconciler.Ready, Status: is, Reason: reason, Message: message, Since: "2026-01-10T13:00:00Z"}}
}

// git runs git in the repository at a time.
func (a *acme) git(at string, args ...string) string {
	a.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = a.repo
	at = cmp.Or(at, "2026-01-01T00:00:00Z")
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+at, "GIT_COMMITTER_DATE="+at, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Jo", "GIT_AUTHOR_EMAIL=jo@example.org", "GIT_COMMITTER_NAME=Jo", "GIT_COMMITTER_EMAIL=jo@example.org", "GIT_INDEX_FILE=")
	if len(args) > 0 && strings.HasPrefix(args[0], "--work-tree=") {
		cmd.Env[len(cmd.Env)-1] = "GIT_INDEX_FILE=" + filepath.Join(a.dir, "index")
	} else {
		cmd.Env = cmd.Env[:len(cmd.Env)-1]
	}
	out, err := cmd.Output()
	if err != nil {
		a.Fatalf("git %s: %v %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (a *acme) commit(at, subject string) {
	a.Helper()
	a.git(at, "add", "--all")
	a.git(at, "commit", "--quiet", "--message", subject)
	a.tracked = append(a.tracked, a.git("", "rev-parse", "HEAD"))
}

// record makes a commit of the status branch that holds the units.
func (a *acme) record(at, subject, trailer string, units ...reconciler.UnitStatus) {
	a.Helper()
	tree := a.TempDir()
	put := func(path string, v any) {
		content, err := json.MarshalIndent(v, "", "  ")
		must(a, err)
		must(a, os.MkdirAll(filepath.Dir(filepath.Join(tree, path)), 0o755))
		must(a, os.WriteFile(filepath.Join(tree, path), content, 0o644))
	}
	revision := a.tracked[len(a.tracked)-1]
	if a.platform == nil {
		a.platform = &reconciler.PlatformStatus{Version: 1, Revision: revision}
	}
	put("platform.json", a.platform)
	revision, a.platform = a.platform.Revision, nil
	for _, u := range units {
		digest := sha256.Sum256([]byte(u.Request))
		put(fmt.Sprintf("requests/%x/%s.json", digest[:1], u.Request), u)
	}
	work := "--work-tree=" + tree
	a.git(at, work, "add", "--all")
	args := []string{work, "commit-tree", a.git(at, work, "write-tree"), "-m", subject + "\n\nRevision: " + revision + "\n" + trailer + "\nPave-Record: v1"}
	if n := len(a.status); n > 0 {
		args = append(args, "-p", a.status[n-1])
	}
	commit := a.git(at, args...)
	a.git(at, "update-ref", "refs/heads/pave/status", commit)
	a.status = append(a.status, commit)
}

// get asks for a page as a browser on this machine does.
func get(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost:8080"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// expect looks for texts on a page.
func expect(t testing.TB, h http.Handler, path string, code int, texts ...string) {
	t.Helper()
	w := get(h, path)
	if w.Code != code {
		t.Errorf("%s: got %d: %s", path, w.Code, w.Body)
	}
	checkHeaders(t, path, w)
	text := html.UnescapeString(w.Body.String())
	for _, want := range texts {
		if unwanted, not := strings.CutPrefix(want, "!"); not == strings.Contains(text, unwanted) {
			t.Errorf("%s: expected %q:\n%s", path, want, text)
		}
	}
}

func checkHeaders(t testing.TB, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "same-origin",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s is %q", path, name, got)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	for path, texts := range map[string][]string{
		"/":                                     {"The platform at a glance", ">15</strong>", "checkout-config", "AwaitingApproval", "Changed behind Pave’s back", "Apply checkout-db again", "EUR 170"},
		"/search?q=check":                       {"Checkout", "checkout-db", "for “check”"},
		"/search?q=cart":                        {"/services/checkout"},
		"/search?q=li-na":                       {"/teams/payments"},
		"/search?q=posting+write":               {"/services/ledger", "openapi of ledger", ">API<"},
		"/search?q=reserves+nothing":            {"0 results"},
		"/search?q=db-7f3a":                     {"terraform_data.database", "/requests/checkout-db"},
		"/search?q=short-lived":                 {"/source/policies/certificates.rego#L2", ">policy<"},
		"/search?q=somebody+on+call":            {"comes with Pave"},
		"/search?q=documentation+of+checkout":   {"/services/checkout/docs/README.md"},
		"/search?q=nothing-at-all":              {"0 results"},
		"/services":                             {"Checkout", "Ledger", "1–15 of 15", "Tier 1"},
		"/services?owner=search":                {"Indexer", "!Ledger"},
		"/services?tier=1&q=BASKET":             {"Checkout", "1–1 of 1", "!Ledger"},
		"/services?lifecycle=none":              {"No service is like that."},
		"/services/checkout":                    {"Turns a basket", "Storefront", "pagerduty:checkout-primary", "#team-storefront", "availability", "99.95", "checkout-db", "Payment gateway", "https://api.acme.example/checkout/openapi.json", "catalog/payments/checkout.cue:3", "#L6", "docs/checkout", "Hand checkout over", "/compare/", "drifted", "/audit?service=checkout", "/environments/production"},
		"/services/checkout/docs/":              {"<h2>Checkout</h2>", "it reserves the goods", "<em>open</em>", "docs/checkout/README.md"},
		"/services/ledger":                      {"Needed by", "/services/checkout", "Write a posting", "/postings/{posting}", "deprecated", "2.3.0", "apis/ledger.yaml", "Start the platform", "Not recorded"},
		"/services/legacy-shop":                 {"2027-06-30", "/services/shop"},
		"/requests":                             {"checkout-db", "1–26 of 26", "old-queue", "not in this revision"},
		"/requests?state=AwaitingApproval":      {"checkout-config", "1–1 of 1"},
		"/requests?drift=drifted":               {"checkout-db", "1–1 of 1"},
		"/requests/checkout-db":                 {"Open and paid orders.", "Drifted", "db-7.acme.example", "secret", "terraform_data.database", "update", "EUR 170.00", "applied</span> +0 ~1 -0", "applied</span> +2 ~0 -0", "Hand checkout over", "committed", "checkout-config", "catalog/payments/checkout.cue", `"storage": 500`},
		"/requests/checkout-config":             {"the plan waits for storefront", "checkout-db.password", "/requests/checkout-db"},
		"/requests/old-queue":                   {"deletions wait for a reviewed change"},
		"/teams":                                {"Payments", "Takes the money"},
		"/teams/payments":                       {"mira-okafor", "lead", "pagerduty:payments-primary", "EUR 650.00", "Ledger", "!Checkout"},
		"/environments":                         {"production", "staging", "not ready"},
		"/environments/production":              {"checkout-db", "State is kept in"},
		"/blueprints":                           {"TLS certificate", "used"},
		"/blueprints/tls-cert":                  {"hostname", "list(string)", "The private key", "secret", "checkout-cert", "180 days"},
		"/source/":                              {"platform.cue", "catalog/"},
		"/source/catalog/payments":              {"checkout.cue", "ledger.cue"},
		"/source/catalog/payments/checkout.cue": {`id="L3"`, "service: checkout: {"},
	} {
		expect(t, a, path, http.StatusOK, texts...)
	}
	if w := get(a, "/services/cart"); w.Code != http.StatusFound || w.Header().Get("Location") != "/services/checkout" {
		t.Errorf("an earlier name: got %d to %q", w.Code, w.Header().Get("Location"))
	}
	for path, texts := range map[string][]string{
		"/services/chekout": {"There is no such service", "/services/checkout"}, "/requests/checkout-bd": {"/requests/checkout-db"},
		"/teams/nobody": {"There is no such team"}, "/environments/prod": {"/environments/production"}, "/blueprints/tls": {"/blueprints/tls-cert"},
		"/source/none.cue": {"There is no such file"}, "/services/ledger/docs/": {"no such document"}, "/services/checkout/docs/none.md": {"no such document"}, "/nothing": {"There is no such page"}, "/static/none.css": nil,
	} {
		expect(t, a, path, http.StatusNotFound, texts...)
	}
}

// TestPast checks that a page of a past day says what was said then.
func TestPast(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	then := []string{"Payments", "!#team-storefront", "You see the platform as it was"}
	now := []string{"#team-storefront", "!#team-payments"}
	for when, texts := range map[string][]string{
		"2026-01-10": then, "2026-02-19": then, a.tracked[0]: then, a.tracked[0][:7]: then, a.status[0]: then, a.tracked[0] + "-" + a.status[0]: then,
		"2026-02-20": now, "2026-09-01": now, a.tracked[1]: now, a.status[1]: now,
	} {
		expect(t, a, "/at/"+when+"/services/checkout", http.StatusOK, texts...)
	}
	expect(t, a, "/at/2026-01-31/requests/checkout-db", http.StatusOK, "Ready", "applied</span> +2 ~0 -0", "!applied</span> +0 ~1 -0", "!db-7.acme.example")
	expect(t, a, "/at/2026-01-31/source/catalog/payments/checkout.cue", http.StatusOK, `owner:       "payments"`)
	a.git("2026-03-01T00:00:00Z", "branch", "elsewhere", a.git("2026-03-01T00:00:00Z", "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Elsewhere"))
	for _, when := range []string{"2026-01-09", "2026-13-01", "yesterday", "0000000", strings.Repeat("0", 40), "..", a.git("", "rev-parse", "elsewhere")} {
		expect(t, a, "/at/"+when+"/services", http.StatusNotFound, "There is no such time")
	}
	if w := get(a, "/at/?day=2026-01-10"); w.Code != http.StatusFound || w.Header().Get("Location") != "/at/2026-01-10/" {
		t.Errorf("the form for days: got %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// TestNews checks that a commit is shown without a restart.
func TestNews(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	expect(t, a, "/teams/payments", http.StatusOK, "!Moneymakers")
	file := filepath.Join(a.repo, "teams.cue")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `"Payments"`, `"Moneymakers"`, 1)), 0o644))
	a.commit("2026-03-01T12:00:00Z", "Rename a team")
	a.until("/teams/payments", "Moneymakers")
	expect(t, a, "/requests/checkout-db", http.StatusOK, "db-7.acme.example")
	a.record("2026-03-01T13:00:00Z", "Fail", "Unit: checkout-db fails",
		reconciler.UnitStatus{Version: 1, Request: "checkout-db", Blueprint: "db-credentials", Conditions: ready(false, reconciler.ReasonApplyFailed, "the disk is full")})
	a.until("/requests/checkout-db", "the disk is full")
	expect(t, a, "/requests", http.StatusOK, "!old-queue")
	expect(t, a, "/teams/payments", http.StatusOK, "Moneymakers")
}

// TestRefusedRevision checks that a revision that is not in force is not shown as
// the platform, but named with what is wrong.
func TestRefusedRevision(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	must(t, os.Remove(filepath.Join(a.repo, "teams.cue")))
	a.commit("2026-03-01T12:00:00Z", "Dissolve the teams")
	in := a.tracked[1]
	a.platform = &reconciler.PlatformStatus{Version: 1, Revision: in, Refused: &reconciler.Refusal{Revision: a.tracked[2], Violations: []reconciler.Violation{{Level: reconciler.Deny, Message: "there are no teams"}}}}
	a.record("2026-03-01T13:00:00Z", "Refuse a revision", "Pave-Note: none")
	expect(t, a, "/", http.StatusOK, "is refused; the last good one stays in force", "there are no teams", in[:8], ">4</strong>")
	expect(t, a, "/at/2026-03-02/teams/payments", http.StatusOK, "mira-okafor")
	expect(t, a, "/at/"+in+"-"+a.status[1]+"/teams/payments", http.StatusOK, "mira-okafor")
}

// until waits for a page to hold a text.
func (a *acme) until(path, text string) {
	a.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(get(a, path).Body.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			a.Fatalf("%s never says %q", path, text)
		}
	}
}

var linkPattern = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)

// TestLinks follows every link of the portal.
func TestLinks(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	seen := map[string]bool{"/": true}
	queue := []string{"/"}
	bodies := map[string]string{}
	lines := map[string]string{} // of files, with a page that leads there
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		w := get(a, path)
		checkHeaders(t, path, w)
		if w.Code == http.StatusFound {
			continue
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: got %d", path, w.Code)
		}
		bodies[path] = w.Body.String()
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range linkPattern.FindAllStringSubmatch(bodies[path], -1) {
			to, err := url.Parse(html.UnescapeString(m[1]))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if to.Host != "" {
				if !strings.HasSuffix(to.Host, "acme.example") {
					t.Errorf("%s leads to %s", path, to)
				}
				continue
			}
			base, _ := url.Parse(path)
			to = base.ResolveReference(to)
			fragment := to.Fragment
			to.Fragment = ""
			next := to.String()
			if next == "/at/" {
				continue // the form for days
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
			if strings.HasPrefix(fragment, "L") {
				lines[next+"#"+fragment] = path
			}
		}
	}
	for to, from := range lines {
		if next, fragment, _ := strings.Cut(to, "#"); !strings.Contains(bodies[next], `id="`+fragment+`"`) {
			t.Errorf("%s: there is no %s", from, to)
		}
	}
	if len(bodies) < 300 || len(lines) < 300 {
		t.Errorf("only %d pages and %d lines were found", len(bodies), len(lines))
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	w := get(a, "/services/checkout?format=json")
	checkHeaders(t, "JSON", w)
	var page struct {
		Revision struct{ Commit string }
		Status   struct{ Commit string }
		Page     struct {
			Owner    link
			Tier     int
			Requests []struct {
				Name  string
				State state
			}
			DependsOn []link
		}
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &page))
	if page.Revision.Commit != a.tracked[1] || page.Status.Commit != a.status[1] || page.Page.Owner.Text != "storefront" || page.Page.Tier != 1 ||
		len(page.Page.DependsOn) != 3 || len(page.Page.Requests) < 5 || page.Page.Requests[0].State.Word == "" {
		t.Errorf("got %s", w.Body)
	}
	a.options.Edits = &Edits{Writer: catalog.Writer{}} // so that there are forms
	a.Handler = New(a.options)
	for path := range routes {
		path = strings.Replace(path, "{name}/docs/{path...}", "checkout/docs/README.md", 1)
		path = strings.NewReplacer("{$}", "", "/{path...}", "/platform.cue", "{between}", "2026-01-10...2026-02-20").Replace(path)
		kind, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		path = strings.ReplaceAll(path, "{name}", map[string]string{"services": "ledger", "requests": "checkout-db", "teams": "search", "environments": "staging", "blueprints": "queue"}[kind])
		w := get(a, path+"?format=json")
		if !json.Valid(w.Body.Bytes()) || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	for host, code := range map[string]int{
		"localhost": 200, "LOCALHOST:1": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "127.8.8.8": 200, "portal.acme.example": 200, "Portal.Acme.example:443": 200,
		"evil.example": 421, "localhost.evil.example": 421, "10.0.0.1:8080": 421, "": 421, "127.0.0.1.evil.example": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		checkHeaders(t, host, w)
		if w.Code != code {
			t.Errorf("host %q: got %d, expected %d", host, w.Code, code)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "TRACE", "ANY"} {
		r := httptest.NewRequest(method, "/services", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		checkHeaders(t, method, w)
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: got %d", method, w.Code)
		}
	}
	for _, path := range []string{
		"/source/../../../../etc/passwd", "/source/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/source/..%2f..%2f..%2fetc%2fpasswd", "/source//etc/passwd", "/source/%2fetc/passwd",
		"/source/.git/config", "/source/catalog/../.git/config", "/static/..%2fportal.go", "/static/%2e%2e/portal.go", "/at/2026-02-20/source/../../../etc/passwd",
		"/at/..%2f..%2fetc/", "/at/2026-02-20//evil.example/", "/at//evil.example", "/source/a%00b", "//evil.example/%2e%2e",
	} {
		w := get(a, path)
		checkHeaders(t, path, w)
		to := w.Header().Get("Location")
		if w.Code == http.StatusOK || strings.Contains(w.Body.String(), "root:") || strings.Contains(w.Body.String(), "[core]") || strings.HasPrefix(to, "//") || strings.Contains(to, "://") {
			t.Errorf("%s: got %d to %q: %s", path, w.Code, to, w.Body)
		}
	}
}

// TestDirect checks that a portal for this machine refuses what came from elsewhere.
func TestDirect(t *testing.T) {
	t.Parallel()
	empty := &Snapshot{Platform: &reconciler.Platform{}, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}
	for _, direct := range []bool{true, false} {
		handler := New(Options{Snapshots: fixed{empty}, Rules: compiler, Anonymous: true, Direct: direct, Log: slog.New(slog.DiscardHandler)})
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = "localhost"
			r.Header.Set(name, "198.51.100.7")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			checkHeaders(t, name, w)
			if refused := w.Code == http.StatusForbidden; refused != direct {
				t.Errorf("%s: got %d", name, w.Code)
			}
		}
	}
}

// fixed is one snapshot for all times.
type fixed struct{ *Snapshot }

func (f fixed) Now(context.Context) (*Snapshot, error)        { return f.Snapshot, nil }
func (f fixed) At(context.Context, string) (*Snapshot, error) { return f.Snapshot, nil }

// beside is one snapshot, and at "empty" another of nothing.
type beside struct{ *Snapshot }

func (b beside) Now(context.Context) (*Snapshot, error) { return b.Snapshot, nil }

func (b beside) At(_ context.Context, when string) (*Snapshot, error) {
	if when == "empty" {
		return &Snapshot{Platform: &reconciler.Platform{}, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}, nil
	}
	return b.Snapshot, nil
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	follow := func(to string) string {
		if strings.HasPrefix(to, "javascript:") || strings.HasPrefix(to, "missing") {
			return ""
		}
		return "/to/" + to
	}
	for source, want := range map[string]string{
		"# A\n\ntext *b*":                         "<h2>A</h2>\n<p>text <em>b</em></p>\n",
		"a <script>x</script> b":                  "<p>a &lt;script&gt;x&lt;/script&gt; b</p>\n",
		"<div onclick=x>\n*a*\n</div>":            "<pre>&lt;div onclick=x&gt;\n*a*\n&lt;/div&gt;</pre>\n",
		"<!-- a\n\nb -->":                         "<pre>&lt;!-- a\n\nb --&gt;</pre>\n",
		"[a **b**](c.md)":                         `<p><a href="/to/c.md">a <strong>b</strong></a></p>` + "\n",
		"[a](javascript:x) [b](missing.md)":       "<p>a b</p>\n",
		"![pic](p.png)":                           `<p><a href="/to/p.png">pic</a></p>` + "\n",
		"[![pic](p.png)](c.md)":                   `<p><a href="/to/c.md">pic</a></p>` + "\n",
		"<javascript:x> <https://a.example>":      `<p>javascript:x <a href="/to/https://a.example">https://a.example</a></p>` + "\n",
		"```html\n<b>\n```":                       "<pre><code class=\"language-html\">&lt;b&gt;\n</code></pre>\n",
		"|a|b|\n|:-|-:|\n|1|2|":                   "",
		"[a]\n\n[a]: javascript:x":                "<p>a</p>\n",
		"<a href=\"javascript:x\">a</a>":          "<p>&lt;a href=&#34;javascript:x&#34;&gt;a&lt;/a&gt;</p>\n",
		"x\n: <style>*{}</style>\n<svg onload=x>": "",
	} {
		got, err := markdown(source, follow)
		must(t, err)
		if want != "" && string(got) != want {
			t.Errorf("%q: got\n%s\nexpected\n%s", source, got, want)
		}
		for _, wrong := range readPage(string(got), ofMarkdown()).wrong {
			t.Errorf("%q: %s", source, wrong)
		}
	}
}

// TestNothing shows a platform of which nothing is known.
func TestNothing(t *testing.T) {
	t.Parallel()
	empty := &Snapshot{Revision: reconciler.Revision{Commit: "0123456789abcdef"}, Platform: &reconciler.Platform{}, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}
	handler := New(Options{Snapshots: fixed{empty}, Rules: compiler, Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	for _, path := range []string{"/", "/services", "/requests", "/teams", "/environments", "/blueprints", "/search?q=x", "/compare", "/compare/x...", "/graph", "/audit", "/policies", "/health", "/sunset"} {
		expect(t, handler, path, http.StatusOK, "nothing is recorded yet")
	}
}

// TestSecrets checks that an output that the blueprint calls sensitive is not
// shown, whatever the record has.
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := &Snapshot{Platform: &reconciler.Platform{
		Blueprints: map[string]reconciler.Blueprint{"db": {Name: "db", Outputs: map[string]reconciler.Output{"password": {Sensitive: true}}}},
		Requests:   map[string]*reconciler.Request{"my-db": {Name: "my-db", Blueprint: "db"}},
	}, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}
	s.Record.Units["my-db"] = &reconciler.UnitStatus{Request: "my-db", Blueprint: "db", Outputs: reconciler.FieldsOf(map[string]json.RawMessage{"password": json.RawMessage(`"hunter2"`), "token": json.RawMessage(`"hunter2"`)}), Sensitive: []string{"token"}}
	handler := New(Options{Snapshots: fixed{s}, Rules: compiler, Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	expect(t, handler, "/requests/my-db", http.StatusOK, "token", "!hunter2")
	expect(t, handler, "/requests/my-db?format=json", http.StatusOK, "token", "!hunter2")
}

// TestContrast checks what the style sheet paints on what against level AA.
func TestContrast(t *testing.T) {
	t.Parallel()
	sheet := string(assets().files["portal.css"].content)
	themes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(sheet, -1)
	if len(themes) != 2 {
		t.Fatalf("expected a light and a dark theme, found %d", len(themes))
	}
	for _, theme := range themes {
		colors := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]+);`).FindAllStringSubmatch(theme[1], -1) {
			colors[m[1]] = m[2]
		}
		for ground, inks := range map[string][]string{
			"ground": {"text", "soft", "accent"}, "card": {"text", "soft", "accent", "bad", "wait", "good"}, "none-ground": {"text", "soft", "accent"}, "accent-ground": {"accent"}, "accent": {"card"},
			"good-ground": {"good"}, "wait-ground": {"wait", "text"}, "bad-ground": {"bad", "text"}, "mark": {"text"},
		} {
			for _, ink := range inks {
				a, b := luminance(t, colors[ground]), luminance(t, colors[ink])
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
					t.Errorf("%s on %s: %.2f", ink, ground, ratio)
				}
			}
		}
	}
}

// luminance is that of WCAG 2.
func luminance(t *testing.T, color string) float64 {
	t.Helper()
	if len(color) == 3 {
		color = string([]byte{color[0], color[0], color[1], color[1], color[2], color[2]})
	}
	bytes, err := hex.DecodeString(color)
	must(t, err)
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(bytes[i]) / 255
		if c <= 0.04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}
