package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/pave-dev/pave/reconciler"
)

// keptTrees is the number of listed trees that are kept: the tracked one, the
// status branch's, and what they are compared with.
const keptTrees = 4

// objects reads commits and trees of a repository on disk. It is what a mirror
// and a clone share.
type objects struct {
	maxFile int64
	open    func() (store, error)
	// heal is called when an object stays missing after a fresh look at the
	// disk; nil where nothing can be done about it.
	heal func(ctx context.Context, cause error) error

	mu      sync.Mutex // go-git's storage serves one goroutine at a time
	storage store      // guarded by mu; nil before the first use
	trees   []listed   // guarded by mu; the last used last
	news    int        // guarded by mu; how many files were listed that nobody remembers
}

// listed is the tree of a commit.
type listed struct {
	commit string
	root   *listing
	tree   *reconciler.Tree
}

// store is a repository that objects are read from and packs are written to.
type store interface {
	storage.Storer
	storer.PackfileWriter
	io.Closer
}

// do runs f on the storage, again on one opened afresh, and once more after
// healing, as long as it fails on what the disk holds.
func (o *objects) do(ctx context.Context, f func(store) error) error {
	err := o.retry(ctx, f)
	if !damaged(err) || o.heal == nil {
		return err
	}
	if healing := o.heal(ctx, err); healing != nil {
		// Not %w twice: a commit that could not be fetched is not an unknown one.
		return fmt.Errorf("%v; restore the mirror: %w", err, healing)
	}
	return o.once(ctx, f)
}

// retry runs f once more on a storage opened afresh: a repack by another
// process moves objects away from where an open one looks.
func (o *objects) retry(ctx context.Context, f func(store) error) error {
	err := o.once(ctx, f)
	if !damaged(err) {
		return err
	}
	o.forget()
	return o.once(ctx, f)
}

func (o *objects) once(ctx context.Context, f func(store) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storage == nil {
		s, err := o.open()
		if err != nil {
			return err
		}
		o.storage = s
	}
	return f(o.storage)
}

// Relax gives back what was read only to find the next thing faster. It may be called
// at any time.
func (o *objects) Relax() { o.forget() }

// forget closes the storage, so that the next use opens it afresh.
func (o *objects) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// drop is forget. The caller holds mu.
func (o *objects) drop() {
	if o.storage != nil {
		o.storage.Close() // it was read from; there is nothing to lose
	}
	o.storage = nil
}

func damaged(err error) bool {
	_, refused := errors.AsType[refusal](err)
	return err != nil && !refused && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// openStorage opens a repository. Packs stay open: one that a repack removed
// still answers, and what is not found is looked for afresh.
func openStorage(fs billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(8*cache.MiByte),
		filesystem.Options{KeepDescriptors: true, AlternatesFS: osfs.New("/")})
}

// parseHash reads a full hash: nothing else may stand for a commit.
func parseHash(commit string) (plumbing.Hash, error) {
	if len(commit) != 40 || strings.Trim(commit, "0123456789abcdef") != "" {
		return plumbing.ZeroHash, refuse("read commit: %q is not a full hash", commit)
	}
	return plumbing.NewHash(commit), nil
}

func readCommit(s storer.EncodedObjectStorer, hash plumbing.Hash) (*object.Commit, error) {
	c, err := object.GetCommit(s, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("read commit %s: %w", hash, ErrUnknownCommit)
	}
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	return c, nil
}

// commit reads one commit.
func (o *objects) commit(ctx context.Context, commit string) (*object.Commit, error) {
	hash, err := parseHash(commit)
	if err != nil {
		return nil, err
	}
	var c *object.Commit
	err = o.do(ctx, func(s store) (err error) {
		c, err = readCommit(s, hash)
		return err
	})
	return c, err
}

// Revision returns what is known of a commit. The error is ErrUnknownCommit
// where the repository does not hold it.
func (o *objects) Revision(ctx context.Context, commit string) (reconciler.Revision, error) {
	c, err := o.commit(ctx, commit)
	if err != nil {
		return reconciler.Revision{}, err
	}
	return reconciler.Revision{
		Commit:  commit,
		Time:    c.Committer.When.UTC(),
		Author:  printable(c.Author.Name),
		Subject: subject(c.Message),
	}, nil
}

func subject(message string) string {
	first, _, _ := strings.Cut(strings.TrimLeft(message, "\n"), "\n")
	return printable(first)
}

