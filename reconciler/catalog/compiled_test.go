package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue/parser"
)

// forms are constraints as blueprints write them; F stands for the name of the
// field, G for that of a field beside it. Those from the number of compilable on are
// left to CUE: they follow from another field, or ask what a value does not show.
var forms = slices.Concat(simple, entwined)

var compilable = len(simple)

var simple = []string{
	`F!: string`, `F?: string`, `F: *"x" | string`, `F: *"x" | "a" | "A"`, `F: "x"`, `F?: string & !=""`, `F?: =~"^[a-z]+$"`, `F?: !~"^[a-z]+$" & string`,
	`F?: =~"(?i)^x$" | =~"^é"`, `F?: =~"^a" & =~"b$" & !~"c"`, `F?: strings.MinRunes(1) & strings.MaxRunes(2)`, `F?: strings.MinRunes(3)`, `F?: strings.MaxRunes(0)`,
	`F?: time.Format("2006-01-02")`, `F?: time.Format("2006-01-02T15:04:05Z07:00")`, `F?: int`, `F?: number`, `F?: float`, `F?: int & >=1 & <=100`, `F: *3 | int & >=1 & <=100`,
	`F: (*1 | int) & >=1 & <=10`, `F?: >0`, `F?: >=0 & <1`, `F?: >0.5 & <=101`, `F?: number & !=3`, `F?: int & !=3 & >-2`, `F?: uint8`, `F?: uint`, `F?: int64`, `F?: int128`, `F?: float64`, `F?: rune`, `F?: float & >1`,
	`F?: 1 | 2 | 3`, `F?: 1.5 | 3.0 | "x"`, `F?: 1K | 1024 | 256`, `F: *3.0 | number`, `F?: >=3 & <=3`, `F?: 9007199254740993 | 18446744073709551616`, `F?: <="x"`, `F?: >"a" & <"b"`,
	`F?: bool`, `F: *false | bool`, `F: *true | bool`, `F?: true`, `F?: null`, `F: *null | string`, `F?: null | int`, `F?: !=null`, `F?: bytes`, `F?: string | bytes`,
	`F?: _`, `F?: {...}`, `F?: {}`, `F?: [...]`, `F?: []`, `F: [...string]`, `F: *["a"] | [...string]`, `F?: [...int & >0]`, `F?: [string, int]`, `F?: [string, ...int]`, `F?: [...{a!: int, b: *"x" | string}]`,
	`F?: [...string] & [_, ...]`, `F?: [...string] & [...=~"^a"]`, `F?: [...[...int]]`, `F?: null | [...string]`, `F?: [...int] | [...string]`, `F?: string | [...string]`, `F?: [1, 2] | [...string]`,
	`F?: {a?: int, b: *"x" | string}`, `F: {a?: int, b: *"x" | string}`, `F: {a!: int}`, `F?: {a: b: c: int | *7}`, `F?: {a?: {b?: {c?: [...{d!: bool}]}}}`, `F: {kind: "x", n: *1 | int}`,
	`F?: [string]: string`, `F: [string]: int | *1`, `F?: [=~"^[a-z]+$"]: int & >0`, `F?: {[=~"^a"]: int, [=~"b$"]: >5, a?: <100}`, `F?: {[string]: {a!: int, ...}}`, `F?: {a: int, ...}`, `F?: {a?: int, [string]: int}`,
	`F?: {close: "x", "a b"?: string, "": *1 | int}`, `F?: {kind!: "x", n!: int} | {kind!: "y", s!: string}`, `F?: {a: 1} | {a: 1, b: *2 | int}`, `F: *{kind: "none"} | {kind: "some", value!: number}`,
	`F: *{kind: "none", n: *1 | int} | {kind: string, n: *2 | int}`, `F: *{a: 1} | {a: int}`, `F?: string | {a: *1 | int}`, `F?: string | schema.#Ref`, `F?: schema.#Ref`, `F?: schema.#Ref | null`,
	`F?: "a" | 7 | true | {kind!: "x", n!: int} | {kind!: "y", s!: string}`, `F?: #Shared`, `F?: #Shared & {a: 5}`, `F?: #Shared | *null`, `F?: {#Shared, c?: int}`, `F: {#Shared} | *"x"`, `F?: #Tree`, `F?: #Shared.b`,
	`F?: schema.#Name`, `F?: schema.#Text`, `F?: schema.#Days`, `F?: *"x" | schema.#Text`, `F?: {a?: _|_}`, `F?: {_h: 1, a?: int}`, `F?: {#d: 1, a?: int}`, `F?: {string, #d: 1}`, `F?: #Inputs`, `F: *#Blueprint.title | string`, `F?: 3 * 4`, `F?: "a" + "b" | "x"`, `F?: int @note(x)`,
	"F?: string\n\tF?: =~\"^a\"", "F?: string\n\tF!: _", "F: *\"x\" | string\n\tF: *\"y\" | string", "F?: {a: int}\n\tF?: {b?: int}", "F?: {a?: int}\n\tF?: {a?: >5}",
}

