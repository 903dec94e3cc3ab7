package github

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// maxMarkdown keeps clear of the 65,535 characters that comments and summaries
// may have, in bytes.
const maxMarkdown = 60_000

// detail is how much a rendering shows. Where it would be too long, the next one
// shows less; nothing is ever cut off in the middle.
type detail struct {
	lines      int // of a list
	resources  int // of a unit
	attributes int // of a resource
	text       int // characters of one text
}

var details = []detail{
	{lines: 1000, resources: 20, attributes: 20, text: maxProse},
	{lines: 400, resources: 6, attributes: 6, text: 300},
	{lines: 200, resources: 3, attributes: 3, text: 160},
	{lines: 60, resources: 2, attributes: 2, text: 120},
	{lines: 20, resources: 1, attributes: 1, text: 80},
	{lines: 3, resources: 1, attributes: 1, text: 40},
}

// openLines is how many lines of a list are shown unfolded.
const openLines = 10

func (f *Forge) render(report reconciler.Report) string { return Markdown(report, f.web) }

// Markdown renders a report for a forge whose repository has its pages at web.
// Nothing in it that Pave did not write is live.
func Markdown(report reconciler.Report, web string) string {
	var text string
	violations, denied := sorted(report.AllViolations()), sorted(slices.Clone(report.Live))
	for _, d := range details {
		p := page{detail: d, web: web, report: report, violations: violations, denied: denied}
		if text = p.render(); len(text) <= maxMarkdown {
			break
		}
	}
	return text
}

// page is one rendering.
type page struct {
	detail
	b          strings.Builder
	web        string
	report     reconciler.Report
	violations []reconciler.Violation // all of the change, sorted
	denied     []reconciler.Violation // those of what runs, sorted
}

func (p *page) render() string {
	p.headline()
	p.governance()
	p.units()
	p.effects()
	p.policy()
	p.live()
	p.past()
	p.costs()
	p.affected()
	p.approvals()
	p.notes()
	p.warnings()
	return strings.TrimSpace(p.b.String()) + "\n"
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *page) prose(text string) string { return proseOf(text, p.text) }
func (p *page) code(text string) string  { return codeSpan(visible(text, p.text)) }

func (p *page) headline() {
	icons := map[reconciler.CheckState]string{reconciler.CheckPassed: "✅", reconciler.CheckFailed: "❌",
		reconciler.CheckWaiting: "✋", reconciler.CheckPending: "⏳"}
	p.printf("### %s %s\n", cmp.Or(icons[p.report.State], "❌"), cmp.Or(p.prose(p.report.Headline), "Pave"))
	if p.web != "" && commitPattern().MatchString(p.report.Head) && commitPattern().MatchString(p.report.Base) {
		if p.report.Deployed {
			p.printf("\nmerged as %s\n", p.commit(p.report.Head))
			return
		}
		p.printf("\n%s on top of %s\n", p.commit(p.report.Head), p.commit(p.report.Base))
	}
}

func (p *page) commit(sha string) string {
	return fmt.Sprintf("[`%s`](%s/commit/%s)", sha[:7], p.web, sha)
}

func (p *page) governance() {
	if len(p.report.Governance) == 0 {
		return
	}
	p.printf("\n#### ⚠️ This changes what others are judged by\n\n")
	list(p, "files", p.report.Governance, func(file string) string { return p.place(reconciler.Position{File: file}) })
}

// place is a link to where something stands, as it is at the head.
func (p *page) place(at reconciler.Position) string {
	text := reconciler.Position{File: at.File, Line: at.Line}.String()
	if text == "" {
		return ""
	}
	if p.web == "" || !linkable(at.File) || !commitPattern().MatchString(p.report.Head) {
		return p.code(text)
	}
	fragment := ""
	if at.Line > 0 {
		fragment = fmt.Sprintf("#L%d", at.Line)
	}
	return fmt.Sprintf("[%s](%s/blob/%s/%s%s)", p.code(text), p.web, p.report.Head, escapePath(at.File), fragment)
}

// list writes a line for each item, folded where there are many. Only those that
// are shown are made: somebody may have written a hundred thousand.
func list[T any](p *page, what string, items []T, line func(T) string) {
	shown := items[:min(len(items), p.lines)]
	open := shown
	if len(items) > openLines {
		open = shown[:min(3, len(shown))]
	}
	bullets(p, open, line)
	if folded := shown[len(open):]; len(folded) > 0 {
		p.printf("\n<details><summary>%d more %s</summary>\n\n", len(items)-len(open), what)
		bullets(p, folded, line)
		p.omitted(len(items)-len(shown), what)
		p.printf("\n</details>\n")
		return
	}
	p.omitted(len(items)-len(shown), what)
}

