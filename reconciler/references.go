package reconciler

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// references finds what no folder can see by itself: references to services,
// requests, outputs and teams, and cycles. Of documents that are no news, and refer
// to none, it is taken over that there is nothing to say; those of which there was
// are looked at again, because the hints name what else there is.
func (c *Checked) references(p *Platform, n *news) []Violation {
	k := referenceChecker{platform: p, modules: c.Modules, broken: c.refused}
	for _, name := range sortedNames(p.Teams) {
		k.team(p.Teams[name])
	}
	k.settings(p.Settings)
	for _, name := range sortedNames(p.Blueprints) {
		k.blueprint(p.Blueprints[name])
	}
	c.dangling = map[key]bool{}
	look := func(kind, name string, check func()) {
		before := len(k.violations)
		if check(); len(k.violations) > before {
			c.dangling[key{kind, name}] = true
		}
	}
	var services, requests []string
	if n.everything() {
		services, requests = sortedNames(p.Services), sortedNames(p.Requests)
	} else {
		services, requests = n.speaking(), n.using(c.uses)
	}
	for _, name := range services {
		look("service", name, func() { k.service(p.Service(name)) })
	}
	for _, name := range requests {
		look("request", name, func() { k.request(p.Request(name)) })
	}
	c.circling = map[key]bool{}
	k.requestCycles(c.circling, c.uses, n)
	k.serviceCycles(c.circling, n)
	return k.violations
}

// speaking returns the services whose references are to be checked, sorted: those
// that are news or were found wrong, and those that speak of a service that is news,
// by its name or by an alias that it has or had.
func (n *news) speaking() []string {
	spoken := maps.Clone(n.services)
	for name := range n.services {
		for _, p := range []*Platform{n.earlier.Platform, n.platform} {
			for _, alias := range p.Service(name).Aliases {
				spoken[alias] = true
			}
		}
	}
	is := func(other string) bool { return spoken[other] }
	return sortedWhere(n.platform.Services, func(name string, s *Service) bool {
		return n.services[name] || slices.ContainsFunc(s.DependsOn, is) || slices.ContainsFunc(s.Aliases, is) || s.Successor != "" && is(s.Successor) ||
			n.earlier.dangling[key{"service", name}]
	})
}

// using returns the requests whose references are to be checked, sorted: those that
// are news, that are of a service that is, or that were found wrong, and those that
// refer to one that is news.
func (n *news) using(uses map[string][]string) []string {
	names := map[string]bool{}
	for name := range n.moved {
		names[name] = true
	}
	for k := range n.earlier.dangling {
		if k.kind == "request" {
			names[k.name] = true
		}
	}
	for name, upstreams := range uses {
		if slices.ContainsFunc(upstreams, func(upstream string) bool { return n.moved[upstream] }) {
			names[name] = true
		}
	}
	for name, r := range n.platform.Requests {
		if r.RenamedFrom != "" && n.requests[r.RenamedFrom] {
			names[name] = true
		}
	}
	return sortedWhere(names, func(name string, _ bool) bool { return n.platform.Requests[name] != nil })
}

// usesOf returns the requests whose outputs each request uses that uses any.
func usesOf(requests map[string]*Request, n *news) map[string][]string {
	if n.everything() {
		var held Shelf[string]
		uses := map[string][]string{}
		for name, r := range requests {
			names := upstreams(r)
			for i := range names {
				if up := requests[names[i]]; up != nil {
					names[i] = up.Name
				}
			}
			if len(names) > 0 {
				uses[name] = held.Hold(names)
			}
		}
		return uses
	}
	uses, shared := n.earlier.uses, true
	for name := range n.requests {
		var names []string
		if r := requests[name]; r != nil {
			names = upstreams(r)
		}
		if slices.Equal(names, uses[name]) {
			continue
		}
		if shared {
			uses, shared = maps.Clone(uses), false
		}
		if delete(uses, name); len(names) > 0 {
			uses[name] = names
		}
	}
	return uses
}

