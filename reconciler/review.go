package reconciler

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Compare reports what a change makes of the platform: everything a reviewer
// needs to know but the plans, which the caller adds to Units. base is the
// revision in force, head what the change makes of it, changed the paths that
// differ.
func Compare(base, head *Checked, changed []string) Report {
	r := Report{Base: base.Revision.Commit, Head: head.Revision.Commit, Violations: newViolations(base, head, changed)}
	for _, path := range changed {
		if governs(path) {
			r.Governance = append(r.Governance, path)
		}
	}
	if head.Refused() || base.Refused() {
		return r
	}
	r.Effects = effects(base.Platform, head.Platform)
	r.Costs = costChanges(base.Platform, head.Platform)
	r.Affected = affected(base.Platform, head.Platform)
	r.Approvals = approvals(base, head, r)
	return r
}

// newViolations returns what stands against the change: not what the base has
// too, unless the change touches the file and leaves it as it was.
func newViolations(base, head *Checked, changed []string) []Violation {
	known := map[string]bool{}
	for _, v := range base.Violations {
		v.Position = Position{}
		known[v.String()] = true
	}
	var fresh []Violation
	for _, v := range head.Violations {
		text := v
		text.Position = Position{}
		_, touched := slices.BinarySearch(changed, v.Position.File)
		switch {
		case v.Level == Preapprove:
		case !known[text.String()], touched && v.Level != Warn:
			fresh = append(fresh, v)
		}
	}
	return fresh
}

// aside are the files beside blueprints that no engine is given. Any other one
// code may read, whatever it is called.
var aside = Pattern(`^blueprints/([^/]+\.md|[^/]+/README\.md)$`)

// governs tells whether a path holds what others are judged by or run: anything
// but documents and words.
func governs(path string) bool {
	switch {
	case strings.HasPrefix(path, "blueprints/"):
		return !aside().MatchString(path)
	case strings.HasPrefix(path, "cue.mod/"), strings.HasPrefix(path, "policies/"):
		return !strings.HasSuffix(path, ".md")
	case strings.HasSuffix(path, ".tf"), strings.HasSuffix(path, ".tf.json"), strings.HasSuffix(path, ".rego"):
		return true
	}
	return strings.HasSuffix(path, ".cue") && !strings.Contains(path, "/")
}

// effects lists the changes that no plan shows, as what they will cause.
func effects(base, head *Platform) []Effect {
	var all []Effect
	for _, name := range sortedNames(union(base.Requests, head.Requests)) {
		before, was := base.Requests[name]
		after, is := head.Requests[name]
		if was && is {
			all = append(all, requestEffects(before, after)...)
		}
	}
	for _, name := range sortedNames(union(base.Services, head.Services)) {
		before, was := base.Services[name]
		after, is := head.Services[name]
		add := func(field, format string, args ...any) {
			all = append(all, Effect{Kind: "service", Name: name, Field: field, Message: fmt.Sprintf(format, args...)})
		}
		switch {
		case !was:
			add("", "is a service of its own, owned by %s", after.Owner)
		case !is:
			add("", "is a service no longer; it was owned by %s", before.Owner)
		default:
			if before.Owner != after.Owner {
				add("owner", "moves from %s to %s, with its requests and their cost", before.Owner, after.Owner)
			}
			if before.Lifecycle != after.Lifecycle {
				add("lifecycle", "goes from %s to %s", before.Lifecycle, after.Lifecycle)
			}
			if before.Tier != after.Tier {
				add("tier", "goes from tier %d to tier %d", before.Tier, after.Tier)
			}
		}
	}
	for _, name := range sortedNames(union(base.Teams, head.Teams)) {
		all = append(all, teamEffects(name, base.Teams, head.Teams)...)
	}
	return all
}

