package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pave-dev/pave/reconciler"
)

// Writer writes requests into files of documents. It changes literal fields and
// nothing else: every other byte of a file stays as it is, and what it returns is
// plain data again, which says what was to be said.
type Writer struct{}

// Create returns a file with one request in it.
func (Writer) Create(name string, settings []reconciler.Setting) ([]byte, error) {
	label, err := labelLiteral(name)
	if err != nil {
		return nil, err
	}
	body := &ast.StructLit{}
	for _, s := range settings {
		if err := put(body, s); err != nil {
			return nil, err
		}
	}
	made := &ast.File{Decls: []ast.Decl{
		&ast.Package{Name: ast.NewIdent(Package)},
		&ast.Field{Label: ast.NewIdent("request"), Value: ast.NewStruct(&ast.Field{Label: label, Value: body})},
	}}
	text, err := format.Node(made, format.Simplify())
	if err != nil {
		return nil, fmt.Errorf("write request %s: %w", name, err)
	}
	if err := says(text, name, map[string]any{}, settings); err != nil {
		return nil, err
	}
	return text, nil
}

// put adds a value to a struct that is being made.
func put(s *ast.StructLit, setting reconciler.Setting) error {
	if setting.Value == nil {
		return nil
	}
	for i, name := range setting.Path {
		label, err := labelLiteral(name)
		if err != nil {
			return err
		}
		last := i == len(setting.Path)-1
		field, found := findField(s.Elts, []string{name})
		if !found {
			field = &ast.Field{Label: label, Value: &ast.StructLit{}}
			s.Elts = append(s.Elts, field)
		}
		if last {
			field.Value, err = expression(setting.Value)
			return err
		}
		var is bool
		if s, is = field.Value.(*ast.StructLit); !is {
			return fmt.Errorf("%s has no fields", name)
		}
	}
	return nil
}

// Writable tells whether a form may change a request; the error is a
// [reconciler.Computed] where its file does not state it plainly, or another one
// has a say in it.
func (Writer) Writable(tree *reconciler.Tree, request *reconciler.Request) error {
	f, _, err := plainRequest(tree, request)
	if err != nil {
		return err
	}
	for _, folder := range ancestors(folderOf(f.Filename)) {
		for _, other := range tree.Under(folder) {
			if folderOf(other.Path) != folder || path.Ext(other.Path) != ".cue" {
				continue
			}
			parsed := f
			if other.Path != f.Filename {
				if parsed, _, err = read(tree, other.Path); err != nil {
					return err
				}
			}
			if at, why := hand(parsed, request.Name, other.Path == f.Filename); why != "" {
				return &reconciler.Computed{Position: position(at), Why: why}
			}
		}
	}
	return nil
}

// Change returns the request's file as it says the settings.
func (Writer) Change(tree *reconciler.Tree, request *reconciler.Request, settings []reconciler.Setting) ([]byte, error) {
	f, e, err := plainRequest(tree, request)
	if err != nil {
		return nil, err
	}
	_, content, err := read(tree, f.Filename)
	if err != nil {
		return nil, err
	}
	changed := content
	for _, s := range settings {
		if changed, err = set(f.Filename, changed, request.Name, s); err != nil {
			return nil, fmt.Errorf("change %s of %s: %w", strings.Join(s.Path, "."), request.Name, err)
		}
	}
	if err := unmoved(f.Filename, content, changed, request.Name); err != nil {
		return nil, err
	}
	return changed, says(changed, request.Name, e.value, settings)
}

// Retire returns the file without the request; nothing where nothing else is in it.
func (Writer) Retire(tree *reconciler.Tree, request *reconciler.Request) ([]byte, error) {
	f, _, err := plainRequest(tree, request)
	if err != nil {
		return nil, err
	}
	_, content, err := read(tree, f.Filename)
	if err != nil {
		return nil, err
	}
	outer, inner := requestField(f, request.Name)
	all := outer.Value.(*ast.StructLit)
	var left []byte
	if len(fieldsIn(all.Elts)) == 1 {
		if len(fieldsIn(f.Decls)) == 1 {
			return nil, nil
		}
		left = without(content, f.Decls, outer)
	} else {
		left = without(content, all.Elts, inner)
	}
	parsed, err := parser.ParseFile(f.Filename, left, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("retire %s: %w", request.Name, err)
	}
	if _, still := requestField(parsed, request.Name); still != nil {
		return nil, fmt.Errorf("retire %s: the file would still say it", request.Name)
	}
	return left, unmoved(f.Filename, content, left, request.Name)
}