// Tree returns the content of a commit, and ErrUnknownCommit where the
// repository does not hold it. The tree is shared: nobody may change it.
func (o *objects) Tree(ctx context.Context, commit string) (*reconciler.Tree, error) {
	if t := o.kept(commit); t != nil {
		return t, nil
	}
	hash, err := parseHash(commit)
	if err != nil {
		return nil, err
	}
	var root *listing
	err = o.do(ctx, func(s store) error {
		c, err := readCommit(s, hash)
		if err != nil {
			return err
		}
		if root, err = o.list(ctx, s, c.TreeHash); err != nil {
			return fmt.Errorf("list commit %s: %w", commit, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t := o.treeOf(root)
	o.keep(listed{commit, root, t})
	return t, nil
}

// Part returns what a commit holds at and below some paths, none of which is below
// another; nothing of one that it does not have. Nothing else is read, and of files
// not even their sizes.
func (o *objects) Part(ctx context.Context, commit string, paths ...string) (*reconciler.Tree, error) {
	hash, err := parseHash(commit)
	if err != nil {
		return nil, err
	}
	var found *listing
	err = o.do(ctx, func(s store) error {
		c, err := readCommit(s, hash)
		if err != nil {
			return err
		}
		found = &listing{}
		l, w := lister{ctx: ctx, storage: s}, newWalker(s, c.TreeHash)
		for _, path := range paths {
			e, there, err := w.at(path)
			if err == nil && there {
				err = l.add(found, path, e, o.before(strings.TrimSuffix(path, e.Name)))
			}
			if err != nil {
				return fmt.Errorf("list %s of commit %s: %w", path, commit, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o.treeOf(found), nil
}

// add adds what is at a path to a listing of the root. before are other states of the
// folder that it is in.
func (l *lister) add(found *listing, path string, e object.TreeEntry, before []*listing) error {
	if path == "" {
		all, err := l.list(path, e.Hash, before)
		if err == nil {
			*found = *all
		}
		return err
	}
	found.entries++
	return l.entry(found, path, e, before)
}

// walker finds what is at some paths of a tree.
type walker struct {
	storage storer.EncodedObjectStorer
	root    plumbing.Hash
	passed  map[string][]object.TreeEntry // the folders on the way, by path
}

func newWalker(s storer.EncodedObjectStorer, root plumbing.Hash) *walker {
	return &walker{s, root, map[string][]object.TreeEntry{}}
}

// at returns the entry at a path, and whether there is one.
func (w *walker) at(path string) (object.TreeEntry, bool, error) {
	e, walked := object.TreeEntry{Hash: w.root, Mode: dirMode}, ""
	if path == "" {
		return e, true, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if e.Mode != dirMode {
			return e, false, nil
		}
		entries, known := w.passed[walked]
		if !known {
			var err error
			if entries, err = readFolder(w.storage, walked, e.Hash); err != nil {
				return e, false, err
			}
			w.passed[walked] = entries
		}
		i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == name })
		if i < 0 {
			return e, false, nil
		}
		e, walked = entries[i], below(walked, name)
	}
	return e, true, nil
}

// list lists a whole tree. The caller holds mu.
func (o *objects) list(ctx context.Context, s store, root plumbing.Hash) (*listing, error) {
	l := lister{ctx: ctx, storage: s, sizes: map[plumbing.Hash]int64{}}
	found, err := l.list("", root, o.before(""))
	o.news += len(l.sizes)
	return found, err
}

// before returns what is kept of a folder. The caller holds mu.
func (o *objects) before(folder string) []*listing {
	var before []*listing
	for _, t := range o.trees {
		if at := t.root.at(strings.TrimSuffix(folder, "/")); at != nil {
			before = append(before, at)
		}
	}
	return before
}

// treeOf makes a tree that reads from here.
func (o *objects) treeOf(root *listing) *reconciler.Tree {
	t := &reconciler.Tree{}
	if root != nil {
		t.Files = root.collect(make([]reconciler.File, 0, root.entries))
		sortFiles(t.Files)
	}
	return o.Reads(t)
}

// Reads returns a tree of a commit that is here, as another reader of the same
// repository listed it: its files are read from here.
func (o *objects) Reads(tree *reconciler.Tree) *reconciler.Tree {
	t := &reconciler.Tree{Files: tree.Files}
	t.Read = func(f reconciler.File) ([]byte, error) { return o.read(t, f) }
	return t
}

func sortFiles(files []reconciler.File) {
	slices.SortFunc(files, func(a, b reconciler.File) int { return strings.Compare(a.Path, b.Path) })
}

func (o *objects) kept(commit string) *reconciler.Tree {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.trees, func(t listed) bool { return t.commit == commit })
	if i < 0 {
		return nil
	}
	t := o.trees[i]
	o.trees = append(slices.Delete(o.trees, i, i+1), t)
	return t.tree
}

func (o *objects) keep(t listed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trees = append(slices.DeleteFunc(o.trees, func(old listed) bool { return old.commit == t.commit }), t)
	if len(o.trees) > keptTrees {
		o.trees = slices.Delete(o.trees, 0, 1)
	}
}

// listing is a folder as it was listed. It never changes, so that the trees of
// several commits share the folders that are the same in them.
type listing struct {
	hash    plumbing.Hash
	files   []reconciler.File
	folders []subfolder
	entries int // files and folders, at and below it
}

type subfolder struct {
	*listing
	name   string
	behind int // how many of the files come before it
}

// folder returns the folder of a name; nil where there is none.
func (l *listing) folder(name string) *listing {
	i, found := slices.BinarySearchFunc(l.folders, name, func(f subfolder, name string) int {
		return compareEntries(object.TreeEntry{Name: f.name, Mode: dirMode}, object.TreeEntry{Name: name, Mode: dirMode})
	})
	if !found {
		return nil
	}
	return l.folders[i].listing
}

// at returns the folder at a path below this one; nil where there is none.
func (l *listing) at(path string) *listing {
	if path == "" {
		return l
	}
	for name := range strings.SplitSeq(path, "/") {
		if l = l.folder(name); l == nil {
			return nil
		}
	}
	return l
}

// file returns the file at a whole path.
func (l *listing) file(path string) (reconciler.File, bool) {
	i, found := slices.BinarySearchFunc(l.files, path, func(f reconciler.File, path string) int { return strings.Compare(f.Path, path) })
	if !found {
		return reconciler.File{}, false
	}
	return l.files[i], true
}

// collect appends all files at and below the folder, in the order of their paths
// where Git wrote the folders.
func (l *listing) collect(files []reconciler.File) []reconciler.File {
	from := 0
	for _, f := range l.folders {
		files = append(files, l.files[from:f.behind]...)
		files, from = f.collect(files), f.behind
	}
	return append(files, l.files[from:]...)
}

// lister lists folders, depth first.
type lister struct {
	ctx     context.Context
	storage store
	sizes   map[plumbing.Hash]int64 // of blobs that were looked at; nil where nobody asks
	entries int
}

// list lists a folder, of which before are other states. What is the same in one
// of those is taken from it.
func (l *lister) list(path string, hash plumbing.Hash, before []*listing) (*listing, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, context.Cause(l.ctx)
	}
	for _, b := range before {
		if b.hash == hash {
			return b, l.count(b.entries)
		}
	}
	entries, err := readFolder(l.storage, path, hash)
	if err != nil {
		return nil, err
	}
	made := &listing{hash: hash, entries: len(entries)}
	// Folders count as well: folders within folders without any file are cheap to make and endless to list.
	if err := l.count(len(entries)); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := l.entry(made, below(path, e.Name), e, before); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (l *lister) count(entries int) error {
	if l.entries += entries; l.entries > maxEntries {
		return refuse("more than %d files and folders", maxEntries)
	}
	return nil
}

// entry adds an entry to the listing of its folder.
func (l *lister) entry(made *listing, path string, e object.TreeEntry, before []*listing) error {
	if len(path) > maxPath {
		return refuse("a path is longer than %d bytes: %s…", maxPath, path[:64])
	}
	if e.Mode == dirMode {
		folder, err := l.list(path, e.Hash, subfolders(before, e.Name))
		if err != nil {
			return err
		}
		made.folders = append(made.folders, subfolder{folder, e.Name, len(made.files)})
		made.entries += folder.entries
		return nil
	}
	f, err := l.file(path, e, before)
	if err != nil {
		return err
	}
	made.files = append(made.files, f)
	return nil
}

// subfolders returns what is known of the folder of a name.
func subfolders(before []*listing, name string) []*listing {
	var all []*listing
	for _, b := range before {
		if f := b.folder(name); f != nil {
			all = append(all, f)
		}
	}
	return all
}

func (l *lister) file(path string, e object.TreeEntry, before []*listing) (reconciler.File, error) {
	mode, ok := modes[e.Mode]
	if !ok {
		return reconciler.File{}, refuse("%s has the mode %s, which Git does not write", path, e.Mode)
	}
	hash := e.Hash.String()
	for _, b := range before {
		if f, found := b.file(path); found && f.Hash == hash && f.Mode == mode {
			return f, nil
		}
	}
	size, err := l.size(mode, e.Hash)
	if err != nil {
		return reconciler.File{}, fmt.Errorf("read size of %s: %w", path, err)
	}
	return reconciler.File{Path: path, Mode: mode, Hash: hash, Size: size}, nil
}

// readFolder returns the entries of a folder. One with names that mean another
// place, or the same place twice, is refused.
func readFolder(s storer.EncodedObjectStorer, folder string, hash plumbing.Hash) ([]object.TreeEntry, error) {
	tree, err := object.GetTree(s, hash)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", folder, err)
	}
	seen := make(map[string]bool, len(tree.Entries))
	for _, e := range tree.Entries {
		if seen[e.Name] {
			return nil, refuse("%q holds %q twice", folder, e.Name)
		}
		seen[e.Name] = true
		if !validName(e.Name) {
			return nil, refuse("%q holds an entry named %q", folder, e.Name)
		}
	}
	return tree.Entries, nil
}

// below joins the name of an entry to its folder.
func below(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

func (l *lister) size(mode reconciler.Mode, hash plumbing.Hash) (int64, error) {
	if mode == reconciler.Submodule || l.sizes == nil {
		return 0, nil
	}
	if size, ok := l.sizes[hash]; ok {
		return size, nil
	}
	size, err := blobSize(l.storage, hash)
	if err == nil {
		l.sizes[hash] = size
	}
	return size, err
}

// blobSize returns the size of a blob without reading it, where the storage
// can: it does not look for sizes in the repositories that this one borrows from,
// and of an object that is a file of its own go-git leaves that file open.
func blobSize(s store, hash plumbing.Hash) (int64, error) {
	if !loose(s, hash) {
		size, err := s.EncodedObjectSize(hash)
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return size, err
		}
	}
	obj, err := s.EncodedObject(plumbing.BlobObject, hash)
	if err != nil {
		return 0, err
	}
	return obj.Size(), nil
}

// loose tells whether an object is a file of its own.
func loose(s store, hash plumbing.Hash) bool {
	files, is := s.(interface {
		LooseObjectTime(plumbing.Hash) (time.Time, error)
	})
	if !is {
		return false
	}
	_, err := files.LooseObjectTime(hash)
	return err == nil
}

// read returns the content of a file of the tree.
func (o *objects) read(t *reconciler.Tree, f reconciler.File) ([]byte, error) {
	if err := readable(t, f, o.maxFile); err != nil {
		return nil, err
	}
	// A tree outlives the context it was read with; healing may take a fetch.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var content []byte
	err := o.do(ctx, func(s store) (err error) {
		hash := plumbing.NewHash(f.Hash)
		if f.Size == 0 { // or nobody asked for it yet
			if f.Size, err = blobSize(s, hash); err != nil {
				return err
			}
			if f.Size > o.maxFile {
				return tooLarge(f, o.maxFile)
			}
		}
		content, err = readBlob(s, hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return content, nil
}

// readable refuses what is no file of the tree, no regular one, or too large.
func readable(t *reconciler.Tree, f reconciler.File, limit int64) error {
	have, ok := t.Find(f.Path)
	switch {
	case !ok || have != f:
		return refuse("read %q: it is not in this tree", f.Path)
	case f.Mode != reconciler.Regular && f.Mode != reconciler.Executable:
		return refuse("read %s: it is not a regular file", f.Path)
	case f.Size > limit:
		return fmt.Errorf("read %s: %w", f.Path, tooLarge(f, limit))
	}
	return nil
}

func tooLarge(f reconciler.File, limit int64) error {
	return refuse("it has %d bytes, more than the limit of %d", f.Size, limit)
}

func readBlob(s storer.EncodedObjectStorer, hash plumbing.Hash) ([]byte, error) {
	obj, err := s.EncodedObject(plumbing.BlobObject, hash)
	if err != nil {
		return nil, err
	}
	return content(obj)
}

func content(obj plumbing.EncodedObject) ([]byte, error) {
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, obj.Size())
	_, err = io.ReadFull(r, data)
	return data, err
}

// authentic tells whether the commit carries a valid signature of the key.
func (o *objects) authentic(ctx context.Context, commit string, key *Signer) (bool, error) {
	hash, err := parseHash(commit)
	if err != nil || key == nil {
		return false, err
	}
	var raw []byte
	err = o.do(ctx, func(s store) error {
		raw, err = rawCommit(s, hash)
		return err
	})
	return err == nil && key.verify(raw), err
}

// rawCommit returns a commit byte for byte, as signatures cover it.
func rawCommit(s store, hash plumbing.Hash) ([]byte, error) {
	obj, err := s.EncodedObject(plumbing.CommitObject, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("read commit %s: %w", hash, ErrUnknownCommit)
	}
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	return content(obj)
}

// Follows tells whether the commit is, or descends from, the earlier one.
func (o *objects) Follows(ctx context.Context, commit, earlier string) (bool, error) {
	hash, err := parseHash(commit)
	if err != nil {
		return false, err
	}
	before, err := parseHash(earlier)
	if err != nil {
		return false, err
	}
	follows := false
	err = o.do(ctx, func(s store) error {
		follows, err = (&draft{storage: s}).reaches([]plumbing.Hash{hash}, before)
		return err
	})
	return follows, err
}

// Line returns the commits of the first-parent line from tip back to since,
// which is left out, the newest first, and whether since was reached. It
// returns at most so many. An empty since is before the first commit.
func (o *objects) Line(ctx context.Context, tip, since string, most int) (commits []string, reached bool, err error) {
	at, err := parseHash(tip)
	if err != nil {
		return nil, false, err
	}
	var end plumbing.Hash
	if since != "" {
		if end, err = parseHash(since); err != nil {
			return nil, false, err
		}
	}
	err = o.do(ctx, func(s store) error {
		commits, reached, err = line(ctx, s, at, end, most)
		return err
	})
	return commits, reached, err
}

// line is Line; a zero end is before the first commit. Where a shallow clone
// was cut, the line ends without having reached anything.
func line(ctx context.Context, s store, at, end plumbing.Hash, most int) (commits []string, reached bool, err error) {
	beyond, err := pastShallow(s)
	if err != nil {
		return nil, false, err
	}
	for at != end {
		if at.IsZero() || len(commits) >= most || beyond[at] {
			return commits, false, nil
		}
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		c, err := readCommit(s, at)
		if err != nil {
			return nil, false, err
		}
		commits = append(commits, c.Hash.String())
		at = plumbing.ZeroHash
		if len(c.ParentHashes) > 0 {
			at = c.ParentHashes[0]
		}
	}
	return commits, true, nil
}

// Entry is one commit of a history. Its texts hold no control characters, but
// for the line breaks and tabs of the message.
type Entry struct {
	Commit  string
	Time    time.Time // the committer's, in UTC
	Author  string
	Subject string
	Message string // complete, the subject included
}

// Log returns the commits that led to tip, latest first: those whose message
// keep accepts (nil accepts all), at most max of them (0 means all).
func (o *objects) Log(ctx context.Context, tip string, max int, keep func(message string) bool) ([]Entry, error) {
	hash, err := parseHash(tip)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	err = o.do(ctx, func(s store) error {
		c, err := readCommit(s, hash)
		if err != nil {
			return err
		}
		beyond, err := pastShallow(s)
		if err != nil {
			return err
		}
		entries = nil
		return object.NewCommitIterCTime(c, beyond, nil).ForEach(func(c *object.Commit) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if e := entry(c); keep == nil || keep(e.Message) {
				entries = append(entries, e)
			}
			if max > 0 && len(entries) == max {
				return storer.ErrStop
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return entries, nil
}

// pastShallow returns the commits that a shallow clone left out on purpose:
// the parents of those where it was cut.
func pastShallow(s store) (map[plumbing.Hash]bool, error) {
	cut, err := s.Shallow()
	if err != nil {
		return nil, fmt.Errorf("read where the history was cut: %w", err)
	}
	beyond := map[plumbing.Hash]bool{}
	for _, hash := range cut {
		c, err := readCommit(s, hash)
		if err != nil {
			return nil, err
		}
		for _, parent := range c.ParentHashes {
			beyond[parent] = true
		}
	}
	return beyond, nil
}

func entry(c *object.Commit) Entry {
	return Entry{
		Commit:  hex.EncodeToString(c.Hash[:]),
		Time:    c.Committer.When.UTC(),
		Author:  printable(c.Author.Name),
		Subject: subject(c.Message),
		Message: clean(c.Message, "\n\t"),
	}
}
