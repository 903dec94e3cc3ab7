package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// remoteBranch is a status branch on a remote whose answers may get lost.
type remoteBranch struct {
	Source // what no test of the journal calls
	tip    string
	trees  map[string]map[string]string // what commits hold, by path
	made   int
	said   []string // the messages of the commits that landed
	lose   func()   // where set, the next push is given up before it is answered, and this happens
	late   string   // what was given up
}

func (b *remoteBranch) Fetch(context.Context) (Heads, error) { return Heads{Status: b.tip}, nil }

func (b *remoteBranch) Authentic(context.Context, string) (bool, error) { return false, nil }

func (b *remoteBranch) Part(_ context.Context, commit string, paths ...string) (*Tree, error) {
	files := maps.Clone(b.trees[commit])
	maps.DeleteFunc(files, func(path, _ string) bool { return !slices.Contains(paths, path) })
	return newTree(files), nil
}

func (b *remoteBranch) Publish(_ context.Context, base string, parents []string, edits []Edit, message string, announce func(string) error) (string, error) {
	b.made++
	commit := fmt.Sprintf("commit-%d", b.made)
	b.trees[commit] = map[string]string{}
	maps.Copy(b.trees[commit], b.trees[base])
	for _, e := range edits {
		b.trees[commit][e.Path] = string(e.Content)
	}
	if err := announce(commit); err != nil {
		return "", err
	}
	if lose := b.lose; lose != nil {
		b.lose, b.late = nil, commit
		b.said = append(b.said, message)
		lose()
		return "", context.Canceled
	}
	if !slices.Equal(parents, slices.DeleteFunc([]string{b.tip}, func(tip string) bool { return tip == "" })) {
		return "", ErrConflict
	}
	b.tip, b.said = commit, append(b.said, message)
	return commit, nil
}

// A push that is given up may arrive all the same, before or after the next commit
// is made. What it says is not said again.
func TestPushThatWasGivenUpArrives(t *testing.T) {
	for name, arrives := range map[string]int{"before the next": 1, "after the next two": 3} {
		t.Run(name, func(t *testing.T) {
			branch := &remoteBranch{trees: map[string]map[string]string{}}
			trust := NewTrust(filepath.Join(t.TempDir(), "trust.json"))
			r := New(Options{Source: branch, Trust: trust})
			r.record = NewRecord()
			r.journal = newJournal(r.record, trust, &r.quiet, "", "")
			happens := func(unit string) {
				r.journal.unit(unit).Owner = "payments"
				r.journal.event(event{unit: unit, run: true, verb: "apply", trailer: "applied"})
			}
			happens("ledger")
			first := ""
			for i := range arrives {
				branch.lose = func() {
					if i == 0 {
						first = branch.late
					}
					if i == arrives-1 {
						branch.tip = first
					}
				}
				if err := r.publish(t.Context()); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				happens(fmt.Sprintf("later-%d", i))
			}
			branch.said = branch.said[:1]
			if err := r.publish(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(branch.said) != 2 || !said(branch.said[0], "ledger") || said(branch.said[1], "ledger") || !said(branch.said[1], "later-0") {
				t.Errorf("recorded:\n%q", branch.said)
			}
			v, err := trust.load()
			if err != nil || v.Tip != branch.tip || v.Pushing != nil || r.journal.pushing != nil || r.journal.restore {
				t.Errorf("remembered: %+v, %v", v, err)
			}
		})
	}
}

func said(message, unit string) bool {
	return slices.ContainsFunc(slices.Collect(strings.Lines(message)), func(line string) bool { return line == "Unit: "+unit+" applied\n" })
}

// Whoever starts after a push was given up finds it too, whichever it was.
func TestLandedIsAnyThatWasAnnounced(t *testing.T) {
	v := trusted{Pushing: []written{{Tip: "a", Recorded: []string{"one"}}, {Tip: "b", Recorded: []string{"one", "two"}}}}
	if v.landed("c") || len(v.Pushing) != 2 {
		t.Errorf("%+v", v)
	}
	if !v.landed("a") || v.Tip != "a" || len(v.Recorded) != 1 || v.Pushing != nil {
		t.Errorf("%+v", v)
	}
}

// What a request says that holds is noted, also where why it holds is as it was.
func TestHeldRequestIsNotedAgain(t *testing.T) {
	w := newWorld(t)
	for i, file := range []string{"catalog/a.cue", "catalog/b.cue"} {
		r := request("ledger")
		r.Sources, r.Environment = []string{file}, []string{"staging", "production"}[i]
		w.revise(fmt.Sprint("revision ", i), r)
		w.checked.holds["request/ledger"] = hold{Allowed, ReasonDenied, "no"}
		delete(w.checked.Units, "ledger")
		w.journal.note(w.checked, map[string]decision{"ledger": {verb: halt, condition: Allowed, reason: ReasonDenied, message: "no"}}, w.now)
	}
	status := w.record.Units["ledger"]
	if want := []string{"catalog/a.cue", "catalog/b.cue"}; !slices.Equal(status.Sources, want) || status.Environment != "production" {
		t.Errorf("noted are %q in %s, want %q in production", status.Sources, status.Environment, want)
	}
}
