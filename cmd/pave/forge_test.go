package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

// forge is a real forge with a platform repository, and Pave serving it.
type forge struct {
	*testing.T
	*hub.Hub
	whole   *testing.T // the test that this is a part of, until whose end Pave runs
	dir     string
	starts  string // a file with a line for each start of an engine
	flags   []string
	address string // where Pave listens
	stop    func()
	log     *syncBuffer
}

const webhookSecret = "the secret of the webhook"

// newForge starts a forge whose repository is testdata/boxes.txtar with the teams
// of testdata/forge.txtar over it.
func newForge(t *testing.T, webhooks bool) *forge {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Gitea, which `go run ./testdata/tools/get gitea` builds: make test")
	}
	gitea := os.Getenv("PAVE_TEST_GITEA")
	if gitea == "" {
		t.Fatal("PAVE_TEST_GITEA is not set: `go run ./testdata/tools/get gitea` builds it, `make test` sets it")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	f := &forge{T: t, whole: t, dir: dir, log: &syncBuffer{}}
	platform := filepath.Join(dir, "platform")
	must(t, layOut(platform, "forge"))
	must(t, layOut(platform, "boxes"))
	poll := "1s"
	if webhooks { // and nothing else
		poll = "1h"
	}
	settings, err := os.ReadFile(filepath.Join(platform, "platform.cue"))
	must(t, err)
	text := strings.Replace(string(settings), `platform: owner: "platform"`, `platform: {owner: "platform", intervals: poll: "`+poll+`"}`, 1)
	must(t, os.WriteFile(filepath.Join(platform, "platform.cue"), []byte(text), 0o644))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f.address = listener.Addr().String()
	must(t, listener.Close())
	o := hub.Options{Gitea: gitea, Dir: filepath.Join(dir, "hub"), From: platform, Approvals: 1,
		Members: []string{"alice", "bob", "carol", "dana", "erin"}, Outsiders: []string{"mallory"}, Log: t.Output()}
	if webhooks {
		o.Webhook, o.Secret = "http://"+f.address+"/webhook", webhookSecret
	}
	f.Hub, err = hub.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close the forge: %v", err)
		}
	})
	bin := filepath.Join(dir, "engines")
	must(t, os.Mkdir(bin, 0o700))
	f.starts, err = layOutEngines(bin, findEngines(t))
	must(t, err)
	f.secret("token", f.Users[hub.Bot].Token)
	f.secret("hook", webhookSecret)
	f.flags = append([]string{"--repo", f.Clone, "--branch", "main", "--cache-dir", filepath.Join(dir, "cache"), "--state-dir", filepath.Join(dir, "state"),
		"--token-file", filepath.Join(dir, "token"), "--github", f.Repository, "--github-url", f.URL}, engineFlags(bin)...)
	f.serve()
	return f
}

func (f *forge) secret(name, content string) {
	f.Helper()
	must(f.T, os.WriteFile(filepath.Join(f.dir, name), []byte(content+"\n"), 0o600))
}

// serve starts Pave and waits until a revision is in force.
func (f *forge) serve() {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"serve", "--listen", f.address, "--webhook-secret-file", filepath.Join(f.dir, "hook")}, f.flags...)
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, strings.NewReader(""), f.log, f.log) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != 0 && code != exitInterrupted {
			f.Errorf("serve ended with %d", code)
		}
	})
	f.whole.Cleanup(func() {
		f.stop()
		if f.whole.Failed() {
			f.whole.Logf("what Pave said:\n%s", f.log.String())
		}
	})
	f.eventually("Pave is ready", func() bool {
		resp, err := http.Get("http://" + f.address + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// eventually waits for something that others do.
func (f *forge) eventually(what string, is func() bool) {
	f.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if is() {
			return
		}
		if time.Now().After(end) {
			f.Fatalf("it never came that %s", what)
		}
	}
}

// as is an unmodified client of a GitHub Enterprise Server.
func (f *forge) as(login string) *github.Client {
	f.Helper()
	client, err := github.NewClient(nil).WithAuthToken(f.Users[login].Token).WithEnterpriseURLs(f.URL, f.URL)
	must(f.T, err)
	return client
}

// work is a clone of somebody.
type work struct {
	*forge
	dir   string
	login string
}

func (f *forge) clone(login string) *work {
	f.Helper()
	address, err := url.Parse(f.Clone)
	must(f.T, err)
	address.User = url.UserPassword(login, f.Users[login].Token)
	w := &work{f, filepath.Join(f.TempDir(), login), login}
	w.git("clone", "--quiet", address.String(), w.dir)
	return w
}

func (w *work) git(args ...string) string {
	w.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (w *work) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	if args[0] != "clone" {
		cmd.Dir = w.dir
	}
	user := w.Users[w.login]
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "NO_PROXY=127.0.0.1",
		"GIT_AUTHOR_NAME="+user.Login, "GIT_AUTHOR_EMAIL="+user.Email, "GIT_COMMITTER_NAME="+user.Login, "GIT_COMMITTER_EMAIL="+user.Email)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write writes files, which are given as path and content in turn; an empty
// content removes the file.
func (w *work) write(files ...string) {
	w.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(w.dir, files[i])
		if files[i+1] == "" {
			must(w.T, os.Remove(path))
			continue
		}
		must(w.T, os.MkdirAll(filepath.Dir(path), 0o755))
		must(w.T, os.WriteFile(path, []byte(files[i+1]), 0o644))
	}
}

func (w *work) read(file string) string {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, file))
	must(w.T, err)
	return string(content)
}

