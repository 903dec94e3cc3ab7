package reconciler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// coalesce is the shortest time between two status commits, unless nothing else
// is going on.
const coalesce = 10 * time.Second

// journal gathers what happened since the last status commit.
type journal struct {
	record *Record
	trust  *Trust
	base   string // the commit whose tree the record was read from or written to
	remote string // the tip of the branch on the remote
	// restore tells that the remote's tip is not what Pave wrote, and must be
	// overlaid by what is.
	restore bool
	pushing []pushed // that were not heard of since, the latest last

	revision Revision
	current  *Checked // that was noted last
	subject  string   // of the next commit, where it says nothing of a unit
	remarks  []string // what its message says of the revision
	title    string
	dirty    map[string]bool    // paths that may differ from what base holds
	news     int                // documents that were published since the record was remembered
	noted    map[string]noting  // what was noted last, by unit
	quiet    *quiet             // told of what changed
	edits    map[string][]Edit  // the applied folders, by unit
	events   map[string][]event // by unit
	said     int                // counts them
	changed  bool               // a run that is among them changed something
	credits  []string           // trailers of who let it happen
	done     []Running          // to be forgotten once recorded
	last     time.Time
	failures int       // to publish, since it last succeeded
	retry    time.Time // not to be tried again before
}

// newJournal starts at a record that is published as it is, at base; nowhere where
// that is empty.
func newJournal(record *Record, trust *Trust, quiet *quiet, base, remote string) *journal {
	quiet.reset()
	return &journal{quiet: quiet, record: record, trust: trust, base: base, remote: remote, restore: base != remote,
		dirty: map[string]bool{}, noted: map[string]noting{}, edits: map[string][]Edit{}, events: map[string][]event{}}
}

// document returns the status document at a path; nil where there is none.
func (r *Record) document(at string) any {
	folder, _, _ := strings.Cut(at, "/")
	name := strings.TrimSuffix(path.Base(at), ".json")
	switch {
	case folder == "requests" && r.Units[name] != nil:
		return r.Units[name]
	case folder == "services" && r.Services[name] != nil:
		return r.Services[name]
	case folder == "locks":
		if l, found := r.Locks[name]; found {
			return l
		}
	case at == "platform.json" && r.Platform.Version != 0:
		return r.Platform
	}
	return nil
}

// believe reads the record at a tip, as far as the tip can be believed, and
// starts a journal on it.
func (r *Reconciler) believe(ctx context.Context, tip string) error {
	memory, err := r.Trust.load()
	if err != nil {
		return err
	}
	if memory.landed(tip) {
		if err := r.Trust.save(memory); err != nil {
			return err
		}
	}
	// What this Pave wrote last may be in the mirror though somebody else wrote
	// or removed the branch since.
	written := false
	if memory.Tip != "" {
		_, err := r.Source.Revision(ctx, memory.Tip)
		written = err == nil
	}
	from, believed := tip, tip == memory.Tip
	if !believed {
		if believed, err = r.ours(ctx, tip, memory.Tip, written); err != nil {
			return err
		}
	}
	r.unverified = map[string]bool{}
	if !believed && written {
		r.Log.Warn("the status branch is not what Pave wrote; restoring it", "tip", shortHash(tip), "written", shortHash(memory.Tip))
		from, believed = memory.Tip, true
	}
	record := NewRecord()
	if from != "" {
		if record, err = r.readRecord(ctx, from); err != nil {
			if believed {
				return err
			}
			// An empty record in its place could make everything twice.
			return fmt.Errorf("%w; this host did not write it: restore the branch, or remove it if nothing of this platform runs", err)
		}
	}
	for _, name := range memory.Unverified {
		r.unverified[name] = true
	}
	r.record, r.published, r.stirred = record, record.copy(), true
	r.journal = newJournal(record, r.Trust, &r.quiet, from, tip)
	if !believed {
		r.Log.Warn("the status branch was not written by this Pave: every unit is observed before it counts as unchanged, and nothing is deleted; `pave status adopt` believes it", "tip", shortHash(tip))
		r.disbelieve()
	}
	if r.checked != nil {
		r.journal.inForce(r.checked)
	}
	if r.refusal != nil {
		r.journal.refuse(r.refusal)
	}
	return nil
}

// ours tells whether this host's key signed the tip. A signed commit that does
// not lead on from what this Pave wrote last is an older one, put back.
func (r *Reconciler) ours(ctx context.Context, tip, last string, written bool) (bool, error) {
	if tip == "" {
		return false, nil
	}
	signed, err := r.Source.Authentic(ctx, tip)
	if err != nil || !signed || last == "" {
		return signed, err
	}
	if !written { // what leads on from it would have brought it along
		return false, nil
	}
	return r.Source.Follows(ctx, tip, last)
}

