package catalog

import (
	"reflect"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// What is remembered is neither evaluated nor read again.
func TestRemember(t *testing.T) {
	files := platformFiles(t)
	before := testEvaluator(t)
	if memory, err := before.Remember(); err != nil || memory != nil {
		t.Errorf("who evaluated nothing remembers %d bytes: %v", len(memory), err)
	}
	want, vs, err := before.Evaluate(t.Context(), treeOf(files))
	if err != nil || len(vs) > 0 {
		t.Fatalf("%v\n%s", err, render(vs))
	}
	memory, err := before.Remember()
	if err != nil || memory == nil {
		t.Fatalf("nothing is remembered: %v", err)
	}
	if again, err := before.Remember(); err != nil || again != nil {
		t.Errorf("nothing happened, and it was told again: %v", err)
	}

	e := New([]string{"/nonexistent"}, 0)
	if err := e.Recall(memory); err != nil {
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
	if again, err := e.Remember(); err != nil || again != nil {
		t.Errorf("what was recalled was news: %v", err)
	}
	files["catalog/more.cue"] = "package platform\n"
	if _, _, err := e.Evaluate(t.Context(), treeOf(files)); err == nil {
		t.Error("what nobody remembers was answered")
	}
	if err := e.Recall(memory[:len(memory)/2]); err == nil {
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
	e.cache["exceeded"] = exceeding
	memory := e.memory()
	if _, found := memory.Answers["exceeded"]; found || len(memory.Answers) != len(e.cache)-1 {
		t.Errorf("remembered %d of %d answers, what was exceeded among them: %t", len(memory.Answers), len(e.cache), found)
	}
}
