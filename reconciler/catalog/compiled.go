package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"github.com/cockroachdb/apd/v3"
)

// Unifying a document with its constraints is most of what an evaluation costs,
// and most constraints are simple: a kind, a pattern, bounds, some alternatives. So
// what CUE makes of the constraints is compiled into checkers, which look at
// literals only.
//
// A checker accepts exactly or is unsure. What it accepts CUE accepts, and the JSON
// it writes is CUE's; whatever it does not know for certain, and whatever it does
// not accept, is CUE's to judge, which alone refuses and explains. That holds for
// constraints of which no part depends on what the document says in another place:
// plain.go tells which those are.
//
// A checker learns what it must know from documents. Of one that says something new
// CUE is shown the shape, each scalar being _, and what CUE makes of that is what
// every document must say in those places. Shapes grow by a level at a time: where
// an empty struct leaves more than one alternative, what a struct says decides
// which, and the checker stays unsure.

// checker accepts values in one place of a document.
type checker struct {
	scalar predicate // nil until a scalar was seen
	fields *fields   // nil until a struct was seen
	items  *items    // nil until a list was seen
}

// predicate tells whether a scalar literal is accepted as it is.
type predicate func(x any) bool

// fields accepts structs.
type fields struct {
	unsure bool
	said   map[string]*checker
	absent map[string][]byte // the field where it is not said, as JSON; nil where it must be
}

// items accepts lists.
type items struct {
	unsure bool
	fixed  []checker
	more   checker // of what follows
}

// verdict is what a checker says.
type verdict int

const (
	accepted verdict = iota
	unsure
	unknown // there is something to learn
)

// accept appends the JSON that CUE would make of the value.
func (c *checker) accept(out []byte, x any) ([]byte, verdict) {
	switch x := x.(type) {
	case map[string]any:
		return c.fields.accept(out, x, nil)
	case []any:
		return c.items.accept(out, x)
	}
	switch {
	case c.scalar == nil:
		return out, unknown
	case !c.scalar(x):
		return out, unsure
	}
	return appendLiteral(out, x)
}

// accept accepts a struct, of which the given fields are known and may not be said.
func (f *fields) accept(out []byte, doc map[string]any, given map[string][]byte) ([]byte, verdict) {
	switch {
	case f == nil:
		return out, unknown
	case f.unsure:
		return out, unsure
	}
	names := make([]string, 0, len(doc)+len(f.absent))
	for name := range doc {
		names = append(names, name)
	}
	for name := range f.absent {
		if _, is := doc[name]; !is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		var v verdict
		if out, v = appendString(out, name); v != accepted {
			return out, v
		}
		out = append(out, ':')
		known, is := given[name]
		if !is {
			known = f.absent[name]
		}
		x, says := doc[name]
		switch {
		case says && is, !says && known == nil:
			return out, unsure
		case !says:
			out = append(out, known...)
		case f.said[name] == nil:
			return out, unknown
		default:
			if out, v = f.said[name].accept(out, x); v != accepted {
				return out, v
			}
		}
	}
	return append(out, '}'), accepted
}

func (l *items) accept(out []byte, list []any) ([]byte, verdict) {
	switch {
	case l == nil:
		return out, unknown
	case l.unsure || len(list) < len(l.fixed):
		return out, unsure
	}
	out = append(out, '[')
	for i, x := range list {
		if i > 0 {
			out = append(out, ',')
		}
		var v verdict
		if out, v = l.at(i).accept(out, x); v != accepted {
			return out, v
		}
	}
	return append(out, ']'), accepted
}

func (l *items) at(i int) *checker {
	if i < len(l.fixed) {
		return &l.fixed[i]
	}
	return &l.more
}