// read reads and parses a file of the tree.
func read(tree *reconciler.Tree, file string) (*ast.File, []byte, error) {
	f, found := tree.Find(file)
	if !found {
		return nil, nil, fmt.Errorf("there is no file %s", file)
	}
	content, err := tree.Read(f)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	parsed, err := parser.ParseFile(file, content, parser.ParseComments)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	return parsed, content, nil
}

// plainRequest finds a request that its file states plainly.
func plainRequest(tree *reconciler.Tree, request *reconciler.Request) (*ast.File, entry, error) {
	f, _, err := read(tree, request.Position.File)
	if err != nil {
		return nil, entry{}, err
	}
	_, field := requestField(f, request.Name)
	if field == nil {
		return nil, entry{}, &reconciler.Computed{Position: request.Position, Why: "the request is computed here"}
	}
	e, err := entryOf(field, request.Name)
	return f, e, err
}

// entryOf reads the field of a request.
func entryOf(field *ast.Field, name string) (entry, error) {
	e := entry{kind: "request", name: name, at: field.Label.Pos()}
	body, is := field.Value.(*ast.StructLit)
	if is {
		e.body = body
	}
	if _, plain := plainLabel(field); !is || !plain || !e.read() {
		at := field.Value
		if is {
			at = firstComputed(body)
		}
		return e, &reconciler.Computed{Position: position(at.Pos()), Why: "a value is computed here"}
	}
	return e, nil
}

// firstComputed returns the first part of a struct that is no literal.
func firstComputed(s *ast.StructLit) ast.Expr {
	for _, elt := range s.Elts {
		field, is := elt.(*ast.Field)
		if !is {
			if _, comment := elt.(*ast.CommentGroup); comment {
				continue
			}
			return s
		}
		nested, is := field.Value.(*ast.StructLit)
		if _, plain := plainLabel(field); !plain {
			return field.Value
		}
		if is {
			if _, plain := literalStruct(nested, 0); !plain {
				return firstComputed(nested)
			}
		} else if _, plain := literalValue(field.Value, 0); !plain {
			return field.Value
		}
	}
	return s
}

// requestField finds the field of a request that a file states by its name: the
// field `request` that holds it, and its own.
func requestField(f *ast.File, name string) (outer, inner *ast.Field) {
	for _, field := range fieldsIn(f.Decls) {
		all, is := field.Value.(*ast.StructLit)
		if kind, plain := plainLabel(field); !is || !plain || kind != "request" {
			continue
		}
		for _, one := range fieldsIn(all.Elts) {
			if labelOf(one.Label) == name {
				if inner != nil {
					return nil, nil // said twice
				}
				outer, inner = field, one
			}
		}
	}
	return outer, inner
}

func fieldsIn(decls []ast.Decl) []*ast.Field {
	var all []*ast.Field
	for _, d := range decls {
		if field, is := d.(*ast.Field); is {
			all = append(all, field)
		}
	}
	return all
}

// hand tells where a file has a say in a request beside stating it, and how.
func hand(f *ast.File, name string, home bool) (token.Pos, string) {
	at, why := token.NoPos, ""
	note := func(pos token.Pos, text string) {
		if why == "" {
			at, why = pos, text
		}
	}
	_, stated := requestField(f, name)
	for _, d := range f.Decls {
		if _, embedded := d.(*ast.EmbedDecl); embedded && !home && folderOf(f.Filename) == "" {
			continue // schema.#Root
		}
		eachField([]ast.Decl{d}, func(field *ast.Field) {
			all, is := field.Value.(*ast.StructLit)
			if labelOf(field.Label) != "request" {
				return
			}
			if !is {
				note(field.Value.Pos(), "what stands here may have a say in every request")
				return
			}
			for _, elt := range all.Elts {
				switch elt := elt.(type) {
				case *ast.CommentGroup:
				case *ast.Field:
					_, pattern := elt.Label.(*ast.ListLit)
					switch {
					case elt == stated && home:
					case pattern:
						note(elt.Pos(), "this pattern has a say in the request")
					case labelOf(elt.Label) == name:
						note(elt.Pos(), "the request is said here as well")
					case mayBecome(elt.Label, name):
						note(elt.Pos(), "the request is computed here")
					}
				default:
					note(elt.Pos(), "what is computed here may have a say in the request")
				}
			}
		})
	}
	return at, why
}

