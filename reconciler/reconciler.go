package reconciler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// Options are what a Reconciler needs. Source, Parts, Runner and Trust are
// required.
type Options struct {
	Parts
	Source Source
	Runner Runner
	Trust  *Trust
	Log    *slog.Logger // nil discards
	// Engine overrides the engine that the settings name.
	Engine string
	// Machine is what runs may use.
	Machine Machine
	// Sole tells whether this Pave is sure to be the only one that acts on the
	// repository; while it is not, no run is started. nil means that it always is.
	Sole func() bool
	// Forge is where changes are reviewed; nil where there is none. Shown and
	// Accounts are needed with it.
	Forge    Forge
	Shown    *Shown
	Accounts *Accounts
	// Moves are the units whose state may move to where it is looked for, and
	// Imports the files whose states units may take over, in this process's one
	// pass.
	Moves   map[string]bool
	Imports map[string]string
	// Progress, if set, is called whenever the counts change, and Progressed
	// whenever something happened that a forge may be told.
	Progress   func(Progress)
	Progressed func()
	// Now is the clock; nil is time.Now. Steady is the time since the start by a
	// clock that nobody sets; nil is the machine's.
	Now    func() time.Time
	Steady func() time.Duration
}

// Progress counts the units of the revision in force.
type Progress struct {
	Revision                              Revision
	Units, Ready, Running, Waiting, Held  int
	Drifted                               int
	Refused                               *Refusal // of a later revision; nil where there is none
	LastFetch, LastRecord                 time.Time
	LastError                             string
	Started, Succeeded, Failed, Destroyed int // runs since the process started
}

// Reconciler makes what runs match what the tracked branch says. Its methods
// are for one goroutine, but for Poke.
type Reconciler struct {
	Options
	pokes   chan struct{}
	wakes   chan struct{} // something is known that was asked for
	results chan finished
	views   chan chan View

	started time.Time // by the clock as it was then
	jumped  bool      // the clock, since
	looked  time.Time // when the repository was asked last, whatever it said
	head    string    // the tracked tip that was read last
	// nothingGood tells that it is not in force and that nothing before it is known
	// to be good.
	nothingGood bool
	checked     *Checked // the revision in force
	refusal     *Refusal // a later revision that is not
	waiting     *Checked // a later revision that somebody must let happen
	record      *Record
	published   *Record                // as it is at its tip: nobody changes it
	recalled    *Record                // of another process, until the record is read
	kept        atomic.Pointer[Record] // to be remembered
	keptTip     string                 // the commit that is remembered
	journal     *journal
	engine      Engine

	running    map[string]Running
	memory     *memory         // of the runs, and of the plans of pull requests
	attending  context.Context // ends when nobody waits for runs any more
	attempts   map[string]attempt
	unverified map[string]bool
	observed   map[string]sight // nil where drift is not looked for
	shapes     shapes
	quiet      quiet
	// stirred tells that a pass may decide otherwise than the last one did, which
	// before settledUntil it else does not.
	stirred      bool
	settledUntil time.Time
	renewed      time.Time // when every unit was decided about last, quiet or not
	progress     Progress

	gate         *gate
	settled      trusted                  // as it is remembered
	approvalsTip string                   // of the approvals branch
	queue        []QueuedMerge            // as it was advertised last
	holds        map[string]heldBack      // by unit
	asking       map[string]asking        // by unit
	paths        map[string][]string      // that commits change
	merges       map[string]mergeCommit   // what commits merge
	warned       atomic.Pointer[[]string] // what the status branch is to warn of
	arrivals     map[string]bool          // commits that may be merges of pull requests
	deployments  map[int]*deployment      // by pull request
}

type finished struct {
	run    Running
	result Result
	err    error
}

// New returns a reconciler that has read nothing yet.
func New(o Options) *Reconciler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Steady == nil {
		begun := time.Now()
		o.Steady = func() time.Duration { return time.Since(begun) }
	}
	o.Reviewed = o.Reviewed || o.Forge != nil
	r := &Reconciler{Options: o, attending: context.Background(), started: o.Now().Round(0).Add(-o.Steady()), pokes: make(chan struct{}, 1), wakes: make(chan struct{}, 1), results: make(chan finished),
		views: make(chan chan View), running: map[string]Running{}, attempts: map[string]attempt{},
		holds: map[string]heldBack{}, asking: map[string]asking{}, deployments: map[int]*deployment{}}
	r.memory = newMemory(func() { nudge(r.wakes) })
	r.gate = newGate(o.Forge, o.Shown, o.Accounts, o.Log, func() { nudge(r.wakes) })
	return r
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Poke asks for a look at the repository, soon. It never blocks; pokes that
// come together are one.
func (r *Reconciler) Poke() { nudge(r.pokes) }

