package portal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pave-dev/pave/reconciler"
)

// formPage is a form with what was entered, and what would come of it.
type formPage struct {
	Kind     string       `json:"kind"`
	Heading  string       `json:"heading"`
	Lead     string       `json:"lead,omitempty"`
	Of       link         `json:"of"`
	Facts    []fact       `json:"facts,omitempty"` // what cannot be entered
	Groups   []fieldGroup `json:"groups"`
	Errors   []string     `json:"errors,omitempty"` // of no field
	Why      string       `json:"why,omitempty"`
	Retire   bool         `json:"retire,omitempty"`
	Checked  *checked     `json:"checked,omitempty"`
	Proposed *Proposal    `json:"proposed,omitempty"`
	Computed *fault       `json:"computed,omitempty"` // why there is no form
	Denied   *denial      `json:"denied,omitempty"`   // why this person cannot send it
	SignIn   bool         `json:"signIn,omitempty"`   // nobody may who is not known

	Action   string   `json:"-"` // where it is sent
	CSRF     string   `json:"-"`
	Digest   string   `json:"-"` // of the document that is changed
	MayEnd   bool     `json:"-"` // the request can be retired
	Services []string `json:"-"`
	Outputs  []string `json:"-"`
}

// fieldGroup are the fields that belong together.
type fieldGroup struct {
	Title  string  `json:"title,omitempty"`
	Fields []*slot `json:"fields"`
}

// denial says whom to ask.
type denial struct {
	Why     []fault `json:"why"`
	Team    link    `json:"team"`
	Contact string  `json:"contact,omitempty"`
}

