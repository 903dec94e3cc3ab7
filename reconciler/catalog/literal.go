package catalog

import (
	"math/big"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
	"github.com/cockroachdb/apd/v3"
)

// maxDepth is the deepest nesting of a literal that the data tier takes; the
// code tier, in its child, takes what is deeper.
const maxDepth = 64

// entry is one literal document as it stands in its file.
type entry struct {
	kind, name string
	at         token.Pos      // of the label that names the document
	body       *ast.StructLit // nil where it was read quickly
	value      map[string]any
	uses       []use
}

// use is an input that is another request's output, `request.db.outputs.host`: the
// one thing that a literal document may compute. Its value is the reference that
// the other request hands out, if its blueprint does.
type use struct{ request, output string }

func (u use) reference() map[string]any {
	return map[string]any{"from": map[string]any{"request": u.request, "output": u.output}}
}

// isLiteral tells whether a file holds literal documents and nothing else, so
// that the schema is the only program that evaluating it runs.
func isLiteral(f *ast.File) bool {
	_, ok := literalEntries(f)
	return ok
}

// literalEntries returns the documents of a file of literals.
func literalEntries(f *ast.File) ([]entry, bool) {
	var entries []entry
	seen := map[string]bool{}
	// What `request` means in a use: the field of this file, where no other of that
	// name stands in between.
	uses, hidden := false, false
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Package, *ast.CommentGroup:
			continue
		case *ast.Field:
			kind, ok := plainLabel(d)
			if !ok || (kind != "service" && kind != "request") {
				return nil, false
			}
			body, ok := d.Value.(*ast.StructLit)
			if !ok {
				return nil, false
			}
			for _, elt := range body.Elts {
				field, ok := elt.(*ast.Field)
				if !ok {
					if _, comment := elt.(*ast.CommentGroup); comment {
						continue
					}
					return nil, false
				}
				name, ok := plainLabel(field)
				if !ok || seen[kind+"/"+name] {
					return nil, false
				}
				seen[kind+"/"+name] = true
				doc, ok := field.Value.(*ast.StructLit)
				if !ok {
					return nil, false
				}
				e := entry{kind: kind, name: name, at: field.Label.Pos(), body: doc}
				if !e.read() {
					return nil, false
				}
				_, named := d.Label.(*ast.Ident)
				entries, uses = append(entries, e), uses || len(e.uses) > 0
				hidden = hidden || !named || name == "request"
			}
		default:
			return nil, false
		}
	}
	return entries, !uses || !hidden
}

// read reads the document's value from its body, and tells whether it is literal.
func (e *entry) read() (ok bool) {
	hidden := false
	e.value, ok = literalFields(e.body, 0, func(name string, x ast.Expr) (any, bool) {
		hidden = hidden || name == "request"
		inputs, are := x.(*ast.StructLit)
		if e.kind != "request" || name != "inputs" || !are {
			return literalValue(x, 1)
		}
		return literalFields(inputs, 1, func(name string, x ast.Expr) (any, bool) {
			hidden = hidden || name == "request"
			if u, is := useOf(x); is {
				e.uses = append(e.uses, u)
				return u.reference(), true
			}
			return literalValue(x, 2)
		})
	})
	return ok && (len(e.uses) == 0 || !hidden)
}

// useOf reads `request.db.outputs.host`, or with `["db"]` for the name.
func useOf(x ast.Expr) (use, bool) {
	outputs, output, ok := selected(x)
	if !ok {
		return use{}, false
	}
	request, field, ok := selected(outputs)
	if !ok || field != "outputs" {
		return use{}, false
	}
	root, name, ok := selected(request)
	if !ok {
		return use{}, false
	}
	ident, ok := root.(*ast.Ident)
	return use{name, output}, ok && ident.Name == "request"
}

// selected returns what a field is selected of, and the field's name.
func selected(x ast.Expr) (of ast.Expr, name string, ok bool) {
	switch x := x.(type) {
	case *ast.SelectorExpr:
		name, ok = labelText(x.Sel)
		return x.X, name, ok
	case *ast.IndexExpr:
		if lit, is := x.Index.(*ast.BasicLit); is {
			name, ok = labelText(lit)
		}
		return x.X, name, ok
	}
	return nil, "", false
}

