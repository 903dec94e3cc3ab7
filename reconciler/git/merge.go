package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/pave-dev/pave/reconciler"
)

// maxCrossings is how many merges are made to find out what two branches
// started from that were merged into each other.
const maxCrossings = 16

var errCrossed = refuse("the branches were merged into each other too often; merge the tracked branch into the pull request once more: git merge")

// ConflictError reports that two commits cannot be merged without a person.
type ConflictError struct {
	Paths []string // sorted
}

// Error names the paths, as many as fit, and says what to type.
func (e *ConflictError) Error() string {
	const most = 8
	names, more := e.Paths, ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("both sides changed %s%s; merge the tracked branch into the pull request: git merge", printable(strings.Join(names, ", ")), more)
}

// Merge returns what merging head into base makes, as Git would do it but
// without looking for renames: what one side renamed and the other changed is a
// conflict. The error is a [*ConflictError] where a person has to decide.
//
// The revision is head's, at the later of the two commits' times: a merge is not
// older than what it merges, and the time of the day must not change a verdict.
func (q *Quarantine) Merge(ctx context.Context, base, head string) (reconciler.Revision, *reconciler.Tree, error) {
	revision, err := q.Revision(ctx, head)
	if err != nil {
		return reconciler.Revision{}, nil, err
	}
	into, err := q.Revision(ctx, base)
	if err != nil {
		return reconciler.Revision{}, nil, err
	}
	if into.Time.After(revision.Time) {
		revision.Time = into.Time
	}
	var listed *listing
	err = q.do(ctx, func(s store) error {
		m := merger{ctx: ctx, store: s, maxFile: q.maxFile}
		root, err := m.commits(plumbing.NewHash(base), plumbing.NewHash(head))
		if err != nil {
			return err
		}
		listed, err = q.list(ctx, s, root)
		return err
	})
	if err != nil {
		return reconciler.Revision{}, nil, fmt.Errorf("merge %s into %s: %w", revision.Short(), into.Short(), err)
	}
	return revision, q.treeOf(listed), nil
}

// Honest tells whether a commit brings nothing but what its parents say: one
// with one parent or none is, its changes are its own, and one with two is where
// its tree is what [Quarantine.Merge] would make of them. Any other is not: not
// where a person decided, nor where what a merge makes cannot be told. Nothing is
// written to the repository.
func (o *objects) Honest(ctx context.Context, commit string) (honest bool, merged string, err error) {
	hash, err := parseHash(commit)
	if err != nil {
		return false, "", err
	}
	err = o.do(ctx, func(s store) error {
		c, err := readCommit(s, hash)
		if err != nil || len(c.ParentHashes) != 2 {
			honest = err == nil && len(c.ParentHashes) < 2
			return err
		}
		merged = c.ParentHashes[1].String()
		honest, err = o.honest(ctx, s, c)
		return err
	})
	if _, refused := errors.AsType[refusal](err); refused {
		return false, merged, nil
	}
	if err != nil {
		return false, "", fmt.Errorf("merge the parents of %s again: %w", commit, err)
	}
	return honest, merged, nil
}

// honest tells whether a merge of two is what Git makes of them.
func (o *objects) honest(ctx context.Context, s store, c *object.Commit) (bool, error) {
	beyond, err := pastShallow(s)
	if err != nil || beyond[c.ParentHashes[0]] || beyond[c.ParentHashes[1]] {
		return false, err
	}
	m := merger{ctx: ctx, store: &scratch{s, map[plumbing.Hash]plumbing.EncodedObject{}}, maxFile: o.maxFile}
	root, err := m.commits(c.ParentHashes[0], c.ParentHashes[1])
	return err == nil && root == c.TreeHash, err
}

// scratch keeps in memory what is made, and finds in a repository, which it
// never writes to, what it lacks.
type scratch struct {
	store
	made map[plumbing.Hash]plumbing.EncodedObject
}

func (s *scratch) SetEncodedObject(obj plumbing.EncodedObject) (plumbing.Hash, error) {
	s.made[obj.Hash()] = obj
	return obj.Hash(), nil
}

