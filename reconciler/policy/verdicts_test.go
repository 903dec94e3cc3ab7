package policy

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/pave-dev/pave/reconciler"
)

func compileOwn(t testing.TB, text string) *Engine {
	t.Helper()
	engine, violations := Compile(t.Context(), Sources{Organisation: map[string]string{"policies/own.rego": text}})
	if engine == nil {
		t.Fatal(violations)
	}
	return engine
}

// Rules that may see the time of day are evaluated each time; no others are.
func TestRulesThatReadTheTime(t *testing.T) {
	engine := compileOwn(t, `package own

import input as given

deny contains "itself" if input.now == "x"
deny contains "in brackets" if input["now"] == "x"
deny contains "by a variable" if {
	field := "n"
	input[concat("", [field, "ow"])] == "x"
}
deny contains "any field" if {
	some field
	input[field] == "x"
}
deny contains "the whole" if {
	all := input
	all.now == "x"
}
deny contains "by another name" if given.now == "x"
deny contains "through a rule" if evening
deny contains "through a function" if late("x")
deny contains "through two" if twice
deny contains "in a comprehension" if count([1 | input.now == "x"]) == 1
deny contains "negated" if not evening
deny contains "the time of another input" if evening with input as {"now": "x"}

deny contains "of something else" if input.document.now == "x"
deny contains "of a field" if input[concat("", ["na", "me"])] == input.document[input.name]
deny contains "of none" if input.kind == "request"

evening if input.now == "x"
late(word) if input.now == word
twice if evening
`)
	var fresh, kept []string
	for queries, into := range map[*asked]*[]string{ptr(engine.queries["service"].fresh): &fresh, ptr(engine.queries["service"].kept): &kept} {
		for _, i := range queries.rules {
			if rule := engine.rules[i]; !rule.Builtin {
				*into = append(*into, string(rule.source.Head.Key.Value.(ast.String)))
			}
		}
	}
	if want := []string{"of something else"}; !slices.Equal(kept, want) {
		t.Errorf("kept are %q, want %q; fresh are %q", kept, want, fresh)
	}
}

func ptr[T any](v T) *T { return &v }

// What was found about a subject is found again, as long as it is as it was and the
// day is the same.
func TestVerdictsAreKept(t *testing.T) {
	engine := compileOwn(t, `package own

deny contains "large" if input.document.size == "large"
deny contains "late" if input.now > "2027-03-01T18:00:00Z"
`)
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	subject := func(size string, now time.Time) reconciler.Subject {
		return reconciler.Subject{Kind: "service", Name: "a", Document: json.RawMessage(`{"size": "` + size + `"}`),
			Change: reconciler.Change{Action: "create"}, Now: now}
	}
	judge := func(s reconciler.Subject) (messages []string) {
		t.Helper()
		found, err := engine.Judge(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			messages = append(messages, found[i].Message)
			found[i].Message = "changed by who asked"
		}
		return messages
	}
	for _, test := range []struct {
		subject reconciler.Subject
		want    []string
		known   int
	}{
		{subject("large", noon), []string{"large"}, 1},
		{subject("large", noon), []string{"large"}, 1},
		{subject("large", noon.Add(7*time.Hour)), []string{"large", "late"}, 1},
		{subject("small", noon), nil, 2},
		{subject("large", noon.AddDate(0, 0, 1)), []string{"large", "late"}, 3},
	} {
		if got := judge(test.subject); !slices.Equal(got, test.want) || len(engine.said.young) != test.known {
			t.Errorf("%s at %s: got %q, %d known; want %q, %d", test.subject.Document, test.subject.Now, got, len(engine.said.young), test.want, test.known)
		}
	}
}

// Each part of a subject has a part in its key.
func TestKeyOfEachPart(t *testing.T) {
	doc := json.RawMessage(`{}`)
	keys := map[[32]byte]string{}
	for name, change := range map[string]func(*reconciler.Subject){
		"nothing": func(*reconciler.Subject) {}, "kind": func(s *reconciler.Subject) { s.Kind = "x" }, "name": func(s *reconciler.Subject) { s.Name = "x" },
		"document": func(s *reconciler.Subject) { s.Document = doc }, "team": func(s *reconciler.Subject) { s.Team = doc },
		"service": func(s *reconciler.Subject) { s.Service = doc }, "environment": func(s *reconciler.Subject) { s.Environment = doc },
		"blueprint": func(s *reconciler.Subject) { s.Blueprint = doc }, "settings": func(s *reconciler.Subject) { s.Settings = doc },
		"dependencies": func(s *reconciler.Subject) { s.Dependencies = []json.RawMessage{doc} },
		"before":       func(s *reconciler.Subject) { s.Change.Before = doc }, "action": func(s *reconciler.Subject) { s.Change.Action = "x" },
		"fields": func(s *reconciler.Subject) { s.Change.Fields = []string{"x"} }, "cost": func(s *reconciler.Subject) { s.Cost = &reconciler.Cost{} },
		"heal": func(s *reconciler.Subject) { s.Heal = true }, "reviewed": func(s *reconciler.Subject) { s.Reviewed = true },
		"day": func(s *reconciler.Subject) { s.Now = s.Now.AddDate(0, 0, 1) },
	} {
		var s reconciler.Subject
		change(&s)
		key := keyOf(s)
		if other, found := keys[key]; found {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[key] = name
	}
	if key := keyOf(reconciler.Subject{Plan: doc}); key != [32]byte{} {
		t.Error("a plan has a key")
	}
}
