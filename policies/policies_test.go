package policies_test

import (
	"bytes"
	"context"
	"strconv"
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
		}
		if !strings.HasSuffix(name, "_test.rego") && policies.Files()[strings.TrimSuffix(name, ".rego")+"_test.rego"] == "" {
			t.Errorf("%s has no test file beside it", name)
		}
	}
}

// The metadata of each rule is complete and says what the rule does.
func TestMetadata(t *testing.T) {
	levels := map[string]string{"deny": "deny", "warn": "warn", "require_approval": "approve"}
	for name, source := range policies.Files() {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		module, err := ast.ParseModuleWithOpts(name, source, ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if want := "data.pave.rules." + strings.TrimSuffix(name, ".rego"); module.Package.Path.String() != want {
			t.Errorf("%s: package %s, expected %s", name, module.Package.Path, want)
		}
		for _, rule := range module.Rules {
			level, ok := levels[rule.Head.Ref().String()]
			if !ok {
				continue
			}
			if len(rule.Annotations) != 1 {
				t.Errorf("%s: %d times metadata", rule.Location, len(rule.Annotations))
				continue
			}
			a := rule.Annotations[0]
			id, _ := a.Custom["id"].(string)
			if a.Title == "" || a.Description == "" || id == "" || a.Custom["severity"] != level {
				t.Errorf("%s: metadata is wanting: %s", rule.Location, a)
			}
			if !strings.Contains(rule.Head.Key.String(), strconv.Quote(id)) {
				t.Errorf("%s: the finding does not carry the id %s", rule.Location, id)
			}
		}
	}
}
