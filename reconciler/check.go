package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
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
	// Violations are all of the revision, sorted; Stated are those of them that the
	// evaluator found.
	Violations, Stated []Violation
	// Complete tells whether every file was read. Where it was not, what is
	// missing must not be taken for deleted.
	Complete bool

	reviewed bool
	shared   shared
	asked    map[string]float64     // what requests cost, by owning team
	holds    map[string]hold        // by "request/name"
	asks     map[string][]Violation // approvals that rules ask for, by request

	// What was found of documents, and by what, is taken over by the next revision.
	sound    map[string]bool     // the blueprints with whose code nothing is wrong
	uses     map[string][]string // the requests whose outputs one uses, of those that use any
	refused  map[key]bool        // that were refused by themselves
	dangling map[key]bool        // whose references are wrong
	circling map[key]bool        // that refer to themselves in a circle
	judged   judged
	news     *news // until the revision is in force
}

// hold says why a document keeps its last applied state.
type hold struct {
	condition string // Valid or Allowed
	reason    string
	message   string
}

// Refused tells whether the whole revision must not come into force.
func (c *Checked) Refused() bool { return c.Platform == nil }

// LetGo forgets the earlier revision that this one was compared with, where nobody
// asks any more what changed since.
func (c *Checked) LetGo() { c.news = nil }

// Check reads a revision: everything up to the plan. record is what was
// applied before; an empty one means that every document is new. Where an earlier
// revision was checked by the same parts, what that found is taken over as far as it
// follows from what is the same; nil looks at everything. The error tells that no
// verdict was reached.
func Check(ctx context.Context, parts Parts, tree *Tree, revision Revision, record *Record, earlier *Checked) (*Checked, error) {
	c := &Checked{Revision: revision, Tree: tree, Modules: map[string]Module{}, sound: map[string]bool{}, Units: map[string]*Unit{}, holds: map[string]hold{}, reviewed: parts.Reviewed}
	platform, violations, err := parts.Evaluator.Evaluate(ctx, tree)
	if err != nil {
		return nil, err
	}
	c.Violations, c.Stated = violations, slices.Clone(violations)
	if platform == nil || c.refuses() {
		c.Violations = SortViolations(c.Violations)
		return c, nil
	}
	for _, name := range sortedNames(platform.Blueprints) {
		c.inspect(parts.Inspector, platform.Blueprints[name], earlier)
	}
	c.refused = c.broken()
	c.news = c.newsSince(earlier, platform)
	c.uses = usesOf(platform.Requests, c.news)
	c.Violations = append(c.Violations, c.references(platform, c.news)...)
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
	c.sumCosts(c.news)
	if err := c.judge(ctx, record, c.news); err != nil {
		return nil, err
	}
	c.warnOfTeams()
	c.locate(parts.Evaluator, platform)
	c.sort(earlier)
	return c, nil
}

// refuses tells whether a violation refuses the revision whole.
func (c *Checked) refuses() bool {
	return slices.ContainsFunc(c.Violations, func(v Violation) bool { return v.Level == Deny && v.Scope == ScopeRevision })
}

