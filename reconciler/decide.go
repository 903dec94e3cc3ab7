package reconciler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// verb is what a pass does with a unit.
type verb int

const (
	keep    verb = iota // what is in Git is what runs
	busy                // a run is going on
	wait                // it will run once something else has happened
	halt                // a person must act, or a new revision come
	start               // run it
	destroy             // destroy it
	forget              // nothing was ever applied, and nobody asks for it
)

// decision is what a pass does with one unit, and why.
type decision struct {
	verb    verb
	reason  string
	message string
	// condition is the one that is false while the unit halts.
	condition string
	basis     string
	// deletes tells that the unit is to be destroyed, at once or later.
	deletes bool
	// looked tells that it is busy with no more than being looked at.
	looked bool
	// heals tells that nothing is asked for but to put drift right.
	heals bool
	glass *BreakGlass // where the environment is frozen
	// uncleared tells that nobody let the change happen yet: what the revision
	// says of the unit is not taken over. A gated run plans all the same, and
	// applies only an approved plan.
	uncleared, gated bool
	approved         map[string][]string // the teams that approved, by plan
	takes            *Takeover           // the state to take over first
	retain           bool                // a destroy leaves what exists
	pulls            []int               // the pull requests that brought the change
	credits          []string            // the trailers that name them, and who approved
}

// attempt remembers the last run of a unit, in memory only: a daemon that
// starts again tries again. No unit is run twice with the same basis before
// next, whatever came of it.
type attempt struct {
	basis    string
	module   string
	failures int
	next     time.Time
	// denied is what the rules were given when they denied the plan, see
	// [verdictKey]: as long as they would be given the same, time cures nothing.
	denied string
	// invalid tells that the engine cannot read what it was given, which only
	// another basis cures.
	invalid bool
}

// sight remembers when a unit was compared last with what runs, in memory only.
type sight struct {
	at       time.Time
	failures int // in a row
}

// decider makes the decisions of one pass. It is a pure function of its fields.
type decider struct {
	checked  *Checked
	record   *Record
	engine   Engine
	render   func(Unit) (Rendering, error)
	running  map[string]bool
	looking  map[string]bool // those of them that only look
	attempts map[string]attempt
	// unverified are the units whose record is not believed.
	unverified map[string]bool
	// verdict identifies what the rules would be given with a plan of the unit, or
	// of its end.
	verdict  func(name string, destroy, heals bool) string
	observed map[string]sight // nil where drift is not looked for
	now      time.Time
	// sure is a time that has come even where the host's clock was set forward.
	sure     time.Time
	calendar Calendar
	// moves are the units whose state the operator lets move to where it is looked
	// for, and imports the files whose states they let units take over.
	moves   map[string]bool
	imports map[string]string

	shapes    *shapes           // those of earlier passes
	quiet     *quiet            // as of the last pass
	freezes   map[string]string // by environment, see frozen
	made      map[string]decision
	successor string // a request that may rename another one
}

// decide returns a decision for every unit that the revision or the record knows,
// but for the quiet ones.
func (d *decider) decide() map[string]decision {
	d.made, d.freezes = map[string]decision{}, map[string]string{}
	d.shapes.keep(d.checked.Units)
	d.quiet.begin(d.now.UTC().Format(time.DateOnly), d.engine, d.checked.Platform.Settings)
	for key, h := range d.checked.holds {
		if name, ok := strings.CutPrefix(key, "request/"); ok {
			d.made[name] = d.orBusy(name, decision{verb: halt, condition: h.condition, reason: h.reason, message: h.message})
		}
	}
	for name, u := range d.checked.Units {
		if !d.isQuiet(name, u) {
			d.of(name)
		}
	}
	d.rollout()
	d.explain()
	d.deletions()
	return d.made
}

// isQuiet tells whether there is nothing to decide about a unit.
func (d *decider) isQuiet(name string, u *Unit) bool { return d.quiet.of(name, u) && !d.running[name] }