// disbelieve forgets what must not be taken from a branch that this Pave did
// not write: which revision was good (it is told, and counts for nothing), which providers are locked, which services
// are old ones and how long a unit has lived.
func (r *Reconciler) disbelieve() {
	for name := range r.record.Units {
		r.unverified[name] = true
		r.journal.unit(name).FirstApplied = ""
	}
	for name := range r.record.Services {
		delete(r.record.Services, name)
		r.journal.touch(shard("services", name) + ".json")
	}
	for name := range r.record.Locks {
		delete(r.record.Locks, name)
		r.journal.touch("locks/" + name + ".json")
	}
	r.record.Platform = PlatformStatus{Revision: r.record.Platform.Revision, Doubted: true}
	r.journal.touch("platform.json")
}

// moved notices that somebody else wrote to the status branch. What this
// host's key signed is taken over; anything else, but for what was pushed without
// an answer, is overlaid by what was recorded here.
func (r *Reconciler) moved(ctx context.Context, tip string) error {
	if tip == r.journal.remote {
		return nil
	}
	for _, p := range r.journal.pushing {
		if tip != "" && tip == p.commit {
			return r.landed(p)
		}
	}
	ours, err := r.ours(ctx, tip, r.journal.base, r.journal.base != "")
	if err != nil {
		return err
	}
	if ours && !r.journal.pending() { // else what is to be recorded would be lost
		r.Log.Info("took over the status branch", "tip", shortHash(tip))
		return r.believe(ctx, tip)
	}
	r.Log.Warn("the status branch moved and was not moved by Pave: it is restored", "tip", shortHash(tip))
	r.journal.remote, r.journal.restore = tip, true
	return nil
}

// touch notes that a document may have changed.
func (j *journal) touch(path string) {
	j.dirty[path] = true
	if strings.HasPrefix(path, "locks/") {
		j.quiet.reset()
	}
}

// touchUnit notes that the status of a unit may have changed.
func (j *journal) touchUnit(name string) {
	j.touch(shard("requests", name) + ".json")
	delete(j.noted, name)
	j.quiet.disturb(name)
}

// event notes what the next status commit says of a unit: all that runs did,
// and of what was decided the last word.
func (j *journal) event(e event) {
	kept := slices.DeleteFunc(j.events[e.unit], func(old event) bool { return !old.run || old.trailer == e.trailer })
	j.said++
	e.order = j.said
	j.events[e.unit] = append(kept, e)
}

// inForce notes a revision that came into force.
func (j *journal) inForce(c *Checked) {
	j.revision, j.title = c.Revision, c.Platform.Settings.Title
	if j.record.Platform.Doubted {
		j.record.Platform.Doubted = false
		j.touch("platform.json")
	}
	if j.record.Platform.Refused != nil {
		j.record.Platform.Refused = nil
		j.touch("platform.json")
		j.subject = "Accept the revision " + c.Revision.Short()
	}
	j.services(c)
	j.current, c.news = c, nil
}

// services notes what a revision says of the services, of which the last one that
// was noted may have said the same.
func (j *journal) services(c *Checked) {
	says := func(string) bool { return true }
	if n := c.news; n != nil && !n.everything() && n.earlier == j.current && j.current.Complete {
		described := n.described(c)
		says = func(service string) bool { return described[service] }
	}
	requests := map[string][]string{}
	for _, name := range sortedWhere(c.Platform.Requests, func(_ string, r *Request) bool { return says(r.Service) }) {
		service := c.Platform.Request(name).Service
		requests[service] = append(requests[service], name)
	}
	for name, s := range c.Platform.Services {
		if says(name) {
			j.service(c, name, s, requests[name])
		}
	}
	for name := range j.record.Services {
		if _, found := c.Platform.Services[name]; !found && says(name) {
			j.noService(c, name, requests[name])
		}
	}
}

// described are the services of which a revision may say something else than the
// earlier one: also which requests they have, and what holds them.
func (n *news) described(c *Checked) map[string]bool {
	described := maps.Clone(n.services)
	for name := range n.requests {
		described[n.earlier.Platform.Request(name).Service] = true
		described[c.Platform.Request(name).Service] = true
	}
	for _, holds := range []map[string]hold{n.earlier.holds, c.holds} {
		for key := range holds {
			if name, is := strings.CutPrefix(key, "service/"); is {
				described[name] = true
			}
		}
	}
	return described
}

// service notes what a revision says of a service.
func (j *journal) service(c *Checked, name string, s *Service, requests []string) {
	status := &ServiceStatus{Version: 1, Service: name}
	if known := j.record.Services[name]; known != nil {
		status = known.copy()
	}
	if status.describe(s, c.holds["service/"+name], requests, c.Revision.Time) {
		j.record.Services[name] = status
		j.touch(shard("services", name) + ".json")
	}
}

// noService notes that a revision has no such service, or one with errors.
func (j *journal) noService(c *Checked, name string, requests []string) {
	status := j.record.Services[name].copy()
	j.record.Services[name] = status
	status.Requests = requests
	if h, held := c.holds["service/"+name]; held {
		status.Conditions.Set(h.condition, false, h.reason, h.message, c.Revision.Time)
	} else if c.Complete {
		delete(j.record.Services, name)
	}
	j.touch(shard("services", name) + ".json")
}

