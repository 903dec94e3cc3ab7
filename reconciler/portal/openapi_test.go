package portal

import (
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"a.yaml": "openapi: 3.1.0\ninfo: {title: A, version: 1.0}\npaths:\n  x-note: no path\n  /b: {post: {operationId: makeB, deprecated: true}, parameters: []}\n  /a: {get: {summary: Get a, responses: {200: {description: fine}}}}\n",
		"a.json": `{"swagger": "2.0", "info": {"title": "A", "version": "1.0"}, "paths": {"/b": {"post": {"operationId": "makeB", "deprecated": true}}, "/a": {"get": {"summary": "Get a"}}}}`,
	} {
		d := describe(name, []byte(content))
		if len(d.Operations) != 2 || d.Title != "A" || d.Wrong != "" || d.Operations[0] != (operation{"GET", "/a", "Get a", false}) || d.Operations[1] != (operation{"POST", "/b", "makeB", true}) {
			t.Errorf("%s: got %+v", name, d)
		}
	}
	bomb := "openapi: 3\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for _, next := range []string{"b", "c", "d", "e", "f", "g", "h", "i"} {
		last := string(next[0] - 1)
		bomb += next + ": &" + next + " [" + strings.TrimSuffix(strings.Repeat("*"+last+", ", 10), ", ") + "]\n"
	}
	for name, content := range map[string]string{
		"bomb.yaml": bomb, "none.yaml": "title: x", "list.yaml": "[1, 2]", "broken.json": "{", "empty.yaml": "", "tabs.yaml": "\topenapi: 3", "deep.yaml": "openapi: 3\na: " + strings.Repeat("[", 100_000),
		"binary.yaml": "openapi: \x00\xff",
	} {
		if d := describe(name, []byte(content)); d.Wrong == "" || len(d.Operations) > 0 {
			t.Errorf("%s: got %+v", name, d)
		}
	}
	many := "openapi: 3\npaths:\n"
	for range 60 {
		many += "  /" + strings.Repeat("p", len(many)%997) + string(rune('a'+len(many)%26)) + ": {get: {}, put: {}}\n"
	}
	if d := describe("many.yaml", []byte(many)); len(d.Operations) > mostOperations {
		t.Errorf("got %d operations", len(d.Operations))
	}
	for kind, value := range map[string]any{"odd": "openapi: 3\npaths: {/a: [1], /b: {get: 7}, /c: {get: {summary: {x: 1}}}}"} {
		if d := describe("odd.yaml", []byte(value.(string))); d.Wrong != "" || len(d.Operations) != 1 {
			t.Errorf("%s: got %+v", kind, d)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add("a.yaml", []byte("openapi: 3\npaths: {/a: {get: {summary: x}}}"))
	f.Add("a.json", []byte(`{"openapi": 3, "paths": {"/a": {"get": {}}}}`))
	f.Add("a.yaml", []byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, name string, content []byte) { describe(name, content) })
}

// TestLibrary checks that a file is read once, and that what is large or none is
// not read at all.
func TestLibrary(t *testing.T) {
	t.Parallel()
	reads := 0
	tree := &reconciler.Tree{Read: func(reconciler.File) ([]byte, error) {
		reads++
		return []byte("# One\n\ntext\n\n## *Two* `x`\n"), nil
	}}
	l := &library{}
	for range 3 {
		got := l.headings(tree, reconciler.File{Path: "a.md", Hash: "1"})
		if strings.Join(got, "|") != "One|Two x" {
			t.Errorf("got %q", got)
		}
	}
	l.headings(tree, reconciler.File{Path: "large.md", Hash: "2", Size: largestAPI + 1})
	l.api(tree, reconciler.File{Path: "link.yaml", Hash: "3", Mode: reconciler.Symlink})
	if reads != 1 {
		t.Errorf("read %d times", reads)
	}
}