// Converge makes one pass: it fetches once, runs what differs and what depends
// on it, records what happened and returns the state of every unit. Each unit
// is tried once.
func (r *Reconciler) Converge(ctx context.Context) (*Summary, error) {
	defer r.attend()()
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.words(); err != nil {
		return nil, err
	}
	for r.checked != nil {
		if err := r.step(ctx); err != nil {
			return nil, err
		}
		if len(r.running) == 0 {
			break
		}
		if err := r.collect(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.publish(ctx); err != nil {
		return nil, err
	}
	r.keep(true)
	return r.summary(), nil
}

// Leave says what becomes of the runs that are going on when the daemon is to end.
type Leave struct {
	// Patience is how long they may take to end by themselves.
	Patience time.Duration
	// Interrupt asks those that have not ended by then to stop, and waits until
	// they have: in a container, which ends with the daemon. Others go on, for the
	// next daemon to find.
	Interrupt bool
	// Hurry ends the patience, and at the second time the wait for runs that were
	// asked to stop; nil never does.
	Hurry <-chan os.Signal
}

// Serve keeps converging until ctx ends: on every poke, at every poll, and
// whenever a run ends. It starts nothing from then on, and leaves as it is told.
func (r *Reconciler) Serve(ctx context.Context, leave Leave) error {
	defer r.attend()()
	for {
		err := r.begin(ctx)
		if err == nil {
			break
		}
		r.failed("begin", err)
		r.report()
		if !sleep(ctx, 5*time.Second) {
			return r.drain(leave)
		}
	}
	r.observed, r.renewed = map[string]sight{}, r.Now()
	for ctx.Err() == nil {
		if now := r.Now(); !r.stirred && !now.Before(r.settledUntil) && now.Sub(r.renewed) >= mostSettled {
			r.quiet.reset() // whatever was missed is seen now
			r.renewed = now
		}
		if r.checked != nil && (r.stirred || !r.Now().Before(r.settledUntil)) {
			if err := r.step(ctx); err != nil {
				r.failed("converge", err)
				r.stirred = true
			}
		}
		if changing := r.changing(); r.journal.due(r.Now(), changing, len(r.running)-changing) {
			if err := r.publish(ctx); err != nil {
				r.failed("record", err)
				r.journal.postpone(r.Now())
			}
		}
		r.keep(false)
		r.report()
		if r.Progressed != nil && r.gate.forge != nil {
			r.Progressed()
		}
		r.rest(ctx)
	}
	r.gate.work.Wait()
	return r.drain(leave)
}

// changing counts the runs that do more than look.
func (r *Reconciler) changing() int {
	n := 0
	for _, run := range r.running {
		if run.Job().Mode != Observe {
			n++
		}
	}
	return n
}

// rest waits for something to do. Whoever asks how things stand is answered
// meanwhile.
func (r *Reconciler) rest(ctx context.Context) {
	wake := time.NewTimer(r.nextWake())
	defer wake.Stop()
	for {
		select {
		case view := <-r.views:
			view <- r.view()
			continue
		case <-ctx.Done():
		case f := <-r.results:
			r.finish(f)
		case <-r.pokes:
			r.gate.forget()
			r.look(ctx)
		case <-r.wakes:
			r.stirred = true
			if r.waiting != nil {
				r.look(ctx)
			}
		case <-wake.C:
			if r.Now().Sub(r.looked) >= r.poll() {
				r.look(ctx)
			}
		}
		return
	}
}

// look fetches and logs what goes wrong: the loop goes on with what it has.
func (r *Reconciler) look(ctx context.Context) {
	if err := r.fetch(ctx); err != nil {
		r.failed("fetch", err)
		return
	}
	r.progress.LastError = ""
}

func (r *Reconciler) failed(step string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.progress.LastError = fmt.Sprintf("%s: %v", step, err)
	r.Log.Error(step, "error", err)
}

// poll is the interval between fetches that nothing asked for.
func (r *Reconciler) poll() time.Duration {
	if r.checked != nil {
		return time.Duration(r.checked.Platform.Settings.Intervals.Poll)
	}
	return 30 * time.Second
}

// nextWake is how long the loop may sleep when nothing happens.
func (r *Reconciler) nextWake() time.Duration {
	wake := r.looked.Add(r.poll())
	if r.checked != nil && r.settledUntil.Before(wake) {
		wake = r.settledUntil
	}
	if at, pending := r.journal.dueAt(); pending && at.Before(wake) {
		wake = at
	}
	for name, a := range r.attempts {
		if _, running := r.running[name]; !running && a.next.After(r.Now()) && a.next.Before(wake) {
			wake = a.next
		}
	}
	return max(wake.Sub(r.Now()), 10*time.Millisecond)
}

// begin reads the record and the revision, and finds the runs that an earlier
// process left.
func (r *Reconciler) begin(ctx context.Context) error {
	r.looked = r.Now()
	heads, err := r.heads(ctx)
	if err != nil {
		return err
	}
	if err := r.believe(ctx, heads.Status); err != nil {
		return err
	}
	if err := r.recallSettled(); err != nil {
		return err
	}
	if err := r.resume(); err != nil {
		return err
	}
	left, err := r.Runner.Unfinished()
	if err != nil { // one that cannot be read keeps nothing else from going on
		r.Log.Error("find earlier runs", "error", err)
	}
	if err := r.adopt(left); err != nil {
		return err
	}
	return r.advance(ctx, heads)
}

// adopt waits for the runs of an earlier process, for those of one unit in the
// order in which they were started: the last one counts.
func (r *Reconciler) adopt(left []Running) error {
	memory, err := r.Trust.load()
	if err != nil {
		return err
	}
	units := map[string][]Running{}
	for _, run := range left {
		job := run.Job()
		switch _, begun := r.running[job.Unit]; {
		case begun: // when an earlier attempt to begin found it
		case job.Mode == Preview: // says nothing of what was applied
		case slices.Contains(memory.Recorded, job.ID):
			r.journal.forgetLater(run)
		default:
			r.Log.Info("found a run of an earlier process", "unit", job.Unit, "run", job.ID)
			units[job.Unit] = append(units[job.Unit], run)
		}
	}
	for _, runs := range units {
		slices.SortFunc(runs, func(a, b Running) int { return cmp.Compare(a.Job().ID, b.Job().ID) })
		r.await(runs...)
	}
	return nil
}

// remoteTimeout bounds what waits for the repository: a peer that says nothing
// would hold up everything for ever.
const remoteTimeout = 10 * time.Minute

// heads asks the repository for its branches.
func (r *Reconciler) heads(ctx context.Context) (Heads, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	return r.Source.Fetch(ctx)
}

// fetch brings the branches up to date and, where the tracked one moved, reads
// the revision.
func (r *Reconciler) fetch(ctx context.Context) error {
	r.looked = r.Now()
	heads, err := r.heads(ctx)
	if err != nil {
		return err
	}
	if err := r.moved(ctx, heads.Status); err != nil {
		return err
	}
	return r.advance(ctx, heads)
}

// advance reads the tracked tip where it moved. A refused revision leaves the
// last good one in force.
func (r *Reconciler) advance(ctx context.Context, heads Heads) error {
	r.progress.LastFetch = r.Now()
	if r.gate.forge != nil || heads.Approvals != r.approvalsTip { // somebody may have approved what waits
		r.stirred = true
	}
	r.approvalsTip, r.queue = heads.Approvals, heads.Queue
	if heads.Tracked == r.head && (r.checked != nil || r.nothingGood) {
		return nil
	}
	checked, err := r.candidate(ctx, heads.Tracked)
	if err != nil {
		return err
	}
	var lost []Violation                         // why it is not known what was in force
	if r.checked == nil && r.gate.forge != nil { // what is in force judges what comes
		if lost, err = r.lastGood(ctx, heads.Tracked); err != nil {
			return err
		}
	}
	if checked.Refused() {
		denied := onlyDenied(checked.Violations)
		r.Log.Warn("refused a revision", "revision", checked.Revision.Short(), "violations", len(denied), "first", first(denied))
		if r.checked == nil {
			_, err := r.lastGood(ctx, heads.Tracked)
			if err != nil { // tried again at the next poll
				r.failed("return to the last good revision", err)
			}
			r.nothingGood = err == nil && r.checked == nil
		}
		r.waiting = nil
		r.refusal = &Refusal{Revision: checked.Revision.Commit, Violations: denied}
		r.head, r.waiting = heads.Tracked, nil
		r.journal.refuse(r.refusal)
		return nil
	}
	if len(lost) > 0 {
		r.head, r.nothingGood = heads.Tracked, true
		r.keepOut(checked, lost)
		return nil
	}
	cleared, err := r.governs(ctx, checked)
	if err != nil || !cleared {
		return err
	}
	engine, err := r.Runner.Engine(ctx, r.engineName(checked))
	if err != nil {
		return err
	}
	r.Log.Info("read a revision", "revision", checked.Revision.Short(), "subject", checked.Revision.Subject,
		"units", len(checked.Platform.Requests), "violations", len(checked.Violations))
	if err := r.Trust.update(func(t *trusted) { t.Revision = heads.Tracked }); err != nil {
		return fmt.Errorf("remember the revision: %w", err)
	}
	if r.settled.Settled == "" { // the very first revision is the operator's word
		r.settled.Settled = heads.Tracked
	}
	if err := r.arrive(ctx, checked); err != nil {
		return err
	}
	if r.checked != nil && !bytes.Equal(r.checked.Judge.Bundle(), checked.Judge.Bundle()) {
		clear(r.asking) // other rules may ask for other approvals
	}
	if r.checked == nil || checked.news.renewed() {
		r.record.shelve(checked.Platform)
		r.shapes.shelve()
	}
	r.head, r.checked, r.engine, r.refusal, r.waiting = heads.Tracked, checked, engine, nil, nil
	r.stirred = true
	r.memory.bound(r.Machine.memory(checked.Platform.Settings))
	r.journal.inForce(checked)
	return nil
}

func (r *Reconciler) engineName(c *Checked) string {
	if r.Engine != "" {
		return r.Engine
	}
	return c.Platform.Settings.Engine
}

// read checks one commit, of which an earlier one may tell a part; nil where none does.
func (r *Reconciler) read(ctx context.Context, commit string, earlier *Checked) (*Checked, error) {
	revision, err := r.Source.Revision(ctx, commit)
	if err != nil {
		return nil, err
	}
	tree, err := r.Source.Tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	return Check(ctx, r.Parts, tree, revision, r.record.without(r.unverified), earlier)
}

// mostSettled is how long decisions stand at most where nothing happens: days end,
// freezes begin and guards relent without a word.
const mostSettled = time.Minute

// step decides about every unit, notes what holds, and starts what may start.
func (r *Reconciler) step(ctx context.Context) error {
	r.stirred, r.settledUntil = false, r.Now().Add(mostSettled)
	decisions, err := r.decideGated(ctx)
	if err != nil {
		return err
	}
	r.journal.note(r.checked, decisions, r.Now())
	r.share()
	r.quiet.settle()
	r.count()
	for _, name := range sortedWhere(decisions, func(_ string, made decision) bool { return made.verb == start || made.verb == destroy }) {
		made := decisions[name]
		if !r.room(name) { // for those that come after it neither: they would overtake it for ever
			r.stirred = r.Sole != nil
			return nil
		}
		if err := r.begins(ctx, name, func() (Job, error) { return r.job(ctx, name, made) }); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.attempts[name] = r.retry(name, made.basis, "")
			r.journal.fault(name, err, r.Now())
			r.Log.Error("start a run", "unit", name, "error", err)
		}
	}
	return r.observe(ctx, decisions)
}

// settleBy notes that a decision may be another one from a time on.
func (r *Reconciler) settleBy(at time.Time) {
	if at.After(r.Now()) && at.Before(r.settledUntil) {
		r.settledUntil = at
	}
}

// observe starts to compare units with what runs, where a run is left over:
// changes overtake drift.
func (r *Reconciler) observe(ctx context.Context, decisions map[string]decision) error {
	d := r.decider()
	d.made = decisions
	names, next := d.looks()
	r.settleBy(next)
	for _, a := range r.attempts {
		r.settleBy(a.next)
	}
	for _, name := range names {
		if !r.room(name) {
			r.stirred = r.Sole != nil
			return nil
		}
		if err := r.begins(ctx, name, func() (Job, error) { return r.appliedJob(ctx, name, Observe) }); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.saw(name, false)
			r.Log.Error("look for drift", "unit", name, "error", err)
		}
	}
	r.memory.relent()
	return nil
}

