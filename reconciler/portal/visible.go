package portal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// visible returns what a person may see of a snapshot: itself, where no rule is
// about that. What the rules deny is not in what is returned, so that no page, list,
// search or number tells of it.
func (p *portal) visible(ctx context.Context, s *Snapshot, r rules) (*Snapshot, error) {
	if speaker, is := r.judge.(interface{ Speaks(kind string) bool }); is && !speaker.Speaks("view") {
		return s, nil
	}
	who, err := json.Marshal(r.person.visitor())
	if err != nil {
		panic(err) // it is made of texts
	}
	key := glimpse{s.Revision.Commit, r.judge, r.today.Revision.Commit, string(who)}
	// The status changes far more often than the platform does.
	h, err := p.hides.of(seenAt{s.key(), key}, mostPeople, func() (hidden, error) {
		declared, err := p.hidden.of(key, mostPeople, func() (hidden, error) { return r.declared(ctx, s.Platform) })
		if err != nil {
			return declared, err
		}
		return r.recorded(ctx, s, declared)
	})
	if err != nil || len(h.documents) == 0 {
		return s, err
	}
	return p.seen.of(sight{s.key(), h.digest}, max(1, mostSeen/max(1, s.size())), func() (*Snapshot, error) { return s.without(h), nil })
}

// glimpse is a platform as somebody may see it, by the rules of a day.
type glimpse struct {
	of    string // the commit
	judge reconciler.Judge
	today string // the commit
	who   string
}

// seenAt is a snapshot as somebody may see it.
type seenAt struct {
	snapshot string // its key
	glimpse  glimpse
}

// sight is a snapshot as all see it who may see the same.
type sight struct{ snapshot, hidden string }

// The people of whom it is kept what they may not see, and the documents of the
// snapshots that are kept without that: each has lists of its own.
const (
	mostPeople = 16
	mostSeen   = 50_000
)

// lately keeps what was made for the latest keys.
type lately[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V // guarded by mu
}

// of returns what is kept for a key, or makes it. At most so many are kept.
func (l *lately[K, V]) of(key K, most int, make func() (V, error)) (V, error) {
	l.mu.Lock()
	made, known := l.known[key]
	l.mu.Unlock()
	if known {
		return made, nil
	}
	made, err := make()
	if err != nil {
		return made, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= most {
		l.known = map[K]V{}
	}
	l.known[key] = made
	return made, nil
}

// document names one of a platform.
type document struct{ kind, name string }

// hidden are the documents that a person may not see, with the files that hold
// them.
type hidden struct {
	documents map[document]bool
	digest    string // of their names
	files     map[string]bool
	folders   []string // of documentation
}

// without returns the snapshot but for what is hidden.
func (s *Snapshot) without(h hidden) *Snapshot {
	platform := *s.Platform
	platform.Teams = without(h, "team", platform.Teams)
	platform.Environments = without(h, "environment", platform.Environments)
	platform.Blueprints = without(h, "blueprint", platform.Blueprints)
	platform.Services = without(h, "service", platform.Services)
	platform.Requests = without(h, "request", platform.Requests)

	record := *s.Record
	record.Units = without(h, "request", record.Units)
	record.Services = without(h, "service", record.Services)
	record.Platform.Warnings = nil // texts about anything
	if refused := record.Platform.Refused; refused != nil {
		seen := *refused
		seen.Violations = h.violations(seen.Violations)
		record.Platform.Refused = &seen
	}
	gone := func(name string) bool { return h.documents[document{"request", name}] }
	record.Platform.Deletions = slices.DeleteFunc(slices.Clone(record.Platform.Deletions), func(d reconciler.Deletion) bool { return gone(d.Request) })
	record.Platform.Orphans = slices.DeleteFunc(slices.Clone(record.Platform.Orphans), func(o reconciler.Orphan) bool { return gone(o.Request) })

	tree := *s.Tree
	tree.Files = slices.DeleteFunc(slices.Clone(tree.Files), func(f reconciler.File) bool { return h.file(f.Path) })
	return &Snapshot{
		Revision: s.Revision, Status: s.Status, Platform: &platform, Violations: h.violations(s.Violations), Record: &record, Tree: &tree,
		Log: h.log(s.Log), Changes: h.changes(s.Changes), Locate: s.Locate, asked: s.asked, library: s.library, whole: s, hidden: h,
	}
}

// seenBy are the snapshots of a portal as one person sees them.
type seenBy struct {
	portal *portal
	rules  rules
}

func (v seenBy) Now(ctx context.Context) (*Snapshot, error) {
	s, err := v.portal.Snapshots.Now(ctx)
	if err != nil {
		return nil, err
	}
	return v.portal.visible(ctx, s, v.rules)
}

func (v seenBy) At(ctx context.Context, when string) (*Snapshot, error) {
	s, err := v.portal.Snapshots.At(ctx, when)
	if err != nil {
		return nil, err
	}
	return v.portal.visible(ctx, s, v.rules)
}

// verdict returns what the rules of the snapshot say, and whether that is known
// yet: of what is not hidden from the person.
func (v *view) verdict(ctx context.Context, wait time.Duration) (Verdict, bool, error) {
	s := v.Snapshot
	if s.whole == nil {
		return v.judgements.of(ctx, s, wait)
	}
	verdict, known, err := v.judgements.of(ctx, s.whole, wait)
	verdict.Violations = s.hidden.violations(verdict.Violations)
	return verdict, known, err
}

func without[T any](h hidden, kind string, all map[string]T) map[string]T {
	seen := maps.Clone(all)
	maps.DeleteFunc(seen, func(name string, _ T) bool { return h.documents[document{kind, name}] })
	return seen
}

// ask hides a document that the rules deny to a person, or that goes with another.
func (h *hidden) ask(ctx context.Context, r rules, of reconciler.Subject, at reconciler.Position, with bool) error {
	of.Kind = "view"
	violations, err := r.ask(ctx, of)
	if with || denied(violations) {
		h.documents[document{of.Of, of.Name}] = true
		if at.File != "" {
			h.files[at.File] = true
		}
	}
	return err
}

// declared asks the rules about each document of a platform.
func (r rules) declared(ctx context.Context, p *reconciler.Platform) (hidden, error) {
	h := hidden{documents: map[document]bool{}, files: map[string]bool{}}
	var failed error
	for name, t := range p.Teams {
		failed = cmp.Or(failed, h.ask(ctx, r, about(p, "team", name, t.Document, ""), t.Position, false))
	}
	for name, e := range p.Environments {
		failed = cmp.Or(failed, h.ask(ctx, r, about(p, "environment", name, e.Document, ""), e.Position, false))
	}
	for name, b := range p.Blueprints {
		failed = cmp.Or(failed, h.ask(ctx, r, about(p, "blueprint", name, b.Document, ""), b.Position, false))
	}
	for name, one := range p.Services {
		failed = cmp.Or(failed, h.ask(ctx, r, about(p, "service", name, one.Document, name), one.Position, false))
		if h.documents[document{"service", name}] {
			h.says(one.JSON)
		}
	}
	for name, one := range p.Requests {
		failed = cmp.Or(failed, h.ask(ctx, r, about(p, "request", name, one.Document, one.Service), one.Position, h.documents[document{"service", one.Service}]))
	}
	return h, failed
}

// recorded asks the rules about what is recorded of requests that are no more, and
// returns what is hidden with that.
func (r rules) recorded(ctx context.Context, s *Snapshot, declared hidden) (hidden, error) {
	h := declared
	h.documents = maps.Clone(declared.documents)
	var failed error
	for name, u := range s.Record.Units {
		if _, lives := s.Platform.Requests[name]; lives {
			continue
		}
		last := jsonText(map[string]string{"name": name, "service": u.Service, "blueprint": u.Blueprint, "environment": u.Environment})
		of := about(s.Platform, "request", name, reconciler.Document{JSON: last}, u.Service)
		if of.Service == nil { // which is no more either
			of.Service, of.Team = jsonText(map[string]string{"name": u.Service, "owner": u.Owner}), s.Platform.Teams[u.Owner].JSON
		}
		failed = cmp.Or(failed, h.ask(ctx, r, of, reconciler.Position{}, h.documents[document{"service", u.Service}]))
	}
	h.digest = digest(h.documents)
	return h, failed
}

// digest identifies a set of documents.
func digest(documents map[document]bool) string {
	h := sha256.New()
	for _, d := range slices.SortedFunc(maps.Keys(documents), func(a, b document) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) }) {
		fmt.Fprintf(h, "%q %q\n", d.kind, d.name)
	}
	return string(h.Sum(nil))
}

