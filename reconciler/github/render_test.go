package github

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/pave-dev/pave/reconciler"
)

var update = flag.Bool("update", false, "write the goldens")

const web = "https://github.com/acme/platform"

var head, base = strings.Repeat("2f", 20), strings.Repeat("1e", 20)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./reconciler/github -run %s -update writes it. Got:\n%s", path, t.Name(), got)
	}
}

func digestOf(n int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte{byte(n), byte(n >> 8)})) }

func ptr(f float64) *float64 { return &f }

// oneUnit is the report of a small change that waits for an approval.
func oneUnit() reconciler.Report {
	return reconciler.Report{Number: 12, Base: base, Head: head, State: reconciler.CheckWaiting,
		Headline: "1 unit changes: the payments team must approve",
		Units: []reconciler.PlannedUnit{{Request: "checkout-db", Action: "apply", Outcome: reconciler.Changed, Plan: reconciler.PlanSummary{Add: 2, Change: 1, Destroy: 1, Digest: digestOf(7),
			Changes: []reconciler.ChangedField{{Address: "aws_db_instance.this", Action: "replace", Attributes: []string{"engine_version", "storage"}},
				{Address: "local_file.motd", Action: "update", Attributes: []string{"content"}}, {Address: "random_password.admin", Action: "create"}}}}},
		Effects: []reconciler.Effect{{Kind: "request", Name: "checkout-db", Field: "protect", Message: "after this is merged the request may be removed, and its data with it"}},
		Violations: []reconciler.Violation{
			{Level: reconciler.Approve, Rule: "pave.approval.outsider", Kind: "request", Name: "checkout-db", Team: "payments", Message: "alice is not in the team payments",
				Position: reconciler.Position{File: "catalog/payments/checkout.cue", Line: 14, Column: 2}, Hint: "ask a member of payments to approve"},
			{Level: reconciler.Warn, Rule: "acme.naming", Kind: "service", Name: "checkout", Path: []string{"title"}, Message: "the title does not end in API",
				Position: reconciler.Position{File: "catalog/payments/checkout.cue", Line: 3, Column: 9}}},
		Costs:    []reconciler.CostChange{{Team: "payments", Before: 120, After: 231.5, Budget: ptr(200)}},
		Affected: []reconciler.Affected{{Service: "checkout", Owner: "payments", Tier: 1}, {Service: "web-shop", Owner: "storefront", Tier: 2, Via: "checkout"}},
		Approvals: []reconciler.Needed{{Team: "payments", Reason: "checkout-db belongs to them", Units: []string{"checkout-db"}}, {Team: "platform", Reason: "it replaces a database", Given: true, By: "dana"},
			{Team: "storefront", Reason: "owns web-shop", Units: []string{"web-shop-site"}, Insider: true, Given: true}},
		Notes: []string{"The plan was made without credentials, since the pull request comes from a fork."},
	}
}

