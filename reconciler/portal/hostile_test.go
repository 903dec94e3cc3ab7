package portal

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
)

// hostileParts are what texts are made of that try to be more than text. Markup in
// them has an element or an attribute that no page has.
var hostileParts = [][]string{
	{ // ways out of what is around
		``, `"`, `'`, "`", `">`, `'>`, `>`, `" `, `</title>`, `</textarea>`, `</script>`, `</style>`, `</td></tr></table>`, `</p></section></main>`, `</a>`, `</option></select>`, `</svg>`, `-->`, `]]>`, `*/`, `\"`, `\`,
	},
	{ // elements
		`<script>evil()</script>`, `<script src=//evil.example/x.js></script>`, `<ScRiPt >evil()</sCrIpT>`, `<img src=x onerror=evil()>`, `<svg onload=evil()>`, `<svg/onload=evil()><script href="data:,evil()"/></svg>`,
		`<iframe srcdoc="<script>evil()</script>"></iframe>`, `<a evil href="javascript:evil()">a</a>`, `<math><mtext><table><mglyph><style><img src=x onerror=evil()></style></mglyph></table></mtext></math>`, `<style>@import "//evil.example";</style>`,
		`<base href="//evil.example/">`, `<meta http-equiv=refresh content="0;url=//evil.example">`, `<form evil action="//evil.example"><input evil name=csrf></form>`, `<link evil rel=stylesheet href=//evil.example>`, `<button formaction=javascript:evil()>b</button>`,
		`<details open ontoggle=evil()>d</details>`, `<template><script>evil()</script></template>`, `<object data=//evil.example></object>`, `<embed src=//evil.example>`, `<noscript><p title="</noscript><img src=x onerror=evil()>"></noscript>`,
		`<video><source onerror=evil()></video>`, `<body onload=evil()>`, `<p style="position:fixed">p</p>`, `<b>b</b>`, `<!-- evil`, `<!--><img src=x onerror=evil()>`, `<![CDATA[evil]]>`, `<?xml evil?>`, `<!DOCTYPE evil>`, `<`, `<evil`, `</evil>`,
	},
	{ // attributes
		` onmouseover=evil() `, `" onmouseover="evil()`, `' onfocus='evil()' autofocus='`, ` style=background:url(//evil.example) `, `"autofocus onfocus=evil() x="`, `"/onclick=evil()/`, `x=y srcdoc=z`,
	},
	{ // addresses
		`javascript:evil()`, `JaVaScRiPt:evil()`, "java\tscript:evil()", " javascript:evil()", "\x01javascript:evil()", `javascript&colon;evil()`, `&#106;avascript:evil()`, `%6aavascript:evil()`, `data:text/html,<script>evil()</script>`,
		`data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ZXZpbCgpPg==`, `vbscript:evil()`, `file:///etc/passwd`, `blob:evil`, `//evil.example`, `\\evil.example`, `/\evil.example`, `https:evil.example`, `https://acme.example@evil.example`, `../../../etc/passwd`, `..%2f..%2fetc%2fpasswd`, `?next=//evil.example`, `#"><b>`, `/at/../`,
	},
	{ // what other languages compute
		`{{.CSRF}}`, `{{template "csrf" .}}`, `{{`, `${evil()}`, "`${evil()}`", `<%= evil() %>`, `#{evil()}`, `\(evil)`, `\u0022`, `%{ if evil }x%{ endif }`, `$(evil)`, "`evil`", `=HYPERLINK("//evil.example")`, `+1`, `-1`, `@evil`, `%22%3E%3Cscript%3E`, `%`, `%s%n`, `*`, `\`,
	},
	{ // entities
		`&lt;script&gt;evil()&lt;/script&gt;`, `&#60;script&#62;`, `&#x3c;img src=x onerror=evil()&#x3e;`, `&amp;lt;b&amp;gt;`, `&quot; onclick=evil() x=&quot;`, `&Tab;`, `&NewLine;`, `&`, `&lt`, `&#x202e;`, `&#0;`, `&zwj;`,
	},
	{ // Markdown
		`[a](javascript:evil())`, `[a](<javascript:evil()>)`, `[a](&#106;avascript:evil())`, `[a](//evil.example)`, `[a](data:text/html,evil "t\" onclick=evil()")`, `![a](data:image/svg+xml,<svg/onload=evil()>)`, `![a](x" onerror="evil())`, `[![a](x)](javascript:evil())`,
		`<javascript:evil()>`, `<https://evil.example/"onclick=evil()>`, `<a@evil.example>`, "\n[a]: javascript:evil()\n\n[a]", "\n\n```html\n<script>evil()</script>\n```\n", "\n\n|a|b|\n|-|-|\n|<img src=x onerror=evil()>|[a](vbscript:evil())|\n", "\n\n# h {onclick=evil()}\n", "\n\n<div onclick=evil()>\n*a*\n</div>\n\n", "*", "**_`", "~~", "\n> ", "\n1. ", "\n---\n", "\n    ",
	},
	{ // what is not seen, or turns what is
		"\u202e", "\u202d", "\u2066", "\u2069", "\u200b", "\u200d", "\ufeff", "\u2028", "\u2029", "\u0085", "\u061c", "\u00a0", "\x00", "\x07", "\x08", "\x1b[31m", "\x1b]8;;//evil.example\x07", "\x7f", "\x9b",
	},
	{ // ends of lines
		"\n", "\r\n", "\r", "\t", "\r\nSet-Cookie: evil=1", "\r\n\r\n<script>evil()</script>", "\n\nApproved-By: evil", "\n\nUnit: evil applied +1 ~0 -0",
	},
	{ // what is no UTF-8
		"\xff", "\xc3(", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xbcscript\xc0\xbe", "\xe2\x80", "\xf0\x9f",
	},
	{ // a lot
		strings.Repeat("a", 1000), strings.Repeat("<b>", 100), strings.Repeat("[", 200), strings.Repeat("> ", 100), strings.Repeat("*a ", 100), strings.Repeat("\u0301", 300), strings.Repeat("\n", 200), strings.Repeat("&", 300),
	},
}

