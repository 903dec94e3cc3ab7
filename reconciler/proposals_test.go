package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pullForge has open pull requests that nobody needs to approve, and tells what
// is published on them.
type pullForge struct {
	memoryForge
	mu        sync.Mutex
	open      []PullRequest // guarded by mu
	strays    []PullRequest
	resets    []string // the heads whose checks were reset
	faults    int      // of which so many fail first
	published chan Report
	merges    int
}

func (f *pullForge) Strays(context.Context) ([]PullRequest, error) { return f.strays, f.fault() }

func (f *pullForge) State(_ context.Context, commit string, _ CheckState, _ string) error {
	if err := f.fault(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets = append(f.resets, commit)
	return nil
}

func (f *pullForge) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults == 0 {
		return nil
	}
	f.faults--
	return errors.New("no forge")
}

func newPullForge(open ...PullRequest) *pullForge {
	return &pullForge{open: open, published: make(chan Report, 100)}
}

func opened(number int, author string) PullRequest {
	return PullRequest{Number: number, Head: fmt.Sprintf("head-%d", number), Author: account(author), Open: true}
}

func (f *pullForge) Open(context.Context) ([]PullRequest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.open), nil
}

func (f *pullForge) set(open ...PullRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = open
}

func (f *pullForge) Publish(_ context.Context, r Report, shown func(time.Time) error) error {
	err := shown(time.Now())
	f.published <- r
	return err
}

// says waits until something is said of a pull request, and returns it.
func (f *pullForge) says(t *testing.T, number int, state CheckState) Report {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case r := <-f.published:
			if r.Number == number && r.State == state {
				return r
			}
		case <-timeout:
			t.Fatalf("pull request %d is never %s", number, state)
		}
	}
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

type proposerFunc func(ProposedChange) (*Proposal, error)

func (p proposerFunc) Propose(_ context.Context, c ProposedChange) (*Proposal, error) {
	return p(c)
}