// explain decides again about the units that wait for others, after a rollout
// had its say: they wait still, for a reason that may have changed.
func (d *decider) explain() {
	waiting := sortedWhere(d.made, func(_ string, made decision) bool { return made.verb == wait && made.reason == ReasonUpstream })
	for _, name := range waiting {
		delete(d.made, name)
	}
	for _, name := range waiting {
		d.of(name)
	}
}

func (d *decider) orBusy(name string, made decision) decision {
	if d.running[name] {
		return decision{verb: busy, reason: ReasonWaiting, message: "a run is going on", basis: made.basis, deletes: made.deletes,
			looked: made.verb == keep && d.looking[name]}
	}
	return made
}

// of returns the decision for a unit of the revision, upstream units first.
// References form no cycle: those units hold.
func (d *decider) of(name string) decision {
	if made, found := d.made[name]; found {
		return made
	}
	u := d.checked.Units[name]
	if d.isQuiet(name, u) {
		return decision{verb: keep, reason: ReasonApplied, basis: d.shapes.known[name].basis}
	}
	made := d.orBusy(name, d.unit(u))
	d.made[name] = made
	if made.verb == keep && made.reason == ReasonApplied && d.settles(u) {
		d.quiet.settling[name] = u
	}
	return made
}

// settles tells whether nothing but the unit, its record and the day decides that
// it is kept.
func (d *decider) settles(u *Unit) bool {
	name := u.Name()
	return len(d.shapes.known[name].uses) == 0 && u.Request.RenamedFrom == "" && !d.unverified[name] &&
		!d.moves[name] && d.imports[name] == "" && !d.record.Units[name].Is(Drifted) && !d.record.Units[name].redocumented(u)
}

func (d *decider) unit(u *Unit) decision {
	name := u.Name()
	recorded := d.record.Units[name]
	if u.Request.Suspend != nil {
		return decision{verb: halt, condition: Ready, reason: ReasonSuspended, message: u.Request.Suspend.Reason}
	}
	shape := d.shapes.of(u, d.engine, d.render, d.outputsVersion)
	if shape.err != nil {
		return decision{verb: halt, condition: Valid, reason: ReasonInvalid, message: shape.err.Error()}
	}
	takes, held := d.takes(u, recorded, shape)
	if held != nil {
		return *held
	}
	if recorded.Exists() && takes == nil {
		if made, changed := d.identity(u, recorded, shape); changed {
			return made
		}
	}
	if day, over := d.expired(u, recorded); over {
		message := "expired at the end of " + day
		switch {
		case recorded.Exists() && !d.surelyEnded(u, day):
			return decision{verb: wait, reason: ReasonExpired, message: message + " as this host's clock says: it is destroyed a day later, in case that is wrong"}
		case recorded.Exists() && (recorded.Protect || u.Request.Protect):
			return decision{verb: halt, condition: Stalled, reason: ReasonExpired,
				message: message + ", but is protected: extend `expires`, or set protect: false in a revision of its own"}
		case recorded.Exists() && recorded.Unprotected == d.checked.Revision.Commit && hasEnded(day, d.checked.Revision.Time):
			return decision{verb: halt, condition: Stalled, reason: ReasonExpired,
				message: message + " and was protected until this revision: the next one destroys it, unless it extends `expires`"}
		case recorded.Exists():
			return d.destruction(name, ReasonExpired, message)
		}
		return decision{verb: halt, condition: Ready, reason: ReasonExpired, message: message + ": set a later date, or remove the request"}
	}
	made := d.changed(u, recorded, shape.basis)
	if made.takes = takes; takes != nil && (made.heals || made.reason == ReasonApplied) { // the state is elsewhere, whatever it says
		made.verb, made.heals, made.reason = start, false, ""
	}
	if made.verb != start {
		return made
	}
	if waiting, waits := d.upstream(u); waits && made.heals {
		return decision{verb: keep, reason: ReasonApplied, basis: made.basis}
	} else if waits {
		return waiting
	}
	return d.thawed(u.Environment.Name, u.Request.BreakGlass, made)
}

