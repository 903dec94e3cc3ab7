package github

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

// Account returns who Pave is on the forge.
func (f *Forge) Account(ctx context.Context) (reconciler.Person, error) {
	me, err := f.self(ctx)
	return reconciler.Person{ID: me.account, Handle: me.login}, err
}

// Address returns an e-mail address that says which account wrote a commit, and
// nothing else of whose it is.
func (f *Forge) Address(p reconciler.Person) string {
	return fmt.Sprintf("%d+%s@users.noreply.%s", p.ID, p.Handle, f.host)
}

// Propose returns the open pull request that brings a branch of the repository to
// the tracked one; it opens one where there is none. by and why are anybody's words.
func (f *Forge) Propose(ctx context.Context, branch, title, by, why string) (pull reconciler.PullRequest, err error) {
	err = f.take(ctx, func(self) error {
		found, err := f.proposed(ctx, branch)
		if err == nil && found == nil {
			found, err = f.open(ctx, branch, title, by, why)
		}
		if err == nil {
			pull, err = pullRequest(found)
		}
		return err
	})
	if err != nil {
		return pull, fmt.Errorf("open a pull request of %s: %w", branch, err)
	}
	return pull, nil
}

// proposed returns the open pull request of a branch; nil where there is none.
func (f *Forge) proposed(ctx context.Context, branch string) (*github.PullRequest, error) {
	found, _, err := f.client.PullRequests.List(ctx, f.owner, f.name, &github.PullRequestListOptions{
		State: "open", Base: f.branch, Head: f.owner + ":" + branch})
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		if p.GetHead().GetRef() == branch && p.GetHead().GetRepo().GetID() == p.GetBase().GetRepo().GetID() {
			return p, nil
		}
	}
	return nil, nil
}

func (f *Forge) open(ctx context.Context, branch, title, by, why string) (*github.PullRequest, error) {
	body := "Asked for in the portal by " + prose(by) + "."
	if why != "" {
		body += "\n\n" + prose(why)
	}
	p, _, err := f.client.PullRequests.Create(ctx, f.owner, f.name, &github.NewPullRequest{
		Title: github.String(visible(title, maxTitle)), Head: &branch, Base: &f.branch, Body: &body})
	switch {
	case isStatus(err, http.StatusForbidden), isStatus(err, http.StatusNotFound):
		return nil, fmt.Errorf("%w; give Pave the permission to write pull requests", err)
	case isStatus(err, http.StatusUnprocessableEntity): // somebody was faster
		if found, again := f.proposed(ctx, branch); again == nil && found != nil {
			return found, nil
		}
	}
	return p, err
}
