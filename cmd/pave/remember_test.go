package main

import (
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// part remembers a text.
type part struct{ text string }

func (p *part) Remember() iter.Seq[any] {
	if p.text == "" {
		return nil
	}
	return func(yield func(any) bool) { _ = yield(len(p.text)) && yield(p.text) }
}

func (p *part) Recall(read func(into any) error) error {
	var length int
	var kept string
	if err := errors.Join(read(&length), read(&kept)); err != nil || len(kept) != length {
		return errors.Join(err, errors.New("something else was kept"))
	}
	if err := read(&kept); err != io.EOF {
		return errors.New("more was kept")
	}
	if kept == "strange" {
		return errors.New("no such thing")
	}
	p.text = kept
	return nil
}

func TestMemory(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "known")
	file := filepath.Join(folder, "part")
	keep := func(text string) {
		t.Helper()
		for range 2 { // also over an earlier one
			if err := (memory{folder, map[string]rememberer{"part": &part{text}}}).keep(); err != nil {
				t.Fatal(err)
			}
		}
	}
	recalled := func() string {
		var p part
		memory{folder, map[string]rememberer{"part": &p}}.recall()
		return p.text
	}
	change := func(at int) func(t *testing.T) {
		return func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content[(at+len(content))%len(content)] ^= 1
			must(t, os.WriteFile(file, content, 0o600))
		}
	}
	if got := recalled(); got != "" {
		t.Errorf("recalled %q of nothing", got)
	}
	for _, test := range []struct {
		name, want string
		happens    func(t *testing.T)
	}{
		{"as it was", "known", func(*testing.T) {}},
		{"left unfinished", "known", func(t *testing.T) { must(t, os.WriteFile(file+".new", []byte("half"), 0o600)) }},
		{"removed", "", func(t *testing.T) { must(t, os.RemoveAll(folder)) }},
		{"damaged", "", change(-1)},
		{"of another program", "", change(0)},
		{"cut short", "", func(t *testing.T) { must(t, os.Truncate(file, 33)) }},
		{"emptied", "", func(t *testing.T) { must(t, os.Truncate(file, 0)) }},
		{"readable by others", "", func(t *testing.T) { must(t, os.Chmod(file, 0o640)) }},
		{"a link", "", func(t *testing.T) {
			must(t, os.Rename(file, file+".moved"))
			must(t, os.Symlink(file+".moved", file))
		}},
		{"a folder", "", func(t *testing.T) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o700))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			must(t, os.RemoveAll(folder))
			keep("known")
			test.happens(t)
			if got := recalled(); got != test.want {
				t.Errorf("recalled %q, want %q", got, test.want)
			}
		})
	}
	must(t, os.RemoveAll(folder))
	keep("strange")
	if got := recalled(); got != "" {
		t.Errorf("recalled %q, which it did not take", got)
	}
	id, err := programID()
	if err != nil {
		t.Fatal(err)
	}
	if err := readKept(file, append(id, 'x'), func(io.Reader) error { return nil }); err == nil {
		t.Error("another program's was read")
	}
}

// Memory is given back once after work, not while it goes on, and not again because
// time passes.
func TestRestFollowsWork(t *testing.T) {
	var r rest
	for i, step := range []struct {
		asked uint64
		due   bool
	}{{100 << 20, false}, {50 << 20, false}, {1 << 20, true}, {1 << 20, false}, {5 << 20, false}, {1 << 20, false}, {5 << 20, false}, {0, true}, {0, false}} {
		if due := r.due(r.last + step.asked); due != step.due {
			t.Errorf("look %d: got %v", i, due)
		}
	}
}

// What an earlier process knew is used, and nothing is lost with it.
func TestNextStartKnows(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	kept := func() []string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(h.cache(), "*", "known", "*"))
		if err != nil || len(files) != 4 {
			t.Fatalf("kept are %q: %v", files, err)
		}
		return files
	}
	for _, file := range kept() {
		info, err := os.Lstat(file)
		if err != nil || !ownAlone(info) {
			t.Errorf("%s is not this user's alone: %v, %v", file, info.Mode(), err)
		}
	}
	began := time.Now()
	h.pave(0, "apply") // to which no document is news
	for _, file := range kept() {
		if info, err := os.Lstat(file); err != nil || filepath.Base(file) == "documents" && info.ModTime().After(began) {
			t.Errorf("%s was written again: %v", file, err)
		}
		must(t, os.WriteFile(file, []byte("what somebody wrote over it"), 0o600))
	}
	h.replace("catalog/platform/welcome.cue", "Hello from Git.", "Hello again.")
	h.commit("Say something else")
	h.pave(0, "apply")
	for _, file := range kept() {
		must(t, os.Remove(file))
	}
	h.pave(0, "apply")
	h.expectAllReady(2)
}