// shape returns what CUE is shown of a value, which is what the checker knows of it
// and a level more.
func (c *checker) shape(x any) ast.Expr {
	switch x := x.(type) {
	case map[string]any:
		s := &ast.StructLit{}
		if c != nil && c.fields != nil {
			for name, x := range x {
				s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(name), Value: c.fields.said[name].shape(x)})
			}
		}
		return s
	case []any:
		l := &ast.ListLit{}
		if c == nil || c.items == nil {
			l.Elts = append(l.Elts, &ast.Ellipsis{})
			return l
		}
		for i, x := range x {
			l.Elts = append(l.Elts, c.items.at(i).shape(x))
		}
		return l
	}
	return ast.NewIdent("_")
}

// learn takes what CUE made of the value's shape.
func (c *checker) learn(v cue.Value, x any) {
	switch x := x.(type) {
	case map[string]any:
		switch {
		case c.fields == nil:
			c.fields = fieldsOf(v)
		case !c.fields.unsure:
			for name, x := range x {
				said := v.LookupPath(cue.MakePath(cue.Str(name)))
				if !said.Exists() {
					continue // an item before it taught the checker, and this shape is older
				}
				if c.fields.said[name] == nil {
					c.fields.said[name] = &checker{}
				}
				c.fields.said[name].learn(said, x)
			}
		}
	case []any:
		switch {
		case c.items == nil:
			c.items = itemsOf(v)
		case !c.items.unsure:
			for i, x := range x {
				c.items.at(i).learn(v.LookupPath(cue.MakePath(cue.Index(i))), x)
			}
		}
	default:
		if c.scalar == nil {
			c.scalar = scalarOf(v)
		}
	}
}

// fieldsOf compiles what CUE makes of a struct that says nothing.
func fieldsOf(v cue.Value) *fields {
	it, err := v.Fields(cue.Optional(true))
	if err != nil || v.Kind() != cue.StructKind {
		return &fields{unsure: true}
	}
	f := &fields{said: map[string]*checker{}, absent: map[string][]byte{}}
	for it.Next() {
		switch it.FieldType() {
		case cue.StringLabel:
			f.absent[it.Selector().Unquoted()] = concreteJSON(it.Value())
		case cue.StringLabel | cue.RequiredConstraint:
			f.absent[it.Selector().Unquoted()] = nil
		}
	}
	return f
}

// itemsOf compiles what CUE makes of a list of any length.
func itemsOf(v cue.Value) *items {
	it, err := v.List()
	if err != nil || v.Kind() != cue.ListKind {
		return &items{unsure: true}
	}
	l := &items{}
	for it.Next() {
		l.fixed = append(l.fixed, checker{})
	}
	return l
}

func never(any) bool { return false }

// basicTypes are the constraints that CUE prints by their name.
var basicTypes = map[string]cue.Kind{
	"string": cue.StringKind, "bool": cue.BoolKind, "int": cue.IntKind, "float": cue.FloatKind,
	"number": cue.NumberKind, "_": cue.TopKind,
}

// kindOf returns the kind of a literal.
func kindOf(x any) cue.Kind {
	switch x.(type) {
	case nil:
		return cue.NullKind
	case bool:
		return cue.BoolKind
	case string:
		return cue.StringKind
	case *big.Int:
		return cue.IntKind
	case *apd.Decimal:
		return cue.FloatKind
	}
	return cue.BottomKind
}

// scalarOf compiles the parts of an evaluated constraint that a scalar can meet.
func scalarOf(v cue.Value) predicate {
	if kind := v.Kind(); v.Err() != nil || kind == cue.StructKind || kind == cue.ListKind {
		return never
	}
	if v.IsConcrete() {
		return constant(v)
	}
	op, args := v.Eval().Expr()
	switch op {
	case cue.AndOp, cue.OrOp:
		all := make([]predicate, len(args))
		for i, arg := range args {
			all[i] = scalarOf(arg)
		}
		if op == cue.AndOp {
			return func(x any) bool { return !slices.ContainsFunc(all, func(p predicate) bool { return !p(x) }) }
		}
		return func(x any) bool { return slices.ContainsFunc(all, func(p predicate) bool { return p(x) }) }
	case cue.NoOp:
		// The one alternative that a default leaves has a form of its own.
		if only, _ := args[0].Eval().Expr(); only != cue.NoOp {
			return scalarOf(args[0])
		}
		kinds := basicTypes[fmt.Sprint(args[0])]
		return func(x any) bool { return kindOf(x)&kinds != 0 }
	case cue.CallOp:
		return validator(args)
	}
	if len(args) != 1 {
		return never
	}
	if args[0].Kind() == cue.StringKind {
		return stringBound(op, args[0])
	}
	return numberBound(op, args[0])
}

