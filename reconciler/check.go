package reconciler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Parts are the adapters that reading and judging a revision needs.
type Parts struct {
	Evaluator Evaluator
	Inspector Inspector
	Rules     Rules
	Calendar  Calendar
	// Reviewed tells that changes are reviewed on a forge.
	Reviewed bool
}

// Checked is one revision, read, evaluated and judged: what should be.
type Checked struct {
	Revision Revision
	Tree     *Tree
	// Platform is nil where the revision is refused whole.
	Platform *Platform
	Modules  map[string]Module
	Judge    Judge
	// Units are the requests that may run, by name.
	Units map[string]*Unit
	names []string // of the units, sorted
	// Violations are all of the revision, sorted.
	Violations []Violation
	// Complete tells whether every file was read. Where it was not, what is
	// missing must not be taken for deleted.
	Complete bool

	reviewed bool
	asked    map[string]float64     // what requests cost, by owning team
	holds    map[string]hold        // by "request/name"
	asks     map[string][]Violation // approvals that rules ask for, by request
}

// hold says why a document keeps its last applied state.
type hold struct {
	condition string // Valid or Allowed
	reason    string
	message   string
}

// Refused tells whether the whole revision must not come into force.
func (c *Checked) Refused() bool { return c.Platform == nil }

// Check reads a revision: everything up to the plan. record is what was
// applied before; an empty one means that every document is new. The error
// tells that no verdict was reached.
func Check(ctx context.Context, parts Parts, tree *Tree, revision Revision, record *Record) (*Checked, error) {
	c := &Checked{Revision: revision, Tree: tree, Modules: map[string]Module{}, Units: map[string]*Unit{}, holds: map[string]hold{}, reviewed: parts.Reviewed}
	platform, violations, err := parts.Evaluator.Evaluate(ctx, tree)
	if err != nil {
		return nil, err
	}
	c.Violations = violations
	if platform == nil || c.refuses() {
		c.Violations = SortViolations(c.Violations)
		return c, nil
	}
	for _, name := range sortedNames(platform.Blueprints) {
		module, vs := parts.Inspector.Inspect(tree, platform.Blueprints[name])
		c.Modules[name] = module
		c.Violations = append(c.Violations, vs...)
	}
	c.Violations = append(c.Violations, checkReferences(platform, c.Modules, c.broken())...)
	c.Violations = append(c.Violations, checkFreezes(platform, parts.Calendar, revision.Time)...)
	judge, vs := parts.Rules.Compile(ctx, tree, platform.Settings)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.Violations = append(c.Violations, vs...)
	if judge == nil || c.refuses() {
		c.locate(parts.Evaluator, platform)
		return c, nil
	}
	c.Platform, c.Judge = platform, judge
	c.sumCosts()
	if err := c.judge(ctx, record); err != nil {
		return nil, err
	}
	c.warnOfTeams()
	c.locate(parts.Evaluator, platform)
	c.sort()
	return c, nil
}

// refuses tells whether a violation refuses the revision whole.
func (c *Checked) refuses() bool {
	return slices.ContainsFunc(c.Violations, func(v Violation) bool { return v.Level == Deny && v.Scope == ScopeRevision })
}

// broken returns the documents that were refused already.
func (c *Checked) broken() map[string]bool {
	broken := map[string]bool{}
	for _, v := range c.Violations {
		if v.Level == Deny && v.Name != "" {
			broken[v.Kind+"/"+v.Name] = true
		}
	}
	return broken
}

// judge asks the rules about every blueprint, service and request.
func (c *Checked) judge(ctx context.Context, record *Record) error {
	broken := c.broken()
	costs := c.teamCosts(record)
	ask := func(subject Subject, at Position) error {
		if broken[subject.Kind+"/"+subject.Name] {
			return nil
		}
		subject.Settings, subject.Now, subject.Reviewed = c.Platform.Settings.JSON, c.Revision.Time, c.reviewed
		vs, err := c.Judge.Judge(ctx, subject)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // no verdict denies
			scope := ScopeDocument
			if subject.Kind == "blueprint" {
				scope = ScopeBlueprint
			}
			vs = []Violation{{Level: Deny, Scope: scope, Kind: subject.Kind, Name: subject.Name,
				Message: fmt.Sprintf("the rules reached no verdict: %v", err), Hint: "mend the rule; until then this is denied"}}
		}
		for _, v := range vs {
			if v.Position.File == "" {
				v.Position = at
			}
			c.Violations = append(c.Violations, v)
		}
		return nil
	}
	for _, name := range sortedNames(c.Platform.Blueprints) {
		b := c.Platform.Blueprints[name]
		if err := ask(Subject{Kind: "blueprint", Name: name, Document: b.JSON, Blueprint: c.blueprintWithModule(name)}, b.Position); err != nil {
			return err
		}
	}
	for _, name := range sortedNames(c.Platform.Services) {
		if err := ask(c.serviceSubject(name, record), c.Platform.Services[name].Position); err != nil {
			return err
		}
	}
	for _, name := range sortedNames(c.Platform.Requests) {
		if err := ask(c.requestSubject(name, record, costs[c.owner(name)]), c.Platform.Requests[name].Position); err != nil {
			return err
		}
	}
	return nil
}

