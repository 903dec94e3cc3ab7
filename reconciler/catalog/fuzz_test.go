package catalog

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/testdata/mutate"
)

// cueSeeds are the CUE files of the archives.
func cueSeeds(f *testing.F, below func(name string) bool) [][]byte {
	f.Helper()
	archives, err := filepath.Glob("testdata/violations/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][]byte
	for _, path := range append(archives, "testdata/platform.txtar") {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			if strings.HasSuffix(part.Name, ".cue") && len(part.Data) < 4000 && below(part.Name) {
				seeds = append(seeds, part.Data)
			}
		}
	}
	if len(seeds) < 5 {
		f.Fatalf("expected seeds in testdata, got %d", len(seeds))
	}
	return seeds
}

// FuzzDocuments sorts a file of documents and reads it as literals. What evaluates
// the rest is a child that is limited.
func FuzzDocuments(f *testing.F) {
	base := platformFiles(f)
	seeds := cueSeeds(f, func(name string) bool { return strings.HasPrefix(name, "catalog/") })
	ctx := cuecontext.New()
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		const name = "catalog/payments/checkout.cue"
		base[name] = string(input)
		layout, violations := survey(treeOf(base), nil, &shelves{})
		expectPlaced(t, violations)
		if layout == nil || layout.catalog[name] == nil {
			if len(violations) == 0 {
				t.Error("a file of documents is passed over without a word")
			}
			return
		}
		New(nil, 0).Locate(treeOf(base), reconciler.Position{File: name, Line: 1, Column: 1}, "request", "checkout-db", []string{"inputs", "size"})
		parsed, err := parser.ParseFile(name, input)
		if err != nil {
			t.Fatalf("a file that was taken cannot be parsed: %v", err)
		}
		entries, literal := literalEntries(parsed)
		if literal != layout.catalog[name].literal {
			t.Error("it is a file of literals in one place only")
		}
		expectQuick(t, name, string(input))
		for _, e := range entries[:min(len(entries), 1)] {
			if !literal || bytes.Contains(input, []byte{0}) {
				continue
			}
			// The value is what CUE makes of the same text.
			if got, want := jsonOf(ctx.Encode(e.value).MarshalJSON()), jsonOf(ctx.BuildExpr(e.body).MarshalJSON()); got != want {
				t.Errorf("read as %s, by CUE as %s", got, want)
			}
		}
	})
}

// expectQuick expects that what is read quickly is what the parser reads, and tells
// whether it was.
func expectQuick(t testing.TB, name, content string) bool {
	t.Helper()
	quick, is := quickEntries(name, content)
	if !is {
		return false
	}
	parsed, err := parser.ParseFile(name, content)
	if err != nil {
		t.Errorf("read quickly, but cannot be parsed: %v\n%s", err, content)
		return true
	}
	entries, literal := literalEntries(parsed)
	if !literal || len(quick) != len(entries) || parsed.PackageName() != Package {
		t.Errorf("read quickly as %v, with the parser as %v\n%s", quick, entries, content)
		return true
	}
	for i, e := range entries {
		q := quick[i]
		if q.kind != e.kind || q.name != e.name || position(q.at) != position(e.at) || !reflect.DeepEqual(q.value, e.value) || len(e.uses) > 0 {
			t.Errorf("read quickly as %v, with the parser as %v\n%s", q, e, content)
		}
	}
	return true
}

func TestQuickReader(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(*seedFlag, 2))}
	const marks = "{}[]:,\n \t\"#'/@.-_?!=a0\\"
	quick, all := 0, 20**documentsFlag
	for n := range all {
		text := g.file(n)
		if expectQuick(t, "catalog/a.cue", text) {
			quick++
		}
		broken := []byte(text)
		for range 1 + g.IntN(3) {
			broken[g.IntN(len(broken))] = marks[g.IntN(len(marks))]
		}
		expectQuick(t, "catalog/a.cue", string(broken))
	}
	for _, text := range written {
		expectQuick(t, "catalog/a.cue", "package platform\n"+text)
	}
	if quick < all/4 {
		t.Errorf("of %d files %d are read quickly: the comparison says little", all, quick)
	}
}

func jsonOf(raw []byte, err error) string {
	if err != nil {
		return "an error"
	}
	sorted, err := sortFields(raw)
	if err != nil {
		return err.Error()
	}
	return string(sorted)
}

// FuzzSettings sorts a file of the root and a blueprint's.
func FuzzSettings(f *testing.F) {
	base := platformFiles(f)
	seeds := cueSeeds(f, func(name string) bool { return !strings.HasPrefix(name, "catalog/") })
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		for _, name := range []string{"platform.cue", "blueprints/postgres/blueprint.cue", "cue.mod/module.cue"} {
			kept := base[name]
			base[name] = string(input)
			layout, violations := survey(treeOf(base), nil, &shelves{})
			base[name] = kept
			expectPlaced(t, violations)
			if layout != nil && !layout.broken && len(violations) == 0 {
				layout.jobs(nil, &shelves{})
			}
		}
	})
}

func expectPlaced(t testing.TB, violations []reconciler.Violation) {
	t.Helper()
	for _, v := range violations {
		if v.Message == "" || v.Position.File == "" || v.Level != reconciler.Deny {
			t.Errorf("got a violation without a place or words: %+v", v)
		}
	}
}