var entwined = []string{
	"G?: string\n\tF: *\"\\(G)\" | string", "G: *1 | int\n\tF: *(G > 1) | bool", "G: *false | bool\n\tif G {F!: string}", "G: *1 | int\n\tF?: >G", "G: *1 | int\n\tF?: {a: *G | int}", "G: *1 | int\n\tF: [if G > 1 {\"x\"}, *\"y\" | string][0]",
	"G: {a: *1 | int}\n\tF: *G.a | int", "X=G: *1 | int\n\tF: *X | int", "let X = G\n\tG: *1 | int\n\tF: *X | int", "G: X={a: *1 | int, b: *X.a | int}", "F?: {a: *1 | int, b: *a | int}", "F: {for k, v in {a: 1} {(k): *v | int}}",
	"F?: [N=string]: name: N", "F?: [...int] & list.MaxItems(2)", "F?: [...string] & list.UniqueItems", "F?: [...string] & list.UniqueItems()", "F?: {[string]: int} & struct.MinFields(2)", "F?: close({a?: int})", "F?: and([int, >5])", "F?: or([\"a\", \"x\"])",
	`F?: matchN(1, [string, int])`, `F?: strings.HasPrefix("a")`, `F?: strings.ToLower("X")`, `F?: len("abc")`, `F?: #Needy`, `F?: [...#Needy]`, `F?: #Limited`, `F?: helpers.#Needy`, `F?: helpers.#Open`,
	"#b: int\n\tF?: #b", "_b: *1 | int\n\tF?: _b", "string: int\n\tF?: string", `F?: error("no")`,
}

// shared is what the forms name, beside them.
const shared = `
#Shared: {a: *1 | int, b?: "x" | "y"}
#Tree: {name!: string, children: [...#Tree]}
`

// needy are definitions whose fields follow from each other, or that ask more than
// a value shows.
const needy = `
#Needy: {a: *1 | int, b: *(a > 1) | bool}
#Limited: [...int] & list.MaxItems(1)
#Open: {a?: int, ...}
`

// formValues are what documents say of a field of any form, but for what is odd.
var formValues = []string{
	`"x"`, `"a"`, `"ab"`, `"abc"`, `"A"`, `"é"`, `"éa"`, `"😀"`, `"a\tb"`, `"<&>"`, `"a\u2028"`, `"y"`, `"X"`, `""`, `"2027-03-01"`, `"2027-03-01T00:00:00Z"`, `"7d"`,
	`0`, `1`, `2`, `3`, `7`, `10`, `11`, `12`, `99`, `100`, `101`, `255`, `1.5`, `0.5`, `0.50`, `-1`, `-2`, `1000`, `1024`, `9223372036854775808`, `1e-7`, `0.000001`, `0.12345678901234567890123456789`, `true`, `false`, `null`,
	`[]`, `["a"]`, `["a", "ab"]`, `[1]`, `[1, 2]`, `["a", 1]`, `["a", 1, 2]`, `[[1], []]`, `[null]`, `[{a: 1}]`, `[{a: 1, b: "y"}, {a: 2}]`, `[{b: "y"}]`,
	`{}`, `{a: 1}`, `{a: 2, b: "y"}`, `{a: 5}`, `{a: 6, b: 6}`, `{b: "x"}`, `{a: "x"}`, `{b: {}}`, `{ab: 7}`, `{ab: 3}`, `{a: {a: 1, z: 2}}`, `{a: b: c: [{d: true}]}`, `{a: b: c: 1}`, `{zzz: 1}`, `{"a b": "x", close: "x"}`,
	`{kind: "x", n: 1}`, `{kind: "x"}`, `{kind: "none"}`, `{kind: "none", n: 5}`, `{kind: "some", value: 1.5}`, `{kind: "y", s: "t"}`, `{name: "t"}`, `{name: "t", children: [{name: "u"}]}`, `{c: 1}`, `{a: true, b: 1}`,
	`{from: {request: "other", output: "host"}}`, `{from: {request: "other", output: "host", more: 1}}`, `{b: 1}`, `{a: 3, b: 3}`, `{x: {name: "x"}}`, `{x: {name: "y"}}`,
}