// says hides the files of which a service says that they are about it.
func (h *hidden) says(service json.RawMessage) {
	var of struct {
		Docs string                        `json:"docs"`
		APIs []struct{ Definition string } `json:"apis"`
	}
	if json.Unmarshal(service, &of) != nil {
		return
	}
	if of.Docs != "" {
		h.folders = append(h.folders, path.Clean(of.Docs)+"/")
	}
	for _, api := range of.APIs {
		h.files[path.Clean(api.Definition)] = true
	}
}

func (h hidden) file(name string) bool {
	return h.files[name] || slices.ContainsFunc(h.folders, func(folder string) bool { return strings.HasPrefix(name, folder) })
}

func (h hidden) violations(all []reconciler.Violation) []reconciler.Violation {
	return slices.DeleteFunc(slices.Clone(all), func(v reconciler.Violation) bool {
		return h.documents[document{v.Kind, v.Name}] || h.file(v.Position.File)
	})
}

// log leaves out what status commits say of what is hidden.
func (h hidden) log(commits []Commit) []Commit {
	seen := slices.Clone(commits)
	for i, c := range seen {
		lines := strings.Split(c.Message, "\n")
		kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			unit, is := strings.CutPrefix(line, "Unit: ")
			name, _, _ := strings.Cut(unit, " ")
			return is && h.documents[document{"request", name}]
		})
		if len(kept) < len(lines) {
			seen[i].Subject, kept[0] = "Record what happened", "Record what happened"
			seen[i].Message = strings.Join(kept, "\n")
		}
	}
	return seen
}

// changes leaves out what commits of the tracked branch say that change what is
// hidden, or of which that is not known.
func (h hidden) changes(all []Change) []Change {
	seen := slices.Clone(all)
	for i, c := range seen {
		if len(c.Paths) == 0 || slices.ContainsFunc(c.Paths, h.file) {
			seen[i].Subject, seen[i].Message = "Change what is not shown", "Change what is not shown"
			seen[i].Paths = slices.DeleteFunc(slices.Clone(c.Paths), h.file)
		}
	}
	return seen
}
