package reconciler

import (
	"context"
	"fmt"
	"slices"
)

// decideGated decides about every unit and puts the gate before the decisions.
func (r *Reconciler) decideGated(ctx context.Context) (map[string]decision, error) {
	if warned := r.warned.Swap(nil); warned != nil {
		r.journal.warn(*warned)
	}
	decisions := r.decide()
	q, err := r.gates(ctx, decisions)
	if err != nil {
		return nil, err
	}
	for commit := range r.arrivals {
		if number, known := r.gate.pullOf(commit); !known || number != 0 && r.gate.factsOf(number) == nil {
			q.commits[commit] = true
		}
	}
	if q.asks() {
		if r.observed != nil { // the daemon goes on meanwhile
			r.gate.ask(ctx, q)
		} else {
			if err := r.readNow(ctx, q); err != nil {
				return nil, err
			}
			decisions = r.decide()
			if _, err := r.gates(ctx, decisions); err != nil {
				return nil, err
			}
		}
	}
	if err := r.deploying(decisions); err != nil {
		return nil, fmt.Errorf("remember which merges are known: %w", err)
	}
	return decisions, r.settle(decisions)
}

// readNow reads what an inquiry needs before anything goes on. What cannot be read
// holds what depends on it, and nothing else.
func (r *Reconciler) readNow(ctx context.Context, q *inquiry) error {
	_, err := r.gate.read(ctx, q)
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.Log.Warn("ask the forge who let changes happen", "error", err)
	return nil
}

// lastKnown returns the revision that was in force last: what this host remembers,
// else what is recorded, as far as that is believed. It is empty where nothing ever
// was or, see [PlatformStatus], where that is not known.
func (r *Reconciler) lastKnown() (string, error) {
	memory, err := r.Trust.load()
	if err != nil || memory.Revision != "" || r.record.Platform.Doubted {
		return memory.Revision, err
	}
	return r.record.Platform.Revision, nil
}

// recallSettled finds out up to where everything was let happen. Where this host
// does not remember, what was ready in the revision that was in force last was.
func (r *Reconciler) recallSettled() error {
	memory, err := r.Trust.load()
	if err != nil {
		return err
	}
	memory.written, memory.Pushing = written{}, nil // which may be long, and are not asked for
	r.settled = memory
	if memory.Settled != "" || r.gate.forge == nil {
		return nil
	}
	if r.settled.Settled, err = r.lastKnown(); err != nil {
		return err
	}
	r.settled.Pending = r.record.unready()
	return nil
}

// lastGood brings the revision that was in force last into force again. Where that
// cannot be though there was one, it says why: nobody can tell then who may let a
// change of what everybody is judged by happen.
func (r *Reconciler) lastGood(ctx context.Context, tip string) ([]Violation, error) {
	lost := func(format string, args ...any) []Violation {
		return []Violation{{Level: Approve, Scope: ScopeRevision, Message: fmt.Sprintf(format, args...)}}
	}
	another := "look at this revision, stop Pave and run `pave status adopt --revision " + tip + "`"
	commit, err := r.lastKnown()
	if err != nil {
		return nil, err
	}
	switch named := r.record.Platform.Revision; {
	case commit != "":
	case !r.record.Platform.Doubted:
		return nil, nil
	case named == "":
		return lost("this host did not write the status branch, which does not name what was in force before: %s", another), nil
	default:
		return lost("this host did not write the status branch, so nobody can tell what was in force before: look at the branch, which names %s, stop Pave and run `pave status adopt`", shortHash(named)), nil
	}
	checked, err := r.read(ctx, commit, nil)
	if err != nil {
		return nil, fmt.Errorf("read what was in force last: %w: put %s back, or %s", err, commit, another)
	}
	if checked.Refused() {
		return lost("%s, which was in force last, is refused by this version of Pave: return to the version that accepted it, or %s: %s",
			shortHash(commit), another, first(onlyDenied(checked.Violations))), nil
	}
	if r.engine, err = r.Runner.Engine(ctx, r.engineName(checked)); err != nil {
		return nil, err
	}
	r.checked, r.stirred = checked, true
	r.journal.inForce(checked)
	return nil, nil
}

// candidate reads a revision that is not in force. One that waits for an approval
// is read once.
func (r *Reconciler) candidate(ctx context.Context, commit string) (*Checked, error) {
	if r.waiting != nil && r.waiting.Revision.Commit == commit {
		return r.waiting, nil
	}
	return r.read(ctx, commit, r.checked)
}

