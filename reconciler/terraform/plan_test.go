package terraform

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

const planText = `{"format_version":"1.2","resource_changes":[
 {"address":"b.replaced","change":{"actions":["delete","create"],"before":{"id":"1","name":"x","tags":{"a":1}},"after":{"name":"y","tags":{"a":1}},"after_unknown":{"id":true,"tags":{}}}},
 {"address":"a.made","change":{"actions":["create"],"before":null,"after":{"pin":%s,"note":"%s"},"after_unknown":{"id":true},"before_sensitive":false,"after_sensitive":{"pin":true}}},
 {"address":"c.same","change":{"actions":["no-op"],"before":{"key":"hidden-key"},"after":{"key":"hidden-key"},"after_unknown":{},"before_sensitive":{"key":true},"after_sensitive":{"key":true}}},
 {"address":"d.moved","previous_address":"d.old","change":{"actions":["no-op"],"before":{},"after":{},"after_unknown":{}}},
 {"address":"e.gone","change":{"actions":["delete"],"before":{"id":"1"},"after":null,"after_unknown":{}}},
 {"address":"f.read","change":{"actions":["read"],"before":null,"after":{},"after_unknown":{}}},
 {"address":"g.left","change":{"actions":["forget"],"before":{},"after":null,"after_unknown":{}}}
],"output_changes":{"o":{"actions":["create"],"before":null,"after":"%s","after_unknown":false,"before_sensitive":false,"after_sensitive":%s}}}`

func summaryOf(t *testing.T, values ...any) reconciler.PlanSummary {
	t.Helper()
	plan, err := parsePlan(fmt.Appendf(nil, planText, values...))
	must(t, err)
	summary, err := summarise(plan)
	must(t, err)
	return summary
}

func TestSummary(t *testing.T) {
	s := summaryOf(t, "123456", "note", "out", "false")
	if s.String() != "+2 ~0 -2" {
		t.Errorf("got %s", s)
	}
	var lines []string
	for _, c := range s.Changes {
		lines = append(lines, strings.TrimSpace(c.Action+" "+c.Address+" "+strings.Join(c.Attributes, ",")))
	}
	want := []string{"create a.made", "replace b.replaced id,name", "move d.moved", "delete e.gone", "forget g.left"}
	if !slices.Equal(lines, want) {
		t.Errorf("expected %q, got %q", want, lines)
	}
}

func TestAuthors(t *testing.T) {
	plan, err := parsePlan([]byte(`{"format_version":"1.2","resource_changes":[
 {"address":"a.update","change":{"actions":["update"],"before":{"size":1,"last_modified_by":"maria"},"after":{"size":2,"last_modified_by":"pave"},"after_unknown":{}}},
 {"address":"b.secret","change":{"actions":["update"],"before":{"size":1,"updated_by":"maria"},"after":{"size":2},"after_unknown":{},"before_sensitive":{"updated_by":true}}},
 {"address":"c.gone","change":{"actions":["create"],"before":null,"after":{"size":2},"after_unknown":{}}},
 {"address":"d.number","change":{"actions":["update"],"before":{"modified_by":7},"after":{"modified_by":8},"after_unknown":{}}}
]}`))
	must(t, err)
	summary, err := summarise(plan)
	must(t, err)
	addAuthors(&summary, plan)
	got := map[string]string{}
	for _, c := range summary.Changes {
		got[c.Address] = c.By
	}
	if want := map[string]string{"a.update": "maria", "b.secret": "", "c.gone": "", "d.number": ""}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestDigestCountsWhatIsNotSecret(t *testing.T) {
	base := summaryOf(t, "123456", "note", "out", "false").Digest
	if len(base) != 64 || summaryOf(t, "123456", "note", "out", "false").Digest != base {
		t.Errorf("got %q", base)
	}
	if summaryOf(t, "654321", "note", "out", "false").Digest != base {
		t.Error("a sensitive value is in the digest")
	}
	for name, values := range map[string][]any{
		"attribute":      {"123456", "other", "out", "false"},
		"output":         {"123456", "note", "other", "false"},
		"output's marks": {"123456", "note", "out", "true"},
	} {
		if summaryOf(t, values...).Digest == base {
			t.Errorf("%s is not in the digest", name)
		}
	}
}

func TestPlanSecrets(t *testing.T) {
	plan, err := parsePlan(fmt.Appendf(nil, planText, "123456", "note", "outward", "true"))
	must(t, err)
	var s secrets
	s.addPlan(plan)
	got := s.mask("pin 123456, key hidden-key, output outward, note")
	if got != "pin (sensitive), key (sensitive), output (sensitive), note" {
		t.Error(got)
	}
}

func TestMask(t *testing.T) {
	var s secrets
	for _, secret := range []string{"abc", "first", "first and more", "line one\nline two", `quo"te`, "p@ss/word", "blank  blank"} {
		s.add(secret)
	}
	for text, want := range map[string]string{
		"abc":                   "abc", // too short
		"first and more, first": "(sensitive), (sensitive)",
		"line two":              "(sensitive)",
		"line one line two":     "(sensitive)",
		`"quo\"te"`:             `"(sensitive)"`,
		"u:p%40ss%2Fword@h":     "u:(sensitive)@h",
		"blank\n blank":         "(sensitive)",
	} {
		if got := s.line(text); got != want {
			t.Errorf("%q: expected %q, got %q", text, want, got)
		}
	}
	var value any
	must(t, json.Unmarshal([]byte(`{"a":["x","the first"]}`), &value))
	if !s.within(value) {
		t.Error("a secret within a value was not found")
	}
}

func TestMessagesAreOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\n\tb\r\nc":           "a b c",
		"\x1b[31mred\x1b[0m":    `\u001b[31mred\u001b[0m`,
		"left\u202eright\u200b": `left\u202eright\u200b`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: expected %q, got %q", text, want, got)
		}
	}
	long := shorten(strings.Repeat("é", maxMessage))
	if len(long) > maxMessage+len(" …") || !strings.HasSuffix(long, "é …") {
		t.Errorf("got %d bytes ending in %q", len(long), long[len(long)-8:])
	}
}

func TestTextErrors(t *testing.T) {
	got := joinDiagnostics(textErrors(`
╷
│ Warning: Something else
│ 
│ said at length
╵
Error: Unreadable

  with module.a.b_c.d["x"],
  on modules/a/main.tf line 12, in resource "b_c" "d":
  12:   name = var.name
    ├────────────────
    │ var.name is "x"

The name is
not readable.

Error: Second
`))
	want := `modules/a/main.tf:12: Unreadable: The name is not readable. (module.a.b_c.d["x"]); Second`
	if got != want {
		t.Errorf("expected %s, got %s", want, got)
	}
}