// warnOfTeams warns of approvals that nobody can give, once for each rule.
func (c *Checked) warnOfTeams() {
	type asked struct{ rule, team string }
	warned := map[asked]bool{}
	for _, v := range c.Violations {
		if _, exists := c.Platform.Teams[v.Team]; v.Level != Approve || v.Team == "" || exists || warned[asked{v.Rule, v.Team}] {
			continue
		}
		warned[asked{v.Rule, v.Team}] = true
		v.Level, v.Team, v.Message = Warn, "", noTeam(v.Team, c.Platform.Teams)+", so nobody can approve"
		v.Hint = "declare the team, or correct the rule " + v.Rule
		c.Violations = append(c.Violations, v)
	}
}

// blueprintWithModule adds the facts of the code to the blueprint's document.
func (c *Checked) blueprintWithModule(name string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(c.Platform.Blueprints[name].JSON, &fields) != nil {
		return nil
	}
	if facts := c.Modules[name].Facts; facts != nil {
		fields["module"] = facts
	}
	doc, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return doc
}

func (c *Checked) serviceSubject(name string, record *Record) Subject {
	s := c.Platform.Services[name]
	subject := Subject{Kind: "service", Name: name, Document: s.JSON, Service: s.JSON, Team: c.Platform.Teams[s.Owner].JSON,
		Change: Change{Action: "create"}}
	if record.Services[name] != nil {
		subject.Change.Action = "none"
	}
	for _, dep := range s.DependsOn {
		if other, found := c.Platform.Services[dep]; found {
			subject.Dependencies = append(subject.Dependencies, other.JSON)
		}
	}
	return subject
}

// owner returns the team whose service a request is for.
func (c *Checked) owner(request string) string {
	return c.Platform.Services[c.Platform.Requests[request].Service].Owner
}

func (c *Checked) requestSubject(name string, record *Record, cost TeamCost) Subject {
	r := c.Platform.Requests[name]
	s := c.Platform.Services[r.Service]
	subject := Subject{
		Kind: "request", Name: name, Document: r.JSON, Service: s.JSON, Team: c.Platform.Teams[s.Owner].JSON,
		Environment: c.Platform.Environments[r.Environment].JSON, Blueprint: c.Platform.Blueprints[r.Blueprint].JSON,
		Change: Change{Action: "create"}, Cost: &Cost{Monthly: r.Cost.Monthly, Team: cost},
	}
	if old := record.Units[name]; old.Exists() {
		subject.Change = changeOf(old.Document, r.JSON)
		subject.Cost.Before = old.Cost
	}
	return subject
}

// changeOf compares two documents by their top-level fields.
func changeOf(before, after json.RawMessage) Change {
	if bytes.Equal(before, after) {
		return Change{Action: "none", Before: after} // which is kept in any case
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return Change{Action: "update", Before: before}
	}
	change := Change{Action: "none", Before: before}
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range sortedNames(names) {
		if !bytes.Equal(canonical(a[name]), canonical(b[name])) {
			change.Action = "update"
			change.Fields = append(change.Fields, name)
		}
	}
	return change
}

// canonical renders JSON in one way: sorted keys, no spaces.
func canonical(data json.RawMessage) []byte {
	if len(data) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return data
	}
	out, err := json.Marshal(v)
	if err != nil {
		return data
	}
	return out
}

// teamCosts sums what was applied and what is asked for, by owning team.
func (c *Checked) teamCosts(record *Record) map[string]TeamCost {
	before := map[string]float64{}
	for _, u := range record.Units {
		if u.Exists() {
			before[u.Owner] += u.Cost
		}
	}
	costs := map[string]TeamCost{}
	for _, owners := range []map[string]float64{before, c.asked} {
		for owner := range owners {
			costs[owner] = c.costOf(owner, before[owner])
		}
	}
	return costs
}

// teamCost sums what was applied and what is asked for, of one team.
func (c *Checked) teamCost(owner string, record *Record) TeamCost {
	before := 0.0
	for _, u := range record.Units {
		if u.Owner == owner && u.Exists() {
			before += u.Cost
		}
	}
	return c.costOf(owner, before)
}

func (c *Checked) costOf(owner string, before float64) TeamCost {
	return TeamCost{Before: cents(before), After: cents(c.asked[owner]), Budget: c.Platform.Teams[owner].Budget}
}

// sumCosts sums what is asked for, by owning team.
func (c *Checked) sumCosts() {
	c.asked = map[string]float64{}
	for _, r := range c.Platform.Requests {
		c.asked[c.Platform.Services[r.Service].Owner] += r.Cost.Monthly
	}
}

