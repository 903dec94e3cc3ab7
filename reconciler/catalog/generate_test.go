package catalog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// generator writes documents as people and their scripts write them: most
// fields as they should be, some not, in every notation that CUE has.
type generator struct{ *rand.Rand }

// field is a field that a document may have, and texts that are right for it.
type field struct {
	name     string
	required bool
	values   []string
}

// requestFields are the fields of a request but for its inputs.
var requestFields = []field{
	{"blueprint", true, []string{`"everything"`, `"everything"`, `"everything"`, `"bare"`}},
	{"service", true, []string{`"checkout"`, `"c"`}},
	{"environment", true, []string{`"development"`, `"staging"`, `"production"`}},
	{"description", false, []string{`"What it is for."`, `""`, "\"\"\"\n\ttwo\n\tlines\n\t\"\"\""}},
	{"expires", false, []string{`"2027-03-01"`, `"2028-02-29"`}},
	{"protect", false, []string{`true`, `false`}},
	{"suspend", false, []string{`{reason: "while the move goes on"}`}},
	{"replace", false, []string{`true`, `false`}},
	{"renamedFrom", false, []string{`"older"`}},
	{"shareWith", false, []string{`["payments"]`, `[]`, `["payments", "platform"]`}},
	{"allowDestroy", false, []string{`{resources: ["aws_db_instance.main"], reason: "it holds nothing yet"}`}},
}

// inputFields are the inputs of the blueprint `everything`.
var inputFields = []field{
	{"text", true, []string{`"plain"`, `"Grüße, 世界 😀"`, `#"raw \n "quoted""#`, "\"\"\"\n\tmore\n\t  than one line\n\t\"\"\"", `"\u0041\t\"\\\U0001F600\/"`, `"${file(\"x\")} %{ for }"`}},
	{"word", false, []string{`"word"`}},
	{"size", false, []string{`"small"`, `"medium"`, `"large"`}},
	{"count", false, []string{`1`, `100`, `0x10`, `0b101`, `0o17`, `1_0`}},
	{"byte", false, []string{`0`, `255`}},
	{"amount", false, []string{`-1`, `2.50`, `1Ki`, `1.5K`, `1e3`, `1E-3`, `-0.25`, `9007199254740993`, `0.12345678901234567890123`, `1e40`}},
	{"ratio", false, []string{`0`, `1`, `0.5`, `.5`, `1.0`, `0.0`}},
	{"decimal", false, []string{`1.0`, `2.5`, `1e2`, `-0.5`}},
	{"huge", false, []string{`123456789012345678901234567890`, `-1`, `1Mi`, `1_000_000`, `-0`}},
	{"flag", false, []string{`false`}},
	{"maybe", false, []string{`null`, `"something"`}},
	{"names", false, []string{`[]`, `["a"]`, `["a", "b",]`, "[\n\t\"a\", // first\n\t\"b\",\n]"}},
	{"numbers", false, []string{`[1, 2.5, 1e3, -4]`, `[]`}},
	{"pair", false, []string{`["a", 1]`}},
	{"few", false, []string{`[1, 2]`, `[]`}},
	{"once", false, []string{`["a", "b"]`}},
	{"tags", false, []string{`{}`, `{a: "b"}`, `{"a b": "c", "ä": "\n", "1": "x"}`, `{service: "x", if: "y", null: "z"}`}},
	{"limits", false, []string{`{cpu: 4}`, `{}`}},
	{"nested", false, []string{`{host: "h"}`, `{host: "h", port: 1, deep: a: [{b: 1}, {b: 2, c: "x"}]}`, `{host: "h", deep: {}}`}},
	{"choice", false, []string{`"a"`, `7`, `true`, `{kind: "x", n: 1}`, `{kind: "y", s: "t"}`}},
	{"either", false, []string{`{kind: "none"}`, `{kind: "some", value: 1.50}`}},
	{"host", false, []string{`"h"`, `{from: {request: "other", output: "host"}}`, `from: {request: "other", output: "host"}`}},
	{"secret", false, []string{`{from: {request: "other", output: "password"}}`}},
	{"day", false, []string{`"2027-12-31"`}},
	{"short", false, []string{`"ab"`, `"äöü😀"`}},
	{"anything", false, nil},
	{"open", false, []string{`{}`, `{a: 1, b: {c: [null, true, "x", 1.0]}}`}},
}

