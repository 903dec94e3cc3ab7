package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/revlist"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/pave-dev/pave/reconciler"
)

// errMoved reports that a branch is not where a push expected it.
var errMoved = fmt.Errorf("push: %w", reconciler.ErrConflict)

// Publish makes one commit on the status branch; see [reconciler.Source]. The
// edits apply in their order. Where they change nothing and there is a single
// parent, that parent is returned and nothing is published.
func (m *Mirror) Publish(ctx context.Context, base string, parents []string, edits []reconciler.Edit, message string, announce func(string) error) (string, error) {
	d, err := m.draft(ctx, base, parents, edits, message)
	if err != nil {
		return "", fmt.Errorf("build status commit: %w", err)
	}
	if d.unchanged {
		return parents[0], announce(parents[0])
	}
	pack, err := d.pack()
	if err != nil {
		return "", fmt.Errorf("pack status commit: %w", err)
	}
	if err := announce(d.commit.String()); err != nil {
		return "", err
	}
	if err := m.push(ctx, plumbing.NewBranchReferenceName(m.options.Status), d.old, d.commit, pack); err != nil {
		return "", fmt.Errorf("publish on %s: %w", m.options.Status, err)
	}
	m.adopt(ctx, d, pack, m.options.Status, publishedRef)
	m.tips.Lock()
	defer m.tips.Unlock()
	m.tips.heads.Status = d.commit.String()
	return d.commit.String(), nil
}

// push pushes, and where that fails asks what is true: an answer may get lost
// on its way back, and a refusal does not tell a lost race from a rule of the
// server.
func (m *Mirror) push(ctx context.Context, ref plumbing.ReferenceName, old, new plumbing.Hash, pack []byte) error {
	failed := m.address.push(ctx, ref, old, new, pack)
	if failed == nil || errors.Is(failed, reconciler.ErrConflict) {
		return failed
	}
	session, refs, err := m.address.receivePack(ctx)
	if err != nil {
		return failed
	}
	defer session.Close()
	switch refs.at(ref) {
	case new:
		return nil
	case old:
		return failed
	}
	return errMoved
}

// adopt keeps a pushed commit in the mirror, which saves fetching it. It is
// published whether or not that succeeds.
func (m *Mirror) adopt(ctx context.Context, d *draft, pack []byte, branch string, also ...plumbing.ReferenceName) {
	_ = m.once(ctx, func(s store) error {
		if err := packfile.WritePackfileToObjectStorage(s, bytes.NewReader(pack)); err != nil {
			return err
		}
		for _, ref := range append(also, plumbing.NewRemoteReferenceName("origin", branch)) {
			if err := setRef(s, ref, d.commit); err != nil {
				return err
			}
		}
		return nil
	})
}

// draft is a commit in the making. What is new is in memory until the remote
// has it.
type draft struct {
	storage   storer.EncodedObjectStorer // read only
	made      *memory.Storage
	needs     []plumbing.Hash // commits and trees that the remote may lack
	old       plumbing.Hash   // the tip that is expected on the remote; zero where there is no branch
	parents   []plumbing.Hash
	commit    plumbing.Hash
	unchanged bool
	// author and committer are named in place of Pave, where they are set.
	author, committer Who
}

// hashes returns the objects of the draft. The commit comes last, so that it is
// never found without its tree.
func (d *draft) hashes() []plumbing.Hash {
	all := slices.SortedFunc(maps.Keys(d.made.Objects), func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
	return append(slices.DeleteFunc(all, func(h plumbing.Hash) bool { return h == d.commit }), d.commit)
}

func (d *draft) pack() ([]byte, error) {
	var b bytes.Buffer
	// Window 0 looks for no deltas: they cost more than they save on files this small.
	_, err := packfile.NewEncoder(&b, d.made, false).Encode(d.hashes(), 0)
	return b.Bytes(), err
}

func (m *Mirror) draft(ctx context.Context, base string, parents []string, edits []reconciler.Edit, message string) (*draft, error) {
	if err := checkText("message", message, "\n\t<>"); err != nil {
		return nil, err
	}
	var d *draft
	err := m.do(ctx, func(s store) error {
		d = &draft{storage: s, made: memory.NewStorage()}
		root, err := d.edit(base, parents, edits)
		if err != nil {
			return err
		}
		if d.unchanged, err = d.same(root); err != nil || d.unchanged {
			return err
		}
		if err := d.include(m.remoteHas(d)); err != nil {
			return err
		}
		return m.seal(d, root, message, m.options.Signer)
	})
	return d, err
}

// edit builds the tree and notes which parts of it the remote may lack.
func (d *draft) edit(base string, parents []string, edits []reconciler.Edit) (plumbing.Hash, error) {
	for i, parent := range parents {
		hash, err := parseHash(parent)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		d.parents = append(d.parents, hash)
		if i == 0 {
			d.old = hash
		} else {
			d.needs = append(d.needs, hash)
		}
	}
	root := &folder{entries: map[string]*node{}, changed: true}
	if base != "" {
		hash, err := parseHash(base)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		c, err := readCommit(d.storage, hash)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		root = &folder{hash: c.TreeHash}
		if !slices.Contains(d.parents, hash) {
			d.needs = append(d.needs, hash)
		}
		if len(d.parents) == 0 {
			d.parents = []plumbing.Hash{hash}
		}
	}
	for _, e := range edits {
		if err := d.apply(root, e); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("edit %q: %w", e.Path, err)
		}
	}
	hash, err := d.write(root)
	if err == nil && hash.IsZero() {
		hash, err = d.put(plumbing.TreeObject, nil)
	}
	return hash, err
}

