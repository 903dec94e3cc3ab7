package policy_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
)

func compile(t *testing.T, sources policy.Sources) *policy.Engine {
	t.Helper()
	engine, violations := policy.Compile(context.Background(), sources)
	if engine == nil {
		t.Fatalf("refused: %v", violations)
	}
	if len(violations) > 0 {
		t.Fatalf("an engine with violations: %v", violations)
	}
	return engine
}

func own(source string) policy.Sources {
	return policy.Sources{Organisation: map[string]string{"policies/own.rego": source}}
}

func judge(t *testing.T, engine *policy.Engine, subject reconciler.Subject) []reconciler.Violation {
	t.Helper()
	violations, err := engine.Judge(context.Background(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return violations
}

// lines returns violations as a user reads them, hints included.
func lines(violations []reconciler.Violation) []string {
	var out []string
	for _, v := range violations {
		line := fmt.Sprintf("%s %s %s", v.Level, v.Scope, v)
		if v.Hint != "" {
			line += " | " + v.Hint
		}
		out = append(out, line)
	}
	return out
}

func expect(t *testing.T, violations []reconciler.Violation, want ...string) {
	t.Helper()
	if got := lines(violations); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

var now = time.Date(2027, 1, 15, 10, 0, 0, 0, time.UTC)

// request is one that breaks no built-in rule.
func request() reconciler.Subject {
	return reconciler.Subject{
		Kind: "request", Name: "orders-db", Now: now,
		Change:      reconciler.Change{Action: "create"},
		Document:    json.RawMessage(`{"name":"orders-db","blueprint":"postgres","service":"orders","environment":"production","protect":true}`),
		Service:     json.RawMessage(`{"name":"orders","owner":"sales","lifecycle":"production","tier":1,"onCall":"pager"}`),
		Team:        json.RawMessage(`{"name":"sales"}`),
		Environment: json.RawMessage(`{"name":"production","stage":"production"}`),
		Blueprint:   json.RawMessage(`{"name":"postgres","stateful":["aws_db_instance"]}`),
		Settings:    json.RawMessage(`{"currency":"EUR","owner":"platform","policy":{"providers":["hashicorp/*"],"waivers":[]}}`),
		Cost:        &reconciler.Cost{Monthly: 10},
	}
}

// asked is a request that somebody asks for who belongs to no team.
func asked() reconciler.Subject {
	s := request()
	s.Kind, s.Of, s.Person = "ask", "request", &reconciler.Visitor{ID: "https://login.example alice", Name: "Alice", Role: "viewer"}
	return s
}

func blueprint(facts string) reconciler.Subject {
	s := request()
	return reconciler.Subject{
		Kind: "blueprint", Name: "postgres", Now: now, Settings: s.Settings,
		Blueprint: json.RawMessage(`{"name":"postgres","module":` + facts + `}`),
	}
}

// Every built-in rule speaks through the engine under the id of its metadata.
func TestBuiltinRules(t *testing.T) {
	engine := compile(t, policy.Sources{})

	ending := request()
	ending.Service = json.RawMessage(`{"name":"orders","owner":"sales","lifecycle":"retired"}`)
	ending.Blueprint = json.RawMessage(`{"name":"postgres","environments":["staging"]}`)
	budget := 5.0
	ending.Cost = &reconciler.Cost{Monthly: 10, Team: reconciler.TeamCost{After: 10, Budget: &budget}}

	costly := request()
	costly.Change.Action = "none"
	costly.Cost = &reconciler.Cost{Monthly: 10, Before: 10, Team: reconciler.TeamCost{After: 10, Budget: &budget}}

	endless := request()
	endless.Environment = json.RawMessage(`{"name":"lab","stage":"development"}`)

	late := endless
	late.Document = json.RawMessage(`{"name":"orders-db","blueprint":"postgres","environment":"lab","expires":"2028-01-01"}`)
	late.Blueprint = json.RawMessage(`{"name":"postgres","lifetime":{"max":"30d"}}`)

	past := late
	past.Document = json.RawMessage(`{"name":"orders-db","blueprint":"postgres","environment":"lab","expires":"2026-01-01"}`)

	removal := request()
	removal.Change = reconciler.Change{Action: "delete", Before: removal.Document}

	planned := request()
	planned.Plan = json.RawMessage(`{"format_version":"1.2","resource_changes":[
		{"address":"aws_db_instance.main","mode":"managed","type":"aws_db_instance","change":{"actions":["delete","create"]}},
		{"address":"aws_iam_user.app","mode":"managed","type":"aws_iam_user","change":{"actions":["delete"]}}]}`)

	living := late
	living.Document = json.RawMessage(`{"name":"orders-db","blueprint":"postgres","environment":"lab","expires":"2027-01-20","ttl":"31d"}`)

	healed := planned
	healed.Heal, healed.Document = true, json.RawMessage(`{"name":"orders-db","blueprint":"postgres","environment":"production","protect":false}`)

	breaking := func(until string) reconciler.Subject {
		s := request()
		s.Reviewed = true
		s.Document = json.RawMessage(`{"name":"orders-db","blueprint":"postgres","environment":"production","breakGlass":{"until":"` + until + `","reason":"it is down"}}`)
		return s
	}

	service := reconciler.Subject{
		Kind: "service", Name: "orders", Now: now, Change: reconciler.Change{Action: "none"},
		Document:     json.RawMessage(`{"name":"orders","tier":1}`),
		Dependencies: []json.RawMessage{json.RawMessage(`{"name":"mailer","tier":4,"lifecycle":"deprecated"}`)},
	}

	spoken := map[string]string{}
	for _, subject := range []reconciler.Subject{asked(), ending, costly, endless, late, past, living, removal, planned, healed, breaking("2027-01-15"), breaking("2027-03-01"), breaking("2027-01-14"), service, blueprint(`{
		"providers":[{"name":"evil","source":"acme/evil","file":"main.tf","line":1}],
		"modules":[{"name":"net","source":"acme/net/aws","file":"main.tf","line":2}],
		"data":[{"type":"external","name":"x","file":"main.tf","line":3}],
		"provisioners":[{"type":"local-exec","resource":"terraform_data.x","file":"main.tf","line":4}],
		"fileCalls":[{"function":"file","argument":"\"/etc/passwd\"","leaves":true,"file":"main.tf","line":5}]}`)} {
		for _, v := range judge(t, engine, subject) {
			spoken[v.Rule] = string(v.Level)
			if v.Kind != cmp.Or(subject.Of, subject.Kind) || v.Name != subject.Name || v.Message == "" || v.Hint == "" {
				t.Errorf("%s: subject, message or hint is wanting: %+v", v.Rule, v)
			}
			if place := v.Position.File != ""; place != (subject.Kind == "blueprint") {
				t.Errorf("%s: position %q", v.Rule, v.Position)
			}
			if wide := v.Scope == reconciler.ScopeBlueprint; wide != (subject.Kind == "blueprint") {
				t.Errorf("%s: scope %s", v.Rule, v.Scope)
			}
		}
	}
	for _, rule := range engine.Rules() {
		if spoken[rule.ID] != rule.Severity {
			t.Errorf("rule %s: said %q, expected %q", rule.ID, spoken[rule.ID], rule.Severity)
		}
		delete(spoken, rule.ID)
		if !rule.Builtin || rule.Title == "" || rule.Description == "" || rule.Level != rule.Severity {
			t.Errorf("rule %s is badly described: %+v", rule.ID, rule)
		}
	}
	if len(spoken) > 0 {
		t.Errorf("rules that are not listed: %v", spoken)
	}
	expect(t, judge(t, engine, request()))
}

func TestBuiltinPosition(t *testing.T) {
	engine := compile(t, policy.Sources{})
	facts := `{"providers":[],"modules":[],"data":[],"fileCalls":[],"provisioners":[{"type":"local-exec","resource":"terraform_data.x","file":"blueprints/postgres/main.tf","line":4}]}`
	expect(t, judge(t, engine, blueprint(facts)),
		`deny blueprint blueprints/postgres/main.tf:4: blueprint postgres: provisioner local-exec of terraform_data.x runs commands that no plan shows (module-provisioner) | remove the provisioner; or waive it: platform: policy: waivers: [{rule: "module-provisioner", blueprint: "postgres", reason: "…"}]`)

	waived := blueprint(facts)
	waived.Settings = json.RawMessage(`{"policy":{"providers":[],"waivers":[{"rule":"module-provisioner","blueprint":"postgres","reason":"it only writes a local file"}]}}`)
	expect(t, judge(t, engine, waived))
}

func TestConventions(t *testing.T) {
	engine := compile(t, policy.Sources{Organisation: map[string]string{
		"policies/acme.rego": `package acme.names

# METADATA
# title: Databases are large
# description: Small ones are always too small.
# custom:
#   id: acme-size
deny contains {"msg": "too small", "path": ["inputs", "sizes", 1], "hint": "ask for more"} if input.kind == "request"

# METADATA
# custom:
#   id: acme-colour
deny contains "not blue" if input.kind == "request"

deny_late contains "late" if input.kind == "request"

violation contains {"msg": "a violation"} if input.kind == "request"

warn contains "careful" if input.kind == "request"

warn_me_twice contains "careful again" if input.kind == "request"

require_approval contains {"msg": "ask first", "team": "security"} if input.kind == "request"

require_approval contains {"msg": "ask twice", "team": team, "hint": "say why"} if some team in ["security", "legal"]

preapprove contains {"msg": "nobody minds", "team": "security"} if input.kind == "request"

denial contains "no finding by this name" if true
`,
		"policies/main.rego": `package main

deny contains sprintf("%s is seen", [input.name]) if data.acme.lib.is_request(input)
`,
		"policies/lib.rego": `package acme.lib

is_request(subject) if subject.kind == "request"
`,
	}})
	expect(t, judge(t, engine, request()),
		`preapprove document pre-approved: request orders-db: nobody minds (acme.names.preapprove)`,
		`deny document request orders-db: a violation (acme.names.violation)`,
		`approve document request orders-db: ask first (acme.names.require_approval) | ask a member of security to approve`,
		`approve document request orders-db: ask twice (acme.names.require_approval) | say why
ask a member of legal to approve`,
		`approve document request orders-db: ask twice (acme.names.require_approval) | say why
ask a member of security to approve`,
		`deny document request orders-db: inputs.sizes.1: too small (acme-size) | ask for more`,
		`deny document request orders-db: late (acme.names.deny_late)`,
		`deny document request orders-db: not blue (acme-colour)`,
		`deny document request orders-db: orders-db is seen (main.deny)`,
		`warn document warning: request orders-db: careful (acme.names.warn)`,
		`warn document warning: request orders-db: careful again (acme.names.warn_me_twice)`,
	)
	var teams []string
	for _, v := range judge(t, engine, request()) {
		if v.Team != "" {
			teams = append(teams, fmt.Sprintf("%s %s", v.Level, v.Team))
		}
	}
	if want := []string{"approve security", "approve legal", "approve security"}; !slices.Equal(teams, want) {
		t.Errorf("asks for %q, want %q", teams, want)
	}
	var listed []string
	for _, rule := range engine.Rules() {
		if !rule.Builtin {
			listed = append(listed, strings.Join([]string{rule.ID, rule.Package, rule.Level, rule.Title, rule.Description}, "|"))
		}
	}
	want := []string{
		"acme-colour|acme.names|deny||",
		"acme-size|acme.names|deny|Databases are large|Small ones are always too small.",
		"acme.names.deny_late|acme.names|deny||",
		"acme.names.preapprove|acme.names|preapprove||",
		"acme.names.require_approval|acme.names|approve||",
		"acme.names.violation|acme.names|deny||",
		"acme.names.warn|acme.names|warn||",
		"acme.names.warn_me_twice|acme.names|warn||",
		"main.deny|main|deny||",
	}
	if !slices.Equal(listed, want) {
		t.Errorf("got %q, want %q", listed, want)
	}
}

func TestWhatIsNoFindingDenies(t *testing.T) {
	const hint = ` | yield a text, or an object with a text "msg"`
	for finding, shown := range map[string]string{
		`1`:                     `1`,
		`true`:                  `true`,
		`["text"]`:              `["text"]`,
		`""`:                    `""`,
		`{"message": "text"}`:   `{"message":"text"}`,
		`{"msg": 1}`:            `{"msg":1}`,
		`concat("", ["x", ""])`: ``,
	} {
		engine := compile(t, own("package acme\n\nwarn contains "+finding+" if true\n"))
		violations := judge(t, engine, request())
		if shown == "" {
			expect(t, violations, `warn document warning: request orders-db: x (acme.warn)`)
			continue
		}
		expect(t, violations, `deny document policies/own.rego:3:1: request orders-db: rule acme.warn yields `+shown+`, which is no finding (acme.warn)`+hint)
	}
}

func TestRefusals(t *testing.T) {
	const withheld = " is not available to policies: the same revision must always get the same verdict | use what input holds; input.now is the time of the commit"
	cases := map[string]struct {
		source string
		want   []string
	}{
		"syntax": {"package acme\n\ndeny contains \"x\" if {\n", []string{
			"deny revision policies/own.rego:4: unexpected eof token"}},
		"empty": {"", []string{"deny revision policies/own.rego: empty module"}},
		"version 0": {"package acme\n\ndeny[msg] { msg := \"x\" }\n", []string{
			"deny revision policies/own.rego:3:1: `contains` keyword is required for partial set rules | policies are Rego v1: `deny contains msg if { … }`",
			"deny revision policies/own.rego:3:1: `if` keyword is required before rule body | policies are Rego v1: `deny contains msg if { … }`"}},
		"unsafe variable": {"package acme\n\ndeny contains msg if input.x\n", []string{
			"deny revision policies/own.rego:3:15: var msg is unsafe"}},
		"type error": {"package acme\n\ndeny contains \"x\" if 1 + \"x\" == 2\n", []string{
			"deny revision policies/own.rego:3:22: plus: invalid argument(s)"}},
		"unknown function": {"package acme\n\ndeny contains \"x\" if guess(1)\n", []string{
			"deny revision policies/own.rego:3:22: undefined function guess"}},
		"recursion": {"package acme\n\na if b\n\nb if a\n", []string{
			"deny revision policies/own.rego:3:1: rule data.acme.a is recursive: data.acme.a -> data.acme.b -> data.acme.a",
			"deny revision policies/own.rego:5:1: rule data.acme.b is recursive: data.acme.b -> data.acme.a -> data.acme.b"}},
		"no set": {"package acme\n\ndeny := \"x\"\n", []string{
			"deny revision policies/own.rego:3:1: deny is a name for rules that collect findings, and this rule collects none | write `deny contains msg if { … }` directly in the package, or choose another name"}},
		"a map instead of a set": {"package acme\n\nwarn_x[msg] if msg := \"x\"\n", []string{
			"deny revision policies/own.rego:3:1: warn_x is a name for rules that collect findings, and this rule collects none | write `warn_x contains msg if { … }` directly in the package, or choose another name"}},
		"a function": {"package acme\n\nviolation(x) := x\n", []string{
			"deny revision policies/own.rego:3:1: violation is a name for rules that collect findings, and this rule collects none | write `violation contains msg if { … }` directly in the package, or choose another name"}},
		"below a rule": {"package acme\n\nnames.deny contains \"x\" if true\n", []string{
			"deny revision policies/own.rego:3:1: deny is a name for rules that collect findings, and this rule collects none | write `deny contains msg if { … }` directly in the package, or choose another name"}},
		"package of the built-in rules": {"package pave\n", []string{
			"deny revision policies/own.rego:1:1: package pave belongs to the rules built into Pave | choose another package, such as `package acme.requests`; a built-in rule is changed in the settings, platform: policy: overrides"}},
		"package below": {"package pave.rules.budget\n\nover_budget := false\n", []string{
			"deny revision policies/own.rego:1:1: package pave.rules.budget belongs to the rules built into Pave | choose another package, such as `package acme.requests`; a built-in rule is changed in the settings, platform: policy: overrides"}},
		"id of a built-in rule": {"package acme\n\n# METADATA\n# custom:\n#   id: budget\ndeny contains \"x\" if true\n", []string{
			"deny revision policies/own.rego:6:1: budget is the id of a built-in rule | choose another custom.id"}},
		"network": {"package acme\n\ndeny contains \"x\" if http.send({\"method\": \"get\", \"url\": \"http://localhost\"})\n", []string{
			"deny revision policies/own.rego:3:22: http.send" + withheld}},
		"network by way of with": {"package acme\n\nf(x) := x\n\ndeny contains \"x\" if f({\"method\": \"get\"}) with f as http.send\n", []string{
			"deny revision policies/own.rego:5:53: var http is unsafe"}},
	}
	for _, function := range []string{
		`opa.runtime()`, `time.now_ns()`, `rand.intn("x", 3)`, `uuid.rfc4122("x")`, `net.lookup_ip_addr("localhost")`,
		`rego.parse_module("x", "package x")`, `trace("x")`, `json.match_schema({}, {})`, `json.verify_schema({})`,
	} {
		name, _, _ := strings.Cut(function, "(")
		cases[name] = struct {
			source string
			want   []string
		}{"package acme\n\ndeny contains \"x\" if " + function + "\n", []string{"deny revision policies/own.rego:3:22: " + name + withheld}}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			engine, violations := policy.Compile(context.Background(), own(c.source))
			if engine != nil {
				t.Error("there is an engine")
			}
			expect(t, violations, c.want...)
		})
	}
}

func TestAllRefusalsAtOnce(t *testing.T) {
	engine, violations := policy.Compile(context.Background(), policy.Sources{
		Organisation: map[string]string{
			"policies/a.rego":      "package pave\n",
			"policies/b.rego":      "package b\n\nx := \n",
			"policies/c_test.rego": "package pave.c\n",
		},
		Overrides: map[string]reconciler.Override{"budgets": {Level: "off"}, "budget": {Level: "deny"}},
		Waivers:   []reconciler.Waiver{{Rule: "module-provisioner"}, {Rule: "provisioner"}, {Rule: "budget"}},
	})
	if engine != nil {
		t.Error("there is an engine")
	}
	var got []string
	for _, v := range violations {
		got = append(got, v.Kind+" "+v.String()+" | "+v.Hint)
	}
	want := []string{
		`platform policy.overrides.budget.level: expected one of: warn, off; got "deny" | `,
		`platform policy.overrides.budgets: no built-in rule has the id "budgets" | did you mean budget?`,
		`platform policy.waivers.1.rule: no built-in rule about blueprints has the id "provisioner" | did you mean module-provisioner?`,
		`platform policy.waivers.2.rule: no built-in rule about blueprints has the id "budget" | did you mean module-file?`,
	}
	if !slices.Equal(got[:4], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got[:4], "\n"), strings.Join(want, "\n"))
	}
	for _, at := range []string{" policies/a.rego:1:1: ", " policies/b.rego:4: ", " policies/c_test.rego:1:1: "} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, at) }) {
			t.Errorf("nothing is said of%s: %q", at, got)
		}
	}
}