// serviceFields are the fields of a service.
var serviceFields = []field{
	{"title", true, []string{`"Checkout"`, `"é"`}},
	{"owner", true, []string{`"payments"`, `"platform"`}},
	{"type", true, []string{`"service"`, `"website"`, `"library"`, `"job"`, `"data"`}},
	{"lifecycle", true, []string{`"experimental"`, `"production"`, `"deprecated"`, `"retired"`}},
	{"description", false, []string{`"Sells."`}},
	{"tier", false, []string{`1`, `4`}},
	{"system", false, []string{`"orders"`}},
	{"repository", false, []string{`"https://git.example/x"`}},
	{"language", false, []string{`"Go"`}},
	{"links", false, []string{`[]`, `[{type: "logs", title: "Logs", url: "https://logs.example/"}]`}},
	{"docs", false, []string{`"docs/checkout"`}},
	{"apis", false, []string{`[{name: "a", type: "grpc", definition: "a.proto"}]`}},
	{"slos", false, []string{`[{name: "availability", objective: 99.95}]`, `[{name: "latency", objective: 99, window: "7d"}, {name: "b", objective: 100.0}]`}},
	{"onCall", false, []string{`"pagerduty:P1"`}},
	{"dependsOn", false, []string{`["ledger"]`}},
	{"tags", false, []string{`["pci"]`}},
	{"aliases", false, []string{`["cart"]`}},
}

// odd are values that few fields take, and that some take in one notation only.
var odd = []string{
	`""`, `"x"`, `"X Y"`, `"é"`, `"\u0041"`, `"a\nb"`, `#"a\b"#`, `##"a"#b"##`, "\"\"\"\n\tx\n\t\"\"\"", "#\"\"\"\n\t\\x\n\t\"\"\"#", `"\("a")b"`,
	`'bytes'`, `'\xff\x00'`, `#'raw'#`, "'''\n\tx\n\t'''", `"\ud83d\ude00"`, `"\ud83d"`,
	`null`, `true`, `false`, `0`, `-0`, `1`, `-1`, `+1`, `+1.5`, `3`, `3.0`, `-3.0`, `2.50`, `-0.0`, `0.0`, `1e0`, `1e2`, `1E+2`, `1e-2`, `12e-1`, `1e400`, `1e-400`, `1e999999`, `1Ki`, `1.5Ki`, `1.5K`,
	`0.5Mi`, `2M`, `2T`, `0x1F`, `0o17`, `0b101`, `1_000`, `.5`, `5.`, `101`, `256`, `9007199254740993`, `18446744073709551616`, `123456789012345678901234567890`, `0.1234567890123456789012345678901234567890`,
	`100000000000000000000.5`, `1.0000000000000000000000000000000000000001`, `- 1`, `--1`, `!true`, `(1)`, `("x")`,
	`{}`, `[]`, `[1, "a", null, [], {}]`, `{a: 1}`, `{a: 1, a: 1}`, `{a: 1, a: 2}`, `{"a b": {"": [1.0]}}`, `{_a: 1, #b: 2, c: 3}`, `{a?: 1, b: 2}`, `{a!: 1}`, `{a: b: c: 1}`, `{for: 1}`,
	`{"a": 1, @x(y)}`, `{a: 1 @x(y)}`, `{a: 1, ...}`, `{[string]: 1, a: 1}`, `{X=a: 1, b: X}`, `{a: 1, b: a}`, `{let x = 1, a: x}`, `{if true {a: 1}}`, `{{a: 1}, b: 2}`, `{("a"): 1}`, `{"\("a")": 1}`,
	`_`, `string`, `int`, `"a" | *"b"`, `*1 | int`, `*"small" | string`, `1 | 2`, `int & 5`, `5 & int`, `"a" & string`, `"a" & "b"`, `"a" + "b"`, `1 + 1`, `10 / 4`, `7 div 2`, `2.0 * 2`, `"x" * 3`, `len("abc")`, `[for i in [1, 2] {i}]`, `[1, ...]`, `[...]`, `[...int]`, `{...}`,
	`close({a: 1})`, `_|_`, `>5`, `!="a"`, `=~"a"`, `or(["a", "b"])`, `and([1, int])`, `nope`, `request`, `[1][0]`, `{a: 1}.a`, `"2027-02-30"`, `"2027-2-3"`, `"2027-03-01T00:00:00Z"`, `"huge"`, `"nobody"`, `"Small"`,
	`{from: {request: "other", output: "host"}}`, `{from: {request: "Other", output: "host"}}`, `{from: request: "x"}`, `["payments", "payments"]`, `{kind: "z"}`, `{kind: "x", n: 1, s: "t"}`, `{kind: "some"}`, `{reason: "short"}`, `{resources: [], reason: "it holds nothing yet"}`,
	`{host: "h", port: 65536}`, `{port: 1}`, `{cpu: 0}`, `{Cpu: 1}`, `[1, 2, 3]`, `["a", "a"]`, `["a"]`, `["a", 1, 2]`, `"\q"`, `"unfinished`, `{a: 1`, `[1 2]`, `1 2`, `'`,
}

