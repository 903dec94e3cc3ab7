package portal

import "testing"

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