// broken returns the documents that were refused already.
func (c *Checked) broken() map[key]bool {
	broken := map[key]bool{}
	for _, v := range c.Violations {
		if v.Level == Deny && v.Name != "" {
			broken[key{v.Kind, v.Name}] = true
		}
	}
	return broken
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

// locate sorts the violations, each at the field that it speaks of where only
// the document's position was known.
func (c *Checked) locate(e Evaluator, platform *Platform) {
	for i, v := range c.Violations {
		var at Position
		switch v.Kind {
		case "team":
			at = platform.Teams[v.Name].Position
		case "service":
			at = platform.Service(v.Name).Position
		case "request":
			at = platform.Request(v.Name).Position
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

// sort divides the requests into units that may run and documents that hold. Units
// that an earlier revision had as they are stay the same ones, so that they are known
// to be without a look at them.
func (c *Checked) sort(earlier *Checked) {
	c.Complete, c.asks = true, map[string][]Violation{}
	blueprints := map[string]Violation{}
	for _, v := range c.Violations {
		switch v.Level {
		case Approve:
			c.askFor(v)
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
	if len(blueprints) > 0 {
		for name, r := range c.Platform.Requests {
			v, found := blueprints[r.Blueprint]
			if _, held := c.holds["request/"+name]; found && !held {
				c.holds["request/"+name] = hold{Valid, ReasonBlueprintInvalid,
					fmt.Sprintf("the blueprint %s has errors: %s", r.Blueprint, v)}
			}
		}
	}
	last := shared{}
	if earlier != nil {
		last = earlier.shared
	}
	c.shared = shared{pointers(c.Platform.Environments, last.environments), pointers(c.Platform.Blueprints, last.blueprints), pointers(c.Modules, last.modules)}
	units := maker{Checked: c, earlier: earlier}
	if !c.news.renewed() {
		c.Units = maps.Clone(earlier.Units)
		for name := range c.news.moved {
			units.make(name)
		}
		for name := range c.news.reread {
			units.make(name)
		}
		for key := range earlier.holds {
			units.makeOf(key)
		}
		for key := range c.holds {
			units.makeOf(key)
		}
		return
	}
	for name := range c.Platform.Requests {
		units.make(name)
	}
}

// inspect looks at the code of a blueprint. Where an earlier revision had the same, and
// nothing was wrong with it, there is nothing else to find.
func (c *Checked) inspect(inspector Inspector, b Blueprint, earlier *Checked) {
	if earlier != nil && earlier.sound[b.Name] && !earlier.Refused() && reflect.DeepEqual(b, earlier.Platform.Blueprints[b.Name]) &&
		slices.Equal(c.Tree.Under(b.Folder), earlier.Tree.Under(b.Folder)) {
		c.Modules[b.Name], c.sound[b.Name] = earlier.Modules[b.Name], true
		return
	}
	module, violations := inspector.Inspect(c.Tree, b)
	c.Modules[b.Name], c.sound[b.Name] = module, len(violations) == 0
	c.Violations = append(c.Violations, violations...)
}

// shared is what units refer to, held once.
type shared struct {
	environments map[string]*Environment
	blueprints   map[string]*Blueprint
	modules      map[string]*Module
}

// pointers returns a pointer to each of all: that of an earlier revision, where it was
// the same then.
func pointers[T any](all map[string]T, earlier map[string]*T) map[string]*T {
	pointers := make(map[string]*T, len(all))
	for name, v := range all {
		if old := earlier[name]; old != nil && reflect.DeepEqual(*old, v) {
			pointers[name] = old
		} else {
			pointers[name] = &v
		}
	}
	return pointers
}

// named returns what has a name; where nothing has, one that says nothing.
func named[T any](all map[string]*T, name string) *T {
	if v := all[name]; v != nil {
		return v
	}
	return new(T)
}

// maker makes the units of a revision.
type maker struct {
	*Checked
	earlier *Checked // nil where there is none
	held    Shelf[Unit]
}

// makeOf makes the unit of a document that holds or held, where it is a request.
func (c *maker) makeOf(key string) {
	if name, is := strings.CutPrefix(key, "request/"); is {
		c.make(name)
	}
}

// make makes the unit of a request, unless that holds or is none.
func (c *maker) make(name string) {
	r, asked := c.Platform.Requests[name]
	if _, held := c.holds["request/"+name]; held || !asked {
		delete(c.Units, name)
		return
	}
	u := Unit{r, c.Platform.Service(r.Service), named(c.shared.environments, r.Environment), named(c.shared.blueprints, r.Blueprint), named(c.shared.modules, r.Blueprint)}
	if c.earlier != nil {
		if old := c.earlier.Units[name]; old != nil && *old == u {
			c.Units[name] = old
			return
		}
	}
	c.Units[name] = c.held.HoldOne(u)
}

// askFor notes the requests that a rule wants an approval for.
func (c *Checked) askFor(v Violation) {
	if v.Kind == "request" {
		if _, asked := c.Platform.Requests[v.Name]; asked {
			c.asks[v.Name] = append(c.asks[v.Name], v)
		}
		return
	}
	for name, r := range c.Platform.Requests {
		if v.Kind == "service" && v.Name == r.Service || v.Kind == "blueprint" && v.Name == r.Blueprint {
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
	if !IsName(v.Name) {
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