func (g generator) pick(from []string) string { return from[g.IntN(len(from))] }
func (g generator) chance(of float64) bool    { return g.Float64() < of }

// file returns the n-th file: a document, about half of the time a valid one.
func (g generator) file(n int) string {
	faults := 0
	if g.chance(0.5) {
		faults = 1 + g.IntN(2)
	}
	name := fmt.Sprintf("%q", documentName(n))
	kind := "request"
	var fields, inputs [][2]string
	if g.chance(0.3) {
		kind = "service"
		fields = g.fields(serviceFields, 0.3)
	} else {
		fields = g.fields(requestFields, 0.12)
		if slices.Contains(fields, [2]string{"blueprint", `"bare"`}) {
			inputs = g.fields([]field{{"region", false, []string{`"eu"`}}, {"word", false, []string{`"w"`}}}, 0.5)
		} else {
			inputs = g.fields(inputFields, 0.2)
		}
	}
	if g.chance(0.1) {
		fields = append(fields, [2]string{"name", name})
	}
	for range faults {
		target, known := &fields, requestFields
		if kind == "service" {
			known = serviceFields
		} else if g.chance(0.6) {
			target, known = &inputs, inputFields
		}
		*target = g.fault(*target, known)
	}
	if faults > 0 && g.chance(0.05) {
		name = g.pick([]string{`"Doc-%d"`, `"doc %d"`, `doc_%d`, `"-doc%d"`, `"dóc%d"`, `"doc%d-"`, `"doc.%d"`, `("doc-%d")`, `"doc-\(%d)"`, `[=~"%d"]`, `_doc%d`, `#doc%d`})
		name = fmt.Sprintf(name, n)
	}
	return "package platform\n" + g.comment() + g.document(kind, name, fields, inputs)
}

func documentName(n int) string { return fmt.Sprintf("doc-%04d", n) }

// fields takes every required field and some of the others.
func (g generator) fields(known []field, share float64) [][2]string {
	var fields [][2]string
	for _, f := range known {
		if f.required || g.chance(share) {
			values := f.values
			if values == nil {
				values = odd
			}
			fields = append(fields, [2]string{f.name, g.pick(values)})
		}
	}
	g.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	return fields
}

// fault changes fields in a way that is wrong most of the time.
func (g generator) fault(fields [][2]string, known []field) [][2]string {
	fields = slices.Clone(fields)
	at := 0
	if len(fields) > 0 {
		at = g.IntN(len(fields))
	}
	any := known[g.IntN(len(known))].name
	switch g.IntN(10) {
	case 0: // a field is missing
		if len(fields) > 0 {
			fields = slices.Delete(fields, at, at+1)
		}
	case 1: // a field is unknown
		fields = append(fields, [2]string{g.pick([]string{"nope", `"a b"`, "titel", "Size", "cost", "outputs", "label", "_hidden", "#Def", "inputs", "metadata"}), g.pick(odd)})
	case 2: // a field stands twice
		if len(fields) > 0 {
			fields = append(fields, fields[at])
		}
	case 3: // a field stands twice with another value
		if len(fields) > 0 {
			fields = append(fields, [2]string{fields[at][0], g.pick(odd)})
		}
	case 4: // what the blueprint computes is stated
		fields = append(fields, [2]string{g.pick([]string{"cost", "outputs", "name", "label"}),
			g.pick([]string{`{monthly: 3.75}`, `monthly: 5`, `{}`, `host: from: request: "x"`, `{host: {}}`, `"doc-0007"`, `"plain/medium"`})})
	case 5: // the notation of a field is not that of data
		label := g.pick([]string{`%s?`, `%s!`, `"%s"`, `("%s")`, `"\("%s")"`, `X=%s`, `#"%s"#`, `[=~"^%s$"]`})
		fields = append(fields, [2]string{fmt.Sprintf(label, any), g.pick(odd)})
	default:
		fields = append(slices.DeleteFunc(fields, func(f [2]string) bool { return f[0] == any }), [2]string{any, g.pick(odd)})
	}
	return fields
}

func (g generator) comment() string {
	return g.pick([]string{"", "", "", "// a comment\n", "\n// one\n\n// and another\n\n"})
}

