package policy

import (
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules that ask for another kind of subject are not evaluated; all others are.
func TestRulesOfKinds(t *testing.T) {
	engine, violations := Compile(t.Context(), Sources{Organisation: map[string]string{"policies/own.rego": `package own

deny contains "itself" if input.kind == "request"
deny contains "turned" if "service" == input.kind
deny contains "through another" if a_request
deny contains "either" if either
deny contains "another's negation" if not a_request
deny contains "with another input" if a_request with input as {"kind": "request"}
deny contains "a set, which always holds" if some_set
deny contains "by default" if defaulted
deny contains "else" if otherwise
deny contains "a variable" if {
	kind := input.kind
	kind == "request"
}
deny contains "never" if {
	a_request
	input.kind == "service"
}
deny contains "what is viewed" if input.kind == "view"
deny contains "what is asked for, through another" if asked
deny contains "what is viewed, among other things" if viewed_or_held

a_request if {
	input.kind == "request"
	input.name
}

asked if input.kind == "ask"
viewed_or_held if input.kind == "view"
viewed_or_held if input.kind == "request"
either if input.kind == "blueprint"
either if a_request
some_set contains "x" if input.kind == "request"
default defaulted := true
defaulted := false if input.kind == "request"
otherwise if { input.kind == "request" } else := true
`}})
	if engine == nil {
		t.Fatal(violations)
	}
	always := []string{"another's negation", "with another input", "a set, which always holds", "by default", "else", "a variable"}
	for kind, more := range map[string][]string{
		"request": {"itself", "through another", "either", "what is viewed, among other things"}, "service": {"turned"}, "blueprint": {"either"},
		"view": {"what is viewed", "what is viewed, among other things"}, "ask": {"what is asked for, through another"},
	} {
		var got []string
		for _, i := range slices.Concat(engine.queries[kind].kept, engine.queries[kind].fresh) {
			if rule := engine.rules[i]; !rule.Builtin {
				got = append(got, string(rule.source.Head.Key.Value.(ast.String)))
			}
		}
		want := slices.Clone(more)
		if slices.Contains(held, kind) { // what asks for no kind is about a revision
			want = append(want, always...)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", kind, got, want)
		}
	}
}
