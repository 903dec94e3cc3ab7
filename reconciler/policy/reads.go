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
}

// field returns what is read of a field.
func (r *reads) field(name string) *reads {
	switch {
	case r == nil:
		return nil
	case r.whole:
		return r
	}
	return r.fields[name]
}

// add notes that the path is read, up to what is no text: that may be any field.
func (r *reads) add(path ast.Ref) {
	if len(path) == 0 || !isText(path[0]) {
		r.whole = true
		return
	}
	name := string(path[0].Value.(ast.String))
	if r.fields == nil {
		r.fields = map[string]*reads{}
	}
	if r.fields[name] == nil {
		r.fields[name] = &reads{}
	}
	r.fields[name].add(path[1:])
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
	if r.whole || text[0] != '{' {
		return read(text)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	object := ast.NewObject()
	for name := range r.fields {
		if err := r.insert(object, name, all[name]); err != nil {
			return nil, err
		}
	}
	return object, nil
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
