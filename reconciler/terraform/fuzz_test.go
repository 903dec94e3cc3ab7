package terraform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/testdata/mutate"
)

const planSeed = `{"format_version":"1.2","variables":{"password":{"value":"hidden-variable"}},
"planned_values":{"outputs":{"o":{"sensitive":true,"value":"hidden-output"}},"root_module":{
 "resources":[{"address":"a.b","values":{"id":"1","pin":"hidden-pin"},"sensitive_values":{"pin":true}}],
 "child_modules":[{"address":"module.m","resources":[{"address":"module.m.a.b","values":{"list":["plain","hidden-element"]},"sensitive_values":{"list":[false,true]}}]}]}},
"resource_drift":[{"address":"a.b","change":{"actions":["update"],"before":{"pin":"hidden-before"},"after":{"pin":"hidden-after"},"before_sensitive":{"pin":true},"after_sensitive":{"pin":true}}}],
"resource_changes":[{"address":"a.b[\"k\"]","previous_address":"a.c","deposed":"abcd","change":{"actions":["delete","create"],"before":{"id":"1","updated_by":"maria","tags":{"a":[1,{"b":null}]}},"after":{"id":"2","pin":"hidden-pin"},"after_unknown":{"tags":{"a":[true]}},"before_sensitive":{},"after_sensitive":{"pin":true},"importing":{"id":"i"}}}],
"output_changes":{"o":{"actions":["update"],"before":"hidden-was","after":"hidden-output","after_unknown":false,"before_sensitive":true,"after_sensitive":true}},
"prior_state":{"format_version":"1.0","values":{"outputs":{"o":{"sensitive":true,"value":"hidden-was"}},"root_module":{}}},
"configuration":{"root_module":{"variables":{"password":{"sensitive":true}}}}}`

func FuzzPlan(f *testing.F) {
	seeds := [][]byte{[]byte(planSeed),
		[]byte(`{"format_version":"1.2","resource_changes":[null],"resource_drift":[null]}`),
		[]byte(`{"format_version":"1.2","output_changes":{"o":null},"planned_values":{"outputs":{"o":null},"root_module":{"resources":[null],"child_modules":[null]}}}`),
		fmt.Appendf(nil, planText, "123456", "note", "outward", "true")}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		if raw, err := forgetting(input); err == nil && !json.Valid(raw) {
			t.Errorf("what is forgotten is no JSON: %s", raw)
		}
		plan, err := parsePlan(input)
		if err != nil {
			return
		}
		summary, err := summarise(plan)
		if err != nil {
			return
		}
		addAuthors(&summary, plan)
		var s secrets
		s.addPlan(plan)
		for _, c := range changesOf(plan) {
			eachMarked(c.Before, c.BeforeSensitive, func(text string) { expectMasked(t, &s, text) })
			eachMarked(c.After, c.AfterSensitive, func(text string) { expectMasked(t, &s, text) })
		}
		// Other secrets give the same digest, and other values the same summary:
		// neither tells any of them.
		digest := summary.Digest
		for _, c := range changesOf(plan) {
			c.Before = overlay(c.Before, c.BeforeSensitive, "another secret")
			c.After = overlay(c.After, c.AfterSensitive, "another secret")
		}
		if other, err := planDigest(plan); err != nil || other != digest {
			t.Errorf("the digest depends on secrets: %v", err)
		}
		plan, err = parsePlan(input)
		must(t, err)
		for _, c := range changesOf(plan) {
			c.Before, c.After = renamed(c.Before), renamed(c.After)
		}
		other, err := summarise(plan)
		must(t, err)
		for i := range summary.Changes {
			summary.Changes[i].By = ""
		}
		summary.Digest, other.Digest = "", ""
		if !reflect.DeepEqual(summary, other) {
			t.Errorf("the summary depends on values:\n%+v\n%+v", summary, other)
		}
	})
}

func changesOf(plan *tfjson.Plan) []*tfjson.Change {
	var changes []*tfjson.Change
	for _, rc := range plan.ResourceChanges {
		if rc.Change != nil {
			changes = append(changes, rc.Change)
		}
	}
	return append(changes, slices.Collect(maps.Values(plan.OutputChanges))...)
}

