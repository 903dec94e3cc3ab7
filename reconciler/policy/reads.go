package policy

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reads is what rules read of a value: nil is nothing. Most rules look at a few
// fields of documents that have dozens, and making values of the others takes
// longer than judging them.
type reads struct {
	whole  bool // all of it
	fields map[string]*reads
	each   *reads // of each element, whatever it is called; then there are no fields
}

// field returns what is read of a field.
func (r *reads) field(name string) *reads {
	switch {
	case r == nil:
		return nil
	case r.whole:
		return r
	case r.each != nil:
		return r.each
	}
	return r.fields[name]
}

// add notes that the path is read.
func (r *reads) add(path ast.Ref) {
	text := len(path) > 0 && isText(path[0])
	switch {
	case r.whole:
	case len(path) == 0, text && r.each != nil, !text && r.fields != nil:
		*r = reads{whole: true}
	case !text:
		if r.each == nil {
			r.each = &reads{}
		}
		r.each.add(path[1:])
	default:
		name := string(path[0].Value.(ast.String))
		if r.fields == nil {
			r.fields = map[string]*reads{}
		}
		if r.fields[name] == nil {
			r.fields[name] = &reads{}
		}
		r.fields[name].add(path[1:])
	}
}

// rule notes what a rule reads of the input, by itself or through others.
func (r *reads) rule(compiler *ast.Compiler, rule *ast.Rule, seen map[*ast.Rule]bool) {
	if seen[rule] {
		return
	}
	seen[rule] = true
	ast.WalkRefs(rule, func(ref ast.Ref) bool {
		if ref.HasPrefix(ast.InputRootRef) {
			r.add(ref[1:])
		}
		return false
	})
	for node := range compiler.Graph.Dependencies(rule) {
		if other, is := node.(*ast.Rule); is {
			r.rule(compiler, other, seen)
		}
	}
}

func isText(term *ast.Term) bool {
	_, is := term.Value.(ast.String)
	return is
}

// insert adds a field to an object of which r is read, where the field is.
func (r *reads) insert(object ast.Object, name string, text json.RawMessage) error {
	of := r.field(name)
	if of == nil || len(text) == 0 {
		return nil
	}
	v, err := of.value(text)
	if err != nil {
		return err
	}
	object.Insert(ast.StringTerm(name), ast.NewTerm(v))
	return nil
}

// value returns what is read of a JSON text.
func (r *reads) value(text json.RawMessage) (ast.Value, error) {
	if v := plain(text); v != nil {
		return v, nil
	}
	switch {
	case r.whole:
		return read(text)
	case text[0] == '[' && r.each != nil:
		return r.elements(text)
	case text[0] != '{':
		return read(text)
	}
	all, err := decodeFields(text)
	if err != nil {
		return nil, err
	}
	return r.object(all)
}

// object returns what is read of an object.
func (r *reads) object(all map[string]json.RawMessage) (ast.Object, error) {
	object := ast.NewObject()
	if r.each != nil {
		for name, text := range all {
			if err := r.insert(object, name, text); err != nil {
				return nil, err
			}
		}
	}
	for name := range r.fields {
		if err := r.insert(object, name, all[name]); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// elements returns what is read of a list.
func (r *reads) elements(text json.RawMessage) (ast.Value, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return r.list(all)
}

// list returns what is read of the elements of a list.
func (r *reads) list(all []json.RawMessage) (ast.Value, error) {
	each := r.each
	if each == nil {
		each = &reads{whole: true}
	}
	list := make([]*ast.Term, len(all))
	for i, text := range all {
		v, err := each.value(text)
		if err != nil {
			return nil, err
		}
		list[i] = ast.NewTerm(v)
	}
	return ast.NewArray(list...), nil
}

// plain returns the value of a text that is nothing but a word; nil for others.
func plain(text json.RawMessage) ast.Value {
	switch last := len(text) - 1; {
	case string(text) == "true":
		return ast.Boolean(true)
	case string(text) == "false":
		return ast.Boolean(false)
	case last < 1 || text[0] != '"' || text[last] != '"':
		return nil
	}
	word := text[1 : len(text)-1]
	for _, c := range word {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return nil
		}
	}
	return ast.String(word)
}