// room tells whether a run of a unit may go on beside the others, and keeps the
// place for it.
func (r *Reconciler) room(unit string) bool {
	if r.Sole != nil && !r.Sole() {
		return false
	}
	return len(r.running) < r.Machine.parallel(r.checked.Platform.Settings) && r.memory.tryTake(unit, r.Runner.Memory(unit))
}

// saw remembers that a unit was compared with what runs.
func (r *Reconciler) saw(name string, well bool) {
	if r.observed == nil {
		return
	}
	r.quiet.disturb(name)
	s := sight{at: r.Now()}
	if !well {
		s.failures = r.observed[name].failures + 1
	}
	r.observed[name] = s
}

func (r *Reconciler) decide() map[string]decision {
	d := r.decider()
	return d.decide()
}

func (r *Reconciler) decider() *decider {
	running, looking := map[string]bool{}, map[string]bool{}
	for name, run := range r.running {
		running[name] = true
		looking[name] = run.Job().Mode == Observe
	}
	return &decider{checked: r.checked, record: r.record, engine: r.engine, render: r.Runner.Render, running: running, looking: looking,
		attempts: r.attempts, unverified: r.unverified, verdict: r.verdict, observed: r.observed, now: r.Now(), sure: r.sure(), calendar: r.Calendar,
		moves: r.Moves, imports: r.Imports, shapes: &r.shapes, quiet: &r.quiet}
}

