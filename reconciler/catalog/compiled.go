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
// the constraints that CUE has evaluated once are compiled into checkers, which
// look at literals only.
//
// A checker accepts exactly or is unsure. What it accepts CUE accepts, and the JSON
// it writes is CUE's; whatever it does not know for certain, and whatever it does
// not accept, is CUE's to judge, which alone refuses and explains. That holds for
// constraints of which no part depends on what the document says in another place:
// plain.go tells which those are.

// checker accepts values under one constraint.
type checker struct {
	compiler *compiler
	value    cue.Value
	anything bool      // the constraint is _
	scalar   predicate // of scalars
	fields   *fields   // of structs, nil until one was seen
	items    *items    // of lists, nil until one was seen
}

// predicate tells whether a scalar literal is accepted as it is.
type predicate func(x any) bool

// compiler makes checkers, but no more than some: what a document says decides how
// many there are.
type compiler struct {
	ctx  *cue.Context
	left int
}

// maxCheckers is the number of checkers that a compiler makes, and maxFixed the
// length of the longest list whose items are told apart.
const (
	maxCheckers = 4096
	maxFixed    = 16
)

// compile returns the checker of an evaluated constraint.
func (c *compiler) compile(v cue.Value) *checker {
	if c.left--; c.left < 0 || v.Err() != nil {
		return &checker{compiler: c, scalar: never, fields: &fields{}, items: &items{}}
	}
	return &checker{compiler: c, value: v, anything: isTop(v), scalar: scalarOf(v)}
}

// accept appends the JSON that CUE would make of the value, and tells whether the
// value is accepted.
func (c *checker) accept(out []byte, x any) ([]byte, bool) {
	switch x := x.(type) {
	case map[string]any:
		if c.anything {
			return appendLiteral(out, x)
		}
		if c.fields == nil {
			c.fields = c.compiler.fieldsOf(c.value)
		}
		return c.fields.accept(out, x, nil)
	case []any:
		if c.anything {
			return appendLiteral(out, x)
		}
		if c.items == nil {
			c.items = c.compiler.itemsOf(c.value)
		}
		return c.items.accept(out, x)
	}
	if !c.scalar(x) {
		return out, false
	}
	return appendLiteral(out, x)
}

// fields accepts structs under one constraint. The zero value accepts none.
type fields struct {
	compiler *compiler
	value    cue.Value
	known    map[string]*checker
	absent   map[string][]byte // what a field is that is not said; nil where it must be
}

// fieldsOf compiles what the constraint asks of a struct.
func (c *compiler) fieldsOf(v cue.Value) *fields {
	if v.Kind() != cue.StructKind {
		// Of alternatives, those that a struct may be; CUE knows whether one is left.
		v = v.Unify(c.ctx.BuildExpr(ast.NewStruct()))
	}
	if v.Err() != nil || v.Kind() != cue.StructKind {
		return &fields{}
	}
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return &fields{}
	}
	f := &fields{compiler: c, value: v, known: map[string]*checker{}, absent: map[string][]byte{}}
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

// field returns the checker of a field that is said. That makes an optional field a
// regular one, and its name may match patterns, so CUE is asked what it must be.
func (f *fields) field(name string) *checker {
	if c, known := f.known[name]; known {
		return c
	}
	said := f.value.Unify(f.compiler.ctx.BuildExpr(ast.NewStruct(ast.NewString(name), ast.NewIdent("_"))))
	c := f.compiler.compile(said.LookupPath(cue.MakePath(cue.Str(name))))
	if f.compiler.left >= 0 {
		f.known[name] = c
	}
	return c
}

// accept accepts a struct in which nothing else is said of the fields that are given.
func (f *fields) accept(out []byte, said map[string]any, given map[string][]byte) ([]byte, bool) {
	if f.known == nil {
		return out, false
	}
	names := make([]string, 0, len(said)+len(f.absent))
	for name := range said {
		names = append(names, name)
	}
	for name := range f.absent {
		if _, is := said[name]; !is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		var ok bool
		if out, ok = appendString(out, name); !ok {
			return out, false
		}
		out = append(out, ':')
		x, is := said[name]
		known, computed := given[name]
		switch {
		case is && computed:
			return out, false
		case is:
			if out, ok = f.field(name).accept(out, x); !ok {
				return out, false
			}
		default:
			if !computed {
				known = f.absent[name]
			}
			if known == nil {
				return out, false
			}
			out = append(out, known...)
		}
	}
	return append(out, '}'), true
}

// items accepts lists under one constraint. The zero value accepts none.
type items struct {
	known bool
	fixed []*checker
	more  *checker // of what follows; nil where nothing may
}

// itemsOf compiles what the constraint asks of a list.
func (c *compiler) itemsOf(v cue.Value) *items {
	if v.Kind() != cue.ListKind {
		v = v.Unify(c.ctx.BuildExpr(ast.NewList(&ast.Ellipsis{})))
	}
	it, err := v.List()
	if err != nil || v.Kind() != cue.ListKind {
		return &items{}
	}
	n := 0
	for it.Next() {
		n++
	}
	if n > maxFixed {
		return &items{}
	}
	// What the items must be CUE tells of a list that has them.
	ofLength := func(n int) cue.Value {
		tops := make([]ast.Expr, n)
		for i := range tops {
			tops[i] = ast.NewIdent("_")
		}
		return v.Unify(c.ctx.BuildExpr(ast.NewList(tops...)))
	}
	all := items{known: true}
	list := ofLength(n + 1)
	if list.Err() == nil {
		all.more = c.compile(list.LookupPath(cue.MakePath(cue.Index(n))))
	} else if list = ofLength(n); list.Err() != nil {
		return &items{}
	}
	for i := range n {
		all.fixed = append(all.fixed, c.compile(list.LookupPath(cue.MakePath(cue.Index(i)))))
	}
	return &all
}

