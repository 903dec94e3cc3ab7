package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// words refuses a pass in which the operator asked for something of a unit that
// cannot be done.
func (r *Reconciler) words() error {
	for _, name := range sortedNames(r.Imports) {
		switch _, found := r.named(name); {
		case !found:
			return r.noRequest(name)
		case r.record.Units[name].Exists():
			return fmt.Errorf("%s has a state already, at %s: `pave state restore` puts a backup of it back", name, r.record.Units[name].State.Address)
		}
	}
	for _, name := range sortedNames(r.Moves) {
		u, found := r.named(name)
		recorded := r.record.Units[name]
		switch {
		case !found:
			return r.noRequest(name)
		case !recorded.Exists():
			return fmt.Errorf("%s was never applied, so it has no state to move", name)
		case r.unverified[name]:
			return fmt.Errorf("the record of %s is not believed: run `pave status adopt` first", name)
		}
		rendering, err := r.Runner.Render(*u)
		if err != nil {
			return err
		}
		if rendering.Address == recorded.State.Address {
			return fmt.Errorf("the state of %s is where it is looked for, at %s: there is nothing to move", name, rendering.Address)
		}
	}
	return nil
}

func (r *Reconciler) named(name string) (*Unit, bool) {
	if r.checked == nil {
		return nil, false
	}
	u, found := r.checked.Units[name]
	return u, found
}

func (r *Reconciler) noRequest(name string) error {
	if r.checked == nil {
		return fmt.Errorf("no revision is in force: `pave validate` says why")
	}
	if h, held := r.checked.holds["request/"+name]; held {
		return fmt.Errorf("the request %s holds: %s", name, h.message)
	}
	return Missing("there is no request", name, sortedNames(r.checked.Platform.Requests))
}

// StateJob returns what is needed to find the state of a unit that was applied,
// by the record as far as this host believes it.
func (r *Reconciler) StateJob(ctx context.Context, name string) (Job, error) {
	heads, err := r.heads(ctx)
	if err != nil {
		return Job{}, err
	}
	if err := r.believe(ctx, heads.Status); err != nil {
		return Job{}, err
	}
	recorded := r.record.Units[name]
	switch {
	case !recorded.Exists():
		return Job{}, Missing("nothing is recorded of a state of", name, sortedNames(r.record.Units))
	case r.unverified[name]:
		return Job{}, fmt.Errorf("the record of %s is not believed: run `pave status adopt` first", name)
	}
	engine, _, _ := strings.Cut(recorded.Engine, " ")
	job := Job{ID: newID(r.Now()), Unit: name, Mode: Observe, Environment: recorded.Environment, Recorded: recorded.State}
	if job.Engine, err = r.Runner.Engine(ctx, cmp.Or(r.Engine, engine, "terraform")); err != nil {
		return Job{}, err
	}
	job.Rendering.Generated, err = r.applied(ctx, name, generatedFile)
	job.Rendering.Address = recorded.State.Address
	return job, err
}
