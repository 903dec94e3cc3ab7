package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What reads pull requests begins with nothing of an earlier process, reaches the
// repository as that one did, and knows nothing else of the host.
func TestProposer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "quarantine")
	must(t, os.MkdirAll(filepath.Join(folder, "change-1", "git"), 0o700))
	if _, err := newProposer(folder, proposing{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	t.Setenv("PAVE_TOKEN", "secret")
	env := proposeEnviron(folder)
	if !slices.Contains(env, "HTTPS_PROXY=http://proxy.example:3128") || slices.Contains(env, "PAVE_TOKEN=secret") {
		t.Errorf("got %q", env)
	}
}