func bullets[T any](p *page, items []T, line func(T) string) {
	for _, item := range items {
		if p.full() {
			return
		}
		p.printf("- %s\n", line(item))
	}
}

// full tells that this rendering is too long already: the next one counts.
func (p *page) full() bool { return p.b.Len() > maxMarkdown }

func (p *page) omitted(n int, what string) {
	if n > 0 {
		p.printf("\n%d more %s: `pave plan --base` shows all.\n", n, what)
	}
}

// units shows what happens to each unit, the gravest first. Units to which the
// same happens are one line.
func (p *page) units() {
	if len(p.report.Units) == 0 {
		return
	}
	title := "What happens"
	if p.report.Deployed {
		title = "What happened"
	}
	p.printf("\n#### %s\n\n", title)
	if len(p.report.Units) > 1 { // else its line says it all
		p.printf("%s\n\n", p.totals())
	}
	groups := p.groups()
	var single, same []group
	for _, g := range groups {
		if len(g.units) > 2 {
			same = append(same, g)
			continue
		}
		for _, u := range g.units {
			single = append(single, group{text: g.text, units: []reconciler.PlannedUnit{u}})
		}
	}
	for _, g := range same[:min(len(same), p.lines)] {
		p.printf("- **%s** %s\n", reconciler.Plural(len(g.units), "unit"), g.text)
	}
	p.omitted(len(same)-min(len(same), p.lines), "groups")
	list(p, "units", single, func(g group) string { return p.code(g.units[0].Request) + " " + g.text + p.plan(g.units[0]) })
	for _, g := range same[:min(len(same), p.lines)] {
		p.printf("\n<details><summary>The %d units: %s</summary>\n\n", len(g.units), g.verb)
		p.printf("%s\n", p.names(g.units))
		p.printf("\n</details>\n")
	}
}

func (p *page) names(units []reconciler.PlannedUnit) string {
	var names []string
	for _, u := range units[:min(len(units), p.lines)] {
		names = append(names, p.code(u.Request)+p.plan(u))
	}
	if n := len(units) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(names, ", ")
}

// shownDigest is how much of a plan's digest is shown, as in status commits.
const shownDigest = 12

// plan names the plan of a unit that an approval of it would name. Once the
// change is merged only those have one that still wait.
func (p *page) plan(u reconciler.PlannedUnit) string {
	digest := u.Plan.Digest
	if digest == "" || p.report.Deployed && u.Outcome != reconciler.AwaitingApproval {
		return ""
	}
	return " (plan " + p.code(digest[:min(shownDigest, len(digest))]) + ")"
}

// group is the units to which the same happens.
type group struct {
	rank  int
	verb  string
	text  string // Markdown
	units []reconciler.PlannedUnit
}

func (p *page) groups() []group {
	found := map[string]*group{}
	var order []*group
	for _, u := range p.report.Units {
		rank, verb := p.verb(u)
		text := p.happens(u, verb)
		g := found[text]
		if g == nil {
			g = &group{rank: rank, verb: verb, text: text}
			found[text] = g
			order = append(order, g)
		}
		g.units = append(g.units, u)
	}
	slices.SortStableFunc(order, func(a, b *group) int { return cmp.Compare(a.rank, b.rank) })
	groups := make([]group, len(order))
	for i, g := range order {
		groups[i] = *g
	}
	return groups
}

// verb is what happens to a unit in a word, and how grave it is: zero is the gravest.
func (p *page) verb(u reconciler.PlannedUnit) (int, string) {
	if p.report.Deployed {
		switch u.Outcome {
		case reconciler.Applied, reconciler.Unchanged:
			return 5, "applied"
		case reconciler.Destroyed:
			return 4, "destroyed"
		case "", reconciler.AwaitingApproval, reconciler.Interrupted:
			return 3, "waiting"
		}
		return 0, "failed"
	}
	_, replaced := replaces(u.Plan)
	switch {
	case slices.Contains(failures, u.Outcome):
		return 0, "no plan"
	case u.Action == "destroy":
		return 1, "destroy"
	case replaced > 0:
		return 1, "replace"
	case u.Plan.Destroy > 0:
		return 2, "change, destroying resources"
	case u.Action == "hold":
		return 3, "hold"
	case u.Action == "wait":
		return 4, "wait"
	case u.Plan.Change > 0:
		return 5, "change"
	case u.Plan.Add > 0:
		return 6, "create"
	case u.Action == "none":
		return 8, "nothing"
	}
	return 7, "apply"
}