func (s *scratch) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if obj := s.made[hash]; obj != nil && (kind == plumbing.AnyObject || kind == obj.Type()) {
		return obj, nil
	}
	return s.store.EncodedObject(kind, hash)
}

func (s *scratch) HasEncodedObject(hash plumbing.Hash) error {
	if s.made[hash] != nil {
		return nil
	}
	return s.store.HasEncodedObject(hash)
}

func (s *scratch) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	if obj := s.made[hash]; obj != nil {
		return obj.Size(), nil
	}
	return s.store.EncodedObjectSize(hash)
}

// merger merges folders of a repository. What it makes it writes to the store.
type merger struct {
	ctx       context.Context
	store     store
	maxFile   int64
	crossings int
	virtual   int // greater than 0 while a common ancestor is being made
	conflicts []string
}

// commits returns the folder that merging two commits makes.
func (m *merger) commits(base, head plumbing.Hash) (plumbing.Hash, error) {
	ancestor, err := m.ancestor([]plumbing.Hash{base}, head)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	ours, err := m.root(base)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	theirs, err := m.root(head)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	root, err := m.folders("", ancestor, ours, theirs)
	if err == nil && len(m.conflicts) > 0 {
		slices.Sort(m.conflicts)
		err = refusal{&ConflictError{Paths: slices.Compact(m.conflicts)}}
	}
	if err == nil && root.IsZero() {
		root, err = putObject(m.store, plumbing.TreeObject, nil)
	}
	return root, err
}

func (m *merger) root(commit plumbing.Hash) (plumbing.Hash, error) {
	c, err := readCommit(m.store, commit)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.TreeHash, nil
}

// ancestor returns the folder that the tips, taken for one commit, and the
// other started from. Where they have several latest common ancestors, those
// are merged, as Git does it: any single one would make what the other brought
// look like a change of both sides, or a revert of it like none.
func (m *merger) ancestor(tips []plumbing.Hash, other plumbing.Hash) (plumbing.Hash, error) {
	bases, err := mergeBases(m.ctx, m.store, tips, other)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if len(bases) == 0 {
		if m.virtual > 0 {
			return plumbing.ZeroHash, nil
		}
		return plumbing.ZeroHash, refuse("the two share no history; start the branch from the tracked one: git rebase")
	}
	merged, err := m.root(bases[0])
	for i := 1; i < len(bases) && err == nil; i++ {
		merged, err = m.cross(merged, bases[:i], bases[i])
	}
	return merged, err
}

// cross merges one more common ancestor into what was made of those before.
func (m *merger) cross(merged plumbing.Hash, before []plumbing.Hash, next plumbing.Hash) (plumbing.Hash, error) {
	if m.crossings++; m.crossings > maxCrossings {
		return plumbing.ZeroHash, errCrossed
	}
	m.virtual++
	defer func() { m.virtual-- }()
	ancestor, err := m.ancestor(before, next)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	theirs, err := m.root(next)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return m.folders("", ancestor, merged, theirs)
}

// slot is an entry of a folder. A zero slot is none.
type slot struct {
	mode filemode.FileMode
	hash plumbing.Hash
}

// names is a folder: a name may stand for a file on one side and for a folder
// on the other, which are merged apart.
type names struct{ files, folders map[string]slot }

func (m *merger) names(folder string, hash plumbing.Hash) (names, error) {
	n := names{map[string]slot{}, map[string]slot{}}
	if hash.IsZero() {
		return n, nil
	}
	entries, err := readFolder(m.store, folder, hash)
	for _, e := range entries {
		if e.Mode == dirMode {
			n.folders[e.Name] = slot{e.Mode, e.Hash}
		} else {
			n.files[e.Name] = slot{e.Mode, e.Hash}
		}
	}
	return n, err
}

