package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

const owner, name = "acme", "platform"

// forge is a running forge, seen by its users.
type forge struct {
	*testing.T
	*hub.Hub
}

func start(t *testing.T, change func(*hub.Options)) *forge {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Gitea, which `go run ./testdata/tools/get gitea` builds: make test")
	}
	o := hub.Options{Gitea: os.Getenv("PAVE_TEST_GITEA"), Dir: t.TempDir(), Approvals: 1, Log: t.Output()}
	if o.Gitea == "" {
		o.Gitea, _ = exec.LookPath("gitea")
	}
	if change != nil {
		change(&o)
	}
	h, err := hub.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &forge{t, h}
}

// as is an unmodified client of a GitHub Enterprise Server.
func (f *forge) as(login string) *github.Client {
	f.Helper()
	client, err := github.NewClient(nil).WithAuthToken(f.Users[login].Token).WithEnterpriseURLs(f.URL, f.URL)
	f.must(err)
	return client
}

func (f *forge) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// checkout clones the repository as somebody, over HTTP through the proxy.
func (f *forge) checkout(login string) checkout {
	f.Helper()
	address, err := url.Parse(f.Clone)
	f.must(err)
	address.User = url.UserPassword(login, f.Users[login].Token)
	c := checkout{f, filepath.Join(f.TempDir(), login), f.Users[login]}
	c.git("clone", "--quiet", address.String(), c.dir)
	return c
}

type checkout struct {
	*forge
	dir string
	as  hub.User
}

func (c checkout) git(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(out)
}

func (c checkout) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	if args[0] != "clone" {
		cmd.Dir = c.dir
	}
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "NO_PROXY=127.0.0.1",
		"GIT_AUTHOR_NAME="+c.as.Login, "GIT_AUTHOR_EMAIL="+c.as.Email,
		"GIT_COMMITTER_NAME="+c.as.Login, "GIT_COMMITTER_EMAIL="+c.as.Email)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// commit writes a file on the branch that is checked out, and returns the commit.
func (c checkout) commit(file, content string) string {
	c.Helper()
	c.must(os.WriteFile(filepath.Join(c.dir, file), []byte(content), 0o644))
	c.git("add", file)
	c.git("commit", "--quiet", "--message", "Change "+file)
	return c.git("rev-parse", "HEAD")
}

// propose pushes one commit on a branch and opens a pull request for it.
func (f *forge) propose(login, branch string) (checkout, *github.PullRequest) {
	f.Helper()
	c := f.checkout(login)
	c.git("switch", "--quiet", "--create", branch)
	c.commit(branch+".txt", branch)
	c.git("push", "--quiet", "origin", branch)
	pull, _, err := f.as(login).PullRequests.Create(f.Context(), owner, name, &github.NewPullRequest{
		Title: github.String("Add " + branch), Head: github.String(branch), Base: github.String("main")})
	f.must(err)
	return c, pull
}

// refused tells that GitHub's own error type carries the status and the words.
func (f *forge) refused(err error, status int, words string) {
	f.Helper()
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) || refused.Response.StatusCode != status || !strings.Contains(refused.Message, words) {
		f.Errorf("got %v; want status %d with %q", err, status, words)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits for what Gitea does in the background.
func (f *forge) eventually(what string, holds func() bool) {
	f.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("still not so: %s", what)
		}
	}
}