// failures are the outcomes of a preview without a plan.
var failures = []reconciler.Outcome{reconciler.PlanFailed, reconciler.StateLost, reconciler.NotOwned, reconciler.Interrupted, reconciler.Unknown}

// replaces tells the counts of a plan apart: an engine counts what it replaces
// as created and as destroyed.
func replaces(plan reconciler.PlanSummary) (rest reconciler.PlanSummary, replaced int) {
	for _, c := range plan.Changes {
		if c.Action == "replace" {
			replaced++
		}
	}
	plan.Add, plan.Destroy = max(plan.Add-replaced, 0), max(plan.Destroy-replaced, 0)
	return plan, replaced
}

// happens describes what happens to a unit, without its name.
func (p *page) happens(u reconciler.PlannedUnit, verb string) string {
	text := "**" + verb + "**"
	if p.report.Deployed && u.Outcome == reconciler.AwaitingApproval {
		text += p.awaited(u.Request)
	}
	if counts := counted(u.Plan); counts != "" {
		text += " (" + counts + ")"
	}
	if u.Took > 0 {
		text += " in " + u.Took.Round(100*time.Millisecond).String()
	}
	if u.Reason != "" {
		text += " " + p.code(u.Reason)
	}
	message := ""
	if !p.stated(u) {
		message = p.prose(u.Message)
	}
	if why := strings.Join(filled(message, p.changes(u.Plan.Changes)), "; "); why != "" {
		text += ": " + why
	}
	return text
}

// stated tells whether what holds a unit is said further down anyway.
func (p *page) stated(u reconciler.PlannedUnit) bool {
	return u.Action == "hold" && slices.ContainsFunc(p.violations, func(v reconciler.Violation) bool {
		return v.Level == reconciler.Deny && v.Kind == "request" && v.Name == u.Request
	})
}

// awaited names the teams that a unit waits for.
func (p *page) awaited(unit string) string {
	var teams []string
	for _, n := range p.report.Approvals {
		if team := p.code(n.Team); !n.Given && (len(n.Units) == 0 || slices.Contains(n.Units, unit)) && !slices.Contains(teams, team) {
			teams = append(teams, team)
		}
	}
	if len(teams) == 0 {
		return ""
	}
	return " for " + strings.Join(teams, ", ")
}

func counted(plan reconciler.PlanSummary) string {
	return amounts(replaces(plan))
}

// amounts says how many resources meet which end; those that none meets are left out.
func amounts(rest reconciler.PlanSummary, replaced int) string {
	var parts []string
	for _, part := range []struct {
		n    int
		verb string
	}{{rest.Add, "create"}, {rest.Change, "change"}, {replaced, "replace"}, {rest.Destroy, "destroy"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", part.n, part.verb))
		}
	}
	return strings.Join(parts, ", ")
}

// changes names the resources of a plan and the attributes that change, what is
// lost first.
func (p *page) changes(changes []reconciler.ChangedField) string {
	rank := map[string]int{"delete": -4, "replace": -3, "update": -2, "create": -1}
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b reconciler.ChangedField) int { return cmp.Compare(rank[a.Action], rank[b.Action]) })
	var parts []string
	for _, c := range changes[:min(len(changes), p.resources)] {
		part := join(p.prose(c.Action), p.code(c.Address))
		if len(c.Attributes) > 0 && c.Action != "create" && c.Action != "delete" {
			part += " (" + p.some(c.Attributes, p.attributes) + ")"
		}
		parts = append(parts, part)
	}
	if n := len(changes) - len(parts); n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(parts, ", ")
}

// some lists the first names, and how many more there are.
func (p *page) some(names []string, most int) string {
	var parts []string
	for _, name := range names[:min(len(names), most)] {
		parts = append(parts, p.code(name))
	}
	if n := len(names) - len(parts); n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(parts, ", ")
}

// totals counts all units, and all resources.
func (p *page) totals() string {
	verbs, ranks, sum := map[string]int{}, map[string]int{}, reconciler.PlanSummary{}
	replaced := 0
	for _, u := range p.report.Units {
		rank, verb := p.verb(u)
		verbs[verb]++
		ranks[verb] = rank
		rest, n := replaces(u.Plan)
		sum.Add, sum.Change, sum.Destroy = sum.Add+rest.Add, sum.Change+rest.Change, sum.Destroy+rest.Destroy
		replaced += n
	}
	var parts []string
	for _, verb := range slices.SortedFunc(maps.Keys(verbs), func(a, b string) int { return cmp.Compare(ranks[a], ranks[b]) }) {
		parts = append(parts, fmt.Sprintf("%d %s", verbs[verb], verb))
	}
	text := fmt.Sprintf("**%s**: %s", reconciler.Plural(len(p.report.Units), "unit"), strings.Join(parts, ", "))
	if resources := amounts(sum, replaced); resources != "" {
		text += ". Resources: " + resources
	}
	return text + "."
}