// hostiles returns so many texts, no two the same. Each part stands in one alone at the
// beginning, where it may matter, before the rest mix them.
func hostiles(r *rand.Rand, n int) []string {
	var all []string
	number := func(text string) { all = append(all, fmt.Sprintf("%s№%d", text, len(all))) }
	for _, kind := range hostileParts {
		for _, part := range kind {
			number(part)
		}
	}
	for len(all) < n {
		var b strings.Builder
		for range 2 + r.IntN(3) {
			kind := hostileParts[r.IntN(len(hostileParts))]
			b.WriteString(kind[r.IntN(len(kind))])
		}
		number(b.String())
	}
	return all[:n]
}

// hostilePage is a page with what it must say.
type hostilePage struct {
	path string
	says []string
}

// hostileDocument is one text in every field of one document of each kind, and the
// pages of those.
type hostileDocument struct {
	testing.TB
	text  string
	n     int
	pages []*hostilePage
	files map[string]string
}

// page begins what is said on a page.
func (d *hostileDocument) page(path string) *hostilePage {
	p := &hostilePage{path: path}
	d.pages = append(d.pages, p)
	return p
}

// field is the text in a field that a page must show.
func (d *hostileDocument) field(on *hostilePage, name string) string {
	text := d.text + " ⟨" + name + "⟩"
	on.says = append(on.says, text)
	return text
}

func (d *hostileDocument) file(name, content string) string {
	d.files[name] = content
	return name
}

func (d *hostileDocument) json(v any) json.RawMessage {
	d.Helper()
	b, err := json.Marshal(v)
	must(d, err)
	return b
}