func TestFromBranchToMerge(t *testing.T) {
	f := start(t, nil)
	ctx := t.Context()
	alice, bob, pave := f.as("alice"), f.as("bob"), f.as(hub.Bot)
	events := f.receive("pull_request", "pull_request_review", "push", "issue_comment", "status")

	work, opened := f.propose("alice", "topic")
	number, head := opened.GetNumber(), work.git("rev-parse", "HEAD")
	equal(t, "head", opened.GetHead().GetSHA(), head)
	equal(t, "label", opened.GetHead().GetLabel(), "acme:topic")
	equal(t, "author", opened.GetUser().GetID(), f.Users["alice"].ID)

	// A second push moves the head.
	head = work.commit("more.txt", "more")
	work.git("push", "--quiet", "origin", "topic")
	f.eventually("the head moved", func() bool {
		pull, _, err := pave.PullRequests.Get(ctx, owner, name, number)
		f.must(err)
		return pull.GetHead().GetSHA() == head
	})

	merge := func(client *github.Client, sha string) (*github.PullRequestMergeResult, error) {
		merged, _, err := client.PullRequests.Merge(ctx, owner, name, number, "", &github.PullRequestOptions{SHA: sha})
		return merged, err
	}
	_, err := merge(alice, head)
	f.refused(err, http.StatusMethodNotAllowed, "status checks")

	post := func(state string) {
		t.Helper()
		made, _, err := pave.Repositories.CreateStatus(ctx, owner, name, head, &github.RepoStatus{
			State: github.String(state), Context: github.String("pave"), Description: github.String("is " + state)})
		f.must(err)
		equal(t, "state of the status made", made.GetState(), state)
		equal(t, "its author", made.GetCreator().GetID(), f.Users[hub.Bot].ID)
	}
	post("failure")
	_, err = merge(alice, head)
	f.refused(err, http.StatusMethodNotAllowed, "status checks")
	post("success")
	_, err = merge(pave, head) // an administrator is refused like everybody
	f.refused(err, http.StatusMethodNotAllowed, "approvals")

	combined, _, err := pave.Repositories.GetCombinedStatus(ctx, owner, name, head, nil)
	f.must(err)
	equal(t, "combined state", combined.GetState(), "success")
	equal(t, "its statuses", len(combined.Statuses), 1)
	history, _, err := pave.Repositories.ListStatuses(ctx, owner, name, head, nil)
	f.must(err)
	if len(history) != 2 || history[0].GetState() != "success" || history[1].GetState() != "failure" {
		t.Errorf("statuses, latest first: %v", history)
	}

	_, _, err = alice.PullRequests.CreateReview(ctx, owner, name, number, &github.PullRequestReviewRequest{Event: github.String("APPROVE")})
	f.refused(err, http.StatusUnprocessableEntity, "approve your own")
	review := func(event, body string) *github.PullRequestReview {
		t.Helper()
		made, _, err := bob.PullRequests.CreateReview(ctx, owner, name, number, &github.PullRequestReviewRequest{
			Event: github.String(event), Body: github.String(body), CommitID: github.String(head)})
		f.must(err)
		return made
	}
	reviews := func(want ...string) {
		t.Helper()
		found, _, err := pave.PullRequests.ListReviews(ctx, owner, name, number, nil)
		f.must(err)
		var states []string
		for _, r := range found {
			states = append(states, r.GetState())
			equal(t, "commit of the review", r.GetCommitID(), head)
			equal(t, "its author", r.GetUser().GetID(), f.Users["bob"].ID)
			if r.GetSubmittedAt().IsZero() {
				t.Error("a review without a time")
			}
		}
		if !slices.Equal(states, want) {
			t.Errorf("reviews: %v, want %v", states, want)
		}
	}
	review("COMMENT", "hm")
	review("REQUEST_CHANGES", "no")
	taken := review("APPROVE", "yes")
	reviews("COMMENTED", "CHANGES_REQUESTED", "APPROVED")
	_, _, err = pave.PullRequests.DismissReview(ctx, owner, name, number, taken.GetID(), &github.PullRequestReviewDismissalRequest{Message: github.String("not yet")})
	f.must(err)
	reviews("COMMENTED", "CHANGES_REQUESTED", "DISMISSED")
	_, err = merge(alice, head)
	f.refused(err, http.StatusMethodNotAllowed, "approvals")
	review("APPROVE", "yes, now")

	f.comments(pave, number)

	_, err = merge(alice, strings.Repeat("1", 40))
	f.refused(err, http.StatusConflict, "modified")
	merged, err := merge(alice, head)
	f.must(err)
	if !merged.GetMerged() || len(merged.GetSHA()) != 40 {
		t.Errorf("merged: %v", merged)
	}
	pull, _, err := pave.PullRequests.Get(ctx, owner, name, number)
	f.must(err)
	equal(t, "state", pull.GetState(), "closed")
	equal(t, "merged", pull.GetMerged(), true)
	equal(t, "merge commit", pull.GetMergeCommitSHA(), merged.GetSHA())
	equal(t, "merged by", pull.GetMergedBy().GetID(), f.Users["alice"].ID)
	work.git("fetch", "--quiet", "origin")
	equal(t, "main", work.git("rev-parse", "origin/main"), merged.GetSHA())
	for _, sha := range []string{merged.GetSHA(), head} {
		found, _, err := pave.PullRequests.ListPullRequestsWithCommit(ctx, owner, name, sha, nil)
		f.must(err)
		if len(found) != 1 || found[0].GetNumber() != number || found[0].MergedAt == nil {
			t.Errorf("pull requests of %s: %v", sha, found)
		}
	}

	events.await("push", func(e any) bool {
		p, ok := e.(*github.PushEvent)
		return ok && p.GetRef() == "refs/heads/main" && p.GetAfter() == merged.GetSHA() && p.GetRepo().GetOwner().GetLogin() == owner &&
			p.GetPusher().GetName() == "alice" && !p.GetCreated()
	})
	for _, action := range []string{"opened", "synchronize", "closed"} {
		events.await("pull_request "+action, func(e any) bool {
			p, ok := e.(*github.PullRequestEvent)
			return ok && p.GetAction() == action && p.GetNumber() == number && p.GetRepo().GetFullName() == "acme/platform" &&
				p.GetSender().GetID() == f.Users["alice"].ID && p.GetPullRequest().GetMerged() == (action == "closed")
		})
	}
	for _, state := range []string{"commented", "changes_requested", "approved"} {
		events.await("review "+state, func(e any) bool {
			r, ok := e.(*github.PullRequestReviewEvent)
			return ok && r.GetAction() == "submitted" && r.GetReview().GetState() == state && r.GetReview().GetCommitID() == head &&
				r.GetReview().GetUser().GetID() == f.Users["bob"].ID && r.GetPullRequest().GetNumber() == number
		})
	}
	events.await("status", func(e any) bool {
		s, ok := e.(*github.StatusEvent)
		return ok && s.GetState() == "success" && s.GetSHA() == head && s.GetContext() == "pave"
	})
	events.await("comment", func(e any) bool {
		c, ok := e.(*github.IssueCommentEvent)
		return ok && c.GetAction() == "created" && c.GetIssue().IsPullRequest() && c.GetIssue().GetNumber() == number
	})
	events.await("ping", func(e any) bool { _, ok := e.(*github.PingEvent); return ok })
}

