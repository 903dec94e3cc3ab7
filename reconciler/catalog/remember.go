package catalog

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/pave-dev/pave/reconciler"
)

// remembered is what an evaluator leaves to the next process of the same program.
type remembered struct {
	Files   []rememberedFile
	Answers map[string]answer
}

// rememberedFile is a file of documents.
type rememberedFile struct {
	reconciler.File
	ID       string
	Literal  bool
	Requests map[string]string
	Uses     []string
}

// Remember returns what the last pass knows, for another process of the same program
// to Recall. It returns nil while a pass goes on, or as long as little of it is news
// to who called it before.
func (e *Evaluator) Remember() any {
	if m := e.memory(); m != nil {
		return m
	}
	return nil
}

// memory copies what is to be remembered: no pass waits until it is written.
func (e *Evaluator) memory() *remembered {
	if !e.mu.TryLock() {
		return nil
	}
	defer e.mu.Unlock()
	if e.layout == nil || e.news == 0 || e.news*20 < len(e.cache) {
		return nil
	}
	e.news = 0
	m := remembered{Answers: maps.Clone(e.cache)}
	for key, a := range m.Answers {
		if a.exceeded { // another time it may be fast enough
			delete(m.Answers, key)
		}
	}
	for _, f := range e.layout.catalog {
		if f.Hash != "" && f.folder != "" {
			m.Files = append(m.Files, rememberedFile{f.File, f.id, f.literal, f.requests, f.uses})
		}
	}
	return &m
}

// Recall has the next pass find what another evaluator remembered, which is
// believed: it must come from this program, and from a process that evaluated what
// is trusted.
func (e *Evaluator) Recall(read func(into any) error) error {
	var m remembered
	if err := read(&m); err != nil {
		return fmt.Errorf("read what another evaluator knew: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache, e.layout, e.news = m.Answers, &layout{catalog: make(map[string]*file, len(m.Files))}, 0
	for _, f := range m.Files {
		e.layout.catalog[f.Path] = &file{File: f.File, folder: folderOf(f.Path), id: f.ID, literal: f.Literal, requests: f.Requests, uses: f.Uses}
	}
	return nil
}

// GobEncode writes the governance as a child does.
func (g *governance) GobEncode() ([]byte, error) { return json.Marshal(g) }

// GobDecode reads what GobEncode wrote.
func (g *governance) GobDecode(text []byte) error { return json.Unmarshal(text, g) }