// constant accepts what is written as CUE would write the value.
func constant(v cue.Value) predicate {
	switch v.Kind() {
	case cue.NullKind:
		return func(x any) bool { return x == nil }
	case cue.BoolKind:
		want, err := v.Bool()
		return func(x any) bool { return err == nil && x == want }
	case cue.StringKind:
		want, err := v.String()
		return func(x any) bool { return err == nil && x == want }
	case cue.IntKind:
		want, err := v.MarshalJSON()
		return func(x any) bool {
			n, is := x.(*big.Int)
			return err == nil && is && n.String() == string(want)
		}
	}
	return never
}

// stringBound compiles `=~"x"`, `!~"x"` and `!="x"`.
func stringBound(op cue.Op, arg cue.Value) predicate {
	text, err := arg.String()
	if err != nil {
		return never
	}
	if op == cue.NotEqualOp {
		return func(x any) bool { s, is := x.(string); return is && s != text }
	}
	pattern, err := regexp.Compile(text)
	if err != nil || op != cue.RegexMatchOp && op != cue.NotRegexMatchOp {
		return never
	}
	return func(x any) bool {
		s, is := x.(string)
		return is && pattern.MatchString(s) == (op == cue.RegexMatchOp)
	}
}

// numberBound compiles `>=1` and its like.
func numberBound(op cue.Op, arg cue.Value) predicate {
	var mantissa big.Int
	exponent, err := arg.MantExp(&mantissa)
	if err != nil {
		return never
	}
	bound := apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(&mantissa), int32(exponent))
	holds, known := map[cue.Op]func(int) bool{
		cue.LessThanOp:         func(c int) bool { return c < 0 },
		cue.LessThanEqualOp:    func(c int) bool { return c <= 0 },
		cue.GreaterThanOp:      func(c int) bool { return c > 0 },
		cue.GreaterThanEqualOp: func(c int) bool { return c >= 0 },
		cue.NotEqualOp:         func(c int) bool { return c != 0 },
	}[op]
	if !known {
		return never
	}
	return func(x any) bool {
		switch x := x.(type) {
		case *big.Int:
			return holds(apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(x), 0).Cmp(bound))
		case *apd.Decimal:
			return holds(x.Cmp(bound))
		}
		return false
	}
}

// validator compiles a call of a function that is a constraint: the function and
// its arguments.
func validator(call []cue.Value) predicate {
	if len(call) != 2 {
		return never
	}
	switch fmt.Sprint(call[0]) {
	case "strings.MinRunes":
		n, err := call[1].Int64()
		return func(x any) bool {
			s, is := x.(string)
			return err == nil && is && int64(utf8.RuneCountInString(s)) >= n
		}
	case "strings.MaxRunes":
		n, err := call[1].Int64()
		return func(x any) bool {
			s, is := x.(string)
			return err == nil && is && int64(utf8.RuneCountInString(s)) <= n
		}
	case "time.Format":
		layout, err := call[1].String()
		return func(x any) bool {
			s, is := x.(string)
			if err != nil || !is {
				return false
			}
			_, err := time.ParseInLocation(layout, s, time.UTC)
			return err == nil
		}
	}
	return never
}

// appendLiteral appends a scalar literal as JSON.
func appendLiteral(out []byte, x any) ([]byte, verdict) {
	switch x := x.(type) {
	case nil:
		return append(out, "null"...), accepted
	case bool:
		return strconv.AppendBool(out, x), accepted
	case string:
		return appendString(out, x)
	case *big.Int:
		return x.Append(out, 10), accepted
	case *apd.Decimal:
		if x.NumDigits() <= maxDigits {
			return x.Append(out, 'G'), accepted
		}
	}
	return out, unsure
}