// serveProposals looks at pull requests until the returned function is called.
func serveProposals(t *testing.T, g *gatehouse, forge Forge, proposer Proposer, runner Runner) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	checked := g.Reconciler.checked
	checked.Platform.Settings.Intervals.Poll = Interval(10 * time.Millisecond)
	checked.Platform.Teams = map[string]Team{"payments": {Members: []string{"alice", "bob"}}}
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
	p := NewProposals(ProposalOptions{Forge: forge, Proposer: proposer, Runner: runner, Shown: g.Shown, Loop: g.Reconciler})
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Serve(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// What is merged without people is merged once the forge lets it be, though
// nothing happens that would tell.
func TestMergeIsTriedAgain(t *testing.T) {
	g := newGatehouse(t)
	g.Reconciler.checked.Platform.Settings.AutoMerge = true
	forge := newPullForge(opened(1, "alice"))
	proposer := proposerFunc(func(ProposedChange) (*Proposal, error) { return &Proposal{Preapproved: true}, nil })
	stop := serveProposals(t, g, forge, proposer, runnerFunc(nil))
	select {
	case <-g.Reconciler.pokes:
	case <-time.After(20 * time.Second):
		t.Error("it is never merged")
	}
	stop()
	if forge.merges != 3 {
		t.Errorf("tried %d times", forge.merges)
	}
}

// runnerFunc starts runs.
type runnerFunc func(Job) (Running, error)

func (runnerFunc) Render(Unit) (Rendering, error)                      { return Rendering{}, nil }
func (runnerFunc) Engine(context.Context, string) (Engine, error)      { return Engine{}, nil }
func (runnerFunc) Memory(string) uint64                                { return 0 }
func (runnerFunc) Unfinished() ([]Running, error)                      { return nil, nil }
func (r runnerFunc) Start(_ context.Context, job Job) (Running, error) { return r(job) }

// endlessRun ends only when it is stopped.
type endlessRun struct {
	job           Job
	over, stopped chan struct{}
}

func (r *endlessRun) Job() Job { return r.job }

func (r *endlessRun) Wait(ctx context.Context) (Result, error) {
	select {
	case <-r.over:
		return Result{}, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

func (r *endlessRun) Stop() error {
	close(r.over)
	r.stopped <- struct{}{}
	return nil
}

func (r *endlessRun) Forget() error { return nil }

// Only somebody of a team who proposes something from the repository itself is an
// insider.
func TestProposersOfTeams(t *testing.T) {
	fork := opened(2, "alice")
	fork.Fork = true
	forge := newPullForge(opened(1, "alice"), fork, opened(3, "mallory"))
	insiders := make(chan string, 3)
	proposer := proposerFunc(func(c ProposedChange) (*Proposal, error) {
		insiders <- fmt.Sprint(c.Head, " ", c.Insider)
		return &Proposal{}, nil
	})
	serveProposals(t, newGatehouse(t), forge, proposer, runnerFunc(nil))
	var got []string
	for range 3 {
		got = append(got, <-insiders)
	}
	slices.Sort(got)
	if want := []string{"head-1 true", "head-2 false", "head-3 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Plans that take for ever hold up no answer to another pull request, and end when
// their own moves.
func TestPlansDelayNoAnswer(t *testing.T) {
	forge := newPullForge(opened(1, "alice"))
	proposer := proposerFunc(func(c ProposedChange) (*Proposal, error) {
		if c.Head != "head-1" {
			return &Proposal{}, nil
		}
		return &Proposal{Report: Report{Units: []PlannedUnit{{Request: "slow"}}}, Jobs: []Job{{Unit: "slow"}}}, nil
	})
	started, stopped := make(chan struct{}, 10), make(chan struct{}, 10)
	runner := runnerFunc(func(job Job) (Running, error) {
		started <- struct{}{}
		return &endlessRun{job: job, over: make(chan struct{}), stopped: stopped}, nil
	})
	serveProposals(t, newGatehouse(t), forge, proposer, runner)
	forge.says(t, 1, CheckPending)
	<-started
	second := opened(2, "alice")
	forge.set(opened(1, "alice"), second)
	forge.says(t, 2, CheckPassed)
	second.Head = "head-2 again"
	forge.set(opened(1, "alice"), second)
	forge.says(t, 2, CheckPassed)
	select {
	case <-stopped:
		t.Error("the plan of a pull request that did not move was stopped")
	default:
	}
	moved := opened(1, "alice")
	moved.Head = "another head"
	forge.set(moved, second)
	forge.says(t, 1, CheckPassed)
	select {
	case <-stopped:
	default:
		t.Error("the plan of a head that is none any more went on")
	}
}

// While the loop's news gather nothing waits, and then they are told once.
func TestNewsDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := &Reconciler{views: make(chan chan View)}
		p := &Proposals{ProposalOptions: ProposalOptions{Loop: loop}, pokes: make(chan struct{}, 1), news: make(chan struct{}, 1), poked: map[int]bool{}}
		began := time.Now()
		var asked []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		var answering sync.WaitGroup
		defer answering.Wait()
		defer cancel()
		answering.Go(func() {
			for {
				select {
				case view := <-loop.views:
					asked = append(asked, time.Since(began))
					view <- View{}
				case <-ctx.Done():
					return
				}
			}
		})
		p.Progressed()
		time.AfterFunc(newsPause/4, func() { p.Poke(1) })
		time.AfterFunc(newsPause/2, p.Progressed)
		p.await(ctx, began.Add(time.Hour))
		if took := time.Since(began); took != newsPause/4 {
			t.Errorf("a poke was heard after %s", took)
		}
		p.await(ctx, began.Add(time.Hour))
		if took := time.Since(began); took != time.Hour {
			t.Errorf("without a reason it waited %s", took)
		}
		if !slices.Equal(asked, []time.Duration{newsPause}) {
			t.Errorf("the news were told after %s", asked)
		}
	})
}

// What keeps a pull request from being read or planned is told after a few tries,
// in words that name nothing of the host, until it could be done.
func TestTroubleIsTold(t *testing.T) {
	inside := errors.New("open /var/lib/pave: token s3cret")
	for _, test := range []struct {
		headline           string
		fetch, read, start error
	}{
		{headline: "Not read yet: the repository", fetch: fmt.Errorf("%w: %w", ErrNotFetched, inside)},
		{headline: "Not read yet: the process", read: inside},
		{headline: "Not planned yet: its plans", start: inside},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mended atomic.Bool
			proposer := proposerFunc(func(ProposedChange) (*Proposal, error) {
				if err := cmp.Or(test.fetch, test.read); err != nil && !mended.Load() {
					return nil, err
				}
				return &Proposal{Report: Report{Units: []PlannedUnit{{Request: "u"}}}, Jobs: []Job{{Unit: "u"}}}, nil
			})
			runner := runnerFunc(func(job Job) (Running, error) {
				if test.start != nil && !mended.Load() {
					return nil, test.start
				}
				over := make(chan struct{})
				close(over)
				return &endlessRun{job: job, over: over}, nil
			})
			forge := newPullForge(opened(1, "alice"))
			stop := serveProposals(t, newGatehouse(t), forge, proposer, runner)
			defer stop()
			r := forge.says(t, 1, CheckPending)
			if test.start != nil { // which is said before
				r = forge.says(t, 1, CheckPending)
			}
			if content := fmt.Sprint(r); !strings.HasPrefix(r.Headline, test.headline) || strings.Contains(content, "s3cret") || strings.Contains(content, "/var") {
				t.Errorf("want %q, got %+v", test.headline, r)
			}
			mended.Store(true)
			forge.says(t, 1, CheckPassed)
		})
	}
}

