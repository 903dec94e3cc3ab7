package reconciler

import (
	"context"
	"sync"
)

// Machine is what the runs of this host may use where the settings do not say.
type Machine struct {
	// Memory is what all runs may take together, in bytes; 0 means any.
	Memory uint64
	// Processors is how many units run at a time.
	Processors int
}

// parallel returns how many units run at a time.
func (m Machine) parallel(s Settings) int {
	if s.Limits.Parallel > 0 {
		return s.Limits.Parallel
	}
	return max(m.Processors, 2) // a run waits for others most of the time
}

// memory returns what all runs may take together; 0 means any.
func (m Machine) memory(s Settings) uint64 {
	if s.Limits.Memory > 0 {
		return s.Limits.Memory
	}
	return m.Memory
}

// memory shares out what the runs of this host may take together. A run that
// needs more than there is goes alone. Changes come before plans of pull
// requests, which wait as long as a change does.
type memory struct {
	wake func() // called when something ended while a change waited

	mu      sync.Mutex
	limit   uint64            // 0 means none; guarded by mu, as all below
	taken   map[string]uint64 // by run
	lacking bool              // a change waits
	news    chan struct{}     // closed when something may fit that did not
}

func newMemory(wake func()) *memory {
	return &memory{wake: wake, taken: map[string]uint64{}, news: make(chan struct{})}
}

// change does something after which more may fit than before.
func (m *memory) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	close(m.news)
	m.news = make(chan struct{})
}

// bound limits what runs may take from here on.
func (m *memory) bound(limit uint64) { m.change(func() { m.limit = limit }) }

// relent tells that no change waits.
func (m *memory) relent() { m.change(func() { m.lacking = false }) }

// release gives back what a run was charged, if it was.
func (m *memory) release(run string) {
	m.change(func() {
		delete(m.taken, run)
		if m.lacking {
			m.wake()
		}
	})
}

// take charges a run that goes on already.
func (m *memory) take(run string, need uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[run] = need
}

// tryTake charges a change where it fits, and lets no plan overtake it where not.
func (m *memory) tryTake(run string, need uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	fits := m.fits(need)
	if fits {
		m.taken[run] = need
	} else {
		m.lacking = true
	}
	return fits
}

// await charges a plan as soon as it fits.
func (m *memory) await(ctx context.Context, run string, need uint64) error {
	for {
		m.mu.Lock()
		news, fits := m.news, !m.lacking && m.fits(need)
		if fits {
			m.taken[run] = need
		}
		m.mu.Unlock()
		if fits {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *memory) fits(need uint64) bool {
	sum := need
	for _, n := range m.taken {
		sum += n
	}
	return m.limit == 0 || len(m.taken) == 0 || sum <= m.limit
}