// same tells whether the tree is the one of the only parent, at which the
// branch is.
func (d *draft) same(root plumbing.Hash) (bool, error) {
	if len(d.parents) != 1 || d.old.IsZero() {
		return false, nil
	}
	c, err := readCommit(d.storage, d.parents[0])
	return err == nil && c.TreeHash == root, err
}

// remoteHas returns the commits that are on the remote with all they refer to.
func (m *Mirror) remoteHas(d *draft) []plumbing.Hash {
	m.tips.Lock()
	defer m.tips.Unlock()
	var have []plumbing.Hash
	for _, tip := range []string{m.tips.heads.Tracked, m.tips.heads.Status} {
		if tip != "" {
			have = append(have, plumbing.NewHash(tip))
		}
	}
	if !d.old.IsZero() {
		have = append(have, d.old)
	}
	return have
}

// include takes into the draft what it refers to and the remote may lack:
// after a branch was rewritten, nobody but the mirror may hold the commits that
// it led to.
func (d *draft) include(have []plumbing.Hash) error {
	var wants []plumbing.Hash
	for _, hash := range d.needs {
		there, err := d.reaches(have, hash)
		if err != nil {
			return err
		}
		if !there && !slices.Contains(wants, hash) {
			wants = append(wants, hash)
		}
	}
	if len(wants) == 0 {
		return nil
	}
	hashes, err := revlist.Objects(d.storage, wants, have)
	if err != nil {
		return fmt.Errorf("collect what the remote lacks: %w", err)
	}
	for _, hash := range hashes {
		obj, err := d.storage.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			return err
		}
		if err := d.copy(obj); err != nil {
			return err
		}
	}
	return nil
}

// reaches tells whether the commit is one of the tips or led to one.
func (d *draft) reaches(tips []plumbing.Hash, commit plumbing.Hash) (bool, error) {
	if slices.Contains(tips, commit) {
		return true, nil
	}
	c, err := readCommit(d.storage, commit)
	if err != nil {
		return false, err
	}
	for _, tip := range tips {
		t, err := readCommit(d.storage, tip)
		if err != nil {
			return false, err
		}
		if is, err := c.IsAncestor(t); err != nil || is {
			return is, err
		}
	}
	return false, nil
}

// copy takes an object into memory.
func (d *draft) copy(from plumbing.EncodedObject) error {
	data, err := content(from)
	if err != nil {
		return err
	}
	_, err = d.put(from.Type(), data)
	return err
}

func (d *draft) put(kind plumbing.ObjectType, data []byte) (plumbing.Hash, error) {
	return putObject(d.made, kind, data)
}

func putObject(s storer.EncodedObjectStorer, kind plumbing.ObjectType, data []byte) (plumbing.Hash, error) {
	obj := &plumbing.MemoryObject{}
	obj.SetType(kind)
	if _, err := obj.Write(data); err != nil {
		return plumbing.ZeroHash, err
	}
	return s.SetEncodedObject(obj)
}

// word makes a commit of the draft that says something and has no files, and
// returns it as a pack.
func (m *Mirror) word(d *draft, message string, signer *Signer) ([]byte, error) {
	empty, err := d.put(plumbing.TreeObject, nil)
	if err != nil {
		return nil, err
	}
	if err := m.seal(d, empty, message, signer); err != nil {
		return nil, err
	}
	return d.pack()
}

// seal makes the commit, signed where there is a key.
func (m *Mirror) seal(d *draft, root plumbing.Hash, message string, signer *Signer) error {
	now := time.Now().UTC()
	by := func(who Who) object.Signature {
		return object.Signature{Name: cmp.Or(who.Name, m.options.Author), Email: cmp.Or(who.Email, m.options.Email), When: now}
	}
	c := &object.Commit{
		Author: by(d.author), Committer: by(d.committer), TreeHash: root, ParentHashes: d.parents,
		Message: strings.TrimRight(message, "\n") + "\n",
	}
	if signer != nil {
		unsigned := &plumbing.MemoryObject{}
		if err := c.EncodeWithoutSignature(unsigned); err != nil {
			return err
		}
		payload, err := content(unsigned)
		if err != nil {
			return err
		}
		if c.PGPSignature, err = signer.sign(payload); err != nil {
			return err
		}
	}
	obj := &plumbing.MemoryObject{}
	if err := c.Encode(obj); err != nil {
		return err
	}
	var err error
	d.commit, err = d.made.SetEncodedObject(obj)
	return err
}

// folder is a folder of the new tree, read when it is first entered.
type folder struct {
	hash    plumbing.Hash
	entries map[string]*node // nil until read
	changed bool
}