// renamed returns a value with other texts in it, equal ones where they were equal.
func renamed(value any) any {
	switch v := value.(type) {
	case string:
		return "renamed " + v
	case []any:
		for i := range v {
			v[i] = renamed(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = renamed(v[key])
		}
	}
	return value
}

// eachMarked visits the texts that the marks name where value and marks have one shape.
func eachMarked(value, marks any, visit func(string)) {
	if marks == true {
		eachText(value, visit)
		return
	}
	fields, _ := value.(map[string]any)
	fieldMarks, _ := marks.(map[string]any)
	for key, field := range fields {
		eachMarked(field, fieldMarks[key], visit)
	}
	elements, _ := value.([]any)
	elementMarks, _ := marks.([]any)
	for i := range min(len(elements), len(elementMarks)) {
		eachMarked(elements[i], elementMarks[i], visit)
	}
}

func eachText(value any, visit func(string)) {
	switch v := value.(type) {
	case string:
		visit(v)
	case []any:
		for _, element := range v {
			eachText(element, visit)
		}
	case map[string]any:
		for _, field := range v {
			eachText(field, visit)
		}
	}
}

func expectMasked(t testing.TB, s *secrets, text string) {
	t.Helper()
	text = strings.TrimSpace(text)
	if got := s.mask("<" + text + ">"); len(text) >= minSecret && !strings.Contains(masked, text) && strings.Contains(got, text) {
		t.Errorf("a text that is marked is left: %q", text)
	}
}

const stateSeed = `{"version":4,"terraform_version":"1.9.0","serial":7,"lineage":"0b8a","outputs":{
 "pave":{"value":{"request":"checkout-db","service":"checkout"},"type":["object",{}]},
 "host":{"value":"db.example","type":"string"},"password":{"value":"hidden-output","type":"string","sensitive":true}},
"resources":[{"mode":"managed","type":"random_password","name":"main","provider":"provider[\"registry.terraform.io/hashicorp/random\"]","instances":[
 {"index_key":"k","schema_version":3,"attributes":{"id":"none","result":"hidden-result","tags":{"value":{"a":["hidden-tag"]},"type":"dynamic"}},
  "sensitive_attributes":[[{"type":"get_attr","value":"result"}],[{"type":"get_attr","value":"tags"},{"type":"get_attr","value":"a"},{"type":"index","value":{"value":0,"type":"number"}}]]},
 {"index_key":1,"deposed":"ab","attributes":{"id":12}}]},{"module":"module.m","mode":"data","type":"a","name":"b","instances":[{"attributes":null}]}],"check_results":null}`

func FuzzState(f *testing.F) {
	seeds := [][]byte{[]byte(stateSeed), []byte(`{"version":4,"serial":1,"lineage":"x","outputs":{},"resources":[]}`),
		[]byte(`{"version":4,"lineage":"x","resources":[{"mode":"managed","instances":[{"attributes":{"id":"x"},"sensitive_attributes":[[]]}]}]}`),
		[]byte(`{"version":4,"lineage":"x","Outputs":{"pave":{"value":{"request":"checkout-db"}}}}`)}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		state, err := parseState(input)
		if err != nil {
			return
		}
		state.owner()
		state.addresses()
		state.retained()
		if !sameOutputs(state, state) {
			t.Error("a state has other outputs than itself")
		}
		var s secrets
		s.addState(state)
		plain, sensitive := state.outputs()
		for _, name := range sensitive {
			if _, both := plain[name]; both {
				t.Errorf("the sensitive output %q is a plain one, too", name)
			}
			value, err := decode(state.Outputs[name].Value)
			if err != nil {
				continue
			}
			eachText(value, func(text string) { expectMasked(t, &s, text) })
		}
		handed, err := state.handedTo("ledger-db")
		if err != nil || state.Lineage == "" {
			return
		}
		again, err := parseState(handed)
		if err != nil {
			t.Fatalf("a state that was handed over cannot be read: %v", err)
		}
		if again.Lineage != state.Lineage || len(again.Outputs) != len(state.Outputs) || !slices.Equal(again.addresses(), state.addresses()) ||
			state.owner() != "" && again.owner() != "ledger-db" {
			t.Errorf("a state that was handed over is another one: %s", handed)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	const canary = "hidden-canary!" // no name of a variable holds this
	seeds := [][]byte{
		[]byte("# a comment\n\nAWS_SECRET_ACCESS_KEY=" + canary + " \"key\" = $1\r\nA=\n"),
		[]byte("TF_CLI_ARGS=" + canary + "\n"), []byte("PATH=" + canary), []byte(canary + "\n"),
	}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		env, err := parseCredentials("staging.env", input)
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("an error shows a value: %v", err)
			}
			return
		}
		var lines bytes.Buffer
		for key, value := range env {
			if _, reserved := baseEnviron(Host{}, "", "")[key]; reserved || !keyPattern().MatchString(key) {
				t.Errorf("the variable %q was read", key)
			}
			fmt.Fprintf(&lines, "%s=%s\r\n", key, value)
		}
		if again, err := parseCredentials("staging.env", lines.Bytes()); err != nil || !maps.Equal(again, env) {
			t.Errorf("what was read says something else when it is written: %v", err)
		}
	})
}

