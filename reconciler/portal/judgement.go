package portal

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// Verdict is what the rules of a revision are and say of it.
type Verdict struct {
	Rules []Rule
	Tests []RuleTest
	// Violations are all of the revision, those of no rule included.
	Violations []reconciler.Violation
}

// Rule is one rule of a policy.
type Rule struct {
	ID          string
	Title       string
	Description string
	Package     string
	Severity    string // what it asks for: deny, approve, warn or preapprove
	Level       string // the severity after overrides, or off
	Reason      string // why the settings changed the level
	Builtin     bool
	Position    reconciler.Position // of a built-in rule in its own folder
}

// RuleTest is one test of a policy.
type RuleTest struct {
	Name     string
	Position reconciler.Position
	Builtin  bool // it is run where Pave is built
	Passed   bool
	Message  string
}

// Judgements judges snapshots by their rules, in the background and one at a
// time, as they are asked for.
type Judgements struct {
	judge func(context.Context, *Snapshot) (Verdict, error)
	ctx   context.Context
	stop  context.CancelFunc
	busy  sync.WaitGroup
	one   sync.Mutex // held while one is made

	mu   sync.Mutex
	kept []*judgement // guarded by mu; last used last
}

type judgement struct {
	key     string
	done    chan struct{} // closed when the others are set
	verdict Verdict
	err     error
}

func (made *judgement) ended() bool {
	select {
	case <-made.done:
		return true
	default:
		return false
	}
}

// The judgements that are kept, and how long their page waits for one.
const (
	keptJudgements = 3
	judging        = time.Second
)

// NewJudgements returns what judges by a function, which is called for one
// snapshot at a time.
func NewJudgements(judge func(context.Context, *Snapshot) (Verdict, error)) *Judgements {
	j := &Judgements{judge: judge}
	j.ctx, j.stop = context.WithCancel(context.Background())
	return j
}

// Close ends what goes on in the background.
func (j *Judgements) Close() {
	j.stop()
	j.busy.Wait()
}

// of returns the verdict of a snapshot, and whether it is known yet: it waits so
// long at most. No judge knows none.
func (j *Judgements) of(ctx context.Context, s *Snapshot, wait time.Duration) (Verdict, bool, error) {
	if j == nil {
		return Verdict{}, false, nil
	}
	made := j.begin(s)
	if made == nil {
		return Verdict{}, false, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-made.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-made.done:
		return made.verdict, made.err == nil, made.err
	default:
		return Verdict{}, false, context.Cause(ctx)
	}
}

// begin returns the judgement of a snapshot, which it begins where nobody did; nil
// where too many are going on. One that failed is begun again.
func (j *Judgements) begin(s *Snapshot) *judgement {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, made := range j.kept {
		if made.key == s.key() {
			j.kept = append(slices.Delete(j.kept, i, i+1), made)
			return made
		}
	}
	if len(j.kept) == keptJudgements {
		ended := slices.IndexFunc(j.kept, (*judgement).ended)
		if ended < 0 {
			return nil
		}
		j.kept = slices.Delete(j.kept, ended, ended+1)
	}
	made := &judgement{key: s.key(), done: make(chan struct{})}
	j.kept = append(j.kept, made)
	j.busy.Go(func() {
		j.one.Lock()
		defer j.one.Unlock()
		if made.err = j.ctx.Err(); made.err == nil {
			made.verdict, made.err = j.judge(j.ctx, s)
		}
		if made.err != nil {
			j.mu.Lock()
			j.kept = slices.DeleteFunc(j.kept, func(other *judgement) bool { return other == made })
			j.mu.Unlock()
		}
		close(made.done)
	})
	return made
}
