package catalog

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// TestRenew changes one document after the other: what is remembered of the others is
// put anew on shelves once in a while, and nobody sees it.
func TestRenew(t *testing.T) {
	files := platformFiles(t)
	service := func(n, version int) {
		files[fmt.Sprintf("catalog/team/s%d.cue", n)] = fmt.Sprintf("package platform\n\nservice: s%d: {title: \"Version %d\", owner: \"payments\", type: \"service\", lifecycle: \"production\"}\n", n, version)
	}
	for n := range 20 {
		service(n, 0)
	}
	e := testEvaluator(t)
	var first, last *reconciler.Platform
	renewed := 0
	for version := range 40 {
		service(version%10, version)
		p, vs, err := e.Evaluate(t.Context(), treeOf(files))
		if err != nil || len(vs) > 0 {
			t.Fatal(err, render(vs))
		}
		fresh := testEvaluator(t)
		answers, err := e.Answers()
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.Know(answers); err != nil {
			t.Fatal(err)
		}
		want, _, err := fresh.Evaluate(t.Context(), treeOf(files))
		if err != nil || !reflect.DeepEqual(p, want) {
			t.Fatalf("version %d: %v\ngot  %+v\nwant %+v", version, err, p, want)
		}
		if e.gathered.moved*mostMoved > len(e.gathered.jobs)+mostMoved {
			t.Fatalf("%d of %d answers came, and nothing was put anew", e.gathered.moved, len(e.gathered.jobs))
		}
		if last != nil && last.Services["s15"] != p.Services["s15"] {
			renewed++
			if &last.Services["s15"].JSON[0] == &p.Services["s15"].JSON[0] {
				t.Error("what a document says is where it was")
			}
		}
		if last = p; first == nil {
			first = p
		}
	}
	if renewed < 3 || renewed > 20 {
		t.Errorf("all was put anew %d times", renewed)
	}
	if title := first.Services["s1"].Title; title != "Version 0" {
		t.Errorf("the first platform says %q now", title)
	}
}
