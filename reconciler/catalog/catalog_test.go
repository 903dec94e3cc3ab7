package catalog

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/schema"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// The test binary is its own evaluator.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "__eval" {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testEvaluator(t testing.TB) *Evaluator {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return New([]string{self, "__eval"}, 0)
}

// platformFiles is the smallest platform with one blueprint.
func platformFiles(t testing.TB) map[string]string {
	archive, err := txtar.ParseFile(filepath.Join("testdata", "platform.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{schema.Folder + "/schema.cue": string(schema.Source)}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

func treeOf(files map[string]string) *reconciler.Tree {
	t := &reconciler.Tree{Read: func(f reconciler.File) ([]byte, error) { return []byte(files[f.Path]), nil }}
	for name, content := range files {
		sum := sha1.Sum([]byte(content))
		t.Files = append(t.Files, reconciler.File{Path: name, Hash: hex.EncodeToString(sum[:]), Size: int64(len(content))})
	}
	sort.Slice(t.Files, func(i, j int) bool { return t.Files[i].Path < t.Files[j].Path })
	return t
}

func render(vs []reconciler.Violation) string {
	var b strings.Builder
	for _, v := range vs {
		fmt.Fprintf(&b, "%s\n", v)
		if v.Hint != "" {
			fmt.Fprintf(&b, "\t%s\n", strings.ReplaceAll(v.Hint, "\n", "\n\t"))
		}
	}
	return b.String()
}

// TestViolations evaluates the platform with each archive's files laid over
// it, in both tiers, and compares the messages with the archive's comment.
func TestViolations(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "violations", "*.txtar"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := platformFiles(t)
			for _, f := range archive.Files {
				files[f.Name] = string(f.Data)
			}
			evaluator := testEvaluator(t)
			evaluator.deadline = time.Minute // memory ends it, on a busy machine too
			if strings.HasPrefix(filepath.Base(name), "endless_") {
				evaluator.deadline = 2 * time.Second // of a processor
			}
			_, vs, err := evaluator.Evaluate(t.Context(), treeOf(files))
			if err != nil {
				t.Fatal(err)
			}
			got := render(vs)
			if *update {
				archive.Comment = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(archive.Comment); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// A document names the files that decide what it says: in the data tier its
// own, in the code tier those of its folder, in both those of the folders above
// but not of the root. The answers come from the cache in the second pass, for
// which a file above is added that changes no document.
func TestSources(t *testing.T) {
	service := func(title string) string {
		return fmt.Sprintf("{title: %q, owner: \"payments\", type: \"service\", lifecycle: \"production\"}\n", title)
	}
	files := platformFiles(t)
	for name, text := range map[string]string{
		"top.cue":                     "service: top: " + service("Top"),
		"catalog/data/ledger.cue":     "service: ledger: " + service("Ledger"),
		"catalog/data/eu/wallet.cue":  "service: wallet: " + service("Wallet"),
		"catalog/data/eu/other.cue":   "service: other: " + service("Other"),
		"catalog/code/names.cue":      "_names: [\"one\", \"two\"]\n",
		"catalog/code/each.cue":       "for n in _names {service: (n): " + service("Each") + "}\n",
		"catalog/code/eu/literal.cue": "service: literal: " + service("Literal"),
	} {
		files[name] = "package platform\n" + text
	}
	want := map[string]string{
		"top":      "top.cue",
		"checkout": "catalog/payments/checkout.cue",
		"ledger":   "catalog/data/ledger.cue",
		"wallet":   "catalog/data/eu/wallet.cue catalog/data/ledger.cue",
		"other":    "catalog/data/eu/other.cue catalog/data/ledger.cue",
		"one":      "catalog/code/each.cue catalog/code/names.cue",
		"two":      "catalog/code/each.cue catalog/code/names.cue",
		"literal":  "catalog/code/each.cue catalog/code/eu/literal.cue catalog/code/names.cue",
	}
	e := testEvaluator(t)
	check := func() {
		t.Helper()
		p, vs, err := e.Evaluate(t.Context(), treeOf(files))
		if err != nil || len(vs) > 0 {
			t.Fatalf("%v\n%s", err, render(vs))
		}
		got := map[string]string{}
		for name, s := range p.Services {
			got[name] = strings.Join(s.Sources, " ")
		}
		if !maps.Equal(got, want) {
			t.Errorf("got:\n%v\nwant:\n%v", got, want)
		}
		if db := strings.Join(p.Request("checkout-db").Sources, " "); db != want["checkout"] {
			t.Errorf("the request's: %s", db)
		}
	}
	check()
	files["catalog/all.cue"] = "package platform\nservice: all: " + service("All")
	want["all"] = "catalog/all.cue"
	for name, sources := range want {
		if name != "all" && name != "top" {
			want[name] = "catalog/all.cue " + sources
		}
	}
	check()
}

// What another evaluator knows is not evaluated again; what it does not know is.
func TestKnow(t *testing.T) {
	files := platformFiles(t)
	knowing := testEvaluator(t)
	want, vs, err := knowing.Evaluate(t.Context(), treeOf(files))
	if err != nil || len(vs) > 0 {
		t.Fatalf("%v\n%s", err, render(vs))
	}
	answers, err := knowing.Answers()
	if err != nil {
		t.Fatal(err)
	}
	e := New([]string{"/nonexistent"}, 0)
	if err := e.Know(answers); err != nil {
		t.Fatal(err)
	}
	got, vs, err := e.Evaluate(t.Context(), treeOf(files))
	if err != nil || len(vs) > 0 {
		t.Fatalf("%v\n%s", err, render(vs))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%+v\nwant:\n%+v", got, want)
	}
	files["catalog/more.cue"] = "package platform\n"
	if _, _, err := e.Evaluate(t.Context(), treeOf(files)); err == nil {
		t.Error("what nobody knows was answered")
	}
	if err := e.Know(json.RawMessage(`[]`)); err == nil {
		t.Error("something else passed for answers")
	}
}

// An evaluator that saw other trees before says of a tree what a new one says.
func TestWhatWasSeenBeforeChangesNothing(t *testing.T) {
	used := testEvaluator(t)
	used.Stay(time.Hour)
	files := platformFiles(t)
	service := func(name, owner string) string {
		return fmt.Sprintf("package platform\n\nservice: %q: {title: \"X\", owner: %q, type: \"service\", lifecycle: \"production\"}\n", name, owner)
	}
	remove := func(name string) func() { return func() { delete(files, name) } }
	write := func(name, content string) func() { return func() { files[name] = content } }
	for i, step := range []func(){
		func() {},
		write("catalog/team/a.cue", service("a", "payments")),
		write("catalog/team/b.cue", service("b", "payments")),
		func() {},
		write("catalog/team/b.cue", service("b", "nobody")),
		write("catalog/team/c.cue", service("a", "payments")), // a second time
		remove("catalog/team/a.cue"),
		write("catalog/team/c.cue", service("c", "payments")+"extra: 1\n"),
		func() {},
		write("catalog/defaults.cue", "package platform\n\nservice: [string]: description: *\"none\" | string\n"),
		write("catalog/team/c.cue", service("c", "payments")),
		write("catalog/team/b.cue", service("b", "platform")),
		remove("catalog/defaults.cue"),
		write("root.cue", service("r", "payments")+"extra: 1\n"),
		func() {},
		remove("root.cue"),
		write("teams.cue", strings.Replace(files["teams.cue"], "payments", "payment", 1)),
		write("teams.cue", files["teams.cue"]),
		remove("catalog/team/b.cue"),
	} {
		step()
		got, gotSaid, err := used.Evaluate(t.Context(), treeOf(files))
		if err != nil {
			t.Fatal(err)
		}
		want, wantSaid, err := testEvaluator(t).Evaluate(t.Context(), treeOf(files))
		if err != nil {
			t.Fatal(err)
		}
		if render(gotSaid) != render(wantSaid) {
			t.Errorf("step %d: got:\n%s\nwant:\n%s", i, render(gotSaid), render(wantSaid))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: got:\n%+v\nwant:\n%+v", i, got, want)
		}
	}
}
