package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// job assembles the run that a decision asks for.
func (r *Reconciler) job(ctx context.Context, name string, made decision) (Job, error) {
	var job Job
	var err error
	if made.verb == destroy {
		job, err = r.destroyJob(ctx, name, made)
	} else {
		job, err = r.applyJob(ctx, r.checked.Units[name], made)
	}
	job.used(made.glass, r.Now())
	return job, err
}

// allow states what the job may apply.
func (j *Job) allow(made decision) {
	j.Gated, j.Approved, j.Pulls, j.Credits = made.gated, made.approved, made.pulls, made.credits
}

// applyJob assembles the run of a unit at the revision in force.
func (r *Reconciler) applyJob(ctx context.Context, u *Unit, made decision) (Job, error) {
	c, name := r.checked, u.Name()
	files, err := moduleFiles(c.Tree, u.Blueprint.Folder, u.Module.Files)
	if err != nil {
		return Job{}, err
	}
	rendering, err := r.Runner.Render(*u)
	if err != nil {
		return Job{}, err
	}
	job := r.newJob(name, Converge)
	job.Basis, job.Rendering, job.Module = made.basis, rendering, files
	job.Environment, job.Folder, job.Owner = u.Environment.Name, u.Blueprint.Folder, u.Service.Owner
	job.allow(made)
	job.Lock, _ = r.lockOf(u)
	if recorded := r.record.Units[name]; recorded != nil && made.takes == nil {
		job.Recorded = recorded.State
	}
	job.Heals = made.heals
	if job.Takes, err = r.takeover(ctx, made.takes); err != nil {
		return Job{}, err
	}
	if job.Policy, err = r.judgement(r.subjectOf(name, made.heals)); err != nil {
		return Job{}, err
	}
	if job.Upstream, err = r.upstreamOf(ctx, rendering); err != nil {
		return Job{}, err
	}
	job.Success = &UnitStatus{
		Version: 1, Request: name, Service: u.Request.Service, Owner: u.Service.Owner, Blueprint: u.Blueprint.Name,
		Environment: u.Environment.Name, Stage: u.Environment.Stage, Module: u.Module.Digest, Protect: u.Request.Protect,
		Expires: r.lastDayAfter(u), Cost: u.Request.Cost.Monthly, References: rendering.References,
		Engine: r.engine.Name + " " + r.engine.Version, Document: u.Request.JSON, Sources: r.checked.Platform.sources(name),
		ServiceDigest: u.Service.digest(), Retain: u.Request.Deletion == Retain,
	}
	return job, nil
}

// takeover completes a takeover with where the state is.
func (r *Reconciler) takeover(ctx context.Context, takes *Takeover) (*Takeover, error) {
	if takes == nil || takes.Unit == "" {
		return takes, nil
	}
	complete := *takes
	var err error
	if complete.Generated, err = r.applied(ctx, takes.Unit, generatedFile); err != nil {
		return nil, fmt.Errorf("find the state of %s: %w", takes.Unit, err)
	}
	return &complete, nil
}

// sources are the files that decide what a request and its service say.
func (p *Platform) sources(request string) []string {
	r := p.Request(request)
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.Sources, p.Service(r.Service).Sources))))
}

// lastDayAfter returns the unit's last day as it will be once this run applied it.
func (r *Reconciler) lastDayAfter(u *Unit) string {
	recorded := r.record.Units[u.Name()]
	if !recorded.Exists() {
		recorded = &UnitStatus{FirstApplied: r.Now().UTC().Format(time.RFC3339)}
	}
	return lastDay(u, recorded)
}

func (r *Reconciler) newJob(name string, mode Walk) Job {
	return Job{
		ID: newID(r.Now()), Unit: name, Mode: mode, Revision: r.checked.Revision.Commit, Engine: r.engine,
		Timeout: time.Duration(r.checked.Platform.Settings.Limits.RunTime),
	}
}

func (r *Reconciler) lockOf(u *Unit) ([]byte, bool) {
	return (&decider{record: r.record, engine: r.engine}).lock(u)
}

// subjectOf is what the rules see of a request of the revision in force.
func (r *Reconciler) subjectOf(name string, heals bool) Subject {
	believed := r.record.without(r.unverified)
	subject := r.checked.requestSubject(name, believed, r.checked.teamCost(r.checked.owner(name), believed))
	subject.Heal = heals
	return subject
}

// verdict identifies what the rules would be given with a plan of a unit, or of
// its end.
func (r *Reconciler) verdict(name string, destroy, heals bool) string {
	subject := r.subjectOf(name, heals)
	if destroy {
		subject = r.deletionSubject(r.record.Units[name])
	}
	policy, err := r.judgement(subject)
	if err != nil { // then the run says so
		return ""
	}
	return verdictKey(policy)
}

