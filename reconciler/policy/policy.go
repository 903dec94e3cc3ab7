// Package policy applies rules written in Rego: those built into Pave and the
// organisation's own.
//
// The organisation's rules follow conftest: in any package but `pave`, sets
// named deny, violation or warn (or deny_x and so on), require_approval and
// preapprove hold texts or objects with `msg`. All rules see the same input, a
// [reconciler.Subject], and can reach nothing else: no network, no clock, no
// randomness, so that the same revision always gets the same verdict.
//
// The gate fails closed. Rules that do not compile, or not in time, give no
// engine; rules that stop with an error, run out of time or yield something that
// is no finding deny. Time is bounded here, memory is not, and OPA cannot always
// be stopped: what ran out of time may go on until the process ends. Who
// compiles rules that nobody reviewed does so in a limited process.
package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/pave-dev/pave/reconciler"
)

// Sources is all that decides what the rules are.
type Sources struct {
	// Organisation is the Rego of a platform repository by path, its tests
	// (_test.rego) included.
	Organisation map[string]string
	// Overrides change the level of built-in rules, by id.
	Overrides map[string]reconciler.Override
	// Waivers are only checked for the rules that they name: the rules
	// themselves read them from the settings in their input.
	Waivers []reconciler.Waiver
	// Deadline bounds each evaluation and each test; zero means 5 seconds.
	Deadline time.Duration
	// Compilation bounds compiling; zero means 10 seconds.
	Compilation time.Duration
}

// Engine is a compiled set of rules. It is safe for use by several goroutines.
type Engine struct {
	bundle   json.RawMessage
	deadline time.Duration // for each evaluation and each test
	// compilation is how long compiling may take; the tests are compiled once more.
	compilation time.Duration
	// stuck tells that an evaluation goes on that cannot be stopped.
	stuck   atomic.Bool
	rules   []rule
	queries map[string]query // by the kind of subject
	worker  worker
	shared  documents
	said    verdicts
	modules map[string]*ast.Module // by path, tests included
}

var _ reconciler.Judge = (*Engine)(nil)

// Compile returns the engine of the sources. The violations tell, all at once,
// what keeps them from being used: a module that does not parse or compile, a
// package or a function that is not theirs, an override or a waiver of a rule
// that does not exist. Violations of settings have kind "platform" and the path
// of the field, but no position. When any violation denies, the engine is nil.
func Compile(ctx context.Context, sources Sources) (*Engine, []reconciler.Violation) {
	limit := cmp.Or(sources.Compilation, 10*time.Second)
	type result struct {
		engine     *Engine
		violations []reconciler.Violation
	}
	r, err := bounded(ctx, limit, spawn, func() result {
		engine, violations := compileSources(sources)
		return result{engine, violations}
	})
	if err != nil {
		return nil, []reconciler.Violation{refuse(reconciler.Position{File: Folder}, fmt.Sprintf("compile the policies: %v", err),
			"look for rules that nest deeply, refer to each other in long chains, or are many hundreds in one set")}
	}
	if r.engine != nil {
		r.engine.compilation = limit
	}
	return r.engine, r.violations
}

// bounded returns what f returns, which start has run on another goroutine. Where
// the limit passes or the context ends before that, f is left to itself and the
// error says which.
func bounded[T any](ctx context.Context, limit time.Duration, start func(func()), f func() T) (T, error) {
	done := make(chan T, 1)
	start(func() { done <- f() })
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var none T
	select {
	case v := <-done:
		return v, nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-timer.C:
		return none, fmt.Errorf("it takes longer than %s", limit)
	}
}

func compileSources(sources Sources) (*Engine, []reconciler.Violation) {
	builtin := parseBuiltin()
	own, violations := parse(sources.Organisation)
	rules := append(rulesOf(builtin, true), rulesOf(own, false)...)
	violations = append(violations, checkIDs(rules)...)
	violations = append(violations, checkSettings(sources, rules)...)
	if reconciler.Denied(violations) {
		return nil, reconciler.SortViolations(violations)
	}

	all := maps.Clone(builtin)
	maps.Copy(all, own)
	judged := separate(all, rules)
	compiler := newCompiler()
	if violations := compile(compiler, judged, all); len(violations) > 0 {
		return nil, reconciler.SortViolations(violations)
	}

	queries := prepare(compiler, rules)
	for i := range rules {
		rules[i].override(sources.Overrides)
	}
	e := &Engine{
		bundle:   newBundle(sources),
		deadline: cmp.Or(sources.Deadline, 5*time.Second),
		rules:    rules,
		queries:  queries,
		modules:  all,
	}
	e.worker = newWorker(e)
	return e, nil
}

// query are the rules that can say anything of one kind of subject, as indexes of
// Engine.rules.
type query struct {
	kept  []int // whose findings hold as long as the subject is as it is, and the day
	fresh []int // whose findings may be others a moment later
	reads reads // all that they see of the input
}

// prepare returns the query of each kind, and completes the rules.
func prepare(compiler *ast.Compiler, rules []rule) map[string]query {
	queries := map[string]query{}
	for _, kind := range kinds {
		var q query
		seen := map[*ast.Rule]bool{}
		for i := range rules {
			rule := &rules[i]
			compiled := compiler.GetRulesExact(rule.ref)[0]
			of := kindsOf(compiler, compiled.Body)
			if of == nil {
				of = held
			}
			if !slices.Contains(of, kind) {
				continue
			}
			q.reads.rule(compiler, compiled, seen)
			if rule.evaluation == nil {
				var own reads
				own.rule(compiler, compiled, map[*ast.Rule]bool{})
				// What is built in knows days and nothing shorter.
				timed := !rule.Builtin && own.field("now") != nil
				rule.evaluation = &evaluation{compiler: compiler, ref: rule.ref, sees: own.portions(), timed: timed, unlike: own.whole || own.each != nil || timed}
			}
			if rule.evaluation.timed {
				q.fresh = append(q.fresh, i)
			} else {
				q.kept = append(q.kept, i)
			}
		}
		queries[kind] = q
	}
	return queries
}
