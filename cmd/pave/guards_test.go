package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
)

// newStarter makes a host with what `pave init` writes as its platform.
func newStarter(t *testing.T) *host {
	t.Helper()
	return newHost(t, "terraform", func(repo string) {
		files, err := starterFiles("platform")
		must(t, err)
		for name, content := range files {
			target := filepath.Join(repo, filepath.FromSlash(name))
			must(t, os.MkdirAll(filepath.Dir(target), 0o700))
			must(t, os.WriteFile(target, content, 0o600))
		}
	})
}

// write puts a file into the platform repository.
func (h *host) write(file, content string) {
	h.Helper()
	target := filepath.Join(h.repo, filepath.FromSlash(file))
	must(h.T, os.MkdirAll(filepath.Dir(target), 0o700))
	must(h.T, os.WriteFile(target, []byte(content), 0o600))
}

// lastSaid returns what the last command wrote.
func (h *host) lastSaid(code int, args ...string) string {
	h.Helper()
	h.said.Reset()
	h.pave(code, args...)
	return h.said.String()
}

// Two that act on one record would apply twice; one that only looks may.
func TestOnlyOnePaveActs(t *testing.T) {
	h := newStarter(t)
	runs := filepath.Join(h.state(), git.RepositoryID(h.repo), runsFolder)
	unlock, err := lock(runs)
	must(t, err)
	for _, command := range [][]string{{"apply"}, {"status", "adopt"}} {
		said := h.lastSaid(exitFailure, command...)
		if want := fmt.Sprintf("another pave, process %d, is at work in %s", os.Getpid(), runs); !strings.Contains(said, want) {
			t.Errorf("pave %s: expected %q, got %s", command[0], want, said)
		}
	}
	h.expectStarts()
	h.pave(exitPending, "plan")
	h.expectStarts("version", "init", "plan", "show")
	unlock()
	h.pave(0, "apply")
	h.expectAllReady(2)
}

// A lock ends when it is released, though a child that was just forked has its
// file open still.
func TestLockEndsWithItsRelease(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "runs")
	unlock, err := lock(folder)
	must(t, err)
	files, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	inherited := -1
	for _, name := range files {
		if path, _ := os.Readlink(name); path == folder+".lock" {
			fd, err := strconv.Atoi(filepath.Base(name))
			must(t, err)
			inherited, err = unix.Dup(fd)
			must(t, err)
		}
	}
	if inherited < 0 {
		t.Fatal("the file of the lock is not open")
	}
	defer unix.Close(inherited)
	unlock()
	again, err := lock(folder)
	must(t, err)
	again()
}

// An interrupted preview is no run of the platform: what it found is not
// recorded, and what it left is removed by the next one.
func TestPreviewsAreNotAdopted(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	recorded := h.git("rev-parse", "pave/status")
	h.replace("catalog/platform/welcome.cue", "Hello from Git.", "Hello again.")
	h.commit("Say something else")
	h.pave(exitPending, "plan")

	state := filepath.Join(h.state(), git.RepositoryID(h.repo))
	if left := h.files(filepath.Join("state", filepath.Base(state), previewsFolder)); !slices.Equal(left, []string{"welcome-note/lock", "welcome-note/memory.json"}) {
		t.Errorf("a preview left %q", left)
	}
	if now := h.git("rev-parse", "pave/status"); now != recorded {
		t.Error("a preview was recorded")
	}
}

// daemon is a `pave serve` that goes on beside the test.
type daemon struct {
	h     *host
	stop  context.CancelFunc
	ended chan int

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func (h *host) serve() *daemon { h.Helper(); return h.serveFrom(h.repo) }

// serveFrom serves a repository by another address.
func (h *host) serveFrom(repo string) *daemon {
	h.Helper()
	ctx, stop := context.WithCancel(h.Context())
	d := &daemon{h: h, stop: stop, ended: make(chan int, 1)}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--repo", repo, "--cache-dir", h.cache(), "--state-dir", h.state()}, h.flags...)
	go func() { d.ended <- run(ctx, args, strings.NewReader(""), d, d) }()
	h.Cleanup(d.end)
	return d
}

// end stops the daemon and waits for it.
func (d *daemon) end() {
	d.stop()
	if d.ended != nil {
		<-d.ended
		d.ended = nil
	}
}

// until waits for the log to hold the text as often as asked.
func (d *daemon) until(text string, times int) {
	d.h.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(d.said(), text) < times; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.h.Fatalf("the daemon did not say %q %d times:\n%s", text, times, d.said())
		}
	}
}