func TestTestsMustCompile(t *testing.T) {
	engine, violations := policy.Compile(context.Background(), policy.Sources{Organisation: map[string]string{
		"policies/x.rego":      "package x\n",
		"policies/x_test.rego": "package x_test\n\ntest_x if http.send({})\n",
	}})
	if engine != nil || len(violations) != 1 || violations[0].Position.String() != "policies/x_test.rego:3:11" {
		t.Errorf("got %v", violations)
	}
}

func TestOverrides(t *testing.T) {
	offender := request()
	offender.Service = json.RawMessage(`{"name":"orders","owner":"sales","lifecycle":"production"}`)
	engine := compile(t, policy.Sources{
		Organisation: map[string]string{"policies/own.rego": "package production\n\ndeny contains \"own\" if true\n"},
		Overrides: map[string]reconciler.Override{
			"production-tier":    {Level: "warn", Reason: "tiers come next quarter"},
			"production-on-call": {Level: "off", Reason: "nobody is on call yet"},
		},
	})
	expect(t, judge(t, engine, offender),
		`deny document request orders-db: own (production.deny)`,
		`warn document warning: request orders-db: service: service orders has no tier, and environment production is production (production-tier) | add tier to service orders, from 1 (most depends on it) to 4 (least)`)

	for _, rule := range engine.Rules() {
		switch rule.ID {
		case "production-tier":
			if rule.Severity != "deny" || rule.Level != "warn" || rule.Reason != "tiers come next quarter" {
				t.Errorf("got %+v", rule)
			}
		case "production-on-call":
			if rule.Severity != "deny" || rule.Level != policy.Off || rule.Reason != "nobody is on call yet" {
				t.Errorf("got %+v", rule)
			}
		default:
			if rule.Level != rule.Severity || rule.Reason != "" {
				t.Errorf("got %+v", rule)
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	sources := own(`package acme

deny contains "x" if {
	every a in numbers.range(1, 1000) {
		every b in numbers.range(1, 1000) {
			every c in numbers.range(1, 1000) {
				a + b + c > 0
			}
		}
	}
}
`)
	sources.Deadline = 500 * time.Millisecond
	sources.Organisation["policies/own_test.rego"] = "package acme_test\n\ntest_endless if count(data.acme.deny) == 1\n\ntest_quick if true\n"
	engine := compile(t, sources)

	started := time.Now()
	violations, err := engine.Judge(context.Background(), request())
	if err == nil || err.Error() != "judge request orders-db: the policies took longer than 500ms" {
		t.Errorf("got %v, %v", violations, err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %s", took)
	}

	ended, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the daemon stops")
	cancel(cause)
	if _, err := engine.Judge(ended, request()); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}

	results := engine.Test(context.Background())
	if len(results) != 2 || results[0].Passed || !strings.Contains(results[0].Message, "cancel") || !results[1].Passed {
		t.Errorf("got %+v", results)
	}
	results = engine.Test(ended)
	if last := results[len(results)-1]; last.Passed || last.Message != "run the tests: the daemon stops" {
		t.Errorf("got %+v", results)
	}
}

// An error of a function is no verdict, neither in a rule nor in its test.
func TestFunctionErrors(t *testing.T) {
	sources := own("package acme\n\ndeny contains \"x\" if to_number(input.name) > 3\n")
	sources.Organisation["policies/own_test.rego"] = "package acme_test\n\ntest_text if count(data.acme.deny) == 0 with input as {\"name\": \"text\"}\n"
	engine := compile(t, sources)
	_, err := engine.Judge(context.Background(), request())
	if err == nil || !strings.HasPrefix(err.Error(), "judge request orders-db: policies/own.rego:3: eval_builtin_error: to_number: ") {
		t.Errorf("got %v", err)
	}
	results := engine.Test(context.Background())
	if len(results) != 1 || results[0].Passed || !strings.Contains(results[0].Message, "to_number") {
		t.Errorf("got %+v", results)
	}
}

func TestUndefinedRuleSaysNothing(t *testing.T) {
	engine := compile(t, own("package acme\n\ndeny contains msg if msg := input.document.nothing.here\n"))
	expect(t, judge(t, engine, request()))
}

func TestIncompleteSubjects(t *testing.T) {
	engine := compile(t, policy.Sources{})
	cases := map[string]struct {
		spoil func(*reconciler.Subject)
		want  string
	}{
		"kind":              {func(s *reconciler.Subject) { s.Kind = "team" }, `judge team orders-db: the input's kind is "team": expected one of: service, request, blueprint, view, ask`},
		"person":            {func(s *reconciler.Subject) { *s = asked(); s.Person = nil }, "judge ask orders-db: the input lacks person.id"},
		"identity":          {func(s *reconciler.Subject) { *s = asked(); s.Person.ID = "" }, "judge ask orders-db: the input lacks person.id"},
		"its action":        {func(s *reconciler.Subject) { *s = asked(); s.Change.Action = "none" }, `judge ask orders-db: the input's change.action is "none": expected one of: create, update, delete`},
		"whose it is":       {func(s *reconciler.Subject) { *s = asked(); s.Team = nil }, "judge ask orders-db: the input lacks team"},
		"what is asked for": {func(s *reconciler.Subject) { *s = asked(); s.Document = nil }, "judge ask orders-db: the input lacks document"},
		"what is viewed":    {func(s *reconciler.Subject) { s.Kind, s.Of, s.Document = "view", "request", nil }, "judge view orders-db: the input lacks document"},
		"now":               {func(s *reconciler.Subject) { s.Now = time.Time{} }, "judge request orders-db: the input lacks now"},
		"action":            {func(s *reconciler.Subject) { s.Change.Action = "" }, `judge request orders-db: the input's change.action is "": expected one of: create, update, delete, none`},
		"before":            {func(s *reconciler.Subject) { s.Change.Action = "delete" }, "judge request orders-db: the input lacks change.before"},
		"document":          {func(s *reconciler.Subject) { s.Document = nil }, "judge request orders-db: the input lacks document"},
		"service":           {func(s *reconciler.Subject) { s.Service = json.RawMessage("null") }, "judge request orders-db: the input lacks service"},
		"environment":       {func(s *reconciler.Subject) { s.Environment = nil }, "judge request orders-db: the input lacks environment"},
		"blueprint":         {func(s *reconciler.Subject) { s.Blueprint = nil }, "judge request orders-db: the input lacks blueprint"},
		"cost":              {func(s *reconciler.Subject) { s.Cost = nil }, "judge request orders-db: the input lacks cost"},
		"plan":              {func(s *reconciler.Subject) { s.Plan = json.RawMessage(`{}`) }, "judge request orders-db: the input lacks plan.format_version"},
		"JSON":              {func(s *reconciler.Subject) { s.Team = json.RawMessage(`{`) }, "judge request orders-db: read the input: \"{\" is no JSON"},
		"service's document": {func(s *reconciler.Subject) { s.Kind, s.Document = "service", nil },
			"judge service orders-db: the input lacks document"},
		"settings": {func(s *reconciler.Subject) { *s = blueprint("{}"); s.Settings = nil }, "judge blueprint postgres: the input lacks settings"},
		"facts":    {func(s *reconciler.Subject) { *s = blueprint(`{"providers":[],"modules":[],"data":[]}`) }, "judge blueprint postgres: the input lacks blueprint.module.provisioners"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			subject := request()
			c.spoil(&subject)
			violations, err := engine.Judge(context.Background(), subject)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, %v", violations, err)
			}
		})
	}
}

// Who asks is seen anew each time, and rules of the organisation may look at it.
func TestPeople(t *testing.T) {
	engine := compile(t, own(`package acme

deny contains sprintf("%s may not see %s %s", [object.get(input, ["person", "id"], "nobody"), input.of, input.name]) if {
	input.kind == "view"
	not "sales" in object.get(input, ["person", "teams"], [])
}
`))
	if !engine.Speaks("view") || !engine.Speaks("ask") || compile(t, policy.Sources{}).Speaks("view") {
		t.Error("expected that only the organisation's rules speak of what is viewed")
	}
	ask := asked()
	expect(t, judge(t, engine, ask), "deny document request orders-db: service: service orders belongs to another team, and Alice is not in that team (access-team) | ask the platform team")
	ask.Person = &reconciler.Visitor{ID: "bob", Teams: []string{"sales"}}
	expect(t, judge(t, engine, ask))

	view := reconciler.Subject{Kind: "view", Of: "request", Name: "orders-db", Now: now, Document: request().Document}
	expect(t, judge(t, engine, view), "deny document request orders-db: nobody may not see request orders-db (acme.deny)")
	view.Person = ask.Person
	expect(t, judge(t, engine, view))
	view.Person = asked().Person
	expect(t, judge(t, engine, view), "deny document request orders-db: https://login.example alice may not see request orders-db (acme.deny)")
	expect(t, judge(t, engine, request()))
}

func TestBundle(t *testing.T) {
	engine := compile(t, policy.Sources{
		Organisation: map[string]string{
			"policies/own.rego":      "package acme\n\ndeny contains \"own\" if input.plan\n",
			"policies/own_test.rego": "package acme_test\n\ntest_own if true\n",
		},
		Overrides: map[string]reconciler.Override{"stateful": {Level: "warn", Reason: "a migration is under way"}},
		Deadline:  time.Minute,
	})
	subject := request()
	subject.Plan = json.RawMessage(`{"format_version":"1.2","resource_changes":[{"address":"aws_db_instance.main","mode":"managed","type":"aws_db_instance","change":{"actions":["delete","create"]}}]}`)

	loaded, err := policy.Load(context.Background(), engine.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	want := judge(t, engine, subject)
	if len(want) != 2 {
		t.Errorf("got %v", lines(want))
	}
	if got := judge(t, loaded, subject); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", lines(got), lines(want))
	}
	if !slices.Equal(loaded.Bundle(), engine.Bundle()) {
		t.Error("the bundle changes on its way")
	}
	if !reflect.DeepEqual(loaded.Rules(), engine.Rules()) {
		t.Error("the rules change on their way")
	}
	if strings.Contains(string(engine.Bundle()), "test_own") {
		t.Error("tests travel")
	}
}

func TestLoadRefuses(t *testing.T) {
	good := string(compile(t, own("package acme\n")).Bundle())
	for data, want := range map[string]string{
		"":   "read the policies: unexpected end of JSON input",
		"{}": "read the policies: they were written by another version of Pave",
		strings.Replace(good, "package acme", "package pave", 1): "compile the policies: policies/own.rego:1:1: package pave belongs to the rules built into Pave",
	} {
		engine, err := policy.Load(context.Background(), json.RawMessage(data))
		if engine != nil || err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOrganisationTests(t *testing.T) {
	engine := compile(t, policy.Sources{Organisation: map[string]string{
		"policies/own.rego": "package acme\n\ndeny contains \"large\" if input.document.inputs.size == \"large\"\n",
		"policies/own_test.rego": `package acme_test

test_large if {
	some msg in data.acme.deny with input as {"document": {"inputs": {"size": "large"}}}
	msg == "large"
}

test_small if {
	print("size", "small")
	count(data.acme.deny) == 1 with input as {"document": {"inputs": {"size": "small"}}}
}

todo_test_medium if false
`,
	}})
	want := []policy.TestResult{
		{Package: "acme_test", Name: "test_large", File: "policies/own_test.rego", Line: 3, Passed: true},
		{Package: "acme_test", Name: "test_small", File: "policies/own_test.rego", Line: 8, Message: "the test does not hold\nsize small"},
		{Package: "acme_test", Name: "todo_test_medium", File: "policies/own_test.rego", Line: 13, Passed: true, Message: "skipped"},
	}
	if got := engine.Test(context.Background()); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := compile(t, policy.Sources{}).Test(context.Background()); len(got) != 0 {
		t.Errorf("tests out of nothing: %+v", got)
	}
}

func TestConcurrentJudges(t *testing.T) {
	engine := compile(t, own("package acme\n\ndeny contains input.name if input.kind == \"request\"\n"))
	done := make(chan error)
	for i := range 8 {
		go func() {
			subject := request()
			subject.Name = fmt.Sprintf("r%d", i)
			violations, err := engine.Judge(context.Background(), subject)
			if err == nil && (len(violations) != 1 || violations[0].Message != subject.Name) {
				err = fmt.Errorf("%s: got %v", subject.Name, violations)
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	engine, _ := policy.Compile(context.Background(), own("package acme\n\ndeny contains \"x\" if input.x\n"))
	for b.Loop() {
		if _, err := policy.Load(context.Background(), engine.Bundle()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	for name, another := range map[string]bool{"another": true, "again": false} {
		b.Run(name, func(b *testing.B) {
			engine, _ := policy.Compile(context.Background(), policy.Sources{})
			subject := request()
			for i := 0; b.Loop(); i++ {
				if another {
					subject.Name = fmt.Sprintf("request-%d", i)
				}
				if _, err := engine.Judge(context.Background(), subject); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCompiler(t *testing.T) {
	files := map[string]string{
		"catalog/deny.rego":       "package elsewhere\n\nthis is not read",
		"policies/README.md":      "this neither",
		"policies/a/own.rego":     "package acme\n\ndeny contains \"own\" if true\n",
		"policies/own_test.rego":  "package acme_test\n\ntest_own if true\n",
		"policies2/deny.rego":     "nor this",
		"policies/unreadable.txt": "",
	}
	tree := &reconciler.Tree{Read: func(f reconciler.File) ([]byte, error) {
		if f.Mode != reconciler.Regular {
			return nil, errors.New("it is a symlink")
		}
		return []byte(files[f.Path]), nil
	}}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		tree.Files = append(tree.Files, reconciler.File{Path: path})
	}
	var settings reconciler.Settings
	settings.Policy.Overrides = map[string]reconciler.Override{"budget": {Level: "off", Reason: "budgets start next year"}}

	var compiler policy.Compiler
	made, violations := compiler.Compile(context.Background(), tree, settings)
	engine, ok := made.(*policy.Engine)
	if !ok || len(violations) > 0 {
		t.Fatalf("got %v, %v", made, violations)
	}
	expect(t, judge(t, engine, request()), "deny document request orders-db: own (acme.deny)")
	if results := engine.Test(context.Background()); len(results) != 1 {
		t.Errorf("got %+v", results)
	}
	if i := slices.IndexFunc(engine.Rules(), func(r policy.Rule) bool { return r.ID == "budget" }); engine.Rules()[i].Level != policy.Off {
		t.Errorf("got %+v", engine.Rules()[i])
	}

	if again, violations := compiler.Compile(context.Background(), tree, settings); again != made || len(violations) > 0 {
		t.Errorf("the same rules are compiled again: %v, %v", again, violations)
	}
	files["policies/a/own.rego"] = strings.Replace(files["policies/a/own.rego"], "own", "other", 1)
	if other, _ := compiler.Compile(context.Background(), tree, settings); other == made {
		t.Error("other rules are not compiled")
	}

	settings.Policy.Waivers = []reconciler.Waiver{{Rule: "nothing"}}
	if made, violations := compiler.Compile(context.Background(), tree, settings); made != nil || len(violations) != 1 {
		t.Errorf("got %v, %v", made, violations)
	}

	i := slices.IndexFunc(tree.Files, func(f reconciler.File) bool { return f.Path == "policies/a/own.rego" })
	tree.Files[i].Mode = reconciler.Symlink
	made, violations = compiler.Compile(context.Background(), tree, reconciler.Settings{})
	if made != nil {
		t.Errorf("got %v", made)
	}
	expect(t, violations, "deny revision policies/a/own.rego: read the policy: it is a symlink | commit it as a regular file, or remove it")
}