// describe copies what a revision says of a service, and tells whether that is news.
func (s *ServiceStatus) describe(service *Service, h hold, requests []string, now time.Time) bool {
	news := s.Owner != service.Owner || s.Lifecycle != service.Lifecycle || s.Tier != service.Tier || !slices.Equal(s.Requests, requests)
	s.Owner, s.Lifecycle, s.Tier, s.Requests = service.Owner, service.Lifecycle, service.Tier, requests
	for _, kind := range []string{Valid, Allowed} {
		if kind == h.condition {
			news = s.Conditions.Set(kind, false, h.reason, h.message, now) || news
		} else {
			news = s.Conditions.Set(kind, true, kind, "", now) || news
		}
	}
	return news
}

// refuse notes a revision that did not come into force.
func (j *journal) refuse(refusal *Refusal) {
	j.record.Platform.Refused = refusal
	j.touch("platform.json")
	verb, word := "Refuse", "refused: "
	if refusal.Waiting {
		verb, word = "Hold", "held: "
	}
	j.subject, j.remarks = verb+" the revision "+shortHash(refusal.Revision), nil
	for _, v := range refusal.Violations {
		j.remarks = append(j.remarks, word+v.String())
	}
	if j.revision.Commit == "" {
		j.revision.Commit = refusal.Revision
	}
}

// warn notes where something else lets changes past Pave.
func (j *journal) warn(warnings []string) {
	if slices.Equal(j.record.Platform.Warnings, warnings) {
		return
	}
	j.record.Platform.Warnings = warnings
	j.touch("platform.json")
	j.subject = "Warn of the forge's settings"
	if len(warnings) == 0 {
		j.subject = "Warn of the forge's settings no longer"
	}
}

// note takes the decisions of a pass into the record: what holds and what is
// ready. Runs that start are noted by their results.
func (j *journal) note(c *Checked, decisions map[string]decision, now time.Time) {
	warn, day := time.Duration(c.Platform.Settings.Expiry.Warn), now.UTC().Format(time.DateOnly)
	sayings := map[saying]*saying{}
	said := func(made decision) saying {
		return saying{made.verb, made.condition, made.reason, made.message, made.uncleared, warn, day}
	}
	noted := func(name string, made decision) {
		s := said(made)
		if sayings[s] == nil {
			sayings[s] = &s
		}
		j.noted[name] = noting{c.Units[name], sayings[s]}
	}
	news := sortedWhere(decisions, func(name string, made decision) bool {
		last, u := j.noted[name], c.Units[name]
		if last.unit == nil || !last.unit.same(u) || *last.saying != said(made) {
			return true // as it is of a request that is no unit: what that says is not in here
		}
		if last.unit != u { // the unit of an earlier revision must not stay
			j.noted[name] = noting{u, last.saying}
		}
		return false
	})
	for _, name := range news {
		made := decisions[name]
		before, known := j.record.Units[name]
		if made.verb == forget {
			delete(j.record.Units, name)
			j.touchUnit(name)
			j.event(event{unit: name, verb: "forget", trailer: "forgotten"})
			continue
		}
		if !known {
			if made.verb == start || made.verb == busy || made.verb == destroy {
				continue
			}
			before = &UnitStatus{Version: 1, Request: name}
		}
		status, wasReady := before.copy(), before.Is(Ready)
		if u, runs := c.Units[name]; runs && !made.uncleared {
			status.describe(u, made, c.Revision.Commit)
		} else if r, asked := c.Platform.Requests[name]; asked {
			status.introduce(r, c.Platform)
		}
		status.saidIn(c.Platform.sources(name))
		status.state(made, now)
		warns := status.expiring(warn, now)
		if known && before.same(status) {
			if unsafe.SliceData(before.Document) != unsafe.SliceData(status.Document) { // whose text is the platform's own
				j.record.Units[name] = status
			}
			noted(name, made)
			continue
		}
		j.record.Units[name] = status
		status.ObservedRevision = c.Revision.Commit
		j.touchUnit(name)
		noted(name, made)
		if warns {
			j.event(event{unit: name, run: true, verb: "warn of the end of", trailer: "expiring on=" + status.Expires})
		}
		switch made.verb {
		case halt:
			j.event(event{unit: name, verb: "hold", trailer: "held reason=" + made.reason, text: made.message})
		case wait:
			j.event(event{unit: name, verb: "queue", trailer: "waiting reason=" + made.reason, text: made.message})
		default:
			if said := j.events[name]; len(said) > 0 && said[len(said)-1].run && said[len(said)-1].text == "" {
				continue // what a run did says more
			}
			e := event{unit: name, verb: "record", trailer: "recorded"}
			if !wasReady && status.Is(Ready) {
				e.verb, e.trailer = "release", "released"
			}
			j.event(e)
		}
	}
}

// noting is all by which the status of a unit was noted. As long as that and the
// status are as they were, noting it again changes nothing.
type noting struct {
	unit *Unit
	*saying
}

// saying is what many units are noted by alike.
type saying struct {
	verb                       verb
	condition, reason, message string
	uncleared                  bool
	warn                       time.Duration
	day                        string
}