// The check of a pull request that was sent to another branch is reset, however
// long that takes and whether this process saw it go or not; where another one
// has the head the check is that one's.
func TestCheckOfAnotherBranchIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forge := newPullForge(opened(1, "alice"), opened(2, "alice"), opened(3, "alice"))
		twin := opened(5, "alice")
		twin.Head = "head-1"
		forge.pulls = map[int]PullRequest{2: opened(2, "alice"), 3: {Number: 3, Head: "head-3"}, 4: opened(4, "alice"), 5: twin}
		forge.strays, forge.faults = []PullRequest{opened(4, "alice"), twin}, 1
		g := newGatehouse(t)
		stop := serveProposals(t, g, forge, proposerFunc(func(ProposedChange) (*Proposal, error) { return &Proposal{}, nil }), runnerFunc(nil))
		defer stop()
		time.Sleep(time.Second)
		forge.mu.Lock()
		forge.open, forge.faults = forge.open[:1], 3 // 2 goes elsewhere, 3 is closed
		forge.mu.Unlock()
		time.Sleep(time.Minute)
		stop()
		slices.Sort(forge.resets)
		if want := []string{"head-2", "head-4"}; !slices.Equal(forge.resets, want) {
			t.Errorf("got %q, want %q", forge.resets, want)
		}
		said := map[int]int{}
		for len(forge.published) > 0 {
			said[(<-forge.published).Number]++
		}
		if want := map[int]int{1: 2, 2: 1, 3: 1}; !maps.Equal(said, want) { // 1 again, for its twin's sake
			t.Errorf("got %v, want %v", said, want)
		}
	})
}

// Somebody's many pull requests hold nobody else's up, in any lane.
func TestShareOfAuthors(t *testing.T) {
	g := newGatehouse(t)
	p := NewProposals(ProposalOptions{Forge: g.forge, Shown: g.Shown, Loop: g.Reconciler})
	unread := func(pull PullRequest) *proposed { return &proposed{pull: pull, key: "k"} }
	unplanned := func(pull PullRequest) *proposed {
		x := unread(pull)
		x.view.InForce = g.Reconciler.checked
		x.proposal, x.said, x.allowed = &Proposal{Jobs: []Job{{Unit: "u"}}}, true, true
		return x
	}
	for i, lacking := range []func(PullRequest) *proposed{unread, unplanned} {
		for number := range 5 {
			p.open[number] = lacking(opened(number, "alice"))
		}
		p.open[9] = lacking(opened(9, "bob"))
		l := p.lanes[i]
		l.do = func(context.Context, *proposed) error { return nil }
		var order []int
		for range 3 {
			var work sync.WaitGroup
			x, _ := p.next(l, time.Now())
			p.begin(t.Context(), l, x, &work)
			if busy, _ := p.next(l, time.Now()); busy != nil {
				t.Errorf("lane %d works on two at a time", i)
			}
			order = append(order, x.pull.Number)
			p.free(<-p.done)
			work.Wait()
			delete(p.open, x.pull.Number)
		}
		if want := []int{0, 9, 1}; !slices.Equal(order, want) {
			t.Errorf("lane %d: got %v, want %v", i, order, want)
		}
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
