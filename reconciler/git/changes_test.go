package git

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestChanges compares what commits changed with what Git says of it.
func TestChanges(t *testing.T) {
	work := checkout(t)
	commit(t, work, map[string]string{"catalog/a/one.cue": "1", "catalog/a/two.cue": "2", "catalog/b.cue": "3"}, "add")
	commit(t, work, map[string]string{"catalog/a/one.cue": "changed"}, "change")
	run(t, work, "rm", "-q", "catalog/b.cue")
	commit(t, work, map[string]string{"catalog/b.cue/now": "a folder"}, "a file becomes a folder")
	run(t, work, "switch", "-q", "-c", "side")
	commit(t, work, map[string]string{"side.cue": "s"}, "beside")
	run(t, work, "switch", "-q", "main")
	commit(t, work, map[string]string{"main.cue": "m"}, "ahead")
	run(t, work, "merge", "-q", "--no-ff", "-m", "merge", "side")
	run(t, work, "rm", "-q", "-r", "catalog/a")
	run(t, work, "update-index", "--chmod=+x", "main.cue")
	commit(t, work, nil, "remove")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(filepath.Join(work, "main.cue"), 0o755))
	tip := run(t, work, "rev-parse", "HEAD")
	c, err := OpenClone(work)
	must(err)
	t.Cleanup(c.Close)
	changes, reached, err := c.Changes(background, tip, "", 100, 100)
	must(err)
	if !reached || len(changes) != 7 {
		t.Fatalf("got %d, reached %v", len(changes), reached)
	}
	for _, made := range changes {
		want := strings.Fields(run(t, work, "log", "-1", "--first-parent", "-m", "--no-renames", "--name-only", "--format=", made.Commit))
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(made.Paths)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, expected %q", made.Subject, got, want)
		}
		equal(t, "author", made.Author, "Ada")
	}
	changes, reached, err = c.Changes(background, tip, changes[3].Commit, 100, 1)
	must(err)
	if !reached || len(changes) != 3 || changes[0].Paths == nil || changes[1].Paths != nil {
		t.Errorf("got %+v, reached %v", changes, reached)
	}

	shallow := filepath.Join(t.TempDir(), "shallow")
	run(t, work, "clone", "-q", "--depth", "2", "file://"+work, shallow)
	cut, err := OpenClone(shallow)
	must(err)
	t.Cleanup(cut.Close)
	changes, _, err = cut.Changes(background, tip, "", 100, 100)
	must(err)
	if len(changes) != 2 || len(changes[0].Paths) == 0 || len(changes[1].Paths) != 0 {
		t.Errorf("where it was cut: got %+v", changes)
	}
}