// same tells whether two statuses are recorded alike.
func (s *UnitStatus) same(other *UnitStatus) bool {
	if reflect.DeepEqual(s, other) {
		return true
	}
	a, _ := encode(s)
	b, _ := encode(other)
	return bytes.Equal(a, b)
}

// describe copies what the revision says of a unit and no run decides.
func (s *UnitStatus) describe(u *Unit, made decision, revision string) {
	s.Service, s.Owner = u.Request.Service, u.Service.Owner
	if !s.Exists() {
		s.Blueprint, s.Environment, s.Stage = u.Blueprint.Name, u.Environment.Name, u.Environment.Stage
	}
	// What asks for another identity does not speak of the one that is protected.
	if s.Blueprint == u.Blueprint.Name && s.Environment == u.Environment.Name {
		s.protect(u.Request.Protect, revision)
	}
	s.Expires = lastDay(u, s)
	s.Retain = u.Request.Deletion == Retain
	if made.verb == keep && made.reason == ReasonApplied {
		s.Cost, s.Document, s.Sources = u.Request.Cost.Monthly, u.Request.JSON, nil
		s.ServiceDigest = u.Service.digest()
	}
}

// expiring warns ahead of the end, and tells whether that is news.
func (s *UnitStatus) expiring(warn time.Duration, now time.Time) bool {
	was := s.Is(Expiring)
	if !s.Exists() || s.Expires == "" || hasEnded(s.Expires, now) || !hasEnded(s.Expires, now.Add(warn)) {
		s.Conditions.Drop(Expiring)
		return false
	}
	s.Conditions.Set(Expiring, true, ReasonExpires, "is needed until the end of "+s.Expires+": extend `expires` or `ttl` to keep it", now)
	return !was
}

// protect states what a revision says of the protection.
func (s *UnitStatus) protect(protect bool, revision string) {
	switch {
	case protect:
		s.Unprotected = ""
	case s.Protect && s.Exists():
		s.Unprotected = revision
	}
	s.Protect = protect
}

// introduce says whose a request is that holds before it was ever applied.
func (s *UnitStatus) introduce(r *Request, p *Platform) {
	if s.Exists() {
		return
	}
	s.Service, s.Owner, s.Blueprint = r.Service, p.Service(r.Service).Owner, r.Blueprint
	s.Environment, s.Stage = r.Environment, p.Environments[r.Environment].Stage
}

// saidIn notes files that say what the unit is. Until that is applied all of them
// count: whoever moves a document that waits has not made what it says.
func (s *UnitStatus) saidIn(files []string) {
	s.Sources = slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.Sources, files))))
}

// state sets the conditions that follow from a decision.
func (s *UnitStatus) state(made decision, now time.Time) {
	switch made.verb {
	case halt:
		s.holds(made.condition, made.reason, made.message, made.condition == Stalled, now)
	case wait:
		s.accepted(now)
		s.Conditions.Set(Ready, false, made.reason, made.message, now)
	case keep:
		if made.reason == ReasonApplied {
			s.accepted(now)
			s.applied(now)
		}
	}
}

// metBefore are the conditions that were met where another one is not.
var metBefore = map[string][]string{
	Allowed: {Valid}, Planned: {Valid, Allowed}, Approved: {Valid, Allowed, Planned}, Done: {Valid, Allowed, Planned},
	Ready: {Valid, Allowed}, Stalled: {Valid, Allowed},
}

// holds states that the unit is not ready, and why: the condition that is not
// met, and whether a person must act.
func (s *UnitStatus) holds(condition, reason, message string, stalled bool, now time.Time) {
	for _, kind := range metBefore[condition] {
		s.Conditions.Set(kind, true, kind, "", now)
	}
	if condition != Approved {
		s.Conditions.Drop(Approved)
	}
	if condition != Stalled {
		s.Conditions.Set(condition, false, reason, message, now)
	}
	s.Conditions.Set(Ready, false, reason, message, now)
	if stalled {
		s.Conditions.Set(Stalled, true, reason, message, now)
	} else {
		s.Conditions.Drop(Stalled)
	}
}

// applied states that what is asked for is what was applied last.
func (s *UnitStatus) applied(now time.Time) {
	s.Conditions.Set(Planned, true, Planned, "", now)
	s.Conditions.Set(Done, true, ReasonApplied, "", now)
	s.Conditions.Set(Ready, true, ReasonApplied, "", now)
}

// accepted states that nothing about the document itself holds the unit.
func (s *UnitStatus) accepted(now time.Time) {
	s.Conditions.Set(Valid, true, Valid, "", now)
	s.Conditions.Set(Allowed, true, Allowed, "", now)
	s.Conditions.Drop(Stalled)
	s.Conditions.Drop(Approved)
}

// fault notes that a run could not even be started.
func (j *journal) fault(name string, err error, now time.Time) {
	status := j.unit(name)
	status.holds(Planned, ReasonPlanFailed, oneLine(err.Error(), 500), false, now)
	j.event(event{unit: name, run: true, verb: "fail", trailer: "failed reason=" + ReasonPlanFailed, text: err.Error()})
}