// document writes the document in one of the ways that CUE knows.
func (g generator) document(kind, name string, fields, inputs [][2]string) string {
	lines := g.lines(fields)
	switch g.IntN(10) {
	case 0:
		for _, f := range g.lines(inputs) {
			lines = append(lines, "inputs: "+f)
		}
	default:
		if len(inputs) > 0 || kind == "request" && g.chance(0.7) {
			lines = append(lines, g.block("inputs", g.lines(inputs)))
		}
	}
	switch g.IntN(20) {
	case 0:
		return kind + ": {\n" + name + ": {\n" + strings.Join(lines, "\n") + "\n}\n}\n"
	case 1:
		half := len(lines) / 2
		return g.block(kind+": "+name, lines[:half]) + "\n" + g.block(kind+": "+name, lines[half:]) + "\n"
	case 2:
		var b strings.Builder
		for _, line := range lines {
			b.WriteString(kind + ": " + name + ": " + line + "\n")
		}
		return b.String()
	case 3:
		return g.block(`"`+kind+`": `+name, lines) + "\n"
	case 4:
		return "{\n" + g.block(kind+": "+name, lines) + "\n}\n"
	}
	return g.block(kind+": "+name, lines) + "\n"
}

func (g generator) block(label string, lines []string) string {
	if g.chance(0.2) && !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "//") }) {
		return label + ": {" + strings.Join(lines, ", ") + "}"
	}
	return label + ": {\n" + strings.Join(lines, "\n") + "\n}"
}

func (g generator) lines(fields [][2]string) []string {
	var lines []string
	for _, f := range fields {
		label := f[0]
		if g.chance(0.1) && !strings.ContainsAny(label, "\"?![=_#(") {
			label = `"` + label + `"`
		}
		line := label + ": " + f[1]
		if g.chance(0.003) {
			line += " @note(x)"
		}
		if g.chance(0.05) {
			line += " // why"
		}
		lines = append(lines, line)
	}
	return lines
}

