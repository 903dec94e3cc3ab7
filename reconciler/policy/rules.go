package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/pave-dev/pave/reconciler"
)

// Off is the level of a rule that is overridden to say nothing.
const Off = "off"

// Rule describes one rule, for people.
type Rule struct {
	// ID is custom.id of the rule's metadata, or else package and name: "acme.deny".
	ID          string `json:"id"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Severity is what the rule itself asks for: deny, approve, warn or preapprove.
	Severity string `json:"severity"`
	Package  string `json:"package"`
	Builtin  bool   `json:"builtin"`
	// Level is the severity after overrides, or off.
	Level string `json:"level"`
	// Reason is why the settings changed the level; empty where they did not.
	Reason string `json:"reason,omitempty"`
	// Position is where it is written first; of a built-in rule in the folder of
	// those.
	Position reconciler.Position `json:"-"`
}

// Rules returns every rule once, sorted by id, the built-in ones first.
func (e *Engine) Rules() []Rule {
	var rules []Rule
	for _, rule := range e.rules {
		rules = append(rules, rule.Rule)
	}
	slices.SortStableFunc(rules, func(a, b Rule) int {
		if a.Builtin != b.Builtin {
			if a.Builtin {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Package, b.Package))
	})
	return slices.CompactFunc(rules, func(a, b Rule) bool { return a.ID == b.ID && a.Package == b.Package })
}

// rule is one definition: one `deny contains … if {…}` of a module.
type rule struct {
	Rule
	path   string    // of the module
	source *ast.Rule // as it was written
	ref    ast.Ref   // where the query finds its findings, after separate
	// evaluation is nil of a rule that speaks of no kind of subject.
	evaluation *evaluation
}

// at returns the rule's place in the organisation's policies; a built-in rule
// has none.
func (r *rule) at() reconciler.Position {
	if r.Builtin {
		return reconciler.Position{}
	}
	return position(r.source.Location)
}

func (r *rule) override(overrides map[string]reconciler.Override) {
	if o, ok := overrides[r.ID]; ok && r.Builtin {
		r.Level, r.Reason = o.Level, o.Reason
	}
}

// rulesOf returns the rules of the modules, tests excluded, in a fixed order.
func rulesOf(modules map[string]*ast.Module, builtin bool) []rule {
	var rules []rule
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		if isTest(path) {
			continue
		}
		module := modules[path]
		for _, source := range module.Rules {
			level, ok := findingLevel(source.Head)
			if !ok {
				continue
			}
			rule := rule{Rule: describe(module, source), path: path, source: source}
			rule.Severity, rule.Level, rule.Builtin = string(level), string(level), builtin
			rule.Position = position(source.Location)
			rule.Position.File = strings.TrimPrefix(rule.Position.File, builtinFolder)
			rules = append(rules, rule)
		}
	}
	return rules
}

// describe reads the metadata of a rule. What stands above one definition wins
// over what is said of all of the same name, and that over what is said of the
// package.
func describe(module *ast.Module, source *ast.Rule) Rule {
	name := packageName(module)
	rule := Rule{ID: name + "." + termName(source.Head.Ref()[0]), Package: name}
	for _, a := range module.Annotations {
		if a.Scope == "package" {
			rule.Title, rule.Description = a.Title, a.Description
		}
	}
	for _, scope := range []string{"document", "rule"} {
		for _, a := range source.Annotations {
			if a.Scope != scope {
				continue
			}
			rule.Title = cmp.Or(a.Title, rule.Title)
			rule.Description = cmp.Or(a.Description, rule.Description)
			if id, ok := a.Custom["id"]; ok {
				rule.ID = fmt.Sprint(id)
			}
		}
	}
	return rule
}

var (
	denies = reconciler.Pattern(`^(deny|violation)(_[a-zA-Z0-9]+)*$`)
	warns  = reconciler.Pattern(`^warn(_[a-zA-Z0-9]+)*$`)
)

// levelOf returns what findings of a rule of that name do, and whether the name
// is one of findings at all.
func levelOf(name string) (reconciler.Level, bool) {
	switch {
	case denies().MatchString(name):
		return reconciler.Deny, true
	case warns().MatchString(name):
		return reconciler.Warn, true
	case name == "require_approval":
		return reconciler.Approve, true
	case name == "preapprove":
		return reconciler.Preapprove, true
	}
	return "", false
}

// findingLevel returns the level of a rule `name contains …`, and whether the
// head is of such a rule.
func findingLevel(head *ast.Head) (reconciler.Level, bool) {
	ref := head.Ref()
	if len(ref) != 1 || head.RuleKind() != ast.MultiValue {
		return "", false
	}
	return levelOf(termName(ref[0]))
}

// separate returns copies of the modules, tests excluded, in which every rule
// stands a second time under a name of its own: a set of findings does not tell
// which of its rules made each. The name cannot be written in Rego, so nothing
// else refers to it.
func separate(modules map[string]*ast.Module, rules []rule) map[string]*ast.Module {
	judged := map[string]*ast.Module{}
	for path, module := range modules {
		if !isTest(path) {
			judged[path] = module.Copy()
		}
	}
	for i := range rules {
		module := judged[rules[i].path]
		name := fmt.Sprintf("finding %d", i)
		alone := rules[i].source.Copy()
		alone.Annotations = nil
		alone.Module = module
		alone.Head.Name = ast.Var(name)
		alone.Head.SetRef(ast.Ref{ast.VarTerm(name)})
		module.Rules = append(module.Rules, alone)
		rules[i].ref = module.Package.Path.Append(ast.StringTerm(name))
	}
	return judged
}

// checkIDs keeps the organisation's rules from passing for built-in ones.
func checkIDs(rules []rule) []reconciler.Violation {
	builtin := builtinIDs(rules, "")
	var violations []reconciler.Violation
	for _, rule := range rules {
		if !rule.Builtin && slices.Contains(builtin, rule.ID) {
			violations = append(violations, refuse(rule.at(),
				fmt.Sprintf("%s is the id of a built-in rule", rule.ID), "choose another custom.id"))
		}
	}
	return violations
}

// checkSettings refuses overrides and waivers that would do nothing.
func checkSettings(sources Sources, rules []rule) []reconciler.Violation {
	var violations []reconciler.Violation
	known := builtinIDs(rules, "")
	for _, id := range slices.Sorted(maps.Keys(sources.Overrides)) {
		path := []string{"policy", "overrides", id}
		if !slices.Contains(known, id) {
			violations = append(violations, unknown(path, fmt.Sprintf("no built-in rule has the id %q", id), id, known))
		}
		if level := sources.Overrides[id].Level; level != string(reconciler.Warn) && level != Off {
			violations = append(violations, inSettings(append(path, "level"), fmt.Sprintf("expected one of: warn, off; got %q", level), ""))
		}
	}
	known = builtinIDs(rules, "pave.rules.module")
	for i, waiver := range sources.Waivers {
		path := []string{"policy", "waivers", fmt.Sprint(i), "rule"}
		if !slices.Contains(known, waiver.Rule) {
			violations = append(violations, unknown(path, fmt.Sprintf("no built-in rule about blueprints has the id %q", waiver.Rule), waiver.Rule, known))
		}
	}
	return violations
}

// builtinIDs returns the ids of the built-in rules of a package, or of all.
func builtinIDs(rules []rule, pkg string) []string {
	var ids []string
	for _, rule := range rules {
		if rule.Builtin && strings.HasPrefix(rule.Package, pkg) {
			ids = append(ids, rule.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func unknown(path []string, message, id string, known []string) reconciler.Violation {
	nearest := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(id, a) - levenshtein.ComputeDistance(id, b)
	})
	return inSettings(path, message, fmt.Sprintf("did you mean %s?", nearest))
}

func inSettings(path []string, message, hint string) reconciler.Violation {
	violation := refuse(reconciler.Position{}, message, hint)
	violation.Kind, violation.Path = "platform", path
	return violation
}
