package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// governed judges by the governance of another revision: a change is judged by
// what was in force before it, so that it cannot allow itself.
type governed struct {
	rules Judge
	base  *Platform
}

// Judge judges the subject by what is in force.
func (g governed) Judge(ctx context.Context, s Subject) ([]Violation, error) {
	return g.rules.Judge(ctx, g.govern(s))
}

// govern puts what is in force in place of what the change may have brought. A
// thing that the change adds is as it says; adding it is a change of governance.
func (g governed) govern(s Subject) Subject {
	s.Settings = g.base.Settings.JSON
	named := g.names(s)
	if team, found := g.base.Teams[named.Owner]; found {
		s.Team = team.JSON
		if s.Cost != nil {
			cost := *s.Cost
			cost.Team.Budget = team.Budget
			s.Cost = &cost
		}
	}
	if environment, found := g.base.Environments[named.Environment]; found {
		s.Environment = environment.JSON
	}
	if blueprint, found := g.base.Blueprints[named.Blueprint]; found && s.Kind == "request" {
		s.Blueprint = blueprint.JSON
	}
	return s
}

// names are those by which a subject's documents speak of others.
type names struct {
	Owner       string `json:"owner"`
	Environment string `json:"environment"`
	Blueprint   string `json:"blueprint"`
}

// names reads them. Nearly all documents say what they say in the base, which was
// read already.
func (g governed) names(s Subject) (n names) {
	service, request := g.base.Service(s.Name), g.base.Request(s.Name)
	if s.Kind == "request" {
		service = g.base.Service(request.Service)
	}
	if bytes.Equal(service.JSON, s.Service) {
		n.Owner = service.Owner
	} else {
		_ = json.Unmarshal(s.Service, &n)
	}
	switch {
	case s.Kind != "request":
	case bytes.Equal(request.JSON, s.Document):
		n.Environment, n.Blueprint = request.Environment, request.Blueprint
	default:
		_ = json.Unmarshal(s.Document, &n)
	}
	return n
}

// Stands is as the rules in force say.
func (g governed) Stands(said, now time.Time) bool { return g.rules.Stands(said, now) }

// Bundle is that of the rules in force.
func (g governed) Bundle() json.RawMessage { return g.rules.Bundle() }

// governedRules compiles the rules of a change only to say what is wrong with
// them, and has those in force judge.
type governedRules struct {
	own  Rules
	base *Checked
	// brought judges by the rules that the change brings; nil where they are
	// those in force.
	brought *Judge
	differs bool
}

func (g governedRules) Compile(ctx context.Context, tree *Tree, settings Settings) (Judge, []Violation) {
	var violations []Violation
	if g.differs {
		*g.brought, violations = g.own.Compile(ctx, tree, settings)
	}
	return governed{g.base.Judge, g.base.Platform}, violations
}

// Reader reads proposed changes, one after the other, in a process where nothing is
// lost if it dies. It keeps what it read of the revision in force and of the record,
// which one change after the other is compared with, and of a change nothing.
type Reader struct {
	*Reconciler
	aside func() Evaluator

	base     *Checked // the revision in force; nil before the first change
	against  string   // what it was read with
	recorded *Tree    // of the record
}

// NewReader returns a reader that has read nothing yet. aside returns an evaluator
// that knows what that of the options remembers, which learns nothing from it.
func NewReader(o Options, aside func() Evaluator) *Reader {
	o.Reviewed = true
	r := &Reader{Reconciler: New(o), aside: aside}
	r.record, r.recorded = NewRecord(), &Tree{}
	return r
}

// Propose reads and judges what a change would make of the platform. tree is what
// the tracked branch would be, revision tells its head.
func (r *Reader) Propose(ctx context.Context, change ProposedChange, tree *Tree, revision Revision) (*Proposal, error) {
	if err := r.compareWith(ctx, change); err != nil {
		return nil, err
	}
	if r.base.Refused() {
		return nil, fmt.Errorf("the revision in force, %s, is refused: %s", r.base.Revision.Short(), r.base.Violations[0])
	}
	return r.propose(ctx, change, r.base, tree, revision, r.aside())
}

// compareWith reads the record and the revision in force, as far as they are not
// what the last change was compared with.
func (r *Reader) compareWith(ctx context.Context, change ProposedChange) error {
	against := fmt.Sprintf("%q", append([]string{change.InForce, change.Status}, change.Unverified...))
	if r.against == against {
		return nil
	}
	r.against = ""
	record, recorded := NewRecord(), &Tree{}
	if change.Status != "" {
		var err error
		if recorded, err = r.Source.Tree(ctx, change.Status); err != nil { // which shares what it has in common with the last
			return err
		}
		if record, err = r.record.Reread(r.recorded, recorded, change.Status); err != nil {
			return err
		}
	}
	r.recorded = recorded
	r.compared(record, change)
	base, err := r.read(ctx, change.InForce, r.base)
	if err != nil {
		return err
	}
	base.LetGo()
	r.base, r.against = base, against
	return nil
}

