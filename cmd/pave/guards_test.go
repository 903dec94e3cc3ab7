package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	for _, command := range [][]string{{"apply"}, {"serve", "--listen", "127.0.0.1:0"}, {"status", "adopt"}} {
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
	if left := h.files(filepath.Join("state", filepath.Base(state), previewsFolder)); len(left) != 1 || left[0] != "welcome-note/lock" {
		t.Errorf("a preview left %q", left)
	}
	if now := h.git("rev-parse", "pave/status"); now != recorded {
		t.Error("a preview was recorded")
	}
}
