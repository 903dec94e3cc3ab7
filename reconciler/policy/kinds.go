package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// kinds are the kinds of subjects about which rules speak: what a revision holds,
// and what people do in the portal.
var (
	held  = []string{"blueprint", "request", "service"}
	kinds = append([]string{"ask", "view"}, held...)
)

// kindsOf returns the kinds of subjects for which a body can hold. One that asks
// for `input.kind == "request"`, by itself or through a rule that it needs, says
// nothing of a service: it need not be evaluated to know. One that asks for none
// is about what a revision holds; nil is returned for it.
func kindsOf(compiler *ast.Compiler, body ast.Body) []string {
	var of []string
	for _, expr := range body {
		asked := askedBy(compiler, expr)
		switch {
		case asked == nil:
		case of == nil:
			of = asked
		default:
			of = slices.DeleteFunc(slices.Clone(of), func(kind string) bool { return !slices.Contains(asked, kind) })
		}
	}
	return of
}

// askedBy returns the kinds for which an expression can hold; nil unless it is sure
// that there are others.
func askedBy(compiler *ast.Compiler, expr *ast.Expr) []string {
	if expr.Negated || len(expr.With) > 0 {
		return nil
	}
	if term, is := expr.Terms.(*ast.Term); is {
		return heldBy(compiler, term)
	}
	if operator := expr.Operator(); !operator.Equal(ast.Equality.Ref()) && !operator.Equal(ast.Equal.Ref()) {
		return nil
	}
	asked, kind := expr.Operand(0), expr.Operand(1)
	if !isKind(asked) {
		asked, kind = kind, asked
	}
	text, is := kind.Value.(ast.String)
	if !isKind(asked) || !is {
		return nil
	}
	return []string{string(text)}
}

// heldBy returns the kinds for which a rule can hold that is needed by its name
// alone. A set or an object holds, even an empty one.
func heldBy(compiler *ast.Compiler, term *ast.Term) []string {
	ref, is := term.Value.(ast.Ref)
	if !is {
		return nil
	}
	var of []string
	for _, rule := range compiler.GetRulesExact(ref) {
		if rule.Default || rule.Else != nil || rule.Head.RuleKind() != ast.SingleValue || len(rule.Head.Args) > 0 {
			return nil
		}
		asked := kindsOf(compiler, rule.Body)
		if asked == nil {
			return nil
		}
		of = append(of, asked...)
	}
	return of
}

var kindRef = ast.MustParseRef("input.kind")

func isKind(term *ast.Term) bool {
	ref, is := term.Value.(ast.Ref)
	return is && ref.Equal(kindRef)
}