// manyUnits is the report of a change of n units of several kinds.
func manyUnits(n int) reconciler.Report {
	r := reconciler.Report{Number: 12, Base: base, Head: head, State: reconciler.CheckFailed, Headline: fmt.Sprintf("%d units change, 2 are denied", n),
		Governance: []string{"blueprints/postgres/main.tf", "teams.cue"}}
	for i := range n {
		u := reconciler.PlannedUnit{Request: fmt.Sprintf("service-%03d-db", i), Action: "apply", Outcome: reconciler.Changed}
		switch {
		case i%25 == 3:
			u.Action, u.Plan = "destroy", reconciler.PlanSummary{Destroy: 3, Changes: []reconciler.ChangedField{{Address: fmt.Sprintf("local_file.zone[%d]", i), Action: "delete"}}}
		case i%10 == 4:
			u.Action, u.Outcome, u.Reason, u.Message = "wait", "", "Upstream", fmt.Sprintf("service-%03d-db was never applied", i-1)
		case i%7 == 5:
			u.Plan = reconciler.PlanSummary{Add: 4, Changes: []reconciler.ChangedField{{Address: "random_password.admin", Action: "create"}, {Address: fmt.Sprintf("local_file.data[%d]", i), Action: "create"}}}
		default: // what a change of a blueprint does to each of its units
			u.Plan = reconciler.PlanSummary{Change: 1, Changes: []reconciler.ChangedField{{Address: "local_file.config", Action: "update", Attributes: []string{"content", "file_permission"}}}}
		}
		if u.Action != "wait" {
			u.Plan.Digest = digestOf(i)
		}
		r.Units = append(r.Units, u)
		r.Affected = append(r.Affected, reconciler.Affected{Service: fmt.Sprintf("service-%03d", i), Owner: fmt.Sprintf("team-%d", i%6), Tier: i%4 + 1})
	}
	for i := range 2 {
		r.Violations = append(r.Violations, reconciler.Violation{Level: reconciler.Deny, Rule: "pave.budget", Kind: "request", Name: fmt.Sprintf("service-%03d-db", i),
			Path: []string{"inputs", "size"}, Position: reconciler.Position{File: "catalog/all.cue", Line: 10 * i, Column: 3}, Message: "the team's budget is exceeded", Hint: "choose a smaller size"})
	}
	for i := range 6 {
		r.Costs = append(r.Costs, reconciler.CostChange{Team: fmt.Sprintf("team-%d", i), Before: 100 * float64(i), After: 90 * float64(i), Budget: ptr(500)})
	}
	r.Approvals = []reconciler.Needed{{Team: "platform", Reason: "it changes governance"}}
	for team := range 2 {
		n := reconciler.Needed{Team: fmt.Sprintf("team-%d", team), Reason: "alice is not one of them", Given: team == 1, By: []string{"", "erin"}[team]}
		for i := team; i < len(r.Units); i += 6 {
			n.Units = append(n.Units, r.Units[i].Request)
		}
		r.Approvals = append(r.Approvals, n)
	}
	for i := range n / 10 {
		r.Live = append(r.Live, reconciler.Violation{Level: reconciler.Deny, Rule: "acme.size", Kind: "request", Name: fmt.Sprintf("old-%03d-db", i),
			Position: reconciler.Position{File: "catalog/old.cue", Line: 10*i + 1, Column: 3}, Message: "the size is no longer offered", Hint: "choose another"})
		r.Past = append(r.Past, reconciler.PastDenial{Request: fmt.Sprintf("old-%03d-db", i), Revision: strings.Repeat(fmt.Sprintf("%02x", i), 20), Rule: "acme.size", Message: "the size is no longer offered"})
	}
	return r
}

func TestMarkdown(t *testing.T) {
	deployed := oneUnit()
	deployed.State, deployed.Deployed, deployed.Headline = reconciler.CheckPassed, true, "1 unit is applied"
	deployed.Units[0].Outcome, deployed.Units[0].Took = reconciler.Applied, 83*time.Second+450*time.Millisecond
	deployed.Violations, deployed.Approvals, deployed.Notes, deployed.Effects = nil, nil, nil, nil
	held := oneUnit()
	held.Deployed, held.Headline = true, "1 unit waits for the payments team"
	held.Units[0].Outcome, held.Units[0].Action, held.Units[0].Reason = reconciler.AwaitingApproval, "wait", "AwaitingApproval"
	held.Units = append(held.Units, reconciler.PlannedUnit{Request: "ledger-db", Action: "apply", Outcome: reconciler.Applied, Took: 12 * time.Second,
		Plan: reconciler.PlanSummary{Add: 1, Digest: digestOf(8)}})
	nothing := reconciler.Report{Number: 12, Base: base, Head: head, State: reconciler.CheckPassed, Headline: "Nothing to do: no document and no code changes"}
	for name, r := range map[string]reconciler.Report{"one.md": oneUnit(), "fifty.md": manyUnits(50), "three-hundred.md": manyUnits(300), "deployed.md": deployed, "held.md": held, "nothing.md": nothing} {
		t.Run(name, func(t *testing.T) {
			got := Markdown(r, web)
			golden(t, name, got)
			inspect(t, got)
			if len(got) > maxMarkdown {
				t.Errorf("it is %d bytes long", len(got))
			}
		})
	}
}