// slot is a field of a form: a place in a document, and what was entered.
type slot struct {
	Name    string             `json:"name"` // of the control
	Label   string             `json:"label"`
	Help    string             `json:"help,omitempty"`
	Control reconciler.Control `json:"control"`
	Value   string             `json:"value"`
	// Ref is the output that stands in place of a value.
	Ref       string   `json:"reference,omitempty"`
	Choices   []choose `json:"choices,omitempty"`
	Min       string   `json:"min,omitempty"`
	Max       string   `json:"max,omitempty"`
	MinLength string   `json:"minLength,omitempty"`
	MaxLength string   `json:"maxLength,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	Required  bool     `json:"required,omitempty"`
	Reference bool     `json:"mayRefer,omitempty"`
	Errors    []string `json:"errors,omitempty"`
	List      string   `json:"-"` // the suggestions beside it
	HelpAt    string   `json:"-"` // the field beside which the help stands, where that is another
	Default   string   `json:"default,omitempty"`
	// Rows are the entries of a list, each with a field for each column.
	Rows [][]*slot `json:"rows,omitempty"`

	path    []string
	clear   []string // what is removed where nothing is entered; the path if nil
	alone   bool     // what is wrong with what is around it is its fault
	field   reconciler.Field
	current json.RawMessage // what the document says, evaluated; nil in a new one
}

type choose struct{ Value, Text string }

// The controls that only a request's own fields have.
const (
	controlDate  reconciler.Control = "date"
	controlName  reconciler.Control = "name"  // a short text with suggestions
	controlRefer reconciler.Control = "refer" // nothing but a reference
)

// form is a form that is being answered.
type form struct {
	v     *view
	page  *formPage
	slots []*slot
	sent  url.Values // nil where nothing was
}

// number is what a browser and JSON both take for one.
var numberPattern = reconciler.Pattern(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

var namePattern = reconciler.Pattern(reconciler.NameForm)

// mostSuggestions bounds what stands in a page to choose from.
const mostSuggestions = 300

// ask is the form for a new request of a blueprint.
func ask(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	b, found := v.Platform.Blueprints[name]
	if !found {
		return nil, v.missing("blueprint", name, slices.Collect(maps.Keys(v.Platform.Blueprints)))
	}
	f, err := v.form(r)
	if err != nil {
		return nil, err
	}
	v.title, v.here = "Ask for "+b.Title, "/blueprints"
	f.page.Kind, f.page.Heading, f.page.Lead, f.page.Of = "new request", b.Title, b.Description, v.to("blueprint", name)
	f.page.Services = v.myServices()
	query := r.URL.Query()
	prefilled := func(key string) json.RawMessage {
		if query.Get(key) == "" {
			return nil
		}
		return jsonText(query.Get(key))
	}
	text := reconciler.Field{Control: reconciler.ControlText, MaxLength: 200}
	f.add(&slot{Name: "name", Label: "Name", Help: "What the request is called, for good: small letters, digits and hyphens.",
		field: reconciler.Field{Control: reconciler.ControlText, Pattern: reconciler.NameForm, MaxLength: 63, Required: true}}, prefilled("name"))
	f.add(&slot{Name: "service", Label: "Service", Help: "What it is for. The team that owns it owns the request.", List: "services", path: []string{"service"},
		field: reconciler.Field{Control: controlName, Pattern: reconciler.NameForm, Required: true}}, prefilled("service"))
	f.add(&slot{Name: "environment", Label: "Environment", Help: "Where it runs.", path: []string{"environment"},
		field: reconciler.Field{Control: reconciler.ControlChoice, Choices: v.environmentsOf(b), Required: true}}, prefilled("environment"))
	f.add(&slot{Name: "description", Label: "What it is for", path: []string{"description"}, field: text}, nil)
	f.inputs(b, nil)
	f.expiry(lifetime(b), nil)
	if f.sent == nil {
		return f.done(), nil
	}
	settings := append([]reconciler.Setting{{Path: []string{"blueprint"}, Value: jsonText(name)}}, f.settings()...)
	draft := Draft{Snapshot: v.Snapshot.entire(), Request: f.sent.Get("name"), Why: f.page.Why}
	draft.Subject = "Ask for " + draft.Request
	f.named(r.Context(), &draft)
	if !f.wrong() {
		if draft.Content, err = v.edits.Writer.Create(draft.Request, settings); err != nil {
			f.unwritten(err)
		}
	}
	if err := f.send(r.Context(), draft.by(v), f.sent.Get("do") == "submit"); err != nil {
		return nil, err
	}
	return f.done(), nil
}

// form begins a form for whoever asks for it, with what they sent.
func (v *view) form(r *http.Request) (*form, error) {
	if v.when != "" {
		return nil, moved(r.URL.Path) // the past stays as it was
	}
	if v.edits == nil {
		return nil, notFound{Kind: "form", Why: "This portal is for reading."}
	}
	f := &form{v: v, page: &formPage{Action: r.URL.Path, CSRF: v.csrf, SignIn: !v.person.MayWrite()}}
	if r.Method == http.MethodPost {
		f.sent = r.PostForm
		f.page.Why = strings.TrimSpace(f.sent.Get("why"))
		if len(f.page.Why) > 500 || !oneLine(f.page.Why) {
			f.page.Errors = append(f.page.Errors, "Why: expected one line of at most 500 characters.")
		}
	}
	return f, nil
}

// by adds who asks for a change.
func (d Draft) by(v *view) Draft {
	if v.person != nil {
		d.By = v.person.Identity
	}
	return d
}

// oneLine tells whether a text may stand in a line of a commit message.
func oneLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\r\n\t") && strings.IndexFunc(text, hides) < 0
}

// named finds the file of a new request, and says where its name or service
// cannot be.
func (f *form) named(ctx context.Context, draft *Draft) {
	name, service := f.slot("name"), f.slot("service")
	blame := func(s *slot, format string, args ...any) { s.Errors = append(s.Errors, fmt.Sprintf(format, args...)) }
	switch {
	case !namePattern().MatchString(draft.Request):
		blame(name, "expected small letters, digits and hyphens, such as checkout-db")
	case draft.Snapshot.indexed().request[draft.Request] != nil: // whoever may see it
		blame(name, "is taken: choose another name")
	}
	s, found := f.v.Platform.Services[f.sent.Get("service")]
	if !found {
		blame(service, "expected a service of this platform")
		return
	}
	asked := &reconciler.Request{Name: draft.Request, Service: s.Name, Environment: f.sent.Get("environment")}
	asked.JSON = jsonText(map[string]string{"name": asked.Name, "service": asked.Service, "environment": asked.Environment})
	if f.page.Denied = f.v.denied(ctx, "create", asked); f.page.Denied != nil {
		blame(service, "is not yours to ask for: see above whom to ask")
	}
	draft.File = path.Join(path.Dir(s.Position.File), draft.Request+".cue")
	if _, taken := draft.Snapshot.Tree.Find(draft.File); taken && len(name.Errors) == 0 {
		blame(name, "is taken: there is a file %s already", draft.File)
	}
}

func (f *form) slot(name string) *slot {
	for _, s := range f.slots {
		if s.Name == name {
			return s
		}
	}
	return &slot{}
}

// denial says whom to ask for what a team owns.
func (v *view) denial(team string, why []fault) *denial {
	t := v.Platform.Teams[team]
	return &denial{why, v.to("team", team), cmp.Or(t.Channel, t.OnCall)}
}

// myServices are the services that a person may ask for something for.
func (v *view) myServices() []string {
	var names []string
	for _, row := range v.services {
		if v.person.MayWrite() && v.person.RoleFor(v.Platform.Service(row.Name).Owner) != Developer && len(names) < mostSuggestions {
			names = append(names, row.Name)
		}
	}
	return names
}

// environmentsOf are the environments that a blueprint may be used in.
func (v *view) environmentsOf(b reconciler.Blueprint) []json.RawMessage {
	var all []json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Environments)) {
		if len(b.Environments) == 0 || slices.Contains(b.Environments, name) {
			all = append(all, jsonText(name))
		}
	}
	return all
}

// add adds a field, with what the document says for it or what it begins with.
func (f *form) add(s *slot, value json.RawMessage) {
	s.describe()
	if value == nil {
		value = s.field.Default
	}
	f.fill(s, value)
	f.slots = append(f.slots, s)
}

// describe sets how a field is shown.
func (s *slot) describe() {
	if s.field.Control == reconciler.ControlSwitch && s.field.Default == nil && s.current == nil { // it may also say nothing
		s.field.Control, s.field.Choices = reconciler.ControlChoice, []json.RawMessage{json.RawMessage("true"), json.RawMessage("false")}
	}
	d := s.field
	s.Control, s.Required, s.Reference = d.Control, d.Required, d.Reference
	s.Min, s.Max, s.MinLength, s.MaxLength, s.Pattern = d.Min, d.Max, amount(d.MinLength), amount(d.MaxLength), browserPattern(d.Pattern)
	if d.Control == reconciler.ControlChoice {
		if d.Reference && len(d.Choices) == 1 && string(d.Choices[0]) == `""` {
			s.Control = controlRefer
		}
		if !d.Required && d.Default == nil || d.Required {
			s.Choices = append(s.Choices, choose{"", map[bool]string{true: "choose one", false: "none"}[d.Required]})
		}
		for _, c := range d.Choices {
			s.Choices = append(s.Choices, choose{string(c), plain(c)})
		}
	}
	if d.Default != nil && !slices.Contains([]string{`""`, "[]", "{}"}, string(d.Default)) {
		s.Default = plain(d.Default)
	}
}

// fill sets what a field shows: what was sent, or the value.
func (f *form) fill(s *slot, value json.RawMessage) {
	if ref, is := reconciler.Reference(value); is && s.Reference {
		s.Ref = ref.Request + "." + ref.Output
	} else {
		s.Value = f.shown(s, value)
	}
	if s.Control == reconciler.ControlRows {
		f.fillRows(s, value)
		return
	}
	if f.sent != nil {
		s.Value, s.Ref = unix(f.sent.Get(s.Name)), strings.TrimSpace(f.sent.Get("ref."+s.Name))
	}
}

// shown is a value as its control shows it. One that the control cannot show is
// shown as data.
func (f *form) shown(s *slot, value json.RawMessage) string {
	var text string
	var lines []string
	switch {
	case value == nil:
		return ""
	case s.Control == reconciler.ControlChoice, s.Control == controlRefer:
		return string(value)
	case s.Control == reconciler.ControlText, s.Control == controlName, s.Control == controlDate:
		if json.Unmarshal(value, &text) == nil && !strings.ContainsAny(text, "\r\n") {
			return text
		}
	case s.Control == reconciler.ControlRows:
		if _, is := f.rowsOf(s, value); is {
			return ""
		}
	case s.Control == reconciler.ControlLines:
		if json.Unmarshal(value, &lines) == nil && !slices.ContainsFunc(lines, func(l string) bool { return l == "" || strings.ContainsAny(l, "\r\n") }) {
			return strings.Join(lines, "\n")
		}
	case s.Control != reconciler.ControlData:
		return string(value)
	}
	s.Control, s.Pattern = reconciler.ControlData, ""
	return f.v.edits.Writer.Text(value)
}

// unix gives text the ends of lines that files here have; browsers send others.
func unix(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// inputs adds the fields of a blueprint's inputs. request is what they are changed
// of; nil is a new one.
func (f *form) inputs(b reconciler.Blueprint, request *reconciler.Request) {
	names := slices.Collect(maps.Keys(b.Inputs))
	slices.SortFunc(names, func(x, y string) int {
		place := func(name string) int { return cmp.Or(b.Inputs[name].Field.Order, 1<<30) }
		return cmp.Or(cmp.Compare(place(x), place(y)), cmp.Compare(b.Inputs[x].Position.Line, b.Inputs[y].Position.Line), cmp.Compare(x, y))
	})
	refers := false
	for _, name := range names {
		in := b.Inputs[name]
		if in.Field.Fixed {
			f.page.Facts = append(f.page.Facts, fact{Label: cmp.Or(in.Field.Label, name), Text: plain(in.Field.Default), At: f.v.at(in.Position)})
			continue
		}
		s := &slot{Name: "input." + name, Label: cmp.Or(in.Field.Label, name), Help: in.Field.Help, path: []string{"inputs", name}, field: in.Field}
		var value json.RawMessage
		if request != nil {
			value = request.Inputs.Of(name)
			s.current = value
		}
		f.add(s, value)
		refers = refers || in.Field.Reference
	}
	if refers {
		f.page.Outputs = f.v.outputs()
	}
}

// outputs are outputs of requests to choose from, those of a person's own teams
// first.
func (v *view) outputs() []string {
	var own, others []string
	for _, row := range v.requests {
		q, live := v.Platform.Requests[row.Name]
		if !live {
			continue
		}
		for _, output := range slices.Sorted(maps.Keys(v.Platform.Blueprints[q.Blueprint].Outputs)) {
			if name := row.Name + "." + output; v.person != nil && slices.Contains(v.person.Teams, v.Platform.Service(q.Service).Owner) {
				own = append(own, name)
			} else if len(others) < mostSuggestions {
				others = append(others, name)
			}
		}
	}
	all := append(own, others...)
	return all[:min(len(all), mostSuggestions)]
}

// expiry adds the field for the last day.
func (f *form) expiry(lifetime string, current json.RawMessage) {
	help := "The last day on which it is needed."
	if lifetime != "" {
		help += " It lives " + lifetime + "."
	}
	f.add(&slot{Name: "expires", Label: "Last day", Help: help, path: []string{"expires"}, current: current, field: reconciler.Field{Control: controlDate}}, current)
}

// settings returns what was entered and differs from what is said already; what
// cannot be read is said at its field.
func (f *form) settings() []reconciler.Setting {
	var all []reconciler.Setting
	for _, s := range f.slots {
		if s.path == nil {
			continue
		}
		value, err := f.read(s)
		said := s.current
		if said == nil {
			said = s.field.Default
		}
		switch {
		case err != nil:
			s.Errors = append(s.Errors, err.Error())
		case sameJSON(value, said):
		case value != nil:
			all = append(all, reconciler.Setting{Path: s.path, Value: value})
		case s.current != nil && !sameJSON(s.current, s.field.Default):
			remove := s.clear
			if remove == nil {
				remove = s.path
			}
			all = append(all, reconciler.Setting{Path: remove})
		}
	}
	return all
}

// read returns the value that was entered; nil where nothing was.
func (f *form) read(s *slot) (json.RawMessage, error) {
	text := s.Value
	if !utf8.ValidString(text) || !utf8.ValidString(s.Ref) {
		return nil, fmt.Errorf("expected text in UTF-8")
	}
	if s.Reference && s.Ref != "" {
		i := strings.LastIndex(s.Ref, ".")
		if i <= 0 || i == len(s.Ref)-1 {
			return nil, fmt.Errorf("expected an output of a request, such as checkout-db.host; got %q", s.Ref)
		}
		return json.Marshal(map[string]any{"from": map[string]string{"request": s.Ref[:i], "output": s.Ref[i+1:]}})
	}
	if s.Control == reconciler.ControlRows {
		return f.readRows(s)
	}
	if s.Control == reconciler.ControlSwitch {
		return json.RawMessage(map[bool]string{true: "true", false: "false"}[text != ""]), nil
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	switch s.Control {
	case reconciler.ControlWhole, reconciler.ControlNumber:
		text = strings.TrimSpace(text)
		if !numberPattern().MatchString(text) {
			return nil, fmt.Errorf("expected a number; got %q", text)
		}
		return json.RawMessage(text), nil
	case reconciler.ControlChoice, controlRefer:
		if !slices.ContainsFunc(s.field.Choices, func(c json.RawMessage) bool { return string(c) == text }) {
			return nil, fmt.Errorf("expected one of what is offered; got %q", text)
		}
		return json.RawMessage(text), nil
	case reconciler.ControlLines:
		lines := strings.Split(text, "\n")
		return json.Marshal(slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" }))
	case reconciler.ControlData:
		return f.v.edits.Writer.Data(text)
	}
	return jsonText(text), nil
}

// jsonText makes a JSON string.
func jsonText[T string | map[string]string](text T) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // strings can always be encoded
	return bytes.TrimSpace(b.Bytes())
}

// sameJSON tells whether two values are the same, however they are written.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	read := func(value json.RawMessage) string {
		var x any
		decoder := json.NewDecoder(bytes.NewReader(value))
		decoder.UseNumber()
		_ = decoder.Decode(&x) // both were made here or by the evaluator
		canonical, _ := json.Marshal(x)
		return string(canonical)
	}
	return read(a) == read(b)
}

// done arranges the fields by their groups.
func (f *form) done() *formPage {
	if f.more() {
		f.page.Errors = nil
	}
	for _, s := range f.slots {
		if f.more() {
			s.excuse()
		}
		title := s.field.Group
		i := slices.IndexFunc(f.page.Groups, func(g fieldGroup) bool { return g.Title == title })
		if i < 0 {
			i = len(f.page.Groups)
			f.page.Groups = append(f.page.Groups, fieldGroup{Title: title})
		}
		f.page.Groups[i].Fields = append(f.page.Groups[i].Fields, s)
	}
	return f.page
}
