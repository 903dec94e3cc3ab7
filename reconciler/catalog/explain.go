package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pave-dev/pave/reconciler"
)

// problem is one thing wrong with a value, in words for its author.
type problem struct {
	path     []string
	position reconciler.Position
	message  string
	hint     string
	// places are all positions in documents that CUE names.
	places []reconciler.Position
}

func (p problem) violation(scope reconciler.Scope, kind, name, file string) reconciler.Violation {
	at := p.position
	if at.File == "" {
		at.File = file
	}
	return reconciler.Violation{Level: reconciler.Deny, Scope: scope, Kind: kind, Name: name,
		Path: p.path, Position: at, Message: p.message, Hint: p.hint}
}

// inDocument reports the problem of a document that stands at a place. Where
// the problem has no line of a document, that place is named.
func (p problem) inDocument(scope reconciler.Scope, kind, name string, at reconciler.Position) reconciler.Violation {
	v := p.violation(scope, kind, name, at.File)
	if _, blueprint := blueprintOf(v.Position.File); blueprint || v.Position.Line == 0 {
		v.Position = at
	}
	return v
}

// cueProblems returns CUE's own messages, each with its most telling position:
// in a document rather than in a blueprint, and never in the schema.
func cueProblems(errs []errors.Error) []problem {
	rank := func(file string) int {
		switch {
		case file == "" || strings.HasPrefix(file, "cue.mod/pkg/"):
			return 2
		case strings.HasPrefix(file, BlueprintFolder+"/"):
			return 1
		}
		return 0
	}
	var all []problem
	for _, e := range errs {
		format, args := e.Msg()
		p := problem{path: e.Path(), message: fmt.Sprintf(format, args...)}
		for _, pos := range errors.Positions(e) {
			at := position(pos)
			if rank(at.File) < rank(p.position.File) {
				p.position = at
			}
			if rank(at.File) == 0 && !slices.Contains(p.places, at) {
				p.places = append(p.places, at)
			}
		}
		all = append(all, p)
	}
	return all
}

// explain says what is wrong with a value that CUE refuses. prefix leads to
// the value in the errors' paths. schema, where it exists, is the constraint
// alone; body, where it is known, is the source of the value. CUE reports one
// alternative of a disjunction a line and hides unknown and missing fields
// behind any other error, so both are found here.
func explain(errs []errors.Error, prefix []string, v, schema cue.Value, body *ast.StructLit) []problem {
	x := explainer{value: v, schema: schema, body: body, seen: map[string]bool{}}
	var order []string
	groups := map[string][]problem{}
	for _, p := range cueProblems(errs) {
		p.path = cleanPath(p.path)
		if len(p.path) >= len(prefix) && slices.Equal(p.path[:len(prefix)], prefix) {
			p.path = p.path[len(prefix):]
		}
		key := strings.Join(p.path, "\x00")
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], p)
	}
	for _, key := range order {
		x.group(groups[key])
	}
	if schema.Exists() {
		x.fields(schema, v, nil)
	}
	return x.withoutConsequences()
}

// cleanPath unquotes the parts of an error's path.
func cleanPath(path []string) []string {
	clean := make([]string, len(path))
	for i, part := range path {
		if name, err := strconv.Unquote(part); err == nil {
			part = name
		}
		clean[i] = part
	}
	return clean
}

type explainer struct {
	value, schema cue.Value
	body          *ast.StructLit
	seen          map[string]bool
	problems      []problem
}

func (x *explainer) add(p problem) {
	key := strings.Join(p.path, "\x00")
	if len(p.path) > 0 && x.seen[key] {
		return
	}
	x.seen[key] = true
	x.problems = append(x.problems, p)
}

// group turns CUE's messages about one field into one.
func (x *explainer) group(ps []problem) {
	p := problem{path: ps[0].path}
	for _, other := range ps {
		if p.position.Line == 0 {
			p.position = other.position
		}
	}
	at := func(message string) bool {
		return slices.ContainsFunc(ps, func(p problem) bool { return strings.Contains(p.message, message) })
	}
	switch {
	case at("field not allowed"):
		x.unknown(p)
	case at("required but not present"), at("incomplete value"), at("non-concrete value"), at("undefined field"):
		if _, found := x.source(p.path); found && x.body != nil || len(p.path) == 0 || at("undefined field") {
			p.message = ps[0].message
			x.place(&p, false)
			x.add(p)
			return
		}
		x.missing(p)
	default:
		x.conflict(p, ps)
	}
}

