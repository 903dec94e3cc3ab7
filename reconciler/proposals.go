package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// ProposalOptions are what Proposals need. All are required but Log.
type ProposalOptions struct {
	Forge    Forge
	Proposer Proposer
	// Runner makes plans, in a folder that is for them alone.
	Runner Runner
	Shown  *Shown
	// Loop is what converges. Proposals only ask it how things stand.
	Loop *Reconciler
	Log  *slog.Logger // nil discards
}

// Proposals looks at the open pull requests: each is read and judged as it would
// be merged, planned where that runs nothing that nobody has accepted, and
// answered by one check and one comment. After the merge the comment tells what
// became of it.
//
// All that it remembers can be lost: what it says is put together anew from the
// forge and the repository, and saying it again changes nothing.
type Proposals struct {
	ProposalOptions
	roster *roster
	pokes  chan struct{}
	news   chan struct{} // something happened in the loop
	done   chan *lane    // whose work ended

	mu    sync.Mutex
	poked map[int]bool // pull requests to look at again; guarded by mu

	open     map[int]*proposed
	lanes    []*lane
	departed map[int]*departed // that are listed no more, until their checks are right
	strays   bool              // those that left before this process began are known
	said     map[string]string // what was said of deployments and queued merges
	gaps     time.Time         // when the forge's settings were looked at last
	poll     time.Duration     // how often the forge is asked when nothing pokes
	follows  time.Time         // when the loop's news are told; zero where there are none
	last     View              // of the last round
}

// lane does one kind of work, for one pull request at a time. Lanes do not wait
// for each other: the plans of one pull request hold no other's first answer up.
type lane struct {
	lacks  func(*proposed) bool // tells whether there is such work to do
	do     func(context.Context, *proposed) error
	active *proposed           // nil where the lane is free
	served map[int64]time.Time // when it worked for an author last
}

// departed is a pull request that may go to another branch by now.
type departed struct {
	faults int
	again  time.Time // not to be tried before
}

// proposed is one open pull request.
type proposed struct {
	pull PullRequest
	key  string // what it is read against; empty before the first look
	view View

	proposal *Proposal // nil until it was read
	facts    *facts
	units    []PlannedUnit // with their plans, once planned
	planned  bool
	said     bool               // what is known was published
	judged   bool               // a verdict on the head was published, on an earlier base
	allowed  bool               // whether plans may be made
	merging  bool               // it is to be merged, and the forge would not yet
	again    time.Time          // not to be tried before
	faults   int                // since something was done for it
	trouble  string             // what keeps it from being read or planned, once that is told
	cancel   context.CancelFunc // nil while no lane works on it; nobody else does meanwhile
	stale    bool               // while it was worked on, it moved
}

// NewProposals returns what looks at pull requests. Nothing is asked yet.
func NewProposals(o ProposalOptions) *Proposals {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proposals{ProposalOptions: o, roster: o.Loop.gate.roster, pokes: make(chan struct{}, 1), news: make(chan struct{}, 1),
		poked: map[int]bool{}, open: map[int]*proposed{}, departed: map[int]*departed{}, said: map[string]string{}, poll: time.Second}
	p.lanes = []*lane{
		{lacks: (*proposed).lacksAnswer, do: p.answer, served: map[int64]time.Time{}},
		{lacks: (*proposed).lacksPlans, do: p.plan, served: map[int64]time.Time{}},
	}
	p.done = make(chan *lane, len(p.lanes))
	return p
}

// Poke asks for a look at a pull request, zero for all, soon. It never blocks.
func (p *Proposals) Poke(number int) {
	p.mu.Lock()
	p.poked[number] = true
	p.mu.Unlock()
	nudge(p.pokes)
}

// Progressed tells that something happened in the loop. It never blocks.
func (p *Proposals) Progressed() { nudge(p.news) }

