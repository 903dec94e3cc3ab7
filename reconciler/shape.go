package reconciler

import (
	"slices"
	"strings"
)

// shape is what a unit is given but for the values: where its state is, whose
// outputs it uses, and the basis. Making it takes long beside deciding by it, and it
// is the same on every pass as long as the unit is.
type shape struct {
	unit       *Unit
	engine     Engine
	versions   string // of the outputs that it uses
	address    string
	references map[string]Ref
	basis      string
	err        error // why the unit cannot be rendered
}

// shapes remembers the shape of each unit by its name.
type shapes map[string]*shape

// of returns the shape of a unit. version tells that of another unit's outputs.
func (all shapes) of(u *Unit, engine Engine, render func(Unit) (Rendering, error), version func(request string) string) *shape {
	name := u.Name()
	s := all[name]
	if s != nil && s.engine == engine && s.unit.same(u) && (s.err != nil || s.versions == s.versionsBy(version)) {
		return s
	}
	s = &shape{unit: u, engine: engine}
	rendering, err := render(*u)
	if err != nil {
		s.err = err
	} else {
		s.address, s.references = rendering.Address, rendering.References
		s.versions = s.versionsBy(version)
		s.basis = basis(u.Module.Digest, rendering, engine, version)
	}
	all[name] = s
	return s
}

// versionsBy joins the versions of the outputs that a unit uses.
func (s *shape) versionsBy(version func(request string) string) string {
	if len(s.references) == 0 {
		return ""
	}
	var all []string
	for _, ref := range s.references {
		all = append(all, ref.Request+" "+version(ref.Request))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
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

// quiet are the units that the last pass kept as they were applied, and why that is
// still so: the unit of the revision, the record, and the day are what they were. A
// unit that uses others' outputs, or that anything else speaks of, is never among
// them.
type quiet struct {
	units  map[string]*Unit
	day    string
	engine Engine
}

// of tells whether a unit is quiet.
func (q *quiet) of(u *Unit) bool { return u != nil && q.units[u.Name()] == u }

// disturb notes that what is recorded or known of a unit may have changed.
func (q *quiet) disturb(name string) {
	if q != nil {
		delete(q.units, name)
	}
}

// reset begins anew, where anything may have changed.
func (q *quiet) reset() {
	if q != nil {
		q.units = map[string]*Unit{}
	}
}

// begin prepares a pass.
func (q *quiet) begin(day string, engine Engine) {
	if q.units == nil || q.day != day || q.engine != engine {
		q.reset()
		q.day, q.engine = day, engine
	}
}

// inherit takes the units of an earlier revision where they are the same, so that
// they are known to be without a look at them.
func (c *Checked) inherit(earlier *Checked) {
	if earlier == nil {
		return
	}
	for name, u := range c.Units {
		if old, found := earlier.Units[name]; found && old.same(u) && old.Request.Position == u.Request.Position && old.Service.Position == u.Service.Position {
			c.Units[name] = old
		}
	}
}

// keep forgets the shapes of all units but those of a revision.
func (all shapes) keep(units map[string]*Unit) {
	for name := range all {
		if _, found := units[name]; !found {
			delete(all, name)
		}
	}
}
