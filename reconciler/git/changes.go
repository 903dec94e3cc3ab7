package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxPaths is how many paths are told of one commit.
const maxPaths = 500

// Change is a commit of a first-parent line. Its message is left out.
type Change struct {
	Entry
	// Paths are the files in which it differs from its first parent, at most 500 of
	// them.
	Paths []string
}

// Changes is [objects.Line] with what the commits say. Of the newest of them, so
// many as compared, it tells what they changed, as far as that is ten files each.
func (o *objects) Changes(ctx context.Context, tip, since string, most, compared int) (changes []Change, reached bool, err error) {
	commits, reached, err := o.Line(ctx, tip, since, most)
	if err != nil {
		return nil, false, err
	}
	changes = make([]Change, len(commits))
	paths := 0
	for i, commit := range commits {
		err := o.do(ctx, func(s store) (err error) {
			changes[i], err = changeOf(s, plumbing.NewHash(commit), i < compared && paths < 10*compared)
			return err
		})
		paths += len(changes[i].Paths)
		if err != nil {
			return nil, false, fmt.Errorf("read what %s changed: %w", commit, err)
		}
	}
	return changes, reached, nil
}

func changeOf(s store, hash plumbing.Hash, compared bool) (Change, error) {
	c, err := readCommit(s, hash)
	if err != nil {
		return Change{}, err
	}
	made := Change{Entry: entry(c)}
	made.Message = ""
	if !compared {
		return made, nil
	}
	before := plumbing.ZeroHash
	if len(c.ParentHashes) > 0 {
		parent, err := readCommit(s, c.ParentHashes[0])
		if errors.Is(err, ErrUnknownCommit) {
			return made, nil // a shallow clone was cut there
		}
		if err != nil {
			return Change{}, err
		}
		before = parent.TreeHash
	}
	d := differ{storage: s}
	err = d.folders("", before, c.TreeHash)
	made.Paths = d.paths
	return made, err
}

// differ collects the paths in which two trees differ.
type differ struct {
	storage store
	paths   []string
}

func (d *differ) folders(folder string, before, after plumbing.Hash) error {
	if before == after || len(d.paths) == maxPaths {
		return nil
	}
	old, err := d.entries(folder, before)
	if err != nil {
		return err
	}
	now, err := d.entries(folder, after)
	if err != nil {
		return err
	}
	was := make(map[string]object.TreeEntry, len(old))
	for _, e := range old {
		was[e.Name] = e
	}
	for _, e := range now {
		if err := d.entry(below(folder, e.Name), was[e.Name], e); err != nil {
			return err
		}
		delete(was, e.Name)
	}
	for _, e := range old {
		if _, gone := was[e.Name]; gone {
			if err := d.entry(below(folder, e.Name), e, object.TreeEntry{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry compares what stands at one path; a zero entry is nothing.
func (d *differ) entry(path string, before, after object.TreeEntry) error {
	if before.Hash == after.Hash && before.Mode == after.Mode {
		return nil
	}
	var folders [2]plumbing.Hash
	file := false
	for i, e := range []object.TreeEntry{before, after} {
		if e.Mode == dirMode {
			folders[i] = e.Hash
		} else if !e.Hash.IsZero() {
			file = true
		}
	}
	if file && len(d.paths) < maxPaths {
		d.paths = append(d.paths, path)
	}
	return d.folders(path, folders[0], folders[1])
}

// entries lists a folder; a zero one is empty.
func (d *differ) entries(folder string, hash plumbing.Hash) ([]object.TreeEntry, error) {
	if hash.IsZero() {
		return nil, nil
	}
	return readFolder(d.storage, folder, hash)
}