// fill puts the text into every field of a platform and its record.
func (d *hostileDocument) fill(p *reconciler.Platform, record *reconciler.Record) {
	x, name := d.text, url.PathEscape(d.text)
	place := func(on *hostilePage, field string) reconciler.Position {
		return reconciler.Position{File: d.field(on, field), Line: 3, Column: 1}
	}

	on := d.page("/teams/" + name)
	team := reconciler.Team{Name: x, Title: d.field(on, "title"), Lead: d.field(on, "lead"), Members: []string{d.field(on, "member")}, OnCall: d.field(on, "on call"), Channel: d.field(on, "channel")}
	team.Groups.Forge = d.field(on, "forge")
	team.Document = reconciler.Document{JSON: d.json(map[string]any{"description": d.field(on, "description")}), Position: place(on, "file")}
	p.Teams[x] = team

	on = d.page("/environments/" + name)
	p.Environments[x] = reconciler.Environment{Name: x, Stage: d.field(on, "stage"), Providers: map[string]json.RawMessage{d.field(on, "provider"): nil}, Backend: reconciler.Backend{Type: d.field(on, "backend")},
		Document: reconciler.Document{Position: place(on, "file"), JSON: d.json(map[string]any{"title": d.field(on, "title"),
			"freeze": []any{map[string]any{"from": d.field(on, "from"), "for": d.field(on, "for"), "timeZone": d.field(on, "zone"), "reason": d.field(on, "reason")}}})}}

	on = d.page("/blueprints/" + name)
	form := d.page("/blueprints/" + name + "/new?service=" + url.QueryEscape(x) + "&name=" + url.QueryEscape(x))
	label := func(kind string) reconciler.Field {
		help := d.field(on, kind+" help")
		form.says = append(form.says, help)
		return reconciler.Field{Label: d.field(form, kind+" label"), Group: d.field(form, kind+" group"), Help: help, Pattern: x, Min: x, Max: x, Reference: true}
	}
	text, choice, lines := label("text"), label("choice"), label("lines")
	text.Control, text.Default = reconciler.ControlText, d.json(d.field(form, "default"))
	choice.Control, choice.Choices = reconciler.ControlChoice, []json.RawMessage{d.json(d.field(form, "choice")), d.json("b")}
	lines.Control = reconciler.ControlLines
	p.Blueprints[x] = reconciler.Blueprint{Name: x, Title: d.field(on, "title"), Description: d.field(on, "description"), Folder: d.field(on, "folder"), Environments: []string{x}, Stateful: []string{d.field(on, "stateful")},
		Outputs:  map[string]reconciler.Output{d.field(on, "output"): {Type: d.field(on, "output type"), Description: d.field(on, "output description")}},
		Inputs:   map[string]reconciler.Input{d.field(on, "input"): {Type: d.field(on, "type"), Position: place(&hostilePage{}, "input file"), Field: text}, "choice": {Field: choice}, "lines": {Field: lines}},
		Document: reconciler.Document{JSON: d.json(map[string]any{}), Position: place(on, "file")}}

	d.service(p, record)
	d.request(p, record)
}