func (l *items) accept(out []byte, list []any) ([]byte, bool) {
	if !l.known || len(list) < len(l.fixed) || len(list) > len(l.fixed) && l.more == nil {
		return out, false
	}
	out = append(out, '[')
	for i, x := range list {
		if i > 0 {
			out = append(out, ',')
		}
		c := l.more
		if i < len(l.fixed) {
			c = l.fixed[i]
		}
		var ok bool
		if out, ok = c.accept(out, x); !ok {
			return out, false
		}
	}
	return append(out, ']'), true
}

func never(any) bool { return false }

// basicTypes are the constraints that CUE prints by their name.
var basicTypes = map[string]cue.Kind{
	"string": cue.StringKind, "bool": cue.BoolKind, "int": cue.IntKind, "float": cue.FloatKind,
	"number": cue.NumberKind, "_": cue.TopKind,
}

func isTop(v cue.Value) bool {
	return v.IncompleteKind() == cue.TopKind && fmt.Sprint(v) == "_"
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

// appendLiteral appends a literal as JSON, its fields sorted.
func appendLiteral(out []byte, x any) ([]byte, bool) {
	ok := true
	switch x := x.(type) {
	case nil:
		return append(out, "null"...), true
	case bool:
		return strconv.AppendBool(out, x), true
	case string:
		return appendString(out, x)
	case *big.Int:
		return x.Append(out, 10), true
	case *apd.Decimal:
		// CUE would round what has more digits than it computes with.
		return x.Append(out, 'G'), x.NumDigits() <= 30
	case []any:
		out = append(out, '[')
		for i, item := range x {
			if i > 0 {
				out = append(out, ',')
			}
			if out, ok = appendLiteral(out, item); !ok {
				return out, false
			}
		}
		return append(out, ']'), true
	case map[string]any:
		out = append(out, '{')
		for i, name := range slices.Sorted(maps.Keys(x)) {
			if i > 0 {
				out = append(out, ',')
			}
			if out, ok = appendString(out, name); !ok {
				return out, false
			}
			if out, ok = appendLiteral(append(out, ':'), x[name]); !ok {
				return out, false
			}
		}
		return append(out, '}'), true
	}
	return out, false
}

// appendString appends a text as JSON, as [sortFields] writes it.
func appendString(out []byte, s string) ([]byte, bool) {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
	if plain {
		return append(append(append(out, '"'), s...), '"'), true
	}
	if !utf8.ValidString(s) {
		return out, false
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return append(out, bytes.TrimSpace(text.Bytes())...), err == nil
}

// compiled is what is known of the documents of a kind, of a blueprint and an
// environment if they are requests.
type compiled struct {
	fields    *fields
	confirmed bool // CUE said the same of the first document that was accepted
	refuted   bool // CUE said something else
}

// accepted returns the JSON of a document that its compiled constraints accept; nil
// where they are unsure.
func (ev *evaluation) accepted(e entry) (json.RawMessage, *compiled) {
	c := ev.compiledFor(e)
	if c == nil || c.refuted {
		return nil, nil
	}
	said := maps.Clone(e.value)
	if name, is := said["name"]; is && name != e.name {
		return nil, nil
	}
	said["name"] = e.name
	var given map[string][]byte
	if blueprint, is := said["blueprint"].(string); is && e.kind == "request" {
		if _, is := said["outputs"]; is {
			return nil, nil
		}
		said["outputs"] = ev.handed(e.name, blueprint)
		if ev.plainness.blueprints[blueprint] == priced {
			given = map[string][]byte{"cost": ev.cost(blueprint, said["inputs"])}
		}
	}
	doc, ok := c.fields.accept(make([]byte, 0, 1024), said, given)
	if !ok {
		return nil, nil
	}
	return doc, c
}

// compiledFor returns the compiled constraints on a document, nil where they are
// not plain.
func (ev *evaluation) compiledFor(e entry) *compiled {
	blueprint, _ := e.value["blueprint"].(string)
	environment, _ := e.value["environment"].(string)
	key := [2]string{blueprint, environment}
	constraint, found := ev.byName[blueprint]
	switch {
	case e.kind == "service":
		constraint, key = ev.service, [2]string{}
		found = ev.plainness.services == plain
	case !found || !ev.environments[environment]:
		return nil
	default:
		found = ev.plainness.requests == plain && ev.plainness.blueprints[blueprint] != entangled
		if found && ev.compiled[key] == nil {
			constraint = constraint.FillPath(cue.MakePath(cue.Str("environment")), environment)
		}
	}
	if !found {
		return nil
	}
	c := ev.compiled[key]
	if c == nil {
		c = &compiled{fields: (&compiler{ev.ctx, maxCheckers}).fieldsOf(constraint)}
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
