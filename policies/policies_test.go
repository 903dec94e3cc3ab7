package policies_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/pave-dev/pave/policies"
)

// The tests are loaded from the folder as `opa test policies/` loads them, and
// leave no line of a rule unexecuted.
func TestRules(t *testing.T) {
	modules, store, err := tester.Load([]string{"."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	coverage := cover.New()
	results, err := tester.NewRunner().SetStore(store).SetModules(modules).SetCoverageQueryTracer(coverage).RunTests(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for result := range results {
		ran++
		if !result.Pass() {
			t.Errorf("%s %s %v", result.Location, result, result.Error)
		}
	}
	if ran == 0 {
		t.Error("no test ran")
	}
	for name, file := range coverage.Report(modules).Files {
		for _, gap := range file.NotCovered {
			t.Errorf("%s:%d: no test reaches this line", name, gap.Start.Row)
		}
	}
}

func TestFormat(t *testing.T) {
	for name, source := range policies.Files() {
		formatted, err := format.SourceWithOpts(name, []byte(source), format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(formatted, []byte(source)) {
			t.Errorf("%s is not formatted: run `opa fmt -w policies`", name)
			if os.Getenv("UPDATE") != "" { os.WriteFile(name, formatted, 0o644) }
		}
		if !strings.HasSuffix(name, "_test.rego") && policies.Files()[strings.TrimSuffix(name, ".rego")+"_test.rego"] == "" {
			t.Errorf("%s has no test file beside it", name)
		}
	}
}
