package main

import (
	"bytes"
	"encoding/json"
	"html"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/portal"
)

// signOn lets people of the forge sign in to its portal, at a real OpenID provider:
// each with the group of their team and, where the provider says it, their account.
func (f *forge) signOn(accounts map[string]any) {
	f.Helper()
	program := os.Getenv("PAVE_TEST_OIDC")
	if program == "" {
		program = "oidc"
	}
	text, err := json.Marshal(accounts)
	must(f.T, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.T, err)
	address := listener.Addr().String()
	must(f.T, listener.Close())
	_, port, err := net.SplitHostPort(address)
	must(f.T, err)
	var output bytes.Buffer
	cmd := exec.Command(program, port, portal.Back("http://"+f.address), string(text))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		f.Fatalf("%v: `go run ./testdata/tools/get oidc` makes it", err)
	}
	f.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if f.Failed() {
			f.Logf("the provider says:\n%s", &output)
		}
	})
	f.eventually("the provider answers", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	f.secret("oidc", "known to both of us")
	f.stop()
	f.flags = append(f.flags, "--portal-url", "http://"+f.address, "--oidc-issuer", "http://"+address, "--oidc-client-id", "pave",
		"--oidc-client-secret-file", f.dir+"/oidc", "--oidc-handle-claim", "forge")
	f.serve()
}

// person is what the provider says of somebody.
func person(name, team, handle string) map[string]any {
	claims := map[string]any{"name": name, "email": strings.ToLower(name) + "@elsewhere.example", "groups": []string{team}}
	if handle != "" {
		claims["forge"] = handle
	}
	return map[string]any{"idToken": claims}
}

var (
	signForm = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	prompt   = regexp.MustCompile(`name="prompt" value="([^"]+)"`)
)

// visitor signs somebody in to the portal.
func (f *forge) visitor(login string) *visitor {
	f.Helper()
	jar, err := cookiejar.New(nil)
	must(f.T, err)
	v := &visitor{f.T, &http.Client{Jar: jar}, "http://" + f.address}
	answer, err := v.client.Get(v.base + "/login")
	for range 5 {
		must(f.T, err)
		at := answer.Request.URL
		text := v.read(answer, err)
		if at.Host == f.address {
			return v
		}
		action, asks := signForm.FindStringSubmatch(text), prompt.FindStringSubmatch(text)
		if action == nil || asks == nil {
			f.Fatalf("%s has no form: %s", at, text)
		}
		to, err2 := at.Parse(html.UnescapeString(action[1]))
		must(f.T, err2)
		answer, err = v.client.PostForm(to.String(), url.Values{"prompt": {asks[1]}, "login": {login}, "password": {"any"}})
	}
	f.Fatalf("%s cannot sign in", login)
	return nil
}

var pullLine = regexp.MustCompile(`http://\S+/pulls?/(\d+)`)

// proposal is the pull request that a page of the portal names.
func (f *forge) proposal(page string) *pull {
	f.Helper()
	found := pullLine.FindStringSubmatch(textOf(page))
	if found == nil {
		f.Fatalf("the page names no pull request:\n%s", textOf(page))
	}
	number, err := strconv.Atoi(found[1])
	must(f.T, err)
	made, _, err := f.as("alice").PullRequests.Get(f.Context(), "acme", "platform", number)
	must(f.T, err)
	return &pull{f.clone("alice"), number, made.GetHead().GetSHA()}
}