type referenceChecker struct {
	platform   *Platform
	modules    map[string]Module
	broken     map[key]bool // what exists but was refused already
	violations []Violation
	aliases    map[string]bool // of all services, once they are asked for
}

func (c *referenceChecker) deny(kind, name string, at Position, path []string, message, hint string) {
	c.violations = append(c.violations, Violation{Level: Deny, Scope: ScopeDocument, Kind: kind, Name: name,
		Position: at, Path: path, Message: message, Hint: hint})
}

// unknown reports a name that nothing has, with the nearest that something has.
func (c *referenceChecker) unknown(kind, name string, at Position, path []string, what, wanted string, known []string, hint string) {
	if near := Nearest(wanted, known, 1); len(near) == 1 && Similar(wanted, near[0]) {
		hint = fmt.Sprintf("did you mean %s?", near[0])
	}
	c.deny(kind, name, at, path, fmt.Sprintf("there is no %s %q", what, wanted), hint)
}

// team refuses keys by which nobody could approve. As with all that is wrong
// with a team, the revision is refused whole.
func (c *referenceChecker) team(t Team) {
	for _, handle := range sortedNames(t.Keys) {
		v := Violation{Level: Deny, Scope: ScopeRevision, Kind: "team", Name: t.Name, Position: t.Position, Path: []string{"keys", handle}}
		switch {
		case !slices.Contains(t.Members, handle):
			v.Message = fmt.Sprintf("%q is no member of the team, and only members approve", handle)
			v.Hint = fmt.Sprintf("add %q to members, or remove the key", handle)
			if near := Nearest(handle, t.Members, 1); len(near) == 1 && Similar(handle, near[0]) {
				v.Hint = fmt.Sprintf("did you mean %s?", near[0])
			}
		case !isPublicKey(t.Keys[handle]):
			v.Message, v.Hint = "is no SSH public key", "write the line of the .pub file that `ssh-keygen -t ed25519` makes"
		default:
			continue
		}
		c.violations = append(c.violations, v)
	}
}

// isPublicKey tells whether a line is an SSH public key: what it encodes begins
// with the type that the line begins with, after that text's length.
func isPublicKey(line string) bool {
	kind, rest, _ := strings.Cut(line, " ")
	encoded, _, _ := strings.Cut(rest, " ")
	key, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && len(key) > 4+len(kind) &&
		binary.BigEndian.Uint32(key) == uint32(len(kind)) && string(key[4:4+len(kind)]) == kind
}

// settings refuses a waiver for a blueprint that there is not: it would wait
// for one of that name, which then nobody looked at.
func (c *referenceChecker) settings(s Settings) {
	for i, waiver := range s.Policy.Waivers {
		if _, found := c.platform.Blueprints[waiver.Blueprint]; found || c.broken[key{"blueprint", waiver.Blueprint}] {
			continue
		}
		c.violations = append(c.violations, Violation{Level: Deny, Scope: ScopeRevision, Kind: "platform",
			Path:    []string{"policy", "waivers", fmt.Sprint(i), "blueprint"},
			Message: fmt.Sprintf("there is no blueprint %q", waiver.Blueprint),
			Hint:    "remove the waiver, or name one of: " + strings.Join(Nearest(waiver.Blueprint, sortedNames(c.platform.Blueprints), 8), ", ")})
	}
}

func (c *referenceChecker) blueprint(b Blueprint) {
	for i, env := range b.Environments {
		if _, found := c.platform.Environments[env]; !found {
			c.violations = append(c.violations, Violation{Level: Deny, Scope: ScopeBlueprint, Kind: "blueprint", Name: b.Name,
				Position: b.Position, Path: []string{"environments", fmt.Sprint(i)},
				Message: fmt.Sprintf("there is no environment %q", env),
				Hint:    "name one of: " + strings.Join(Nearest(env, sortedNames(c.platform.Environments), 8), ", ")})
		}
	}
}

