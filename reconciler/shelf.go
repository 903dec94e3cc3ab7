package reconciler

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Shelf holds values of one type that stay for long close together. Go never moves a
// value: one that stays, made between those that were needed only to read it, would
// keep the room of all of them from being given back. The zero value is ready; it is
// for one goroutine. What it holds is freed by rows of a few kilobytes, each with all
// that any of its values refers to.
type Shelf[T any] struct {
	free []T
	held int // how many values there are
}

// shelfRow is the size of the longest row of a shelf, in bytes, as Go allocates it by
// itself: what it writes before values of this size counts.
const shelfRow = 8<<10 - 8

// rowFor is the length of a row for n values more where so many are held and most fit
// a row: no more than a fourth of all is ever free, so that few take no more room than
// they need.
func rowFor(n, held, most int) int { return max(n, min(held/4, most)) }

// Hold returns a copy of the values that has room for no more of them.
func (s *Shelf[T]) Hold(values []T) []T {
	switch {
	case values == nil:
		return nil
	case len(values) == 0:
		return []T{}
	}
	most := shelfRow / max(1, int(reflect.TypeFor[T]().Size()))
	if len(values) > most/4 {
		return slices.Clip(slices.Clone(values))
	}
	if len(values) > len(s.free) {
		s.free = make([]T, rowFor(len(values), s.held, most))
	}
	s.held += len(values)
	n := copy(s.free, values)
	held := s.free[:n:n]
	s.free = s.free[n:]
	return held
}

// HoldOne returns a pointer to a copy of the value.
func (s *Shelf[T]) HoldOne(value T) *T { return &s.Hold([]T{value})[0] }

// Texts hold strings close together.
type Texts struct {
	known map[string]string // those that many say
	row   strings.Builder
	held  int // how many bytes there are
}

// Share replaces strings that many say by one that is held once for all of them.
func (t *Texts) Share(texts ...*string) {
	for _, text := range texts {
		held, found := t.known[*text]
		if !found {
			held = *text
			t.Hold(&held)
			if t.known == nil {
				t.known = map[string]string{}
			}
			t.known[held] = held
		}
		*text = held
	}
}

// Hold replaces strings by copies that are held.
func (t *Texts) Hold(texts ...*string) {
	for _, text := range texts {
		if len(*text) > shelfRow/4 {
			*text = strings.Clone(*text)
			continue
		}
		if len(*text) > t.row.Cap()-t.row.Len() {
			t.row = strings.Builder{}
			t.row.Grow(rowFor(len(*text), t.held, shelfRow))
		}
		t.held += len(*text)
		from := t.row.Len()
		t.row.WriteString(*text)
		*text = t.row.String()[from:]
	}
}

// Shelves hold what documents and statuses say, of which there are tens of thousands.
type Shelves struct {
	Texts      Texts
	Bytes      Shelf[byte]
	Lists      Shelf[string]
	values     Shelf[Named[json.RawMessage]]
	Names      Shelf[Named[string]]
	conditions Shelf[Condition]
	services   Shelf[Service]
	requests   Shelf[Request]
	plans      Shelf[PlanSummary]
	units      Shelf[UnitStatus]
	statuses   Shelf[ServiceStatus]
}

// Service returns a copy of the service that is held. Its name and its document are
// held already, but for the digest.
func (s *Shelves) Service(of Service) *Service {
	s.Texts.Share(&of.Owner, &of.Type, &of.Lifecycle, &of.OnCall)
	s.Texts.Hold(&of.Title, &of.Sunset, &of.Successor, &of.Digest)
	of.DependsOn, of.Aliases = s.List(of.DependsOn, s.Texts.Hold), s.List(of.Aliases, s.Texts.Hold)
	return s.services.HoldOne(of)
}

// Request returns a copy of the request that is held. Its name and its document are
// held already, but for the digest.
func (s *Shelves) Request(of Request) *Request {
	s.Texts.Share(&of.Blueprint, &of.Environment, &of.Expires, &of.Deletion)
	s.Texts.Hold(&of.Service, &of.RenamedFrom, &of.Digest)
	of.Inputs, of.ShareWith = s.fields(of.Inputs), s.List(of.ShareWith, s.Texts.Hold)
	return s.requests.HoldOne(of)
}

// unit returns a copy of the status that is held. Its document is the one that is
// known, where that says the same.
func (s *Shelves) unit(of *UnitStatus, known json.RawMessage) *UnitStatus {
	u := *of
	s.Texts.Share(&u.Service, &u.Owner, &u.Blueprint, &u.Environment, &u.Stage, &u.ObservedRevision, &u.AppliedRevision, &u.Module, &u.FailedModule,
		&u.Unprotected, &u.Expires, &u.Engine, &u.State.Lineage, &u.FirstApplied, &u.LastApplied)
	s.Texts.Hold(&u.Request, &u.Fingerprint, &u.OutputsVersion, &u.State.Address, &u.ServiceDigest)
	u.Conditions = s.stated(u.Conditions)
	u.Resources, u.Doubt, u.Sensitive, u.Sources = s.List(u.Resources, s.Texts.Share), s.List(u.Doubt, s.Texts.Hold), s.List(u.Sensitive, s.Texts.Hold), s.List(u.Sources, s.Texts.Hold)
	u.Outputs = s.fields(u.Outputs)
	if u.Plan != nil {
		u.Plan = s.plans.HoldOne(*u.Plan)
		s.Texts.Hold(&u.Plan.Digest)
	}
	u.IDs = s.Names.Hold(u.IDs)
	for i := range u.IDs {
		s.Texts.Share(&u.IDs[i].Name)
		s.Texts.Hold(&u.IDs[i].Value)
	}
	if bytes.Equal(u.Document, known) {
		u.Document = known
	} else {
		u.Document = s.Bytes.Hold(u.Document)
	}
	return s.units.HoldOne(u)
}

// service returns a copy of the status that is held.
func (s *Shelves) service(of *ServiceStatus) *ServiceStatus {
	u := *of
	s.Texts.Share(&u.Owner, &u.Lifecycle)
	s.Texts.Hold(&u.Service)
	u.Requests = s.List(u.Requests, s.Texts.Hold)
	u.Conditions = s.stated(u.Conditions)
	return s.statuses.HoldOne(u)
}

// List returns a copy of a list that is held, and its texts as hold does it, which is
// one of the ways of Texts.
func (s *Shelves) List(texts []string, hold func(...*string)) []string {
	held := s.Lists.Hold(texts)
	for i := range held {
		hold(&held[i])
	}
	return held
}

func (s *Shelves) fields(f Fields[json.RawMessage]) Fields[json.RawMessage] {
	held := s.values.Hold(f)
	for i := range held {
		s.Texts.Share(&held[i].Name)
		held[i].Value = s.Bytes.Hold(held[i].Value)
	}
	return held
}

func (s *Shelves) stated(cs Conditions) Conditions {
	held := s.conditions.Hold(cs)
	for i := range held {
		c := &held[i]
		s.Texts.Share(&c.Type, &c.Reason, &c.Message, &c.Since)
	}
	return held
}