// TestFormOnForge asks for a box in a browser without scripts, on a real forge: the
// form becomes a pull request, which is checked, merged and converged, and the
// request's page says Ready.
func TestFormOnForge(t *testing.T) {
	t.Parallel()
	f := newForge(t, true)
	f.signOn(map[string]any{
		"a1": person("Alice", "payments", "alice"), "b2": person("Bob", "payments", "bob"), "c3": person("Carol", "search", "carol"),
		"d4": person("Dana", "platform", "dana"), "z9": person("Zoe", "payments", ""),
	})
	const path = "/blueprints/box/new"
	entered := func(name string) []string {
		return []string{"name", name, "service", "ledger", "environment", `"development"`, "input.value", "from " + name, "why", "To hold <what> @bob must keep."}
	}

	t.Run("a member asks", func(t *testing.T) {
		f := f.sub(t)
		alice := f.visitor("a1")
		page := alice.send(path, alice.form(path), "check", entered("alice-box")...)
		expect(t, "the page", textOf(page), "Nothing stands against it", "+++ b/catalog/payments/alice-box.cue")
		p := f.proposal(alice.send(path, fieldsOf(t, page), "submit"))
		if again := f.proposal(alice.send(path, fieldsOf(t, page), "submit")); again.number != p.number {
			t.Errorf("sent twice, it is the pull requests %d and %d", p.number, again.number)
		}
		log := p.git("log", "-1", "--format=%an <%ae> %cn %B", "origin/"+branchOfPull(p))
		expect(t, "the commit", log, "Alice <", "@users.noreply.127.0.0.1> Pave Ask for alice-box", "Pave-Requested-By: alice")
		p.expect("success", "Ready to merge", "alice-box", "2 to create")
		p.refused("alice", "approvals")
		p.review("bob", "APPROVE") // the forge wants one, of whomever
		p.merge("alice")
		f.unit("alice-box", "Ready     true", `"from alice-box"`)
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			answer, err := alice.client.Get(alice.base + "/requests/alice-box")
			must(t, err)
			if answer.StatusCode == http.StatusOK {
				if text := textOf(alice.read(answer, nil)); strings.Contains(text, "alice-box\nReady") || strings.Contains(text, "alice-box Ready") {
					break
				} else if time.Now().After(end) {
					t.Fatalf("the request's page never says that it is ready:\n%s", text)
				}
				continue
			}
			answer.Body.Close()
			if time.Now().After(end) {
				t.Fatalf("the request has no page: %s", answer.Status)
			}
		}
	})

	t.Run("whoever asks never approves", func(t *testing.T) {
		f := f.sub(t)
		dana := f.visitor("d4")
		page := dana.send(path, dana.form(path), "submit", entered("dana-box")...)
		p := f.proposal(page)
		p.expect("pending", "`payments` must approve")
		p.review("dana", "APPROVE")
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.expect("success", "by `alice`")
		p.git("switch", "--quiet", "--create", branchOfPull(p), "origin/"+branchOfPull(p))
		p.write("catalog/payments/dana-box.cue", "package platform\n\nrequest: \"dana-box\": {blueprint: \"box\", service: \"ledger\", environment: \"development\", inputs: value: \"other\"}\n")
		p.head = p.push("Say something else")
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE") // who pushed to it by now
		p.review("bob", "APPROVE")
		p.expect("success", "by `bob`")
		p.close()
	})

	t.Run("who cannot ask", func(t *testing.T) {
		f := f.sub(t)
		carol := f.visitor("c3")
		page := carol.send(path, carol.form(path), "submit", entered("carol-box")...)
		expect(t, "the page", textOf(page), "service ledger belongs to Payments, and Carol is not in that team", "Ask the team payments: pagerduty:P2")
		const edit = "/requests/ledger-box/edit"
		page = carol.send(edit, carol.form(edit), "submit", "input.value", "by carol")
		expect(t, "the page", textOf(page), "It is not yours to change", "Ask the team payments")
		zoe := f.visitor("z9")
		page = zoe.send(path, zoe.form(path), "submit", entered("zoe-box")...)
		expect(t, "the page", textOf(page), "It could not be proposed", "nobody knows your account on the forge")
		if refs := f.clone("alice").git("branch", "--remotes", "--list", "origin/pave/carol-*", "origin/pave/zoe-*", "origin/pave/ledger-*"); refs != "" {
			t.Errorf("there are branches: %s", refs)
		}
	})
}

// branchOfPull is the branch that a pull request brings.
func branchOfPull(p *pull) string {
	p.Helper()
	made, _, err := p.as("alice").PullRequests.Get(p.Context(), "acme", "platform", p.number)
	must(p.T, err)
	return made.GetHead().GetRef()
}
