package reconciler

import (
	"cmp"
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
			if _, err := r.gate.read(ctx, q); err != nil {
				return nil, fmt.Errorf("ask the forge who let changes happen: %w", err)
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

// recallSettled finds out up to where everything was let happen. Where this host
// does not remember, what is recorded as ready was; the very first revision is
// the operator's word.
func (r *Reconciler) recallSettled(heads Heads) error {
	memory, err := r.Trust.load()
	if err != nil {
		return err
	}
	r.settled = memory
	if memory.Settled != "" || r.gate.forge == nil {
		return nil
	}
	r.settled.Settled = cmp.Or(memory.Revision, r.record.Platform.Revision)
	if r.settled.Settled == "" && heads.Status == "" {
		r.settled.Settled = heads.Tracked
	}
	r.settled.Pending = map[string]string{}
	for name, status := range r.record.Units {
		if memory.Revision == "" && !status.Is(Ready) {
			r.settled.Pending[name] = status.AppliedRevision
		}
	}
	return nil
}

// candidate reads a revision that is not in force. One that waits for an approval
// is read once.
func (r *Reconciler) candidate(ctx context.Context, commit string) (*Checked, error) {
	if r.waiting != nil && r.waiting.Revision.Commit == commit {
		return r.waiting, nil
	}
	return r.read(ctx, commit)
}

// governs tells whether a revision may come into force: what it changes of the
// governance must be approved by the platform team that is in force.
func (r *Reconciler) governs(ctx context.Context, c *Checked) (bool, error) {
	if r.gate.forge == nil || r.checked == nil || !r.checked.Platform.Settings.Guards.RequirePullRequest {
		return true, nil
	}
	var governance []string
	for _, path := range changedPaths(r.checked.Tree, c.Tree) {
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
		if _, err := r.gate.read(ctx, q); err != nil {
			return false, fmt.Errorf("ask the forge who let changes happen: %w", err)
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
	if held := (&Refusal{Revision: c.Revision.Commit, Violations: SortViolations(why), Waiting: true}); r.refusal == nil || !sameRefusal(r.refusal, held) {
		r.refusal = held
		r.journal.refuse(held)
		r.Log.Warn("hold a revision", "revision", c.Revision.Short(), "why", why[0].Message)
	}
	return false, nil
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
			message := "the forge is asked who approved it"
			if failing := r.gate.failing(); failing != "" {
				message = "the forge does not say who approved it: " + failing
			}
			why = append(why, asks(message))
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