// hostile are texts that would do something where they were not made inert.
func hostile() []string {
	bodies := []string{
		"@everyone", "@acme/platform", "mail me@evil.example", "#1", "GH-1", "acme/platform#1", "Fixes #1", "closes acme/platform#2", "JIRA-123",
		"https://evil.example", "http://evil.example/?q=1", "www.evil.example", "ftp://evil.example", "javascript:alert(1)", "<https://evil.example>",
		"[click](https://evil.example)", "[click][1]\n\n[1]: https://evil.example", "![beacon](https://evil.example/x.png)", "<img src=https://evil.example/x.png>",
		"<a href='https://evil.example'>x</a>", "</details>", "</summary></details>", "<details open>", "<script>alert(1)</script>", "<!-- ", "-->", "<!-- pave: pave -->",
		"&lt;b&gt; &#64;bob &commat;bob", ":warning:", ":+1:", strings.Repeat("a1b2c3d", 3), "deadbeef", "cafe1234", "acme/platform@deadbeef",
		"`code", "``", "a ` b", "``` fence", "```\nfence\n```", "~~~\nfence", "`` ` ``", "\\`escaped\\`", "a\\|b", "a|b|c", "| x | y |\n|---|---|", "\\\\|",
		"# heading", "x\n===", "x\n---", "***", "- item", "+ item", "1. item", "1) item", "> quote", "    code block", "\tcode block", "- [ ] task", "[x] done",
		"**bold** __bold__ *i* _i_ ~~s~~", "$x^2$ $$\\alpha$$", "$`x`$", "[^1] note", "> [!WARNING]\n> do it", "::error file=x,line=1::boo", "::add-mask::x",
		"\x1b[31mred\x1b[0m", "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\", "\x07", "\x00nul", "\r\noverwrite", "a\u202ecba", "\u2066x\u2069", "zero\u200bwidth", "\u200e\u200f\u061c",
		"tag\U000e0041s", "bad\xff\xfeutf8", "\u115f\u3164blank", "z\u0300\u0301\u0302\u0303\u0304a", "\ufeffbom", "\u00ad", "line\u2028sep\u2029", "\u0085next",
		"cc @acme/team", "cc @Acme", "\uff20bob", "@b\u043eb", "@bob's", "(@bob)", "@bob-", "a@b", "mailto:me@evil.example", "xmpp:me@evil.example", "me@evil.example.", "evil.example/path", "evil\u3002example",
		"h\u0442tps://evil.example", "https:\uff0f\uff0fevil.example", "www.\u0435vil.example", "//evil.example", "HTTPS://EVIL.EXAMPLE", "hTTp://evil.example", "\\[x](//evil.example)", "[x]: https://evil.example", "[https://evil.example]",
		"![](//evil.example/x.png)", "[![x](https://evil.example/x.png)](https://evil.example)", "<svg onload=alert(1)>", "<picture><source srcset=//evil.example>", "<style>*{display:none}</style>", "<br>", "<kbd>x", "<!DOCTYPE html>", "<?php ?>", "<![CDATA[x]]>",
		"<!-- pave", "<!-- pave: pave -->\nall is well", "--!>", "</p></div></details><details open><summary>ok</summary>", "resolves: #1", "Fix GH-1", "acme/platform/pull/1", "CVE-2024-0001", "GHSA-aaaa-bbbb-cccc", "#1a2b3c", "rgb(1,2,3)", "2f2f2f2", strings.Repeat("0", 40), "acme@2f2f2f2",
		"[^x]: note", "[^x]", "::warning::x", "::set-output name=a::b", "##[error]x", "\x1b[2J\x1b[H", "\x9b31m", "\u009b31m", "\b\b\b", "\u202dabc\u202c", "\u2067x", "a\u2060b", "a\u200db", "a\u180eb", "\ufff9a\ufffab\ufffb",
		"|---|", "\n\n| a |\n|---|\n| b |\n", ":shipit:", "\U0001f469\u200d\U0001f4bb", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "$$\nx\n$$", "\\(x\\)", "\\begin{x}", "`$x$`", "```mermaid\ngraph LR\n```", "- [x] done", "Setext\n-----", "&#x3c;script&#x3e;", "&nbsp;&zwj;", "\\@bob", "\\<b>",
		"/close", "/lgtm", "@dependabot merge", "Co-authored-by: x <x@evil.example>", "Signed-off-by: x <x@evil.example>", "[skip ci]", "%0A::error::x", "\\u0040bob", "a  \nb", "a\\\nb",
		"${file(\"/etc/passwd\")}", "%{ for x in y }", "{{ .Secret }}", "'; DROP TABLE x; --", "$(id)", "../../../etc/passwd", "C:\\x", "*", "_", "~", "!", "&", "<", ">", "|", "`", "\\",
	}
	all := slices.Clone(bodies)
	for _, wrap := range []string{"plain words and %s then more", "`%s", "%s`", "</code>%s", "x](%s)"} {
		for _, body := range bodies {
			if len(all) < 500 {
				all = append(all, strings.Replace(wrap, "%s", body, 1))
			}
		}
	}
	return append(all, strings.Repeat("@a ", 30_000), strings.Repeat("`", 500), strings.Repeat("|", 70_000), strings.Repeat("\u202e", 5_000))
}