// unit returns the status of a unit for a change.
func (j *journal) unit(name string) *UnitStatus {
	status := &UnitStatus{Version: 1, Request: name}
	if known := j.record.Units[name]; known != nil {
		status = known.copy()
	}
	j.record.Units[name] = status
	j.touchUnit(name)
	return status
}

// failures tells how each outcome that is no success is recorded.
var failures = map[Outcome]struct {
	condition string
	reason    string
	stalled   bool
}{
	PlanFailed:       {Planned, ReasonPlanFailed, false},
	ApplyFailed:      {Done, ReasonApplyFailed, false},
	Unknown:          {Done, ReasonUnknown, false},
	DeniedByPolicy:   {Allowed, ReasonDenied, false},
	AwaitingApproval: {Approved, ReasonApproval, false},
	StateLost:        {Planned, ReasonStateLost, true},
	NotOwned:         {Planned, ReasonNotOwned, true},
	Interrupted:      {Planned, ReasonWaiting, false},
}

// result takes the result of a run into the record.
func (j *journal) result(job Job, result Result, now time.Time) {
	for _, credit := range job.Credits {
		if !slices.Contains(j.credits, credit) {
			j.credits = append(j.credits, credit)
		}
	}
	j.changed = j.changed || job.Mode != Observe
	switch result.Outcome {
	case Applied, Unchanged:
		if job.Mode == Observe {
			j.confirmed(job, result, now)
			return
		}
		j.succeeded(job, result, now)
	case Changed:
		j.drifted(job, result, now)
	case Destroyed:
		j.destroyed(job, result, now)
	default:
		j.failed(job, result, now)
	}
}

func (j *journal) succeeded(job Job, result Result, now time.Time) {
	j.tookOver(job, result)
	old := j.unit(job.Unit)
	status := old
	if job.Success != nil {
		copied := *job.Success
		status = &copied
		status.Conditions = slices.Clone(old.Conditions)
		if job.Heals {
			status.Drift = old.Drift
		}
		status.FirstApplied, status.LastApplied, status.OutputsVersion = old.FirstApplied, old.LastApplied, old.OutputsVersion
		// A revision that came while the run went on may have changed the protection.
		status.Protect, status.Unprotected = old.Protect || status.Protect && old.Unprotected == "", old.Unprotected
		if status.Engine == old.Engine || result.Outcome == Unchanged && old.Exists() {
			status.Plan = old.Plan
		}
		j.record.Units[job.Unit] = status
	}
	at := result.Finished.UTC().Format(time.RFC3339)
	status.ObservedRevision, status.AppliedRevision = job.Revision, job.Revision
	status.Fingerprint = fingerprint(job.Basis, result.Lock)
	status.State = result.State
	if status.State.Address == "" {
		status.State.Address = job.Rendering.Address
	}
	status.Outputs, status.Sensitive, status.Resources, status.IDs = result.Outputs, result.Sensitive, result.Resources, result.IDs
	if status.OutputsVersion == "" || result.OutputsChanged || old.Fingerprint == "" { // an apply that failed may have changed them too
		status.OutputsVersion = fmt.Sprintf("%s:%d", result.State.Lineage, result.State.Serial)
	}
	if status.FirstApplied == "" {
		status.FirstApplied = at
	}
	if result.Outcome == Applied || status.LastApplied == "" {
		status.LastApplied = at
		plan := result.Plan
		status.Plan = &plan
	}
	status.accepted(now)
	status.applied(now)
	ended := status.undrift(now)
	j.keepLock(job, result)
	j.keepApplied(job, result)
	e := event{unit: job.Unit, run: true, verb: "apply", trailer: fmt.Sprintf("applied %s blueprint=%s", result.Plan, status.Blueprint)}
	if job.Heals {
		e.verb, e.trailer = "heal", strings.Replace(e.trailer, "applied", "healed", 1)
	}
	if result.Outcome == Unchanged {
		e.verb, e.trailer = "confirm", "unchanged blueprint="+status.Blueprint
	}
	if digest := result.Plan.Digest; digest != "" {
		e.trailer += " plan=" + digest[:min(12, len(digest))]
	}
	if ended {
		e.trailer += " drift=ended"
	}
	made := result.Plan.Makes()
	e.doubt(slices.DeleteFunc(slices.Clone(old.Doubt), func(address string) bool { return !slices.Contains(made, address) }), status.Environment)
	j.event(e)
}

// doubt says that a failed run before this one may have made something that this
// one did not find.
func (e *event) doubt(addresses []string, environment string) {
	if len(addresses) == 0 {
		return
	}
	e.trailer += fmt.Sprintf(" doubt=%d", len(addresses))
	e.text = fmt.Sprintf("look in %s for what a run before it may have left: %s", environment, Unwritten(addresses))
}

