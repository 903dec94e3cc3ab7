package catalog

import (
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/parser"

	"github.com/pave-dev/pave/schema"
)

// Whether a constraint can be compiled is a question to its source: a value tells
// what it is, but not what it would be had another field been set. A constraint is
// plain where no field refers to another of the same document, and where nothing is
// called but what the value shows. The cost of a blueprint's request is the
// exception: it may follow from the inputs in any way, and CUE computes it.
//
// The schema itself is known. Its services are plain, and so are its requests once
// blueprint and environment are set, but for their outputs, which follow from the
// blueprint's and the name.

// degree tells how plain something is.
type degree int

const (
	plain     degree = iota
	priced           // but for a cost that is computed
	entangled        // who knows
)

// plainness tells how plain the constraints of a governance are.
type plainness struct {
	services, requests degree            // but for what the blueprints say
	blueprints         map[string]degree // by name

	module   string // the path of the CUE module
	files    map[string][]*ast.File
	packages map[string]degree // by folder, those that were looked at
}

// plainnessOf looks at the source of a governance.
func plainnessOf(files map[string]string) plainness {
	unknown := plainness{services: entangled, requests: entangled}
	p := plainness{blueprints: map[string]degree{}, files: map[string][]*ast.File{}, packages: map[string]degree{}}
	for name, content := range files {
		folder := folderOf(name)
		switch {
		case name == moduleFile:
			p.module = modulePath(content)
		case folder == schema.Folder:
		case strings.HasPrefix(name, "cue.mod/"):
			return unknown // what else may be imported
		case strings.HasSuffix(name, ".cue"):
			f, err := parser.ParseFile(name, content)
			if err != nil || folder != "" && f.PackageName() == Package {
				p.packages[folder] = entangled // with the root, if it is of one package
			}
			p.files[folder] = append(p.files[folder], f)
		}
	}
	for _, f := range p.files[""] {
		for _, d := range f.Decls {
			p.root(d)
		}
	}
	return p
}

// root looks at a declaration of the root. The settings, the teams and the
// environments are what they are, however they are computed.
func (p *plainness) root(d ast.Decl) {
	switch d := d.(type) {
	case *ast.Package, *ast.ImportDecl, *ast.CommentGroup:
		return
	case *ast.EmbedDecl:
		if p.isRoot(d.Expr) {
			return
		}
	case *ast.LetClause:
		if p.of(d.Expr, elsewhere) == plain {
			return
		}
	case *ast.Field:
		switch name := fieldName(d); {
		case name == "platform" || name == "team" || name == "environment":
			return
		case name == "#service":
			p.services = entangled
			return
		case name == "#request":
			p.requests = entangled
			return
		case name == "#blueprints":
			if p.listed(d.Value) {
				return
			}
		case strings.HasPrefix(name, "#") || strings.HasPrefix(name, "_"):
			if p.of(d, elsewhere) == plain {
				return
			}
		}
	}
	p.services, p.requests = entangled, entangled
}

// isRoot tells whether an expression is `schema.#Root`.
func (p *plainness) isRoot(x ast.Expr) bool {
	sel, ok := x.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := importOf(sel.X)
	return ok && from == schema.Module && labelOf(sel.Sel) == "#Root"
}

// listed looks at the blueprints that a file of the root lists, and tells whether
// it sees all of them.
func (p *plainness) listed(x ast.Expr) bool {
	list, ok := x.(*ast.StructLit)
	if !ok {
		return false
	}
	for _, elt := range list.Elts {
		field, ok := elt.(*ast.Field)
		if !ok || fieldName(field) == "" {
			return false
		}
		name := fieldName(field)
		p.blueprints[name] = max(p.blueprints[name], p.of(field, []string{"#blueprints"}))
	}
	return true
}

// fieldName returns the name of a field where the source states it and nothing else
// of note: no alias, and no attribute but the one for forms.
func fieldName(f *ast.Field) string {
	switch f.Label.(type) {
	case *ast.Ident, *ast.BasicLit:
		if f.Alias == nil && !slices.ContainsFunc(f.Attrs, ofNote) {
			return labelOf(f.Label)
		}
	}
	return ""
}

// ofNote tells whether an attribute may say something of a field's value.
func ofNote(a *ast.Attribute) bool { return !strings.HasPrefix(a.Text, "@"+Attribute+"(") }

// importOf returns the path of the import that an identifier names.
func importOf(x ast.Expr) (string, bool) {
	ident, ok := x.(*ast.Ident)
	if !ok {
		return "", false
	}
	spec, ok := ident.Node.(*ast.ImportSpec)
	if !ok {
		return "", false
	}
	info, err := astutil.ParseImportSpec(spec)
	return ast.ParseImportPath(info.ID).Path, err == nil
}

