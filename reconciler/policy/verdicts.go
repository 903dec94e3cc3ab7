package policy

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// verdicts are what an engine found about each subject last: it may be asked again
// about most of a platform as it was, in this process or in the next.
type verdicts struct {
	mu sync.Mutex
	// Those that were asked for lately are in young, and go with old when young is
	// full twice. Both are guarded by mu.
	young, old map[named]verdict
	news       int // how many came since they were remembered; guarded by mu
}

type named struct{ Kind, Name string }

type verdict struct {
	Subject key // see digest
	Found   []reconciler.Violation
}

// mostVerdicts is how many may be young: of ten thousand services and requests
// each, three times.
const mostVerdicts = 1 << 16

// of returns what was found, where the rules would see the subject as they did then.
func (v *verdicts) of(name named, subject key) ([]reconciler.Violation, bool) {
	if subject == (key{}) {
		return nil, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	last, known := v.young[name]
	if !known {
		if last, known = v.old[name]; known {
			v.put(name, last)
		}
	}
	if !known || last.Subject != subject {
		return nil, false
	}
	return slices.Clone(last.Found), true
}

// keep remembers what was found.
func (v *verdicts) keep(name named, subject key, found []reconciler.Violation) {
	if subject == (key{}) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.news++
	v.put(name, verdict{subject, slices.Clone(found)})
}

func (v *verdicts) put(name named, said verdict) {
	if v.young == nil || len(v.young) >= mostVerdicts {
		v.young, v.old = map[named]verdict{}, v.young
	}
	v.young[name] = said
}

// digest identifies all of a subject in which rules can see a difference: of the time
// the day. It is zero for a plan, which is judged once, for what a person does, of whom
// there are many, and for what JSON cannot say.
func digest(s reconciler.Subject) key {
	if len(s.Plan) > 0 || s.Of != "" {
		return key{}
	}
	type head struct {
		Kind, Name     string
		Heal, Reviewed bool
		Day            int64
		Action         string
		Fields         []string
		Cost           *reconciler.Cost
	}
	text, err := json.Marshal(head{s.Kind, s.Name, s.Heal, s.Reviewed, day(s.Now), s.Change.Action, s.Change.Fields, s.Cost})
	if err != nil { // a cost that is no number
		return key{}
	}
	h := sha256.New()
	for _, part := range append([]json.RawMessage{text, s.Change.Before, s.Document, s.Team, s.Service, s.Environment, s.Blueprint, s.Settings}, s.Dependencies...) {
		add(h, part)
	}
	return key(h.Sum(nil))
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