// unknown reports a field that the schema does not have.
func (x *explainer) unknown(p problem) {
	name := p.path[len(p.path)-1]
	known := fieldNames(x.constraint(p.path[:len(p.path)-1]))
	known = slices.DeleteFunc(known, func(s string) bool { return s == name })
	p.message = "unknown field"
	if near := reconciler.Nearest(name, known, 1); len(near) == 1 && reconciler.Similar(name, near[0]) {
		p.message += fmt.Sprintf(": did you mean %q?", near[0])
		p.hint = fmt.Sprintf("write %s in place of %s, or remove it", near[0], name)
	} else if len(known) > 0 {
		p.hint = "remove it, or use one of: " + strings.Join(reconciler.Nearest(name, known, 8), ", ")
	} else {
		p.hint = "remove it"
	}
	x.place(&p, true)
	x.add(p)
}

// missing reports a field that must be there.
func (x *explainer) missing(p problem) {
	p.message = "missing field"
	if expected := describe(x.constraint(p.path), ""); expected != "" {
		p.message += ": expected " + expected
	}
	p.position = reconciler.Position{}
	p.hint = "add  " + strings.Join(p.path, ": ") + ": …"
	x.add(p)
}

// conflict reports a value that the schema does not allow.
func (x *explainer) conflict(p problem, ps []problem) {
	if x.twice(p, ps) {
		return
	}
	got := x.got(p.path, ps)
	constraint := x.constraint(p.path)
	expected := ""
	if x.schema.Exists() {
		expected = describe(constraint, strings.Trim(got, `"`))
	}
	if named := x.expectedByMessages(ps, got); expected == "" || allQuoted(ps) && named != "" {
		expected = named
	}
	switch {
	case expected != "" && got != "":
		p.message = fmt.Sprintf("expected %s; got %s", expected, got)
		if f, found := x.source(p.path); found && isReferenceLiteral(f.Value) {
			p.hint = "write a value: this input takes no other request's output"
		}
	case len(ps) > 0:
		p.message = ps[len(ps)-1].message
	}
	x.place(&p, false)
	x.add(p)
}

// twice reports two values that the schema allows, one at a time.
func (x *explainer) twice(p problem, ps []problem) bool {
	values := operands(ps[0].message)
	constraint := x.constraint(p.path)
	if len(ps) != 1 || len(values) != 2 || !constraint.Exists() {
		return false
	}
	scratch := cuecontext.New()
	for _, src := range values {
		v := scratch.CompileString(src)
		if v.Err() != nil || !v.IsConcrete() || constraint.Unify(v).Validate(cue.Concrete(true)) != nil {
			return false
		}
	}
	slices.Sort(values)
	p.message = fmt.Sprintf("has two values: %s and %s", clip(values[0]), clip(values[1]))
	p.hint = "keep one of them"
	if at := ps[0].places; len(at) == 2 {
		slices.SortFunc(at, func(a, b reconciler.Position) int { return strings.Compare(a.String(), b.String()) })
		p.hint += fmt.Sprintf(": they stand at %s and %s", at[0], at[1])
	}
	x.place(&p, false)
	x.add(p)
	return true
}

// isReferenceLiteral tells whether `from: …` was written.
func isReferenceLiteral(x ast.Expr) bool {
	s, ok := x.(*ast.StructLit)
	if !ok {
		return false
	}
	_, found := findField(s.Elts, []string{"from"})
	return found
}

// allQuoted tells whether CUE complains of alternatives that are plain strings.
func allQuoted(ps []problem) bool {
	any := false
	for _, p := range ps {
		for _, o := range operands(p.message) {
			if !strings.HasPrefix(o, `"`) {
				return false
			}
			any = true
		}
	}
	return any
}

// place moves the position to where the source of the document has the field.
func (x *explainer) place(p *problem, label bool) {
	if f, found := x.source(p.path); found {
		p.position = position(f.Value.Pos())
		if label {
			p.position = position(f.Label.Pos())
		}
	}
}

// source returns the field in the document's source.
func (x *explainer) source(path []string) (*ast.Field, bool) {
	if x.body == nil {
		return nil, false
	}
	return findField(x.body.Elts, path)
}