// sure returns a time that has come even where the clock was set forward since the
// start: what has passed by a clock that nobody sets, or the time of the revision.
func (r *Reconciler) sure() time.Time {
	now, steady := r.Now().Round(0), r.started.Add(r.Steady())
	if at := r.checked.Revision.Time; at.After(steady) {
		steady = at
	}
	if ahead := now.Sub(steady); ahead > time.Hour && !r.jumped {
		r.jumped = true
		r.Log.Warn("the clock was set forward: requests end by what it said before, until a commit is as late or Pave is started again", "by", ahead.Round(time.Minute).String())
	}
	if now.Before(steady) {
		return now
	}
	return steady
}

// spread gives each name its own part of an interval, so that not all units
// are looked at together.
func spread(name string, interval time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(name))
	return time.Duration(float64(interval) * float64(h.Sum32()) / float64(1<<32))
}

// begins starts a run for which there is room, and waits for it in the background.
func (r *Reconciler) begins(ctx context.Context, unit string, assemble func() (Job, error)) error {
	job, err := assemble()
	var run Running
	if err == nil {
		run, err = r.Runner.Start(ctx, job)
	}
	if err != nil {
		r.memory.release(unit)
		return err
	}
	r.progress.Started++
	r.Log.Info("started a run", "unit", job.Unit, "run", job.ID, "mode", string(job.Mode), "destroy", job.Destroy)
	r.await(run)
	return nil
}

