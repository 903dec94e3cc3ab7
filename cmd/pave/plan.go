package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
)

func (a *app) planCommand() *cobra.Command {
	var base, head string
	cmd := &cobra.Command{
		Use:   "plan [REQUEST...]",
		Short: "Show what would change",
		Long: `Show what the tracked branch would change, without changing or recording
anything. With --base, show what differs between that revision and the branch.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.plan(cmd.Context(), head, base, args) },
	}
	cmd.Flags().StringVar(&base, "base", "", "compare with this commit in place of what was applied")
	cmd.Flags().StringVar(&head, "revision", "", "plan this commit in place of the branch's tip")
	a.engineFlags(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) plan(ctx context.Context, head, base string, wanted []string) error {
	r, _, release, err := a.reconciler(ctx, nil, previewsFolder)
	if err != nil {
		return err
	}
	defer release()
	a.ignored()
	if head, err = a.commit(ctx, head); err != nil {
		return err
	}
	if base, err = a.commit(ctx, base); err != nil {
		return err
	}
	progress := a.progress("planning")
	r.Progress = progress.update
	if base != "" {
		return a.planChange(ctx, r, progress, base, head)
	}
	checked, planned, err := r.PreviewRevision(ctx, head, wanted)
	progress.end()
	if err != nil {
		return err
	}
	if checked.Refused() {
		if a.output == "json" {
			if err := printJSON(a.stdout, map[string]any{"refused": true, "violations": checked.Violations}); err != nil {
				return err
			}
		} else {
			printViolations(a.stdout, checked.Violations)
		}
		return verdict(checked.Violations)
	}
	if a.output == "json" {
		if err := printJSON(a.stdout, map[string]any{"revision": checked.Revision.Commit, "units": planned}); err != nil {
			return err
		}
	} else {
		a.printPlan(planned)
	}
	return plannedOutcome(planned)
}

// planChange shows what differs between two revisions, as a pull request shows it.
func (a *app) planChange(ctx context.Context, r *reconciler.Reconciler, progress *progress, base, head string) error {
	report, err := r.PreviewChange(ctx, base, head)
	progress.end()
	if err != nil {
		return err
	}
	if a.output == "json" {
		if err := printJSON(a.stdout, report); err != nil {
			return err
		}
	} else {
		a.printReport(report)
	}
	var worst verdicts
	worst.violations(report.Violations)
	if err := worst.err(); err != nil {
		return err
	}
	return plannedOutcome(report.Units)
}

func (a *app) printPlan(planned []reconciler.PlannedUnit) {
	changing := 0
	for _, p := range planned {
		switch {
		case p.Action == "wait":
			fmt.Fprintf(a.stdout, "%s: %s\n", p.Request, printable(p.Message))
			continue
		case p.Action == "hold":
			fmt.Fprintf(a.stdout, "%s: held: %s: %s\n", p.Request, p.Reason, printable(p.Message))
			continue
		case p.Outcome == reconciler.Unchanged:
			fmt.Fprintf(a.stdout, "%s: no change\n", p.Request)
			continue
		case p.Outcome != reconciler.Changed && p.Outcome != reconciler.Destroyed:
			fmt.Fprintf(a.stdout, "%s: %s: %s\n", p.Request, p.Outcome, printable(p.Message))
		default:
			changing++
			fmt.Fprintf(a.stdout, "%s: %s %s\n", p.Request, p.Action, p.Plan)
		}
		for _, c := range p.Plan.Changes {
			line := fmt.Sprintf("    %-8s %s", c.Action, c.Address)
			if c.Action == "update" || c.Action == "replace" {
				line += fmt.Sprintf(" %v", c.Attributes)
			}
			fmt.Fprintln(a.stdout, printable(line))
		}
		printViolations(a.stdout, p.Violations)
	}
	if changing == 0 {
		fmt.Fprintln(a.stdout, "nothing to apply")
	}
}

// plannedOutcome turns a preview into the exit code.
func plannedOutcome(planned []reconciler.PlannedUnit) error {
	code := 0
	for _, p := range planned {
		switch {
		case p.Outcome == reconciler.PlanFailed || p.Outcome == reconciler.Unknown || p.Outcome == reconciler.StateLost || p.Outcome == reconciler.NotOwned,
			p.Action == "hold" && p.Reason == reconciler.ReasonInvalid:
			return codeError{code: exitFailure}
		case p.Outcome == reconciler.DeniedByPolicy || p.Reason == reconciler.ReasonDenied:
			code = exitDenied
		case code == 0 && p.Outcome != reconciler.Unchanged:
			code = exitPending
		}
	}
	if code == 0 {
		return nil
	}
	return codeError{code: code}
}
