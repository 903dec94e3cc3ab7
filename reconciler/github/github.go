// Package github is the forge at github.com, a GitHub Enterprise Server, or
// anything that speaks as they do.
//
// It reads pull requests, reviews and who took part in them, and writes one
// check and one comment per pull request. The check is a check run with
// annotations where Pave acts as an App that may write checks, and one commit
// status otherwise. Webhooks only hint that it is time to look: nothing that
// they say is believed, so a forged or repeated one costs a look at most.
//
// # Requests
//
// A look at the open pull requests costs one request for every hundred of them,
// with an ETag, which the forge does not count while nothing changes. Publishing
// a report that says what stands already costs nothing; publishing another costs
// three requests, one more after a restart, two more where no comment stands yet,
// and one for each fifty annotations beyond the first, of which there are at most
// 150: never more because a report has more units. Who Pave is costs one request
// in all, four as an App. Reading reviews costs one for every hundred of them and
// one for every hundred events of their pull request, two at least, with an ETag.
// Merging costs two, and looking for gaps three. Changes are made one at a time,
// ten at once and one a second after that. While the forge limits requests
// everything waits, for as long as its caller allows.
package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

// Options are what a Forge needs. Owner, Name, Branch and one of Token and App are
// required.
type Options struct {
	// URL is the address of the forge's pages; empty is https://github.com.
	URL string
	// Owner and Name name the repository, Branch its tracked branch.
	Owner, Name, Branch string
	Token               string
	App                 *App
	// Check names the check; empty is "pave". Two Paves that look at one
	// repository need two names.
	Check string
	// Transport carries the requests; nil is http.DefaultTransport.
	Transport http.RoundTripper
	Log       *slog.Logger // nil discards
}

// Forge is one repository on GitHub. It is safe for concurrent use.
type Forge struct {
	owner, name, branch, check string

	host   string // of the forge's pages, in lower case
	web    string // the repository's pages, without a slash at the end
	client *github.Client
	app    *application  // nil where a token speaks for Pave
	turn   chan struct{} // held while something is published

	mu       sync.Mutex
	me       self              // guarded by mu
	verdicts map[int]claim     // by pull request; guarded by mu
	heads    map[int]string    // of the pull requests that were last seen open; guarded by mu
	comments map[int]comment   // what stands, by pull request; held with turn
	checks   map[string]string // the digest of what stands, by commit; held with turn
}

var _ reconciler.Forge = (*Forge)(nil)