// costs are prices of a request.
var costs = []string{"0", "1.50", "len([for k, _ in inputs {k}])", "*1 | number"}

var formField = regexp.MustCompile(`\b[FG]\b`)

// blueprint returns a blueprint that takes inputs of the forms, its package and the
// fields of its inputs.
func (g generator) blueprint(name string, forms []string) (text string, fields []string) {
	var b strings.Builder
	b.WriteString("#Inputs: {\n")
	for i, form := range forms {
		b.WriteString("\t" + formField.ReplaceAllStringFunc(form, func(f string) string {
			field := fmt.Sprintf("%s%d", strings.ToLower(f), i)
			fields = append(fields, field)
			return field
		}) + "\n")
	}
	b.WriteString("}\n" + shared)
	if regexp.MustCompile(`[^.](\.\.\.)?#(Needy|Limited)`).MatchString(b.String()) {
		b.WriteString(needy)
	}
	imports := "import \"pave.dev/schema\"\n"
	for _, pkg := range []string{"strings", "time", "list", "struct", "acme.example/platform/blueprints/shared/helpers"} {
		if strings.Contains(b.String(), path.Base(pkg)+".") {
			imports += fmt.Sprintf("import %q\n", pkg)
		}
	}
	fmt.Fprintf(&b, "#Blueprint: schema.#Blueprint & {\n\tname: %q, title: \"T\", outputs: {host: {}, \"a-b\": {}}\n\trequest: {inputs: #Inputs, cost: monthly: %s}\n}\n", name, g.pick(costs))
	slices.Sort(fields)
	return "package " + name + "\n" + imports + b.String(), slices.Compact(fields)
}

// formsPlatform returns a platform with a blueprint for each form, and some that mix
// them, and the fields that each blueprint's inputs have.
func (g generator) formsPlatform(t *testing.T) (files map[string]string, fields map[string][]string) {
	files, fields = archiveFiles(t, filepath.Join("testdata", "differential.txtar")), map[string][]string{}
	files["blueprints/shared/helpers/helpers.cue"] = "package helpers\nimport \"list\"\n" + needy
	var imports, listed strings.Builder
	for n := range len(forms) + 40 {
		name := fmt.Sprintf("forms%d", n)
		some := []string{g.pick(forms), g.pick(forms), g.pick(forms)}
		if n < len(forms) {
			some = forms[n : n+1]
		}
		files["blueprints/"+name+"/blueprint.cue"], fields[name] = g.blueprint(name, some)
		fmt.Fprintf(&imports, "import \"acme.example/platform/blueprints/%s\"\n", name)
		fmt.Fprintf(&listed, "#blueprints: %q: %s.#Blueprint\n", name, name)
	}
	files["forms.cue"] = "package platform\n" + imports.String() + listed.String()
	return files, fields
}

// governed returns an evaluation of a platform's governance.
func governed(t *testing.T, files map[string]string) *evaluation {
	t.Helper()
	layout, violations := survey(treeOf(files), nil, &shelves{})
	if layout == nil {
		t.Fatal(render(violations))
	}
	var ev evaluation
	if a := ev.do(*layout.jobs(nil, &shelves{})[0]); len(a.Violations) > 0 {
		t.Fatal(render(a.Violations))
	}
	return &ev
}