// takes returns the state that a unit takes over before anything else, or why it
// may not yet.
func (d *decider) takes(u *Unit, recorded *UnitStatus, shape *shape) (*Takeover, *decision) {
	name, from := u.Name(), u.Request.RenamedFrom
	switch {
	case from != "" && d.record.renames(from, name) && !d.asked(from):
		return d.renamed(u, from)
	case d.imports[name] != "" && !recorded.Exists():
		return &Takeover{File: d.imports[name], State: State{Address: "the file"}, Keeps: true}, nil
	case d.moves[name] && recorded.Exists() && !d.unverified[name] && recorded.State.Address != shape.address:
		return &Takeover{Unit: name, State: recorded.State, Environment: recorded.Environment}, nil
	}
	return nil, nil
}

// asked tells whether the revision asks for a request, with or without errors.
func (d *decider) asked(name string) bool {
	_, asked := d.checked.Platform.Requests[name]
	_, held := d.checked.holds["request/"+name]
	return asked || held
}

// renames tells whether the state that is recorded under one name is to become
// another one's: where that has a state of its own, it is not. A run that was
// killed half-way may have left it at both.
func (r *Record) renames(from, to string) bool {
	old, taken := r.Units[from], r.Units[to]
	return old.Exists() && (!taken.Exists() || taken.State.Lineage == "" || taken.State.Lineage == old.State.Lineage)
}

// renamed decides about a request that had another name before.
func (d *decider) renamed(u *Unit, from string) (*Takeover, *decision) {
	old := d.record.Units[from]
	halted := func(message string) (*Takeover, *decision) {
		return nil, &decision{verb: halt, condition: Stalled, reason: ReasonRename, message: message}
	}
	switch {
	case d.unverified[from]:
		made := d.disbelieved()
		return nil, &made
	case d.running[from]:
		return nil, &decision{verb: wait, reason: ReasonRename, message: fmt.Sprintf("waits for a run of %s to end", from)}
	case old.Blueprint != u.Blueprint.Name || old.Environment != u.Environment.Name || old.Owner != u.Service.Owner:
		return halted(fmt.Sprintf("%s runs as %s in %s, owned by %s, and this request as %s in %s, owned by %s: a rename keeps the three; change them in a revision of its own",
			from, old.Blueprint, old.Environment, old.Owner, u.Blueprint.Name, u.Environment.Name, u.Service.Owner))
	}
	for _, name := range sortedNames(d.checked.Platform.Requests) {
		if other := d.checked.Platform.Request(name); other.RenamedFrom == from && name != u.Name() && d.record.renames(from, name) {
			return halted(fmt.Sprintf("%s says renamedFrom: %q as well: one request can take over a state", name, from))
		}
	}
	return &Takeover{Unit: from, State: old.State, Environment: old.Environment}, nil
}

// identity decides where a live unit changes what it must not.
func (d *decider) identity(u *Unit, recorded *UnitStatus, shape *shape) (decision, bool) {
	if recorded.Environment != u.Environment.Name || recorded.Blueprint != u.Blueprint.Name {
		what := fmt.Sprintf("it runs as %s in %s and is asked for as %s in %s", recorded.Blueprint, recorded.Environment, u.Blueprint.Name, u.Environment.Name)
		switch {
		case !u.Request.Replace:
			return decision{verb: halt, condition: Stalled, reason: ReasonIdentity,
				message: what + ": use another name, or set replace: true, which destroys and creates"}, true
		case recorded.Protect:
			return decision{verb: halt, condition: Stalled, reason: ReasonProtected,
				message: what + ", but is protected: set protect: false in a revision of its own first"}, true
		}
		return d.destruction(u.Name(), ReasonIdentity, what), true
	}
	if recorded.State.Address != "" && recorded.State.Address != shape.address {
		return decision{verb: halt, condition: Stalled, reason: ReasonStateMoved,
			message: fmt.Sprintf("its state is at %s and would be looked for at %s: run `pave state move %s`, or restore the backend's settings",
				recorded.State.Address, shape.address, u.Name())}, true
	}
	return decision{}, false
}