// folders merges a folder; a zero hash is one that does not exist.
func (m *merger) folders(path string, base, ours, theirs plumbing.Hash) (plumbing.Hash, error) {
	switch {
	case ours == theirs, theirs == base:
		return ours, nil
	case ours == base:
		return theirs, nil
	}
	if m.ctx.Err() != nil {
		return plumbing.ZeroHash, context.Cause(m.ctx)
	}
	var sides [3]names
	all := map[string]bool{}
	for i, hash := range []plumbing.Hash{base, ours, theirs} {
		var err error
		if sides[i], err = m.names(path, hash); err != nil {
			return plumbing.ZeroHash, err
		}
		for _, entries := range []map[string]slot{sides[i].files, sides[i].folders} {
			for name := range entries {
				all[name] = true
			}
		}
	}
	var entries []object.TreeEntry
	for _, name := range slices.Sorted(maps.Keys(all)) {
		merged, err := m.name(below(path, name), name, sides)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if merged != (slot{}) {
			entries = append(entries, object.TreeEntry{Name: name, Mode: merged.mode, Hash: merged.hash})
		}
	}
	return putTree(m.store, entries)
}

// name merges what one name of a folder stands for.
func (m *merger) name(path, name string, sides [3]names) (slot, error) {
	dir, err := m.folders(path, sides[0].folders[name].hash, sides[1].folders[name].hash, sides[2].folders[name].hash)
	if err != nil {
		return slot{}, err
	}
	file, err := m.file(path, sides[0].files[name], sides[1].files[name], sides[2].files[name])
	switch {
	case err != nil || dir.IsZero():
		return file, err
	case file == slot{}:
		return slot{dirMode, dir}, nil
	}
	return m.conflict(path), nil
}

// conflict notes a path. In a common ancestor there stands something then that
// no side has: nothing is merged by what it says.
func (m *merger) conflict(path string) slot {
	if m.virtual == 0 {
		m.conflicts = append(m.conflicts, path)
	}
	return slot{undecided, plumbing.ComputeHash(plumbing.BlobObject, []byte("undecided "+path))}
}

// undecided is the mode of what stands for a conflict in a common ancestor.
const undecided = filemode.Submodule

// file merges a path that is no folder.
func (m *merger) file(path string, base, ours, theirs slot) (slot, error) {
	none := slot{}
	switch {
	case ours == theirs, theirs == base:
		return ours, nil
	case ours == base:
		return theirs, nil
	case ours == none, theirs == none, !regular(ours), !regular(theirs), base.mode == undecided:
		return m.conflict(path), nil
	}
	mode, ok := three(base.mode, ours.mode, theirs.mode)
	if !ok {
		return m.conflict(path), nil
	}
	if hash, ok := three(base.hash, ours.hash, theirs.hash); ok {
		return slot{mode, hash}, nil
	}
	hash, ok, err := m.content(base, ours, theirs)
	if err != nil {
		return none, fmt.Errorf("merge %s: %w", path, err)
	}
	if !ok {
		return m.conflict(path), nil
	}
	return slot{mode, hash}, nil
}

func regular(s slot) bool {
	mode, known := modes[s.mode]
	return known && (mode == reconciler.Regular || mode == reconciler.Executable)
}

// three returns the value that one side changed, or both to the same.
func three[T comparable](base, ours, theirs T) (T, bool) {
	if ours == base {
		return theirs, true
	}
	return ours, ours == theirs || theirs == base
}

// content merges what both sides changed line by line. A file too large to be
// read is a conflict, as one that is not text is.
func (m *merger) content(base, ours, theirs slot) (hash plumbing.Hash, ok bool, err error) {
	var texts [3][]byte
	for i, s := range []slot{base, ours, theirs} {
		if !regular(s) { // both sides made the file
			continue
		}
		size, err := blobSize(m.store, s.hash)
		if err != nil {
			return hash, false, err
		}
		if size > m.maxFile {
			return hash, false, nil
		}
		if texts[i], err = readBlob(m.store, s.hash); err != nil {
			return hash, false, err
		}
		if binaryFile(texts[i]) {
			return hash, false, nil
		}
	}
	merged, ok, err := mergeLines(m.ctx, texts[0], texts[1], texts[2])
	if err != nil || !ok {
		return hash, false, err
	}
	hash, err = putObject(m.store, plumbing.BlobObject, merged)
	return hash, err == nil, err
}

// binaryFile tells whether Git would take the content for something else than text.
func binaryFile(content []byte) bool {
	return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0
}