func (c *referenceChecker) service(s *Service) {
	for i, name := range s.DependsOn {
		if _, found := c.platform.Services[name]; !found && !c.broken[key{"service", name}] && !c.isAlias(name) {
			c.unknown("service", s.Name, s.Position, []string{"dependsOn", fmt.Sprint(i)}, "service", name, sortedNames(c.platform.Services),
				"remove it, or add the service")
		}
	}
	if name := s.Successor; name != "" {
		if _, found := c.platform.Services[name]; !found && !c.broken[key{"service", name}] {
			c.unknown("service", s.Name, s.Position, []string{"successor"}, "service", name, sortedNames(c.platform.Services), "remove it, or add the service")
		}
	}
	for i, alias := range s.Aliases {
		if other, found := c.platform.Services[alias]; found {
			c.deny("service", s.Name, s.Position, []string{"aliases", fmt.Sprint(i)},
				fmt.Sprintf("the alias %q is the name of another service (%s)", alias, other.Position), "remove the alias")
		}
	}
}

func (c *referenceChecker) isAlias(name string) bool {
	if c.aliases == nil {
		c.aliases = map[string]bool{}
		for _, s := range c.platform.Services {
			for _, alias := range s.Aliases {
				c.aliases[alias] = true
			}
		}
	}
	return c.aliases[name]
}

func (c *referenceChecker) request(r *Request) {
	if _, found := c.platform.Services[r.Service]; !found {
		if c.broken[key{"service", r.Service}] {
			c.deny("request", r.Name, r.Position, []string{"service"},
				fmt.Sprintf("the service %q has errors of its own", r.Service), "mend the service first")
		} else {
			c.unknown("request", r.Name, r.Position, []string{"service"}, "service", r.Service, sortedNames(c.platform.Services),
				"add the service, or name one that exists")
		}
	}
	for i, team := range r.ShareWith {
		if _, found := c.platform.Teams[team]; !found {
			c.unknown("request", r.Name, r.Position, []string{"shareWith", fmt.Sprint(i)}, "team", team, sortedNames(c.platform.Teams), "name a team that exists")
		}
	}
	if r.RenamedFrom != "" {
		if _, found := c.platform.Requests[r.RenamedFrom]; found {
			c.deny("request", r.Name, r.Position, []string{"renamedFrom"},
				fmt.Sprintf("the request %q still exists", r.RenamedFrom), "remove the old request in the same commit")
		}
	}
	for input, value := range r.Inputs.All() {
		path := []string{"inputs", input}
		if ref, ok := Reference(value); ok {
			c.reference(r, path, input, ref)
		} else if nestedReference(value) {
			c.deny("request", r.Name, r.Position, path, "a reference stands within a list or struct",
				"only a whole input can be another request's output: let the blueprint take it as an input of its own")
		}
	}
}

// reference checks one use of another request's output.
func (c *referenceChecker) reference(r *Request, path []string, input string, ref Ref) {
	from := append(slices.Clone(path), "from")
	deny := func(path []string, message, hint string) {
		c.deny("request", r.Name, r.Position, path, message, hint)
	}
	if ref.Request == r.Name {
		deny(append(from, "request"), "a request cannot use its own output", "name another request")
		return
	}
	up, found := c.platform.Requests[ref.Request]
	if !found {
		if c.broken[key{"request", ref.Request}] {
			deny(append(from, "request"), fmt.Sprintf("the request %q, whose output it uses, has errors of its own", ref.Request), "mend that request first")
			return
		}
		c.unknown("request", r.Name, r.Position, append(from, "request"), "request", ref.Request, sortedNames(c.platform.Requests),
			"a request whose outputs are used cannot be removed: remove the use first")
		return
	}
	if c.broken[key{"blueprint", up.Blueprint}] { // what it hands out, and what of it is a secret, is not known
		deny(append(from, "request"), fmt.Sprintf("the blueprint %s of the request %q, whose output it uses, has errors", up.Blueprint, ref.Request),
			"mend that blueprint first")
		return
	}
	outputs := c.platform.Blueprints[up.Blueprint].Outputs
	out, found := outputs[ref.Output]
	if !found {
		hint := fmt.Sprintf("the blueprint %s has no outputs", up.Blueprint)
		if len(outputs) > 0 {
			hint = "use one of: " + strings.Join(Nearest(ref.Output, sortedNames(outputs), 8), ", ")
		}
		c.unknown("request", r.Name, r.Position, append(from, "output"), fmt.Sprintf("output of %s called", ref.Request), ref.Output,
			sortedNames(outputs), hint)
		return
	}
	if out.Sensitive {
		c.secret(r, up, path, input, ref)
	}
}