// expired tells whether the unit's last day is over, and which day that was.
func (d *decider) expired(u *Unit, recorded *UnitStatus) (string, bool) {
	day := lastDay(u, recorded)
	if day == "" {
		return "", false
	}
	return day, hasEnded(day, d.now)
}

// surelyEnded tells whether the day is over whatever happened to this host's
// clock: a revision was made after a day that a request names, or another day has
// passed. A day that is counted from the first apply is known by the clock alone.
func (d *decider) surelyEnded(u *Unit, day string) bool {
	if u.Request.Expires != "" && hasEnded(day, d.checked.Revision.Time) {
		return true
	}
	return hasEnded(day, d.sure.AddDate(0, 0, -1))
}

// hasEnded tells whether the day is over, in UTC.
func hasEnded(day string, now time.Time) bool {
	last, err := time.Parse(time.DateOnly, day)
	return err == nil && !now.Before(last.AddDate(0, 0, 1))
}

// lastDay returns the last day a unit is needed: what the request says, as a day or
// as a time from the first apply on, or, outside production, the blueprint's default lifetime from the first apply on.
// A unit that was destroyed at its end keeps its first apply, or it would begin
// another life.
func lastDay(u *Unit, recorded *UnitStatus) string {
	if u.Request.Expires != "" {
		return u.Request.Expires
	}
	life := u.Request.TTL
	if life == 0 && u.Blueprint.Lifetime != nil && u.Environment.Stage != Production {
		life = u.Blueprint.Lifetime.Default
	}
	if life == 0 || recorded == nil {
		return ""
	}
	first, err := time.Parse(time.RFC3339, recorded.FirstApplied)
	if err != nil {
		return ""
	}
	return first.Add(time.Duration(life)).UTC().Format(time.DateOnly)
}

// upstream decides whether a unit that would run must wait for one whose
// outputs it uses.
func (d *decider) upstream(u *Unit) (decision, bool) {
	waits := func(name, why string) (decision, bool) {
		return decision{verb: wait, reason: ReasonUpstream, message: fmt.Sprintf("waits for %s, which %s", name, why)}, true
	}
	for _, name := range upstreams(u.Request) {
		up, runs := d.checked.Units[name]
		recorded := d.record.Units[name]
		made := d.made[name]
		if runs {
			made = d.of(name)
		}
		switch {
		case recorded.Exists() && runs && d.stage(up) > d.stage(u):
			// A rollout reaches that one later. Waiting for it could be for ever.
		case made.basis != "" && d.attempts[name].basis == made.basis && d.attempts[name].failures > 0:
			return waits(name, "failed: "+readiness(recorded))
		case made.verb == start, made.verb == busy && !made.looked, made.verb == destroy:
			return waits(name, "this revision changes")
		case made.verb == wait:
			return waits(name, "waits itself: "+made.message)
		}
		switch {
		case d.unverified[name]:
			return waits(name, "is recorded on a status branch that is not believed: run `pave status adopt`")
		case recorded.Exists() && recorded.OutputsVersion != "":
		case made.message != "":
			return waits(name, "was never applied: "+made.message)
		case readiness(recorded) != "":
			return waits(name, "was never applied: "+readiness(recorded))
		default:
			return waits(name, "was never applied")
		}
	}
	return decision{}, false
}

// readiness returns what is recorded of why a unit is not ready.
func readiness(recorded *UnitStatus) string {
	if recorded == nil {
		return ""
	}
	c, _ := recorded.Conditions.Get(Ready)
	return c.Message
}