// everywhere is a report in which each text is the given one.
func everywhere(s string) reconciler.Report {
	v := func(level reconciler.Level) reconciler.Violation {
		return reconciler.Violation{Level: level, Rule: s, Kind: s, Name: s, Path: []string{s, s}, Message: s, Hint: s, Team: s, Position: reconciler.Position{File: s, Line: 3}}
	}
	u := reconciler.PlannedUnit{Request: s, Action: s, Outcome: reconciler.Outcome(s), Reason: s, Message: s, Violations: []reconciler.Violation{v(reconciler.Deny)}, Plan: reconciler.PlanSummary{Add: 1, Digest: s,
		Changes: []reconciler.ChangedField{{Address: s, Action: "update", Attributes: []string{s, s}, By: s}, {Address: s, Action: s}}}}
	return reconciler.Report{Number: 1, Base: base, Head: head, State: reconciler.CheckFailed, Headline: s, Governance: []string{s},
		Units: []reconciler.PlannedUnit{u}, Effects: []reconciler.Effect{{Kind: s, Name: s, Field: s, Message: s}},
		Violations: []reconciler.Violation{v(reconciler.Deny), v(reconciler.Approve), v(reconciler.Warn)},
		Costs:      []reconciler.CostChange{{Team: s}}, Affected: []reconciler.Affected{{Service: s, Owner: s, Via: s, Tier: 1}},
		Approvals: []reconciler.Needed{{Team: s, Reason: s}, {Team: s, Reason: s, Units: []string{s}}, {Team: s, Reason: s, Given: true, By: s, Units: []string{s, s, s, s}}},
		Live:      []reconciler.Violation{v(reconciler.Deny)}, Past: []reconciler.PastDenial{{Request: s, Revision: s, Rule: s, Message: s}}, Notes: []string{s}}
}

// after is everywhere once the change is merged, with a unit that waits.
func after(s string) reconciler.Report {
	r := everywhere(s)
	r.Deployed = true
	waits := r.Units[0]
	waits.Outcome, waits.Took = reconciler.AwaitingApproval, time.Minute
	r.Units = append(r.Units, waits)
	return r
}