func (d *hostileDocument) service(p *reconciler.Platform, record *reconciler.Record) {
	x, name := d.text, url.PathEscape(d.text)
	on := d.page("/services/" + name)
	folder := fmt.Sprintf("docs/%d", d.n)
	d.file(folder+"/README.md", fmt.Sprintf("# %[1]s\n\n%[1]s\n\n- %[1]s\n\n> %[1]s\n\n`%[1]s` *%[1]s* [%[1]s](%[1]s) ![%[1]s](%[1]s) <%[1]s>\n\n|a|b|\n|-|-|\n|%[1]s|[a](<%[1]s>)|\n\n[b]: %[1]s\n", x))
	d.file(folder+"/"+x+".md", x)
	d.page("/services/" + name + "/docs/")
	d.page("/services/" + name + "/docs/" + name + ".md")
	api := d.file(fmt.Sprintf("apis/%d.json", d.n), string(d.json(map[string]any{"openapi": x, "info": map[string]string{"title": d.field(on, "API title"), "version": d.field(on, "API version"), "description": d.field(on, "API description")},
		"paths": map[string]any{"/" + d.field(on, "path"): map[string]any{"get": map[string]any{"summary": d.field(on, "summary"), "deprecated": true}, "put": map[string]any{"operationId": d.field(on, "operation")}}}})))
	wrong := d.file(fmt.Sprintf("apis/%d.txt", d.n), x)
	conditions := d.conditions(on)
	at := reconciler.Position{File: d.field(on, "file"), Line: 3}
	p.Services[x] = &reconciler.Service{Name: x, Title: d.field(on, "title"), Owner: x, Type: d.field(on, "type"), Lifecycle: d.field(on, "lifecycle"), Tier: 1, OnCall: d.field(on, "on call"), DependsOn: []string{x, x + x}, Aliases: []string{d.field(on, "alias")},
		Sunset: d.field(on, "sunset"), Successor: d.field(on, "successor"), Document: reconciler.Document{Position: at, JSON: d.json(map[string]any{
			"description": d.field(on, "description"), "system": d.field(on, "system"), "repository": d.field(on, "repository"), "language": d.field(on, "language"), "docs": folder, "tags": []string{d.field(on, "tag")},
			"links": []any{map[string]any{"type": d.field(on, "link type"), "title": d.field(on, "link title"), "url": x}},
			"apis": []any{map[string]any{"name": d.field(on, "API"), "type": d.field(on, "API type"), "definition": d.field(on, "definition")}, map[string]any{"name": x, "type": x, "definition": "http" + x},
				map[string]any{"name": x, "type": "openapi", "definition": api}, map[string]any{"name": x, "type": "openapi", "definition": wrong}},
			"slos": []any{map[string]any{"name": d.field(on, "SLO"), "objective": 99, "window": d.field(on, "window"), "description": d.field(on, "SLO description")}},
		})}}
	record.Services[x] = &reconciler.ServiceStatus{Service: x, Conditions: conditions}
}

func (d *hostileDocument) conditions(on *hostilePage) reconciler.Conditions {
	return reconciler.Conditions{{Type: d.field(on, "condition"), Reason: d.field(on, "reason"), Message: d.field(on, "message"), Since: d.text},
		{Type: reconciler.Ready, Reason: d.field(on, "state"), Message: d.field(on, "why"), Since: d.text}, {Type: reconciler.Expiring, Status: true, Since: d.text}, {Type: reconciler.Drifted, Status: true}}
}

func (d *hostileDocument) request(p *reconciler.Platform, record *reconciler.Record) {
	x, name := d.text, url.PathEscape(d.text)
	on, edit := d.page("/requests/"+name), d.page("/requests/"+name+"/edit")
	said := map[string]any{"description": d.field(on, "description"), "blueprint": x, "service": x, "environment": x, "inputs": map[string]any{x: x}}
	if !strings.ContainsAny(x, "\r\n") { // a field of one line shows it as it is
		edit.says = append(edit.says, said["description"].(string))
	}
	var settings []reconciler.Setting
	for _, field := range []string{"blueprint", "service", "environment", "description"} {
		settings = append(settings, reconciler.Setting{Path: []string{field}, Value: d.json(said[field])})
	}
	content, err := catalog.Writer{}.Create(x, settings)
	if err != nil { // such a name stands in no file
		content, edit.says = nil, nil
	}
	p.Requests[x] = &reconciler.Request{Name: x, Blueprint: x, Service: x, Environment: x, Expires: x, Inputs: reconciler.FieldsOf(map[string]json.RawMessage{d.field(on, "input"): d.json(d.field(on, "value"))}),
		Document: reconciler.Document{Digest: x, JSON: d.json(said), Position: reconciler.Position{File: d.file(fmt.Sprintf("requests/%d.cue", d.n), string(content)), Line: 3}}}
	d.field(on, "run")
	d.field(on, "log")
	changes := []reconciler.ChangedField{{Address: d.field(on, "address"), Action: d.field(on, "action"), Attributes: []string{d.field(on, "attribute")}, By: d.field(on, "by")}}
	record.Units[x] = &reconciler.UnitStatus{Request: x, Service: x, Owner: x, Blueprint: x, Environment: x, Conditions: d.conditions(on), AppliedRevision: x, Expires: x, Engine: d.field(on, "engine"), FirstApplied: x, LastApplied: x,
		Plan: &reconciler.PlanSummary{Changes: changes}, Drift: &reconciler.Drift{Plan: reconciler.PlanSummary{Changes: changes}}, Resources: []string{d.field(on, "resource")}, IDs: reconciler.FieldsOf(map[string]string{d.text + " ⟨resource⟩": d.field(on, "id")}),
		Outputs: reconciler.FieldsOf(map[string]json.RawMessage{d.field(on, "output"): d.json(d.field(on, "output value"))}), Sensitive: []string{d.field(on, "secret")}}
}

