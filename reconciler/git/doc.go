// Package git reads platform repositories and records on their status branch.
//
// A [Mirror] is a private bare copy of a repository, near or far, that nobody
// else touches and that may be deleted at any time: what is missing or broken
// in it is fetched again. It implements [reconciler.Source]. It holds the whole
// history of its branches, for one that was removed returns with it; however many
// commits there were, it is in few files and takes about twice what a clone does
// at most. A [Clone] reads somebody else's repository where it stands, without a
// mirror; [WorkTree] reads what is checked out, before a commit. A [Quarantine]
// holds what a pull request brings, for one look at it, and merges it.
//
// Nothing here checks files out, and nothing is written into a repository but
// by a push: Git's own receive-pack takes the locks and runs the hooks.
// Repositories on this disk are fetched and pushed through the git program,
// those behind https and ssh need none.
package git

import "errors"

// DefaultMaxFile is the size, in bytes, of the largest file that a tree reads
// where the options say nothing.
const DefaultMaxFile = 1 << 20

const (
	maxEntries = 200_000 // files and folders of one tree
	maxPath    = 4096    // bytes of one path
)

var (
	// ErrNoRepository reports that there is no Git repository where one was expected.
	ErrNoRepository = errors.New("no Git repository")
	// ErrEmpty reports a repository without any commit.
	ErrEmpty = errors.New("the repository is empty")
	// ErrUnknownCommit reports a commit that the repository does not hold (any more).
	ErrUnknownCommit = errors.New("unknown commit")
	// ErrNotLocal reports an address that is not a path on this machine.
	ErrNotLocal = errors.New("not a repository on this machine")
)
