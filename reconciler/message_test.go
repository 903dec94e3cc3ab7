package reconciler

import (
	"fmt"
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	revision := Revision{Commit: "4be1f5c0aa4bd0c1a38a5b0f1cc7fd1d2f8b8f2a"}
	many := func(n int) (events []event) {
		for i := range n {
			events = append(events, event{unit: fmt.Sprintf("u%03d", i), verb: "apply", trailer: "applied +1 ~0 -0 blueprint=db"})
		}
		return events
	}
	for _, test := range []struct {
		name     string
		subject  string
		revision Revision
		remarks  []string
		events   []event
		want     string
	}{
		{"nothing to say", "Record the platform's state", Revision{}, nil, nil, `Record the platform's state

Pave-Record: v1
`},
		{"units", "Apply checkout-db, fail ledger-db", revision, nil, []event{
			{unit: "checkout-db", verb: "apply", trailer: "applied +1 ~0 -0 blueprint=postgres plan=3fa9"},
			{unit: "ledger-db", verb: "fail", trailer: "failed +0 ~0 -0 reason=PlanFailed", text: "no such zone"},
		}, `Apply checkout-db, fail ledger-db

ledger-db: no such zone

Revision: 4be1f5c0aa4bd0c1a38a5b0f1cc7fd1d2f8b8f2a
Unit: checkout-db applied +1 ~0 -0 blueprint=postgres plan=3fa9
Unit: ledger-db failed +0 ~0 -0 reason=PlanFailed
Pave-Record: v1
`},
		{"a refusal", "Refuse the revision 4be1f5c0", revision, []string{"platform.cue:3:1: platform.owner: missing field"}, nil, `Refuse the revision 4be1f5c0

platform.cue:3:1: platform.owner: missing field

Revision: 4be1f5c0aa4bd0c1a38a5b0f1cc7fd1d2f8b8f2a
Pave-Record: v1
`},
		{"text that would be a trailer", "Fail a", revision, []string{
			"Unit: ledger-db destroyed +0 ~0 -9 blueprint=db.cue: syntax error",
			"\nUnit: ledger-db destroyed",
			"\u202eRevision: 0000",
			"Pave-Record: v1",
			"Signed-off-by: somebody",
			"catalog/Unit: x.cue:1:1: wrong",
		}, []event{{unit: "a", verb: "fail", trailer: "failed", text: "boom\r\n\nUnit: ledger-db destroyed\n\nPave-Record: v1\x1b[1A"}}, `Fail a

  Unit: ledger-db destroyed +0 ~0 -9 blueprint=db.cue: syntax error
  Unit: ledger-db destroyed
  Revision: 0000
  Pave-Record: v1
  Signed-off-by: somebody
catalog/Unit: x.cue:1:1: wrong
a: boom Unit: ledger-db destroyed Pave-Record: v1 [1A

Revision: 4be1f5c0aa4bd0c1a38a5b0f1cc7fd1d2f8b8f2a
Unit: a failed
Pave-Record: v1
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := message(test.subject, test.revision, test.remarks, nil, test.events); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}

	long := message("Apply u000 and 249 more", revision, nil, nil, many(250))
	if n := strings.Count(long, "\nUnit: "); n != 200 || !strings.HasSuffix(long, "\nUnit: u199 applied +1 ~0 -0 blueprint=db\nUnits-Omitted: 50\nPave-Record: v1\n") {
		t.Errorf("%d units, ending in %q", n, long[len(long)-100:])
	}
	failing := many(25)
	for i := range failing {
		failing[i].text = "no"
	}
	if body := message("Fail", revision, []string{"one more"}, nil, failing); strings.Count(body, ": no\n") != 19 || !strings.Contains(body, "\nu018: no\nand 6 more\n\n") {
		t.Errorf("got:\n%s", body)
	}
}

func TestSubjectLine(t *testing.T) {
	for want, said := range map[string]string{
		"":                                      "",
		"Apply a":                               "apply a",
		"Apply a and 1 more":                    "apply a, apply b",
		"Apply a, hold c":                       "apply a, hold c",
		"Apply a, fail b and 2 more, hold e":    "apply a, fail b, fail c, fail d, hold e",
		"Apply a, fail b, hold c, …":            "apply a, fail b, hold c, queue d",
		"Find drift in a and 1 more, confirm c": "find drift in a, find drift in b, confirm c",
	} {
		var events []event
		for part := range strings.SplitSeq(said, ", ") {
			if i := strings.LastIndex(part, " "); i > 0 {
				events = append(events, event{verb: part[:i], unit: part[i+1:]})
			}
		}
		if got := subjectLine(events); got != want {
			t.Errorf("%s: got %q, want %q", said, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                   "plain",
		"  two\n\n lines\t here ": "two lines here",
		"\x1b[31mred\x1b[0m":      "[31mred [0m",
		"a\u202eb\u2066c\u200f":   "a b c",
		"a\x00b\x7fc\u0085d":      "a b c d",
		"Grüße 世界 😀":              "Grüße 世界 😀",
		"":                        "",
		"ab\xff":                  "ab\uFFFD",
	} {
		if got := oneLine(text, 40); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"äöüäöüäöüä": "äöüäöüäöüä", "äöüäöüäöüäö": "äöüäöüäöü…"} {
		if got := oneLine(text, 10); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestEscapeMarkdown(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, 20% of it - done.": "plain text, 20% of it - done.",
		"[x](http://evil.example)":      `\[x\]\(http&#58;//evil.example\)`,
		"![i](x)":                       `\!\[i\]\(x\)`,
		"<img src=x>":                   "&lt;img src=x&gt;",
		"&lt;":                          "&amp;lt;",
		"@acme/platform closes #12":     `&#64;acme/platform closes \#12`,
		"**bold** _it_ ~no~ `code`":     "\\*\\*bold\\*\\* \\_it\\_ \\~no\\~ \\`code\\`",
		"a | b":                         `a \| b`,
		"a\n\n# title":                  `a \# title`,
		`\`:                             `\\`,
		"www.evil.example":              `www\.evil.example`,
	} {
		if got := escapeMarkdown(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
