package catalog

import (
	"strings"

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
	content, err := tree.Read(f)
	if err != nil {
		return document
	}
	parsed, err := parser.ParseFile(document.File, content)
	if err != nil {
		return document
	}
	for n := len(path); n > 0; n-- {
		if field, found := findField(parsed.Decls, append([]string{kind, name}, path[:n]...)); found {
			return position(valuePos(field))
		}
	}
	return document
}

func valuePos(f *ast.Field) token.Pos {
	if _, nested := f.Value.(*ast.StructLit); nested {
		return f.Label.Pos()
	}
	return f.Value.Pos()
}
