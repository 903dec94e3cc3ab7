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
// anything. commit names the revision; "" is the tracked branch. base, where
// given, is a revision to compare with in place of what was applied: only units
// that differ between the two are planned. wanted limits the answer to these
// units. The units come in the order of names, without those that nothing
// happens to. The revision itself may be refused: Checked tells.
//
// The runner's folder is for previews alone: what is left in it is removed.
func (r *Reconciler) PreviewRevision(ctx context.Context, commit, base string, wanted []string) (*Checked, []PlannedUnit, error) {
	left, err := r.Runner.Unfinished() // by a preview that was interrupted
	if err != nil {
		return nil, nil, fmt.Errorf("find earlier previews: %w", err)
	}
	for _, run := range left {
		if err := run.Forget(); err != nil {
			r.Log.Warn("remove an earlier preview", "unit", run.Job().Unit, "error", err)
		}
	}
	heads, err := r.heads(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := r.believe(ctx, heads.Status); err != nil {
		return nil, nil, err
	}
	if commit == "" {
		commit = heads.Tracked
	}
	if r.checked, err = r.read(ctx, commit); err != nil {
		return nil, nil, err
	}
	checked := r.checked
	if checked.Refused() {
		return checked, nil, nil
	}
	for _, name := range wanted {
		if _, found := checked.Platform.Requests[name]; !found && r.record.Units[name] == nil && checked.holds["request/"+name].reason == "" {
			return nil, nil, fmt.Errorf("there is no request %q; nearest: %s", name, strings.Join(Nearest(name, sortedNames(checked.Platform.Requests), 3), ", "))
		}
	}
	if r.engine, err = r.Runner.Engine(ctx, r.engineName(checked)); err != nil {
		return nil, nil, err
	}
	differs := func(string) bool { return true }
	if base != "" {
		if differs, err = r.differences(ctx, base); err != nil {
			return nil, nil, err
		}
	}
	r.attempts = map[string]attempt{}
	planned, err := r.planAll(ctx, func(name string) bool {
		return (len(wanted) == 0 || slices.Contains(wanted, name)) && differs(name)
	})
	return checked, planned, err
}

// differences returns whether a unit differs between the base and the revision
// in force.
func (r *Reconciler) differences(ctx context.Context, base string) (func(string) bool, error) {
	before, err := r.read(ctx, base)
	if err != nil {
		return nil, err
	}
	if before.Refused() {
		return nil, fmt.Errorf("the base %s is refused itself: %s", before.Revision.Short(), before.Violations[0])
	}
	bases := func(c *Checked) map[string]string {
		all := map[string]string{}
		for name, u := range c.Units {
			if rendering, err := r.Runner.Render(u); err == nil {
				all[name] = basis(u.Module.Digest, rendering, r.engine, func(string) string { return "" })
			}
		}
		for key, h := range c.holds {
			all[key] = h.message
		}
		return all
	}
	was, is := bases(before), bases(r.checked)
	return func(name string) bool {
		return was[name] != is[name] || was["request/"+name] != is["request/"+name]
	}, nil
}

// planAll plans the chosen units and waits for the plans.
func (r *Reconciler) planAll(ctx context.Context, chosen func(string) bool) ([]PlannedUnit, error) {
	decisions := r.decide()
	planned := map[string]PlannedUnit{}
	limit := r.checked.Platform.Settings.Limits.Parallel
	take := func(f finished) error {
		job := f.run.Job()
		delete(r.running, job.Unit)
		if f.err != nil {
			return f.err
		}
		p := planned[job.Unit]
		p.Outcome, p.Plan, p.Violations = f.result.Outcome, f.result.Plan, f.result.Violations
		if f.result.Message != "" {
			p.Message = f.result.Message
		}
		planned[job.Unit] = p
		return f.run.Forget()
	}
	wait := func() error {
		r.report()
		select {
		case f := <-r.results:
			return take(f)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, name := range sortedNames(decisions) {
		made := decisions[name]
		if !chosen(name) || made.verb == keep || made.verb == forget {
			continue
		}
		p := PlannedUnit{Request: name, Action: made.action(), Reason: made.reason, Message: made.message}
		planned[name] = p
		if made.verb != start && made.verb != destroy {
			continue
		}
		for len(r.running) >= limit {
			if err := wait(); err != nil {
				return nil, err
			}
		}
		job, err := r.job(ctx, name, made)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", name, err)
		}
		job.Mode = Preview
		if err := r.begins(ctx, job); err != nil {
			return nil, fmt.Errorf("plan %s: %w", name, err)
		}
	}
	for len(r.running) > 0 {
		if err := wait(); err != nil {
			return nil, err
		}
	}
	all := make([]PlannedUnit, 0, len(planned))
	for _, name := range sortedNames(planned) {
		all = append(all, planned[name])
	}
	return all, nil
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
