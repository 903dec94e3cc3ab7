package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
)

func (a *app) applyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make one pass over the tracked branch, then exit",
		Long: `Make one pass over the tracked branch: validate it, run what differs from what was
applied last, commit what happened to the status branch, and exit.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.apply(cmd.Context()) },
	}
	a.engineFlags(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) apply(ctx context.Context) error {
	r, release, err := a.reconciler(ctx, nil, runsFolder)
	if err != nil {
		return err
	}
	defer release()
	a.ignored()
	progress := a.progress("converging")
	r.Progress = progress.update
	summary, err := r.Converge(ctx)
	progress.end()
	if err != nil {
		return err
	}
	if a.output == "json" {
		if err := printJSON(a.stdout, summary); err != nil {
			return err
		}
	} else {
		printSummary(a, summary)
	}
	return outcome(summary)
}

// outcome turns a pass into the exit code: the worst unit decides.
func outcome(s *reconciler.Summary) error {
	code := 0
	worse := func(c int) {
		rank := map[int]int{0: 0, exitPending: 1, exitDenied: 2, exitFailure: 3}
		if rank[c] > rank[code] {
			code = c
		}
	}
	if s.Refused != nil {
		worse(exitFailure)
	}
	for _, u := range s.Units {
		if u.Ready {
			continue
		}
		switch u.Reason {
		case reconciler.ReasonDenied:
			worse(exitDenied)
		case reconciler.ReasonUpstream, reconciler.ReasonRollout, reconciler.ReasonWaiting, reconciler.ReasonApproval,
			reconciler.ReasonSuspended, reconciler.ReasonDeletionGuard, reconciler.ReasonReferenced, reconciler.ReasonProtected, reconciler.ReasonExpired:
			worse(exitPending)
		default:
			worse(exitFailure)
		}
	}
	if code == 0 {
		return nil
	}
	return codeError{code: code}
}

// printSummary lists what is not ready, and counts the rest.
func printSummary(a *app, s *reconciler.Summary) {
	if s.Refused != nil {
		fmt.Fprintf(a.stdout, "the revision %.8s is refused; the last good one stays in force\n", s.Refused.Revision)
		printViolations(a.stdout, s.Refused.Violations)
	}
	printViolations(a.stdout, s.Violations)
	ready := 0
	for _, u := range s.Units {
		if u.Ready {
			ready++
			continue
		}
		fmt.Fprintf(a.stdout, "%s: %s: %s\n", u.Request, u.Reason, printable(u.Message))
	}
	fmt.Fprintf(a.stdout, "%d of %d requests are ready\n", ready, len(s.Units))
}
