package terraform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/pave-dev/pave/reconciler"
)

// parsePlan reads the output of `show -json`.
func parsePlan(raw []byte) (*tfjson.Plan, error) {
	plan := &tfjson.Plan{}
	plan.UseJSONNumber(true)
	if err := json.Unmarshal(raw, plan); err != nil {
		return nil, fmt.Errorf("parse plan: %w", err)
	}
	if hasHoles(plan) {
		return nil, errors.New("parse plan: there is a null in the place of a resource, an output or a variable")
	}
	return plan, nil
}

// hasHoles tells whether something that each user of the plan looks into is null.
func hasHoles(plan *tfjson.Plan) bool {
	if slices.Contains(plan.ResourceChanges, nil) || slices.Contains(plan.ResourceDrift, nil) || lacksValue(plan.OutputChanges) || lacksValue(plan.Variables) {
		return true
	}
	if plan.Config != nil && plan.Config.RootModule != nil && lacksValue(plan.Config.RootModule.Variables) {
		return true
	}
	return valuesHaveHoles(plan.PlannedValues) || plan.PriorState != nil && valuesHaveHoles(plan.PriorState.Values)
}

func valuesHaveHoles(v *tfjson.StateValues) bool {
	return v != nil && (lacksValue(v.Outputs) || moduleHasHoles(v.RootModule))
}

func moduleHasHoles(m *tfjson.StateModule) bool {
	return m != nil && (slices.Contains(m.Resources, nil) || slices.ContainsFunc(m.ChildModules, moduleHasHoles))
}

func lacksValue[T any](m map[string]*T) bool {
	return slices.Contains(slices.Collect(maps.Values(m)), nil)
}

// summarise returns what may be shown of a plan. It takes what it shows one by
// one, so that what an engine adds to its plans stays out.
func summarise(plan *tfjson.Plan) (reconciler.PlanSummary, error) {
	var s reconciler.PlanSummary
	for _, rc := range plan.ResourceChanges {
		action := actionName(rc)
		if action == "" {
			continue
		}
		s.Add += count(action, "create", "replace")
		s.Change += count(action, "update")
		s.Destroy += count(action, "delete", "replace")
		s.Changes = append(s.Changes, reconciler.ChangedField{
			Address: rc.Address, Action: action, Attributes: attributes(action, rc.Change),
		})
	}
	slices.SortFunc(s.Changes, func(a, b reconciler.ChangedField) int {
		return strings.Compare(a.Address+"\x00"+a.Action, b.Address+"\x00"+b.Action)
	})
	var err error
	s.Digest, err = planDigest(plan)
	return s, err
}

// authorAttributes are where providers say who changed a resource last.
var authorAttributes = []string{"last_modified_by", "modified_by", "last_updated_by", "updated_by", "last_modifying_user_name"}

// addAuthors notes in a summary who changed each resource last, as far as the
// provider says so and it is no secret.
func addAuthors(s *reconciler.PlanSummary, plan *tfjson.Plan) {
	authors := map[string]string{}
	for _, rc := range plan.ResourceChanges {
		if rc.Change == nil {
			continue
		}
		before, _ := overlay(rc.Change.Before, rc.Change.BeforeSensitive, "").(map[string]any)
		for _, name := range authorAttributes {
			if by, _ := before[name].(string); by != "" {
				authors[rc.Address] = by
				break
			}
		}
	}
	for i := range s.Changes {
		s.Changes[i].By = authors[s.Changes[i].Address]
	}
}

func count(action string, kinds ...string) int {
	if slices.Contains(kinds, action) {
		return 1
	}
	return 0
}

// actionName returns the action in the domain's words; empty where nothing
// happens to the resource. A resource that only gets another address is
// "move", one that is no longer managed is "forget", one that is taken over as
// it is is "import".
func actionName(rc *tfjson.ResourceChange) string {
	if rc.Change == nil {
		return ""
	}
	switch a := rc.Change.Actions; {
	case a.Create():
		return "create"
	case a.Update():
		return "update"
	case a.Replace():
		return "replace"
	case a.Delete():
		return "delete"
	case slices.Contains(a, tfjson.ActionForget):
		return "forget"
	case a.NoOp() && rc.Change.Importing != nil:
		return "import"
	case a.NoOp() && rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address:
		return "move"
	}
	return ""
}

// attributes returns the top-level names that differ, sorted. A resource that
// is created or deleted has none: all of it differs.
func attributes(action string, c *tfjson.Change) []string {
	if action != "update" && action != "replace" {
		return nil
	}
	before, _ := c.Before.(map[string]any)
	after, _ := c.After.(map[string]any)
	unknown, _ := c.AfterUnknown.(map[string]any)
	names := map[string]bool{}
	for name, value := range before {
		names[name] = !reflect.DeepEqual(value, after[name])
	}
	for name, value := range after {
		names[name] = !reflect.DeepEqual(value, before[name])
	}
	for name, mark := range unknown {
		names[name] = names[name] || marksAny(mark)
	}
	maps.DeleteFunc(names, func(_ string, differs bool) bool { return !differs })
	return slices.Sorted(maps.Keys(names))
}