// No text of a report may be forgotten here: each of everywhere's is the given one.
func TestEverywhereIsEverywhere(t *testing.T) {
	const given = "given"
	ours := []string{"Base", "Head", "State", "Level", "Scope"} // Pave's own words
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; !slices.Contains(ours, name) {
					walk(path+"."+name, v.Field(i))
				}
			}
		case reflect.Slice:
			if v.Len() == 0 {
				t.Errorf("%s is empty", path)
			}
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		case reflect.String:
			if v.String() != given {
				t.Errorf("%s is %q", path, v.String())
			}
		}
	}
	r := everywhere(given)
	// Those that a real report leaves out in places.
	r.Approvals = r.Approvals[2:]
	for i := range r.Units {
		r.Units[i].Plan.Changes = r.Units[i].Plan.Changes[:1]
		r.Units[i].Plan.Changes[0].Action = given
	}
	walk("Report", reflect.ValueOf(r))
}

// A pre-approval is nothing against a change, and asks for nobody's eyes.
func TestPreapprovalStandsAgainstNothing(t *testing.T) {
	report := reconciler.Report{Number: 1, Base: base, Head: head, State: reconciler.CheckPassed, Headline: "nothing to do",
		Violations: []reconciler.Violation{{Level: reconciler.Preapprove, Rule: "acme.free", Kind: "request", Name: "lab-db",
			Message: "nothing depends on it", Position: reconciler.Position{File: "catalog/lab.cue", Line: 3}}}}
	if page := Markdown(report, web); strings.Contains(page, "nothing depends on it") || strings.Contains(page, "❌") {
		t.Errorf("got:\n%s", page)
	}
	if all := annotations(report); len(all) > 0 {
		t.Errorf("annotates: %v", all)
	}
}

func TestHostileTextIsInert(t *testing.T) {
	all := hostile()
	if len(all) < 200 {
		t.Fatalf("only %d texts", len(all))
	}
	for i, s := range all {
		var got string
		if !t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, fill := range []func(string) reconciler.Report{everywhere, after} {
				got = Markdown(fill(s), web)
				inspect(t, got)
				if shape, benign := skeleton(got), skeleton(Markdown(fill("benign"), web)); shape != benign {
					t.Errorf("the text changes the page from\n%s\nto\n%s", benign, shape)
				}
			}
			for _, a := range annotations(everywhere(s)) {
				unseen(t, a.GetTitle())
				unseen(t, a.GetMessage())
			}
			title := visible(s, maxDescription)
			unseen(t, title)
			if utf8.RuneCountInString(title) > maxDescription {
				t.Errorf("the title has %d characters", utf8.RuneCountInString(title))
			}
		}) {
			t.Fatalf("text %d is live: %.200q\n%.3000s", i, s, got)
		}
	}
	var b strings.Builder
	for _, s := range all[:200] {
		b.WriteString("- " + prose(s) + "\n")
	}
	golden(t, "hostile.md", b.String())
}

// A page of any size fits, and whatever is in it stays inert.
func TestMarkdownFits(t *testing.T) {
	for _, n := range []int{1, 10, 300, 2000} {
		if n > 300 && testing.Short() {
			t.Skipf("%d of everything take long: go test ./reconciler/github -run TestMarkdownFits", n)
		}
		for _, s := range []string{"benign", strings.Repeat("x", 2000), strings.Repeat("@a`|", 300), strings.Repeat("\u202e", 3000), strings.Repeat("`", 900), strings.Repeat("\U0001f600", 700)} {
			one := everywhere(s)
			r := one
			for i := range n {
				u := one.Units[0]
				u.Request += fmt.Sprint(i)
				u.Message += fmt.Sprint(i)
				r.Units = append(r.Units, u)
				for _, v := range one.Violations {
					v.Position.Line = i // they differ, or they would be one
					r.Violations, r.Live = append(r.Violations, v), append(r.Live, v)
				}
				r.Effects = append(r.Effects, one.Effects...)
				r.Costs = append(r.Costs, one.Costs...)
				r.Affected = append(r.Affected, one.Affected...)
				r.Approvals = append(r.Approvals, one.Approvals...)
				r.Past = append(r.Past, one.Past...)
				r.Notes = append(r.Notes, s)
				r.Governance = append(r.Governance, s)
			}
			got := Markdown(r, web)
			if len(got) > maxMarkdown {
				t.Errorf("%d times %.10q: %d bytes", n, s, len(got))
			}
			inspect(t, got)
		}
	}
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote)).Parser()

