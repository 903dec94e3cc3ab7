package catalog

import (
	"encoding/json"
	"maps"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
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
