package portal

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// edit is the form for a request that is there: to change it, extend it, suspend
// it, let it go on, or retire it.
func edit(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	q, found := v.Platform.Requests[name]
	if !found {
		return nil, v.missing("request", name, slices.Collect(maps.Keys(v.Platform.Requests)))
	}
	f, err := v.form(r)
	if err != nil {
		return nil, err
	}
	b := v.Platform.Blueprints[q.Blueprint]
	v.title, v.here = "Change "+name, "/requests"
	f.page.Kind, f.page.Heading, f.page.Of, f.page.MayEnd = "request", v.title, v.to("request", name), true
	f.page.Digest = q.Digest
	for _, fixed := range []struct{ label, kind, name, field string }{
		{"Blueprint", "blueprint", q.Blueprint, "blueprint"}, {"Service", "service", q.Service, "service"}, {"Environment", "environment", q.Environment, "environment"},
	} {
		f.page.Facts = append(f.page.Facts, fact{Label: fixed.label, Links: []link{v.to(fixed.kind, fixed.name)}, At: v.field(q.Position, "request", name, fixed.field)})
	}
	if err := v.edits.Writer.Writable(v.Snapshot.entire().Tree, q); err != nil {
		f.unwritten(err)
		return f.done(), nil
	}
	if v.person.MayWrite() {
		f.page.Denied = v.denied(r.Context(), "update", q)
	}
	f.lives(q, b)
	if f.sent == nil {
		return f.done(), nil
	}
	if f.page.Denied != nil {
		f.page.Errors = append(f.page.Errors, "It is not yours to change: see above whom to ask.")
	}
	if f.sent.Get("digest") != q.Digest {
		f.page.Errors = append(f.page.Errors, "Somebody changed the request meanwhile: look at what it says now, and send the form again if you still mean it.")
	}
	draft := Draft{Snapshot: v.Snapshot.entire(), Request: name, File: q.Position.File, Why: f.page.Why}
	f.changed(q, &draft)
	if err := f.send(r.Context(), draft.by(v), f.sent.Get("do") == "submit"); err != nil {
		return nil, err
	}
	return f.done(), nil
}

// lives adds the fields of a request that is there.
func (f *form) lives(q *reconciler.Request, b reconciler.Blueprint) {
	var doc map[string]json.RawMessage
	_ = json.Unmarshal(q.JSON, &doc) // it was evaluated
	text := reconciler.Field{Control: reconciler.ControlText, MaxLength: 200}
	f.add(&slot{Name: "description", Label: "What it is for", path: []string{"description"}, current: doc["description"], field: text}, doc["description"])
	f.inputs(b, q)
	f.expiry(lifetime(b), doc["expires"])
	f.add(&slot{Name: "protect", Label: "Protected from being destroyed", Help: "To retire what is protected, lift the protection first, in a change of its own.",
		path: []string{"protect"}, current: doc["protect"], field: reconciler.Field{Control: reconciler.ControlSwitch}}, doc["protect"])
	var reason json.RawMessage
	if q.Suspend != nil {
		reason = jsonText(q.Suspend.Reason)
	}
	f.add(&slot{Name: "suspend", Label: "Held as it is, because", Help: "A reason holds the request: nothing is planned or applied. Without one it goes on.",
		path: []string{"suspend", "reason"}, clear: []string{"suspend"}, alone: true, current: reason,
		field: reconciler.Field{Control: reconciler.ControlText, MinLength: 10, MaxLength: 500}}, reason)
}

// changed writes what was entered into the request's file.
func (f *form) changed(q *reconciler.Request, draft *Draft) {
	settings := f.settings()
	f.page.Retire = f.sent.Get("retire") != ""
	if f.wrong() {
		return
	}
	var err error
	switch {
	case f.page.Retire:
		draft.Subject = "Retire " + q.Name
		draft.Content, err = f.v.edits.Writer.Retire(f.v.Tree, q)
	case len(settings) == 0:
		f.page.Errors = append(f.page.Errors, "Nothing is changed.")
	default:
		draft.Subject = subjectOf(q, settings)
		draft.Content, err = f.v.edits.Writer.Change(f.v.Tree, q, settings)
	}
	if err != nil {
		f.unwritten(err)
	}
}

// subjectOf says in a line what settings do to a request.
func subjectOf(q *reconciler.Request, settings []reconciler.Setting) string {
	if len(settings) == 1 {
		switch s := settings[0]; {
		case s.Path[0] == "suspend" && s.Value == nil:
			return "Resume " + q.Name
		case s.Path[0] == "suspend" && q.Suspend == nil:
			return "Suspend " + q.Name
		case s.Path[0] == "expires" && s.Value != nil:
			return "Keep " + q.Name + " until " + plain(s.Value)
		}
	}
	return "Change " + q.Name
}
