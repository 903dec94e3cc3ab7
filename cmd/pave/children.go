package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// The verbs by which Pave starts itself. They are not for people.
const (
	evalVerb = "__eval" // evaluates CUE, limited in memory and time
	runVerb  = "__run"  // carries out one run
	// fetchVerb fetches a pull request, and proposeVerb reads it; both are limited
	// in memory and time, and only the first has credentials.
	fetchVerb   = "__fetch"
	proposeVerb = "__propose"
)

var children = map[string]func(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error{
	evalVerb: func(_ context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return catalog.Serve(stdin, stdout)
	},
	fetchVerb: func(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return fetchChange(ctx, stdin, stdout)
	},
	proposeVerb: func(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return propose(ctx, stdin, stdout)
	},
	runVerb: func(_ context.Context, args []string, _ io.Reader, _ io.Writer) error {
		if len(args) != 1 {
			return errors.New("expected the folder of a run")
		}
		collectLate()
		// A run listens to signals by itself: it must not stop half-way.
		return terraform.Execute(context.Background(), args[0], judgePlan)
	},
}

// collectLate has this process collect garbage for the first time when it holds four
// times what it would else: what carries out the run of a small unit ends before that.
// From then on it is as usual, for a large plan must not take many times its size.
func collectLate() {
	usual := debug.SetGCPercent(400)
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}

// judgePlan applies the rules that a job carries to its plan.
func judgePlan(ctx context.Context, job reconciler.Job, plan json.RawMessage) ([]reconciler.Violation, error) {
	bundle, subject, err := reconciler.PlanSubject(job, plan)
	if err != nil {
		return nil, err
	}
	engine, err := policy.Load(ctx, bundle)
	if err != nil {
		return nil, err
	}
	return engine.Judge(ctx, subject)
}
