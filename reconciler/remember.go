package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
)

// keptPart is a part of a record: all but its units and services, or some of those.
type keptPart struct {
	Record   *Record
	Units    []*UnitStatus
	Services []*ServiceStatus
}

// keptTogether is how many units or services are one part.
const keptTogether = 128

// Remember returns the record as it was published last, for another process of the
// same program to Recall. It returns nil as long as little of it is news to who
// called it before. It may be called at any time, and does not wait.
func (r *Reconciler) Remember() iter.Seq[any] {
	kept := r.kept.Swap(nil)
	if kept == nil {
		return nil
	}
	return func(yield func(any) bool) {
		if !yield(keptPart{Record: &Record{Tip: kept.Tip, Locks: kept.Locks, Platform: kept.Platform}}) {
			return
		}
		for units := range slices.Chunk(slices.Collect(maps.Values(kept.Units)), keptTogether) {
			if !yield(keptPart{Units: units}) {
				return
			}
		}
		for services := range slices.Chunk(slices.Collect(maps.Values(kept.Services)), keptTogether) {
			if !yield(keptPart{Services: services}) {
				return
			}
		}
	}
}

// Recall takes over the record that another process remembered, which is believed as
// the mirror is: what its commit holds need not be read.
func (r *Reconciler) Recall(read func(into any) error) error {
	kept := NewRecord()
	for {
		var p keptPart
		if err := read(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read the record of another process: %w", err)
		}
		if p.Record != nil {
			kept.Tip, kept.Platform = p.Record.Tip, p.Record.Platform
			maps.Copy(kept.Locks, p.Record.Locks)
		}
		for _, u := range p.Units {
			kept.Units[u.Request] = u
		}
		for _, s := range p.Services {
			kept.Services[s.Service] = s
		}
	}
	r.recalled, r.keptTip = kept, kept.Tip
	return nil
}

// readRecord reads the record at a commit of the status branch: of what another
// process remembered, only where that commit differs.
func (r *Reconciler) readRecord(ctx context.Context, commit string) (*Record, error) {
	known := r.recalled
	r.recalled = nil
	return RecordAt(ctx, r.Source, commit, known)
}

// keep has the record be remembered, unless what was remembered before is nearly
// the same and this is not the last time.
func (r *Reconciler) keep(last bool) {
	j := r.journal
	if j == nil || j.pending() || r.record.Tip == "" || r.record.Tip == r.keptTip {
		return
	}
	if little := j.news*20 < len(r.record.Units)+len(r.record.Services); little && !last && r.keptTip != "" {
		return
	}
	r.kept.Store(r.record.copy())
	r.keptTip, j.news = r.record.Tip, 0
}

// copy returns a record that does not change with this one: what is in a record is
// never changed, but another put in its place.
func (r *Record) copy() *Record {
	return &Record{Tip: r.Tip, Units: maps.Clone(r.Units), Services: maps.Clone(r.Services), Locks: maps.Clone(r.Locks), Platform: r.Platform}
}

// shelve puts all statuses on new shelves. Documents that a platform says as well are
// held once.
func (r *Record) shelve(p *Platform) {
	var held Shelves
	units, services := make(map[string]*UnitStatus, len(r.Units)), make(map[string]*ServiceStatus, len(r.Services))
	for _, u := range r.Units {
		u = held.unit(u, p.Request(u.Request).JSON)
		units[u.Request] = u
	}
	for _, s := range r.Services {
		s = held.service(s)
		services[s.Service] = s
	}
	r.Units, r.Services = units, services
}

// copy returns a status to be changed.
func (s *UnitStatus) copy() *UnitStatus {
	copied := *s
	copied.Conditions = slices.Clone(s.Conditions)
	if s.Drift != nil {
		drift := *s.Drift
		copied.Drift = &drift
	}
	return &copied
}

// copy returns a status to be changed.
func (s *ServiceStatus) copy() *ServiceStatus {
	copied := *s
	copied.Conditions = slices.Clone(s.Conditions)
	return &copied
}
