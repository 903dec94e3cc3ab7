package portal

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// requestPage is a request.
type requestPage struct {
	*requestIn
	Description string                    `json:"description,omitempty"`
	At          spot                      `json:"at"`
	Edit        link                      `json:"edit"` // the form that changes it
	Graph       string                    `json:"graph"`
	Facts       []fact                    `json:"facts"`
	Inputs      []input                   `json:"inputs,omitempty"`
	Conditions  []condition               `json:"conditions,omitempty"`
	Outputs     []output                  `json:"outputs,omitempty"`
	Users       []link                    `json:"usedBy,omitempty"`
	Plan        *plan                     `json:"plan,omitempty"`
	Drift       *plan                     `json:"drift,omitempty"`
	Resources   []string                  `json:"resources,omitempty"`
	IDs         reconciler.Fields[string] `json:"ids,omitempty"`
	Run         *run                      `json:"run,omitempty"`
	NoRun       string                    `json:"noRun,omitempty"` // why no run is shown
	History     []step                    `json:"history,omitempty"`
	Document    json.RawMessage           `json:"document,omitempty"`
	Text        string                    `json:"-"` // of the document
	Unfinished  bool                      `json:"unfinished"`
	Violations  []fault                   `json:"violations,omitempty"`
}

// input is what a request says for one input of its blueprint.
type input struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  link   `json:"from"` // the request whose output it is
	At    spot   `json:"at"`
}

// condition is a condition as pages show it.
type condition struct {
	reconciler.Condition
	Tone string `json:"-"`
	When string `json:"-"`
}

// output is a value that a request hands out, unless it is a secret.
type output struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Secret bool   `json:"secret,omitempty"`
	About  string `json:"about,omitempty"`
}

// plan is what a run was to do.
type plan struct {
	Summary string                    `json:"summary"`
	Changes []reconciler.ChangedField `json:"changes,omitempty"`
}

func planOf(p reconciler.PlanSummary) *plan {
	return &plan{fmt.Sprintf("%d to create, %d to change, %d to destroy", p.Add, p.Change, p.Destroy), p.Changes}
}

// troubles are the conditions that are good where they are false.
var troubles = map[string]bool{reconciler.Drifted: true, reconciler.Stalled: true, reconciler.Expiring: true}

func request(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	row := v.index.request[name]
	if row == nil {
		return nil, v.missing("request", name, slices.Collect(maps.Keys(v.index.request)))
	}
	v.title, v.here = name, "/requests"
	q := v.Platform.Request(name)
	p := &requestPage{
		requestIn: v.rows([]*requestRow{row})[0], Description: described(q.JSON).Description, At: v.requestAt(q), Graph: v.graphOf("request", name),
		Document: q.JSON, Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "request" && x.Name == name }),
	}
	if len(q.JSON) > 0 {
		p.Text = indented(q.JSON)
		p.Edit = v.formAt("Change it", "/requests/"+url.PathEscape(name)+"/edit")
	}
	for _, user := range v.users[name] {
		p.Users = append(p.Users, v.to("request", user))
	}
	for key, value := range q.Inputs.All() {
		in := input{Name: key, Value: plain(value), At: v.requestAt(q, "inputs", key)}
		if ref, is := reconciler.Reference(value); is {
			in.Value, in.From = "", link{ref.Request + "." + ref.Output, v.to("request", ref.Request).Href}
		}
		p.Inputs = append(p.Inputs, in)
	}
	p.Run, p.NoRun = v.run(name)
	p.Unfinished = v.unfinished(row) || p.Run != nil && p.Run.Ended.IsZero()
	unit := v.Record.Units[name]
	p.Facts = v.requestFacts(q, unit, p.requestIn)
	if unit != nil {
		p.recorded(v, unit)
	}
	p.History = v.timeline(name, v.saidIn(q, unit))
	return p, nil
}

// requestAt leads to where a field of a request is written, or to its document, and to
// where the form changes it.
func (v *view) requestAt(q *reconciler.Request, field ...string) spot {
	if len(q.JSON) == 0 {
		return v.at(q.Position)
	}
	form := v.formAt("", "/requests/"+url.PathEscape(q.Name)+"/edit").Href
	if len(field) == 0 {
		at := v.at(q.Position)
		at.Form = form
		return at
	}
	at := v.field(q.Position, "request", q.Name, field...)
	if slot := slotOf(field, v.Platform.Blueprints[q.Blueprint]); slot != "" && form != "" {
		at.Form = form + "#" + url.PathEscape(slot)
	}
	return at
}

