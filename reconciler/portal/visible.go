package portal

import (
	"cmp"
	"context"
	"encoding/json"
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
	return p.seen.of(glimpse{s, r.judge, string(who)}, func() (*Snapshot, error) { return r.visible(ctx, s) })
}

// glimpses are what people saw lately.
type glimpses struct {
	mu    sync.Mutex
	known map[glimpse]*Snapshot // guarded by mu
}

type glimpse struct {
	of    *Snapshot
	judge reconciler.Judge
	who   string
}

// mostGlimpses is how many are kept. Each has lists of its own.
const mostGlimpses = 8

func (g *glimpses) of(key glimpse, look func() (*Snapshot, error)) (*Snapshot, error) {
	g.mu.Lock()
	seen := g.known[key]
	g.mu.Unlock()
	if seen != nil {
		return seen, nil
	}
	seen, err := look()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil || len(g.known) >= mostGlimpses {
		g.known = map[glimpse]*Snapshot{}
	}
	g.known[key] = seen
	return seen, nil
}

// document names one of a platform.
type document struct{ kind, name string }

// hidden are the documents that a person may not see, with the files that hold
// them.
type hidden struct {
	documents map[document]bool
	files     map[string]bool
	folders   []string // of documentation
}

func (r rules) visible(ctx context.Context, s *Snapshot) (*Snapshot, error) {
	h, err := r.hidden(ctx, s)
	if err != nil || len(h.documents) == 0 {
		return s, err
	}
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
	}, nil
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

// hidden asks the rules about each document, and about what is recorded of requests
// that are no more.
func (r rules) hidden(ctx context.Context, s *Snapshot) (hidden, error) {
	h := hidden{documents: map[document]bool{}, files: map[string]bool{}}
	var failed error
	judge := func(of reconciler.Subject, at reconciler.Position, with bool) {
		of.Kind = "view"
		violations, err := r.ask(ctx, of)
		failed = cmp.Or(failed, err)
		if with || denied(violations) {
			h.documents[document{of.Of, of.Name}] = true
			h.files[at.File] = true
		}
	}
	p := s.Platform
	for name, t := range p.Teams {
		judge(about(p, "team", name, t.Document, ""), t.Position, false)
	}
	for name, e := range p.Environments {
		judge(about(p, "environment", name, e.Document, ""), e.Position, false)
	}
	for name, b := range p.Blueprints {
		judge(about(p, "blueprint", name, b.Document, ""), b.Position, false)
	}
	for name, one := range p.Services {
		judge(about(p, "service", name, one.Document, name), one.Position, false)
		if h.documents[document{"service", name}] {
			h.says(one.JSON)
		}
	}
	for name, one := range p.Requests {
		judge(about(p, "request", name, one.Document, one.Service), one.Position, h.documents[document{"service", one.Service}])
	}
	for name, u := range s.Record.Units {
		if _, lives := p.Requests[name]; !lives {
			last, err := json.Marshal(map[string]string{"name": name, "service": u.Service, "blueprint": u.Blueprint, "environment": u.Environment})
			if err != nil {
				last = nil // of which there is no verdict
			}
			of := about(p, "request", name, reconciler.Document{JSON: last}, u.Service)
			if of.Team == nil {
				of.Team = p.Teams[u.Owner].JSON
			}
			judge(of, reconciler.Position{}, h.documents[document{"service", u.Service}])
		}
	}
	delete(h.files, "")
	delete(h.files, ".")
	return h, failed
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