var (
	ourHTML  = regexp.MustCompile(`^(<details><summary>[A-Za-z0-9 ,:]+</summary>|</details>)\s*$`)
	liveText = regexp.MustCompile(`(?i)@\w|#\d|\bGH-\d|\bGHSA-|\w-\d|://|\bwww\.|[0-9a-f]{7}|:[\w+-]+:|&[a-z#]|\$`)
)

// inspect parses a page as GitHub does and fails where anything but ours is live.
func inspect(t testing.TB, page string) {
	t.Helper()
	source := []byte(page)
	opened, closed := 0, 0
	_ = ast.Walk(markdown.Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			if to := string(n.Destination); !strings.HasPrefix(to, web+"/blob/"+head+"/") && !strings.HasPrefix(to, web+"/commit/") || strings.Contains(to, "/../") {
				t.Errorf("a link to %s", to)
			}
		case *ast.HTMLBlock:
			line := string(n.Lines().Value(source))
			if !ourHTML.MatchString(line) {
				t.Errorf("HTML: %q", line)
			}
			opened, closed = opened+strings.Count(line, "<details>"), closed+strings.Count(line, "</details>")
		case *ast.CodeSpan:
			unseen(t, string(plainOf(n, source)))
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			unseen(t, string(n.Segment.Value(source)))
			if live := liveText.Find(n.Segment.Value(source)); live != nil {
				t.Errorf("live text %q in %q", live, n.Segment.Value(source))
			}
		case *ast.Image, *ast.AutoLink, *ast.RawHTML, *extast.TaskCheckBox, *extast.Strikethrough, *ast.CodeBlock, *ast.FencedCodeBlock, *ast.Blockquote, *ast.ThematicBreak, *extast.FootnoteLink:
			t.Errorf("a %s", n.Kind())
		}
		return ast.WalkContinue, nil
	})
	if opened != closed {
		t.Errorf("%d folds are opened, %d closed", opened, closed)
	}
}

func plainOf(n ast.Node, source []byte) []byte {
	var b bytes.Buffer
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if segment, ok := c.(*ast.Text); ok {
			b.Write(segment.Segment.Value(source))
		}
	}
	return b.Bytes()
}

// unseen fails for characters that a reader does not see.
func unseen(t testing.TB, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || r == utf8.RuneError) {
			t.Errorf("the character %U in %q", r, s)
			return
		}
	}
}

// skeleton is the structure of a page: its blocks, without what is in them.
func skeleton(page string) string {
	var b strings.Builder
	depth := 0
	_ = ast.Walk(markdown.Parse(text.NewReader([]byte(page))), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if n.Type() == ast.TypeInline {
			return ast.WalkSkipChildren, nil
		}
		if entering {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", depth), n.Kind())
			depth++
		} else {
			depth--
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func TestProse(t *testing.T) {
	for in, want := range map[string]string{
		"the team's budget is exceeded: ask (soon).": "the team's budget is exceeded: ask (soon).",
		"costs 1,250.50 of 200":                      "costs 1,250.50 of 200",
		"see platform.cue:3 and @acme":               "see `platform.cue:3` and `@acme`",
		"  a\n\tb  ":                                 "a b",
		"":                                           "",
		"1. one":                                     "`1.` one",
		"a\u202eb":                                   "`a\\u202eb`",
		"Größe überschritten – 100%":                 "Größe überschritten – 100%",
	} {
		if got := prose(in); got != want {
			t.Errorf("prose(%q) = %q, want %q", in, got, want)
		}
	}
}
