package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// kinds are the kinds of subjects about which rules speak.
var kinds = []string{"blueprint", "request", "service"}

// kindsOf returns the kinds of subjects for which a body can hold. One that asks
// for `input.kind == "request"`, by itself or through a rule that it needs, says
// nothing of a service: it need not be evaluated to know.
func kindsOf(compiler *ast.Compiler, body ast.Body) []string {
	of := kinds
	for _, expr := range body {
		asked := askedBy(compiler, expr)
		of = slices.DeleteFunc(slices.Clone(of), func(kind string) bool { return !slices.Contains(asked, kind) })
	}
	return of
}

// askedBy returns the kinds for which an expression can hold: all of them unless
// it is sure that some are not among them.
func askedBy(compiler *ast.Compiler, expr *ast.Expr) []string {
	if expr.Negated || len(expr.With) > 0 {
		return kinds
	}
	if term, is := expr.Terms.(*ast.Term); is {
		return heldBy(compiler, term)
	}
	if operator := expr.Operator(); !operator.Equal(ast.Equality.Ref()) && !operator.Equal(ast.Equal.Ref()) {
		return kinds
	}
	asked, kind := expr.Operand(0), expr.Operand(1)
	if !isKind(asked) {
		asked, kind = kind, asked
	}
	text, is := kind.Value.(ast.String)
	if !isKind(asked) || !is {
		return kinds
	}
	return []string{string(text)}
}

// heldBy returns the kinds for which a rule can hold that is needed by its name
// alone. A set or an object holds, even an empty one.
func heldBy(compiler *ast.Compiler, term *ast.Term) []string {
	ref, is := term.Value.(ast.Ref)
	if !is {
		return kinds
	}
	rules := compiler.GetRulesExact(ref)
	if len(rules) == 0 {
		return kinds
	}
	var of []string
	for _, rule := range rules {
		if rule.Default || rule.Else != nil || rule.Head.RuleKind() != ast.SingleValue || len(rule.Head.Args) > 0 {
			return kinds
		}
		of = append(of, kindsOf(compiler, rule.Body)...)
	}
	return of
}

var kindRef = ast.MustParseRef("input.kind")

func isKind(term *ast.Term) bool {
	ref, is := term.Value.(ast.Ref)
	return is && ref.Equal(kindRef)
}