// stage returns when a rollout reaches the unit: last where the settings name
// its stage nowhere.
func (d *decider) stage(u *Unit) int {
	order := d.checked.Platform.Settings.Rollout.Stages
	if i := slices.Index(order, u.Environment.Stage); i >= 0 {
		return i
	}
	return len(order)
}

// changed decides whether the engine is given anything but what it was given last.
func (d *decider) changed(u *Unit, recorded *UnitStatus, b string) decision {
	name := u.Name()
	made := decision{verb: start, basis: b}
	last, tried := d.attempts[name]
	tried = tried && last.basis == b
	if given, known := d.fingerprint(u, b); known && recorded.Exists() && recorded.Fingerprint == given && !d.unverified[name] {
		return d.settled(u, recorded, made)
	}
	if tried && (last.invalid || d.now.Before(last.next) || last.denied != "" && last.denied == d.verdict(name, false, false)) {
		made.verb = keep // its conditions say what went wrong
	}
	return made
}

// outputsVersion is that of what a unit hands out.
func (d *decider) outputsVersion(unit string) string {
	if s := d.record.Units[unit]; s != nil {
		return s.OutputsVersion
	}
	return ""
}

// settled decides about a unit that was applied as it is asked for: there is
// nothing to do, unless it drifted where drift is put right.
func (d *decider) settled(u *Unit, recorded *UnitStatus, made decision) decision {
	name := u.Name()
	last := d.attempts[name]
	failed := last.basis == made.basis && last.failures > 0
	switch {
	case !recorded.Is(Drifted) || u.Environment.Drift.Do != Heal:
		made.verb = keep
		if d.observed[name].failures == 0 {
			made.reason = ReasonApplied
		}
	case failed && (last.invalid || d.now.Before(last.next) || last.denied != "" && last.denied == d.verdict(name, false, true)):
		made.verb = keep // its conditions say what went wrong
	case d.now.Before(recorded.Drift.healable(name, time.Duration(d.checked.Platform.Settings.Intervals.Retry))):
		made.verb, made.reason = keep, ReasonApplied
	default:
		made.heals, made.reason, made.message = true, ReasonDrift, "puts right what was changed behind Pave's back"
	}
	return made
}

// looks returns the units to compare with what runs, the most overdue first:
// whatever was applied and is not about to be touched, also where what the
// revision asks for holds, waits or failed. Next is when another one is due; zero
// where none will be.
func (d *decider) looks() (names []string, next time.Time) {
	due := map[string]time.Time{}
	later := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if d.observed == nil {
		return nil, next
	}
	cadences := map[string]time.Duration{}
	for name, recorded := range d.record.Units {
		every, found := cadences[recorded.Environment]
		if !found {
			every = d.cadence(recorded.Environment)
			cadences[recorded.Environment] = every
		}
		seen, known := d.observed[name]
		if !known { // a look may come a tenth of the interval early; none is due at once
			seen = sight{at: d.now.Add(-spread(name, every*9/10))}
			d.observed[name] = seen
		}
		if early := seen.at.Add(every * 9 / 10); seen.failures == 0 && d.now.Before(early) { // as nearly always
			later(early)
			continue
		}
		// Where the last apply failed, what runs is not what was applied, and the
		// next try looks first.
		if d.running[name] || d.unverified[name] || !recorded.Exists() || recorded.Fingerprint == "" {
			continue
		}
		if v := d.made[name].verb; v == start || v == destroy || v == busy {
			continue
		}
		at := seen.at.Add(every - spread(name+seen.at.String(), every/10))
		if seen.failures > 0 {
			at = seen.at.Add(backoff(name, time.Duration(d.checked.Platform.Settings.Intervals.Retry), seen.failures, every))
		}
		if d.now.Before(at) {
			later(at)
		} else {
			due[name] = at
		}
	}
	names = sortedNames(due)
	slices.SortStableFunc(names, func(a, b string) int { return due[a].Compare(due[b]) })
	return names, next
}