// asked are pages whose addresses hold the text.
func (d *hostileDocument) asked() {
	x := d.text
	q, name := url.QueryEscape(x), url.PathEscape(x)
	if len(x) < 150 && utf8.ValidString(x) {
		d.field(&hostilePage{}, "")
		d.page("/search?q=" + q).says = []string{x}
		d.page("/services?q=" + q + "&owner=" + q + "&type=" + q + "&lifecycle=" + q + "&tier=" + q + "&" + q + "=" + q + "&page=2").says = []string{x}
		d.page("/requests?q=" + q + "&owner=" + q + "&state=" + q + "&drift=" + q).says = []string{x}
	}
	d.page("/search?q=" + q + "&page=" + q)
	d.page("/audit?service=" + q + "&person=" + q + "&q=" + q + "&from=" + q + "&to=" + q).says = []string{x}
	d.page("/graph?service=" + q).says = []string{x}
	d.page("/graph?request=" + q).says = []string{x}
	for _, path := range []string{"/graph?service=none" + q, "/services/none" + name, "/requests/none" + name, "/source/" + name, "/source/none" + name, "/compare?from=" + q, "/compare/" + name + "...", "/at/" + name + "/teams", "/at/?day=" + q, "/" + name, "/login?token=" + q + "&next=" + q} {
		d.page(path)
	}
	d.page("/source/" + d.file(fmt.Sprintf("files/%d.txt", d.n), x))
	if utf8.ValidString(x) && !strings.Contains(x, "\x00") {
		d.pages[len(d.pages)-1].says = []string{x}
	}
}

// hostilePlatform is a snapshot of documents with hostile texts.
func hostilePlatform(documents []*hostileDocument) *Snapshot {
	p := &reconciler.Platform{Teams: map[string]reconciler.Team{}, Environments: map[string]reconciler.Environment{}, Blueprints: map[string]reconciler.Blueprint{}, Services: map[string]*reconciler.Service{}, Requests: map[string]*reconciler.Request{}}
	record := reconciler.NewRecord()
	s := &Snapshot{Revision: reconciler.Revision{Commit: "0123456789abcdef"}, Status: reconciler.Revision{Commit: "fedcba9876543210"}, Platform: p, Record: record, Tree: &reconciler.Tree{}}
	content := map[string]string{}
	for _, d := range documents {
		x := d.text
		d.files = content
		d.fill(p, record)
		d.asked()
		d.file(x, x)
		p.Settings.Title, p.Settings.Currency = x, x
		record.Platform.Orphans = append(record.Platform.Orphans, reconciler.Orphan{Request: x, Owner: x, Environment: x, At: x, Resources: []reconciler.RetainedResource{{Address: x, ID: x}}})
		record.Platform.Warnings = append(record.Platform.Warnings, x)
		wrong := reconciler.Violation{Level: reconciler.Deny, Kind: "service", Name: x, Message: x, Hint: x, Path: []string{x}, Position: reconciler.Position{File: x, Line: 3}, Rule: x, Team: x}
		s.Violations = append(s.Violations, wrong, reconciler.Violation{Level: reconciler.Level(x), Message: x})
		record.Platform.Refused = &reconciler.Refusal{Revision: x, Violations: []reconciler.Violation{wrong}}
		on := d.pages[slices.IndexFunc(d.pages, func(p *hostilePage) bool { return p.path == "/services/"+url.PathEscape(x) })]
		s.Changes = append(s.Changes, Change{Commit{ID: "0123456789abcdef", Subject: d.field(on, "subject")}, d.field(on, "author"), []string{p.Services[x].Position.File}})
		s.Log = append(s.Log, Commit{ID: "fedcba9876543210", Subject: x, Message: x + "\n\nRevision: " + x + "\nPull-Request: " + x + " by " + x + "\nApproved-By: " + x + "\nUnit: " + x + " " + x + "\nUnit: x applied blueprint=" + x + " plan=" + x + " reason=" + x + "\n"})
	}
	record.Platform.Revision = documents[0].text
	for name := range content {
		s.Tree.Files = append(s.Tree.Files, reconciler.File{Path: name, Size: int64(len(content[name]))})
	}
	slices.SortFunc(s.Tree.Files, func(a, b reconciler.File) int { return cmp.Compare(a.Path, b.Path) })
	s.Tree.Read = func(f reconciler.File) ([]byte, error) { return []byte(content[f.Path]), nil }
	return s
}

