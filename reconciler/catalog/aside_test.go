package catalog

import (
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// TestLearn has an evaluator know what another one remembers, while that goes on.
func TestLearn(t *testing.T) {
	files := platformFiles(t)
	first := testEvaluator(t)
	want, _, err := first.Evaluate(t.Context(), treeOf(files))
	if err != nil {
		t.Fatal(err)
	}
	e := New([]string{"/nonexistent"}, 0)
	e.Learn(first)
	got, vs, err := e.Evaluate(t.Context(), treeOf(files))
	if err != nil || len(vs) > 0 || !reflect.DeepEqual(got, want) {
		t.Fatalf("it does not know what the other does: %v\n%s\n%+v", err, render(vs), got)
	}
	for name, service := range got.Services {
		if service != want.Services[name] {
			t.Errorf("service %s is held twice", name)
		}
	}

	e = testEvaluator(t)
	e.Learn(first)
	known := len(first.cache)
	var both sync.WaitGroup
	for _, one := range []struct {
		*Evaluator
		title string
	}{{first, "One"}, {e, "Another"}} {
		both.Go(func() {
			changed := maps.Clone(files)
			changed["catalog/team/more.cue"] = "package platform\n\nservice: more: {title: \"" + one.title + "\", owner: \"payments\", type: \"service\", lifecycle: \"production\"}\n"
			before := one.news
			p, vs, err := one.Evaluate(t.Context(), treeOf(changed))
			switch {
			case err != nil || len(vs) > 0:
				t.Errorf("%v\n%s", err, render(vs))
			case p.Services["more"].Title != one.title:
				t.Errorf("got %q, expected %q", p.Services["more"].Title, one.title)
			case one.news-before != 1:
				t.Errorf("%d answers are news", one.news-before)
			}
		})
	}
	both.Wait()
	for _, one := range []*Evaluator{first, e} {
		if got := len(one.cache); got != known+1 {
			t.Errorf("it knows %d answers, and had to add 1 to %d", got, known)
		}
	}

	nothing := testEvaluator(t)
	nothing.Learn(New([]string{"/nonexistent"}, 0))
	if p, vs, err := nothing.Evaluate(t.Context(), treeOf(files)); err != nil || len(vs) > 0 || len(p.Services) != len(want.Services) {
		t.Errorf("after it learned nothing: %v %s", err, strings.TrimSpace(render(vs)))
	}
}
