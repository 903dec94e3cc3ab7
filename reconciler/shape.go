package reconciler

import (
	"maps"
	"slices"
)

// shape is what a unit is given but for the values: where its state is, whose
// outputs it uses, and the basis. Making it takes long beside deciding by it, and it
// is the same on every pass as long as the unit is.
type shape struct {
	unit     *Unit
	versions string // of the outputs that it uses
	address  string
	uses     []string // the requests whose outputs it uses, sorted
	basis    string
	err      error // why the unit cannot be rendered
}

// shapes remembers the shape of each unit by its name, for one engine.
type shapes struct {
	engine Engine
	known  map[string]*shape
	held   Shelves // of what they say: a row of shapes would keep units in memory that are gone
}

// of returns the shape of a unit. version tells that of another unit's outputs.
func (all *shapes) of(u *Unit, engine Engine, render func(Unit) (Rendering, error), version func(request string) string) *shape {
	if all.known == nil || all.engine != engine {
		*all = shapes{engine: engine, known: map[string]*shape{}}
	}
	if s := all.known[u.Name()]; s != nil && s.unit.same(u) && (s.err != nil || s.versions == s.versionsBy(version)) {
		s.unit = u // which the unit of an earlier revision must not outlive
		return s
	}
	s := &shape{unit: u}
	rendering, err := render(*u)
	if err != nil {
		s.err = err
	} else {
		s.address = rendering.Address
		for _, ref := range rendering.References {
			s.uses = append(s.uses, ref.Request)
		}
		slices.Sort(s.uses)
		s.versions = s.versionsBy(version)
		s.basis = basis(u.Module.Digest, rendering, engine, version)
	}
	all.hold(s)
	return s
}

// hold remembers a shape.
func (all *shapes) hold(s *shape) {
	all.held.Texts.Hold(&s.versions, &s.address, &s.basis)
	s.uses = all.held.List(s.uses, all.held.Texts.Hold)
	all.known[s.unit.Name()] = s
}

// shelve puts what all shapes say on new shelves.
func (all *shapes) shelve() {
	last := all.known
	*all = shapes{engine: all.engine, known: make(map[string]*shape, len(last))}
	for _, s := range last {
		all.hold(s)
	}
}

// versionsBy joins the versions of the outputs that a unit uses.
func (s *shape) versionsBy(version func(request string) string) string {
	var room [256]byte
	all := room[:0]
	for _, request := range s.uses {
		all = append(append(append(append(all, request...), ' '), version(request)...), '\n')
	}
	return string(all)
}

// same tells whether two units are the same in all that they are rendered from and
// that is recorded of them.
func (u *Unit) same(other *Unit) bool {
	if u == other || u == nil || other == nil {
		return u == other
	}
	return u.Request.same(other.Request.Document) && u.Service.same(other.Service.Document) &&
		u.Environment.same(other.Environment.Document) && u.Blueprint.same(other.Blueprint.Document) &&
		u.Module.Digest == other.Module.Digest && u.Request.Name == other.Request.Name
}

// same tells whether two documents are known to say the same, in the same files.
func (d Document) same(other Document) bool {
	return d.Digest != "" && d.Digest == other.Digest && slices.Equal(d.Sources, other.Sources)
}

// quiet are the units that the last pass kept as they were applied, with nothing to
// note of them, and why that is still so: the unit of the revision, the record, the
// settings and the day are what they were. A unit that uses others' outputs, or that
// anything else speaks of, is never among them. Nothing is decided of them.
type quiet struct {
	units    map[string]*Unit
	settling map[string]*Unit // that this pass keeps
	day      string
	engine   Engine
	settings string // the document
}

// of tells whether a unit is quiet.
func (q *quiet) of(name string, u *Unit) bool { return u != nil && q.units[name] == u }

// disturb notes that what is recorded or known of a unit may have changed.
func (q *quiet) disturb(name string) {
	delete(q.units, name)
	delete(q.settling, name)
}

// reset begins anew, where anything may have changed.
func (q *quiet) reset() { q.units, q.settling = map[string]*Unit{}, map[string]*Unit{} }

// begin prepares a pass.
func (q *quiet) begin(day string, engine Engine, settings Settings) {
	if q.units == nil || q.day != day || q.engine != engine || q.settings != string(settings.JSON) {
		q.reset()
		q.day, q.engine, q.settings = day, engine, string(settings.JSON)
	}
	clear(q.settling)
}

// settle ends a pass: what it kept and nothing was noted of is quiet.
func (q *quiet) settle() {
	maps.Copy(q.units, q.settling)
	clear(q.settling)
}

// keep forgets shapes of other units than those of a revision, where there are more.
func (all *shapes) keep(units map[string]*Unit) {
	if len(all.known) <= len(units) {
		return
	}
	maps.DeleteFunc(all.known, func(name string, _ *shape) bool { return units[name] == nil })
}