// push commits everything and pushes the branch; it returns the commit.
func (w *work) push(message string) string {
	w.Helper()
	w.git("add", "--all")
	w.git("commit", "--quiet", "--message", message)
	w.git("push", "--quiet", "origin", "HEAD")
	return w.git("rev-parse", "HEAD")
}

// pull is a pull request.
type pull struct {
	*work
	number int
	head   string
}

// propose opens a pull request with files, on a branch of its own.
func (f *forge) propose(login, branch string, files ...string) *pull {
	f.Helper()
	w := f.clone(login)
	w.git("switch", "--quiet", "--create", branch)
	w.write(files...)
	head := w.push("Propose " + branch)
	return w.open(branch, branch, head)
}

func (w *work) open(title, head, commit string) *pull {
	w.Helper()
	made, _, err := w.as(w.login).PullRequests.Create(w.Context(), "acme", "platform", &github.NewPullRequest{
		Title: github.String(title), Head: github.String(head), Base: github.String("main")})
	must(w.T, err)
	return &pull{w, made.GetNumber(), commit}
}

// status returns Pave's status of a commit.
func (f *forge) status(commit string) (state, description string) {
	f.Helper()
	combined, _, err := f.as("alice").Repositories.GetCombinedStatus(f.Context(), "acme", "platform", commit, nil)
	must(f.T, err)
	for _, s := range combined.Statuses {
		if s.GetContext() == "pave" {
			return s.GetState(), s.GetDescription()
		}
	}
	return "", ""
}

// comment returns Pave's comment on the pull request; there is never a second one.
func (p *pull) comment() string {
	p.Helper()
	comments, _, err := p.as("alice").Issues.ListComments(p.Context(), "acme", "platform", p.number, nil)
	must(p.T, err)
	body := ""
	for _, c := range comments {
		if c.GetUser().GetLogin() == hub.Bot {
			if body != "" {
				p.Errorf("there are two comments")
			}
			body = c.GetBody()
		}
	}
	return body
}

// expect waits for the check of the head to say something, and the comment with it.
func (p *pull) expect(state string, words ...string) {
	p.Helper()
	got, comment, description := "", "", ""
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		got, description = p.status(p.head)
		comment = p.comment()
		if got == state && containsAll(comment, words) {
			return
		}
	}
	p.Fatalf("pull request %d: want %s with %q\ngot %s: %s\n%s", p.number, state, words, got, description, comment)
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func (p *pull) review(login, event string) {
	p.Helper()
	request := &github.PullRequestReviewRequest{Event: github.String(event)}
	if event != "APPROVE" {
		request.Body = github.String("Not like this.")
	}
	_, _, err := p.as(login).PullRequests.CreateReview(p.Context(), "acme", "platform", p.number, request)
	must(p.T, err)
}

// merge merges the pull request and returns the commit.
func (p *pull) merge(login string) string {
	p.Helper()
	merged, _, err := p.as(login).PullRequests.Merge(p.Context(), "acme", "platform", p.number, "", nil)
	must(p.T, err)
	return merged.GetSHA()
}

// refused tells that the forge does not merge.
func (p *pull) refused(login, words string) {
	p.Helper()
	_, _, err := p.as(login).PullRequests.Merge(p.Context(), "acme", "platform", p.number, "", nil)
	if err == nil || !strings.Contains(err.Error(), words) {
		p.Errorf("merge: got %v, want %q", err, words)
	}
}

// condition returns what the status branch says of a unit.
func (f *forge) condition(unit string) string {
	f.Helper()
	var out, errs bytes.Buffer
	args := append([]string{"status", unit}, f.flags[:4]...)
	args = append(args, "--cache-dir", filepath.Join(f.dir, "looking"), "--token-file", filepath.Join(f.dir, "token"))
	if code := run(f.Context(), args, strings.NewReader(""), &out, &errs); code != 0 && code != exitPending {
		return fmt.Sprintf("%d: %s", code, errs.String())
	}
	return out.String()
}

// unit waits until the status branch says something of a unit.
func (f *forge) unit(name string, words ...string) {
	f.Helper()
	got := ""
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if got = f.condition(name); containsAll(got, words) {
			return
		}
	}
	f.Fatalf("%s: want %q\ngot %s", name, words, got)
}

// syncBuffer is written by Pave and read by a test.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// loosen lets anybody who may push merge and push to main, as an administrator
// could; the returned function protects it again.
func (f *forge) loosen() (tighten func()) {
	f.Helper()
	rule := f.gitea(http.MethodGet, "/branch_protections/main", nil)
	f.gitea(http.MethodDelete, "/branch_protections/main", nil)
	return func() {
		f.Helper()
		f.gitea(http.MethodPost, "/branch_protections", rule)
	}
}

// gitea calls Gitea's own interface, for what GitHub has no word for.
func (f *forge) gitea(method, path string, body []byte) []byte {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, f.Gitea+"/api/v1/repos/"+f.Repository+path, bytes.NewReader(body))
	must(f.T, err)
	req.Header.Set("Authorization", "token "+f.Users[hub.Bot].Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(f.T, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(f.T, err)
	if resp.StatusCode >= 300 {
		f.Fatalf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer
}

// engineStarts counts the starts of an engine so far.
func (f *forge) engineStarts() int {
	f.Helper()
	content, err := os.ReadFile(f.starts)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	must(f.T, err)
	return strings.Count(string(content), "\n")
}
