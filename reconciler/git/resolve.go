package git

import (
	"context"
	"fmt"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// Resolve returns the commit that a name such as "main", "HEAD~1" or a short
// hash stands for.
func (c *Clone) Resolve(ctx context.Context, name string) (string, error) {
	var commit string
	err := c.once(ctx, func(s store) error {
		repository, err := gogit.Open(s, nil)
		if err != nil {
			return err
		}
		hash, err := repository.ResolveRevision(plumbing.Revision(name))
		if err != nil {
			return err
		}
		commit = hash.String()
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("find the revision %q: %w", name, err)
	}
	return commit, nil
}