// Serve looks at pull requests until ctx ends. It returns when nothing of its
// work is left.
func (p *Proposals) Serve(ctx context.Context) error {
	if err := forgetPlans(ctx, p.Runner); err != nil && ctx.Err() == nil {
		p.Log.Warn("remove earlier previews", "error", err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	for ctx.Err() == nil {
		if err := p.round(ctx); err != nil && ctx.Err() == nil {
			p.Log.Error("look at pull requests", "error", err)
		}
		next := time.Now().Add(p.poll)
		for _, l := range p.lanes {
			x, at := p.next(l, time.Now())
			if x != nil {
				p.begin(ctx, l, x, &work)
			} else if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		for _, l := range p.departed {
			if l.again.Before(next) {
				next = l.again
			}
		}
		p.await(ctx, next)
	}
	return nil
}

// newsPause is how long the loop's news gather before they are told.
const newsPause = time.Second

// await waits for a reason to look again. What the loop does meanwhile is told: nothing
// else waits while its news gather.
func (p *Proposals) await(ctx context.Context, next time.Time) {
	if soonest := time.Now().Add(10 * time.Millisecond); next.Before(soonest) {
		next = soonest
	}
	for {
		until, gathered := next, !p.follows.IsZero() && p.follows.Before(next)
		if gathered {
			until = p.follows
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-ctx.Done():
		case <-p.pokes:
		case l := <-p.done:
			p.free(l)
		case <-p.news:
			timer.Stop()
			if p.follows.IsZero() {
				p.follows = time.Now().Add(newsPause)
			}
			continue
		case <-timer.C:
			if gathered && !p.follow(ctx) {
				continue
			}
		}
		timer.Stop()
		return
	}
}

// follow tells what became of merged pull requests, and whether open ones are to
// be looked at because the revision in force or the tracked branch moved.
func (p *Proposals) follow(ctx context.Context) bool {
	p.follows = time.Time{}
	view, err := p.Loop.View(ctx)
	if err != nil || view.InForce == nil {
		return false
	}
	p.deployments(ctx, view)
	return view.Tracked != p.last.Tracked || view.InForce != p.last.InForce
}

// round asks how things stand, and says what has changed without further work.
func (p *Proposals) round(ctx context.Context) error {
	view, err := p.Loop.View(ctx)
	if err != nil {
		return err
	}
	if view.InForce == nil {
		return nil // nothing can judge yet
	}
	p.last = view
	p.poll = time.Duration(view.InForce.Platform.Settings.Intervals.Poll)
	pulls, err := p.Forge.Open(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	poked := p.poked
	p.poked = map[int]bool{}
	p.mu.Unlock()
	p.settings(ctx)
	p.arrange(pulls, view)
	p.reset(ctx)
	for _, number := range sortedNumbers(p.open) {
		x := p.open[number]
		if x.cancel != nil { // it is looked at again when it is done
			if poked[number] || poked[0] {
				p.mu.Lock()
				p.poked[number] = true
				p.mu.Unlock()
			}
			continue
		}
		if x.proposal == nil || !x.asksPeople() && !x.merging && !poked[number] {
			continue
		}
		if poked[number] || poked[0] || time.Since(x.facts.At) >= p.poll {
			if err := p.reread(ctx, x); err != nil {
				p.Log.Warn("look at the reviews of a pull request", "number", number, "error", err)
			}
		}
	}
	p.follows = time.Time{} // the view is newer than what was new before
	p.deployments(ctx, view)
	p.queued(ctx, view)
	p.forget(view)
	return ctx.Err()
}

// arrange brings what is known in line with what is open. What moved is read again.
func (p *Proposals) arrange(pulls []PullRequest, view View) {
	seen := map[int]bool{}
	for _, pull := range pulls {
		seen[pull.Number] = true
		delete(p.departed, pull.Number)
		x := p.open[pull.Number]
		if x == nil {
			x = &proposed{}
			p.open[pull.Number] = x
		}
		key := pull.Head + " " + view.Tracked + " " + view.InForce.Revision.Commit
		switch {
		case x.key == key:
		case x.cancel != nil:
			x.stale = true
			x.cancel()
		default:
			// A verdict on this head stands until there is another: a commit takes
			// 1,000 statuses, and the tracked branch moves often.
			judged := x.pull.Head == pull.Head && (x.judged || x.said && x.proposal != nil && !x.lacksPlans())
			*x = proposed{pull: pull, key: key, view: view, judged: judged}
		}
	}
	for number, x := range p.open {
		if seen[number] {
			continue
		}
		if x.cancel != nil {
			x.stale = true
			x.cancel()
			continue
		}
		delete(p.open, number)
		p.departed[number] = &departed{}
	}
}

// reset sets the checks of pull requests that go to another branch by now back,
// those of which an earlier process said that they pass included.
func (p *Proposals) reset(ctx context.Context) {
	if !p.strays {
		strays, err := p.Forge.Strays(ctx)
		if err != nil {
			p.Log.Warn("look for pull requests that were sent to another branch", "error", err)
			return
		}
		for _, pull := range strays {
			p.departed[pull.Number] = &departed{}
		}
		p.strays = true
	}
	for _, number := range sortedNumbers(p.departed) {
		l := p.departed[number]
		if time.Now().Before(l.again) {
			continue
		}
		err := p.resetCheck(ctx, number)
		if err == nil {
			delete(p.departed, number)
			continue
		}
		l.faults++
		l.again = again(number, l.faults)
		if ctx.Err() == nil {
			p.Log.Warn("reset the check of a pull request", "number", number, "error", err)
		}
	}
}

// resetCheck resets the check of one. Another pull request's, with the same head,
// is said again: it may have told what this one was denied for.
func (p *Proposals) resetCheck(ctx context.Context, number int) error {
	pull, err := p.Forge.PullRequest(ctx, number)
	if err != nil || !pull.Open {
		return err
	}
	for _, x := range p.open {
		if x.pull.Head != pull.Head {
			continue
		}
		if x.cancel == nil {
			x.said = false
		}
		return nil
	}
	return p.Forge.State(ctx, pull.Head, CheckPending, "goes to another branch, which Pave does not look at")
}

// next chooses what a free lane works on: that of whoever had no turn in it for
// the longest time. Where nothing can be begun yet it returns when something can
// be tried again, if anything.
func (p *Proposals) next(l *lane, now time.Time) (best *proposed, at time.Time) {
	if l.active != nil {
		return nil, at
	}
	for _, number := range sortedNumbers(p.open) {
		x := p.open[number]
		switch {
		case x.key == "" || x.cancel != nil || !l.lacks(x):
		case now.Before(x.again):
			if at.IsZero() || x.again.Before(at) {
				at = x.again
			}
		case best == nil || l.served[x.pull.Author.ID].Before(l.served[best.pull.Author.ID]):
			best = x
		}
	}
	return best, at
}

// begin has a lane work on one pull request in the background.
func (p *Proposals) begin(ctx context.Context, l *lane, x *proposed, work *sync.WaitGroup) {
	l.active, l.served[x.pull.Author.ID] = x, time.Now()
	ctx, x.cancel = context.WithCancel(ctx)
	work.Go(func() {
		err := l.do(ctx, x)
		switch {
		case err == nil:
			x.faults = 0
		case ctx.Err() == nil:
			x.faults++
			x.again = again(x.pull.Number, x.faults)
			p.Log.Warn("preview a pull request", "number", x.pull.Number, "head", shortHash(x.pull.Head), "faults", x.faults, "error", err)
			p.troubled(ctx, x, err)
		}
		p.done <- l
	})
}

// again returns when to look at a pull request after so many faults.
func again(number, faults int) time.Time {
	return time.Now().Add(backoff(fmt.Sprint(number), 2*time.Second, faults, 5*time.Minute))
}

// fewFaults may pass by themselves; what lasts longer is told.
const fewFaults = 3

// trouble is an error in words for everybody: the error itself may name folders,
// addresses and whatever the change brought.
type trouble struct {
	words string
	error
}

func (t trouble) Unwrap() error { return t.error }

// troubled says what keeps a pull request from being read or planned, until that
// was done: a check that is never set tells nobody why.
func (p *Proposals) troubled(ctx context.Context, x *proposed, err error) {
	t, is := errors.AsType[trouble](err)
	if !is || x.faults < fewFaults {
		return
	}
	x.trouble = t.words
	report, err := p.report(ctx, x)
	if err == nil {
		err = p.publish(ctx, report)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.Log.Warn("tell why a pull request is not previewed", "number", x.pull.Number, "error", err)
		}
		return
	}
	x.judged = false // whatever was said of the head before
}

// free takes up what a lane worked on. What moved meanwhile is arranged anew.
func (p *Proposals) free(l *lane) {
	x := l.active
	x.cancel()
	l.active, x.cancel = nil, nil
	if x.stale {
		x.key, x.stale = "", false
	}
}

// lacksAnswer tells whether what can be said without plans, or with those that
// are made, is still to be said.
func (x *proposed) lacksAnswer() bool { return x.proposal == nil || !x.said }

// answer says what is known of a pull request, and reads it first where it was not.
func (p *Proposals) answer(ctx context.Context, x *proposed) error {
	if x.proposal == nil {
		return p.read(ctx, x)
	}
	return p.say(ctx, x)
}

// read reads and judges a pull request, and says what can be said without plans.
func (p *Proposals) read(ctx context.Context, x *proposed) error {
	began := time.Now()
	proposal, err := p.Proposer.Propose(ctx, ProposedChange{
		Ref: fmt.Sprintf("refs/pull/%d/head", x.pull.Number), Head: x.pull.Head, Base: x.view.Tracked,
		InForce: x.view.InForce.Revision.Commit, Status: x.view.Status, Unverified: x.view.Unverified, Engine: x.view.Engine,
		Insider: x.insider(p.roster.electors(ctx, x.view.InForce.Platform.Teams)),
	})
	if errors.Is(err, ErrNotFetched) {
		return trouble{"the repository does not hand over what it brings", err}
	}
	if err != nil {
		return trouble{"the process that reads it does not come to its end", err}
	}
	if x.facts, err = readFacts(ctx, p.Forge, x.pull, time.Now()); err != nil {
		return trouble{"the forge does not say who took part in it and who reviewed it", err}
	}
	for i := range proposal.Jobs { // which program runs is not for the child to say
		proposal.Jobs[i].Engine = x.view.Engine
	}
	x.proposal, x.units, x.said, x.trouble = proposal, proposal.Report.Units, false, ""
	p.Log.Info("read a pull request", "number", x.pull.Number, "head", shortHash(x.pull.Head), "units", len(x.units),
		"plans", len(proposal.Jobs), "took", time.Since(began).Round(time.Millisecond).String())
	if x.judged {
		if _, err := p.report(ctx, x); err != nil {
			return err
		}
		if x.lacksPlans() {
			x.said = true
			return nil
		}
	}
	return p.say(ctx, x)
}

// plan makes the plans of a pull request and says what they show.
func (p *Proposals) plan(ctx context.Context, x *proposed) error {
	limit := p.Loop.Machine.parallel(x.view.InForce.Platform.Settings)
	jobs := x.jobs()
	units := slices.Clone(x.units)
	view, err := p.Loop.View(ctx)
	if err != nil {
		return err
	}
	err = plan(ctx, p.Runner, p.Loop.memory, jobs, limit-view.Running, func(job Job, result Result) { takePlan(units, job, result) })
	if err != nil {
		return trouble{"its plans cannot be made", err}
	}
	x.units, x.planned, x.said, x.trouble = units, true, false, ""
	return p.say(ctx, x)
}

// reread takes up what people said of a pull request since.
func (p *Proposals) reread(ctx context.Context, x *proposed) error {
	f, err := readFacts(ctx, p.Forge, x.pull, time.Now())
	if err != nil {
		return err
	}
	x.facts, x.said = f, false
	return p.say(ctx, x)
}

// say publishes what is known of a pull request.
func (p *Proposals) say(ctx context.Context, x *proposed) error {
	report, err := p.report(ctx, x)
	if err != nil {
		return err
	}
	if err := p.publish(ctx, report); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	x.faults, x.said = 0, true
	return p.autoMerge(ctx, x, report)
}

// publish says what a report says, and remembers the plans that it shows.
func (p *Proposals) publish(ctx context.Context, report Report) error {
	return p.Forge.Publish(ctx, report, func(at time.Time) error { return p.Shown.plans(report, at) })
}

// report puts together what is said of a pull request.
func (p *Proposals) report(ctx context.Context, x *proposed) (Report, error) {
	shown, err := p.Shown.pull(x.pull.Number)
	if err != nil {
		return Report{}, fmt.Errorf("read what people were shown: %w", err)
	}
	return x.report(p.roster.electors(ctx, x.view.InForce.Platform.Teams), shown.Units), nil
}

// endOfTime is later than every review.
var endOfTime = time.Unix(1<<40, 0)

// report puts together what is said where this was shown before, which it changes.
func (x *proposed) report(who electors, shown map[string]shownPlan) Report {
	var r Report
	if x.proposal != nil {
		r = x.proposal.Report
	}
	r.Number, r.Head, r.Base = x.pull.Number, x.pull.Head, x.view.Tracked
	if x.proposal == nil {
		r.State, r.Headline = CheckPending, "Not read yet: "+x.trouble+"; Pave goes on trying"
		return r
	}
	r.Units = slices.Clone(x.units)
	r.Notes = slices.Clone(r.Notes)
	if paths := x.proposal.Conflicts; len(paths) > 0 {
		r.State, r.Headline = CheckFailed, "Does not merge: conflicts in "+firstOf(len(paths), paths[0])
		return r
	}
	r.Approvals = x.needed()
	for _, u := range r.Units { // nobody has seen another plan yet than was shown
		if old := shown[u.Request]; old.Plan != "" && u.Plan.Digest != "" {
			shown[u.Request] = old.next(u.Plan.Digest, x.pull.Head, endOfTime)
		}
	}
	x.facts.settle(r.Approvals, who, shown)
	for _, n := range r.Approvals {
		if by, earlier := x.facts.approved(who[n.Team], x.facts.ofHead); earlier && !n.Given {
			r.Notes = append(r.Notes, fmt.Sprintf("%s approved before the plan became what it is: the approval of %s is needed again", by.Handle, n.Team))
		}
	}
	if !x.facts.Complete && len(r.Approvals) > 0 {
		r.Notes = append(r.Notes, "Nobody's approval counts: not everybody who took part in the change could be identified")
	}
	x.allowed = x.mayPlan(r, who)
	if why := x.unplannedWhy(r); why != "" {
		r.Notes = append(r.Notes, why)
	}
	r.conclude(x.lacksPlans())
	if x.trouble != "" && r.State == CheckPending {
		r.Headline = "Not planned yet: " + x.trouble + "; Pave goes on trying"
	}
	return r
}

// needed are the approvals that the change needs, those that its plans ask for
// included.
func (x *proposed) needed() []Needed {
	var needed []Needed
	for _, n := range x.proposal.Report.Approvals {
		if required := x.view.InForce.Platform.Settings.Guards.RequirePullRequest; required || !n.Insider && len(n.Units) > 0 {
			needed = append(needed, n)
		}
	}
	for _, u := range x.units {
		owner := ""
		for _, job := range x.proposal.Jobs {
			if job.Unit == u.Request {
				owner = job.Owner
			}
		}
		needed = append(needed, neededBy(u.Violations, u.Request, cmp.Or(owner, x.view.InForce.Platform.Settings.Owner))...)
	}
	return merge(needed)
}

// asksPeople tells whether somebody's word can change what is said.
func (x *proposed) asksPeople() bool { return len(x.proposal.Conflicts) == 0 && len(x.needed()) > 0 }

// mayPlan tells whether plans may be made: of changes by people of the teams, and
// of others once somebody who may approve the change approved this very head. A
// change of governance brings code, so it is the platform team's to say.
func (x *proposed) mayPlan(r Report, who electors) bool {
	approved := func(team string) bool {
		_, ok := x.facts.approved(who[team], x.facts.ofHead)
		return ok
	}
	platform := x.view.InForce.Platform.Settings.Owner
	if len(r.Governance) > 0 {
		return approved(platform)
	}
	if x.insider(who) {
		return true
	}
	return approved(platform) || slices.ContainsFunc(r.Approvals, func(n Needed) bool { return approved(n.Team) })
}

// insider tells whether somebody of the teams proposes it, by themselves or in the
// portal; of the latter nobody knows before it was read who took part.
func (x *proposed) insider(who electors) bool {
	return !x.pull.Fork && (who.anybody(x.pull.Author.ID) || x.facts != nil && x.facts.carried(who))
}

func (x *proposed) unplannedWhy(r Report) string {
	jobs, all := len(x.jobs()), len(x.proposal.Jobs)
	switch {
	case all == 0:
		return ""
	case x.allowed && jobs < all:
		return fmt.Sprintf("%d of %d units are planned, as many as `preview: maxUnits` allows", jobs, all)
	case x.allowed:
		return ""
	case len(r.Governance) > 0:
		return fmt.Sprintf("No plan was made: the change brings code that a plan would run. A member of %s who approves this head has it planned", x.view.InForce.Platform.Settings.Owner)
	case x.pull.Fork:
		return "No plan was made, for it comes from a fork: what happens is told without credentials. Whoever may approve it has it planned by approving this head"
	}
	return fmt.Sprintf("No plan was made, for %s is in no team: what happens is told without credentials. Whoever may approve it has it planned by approving this head", x.pull.Author.Handle)
}

// jobs are the plans to make.
func (x *proposed) jobs() []Job {
	jobs := x.proposal.Jobs
	if most := x.view.InForce.Platform.Settings.Preview.MaxUnits; len(x.proposal.Report.Governance) > 0 && len(jobs) > most {
		return jobs[:most]
	}
	return jobs
}

// lacksPlans tells whether plans are to be made.
func (x *proposed) lacksPlans() bool {
	return x.proposal != nil && x.allowed && !x.planned && len(x.jobs()) > 0
}

// autoMerge merges what the rules call pre-approved, where the settings allow it.
func (p *Proposals) autoMerge(ctx context.Context, x *proposed, report Report) error {
	x.merging = false
	settings := x.view.InForce.Platform.Settings
	if !settings.AutoMerge || !x.proposal.Preapproved || x.pull.Fork || len(report.Governance) > 0 || report.State != CheckPassed {
		return nil
	}
	view, err := p.Loop.View(ctx)
	if err != nil {
		return err
	}
	if view.Tracked != x.view.Tracked || view.InForce != x.view.InForce {
		return nil // it is judged again first
	}
	x.merging = true
	err = p.Forge.Merge(ctx, x.pull.Number, x.pull.Head)
	switch {
	case errors.Is(err, ErrMoved):
		p.Log.Info("a pre-approved pull request is not merged yet", "number", x.pull.Number, "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("merge: %w", err)
	}
	x.merging = false
	p.Log.Info("merged a pre-approved pull request", "number", x.pull.Number, "head", shortHash(x.pull.Head))
	p.Loop.Poke()
	return nil
}

// deployments says what became of merged pull requests.
func (p *Proposals) deployments(ctx context.Context, view View) {
	for _, report := range view.Deployments {
		p.once(ctx, deploymentKey(report.Number), report, func() error {
			if err := p.publish(ctx, report); err != nil {
				return err
			}
			if report.over() {
				return p.Shown.update(report.Number, func(s *shownPull) { s.Deployed, s.Merged = true, nil })
			}
			return nil
		})
	}
}

// once says something that was not said yet.
func (p *Proposals) once(ctx context.Context, key string, what any, say func() error) {
	content, err := json.Marshal(what)
	if err == nil && p.said[key] == string(content) {
		return
	}
	if err == nil {
		err = say()
	}
	if err != nil {
		if ctx.Err() == nil {
			p.Log.Warn("tell the forge", "what", key, "error", err)
		}
		return
	}
	p.said[key] = string(content)
}

// forget drops what was said of what is no longer spoken of.
func (p *Proposals) forget(view View) {
	spoken := map[string]bool{}
	for _, d := range view.Deployments {
		spoken[deploymentKey(d.Number)] = true
	}
	for _, q := range view.Queue {
		spoken[queueKey(q, view)] = true
	}
	maps.DeleteFunc(p.said, func(key, _ string) bool { return !spoken[key] })
}

func deploymentKey(number int) string { return fmt.Sprintf("#%d", number) }

func queueKey(q QueuedMerge, view View) string {
	return "queue " + q.Commit + " " + view.InForce.Revision.Commit
}

// queued answers for the commits of a merge queue.
func (p *Proposals) queued(ctx context.Context, view View) {
	for _, q := range view.Queue {
		key := queueKey(q, view)
		if _, said := p.said[key]; said {
			continue
		}
		report, err := p.queuedReport(ctx, view, q)
		if err != nil {
			if ctx.Err() == nil {
				p.Log.Warn("look at a queued merge", "number", q.Number, "commit", shortHash(q.Commit), "error", err)
			}
			continue
		}
		p.once(ctx, key, report.State, func() error { return p.Forge.State(ctx, q.Commit, report.State, report.Headline) })
	}
}

func (p *Proposals) queuedReport(ctx context.Context, view View, q QueuedMerge) (Report, error) {
	proposal, err := p.Proposer.Propose(ctx, ProposedChange{Ref: q.Ref, Head: q.Commit, InForce: view.InForce.Revision.Commit,
		Status: view.Status, Unverified: view.Unverified, Engine: view.Engine})
	if err != nil {
		return Report{}, err
	}
	pull, err := p.Forge.PullRequest(ctx, q.Number)
	if err != nil {
		return Report{}, err
	}
	f, err := readFacts(ctx, p.Forge, pull, time.Now())
	if err != nil {
		return Report{}, err
	}
	x := &proposed{pull: pull, view: view, proposal: proposal, facts: f, units: proposal.Report.Units, planned: true}
	return p.report(ctx, x)
}

// settings looks at the forge's own settings, once an hour.
func (p *Proposals) settings(ctx context.Context) {
	if time.Since(p.gaps) < time.Hour {
		return
	}
	gaps, err := p.Forge.Gaps(ctx)
	if err != nil {
		p.Log.Warn("look at the forge's settings", "error", err)
		return
	}
	p.gaps = time.Now()
	for _, gap := range gaps {
		p.Log.Warn("the forge lets changes past the check", "why", gap)
	}
	p.Loop.Warn(gaps)
}
