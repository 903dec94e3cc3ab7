package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler/git"
)

// What another process clones is what the branches hold, and why it cannot is told.
func TestCloneBeside(t *testing.T) {
	dir := t.TempDir()
	_, bare, run := pushed(t, dir)
	run("push", "--quiet", bare, "main:pave/status")

	options := git.Options{URL: bare, Cache: filepath.Join(dir, "mirror"), Tracked: "main", Status: "pave/status"}
	made := filepath.Join(dir, "made")
	must(t, cloneBeside(t.Context(), options, made))
	if said := run("--git-dir", made, "fsck", "--full", run("rev-parse", "main")); said != "" {
		t.Errorf("git fsck says %s", said)
	}
	options.Tracked = "lost"
	if err := cloneBeside(t.Context(), options, filepath.Join(dir, "other")); err == nil || !strings.Contains(err.Error(), `branch "lost" does not exist`) {
		t.Errorf("a lost branch: %v", err)
	}
	ended, end := context.WithCancelCause(t.Context())
	why := errors.New("the mirror is closed")
	end(why)
	if err := cloneBeside(ended, options, filepath.Join(dir, "late")); !errors.Is(err, why) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end something was cloned: %v", err)
	}
}
