package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// remembered is a part of what an evaluator leaves to the next process of the same
// program: files of documents, or the answers to jobs by their keys.
type remembered struct {
	Files   []rememberedFile
	Answers map[digest]answer
}

// rememberedTogether is how many files or answers are one part.
const rememberedTogether = 128

// rememberedFile is a file of documents.
type rememberedFile struct {
	reconciler.File
	Literal  bool
	Requests []offer
	Uses     []string
}

// Remember returns what the last pass knows, for another process of the same program
// to Recall. It returns nil while a pass goes on, or as long as little of it is news
// to who called it before.
func (e *Evaluator) Remember() iter.Seq[any] {
	if !e.mu.TryLock() {
		return nil
	}
	defer e.mu.Unlock()
	if e.layout == nil || e.news == 0 || e.news*20 < len(e.cache) {
		return nil
	}
	e.news = 0
	answers := e.cache // a later pass makes another
	var files []rememberedFile
	for _, f := range e.layout.catalog {
		if f.Hash != "" && f.folder != "" {
			files = append(files, rememberedFile{f.File, f.literal, f.requests, f.uses})
		}
	}
	return func(yield func(any) bool) {
		for some := range slices.Chunk(files, rememberedTogether) {
			if !yield(remembered{Files: some}) {
				return
			}
		}
		for keys := range slices.Chunk(slices.Collect(maps.Keys(answers)), rememberedTogether) {
			some := map[digest]answer{}
			for _, key := range keys {
				if a := answers[key]; !a.exceeded { // another time it may be fast enough
					some[key] = *a
				}
			}
			if !yield(remembered{Answers: some}) {
				return
			}
		}
	}
}

// Recall has the next pass find what another evaluator remembered, which is
// believed: it must come from this program, and from a process that evaluated what
// is trusted.
func (e *Evaluator) Recall(read func(into any) error) error {
	answers, files := map[digest]*answer{}, map[string]*file{}
	held := &shelves{}
	for {
		var m remembered
		if err := read(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read what another evaluator knew: %w", err)
		}
		for _, f := range m.Files {
			held.Texts.Hold(&f.Path, &f.Hash)
			files[f.Path] = held.file(file{File: f.File, folder: folderOf(f.Path), id: f.Hash, literal: f.Literal, requests: f.Requests, uses: f.Uses})
		}
		for key, a := range m.Answers {
			answers[key] = held.answer(a, files)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache, e.layout, e.news, e.held = answers, &layout{catalog: files}, 0, held
	return nil
}

// GobEncode writes the governance as a child does.
func (g *governance) GobEncode() ([]byte, error) { return json.Marshal(g) }

// GobDecode reads what GobEncode wrote.
func (g *governance) GobDecode(text []byte) error { return json.Unmarshal(text, g) }