// written are files that no chance would write: the name stands for NAME.
var written = []string{
	"service: {}",
	"request: {}",
	"service: NAME: {}",
	"request: NAME: {}",
	"request: NAME: null",
	"request: NAME: 1",
	"request: [...]",
	"request: NAME: _",
	"import \"strings\"\nservice: NAME: {title: strings.ToUpper(\"x\"), owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"import \"acme.example/platform/blueprints/bare\"\nservice: NAME: {title: bare.#Blueprint.title, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"import \"strings\"\nservice: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"import \"nosuch\"\nservice: NAME: {title: nosuch.x, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"let t = \"x\"\nservice: NAME: {title: t, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"let t = \"x\"\nservice: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"#t: \"x\"\nservice: NAME: {title: #t, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"_t: owner: \"payments\"\nservice: NAME: {_t, title: \"x\", type: \"job\", lifecycle: \"production\"}",
	"_t: {owner: \"payments\", nope: 1}\nservice: NAME: {_t, title: \"x\", type: \"job\", lifecycle: \"production\"}",
	"service: [string]: owner: \"payments\"\nservice: NAME: {title: \"x\", type: \"job\", lifecycle: \"production\"}",
	"service: [string]: owner: \"platform\"\nservice: NAME: {owner: \"payments\", title: \"x\", type: \"job\", lifecycle: \"production\"}",
	"service: [=~\"^doc\"]: {type: \"job\", lifecycle: *\"production\" | \"retired\"}\nservice: NAME: {title: \"x\", owner: \"payments\"}",
	"service: [=~\"^doc\"]: {type: \"job\", lifecycle: *\"production\" | \"retired\"}\nservice: NAME: {title: \"x\", owner: \"payments\", lifecycle: \"retired\"}",
	"for n in [\"NAME-a\", \"NAME-b\"] {service: (n): {title: n, owner: \"payments\", type: \"job\", lifecycle: \"production\"}}",
	"for n in [\"NAME-a\", \"NAME-B\"] {service: (n): {title: n, owner: \"payments\", type: \"job\", lifecycle: \"production\"}}",
	"if true {service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}}",
	"if false {service: NAME: {title: \"x\"}}",
	"if nope {service: NAME: {title: \"x\"}}",
	"service: NAME: {title: \"x\", owner: [for n, _ in team {n}][1], type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: team.payments.title, owner: team.payments.name, type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: team.nobody.title, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: platform.title, owner: platform.owner, type: \"job\", lifecycle: \"production\"}",
	"service: NAME: #service & {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"} & {tier: 1}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"} | {title: \"y\"}",
	"service: NAME: *{title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"} | {title: \"y\"}",
	"service: NAME: close({title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"})",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\", ...}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\", [string]: _}",
	"service: NAME?: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME!: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service?: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"} @note(x)",
	"service: NAME: {@note(x), title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"@note(x)\nservice: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservice: NAME: {}",
	"service: NAME: {title: \"x\", owner: \"payments\"}\nservice: NAME: {type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservice: NAME: tier: 5",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservices: {}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\n_x: 1/0",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\n#x: {a: 1, a: 2}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\n_x: string",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\n1",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nrequest: _",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservice: _",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservice: {...}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nrequest: {}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\n\"\": 1",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nrequest: NAME: {blueprint: \"bare\", service: \"NAME\", environment: \"staging\"}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\nservice: \"NAME-b\": {title: \"x\", owner: \"nobody\", type: \"job\", lifecycle: \"production\"}",
	"service: \"NAME\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\", owner: \"payments\"}",
	"service: \"NAME\": {title: \"x\", name: \"other\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: \"NAME\": {title: \"x\", name: service.NAME.title, owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: \"\": {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\"}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\", inputs: {}}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\", inputs: null}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\", inputs: []}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\", inputs: region: \"us\"}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"staging\", inputs: word: \"x\", protect: true}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"production\"}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"production\", protect: false}",
	"request: NAME: {blueprint: \"bare\", service: \"s\", environment: \"production\", protect: null}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", flag: true}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", flag: true, why: \"w\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", flag: false, why: \"w\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", raw: 'abc'}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", raw: \"abc\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", label: \"t/medium\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", count: 3.0}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", decimal: 3}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", open: {f: 3.0, e: 1e3, k: 1.5K, z: -0.0, n: -0, long: 1.000}}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\"}, outputs: host: from: {request: \"NAME\", output: \"host\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\"}, outputs: other: from: {request: \"NAME\", output: \"other\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\"}, cost: monthly: 3.75}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\"}, cost: monthly: 4}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: request.\"NAME-b\".outputs.host}}\nrequest: \"NAME-b\": {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: text: \"u\"}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", secret: request.\"NAME-b\".outputs.password}}\nrequest: \"NAME-b\": {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: text: \"u\"}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: request.\"NAME-b\".outputs.nope}}\nrequest: \"NAME-b\": {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: text: \"u\"}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: request.\"NAME-b\".inputs.text}}\nrequest: \"NAME-b\": {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: text: \"u\"}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: request.nobody.outputs.host}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: outputs.host}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: request.NAME.name, word: \"w\"}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", host: from: {request: \"NAME\", output: \"host\", more: 1}}}",
	"request: NAME: R={blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: R.environment}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: [for n, e in environment if e.stage == \"staging\" {n}][0], inputs: text: \"t\"}",
	"request: NAME: {blueprint: *\"everything\" | \"bare\", service: \"s\", environment: *\"staging\" | \"production\", inputs: text: \"t\"}",
	"request: NAME: {blueprint: string, service: \"s\", environment: \"staging\", inputs: text: \"t\"}",
	"request: NAME: {blueprint: \"every\" + \"thing\", service: \"s\", environment: \"staging\", inputs: text: \"t\"}",
	"request: NAME: {blueprint: \"\", service: \"s\", environment: \"staging\", inputs: text: \"t\"}",
	"request: NAME: {blueprint: 1, service: \"s\", environment: \"staging\", inputs: text: \"t\"}",
	"request: NAME: {service: \"s\", environment: \"staging\", inputs: text: \"t\"}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", anything: " + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"t\", anything: " + strings.Repeat("9", 500) + "}}",
	"request: NAME: {blueprint: \"everything\", service: \"s\", environment: \"staging\", inputs: {text: \"" + strings.Repeat("x", 60000) + "\"}}",
	"// nothing but a comment",
	"",
	"\ufeffservice: {}",
	"service: NAME: {title: \"x\"\r\n, owner: \"payments\", type: \"job\", lifecycle: \"production\"}\r\n",
	"service: NAME: {title: \"\"\"\r\n\ta\r\n\tb\r\n\t\"\"\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}\r\n",
	"service: NAME: {title: \"a\x00b\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"a\u2028b\u202e\", owner: \"payments\", type: \"job\", lifecycle: \"production\"}",
	"service: NAME: {title: \"x\"; owner: \"payments\"}",
	"service: NAME {title: \"x\"}",
	"service NAME: {title: \"x\"}",
	"service: NAME: {title: \"x\", owner: \"payments\", type: \"job\", lifecycle: \"production\"",
}