func (p *page) effects() {
	if len(p.report.Effects) == 0 {
		return
	}
	p.printf("\n#### Changes that no plan shows\n\n")
	list(p, "effects", p.report.Effects, func(e reconciler.Effect) string {
		return join(p.prose(e.Kind), p.code(e.Name), p.code(e.Field)) + ": " + p.prose(e.Message)
	})
}

// sorted orders violations by how grave they are.
func sorted(all []reconciler.Violation) []reconciler.Violation {
	rank := map[reconciler.Level]int{reconciler.Approve: 1, reconciler.Warn: 2, reconciler.Preapprove: 3}
	all = reconciler.SortViolations(all)
	slices.SortStableFunc(all, func(a, b reconciler.Violation) int { return cmp.Compare(rank[a.Level], rank[b.Level]) })
	return all
}

func subject(v reconciler.Violation) string {
	return join(v.Kind, v.Name, strings.Join(v.Path, "."), v.Rule)
}

func (p *page) policy() {
	against := slices.DeleteFunc(slices.Clone(p.violations), func(v reconciler.Violation) bool { return !v.Level.Holds() })
	if len(against) == 0 {
		return
	}
	p.printf("\n#### What stands against it\n\n")
	list(p, "results", against, func(v reconciler.Violation) string {
		if v.Level == reconciler.Approve {
			return "✋ " + p.violation(v)
		}
		return "❌ " + p.violation(v)
	})
}

func (p *page) violation(v reconciler.Violation) string {
	where := join(p.place(v.Position), p.prose(v.Kind), p.code(v.Name), p.code(strings.Join(v.Path, ".")))
	text := p.prose(v.Message)
	if where != "" {
		text = where + ": " + text
	}
	if v.Rule != "" {
		text += " (" + p.code(v.Rule) + ")"
	}
	if v.Team != "" {
		text += "; " + p.code(v.Team) + " may approve"
	}
	if v.Hint != "" {
		text += " → " + p.prose(v.Hint)
	}
	return text
}

// live shows what runs and would be denied, though the change does not touch it.
func (p *page) live() {
	if len(p.report.Live) == 0 {
		return
	}
	p.printf("\n#### What these rules would deny of what runs now\n\n")
	list(p, "documents", p.denied, p.violation)
}

func (p *page) past() {
	if len(p.report.Past) == 0 {
		return
	}
	p.printf("\n#### Which past applies they would have denied\n\n")
	list(p, "applies", p.report.Past, p.pastDenial)
}

func (p *page) pastDenial(d reconciler.PastDenial) string {
	at := p.code(d.Revision)
	if p.web != "" && commitPattern().MatchString(d.Revision) {
		at = p.commit(d.Revision)
	}
	text := join(p.code(d.Request), at) + ": " + p.prose(d.Message)
	if d.Rule != "" {
		text += " (" + p.code(d.Rule) + ")"
	}
	return text
}

func (p *page) costs() {
	if len(p.report.Costs) == 0 {
		return
	}
	over := 0
	for _, c := range p.report.Costs {
		if c.Budget != nil && c.After > *c.Budget {
			over++
		}
	}
	p.printf("\n#### Cost a month\n")
	if over > 0 {
		p.printf("\n**%s over budget.**\n", reconciler.Plural(over, "team"))
	}
	table(p, "teams", "| team | before | after | difference | budget |\n|---|--:|--:|--:|--:|\n", p.report.Costs, func(c reconciler.CostChange) string {
		budget := "none"
		if c.Budget != nil {
			budget = fmt.Sprintf("%.2f", *c.Budget)
			if c.After > *c.Budget {
				budget = fmt.Sprintf("**%s, exceeded by %.2f**", budget, c.After-*c.Budget)
			}
		}
		return fmt.Sprintf("| %s | %.2f | %.2f | %+.2f | %s |", cell(p.code(c.Team)), c.Before, c.After, c.After-c.Before, budget)
	})
}

