package git

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pave-dev/pave/reconciler"
)

// remembered is a folder as it was listed. Those in it follow, in their order, each
// with all that is in it.
type remembered struct {
	Hash    plumbing.Hash
	Files   []reconciler.File
	Folders []rememberedFolder
}

// rememberedFolder is what a folder is called, and how many files come before it.
type rememberedFolder struct {
	Name   string
	Behind int
}

// Remember returns how the tree that was used last was listed, for another process of
// the same program to Recall. It returns nil as long as little of it is news to who
// called it before.
func (m *Mirror) Remember() iter.Seq[any] {
	if !m.objects.mu.TryLock() {
		return nil
	}
	defer m.objects.mu.Unlock()
	if len(m.trees) == 0 {
		return nil
	}
	root := m.trees[len(m.trees)-1].root
	if m.news == 0 || m.news*20 < root.entries {
		return nil
	}
	m.news = 0
	return func(yield func(any) bool) { root.remember(yield) }
}

func (l *listing) remember(yield func(any) bool) bool {
	r := remembered{Hash: l.hash, Files: l.files}
	for _, f := range l.folders {
		r.Folders = append(r.Folders, rememberedFolder{f.name, f.behind})
	}
	if !yield(r) {
		return false
	}
	for _, f := range l.folders {
		if !f.remember(yield) {
			return false
		}
	}
	return true
}

// Recall has the trees that are listed from now on be compared with what another
// process remembered, which is believed as the mirror is: folders that are the same
// are not read, and no sizes of files are asked for.
func (m *Mirror) Recall(read func(into any) error) error {
	root, err := recall(read, &reconciler.Texts{})
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the tree that another process listed: %w", err)
	}
	m.keep(listed{root: root})
	return nil
}

func recall(read func(into any) error, held *reconciler.Texts) (*listing, error) {
	var r remembered
	if err := read(&r); err != nil {
		return nil, err
	}
	for i := range r.Files {
		held.Hold(&r.Files[i].Path, &r.Files[i].Hash)
	}
	l := &listing{hash: r.Hash, files: r.Files, entries: len(r.Files) + len(r.Folders)}
	for _, f := range r.Folders {
		folder, err := recall(read, held)
		if err != nil {
			return nil, noEOF(err)
		}
		l.folders = append(l.folders, subfolder{folder, f.Name, f.Behind})
		l.entries += folder.entries
	}
	return l, nil
}
