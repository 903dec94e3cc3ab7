package catalog

import (
	"bytes"
	"encoding/gob"
	"io"
	"iter"
	"reflect"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// What is remembered is neither evaluated nor read again.
func TestRemember(t *testing.T) {
	files := platformFiles(t)
	before := testEvaluator(t)
	if memory := before.Remember(); memory != nil {
		t.Error("who evaluated nothing remembers something")
	}
	want, vs, err := before.Evaluate(t.Context(), treeOf(files))
	if err != nil || len(vs) > 0 {
		t.Fatalf("%v\n%s", err, render(vs))
	}
	memory := before.Remember()
	if memory == nil {
		t.Fatal("nothing is remembered")
	}
	if before.Remember() != nil {
		t.Error("nothing happened, and it was told again")
	}

	e := New([]string{"/nonexistent"}, 0)
	if err := e.Recall(wroteDown(t, memory)); err != nil {
		t.Fatal(err)
	}
	tree := treeOf(files)
	read := tree.Read
	tree.Read = func(f reconciler.File) ([]byte, error) {
		if folderOf(f.Path) == "catalog" {
			t.Errorf("%s was read", f.Path)
		}
		return read(f)
	}
	got, vs, err := e.Evaluate(t.Context(), tree)
	if err != nil || len(vs) > 0 {
		t.Fatalf("%v\n%s", err, render(vs))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%+v\nwant:\n%+v", got, want)
	}
	if e.Remember() != nil {
		t.Error("what was recalled was news")
	}
	files["catalog/more.cue"] = "package platform\n"
	if _, _, err := e.Evaluate(t.Context(), treeOf(files)); err == nil {
		t.Error("what nobody remembers was answered")
	}
	if err := e.Recall(func(any) error { return io.ErrUnexpectedEOF }); err == nil {
		t.Error("half of it passed for the whole")
	}
}

// What could not be finished once may be another time.
func TestRememberNothingOfWhatWasExceeded(t *testing.T) {
	e := testEvaluator(t)
	if _, _, err := e.Evaluate(t.Context(), treeOf(platformFiles(t))); err != nil {
		t.Fatal(err)
	}
	exceeding := exceeded(job{Kind: dataJob, Own: []string{"catalog/x.cue"}}, "took longer than 1s")
	e.cache[digest{1}] = exceeding
	answers := map[digest]bool{}
	for part := range e.Remember() {
		for key := range part.(remembered).Answers {
			answers[key] = true
		}
	}
	if answers[digest{1}] || len(answers) != len(e.cache)-1 {
		t.Errorf("remembered %d of %d answers, what was exceeded among them: %t", len(answers), len(e.cache), answers[digest{1}])
	}
}

// wroteDown returns what reads what was remembered, once it was written down.
func wroteDown(t *testing.T, memory iter.Seq[any]) func(into any) error {
	t.Helper()
	var file bytes.Buffer
	encoder := gob.NewEncoder(&file)
	for part := range memory {
		if err := encoder.Encode(part); err != nil {
			t.Fatal(err)
		}
	}
	return gob.NewDecoder(&file).Decode
}