// findField follows a path through literal structs. Where a part of the path
// is not written, it fails.
func findField(decls []ast.Decl, path []string) (*ast.Field, bool) {
	for _, d := range decls {
		field, ok := d.(*ast.Field)
		if !ok || len(path) == 0 || labelOf(field.Label) != path[0] {
			continue
		}
		if len(path) == 1 {
			return field, true
		}
		switch value := field.Value.(type) {
		case *ast.StructLit:
			if f, found := findField(value.Elts, path[1:]); found {
				return f, true
			}
		case *ast.ListLit:
			if i, err := strconv.Atoi(path[1]); err == nil && i >= 0 && i < len(value.Elts) {
				elem := &ast.Field{Label: field.Label, Value: value.Elts[i]}
				if s, ok := value.Elts[i].(*ast.StructLit); ok && len(path) > 2 {
					return findField(s.Elts, path[2:])
				}
				return elem, true
			}
		}
	}
	return nil, false
}

// constraint returns the schema of a field, as far as it can be found.
func (x *explainer) constraint(path []string) cue.Value {
	v := x.schema
	if !v.Exists() {
		v = x.value
	}
	for _, part := range path {
		next := v.LookupPath(cue.MakePath(cue.Str(part).Optional()))
		if !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.Str(part)))
		}
		if !next.Exists() {
			if _, err := strconv.Atoi(part); err == nil {
				next = v.LookupPath(cue.MakePath(cue.AnyIndex))
			} else {
				next = v.LookupPath(cue.MakePath(cue.AnyString))
			}
		}
		v = next
	}
	return v
}

// got returns the refused value as the author wrote it.
func (x *explainer) got(path []string, ps []problem) string {
	f, found := x.source(path)
	if value := commonOperand(ps); value != "" && !(found && isPlain(f.Value)) {
		return clip(value)
	}
	if found {
		if src, err := format.Node(f.Value); err == nil {
			return clip(string(src))
		}
	}
	return ""
}

// isPlain tells whether an expression is its own value.
func isPlain(x ast.Expr) bool {
	switch x.(type) {
	case *ast.BasicLit, *ast.UnaryExpr, *ast.ListLit, *ast.StructLit:
		return true
	}
	return false
}

// commonOperand returns the value that every message complains about.
func commonOperand(ps []problem) string {
	var common []string
	for _, p := range ps {
		values := operands(p.message)
		if len(values) == 0 {
			continue
		}
		if common == nil {
			common = values
			continue
		}
		common = slices.DeleteFunc(common, func(s string) bool { return !slices.Contains(values, s) })
	}
	// Of a constraint and a value, the value is what was written.
	for _, c := range common {
		if c != "" && strings.ContainsAny(c[:1], `"-0123456789{[tfn`) && !strings.HasPrefix(c, "[...") && c != "number" {
			return c
		}
	}
	if len(common) == 0 {
		return ""
	}
	return common[len(common)-1]
}

// operands returns the values that a message of CUE names.
func operands(message string) []string {
	if rest, ok := strings.CutPrefix(message, "conflicting values "); ok {
		if i := strings.Index(rest, " (mismatched types"); i >= 0 {
			rest = rest[:i]
		}
		if a, b, ok := strings.Cut(rest, " and "); ok {
			return []string{a, b}
		}
	}
	if rest, ok := strings.CutPrefix(message, "invalid value "); ok {
		if i := strings.Index(rest, " ("); i >= 0 {
			return []string{rest[:i]}
		}
	}
	return nil
}

