package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	"github.com/cockroachdb/apd/v3"
)

// Data reads CUE data, as somebody types it into a form.
func (Writer) Data(text string) (json.RawMessage, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("expected at most %d bytes", MaxFile)
	}
	x, err := parser.ParseExpr("", text)
	if err != nil {
		return nil, fmt.Errorf("expected CUE data, such as {name: \"value\"} or [1, 2]: %w", err)
	}
	value, ok := literalValue(x, 0)
	if !ok {
		return nil, fmt.Errorf("expected plain CUE data, such as {name: \"value\"} or [1, 2]: nothing is computed here")
	}
	return json.Marshal(portable(value))
}

// portable makes JSON numbers of the decimals in a literal value.
func portable(x any) any {
	switch x := x.(type) {
	case map[string]any:
		for name, v := range x {
			x[name] = portable(v)
		}
	case []any:
		for i, v := range x {
			x[i] = portable(v)
		}
	case *apd.Decimal:
		return json.Number(x.Text('G'))
	}
	return x
}

// Text writes a value as CUE data.
func (Writer) Text(value json.RawMessage) string {
	x, err := expression(value)
	if err != nil {
		return string(value)
	}
	return formatted(x, "")
}

// expression makes CUE of a JSON value. What CUE could not read back as it was is
// refused.
func expression(value json.RawMessage) (ast.Expr, error) {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	x, err := nextExpression(dec, 0)
	if err == nil && dec.More() {
		err = fmt.Errorf("expected one value")
	}
	return x, err
}

func nextExpression(dec *json.Decoder, depth int) (ast.Expr, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("expected at most %d levels", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return listExpression(dec, depth)
		}
		return structExpression(dec, depth)
	case string:
		return stringLiteral(t)
	case json.Number:
		return numberLiteral(t.String())
	case bool:
		return ast.NewBool(t), nil
	}
	return ast.NewNull(), nil
}

func listExpression(dec *json.Decoder, depth int) (ast.Expr, error) {
	list := &ast.ListLit{}
	for dec.More() {
		x, err := nextExpression(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list.Elts = append(list.Elts, x)
	}
	_, err := dec.Token()
	return list, err
}

func structExpression(dec *json.Decoder, depth int) (ast.Expr, error) {
	s := &ast.StructLit{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		label, err := labelLiteral(name.(string)) // as JSON has it
		if err != nil {
			return nil, err
		}
		x, err := nextExpression(dec, depth+1)
		if err != nil {
			return nil, err
		}
		s.Elts = append(s.Elts, &ast.Field{Label: label, Value: x})
	}
	_, err := dec.Token()
	return s, err
}

// labelLiteral returns the label of a regular field.
func labelLiteral(name string) (ast.Label, error) {
	if !ast.StringLabelNeedsQuoting(name) {
		return ast.NewIdent(name), nil
	}
	return stringLiteral(name)
}

func stringLiteral(s string) (*ast.BasicLit, error) {
	quoted := literal.String.Quote(s)
	if back, err := literal.Unquote(quoted); err != nil || back != s {
		return nil, fmt.Errorf("the text %q cannot be written as CUE", s)
	}
	return &ast.BasicLit{Kind: token.STRING, Value: quoted}, nil
}

// numberLiteral writes a whole number as one, however it is said.
func numberLiteral(s string) (ast.Expr, error) {
	var d apd.Decimal
	if _, _, err := d.SetString(s); err != nil || d.Form != apd.Finite || len(s) > 100 || d.Exponent > 100 || d.Exponent < -100 {
		return nil, fmt.Errorf("the number %.100s cannot be written as CUE", s)
	}
	d.Reduce(&d)
	lit := &ast.BasicLit{Kind: token.FLOAT}
	negative := d.Negative && !d.IsZero()
	d.Negative = false
	if lit.Value = d.Text('f'); d.Exponent >= 0 {
		lit.Kind = token.INT
	}
	if negative {
		return &ast.UnaryExpr{Op: token.SUB, X: lit}, nil
	}
	return lit, nil
}

// formatted formats an expression that stands in a line with the indentation.
func formatted(x ast.Node, indent string) string {
	text, err := format.Node(x, format.Simplify())
	if err != nil {
		return "_|_" // what is made here can be formatted; this no check lets pass
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n"+indent)
}