// set returns the content with one value of a request set or removed.
func set(file string, content []byte, name string, s reconciler.Setting) ([]byte, error) {
	f, err := parser.ParseFile(file, content, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	_, field := requestField(f, name)
	if field == nil {
		return nil, errors.New("the request is lost")
	}
	body, is := field.Value.(*ast.StructLit)
	if !is || len(s.Path) == 0 {
		return nil, errors.New("there is no such field")
	}
	for i, step := range s.Path {
		next, found := findField(body.Elts, []string{step})
		switch {
		case !found && s.Value == nil:
			return content, nil
		case !found:
			return insert(content, body, s.Path[i:], s.Value)
		}
		switch last := i == len(s.Path)-1; {
		case last && s.Value != nil:
			return replace(content, next.Value, s.Value)
		case last && !body.Lbrace.IsValid(): // a field in line is the only one
			return splice(content, begin(body), body.End().Offset(), "{}"), nil
		case last:
			return without(content, body.Elts, next), nil
		}
		if body, is = next.Value.(*ast.StructLit); !is {
			return nil, fmt.Errorf("%s has no fields", step)
		}
	}
	return nil, errors.New("there is no such field")
}

// replace puts a value in another one's place.
func replace(content []byte, old ast.Expr, value json.RawMessage) ([]byte, error) {
	x, err := expression(value)
	if err != nil {
		return nil, err
	}
	from := begin(old)
	return splice(content, from, old.End().Offset(), formatted(x, indentation(content, from))), nil
}

// insert adds a field behind the last one of a struct.
func insert(content []byte, s *ast.StructLit, path []string, value json.RawMessage) ([]byte, error) {
	made := &ast.StructLit{}
	if err := put(made, reconciler.Setting{Path: path, Value: value}); err != nil {
		return nil, err
	}
	field := made.Elts[0]
	from := begin(s)
	indent := indentation(content, from)
	if !s.Lbrace.IsValid() { // a field in line gets braces
		end := s.End().Offset()
		return splice(content, from, end, "{"+string(content[from:end])+", "+formatted(field, indent)+"}"), nil
	}
	brace := s.Rbrace.Offset()
	line := lineStart(content, brace)
	if strings.TrimSpace(string(content[line:brace])) == "" && line > from {
		indent := indent + "\t"
		return splice(content, line, line, indent+aligned(content, s, formatted(field, indent))+"\n"), nil
	}
	if len(s.Elts) == 0 {
		return splice(content, from+1, from+1, formatted(field, indent)), nil
	}
	end := s.Elts[len(s.Elts)-1].End().Offset()
	if rest := strings.TrimSpace(string(content[end:brace])); rest != "" {
		return splice(content, brace, brace, " "+formatted(field, indent)), nil // there is a comma
	}
	return splice(content, end, end, ", "+formatted(field, indent)), nil
}

// aligned puts the value of a field below that of the line above, where there is
// room, as `cue fmt` does.
func aligned(content []byte, s *ast.StructLit, text string) string {
	label, value, found := strings.Cut(text, ": ")
	if len(s.Elts) == 0 || !found {
		return text
	}
	above, is := s.Elts[len(s.Elts)-1].(*ast.Field)
	if !is || above.Pos().Line() != above.Value.End().Line() {
		return text
	}
	if nested, is := above.Value.(*ast.StructLit); is && !nested.Lbrace.IsValid() {
		return text
	}
	width := begin(above.Value) - above.Pos().Offset()
	return fmt.Sprintf("%-*s%s", max(width, len(label)+2), label+":", value)
}

// without returns the content without one of the declarations: its lines with the
// comment above them where it has them for itself.
func without(content []byte, decls []ast.Decl, field *ast.Field) []byte {
	from, to := field.Pos().Offset(), field.End().Offset()
	lineEnd := len(content)
	if n := strings.IndexByte(string(content[to:]), '\n'); n >= 0 {
		lineEnd = to + n + 1
	}
	above := from
	for _, group := range ast.Comments(field) {
		if group.Doc && len(group.List) > 0 {
			above = min(above, group.Pos().Offset())
		}
	}
	start := lineStart(content, above)
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(content[to:lineEnd])), ","))
	if strings.TrimSpace(string(content[start:above])) == "" && strings.TrimSpace(string(content[lineStart(content, from):from])) == "" &&
		(rest == "" || strings.HasPrefix(rest, "//")) {
		blank := strings.HasSuffix(string(content[:start]), "\n\n")
		if blank && (lineEnd == len(content) || content[lineEnd] == '\n') { // one empty line is enough
			start--
		}
		return splice(content, start, lineEnd, "")
	}
	i := slices.Index(decls, ast.Decl(field))
	switch {
	case i+1 < len(decls):
		to = decls[i+1].Pos().Offset()
	case i > 0:
		from = decls[i-1].End().Offset()
	}
	return splice(content, from, to, "")
}

