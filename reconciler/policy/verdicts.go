package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// verdicts are what an engine found about each subject last: with the next revision
// nearly all of a platform is asked about again as it was.
type verdicts struct {
	mu sync.Mutex
	// Those that were asked for lately are in young, and go with old when young is
	// full twice. Both are guarded by mu.
	young, old map[named]verdict
	recalled   map[named]rememberedVerdict // of another process; guarded by mu
	news       int                         // how many came since they were remembered; guarded by mu
}

type named struct{ kind, name string }

type verdict struct {
	subject reconciler.Subject
	found   []reconciler.Violation
}

// mostVerdicts is how many may be young: of ten thousand services and requests
// each, three times.
const mostVerdicts = 1 << 16

// of returns what was found, where the rules would see the subject as they did then.
func (v *verdicts) of(s reconciler.Subject) ([]reconciler.Violation, bool) {
	if s.Of != "" {
		return nil, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name := named{s.Kind, s.Name}
	last, known := v.young[name]
	if !known {
		if last, known = v.old[name]; known {
			v.put(name, last)
		}
	}
	if !known {
		return v.recall(s)
	}
	if !same(last.subject, s) {
		return nil, false
	}
	return slices.Clone(last.found), true
}

// keep remembers what was found, unless a plan was judged, which happens once, or a
// person, of whom there are many.
func (v *verdicts) keep(s reconciler.Subject, found []reconciler.Violation) {
	if len(s.Plan) > 0 || s.Of != "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.news++
	v.put(named{s.Kind, s.Name}, verdict{s, slices.Clone(found)})
}

func (v *verdicts) put(name named, said verdict) {
	if v.young == nil || len(v.young) >= mostVerdicts {
		v.young, v.old = map[named]verdict{}, v.young
	}
	v.young[name] = said
}

// same tells whether rules can see no difference between two subjects, but for the
// time within a day. Documents that did not change are the same memory, which is not
// even looked at.
func same(a, b reconciler.Subject) bool {
	equal := func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }
	return a.Kind == b.Kind && a.Name == b.Name && a.Heal == b.Heal && a.Reviewed == b.Reviewed && len(a.Plan)+len(b.Plan) == 0 &&
		day(a.Now) == day(b.Now) && a.Change.Action == b.Change.Action && slices.Equal(a.Change.Fields, b.Change.Fields) &&
		equal(a.Change.Before, b.Change.Before) && sameCost(a.Cost, b.Cost) &&
		equal(a.Document, b.Document) && equal(a.Team, b.Team) && equal(a.Service, b.Service) && equal(a.Environment, b.Environment) &&
		equal(a.Blueprint, b.Blueprint) && equal(a.Settings, b.Settings) && slices.EqualFunc(a.Dependencies, b.Dependencies, equal)
}

func sameCost(a, b *reconciler.Cost) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Monthly == b.Monthly && a.Before == b.Before && a.Team.Before == b.Team.Before && a.Team.After == b.Team.After &&
		(a.Team.Budget == nil) == (b.Team.Budget == nil) && (a.Team.Budget == nil || *a.Team.Budget == *b.Team.Budget)
}

// Stands tells whether what the rules found at one time they find at another: on the
// same day, unless one of them reads the hour.
func (e *Engine) Stands(said, now time.Time) bool {
	for _, q := range e.queries {
		if len(q.fresh) > 0 {
			return said.Equal(now)
		}
	}
	return day(said) == day(now) && !e.stuck.Load()
}

// day counts the days in UTC.
func day(t time.Time) int64 {
	const seconds = 24 * 60 * 60
	return (t.Unix() - (t.Unix()%seconds+seconds)%seconds) / seconds
}