// hostileVerdict is what rules say that are made of the texts.
func hostileVerdict(documents []*hostileDocument) (v Verdict, says []string) {
	for _, d := range documents {
		on := &hostilePage{}
		at := reconciler.Position{File: d.text, Line: 3}
		v.Rules = append(v.Rules, Rule{ID: d.field(on, "rule"), Title: d.field(on, "title"), Description: d.field(on, "description"), Severity: d.field(on, "severity"), Level: d.field(on, "level"), Reason: d.field(on, "reason"), Position: at},
			Rule{ID: d.field(on, "builtin"), Builtin: true, Level: "deny", Position: at})
		v.Tests = append(v.Tests, RuleTest{Name: d.field(on, "test"), Position: at, Message: d.field(on, "test message")}, RuleTest{Name: d.text, Builtin: true, Passed: true})
		v.Violations = append(v.Violations, reconciler.Violation{Level: reconciler.Deny, Rule: d.text, Kind: d.text, Name: d.text, Message: d.text, Hint: d.text, Position: at, Team: d.text})
		says = append(says, on.says...)
	}
	return v, says
}

// echo is a proposer that says what it is told to.
type echo struct{ text atomic.Pointer[string] }

func (e *echo) Judge(_ context.Context, draft Draft) (Outlook, error) {
	x := *e.text.Load()
	if draft.Why == "submit" {
		return Outlook{}, nil
	}
	cost := 1.0
	return Outlook{Report: reconciler.Report{
		Violations: []reconciler.Violation{{Level: reconciler.Deny, Kind: x, Name: x, Message: x, Hint: x, Path: []string{x}, Position: reconciler.Position{File: x}, Rule: x}, {Level: reconciler.Deny, Kind: "request", Name: draft.Request, Path: []string{"description"}, Message: x}},
		Effects:    []reconciler.Effect{{Kind: x, Name: x, Field: x, Message: x}}, Approvals: []reconciler.Needed{{Team: x, Reason: x}}, Costs: []reconciler.CostChange{{Team: x, Budget: &cost}},
	}}, nil
}

func (e *echo) Propose(context.Context, Draft) (Proposal, error) {
	x := *e.text.Load()
	if len(x)%2 == 0 {
		return Proposal{}, errors.New(x)
	}
	return Proposal{Branch: x, URL: map[bool]string{true: "https://git.acme.example/" + x}[len(x)%3 == 0], Command: x}, nil
}

// shown is a text as a page may say it: as text, where what hides is spelled out, or
// in a field.
func shown(text string) (said, entered string) {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\ufffd"), "\ufffd")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return fewer(visible(text)), fewer(strings.ReplaceAll(text, "\r", "\n"))
}