// cadence returns how often the units of an environment are compared with what runs.
func (d *decider) cadence(environment string) time.Duration {
	return time.Duration(cmp.Or(d.checked.Platform.Environments[environment].Drift.Every, d.checked.Platform.Settings.Intervals.Drift))
}

// lock returns the provider lock that the unit's run will use, and whether it
// is known yet.
func (d *decider) lock(u *Unit) ([]byte, bool) {
	if u.Module.Lock != nil {
		return u.Module.Lock, true
	}
	if l, known := d.chosenLock(u); known {
		return []byte(l.Content), true
	}
	return nil, false
}

// chosenLock returns the provider lock of a unit whose blueprint has none.
func (d *decider) chosenLock(u *Unit) (Lock, bool) {
	l, found := d.record.Locks[u.Blueprint.Name]
	return l, found && l.Module == u.Module.Digest && l.Engine == engineSeries(d.engine)
}

// fingerprint returns what is recorded of a unit that was applied with a basis, and
// whether that is known yet.
func (d *decider) fingerprint(u *Unit, basis string) (string, bool) {
	if u.Module.Lock != nil {
		return fingerprint(basis, u.Module.Lock), true
	}
	l, known := d.chosenLock(u)
	return fingerprint(basis, l.Content), known
}

func engineSeries(e Engine) string { return e.Name + " " + majorMinor(e.Version) }

// rollout lets a change of a blueprint reach its live units stage by stage.
func (d *decider) rollout() {
	pending := map[string][]string{}
	failed := map[string][]string{}
	changed := sortedWhere(d.made, func(name string, _ decision) bool {
		u, runs := d.checked.Units[name]
		recorded := d.record.Units[name]
		return runs && recorded.Exists() && recorded.Module != u.Module.Digest
	})
	for _, name := range changed {
		u, recorded := d.checked.Units[name], d.record.Units[name]
		last := d.attempts[name]
		if last.failures > 0 && last.module == u.Module.Digest || recorded.FailedModule == u.Module.Digest {
			failed[u.Blueprint.Name] = append(failed[u.Blueprint.Name], name)
			continue
		}
		if v := d.made[name].verb; v == start || v == busy || v == wait {
			pending[u.Blueprint.Name] = append(pending[u.Blueprint.Name], name)
		}
	}
	for blueprint, names := range pending {
		d.rolloutOf(d.checked.Platform.Blueprints[blueprint], names, failed[blueprint])
	}
}

func (d *decider) rolloutOf(b Blueprint, names, failed []string) {
	settings := d.checked.Platform.Settings.Rollout
	maxParallel, maxFailures := settings.MaxParallel, settings.MaxFailures
	if b.Rollout != nil {
		maxParallel = max(b.Rollout.MaxParallel, 0)
		if maxParallel == 0 {
			maxParallel = settings.MaxParallel
		}
		if b.Rollout.MaxFailures > 0 {
			maxFailures = b.Rollout.MaxFailures
		}
	}
	stageOf := func(name string) int { return d.stage(d.checked.Units[name]) }
	first := slices.MinFunc(names, func(a, b string) int { return stageOf(a) - stageOf(b) })
	at := 0
	for _, name := range names {
		if d.made[name].verb == busy {
			at++
		}
	}
	for _, name := range names {
		made := d.made[name]
		if made.verb != start {
			continue
		}
		made.verb, made.reason = wait, ReasonRollout
		switch {
		case len(failed) >= maxFailures:
			made.message = fmt.Sprintf("the rollout of %s stopped: %s failed", b.Name, strings.Join(failed, ", "))
		case stageOf(name) != stageOf(first):
			made.message = fmt.Sprintf("the rollout of %s is at %s", b.Name, d.checked.Units[first].Environment.Stage)
		case at >= maxParallel:
			made.message = fmt.Sprintf("the rollout of %s runs %d at a time", b.Name, maxParallel)
		default:
			at++
			continue
		}
		d.made[name] = made
	}
}

