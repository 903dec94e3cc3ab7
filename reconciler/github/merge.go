package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

// Merge implements [reconciler.Forge]. The forge itself holds the head against
// the commit as it merges. A pull request that is merged at that head already is
// done.
func (f *Forge) Merge(ctx context.Context, number int, head string) error {
	if !commitPattern().MatchString(head) {
		return fmt.Errorf("merge pull request %d: %q is no commit", number, head)
	}
	return f.take(ctx, func(me self) error {
		if err := f.merge(ctx, me, number, head); err != nil {
			return fmt.Errorf("merge pull request %d: %w", number, err)
		}
		return nil
	})
}

func (f *Forge) merge(ctx context.Context, me self, number int, head string) error {
	p, _, err := f.client.PullRequests.Get(ctx, f.owner, f.name, number)
	if err != nil {
		return err
	}
	moved := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", reconciler.ErrMoved, fmt.Sprintf(format, args...))
	}
	switch {
	case p.GetHead().GetSHA() != head:
		return moved("its head is %.12s, not %.12s", p.GetHead().GetSHA(), head)
	case p.GetBase().GetRef() != f.branch:
		return moved("it goes to another branch than %s", f.branch)
	case p.MergedAt != nil:
		return nil
	case p.GetState() != "open":
		return moved("it is closed")
	case p.GetUser().GetID() == me.account:
		return moved("Pave opened it itself")
	case p.GetDraft():
		return moved("it is a draft")
	}
	merged, _, err := f.client.PullRequests.Merge(ctx, f.owner, f.name, number, "",
		&github.PullRequestOptions{SHA: head, MergeMethod: mergeMethod(p.GetBase().GetRepo())})
	switch {
	case isStatus(err, http.StatusConflict), isStatus(err, http.StatusMethodNotAllowed):
		return moved("the forge refuses: %s", visible(refusal(err), maxProse))
	case isStatus(err, http.StatusForbidden), isStatus(err, http.StatusNotFound):
		return fmt.Errorf("%w; give Pave the permission to write the repository's contents", err)
	case err != nil:
		return err
	case !merged.GetMerged():
		return moved("the forge refuses: %s", visible(merged.GetMessage(), maxProse))
	}
	return nil
}

// mergeMethod is the first that the repository allows. Where it does not say,
// it is the forge's own choice.
func mergeMethod(repo *github.Repository) string {
	switch {
	case repo.AllowMergeCommit == nil || *repo.AllowMergeCommit:
		return ""
	case repo.GetAllowSquashMerge():
		return "squash"
	case repo.GetAllowRebaseMerge():
		return "rebase"
	}
	return ""
}

// refusal is the forge's reason for refusing a request.
func refusal(err error) string {
	var answered *github.ErrorResponse
	if errors.As(err, &answered) {
		return answered.Message
	}
	return ""
}