// comments is the life of a comment.
func (f *forge) comments(client *github.Client, number int) {
	f.Helper()
	ctx := f.Context()
	made, _, err := client.Issues.CreateComment(ctx, owner, name, number, &github.IssueComment{Body: github.String("first")})
	f.must(err)
	_, _, err = client.Issues.EditComment(ctx, owner, name, made.GetID(), &github.IssueComment{Body: github.String("second")})
	f.must(err)
	one, _, err := client.Issues.GetComment(ctx, owner, name, made.GetID())
	f.must(err)
	equal(f.T, "body", one.GetBody(), "second")
	all, _, err := client.Issues.ListComments(ctx, owner, name, number, nil)
	f.must(err)
	if len(all) != 1 || all[0].GetID() != made.GetID() || all[0].GetUser().GetID() != f.Users[hub.Bot].ID {
		f.Errorf("comments: %v", all)
	}
	_, _, err = client.Issues.CreateComment(ctx, owner, name, number, &github.IssueComment{Body: github.String(strings.Repeat("x", 65537))})
	f.refused(err, http.StatusUnprocessableEntity, "too long")
	_, err = client.Issues.DeleteComment(ctx, owner, name, made.GetID())
	f.must(err)
	_, _, err = client.Issues.GetComment(ctx, owner, name, made.GetID())
	f.refused(err, http.StatusNotFound, "")
}