// secret checks that a sensitive output goes only where it may.
func (c *referenceChecker) secret(r, up *Request, path []string, input string, ref Ref) {
	deny := func(message, hint string) { c.deny("request", r.Name, r.Position, path, message, hint) }
	if !c.modules[r.Blueprint].Sensitive[input] && !c.broken[key{"blueprint", r.Blueprint}] {
		deny(fmt.Sprintf("the output %s of %s is a secret, but the input %s is not declared as one", ref.Output, ref.Request, input),
			fmt.Sprintf("the blueprint %s must declare:  variable %q { sensitive = true }", r.Blueprint, input))
	}
	owner, upOwner := c.platform.Service(r.Service).Owner, c.platform.Service(up.Service).Owner
	if owner != upOwner && !slices.Contains(up.ShareWith, owner) {
		deny(fmt.Sprintf("the output %s of %s is a secret of the team %s", ref.Output, ref.Request, upOwner),
			fmt.Sprintf("that team may write in %s:  shareWith: [%q]", ref.Request, owner))
	}
	stage, upStage := c.platform.Environments[r.Environment].Stage, c.platform.Environments[up.Environment].Stage
	if slices.Index(stages, stage) < slices.Index(stages, upStage) {
		deny(fmt.Sprintf("a secret of %s may not reach %s", upStage, stage), "use a request of the same stage")
	}
}

// stages are ordered by the care that they need. In which order a rollout
// reaches them is the settings' affair.
var stages = []string{"development", "staging", Production}

// nestedReference tells whether a value holds a reference below its top.
func nestedReference(value json.RawMessage) bool {
	if !strings.Contains(string(value), `"from"`) {
		return false
	}
	var parsed any
	if json.Unmarshal(value, &parsed) != nil {
		return false
	}
	var holds func(v any) bool
	holds = func(v any) bool {
		switch v := v.(type) {
		case []any:
			return slices.ContainsFunc(v, holds)
		case map[string]any:
			if from, ok := v["from"].(map[string]any); ok && len(v) == 1 && from["request"] != nil && from["output"] != nil {
				return true
			}
			for _, field := range v {
				if holds(field) {
					return true
				}
			}
		}
		return false
	}
	return holds(parsed)
}

// requestCycles refuses every request that, through references, uses itself.
func (c *referenceChecker) requestCycles(circling map[key]bool, uses map[string][]string, n *news) {
	edges := edgesFrom("request", uses, n, n.requests, func(upstreams []string) []string { return upstreams })
	for _, circle := range circles(edges) {
		for _, name := range circle.members {
			circling[key{"request", name}] = true
			r := c.platform.Request(name)
			c.deny("request", r.Name, r.Position, []string{"inputs"}, "uses its own outputs in a circle: "+circle.String(),
				"give one of them a plain value in place of a reference")
		}
	}
}

// serviceCycles warns of services that depend on each other, once for each circle.
func (c *referenceChecker) serviceCycles(circling map[key]bool, n *news) {
	edges := edgesFrom("service", c.platform.Services, n, n.services, func(s *Service) []string { return s.DependsOn })
	for _, circle := range circles(edges) {
		for _, name := range circle.members {
			circling[key{"service", name}] = true
		}
		s := c.platform.Service(circle.way[0])
		c.violations = append(c.violations, Violation{Level: Warn, Scope: ScopeDocument, Kind: "service", Name: s.Name,
			Position: s.Position, Path: []string{"dependsOn"}, Message: "depends on itself in a circle: " + circle.String(),
			Hint: "remove one of these dependencies, unless the services cannot start without each other"})
	}
}