// fewer makes one of several characters in a row that stand for what is no character:
// some stand for a byte and some for several.
func fewer(text string) string {
	for strings.Contains(text, "\ufffd\ufffd") {
		text = strings.ReplaceAll(text, "\ufffd\ufffd", "\ufffd")
	}
	return text
}

// expectTexts looks for texts on a page, line by line. The long ones may be cut.
func expectTexts(t testing.TB, path string, page *seenPage, says []string) (found int) {
	t.Helper()
	texts, values := fewer(page.texts.String()), fewer(page.values.String())
	for _, text := range says {
		if len(text) > 200 {
			continue
		}
		said, entered := shown(strings.TrimSpace(text))
		holds := func(all, text string) bool {
			for line := range strings.SplitSeq(text, "\n") {
				if !strings.Contains(all, strings.TrimSpace(line)) {
					return false
				}
			}
			return true
		}
		if !holds(texts, said) && !holds(values, entered) {
			t.Errorf("%.200q does not say %q", path, text)
			continue
		}
		found++
	}
	return found
}

// TestHostile brings a thousand texts that try to be more through every field that a
// person may write, and reads what browsers get.
func TestHostile(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	many := 1000
	if testing.Short() {
		many = 200
	}
	const together = 12 // documents in one platform
	texts := hostiles(rand.New(rand.NewPCG(seed, 6)), many)
	var found atomic.Int64
	for batch := range slices.Chunk(texts, together) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			found.Add(int64(hostileBatch(t, batch)))
		})
	}
	t.Cleanup(func() {
		if n := found.Load(); n < int64(75*many) {
			t.Errorf("only %d texts were looked for", n)
		}
	})
}

// hostileBatch shows one platform of many texts, and returns how many texts it found.
func hostileBatch(t *testing.T, texts []string) (found int) {
	var documents []*hostileDocument
	for i, text := range texts {
		documents = append(documents, &hostileDocument{TB: t, text: text, n: i})
	}
	snapshot := hostilePlatform(documents)
	verdict, says := hostileVerdict(documents)
	judgements := NewJudgements(func(context.Context, *Snapshot) (Verdict, error) { return verdict, nil })
	t.Cleanup(judgements.Close)
	now, proposer := "", &echo{}
	whole := true // of the lists and the first document
	handler := New(Options{Snapshots: beside{snapshot}, Rules: compiler, Judgements: judgements, Edits: &Edits{Writer: catalog.Writer{}, Proposer: proposer}, Edit: "https://git.acme.example/{path}?{line}",
		Runs: func(request string) (reconciler.RunLog, bool) {
			return reconciler.RunLog{Run: request + " ⟨run⟩", Revision: request, Lines: []reconciler.LogLine{{Text: request + " ⟨log⟩"}}}, true
		},
		Health: func() Health {
			return Health{Progress: reconciler.Progress{LastError: now}, Version: now, Forge: now, Confinement: now}
		},
		Anonymous: true, Direct: true, Log: slog.New(slog.DiscardHandler)})
	read := func(w *httptest.ResponseRecorder, path string, says []string) {
		t.Helper()
		checkHeaders(t, path, w)
		for name, values := range w.Header() {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n") {
				t.Errorf("%.300q: the header %s says %.300q", path, name, values)
			}
		}
		if to := w.Header().Get("Location"); to != "" && !inThePortal(to) {
			t.Errorf("%.300q leads to %.300q", path, to)
		}
		if len(says) > 0 && w.Code != http.StatusOK || w.Code == http.StatusInternalServerError || !utf8.Valid(w.Body.Bytes()) {
			t.Errorf("%.300q: got %d", path, w.Code)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && w.Code/100 != 3 {
			page := judgePage(t, path, w.Body.String())
			found += expectTexts(t, path, page, says)
			if whole {
				parsePage(t, path, w.Body.String(), page)
			}
		}
	}

	lists := []*hostilePage{{path: "/"}, {path: "/services"}, {path: "/services?page=2"}, {path: "/requests"}, {path: "/teams"}, {path: "/environments"}, {path: "/blueprints"}, {path: "/sunset"}, {path: "/audit"}, {path: "/graph"}, {path: "/source/"}, {path: "/compare"}, {path: "/compare/empty..."}, {path: "/compare/x...empty"}, {path: "/source/" + path.Dir("docs/0/README.md")}}
	for _, p := range lists {
		read(get(handler, p.path), p.path, nil)
	}
	rules := get(handler, "/policies")
	for !strings.Contains(rules.Body.String(), "Rules of the organisation") { // they are asked beside
		rules = get(handler, "/policies")
	}
	read(rules, "/policies", says)
	table := get(handler, "/audit?format=csv&rows=all")
	if rows, err := csv.NewReader(table.Body).ReadAll(); err != nil || len(rows) < 2 {
		t.Errorf("the table: %d rows, %v", len(rows), err)
	}

	for i, d := range documents {
		now, whole = d.text, i == 0
		proposer.text.Store(&d.text)
		for _, p := range d.pages {
			read(get(handler, p.path), p.path, p.says)
		}
		for _, kind := range []string{"teams", "environments", "blueprints", "services", "requests"} {
			p := hostilePage{path: "/" + kind + "/" + url.PathEscape(d.text)}
			w := get(handler, p.path+"?format=json")
			if !json.Valid(w.Body.Bytes()) || strings.ContainsAny(w.Body.String(), "<>") || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%.300q as JSON: got %d %.300q", p.path, w.Code, w.Body)
			}
		}
		read(get(handler, "/health"), "/health", []string{d.text})
		d.send(handler, read)
	}
	return found
}