func (r *Reconciler) judgement(subject Subject) (json.RawMessage, error) {
	subject.Settings, subject.Now, subject.Reviewed = r.checked.Platform.Settings.JSON, r.checked.Revision.Time, r.Reviewed
	if g, is := r.checked.Judge.(governed); is {
		subject = g.govern(subject)
	}
	return json.Marshal(judgement{Bundle: r.checked.Judge.Bundle(), Subject: subject})
}

// upstreamOf tells a run how to read the outputs that it uses, from where they
// were applied to: the revision may ask for something else by now, or for
// nothing.
func (r *Reconciler) upstreamOf(ctx context.Context, rendering Rendering) (map[string]Upstream, error) {
	ups := map[string]Upstream{}
	for _, ref := range rendering.References {
		if _, done := ups[ref.Request]; done {
			continue
		}
		up := r.record.Units[ref.Request]
		if !up.Exists() {
			return nil, fmt.Errorf("%s was never applied", ref.Request)
		}
		generated, err := r.applied(ctx, ref.Request, generatedFile)
		if err != nil {
			return nil, err
		}
		ups[ref.Request] = Upstream{Generated: generated, Outputs: up.Outputs, State: up.State, Environment: up.Environment}
	}
	return ups, nil
}

// applied reads a file of what a unit was applied from.
func (r *Reconciler) applied(ctx context.Context, name, file string) ([]byte, error) {
	folder := appliedFolder(name)
	path := folder + "/" + file
	for _, e := range r.journal.edits[name] {
		if e.Path == path {
			return e.Content, nil
		}
	}
	tree, err := r.Source.Part(ctx, r.journal.base, folder)
	if err != nil {
		return nil, err
	}
	f, found := tree.Find(path)
	if !found {
		return nil, fmt.Errorf("the status branch lacks %s", path)
	}
	return tree.Read(f)
}

// appliedJob assembles a run of a unit from what it was applied from: its request
// and its blueprint may ask for something else by now, or be gone.
func (r *Reconciler) appliedJob(ctx context.Context, name string, mode Walk) (Job, error) {
	recorded := r.record.Units[name]
	if r.journal.edits[name] != nil { // its last apply is not recorded yet
		if err := r.publish(ctx); err != nil {
			return Job{}, err
		}
	}
	folder := appliedFolder(name)
	tree, err := r.Source.Part(ctx, r.journal.base, folder)
	if err != nil {
		return Job{}, err
	}
	module, _ := r.Inspector.Inspect(tree, Blueprint{Name: recorded.Blueprint, Folder: folder + "/module"})
	job := r.newJob(name, mode)
	job.Environment, job.Recorded, job.Owner = recorded.Environment, recorded.State, recorded.Owner
	if job.Module, err = moduleFiles(tree, folder+"/module", module.Files); err != nil {
		return Job{}, err
	}
	if len(job.Module) == 0 {
		return Job{}, fmt.Errorf("the status branch lacks %s, from which %s was applied", folder, name)
	}
	if job.Rendering.Generated, err = r.applied(ctx, name, generatedFile); err != nil {
		return Job{}, err
	}
	variables, err := r.applied(ctx, name, variablesFile)
	if err != nil {
		return Job{}, err
	}
	if err := json.Unmarshal(variables, &job.Rendering.Variables); err != nil {
		return Job{}, fmt.Errorf("read what %s was applied with: %w", name, err)
	}
	if job.Lock, err = r.applied(ctx, name, lockFile); err != nil {
		return Job{}, err
	}
	job.Rendering.Address, job.Rendering.References = recorded.State.Address, recorded.References
	job.Upstream, err = r.upstreamOf(ctx, job.Rendering)
	return job, err
}

// destroyJob assembles the end of a unit.
func (r *Reconciler) destroyJob(ctx context.Context, name string, made decision) (Job, error) {
	recorded := r.record.Units[name]
	job, err := r.appliedJob(ctx, name, Converge)
	if err != nil {
		return Job{}, err
	}
	job.Destroy, job.Retain = true, made.retain
	job.allow(made)
	if _, asked := r.checked.Platform.Requests[name]; asked {
		job.Success = &UnitStatus{Service: recorded.Service, Owner: recorded.Owner}
		if made.reason == ReasonExpired {
			job.Success.FirstApplied = recorded.FirstApplied
		}
	}
	job.Policy, err = r.judgement(r.deletionSubject(recorded))
	return job, err
}

// deletionSubject is what the rules see of a request that is to be destroyed.
func (r *Reconciler) deletionSubject(recorded *UnitStatus) Subject {
	p := r.checked.Platform
	document := recorded.lastDocument()
	subject := Subject{
		Kind: "request", Name: recorded.Request, Document: document,
		Change:  Change{Action: "delete", Before: document},
		Service: p.Service(recorded.Service).JSON, Team: p.Teams[recorded.Owner].JSON,
		Environment: p.Environments[recorded.Environment].JSON, Blueprint: p.Blueprints[recorded.Blueprint].JSON,
		Cost: &Cost{Before: recorded.Cost, Team: r.checked.teamCost(recorded.Owner, r.record)},
	}
	// What the platform has forgotten is described by what was recorded.
	if subject.Environment == nil {
		subject.Environment, _ = json.Marshal(map[string]string{"name": recorded.Environment, "stage": recorded.Stage})
	}
	if subject.Blueprint == nil {
		subject.Blueprint, _ = json.Marshal(map[string]string{"name": recorded.Blueprint})
	}
	if subject.Service == nil {
		subject.Service, _ = json.Marshal(map[string]string{"name": recorded.Service, "owner": recorded.Owner})
	}
	return subject
}

