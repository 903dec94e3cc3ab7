package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules are told no less than they read.
func TestReads(t *testing.T) {
	for rule, want := range map[string]string{
		`input.document.size == "large"`:                   `{"document":{"size":1}}`,
		`input.document["size"] == input.name`:             `{"document":{"size":1},"name":1}`,
		`doc := input.document; doc.size == 1`:             `{"document":1}`,
		`some field; input.document[field] == 1`:           `{"document":[1]}`,
		`some part; input[part].size == 1`:                 `[{"size":1}]`,
		`some part; input[part].size == input.name`:        `1`,
		`input.document.tags[_] == "a"`:                    `{"document":{"tags":[1]}}`,
		`input.document.size == 1; count(input.document)`:  `{"document":1}`,
		`walk(input, [_, 1])`:                              `1`,
		`large`:                                            `{"service":{"size":1}}`,
		`bigger(1)`:                                        `{"cost":{"monthly":1}}`,
		`large with input.service as {"size": 1}`:          `{"service":1}`,
		`count({x | x := input.dependencies[_].tier}) > 0`: `{"dependencies":[{"tier":1}]}`,
		`object.get(input, ["document", "size"], 0) == 0`:  `1`,
	} {
		compiler, err := ast.CompileModules(map[string]string{"own.rego": "package own\n\nwarn contains \"x\" if {\n\t" + rule +
			"\n}\n\nlarge if input.service.size == 1\n\nbigger(than) if input.cost.monthly > than\n"})
		if err != nil {
			t.Fatal(rule, err)
		}
		var all reads
		all.rule(compiler, compiler.GetRulesExact(ast.MustParseRef("data.own.warn"))[0], map[*ast.Rule]bool{})
		if got := written(&all); got != want {
			t.Errorf("%s reads %s, want %s", rule, got, want)
		}
	}
}

// written renders what is read as JSON, 1 for the whole of a value.
func written(r *reads) string {
	if r.whole {
		return "1"
	}
	if r.each != nil {
		return "[" + written(r.each) + "]"
	}
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		fields = append(fields, fmt.Sprintf("%q:%s", name, written(r.fields[name])))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// A value that is cut to what is read has it as it is.
func TestReadValues(t *testing.T) {
	text := json.RawMessage(`{"a": "plain", "b": "\u00e9\\", "c": 1.50, "d": null, "e": {"f": [1, {"g": true}], "h": "not read"}, "i": "not read",
		"l": [{"m": 1, "n": 2}, {"n": 2}, 3], "o": {"a": {"m": 1, "n": 2}, "b": {}}, "n": "no list"}`)
	var some reads
	for _, path := range []string{"input.a", "input.b", "input.c", "input.d", "input.e.f", "input.none", "input.l[_].m", "input.o[_].m", "input.n[_].m"} {
		some.add(ast.MustParseRef(path)[1:])
	}
	got, err := some.value(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := read([]byte(`{"a": "plain", "b": "\u00e9\\", "c": 1.50, "d": null, "e": {"f": [1, {"g": true}]},
		"l": [{"m": 1}, {}, 3], "o": {"a": {"m": 1}, "b": {}}, "n": "no list"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Compare(want) != 0 {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := some.value(json.RawMessage(`{"a": "plain"} and more`)); err == nil {
		t.Error("what is no JSON was read")
	}
}
