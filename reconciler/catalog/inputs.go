package catalog

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/pave-dev/pave/reconciler"
)

// inputsOf describes the fields of a blueprint's inputs.
func inputsOf(v cue.Value) map[string]reconciler.Input {
	inputs := map[string]reconciler.Input{}
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return inputs
	}
	for it.Next() {
		name := it.Selector()
		if !name.IsString() {
			continue
		}
		inputs[name.Unquoted()] = reconciler.Input{
			Type:     terraformType(it.Value(), 0),
			Optional: it.FieldType()&cue.OptionalConstraint != 0,
			Position: declared(it.Value()),
			Field:    fieldOf(it.Value(), it.FieldType()),
		}
	}
	return inputs
}

// terraformType returns the Terraform type that takes every value that the
// constraint allows, references to other requests apart: those are replaced by
// the value before Terraform sees them.
func terraformType(v cue.Value, depth int) string {
	if depth > 8 {
		return "any"
	}
	var types []string
	for _, arm := range arms(v) {
		if isReference(arm) {
			continue
		}
		if t := armType(arm, depth); t != "" && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	if len(types) == 1 {
		return types[0]
	}
	return "any"
}

// arms returns the alternatives of a disjunction, nested ones included.
func arms(v cue.Value) []cue.Value {
	if op, args := v.Expr(); op == cue.OrOp {
		var all []cue.Value
		for _, a := range args {
			all = append(all, arms(a)...)
		}
		return all
	}
	return []cue.Value{v}
}

// isReference tells whether the alternative is schema.#Ref.
func isReference(v cue.Value) bool {
	if v.IncompleteKind() != cue.StructKind {
		return false
	}
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return false
	}
	n := 0
	from := false
	for it.Next() {
		n++
		from = from || it.Selector().IsString() && it.Selector().Unquoted() == "from"
	}
	return n == 1 && from
}

func armType(v cue.Value, depth int) string {
	switch kind := v.IncompleteKind(); {
	case kind == cue.StringKind:
		return "string"
	case kind == cue.BoolKind:
		return "bool"
	case kind&^cue.NumberKind == 0 && kind != 0:
		return "number"
	case kind == cue.ListKind:
		if elem := v.LookupPath(cue.MakePath(cue.AnyIndex)); elem.Exists() {
			return "list(" + terraformType(elem, depth+1) + ")"
		}
		if it, err := v.List(); err == nil && it.Next() {
			return "list(" + terraformType(it.Value(), depth+1) + ")"
		}
		return "list(any)"
	case kind == cue.StructKind:
		return structType(v, depth)
	case kind == cue.NullKind:
		return ""
	}
	return "any"
}

func structType(v cue.Value, depth int) string {
	var fields []string
	if it, err := v.Fields(cue.Optional(true)); err == nil {
		for it.Next() {
			if !it.Selector().IsString() {
				continue
			}
			t := terraformType(it.Value(), depth+1)
			if it.FieldType()&cue.OptionalConstraint != 0 {
				t = "optional(" + t + ")"
			}
			fields = append(fields, fmt.Sprintf("%s=%s", it.Selector().Unquoted(), t))
		}
	}
	if len(fields) == 0 {
		it, err := v.Fields(cue.Patterns(true))
		for err == nil && it.Next() {
			if sel := it.Selector(); sel.LabelType() == cue.StringLabel && sel.ConstraintType() == cue.PatternConstraint {
				return "map(" + terraformType(it.Value(), depth+1) + ")"
			}
		}
		return "map(any)"
	}
	slices.Sort(fields)
	return "object({" + strings.Join(fields, ",") + "})"
}
