package main

import (
	"context"
	"slices"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/portal"
)

// portalJudge returns what judges the snapshots of the portal: as `pave validate`
// does, but that nothing is evaluated again. Of what the loop has in force, only that
// is judged which was recorded otherwise since.
func portalJudge(parts reconciler.Parts, loop loop) func(context.Context, *portal.Snapshot) (portal.Verdict, error) {
	return func(ctx context.Context, s *portal.Snapshot) (portal.Verdict, error) {
		parts, known := parts, loop.now(ctx).InForce
		if known != nil && known.Revision.Commit == s.Revision.Commit {
			parts = loop.parts
		} else {
			known = nil
		}
		parts.Evaluator = evaluated{s}
		checked, err := reconciler.Check(ctx, parts, s.Tree, s.Revision, s.Record, known)
		if err != nil {
			return portal.Verdict{}, err
		}
		verdict := portal.Verdict{Violations: checked.Violations}
		if engine, is := checked.Judge.(*policy.Engine); is {
			verdict.Rules, verdict.Tests = portalRules(engine.Rules()), portalTests(ctx, engine)
		}
		return verdict, nil
	}
}

func portalRules(rules []policy.Rule) []portal.Rule {
	all := make([]portal.Rule, len(rules))
	for i, r := range rules {
		all[i] = portal.Rule{ID: r.ID, Title: r.Title, Description: r.Description, Package: r.Package, Severity: r.Severity, Level: r.Level, Reason: r.Reason, Builtin: r.Builtin, Position: r.Position}
	}
	return all
}

func portalTests(ctx context.Context, engine *policy.Engine) []portal.RuleTest {
	var all []portal.RuleTest
	add := func(builtin bool, tests []policy.TestResult) {
		for _, t := range tests {
			all = append(all, portal.RuleTest{Name: t.Name, Position: reconciler.Position{File: t.File, Line: t.Line}, Builtin: builtin, Passed: t.Passed, Message: t.Message})
		}
	}
	add(true, policy.BuiltinTests())
	add(false, engine.Test(ctx))
	return all
}

// evaluated is the evaluator of a snapshot that was evaluated.
type evaluated struct{ *portal.Snapshot }

// Evaluate returns what is known.
func (e evaluated) Evaluate(context.Context, *reconciler.Tree) (*reconciler.Platform, []reconciler.Violation, error) {
	return e.Platform, slices.Clone(e.Violations), nil
}

// Locate finds a field.
func (e evaluated) Locate(_ *reconciler.Tree, at reconciler.Position, kind, name string, path []string) reconciler.Position {
	if e.Snapshot.Locate == nil {
		return at
	}
	return e.Snapshot.Locate(at, kind, name, path)
}
