package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/pave-dev/pave/policies"
	"github.com/pave-dev/pave/reconciler"
)

// builtinFolder starts the paths of the built-in modules. Paths in a repository
// are never absolute, so none can take their place.
const builtinFolder = "/pave/"

// reserved is the package that the built-in rules live below. A module of the
// organisation there would be merged into them.
const reserved = "pave"

// capabilities are what rules may use: all of Rego but what could give one
// revision two verdicts or reach out of the process. Builtins are taken away
// here and not refused by name, because a name can be reached by way of `with`.
// The two that check JSON schemas go too: schemas may name addresses to load.
var capabilities = sync.OnceValue(func() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(all.Builtins, withheld)
	all.AllowNet = []string{}
	return all
})

func withheld(builtin *ast.Builtin) bool {
	return builtin.Nondeterministic || builtin.Name == "trace" || builtin.Name == "rego.parse_module"
}

// isWithheld tells whether a function exists in Rego but not for rules.
func isWithheld(name string) bool {
	return slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name && withheld(b) })
}

func newCompiler() *ast.Compiler {
	return ast.NewCompiler().WithCapabilities(capabilities()).SetErrorLimit(100)
}

// compile compiles what will be judged by, and also all modules as they were
// written where that holds tests, or where it tells an error in the author's words.
func compile(compiler *ast.Compiler, judged, written map[string]*ast.Module) []reconciler.Violation {
	compiler.Compile(judged)
	if !compiler.Failed() && len(judged) == len(written) {
		return nil
	}
	second := newCompiler()
	second.Compile(written)
	if !second.Failed() {
		return refusals(compiler.Errors)
	}
	return refusals(second.Errors)
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.rego") }

// maxDepth is how deep the parser may go into a module, which takes up to ten
// levels for one of the source: some fifty comprehensions, or 250 arrays, within
// each other. A text of a few thousand would exhaust time, memory or the stack.
const maxDepth = 500

func parseModule(path, source string) (*ast.Module, error) {
	return ast.ParseModuleWithOpts(path, source, ast.ParserOptions{
		Capabilities:      capabilities(),
		ProcessAnnotation: true,
		RegoVersion:       ast.RegoV1,
	})
}

// tooDeep returns the error of a source that nests too deeply. Every other error
// is left to the parser of modules, which knows no limit.
func tooDeep(path, source string) error {
	_, _, errs := ast.NewParser().WithFilename(path).WithReader(strings.NewReader(source)).
		WithCapabilities(capabilities()).WithRegoVersion(ast.RegoV1).WithMaxRecursionDepth(maxDepth).Parse()
	for _, err := range errs {
		if err.Message == ast.ErrMaxParsingRecursionDepthExceeded.Error() {
			return err
		}
	}
	return nil
}

// parseBuiltin returns the built-in modules without their tests.
func parseBuiltin() map[string]*ast.Module {
	modules := map[string]*ast.Module{}
	for name, source := range policies.Files() {
		if isTest(name) {
			continue
		}
		module, err := parseModule(builtinFolder+name, source)
		if err != nil {
			panic(err) // the source is part of the binary
		}
		modules[builtinFolder+name] = module
	}
	return modules
}

// parse returns the organisation's modules, tests included.
func parse(sources map[string]string) (map[string]*ast.Module, []reconciler.Violation) {
	modules := map[string]*ast.Module{}
	var violations []reconciler.Violation
	for _, path := range slices.Sorted(maps.Keys(sources)) {
		err := tooDeep(path, sources[path])
		var module *ast.Module
		if err == nil {
			module, err = parseModule(path, sources[path])
		}
		if err != nil {
			violations = append(violations, parseRefusals(path, err)...)
			continue
		}
		modules[path] = module
		violations = append(violations, checkPackage(module)...)
		violations = append(violations, checkShapes(path, module)...)
	}
	return modules, violations
}

// checkPackage refuses packages that would become part of Pave's own.
func checkPackage(module *ast.Module) []reconciler.Violation {
	path := module.Package.Path // data.a.b
	if len(path) < 2 || !path[1].Equal(ast.StringTerm(reserved)) {
		return nil
	}
	return []reconciler.Violation{refuse(
		position(module.Package.Location),
		fmt.Sprintf("package %s belongs to the rules built into Pave", packageName(module)),
		"choose another package, such as `package acme.requests`; a built-in rule is changed in the settings, platform: policy: overrides",
	)}
}

// checkShapes refuses rules that are named like rules of findings and would
// never be asked for any.
func checkShapes(path string, module *ast.Module) []reconciler.Violation {
	if isTest(path) {
		return nil
	}
	var violations []reconciler.Violation
	for _, rule := range module.Rules {
		name, ok := misshapen(rule.Head)
		if !ok {
			continue
		}
		violations = append(violations, refuse(
			position(rule.Location),
			fmt.Sprintf("%s is a name for rules that collect findings, and this rule collects none", name),
			fmt.Sprintf("write `%s contains msg if { … }` directly in the package, or choose another name", name),
		))
	}
	return violations
}

// misshapen returns the name that makes a head look like one of findings, where
// it is none.
func misshapen(head *ast.Head) (string, bool) {
	if _, ok := findingLevel(head); ok {
		return "", false
	}
	for i, term := range head.Ref() {
		name := termName(term)
		_, named := levelOf(name)
		if named && (i == 0 || head.RuleKind() == ast.MultiValue) {
			return name, true
		}
	}
	return "", false
}

func termName(term *ast.Term) string {
	switch value := term.Value.(type) {
	case ast.Var:
		return string(value)
	case ast.String:
		return string(value)
	}
	return ""
}

func packageName(module *ast.Module) string {
	return strings.TrimPrefix(module.Package.Path.String(), "data.")
}

func position(at *ast.Location) reconciler.Position {
	if at == nil {
		return reconciler.Position{}
	}
	return reconciler.Position{File: at.File, Line: at.Row, Column: at.Col}
}

// refuse returns a violation that keeps the whole revision from being used.
func refuse(at reconciler.Position, message, hint string) reconciler.Violation {
	return reconciler.Violation{
		Level: reconciler.Deny, Scope: reconciler.ScopeRevision,
		Position: at, Message: message, Hint: hint,
	}
}

func parseRefusals(path string, err error) []reconciler.Violation {
	if several := (ast.Errors)(nil); errors.As(err, &several) {
		return refusals(several)
	}
	if one := (*ast.Error)(nil); errors.As(err, &one) {
		return refusals(ast.Errors{one})
	}
	return []reconciler.Violation{refuse(reconciler.Position{File: path}, err.Error(), "")}
}

func refusals(errs ast.Errors) []reconciler.Violation {
	violations := make([]reconciler.Violation, len(errs))
	for i, err := range errs {
		violations[i] = refusal(err)
	}
	return violations
}

// refusal says what OPA says, and what to do about the two mistakes that
// everybody makes.
func refusal(err *ast.Error) reconciler.Violation {
	message, hint := err.Message, ""
	function, undefined := strings.CutPrefix(message, "undefined function ")
	switch {
	case undefined && isWithheld(function):
		message = fmt.Sprintf("%s is not available to policies: the same revision must always get the same verdict", function)
		hint = "use what input holds; input.now is the time of the commit"
	case message == ast.ErrMaxParsingRecursionDepthExceeded.Error():
		message, hint = "this is nested too deeply", "give the inner parts names of their own"
	case strings.Contains(message, "keyword is required"):
		hint = "policies are Rego v1: `deny contains msg if { … }`"
	}
	return refuse(position(err.Location), message, hint)
}