// deletions decides about units that the revision asks for no longer, and
// puts the guards before every destroy.
func (d *decider) deletions() {
	d.successor = d.checked.successor(d.record)
	gone := sortedWhere(d.record.Units, func(name string, _ *UnitStatus) bool {
		if d.checked.Units[name] != nil { // as nearly always
			return false
		}
		_, decided := d.made[name]
		return !decided
	})
	for _, name := range gone {
		d.made[name] = d.orBusy(name, d.removed(name, d.record.Units[name]))
	}
	d.guard()
}

// removed decides about one unit that is recorded and not asked for.
func (d *decider) removed(name string, recorded *UnitStatus) decision {
	halted := func(reason, message string) decision {
		return decision{verb: halt, condition: Stalled, reason: reason, message: message}
	}
	switch {
	case !d.checked.Complete:
		return decision{verb: wait, reason: ReasonWaiting, message: "nothing is deleted while a file of the revision cannot be read"}
	case d.successor != "":
		return decision{verb: wait, reason: ReasonWaiting,
			message: fmt.Sprintf("nothing is deleted while the request %s has errors: it may be this one under another name", d.successor)}
	case d.unverified[name]:
		return d.disbelieved()
	case !recorded.Exists():
		return decision{verb: forget}
	case recorded.Protect:
		return halted(ReasonProtected, "was removed while protected: restore it, set protect: false in one revision and remove it in the next")
	}
	for _, user := range sortedNames(d.checked.Platform.Requests) {
		u := d.checked.Platform.Request(user)
		if u.RenamedFrom == name && d.record.renames(name, u.Name) {
			return decision{verb: wait, reason: ReasonRename, message: fmt.Sprintf("is renamed to %s, which takes over its state", u.Name)}
		}
		if other := d.record.Units[u.Name]; other.Exists() && other.State.Lineage == recorded.State.Lineage && recorded.State.Lineage != "" {
			return halted(ReasonRename, fmt.Sprintf("has the state of %s, whose rename has not ended: put this request back, or let %s say renamedFrom: %q", u.Name, u.Name, name))
		}
		if slices.Contains(upstreams(u), name) {
			return halted(ReasonReferenced, fmt.Sprintf("was removed, but %s uses its outputs: remove that use first", u.Name))
		}
	}
	return d.destruction(name, "Removed", "was removed from the platform")
}

// destruction decides about a live unit that is to be destroyed. A destroy that
// failed is not tried again at once, and whoever uses the unit's outputs goes
// first, unless the unit is only destroyed to be created anew.
func (d *decider) destruction(name, reason, message string) decision {
	if d.unverified[name] {
		return d.disbelieved()
	}
	if user := d.user(name); user != "" && reason != ReasonIdentity {
		return decision{verb: wait, deletes: true, reason: ReasonReferenced,
			message: fmt.Sprintf("%s; it is destroyed after %s, which uses its outputs", message, user)}
	}
	if last := d.attempts[name]; last.failures > 0 && last.basis == "" &&
		(d.now.Before(last.next) || last.denied != "" && last.denied == d.verdict(name, true, false)) {
		return decision{verb: keep, deletes: true} // its conditions say what went wrong
	}
	recorded := d.record.Units[name]
	glass := recorded.glass()
	if u, asked := d.checked.Units[name]; asked {
		glass = u.Request.BreakGlass
	}
	return d.thawed(recorded.Environment, glass, decision{verb: destroy, deletes: true, reason: reason, message: message, retain: recorded.Retain})
}

func (d *decider) disbelieved() decision {
	return decision{verb: halt, condition: Stalled, reason: ReasonWaiting,
		message: "nothing is deleted on the word of a status branch that is not believed: run `pave status adopt`"}
}