func TestReading(t *testing.T) {
	f := start(t, nil)
	ctx := t.Context()
	pave := f.as(hub.Bot)
	work, first := f.propose("alice", "one")
	_, second := f.propose("bob", "two")
	head := first.GetHead().GetSHA()
	base := work.git("rev-parse", "origin/main")

	t.Run("pull requests", func(t *testing.T) {
		list := func(o github.PullRequestListOptions) (numbers []int, next int) {
			t.Helper()
			found, response, err := pave.PullRequests.List(ctx, owner, name, &o)
			f.must(err)
			for _, p := range found {
				numbers = append(numbers, p.GetNumber())
			}
			return numbers, response.NextPage
		}
		one, two := first.GetNumber(), second.GetNumber()
		for what, c := range map[string]struct {
			options github.PullRequestListOptions
			want    []int
			next    int
		}{
			"latest first":  {github.PullRequestListOptions{}, []int{two, one}, 0},
			"oldest first":  {github.PullRequestListOptions{Sort: "created", Direction: "asc"}, []int{one, two}, 0},
			"by head":       {github.PullRequestListOptions{Head: "acme:one"}, []int{one}, 0},
			"by no head":    {github.PullRequestListOptions{Head: "bob:one"}, nil, 0},
			"by base":       {github.PullRequestListOptions{Base: "main"}, []int{two, one}, 0},
			"by other base": {github.PullRequestListOptions{Base: "one"}, nil, 0},
			"first page":    {github.PullRequestListOptions{ListOptions: github.ListOptions{PerPage: 1}}, []int{two}, 2},
			"last page":     {github.PullRequestListOptions{ListOptions: github.ListOptions{PerPage: 1, Page: 2}}, []int{one}, 0},
			"closed":        {github.PullRequestListOptions{State: "closed"}, nil, 0},
		} {
			if got, next := list(c.options); !slices.Equal(got, c.want) || next != c.next {
				t.Errorf("%s: %v and next page %d, want %v and %d", what, got, next, c.want, c.next)
			}
		}
	})
	t.Run("commits", func(t *testing.T) {
		commits, _, err := pave.PullRequests.ListCommits(ctx, owner, name, first.GetNumber(), nil)
		f.must(err)
		if len(commits) != 1 || commits[0].GetSHA() != head || commits[0].GetAuthor().GetID() != f.Users["alice"].ID ||
			commits[0].GetCommit().GetAuthor().GetEmail() != f.Users["alice"].Email {
			t.Errorf("commits: %v", commits)
		}
		one, _, err := pave.Repositories.GetCommit(ctx, owner, name, head, nil)
		f.must(err)
		equal(t, "commit", one.GetSHA(), head)
		equal(t, "parent", one.Parents[0].GetSHA(), base)
		plain, _, err := pave.Git.GetCommit(ctx, owner, name, head)
		f.must(err)
		equal(t, "git commit", plain.GetSHA(), head)
		equal(t, "message", strings.TrimSpace(plain.GetMessage()), "Change one.txt")
		equal(t, "committer", plain.GetCommitter().GetEmail(), f.Users["alice"].Email)
		for author, want := range map[string]int{f.Users["alice"].Email: 1, "alice": 1, "nobody@example.com": 0} {
			found, _, err := pave.Repositories.ListCommits(ctx, owner, name, &github.CommitsListOptions{SHA: "one", Author: author})
			f.must(err)
			equal(t, "commits of "+author, len(found), want)
		}
		compared, _, err := pave.Repositories.CompareCommits(ctx, owner, name, "main", "one", nil)
		f.must(err)
		equal(t, "compared", fmt.Sprint(compared.GetStatus(), " ", compared.GetAheadBy(), compared.GetBehindBy()), "ahead 1 0")
	})
	t.Run("files", func(t *testing.T) {
		files, _, err := pave.PullRequests.ListFiles(ctx, owner, name, first.GetNumber(), nil)
		f.must(err)
		if len(files) != 1 || files[0].GetFilename() != "one.txt" || files[0].GetStatus() != "added" {
			t.Errorf("files: %v", files)
		}
		content, _, _, err := pave.Repositories.GetContents(ctx, owner, name, "one.txt", &github.RepositoryContentGetOptions{Ref: "one"})
		f.must(err)
		text, err := content.GetContent()
		f.must(err)
		equal(t, "content", text, "one")
		_, _, _, err = pave.Repositories.GetContents(ctx, owner, name, "one.txt", nil)
		f.refused(err, http.StatusNotFound, "")
	})
	t.Run("refs", func(t *testing.T) {
		ref, _, err := pave.Git.GetRef(ctx, owner, name, "heads/one")
		f.must(err)
		equal(t, "ref", ref.GetObject().GetSHA(), head)
		_, _, err = pave.Git.GetRef(ctx, owner, name, "heads/on") // only the beginning of a name
		f.refused(err, http.StatusNotFound, "")
		branch, _, err := pave.Repositories.GetBranch(ctx, owner, name, "main", 1)
		f.must(err)
		equal(t, "main", branch.GetCommit().GetSHA(), base)
		equal(t, "protected", branch.GetProtected(), true)
		rule, _, err := pave.Repositories.GetBranchProtection(ctx, owner, name, "main")
		f.must(err)
		equal(t, "checks", strings.Join(*rule.GetRequiredStatusChecks().Contexts, " "), "pave")
		equal(t, "approvals", rule.GetRequiredPullRequestReviews().RequiredApprovingReviewCount, 1)
		equal(t, "administrators too", rule.GetEnforceAdmins().Enabled, true)
	})
	t.Run("people", func(t *testing.T) {
		me, _, err := pave.Users.Get(ctx, "")
		f.must(err)
		equal(t, "me", me.GetLogin(), hub.Bot)
		mallory, _, err := pave.Users.Get(ctx, "mallory")
		f.must(err)
		equal(t, "mallory", mallory.GetID(), f.Users["mallory"].ID)
		_, _, err = pave.Users.Get(ctx, "nobody")
		f.refused(err, http.StatusNotFound, "")
		for login, want := range map[string]string{"alice": "write", "mallory": "read", hub.Bot: "admin"} {
			level, _, err := pave.Repositories.GetPermissionLevel(ctx, owner, name, login)
			f.must(err)
			if got := level.GetPermission(); got != want && (want != "admin" || got != "owner") {
				t.Errorf("%s may %s, want %s", login, got, want)
			}
		}
	})
	t.Run("pushes", func(t *testing.T) {
		type push struct {
			Before, After, Ref string
			Kind               string       `json:"activity_type"`
			Actor              *github.User `json:"actor"`
		}
		again := work.commit("again.txt", "again")
		work.git("push", "--quiet", "origin", "one")
		var found []push
		f.eventually("both pushes are listed", func() bool {
			request, err := pave.NewRequest(http.MethodGet, "repos/acme/platform/activity?ref=refs/heads/one&per_page=100", nil)
			f.must(err)
			found = nil
			_, err = pave.Do(ctx, request, &found)
			f.must(err)
			return len(found) == 2
		})
		for i, want := range []push{{Before: head, After: again, Kind: "push"}, {Before: strings.Repeat("0", 40), After: head, Kind: "branch_creation"}} {
			got := found[i]
			equal(t, "actor", got.Actor.GetID(), f.Users["alice"].ID)
			got.Actor, got.Ref = nil, ""
			equal(t, "push", got, want)
		}
	})
	t.Run("no App", func(t *testing.T) {
		_, _, err := pave.Checks.CreateCheckRun(ctx, owner, name, github.CreateCheckRunOptions{Name: "pave", HeadSHA: head})
		f.refused(err, http.StatusForbidden, "GitHub App")
		_, _, err = pave.Apps.Get(ctx, "")
		f.refused(err, http.StatusUnauthorized, "")
		runs, _, err := pave.Checks.ListCheckRunsForRef(ctx, owner, name, head, nil)
		f.must(err)
		equal(t, "check runs", runs.GetTotal(), 0)
	})
	t.Run("strangers", func(t *testing.T) {
		nobody, err := github.NewClient(nil).WithAuthToken("wrong").WithEnterpriseURLs(f.URL, f.URL)
		f.must(err)
		_, _, err = nobody.PullRequests.List(ctx, owner, name, nil)
		f.refused(err, http.StatusUnauthorized, "")
		_, _, err = f.as("mallory").Repositories.CreateStatus(ctx, owner, name, head, &github.RepoStatus{State: github.String("success")})
		f.refused(err, http.StatusForbidden, "")
		_, _, err = f.as("mallory").Repositories.CreateHook(ctx, owner, name, &github.Hook{})
		f.refused(err, http.StatusForbidden, "")
		_, err = f.checkout("mallory").try("push", "origin", "HEAD:refs/heads/hers")
		if err == nil {
			t.Error("mallory pushed")
		}
		_, err = work.try("push", "origin", "HEAD:refs/heads/main")
		if err == nil {
			t.Error("alice pushed to the protected branch")
		}
		response, err := http.Post(f.URL+"/-/forge/webhook", "application/json", strings.NewReader("{}"))
		f.must(err)
		response.Body.Close()
		equal(t, "a webhook that Gitea did not sign", response.StatusCode, http.StatusForbidden)
	})
}