// tookOver gives a unit the history of the one whose state it took over, which is
// forgotten: nothing was destroyed.
func (j *journal) tookOver(job Job, result Result) {
	if !result.Moved {
		return
	}
	from := job.Takes.Unit
	if job.Takes.File != "" { // what was left behind is looked after again
		j.adopted(job.Unit)
	}
	if from == "" || from == job.Unit {
		return
	}
	status := j.unit(job.Unit)
	if old := j.record.Units[from]; old != nil {
		status.FirstApplied, status.LastApplied, status.OutputsVersion = old.FirstApplied, old.LastApplied, old.OutputsVersion
		status.Protect = status.Protect || old.Protect
		delete(j.record.Units, from)
	}
	j.touchUnit(from)
	j.edits[from] = []Edit{{Path: appliedFolder(from)}}
	j.event(event{unit: from, run: true, verb: "rename", trailer: "renamed to=" + job.Unit})
}

// confirmed records that what runs is what was applied. Unless that was recorded
// otherwise there is nothing to say: every look at every unit would make a commit.
// What the revision asks for is another matter.
func (j *journal) confirmed(job Job, result Result, now time.Time) {
	status := j.unit(job.Unit)
	status.State.Serial = result.State.Serial
	if status.undrift(now) {
		status.ObservedRevision = job.Revision
		j.event(event{unit: job.Unit, run: true, verb: "see the end of drift in", trailer: "undrifted blueprint=" + status.Blueprint})
	}
}

// keepLock records the provider lock that a blueprint without one was first
// initialised with; it is empty where the blueprint needs no provider.
func (j *journal) keepLock(job Job, result Result) {
	if job.Success == nil || len(job.Lock) > 0 || job.Destroy {
		return
	}
	blueprint := job.Success.Blueprint
	used := Lock{Module: job.Success.Module, Engine: engineSeries(job.Engine), Content: string(result.Lock)}
	if known, recorded := j.record.Locks[blueprint]; !recorded || known != used {
		j.record.Locks[blueprint] = used
		j.touch("locks/" + blueprint + ".json")
	}
}

// keepApplied records what the unit was applied from, for the day when it is
// destroyed and its blueprint is gone.
func (j *journal) keepApplied(job Job, result Result) {
	if job.Folder == "" || job.Destroy {
		return
	}
	variables, err := encode(job.Rendering.Variables)
	if err != nil {
		return
	}
	folder := appliedFolder(job.Unit)
	j.edits[job.Unit] = []Edit{
		{Path: folder + "/module", TreeAt: job.Revision + ":" + job.Folder},
		{Path: folder + "/" + generatedFile, Content: job.Rendering.Generated},
		{Path: folder + "/" + variablesFile, Content: variables},
		{Path: folder + "/" + lockFile, Content: append([]byte{}, result.Lock...)},
	}
}

// destroyed removes a unit from the record, or resets it where the revision
// still asks for the name.
func (j *journal) destroyed(job Job, result Result, now time.Time) {
	status := j.unit(job.Unit)
	blueprint := status.Blueprint
	if job.Retain {
		j.orphaned(status, job, result, now)
	}
	reset := &UnitStatus{Version: 1, Request: job.Unit, ObservedRevision: job.Revision}
	if job.Success != nil { // still asked for: expired, or to be created anew
		reset.Service, reset.Owner, reset.FirstApplied = job.Success.Service, job.Success.Owner, job.Success.FirstApplied
		reset.Conditions.Set(Ready, false, ReasonWaiting, "was destroyed", now)
		j.record.Units[job.Unit] = reset
	} else {
		delete(j.record.Units, job.Unit)
	}
	j.edits[job.Unit] = []Edit{{Path: appliedFolder(job.Unit)}}
	var recent []Deletion
	for _, d := range j.record.Platform.Deletions {
		if at, err := time.Parse(time.RFC3339, d.At); err == nil && now.Sub(at) < time.Hour {
			recent = append(recent, d)
		}
	}
	j.record.Platform.Deletions = append(recent, Deletion{Request: job.Unit, Revision: job.Revision, At: now.UTC().Format(time.RFC3339)})
	j.touch("platform.json")
	e := event{unit: job.Unit, run: true, verb: "destroy", trailer: fmt.Sprintf("destroyed %s blueprint=%s", result.Plan, blueprint)}
	if job.Retain {
		e.verb, e.trailer = "release", fmt.Sprintf("retained resources=%d blueprint=%s", len(result.Retained), blueprint)
	}
	e.doubt(slices.DeleteFunc(slices.Clone(status.Doubt), func(address string) bool {
		return slices.ContainsFunc(result.Plan.Changes, func(c ChangedField) bool { return c.Address == address })
	}), status.Environment)
	j.event(e)
}

// orphaned lists what a request left behind.
func (j *journal) orphaned(status *UnitStatus, job Job, result Result, now time.Time) {
	if len(result.Retained) == 0 {
		return
	}
	j.adopted(job.Unit)
	j.record.Platform.Orphans = append(j.record.Platform.Orphans, Orphan{Request: job.Unit, Owner: status.Owner, Blueprint: status.Blueprint,
		Environment: status.Environment, Revision: job.Revision, At: now.UTC().Format(time.RFC3339), Resources: result.Retained})
}

// adopted lists nothing any longer that a request of the name left behind.
func (j *journal) adopted(name string) {
	j.record.Platform.Orphans = slices.DeleteFunc(slices.Clone(j.record.Platform.Orphans), func(o Orphan) bool { return o.Request == name })
	j.touch("platform.json")
}

