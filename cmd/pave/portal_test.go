package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/portal"
)

// page asks for a page and returns its status and text.
func page(t *testing.T, address string) (int, string) {
	t.Helper()
	answer, err := http.Get(address)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(text)
}

// started runs a command in the background and returns the first line that it
// prints with the mark in it, and what ends it.
func started(t *testing.T, mark string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		defer in.Close()
		ended <- run(ctx, args, strings.NewReader(""), in, in)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 && code != exitInterrupted {
			t.Errorf("pave %s ends with %d", strings.Join(args, " "), code)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, mark) {
			go io.Copy(io.Discard, out)
			return line
		}
		t.Log(lines.Text())
	}
	t.Fatal("it ended")
	return ""
}

// TestPortal shows a clone of a platform that runs, with nothing but the clone.
func TestPortal(t *testing.T) {
	t.Parallel()
	h := newStarter(t)
	h.pave(0, "apply")
	clone := filepath.Join(h.dir, "clone")
	h.git("clone", "--quiet", "--config", "user.name=Alice", "--config", "user.email=alice@acme.example", h.repo, clone)
	before := filesOf(t, clone)
	address := strings.TrimSpace(started(t, "http://", "portal", "--repo", clone))
	for path, want := range map[string]string{"": "The platform at a glance", "requests/welcome-note": "Ready", "requests/welcome-note?format=json": `"Ready"`, "requests/welcome-note?at=": "the portal of pave serve shows it", "source/platform.cue": "schema.#Root", "audit": "welcome-note"} {
		if code, text := page(t, address+path); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("/%s: got %d %s", path, code, text)
		}
	}
	door := strings.TrimPrefix(started(t, "to sign in:", "portal", "--repo", clone), "to sign in: ")
	jar, err := cookiejar.New(nil)
	must(t, err)
	answer, err := (&http.Client{Jar: jar}).Get(door)
	must(t, err)
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), "Alice") {
		t.Errorf("%s: got %d %s %v", door, answer.StatusCode, text, err)
	}
	if code, text := page(t, door); code != http.StatusForbidden {
		t.Errorf("%s again: got %d %s", door, code, text)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // the rules are asked beside
		_, text := page(t, address+"policies?format=json")
		if strings.Contains(text, `"production-tier"`) && strings.Contains(text, "policies/titles.rego") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the rules are never shown: %s", text)
		}
	}
	if after := filesOf(t, clone); after != before {
		t.Errorf("the portal wrote: before\n%s\nafter\n%s", before, after)
	}
}

// filesOf returns the files below a folder with their times.
func filesOf(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		b.WriteString(path + " " + info.ModTime().String() + "\n")
		return err
	}))
	return b.String()
}

// TestPortalOfDaemon checks that the daemon shows the portal on loopback, beside
// what it answered before.
func TestPortalOfDaemon(t *testing.T) {
	t.Parallel()
	h := newStarter(t)
	d := h.serve()
	d.until("msg=serving", 1)
	address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said())[1]
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code, text := page(t, "http://"+address+"/requests/welcome-note")
		if code == http.StatusOK && strings.Contains(text, ">Ready</span>") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the portal never says that the request is ready: %d %s", code, text)
		}
	}
	if _, text := page(t, "http://"+address+"/requests/welcome-note"); !strings.Contains(text, `The last run <span class="badge good">applied</span>`) || !strings.Contains(text, ": create: done after") {
		t.Errorf("what the run said: got %s", text)
	}
	if _, text := page(t, "http://"+address+"/health"); !strings.Contains(text, "Revision in force") || !strings.Contains(text, "up to date") {
		t.Errorf("/health: got %s", text)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/webhook": 404, "/services/welcome": 200, "/nothing": 404} {
		if code, text := page(t, "http://"+address+path); code != want {
			t.Errorf("%s: got %d %s", path, code, text)
		}
	}
}

// TestPortalForbidden checks who may read where nobody said so, or said it badly.
func TestPortalForbidden(t *testing.T) {
	t.Parallel()
	h := newStarter(t)
	issuer := []string{"--oidc-issuer", "https://login.acme.example", "--oidc-client-id", "pave"}
	for want, args := range map[string][]string{
		"--portal-anonymous shows it":                 {"--listen", "0.0.0.0:0"},
		"--oidc-issuer lets people sign in":           {"--listen", "0.0.0.0:0", "--portal-anonymous=false"},
		"say --portal-url":                            issuer,
		"--portal-url: expected an address":           append([]string{"--portal-url", "portal.acme.example"}, issuer...),
		"without a path":                              append([]string{"--portal-url", "https://acme.example/portal"}, issuer...),
		`the redirect "http://portal.acme.example`:    append([]string{"--portal-url", "http://portal.acme.example"}, issuer...),
		`the issuer "http://login.acme.example" does`: {"--oidc-issuer", "http://login.acme.example", "--oidc-client-id", "pave", "--portal-url", "https://portal.acme.example"},
		"the client has no id":                        {"--oidc-issuer", "https://login.acme.example", "--portal-url", "https://portal.acme.example"},
		"--portal-trusted-proxy: expected a network":  {"--portal-trusted-proxy", "10.1.2.3.4"},
	} {
		args = append([]string{"portal", "--repo", h.repo}, args...)
		var out strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), &out, &out); code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("pave %s: got %d %s", strings.Join(args, " "), code, out.String())
		}
	}
}