func requestEffects(before, after *Request) []Effect {
	var all []Effect
	add := func(field, format string, args ...any) {
		all = append(all, Effect{Kind: "request", Name: after.Name, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if before.Protect != after.Protect {
		if after.Protect {
			add("protect", "is protected from being destroyed")
		} else {
			add("protect", "may be destroyed by a later change")
		}
	}
	if before.Expires != after.Expires {
		switch {
		case after.Expires == "":
			add("expires", "has no last day of its own; it had %s", before.Expires)
		case before.Expires == "":
			add("expires", "is destroyed after %s", after.Expires)
		default:
			add("expires", "is destroyed after %s; it was %s", after.Expires, before.Expires)
		}
	}
	if before.TTL != after.TTL {
		if after.TTL == 0 {
			add("ttl", "has no lifetime of its own; it had %s from its first apply on", days(before.TTL))
		} else {
			add("ttl", "is destroyed %s after its first apply", days(after.TTL))
		}
	}
	if glass := after.BreakGlass; glass != nil && (before.BreakGlass == nil || *before.BreakGlass != *glass) {
		add("breakGlass", "may change until the end of %s while %s is frozen: %s", glass.Until, after.Environment, glass.Reason)
	}
	if (before.Suspend == nil) != (after.Suspend == nil) {
		if after.Suspend != nil {
			add("suspend", "is held as it is: %s", after.Suspend.Reason)
		} else {
			add("suspend", "is planned and applied again")
		}
	}
	if before.Service != after.Service {
		add("service", "moves from the service %s to %s", before.Service, after.Service)
	}
	if !slices.Equal(before.ShareWith, after.ShareWith) {
		add("shareWith", "shares its secrets with: %s", orNobody(after.ShareWith))
	}
	if before.Deletion != after.Deletion {
		if after.Deletion == Retain {
			add("deletion", "leaves what exists when it ends")
		} else {
			add("deletion", "destroys what exists when it ends")
		}
	}
	if before.Replace != after.Replace && after.Replace {
		add("replace", "may be destroyed and created anew when its blueprint or environment changes")
	}
	if after.AllowDestroy != nil && before.AllowDestroy == nil {
		add("allowDestroy", "may lose data in: %s", strings.Join(after.AllowDestroy.Resources, ", "))
	}
	return all
}

func teamEffects(name string, base, head map[string]Team) []Effect {
	before, was := base[name]
	after, is := head[name]
	var all []Effect
	add := func(field, format string, args ...any) {
		all = append(all, Effect{Kind: "team", Name: name, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case !was:
		add("", "is a team of its own, with: %s", orNobody(after.Members))
	case !is:
		add("", "is a team no longer")
	case !bytes.Equal(canonical(before.JSON), canonical(after.JSON)):
		for _, person := range after.Members {
			if !slices.Contains(before.Members, person) {
				add("members", "gains %s, who may approve in its name", person)
			}
		}
		for _, person := range before.Members {
			if !slices.Contains(after.Members, person) {
				add("members", "loses %s", person)
			}
		}
		if amount(before.Budget) != amount(after.Budget) {
			add("budget", "may spend %s a month; it was %s", amount(after.Budget), amount(before.Budget))
		}
	}
	return all
}

func days(i Interval) string { return Plural(int(time.Duration(i)/(24*time.Hour)), "day") }

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func amount(budget *float64) string {
	if budget == nil {
		return "any amount"
	}
	return fmt.Sprintf("%.2f", *budget)
}

// costChanges returns the teams whose monthly cost changes.
func costChanges(base, head *Platform) []CostChange {
	sum := func(p *Platform) map[string]float64 {
		all := map[string]float64{}
		for _, r := range p.Requests {
			all[p.Service(r.Service).Owner] += r.Cost.Monthly
		}
		for team, cost := range all {
			all[team] = cents(cost)
		}
		return all
	}
	before, after := sum(base), sum(head)
	var changes []CostChange
	for _, team := range sortedNames(union(before, after)) {
		if team != "" && before[team] != after[team] {
			changes = append(changes, CostChange{Team: team, Before: before[team], After: after[team], Budget: base.Teams[team].Budget})
		}
	}
	return changes
}

// cents rounds a sum to what somebody pays: its last digits depend on the order in
// which it was added up.
func cents(sum float64) float64 { return math.Round(sum*100) / 100 }

// affected returns the services that a change touches, and those that depend
// on one, directly or not.
func affected(base, head *Platform) []Affected {
	touched := map[string]bool{}
	for name := range union(base.Services, head.Services) {
		if differs(base.Service(name).Document, head.Service(name).Document) {
			touched[name] = true
		}
	}
	for name := range union(base.Requests, head.Requests) {
		if before, after := base.Request(name), head.Request(name); differs(before.Document, after.Document) {
			for _, r := range []*Request{before, after} {
				if r.Service != "" {
					touched[r.Service] = true
				}
			}
		}
	}
	users := map[string][]string{}
	for name, s := range head.Services {
		for _, dep := range s.DependsOn {
			users[dep] = append(users[dep], name)
		}
	}
	via := map[string]string{}
	queue := sortedNames(touched)
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		slices.Sort(users[at])
		for _, user := range users[at] {
			if _, known := via[user]; !known && !touched[user] {
				via[user] = at
				queue = append(queue, user)
			}
		}
	}
	var all []Affected
	add := func(name, through string) {
		s, found := head.Services[name]
		if !found {
			s = base.Service(name)
		}
		all = append(all, Affected{Service: name, Owner: s.Owner, Tier: s.Tier, Via: through})
	}
	for _, name := range sortedNames(touched) {
		add(name, "")
	}
	for _, name := range sortedNames(via) {
		add(name, via[name])
	}
	return all
}

// approvals returns who must approve by the base's governance: the platform team
// for governance, the owners of what changes, before and after it, and whoever a
// rule names.
func approvals(base, head *Checked, r Report) []Needed {
	var needed []Needed
	if len(r.Governance) > 0 {
		needed = append(needed, Needed{Team: base.Platform.Settings.Owner, Reason: "the change touches what everybody is judged by"})
	}
	needed = append(needed, changedOwners(base.Platform, head.Platform)...)
	for _, name := range sortedNames(head.asks) {
		needed = append(needed, head.needs(name)...)
	}
	return merge(needed)
}

// changedOwners returns the teams that own what differs. What members of a team change
// by themselves needs no word of the team.
func changedOwners(base, head *Platform) []Needed {
	own, units := map[string][]string{}, map[string][]string{}
	note := func(what, unit string, teams ...string) {
		for _, team := range slices.Compact(teams) {
			if team != "" {
				own[team] = append(own[team], what)
				if unit != "" {
					units[team] = append(units[team], unit)
				}
			}
		}
	}
	for _, name := range sortedNames(union(base.Services, head.Services)) {
		if before, after := base.Service(name), head.Service(name); differs(before.Document, after.Document) {
			note("the service "+name, "", before.Owner, after.Owner)
		}
	}
	for _, name := range sortedNames(union(base.Requests, head.Requests)) {
		before, after := base.Request(name), head.Request(name)
		was, is := base.Service(before.Service).Owner, head.Service(after.Service).Owner
		if differs(before.Document, after.Document) || was != is {
			note(name, name, was, is)
		}
	}
	var needed []Needed
	for _, team := range sortedNames(own) {
		what := own[team]
		reason := "owns " + strings.Join(what[:min(3, len(what))], ", ")
		if more := len(what) - 3; more > 0 {
			reason += fmt.Sprintf(" and %d more", more)
		}
		needed = append(needed, Needed{Team: team, Reason: reason, Units: units[team], Insider: true})
	}
	return needed
}

// differs tells whether two documents say different things.
func differs(before, after Document) bool {
	if bytes.Equal(before.JSON, after.JSON) { // as nearly always, on every pass
		return false
	}
	if before.Digest != "" && after.Digest != "" {
		return before.Digest != after.Digest
	}
	return !bytes.Equal(canonical(before.JSON), canonical(after.JSON))
}

// merge makes one of what the same team must approve for the same reason.
func merge(needed []Needed) []Needed {
	var merged []Needed
	for _, n := range needed {
		i := slices.IndexFunc(merged, func(m Needed) bool { return m.Team == n.Team && m.Reason == n.Reason && m.Insider == n.Insider })
		if i < 0 {
			merged = append(merged, n)
			continue
		}
		m := &merged[i]
		m.Units = slices.Compact(slices.Sorted(slices.Values(slices.Concat(m.Units, n.Units))))
		m.Given = m.Given && n.Given
	}
	return merged
}

// union returns the names that either has.
func union[V any](a, b map[string]V) map[string]bool {
	all := make(map[string]bool, max(len(a), len(b)))
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}
