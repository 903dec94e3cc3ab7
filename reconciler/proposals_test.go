package reconciler

import (
	"context"
	"slices"
	"testing"
	"time"
)

// pullForge has one open pull request that nobody needs to approve.
type pullForge struct {
	memoryForge
	merges int
}

func (f *pullForge) Open(context.Context) ([]PullRequest, error) {
	return []PullRequest{{Number: 1, Head: "head", Author: account("alice"), Open: true}}, nil
}

func (f *pullForge) Publish(context.Context, Report) (time.Time, error) { return time.Now(), nil }

func (f *pullForge) Gaps(context.Context) ([]string, error) { return nil, nil }

// Merge refuses twice, as a forge does whose other checks go on.
func (f *pullForge) Merge(context.Context, int, string) error {
	f.merges++
	if f.merges < 3 {
		return ErrMoved
	}
	return nil
}

type proposerFunc func(ProposedChange) *Proposal

func (p proposerFunc) Propose(_ context.Context, c ProposedChange) (*Proposal, error) {
	return p(c), nil
}

type noRunner struct{ Runner }

func (noRunner) Unfinished() ([]Running, error) { return nil, nil }

// What is merged without people is merged once the forge lets it be, though
// nothing happens that would tell.
func TestMergeIsTriedAgain(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g := newGatehouse(t)
	checked := g.Reconciler.checked
	checked.Platform.Settings.AutoMerge = true
	checked.Platform.Settings.Intervals.Poll = Interval(10 * time.Millisecond)
	go func() {
		for {
			select {
			case view := <-g.Reconciler.views:
				view <- View{Tracked: "first", InForce: checked}
			case <-ctx.Done():
				return
			}
		}
	}()
	forge := &pullForge{}
	proposer := proposerFunc(func(ProposedChange) *Proposal { return &Proposal{Preapproved: true} })
	p := NewProposals(ProposalOptions{Forge: forge, Proposer: proposer, Runner: noRunner{}, Shown: g.Shown, Loop: g.Reconciler})
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Serve(ctx) }()
	merged := g.Reconciler.pokes
	select {
	case <-merged:
	case <-ctx.Done():
		t.Error("it is never merged")
	}
	cancel()
	<-done
	if forge.merges != 3 {
		t.Errorf("tried %d times", forge.merges)
	}
}

// What was said of what is over takes no memory for ever.
func TestForgetWhatWasSaid(t *testing.T) {
	g := newGatehouse(t)
	p := NewProposals(ProposalOptions{Forge: g.forge, Shown: g.Shown, Loop: g.Reconciler})
	view := View{InForce: g.Reconciler.checked, Deployments: []Report{{Number: 2}}, Queue: []QueuedMerge{{Commit: "c"}}}
	p.said = map[string]string{"#1": "", "#2": "", queueKey(QueuedMerge{Commit: "b"}, view): "", queueKey(view.Queue[0], view): ""}
	p.forget(view)
	if _, kept := p.said["#2"]; len(p.said) != 2 || !kept {
		t.Errorf("got %v", p.said)
	}
}

// The check passes only where converge will apply what it shows: an approval given
// where another plan stood before is for that one.
func TestApprovalOfReplacedPlan(t *testing.T) {
	g := newGatehouse(t)
	minute := func(n int) time.Time { return g.noon.Add(time.Duration(n) * time.Minute) }
	g.forge.pulls[1] = PullRequest{Number: 1, Head: "head-1", Author: account("carol"), Open: true}
	p := NewProposals(ProposalOptions{Forge: g.forge, Shown: g.Shown, Loop: g.Reconciler})
	expect := func(plan string, want CheckState, notes ...string) {
		t.Helper()
		f, err := readFacts(t.Context(), g.forge, g.forge.pulls[1], g.noon)
		if err != nil {
			t.Fatal(err)
		}
		x := &proposed{pull: f.Pull, facts: f, view: View{InForce: g.Reconciler.checked}, planned: true,
			proposal: &Proposal{Report: Report{Approvals: []Needed{{Team: "payments", Units: []string{"ledger"}}}}},
			units:    []PlannedUnit{{Request: "ledger", Plan: PlanSummary{Digest: plan}}}}
		if report, err := p.report(t.Context(), x); err != nil || report.State != want || !slices.Equal(report.Notes, notes) {
			t.Errorf("%s: want %s, got %s, %q, %v", plan, want, report.State, report.Notes, err)
		}
	}
	expect("first", CheckWaiting)
	g.review(1, "alice", "head-1", minute(1)) // before a plan was shown at all
	expect("first", CheckPassed)
	g.shows(1, "first", minute(2))
	expect("first", CheckPassed)
	const again = "alice approved before the plan became what it is: the approval of payments is needed again"
	expect("second", CheckWaiting, again) // which is not shown yet
	g.shows(1, "second", minute(3))
	expect("second", CheckWaiting, again)
	g.review(1, "bob", "head-1", minute(4))
	expect("second", CheckPassed)
	pull := g.forge.pulls[1]
	pull.Head = "head-2"
	g.forge.pulls[1] = pull
	expect("second", CheckWaiting)
	g.review(1, "alice", "head-2", minute(5))
	expect("second", CheckPassed)
}