// attend lets runs be waited for until the returned function is called, which is
// longer than new ones may be started.
func (r *Reconciler) attend() (leave func()) {
	r.attending, leave = context.WithCancel(context.Background())
	return leave
}

// await waits in the background for runs of one unit, one after the other.
func (r *Reconciler) await(runs ...Running) {
	ctx := r.attending
	last := runs[len(runs)-1]
	unit := last.Job().Unit
	r.running[unit] = last
	r.memory.take(unit, r.Runner.Memory(unit))
	go func() {
		for _, run := range runs {
			result, err := run.Wait(ctx)
			if err != nil && ctx.Err() != nil {
				return // the run goes on, for whoever comes next
			}
			select {
			case r.results <- finished{run, result, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// collect waits for one run to end, and takes all others that have ended too.
func (r *Reconciler) collect(ctx context.Context) error {
	r.report()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case f := <-r.results:
		r.finish(f)
	}
	for {
		select {
		case f := <-r.results:
			r.finish(f)
		default:
			return nil
		}
	}
}

// finish takes the result of a run into the record.
func (r *Reconciler) finish(f finished) {
	r.stirred = true
	job := f.run.Job()
	if r.running[job.Unit] == f.run {
		delete(r.running, job.Unit)
		r.memory.release(job.Unit)
	}
	result := f.result
	if f.err != nil {
		if errors.Is(f.err, context.Canceled) {
			return
		}
		result = Result{Unit: job.Unit, ID: job.ID, Outcome: Unknown, Message: f.err.Error()}
	}
	level := slog.LevelInfo
	if !r.learn(job, result) {
		level = slog.LevelWarn
	}
	r.Log.Log(context.Background(), level, "a run ended", "unit", job.Unit, "run", job.ID, "outcome", string(result.Outcome),
		"plan", result.Plan.String(), "message", result.Message)
	r.journal.result(job, result, r.Now())
	r.deployed(job, result)
	r.journal.forgetLater(f.run)
}

// learn remembers what a run says of when to run the unit again, and tells
// whether it went well.
func (r *Reconciler) learn(job Job, result Result) bool {
	well := true
	switch result.Outcome {
	case Unchanged, Applied, Changed:
		if job.Mode != Observe {
			r.attempts[job.Unit] = attempt{basis: job.Basis, next: r.Now().Add(time.Minute)}
			delete(r.unverified, job.Unit)
		}
		r.progress.Succeeded++
	case Destroyed:
		delete(r.attempts, job.Unit)
		r.progress.Destroyed++
	case AwaitingApproval:
		r.progress.Succeeded++
		r.asks(job, result)
	default:
		well = false
		r.progress.Failed++
		if job.Mode != Observe {
			r.failedRun(job, result)
		}
	}
	r.saw(job.Unit, well || job.Mode != Observe)
	return well
}

// failedRun remembers when a run that failed is tried again.
func (r *Reconciler) failedRun(job Job, result Result) {
	module := ""
	if job.Success != nil {
		module = job.Success.Module
	}
	a := r.retry(job.Unit, job.Basis, module)
	a.invalid = result.Invalid
	if result.Outcome == DeniedByPolicy {
		a.denied = verdictKey(job.Policy)
	}
	r.attempts[job.Unit] = a
}

// retry doubles the wait with each failure of the same basis, up to an hour.
func (r *Reconciler) retry(name, basis, module string) attempt {
	last := r.attempts[name]
	if last.basis != basis {
		last = attempt{basis: basis}
	}
	last.module, last.denied = module, ""
	last.failures++
	if r.observed == nil || r.checked == nil { // one pass tries once
		last.next = r.Now().Add(24 * 365 * time.Hour)
		return last
	}
	last.next = r.Now().Add(backoff(name, time.Duration(r.checked.Platform.Settings.Intervals.Retry), last.failures, time.Hour))
	return last
}

// backoff doubles a wait with each failure, up to a limit. Up to a fifth of it is
// left out, another part for each name and failure: what failed together is not
// tried again together.
func backoff(name string, wait time.Duration, failures int, most time.Duration) time.Duration {
	for i := 1; i < failures && wait < most; i++ {
		wait *= 2
	}
	wait = min(wait, most)
	return wait - spread(fmt.Sprintf("%s %d", name, failures), wait/5)
}

// drain waits for the runs to end and records them, those that end while others
// go on as soon as they may be. What has not ended when the patience is over is
// left to the next process, or asked to stop and waited for.
func (r *Reconciler) drain(leave Leave) error {
	patience := time.NewTimer(leave.Patience)
	defer patience.Stop()
	due := time.NewTicker(coalesce)
	defer due.Stop()
	asked := false
	for len(r.running) > 0 {
		over := false
		select {
		case f := <-r.results:
			r.finish(f)
			if r.checked != nil {
				r.count()
			}
			r.report()
			_ = r.flush(false) // it is said, and tried again
		case <-due.C:
			_ = r.flush(false) // it is said, and tried again
		case <-patience.C:
			over = true
		case <-leave.Hurry:
			over = true
		}
		if over && (asked || !leave.Interrupt) {
			break
		}
		if over {
			asked = true
			r.interrupt()
		}
	}
	for _, name := range sortedNames(r.running) {
		r.Log.Warn("left a run going on", "unit", name, "run", r.running[name].Job().ID)
	}
	defer r.keep(true)
	return r.flush(true)
}

// interrupt asks every run to stop.
func (r *Reconciler) interrupt() {
	for _, name := range sortedNames(r.running) {
		run := r.running[name]
		r.Log.Warn("asked a run to stop", "unit", name, "run", run.Job().ID)
		if err := run.Stop(); err != nil {
			r.Log.Error("stop a run", "unit", name, "run", run.Job().ID, "error", err)
		}
	}
}

// flush records what is known when the daemon is to end, at last or where a
// commit is due.
func (r *Reconciler) flush(last bool) error {
	if r.journal == nil || !last && !r.journal.due(r.Now(), len(r.running), 0) {
		return nil
	}
	ctx, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	err := r.publish(ctx)
	if err != nil && !last {
		r.failed("record", err)
		r.journal.postpone(r.Now())
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// first returns the first violation in words.
func first(vs []Violation) string {
	if len(vs) == 0 {
		return ""
	}
	return vs[0].String()
}

func onlyDenied(vs []Violation) []Violation {
	var denied []Violation
	for _, v := range vs {
		if v.Level == Deny {
			denied = append(denied, v)
		}
	}
	return denied
}