// failed records a run that did not do what was asked.
func (j *journal) failed(job Job, result Result, now time.Time) {
	j.tookOver(job, result)
	status := j.unit(job.Unit)
	f, known := failures[result.Outcome]
	if !known {
		f = failures[Unknown]
	}
	if job.Mode == Observe && !status.Is(Ready) && !f.stalled {
		return // what holds it says more than why nobody could look
	}
	message := result.Message
	if held := holding(result.Violations); len(held) > 0 {
		message = held[0].String()
		if more := len(held) - 1; more > 0 {
			message += fmt.Sprintf(" (and %d more)", more)
		}
	}
	run := ""
	if result.Outcome == Unknown { // each is told, also where the one before it ended alike
		run = " run=" + job.ID
		message = "run " + job.ID + ": " + message
	}
	message = oneLine(message, 1000)
	if job.Success != nil && !status.Exists() {
		conditions, files := status.Conditions, status.Sources
		copied := *job.Success
		*status = UnitStatus{Version: 1, Request: job.Unit, Service: copied.Service, Owner: copied.Owner, Blueprint: copied.Blueprint,
			Environment: copied.Environment, Stage: copied.Stage, Protect: copied.Protect || status.Protect, Conditions: conditions, FirstApplied: status.FirstApplied, Sources: files}
		status.saidIn(copied.Sources)
	}
	status.ObservedRevision = job.Revision
	plan := result.Plan
	status.Plan = &plan
	status.holds(f.condition, f.reason, message, f.stalled, now)
	if result.Outcome == StateLost || result.Outcome == NotOwned {
		status.Fingerprint = "" // whatever is asked for next, it is looked at first
	}
	if job.Mode == Converge && job.Success != nil && result.Outcome != Interrupted && result.Outcome != AwaitingApproval {
		status.FailedModule = job.Success.Module
	}
	if job.Mode == Converge && (result.Outcome == ApplyFailed || result.Outcome == Unknown) {
		// Something may exist by now, and what was applied last is not what runs.
		status.Fingerprint = ""
		status.State = result.State
		if status.State.Address == "" {
			status.State.Address = job.Rendering.Address
		}
		status.Doubt = slices.Compact(slices.Sorted(slices.Values(slices.Concat(status.Doubt, result.Doubt))))
		if result.Outcome == ApplyFailed {
			status.Resources, status.IDs = result.Resources, result.IDs
		}
		if status.FirstApplied == "" {
			status.FirstApplied = now.UTC().Format(time.RFC3339)
		}
		if job.Success != nil && !job.Destroy {
			status.References, status.Document, status.Cost = job.Success.References, job.Success.Document, job.Success.Cost
			status.Sources, status.ServiceDigest = job.Success.Sources, job.Success.ServiceDigest
		}
		j.keepApplied(job, result)
	}
	e := event{unit: job.Unit, run: true, verb: "fail", trailer: fmt.Sprintf("failed %s reason=%s%s", result.Plan, f.reason, run), text: message}
	if f.condition == Allowed || f.condition == Approved {
		e.verb, e.trailer = "hold", fmt.Sprintf("held %s reason=%s", result.Plan, f.reason)
	}
	j.event(e)
}

// forgetLater keeps a run's files until its result is recorded.
func (j *journal) forgetLater(run Running) { j.done = append(j.done, run) }

// pending tells whether there is anything to record.
func (j *journal) pending() bool { return len(j.dirty)+len(j.edits) > 0 || j.restore }

// due tells whether a commit should be made now, while so many runs change
// something and so many only look. What looks find is gathered as long as any goes
// on, which may be for ever; it does not keep back what changes did.
func (j *journal) due(now time.Time, changing, looking int) bool {
	quiet := changing == 0 && (looking == 0 || j.changed)
	return j.pending() && !now.Before(j.retry) && (quiet || now.Sub(j.last) >= coalesce)
}

// postpone notes that publishing failed: the next try waits, longer each time.
func (j *journal) postpone(now time.Time) {
	j.failures++
	j.retry = now.Add(min(coalesce<<min(j.failures-1, 10), 5*time.Minute))
}

// dueAt returns when the next commit is due.
func (j *journal) dueAt() (time.Time, bool) {
	at := j.last.Add(coalesce)
	if j.retry.After(at) {
		at = j.retry
	}
	return at, j.pending()
}

// changes returns the edits that bring the published branch to the record.
func (r *Reconciler) changes(ctx context.Context, j *journal) (edits []Edit, err error) {
	published := &Tree{}
	if j.base != "" && len(j.dirty) > 0 {
		if published, err = r.Source.Part(ctx, j.base, slices.Collect(maps.Keys(j.dirty))...); err != nil {
			return nil, err
		}
	}
	for path := range j.dirty {
		f, there := published.Find(path)
		doc := j.record.document(path)
		if doc == nil {
			if there {
				edits = append(edits, Edit{Path: path})
			}
			continue
		}
		content, err := encode(doc)
		if err != nil {
			return nil, err
		}
		if !there || !holds(published, f, content) {
			edits = append(edits, Edit{Path: path, Content: content})
		}
	}
	for _, name := range sortedNames(j.edits) {
		edits = append(edits, j.edits[name]...)
	}
	return edits, nil
}