// validators are the functions that constrain a value and show in it.
var validators = []string{"strings.MinRunes", "strings.MaxRunes", "time.Format"}

// basicNames are the predeclared names that stand for kinds and ranges.
var basicNames = []string{"_", "string", "bytes", "bool", "int", "float", "number", "rune", "uint",
	"int8", "int16", "int32", "int64", "int128", "uint8", "uint16", "uint32", "uint64", "uint128", "float32", "float64"}

// elsewhere is a path that no cost has.
var elsewhere = []string{""}

// of tells how plain the source is that stands at a path of its package.
func (p *plainness) of(n ast.Node, at []string) degree {
	switch n := n.(type) {
	case *ast.Field:
		return p.field(n, at)
	case *ast.StructLit:
		return worst(n.Elts, func(d ast.Decl) degree { return p.of(d, at) })
	case *ast.EmbedDecl:
		return p.of(n.Expr, at)
	case *ast.BinaryExpr:
		return max(p.of(n.X, at), p.of(n.Y, at))
	case *ast.ParenExpr:
		return p.of(n.X, at)
	case *ast.UnaryExpr:
		return p.of(n.X, elsewhere)
	case *ast.ListLit:
		return worst(n.Elts, func(x ast.Expr) degree { return p.of(x, elsewhere) })
	case *ast.Ellipsis:
		if n.Type != nil {
			return p.of(n.Type, elsewhere)
		}
		return plain
	case *ast.CallExpr:
		if _, selected := n.Fun.(*ast.SelectorExpr); selected {
			return max(p.of(n.Fun, elsewhere), worst(n.Args, func(x ast.Expr) degree { return p.of(x, elsewhere) }))
		}
	case *ast.SelectorExpr:
		return p.selector(n)
	case *ast.Ident:
		return identifier(n)
	case *ast.BasicLit, *ast.CommentGroup:
		return plain
	}
	return entangled
}

func (p *plainness) field(f *ast.Field, at []string) degree {
	if pattern, is := f.Label.(*ast.ListLit); is && f.Alias == nil && len(f.Attrs) == 0 {
		return max(p.of(pattern, elsewhere), p.of(f.Value, elsewhere))
	}
	name := fieldName(f)
	if name == "" {
		return entangled
	}
	at = append(slices.Clip(at), name)
	d := p.of(f.Value, at)
	if slices.Equal(at, []string{"#Blueprint", "request", "cost"}) ||
		len(at) == 4 && at[0] == "#blueprints" && at[2] == "request" && at[3] == "cost" {
		return min(d, priced)
	}
	return d
}

// selector looks at `package.Name` and at `#Definition.field`.
func (p *plainness) selector(s *ast.SelectorExpr) degree {
	from, imported := importOf(s.X)
	folder, own := strings.CutPrefix(from, p.module+"/")
	name := labelOf(s.Sel)
	switch {
	case name == "":
		return entangled
	case !imported:
		return p.of(s.X, elsewhere)
	case from == schema.Module && name != "#Root", slices.Contains(validators, from+"."+name):
		return plain
	case own && p.module != "":
		return p.ofPackage(folder)
	}
	return entangled
}

// identifier looks at a name by itself. What the top of a package declares is the
// same for every document.
func identifier(x *ast.Ident) degree {
	_, top := x.Scope.(*ast.File)
	definition := strings.HasPrefix(x.Name, "#") || strings.HasPrefix(x.Name, "_") && !strings.HasPrefix(x.Name, "__")
	if x.Node == nil && (definition || slices.Contains(basicNames, x.Name)) || x.Node != nil && top {
		return plain
	}
	return entangled
}

// ofPackage looks at all that a folder declares, with the folders above it, which
// may hold files of the same package.
func (p *plainness) ofPackage(folder string) degree {
	d, known := p.packages[folder]
	if known || folder == "" {
		return d
	}
	if len(p.files[folder]) == 0 {
		return entangled
	}
	d = plain
	for _, above := range ancestors(folder)[1:] {
		d = max(d, p.packages[above], worst(p.files[above], func(f *ast.File) degree { return worst(f.Decls, p.declaration) }))
	}
	p.packages[folder] = d
	return d
}

func (p *plainness) declaration(d ast.Decl) degree {
	switch d := d.(type) {
	case *ast.Package, *ast.ImportDecl:
		return plain
	case *ast.LetClause:
		return p.of(d.Expr, elsewhere)
	}
	return p.of(d, nil)
}

func worst[T any](of []T, degreeOf func(T) degree) degree {
	d := plain
	for _, x := range of {
		d = max(d, degreeOf(x))
	}
	return d
}