func FuzzIntent(f *testing.F) {
	job := reconciler.Job{ID: "1-a", Unit: "checkout-db", Environment: "staging", Mode: reconciler.Converge,
		Engine: reconciler.Engine{Name: "terraform", Path: "/usr/bin/terraform"}, Module: map[string][]byte{"main.tf": []byte(simple)},
		Upstream:  map[string]reconciler.Upstream{"ledger-db": {Environment: "staging"}},
		Rendering: reconciler.Rendering{Variables: map[string]json.RawMessage{"size": json.RawMessage(`"small"`)}}}
	seed, err := json.Marshal(intent{Host: Host{Cache: "/c", State: "/s", Runs: "/r"}, Job: job})
	must(f, err)
	dir := filepath.Join(f.TempDir(), job.Unit, job.ID)
	must(f, os.MkdirAll(dir, 0o700))
	mutate.Fuzz(f, [][]byte{seed}, func(t testing.TB, input []byte) {
		mutate.WriteFile(t, filepath.Join(dir, intentName), input)
		if run, err := (&Runner{}).adopt(dir); err == nil && (run.job.Unit != job.Unit || run.job.ID != job.ID) {
			t.Errorf("adopted %s of %s", run.job.ID, run.job.Unit)
		}
		var in intent
		if json.Unmarshal(input, &in) != nil || checkJob(in.Job) != nil {
			return
		}
		for _, name := range append(slices.Collect(maps.Keys(in.Job.Upstream)), in.Job.Unit, in.Job.Environment) {
			if !reconciler.IsName(name) {
				t.Errorf("the name %q was accepted", name)
			}
		}
	})
}

func FuzzResult(f *testing.F) {
	p := &running{job: reconciler.Job{ID: "1-a", Unit: "checkout-db", Environment: "staging"}, dir: f.TempDir()}
	seed, err := json.Marshal(reconciler.Result{ID: p.job.ID, Unit: p.job.Unit, Outcome: reconciler.Applied, Message: "m",
		Outputs: reconciler.FieldsOf(map[string]json.RawMessage{"host": json.RawMessage(`"db"`)}), Sensitive: []string{"password"},
		Plan: reconciler.PlanSummary{Add: 1, Changes: []reconciler.ChangedField{{Address: "a.b", Action: "create"}}}})
	must(f, err)
	mutate.Fuzz(f, [][]byte{seed}, func(t testing.TB, input []byte) {
		mutate.WriteFile(t, filepath.Join(p.dir, resultName), input)
		result, err := p.collect()
		must(t, err)
		if result.ID != p.job.ID || result.Unit != p.job.Unit {
			t.Errorf("the result is of %s of %s", result.ID, result.Unit)
		}
		if _, err := json.Marshal(result); err != nil {
			t.Errorf("a result that was read cannot be written: %v", err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	seeds := [][]byte{
		[]byte("╷\n│ Error: Invalid value\n│ \n│   on main.tf line 3, in resource \"a\" \"b\":\n│    3:   c = 1\n│   with a.b,\n│ \n│ It is wrong.\n╵\n"),
		[]byte(`{"@level":"error","diagnostic":{"severity":"error","summary":"s","detail":"d","address":"a.b","range":{"filename":"main.tf","start":{"line":3}}}}` + "\n"),
	}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		var s secrets
		s.add("Invalid value")
		for _, ds := range [][]diagnostic{textErrors(string(input)), streamErrors(bytes.NewReader(input))} {
			line := s.line(joinDiagnostics(ds))
			if len(line) > maxMessage+len(" …") || strings.ContainsAny(line, "\n\r\x1b\u202e") || strings.Contains(line, "Invalid value") {
				t.Errorf("this is no message: %q", line)
			}
		}
	})
}

func FuzzInspect(f *testing.F) {
	var seeds [][]byte
	files, err := filepath.Glob("testdata/inspect/*.txtar")
	must(f, err)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		must(f, err)
		for _, part := range archive.Files {
			seeds = append(seeds, part.Data)
		}
	}
	seeds = append(seeds, []byte(variableSize+simple), []byte(usesPassword))
	if len(seeds) < 5 {
		f.Fatalf("expected seeds in testdata/inspect, got %d", len(seeds))
	}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		name := "main.tf"
		if bytes.HasPrefix(bytes.TrimSpace(input), []byte("{")) {
			name = "main.tf.json"
		}
		files := map[string]string{name: string(input), "templates/a.tftpl": string(input)}
		module, violations := inspect(files, blueprintX(nil))
		again := module
		if len(input)%8 == 0 { // the same code at half the price
			again, _ = inspect(files, blueprintX(nil))
		}
		if !reflect.DeepEqual(module, again) {
			t.Error("the same files are two modules")
		}
		if !json.Valid(module.Facts) {
			t.Errorf("the facts are no JSON: %s", module.Facts)
		}
		for _, v := range violations {
			if v.Level != reconciler.Deny || v.Scope != reconciler.ScopeBlueprint || v.Message == "" || v.Position.File == "" {
				t.Errorf("got a violation without a place or words: %+v", v)
			}
		}
	})
}
