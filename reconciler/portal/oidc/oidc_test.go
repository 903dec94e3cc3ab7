package oidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/portal"
	"github.com/pave-dev/pave/reconciler/portal/oidc"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// account is what the provider knows of somebody; see testdata/tools/oidc.
type account struct {
	IDToken  map[string]any `json:"idToken,omitempty"`
	UserInfo map[string]any `json:"userinfo,omitempty"`
	Groups   []string       `json:"groups,omitempty"`
}

// startProvider starts oidc-provider, and returns the address that it goes by.
func startProvider(t *testing.T, redirect string, accounts map[string]account) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs oidc-provider, which is built: make test")
	}
	program := os.Getenv("PAVE_TEST_OIDC")
	if program == "" {
		program = "oidc"
	}
	text, err := json.Marshal(accounts)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	var output bytes.Buffer
	cmd := exec.Command(program, port, redirect, string(text))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: `go run ./testdata/tools/get oidc` makes it", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the provider says:\n%s", &output)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the provider ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the provider does not answer at %s", address)
		}
	}
}

// fixed is one snapshot for all times.
type fixed struct{ *portal.Snapshot }

func (f fixed) Now(context.Context) (*portal.Snapshot, error)        { return f.Snapshot, nil }
func (f fixed) At(context.Context, string) (*portal.Snapshot, error) { return f.Snapshot, nil }

// teams is a platform that has some, and nothing else.
func teams() portal.Snapshots {
	p := &reconciler.Platform{Teams: map[string]reconciler.Team{}}
	p.Settings.Owner = "platform"
	for _, name := range []string{"platform", "payments", "search"} {
		team := reconciler.Team{Name: name, Title: name}
		team.Groups.OIDC = "group-" + name
		p.Teams[name] = team
	}
	return fixed{&portal.Snapshot{Revision: reconciler.Revision{Commit: "0123456789abcdef"}, Platform: p, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}}
}

// site is a portal whose people sign in at a provider, and a browser on it.
type site struct {
	testing.TB
	*http.Client
	address string
	handler http.Handler
	said    bytes.Buffer // the log
}

// newSite returns a portal that has no provider yet.
func newSite(t testing.TB) *site {
	s := &site{TB: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.address = server.URL
	s.forget()
	return s
}

// forget takes another browser.
func (s *site) forget() {
	jar, err := cookiejar.New(nil)
	must(s.TB, err)
	s.Client = &http.Client{Jar: jar}
}

// trust gives the portal its provider.
func (s *site) trust(c oidc.Config) {
	c.Log = slog.New(slog.NewTextHandler(&s.said, nil))
	c.ClientID, c.Redirect = "pave", portal.Back(s.address)
	provider, err := oidc.New(c)
	must(s.TB, err)
	s.handler = portal.New(portal.Options{Snapshots: teams(), Rules: &policy.Compiler{}, Provider: provider, Log: c.Log})
}

// get follows an address to its end.
func (s *site) get(address string) (code int, at *url.URL, text string) {
	s.Helper()
	answer, err := s.Client.Get(address)
	must(s.TB, err)
	return s.read(answer)
}

func (s *site) read(answer *http.Response) (code int, at *url.URL, text string) {
	s.Helper()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(s.TB, err)
	return answer.StatusCode, answer.Request.URL, string(body)
}

// signIn opens a page of the portal and fills in the forms of the provider that
// it leads to.
func (s *site) signIn(page, name string) (code int, at *url.URL, text string) {
	s.Helper()
	form := regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	prompt := regexp.MustCompile(`name="prompt" value="([^"]+)"`)
	code, at, text = s.get(s.address + page)
	for range 5 {
		if strings.HasPrefix(at.String(), s.address) {
			return code, at, text
		}
		action, asks := form.FindStringSubmatch(text), prompt.FindStringSubmatch(text)
		if action == nil || asks == nil {
			s.Fatalf("%s has no form: %s", at, text)
		}
		to, err := at.Parse(html.UnescapeString(action[1]))
		must(s.TB, err)
		answer, err := s.PostForm(to.String(), url.Values{"prompt": {asks[1]}, "login": {name}, "password": {"any"}})
		must(s.TB, err)
		code, at, text = s.read(answer)
	}
	s.Fatalf("the provider does not end at %s", at)
	return
}

// TestSignIn lets people in whom a real provider knows.
func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := startProvider(t, portal.Back(s.address), map[string]account{
		"alice": {IDToken: map[string]any{"name": "Alice", "email": "alice@acme.example", "groups": []string{"group-payments", "group-else"}}},
		"bob":   {IDToken: map[string]any{"name": "Bob"}, UserInfo: map[string]any{"groups": []string{"group-platform"}, "email": "bob@acme.example", "email_verified": false}},
		"carol": {IDToken: map[string]any{"name": "Carol", "hasgroups": true, "groups": []string{"group-platform"}}, Groups: []string{"group-search"}},
		"dave":  {IDToken: map[string]any{"name": "Dave", "hasgroups": true}}, // of whom the groups' address says nothing
	})
	s.trust(oidc.Config{Issuer: issuer, ClientSecret: "known to both of us", GroupsClaim: "groups", GroupsURL: issuer + "/groups"})
	for name, want := range map[string]string{
		"alice": "Alice alice@acme.example developer payments",
		"bob":   "Bob  platform platform",
		"carol": "Carol  developer search",
		"dave":  "Dave  viewer ",
	} {
		s.forget()
		code, at, text := s.signIn("/me?x=%2F", name)
		if code != http.StatusOK || at.RequestURI() != "/me?x=%2F" {
			t.Errorf("%s: got %d at %s: %s", name, code, at, text)
		}
		var me struct {
			Page struct {
				Name, Email, ID string
				Role            portal.Role
				Teams           []struct{ Name string }
			}
		}
		_, _, text = s.get(s.address + "/me?format=json")
		must(t, json.Unmarshal([]byte(text), &me))
		got := me.Page
		said := strings.Join([]string{got.Name, got.Email, string(got.Role), ""}, " ")
		for _, team := range got.Teams {
			said += team.Name
		}
		if said != want || got.ID != issuer+" "+name {
			t.Errorf("%s: got %q %+v", name, said, got)
		}
	}
	if !strings.Contains(s.said.String(), "403 Forbidden") {
		t.Errorf("expected to read why dave has no groups: %s", &s.said)
	}
}