// node is an entry of a folder; dir is nil for what is no folder.
type node struct {
	mode filemode.FileMode
	hash plumbing.Hash
	dir  *folder
}

func (d *draft) enter(f *folder) error {
	if f.entries != nil {
		return nil
	}
	tree, err := object.GetTree(d.storage, f.hash)
	if err != nil {
		return fmt.Errorf("read tree %s: %w", f.hash, err)
	}
	f.entries = make(map[string]*node, len(tree.Entries))
	for _, e := range tree.Entries {
		n := &node{mode: e.Mode, hash: e.Hash}
		if e.Mode == filemode.Dir {
			n.dir = &folder{hash: e.Hash}
		}
		f.entries[e.Name] = n
	}
	return nil
}

// apply changes one path below the root.
func (d *draft) apply(root *folder, e reconciler.Edit) error {
	steps := strings.Split(e.Path, "/")
	if !fs.ValidPath(e.Path) || slices.ContainsFunc(steps, func(s string) bool { return !validName(s) }) || strings.ContainsFunc(e.Path, unseen) {
		return refuse("it is not a path in a repository")
	}
	n, err := d.node(e)
	if err != nil {
		return err
	}
	return d.place(root, steps, n)
}

// node makes what an edit puts at its path; nil where it removes the path.
func (d *draft) node(e reconciler.Edit) (*node, error) {
	switch {
	case e.TreeAt != "" && e.Content != nil:
		return nil, refuse("it has both a content and a tree")
	case e.TreeAt != "":
		hash, err := d.treeAt(e.TreeAt)
		return &node{mode: filemode.Dir, hash: hash, dir: &folder{hash: hash}}, err
	case e.Content != nil:
		hash, err := d.put(plumbing.BlobObject, e.Content)
		return &node{mode: filemode.Regular, hash: hash}, err
	}
	return nil, nil
}

// treeAt returns the folder that "COMMIT:FOLDER" names.
func (d *draft) treeAt(at string) (plumbing.Hash, error) {
	commit, path, _ := strings.Cut(at, ":")
	hash, err := parseHash(commit)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	d.needs = append(d.needs, hash)
	c, err := readCommit(d.storage, hash)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	found, there, err := newWalker(d.storage, c.TreeHash).at(path)
	if err == nil && (!there || found.Mode != dirMode) {
		err = refuse("commit %s has no folder %q", commit, path)
	}
	return found.Hash, err
}

// place puts n at the path, or removes what is there.
func (d *draft) place(f *folder, steps []string, n *node) error {
	if err := d.enter(f); err != nil {
		return err
	}
	name, rest := steps[0], steps[1:]
	next := f.entries[name]
	switch {
	case len(rest) == 0 && n == nil:
		f.changed = f.changed || next != nil
		delete(f.entries, name)
		return nil
	case len(rest) == 0:
		// The same content leaves the folder as it is.
		if next == nil || next.mode != n.mode || next.hash != n.hash || (next.dir != nil && next.dir.changed) {
			f.entries[name], f.changed = n, true
		}
		return nil
	case next == nil && n == nil:
		return nil
	case next == nil:
		next = &node{mode: filemode.Dir, dir: &folder{entries: map[string]*node{}}}
		f.entries[name] = next
	case next.dir == nil:
		return refuse("%q is a file, not a folder", name)
	}
	if err := d.place(next.dir, rest, n); err != nil {
		return err
	}
	f.changed = f.changed || next.dir.changed
	return nil
}

// write stores the folders that changed, innermost first, and returns the hash
// of this one: zero where it was left empty, because Git has no empty folders.
func (d *draft) write(f *folder) (plumbing.Hash, error) {
	if !f.changed {
		return f.hash, nil
	}
	var entries []object.TreeEntry
	for name, n := range f.entries {
		hash := n.hash
		if n.dir != nil {
			var err error
			if hash, err = d.write(n.dir); err != nil {
				return plumbing.ZeroHash, err
			}
		}
		if !hash.IsZero() {
			entries = append(entries, object.TreeEntry{Name: name, Mode: n.mode, Hash: hash})
		}
	}
	return putTree(d.made, entries)
}

// putTree stores a folder; it returns a zero hash where the folder is empty.
func putTree(s storer.EncodedObjectStorer, entries []object.TreeEntry) (plumbing.Hash, error) {
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	slices.SortFunc(entries, compareEntries)
	obj := &plumbing.MemoryObject{}
	if err := (&object.Tree{Entries: entries}).Encode(obj); err != nil {
		return plumbing.ZeroHash, err
	}
	return s.SetEncodedObject(obj)
}

// compareEntries compares as Git sorts: a folder as if a slash followed its name.
func compareEntries(a, b object.TreeEntry) int {
	n := min(len(a.Name), len(b.Name))
	return cmp.Or(strings.Compare(a.Name[:n], b.Name[:n]), cmp.Compare(byteAt(a, n), byteAt(b, n)))
}

func byteAt(e object.TreeEntry, n int) byte {
	switch {
	case n < len(e.Name):
		return e.Name[n]
	case e.Mode == filemode.Dir:
		return '/'
	}
	return 0
}
