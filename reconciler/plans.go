package reconciler

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

// newID returns a name for a run that no other has, and that sorts by time.
func newID(now time.Time) string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	return now.UTC().Format("20060102T150405.000000") + "-" + hex.EncodeToString(id[:])
}

// plan makes the plans of jobs, at most so many at a time and as the memory
// allows, and takes each result as it comes. Nothing of the plans is left, whatever happens: a context that
// ends stops what is going on and waits for it.
func plan(ctx context.Context, runner Runner, memory *memory, jobs []Job, parallel int, take func(Job, Result)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	var taking sync.Mutex
	slots := make(chan struct{}, max(parallel, 1))
	for _, job := range jobs {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		job.ID, job.Mode = newID(time.Now()), Preview
		wait.Go(func() {
			defer func() { <-slots }()
			result, err := planOne(ctx, runner, memory, job)
			if err != nil {
				cancel(fmt.Errorf("plan %s: %w", job.Unit, err))
				return
			}
			taking.Lock()
			defer taking.Unlock()
			take(job, result)
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

func planOne(ctx context.Context, runner Runner, memory *memory, job Job) (Result, error) {
	if err := memory.await(ctx, job.ID, runner.Memory(job.Unit)); err != nil {
		return Result{}, err
	}
	defer memory.release(job.ID)
	run, err := runner.Start(ctx, job)
	if err != nil {
		return Result{}, err
	}
	result, err := run.Wait(ctx)
	if err != nil {
		if err := run.Stop(); err != nil {
			return Result{}, err
		}
		if _, err := run.Wait(context.WithoutCancel(ctx)); err != nil {
			return Result{}, err
		}
	}
	if forgetting := run.Forget(); err == nil {
		err = forgetting
	}
	return result, err
}

// forgetPlans removes what plans of an earlier process left in the folder of the
// runner, which must be for plans alone.
func forgetPlans(ctx context.Context, runner Runner) error {
	left, err := runner.Unfinished()
	if err != nil {
		return fmt.Errorf("find earlier previews: %w", err)
	}
	for _, run := range left {
		if err := run.Stop(); err != nil {
			return err
		}
		if _, err := run.Wait(ctx); err != nil {
			return err
		}
		if err := run.Forget(); err != nil {
			return fmt.Errorf("remove an earlier preview: %w", err)
		}
	}
	return nil
}
