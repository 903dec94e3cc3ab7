package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/policy"
)

func (a *app) validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check schema, references, policies, blueprints and the policies' tests",
		Long: `Check the platform repository: the schema, references, policies, blueprints and
the tests of the organisation's policies.

In a checkout it looks at the files as they are, committed or not.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.validate(cmd.Context()) },
	}
	a.outputFlag(cmd, "text", "json", "github", "sarif")
	return cmd
}

func (a *app) validate(ctx context.Context) error {
	progress := a.progress("validating")
	checked, violations, tests, err := a.examine(ctx)
	progress.end()
	if err != nil {
		return err
	}
	engine, _ := checked.Judge.(*policy.Engine)
	if err := a.printValidation(violations, checked, engine, tests); err != nil {
		return err
	}
	return verdict(violations)
}

// examine checks the repository and runs the tests of its policies. It returns
// all violations, sorted, and how many tests there were.
func (a *app) examine(ctx context.Context) (*reconciler.Checked, []reconciler.Violation, int, error) {
	tree, err := a.tree(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	checked, err := reconciler.Check(ctx, a.parts(), tree, reconciler.Revision{Time: time.Now().UTC()}, a.knownRecord(ctx), nil)
	if err != nil {
		return nil, nil, 0, err
	}
	violations := checked.Violations
	tests := 0
	if engine, _ := checked.Judge.(*policy.Engine); engine != nil {
		for _, t := range engine.Test(ctx) {
			tests++
			if !t.Passed {
				violations = append(violations, reconciler.Violation{
					Level: reconciler.Deny, Scope: reconciler.ScopeRevision, Kind: "policy test", Name: t.Package + "." + t.Name,
					Position: reconciler.Position{File: t.File, Line: t.Line}, Message: "failed: " + t.Message,
				})
			}
		}
	}
	return checked, reconciler.SortViolations(violations), tests, nil
}

// knownRecord returns what the status branch of a local clone says. It only
// tells what is not new; nothing is decided by it.
func (a *app) knownRecord(ctx context.Context) *reconciler.Record {
	if path, local := git.Local(a.repo); local {
		if clone, err := git.OpenClone(path); err == nil {
			defer clone.Close()
			if tip, found, err := clone.Tip(a.statusBranch); err == nil && found {
				if record, err := readRecord(ctx, clone, tip); err == nil {
					return record
				}
			}
		}
	}
	return reconciler.NewRecord()
}

// verdict turns violations into the exit code.
func verdict(found []reconciler.Violation) error {
	var worst verdicts
	worst.violations(found)
	return worst.err()
}

// verdicts is the gravest of several exit codes.
type verdicts struct{ code int }

func (w *verdicts) note(code int) {
	gravity := []int{0, exitPending, exitDenied, exitFailure}
	if slices.Index(gravity, code) > slices.Index(gravity, w.code) {
		w.code = code
	}
}

func (w *verdicts) violations(found []reconciler.Violation) {
	for _, v := range found {
		switch {
		case !v.Level.Holds():
		case v.Level == reconciler.Approve:
			w.note(exitPending)
		case v.Rule != "":
			w.note(exitDenied)
		default:
			w.note(exitFailure)
		}
	}
}

func (w *verdicts) err() error {
	if w.code == 0 {
		return nil
	}
	return codeError{code: w.code}
}

func (a *app) printValidation(violations []reconciler.Violation, checked *reconciler.Checked, engine *policy.Engine, tests int) error {
	switch a.output {
	case "json":
		if violations == nil {
			violations = []reconciler.Violation{}
		}
		return printJSON(a.stdout, map[string]any{"valid": !reconciler.Denied(violations), "violations": violations})
	case "github":
		printGitHub(a.stdout, violations)
		return nil
	case "sarif":
		return printJSON(a.stdout, sarif(violations))
	}
	printViolations(a.stdout, violations)
	if engine != nil {
		for _, r := range engine.Rules() {
			if r.Reason != "" {
				fmt.Fprintf(a.stdout, "the rule %s is %s: %s\n", r.ID, r.Level, printable(r.Reason))
			}
		}
		for _, w := range checked.Platform.Settings.Policy.Waivers {
			fmt.Fprintf(a.stdout, "the blueprint %s may break %s: %s\n", w.Blueprint, w.Rule, printable(w.Reason))
		}
	}
	errors, warnings := 0, 0
	for _, v := range violations {
		switch {
		case v.Level.Holds():
			errors++
		case v.Level == reconciler.Warn:
			warnings++
		}
	}
	var parts []string
	if checked.Platform != nil {
		parts = append(parts, reconciler.Plural(len(checked.Platform.Services), "service"), reconciler.Plural(len(checked.Platform.Requests), "request"),
			reconciler.Plural(len(checked.Platform.Blueprints), "blueprint"), reconciler.Plural(tests, "policy test"))
	}
	parts = append(parts, reconciler.Plural(errors, "error"), reconciler.Plural(warnings, "warning"))
	fmt.Fprintln(a.stdout, strings.Join(parts, ", "))
	return nil
}
