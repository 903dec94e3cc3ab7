package catalog

import "github.com/pave-dev/pave/reconciler"

// shelves hold what is known of files and their documents.
type shelves struct {
	reconciler.Shelves
	documents reconciler.Shelf[document]
	files     reconciler.Shelf[file]
	offers    reconciler.Shelf[offer]
	reads     reconciler.Shelf[*file]
	jobs      reconciler.Shelf[job]
	asked     reconciler.Shelf[asked]
	answers   reconciler.Shelf[answer]
}

// answer holds an answer. The paths of its documents stay with the files.
func (s *shelves) answer(a answer, files map[string]*file) *answer {
	a.Documents = s.documents.Hold(a.Documents)
	for i := range a.Documents {
		d := &a.Documents[i]
		s.Texts.Share(&d.Kind)
		s.Texts.Hold(&d.Name)
		d.JSON = s.Bytes.Hold(d.JSON)
		if f := files[d.Position.File]; f != nil {
			d.Position.File = f.Path
		}
	}
	return s.answers.HoldOne(a)
}

// job holds a job; the names in it stay with the files.
func (s *shelves) job(j job) *job {
	j.Own, j.sources, j.Uses, j.reads = s.Lists.Hold(j.Own), s.Lists.Hold(j.sources), s.Names.Hold(j.Uses), s.reads.Hold(j.reads)
	return s.jobs.HoldOne(j)
}

// file holds a file; its path and hash stay with the tree.
func (s *shelves) file(f file) *file {
	f.requests, f.uses = s.offers.Hold(f.requests), s.List(f.uses, s.Texts.Hold)
	for i := range f.requests {
		s.Texts.Hold(&f.requests[i].Name)
		s.Texts.Share(&f.requests[i].Blueprint)
	}
	return s.files.HoldOne(f)
}