// lastDocument returns the request as it was applied last, with the protection
// that holds: a request whose protection was lifted may not have been applied since.
func (s *UnitStatus) lastDocument() json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(s.Document, &fields) != nil || fields == nil {
		return nil // which no rule accepts
	}
	fields["protect"] = json.RawMessage(strconv.FormatBool(s.Protect))
	document, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return document
}

// moduleFiles reads the files that the engine is given.
func moduleFiles(tree *Tree, folder string, files []File) (map[string][]byte, error) {
	contents := make(map[string][]byte, len(files))
	for _, f := range files {
		entry, found := tree.Find(folder + "/" + f.Path)
		if !found {
			return nil, fmt.Errorf("read %s/%s: not in the tree", folder, f.Path)
		}
		content, err := tree.Read(entry)
		if err != nil {
			return nil, fmt.Errorf("read %s/%s: %w", folder, f.Path, err)
		}
		contents[f.Path] = content
	}
	return contents, nil
}

// Summary is the state of the platform after a pass, in the order of names.
type Summary struct {
	Revision string   `json:"revision,omitempty"`
	Refused  *Refusal `json:"refused,omitempty"`
	// Violations are those of the revision in force, where it was read.
	Violations []Violation   `json:"violations,omitempty"`
	Units      []UnitSummary `json:"units"`
}

// UnitSummary is one unit in a few words.
type UnitSummary struct {
	Request     string  `json:"request"`
	Owner       string  `json:"owner,omitempty"`
	Environment string  `json:"environment,omitempty"`
	Blueprint   string  `json:"blueprint,omitempty"`
	Ready       bool    `json:"ready"`
	Drifted     bool    `json:"drifted,omitempty"`
	Expires     string  `json:"expires,omitempty"`  // its last day
	Expiring    bool    `json:"expiring,omitempty"` // whether that is soon
	Reason      string  `json:"reason,omitempty"`
	Message     string  `json:"message,omitempty"`
	Applied     string  `json:"appliedRevision,omitempty"`
	LastApplied string  `json:"lastApplied,omitempty"`
	Cost        float64 `json:"cost"`
}

// Summary sums a record up.
func (r *Record) Summary() *Summary {
	s := &Summary{Revision: r.Platform.Revision, Refused: r.Platform.Refused, Units: []UnitSummary{}}
	if r.Platform.Doubted {
		s.Revision = ""
	}
	for _, name := range sortedNames(r.Units) {
		u := r.Units[name]
		c, _ := u.Conditions.Get(Ready)
		s.Units = append(s.Units, UnitSummary{
			Request: name, Owner: u.Owner, Environment: u.Environment, Blueprint: u.Blueprint, Ready: c.Status,
			Drifted: u.Is(Drifted), Expires: u.Expires, Expiring: u.Is(Expiring), Reason: c.Reason, Message: c.Message, Applied: u.AppliedRevision, LastApplied: u.LastApplied, Cost: u.Cost,
		})
	}
	return s
}

func (r *Reconciler) summary() *Summary {
	s := r.record.Summary()
	if r.checked != nil {
		s.Revision, s.Violations = r.checked.Revision.Commit, r.checked.Violations
	}
	s.Refused = r.refusal
	return s
}

// report tells the observer how things stand.
func (r *Reconciler) report() {
	if r.Progress == nil {
		return
	}
	r.progress.Running, r.progress.Refused = len(r.running), r.refusal
	r.Progress(r.progress)
}

// count counts the units of the revision in force, for the observer.
func (r *Reconciler) count() {
	p := &r.progress
	p.Revision, p.Units = r.checked.Revision, len(r.checked.Platform.Requests)
	p.Ready, p.Waiting, p.Held, p.Drifted = 0, 0, 0, 0
	for name, u := range r.record.Units {
		if _, asked := r.checked.Platform.Requests[name]; !asked {
			p.Units++ // held, or about to be destroyed
		}
		var c Condition // Ready; they are many, and looked through once
		for _, said := range u.Conditions {
			switch {
			case said.Type == Ready:
				c = said
			case said.Type == Drifted && said.Status:
				p.Drifted++
			}
		}
		switch {
		case c.Status:
			p.Ready++
		case c.Reason == ReasonUpstream || c.Reason == ReasonRollout || c.Reason == ReasonFreeze || c.Reason == ReasonWaiting:
			p.Waiting++
		default:
			p.Held++
		}
	}
}
