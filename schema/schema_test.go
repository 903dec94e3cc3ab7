package schema

import (
	"os"
	"path/filepath"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// TestDocumented wants a comment at every definition and at every field of the
// model, since editors and `cue` explain them by it. Fields that only refine
// what is commented elsewhere stand within #Root and #Blueprint's `request`.
func TestDocumented(t *testing.T) {
	f, err := parser.ParseFile("schema.cue", Source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var visit func(name string, decls []ast.Decl)
	visit = func(name string, decls []ast.Decl) {
		for _, d := range decls {
			field, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			label, _, err := ast.LabelName(field.Label)
			if err != nil { // a pattern
				label = "[…]"
			}
			if at := name + "." + label; len(ast.Comments(field)) == 0 && label != "[…]" && label[0] != '_' {
				t.Errorf("schema.cue:%d: %s has no comment", field.Pos().Line(), at)
			}
			switch value := field.Value.(type) {
			case *ast.StructLit:
				visit(name+"."+label, value.Elts)
			case *ast.ListLit:
				for _, elt := range value.Elts {
					if rest, ok := elt.(*ast.Ellipsis); ok {
						if s, ok := rest.Type.(*ast.StructLit); ok {
							visit(name+"."+label, s.Elts)
						}
					}
				}
			}
		}
	}
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label, _, _ := ast.LabelName(field.Label)
		if len(ast.Comments(field)) == 0 {
			t.Errorf("schema.cue:%d: %s has no comment", field.Pos().Line(), label)
		}
		if body, ok := field.Value.(*ast.StructLit); ok && label != "#Root" {
			visit(label, body.Elts)
		}
	}
}

func TestFormatted(t *testing.T) {
	formatted, err := format.Source(Source)
	if err != nil {
		t.Fatal(err)
	}
	if string(formatted) != string(Source) {
		t.Error("schema.cue is not formatted: run `cue fmt schema/schema.cue`")
	}
}

// TestVendored wants the examples to hold this very schema.
func TestVendored(t *testing.T) {
	copies, err := filepath.Glob(filepath.Join("..", "examples", "*", filepath.FromSlash(Folder), "schema.cue"))
	if err != nil || len(copies) < 2 {
		t.Fatalf("found %d examples: %v", len(copies), err)
	}
	for _, name := range copies {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(content) != string(Source) {
			t.Errorf("%s differs from schema/schema.cue: run `pave upgrade --repo` on the example", name)
		}
	}
}
