package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// Clone reads somebody's repository where it stands, bare or not, and never
// writes to it.
type Clone struct{ objects }

// OpenClone opens the repository at path, or the checkout that holds path. The
// error is ErrNoRepository where there is none.
func OpenClone(path string) (*Clone, error) {
	if root, ok := Root(path); ok {
		path = root
	}
	dir, common, err := gitDirs(path)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	c := &Clone{objects{maxFile: DefaultMaxFile}}
	c.open = func() (store, error) { return foreignStorage(dir, common) }
	if err := c.once(context.Background(), func(store) error { return nil }); err != nil {
		return nil, fmt.Errorf("open repository %s: %w", path, err)
	}
	return c, nil
}

// foreignStorage opens a repository that Git itself works in.
func foreignStorage(dir, common string) (*filesystem.Storage, error) {
	fs := osfs.New(dir)
	if dir != common {
		fs = dotgit.NewRepositoryFilesystem(fs, osfs.New(common))
	}
	s := openStorage(fs)
	config, err := s.Config()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	// Read regardless, such a repository would look empty.
	for _, name := range []string{"objectformat", "refstorage"} {
		if v := config.Raw.Section("extensions").Option(name); v != "" && v != "sha1" && v != "files" {
			return nil, refuse("it uses %s=%s, which Pave cannot read; clone it without", name, v)
		}
	}
	return s, nil
}

// Close releases the files that the clone holds open.
func (c *Clone) Close() { c.forget() }

// Reader returns a clone that reads what the mirror holds, and holds up nobody
// who uses the mirror.
func (m *Mirror) Reader() (*Clone, error) { return OpenClone(m.dir()) }

// Tip returns where a branch is: the local one, else origin's, else another
// remote's. ok is false where there is none.
func (c *Clone) Tip(branch string) (commit string, ok bool, err error) {
	if err := checkBranch("branch", branch); err != nil {
		return "", false, err
	}
	var found plumbing.Hash
	err = c.retry(context.Background(), func(s store) error {
		found, err = tip(s, branch)
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("read branch %s: %w", branch, err)
	}
	if found.IsZero() {
		return "", false, nil
	}
	return found.String(), true, nil
}

func tip(s store, branch string) (plumbing.Hash, error) {
	config, err := s.Config()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	names := []plumbing.ReferenceName{
		plumbing.NewBranchReferenceName(branch),
		plumbing.NewRemoteReferenceName("origin", branch),
	}
	for _, remote := range slices.Sorted(maps.Keys(config.Remotes)) {
		names = append(names, plumbing.NewRemoteReferenceName(remote, branch))
	}
	for _, name := range names {
		ref, err := storer.ResolveReference(s, name)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		return ref.Hash(), nil
	}
	return plumbing.ZeroHash, nil
}

// resolveHead returns what HEAD leads to; nil before the first commit.
func resolveHead(s storer.ReferenceStorer) (*plumbing.Reference, error) {
	ref, err := storer.ResolveReference(s, plumbing.HEAD)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return nil, nil
	}
	return ref, err
}
