package catalog

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"

	"github.com/pave-dev/pave/reconciler"
)

// Attribute is the attribute of an input that says how a form shows it:
// @pave(label="Size", group="Sizing", order=1). CUE passes over it.
const Attribute = "pave"

// maxOptions bounds how far a constraint is taken apart. A form offers no
// more choices, and takes what is more involved as CUE data.
const maxOptions = 64

// fieldOf describes an input for a form. constraint says whether it may be
// absent, or must be said.
func fieldOf(v cue.Value, constraint cue.SelectorType) reconciler.Field {
	f := reconciler.Field{Help: helpOf(v), Control: reconciler.ControlData}
	attribute := v.Attribute(Attribute)
	if attribute.Err() == nil {
		f.Label, _, _ = attribute.Lookup(0, "label") // what is not said is empty
		f.Group, _, _ = attribute.Lookup(0, "group")
		order, _, _ := attribute.Lookup(0, "order")
		f.Order, _ = strconv.Atoi(order)
	}
	regular := constraint&(cue.OptionalConstraint|cue.RequiredConstraint) == 0
	if d, _ := v.Default(); d.Validate(cue.Concrete(true)) == nil && regular {
		if doc, err := sortedJSON(d); err == nil {
			f.Default = doc
		}
	}
	f.Fixed = regular && v.IsConcrete() && v.Kind()&(cue.StructKind|cue.ListKind) == 0
	f.Required = constraint&cue.RequiredConstraint != 0 || regular && f.Default == nil
	all := optionsOf(v, 0)
	f.Reference = slices.ContainsFunc(all, func(a option) bool { return a.reference })
	all = slices.DeleteFunc(all, func(a option) bool { return a.reference || a.kind == cue.NullKind })
	choose(&f, all, v)
	return f
}

// helpOf returns the comment above an input, without those of the definitions
// that it refers to.
func helpOf(v cue.Value) string {
	at := declared(v)
	for _, group := range v.Doc() {
		if p := position(group.Pos()); p.File == at.File && p.Line <= at.Line {
			return strings.Join(strings.Fields(group.Text()), " ")
		}
	}
	return ""
}

// choose sets the control that suits the options, and what it knows of its
// values.
func choose(f *reconciler.Field, all []option, v cue.Value) {
	var kinds cue.Kind
	literals := len(all) > 0 && len(all) <= maxOptions
	for _, a := range all {
		kinds |= a.kind
		literals = literals && a.literal != nil
	}
	switch {
	case literals && kinds&^(cue.StringKind|cue.NumberKind|cue.BoolKind) == 0:
		f.Control = reconciler.ControlChoice
		for _, a := range all {
			if !slices.ContainsFunc(f.Choices, func(c json.RawMessage) bool { return string(c) == string(a.literal) }) {
				f.Choices = append(f.Choices, a.literal)
			}
		}
	case kinds == cue.BoolKind:
		f.Control = reconciler.ControlSwitch
	case kinds == cue.IntKind:
		f.Control = reconciler.ControlWhole
	case kinds != 0 && kinds&^cue.NumberKind == 0:
		f.Control = reconciler.ControlNumber
	case kinds == cue.StringKind:
		f.Control = reconciler.ControlText
	case kinds == cue.ListKind && terraformType(v, 0) == "list(string)":
		f.Control = reconciler.ControlLines
	case kinds == cue.ListKind:
		if f.Columns = columnsOf(v); f.Columns != nil {
			f.Control = reconciler.ControlRows
		}
	}
	// Beside plain values there may be one constraint; of two, neither is said.
	all = slices.DeleteFunc(all, func(a option) bool { return a.literal != nil })
	if len(all) != 1 {
		return
	}
	a := all[0]
	f.Min, f.Max = a.min.text(f.Control), a.max.text(f.Control)
	if f.Control == reconciler.ControlText {
		f.MinLength, f.MaxLength, f.Pattern = a.minLength, a.maxLength, a.pattern
	}
}

// mostColumns bounds the fields of an entry that a form shows.
const mostColumns = 12

// columnsOf describes the fields of the entries of a list, where each of them takes one
// plain value; nil of any other list.
func columnsOf(v cue.Value) []reconciler.Column {
	var elem cue.Value
	for _, arm := range arms(v) {
		if e := arm.LookupPath(cue.MakePath(cue.AnyIndex)); e.Exists() {
			if elem.Exists() {
				return nil
			}
			elem = e
		}
	}
	if !elem.Exists() || len(arms(elem)) > 1 || elem.IncompleteKind() != cue.StructKind || isReference(elem) {
		return nil
	}
	fields, err := elem.Fields(cue.Optional(true))
	if err != nil {
		return nil
	}
	var columns []reconciler.Column
	for fields.Next() {
		c := reconciler.Column{Name: fields.Selector().Unquoted(), Field: fieldOf(fields.Value(), fields.Selector().ConstraintType())}
		switch c.Control {
		case reconciler.ControlData, reconciler.ControlLines, reconciler.ControlRows:
			return nil
		}
		if c.Reference || c.Fixed || len(columns) == mostColumns {
			return nil
		}
		columns = append(columns, c)
	}
	return columns
}