func TestFork(t *testing.T) {
	f := start(t, nil)
	ctx := t.Context()
	mallory := f.as("mallory")
	_, _, err := mallory.Repositories.CreateFork(ctx, owner, name, nil)
	var accepted *github.AcceptedError
	if err != nil && !errors.As(err, &accepted) {
		t.Fatal(err)
	}
	_, _, err = mallory.Repositories.CreateFile(ctx, "mallory", name, "evil.txt", &github.RepositoryContentFileOptions{
		Message: github.String("Add it"), Content: []byte("evil"), Branch: github.String("main")})
	f.must(err)
	opened, _, err := mallory.PullRequests.Create(ctx, owner, name, &github.NewPullRequest{
		Title: github.String("Take this"), Head: github.String("mallory:main"), Base: github.String("main")})
	f.must(err)
	pull, _, err := f.as(hub.Bot).PullRequests.Get(ctx, owner, name, opened.GetNumber())
	f.must(err)
	equal(t, "label", pull.GetHead().GetLabel(), "mallory:main")
	if pull.GetHead().GetRepo().GetID() == pull.GetBase().GetRepo().GetID() || !pull.GetHead().GetRepo().GetFork() {
		t.Error("the head is not in a fork")
	}
}

// Conditional requests and limits are the proxy's own.
func TestBudget(t *testing.T) {
	const limit = 20
	f := start(t, func(o *hub.Options) { o.RateLimit, o.Unprotected = limit, true })
	get := func(etag string) *http.Response {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, f.API+"repos/acme/platform/pulls", nil)
		f.must(err)
		request.Header.Set("Authorization", "Bearer "+f.Users[hub.Bot].Token)
		request.Header.Set("If-None-Match", etag)
		response, err := http.DefaultClient.Do(request)
		f.must(err)
		response.Body.Close()
		return response
	}
	first := get("")
	etag := first.Header.Get("ETag")
	for range limit {
		again := get(etag)
		equal(t, "status while nothing changes", again.StatusCode, http.StatusNotModified)
		equal(t, "what is left", again.Header.Get("X-RateLimit-Remaining"), fmt.Sprint(limit-1))
	}
	f.propose("alice", "topic")
	changed := get(etag)
	equal(t, "status after a change", changed.StatusCode, http.StatusOK)
	if changed.Header.Get("ETag") == etag {
		t.Error("another answer has the same ETag")
	}
	for range limit - 2 {
		equal(t, "status within the limit", get("").StatusCode, http.StatusOK)
	}
	_, _, err := f.as(hub.Bot).Users.Get(t.Context(), "")
	var limited *github.RateLimitError
	if !errors.As(err, &limited) {
		t.Errorf("beyond the limit: %v", err)
	}
	_, _, err = f.as("alice").Users.Get(t.Context(), "") // each token has its own
	f.must(err)
}