var (
	namePattern   = reconciler.Pattern(`^[A-Za-z0-9_.-]{1,100}$`)
	checkPattern  = reconciler.Pattern(`^[A-Za-z0-9]([A-Za-z0-9 ._/-]{0,60}[A-Za-z0-9])?$`)
	commitPattern = reconciler.Pattern(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// New returns the forge. It asks the forge nothing.
func New(o Options) (*Forge, error) {
	o.URL = cmp.Or(o.URL, "https://github.com")
	o.Check = cmp.Or(o.Check, "pave")
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	web, err := o.validate()
	if err != nil {
		return nil, err
	}
	f := &Forge{owner: o.Owner, name: o.Name, branch: o.Branch, check: o.Check,
		host: strings.ToLower(web.Hostname()), web: web.Scheme + "://" + web.Host + "/" + o.Owner + "/" + o.Name,
		turn: make(chan struct{}, 1), verdicts: map[int]claim{}, comments: map[int]comment{}, checks: map[string]string{}}
	api := apiAddress(web.Scheme, web.Host)
	base := bounded{o.Transport}
	var authenticated http.RoundTripper = bearer{o.Token, base}
	if o.App != nil {
		if f.app, err = newApplication(o, api, base); err != nil {
			return nil, err
		}
		authenticated = f.app
	}
	f.client, err = newClient(api, &remembering{next: newPatient(authenticated, o.Log)})
	return f, err
}

func (o Options) validate() (*url.URL, error) {
	web, err := url.Parse(strings.TrimSuffix(o.URL, "/"))
	if err != nil || web.Host == "" || web.Path != "" || web.RawQuery != "" || web.User != nil {
		return nil, fmt.Errorf("the forge's address %q: expected one like https://github.com", o.URL)
	}
	if web.Scheme != "https" && (web.Scheme != "http" || !loopback(web.Hostname())) {
		return nil, fmt.Errorf("the forge's address %q: expected https, for the credentials' sake", o.URL)
	}
	switch {
	case !namePattern().MatchString(o.Owner) || !namePattern().MatchString(o.Name) || strings.Trim(o.Owner, ".") == "" || strings.Trim(o.Name, ".") == "":
		return nil, fmt.Errorf("the forge's repository %q: expected OWNER/NAME", o.Owner+"/"+o.Name)
	case o.Branch == "":
		return nil, errors.New("the forge needs the name of the tracked branch")
	case !checkPattern().MatchString(o.Check):
		return nil, fmt.Errorf("the check's name %q: expected letters, digits, blanks and ._/-, at most 62", o.Check)
	case (o.Token == "") == (o.App == nil):
		return nil, errors.New("the forge needs a token or an App, one of the two")
	case o.App != nil && o.App.ID <= 0:
		return nil, fmt.Errorf("the App's id is %d: expected the number on the App's page", o.App.ID)
	}
	return web, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newApplication(o Options, api string, base http.RoundTripper) (*application, error) {
	apps, err := ghinstallation.NewAppsTransport(base, o.App.ID, o.App.Key)
	if err != nil {
		return nil, fmt.Errorf("read the App's private key: %w", err)
	}
	apps.BaseURL = strings.TrimSuffix(api, "/")
	client, err := newClient(api, newPatient(apps, o.Log))
	if err != nil {
		return nil, err
	}
	return &application{app: *o.App, owner: o.Owner, name: o.Name, apps: apps, client: client}, nil
}

func newClient(api string, transport http.RoundTripper) (*github.Client, error) {
	client := github.NewClient(&http.Client{Transport: transport, CheckRedirect: sameHost})
	base, err := url.Parse(api)
	if err != nil {
		return nil, err
	}
	client.BaseURL, client.UserAgent = base, "pave"
	return client, nil
}

// Open implements [reconciler.Forge].
func (f *Forge) Open(ctx context.Context) ([]reconciler.PullRequest, error) {
	found, err := pages(func(page github.ListOptions) ([]*github.PullRequest, *github.Response, error) {
		return f.client.PullRequests.List(ctx, f.owner, f.name, &github.PullRequestListOptions{
			State: "open", Base: f.branch, Sort: "created", Direction: "asc", ListOptions: page})
	})
	if err != nil {
		return nil, fmt.Errorf("list open pull requests: %w", err)
	}
	var open []reconciler.PullRequest
	heads := map[int]string{}
	for _, p := range found {
		if p.GetBase().GetRef() != f.branch || p.GetState() != "open" || heads[p.GetNumber()] != "" {
			continue
		}
		pull, err := pullRequest(p)
		if err != nil {
			return nil, err
		}
		heads[pull.Number] = pull.Head
		open = append(open, pull)
	}
	f.saw(heads)
	return open, nil
}

// mostStrays bounds the pull requests of other branches that are looked at, one
// request for each and one for the list: whoever starts this process again and
// again spends no more of the hour's requests.
const mostStrays = 30

// Strays implements [reconciler.Forge].
func (f *Forge) Strays(ctx context.Context) ([]reconciler.PullRequest, error) {
	me, err := f.self(ctx)
	if err != nil {
		return nil, err
	}
	found, _, err := f.client.PullRequests.List(ctx, f.owner, f.name, &github.PullRequestListOptions{
		State: "open", Sort: "updated", Direction: "desc", ListOptions: github.ListOptions{PerPage: mostStrays}})
	if err != nil {
		return nil, fmt.Errorf("list open pull requests of other branches: %w", err)
	}
	var strays []reconciler.PullRequest
	for _, p := range found {
		if p.GetBase().GetRef() == f.branch || p.GetState() != "open" {
			continue
		}
		pull, err := pullRequest(p)
		if err != nil {
			return nil, err
		}
		passed, err := f.passed(ctx, me, pull.Head)
		if err != nil {
			return nil, fmt.Errorf("read the check of %s: %w", pull.Head, err)
		}
		if passed {
			strays = append(strays, pull)
		}
	}
	return strays, nil
}

// PullRequest implements [reconciler.Forge].
func (f *Forge) PullRequest(ctx context.Context, number int) (reconciler.PullRequest, error) {
	p, _, err := f.client.PullRequests.Get(ctx, f.owner, f.name, number)
	if err != nil {
		return reconciler.PullRequest{}, fmt.Errorf("read pull request %d: %w", number, err)
	}
	return pullRequest(p)
}

// Merged implements [reconciler.Forge]. Where several pull requests brought the
// commit, it is the one whose merge it is, and otherwise the first.
func (f *Forge) Merged(ctx context.Context, commit string) (reconciler.PullRequest, bool, error) {
	if !commitPattern().MatchString(commit) {
		return reconciler.PullRequest{}, false, fmt.Errorf("%q is no commit", commit)
	}
	found, err := pages(func(page github.ListOptions) ([]*github.PullRequest, *github.Response, error) {
		return f.client.PullRequests.ListPullRequestsWithCommit(ctx, f.owner, f.name, commit, &page)
	})
	if err != nil {
		return reconciler.PullRequest{}, false, fmt.Errorf("find the pull request of %s: %w", commit, err)
	}
	found = slices.DeleteFunc(found, func(p *github.PullRequest) bool { return p.MergedAt == nil || p.GetBase().GetRef() != f.branch })
	if len(found) == 0 {
		return reconciler.PullRequest{}, false, nil
	}
	first := slices.MinFunc(found, func(a, b *github.PullRequest) int {
		if other := compareBool(b.GetMergeCommitSHA() == commit, a.GetMergeCommitSHA() == commit); other != 0 {
			return other
		}
		return a.MergedAt.Compare(b.MergedAt.Time)
	})
	pull, err := f.PullRequest(ctx, first.GetNumber()) // a list does not say who merged
	if err != nil {
		return reconciler.PullRequest{}, false, err
	}
	if pull.Merge == "" || pull.BaseBranch != f.branch {
		return reconciler.PullRequest{}, false, nil
	}
	return pull, true, nil
}

// Reviews implements [reconciler.Forge]. Those of deleted accounts are left out.
func (f *Forge) Reviews(ctx context.Context, number int) ([]reconciler.Review, error) {
	found, err := pages(func(page github.ListOptions) ([]*github.PullRequestReview, *github.Response, error) {
		return f.client.PullRequests.ListReviews(ctx, f.owner, f.name, number, &page)
	})
	if err != nil {
		return nil, fmt.Errorf("list the reviews of pull request %d: %w", number, err)
	}
	// Later than the reviews, so that no change of the base is missed that
	// followed one of them.
	rebased, err := f.rebased(ctx, number)
	if err != nil {
		return nil, fmt.Errorf("list the events of pull request %d: %w", number, err)
	}
	states := map[string]reconciler.ReviewState{
		"APPROVED": reconciler.ReviewApproved, "CHANGES_REQUESTED": reconciler.ReviewRejected,
		"DISMISSED": reconciler.ReviewDismissed, "COMMENTED": reconciler.ReviewComment,
	}
	var reviews []reconciler.Review
	for _, r := range found {
		state, known := states[r.GetState()]
		if !known || !exists(r.User) {
			continue // not submitted yet, or nobody's
		}
		if !rebased.IsZero() && !r.GetSubmittedAt().After(rebased) {
			continue // of what it was against another base; the forge counts in seconds
		}
		reviews = append(reviews, reconciler.Review{By: person(r.User), State: state, Commit: r.GetCommitID(), Submitted: r.GetSubmittedAt().Time})
	}
	return reviews, nil
}

// rebased is when the base of a pull request was last changed to another branch,
// by somebody or because its branch was deleted; zero is never.
func (f *Forge) rebased(ctx context.Context, number int) (time.Time, error) {
	events, err := pages(func(page github.ListOptions) ([]*github.IssueEvent, *github.Response, error) {
		return f.client.Issues.ListIssueEvents(ctx, f.owner, f.name, number, &page)
	})
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, e := range events {
		switch e.GetEvent() {
		case "base_ref_changed", "automatic_base_change_succeeded":
			at := e.GetCreatedAt().Time
			if at.IsZero() {
				return time.Time{}, errors.New("the forge does not say when the base changed")
			}
			if at.After(last) {
				last = at
			}
		}
	}
	return last, nil
}

// Person implements [reconciler.Forge].
func (f *Forge) Person(ctx context.Context, handle string) (reconciler.Person, error) {
	if !handlePattern().MatchString(handle) {
		return reconciler.Person{}, fmt.Errorf("%q is no handle", handle)
	}
	user, _, err := f.client.Users.Get(ctx, handle)
	if err != nil {
		return reconciler.Person{}, fmt.Errorf("find the account %s: %w", handle, err)
	}
	if user.GetID() == 0 {
		return reconciler.Person{}, fmt.Errorf("find the account %s: the forge answered without an id", handle)
	}
	return person(user), nil
}

var handlePattern = reconciler.Pattern(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(\[bot\])?$`)

func person(user *github.User) reconciler.Person {
	return reconciler.Person{ID: user.GetID(), Handle: user.GetLogin()}
}

// pullRequest takes what the forge says. What reaches Git is checked here.
func pullRequest(p *github.PullRequest) (reconciler.PullRequest, error) {
	pull := reconciler.PullRequest{
		Number: p.GetNumber(), Title: p.GetTitle(), URL: p.GetHTMLURL(),
		BaseBranch: p.GetBase().GetRef(), Base: p.GetBase().GetSHA(), Head: p.GetHead().GetSHA(),
		Author: person(p.User), Open: p.GetState() == "open",
	}
	// A head whose repository is gone was a fork's.
	head, base := p.GetHead().GetRepo().GetID(), p.GetBase().GetRepo().GetID()
	pull.Fork = head == 0 || head != base
	if p.MergedAt != nil { // before that the merge commit is only a try
		pull.Merge, pull.MergedBy, pull.MergedAt = p.GetMergeCommitSHA(), person(p.MergedBy), p.MergedAt.Time
	}
	for _, commit := range []string{pull.Base, pull.Head, cmp.Or(pull.Merge, pull.Head)} {
		if !commitPattern().MatchString(commit) {
			return reconciler.PullRequest{}, fmt.Errorf("pull request %d: the forge names the commit %q", pull.Number, commit)
		}
	}
	if pull.Number <= 0 {
		return reconciler.PullRequest{}, fmt.Errorf("the forge names the pull request %d", pull.Number)
	}
	return pull, nil
}

const maxPages = 100

// pages reads all pages of a list.
func pages[T any](list func(page github.ListOptions) ([]T, *github.Response, error)) ([]T, error) {
	var all []T
	page := github.ListOptions{PerPage: 100}
	for range maxPages {
		items, resp, err := list(page)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if resp.NextPage <= page.Page {
			return all, nil
		}
		page.Page = resp.NextPage
	}
	return nil, fmt.Errorf("there are more than %d pages", maxPages)
}
