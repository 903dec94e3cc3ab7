package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/pave-dev/pave/policies"
)

// TestResult is what became of one test of the organisation's policies.
type TestResult struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Passed  bool   `json:"passed"`
	// Message tells why the test failed, with what it printed; for a test that
	// its author skips (todo_test_) it says so.
	Message string `json:"message,omitempty"`
}

// BuiltinTests lists the tests of the built-in rules, sorted by place. They passed
// where Pave was built.
func BuiltinTests() []TestResult {
	var tests []TestResult
	files := policies.Files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isTest(name) {
			continue
		}
		module, err := parseModule(name, files[name])
		if err != nil {
			panic(err) // the source is part of the binary
		}
		for _, rule := range module.Rules {
			if test := termName(rule.Head.Ref()[0]); strings.HasPrefix(test, "test_") {
				tests = append(tests, TestResult{Package: packageName(module), Name: test, File: name, Line: rule.Location.Row, Passed: true})
			}
		}
	}
	return tests
}

// Test runs the organisation's tests, each within the engine's deadline and
// with no more than rules may use. Results are sorted by place. Where the tests
// could not be run to their end, a failed result without a name says so, and
// comes last. It returns within two deadlines of the context's end.
func (e *Engine) Test(ctx context.Context) []TestResult {
	results, err := e.runTests(ctx)
	slices.SortFunc(results, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	if ctx.Err() != nil {
		err = fmt.Errorf("run the tests: %w", context.Cause(ctx))
	}
	if err != nil {
		results = append(results, TestResult{Message: err.Error()})
	}
	return results
}

// runTests returns the results that there are, and why there are no more.
func (e *Engine) runTests(ctx context.Context) ([]TestResult, error) {
	type started struct {
		results <-chan *tester.Result
		err     error
	}
	s, err := bounded(ctx, e.compilation, spawn, func() started {
		results, err := tester.NewRunner().
			SetCompiler(newCompiler().WithEnablePrintStatements(true)).
			SetModules(e.modules).
			SetTimeout(e.deadline).
			RaiseBuiltinErrors(true).
			RunTests(ctx, nil)
		return started{results, err}
	})
	if err == nil {
		err = s.err
	}
	if err != nil {
		return nil, fmt.Errorf("compile the tests: %w", err)
	}
	var all []TestResult
	for {
		result, err := bounded(context.WithoutCancel(ctx), 2*e.deadline, spawn, func() *tester.Result { return <-s.results })
		switch {
		case err != nil:
			return all, fmt.Errorf("run the tests: one that is missing here takes longer than %s and cannot be stopped", e.deadline)
		case result == nil:
			return all, nil
		}
		all = append(all, testResult(result))
	}
}

func testResult(r *tester.Result) TestResult {
	at := position(r.Location)
	result := TestResult{
		Package: strings.TrimPrefix(r.Package, "data."), Name: r.Name,
		File: at.File, Line: at.Line, Passed: r.Pass() || r.Skip,
	}
	printed := strings.TrimSpace(string(r.Output))
	switch {
	case r.Skip:
		result.Message = "skipped"
	case r.Error != nil:
		result.Message = strings.TrimSpace(r.Error.Error() + "\n" + printed)
	case r.Fail:
		result.Message = strings.TrimSpace("the test does not hold\n" + printed)
	}
	return result
}