// A daemon whose repository refuses or is away asks again at its own pace, and
// goes on where it was.
func TestDaemonDoesNotHammer(t *testing.T) {
	h := newStarter(t)
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\n\tintervals: poll: \"1s\"")
	h.commit("Look often")
	hook := filepath.Join(h.repo, ".git", "hooks", "update")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\n[ \"$1\" != refs/heads/pave/status ]\n"), 0o700))
	d := h.serve()
	d.until("msg=record", 1)
	away := h.repo + "-away"
	must(t, os.Rename(h.repo, away))
	d.until("msg=fetch", 1)
	time.Sleep(2 * time.Second)
	must(t, os.Rename(away, h.repo))
	must(t, os.Remove(hook))
	said := d.said()
	if records, fetches := strings.Count(said, "msg=record"), strings.Count(said, "msg=fetch"); records > 3 || fetches > 5 {
		t.Errorf("in a few seconds the daemon tried to record %d and to fetch %d times", records, fetches)
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(h.git("branch", "--list", "pave/status"), "pave/status"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was recorded:\n%s", d.said())
		}
	}
	d.end()
	h.expectAllReady(2)
}

// A revision at which nothing ran is good as well: after a restart the one
// before it does not return.
func TestLastGoodRevisionIsTheLast(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	recorded := h.git("rev-parse", "pave/status")
	h.replace("catalog/platform/welcome.cue", `owner:       "platform"`, `owner:       "platform" // who else?`)
	h.commit("Ask who else")
	good := strings.TrimSpace(h.git("rev-parse", "HEAD"))
	h.pave(0, "apply")
	if now := h.git("rev-parse", "pave/status"); now != recorded {
		t.Errorf("nothing happened, but the status branch moved:\n%s", h.git("log", "-1", "-p", "pave/status"))
	}
	h.replace("platform.cue", `owner: "platform"`, `owner: "nobody"`)
	h.commit("Break the settings")
	said := h.lastSaid(exitFailure, "apply", "-o", "json")
	if !strings.Contains(said, `"revision": "`+good+`"`) {
		t.Errorf("expected %s in force, got %s", good, said)
	}
}

// A daemon that refuses its first revision says what is wrong with it: there is
// no status branch yet that could.
func TestDaemonSaysWhatItRefuses(t *testing.T) {
	h := newStarter(t)
	h.replace("platform.cue", `owner: "platform"`, `owner: "nobody"`)
	h.commit("Break the settings")
	d := h.serve()
	d.until(`first="platform.cue:`, 1)

	monitor := &monitor{}
	monitor.update(reconciler.Progress{Refused: &reconciler.Refusal{Violations: []reconciler.Violation{{Message: "owner is nobody"}}}})
	answer := httptest.NewRecorder()
	monitor.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
	if got := answer.Body.String(); answer.Code != 503 || !strings.Contains(got, "the tip of the tracked branch is refused:\nowner is nobody") {
		t.Errorf("got %d: %s", answer.Code, got)
	}
}

// forge rewrites the status branch as whoever may push it could: f edits its
// files in a work tree.
func (h *host) forge(f func(dir string)) {
	h.Helper()
	dir := filepath.Join(h.dir, "forged")
	h.git("worktree", "add", "--quiet", dir, "pave/status")
	f(dir)
	h.git("-C", dir, "add", "--all")
	h.git("-C", dir, "commit", "--quiet", "--message", "Apply everything\n\nPave-Record: v1")
	h.git("worktree", "remove", dir)
}

func replaceIn(t *testing.T, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s does not hold %q:\n%s", path, old, text)
	}
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, new)), 0o600))
}