// option is one of the values or kinds of values that a constraint allows.
type option struct {
	kind                 cue.Kind
	literal              json.RawMessage // nil where it is no single value
	reference            bool            // it is schema.#Ref
	min, max             bound
	minLength, maxLength int
	pattern              string // empty where there is none, or several
	patterns             int
}

// bound is the end of a range; nil is none.
type bound struct {
	value    *big.Rat
	open     bool // the value itself is outside
	upper    bool
	fraction string // as it is written
}

// text returns the bound as the control takes it.
func (b bound) text(c reconciler.Control) string {
	switch {
	case b.value == nil || c != reconciler.ControlWhole && c != reconciler.ControlNumber:
		return ""
	case c == reconciler.ControlNumber:
		return b.fraction
	}
	// The last whole number inside.
	n := new(big.Int).Div(b.value.Num(), b.value.Denom()) // rounds down
	exact := b.value.IsInt()
	switch {
	case b.upper && exact && b.open:
		n.Sub(n, big.NewInt(1))
	case !b.upper && (!exact || b.open):
		n.Add(n, big.NewInt(1))
	}
	return n.String()
}

// tighter returns the bound that allows less.
func (b bound) tighter(other bound) bound {
	switch {
	case b.value == nil:
		return other
	case other.value == nil:
		return b
	}
	order := b.value.Cmp(other.value)
	if b.upper {
		order = -order
	}
	if order < 0 || order == 0 && other.open {
		return other
	}
	return b
}

// optionsOf takes a constraint apart.
func optionsOf(v cue.Value, depth int) []option {
	whole := []option{{kind: v.IncompleteKind()}}
	if depth > 8 {
		return whole
	}
	if isReference(v) {
		return []option{{kind: cue.StructKind, reference: true}}
	}
	op, args := v.Expr()
	switch op {
	case cue.OrOp:
		var all []option
		for _, arg := range args {
			all = append(all, optionsOf(arg, depth+1)...)
		}
		return all
	case cue.AndOp:
		both := optionsOf(args[0], depth+1)
		for _, arg := range args[1:] {
			both = product(both, optionsOf(arg, depth+1))
		}
		return both
	case cue.SelectorOp, cue.IndexOp:
		if to := cue.Dereference(v); to.Path().String() != v.Path().String() {
			return optionsOf(to, depth+1)
		}
	case cue.GreaterThanOp, cue.GreaterThanEqualOp, cue.LessThanOp, cue.LessThanEqualOp:
		return []option{ranged(op, args[0])}
	case cue.RegexMatchOp:
		pattern, err := args[0].String()
		if err == nil {
			return []option{{kind: cue.StringKind, pattern: pattern, patterns: 1}}
		}
	case cue.CallOp:
		return []option{called(v, args)}
	case cue.NoOp:
		if v.IsConcrete() && v.Kind()&(cue.StructKind|cue.ListKind) == 0 {
			if doc, err := v.MarshalJSON(); err == nil {
				whole[0].literal = doc
			}
		}
	}
	return whole
}

// ranged is what a bound allows.
func ranged(op cue.Op, end cue.Value) option {
	a := option{kind: cue.NumberKind}
	text, err := end.MarshalJSON()
	value, ok := new(big.Rat).SetString(string(text))
	if err != nil || !ok {
		return option{kind: end.IncompleteKind()}
	}
	b := bound{value: value, open: op == cue.GreaterThanOp || op == cue.LessThanOp, fraction: string(text)}
	if op == cue.LessThanOp || op == cue.LessThanEqualOp {
		b.upper = true
		a.max = b
	} else {
		a.min = b
	}
	return a
}

// called is what a validator allows.
func called(v cue.Value, args []cue.Value) option {
	a := option{kind: v.IncompleteKind()}
	if len(args) != 2 {
		return a
	}
	n, err := args[1].Int64()
	if err != nil || n < 0 || n > 1<<20 {
		return a
	}
	switch f, _, _ := strings.Cut(source(args[0]), "("); f {
	case "strings.MinRunes":
		a.minLength = int(n)
	case "strings.MaxRunes":
		a.maxLength = int(n)
	}
	return a
}

// source is a value as CUE writes it.
func source(v cue.Value) string {
	text, err := v.MarshalJSON()
	if err == nil {
		return string(text)
	}
	return strings.TrimSpace(fmt.Sprint(v))
}

// product returns what both allow.
func product(a, b []option) []option {
	if len(a)*len(b) > maxOptions*maxOptions {
		return append(a, b...)
	}
	var all []option
	for _, x := range a {
		for _, y := range b {
			if both := x; x.kind&y.kind != 0 && x.reference == y.reference {
				both.kind &= y.kind
				if both.literal == nil {
					both.literal = y.literal
				}
				both.min, both.max = x.min.tighter(y.min), x.max.tighter(y.max)
				both.minLength = max(x.minLength, y.minLength)
				if x.maxLength == 0 || y.maxLength != 0 && y.maxLength < x.maxLength {
					both.maxLength = y.maxLength
				}
				both.patterns += y.patterns
				both.pattern += y.pattern
				if both.patterns > 1 {
					both.pattern = ""
				}
				all = append(all, both)
			}
		}
	}
	return all
}
