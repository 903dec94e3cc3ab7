package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"cuelang.org/go/cue/format"

	"github.com/pave-dev/pave/reconciler"
)

func settingOf(value string, path ...string) reconciler.Setting {
	s := reconciler.Setting{Path: path}
	if value != "" {
		s.Value = json.RawMessage(value)
	}
	return s
}

func TestCreate(t *testing.T) {
	got, err := Writer{}.Create("checkout-cache", []reconciler.Setting{
		settingOf(`"db-credentials"`, "blueprint"), settingOf(`"checkout"`, "service"), settingOf(`"staging"`, "environment"),
		settingOf(`"cache"`, "inputs", "database"), settingOf(`20.0`, "inputs", "storage"), settingOf(`{"A_B":"x \"y\" \\(z)","if":"\n"}`, "inputs", "settings"),
		settingOf(`["a","b"]`, "inputs", "guests"), settingOf(`{"from":{"request":"checkout-db","output":"host"}}`, "inputs", "host"),
		settingOf(`-1.5`, "inputs", "offset"), settingOf(`null`, "inputs", "nothing"),
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `package platform

request: "checkout-cache": {
	blueprint:   "db-credentials"
	service:     "checkout"
	environment: "staging"
	inputs: {
		database: "cache"
		storage:  20
		settings: {
			A_B: "x \"y\" \\(z)"
			if:  "\n"
		}
		guests: ["a", "b"]
		host: from: {
			request: "checkout-db"
			output:  "host"
		}
		offset:  -1.5
		nothing: null
	}
}
`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	if neat, err := format.Source(got); err != nil || string(neat) != string(got) {
		t.Errorf("`cue fmt` would write %s (%v)", neat, err)
	}
}

const sample = `package platform

// The service.
service: checkout: {title: "Checkout", owner: "payments", type: "service", lifecycle: "production"}

// What it keeps.
request: "checkout-db": {
	blueprint:   "postgres" // for now
	service:     "checkout"
	environment: "production"

	// Large enough for a year.
	inputs: {size: "large", storage: 500}
	expires: "2027-01-01" // ask first
}

request: "checkout-cert": {blueprint: "cert", service: "checkout", environment: "production", inputs: size: "small"}

request: {
	// The first.
	a: {
		blueprint: "postgres"
		inputs: {
			size: "small"
			// The end.
		}
	}
	b: {blueprint: "postgres", inputs: {}}
}
`

func planned(content, name string) (*reconciler.Tree, *reconciler.Request) {
	const file = "catalog/payments/checkout.cue"
	tree := treeOf(map[string]string{file: content, "platform.cue": "package platform\n\nschema.#Root\n"})
	return tree, &reconciler.Request{Name: name, Document: reconciler.Document{Position: reconciler.Position{File: file, Line: 1}}}
}

// TestChange changes one thing at a time; the rest of the file stays.
func TestChange(t *testing.T) {
	for name, c := range map[string]struct {
		request  string
		settings []reconciler.Setting
		old, new string
	}{
		"replaces a value":                 {"checkout-db", []reconciler.Setting{settingOf(`"small"`, "inputs", "size")}, `size: "large", storage`, `size: "small", storage`},
		"replaces two":                     {"checkout-db", []reconciler.Setting{settingOf(`"s"`, "inputs", "size"), settingOf(`7`, "inputs", "storage")}, `{size: "large", storage: 500}`, `{size: "s", storage: 7}`},
		"adds within a line":               {"checkout-db", []reconciler.Setting{settingOf(`true`, "inputs", "public")}, `storage: 500}`, `storage: 500, public: true}`},
		"adds a line":                      {"checkout-db", []reconciler.Setting{settingOf(`true`, "protect")}, "// ask first\n", "// ask first\n\tprotect: true\n"},
		"adds a struct":                    {"checkout-db", []reconciler.Setting{settingOf(`"Until the audit is over"`, "suspend", "reason")}, "// ask first\n", "// ask first\n\tsuspend: reason: \"Until the audit is over\"\n"},
		"keeps the comment of a value":     {"checkout-db", []reconciler.Setting{settingOf(`"2028-01-01"`, "expires")}, `"2027-01-01" // ask`, `"2028-01-01" // ask`},
		"removes a line":                   {"checkout-db", []reconciler.Setting{settingOf(``, "expires")}, "\texpires: \"2027-01-01\" // ask first\n", ""},
		"removes within a line":            {"checkout-db", []reconciler.Setting{settingOf(``, "inputs", "size")}, `size: "large", `, ``},
		"removes the last within a line":   {"checkout-db", []reconciler.Setting{settingOf(``, "inputs", "storage")}, `, storage: 500`, ``},
		"removes what is not there":        {"checkout-db", []reconciler.Setting{settingOf(``, "suspend"), settingOf(``, "suspend", "reason")}, ``, ``},
		"removes with the comment":         {"checkout-db", []reconciler.Setting{settingOf(``, "inputs")}, "\n\t// Large enough for a year.\n\tinputs: {size: \"large\", storage: 500}\n", "\n"},
		"gives a field in line its braces": {"checkout-cert", []reconciler.Setting{settingOf(`1`, "inputs", "storage")}, `inputs: size: "small"}`, `inputs: {size: "small", storage: 1}}`},
		"empties a field in line":          {"checkout-cert", []reconciler.Setting{settingOf(``, "inputs", "size")}, `inputs: size: "small"}`, `inputs: {}}`},
		"adds to what is in line":          {"checkout-cert", []reconciler.Setting{settingOf(`"x"`, "description")}, `size: "small"}`, `size: "small", description: "x"}`},
		"adds behind a comment":            {"a", []reconciler.Setting{settingOf(`1`, "inputs", "storage")}, "// The end.\n", "// The end.\n\t\t\tstorage: 1\n"},
		"indents":                          {"a", []reconciler.Setting{settingOf(`{"x":{"y":1},"z":2}`, "inputs", "size")}, "\t\t\tsize: \"small\"", "\t\t\tsize: {\n\t\t\t\tx: y: 1\n\t\t\t\tz: 2\n\t\t\t}"},
		"fills what is empty":              {"b", []reconciler.Setting{settingOf(`"x"`, "inputs", "size")}, `inputs: {}`, `inputs: {size: "x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			tree, request := planned(sample, c.request)
			if err := (Writer{}).Writable(tree, request); err != nil {
				t.Fatal(err)
			}
			got, err := Writer{}.Change(tree, request, c.settings)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(sample, c.old, c.new, 1); string(got) != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestRetire(t *testing.T) {
	for name, removed := range map[string]string{
		"checkout-db":   sample[strings.Index(sample, "// What it keeps."):strings.Index(sample, "request: \"checkout-cert\"")],
		"checkout-cert": sample[strings.Index(sample, "request: \"checkout-cert\""):strings.Index(sample, "request: {\n")],
		"a":             sample[strings.Index(sample, "\t// The first."):strings.Index(sample, "\tb:")],
		"b":             "\tb: {blueprint: \"postgres\", inputs: {}}\n",
	} {
		tree, request := planned(sample, name)
		got, err := Writer{}.Retire(tree, request)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(sample, removed, "", 1); string(got) != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
	tree, request := planned("package platform\n\n// Alone.\nrequest: {\n\tx: {blueprint: \"cert\"}\n}\n", "x")
	if got, err := (Writer{}).Retire(tree, request); got != nil || err != nil {
		t.Errorf("got %s %v", got, err)
	}
}

// TestComputedRequests gets no form for what is computed, but the place that
// computes it.
func TestComputedRequests(t *testing.T) {
	const file = "catalog/payments/checkout.cue"
	plain := "request: \"checkout-db\": {blueprint: \"postgres\"}\n"
	for name, c := range map[string]struct {
		files map[string]string
		at    string
	}{
		"a comprehension":             {map[string]string{file: "package platform\nfor n in [\"db\"] {\n\trequest: \"checkout-\\(n)\": {blueprint: \"postgres\"}\n}\n"}, file},
		"a value":                     {map[string]string{file: "package platform\nlet b = \"postgres\"\nrequest: \"checkout-db\": {\n\tblueprint: b\n}\n"}, file + ":4:13"},
		"a spread":                    {map[string]string{file: "package platform\n_x: {}\nrequest: \"checkout-db\": {\n\t_x\n}\n"}, file + ":3:25"},
		"a pattern":                   {map[string]string{file: "package platform\n" + plain, "catalog/all.cue": "package platform\nrequest: [string]: protect: true\n"}, "catalog/all.cue:2:10"},
		"a pattern at the root":       {map[string]string{file: "package platform\n" + plain, "all.cue": "package platform\nrequest: [string]: protect: true\n"}, "all.cue:2:10"},
		"another file":                {map[string]string{file: "package platform\n" + plain, "catalog/payments/more.cue": "package platform\nrequest: \"checkout-db\": protect: true\n"}, "catalog/payments/more.cue:2:10"},
		"a computed name":             {map[string]string{file: "package platform\n" + plain, "catalog/payments/more.cue": "package platform\nrequest: \"checkout-\\(\"d\")\": protect: true\n"}, "catalog/payments/more.cue:2:10"},
		"a comprehension beside it":   {map[string]string{file: "package platform\n" + plain + "request: {for n in [\"db\"] {\"checkout-\\(n)\": protect: true}}\n"}, file + ":3:11"},
		"requests that are no struct": {map[string]string{file: "package platform\n" + plain + "request: _all\n_all: {}\n"}, file + ":3:10"},
		"twice in one file":           {map[string]string{file: "package platform\n" + plain + plain}, file + ":1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["platform.cue"] = "package platform\n\nschema.#Root\n"
			err := Writer{}.Writable(treeOf(c.files), &reconciler.Request{Name: "checkout-db", Document: reconciler.Document{Position: reconciler.Position{File: file, Line: 1}}})
			var computed *reconciler.Computed
			if !errors.As(err, &computed) || !strings.HasPrefix(computed.Position.String(), c.at) {
				t.Errorf("got %v, expected a place like %s", err, c.at)
			}
		})
	}
	elsewhere := map[string]string{"platform.cue": "package platform\nschema.#Root\n", file: "package platform\n" + plain,
		"catalog/payments/more.cue": "package platform\nfor n in [\"a\"] {request: \"other-\\(n)\": blueprint: \"postgres\"}\nservice: [string]: owner: \"payments\"\n"}
	tree := treeOf(elsewhere)
	_, request := planned("", "checkout-db")
	if err := (Writer{}).Writable(tree, request); err != nil {
		t.Errorf("what has no say in it keeps it from being changed: %v", err)
	}
}

// hostile returns a text that no file should ever hold.
func hostile(r *rand.Rand) string {
	parts := []string{`"`, `""`, `"""`, `'`, `\`, `\(`, `\(inputs.size)`, `\u0022`, `\n`, "\n", "\r\n", "\t", "#", `#"`, `"#`, "{", "}", "]", ",", ": ", "//", "/*", "@if(x)",
		"\x00", "\x1b[2J", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "é", "e\u0301", "日本", "😀", "\U0010ffff", "\xff", "\xc3\x28", "${x}", "%{if}", "<script>alert(1)</script>", "&amp;",
		"package platform", "request: x: {}", "\"\n}\nrequest: evil: {blueprint: \"postgres\"}\n//", "a", "0", " ", strings.Repeat("x", 300)}
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// TestHostileTexts writes texts into a new and into an existing file. Whatever is
// written the real evaluator reads back as it was; nothing else changes.
func TestHostileTexts(t *testing.T) {
	const file = "catalog/payments/checkout.cue"
	files := platformFiles(t)
	request := &reconciler.Request{Name: "checkout-db", Document: reconciler.Document{Position: reconciler.Position{File: file, Line: 1}}}
	r := rand.New(rand.NewPCG(7, 7))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{} // what was sample, by the request that says it
	tree := treeOf(files)
	changed := files[file]
	all := map[string]string{}
	for name, content := range files {
		all[name] = content
	}
	for i := range 1000 {
		text := hostile(r)
		value, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var said string // JSON has no other texts
		if err := json.Unmarshal(value, &said); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("hostile-%d", i)
		content, err := Writer{}.Create(name, []reconciler.Setting{settingOf(`"postgres"`, "blueprint"), settingOf(`"checkout"`, "service"),
			settingOf(`"development"`, "environment"), settingOf(`"small"`, "inputs", "size"), {Path: []string{"description"}, Value: value}})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		texts[name], all["catalog/payments/"+name+".cue"] = said, string(content)

		edited, err := Writer{}.Change(tree, request, []reconciler.Setting{{Path: []string{"description"}, Value: value}})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if i%50 == 0 { // the file that goes on to be judged
			changed, texts["checkout-db"] = string(edited), said
		}
		back, err := Writer{}.Change(treeOf(map[string]string{file: string(edited)}), request, []reconciler.Setting{settingOf("", "description")})
		if err != nil || string(back) != files[file] {
			t.Fatalf("%q: removed again it leaves:\n%s\n%v", text, back, err)
		}
	}
	all[file] = changed
	platform, violations, err := New([]string{self, "__eval"}, 0).Evaluate(context.Background(), treeOf(all))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for _, v := range violations {
		refused[v.Name] = true
		if v.Kind != "request" || len(v.Path) != 1 || v.Path[0] != "description" {
			t.Errorf("expected to hear of descriptions alone: %s", v)
		}
	}
	for name, text := range texts {
		var doc struct{ Description string }
		if got := platform.Request(name).JSON; got == nil {
			if !refused[name] {
				t.Errorf("%s is neither evaluated nor refused", name)
			}
		} else if err := json.Unmarshal(got, &doc); err != nil || doc.Description != text {
			t.Errorf("%s: wrote %q, the evaluator reads %q", name, text, doc.Description)
		}
	}
	if len(refused) > len(texts)/2 {
		t.Errorf("%d of %d are refused: this test shows nothing", len(refused), len(texts))
	}
}

func TestData(t *testing.T) {
	for text, want := range map[string]string{
		`{a: "b", c: [1, 2.5, true, null]}`: `{"a":"b","c":[1,2.5,true,null]}`,
		"a: 1":                              "",
		`["x",]`:                            `["x"]`,
		`{a: b}`:                            "",
		`"\(1)"`:                            "",
		`1 + 1`:                             "",
		`{[string]: 1}`:                     "",
		`{a: 1, a: 1}`:                      "",
		`"unterminated`:                     "",
		`'bytes'`:                           "",
		"{a: 1} // x":                       `{"a":1}`,
		`9007199254740993`:                  `9007199254740993`,
	} {
		got, err := Writer{}.Data(text)
		if (err != nil) != (want == "") || string(got) != want {
			t.Errorf("%s: got %s %v", text, got, err)
		}
	}
	if got := (Writer{}).Text(json.RawMessage(`{"b-c":[1,{"d":"e"}]}`)); got != "\"b-c\": [1, {d: \"e\"}]" && !strings.Contains(got, "b-c") {
		t.Errorf("got %s", got)
	}
}