// compared has the change be compared with the record.
func (r *Reconciler) compared(record *Record, change ProposedChange) {
	r.record, r.unverified = record, map[string]bool{}
	for _, name := range change.Unverified {
		r.unverified[name] = true
	}
	// Nothing is written to it.
	r.journal = &journal{record: record, trust: r.Trust, base: change.Status, remote: change.Status}
}

// propose compares a change with a base that is read already. The evaluator is what
// evaluates the change.
func (r *Reconciler) propose(ctx context.Context, change ProposedChange, base *Checked, tree *Tree, revision Revision, evaluator Evaluator) (*Proposal, error) {
	r.engine = change.Engine
	changed := ChangedPaths(base.Tree, tree)
	var brought Judge
	parts := r.Parts
	parts.Evaluator = evaluator
	parts.Rules = governedRules{own: r.Rules, base: base, brought: &brought, differs: slices.ContainsFunc(changed, rules)}
	believed := r.record.without(r.unverified)
	head, err := Check(ctx, parts, tree, revision, believed, base)
	if err != nil {
		return nil, err
	}
	p := &Proposal{Report: Compare(base, head, changed)}
	p.Report.Head = change.Head
	if change.Base != "" {
		p.Report.Base = change.Base
	}
	if head.Refused() {
		return p, nil
	}
	r.checked = head
	differs := r.differences(base, head)
	if p.Report.Units, p.Jobs, err = r.plannable(ctx, differs); err != nil {
		return nil, err
	}
	p.predict(base, head)
	p.expiring(r.record)
	if brought != nil {
		if err := p.replay(ctx, r, head, brought); err != nil {
			return nil, err
		}
	}
	if StaleCodeowners(head.Platform, tree) {
		p.Report.Notes = append(p.Report.Notes, "CODEOWNERS is not what the catalog says: run `pave codeowners --write` and commit it")
	}
	p.Preapproved = preapproved(base.Platform, head)
	return p, nil
}

// recall reads the record that the change is compared with.
func (r *Reconciler) recall(ctx context.Context, change ProposedChange) error {
	record := NewRecord()
	if change.Status != "" {
		tree, err := RecordTree(ctx, r.Source, change.Status)
		if err != nil {
			return err
		}
		if record, err = ReadRecord(tree, change.Status); err != nil {
			return err
		}
	}
	r.compared(record, change)
	return nil
}

// rules tells whether a path can change what the rules say.
func rules(path string) bool {
	return strings.HasSuffix(path, ".rego") || strings.HasSuffix(path, ".cue") && !strings.Contains(path, "/")
}

// differences returns whether a unit differs between two revisions.
func (r *Reconciler) differences(base, head *Checked) func(string) bool {
	basisOf := func(c *Checked, name string) string {
		u, runs := c.Units[name]
		if !runs {
			return ""
		}
		is := ""
		if rendering, err := r.Runner.Render(*u); err == nil {
			is = basis(u.Module.Digest, rendering, r.engine, func(string) string { return "" })
		}
		if day := u.Request.Expires; day != "" {
			is += " " + day
		}
		if life := u.Request.TTL; life != 0 {
			is += fmt.Sprintf(" %d", life)
		}
		if u.Request.Suspend != nil {
			is += " suspended"
		}
		return is
	}
	return func(name string) bool {
		if base.holds["request/"+name].message != head.holds["request/"+name].message {
			return true
		}
		return !sameUnit(base.Units[name], head.Units[name]) && basisOf(base, name) != basisOf(head, name)
	}
}

// sameUnit tells whether all that a unit consists of says the same.
func sameUnit(a, b *Unit) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Module.Digest == b.Module.Digest && !differs(a.Request.Document, b.Request.Document) &&
		!differs(a.Service.Document, b.Service.Document) && !differs(a.Environment.Document, b.Environment.Document) &&
		!differs(a.Blueprint.Document, b.Blueprint.Document)
}

// expiring warns of the end of the requests that the change touches.
func (p *Proposal) expiring(record *Record) {
	for _, u := range p.Report.Units {
		if recorded := record.Units[u.Request]; recorded.Exists() && recorded.Is(Expiring) && u.Action != "destroy" {
			p.Report.Notes = append(p.Report.Notes, fmt.Sprintf("%s was needed until the end of %s only, before this change", u.Request, recorded.Expires))
		}
	}
}

// predict says of each unit what happens to it, as far as that can be told
// without an engine.
func (p *Proposal) predict(base, head *Checked) {
	for i := range p.Report.Units {
		u := &p.Report.Units[i]
		if u.Message != "" {
			continue
		}
		before, was := base.Platform.Requests[u.Request]
		after, is := head.Platform.Requests[u.Request]
		switch {
		case u.Action == "destroy":
			u.Message = "is destroyed"
		case is && !was:
			u.Message = fmt.Sprintf("is created by the blueprint %s in %s", after.Blueprint, after.Environment)
		case is && was:
			u.Message = "changes"
			if names := changedInputs(before, after); len(names) > 0 {
				u.Message += " " + strings.Join(names, ", ")
			} else if base.Modules[before.Blueprint].Digest != head.Modules[after.Blueprint].Digest {
				u.Message = fmt.Sprintf("changes with the blueprint %s", after.Blueprint)
			}
		}
	}
}