// holds tells whether a file has the content. One that cannot be read has not.
func holds(tree *Tree, f File, content []byte) bool {
	has, err := tree.Read(f)
	return err == nil && bytes.Equal(has, content)
}

// publish makes one status commit of everything since the last, or none.
func (r *Reconciler) publish(ctx context.Context) error {
	for try := 0; r.journal.pending(); try++ {
		j := r.journal
		err := r.commit(ctx, j)
		if errors.Is(err, ErrConflict) && try < 8 {
			if !sleep(ctx, time.Duration(try*try)*50*time.Millisecond) {
				return context.Cause(ctx)
			}
			heads, err := r.heads(ctx)
			if err != nil {
				return err
			}
			if err := r.moved(ctx, heads.Status); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		clear(j.dirty)
		clear(j.edits)
		clear(j.events) // also those that changed nothing in the end
		j.said, j.subject, j.remarks, j.credits, j.changed = 0, "", nil, nil, false
		j.failures, j.retry = 0, time.Time{}
		break
	}
	r.share()
	return r.forgetRuns()
}

// share has others see the record as it is, where that was published.
func (r *Reconciler) share() {
	if !r.journal.pending() {
		r.published = r.record.copy()
	}
}

// pushed is what a commit says that may be on the remote by now.
type pushed struct {
	commit string
	said   int // the last event in it
}

// announced remembers a status commit before it is pushed. A Pave that is killed
// next, or does not get the answer, finds its own commit on the branch: it would
// take it for somebody else's, and record everything in it once more.
func (r *Reconciler) announced(p pushed) error {
	r.journal.pushing = last(append(r.journal.pushing, p), mostPushing)
	pushing := written{Tip: p.commit, Unverified: slices.Sorted(maps.Keys(r.unverified))}
	for _, run := range r.journal.done {
		pushing.Recorded = append(pushing.Recorded, run.Job().ID)
	}
	err := r.Trust.update(func(t *trusted) { t.Pushing = last(append(t.Pushing, pushing), mostPushing) })
	if err != nil {
		return fmt.Errorf("remember the status commit: %w", err)
	}
	return nil
}

// landed notes that a status commit is on the remote: what it says need not be
// said again.
func (r *Reconciler) landed(p pushed) error {
	if err := r.Trust.update(func(t *trusted) { t.landed(p.commit) }); err != nil {
		return fmt.Errorf("remember the status commit: %w", err)
	}
	j := r.journal
	j.base, j.remote, r.record.Tip = p.commit, p.commit, p.commit
	j.restore, j.pushing = false, nil // of those that were pushed to the same place one gets there
	for name, said := range j.events {
		j.events[name] = slices.DeleteFunc(said, func(e event) bool { return e.order <= p.said })
	}
	r.progress.LastRecord = r.Now()
	j.last = r.Now()
	return nil
}

// commit publishes the changes, if there are any.
func (r *Reconciler) commit(ctx context.Context, j *journal) error {
	edits, err := r.changes(ctx, j)
	if err != nil || len(edits) == 0 && !j.restore {
		return err
	}
	if j.record.Platform.Revision != j.revision.Commit || j.record.Platform.Version == 0 {
		j.record.Platform.Version = 1
		if r.checked != nil {
			j.record.Platform.Revision = r.checked.Revision.Commit
		}
		j.touch("platform.json")
		if edits, err = r.changes(ctx, j); err != nil {
			return err
		}
	}
	edits = append(edits, Edit{Path: "README.md", Content: j.record.readme(j.title)})
	slices.SortFunc(edits, func(a, b Edit) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	var parents []string
	if j.remote != "" {
		parents = []string{j.remote}
		if j.restore && j.base != "" && j.base != j.remote {
			parents = append(parents, j.base) // its history must not be lost
		}
	}
	events := slices.Concat(slices.Collect(maps.Values(j.events))...)
	slices.SortFunc(events, func(a, b event) int { return a.order - b.order })
	subject := cmp.Or(subjectLine(events), j.subject)
	if subject == "" && j.restore && j.remote != j.base {
		subject = "Restore the status that Pave recorded"
	}
	text := message(cmp.Or(subject, "Record the platform's state"), j.revision, j.remarks, j.credits, events)
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	j.news += len(edits)
	p := pushed{said: j.said}
	p.commit, err = r.Source.Publish(ctx, j.base, parents, edits, text, func(commit string) error {
		p.commit = commit
		return r.announced(p)
	})
	if err != nil {
		return err
	}
	return r.landed(p)
}

// forgetRuns removes the files of runs whose results are recorded. What cannot
// be removed is tried again after the next record.
func (r *Reconciler) forgetRuns() error {
	var left []Running
	for _, run := range r.journal.done {
		if err := run.Forget(); err != nil {
			r.Log.Warn("remove a finished run", "run", run.Job().ID, "error", err)
			left = append(left, run)
		}
	}
	r.journal.done = left
	return nil
}
