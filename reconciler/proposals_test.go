package reconciler

import (
	"context"
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

func (f *pullForge) Publish(_ context.Context, _ Report, shown func(time.Time) error) error {
	return shown(time.Now())
}

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