// table writes a row for each item, folded where there are many.
func table[T any](p *page, what, head string, items []T, row func(T) string) {
	shown := items[:min(len(items), p.lines)]
	fold := len(items) > openLines
	if fold {
		p.printf("\n<details><summary>%d %s</summary>\n", len(items), what)
	}
	p.printf("\n%s", head)
	for _, item := range shown {
		if p.full() {
			return
		}
		p.printf("%s\n", row(item))
	}
	p.omitted(len(items)-len(shown), what)
	if fold {
		p.printf("\n</details>\n")
	}
}

func (p *page) affected() {
	if len(p.report.Affected) == 0 {
		return
	}
	owners, tier, touched := map[string]bool{}, 0, 0
	for _, a := range p.report.Affected {
		owners[a.Owner] = true
		if a.Tier > 0 && (tier == 0 || a.Tier < tier) {
			tier = a.Tier
		}
		if a.Via == "" {
			touched++
		}
	}
	text := fmt.Sprintf("**%s** touched, %d depending on them, of %s", reconciler.Plural(touched, "service"), len(p.report.Affected)-touched, reconciler.Plural(len(owners), "team"))
	if tier > 0 {
		text += fmt.Sprintf(", the most critical of tier %d", tier)
	}
	p.printf("\n#### Blast radius\n\n%s.\n", text)
	table(p, "services", "| service | owner | tier | why |\n|---|---|--:|---|\n", p.report.Affected, func(a reconciler.Affected) string {
		why, grade := "touched", "–"
		if a.Via != "" {
			why = "depends on " + p.code(a.Via)
		}
		if a.Tier > 0 {
			grade = fmt.Sprint(a.Tier)
		}
		return fmt.Sprintf("| %s | %s | %s | %s |", cell(p.code(a.Service)), cell(p.code(a.Owner)), grade, cell(why))
	})
}

func (p *page) approvals() {
	if len(p.report.Approvals) == 0 {
		return
	}
	all := slices.SortedStableFunc(slices.Values(p.report.Approvals), func(a, b reconciler.Needed) int { return compareBool(a.Given, b.Given) })
	p.printf("\n#### Who must approve\n\n")
	list(p, "approvals", all, p.approval)
	p.concernedUnits(slices.DeleteFunc(all, func(n reconciler.Needed) bool { return len(n.Units) <= fewUnits }))
}

func (p *page) approval(n reconciler.Needed) string {
	line := "✋ " + join(p.code(n.Team), "must approve", p.concerned(n))
	switch {
	case n.Given && n.Insider && n.By == "":
		line = "✅ " + join(p.code(n.Team), "made the change of", p.concerned(n), "themselves")
	case n.Given:
		line = "✅ " + join(p.code(n.Team), "approved", p.concerned(n))
		if n.By != "" {
			line += ", by " + p.code(n.By)
		}
	}
	if n.Reason != "" {
		line += ": " + p.prose(n.Reason)
	}
	return line
}

// fewUnits are named in the line of an approval; more are counted there.
const fewUnits = 3

// concerned says what an approval is for.
func (p *page) concerned(n reconciler.Needed) string {
	switch {
	case len(n.Units) == 0:
		return "the whole change"
	case len(n.Units) > fewUnits:
		return reconciler.Plural(len(n.Units), "unit")
	}
	return p.some(n.Units, p.lines)
}

// concernedUnits names the units that are only counted before, folded.
func (p *page) concernedUnits(many []reconciler.Needed) {
	if len(many) == 0 {
		return
	}
	p.printf("\n<details><summary>Which units they approve</summary>\n\n")
	bullets(p, many[:min(len(many), p.lines)], func(n reconciler.Needed) string {
		who := p.code(n.Team)
		if n.Reason != "" {
			who += ", " + p.prose(n.Reason)
		}
		return who + ": " + p.some(n.Units, p.lines)
	})
	p.omitted(len(many)-min(len(many), p.lines), "approvals")
	p.printf("\n</details>\n")
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (p *page) notes() {
	if len(p.report.Notes) == 0 {
		return
	}
	p.printf("\n#### What this does not cover\n\n")
	list(p, "notes", p.report.Notes, p.prose)
}

func (p *page) warnings() {
	warnings := slices.DeleteFunc(slices.Clone(p.violations), func(v reconciler.Violation) bool { return v.Level != reconciler.Warn })
	if len(warnings) == 0 {
		return
	}
	p.printf("\n#### Warnings\n\n")
	list(p, "warnings", warnings, p.violation)
}

// join puts blanks between the parts that are not empty.
func join(parts ...string) string { return strings.Join(filled(parts...), " ") }

// filled leaves out what is empty.
func filled(parts ...string) []string {
	return slices.DeleteFunc(parts, func(part string) bool { return part == "" })
}