// governs tells whether a revision may come into force: what it changes of the
// governance must be approved by the platform team that is in force.
func (r *Reconciler) governs(ctx context.Context, c *Checked) (bool, error) {
	if r.gate.forge == nil || r.checked == nil || !r.checked.Platform.Settings.Guards.RequirePullRequest {
		return true, nil
	}
	var governance []string
	for _, path := range ChangedPaths(r.checked.Tree, c.Tree) {
		if governs(path) {
			governance = append(governance, path)
		}
	}
	if len(governance) == 0 {
		return true, nil
	}
	r.waiting = c
	commits, reached, err := r.Source.Line(ctx, c.Revision.Commit, r.checked.Revision.Commit, mostSteps)
	if err != nil {
		return false, err
	}
	q := &inquiry{commits: map[string]bool{}, teams: r.checked.Platform.Teams}
	why, err := r.ungoverned(ctx, commits, reached, governance, q)
	if err != nil {
		return false, err
	}
	if q.asks() && r.observed == nil {
		if err := r.readNow(ctx, q); err != nil {
			return false, err
		}
		why, err = r.ungoverned(ctx, commits, reached, governance, &inquiry{commits: map[string]bool{}, teams: q.teams})
		if err != nil {
			return false, err
		}
	} else if q.asks() {
		r.gate.ask(ctx, q)
		if r.refusal != nil && r.refusal.Revision == c.Revision.Commit {
			return false, nil // what was said stands until more is known
		}
	}
	if len(why) == 0 {
		return true, nil
	}
	r.keepOut(c, why)
	return false, nil
}

// keepOut notes that a revision does not come into force until a person acts.
func (r *Reconciler) keepOut(c *Checked, why []Violation) {
	held := &Refusal{Revision: c.Revision.Commit, Violations: SortViolations(why), Waiting: true}
	if r.refusal != nil && sameRefusal(r.refusal, held) {
		return
	}
	r.refusal = held
	r.journal.refuse(held)
	r.Log.Warn("hold a revision", "revision", c.Revision.Short(), "why", first(held.Violations))
}

func sameRefusal(a, b *Refusal) bool {
	return a.Revision == b.Revision && slices.EqualFunc(a.Violations, b.Violations, func(v, w Violation) bool { return v.String() == w.String() })
}

// ungoverned says what keeps the governance of a line of commits from coming into
// force; nothing where all of it is approved.
func (r *Reconciler) ungoverned(ctx context.Context, commits []string, reached bool, governance []string, q *inquiry) ([]Violation, error) {
	platform := r.checked.Platform.Settings.Owner
	asks := func(message string) Violation {
		return Violation{Level: Approve, Scope: ScopeRevision, Position: Position{File: governance[0]}, Team: platform,
			Message: message, Hint: "what is in force stays so until then"}
	}
	if !reached {
		return []Violation{asks("the tracked branch was rewritten, and with it what everybody is judged by: put back what was in force, and propose the change as a pull request")}, nil
	}
	who := r.gate.electors(q.teams)
	var why []Violation
	for i, commit := range commits {
		parent := r.checked.Revision.Commit
		if i+1 < len(commits) {
			parent = commits[i+1]
		}
		paths, err := r.pathsOf(ctx, commit, parent)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(paths, func(path string) bool { return slices.Contains(governance, path) }) {
			continue
		}
		m, err := r.mergeOf(ctx, commit)
		if err != nil {
			return nil, err
		}
		number, known := r.gate.pullOf(commit)
		f := r.gate.factsOf(number)
		switch {
		case !m.honest:
			why = append(why, asks(fmt.Sprintf(holdsMore, shortHash(commit))))
		case !known, number != 0 && f == nil, who == nil:
			q.commits[commit] = true
			v := asks("the forge is asked who approved it")
			if failing := r.gate.failing(); failing != "" { // which is a fault, and nobody's to approve
				v.Level, v.Message = Deny, "the forge does not say who approved it: "+failing
			}
			why = append(why, v)
		case number == 0:
			why = append(why, asks(fmt.Sprintf("%s changes what everybody is judged by and came without a pull request: revert it, and propose it as one", shortHash(commit))))
		case !m.of(f.Pull):
			why = append(why, asks(fmt.Sprintf(mergesAnother, shortHash(commit), number)))
		default:
			_, approved := f.approved(who[platform], func(review Review) bool { return f.ofHead(review) || f.afterMerge(review) })
			if !approved {
				why = append(why, asks(fmt.Sprintf("%s must approve #%d by %s, which changes what everybody is judged by", platform, number, f.Pull.Author.Handle)))
			}
		}
	}
	return why, nil
}

// asks remembers a plan that needs an approval.
func (r *Reconciler) asks(job Job, result Result) {
	r.asking[job.Unit] = asking{key: planKey(decision{basis: job.Basis, deletes: job.Destroy}), plan: result.Plan.Digest, needed: neededBy(result.Violations, job.Unit, job.Owner)}
}
