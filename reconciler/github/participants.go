package github

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

const (
	maxCommits  = 250 // the forge lists no more of one pull request
	maxPushes   = 10  // pages
	maxUnknowns = 10  // e-mail addresses that are looked up
)

// Participants implements [reconciler.Forge]. Who pushed is read from the
// repository's activity, which the forge keeps for every branch.
func (f *Forge) Participants(ctx context.Context, number int) (reconciler.Participants, error) {
	var none reconciler.Participants
	me, err := f.self(ctx)
	if err != nil {
		return none, err
	}
	p, _, err := f.client.PullRequests.Get(ctx, f.owner, f.name, number)
	if err != nil {
		return none, fmt.Errorf("read pull request %d: %w", number, err)
	}
	commits, err := pages(func(page github.ListOptions) ([]*github.RepositoryCommit, *github.Response, error) {
		return f.client.PullRequests.ListCommits(ctx, f.owner, f.name, number, &page)
	})
	if err != nil {
		return none, fmt.Errorf("list the commits of pull request %d: %w", number, err)
	}
	c := crowd{host: f.host, people: map[int64]reconciler.Person{}, byEmail: map[string]reconciler.Person{}, complete: len(commits) < maxCommits,
		own: p.GetUser().GetID() == me.account}
	c.add(p.User)
	for _, commit := range commits {
		c.commit(commit)
	}
	if err := f.pushers(ctx, p, commits, me, &c); err != nil {
		return none, err
	}
	if err := f.lookUp(ctx, &c); err != nil {
		return none, err
	}
	took := reconciler.Participants{People: make([]reconciler.Person, 0, len(c.people)), Complete: c.complete}
	for _, one := range c.people {
		took.People = append(took.People, one)
	}
	slices.SortFunc(took.People, func(a, b reconciler.Person) int { return cmp.Compare(a.ID, b.ID) })
	if c.own {
		took.Courier = me.account
	}
	return took, nil
}

// crowd gathers who took part.
type crowd struct {
	host     string // of the forge's pages
	people   map[int64]reconciler.Person
	byEmail  map[string]reconciler.Person // as the forge attributed commits
	unknown  []string                     // addresses that no account is known for
	asked    []string                     // handles of those who asked Pave for a commit
	complete bool
	own      bool // Pave opened it, and nobody else pushed to it
}

// add takes an account; a deleted one leaves the crowd incomplete.
func (c *crowd) add(user *github.User) {
	if !exists(user) {
		c.complete = false
		return
	}
	c.people[user.GetID()] = person(user)
}

// exists tells an account from none, and from the one that stands for all that
// were deleted.
func exists(user *github.User) bool { return user.GetID() > 0 && user.GetLogin() != "ghost" }

// commit takes the author, the committer and the co-authors of a commit.
func (c *crowd) commit(r *github.RepositoryCommit) {
	c.attributed(r.Author, r.GetCommit().GetAuthor().GetEmail())
	made := r.GetCommit().GetCommitter().GetEmail()
	// What is made on the forge's pages the forge itself commits and signs.
	byForge := r.Committer.GetID() == 0 && r.GetCommit().GetVerification().GetVerified() &&
		strings.EqualFold(made, "noreply@"+c.host)
	if !byForge {
		c.attributed(r.Committer, made)
	}
	for _, line := range strings.Split(r.GetCommit().GetMessage(), "\n") {
		if askedLine().MatchString(line) {
			_, handle, _ := strings.Cut(line, ":")
			c.asked = append(c.asked, strings.TrimSpace(handle))
			continue
		}
		if !coAuthorLine().MatchString(line) {
			continue
		}
		if address := coAuthor().FindStringSubmatch(line); address != nil {
			c.attributed(nil, address[1])
		} else {
			c.complete = false
		}
	}
}

var (
	askedLine    = reconciler.Pattern(`(?i)^\s*pave-?requested-?by\b`)
	coAuthorLine = reconciler.Pattern(`(?i)^\s*co-?authored-?by\b`)
	coAuthor     = reconciler.Pattern(`^[^<>]*<([^<>\s]+@[^<>\s]+)>\s*$`)
	noReply      = reconciler.Pattern(`^(\d+)\+([^@]+)@users\.noreply\.(.+)$`)
)