// plainLabel returns the name of a regular field with a static label.
func plainLabel(f *ast.Field) (string, bool) {
	if f.Constraint != token.ILLEGAL || len(f.Attrs) > 0 || f.Alias != nil {
		return "", false
	}
	return labelText(f.Label)
}

// labelText returns the name of a field that is neither hidden nor a definition.
func labelText(label ast.Label) (string, bool) {
	switch l := label.(type) {
	case *ast.Ident:
		if len(l.Name) > 0 && (l.Name[0] == '#' || l.Name[0] == '_') {
			return "", false
		}
		return l.Name, true
	case *ast.BasicLit:
		if l.Kind != token.STRING {
			return "", false
		}
		name, err := literal.Unquote(l.Value)
		return name, err == nil
	}
	return "", false
}

func literalStruct(s *ast.StructLit, depth int) (map[string]any, bool) {
	return literalFields(s, depth, func(_ string, x ast.Expr) (any, bool) { return literalValue(x, depth+1) })
}

// literalFields reads the fields of a struct, each value by the function.
func literalFields(s *ast.StructLit, depth int, value func(name string, x ast.Expr) (any, bool)) (map[string]any, bool) {
	if depth > maxDepth {
		return nil, false
	}
	m := make(map[string]any, len(s.Elts))
	for _, elt := range s.Elts {
		field, ok := elt.(*ast.Field)
		if !ok {
			if _, comment := elt.(*ast.CommentGroup); comment {
				continue
			}
			return nil, false
		}
		name, ok := plainLabel(field)
		if !ok {
			return nil, false
		}
		if _, twice := m[name]; twice {
			return nil, false
		}
		v, ok := value(name, field.Value)
		if !ok {
			return nil, false
		}
		m[name] = v
	}
	return m, true
}

func literalValue(x ast.Expr, depth int) (any, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		return scalar(x)
	case *ast.UnaryExpr:
		lit, ok := x.X.(*ast.BasicLit)
		if !ok || x.Op != token.SUB || (lit.Kind != token.INT && lit.Kind != token.FLOAT) {
			return nil, false
		}
		return number(lit, true)
	case *ast.StructLit:
		return literalStruct(x, depth)
	case *ast.ListLit:
		if depth > maxDepth {
			return nil, false
		}
		list := make([]any, 0, len(x.Elts))
		for _, elt := range x.Elts {
			v, ok := literalValue(elt, depth+1)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	}
	return nil, false
}

func scalar(l *ast.BasicLit) (any, bool) {
	switch l.Kind {
	case token.STRING:
		// Bytes are written between single quotes; they are no JSON string.
		if strings.HasSuffix(strings.TrimRight(l.Value, "#"), "'") {
			return nil, false
		}
		s, err := literal.Unquote(l.Value)
		return s, err == nil
	case token.INT, token.FLOAT:
		return number(l, false)
	case token.TRUE:
		return true, true
	case token.FALSE:
		return false, true
	case token.NULL:
		return nil, true
	}
	return nil, false
}

// number returns the exact value of a literal, an integer as *big.Int.
func number(l *ast.BasicLit, negative bool) (any, bool) {
	var info literal.NumInfo
	if err := literal.ParseNum(l.Value, &info); err != nil {
		return nil, false
	}
	var d apd.Decimal
	if err := info.Decimal(&d); err != nil || len(l.Value) > 400 || d.Exponent > 400 || d.Exponent < -400 {
		return nil, false
	}
	d.Negative = negative
	if l.Kind == token.FLOAT {
		// Encoded, 2.0 would become an integer; the code tier keeps it a float.
		var reduced apd.Decimal
		reduced.Reduce(&d)
		return &d, reduced.Exponent < 0
	}
	return new(big.Int).SetString(d.Text('f'), 10)
}
