package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// gathered are the services and requests of the answers to some jobs. Those of the
// next revision are made of them, by what came and went: nearly all stay.
type gathered struct {
	jobs     []*job
	answers  []*answer
	services map[string]*reconciler.Service
	requests map[string]*reconciler.Request
	refused  map[docName]bool // that are in neither
	// apart tells that every name was declared once, and everything could be read.
	apart bool
	moved int // how many of the answers came since all were gathered
}

// docName is what a document is declared as.
type docName struct{ kind, name string }

// worn tells that so much changed since all was gathered, a tenth, that what is held of
// it keeps more in memory than is needed, see [reconciler.Shelf].
func (g gathered) worn() bool { return g.moved*10 > len(g.jobs) }

// mostMoved is the part of the jobs of which the answers may be others; where there
// are more, everything is gathered anew.
const mostMoved = 4

// next adds the documents of the answers to the jobs to the platform. A name that two
// files declare is refused in both.
func (g gathered) next(platform *reconciler.Platform, jobs []*job, answers []*answer, held *shelves) (gathered, []reconciler.Violation) {
	if next, ok := g.move(platform, jobs, answers, held); ok {
		return next, nil
	}
	return gather(platform, jobs, answers, held)
}

// move adds what the platform had before, but for what came and went. It is not
// sure of anything where a name is declared twice.
func (g gathered) move(platform *reconciler.Platform, jobs []*job, answers []*answer, held *shelves) (gathered, bool) {
	came, went := g.compare(jobs, answers)
	if !g.apart || (len(came)+len(went))*mostMoved > len(jobs) {
		return gathered{}, false
	}
	next := gathered{jobs: jobs, answers: answers, services: maps.Clone(g.services), requests: maps.Clone(g.requests), refused: maps.Clone(g.refused), apart: true, moved: g.moved + len(came)}
	platform.Services, platform.Requests = next.services, next.requests
	for _, a := range went {
		for _, d := range a.Documents {
			next.remove(d.named())
		}
	}
	for _, i := range came {
		for n := range answers[i].Documents {
			if d := (stated{&answers[i].Documents[n], jobs[i].sources}); next.has(d.named()) || !next.take(d, held) {
				return gathered{}, false
			}
		}
	}
	return next, true
}

func (g gathered) has(d docName) bool {
	_, service := g.services[d.name]
	_, request := g.requests[d.name]
	return g.refused[d] || service && d.kind == "service" || request && d.kind == "request"
}

func (g gathered) remove(d docName) {
	delete(g.refused, d)
	if d.kind == "service" {
		delete(g.services, d.name)
	} else {
		delete(g.requests, d.name)
	}
}

// take adds a document, and tells whether it could be read.
func (g gathered) take(d stated, held *shelves) bool {
	if d.JSON == nil {
		g.refused[d.named()] = true
		return true
	}
	return d.add(g, held) == nil
}

// stated is a document, and the files that decide what it says.
type stated struct {
	*document
	sources []string
}

// add reads the document into its type of the domain.
func (d stated) add(g gathered, held *shelves) error {
	if d.Kind == "service" {
		s, err := decode[reconciler.Service](*d.document)
		if s.Name, s.Document = d.Name, d.common(); err == nil {
			g.services[d.Name] = held.Service(s)
		}
		return err
	}
	r, err := decode[reconciler.Request](*d.document)
	if r.Name, r.Document = d.Name, d.common(); err == nil {
		g.requests[d.Name] = held.Request(r)
	}
	return err
}

func (d stated) common() reconciler.Document {
	return reconciler.Document{JSON: d.JSON, Digest: reconciler.SortedDocumentDigest(d.JSON), Position: d.Position, Sources: d.sources}
}

// compare returns the places of answers that are not the last ones, and the last ones
// that are none any longer. Jobs are in the order of their folders and files.
func (g gathered) compare(jobs []*job, answers []*answer) (came []int, went []*answer) {
	last := 0
	for i, j := range jobs {
		for last < len(g.jobs) && g.jobs[last] != j && g.jobs[last].compare(j) < 0 {
			went = append(went, g.answers[last])
			last++
		}
		if last == len(g.jobs) || g.jobs[last] != j && g.jobs[last].compare(j) > 0 {
			came = append(came, i)
			continue
		}
		if g.answers[last] != answers[i] || !slices.Equal(g.jobs[last].sources, j.sources) {
			came, went = append(came, i), append(went, g.answers[last])
		}
		last++
	}
	return came, append(went, g.answers[last:]...)
}

// compare orders jobs by what is asked about.
func (j *job) compare(other *job) int {
	if c := strings.Compare(j.Folder, other.Folder); c != 0 {
		return c
	}
	return strings.Compare(j.Own[0], other.Own[0])
}

func (d *document) named() docName { return docName{d.Kind, d.Name} }

// gather adds the documents of the answers to a platform that has none.
func gather(platform *reconciler.Platform, jobs []*job, answers []*answer, held *shelves) (gathered, []reconciler.Violation) {
	var violations []reconciler.Violation
	first := map[docName]stated{}
	twice := map[docName]bool{}
	for i, a := range answers {
		for n := range a.Documents {
			d := stated{&a.Documents[n], jobs[i].sources}
			other, found := first[d.named()]
			if !found {
				first[d.named()] = d
				continue
			}
			twice[d.named()] = true
			for _, pair := range [][2]stated{{d, other}, {other, d}} {
				violations = append(violations, reconciler.Violation{
					Level: reconciler.Deny, Scope: reconciler.ScopeDocument, Kind: d.Kind, Name: d.Name,
					Position: pair[0].Position,
					Message:  fmt.Sprintf("is declared in %s as well: a name belongs to one file", pair[1].Position),
					Hint:     "rename one of them, or move what both say into one file",
				})
			}
		}
	}
	g := gathered{jobs: jobs, answers: answers, services: map[string]*reconciler.Service{}, requests: map[string]*reconciler.Request{}, refused: map[docName]bool{}}
	platform.Services, platform.Requests = g.services, g.requests
	for key, d := range first {
		if twice[key] {
			continue
		}
		if d.JSON == nil {
			g.refused[key] = true
			continue
		}
		if err := d.add(g, held); err != nil {
			violations = append(violations, reconciler.Violation{
				Level: reconciler.Deny, Scope: reconciler.ScopeDocument, Kind: d.Kind, Name: d.Name,
				Position: d.Position, Message: err.Error(),
			})
		}
	}
	g.apart = len(violations) == 0
	return g, violations
}