// marksAny tells whether a structure of marks holds a true.
func marksAny(marks any) bool {
	switch m := marks.(type) {
	case bool:
		return m
	case []any:
		return slices.ContainsFunc(m, marksAny)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(m)), marksAny)
	}
	return false
}

// normalised is one action as the plan's digest sees it.
type normalised struct {
	Address  string         `json:"address"`
	Previous string         `json:"previous,omitempty"`
	Deposed  string         `json:"deposed,omitempty"`
	Actions  tfjson.Actions `json:"actions"`
	Import   string         `json:"import,omitempty"`
	Before   any            `json:"before"`
	After    any            `json:"after"`
}

// planDigest identifies what a plan does: two plans have the same digest when
// they do the same to the same resources and outputs. Values that are not
// sensitive count. A sensitive value counts as being one, whatever it is: its
// hash in a public record could be guessed. A value known after the apply
// counts as unknown.
func planDigest(plan *tfjson.Plan) (string, error) {
	var actions []normalised
	for _, rc := range plan.ResourceChanges {
		if rc.Change == nil || actionName(rc) == "" && rc.Change.Actions.NoOp() {
			continue
		}
		n := normalise(rc.Address, rc.Change)
		n.Previous, n.Deposed = rc.PreviousAddress, rc.DeposedKey
		actions = append(actions, n)
	}
	for name, change := range plan.OutputChanges {
		if !change.Actions.NoOp() {
			actions = append(actions, normalise("output."+name, change))
		}
	}
	slices.SortFunc(actions, func(a, b normalised) int {
		return strings.Compare(a.Address+"\x00"+a.Deposed, b.Address+"\x00"+b.Deposed)
	})
	data, err := json.Marshal(actions)
	if err != nil {
		return "", fmt.Errorf("digest plan: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func normalise(address string, c *tfjson.Change) normalised {
	n := normalised{
		Address: address, Actions: c.Actions,
		Before: overlay(c.Before, c.BeforeSensitive, masked),
		After:  overlay(overlay(c.After, c.AfterUnknown, "(unknown)"), c.AfterSensitive, masked),
	}
	if c.Importing != nil {
		n.Import = c.Importing.ID
	}
	return n
}

// overlay returns the value with a word in every place that the marks name,
// also where the value itself is absent.
func overlay(value, marks any, word string) any {
	switch m := marks.(type) {
	case bool:
		if m {
			return word
		}
	case map[string]any:
		if !marksAny(m) {
			break
		}
		fields, _ := value.(map[string]any)
		fields = maps.Clone(fields)
		if fields == nil {
			fields = map[string]any{}
		}
		for key, mark := range m {
			if marksAny(mark) {
				fields[key] = overlay(fields[key], mark, word)
			}
		}
		return fields
	case []any:
		elements, _ := value.([]any)
		elements = slices.Clone(elements)
		for i, mark := range m {
			if !marksAny(mark) {
				continue
			}
			for len(elements) <= i {
				elements = append(elements, nil)
			}
			elements[i] = overlay(elements[i], mark, word)
		}
		return elements
	}
	return value
}

// addPlan makes all that a plan marks as sensitive secret.
func (s *secrets) addPlan(plan *tfjson.Plan) {
	for _, list := range [][]*tfjson.ResourceChange{plan.ResourceChanges, plan.ResourceDrift} {
		for _, rc := range list {
			s.addChange(rc.Change)
		}
	}
	for _, change := range plan.OutputChanges {
		s.addChange(change)
	}
	if plan.PriorState != nil {
		s.addValues(plan.PriorState.Values)
	}
	s.addValues(plan.PlannedValues)
	if plan.Config == nil || plan.Config.RootModule == nil {
		return
	}
	for name, variable := range plan.Config.RootModule.Variables {
		if given := plan.Variables[name]; variable.Sensitive && given != nil {
			s.addValue(given.Value)
		}
	}
}

func (s *secrets) addChange(c *tfjson.Change) {
	if c == nil {
		return
	}
	s.addMarked(c.Before, c.BeforeSensitive)
	s.addMarked(c.After, c.AfterSensitive)
}

func (s *secrets) addValues(values *tfjson.StateValues) {
	if values == nil {
		return
	}
	for _, output := range values.Outputs {
		if output.Sensitive {
			s.addValue(output.Value)
		}
	}
	s.addModule(values.RootModule)
}

func (s *secrets) addModule(module *tfjson.StateModule) {
	if module == nil {
		return
	}
	for _, r := range module.Resources {
		if marks, err := decode(r.SensitiveValues); err == nil {
			s.addMarked(any(r.AttributeValues), marks)
		}
	}
	for _, child := range module.ChildModules {
		s.addModule(child)
	}
}
