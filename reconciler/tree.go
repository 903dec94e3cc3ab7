package reconciler

import (
	"crypto/sha1"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Revision is one commit of the tracked branch.
type Revision struct {
	Commit  string    // full hash, hexadecimal
	Time    time.Time // the committer's, in UTC
	Author  string    // name, control characters removed
	Subject string    // first line of the message, control characters removed
}

// Short returns the first eight digits of the commit, for people.
func (r Revision) Short() string {
	if len(r.Commit) < 8 {
		return r.Commit
	}
	return r.Commit[:8]
}

// Mode tells what an entry of a tree is. Only regular files are read.
type Mode uint8

// The kinds of entries that a Git tree holds.
const (
	Regular Mode = iota
	Executable
	Symlink
	Submodule
)

// File is one entry of a tree.
type File struct {
	Path string // slash-separated, relative to the root
	Mode Mode
	Hash string // Git's blob hash, hexadecimal: the same content has the same hash
	Size int64  // in bytes; 0 for a submodule
}

// Tree is the content of a platform repository, sorted by path. Paths are
// unique and never absolute.
type Tree struct {
	Files []File
	// Read returns the content of a regular file of this tree. It fails on any
	// other entry and on a file over the source's size limit.
	Read func(File) ([]byte, error)
}

// Find returns the entry with the path.
func (t *Tree) Find(path string) (File, bool) {
	i := sort.Search(len(t.Files), func(i int) bool { return t.Files[i].Path >= path })
	if i < len(t.Files) && t.Files[i].Path == path {
		return t.Files[i], true
	}
	return File{}, false
}

// With returns the tree with another content of one regular file, which need not
// be there; nil removes it.
func (t *Tree) With(path string, content []byte) *Tree {
	i := sort.Search(len(t.Files), func(i int) bool { return t.Files[i].Path >= path })
	j := i
	if j < len(t.Files) && t.Files[j].Path == path {
		j++
	}
	var made []File
	if content != nil {
		blob := fmt.Appendf(nil, "blob %d\x00%s", len(content), content)
		made = []File{{Path: path, Hash: fmt.Sprintf("%x", sha1.Sum(blob)), Size: int64(len(content))}}
	}
	return &Tree{Files: slices.Concat(t.Files[:i], made, t.Files[j:]), Read: func(f File) ([]byte, error) {
		if f.Path == path {
			return content, nil
		}
		return t.Read(f)
	}}
}

// Under returns the entries below the folder, which has no trailing slash; the
// root is "".
func (t *Tree) Under(folder string) []File {
	if folder == "" {
		return t.Files
	}
	prefix := folder + "/"
	from := sort.Search(len(t.Files), func(i int) bool { return t.Files[i].Path >= prefix })
	to := from
	for to < len(t.Files) && strings.HasPrefix(t.Files[to].Path, prefix) {
		to++
	}
	return t.Files[from:to]
}

// ChangedPaths returns the paths at which two trees differ, sorted.
func ChangedPaths(a, b *Tree) []string {
	var changed []string
	i, j := 0, 0
	for i < len(a.Files) || j < len(b.Files) {
		switch {
		case j == len(b.Files) || i < len(a.Files) && a.Files[i].Path < b.Files[j].Path:
			changed = append(changed, a.Files[i].Path)
			i++
		case i == len(a.Files) || b.Files[j].Path < a.Files[i].Path:
			changed = append(changed, b.Files[j].Path)
			j++
		default:
			if x, y := a.Files[i], b.Files[j]; x.Hash != y.Hash || x.Mode != y.Mode {
				changed = append(changed, x.Path)
			}
			i++
			j++
		}
	}
	return changed
}
