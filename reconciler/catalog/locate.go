package catalog

import (
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pave-dev/pave/reconciler"
)

// Locate returns the position of a field of a document in the file that
// declares it, of the last part of the path that is written there, or the
// document's own position where the file computes it.
func (e *Evaluator) Locate(tree *reconciler.Tree, document reconciler.Position, kind, name string, path []string) reconciler.Position {
	f, found := tree.Find(document.File)
	if !found || !strings.HasSuffix(document.File, ".cue") || len(path) == 0 {
		return document
	}
	parsed := e.parsed.file(tree, f)
	if parsed == nil {
		return document
	}
	files := []*ast.File{parsed}
	var body *ast.StructLit
	switch kind {
	case "blueprint":
		body = blueprintBody(files)
	case "platform":
		body = settingsBody(files)
	default:
		body = documentBody(files, kind, name)
	}
	if body == nil {
		return document
	}
	for n := len(path); n > 0; n-- {
		if field, found := findField(body.Elts, path[:n]); found {
			return position(valuePos(field))
		}
	}
	return document
}

// syntax keeps the files that fields were looked for in last: who asks for one
// field asks for the others. Several goroutines may use it.
type syntax struct {
	mu    sync.Mutex
	files []parsedFile // guarded by mu; last used last
}

// parsedFile is a file by its path and hash; nil where it does not parse.
type parsedFile struct {
	path, hash string
	file       *ast.File
}

// The files that are kept, and the size of the largest of them, in bytes.
const (
	keptFiles   = 16
	largestFile = 256 << 10
)

// file returns a parsed file; nil where it cannot be read or does not parse.
func (s *syntax) file(tree *reconciler.Tree, f reconciler.File) *ast.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.files {
		if f.Hash != "" && p.hash == f.Hash && p.path == f.Path {
			s.files = append(slices.Delete(s.files, i, i+1), p)
			return p.file
		}
	}
	content, err := tree.Read(f)
	if err != nil {
		return nil // which may pass
	}
	parsed, err := parser.ParseFile(f.Path, content)
	if err != nil {
		parsed = nil
	}
	if f.Size <= largestFile {
		s.files = append(s.files, parsedFile{f.Path, f.Hash, parsed})
	}
	if len(s.files) > keptFiles {
		s.files = slices.Delete(s.files, 0, 1)
	}
	return parsed
}

// settingsBody finds the struct that the settings are written as.
func settingsBody(files []*ast.File) *ast.StructLit {
	var body *ast.StructLit
	for _, f := range files {
		eachField(f.Decls, func(field *ast.Field) {
			if s, ok := field.Value.(*ast.StructLit); ok && body == nil && labelOf(field.Label) == "platform" {
				body = s
			}
		})
	}
	return body
}

// documentBody finds the struct that a document is written as, also where a
// comprehension writes it or its name is computed: then the only one whose
// label may become the name. Where several might be it, there is none.
func documentBody(files []*ast.File, kind, name string) *ast.StructLit {
	var exact, computed []*ast.StructLit
	for _, f := range files {
		eachField(f.Decls, func(field *ast.Field) {
			all, ok := field.Value.(*ast.StructLit)
			if !ok || labelOf(field.Label) != kind {
				return
			}
			eachField(all.Elts, func(field *ast.Field) {
				body, ok := field.Value.(*ast.StructLit)
				switch {
				case !ok:
				case labelOf(field.Label) == name:
					exact = append(exact, body)
				case mayBecome(field.Label, name):
					computed = append(computed, body)
				}
			})
		})
	}
	if len(exact) > 0 {
		return exact[0]
	}
	if len(computed) == 1 {
		return computed[0]
	}
	return nil
}

// eachField visits the fields of a struct, those of comprehensions and of
// embedded structs included.
func eachField(decls []ast.Decl, visit func(*ast.Field)) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			visit(d)
		case *ast.Comprehension:
			if s, ok := d.Value.(*ast.StructLit); ok {
				eachField(s.Elts, visit)
			}
		case *ast.EmbedDecl:
			if s, ok := d.Expr.(*ast.StructLit); ok {
				eachField(s.Elts, visit)
			}
		}
	}
}

// mayBecome tells whether a computed label can be the name.
func mayBecome(label ast.Label, name string) bool {
	switch l := label.(type) {
	case *ast.ParenExpr:
		return true
	case *ast.Interpolation:
		first, ok1 := l.Elts[0].(*ast.BasicLit)
		last, ok2 := l.Elts[len(l.Elts)-1].(*ast.BasicLit)
		return ok1 && ok2 && strings.HasPrefix(name, strings.TrimSuffix(strings.TrimPrefix(first.Value, `"`), `\(`)) &&
			strings.HasSuffix(name, strings.TrimSuffix(strings.TrimPrefix(last.Value, `)`), `"`))
	}
	return false
}

func valuePos(f *ast.Field) token.Pos {
	if _, nested := f.Value.(*ast.StructLit); nested {
		return f.Label.Pos()
	}
	return f.Value.Pos()
}