// slotOf names the field of the form for a request that changes one of its own;
// nothing where none does.
func slotOf(field []string, b reconciler.Blueprint) string {
	switch field[0] {
	case "description", "expires", "protect", "suspend":
		return field[0]
	case "inputs":
		if in, is := b.Inputs[field[1]]; is && !in.Field.Fixed {
			return "input." + field[1]
		}
	}
	return ""
}

func (v *view) requestFacts(q *reconciler.Request, unit *reconciler.UnitStatus, row *requestIn) []fact {
	var facts []fact
	add := func(label, text, field string, links ...link) {
		links = slices.DeleteFunc(links, func(l link) bool { return l.Href == "" }) // the record of old may not name it
		if text == "" && len(links) == 0 {
			return
		}
		at := spot{}
		if field != "" && !row.Gone {
			at = v.requestAt(q, field)
		}
		facts = append(facts, fact{label, text, links, at})
	}
	add("Service", "", "service", row.Of)
	add("Owner", "", "", row.By)
	add("Blueprint", "", "blueprint", row.From)
	add("Environment", "", "environment", row.In)
	add("Cost a month", row.CostText, "")
	if !row.Gone {
		add("Protected", map[bool]string{true: "yes", false: "no"}[q.Protect], "protect")
	}
	add("Expires", row.Expires, "expires")
	if q.Suspend != nil {
		add("Suspended", q.Suspend.Reason, "suspend")
	}
	if unit == nil {
		return facts
	}
	add("First applied", moments(unit.FirstApplied), "")
	add("Last applied", moments(unit.LastApplied), "")
	if unit.AppliedRevision != "" {
		add("Applied revision", "", "", link{short(unit.AppliedRevision), "/at/" + short(unit.AppliedRevision) + "/requests/" + row.Name})
	}
	add("Engine", unit.Engine, "")
	return facts
}

// moments is a time of the record for people.
func moments(at string) string {
	if len(at) < len("2006-01-02T15:04") {
		return at
	}
	return at[:10] + " " + at[11:16]
}

// saidIn are the files that say what a request is, or said it last.
func (v *view) saidIn(q *reconciler.Request, unit *reconciler.UnitStatus) []string {
	if q.Position.File == "" && unit != nil {
		return unit.Sources
	}
	return append([]string{q.Position.File}, q.Sources...)
}

// recorded adds what happened to a request.
func (p *requestPage) recorded(v *view, unit *reconciler.UnitStatus) {
	p.Resources, p.IDs = unit.Resources, unit.IDs
	p.Conditions = conditionsOf(unit.Conditions)
	declared := v.Platform.Blueprints[unit.Blueprint].Outputs
	for key, value := range unit.Outputs.All() {
		if declared[key].Sensitive || slices.Contains(unit.Sensitive, key) {
			continue
		}
		p.Outputs = append(p.Outputs, output{Name: key, Value: plain(value), About: declared[key].Description})
	}
	for _, key := range unit.Sensitive {
		p.Outputs = append(p.Outputs, output{Name: key, Secret: true, About: declared[key].Description})
	}
	if unit.Plan != nil {
		p.Plan = planOf(*unit.Plan)
	}
	if unit.Drift != nil && unit.Drift.Ended == "" {
		p.Drift = planOf(unit.Drift.Plan)
	}
}

// conditionsOf shows conditions.
func conditionsOf(all reconciler.Conditions) []condition {
	var shown []condition
	for _, c := range all {
		tone := "good"
		if c.Status == troubles[c.Type] {
			tone = "bad"
			if waitingReasons[c.Reason] || c.Type == reconciler.Expiring || c.Type == reconciler.Drifted {
				tone = "wait"
			}
		}
		shown = append(shown, condition{c, tone, moments(c.Since)})
	}
	return shown
}

// unfinished tells whether some of the requests may stand otherwise in a moment:
// their page looks again by itself. The past does not change.
func (v *view) unfinished(rows ...*requestRow) bool {
	return v.when == "" && slices.ContainsFunc(rows, func(r *requestRow) bool { return r.State.Tone == "wait" || r.State.Tone == "none" })
}
