package git

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWorkTreeIsWhatACommitWouldHold(t *testing.T) {
	work := checkout(t)
	commit(t, work, map[string]string{
		".gitignore": "*.log\n/build/\n!keep.log\n", "kept/.gitignore": "secret\n", "build/tracked.cue": "tracked\n",
	}, "ignore")
	run(t, work, "add", "-f", "build/tracked.cue")
	run(t, work, "commit", "-q", "-m", "track what is ignored")
	write(t, work, "new.cue", "new\n")
	write(t, work, "platform.cue", "package platform // changed\n")
	write(t, work, "a.log", "ignored")
	write(t, work, "keep.log", "not ignored")
	write(t, work, "build/out", "ignored")
	write(t, work, "kept/secret", "ignored")
	write(t, work, "kept/secret.cue", "not ignored")
	write(t, work, ".git/info/exclude", "*.swp\n")
	write(t, work, "x.swp", "ignored")
	write(t, os.Getenv("XDG_CONFIG_HOME"), "git/ignore", ".DS_Store\n")
	write(t, work, "kept/.DS_Store", "ignored")
	write(t, work, "run.sh", "#!/bin/sh\n")
	for _, err := range []error{
		os.Chmod(filepath.Join(work, "run.sh"), 0o755),
		os.Symlink("/etc/passwd", filepath.Join(work, "link")),
		os.Symlink("kept", filepath.Join(work, "folder")),
		os.Remove(filepath.Join(work, "blueprints/db/main.tf")),
		syscall.Mkfifo(filepath.Join(work, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	inner := filepath.Join(work, "inner")
	run(t, work, "init", "-q", inner)
	commit(t, inner, map[string]string{"x": "x"}, "inner")

	tree, err := WorkTree(filepath.Join(work, "kept"))
	equal(t, "tree", paths(t, tree, err), strings.Join([]string{
		".gitignore 0 24", "build/tracked.cue 0 8", "folder 2 4", "inner 3 0", "keep.log 0 11", "kept/.gitignore 0 7",
		"kept/secret.cue 0 11", "link 2 11", "new.cue 0 4", "platform.cue 0 28", "run.sh 1 10"}, "\n"))
	equal(t, "content", read(t, tree, "new.cue"), "new\n")
	link, _ := tree.Find("link")
	_, err = tree.Read(link)
	refused(t, err, "read link: it is not a regular file")

	// Git agrees, path by path and hash by hash.
	if err := os.RemoveAll(inner); err != nil {
		t.Fatal(err)
	}
	n, err := Uncommitted(work)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "uncommitted", n, len(strings.Split(run(t, work, "status", "--porcelain", "-uall"), "\n")))
	run(t, work, "add", "-A")
	tip := commit(t, work, nil, "all of it")
	c := openClone(t, work)
	committed, err := c.Tree(background, tip)
	if err != nil {
		t.Fatal(err)
	}
	after, err := WorkTree(work)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "files", len(after.Files), len(committed.Files))
	for i := range committed.Files {
		equal(t, "file", after.Files[i], committed.Files[i])
	}
	n, err = Uncommitted(work)
	equal(t, "uncommitted after the commit", n, 0)
	if err != nil {
		t.Error(err)
	}
}

func TestUncommittedWritesNothing(t *testing.T) {
	work := checkout(t)
	index := filepath.Join(work, ".git", "index")
	past := time.Now().Add(-time.Hour)
	touched := filepath.Join(work, "platform.cue")
	if err := os.Chtimes(touched, past, past); err != nil { // git status would refresh the index
		t.Fatal(err)
	}
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Uncommitted(work)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "touched only", n, 0)
	after, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "index", string(after), string(before))

	// The same size at the same moment, as a quick editor leaves it.
	info, err := os.Stat(index)
	if err != nil {
		t.Fatal(err)
	}
	write(t, work, "platform.cue", "package platforn\n")
	if err := os.Chtimes(touched, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	n, err = Uncommitted(work)
	equal(t, "same size", n, 1)
	if err != nil {
		t.Error(err)
	}
}

func TestWorkTreeWithoutRepository(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "platform.cue", "package platform\n")
	write(t, dir, ".gitignore", "*.log\n")
	write(t, dir, "x.log", "")
	tree, err := WorkTree(dir)
	equal(t, "tree", paths(t, tree, err), ".gitignore 0 6\nplatform.cue 0 17")
	_, err = Uncommitted(dir)
	refused(t, err, "no Git repository")
	_, err = WorkTree(filepath.Join(dir, "gone"))
	refused(t, err, "read work tree", "gone")

	run(t, dir, "init", "-q")
	n, err := Uncommitted(dir)
	equal(t, "before the first commit", n, 2)
	if err != nil {
		t.Error(err)
	}
}

func TestWorkTreeErrors(t *testing.T) {
	work := checkout(t)
	write(t, work, "large.cue", strings.Repeat("x", DefaultMaxFile+1))
	tree, err := WorkTree(work)
	if err != nil {
		t.Fatal(err)
	}
	large, _ := tree.Find("large.cue")
	_, err = tree.Read(large)
	refused(t, err, "read large.cue: it has 1048577 bytes, more than the limit of 1048576")

	file, _ := tree.Find("platform.cue")
	write(t, work, "platform.cue", "package platforn\n")
	_, err = tree.Read(file)
	refused(t, err, "read platform.cue: it changed while it was read")
	if err := os.Remove(filepath.Join(work, "platform.cue")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(work, "platform.cue")); err != nil {
		t.Fatal(err)
	}
	_, err = tree.Read(file)
	refused(t, err, "read platform.cue")

	sparse := checkout(t)
	run(t, sparse, "sparse-checkout", "set", "blueprints")
	commit(t, sparse, map[string]string{"blueprints/a/a.cue": ""}, "a")
	run(t, sparse, "sparse-checkout", "set", "--cone", "nothing")
	_, err = WorkTree(sparse)
	refused(t, err, "2 files are not checked out; type: git sparse-checkout disable")
	n, err := Uncommitted(sparse)
	equal(t, "sparse", n, 0)
	if err != nil {
		t.Error(err)
	}
}