// events are webhooks as the product would take them.
type events struct {
	*forge
	arrived chan any
	seen    []any
}

// receive makes a webhook as on GitHub, and checks every delivery as
// GitHub's own library does.
func (f *forge) receive(names ...string) *events {
	f.Helper()
	const secret = "the webhook's secret"
	e := &events{forge: f, arrived: make(chan any, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := github.ValidatePayload(r, []byte(secret))
		if err != nil {
			f.Errorf("delivery of %s: %v", github.WebHookType(r), err)
			return
		}
		event, err := github.ParseWebHook(github.WebHookType(r), payload)
		if err != nil || github.DeliveryID(r) == "" {
			f.Errorf("delivery %q of %s: %v\n%s", github.DeliveryID(r), github.WebHookType(r), err, payload)
			return
		}
		if bytes.Contains(payload, []byte("/api/v1/")) {
			f.Errorf("delivery of %s holds an address of Gitea's", github.WebHookType(r))
		}
		e.arrived <- event
	}))
	f.Cleanup(server.Close)
	made, _, err := f.as(hub.Bot).Repositories.CreateHook(f.Context(), owner, name, &github.Hook{
		Active: github.Bool(true), Events: names,
		Config: &github.HookConfig{URL: github.String(server.URL), ContentType: github.String("json"), Secret: github.String(secret)},
	})
	f.must(err)
	if made.GetID() == 0 || made.GetConfig().GetSecret() == secret {
		f.Errorf("hook made: %v", made)
	}
	return e
}

// await waits for an event, among those that have come and those that will.
func (e *events) await(what string, wanted func(any) bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 30*time.Second)
	defer cancel()
	if slices.ContainsFunc(e.seen, wanted) {
		return
	}
	for {
		select {
		case event := <-e.arrived:
			e.seen = append(e.seen, event)
			if wanted(event) {
				return
			}
		case <-ctx.Done():
			e.Fatalf("no webhook: %s; there were %d others", what, len(e.seen))
		}
	}
}
