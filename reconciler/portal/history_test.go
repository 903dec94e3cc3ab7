package portal

import (
	"strings"
	"testing"
)

// TestForget checks that snapshots go when nobody asks for them, and only then, and
// are made again.
func TestForget(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	h := a.options.Snapshots.(*History)
	first, err := h.Now(t.Context())
	must(t, err)
	past, err := h.At(t.Context(), a.tracked[0])
	must(t, err)
	h.forget()
	if again, err := h.At(t.Context(), a.tracked[0]); err != nil || again != past {
		t.Errorf("what somebody asked for just now is gone: %v", err)
	}
	h.mu.Lock()
	h.asked = h.asked.Add(-unwatched)
	h.mu.Unlock()
	h.forget()
	h.mu.Lock()
	kept := h.now != nil || len(h.past) > 0
	h.mu.Unlock()
	if kept {
		t.Error("what nobody asks for is kept")
	}
	again, err := h.Now(t.Context())
	must(t, err)
	if again == first || again.key() != first.key() || len(again.Platform.Services) != len(first.Platform.Services) || len(again.Record.Units) != len(first.Record.Units) {
		t.Errorf("got %s with %d units", again.key(), len(again.Record.Units))
	}
}

// TestBounded checks that of a long history the later commits say everything, and the
// others still which revision was in force.
func TestBounded(t *testing.T) {
	t.Parallel()
	commit := func(revision string) Commit {
		return Commit{ID: "c" + revision, Subject: "Apply a-db", Message: "Apply a-db\n\nRevision: " + revision + "\nUnit: a-db applied +1 ~0 -0\n" + strings.Repeat("x", 100)}
	}
	all := bounded([]Commit{commit("3"), commit("2"), commit("1")}, 400)
	all = bounded(latest([]Commit{commit("4")}, all), 400)
	for i, want := range []bool{true, true, false, false} {
		revision, _ := all[i].revision()
		_, said := all[i].unit("a-db")
		if said != want || all[i].cut == want || revision != strings.TrimPrefix(all[i].ID, "c") || all[i].Subject != "Apply a-db" {
			t.Errorf("%d: got %+v", i, all[i])
		}
	}
	x := newIndex(&Snapshot{Platform: largeSnapshot(1).Platform, Record: largeSnapshot(1).Record, Tree: largeSnapshot(1).Tree, Log: all, library: &library{}})
	if len(x.events) != 2 || !x.cut {
		t.Errorf("got %d events, and cut is %v", len(x.events), x.cut)
	}
}