// TestPortalOfNothing says what to type where there is no repository.
func TestPortalOfNothing(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "not here")
	must(t, os.Mkdir(folder, 0o700))
	var out strings.Builder
	if code := run(t.Context(), []string{"portal", "--repo", folder}, strings.NewReader(""), &out, &out); code != exitFailure || !strings.Contains(out.String(), "no Git repository at "+folder+": name a clone with --repo, or make a repository: pave init '"+folder+"'") {
		t.Errorf("got %d %s", code, out.String())
	}
}

// TestPortalEdit refuses what is no address that a file could be changed at.
func TestPortalEdit(t *testing.T) {
	t.Parallel()
	h := newStarter(t)
	for _, edit := range []string{"javascript:alert({path})", "https://git.acme.example/edit", "/{path}", "git.acme.example/{path}"} {
		var out strings.Builder
		if code := run(t.Context(), []string{"portal", "--repo", h.repo, "--portal-edit", edit}, strings.NewReader(""), &out, &out); code != exitUsage || !strings.Contains(out.String(), "--portal-edit: expected") {
			t.Errorf("%s: got %d %s", edit, code, out.String())
		}
	}
}

// TestPortalOfProvider checks that with a provider nobody reads who is not signed
// in, on loopback neither.
func TestPortalOfProvider(t *testing.T) {
	t.Parallel()
	h := newStarter(t)
	secret := filepath.Join(h.dir, "secret")
	must(t, os.WriteFile(secret, []byte("known to both\n"), 0o600))
	address := strings.TrimSpace(started(t, "http://", "portal", "--repo", h.repo, "--portal-url", "https://portal.acme.example",
		"--oidc-issuer", "https://127.0.0.1:1", "--oidc-client-id", "pave", "--oidc-client-secret-file", secret))
	if code, text := page(t, address+"services"); code != http.StatusBadGateway || strings.Contains(text, "welcome") {
		t.Errorf("got %d %s", code, text)
	}
	if code, text := page(t, address+"services?format=json"); code != http.StatusUnauthorized || strings.Contains(text, "welcome") {
		t.Errorf("got %d %s", code, text)
	}
}

// TestInForce checks that the daemon's portal takes over what the loop evaluated,
// and evaluates what that does not have in force.
func TestInForce(t *testing.T) {
	t.Parallel()
	tree := func(hash string) *reconciler.Tree {
		return &reconciler.Tree{Files: []reconciler.File{{Path: "platform.cue", Hash: hash}}}
	}
	known, own := &reconciler.Platform{}, &reconciler.Platform{}
	for _, c := range []struct {
		name    string
		inForce *reconciler.Checked
		err     error
		want    *reconciler.Platform
	}{
		{"in force", &reconciler.Checked{Tree: tree("1"), Platform: known, Stated: []reconciler.Violation{{Message: "stated"}}}, nil, known},
		{"another revision", &reconciler.Checked{Tree: tree("2"), Platform: known}, nil, own},
		{"nothing yet", nil, nil, own},
		{"no answer", nil, context.DeadlineExceeded, own},
	} {
		e := newInForce(portalEvaluator{own}, loop{view: func(context.Context) (reconciler.View, error) { return reconciler.View{InForce: c.inForce}, c.err }})
		got, violations, err := e.Evaluate(t.Context(), tree("1"))
		if err != nil || got != c.want || (got == known) != (len(violations) == 1) {
			t.Errorf("%s: got %p %v %v", c.name, got, violations, err)
		}
	}
}

// counted are rules that count what they are asked about.
type counted struct {
	reconciler.Rules
	asked *int
}

func (c counted) Compile(ctx context.Context, tree *reconciler.Tree, settings reconciler.Settings) (reconciler.Judge, []reconciler.Violation) {
	judge, violations := c.Rules.Compile(ctx, tree, settings)
	return countedJudge{judge, c.asked}, violations
}

type judges = reconciler.Judge

type countedJudge struct {
	judges
	asked *int
}

func (c countedJudge) Judge(ctx context.Context, of reconciler.Subject) ([]reconciler.Violation, error) {
	*c.asked++
	return c.judges.Judge(ctx, of)
}