// A host that did not write the status branch takes no module to run from it,
// no end of a unit, no revision and nothing that makes a rule milder.
func TestForgedRecordMovesNothing(t *testing.T) {
	h := newStarter(t)
	h.replace("catalog/platform/welcome.cue", `inputs: text: "Hello from Git."`, "inputs: text: \"Hello from Git.\"\n\treplace: true")
	h.write("policies/new.rego", `package acme.new

deny contains "nothing may be new" if {
	input.kind == "request"
	input.name == "welcome-quote"
	input.change.action == "create"
	input.settings.title == "Closed platform"
}
`)
	h.commit("Let the note be replaced")
	h.pave(0, "apply")
	h.replace("platform.cue", "Our platform", "Closed platform")
	h.commit("Close the platform")
	good := strings.TrimSpace(h.git("rev-parse", "HEAD"))
	h.pave(0, "apply")

	proof := filepath.Join(h.dir, "proof")
	h.forge(func(dir string) {
		note := filepath.Join(dir, "requests/40/welcome-note.json")
		replaceIn(t, note, `"blueprint": "note"`, `"blueprint": "other"`)
		must(t, os.WriteFile(filepath.Join(dir, "applied/40/welcome-note/module/evil.tf"),
			[]byte(`resource "terraform_data" "evil" { provisioner "local-exec" { command = "touch `+proof+`" } }`), 0o600))
		quote := filepath.Join(dir, "requests/e9/welcome-quote.json")
		text, err := os.ReadFile(quote)
		must(t, err)
		old := firstApplied.FindString(string(text))
		replaceIn(t, quote, old, `"firstApplied": "2001-01-01T00:00:00Z"`)
	})

	// The same repository, seen from a new host.
	must(t, os.RemoveAll(h.state()))
	h.loseCache()
	h.expectStarts("version", "init", "plan", "show", "apply")
	h.pave(exitDenied, "apply")
	h.expectStarts("version")
	if _, err := os.Stat(proof); err == nil {
		t.Error("the forged module was run")
	}
	units := h.units()
	if u := units["welcome-note"]; u.Reason != "Waiting" || !strings.Contains(u.Message, "pave status adopt") {
		t.Errorf("expected the note to wait for an operator, got %+v", u)
	}
	if u := units["welcome-quote"]; u.Reason != "DeniedByPolicy" {
		t.Errorf("expected the rules to see a new request, got %+v", u)
	}

	// Nothing of it is believed later either.
	h.replace("platform.cue", `owner: "platform"`, `owner: "nobody"`)
	h.commit("Break the settings")
	if said := h.lastSaid(exitFailure, "apply", "-o", "json"); !strings.Contains(said, `"revision": "`+good+`"`) {
		t.Errorf("expected %s in force, got %s", good, said)
	}
}

var firstApplied = regexp.MustCompile(`"firstApplied": "[^"]*"`)

// A branch that nobody here wrote and nobody can read is no empty one.
func TestDamagedRecordIsNoEmptyOne(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	h.forge(func(dir string) {
		must(t, os.WriteFile(filepath.Join(dir, "requests/40/welcome-note.json"), []byte("{"), 0o600))
	})
	h.expectStarts("version", "init", "plan", "show", "apply")

	// This host knows what it wrote, and puts it back.
	h.pave(0, "apply")
	h.expectStarts()
	h.expectAllReady(2)

	h.forge(func(dir string) {
		must(t, os.WriteFile(filepath.Join(dir, "requests/40/welcome-note.json"), []byte("{"), 0o600))
	})
	must(t, os.RemoveAll(h.state()))
	h.loseCache()
	if said := h.lastSaid(exitFailure, "apply"); !strings.Contains(said, "requests/40/welcome-note.json") || !strings.Contains(said, "this host did not write it") {
		t.Errorf("got %s", said)
	}
	h.expectStarts()
}

// A commit that removes a thousand requests deletes none of them, starts no
// engine, and says in one pass why and what to do.
func TestThousandAreNotDeleted(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	t.Parallel()
	h := newTokens(t, "terraform")
	h.keepStatesIn(localStore(h))
	h.cut("catalog/api.cue", "api-user")
	h.commit("Begin with one")
	h.pave(0, "apply")
	h.forge(func(dir string) {
		for n := range 999 {
			name := fmt.Sprintf("api-token-%03d", n)
			must(t, os.CopyFS(filepath.Join(dir, recorded("applied", name)), os.DirFS(filepath.Join(dir, "applied/a0/api-token"))))
			text, err := os.ReadFile(filepath.Join(dir, "requests/a0/api-token.json"))
			must(t, err)
			must(t, os.WriteFile(h.place(dir, recorded("requests", name)+".json"), bytes.ReplaceAll(text, []byte("api-token"), []byte(name)), 0o600))
		}
	})
	h.pave(0, "status", "adopt")
	state := h.stateOf("api-token")
	h.cut("catalog/api.cue", "api-token")
	h.commit("Remove all of them")
	must(t, os.WriteFile(h.starts, nil, 0o600))
	said := h.lastSaid(exitPending, "apply")
	const want = "DeletionGuard: this revision deletes 1000 of 1000 requests, more than 25%, so nothing of it happens: restore them, or say in platform.cue: guards: shrink: {to: 0, reason: \"…\"}"
	if n := strings.Count(said, want); n != 1000 {
		t.Errorf("expected each of 1000 requests to be held by the guard, got %d:\n%.2000s", n, said)
	}
	recorded := h.git("rev-parse", "pave/status")
	h.pave(exitPending, "apply")
	if h.git("rev-parse", "pave/status") != recorded {
		t.Error("a second pass that changed nothing was recorded")
	}
	h.expectStarts()
	if h.stateOf("api-token") != state {
		t.Error("the state was changed")
	}
}