func changedInputs(before, after *Request) []string {
	var names []string
	for _, field := range slices.Concat(before.Inputs, after.Inputs) {
		if string(canonical(before.Inputs.Of(field.Name))) != string(canonical(after.Inputs.Of(field.Name))) {
			names = append(names, "inputs."+field.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// mostReplayed bounds the status commits whose applies new rules are tried on.
const mostReplayed = 100

// replay tells what rules that the change brings would deny: of what runs now, and
// of what was applied before, as it is recorded.
func (p *Proposal) replay(ctx context.Context, r *Reconciler, head *Checked, brought Judge) error {
	now := &Checked{Revision: head.Revision, Tree: head.Tree, Platform: head.Platform, Modules: head.Modules, Judge: brought}
	if err := now.judge(ctx, r.record.without(r.unverified), &news{}); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, v := range head.Violations {
		known[v.String()] = true
	}
	for _, v := range onlyDenied(now.Violations) {
		if !known[v.String()] {
			p.Report.Live = append(p.Report.Live, v)
		}
	}
	p.Report.Live = SortViolations(p.Report.Live)
	history, err := r.history(ctx)
	if err != nil {
		return err
	}
	for _, recorded := range history {
		past, err := r.past(ctx, head, brought, recorded)
		if err != nil {
			return err
		}
		p.Report.Past = append(p.Report.Past, past...)
	}
	return nil
}

// history returns what the last status commits say was applied, the latest first.
func (r *Reconciler) history(ctx context.Context) ([]*UnitStatus, error) {
	if r.record.Tip == "" {
		return nil, nil
	}
	line, _, err := r.Source.Line(ctx, r.record.Tip, "", mostReplayed)
	if err != nil {
		return nil, err
	}
	var all []*UnitStatus
	seen := map[string]bool{}
	older := &Tree{}
	for _, commit := range slices.Backward(line) {
		tree, err := r.Source.Part(ctx, commit, "requests")
		if err != nil {
			return nil, err
		}
		for _, path := range ChangedPaths(older, tree) {
			f, found := tree.Find(path)
			if !found {
				continue
			}
			content, err := tree.Read(f)
			if err != nil {
				return nil, err
			}
			recorded := &UnitStatus{}
			if json.Unmarshal(content, recorded) != nil || recorded.check() != nil {
				continue // an older form; it says nothing that can be judged
			}
			if key := recorded.Request + " " + recorded.AppliedRevision; recorded.AppliedRevision != "" && !seen[key] {
				seen[key] = true
				all = append(all, recorded)
			}
		}
		older = tree
	}
	slices.Reverse(all)
	return all, nil
}

// past tries rules on a request as it was applied last.
func (r *Reconciler) past(ctx context.Context, head *Checked, brought Judge, recorded *UnitStatus) ([]PastDenial, error) {
	if !recorded.Exists() || recorded.AppliedRevision == "" || len(recorded.Document) == 0 {
		return nil, nil
	}
	var request Request
	if json.Unmarshal(recorded.Document, &request) != nil {
		return nil, nil
	}
	service, found := head.Platform.Services[request.Service]
	environment, runs := head.Platform.Environments[request.Environment]
	blueprint, offered := head.Platform.Blueprints[request.Blueprint]
	if !found || !runs || !offered {
		return nil, nil
	}
	violations, err := brought.Judge(ctx, Subject{
		Kind: "request", Name: recorded.Request, Document: recorded.Document, Change: Change{Action: "create"},
		Service: service.JSON, Team: head.Platform.Teams[service.Owner].JSON, Environment: environment.JSON, Blueprint: blueprint.JSON,
		Cost: &Cost{Monthly: request.Cost.Monthly}, Settings: head.Platform.Settings.JSON, Now: head.Revision.Time,
	})
	if err != nil {
		return nil, ctx.Err() // no verdict on the past holds nothing up
	}
	var all []PastDenial
	for _, v := range onlyDenied(violations) {
		all = append(all, PastDenial{Request: recorded.Request, Revision: recorded.AppliedRevision, Rule: v.Rule, Message: v.Message})
	}
	return all, nil
}

// preapproved tells whether the rules call every document that differs
// pre-approved.
func preapproved(base *Platform, head *Checked) bool {
	called := map[string]bool{}
	for _, v := range head.Violations {
		if v.Level == Preapprove {
			called[v.Kind+"/"+v.Name] = true
		}
	}
	changes, all := 0, true
	note := func(key string, before, after Document) {
		if differs(before, after) {
			changes++
			all = all && called[key]
		}
	}
	for name := range union(base.Services, head.Platform.Services) {
		note("service/"+name, base.Service(name).Document, head.Platform.Service(name).Document)
	}
	for name := range union(base.Requests, head.Platform.Requests) {
		note("request/"+name, base.Request(name).Document, head.Platform.Request(name).Document)
	}
	return changes > 0 && all
}