// maxDigits is a number of digits up to which CUE does not round.
const maxDigits = 30

// appendString appends a text as JSON, as [sortFields] writes it.
func appendString(out []byte, s string) ([]byte, verdict) {
	odd := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if !strings.ContainsFunc(s, odd) {
		return append(append(append(out, '"'), s...), '"'), accepted
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if !utf8.ValidString(s) || enc.Encode(s) != nil {
		return out, unsure
	}
	return append(out, bytes.TrimSpace(text.Bytes())...), accepted
}

// compiled is what is known of the documents of a kind; of a blueprint and an
// environment as well if they are requests.
type compiled struct {
	constraint cue.Value
	blueprint  string
	checker    checker
	seen       int  // documents
	lessons    int  // that were learnt
	confirmed  bool // CUE said the same of the first document that was accepted
	refuted    bool // CUE said something else
}

const (
	// worthwhile is the number of documents of a kind from which on learning what
	// they must say costs less than it spares.
	worthwhile = 8
	// maxLessons bounds what documents can make a checker learn.
	maxLessons = 500
)

// trusted tells whether a document is to be checked, and counts it.
func (c *compiled) trusted() bool {
	c.seen++
	return c.seen > worthwhile && !c.refuted
}

// check returns the JSON of a document that the compiled constraints accept; nil
// where they are unsure.
func (c *compiled) check(ev *evaluation, e entry) json.RawMessage {
	if name, is := e.value["name"]; is && name != e.name {
		return nil
	}
	doc := maps.Clone(e.value)
	doc["name"] = e.name
	var given map[string][]byte
	if e.kind == "request" {
		if _, is := doc["outputs"]; is {
			return nil
		}
		doc["outputs"] = ev.handed(e.name, c.blueprint)
		if ev.plainness.blueprints[c.blueprint] == priced {
			given = map[string][]byte{"cost": ev.cost(c.blueprint, doc["inputs"])}
		}
	}
	for {
		out, verdict := c.checker.fields.accept(make([]byte, 0, 1024), doc, given)
		if verdict == accepted {
			return out
		}
		if verdict == unsure || c.lessons == maxLessons {
			return nil
		}
		c.lessons++
		v := c.constraint.Unify(ev.ctx.BuildExpr(c.checker.shape(doc)))
		if v.Validate() != nil {
			return nil
		}
		c.checker.learn(v, doc)
	}
}

// compiledFor returns the compiled constraints on a document, nil where they are
// not plain.
func (ev *evaluation) compiledFor(e entry) *compiled {
	var key [2]string
	constraint, degree := ev.service, ev.plainness.services
	if e.kind == "request" {
		blueprint, _ := e.value["blueprint"].(string)
		environment, _ := e.value["environment"].(string)
		listed, found := ev.plainness.blueprints[blueprint]
		if !found || !ev.byName[blueprint].Exists() || !ev.environments[environment] {
			return nil
		}
		key, constraint = [2]string{blueprint, environment}, ev.byName[blueprint]
		degree = max(ev.plainness.requests, listed)
	}
	if degree == entangled {
		return nil
	}
	c := ev.compiled[key]
	if c == nil {
		c = &compiled{constraint: constraint, blueprint: key[0]}
		if e.kind == "request" {
			c.constraint = constraint.FillPath(cue.MakePath(cue.Str("environment")), key[1])
		}
		ev.compiled[key] = c
	}
	return c
}

// cost returns what a request of a blueprint costs that has the inputs, as JSON.
func (ev *evaluation) cost(blueprint string, inputs any) []byte {
	request := ev.blueprints.LookupPath(cue.MakePath(cue.Str(blueprint), cue.Str("request")))
	if inputs != nil {
		request = request.FillPath(cue.MakePath(cue.Str("inputs")), inputs)
	}
	return concreteJSON(request.LookupPath(cue.MakePath(cue.Str("cost"))))
}
