package reconciler

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// View is what others need to know of the loop, as it is now. Nobody changes what it
// holds.
type View struct {
	Tracked string // the tip of the tracked branch that was read last
	InForce *Checked
	Status  string
	// Record is what was published last.
	Record     *Record
	Unverified []string
	Engine     Engine
	Queue      []QueuedMerge
	Running    int
	// Deployments are the merged pull requests of which something may be said.
	Deployments []Report
}

// View asks the loop how things stand. It waits until the loop looks.
func (r *Reconciler) View(ctx context.Context) (View, error) {
	answer := make(chan View, 1)
	select {
	case r.views <- answer:
	case <-ctx.Done():
		return View{}, context.Cause(ctx)
	}
	return <-answer, nil
}

func (r *Reconciler) view() View {
	v := View{Tracked: r.head, InForce: r.checked, Status: r.journal.base, Record: r.published, Unverified: sortedNames(r.unverified),
		Engine: r.engine, Queue: r.queue, Running: len(r.running)}
	if r.waiting != nil {
		v.Tracked = r.waiting.Revision.Commit
	}
	for _, number := range sortedNumbers(r.deployments) {
		v.Deployments = append(v.Deployments, r.deployments[number].report(r, number))
	}
	return v
}

// deployment is what becomes of a merged pull request.
type deployment struct {
	facts *facts
	units map[string]PlannedUnit
}

// mostDeployments bounds the merged pull requests that are followed.
const mostDeployments = 100

// arrive notes the commits by which a revision comes into force, and those before
// of which it is not known yet which pull requests they merged.
func (r *Reconciler) arrive(ctx context.Context, c *Checked) error {
	if r.gate.forge == nil || r.checked == nil {
		return nil
	}
	commits, _, err := r.Source.Line(ctx, c.Revision.Commit, cmp.Or(r.settled.Arrived, r.checked.Revision.Commit), mostDeployments)
	if err != nil {
		return err
	}
	r.arrivals = map[string]bool{}
	for _, commit := range commits {
		r.arrivals[commit] = true
	}
	return nil
}

// deploying notes what a pass decides about the units of merged pull requests.
func (r *Reconciler) deploying(decisions map[string]decision) error {
	for commit := range r.arrivals {
		number, known := r.gate.pullOf(commit)
		f := r.gate.factsOf(number)
		switch {
		case !known, number != 0 && f == nil:
			continue
		case number != 0 && f.Pull.Merge == commit && r.deployments[number] == nil:
			r.deployments[number] = &deployment{facts: f, units: map[string]PlannedUnit{}}
			r.follow(number, r.deployments[number])
		}
		delete(r.arrivals, commit)
	}
	for name, made := range decisions {
		for _, number := range made.pulls {
			d := r.deployments[number]
			if d == nil {
				r.gate.mu.Lock()
				f := r.gate.facts[number]
				r.gate.mu.Unlock()
				if f == nil {
					continue
				}
				d = &deployment{facts: f, units: map[string]PlannedUnit{}}
				r.deployments[number] = d
			}
			if _, known := d.units[name]; !known {
				d.units[name] = PlannedUnit{Request: name, Action: made.action(), Message: made.message}
				r.follow(number, d)
			}
		}
	}
	for _, number := range sortedNumbers(r.deployments) {
		if len(r.deployments) <= mostDeployments {
			break
		}
		delete(r.deployments, number)
	}
	return r.arrived()
}

// arrived remembers that the pull requests of everything in force are known, so
// that a restart need not ask for them again, nor forgets to.
func (r *Reconciler) arrived() error {
	commit := r.checked.Revision.Commit
	if r.gate.forge == nil || len(r.arrivals) > 0 || r.settled.Arrived == commit {
		return nil
	}
	r.settled.Arrived = commit
	return r.Trust.update(func(t *trusted) { t.Arrived = commit })
}