// edgesFrom returns the part of a graph that holds its circles: all that can be
// reached from what changed or was in a circle before, for no other circle is there.
func edgesFrom[D any](kind string, all map[string]D, n *news, changed map[string]bool, to func(D) []string) map[string][]string {
	edges := map[string][]string{}
	if n.everything() {
		for name, d := range all {
			edges[name] = to(d)
		}
		return edges
	}
	reached := slices.Collect(maps.Keys(changed))
	for k := range n.earlier.circling {
		if k.kind == kind {
			reached = append(reached, k.name)
		}
	}
	for len(reached) > 0 {
		name := reached[len(reached)-1]
		reached = reached[:len(reached)-1]
		d, exists := all[name]
		if _, seen := edges[name]; exists && !seen {
			edges[name] = to(d)
			reached = append(reached, edges[name]...)
		}
	}
	return edges
}

// upstreams returns the requests whose outputs a request uses, sorted.
func upstreams(r *Request) []string {
	var names []string
	for _, value := range r.Inputs.All() {
		if ref, ok := Reference(value); ok && !slices.Contains(names, ref.Request) {
			names = append(names, ref.Request)
		}
	}
	slices.Sort(names)
	return names
}

// circle is a set of nodes that all reach each other, and one shortest way
// around from its first member.
type circle struct{ members, way []string }

// String shows the way, the middle left out where it is long.
func (c circle) String() string {
	way := append(slices.Clone(c.way), c.way[0])
	if len(way) > 9 {
		way = append(append(slices.Clone(way[:6]), "…"), way[len(way)-2:]...)
	}
	return strings.Join(way, " → ")
}

// circles returns the strongly connected parts of a graph that hold a way from
// a node back to itself, in the order of their first members. Edges to nodes
// that do not exist are passed over. (Tarjan's algorithm, without recursion:
// the graph is as deep as its author likes.)
func circles(edges map[string][]string) []circle {
	index, low := map[string]int{}, map[string]int{}
	onStack := map[string]bool{}
	var stack []string
	var found []circle
	type frame struct {
		node string
		next int
	}
	for _, root := range sortedNames(edges) {
		if _, seen := index[root]; seen {
			continue
		}
		frames := []frame{{node: root}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if f.next == 0 {
				index[f.node], low[f.node] = len(index), len(index)
				stack, onStack[f.node] = append(stack, f.node), true
			}
			if f.next < len(edges[f.node]) {
				to := edges[f.node][f.next]
				f.next++
				if _, exists := edges[to]; !exists {
					continue
				}
				if _, seen := index[to]; !seen {
					frames = append(frames, frame{node: to})
				} else if onStack[to] {
					low[f.node] = min(low[f.node], index[to])
				}
				continue
			}
			node := f.node
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				parent := frames[len(frames)-1].node
				low[parent] = min(low[parent], low[node])
			}
			if low[node] != index[node] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != node {
				at--
			}
			members := slices.Sorted(slices.Values(stack[at:]))
			stack = stack[:at]
			for _, m := range members {
				onStack[m] = false
			}
			if len(members) > 1 || slices.Contains(edges[node], node) {
				found = append(found, circle{members, wayAround(edges, members)})
			}
		}
	}
	slices.SortFunc(found, func(a, b circle) int { return strings.Compare(a.members[0], b.members[0]) })
	return found
}

// wayAround returns a shortest way from the first member back to itself.
func wayAround(edges map[string][]string, members []string) []string {
	start := members[0]
	before := map[string]string{}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, next := range edges[at] {
			if next == start {
				way := []string{at}
				for at != start {
					at = before[at]
					way = append(way, at)
				}
				slices.Reverse(way)
				return way
			}
			if _, seen := before[next]; !seen {
				if _, member := slices.BinarySearch(members, next); member {
					before[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	return members
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sortedWhere returns the names of what meets a condition, sorted. Where few do,
// that takes a fraction of sorting all names first.
func sortedWhere[V any](m map[string]V, meets func(name string, v V) bool) []string {
	var names []string
	for name, v := range m {
		if meets(name, v) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
