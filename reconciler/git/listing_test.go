package git

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// counting counts what is read of a repository.
type counting struct {
	store
	reads *int
}

func (c counting) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	*c.reads++
	return c.store.EncodedObject(kind, hash)
}

func (c counting) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	*c.reads++
	return c.store.EncodedObjectSize(hash)
}

// countReads returns a counter of what a mirror reads from now on.
func countReads(m *Mirror) *int {
	reads, open := new(int), m.open
	m.forget()
	m.open = func() (store, error) {
		s, err := open()
		return counting{s, reads}, err
	}
	return reads
}

func TestTreeCostsWhatChanged(t *testing.T) {
	bare, work := bareRemote(t)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("catalog/%d/%d.cue", i%20, i)] = fmt.Sprint(i)
	}
	commit(t, work, files, "many")
	step := func(files map[string]string) string {
		t.Helper()
		commit(t, work, files, "step")
		run(t, work, "push", "-q", "origin", "main")
		return run(t, work, "rev-parse", "HEAD")
	}
	first := step(nil)
	m := open(t, Options{URL: bare})
	fetch(t, m)
	reads := countReads(m)
	want := func(commit string) string {
		return run(t, work, "ls-tree", "-r", "--format=%(path) 0 %(objectsize)", commit)
	}
	list := func(commit string) string {
		t.Helper()
		tree, err := m.Tree(background, commit)
		return paths(t, tree, err)
	}
	equal(t, "first", list(first), want(first))
	if *reads < 100 {
		t.Fatalf("%d reads", *reads)
	}
	for name, c := range map[string]struct {
		files map[string]string
		reads int
	}{
		"a changed file":       {map[string]string{"catalog/7/27.cue": "changed"}, 5}, // commit, three folders, a size
		"a new file":           {map[string]string{"catalog/7/new.cue": "new"}, 5},
		"a new folder":         {map[string]string{"catalog/7x/new.cue": "newer"}, 5},
		"nothing":              {nil, 1},
		"files between others": {map[string]string{"catalog/7-": "a", "catalog/7.b": "bc", "catalog/70": "def"}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			tip := step(c.files)
			fetch(t, m)
			*reads = 0
			equal(t, "tree", list(tip), want(tip))
			if *reads > c.reads {
				t.Errorf("%d reads, want %d", *reads, c.reads)
			}
		})
	}
	run(t, work, "rm", "-q", "-r", "catalog/7", "catalog/3/3.cue")
	tip := step(nil)
	fetch(t, m)
	equal(t, "removed", list(tip), want(tip))
	equal(t, "first again", list(first), want(first))
}

func TestPart(t *testing.T) {
	bare, work := bareRemote(t)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("applied/%d/unit-%d/module/main.tf", i%20, i)] = fmt.Sprint(i)
		files[fmt.Sprintf("applied/%d/unit-%d/variables.json", i%20, i)] = "{}"
	}
	tip := commit(t, work, files, "many")
	run(t, work, "push", "-q", "origin", "main")
	m := open(t, Options{URL: bare})
	fetch(t, m)
	reads := countReads(m)
	for size := range 2 { // without the whole tree, and with it
		size *= 2
		*reads = 0
		tree, err := m.Part(background, tip, "applied/7/unit-27")
		equal(t, "folder", paths(t, tree, err), fmt.Sprintf("applied/7/unit-27/module/main.tf 0 %[1]d\napplied/7/unit-27/variables.json 0 %[1]d", size))
		if *reads > 8 {
			t.Errorf("%d reads", *reads)
		}
		equal(t, "content", read(t, tree, "applied/7/unit-27/module/main.tf"), "27")
		tree, err = m.Part(background, tip, "applied/8/unit-28/module", "nothing", "applied/7/unit-27/variables.json")
		equal(t, "parts", paths(t, tree, err), fmt.Sprintf("applied/7/unit-27/variables.json 0 %[1]d\napplied/8/unit-28/module/main.tf 0 %[1]d", size))
		equal(t, "file", read(t, tree, "applied/7/unit-27/variables.json"), "{}")
		for _, none := range []string{"applied/7/unit-2", "applied/7/unit-27/variables.json/x", "nothing/at/all", "applied//7"} {
			tree, err := m.Part(background, tip, none)
			equal(t, none, paths(t, tree, err), "")
		}
		whole, err := m.Tree(background, tip)
		if err != nil {
			t.Fatal(err)
		}
		all, err := m.Part(background, tip, "")
		equal(t, "the whole", paths(t, all, err), paths(t, whole, nil))
	}
	_, err := m.Part(background, "main", "applied")
	refused(t, err, "not a full hash")
}

func TestEntriesAreComparedAsGitSortsThem(t *testing.T) {
	form := func(e object.TreeEntry) string {
		if e.Mode == dirMode {
			return e.Name + "/"
		}
		return e.Name
	}
	var entries []object.TreeEntry
	for _, name := range []string{"a", "a-", "a.b", "ab", "b", "a0"} {
		entries = append(entries, object.TreeEntry{Name: name, Mode: dirMode}, object.TreeEntry{Name: name, Mode: filemode.Regular})
	}
	for _, a := range entries {
		for _, b := range entries {
			equal(t, form(a)+" and "+form(b), compareEntries(a, b), strings.Compare(form(a), form(b)))
		}
	}
}