// follow remembers what is deployed, so that it is told after a restart as well.
func (r *Reconciler) follow(number int, d *deployment) {
	err := r.Shown.update(number, func(s *shownPull) {
		s.Base, s.Merge, s.Merged, s.Deployed = d.facts.Pull.Base, d.facts.Pull.Merge, maps.Clone(d.units), false
	})
	if err != nil {
		r.Log.Warn("remember a deployment", "number", number, "error", err)
	}
}

// resume takes up the deployments of which an earlier process did not say
// everything.
func (r *Reconciler) resume() error {
	if r.gate.forge == nil {
		return nil
	}
	left, err := r.Shown.unfinished()
	if err != nil {
		return err
	}
	for number, s := range left {
		d := &deployment{facts: &facts{Pull: PullRequest{Number: number, Base: s.Base, Merge: s.Merge}}, units: map[string]PlannedUnit{}}
		maps.Copy(d.units, s.Merged)
		r.deployments[number] = d
	}
	return nil
}

// Warn states what the status branch warns of, beside what is recorded.
func (r *Reconciler) Warn(warnings []string) {
	r.warned.Store(&warnings)
	nudge(r.wakes)
}

// deployed notes what a run did for a pull request.
func (r *Reconciler) deployed(job Job, result Result) {
	for _, number := range job.Pulls {
		if d := r.deployments[number]; d != nil {
			unit := PlannedUnit{Request: job.Unit, Action: "apply", Outcome: result.Outcome, Plan: result.Plan,
				Violations: result.Violations, Message: result.Message, Took: result.Finished.Sub(result.Started)}
			if job.Destroy {
				unit.Action = "destroy"
			}
			d.units[job.Unit] = unit
			r.follow(number, d)
		}
	}
}

// report is the record of a deployment.
func (d *deployment) report(r *Reconciler, number int) Report {
	report := Report{Number: number, Base: d.facts.Pull.Base, Head: d.facts.Pull.Merge, State: CheckPassed, Deployed: true}
	done, failed, waiting := 0, 0, 0
	for _, name := range sortedNames(d.units) {
		u := d.units[name]
		status := r.record.Units[name]
		ready, why := Condition{}, ""
		if status != nil {
			ready, _ = status.Conditions.Get(Ready)
			why = ready.Message
		}
		_, running := r.running[name]
		switch {
		case running:
			u.Outcome, u.Reason, u.Message = "", "", "a run is going on"
			waiting++
		case status == nil && u.Action == "destroy", ready.Status && slices.Contains([]Outcome{Applied, Unchanged, Destroyed, AwaitingApproval, Interrupted, ""}, u.Outcome):
			if u.Outcome == AwaitingApproval || u.Outcome == Interrupted { // it was taken back
				u.Plan = PlanSummary{}
			}
			if !slices.Contains([]Outcome{Applied, Destroyed}, u.Outcome) {
				u.Outcome = Unchanged
			}
			u.Reason, u.Message = "", ""
			done++
		case u.Outcome == "" || u.Outcome == AwaitingApproval || u.Outcome == Interrupted:
			u.Reason, u.Message = ready.Reason, why
			waiting++
		default:
			u.Reason = ready.Reason
			failed++
		}
		if a := r.asking[name]; a.plan != "" && u.Outcome == AwaitingApproval {
			u.Plan.Digest = a.plan
			report.Approvals = append(report.Approvals, a.needed...)
		}
		report.Units = append(report.Units, u)
	}
	report.Approvals = merge(report.Approvals)
	switch {
	case failed > 0:
		report.State, report.Headline = CheckFailed, Plural(failed, "unit")+" failed"
	case waiting > 0:
		report.State, report.Headline = CheckPending, Plural(waiting, "unit")+" to go"
	case done == 0:
		report.Headline = "Merged and in force"
	default:
		report.Headline = "Deployed: " + Plural(done, "unit")
	}
	return report
}

// over tells whether nothing more is expected of a deployment.
func (r Report) over() bool { return r.Deployed && r.State == CheckPassed }

func sortedNumbers[V any](m map[int]V) []int {
	var all []int
	for n := range m {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}