// mergeBases returns the latest commits that the other one and, taken for one,
// the tips have in common, the oldest first.
func mergeBases(ctx context.Context, s store, tips []plumbing.Hash, other plumbing.Hash) ([]plumbing.Hash, error) {
	g, err := newGraph(ctx, s)
	if err != nil {
		return nil, err
	}
	found, err := g.common(tips, []plumbing.Hash{other})
	if err != nil {
		return nil, err
	}
	if len(found) > maxCrossings+1 {
		return nil, errCrossed
	}
	// A clock that went wrong can make one of them an ancestor of another.
	var bases []plumbing.Hash
	for i, hash := range found {
		rest := slices.Delete(slices.Clone(found), i, i+1)
		behind := false
		if len(rest) > 0 {
			common, err := g.common(rest, []plumbing.Hash{hash})
			if err != nil {
				return nil, err
			}
			behind = slices.Contains(common, hash)
		}
		if !behind {
			bases = append(bases, hash)
		}
	}
	slices.Reverse(bases)
	return bases, nil
}

// graph reads commits for their parents and times.
type graph struct {
	ctx    context.Context
	store  store
	beyond map[plumbing.Hash]bool // left out by a shallow clone
	read   map[plumbing.Hash]*object.Commit
}

func newGraph(ctx context.Context, s store) (*graph, error) {
	beyond, err := pastShallow(s)
	return &graph{ctx, s, beyond, map[plumbing.Hash]*object.Commit{}}, err
}

func (g *graph) commit(hash plumbing.Hash) (*object.Commit, error) {
	if c := g.read[hash]; c != nil {
		return c, nil
	}
	if g.ctx.Err() != nil {
		return nil, context.Cause(g.ctx)
	}
	c, err := readCommit(g.store, hash)
	if err == nil {
		g.read[hash] = c
	}
	return c, err
}

// What is known of a commit during a walk.
const (
	ofOne   = 1 << iota // it led to one of the first commits
	ofOther             // it led to one of the second
	passed              // it led to a common one that was found
)

// common returns the commits that led to one of the first and to one of the
// second, without those that led to another such commit, the latest first. It
// walks from the latest commit to earlier ones until all that is left is known
// to have led to one that was found.
func (g *graph) common(ones, others []plumbing.Hash) ([]plumbing.Hash, error) {
	w := walk{graph: g, marks: map[plumbing.Hash]int{}}
	if err := errors.Join(w.reach(ones, ofOne), w.reach(others, ofOther)); err != nil {
		return nil, err
	}
	var found []plumbing.Hash
	for w.open > 0 {
		c, marks := w.latest()
		if marks == ofOne|ofOther {
			found = append(found, c.Hash)
			marks |= passed
		}
		if err := w.reach(c.ParentHashes, marks); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(found, func(h plumbing.Hash) bool { return w.marks[h]&passed != 0 }), nil
}

// walk is one way through the graph, from later commits to earlier ones.
type walk struct {
	*graph
	marks map[plumbing.Hash]int
	queue []*object.Commit // the latest last
	open  int              // of the queue, those that may still lead to a common commit
}

// reach marks commits and puts those that were not marked so into the queue.
func (w *walk) reach(commits []plumbing.Hash, marks int) error {
	for _, hash := range commits {
		before := w.marks[hash]
		if w.beyond[hash] || before|marks == before {
			continue
		}
		c, err := w.commit(hash)
		if err != nil {
			return err
		}
		w.marks[hash] |= marks
		i, queued := slices.BinarySearchFunc(w.queue, c, later)
		if !queued {
			w.queue = slices.Insert(w.queue, i, c)
		}
		if queued && before&passed == 0 {
			w.open--
		}
		if w.marks[hash]&passed == 0 {
			w.open++
		}
	}
	return nil
}

func later(a, b *object.Commit) int {
	if order := a.Committer.When.Compare(b.Committer.When); order != 0 {
		return order
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

// latest takes the latest commit from the queue.
func (w *walk) latest() (*object.Commit, int) {
	last := len(w.queue) - 1
	c := w.queue[last]
	w.queue = w.queue[:last]
	marks := w.marks[c.Hash]
	if marks&passed == 0 {
		w.open--
	}
	return c, marks
}