// TestFirstCheck checks that the first change that somebody asks for in the daemon's
// portal costs what it changes, where the rules say what they said when the loop asked
// them: the loop knows the rest. The second one always does.
func TestFirstCheck(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must(t, os.CopyFS(folder, os.DirFS("../../examples/acme")))
	tree, err := git.WorkTree(folder)
	must(t, err)
	for name, at := range map[string]time.Time{"of today": time.Now().UTC(), "of old": time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			a := &app{}
			parts := a.parts()
			parts.Rules = counted{parts.Rules, &asked}
			record, revision := reconciler.NewRecord(), reconciler.Revision{Commit: strings.Repeat("1", 40), Time: at}
			inForce, err := reconciler.Check(t.Context(), parts, tree, revision, record, nil)
			must(t, err)
			all := asked
			beside := loop{func(context.Context) (reconciler.View, error) { return reconciler.View{InForce: inForce}, nil }, parts}
			proposer := a.edits(nil, nil, beside)(newInForce(a.evaluator(), beside)).Proposer.(*portalProposer)
			request := inForce.Platform.Requests["ledger-db"]
			few := 3 * len(inForce.Platform.Blueprints) // which are asked about each time; and of the team whose cost is another
			for _, r := range inForce.Platform.Requests {
				if inForce.Platform.Services[r.Service].Owner == "payments" {
					few++
				}
			}
			for i, storage := range []string{"900", "950"} {
				asked = 0
				found, _ := tree.Find(request.Position.File)
				content, err := tree.Read(found)
				must(t, err)
				outlook, err := proposer.Judge(t.Context(), portal.Draft{
					Snapshot: &portal.Snapshot{Revision: revision, Platform: inForce.Platform, Record: record, Tree: tree},
					Request:  request.Name, File: found.Path, Content: []byte(strings.Replace(string(content), "storage: 800", "storage: "+storage, 1)),
				})
				must(t, err)
				if outlook.Request == nil || outlook.Request.Cost.Monthly == request.Cost.Monthly || len(outlook.Violations) > 0 {
					t.Errorf("got %+v", outlook)
				}
				if asked > few && (i > 0 || name == "of today") {
					t.Errorf("check %d: the rules were asked %d times, expected at most %d of %d", i+1, asked, few, all)
				}
			}
		})
	}
}

// portalEvaluator evaluates everything to one platform.
type portalEvaluator struct{ platform *reconciler.Platform }

func (e portalEvaluator) Evaluate(context.Context, *reconciler.Tree) (*reconciler.Platform, []reconciler.Violation, error) {
	return e.platform, nil, nil
}

func (portalEvaluator) Locate(_ *reconciler.Tree, at reconciler.Position, _, _ string, _ []string) reconciler.Position {
	return at
}

// TestJudgeBesideLoop checks that the rules say the same of what the loop has in
// force, whether its findings are known or not, and also where something was
// recorded since.
func TestJudgeBesideLoop(t *testing.T) {
	t.Parallel()
	document := func(text string) reconciler.Document { return reconciler.Document{JSON: json.RawMessage(text)} }
	db := document(`{"name":"shop-db","service":"shop","blueprint":"box","environment":"test","inputs":{}}`)
	platform := &reconciler.Platform{
		Settings:     reconciler.Settings{Document: document(`{"owner":"shops"}`)},
		Teams:        map[string]reconciler.Team{"shops": {Name: "shops", Document: document(`{"name":"shops"}`)}},
		Environments: map[string]reconciler.Environment{"test": {Name: "test", Document: document(`{"name":"test","stage":"test"}`)}},
		Blueprints:   map[string]reconciler.Blueprint{"box": {Name: "box", Document: document(`{"name":"box","environments":["test"]}`)}},
		Services:     map[string]*reconciler.Service{"shop": {Name: "shop", Owner: "shops", Document: document(`{"name":"shop","owner":"shops","lifecycle":"retired"}`)}},
		Requests:     map[string]*reconciler.Request{"shop-db": {Name: "shop-db", Service: "shop", Blueprint: "box", Environment: "test", Document: db}},
	}
	parts := (&app{}).parts()
	parts.Evaluator = portalEvaluator{platform}
	tree, revision := &reconciler.Tree{}, reconciler.Revision{Commit: "1", Time: time.Now()}
	inForce, err := reconciler.Check(t.Context(), parts, tree, revision, reconciler.NewRecord(), nil)
	if err != nil {
		t.Fatal(err)
	}
	beside := loop{func(context.Context) (reconciler.View, error) { return reconciler.View{InForce: inForce}, nil }, parts}
	applied := reconciler.NewRecord()
	applied.Units["shop-db"] = &reconciler.UnitStatus{Request: "shop-db", Owner: "shops", State: reconciler.State{Address: "local"}, Document: db.JSON}
	for name, c := range map[string]struct {
		record  *reconciler.Record
		refused bool // for nothing may be added to a service that is retired
	}{"new": {reconciler.NewRecord(), true}, "recorded since": {applied, false}} {
		s := &portal.Snapshot{Revision: revision, Tree: tree, Platform: platform, Record: c.record}
		own, err := portalJudge(parts, loop{})(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := portalJudge(reconciler.Parts{}, beside)(t.Context(), s) // which cannot judge by itself
		if err != nil {
			t.Fatal(err)
		}
		refused := slices.ContainsFunc(got.Violations, func(v reconciler.Violation) bool { return v.Rule == "lifecycle-ended" })
		if !reflect.DeepEqual(got, own) || refused != c.refused || len(got.Rules) == 0 {
			t.Errorf("%s: got %+v\nwant %+v", name, got.Violations, own.Violations)
		}
	}
}
