package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/tester"
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

// Test runs the organisation's tests, each within the engine's deadline and
// with no more than rules may use. Results are sorted by place. Where the tests
// could not be run to their end, a failed result without a name says so.
func (e *Engine) Test(ctx context.Context) []TestResult {
	results, err := tester.NewRunner().
		SetCompiler(newCompiler().WithEnablePrintStatements(true)).
		SetModules(e.modules).
		SetTimeout(e.deadline).
		RaiseBuiltinErrors(true).
		RunTests(ctx, nil)
	if err != nil {
		return []TestResult{{Message: fmt.Sprintf("compile the tests: %v", err)}}
	}
	var all []TestResult
	for result := range results {
		all = append(all, testResult(result))
	}
	slices.SortFunc(all, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	if ctx.Err() != nil {
		all = append(all, TestResult{Message: fmt.Sprintf("run the tests: %v", context.Cause(ctx))})
	}
	return all
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