// expectedByMessages names the alternatives that CUE's messages mention.
func (x *explainer) expectedByMessages(ps []problem, got string) string {
	var names []string
	for _, p := range ps {
		for _, o := range operands(p.message) {
			if clip(o) != got && !slices.Contains(names, strings.Trim(o, `"`)) {
				names = append(names, phrase(strings.Trim(o, `"`)))
			}
		}
		if i := strings.Index(p.message, "(out of bound "); i >= 0 {
			bound := strings.TrimSuffix(p.message[i+len("(out of bound "):], ")")
			if known := listed(strings.TrimPrefix(bound, "=~")); len(known) > 0 {
				names = append(names, known...)
			} else {
				names = append(names, phrase(bound))
			}
		} else if i := strings.Index(p.message, "(does not satisfy "); i >= 0 {
			names = append(names, phrase(strings.TrimSuffix(p.message[i+len("(does not satisfy "):], ")")))
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return "one of: " + strings.Join(reconciler.Nearest(strings.Trim(got, `"`), names, 8), ", ")
}

// fields looks for unknown and missing fields that another error hides.
func (x *explainer) fields(schema, v cue.Value, path []string) {
	if len(path) > 6 || schema.IncompleteKind()&cue.StructKind == 0 {
		return
	}
	if it, err := schema.Fields(cue.Optional(true)); err == nil {
		for it.Next() {
			sel := it.Selector()
			if !sel.IsString() && sel.LabelType() != cue.StringLabel {
				continue
			}
			name := sel.Unquoted()
			at := append(slices.Clone(path), name)
			user := v.LookupPath(cue.MakePath(cue.Str(name)))
			if it.FieldType()&cue.RequiredConstraint != 0 && !x.written(at, user) ||
				it.FieldType() == cue.StringLabel && x.undecided(at, user) {
				x.missing(problem{path: at})
			} else if user.Exists() || x.bodyAt(at) != nil {
				x.fields(it.Value(), user, at)
			}
		}
	}
	body := x.bodyAt(path)
	if body == nil {
		return
	}
	for _, d := range body.Elts {
		if f, ok := d.(*ast.Field); ok {
			if name := labelOf(f.Label); name != "" && !schema.Allows(cue.Str(name)) {
				x.unknown(problem{path: append(slices.Clone(path), name)})
			}
		}
	}
}

// written tells whether the author gave the field a value.
func (x *explainer) written(path []string, v cue.Value) bool {
	_, found := x.source(path)
	return found || v.Exists()
}

// undecided tells whether the schema offers a text that the author did not
// choose: #Root derives it from the names of teams, environments and blueprints,
// so CUE does not call the field required.
func (x *explainer) undecided(path []string, v cue.Value) bool {
	if _, found := x.source(path); found || !v.Exists() || v.Err() != nil {
		return false
	}
	_, chosen := v.Default()
	return v.IncompleteKind() == cue.StringKind && !chosen && !v.IsConcrete()
}

func (x *explainer) bodyAt(path []string) *ast.StructLit {
	if len(path) == 0 || x.body == nil {
		return x.body
	}
	if f, found := x.source(path); found {
		s, _ := f.Value.(*ast.StructLit)
		return s
	}
	return nil
}

// withoutConsequences drops what follows from another problem: the cost and
// the outputs are computed from the rest.
func (x *explainer) withoutConsequences() []problem {
	causes := slices.DeleteFunc(slices.Clone(x.problems), func(p problem) bool {
		if len(p.path) == 0 {
			return false
		}
		_, written := x.source(p.path[:1])
		return !written && slices.Contains([]string{"cost", "outputs", "protect"}, p.path[0])
	})
	if len(causes) > 0 {
		return causes
	}
	return x.problems
}

// fieldNames returns the regular, required and optional fields of a struct.
func fieldNames(v cue.Value) []string {
	var names []string
	if it, err := v.Fields(cue.Optional(true)); err == nil {
		for it.Next() {
			if sel := it.Selector(); sel.LabelType() == cue.StringLabel {
				names = append(names, sel.Unquoted())
			}
		}
	}
	return names
}

// describe says in words what a constraint allows; the alternatives nearest to
// what was written come first.
func describe(v cue.Value, got string) string {
	if !v.Exists() {
		return ""
	}
	expr, err := parser.ParseExpr("", fmt.Sprint(v))
	if err != nil {
		return ""
	}
	return describeExpr(expr, got)
}

func describeExpr(expr ast.Expr, got string) string {
	var names, others []string
	for _, arm := range alternatives(expr) {
		src, err := format.Node(arm)
		if err != nil {
			continue
		}
		switch arm := arm.(type) {
		case *ast.BasicLit:
			name := string(src)
			if s, err := literal.Unquote(arm.Value); err == nil {
				name = s
			}
			names = append(names, name)
		case *ast.ListLit:
			others = append(others, describeList(arm))
		case *ast.StructLit:
			others = append(others, describeStruct(arm))
		default:
			others = append(others, phrase(string(src)))
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if slices.ContainsFunc(others, func(s string) bool { return strings.HasPrefix(s, "a list, ") }) {
		others = slices.DeleteFunc(others, func(s string) bool { return s == "a list" })
	}
	switch {
	case len(others) > 0:
		return clip(strings.Join(others, " or "))
	case len(names) == 0:
		return ""
	case len(names) == 1:
		return names[0]
	}
	return "one of: " + strings.Join(reconciler.Nearest(got, names, 8), ", ")
}

func describeList(l *ast.ListLit) string {
	if len(l.Elts) > 0 {
		if rest, open := l.Elts[len(l.Elts)-1].(*ast.Ellipsis); open && rest.Type != nil {
			if each := describeExpr(rest.Type, ""); each != "" {
				return "a list, each " + each
			}
		}
	}
	return "a list"
}

func describeStruct(s *ast.StructLit) string {
	if _, found := findField(s.Elts, []string{"from"}); found && len(s.Elts) == 1 {
		return "another request's output"
	}
	return "fields between { and }"
}

// alternatives returns the arms of a disjunction, default marks removed. A pattern
// that lists names, as those of the schema do, stands for them.
func alternatives(x ast.Expr) []ast.Expr {
	switch x := x.(type) {
	case *ast.BinaryExpr:
		switch x.Op {
		case token.OR:
			return append(alternatives(x.X), alternatives(x.Y)...)
		case token.AND: // what else is asked of a listed name it meets
			for _, operand := range []ast.Expr{x.X, x.Y} {
				if names := alternatives(operand); !slices.ContainsFunc(names, func(x ast.Expr) bool { _, literal := x.(*ast.BasicLit); return !literal }) {
					return names
				}
			}
		}
	case *ast.UnaryExpr:
		switch x.Op {
		case token.MUL:
			return alternatives(x.X)
		case token.MAT:
			if lit, ok := x.X.(*ast.BasicLit); ok {
				var names []ast.Expr
				for _, name := range listed(lit.Value) {
					names = append(names, ast.NewString(name))
				}
				if len(names) > 0 {
					return names
				}
			}
		}
	case *ast.ParenExpr:
		return alternatives(x.X)
	}
	return []ast.Expr{x}
}

var listPattern = reconciler.Pattern(`^\^\(([a-z0-9-]+(?:\|[a-z0-9-]+)*)\)\$$`)

// listed returns the names that a quoted pattern lists; none for any other.
func listed(pattern string) []string {
	text, err := literal.Unquote(pattern)
	if err != nil {
		return nil
	}
	m := listPattern().FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	return strings.Split(m[1], "|")
}

// phrases puts the schema's own constraints in words.
var phrases = map[string]string{
	`=~"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"`:        `a name of lower case letters, digits and hyphens, such as checkout-db`,
	`=~"^[A-Za-z][A-Za-z0-9_-]{0,62}$"`:            `an identifier such as db_host`,
	`time.Format("2006-01-02")`:                    `a date such as 2027-03-01`,
	`=~"^[1-9][0-9]{0,3}d$"`:                       `a number of days such as 30d`,
	`=~"^[1-9][0-9]{0,5}(s|m|h)$"`:                 `a length of time such as 30s, 10m or 24h`,
	`=~"^https?://[^ ]+$"`:                         `an address such as https://example.org/`,
	`=~"^[A-Za-z0-9][A-Za-z0-9._-]{0,38}$"`:        `a name on the forge such as maria`,
	`strings.MinRunes(1) & strings.MaxRunes(200)`:  `a line of 1 to 200 characters`,
	`strings.MinRunes(10) & strings.MaxRunes(500)`: `a reason of 10 to 500 characters`,
	`strings.MinRunes(10)`:                         `a reason of 10 to 500 characters`,
	`strings.MinRunes(1)`:                          `a line of 1 to 200 characters`,
	`strings.MaxRunes(200)`:                        `a line of 1 to 200 characters`,
	`strings.MaxRunes(500)`:                        `a reason of 10 to 500 characters`,
	`int`:                                          `a whole number`,
	`uint`:                                         `a whole number, at least 0`,
	`number`:                                       `a number`,
	`float`:                                        `a number`,
	`string`:                                       `text`,
	`bool`:                                         `true or false`,
}

// phrase puts a constraint in words.
func phrase(constraint string) string {
	constraint = strings.Join(strings.Fields(constraint), " ")
	if words, found := phrases[constraint]; found {
		return words
	}
	if strings.ContainsAny(constraint, "{[(|") && !strings.HasPrefix(constraint, "=~") {
		return constraint
	}
	// CUE writes int & >=10 as uint & >=10 where it has simplified.
	if strings.Contains(constraint, "& >") {
		constraint = strings.Replace(constraint, "uint &", "int &", 1)
	}
	parts := strings.Split(constraint, " & ")
	for i, part := range parts {
		if words, found := phrases[part]; found {
			parts[i] = words
			continue
		}
		for _, op := range []struct{ sign, words string }{
			{">=", "at least "}, {"<=", "at most "}, {">", "more than "}, {"<", "less than "}, {"=~", "text that matches "},
		} {
			if rest, ok := strings.CutPrefix(part, op.sign); ok {
				parts[i] = op.words + rest
				break
			}
		}
	}
	words := strings.Join(slices.Compact(parts), ", ")
	for _, bound := range []string{"at least", "at most", "more than", "less than"} {
		if strings.HasPrefix(words, bound) {
			return "a number, " + words
		}
	}
	return words
}

// clip shortens a value for a message.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