// begin is where an expression begins.
func begin(x ast.Expr) int {
	if s, is := x.(*ast.StructLit); is && !s.Lbrace.IsValid() && len(s.Elts) > 0 {
		return s.Elts[0].Pos().Offset()
	}
	return x.Pos().Offset()
}

func lineStart(content []byte, at int) int {
	return strings.LastIndexByte(string(content[:at]), '\n') + 1
}

// indentation returns the blanks that a line begins with.
func indentation(content []byte, at int) string {
	line := string(content[lineStart(content, at):])
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

func splice(content []byte, from, to int, text string) []byte {
	return slices.Concat(content[:from], []byte(text), content[to:])
}

// unmoved makes sure that everything but one request says what it said.
func unmoved(file string, before, after []byte, name string) error {
	was, err := others(file, before, name)
	if err != nil {
		return err
	}
	is, err := others(file, after, name)
	if err == nil && !slices.Equal(was, is) {
		err = fmt.Errorf("change %s: something else would change as well", file)
	}
	return err
}

// others returns the source of everything in a file but one request.
func others(file string, content []byte, name string) ([]string, error) {
	f, err := parser.ParseFile(file, content, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w", file, err)
	}
	var all []string
	text := func(n ast.Node) {
		if _, comment := n.(*ast.CommentGroup); !comment { // which may be the request's
			all = append(all, string(content[n.Pos().Offset():n.End().Offset()]))
		}
	}
	outer, inner := requestField(f, name)
	for _, d := range f.Decls {
		field, is := d.(*ast.Field)
		if !is || field != outer && labelOf(field.Label) != "request" {
			text(d)
			continue
		}
		s, is := field.Value.(*ast.StructLit)
		if !is {
			text(d)
			continue
		}
		for _, elt := range s.Elts {
			if elt != ast.Decl(inner) {
				text(elt)
			}
		}
	}
	return all, nil
}

// says makes sure that a file says what was said of a request before, with the
// settings, and that it is plain data.
func says(content []byte, name string, before map[string]any, settings []reconciler.Setting) error {
	f, err := parser.ParseFile(name+".cue", content, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, field := requestField(f, name)
	if field == nil {
		return fmt.Errorf("write %s: it is not in the file", name)
	}
	e, err := entryOf(field, name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	want := before
	for _, s := range settings {
		if err := settle(want, s); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	a, err := json.Marshal(portable(e.value))
	if err != nil {
		return err
	}
	b, err := json.Marshal(portable(want))
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return fmt.Errorf("write %s: the file would not say what was entered", name)
	}
	return nil
}

// settle sets or removes a value of a literal document.
func settle(doc map[string]any, s reconciler.Setting) error {
	last := len(s.Path) - 1
	for _, step := range s.Path[:last] {
		next, is := doc[step].(map[string]any)
		if !is {
			if s.Value == nil {
				return nil
			}
			next = map[string]any{}
			doc[step] = next
		}
		doc = next
	}
	if s.Value == nil {
		delete(doc, s.Path[last])
		return nil
	}
	x, err := expression(s.Value)
	if err != nil {
		return err
	}
	value, ok := literalValue(x, 0)
	if !ok {
		return errors.New("the value is no plain data")
	}
	doc[s.Path[last]] = value
	return nil
}
