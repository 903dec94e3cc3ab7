package policy

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"io"
	"iter"
	"reflect"
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
	for into, rules := range map[*[]string][]int{&fresh: engine.queries["service"].fresh, &kept: engine.queries["service"].kept} {
		for _, i := range rules {
			if rule := engine.rules[i]; !rule.Builtin {
				*into = append(*into, string(rule.source.Head.Key.Value.(ast.String)))
			}
		}
	}
	if want := []string{"of something else"}; !slices.Equal(kept, want) {
		t.Errorf("kept are %q, want %q; fresh are %q", kept, want, fresh)
	}
}

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
		{subject("small", noon), nil, 1},
		{subject("large", noon.AddDate(0, 0, 1)), []string{"large", "late"}, 1},
	} {
		if got := judge(test.subject); !slices.Equal(got, test.want) || len(engine.said.young) != test.known {
			t.Errorf("%s at %s: got %q, %d known; want %q, %d", test.subject.Document, test.subject.Now, got, len(engine.said.young), test.want, test.known)
		}
	}
}

// No part of a subject may differ for its verdict to hold.
func TestSameSubject(t *testing.T) {
	doc := json.RawMessage(`{}`)
	budget := 5.0
	complete := func() reconciler.Subject {
		return reconciler.Subject{Cost: &reconciler.Cost{Team: reconciler.TeamCost{Budget: &budget}}, Now: time.Date(2027, 3, 1, 23, 0, 0, 0, time.UTC)}
	}
	parts := map[string]func(*reconciler.Subject){
		"kind": func(s *reconciler.Subject) { s.Kind = "x" }, "name": func(s *reconciler.Subject) { s.Name = "x" },
		"document": func(s *reconciler.Subject) { s.Document = doc }, "team": func(s *reconciler.Subject) { s.Team = doc },
		"service": func(s *reconciler.Subject) { s.Service = doc }, "environment": func(s *reconciler.Subject) { s.Environment = doc },
		"blueprint": func(s *reconciler.Subject) { s.Blueprint = doc }, "settings": func(s *reconciler.Subject) { s.Settings = doc },
		"dependencies": func(s *reconciler.Subject) { s.Dependencies = []json.RawMessage{doc} },
		"before":       func(s *reconciler.Subject) { s.Change.Before = doc }, "action": func(s *reconciler.Subject) { s.Change.Action = "x" },
		"fields": func(s *reconciler.Subject) { s.Change.Fields = []string{"x"} }, "no cost": func(s *reconciler.Subject) { s.Cost = nil },
		"cost": func(s *reconciler.Subject) { s.Cost.Monthly = 1 }, "cost before": func(s *reconciler.Subject) { s.Cost.Before = 1 },
		"team's cost": func(s *reconciler.Subject) { s.Cost.Team.After = 1 }, "team's cost before": func(s *reconciler.Subject) { s.Cost.Team.Before = 1 },
		"no budget": func(s *reconciler.Subject) { s.Cost.Team.Budget = nil }, "budget": func(s *reconciler.Subject) { s.Cost.Team.Budget = new(float64) },
		"heal": func(s *reconciler.Subject) { s.Heal = true }, "reviewed": func(s *reconciler.Subject) { s.Reviewed = true },
		"day": func(s *reconciler.Subject) { s.Now = s.Now.Add(time.Hour) }, "plan": func(s *reconciler.Subject) { s.Plan = doc },
	}
	for name, change := range parts {
		changed := complete()
		change(&changed)
		if name == "plan" { // of which nothing is remembered
			if digest(changed) != (key{}) {
				t.Error("a plan would be remembered")
			}
			continue
		}
		if digest(complete()) == digest(changed) {
			t.Errorf("another %s makes no difference", name)
		}
	}
	later := complete()
	later.Now = later.Now.Add(-23 * time.Hour)
	if digest(complete()) != digest(later) {
		t.Error("the time of the same day makes a difference")
	}
}

// What one process found another need not look for, under the same rules.
func TestRemember(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	subject := reconciler.Subject{Kind: "service", Name: "a", Document: json.RawMessage(`{"size": "large"}`), Change: reconciler.Change{Action: "create"}, Now: now}
	rules := func(text string) (*reconciler.Tree, reconciler.Settings) {
		return &reconciler.Tree{Files: []reconciler.File{{Path: "policies/own.rego"}}, Read: func(reconciler.File) ([]byte, error) { return []byte(text), nil }}, reconciler.Settings{}
	}
	const large = "package own\n\ndeny contains \"large\" if input.document.size == \"large\"\n"
	compile := func(c *Compiler, text string) *Engine {
		t.Helper()
		tree, settings := rules(text)
		judge, violations := c.Compile(t.Context(), tree, settings)
		if judge == nil {
			t.Fatal(violations)
		}
		return judge.(*Engine)
	}
	var before Compiler
	if memory := before.Remember(); memory != nil {
		t.Error("who compiled nothing remembers something")
	}
	want, err := compile(&before, large).Judge(t.Context(), subject)
	if err != nil || len(want) != 1 {
		t.Fatal(want, err)
	}
	other := subject
	other.Name = "b"
	if _, err := compile(&before, large).Judge(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	memory := before.Remember()
	if memory == nil {
		t.Fatal("nothing is remembered")
	}
	if before.Remember() != nil {
		t.Error("nothing happened, and it was told again")
	}

	ended, end := context.WithCancel(t.Context())
	end() // whatever must be evaluated is not
	recalling := func() *Compiler {
		c := &Compiler{}
		if err := c.Recall(wroteDown(t, memory)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	engine := compile(recalling(), large)
	for range 2 {
		if got, err := engine.Judge(ended, subject); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		if _, err := engine.Judge(ended, other); err != nil {
			t.Error("only one is known", err)
		}
	}
	changed := subject
	changed.Document = json.RawMessage(`{"size": "small"}`)
	if _, err := compile(recalling(), large).Judge(ended, changed); err == nil {
		t.Error("what was found of another document holds")
	}
	if _, err := compile(recalling(), large+"\ndeny contains \"x\"\n").Judge(ended, subject); err == nil {
		t.Error("what other rules found holds")
	}
	if err := new(Compiler).Recall(func(any) error { return io.ErrUnexpectedEOF }); err == nil {
		t.Error("half of it passed for the whole")
	}
}

// wroteDown returns what reads what was remembered, once it was written down.
func wroteDown(t *testing.T, memory iter.Seq[any]) func(into any) error {
	t.Helper()
	var file bytes.Buffer
	encoder := gob.NewEncoder(&file)
	for part := range memory {
		if err := encoder.Encode(part); err != nil {
			t.Fatal(err)
		}
	}
	return gob.NewDecoder(&file).Decode
}
