package reconciler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestMachine(t *testing.T) {
	var said Settings
	said.Limits.Parallel, said.Limits.Memory = 7, 100
	for _, c := range []struct {
		machine  Machine
		settings Settings
		parallel int
		memory   uint64
	}{
		{Machine{Memory: 1000, Processors: 16}, Settings{}, 16, 1000},
		{Machine{Memory: 1000, Processors: 16}, said, 7, 100},
		{Machine{Processors: 1}, Settings{}, 2, 0},
	} {
		if parallel, memory := c.machine.parallel(c.settings), c.machine.memory(c.settings); parallel != c.parallel || memory != c.memory {
			t.Errorf("%+v: got %d and %d", c, parallel, memory)
		}
	}
}

func TestMemoryIsShared(t *testing.T) {
	woken := 0
	m := newMemory(func() { woken++ })
	if !m.tryTake("any", 1<<60) || !m.tryTake("other", 1<<60) {
		t.Error("there is a limit where none was set")
	}
	m.release("any")
	m.release("other")
	m.bound(100)
	if !m.tryTake("large", 300) {
		t.Error("what needs more than there is never runs")
	}
	if m.tryTake("small", 1) {
		t.Error("what needs more than there is does not run alone")
	}
	if m.release("large"); woken != 1 {
		t.Errorf("a change that waits was woken %d times", woken)
	}
	for _, take := range []struct {
		run  string
		need uint64
		fits bool
	}{{"a", 60, true}, {"b", 41, false}, {"b", 40, true}, {"c", 1, false}} {
		if fits := m.tryTake(take.run, take.need); fits != take.fits {
			t.Errorf("%+v: got %t", take, fits)
		}
	}
	m.take("adopted", 50)
	m.release("a")
	if m.tryTake("c", 11) || !m.tryTake("c", 10) {
		t.Errorf("taken is %v", m.taken)
	}
}

// A plan of a pull request waits until it fits and no change waits.
func TestPlansLetChangesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(func() {})
		m.bound(100)
		m.take("running", 60)
		begun := make(chan error, 1)
		go func() { begun <- m.await(t.Context(), "plan", 20) }()
		if err := <-begun; err != nil {
			t.Error(err)
		}
		if m.tryTake("change", 50) {
			t.Error("the change fits beside both")
		}
		go func() { begun <- m.await(t.Context(), "next plan", 20) }()
		synctest.Wait()
		m.release("plan")
		synctest.Wait()
		if len(begun) > 0 {
			t.Error("a plan overtook a change")
		}
		m.release("running")
		if !m.tryTake("change", 50) {
			t.Error("the change does not fit")
		}
		m.relent()
		if err := <-begun; err != nil || len(m.taken) != 2 {
			t.Errorf("got %v; taken is %v", err, m.taken)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		if err := m.await(ctx, "last plan", 90); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}
