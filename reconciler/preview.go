package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PlannedUnit is what a revision would do to one unit.
type PlannedUnit struct {
	Request string `json:"request"`
	// Action is apply, destroy, wait, hold or none.
	Action     string      `json:"action"`
	Reason     string      `json:"reason,omitempty"`
	Message    string      `json:"message,omitempty"`
	Outcome    Outcome     `json:"outcome,omitempty"` // of the plan, where one was made
	Plan       PlanSummary `json:"plan"`
	Violations []Violation `json:"violations,omitempty"`
	// Took is how long the apply took, once it is over.
	Took time.Duration `json:"took,omitempty"`
}

// PreviewRevision plans what a revision would change, without applying or recording
// anything. commit names the revision; "" is the tracked branch. wanted limits the
// answer to these units. The units come in the order of names, without those that
// nothing happens to. The revision itself may be refused: Checked tells.
//
// The runner's folder is for previews alone: what is left in it is removed.
func (r *Reconciler) PreviewRevision(ctx context.Context, commit string, wanted []string) (*Checked, []PlannedUnit, error) {
	heads, err := r.prepare(ctx)
	if err != nil {
		return nil, nil, err
	}
	if commit == "" {
		commit = heads.Tracked
	}
	if r.checked, err = r.read(ctx, commit, nil); err != nil {
		return nil, nil, err
	}
	checked := r.checked
	if checked.Refused() {
		return checked, nil, nil
	}
	for _, name := range wanted {
		if _, found := checked.Platform.Requests[name]; !found && r.record.Units[name] == nil && checked.holds["request/"+name].reason == "" {
			return nil, nil, Missing("there is no request", name, sortedNames(checked.Platform.Requests))
		}
	}
	if r.engine, err = r.Runner.Engine(ctx, r.engineName(checked)); err != nil {
		return nil, nil, err
	}
	units, jobs, err := r.plannable(ctx, func(name string) bool { return len(wanted) == 0 || slices.Contains(wanted, name) })
	if err != nil {
		return nil, nil, err
	}
	return checked, units, r.planAll(ctx, units, jobs)
}

// PreviewChange compares a revision with another one, and plans what differs
// between the two. "" stands for the tracked branch. The base judges.
func (r *Reconciler) PreviewChange(ctx context.Context, base, head string) (*Report, error) {
	heads, err := r.prepare(ctx)
	if err != nil {
		return nil, err
	}
	change := ProposedChange{Head: head, InForce: base, Status: r.record.Tip, Unverified: sortedNames(r.unverified)}
	if change.Head == "" {
		change.Head = heads.Tracked
	}
	revision, err := r.Source.Revision(ctx, change.Head)
	if err != nil {
		return nil, err
	}
	tree, err := r.Source.Tree(ctx, change.Head)
	if err != nil {
		return nil, err
	}
	if err := r.recall(ctx, change); err != nil {
		return nil, err
	}
	before, err := r.read(ctx, base, nil)
	if err != nil {
		return nil, err
	}
	if before.Refused() {
		return nil, fmt.Errorf("the base %s is refused itself: %s", before.Revision.Short(), before.Violations[0])
	}
	if change.Engine, err = r.Runner.Engine(ctx, r.engineName(before)); err != nil {
		return nil, err
	}
	proposal, err := r.propose(ctx, change, before, tree, revision, r.Evaluator)
	if err != nil {
		return nil, err
	}
	report := &proposal.Report
	if err := r.planAll(ctx, report.Units, proposal.Jobs); err != nil {
		return nil, err
	}
	for i := range report.Approvals { // who makes the change is not known yet
		if n := &report.Approvals[i]; n.Insider {
			n.Given, n.Reason = true, n.Reason+", unless its own people make the change"
		}
	}
	report.conclude(false)
	return report, nil
}

// prepare reads the record, for a preview.
func (r *Reconciler) prepare(ctx context.Context) (Heads, error) {
	if err := forgetPlans(ctx, r.Runner); err != nil {
		return Heads{}, err
	}
	heads, err := r.heads(ctx)
	if err != nil {
		return Heads{}, err
	}
	return heads, r.believe(ctx, heads.Status)
}

// plannable returns what the revision in force would do to the chosen units, and
// the jobs that plan it.
func (r *Reconciler) plannable(ctx context.Context, chosen func(string) bool) ([]PlannedUnit, []Job, error) {
	decisions := r.decide()
	var units []PlannedUnit
	var jobs []Job
	for _, name := range sortedNames(decisions) {
		made := decisions[name]
		if !chosen(name) || made.verb == keep || made.verb == forget {
			continue
		}
		unit := PlannedUnit{Request: name, Action: made.action(), Reason: made.reason, Message: made.message}
		if made.verb == start || made.verb == destroy {
			job, err := r.job(ctx, name, made)
			if err != nil {
				return nil, nil, fmt.Errorf("plan %s: %w", name, err)
			}
			jobs = append(jobs, job)
		}
		units = append(units, unit)
	}
	return units, jobs, nil
}

// planAll makes the plans and takes what they say into the units, which are in
// the order of names.
func (r *Reconciler) planAll(ctx context.Context, units []PlannedUnit, jobs []Job) error {
	r.progress.Running = len(jobs)
	var settings Settings
	if r.checked != nil && !r.checked.Refused() {
		settings = r.checked.Platform.Settings
	}
	r.memory.bound(r.Machine.memory(settings))
	return plan(ctx, r.Runner, r.memory, jobs, r.Machine.parallel(settings), func(job Job, result Result) {
		takePlan(units, job, result)
		r.progress.Running--
		if r.Progress != nil {
			r.Progress(r.progress)
		}
	})
}

// takePlan takes the result of a plan into the unit that it is of.
func takePlan(units []PlannedUnit, job Job, result Result) {
	i, found := slices.BinarySearchFunc(units, job.Unit, func(u PlannedUnit, name string) int { return strings.Compare(u.Request, name) })
	if !found {
		return
	}
	u := &units[i]
	u.Outcome, u.Plan, u.Violations = result.Outcome, result.Plan, result.Violations
	if result.Message != "" {
		u.Message = result.Message
	}
}

func (d decision) action() string {
	switch d.verb {
	case start:
		return "apply"
	case destroy:
		return "destroy"
	case wait, busy:
		return "wait"
	case halt:
		return "hold"
	}
	return "none"
}