// TestCompiledConstraintsAgree compares what compiled constraints accept with what
// CUE makes of the same documents.
func TestCompiledConstraintsAgree(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(*seedFlag, 1))}
	files, fields := g.formsPlatform(t)
	ev := governed(t, files)
	names := slices.Sorted(maps.Keys(fields))
	taken := map[string]int{}
	both := 0
	for n := range 5 * *documentsFlag {
		text := g.file(n)
		blueprint := ""
		if n%10 > 0 {
			blueprint = names[g.IntN(len(names))]
			var inputs []string
			for _, field := range fields[blueprint] {
				if g.chance(0.7) {
					inputs = append(inputs, field+": "+g.pick(slices.Concat(odd, formValues)))
				}
			}
			text = fmt.Sprintf("request: %q: {blueprint: %q, service: \"s\", environment: %q, inputs: {%s}}",
				documentName(n), blueprint, g.pick([]string{"development", "staging", "production"}), strings.Join(inputs, ", "))
		}
		parsed, err := parser.ParseFile("", text)
		if err != nil {
			continue
		}
		entries, literal := literalEntries(parsed)
		if !literal {
			continue
		}
		for _, e := range entries {
			want := concreteJSON(ev.unify(e))
			var got []byte
			if c := ev.compiledFor(e); c != nil {
				got = c.check(ev, e)
			}
			if want != nil {
				both++
			}
			if got == nil {
				continue
			}
			taken[blueprint]++
			if string(got) != string(want) {
				t.Errorf("compiled constraints make of the document\n%s\n\t%s\nCUE\n\t%s\n%s", text, got, want, files["blueprints/"+blueprint+"/blueprint.cue"])
			}
		}
	}
	for n, form := range forms {
		if n >= compilable && taken[fmt.Sprintf("forms%d", n)] > 0 {
			t.Errorf("%q depends on other fields, or shows not all it asks: expected it to be left to CUE", form)
		}
	}
	all := 0
	for _, n := range taken {
		all += n
	}
	if all < both/2 {
		t.Errorf("of %d documents that CUE accepts compiled constraints accept %d: the comparison says little", both, all)
	}
}

// TestConstraintsOfTheOrganisation adds files to a platform that change what is
// asked of services or requests, or might.
func TestConstraintsOfTheOrganisation(t *testing.T) {
	const services, requests, both = "services", "requests", "services and requests"
	for text, compiled := range map[string]string{
		"": both, "team: {for n in [\"a\", \"b\"] {(n): title: n}}": both, "_text: string": both, "#Text: =~\"x\"": both, "platform: {title: \"T\", policy: {}}": both,
		"#service: tier!: _": requests, "#request: expires!: _": services, "#service: {...}\n#request: {...}": "",
		"{#service: tier!: _}": "", "if true {#service: tier!: _}": "", "let x = 1\n_y: x": both, "let x = len(team)\n_y: x": "", "_x: {a: 1, b: a}": "", "X=_x: 1\n_y: X": "", "_x: len(team)": "",
		"#blueprints: [string]: {}": "", "#blueprints: {[string]: {}}": "", "#blueprints: _": "", "#blueprints: {_x}\n_x: {}": "", "import \"list\"\n_x: list.MaxItems(1)": "", "import \"pave.dev/schema\"\nschema.#Root": both,
	} {
		files := archiveFiles(t, filepath.Join("testdata", "differential.txtar"))
		files["rules.cue"] = "package platform\n" + text
		ev := governed(t, files)
		var got []string
		if ev.compiledFor(entry{kind: "service"}) != nil {
			got = append(got, services)
		}
		if ev.compiledFor(entry{kind: "request", value: map[string]any{"blueprint": "bare", "environment": "staging"}}) != nil {
			got = append(got, requests)
		}
		if got := strings.Join(got, " and "); got != compiled {
			t.Errorf("with %q are compiled: %q, expected %q", text, got, compiled)
		}
	}
}