// locate sorts the violations, each at the field that it speaks of where only
// the document's position was known.
func (c *Checked) locate(e Evaluator, platform *Platform) {
	for i, v := range c.Violations {
		var at Position
		switch v.Kind {
		case "team":
			at = platform.Teams[v.Name].Position
		case "service":
			at = platform.Services[v.Name].Position
		case "request":
			at = platform.Requests[v.Name].Position
		case "blueprint":
			at = platform.Blueprints[v.Name].Position
		case "platform":
			at = Position{File: "platform.cue"}
			if v.Position.File == "" {
				v.Position, c.Violations[i].Position = at, at
			}
		}
		if at.File != "" && v.Position == at && len(v.Path) > 0 {
			c.Violations[i].Position = e.Locate(c.Tree, at, v.Kind, v.Name, v.Path)
		}
	}
	c.Violations = SortViolations(c.Violations)
}

// sort divides the requests into units that may run and documents that hold.
func (c *Checked) sort() {
	c.Complete, c.asks = true, map[string][]Violation{}
	blueprints := map[string]Violation{}
	for _, v := range c.Violations {
		switch v.Level {
		case Approve:
			c.ask(v)
			continue
		case Deny:
		default:
			continue
		}
		switch v.Scope {
		case ScopeFile:
			c.Complete = false
		case ScopeBlueprint:
			if _, found := blueprints[v.Name]; !found {
				blueprints[v.Name] = v
			}
		case ScopeDocument:
			c.hold(v)
		}
	}
	services, environments := pointers(c.Platform.Services), pointers(c.Platform.Environments)
	folders, modules := pointers(c.Platform.Blueprints), pointers(c.Modules)
	for name, r := range c.Platform.Requests {
		if v, found := blueprints[r.Blueprint]; found {
			if _, held := c.holds["request/"+name]; !held {
				c.holds["request/"+name] = hold{Valid, ReasonBlueprintInvalid,
					fmt.Sprintf("the blueprint %s has errors: %s", r.Blueprint, v)}
			}
		}
		if _, held := c.holds["request/"+name]; held {
			continue
		}
		c.Units[name] = &Unit{r, services(r.Service), environments(r.Environment), folders(r.Blueprint), modules(r.Blueprint)}
	}
	c.names = sortedNames(c.Units)
}

// pointers returns a function that returns the same pointer whenever it is asked for
// the same one of all; to nothing where there is none.
func pointers[T any](all map[string]T) func(name string) *T {
	known := map[string]*T{}
	return func(name string) *T {
		if known[name] == nil {
			v := all[name]
			known[name] = &v
		}
		return known[name]
	}
}

// unitNames returns the names of the units, sorted.
func (c *Checked) unitNames() []string {
	if len(c.names) != len(c.Units) {
		return sortedNames(c.Units)
	}
	return c.names
}

// ask notes the requests that a rule wants an approval for.
func (c *Checked) ask(v Violation) {
	for name, r := range c.Platform.Requests {
		if v.Kind == "request" && v.Name == name || v.Kind == "service" && v.Name == r.Service || v.Kind == "blueprint" && v.Name == r.Blueprint {
			c.asks[name] = append(c.asks[name], v)
		}
	}
}

// needs returns the approvals that rules ask for of one request. Where a rule
// names no team it is the owner's word.
func (c *Checked) needs(name string) []Needed {
	return neededBy(c.asks[name], name, c.owner(name))
}

// neededBy returns the approvals that the violations ask for.
func neededBy(violations []Violation, unit, owner string) []Needed {
	var needed []Needed
	for _, v := range violations {
		if v.Level == Approve {
			needed = append(needed, Needed{Team: cmp.Or(v.Team, owner), Reason: ruled(v), Units: []string{unit}})
		}
	}
	return merge(needed)
}

// ruled is what a rule says, and which.
func ruled(v Violation) string {
	if v.Rule == "" {
		return v.Message
	}
	return fmt.Sprintf("%s (%s)", v.Message, v.Rule)
}

// successor returns a request that was never applied and could not be
// evaluated; empty where there is none. It may rename another one, and nobody
// can tell which.
func (c *Checked) successor(record *Record) string {
	for _, key := range sortedNames(c.holds) {
		name, is := strings.CutPrefix(key, "request/")
		if _, evaluated := c.Platform.Requests[name]; is && !evaluated && !record.Units[name].Exists() {
			return name
		}
	}
	return ""
}

// hold notes why a document holds: the first violation, a denial before what
// asks for approval, and whether there are more. What no document can be called
// never ran, and its name must not become a path.
func (c *Checked) hold(v Violation) {
	if !namePattern.MatchString(v.Name) {
		return
	}
	key := v.Kind + "/" + v.Name
	h, found := c.holds[key]
	switch {
	case found:
		if n := strings.LastIndex(h.message, " (and more)"); n < 0 {
			h.message += " (and more)"
		}
	case v.Rule != "":
		h = hold{Allowed, ReasonDenied, v.String()}
	default:
		h = hold{Valid, ReasonInvalid, v.String()}
	}
	if found && !strings.HasSuffix(h.message, " (and more)") {
		h.message += " (and more)"
	}
	c.holds[key] = h
}
