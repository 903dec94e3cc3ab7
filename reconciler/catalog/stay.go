package catalog

import (
	"context"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler/limited"
)

// A child that stays between passes has the governance evaluated when a document
// changes, which takes a hundred times as long as the document. What one document
// makes it do must not reach another: it is asked about literal documents only, of
// which nothing runs but the schema.
const (
	// fewJobs is how many jobs a child that stays may get in a pass. Of more the
	// governance is a small part.
	fewJobs = 64
	// stayingJobs and stayingSeconds, of a processor, end a child that stays well
	// before what it keeps of each document, or its own limit, could.
	stayingJobs    = 512
	stayingSeconds = childSeconds / 4
)

// staying is a child that evaluated its governance, and waits.
type staying struct {
	*child
	basis    digest  // the digest of the governance
	governed *answer // what the child says of it
	jobs     int     // that it did
	expiry   *time.Timer
}

// place is where one child stays.
type place struct {
	mu       sync.Mutex
	idle     time.Duration // how long it may wait; zero where none stays
	*staying               // nil while none does
}

// Stay lets a child wait for the next pass, for as long as nothing is asked of it
// for that time; zero lets none. It ends with the context of the pass that started
// it. Who stays asks about one branch only, and what was put aside about changes of it.
func (e *Evaluator) Stay(idle time.Duration) {
	p := e.place
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = idle
	p.dismiss()
}

// ask returns the answers to the jobs, the first of which is the governance with
// the digest.
func (e *Evaluator) ask(ctx context.Context, basis digest, jobs []job) ([]*answer, error) {
	governed, known := e.askStaying(ctx, basis, jobs)
	rest := []job{jobs[0]}
	for i, j := range jobs[1:] {
		if _, answered := known[i+1]; !answered {
			rest = append(rest, j)
		}
	}
	if known != nil && len(rest) == 1 {
		return merged(governed, known, nil, len(jobs)), nil
	}
	fresh, err := evaluateInChildren(ctx, e.command, e.deadline, rest, e.held)
	if err != nil {
		return nil, err
	}
	return merged(fresh[0], known, fresh[1:], len(jobs)), nil
}

// merged puts answers in the order of their jobs: those that are known by their
// place, the others as they come.
func merged(governed *answer, known map[int]*answer, others []*answer, jobs int) []*answer {
	answers := []*answer{governed}
	for i := 1; i < jobs; i++ {
		a, found := known[i]
		if !found && len(others) > 0 {
			a, others = others[0], others[1:]
		}
		answers = append(answers, a)
	}
	return answers
}

// askStaying returns what a child that stays says of the governance and of the
// literal documents among the jobs, by their place. It knows nothing where there are
// too many or anything goes wrong: a child that has nothing behind it is asked then,
// and says what is to blame.
func (e *Evaluator) askStaying(ctx context.Context, basis digest, jobs []job) (governed *answer, known map[int]*answer) {
	var places []int
	var asked []job
	for i, j := range jobs {
		if j.Kind == dataJob {
			places, asked = append(places, i), append(asked, j)
		}
	}
	p := e.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == 0 || len(asked) == 0 || len(asked) > fewJobs {
		return nil, nil
	}
	if !p.fits(basis, len(asked)) {
		p.dismiss()
		p.staying = e.hire(ctx, basis, jobs[0])
	}
	if p.staying == nil {
		return nil, nil
	}
	p.expiry.Stop()
	p.jobs += len(asked)
	answers := p.ask(e.deadline, asked, e.held, func() error { return nil })
	if len(answers) < len(asked) {
		p.dismiss()
		return nil, nil
	}
	p.expiry.Reset(p.idle)
	known = map[int]*answer{}
	for n, at := range places {
		known[at] = answers[n]
	}
	return p.governed, known
}

// fits tells whether the child may do so many jobs under the governance.
func (s *staying) fits(basis digest, jobs int) bool {
	return s != nil && s.basis == basis && s.ctx.Err() == nil && s.jobs+jobs <= stayingJobs &&
		limited.Processor(s.cmd.Process.Pid) < stayingSeconds*time.Second
}

// hire starts a child that stays; nil where that fails.
func (e *Evaluator) hire(ctx context.Context, basis digest, governance job) *staying {
	c, err := startChild(ctx, e.command)
	if err != nil {
		return nil
	}
	s := &staying{child: c, basis: basis}
	answers := c.ask(e.deadline, []job{governance}, &shelves{}, func() error { return nil })
	if len(answers) == 0 {
		s.end()
		return nil
	}
	s.governed = answers[0]
	s.expiry = time.AfterFunc(e.place.idle, func() { e.place.expire(s) })
	return s
}

// expire ends a child that nothing was asked of, unless something is by now.
func (p *place) expire(s *staying) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.staying == s {
		p.dismiss()
	}
}

// dismiss ends the child that stays. The caller holds mu.
func (p *place) dismiss() {
	if p.staying != nil {
		p.expiry.Stop()
		p.end()
		p.staying = nil
	}
}

// end kills the child, which holds nothing that could be lost.
func (c *child) end() {
	c.kill(nil)
	_ = c.cmd.Wait() // it was killed
}