// send signs in as somebody of that name, and sends the text in every field of both
// forms.
func (d *hostileDocument) send(handler http.Handler, read func(w *httptest.ResponseRecorder, path string, says []string)) {
	d.Helper()
	p := handler.(*portal)
	x, name := d.text, url.PathEscape(d.text)
	b := newBrowser(d, handler)
	cookie := p.cookieName(&http.Request{Host: "localhost:8080"}, sessionCookie)
	session := p.sessions.begin(Identity{ID: x, Name: x, Email: x, Handle: x, Groups: []string{x}, Operator: true})
	b.cookies[cookie] = &http.Cookie{Name: cookie, Value: session}
	csrf := p.sessions.find(session).csrf
	read(b.get("/me"), "/me", []string{x})
	entered := url.Values{"csrf": {csrf}, "name": {x}, "service": {x}, "environment": {x}, "description": {x}, "expires": {x}, "why": {x}, "do": {"submit"}, "input.lines": {x}, "input.choice": {x}, "ref.input.choice": {x}, "protect": {x}, "suspend": {x}, "retire": {""}, "digest": {x}}
	ask, edit := "/blueprints/"+name+"/new", "/requests/"+name+"/edit"
	says := []string{x}
	if !utf8.ValidString(x) || strings.TrimSpace(x) != x {
		says = nil // it is refused for that
	}
	read(b.ask(http.MethodPost, ask, entered, nil), ask, says)
	if file := d.files[fmt.Sprintf("requests/%d.cue", d.n)]; file == "" || strings.ContainsAny(x, "\r\n") {
		says = nil // no form changes that, or it is said as data
	}
	read(b.ask(http.MethodPost, edit, entered, nil), edit, says)
	for field, value := range map[string]string{"name": "fine", "environment": string(jsonText(x)), "input.choice": "", "ref.input.choice": "", "expires": "", "why": "check", "protect": ""} {
		entered.Set(field, value)
	}
	read(b.ask(http.MethodPost, ask, entered, nil), ask+" check", nil)
	entered.Set("why", "submit")
	read(b.ask(http.MethodPost, ask, entered, nil), ask+" submit", nil)
}
