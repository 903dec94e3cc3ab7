package main

import (
	"context"
	"fmt"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
)

var fullHash = reconciler.Pattern(`^[0-9a-f]{40}$`)

// commit turns what a person calls a revision into a commit: a full hash, or,
// in a local repository, any name that Git knows.
func (a *app) commit(ctx context.Context, revision string) (string, error) {
	if revision == "" || fullHash().MatchString(revision) {
		return revision, nil
	}
	path, local := git.Local(a.repo)
	if !local {
		return "", usage(fmt.Errorf("%q: expected a full commit hash, since the repository is not on this machine", revision))
	}
	clone, err := git.OpenClone(path)
	if err != nil {
		return "", err
	}
	defer clone.Close()
	return clone.Resolve(ctx, revision)
}