// attributed takes the account that the forge sees behind an address, or
// remembers the address.
func (c *crowd) attributed(user *github.User, email string) {
	email = strings.ToLower(strings.TrimSpace(email))
	if user.GetID() != 0 {
		c.add(user)
		c.byEmail[email] = person(user)
		return
	}
	// The address that the forge gives each account holds its id.
	if found := noReply().FindStringSubmatch(email); found != nil && found[3] == c.host {
		if id, err := strconv.ParseInt(found[1], 10, 64); err == nil && id > 0 {
			c.people[id] = reconciler.Person{ID: id, Handle: found[2]}
			return
		}
	}
	c.unknown = append(c.unknown, email)
}

// lookUp finds the accounts of those who asked Pave, and of the addresses that
// remain, by other commits of the repository that the forge attributes to them.
func (f *Forge) lookUp(ctx context.Context, c *crowd) error {
	slices.Sort(c.asked)
	for i, handle := range slices.Compact(c.asked) {
		if i == maxUnknowns || !handlePattern().MatchString(handle) {
			c.complete = false
			break
		}
		one, err := f.Person(ctx, handle)
		if isStatus(err, http.StatusNotFound) {
			c.complete = false
			continue
		}
		if err != nil {
			return err
		}
		c.people[one.ID] = one
	}
	slices.Sort(c.unknown)
	asked := 0
	for _, email := range slices.Compact(c.unknown) {
		if one, known := c.byEmail[email]; known {
			c.people[one.ID] = one
			continue
		}
		if asked++; asked > maxUnknowns || email == "" {
			c.complete = false
			continue
		}
		found, _, err := f.client.Repositories.ListCommits(ctx, f.owner, f.name,
			&github.CommitsListOptions{Author: email, ListOptions: github.ListOptions{PerPage: 1}})
		if err != nil {
			return fmt.Errorf("find who writes as %s: %w", email, err)
		}
		if len(found) == 0 || !strings.EqualFold(found[0].GetCommit().GetAuthor().GetEmail(), email) {
			c.complete = false
			continue
		}
		c.add(found[0].Author)
	}
	return nil
}

// activity is one change of a branch.
type activity struct {
	Before string       `json:"before"`
	After  string       `json:"after"`
	Kind   string       `json:"activity_type"`
	Actor  *github.User `json:"actor"`
}

// pushers takes who pushed to the head's branch: from the push that brought the
// head back to the one that began with what is not part of the pull request.
// Where that cannot be seen whole, the crowd is incomplete.
func (f *Forge) pushers(ctx context.Context, p *github.PullRequest, commits []*github.RepositoryCommit, me self, c *crowd) error {
	owner, name := p.GetHead().GetRepo().GetOwner().GetLogin(), p.GetHead().GetRepo().GetName()
	if !namePattern().MatchString(owner) || !namePattern().MatchString(name) {
		c.complete, c.own = false, false // the fork is gone
		return nil
	}
	part := map[string]bool{}
	for _, commit := range commits {
		part[commit.GetSHA()] = true
	}
	seen, after := false, ""
	for range maxPushes {
		page, next, err := f.activities(ctx, owner, name, p.GetHead().GetRef(), after)
		if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusForbidden) {
			break // a fork that Pave may not see
		}
		if err != nil {
			return fmt.Errorf("list the pushes to pull request %d: %w", p.GetNumber(), err)
		}
		for _, a := range page {
			seen = seen || a.After == p.GetHead().GetSHA()
			if !seen {
				continue // later than the pull request
			}
			c.add(a.Actor)
			c.own = c.own && a.Actor.GetID() == me.account
			if a.Kind == "branch_creation" || a.Kind == "push" && !part[a.Before] {
				return nil
			}
		}
		if next == "" || next == after {
			break
		}
		after = next
	}
	c.complete, c.own = false, false
	return nil
}

// activities returns a page of the changes of a branch, latest first.
func (f *Forge) activities(ctx context.Context, owner, name, branch, after string) ([]activity, string, error) {
	query := url.Values{"ref": {"refs/heads/" + branch}, "per_page": {"100"}}
	if after != "" {
		query.Set("after", after)
	}
	var page []activity
	resp, err := f.getOf(ctx, owner, name, "activity", query, &page)
	if err != nil {
		return nil, "", err
	}
	return page, resp.After, nil
}