// user returns a live unit that was applied with outputs of the named one.
func (d *decider) user(name string) string {
	for _, user := range sortedNames(d.record.Units) {
		status := d.record.Units[user]
		uses := slices.ContainsFunc(slices.Collect(maps.Values(status.References)), func(r Ref) bool { return r.Request == name })
		if uses && status.Exists() && user != name {
			return user
		}
	}
	return ""
}

// guard holds deletions back that exceed what the settings allow. A request
// that the settings release does not count.
func (d *decider) guard() {
	guards := d.checked.Platform.Settings.Guards
	released := func(name string) bool {
		for _, r := range guards.Release {
			if r.Request == name {
				return true
			}
		}
		return false
	}
	if d.shrinks(released) {
		return
	}
	var pending []string
	revision, hour := 0, 0
	for _, name := range sortedWhere(d.made, func(name string, made decision) bool { return made.deletes && !released(name) }) {
		revision++
		switch d.made[name].verb {
		case destroy:
			pending = append(pending, name)
		case busy:
			hour++
		}
	}
	for _, done := range d.record.Platform.Deletions {
		if released(done.Request) {
			continue
		}
		if done.Revision == d.checked.Revision.Commit {
			revision++
		}
		if at, err := time.Parse(time.RFC3339, done.At); err == nil && d.now.Sub(at) < time.Hour {
			hour++
		}
	}
	for i, name := range pending {
		made := d.made[name]
		switch {
		case revision > guards.MaxDeletes:
			made = decision{verb: halt, condition: Stalled, reason: ReasonDeletionGuard,
				message: fmt.Sprintf("this revision deletes %s and may delete %d: restore them, or release this one in platform.cue: guards: release: [{request: %q, reason: \"…\"}]",
					Plural(revision, "request"), guards.MaxDeletes, name)}
		case hour+i >= guards.MaxDeletesPerHour:
			made = decision{verb: wait, reason: ReasonDeletionGuard,
				message: fmt.Sprintf("%s may be deleted within an hour: it is deleted later, or at once where platform.cue releases it: guards: release: [{request: %q, reason: \"…\"}]",
					Plural(guards.MaxDeletesPerHour, "request"), name)}
		}
		d.made[name] = made
	}
}

// fewDeletes is the number of deletions that are never too large a share.
const fewDeletes = 3

// shrinks holds everything that a revision starts which asks for far less than
// runs: part of it may be missing, and nobody knows what the rest is worth then.
func (d *decider) shrinks(released func(string) bool) bool {
	guards := d.checked.Platform.Settings.Guards
	gone, ran := 0, 0
	count := func(name string) {
		if _, asked := d.checked.Platform.Requests[name]; !asked && !released(name) {
			gone++
		}
	}
	for name, made := range d.made {
		if made.deletes && d.record.Units[name].Exists() {
			count(name)
		}
	}
	for _, done := range d.record.Platform.Deletions {
		if done.Revision == d.checked.Revision.Commit && !d.record.Units[done.Request].Exists() {
			ran++
			count(done.Request)
		}
	}
	if gone <= fewDeletes || guards.MaxDeletesShare == 0 {
		return false
	}
	for _, recorded := range d.record.Units {
		if recorded.Exists() {
			ran++
		}
	}
	if gone*100 <= ran*guards.MaxDeletesShare || guards.Shrink != nil && ran-gone >= guards.Shrink.To {
		return false
	}
	message := fmt.Sprintf("this revision deletes %d of %s, more than %d%%, so nothing of it happens: restore them, or say in platform.cue: guards: shrink: {to: %d, reason: \"…\"}",
		gone, Plural(ran, "request"), guards.MaxDeletesShare, ran-gone)
	for name, made := range d.made {
		if made.starts() || made.deletes && made.verb == wait {
			d.made[name] = decision{verb: halt, condition: Stalled, reason: ReasonDeletionGuard, message: message, basis: made.basis, deletes: made.deletes}
		}
	}
	return true
}
