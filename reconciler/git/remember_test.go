package git

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"testing"
)

// What another process listed is not listed again, but for what changed since.
func TestRemember(t *testing.T) {
	bare, work := bareRemote(t)
	files := map[string]string{"a.cue": "a", "catalog-.cue": "b"}
	for i := range 60 {
		files[fmt.Sprintf("catalog/%d/%d.cue", i%20, i)] = fmt.Sprint(i)
	}
	push := func(files map[string]string) string {
		t.Helper()
		commit := commit(t, work, files, "change")
		run(t, work, "push", "-q", "origin", "main")
		return commit
	}
	first := push(files)
	before := open(t, Options{URL: bare})
	if before.Remember() != nil {
		t.Error("who listed nothing remembers something")
	}
	fetch(t, before)
	list := func(m *Mirror, commit string) string {
		t.Helper()
		tree, err := m.Tree(background, commit)
		return paths(t, tree, err)
	}
	list(before, first)
	memory := before.Remember()
	if memory == nil || before.Remember() != nil {
		t.Fatal("nothing is remembered, or the same once more")
	}
	var file bytes.Buffer
	encoder := gob.NewEncoder(&file)
	for part := range memory {
		if err := encoder.Encode(part); err != nil {
			t.Fatal(err)
		}
	}
	kept := file.Bytes()
	second := push(map[string]string{"catalog/7/27.cue": "changed"})
	for commit, want := range map[string]int{first: 1, second: 5} { // the commit; three folders and a size
		m := open(t, Options{URL: bare})
		fetch(t, m)
		if err := m.Recall(gob.NewDecoder(bytes.NewReader(kept)).Decode); err != nil {
			t.Fatal(err)
		}
		reads := countReads(m)
		equal(t, commit, list(m, commit), run(t, work, "ls-tree", "-r", "--format=%(path) 0 %(objectsize)", commit))
		if *reads != want {
			t.Errorf("%d reads, want %d", *reads, want)
		}
		if m.Remember() != nil {
			t.Error("what is remembered was news")
		}
		parts := 0
		decode := gob.NewDecoder(bytes.NewReader(kept)).Decode
		half := func(into any) error {
			if parts++; parts > 3 {
				return io.EOF
			}
			return decode(into)
		}
		if err := m.Recall(half); err == nil {
			t.Error("half of it passed for the whole")
		}
		if err := m.Recall(func(any) error { return io.EOF }); err != nil {
			t.Errorf("nothing was kept: %v", err)
		}
	}
}
