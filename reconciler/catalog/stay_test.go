package catalog

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"
)

// staysWith returns an evaluator whose child stays, and what makes a pass after one
// service changed, and tells which child answered.
func staysWith(t *testing.T) (e *Evaluator, files map[string]string, pass func(ctx context.Context, owner string) (pid int)) {
	e = testEvaluator(t)
	e.Stay(time.Hour)
	files = platformFiles(t)
	n := 0
	return e, files, func(ctx context.Context, owner string) int {
		t.Helper()
		n++
		files["catalog/team/a.cue"] = fmt.Sprintf("package platform\n\nservice: a: {title: \"%d\", owner: %q, type: \"service\", lifecycle: \"production\"}\n", n, owner)
		p, vs, err := e.Evaluate(ctx, treeOf(files))
		if err != nil || len(vs) > 0 {
			t.Fatalf("%v\n%s", err, render(vs))
		}
		if title := p.Service("a").Title; title != fmt.Sprint(n) {
			t.Errorf("got %q in pass %d", title, n)
		}
		if e.place.staying == nil {
			return 0
		}
		return e.place.cmd.Process.Pid
	}
}

func TestStay(t *testing.T) {
	e, files, pass := staysWith(t)
	ctx, end := context.WithCancel(t.Context())
	first := pass(ctx, "payments")
	if first == 0 || pass(ctx, "payments") != first {
		t.Error("no child stayed")
	}
	files["catalog/team/computed.cue"] = "package platform\n\nservice: [string]: description: *\"none\" | string\n"
	jobs := e.place.jobs
	if pass(ctx, "payments"); e.place.jobs != jobs {
		t.Error("a child that stays was asked to compute")
	}
	delete(files, "catalog/team/computed.cue")

	files["teams.cue"] = strings.Replace(files["teams.cue"], "budget: 500", "budget: 501", 1)
	second := pass(ctx, "payments")
	if second == first {
		t.Error("a child stayed under another governance")
	}
	e.place.jobs = stayingJobs
	third := pass(ctx, "payments")
	if third == second {
		t.Error("a child did more than it may")
	}
	if err := syscall.Kill(third, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pass(ctx, "payments") // another one answers
	last := pass(ctx, "payments")
	if last == 0 || last == third {
		t.Error("no child took the place of one that was killed")
	}
	end()
	if _, err := e.place.answers.Token(); err == nil {
		t.Error("it goes on, though the context ended")
	}
	if pass(t.Context(), "payments") == last {
		t.Error("one that ended was asked")
	}
	e.Stay(0)
	if pass(t.Context(), "payments") != 0 {
		t.Error("a child stayed that was not to")
	}
}

// A child that waits in vain ends.
func TestStayNoLonger(t *testing.T) {
	e, _, pass := staysWith(t)
	pass(t.Context(), "payments")
	s := e.place.staying
	e.place.expire(s)
	if e.place.staying != nil || s.cmd.ProcessState == nil {
		t.Error("it goes on")
	}
	e.place.expire(s) // whose time was over before
}

// The child of an evaluator also answers what was put aside, literal documents alone.
func TestStayForWhatWasPutAside(t *testing.T) {
	e, files, pass := staysWith(t)
	pid := pass(t.Context(), "payments")
	for _, test := range []struct {
		name, file, content string
		jobs                int // that the child that stays does
	}{
		{"literal", "catalog/team/b.cue", "package platform\n\nservice: b: {title: \"B\", owner: \"payments\", type: \"service\", lifecycle: \"production\"}\n", 1},
		{"computed", "catalog/other/c.cue", "package platform\n\nservice: c: {title: \"\\(1+1)\", owner: \"payments\", type: \"service\", lifecycle: \"production\"}\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := maps.Clone(files)
			changed[test.file] = test.content
			before, known := e.place.jobs, len(e.cache)
			p, vs, err := e.Aside().Evaluate(t.Context(), treeOf(changed))
			if err != nil || len(vs) > 0 || len(p.Services) < 2 {
				t.Fatalf("%v\n%s", err, render(vs))
			}
			if got := e.place.jobs - before; got != test.jobs || e.place.cmd.Process.Pid != pid {
				t.Errorf("the child that stays did %d jobs", got)
			}
			if len(e.cache) != known {
				t.Error("the evaluator learnt from what was put aside")
			}
		})
	}
}
