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
		RunE: func(cmd *cobra.Command, _ []string) error { return a.apply(cmd.Context(), nil) },
	}
	a.engineFlags(cmd)
	a.forgeFlags(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// apply makes one pass, with what the operator says of it.
func (a *app) apply(ctx context.Context, say func(*reconciler.Reconciler)) error {
	r, _, release, err := a.reconciler(ctx, nil, runsFolder)
	if err != nil {
		return err
	}
	defer release()
	if say != nil {
		say(r)
	}
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

// outcome turns a pass into the exit code: the worst unit or violation decides.
func outcome(s *reconciler.Summary) error {
	var worst verdicts
	worst.violations(s.Violations)
	if s.Refused != nil {
		worst.violations(s.Refused.Violations)
		if !s.Refused.Waiting {
			worst.note(exitFailure)
		}
	}
	for _, u := range s.Units {
		if u.Ready {
			continue
		}
		switch u.Reason {
		case reconciler.ReasonDenied:
			worst.note(exitDenied)
		case reconciler.ReasonUpstream, reconciler.ReasonRollout, reconciler.ReasonWaiting, reconciler.ReasonApproval,
			reconciler.ReasonFreeze, reconciler.ReasonSuspended, reconciler.ReasonDeletionGuard, reconciler.ReasonReferenced, reconciler.ReasonProtected, reconciler.ReasonExpired:
			worst.note(exitPending)
		default:
			worst.note(exitFailure)
		}
	}
	return worst.err()
}

// printSummary lists what is not ready or has drifted, and counts the rest.
func printSummary(a *app, s *reconciler.Summary) {
	if s.Refused != nil {
		is, then := "is refused", "the last good one stays in force"
		if s.Refused.Waiting {
			is = "is held"
		}
		if s.Revision == "" {
			then = "there is none before it, so nothing is done"
		}
		fmt.Fprintf(a.stdout, "the revision %.8s %s; %s\n", s.Refused.Revision, is, then)
		printViolations(a.stdout, s.Refused.Violations)
	}
	printViolations(a.stdout, s.Violations)
	ready := 0
	for _, u := range s.Units {
		if !u.Ready {
			fmt.Fprintf(a.stdout, "%s: %s: %s\n", u.Request, u.Reason, printable(u.Message))
			continue
		}
		ready++
		if u.Drifted {
			fmt.Fprintf(a.stdout, "%s: %s: what runs differs from what was applied, see `pave status %s`\n", u.Request, reconciler.ReasonDrift, u.Request)
		}
		if u.Expiring {
			fmt.Fprintf(a.stdout, "%s: %s: is needed until the end of %s\n", u.Request, reconciler.ReasonExpires, u.Expires)
		}
	}
	fmt.Fprintf(a.stdout, "%d of %d requests are ready\n", ready, len(s.Units))
}
