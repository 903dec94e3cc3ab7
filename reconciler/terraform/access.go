package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pave-dev/pave/reconciler"
)

// PullState returns a unit's state as its backend has it: secrets and all. The
// job says whose it is, where (Rendering.Generated) and with whose credentials;
// it is no run. A state that does not exist is an error.
func (r *Runner) PullState(ctx context.Context, job reconciler.Job) ([]byte, error) {
	var state stateFile
	err := r.withState(ctx, job, func(e *execution) (err error) {
		state, err = e.readState(ctx)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read state of %s: %w", job.Unit, err)
	case state.Lineage == "":
		return nil, fmt.Errorf("read state of %s: there is none at %s", job.Unit, job.Recorded.Address)
	}
	return state.raw, nil
}

// RestoreState puts a backup in the place of a unit's state and returns which
// one it is then. It refuses one that is not the unit's recorded one, and to
// write over another one that is there. The caller sees to it that no run of
// the unit is at work.
func (r *Runner) RestoreState(ctx context.Context, job reconciler.Job, backup []byte) (reconciler.State, error) {
	job.Mode = reconciler.Converge // it writes, with credentials that may
	var restored stateFile
	err := r.withState(ctx, job, func(e *execution) error {
		state, err := parseState(backup)
		if err != nil {
			return err
		}
		present, err := e.readState(ctx)
		if err != nil {
			return err
		}
		switch owner := state.owner(); {
		case state.Lineage == "" || state.Lineage != job.Recorded.Lineage:
			return fmt.Errorf("expected a state of lineage %s, got %s: it is of something else", orNone(job.Recorded.Lineage), orNone(state.Lineage))
		case owner != "" && owner != job.Unit:
			return fmt.Errorf("the state records %s as its owner", owner)
		case present.Lineage != "" && present.Lineage != state.Lineage:
			return fmt.Errorf("there is another state at %s, of lineage %s: remove it by the backend's own means first", job.Recorded.Address, present.Lineage)
		}
		// It follows whatever is there or was recorded, or backends refuse it.
		state.Serial = max(state.Serial, present.Serial, job.Recorded.Serial)
		data, err := state.handedTo(job.Unit)
		if err != nil {
			return err
		}
		restored, err = e.writeState(ctx, data, present)
		return err
	})
	if err != nil {
		return reconciler.State{}, fmt.Errorf("restore state of %s: %w", job.Unit, err)
	}
	return restored.identity(job.Recorded.Address), nil
}

// withState does something with a unit's state, in a folder that is initialised
// for its backend and goes away afterwards.
func (r *Runner) withState(ctx context.Context, job reconciler.Job, do func(*execution) error) (err error) {
	if err := checkJob(job); err != nil {
		return err
	}
	unit := filepath.Join(r.host.Runs, job.Unit)
	if err := r.host.makeDir(unit); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(unit, ".state-*")
	if err != nil {
		return err
	}
	e := &execution{host: r.host, job: job, dir: dir}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	defer scrub(dir)
	if err := e.makePrivate(); err != nil {
		return err
	}
	if e.env, err = e.environ(ctx, job.Environment); err != nil {
		return err
	}
	c := code{generated: job.Rendering.Generated}
	if e.backend, err = c.backend(); err != nil {
		return err
	}
	if e.backend == "local" {
		if err := os.MkdirAll(filepath.Dir(localState(e.host, job.Unit)), 0o700); err != nil {
			return err
		}
		return do(e)
	}
	at, err := e.backendRoom(ctx, c, e.env, e.work())
	if err != nil {
		return err
	}
	e.reads = at.reads
	return do(e)
}
