package catalog

import (
	"context"
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
	basis    string // the digest of the governance
	governed answer // what the child says of it
	jobs     int    // that it did
	expiry   *time.Timer
}

// Stay lets a child wait for the next pass, for as long as nothing is asked of it
// for that time; zero lets none. It ends with the context of the pass that started
// it. Who stays asks about one branch only.
func (e *Evaluator) Stay(idle time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = idle
	e.dismiss()
}

// ask returns the answers to the jobs, the first of which is the governance with
// the digest.
func (e *Evaluator) ask(ctx context.Context, basis string, jobs []job) ([]answer, error) {
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
	fresh, err := evaluateInChildren(ctx, e.command, e.deadline, rest)
	if err != nil {
		return nil, err
	}
	return merged(fresh[0], known, fresh[1:], len(jobs)), nil
}

// merged puts answers in the order of their jobs: those that are known by their
// place, the others as they come.
func merged(governed answer, known map[int]answer, others []answer, jobs int) []answer {
	answers := []answer{governed}
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
func (e *Evaluator) askStaying(ctx context.Context, basis string, jobs []job) (governed answer, known map[int]answer) {
	var places []int
	var asked []job
	for i, j := range jobs {
		if j.Kind == dataJob {
			places, asked = append(places, i), append(asked, j)
		}
	}
	if e.idle == 0 || len(asked) == 0 || len(asked) > fewJobs {
		return answer{}, nil
	}
	if !e.stayed.fits(basis, len(asked)) {
		e.dismiss()
		e.stayed = e.hire(ctx, basis, jobs[0])
	}
	if e.stayed == nil {
		return answer{}, nil
	}
	s := e.stayed
	s.expiry.Stop()
	s.jobs += len(asked)
	answers := s.ask(e.deadline, asked, func() error { return nil })
	if len(answers) < len(asked) {
		e.dismiss()
		return answer{}, nil
	}
	s.expiry.Reset(e.idle)
	known = map[int]answer{}
	for n, place := range places {
		known[place] = answers[n]
	}
	return s.governed, known
}

// fits tells whether the child may do so many jobs under the governance.
func (s *staying) fits(basis string, jobs int) bool {
	return s != nil && s.basis == basis && s.ctx.Err() == nil && s.jobs+jobs <= stayingJobs &&
		limited.Processor(s.cmd.Process.Pid) < stayingSeconds*time.Second
}

// hire starts a child that stays; nil where that fails.
func (e *Evaluator) hire(ctx context.Context, basis string, governance job) *staying {
	c, err := startChild(ctx, e.command)
	if err != nil {
		return nil
	}
	s := &staying{child: c, basis: basis}
	answers := c.ask(e.deadline, []job{governance}, func() error { return nil })
	if len(answers) == 0 {
		s.end()
		return nil
	}
	s.governed = answers[0]
	s.expiry = time.AfterFunc(e.idle, func() { e.expire(s) })
	return s
}

// expire ends a child that nothing was asked of, unless something is by now.
func (e *Evaluator) expire(s *staying) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stayed == s {
		e.dismiss()
	}
}

// dismiss ends the child that stays. The caller holds mu.
func (e *Evaluator) dismiss() {
	if e.stayed != nil {
		e.stayed.expiry.Stop()
		e.stayed.end()
		e.stayed = nil
	}
}

// end kills the child, which holds nothing that could be lost.
func (c *child) end() {
	c.kill(nil)
	_ = c.cmd.Wait() // it was killed
}
