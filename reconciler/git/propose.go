package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/pave-dev/pave/reconciler"
)

// Who is named in a commit.
type Who struct{ Name, Email string }

// Proposed is a change that somebody asked Pave to propose.
type Proposed struct {
	// Branch is new: its name stands for the change.
	Branch string
	// Parent is the fetched commit that is changed.
	Parent  string
	Edits   []reconciler.Edit
	Message string
	// Author asked for it. Committer is Pave, by the name that it has where the
	// branch goes to; empty is the one of the options.
	Author, Committer Who
}

// Propose makes one commit on a branch of its own. Where there is a branch of the
// name already nothing is done: it was proposed before.
//
// The commit carries no signature. Pave's own says that a status commit is to be
// believed, and would say so of this one anywhere else as well.
func (m *Mirror) Propose(ctx context.Context, p Proposed) error {
	if err := errors.Join(checkBranch("branch", p.Branch), checkText("message", p.Message, "\n\t<>"),
		checkText("author name", p.Author.Name, ""), checkText("author e-mail", p.Author.Email, "")); err != nil {
		return err
	}
	if p.Branch == m.Branch() || p.Branch == m.options.Status || p.Branch == m.options.Approvals {
		return refuse("the branch %q is not for proposals", p.Branch)
	}
	d, err := m.proposal(ctx, p)
	if err != nil {
		return fmt.Errorf("build a proposal: %w", err)
	}
	pack, err := d.pack()
	if err != nil {
		return fmt.Errorf("pack a proposal: %w", err)
	}
	err = m.push(ctx, plumbing.NewBranchReferenceName(p.Branch), plumbing.ZeroHash, d.commit, pack)
	if err != nil && !errors.Is(err, errMoved) {
		return fmt.Errorf("propose on %s: %w", p.Branch, err)
	}
	return nil
}

// proposal makes the commit.
func (m *Mirror) proposal(ctx context.Context, p Proposed) (d *draft, err error) {
	err = m.do(ctx, func(s store) error {
		d = &draft{storage: s, made: memory.NewStorage(), author: p.Author, committer: p.Committer}
		root, err := d.edit(p.Parent, []string{p.Parent}, p.Edits)
		if err != nil {
			return err
		}
		if same, err := d.same(root); err != nil || same {
			return errors.Join(err, refuse("it changes nothing"))
		}
		d.old = plumbing.ZeroHash
		if err := d.include(m.remoteHas(d)); err != nil {
			return err
		}
		return m.seal(d, root, p.Message, nil)
	})
	return d, err
}
