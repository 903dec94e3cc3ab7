package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// judged is what the rules said of the documents of a revision, and what that
// followed from beside the documents and the governance.
type judged struct {
	said   findings
	spared map[key]bool // refused before the rules were asked
	unsure map[key]bool // of which they reached no verdict
	costs  map[string]TeamCost
	// unapplied are the requests that were recorded otherwise than they are, and
	// unrecorded the services that were not at all.
	unapplied  map[string]recorded
	unrecorded map[string]bool
}

// recorded is all that rules see of what was recorded of a request.
type recorded struct {
	exists   bool
	document json.RawMessage
	cost     float64
}

func (s *UnitStatus) recorded() recorded {
	if !s.Exists() {
		return recorded{}
	}
	return recorded{true, s.Document, s.Cost}
}

func (r recorded) same(other recorded) bool {
	return r.exists == other.exists && r.cost == other.cost && bytes.Equal(r.document, other.document)
}

// judge asks the rules about every blueprint, and about the services and requests
// of which they would be given anything else than before.
func (c *Checked) judge(ctx context.Context, record *Record, n *news) error {
	j := judged{said: findings{}, spared: c.broken(), unsure: map[key]bool{}, costs: c.teamCosts(record),
		unapplied: map[string]recorded{}, unrecorded: map[string]bool{}}
	if !n.everything() && !c.judgedLike(n.earlier) {
		n = &news{}
	}
	services, requests := j.todo(c, record, n)
	if !n.everything() {
		j.takeOver(n.earlier.judged, c.Platform, services, requests)
	}
	for _, name := range sortedNames(c.Platform.Blueprints) {
		b := c.Platform.Blueprints[name]
		if err := c.ask(ctx, &j, Subject{Kind: "blueprint", Name: name, Document: b.JSON, Blueprint: c.blueprintWithModule(name)}, b.Position); err != nil {
			return err
		}
	}
	for _, name := range services {
		if err := c.ask(ctx, &j, c.serviceSubject(name, record), c.Platform.Service(name).Position); err != nil {
			return err
		}
	}
	for _, name := range requests {
		if err := c.ask(ctx, &j, c.requestSubject(name, record, j.costs[c.owner(name)]), c.Platform.Request(name).Position); err != nil {
			return err
		}
	}
	c.judged = j
	c.Violations = slices.Concat(c.Violations, j.said.all("blueprint"), j.said.all("service"), j.said.all("request"))
	return nil
}

// judgedLike tells whether the rules say now what they said of an earlier revision,
// of what is the same.
func (c *Checked) judgedLike(earlier *Checked) bool {
	rules := c.Judge
	if g, is := rules.(governed); is && g.base == earlier.Platform { // whose governance is the same
		rules = g.rules
	}
	return rules == earlier.Judge && rules.Stands(earlier.Revision.Time, c.Revision.Time)
}

// todo returns the services and the requests to ask about, sorted.
func (j *judged) todo(c *Checked, record *Record, n *news) (services, requests []string) {
	var last judged
	again, owners := map[key]bool{}, map[string]bool{}
	if !n.everything() {
		last = n.earlier.judged
		again = maps.Clone(last.unsure)
		for _, k := range differing(last.spared, j.spared) {
			again[k] = true
		}
		for owner := range j.costs {
			owners[owner] = !sameTeamCost(j.costs[owner], last.costs[owner])
		}
		maps.DeleteFunc(owners, func(_ string, changed bool) bool { return !changed })
	}
	isNews := func(name string) bool { return n.services[name] }
	services = sortedWhere(c.Platform.Services, func(name string, s *Service) bool {
		unrecorded := record.Services[name] == nil
		if unrecorded {
			j.unrecorded[name] = true
		}
		return n.everything() || n.services[name] || slices.ContainsFunc(s.DependsOn, isNews) || unrecorded != last.unrecorded[name] || again[key{"service", name}]
	})
	requests = sortedWhere(c.Platform.Requests, func(name string, r *Request) bool {
		now := record.Units[name].recorded()
		before, differed := last.unapplied[name]
		differs := !now.same(recorded{true, r.JSON, r.Cost.Monthly})
		if differs {
			j.unapplied[name] = now
		}
		return n.everything() || n.moved[name] || differs != differed || differs && !now.same(before) || again[key{"request", name}] ||
			len(owners) > 0 && owners[c.Platform.Service(r.Service).Owner]
	})
	return services, requests
}

func sameTeamCost(a, b TeamCost) bool {
	return a.Before == b.Before && a.After == b.After && (a.Budget == nil) == (b.Budget == nil) && (a.Budget == nil || *a.Budget == *b.Budget)
}

// takeOver keeps what was said before of the documents that nobody asks about again.
func (j *judged) takeOver(last judged, p *Platform, services, requests []string) {
	for k, said := range last.said {
		var again, exists bool
		switch k.kind {
		case "service":
			_, again = slices.BinarySearch(services, k.name)
			_, exists = p.Services[k.name]
		case "request":
			_, again = slices.BinarySearch(requests, k.name)
			_, exists = p.Requests[k.name]
		}
		if exists && !again {
			j.said[k] = said
		}
	}
}

// ask asks the rules about a document, unless it was refused already.
func (c *Checked) ask(ctx context.Context, j *judged, subject Subject, at Position) error {
	k := key{subject.Kind, subject.Name}
	if j.spared[k] {
		return nil
	}
	subject.Settings, subject.Now, subject.Reviewed = c.Platform.Settings.JSON, c.Revision.Time, c.reviewed
	vs, err := c.Judge.Judge(ctx, subject)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // no verdict denies
		j.unsure[k] = true
		scope := ScopeDocument
		if subject.Kind == "blueprint" {
			scope = ScopeBlueprint
		}
		vs = []Violation{{Level: Deny, Scope: scope, Kind: subject.Kind, Name: subject.Name,
			Message: fmt.Sprintf("the rules reached no verdict: %v", err), Hint: "mend the rule; until then this is denied"}}
	}
	for i := range vs {
		if vs[i].Position.File == "" {
			vs[i].Position = at
		}
	}
	if len(vs) > 0 {
		j.said[k] = vs
	}
	return nil
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
	s := c.Platform.Service(name)
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
	return c.Platform.Service(c.Platform.Request(request).Service).Owner
}

func (c *Checked) requestSubject(name string, record *Record, cost TeamCost) Subject {
	r := c.Platform.Request(name)
	s := c.Platform.Service(r.Service)
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
	if isPlain(data) {
		return data
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

// isPlain tells whether JSON is a number, true, false or null, or a text of which
// nothing is ever written otherwise, as most values are.
func isPlain(data json.RawMessage) bool {
	last := len(data) - 1
	if last < 1 || data[0] != '"' || data[last] != '"' {
		return !bytes.ContainsAny(data, "\"[{ \t\r\n")
	}
	for _, c := range data[1:last] {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
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
func (c *Checked) sumCosts(n *news) {
	if !n.everything() && !n.costs() {
		c.asked = n.earlier.asked
		return
	}
	c.asked = map[string]float64{}
	for _, r := range c.Platform.Requests {
		c.asked[c.Platform.Service(r.Service).Owner] += r.Cost.Monthly
	}
}

// costs tells whether any team may be asked for another sum.
func (n *news) costs() bool {
	before, after := n.earlier.Platform, n.platform
	for name := range n.services {
		if before.Service(name).Owner != after.Service(name).Owner {
			return true
		}
	}
	for name := range n.requests {
		if a, b := before.Request(name), after.Request(name); a.Service != b.Service || a.Cost.Monthly != b.Cost.Monthly {
			return true
		}
	}
	return false
}
