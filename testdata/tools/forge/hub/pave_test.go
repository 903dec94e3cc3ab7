package hub_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
	pave "github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

// What Pave reads and writes, by its own adapter, which knows only GitHub.
func TestPave(t *testing.T) {
	f := start(t, nil)
	ctx := t.Context()
	adapter, err := pave.New(pave.Options{URL: f.URL, Owner: owner, Name: name, Branch: "main", Token: f.Users[hub.Bot].Token})
	f.must(err)
	const secret = "the secret of the webhook"
	pokes := make(chan pave.Event, 100)
	handler, err := pave.Handler([]byte(secret), f.Repository, func(e pave.Event) { pokes <- e })
	f.must(err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	_, _, err = f.as(hub.Bot).Repositories.CreateHook(ctx, owner, name, &github.Hook{
		Active: github.Bool(true), Events: []string{"pull_request", "pull_request_review", "push"},
		Config: &github.HookConfig{URL: github.String(server.URL), ContentType: github.String("json"), Secret: github.String(secret)}})
	f.must(err)

	work, opened := f.propose("alice", "topic")
	number, head := opened.GetNumber(), work.git("rev-parse", "HEAD")
	if page := opened.GetHTMLURL(); !strings.HasPrefix(page, f.URL+"/") {
		t.Errorf("the page of the pull request is %s, not below %s", page, f.URL)
	}
	select {
	case e := <-pokes:
		if e.Number != 0 && e.Number != number {
			t.Errorf("poked for %d, want %d", e.Number, number)
		}
	case <-time.After(30 * time.Second):
		t.Error("no webhook poked")
	}
	open, err := adapter.Open(ctx)
	f.must(err)
	if len(open) != 1 || open[0].Number != number || open[0].Head != head || open[0].Fork || !open[0].Open ||
		open[0].Author != (reconciler.Person{ID: f.Users["alice"].ID, Handle: "alice"}) {
		t.Errorf("open: %+v", open)
	}
	f.eventually("who took part is known", func() bool {
		took, err := adapter.Participants(ctx, number)
		f.must(err)
		if len(took.People) != 1 || took.People[0].Handle != "alice" {
			t.Errorf("took part: %v", took.People)
		}
		return took.Complete
	})

	report := reconciler.Report{Number: number, Base: open[0].Base, Head: head, State: reconciler.CheckWaiting, Headline: "alice needs an approval"}
	publish := func() (at time.Time) {
		f.must(adapter.Publish(ctx, report, func(shown time.Time) error { at = shown; return nil }))
		return at
	}
	first := publish()
	time.Sleep(1100 * time.Millisecond) // the forge counts in seconds
	report.State, report.Headline = reconciler.CheckPassed, "1 unit is created"
	second := publish()
	again := publish()
	if first.IsZero() || !second.After(first) || !again.Equal(second) {
		t.Errorf("the comment was written at %v, edited at %v, and left alone at %v", first, second, again)
	}
	status, _, err := f.as("alice").Repositories.GetCombinedStatus(ctx, owner, name, head, nil)
	f.must(err)
	if len(status.Statuses) != 1 || status.GetState() != "success" || status.Statuses[0].GetContext() != hub.DefaultCheck {
		t.Errorf("status: %v", status)
	}
	comments, _, err := f.as("alice").Issues.ListComments(ctx, owner, name, number, nil)
	f.must(err)
	if len(comments) != 1 || comments[0].GetUser().GetLogin() != hub.Bot {
		t.Errorf("comments: %v", comments)
	}

	_, _, err = f.as("bob").PullRequests.CreateReview(ctx, owner, name, number, &github.PullRequestReviewRequest{Event: github.String("APPROVE")})
	f.must(err)
	reviews, err := adapter.Reviews(ctx, number)
	f.must(err)
	bob, err := adapter.Person(ctx, "bob")
	f.must(err)
	if len(reviews) != 1 || reviews[0].By != bob || reviews[0].State != reconciler.ReviewApproved || reviews[0].Commit != head || reviews[0].Submitted.IsZero() {
		t.Errorf("reviews: %+v", reviews)
	}
	if err := adapter.Merge(ctx, number, strings.Repeat("1", 40)); !errors.Is(err, reconciler.ErrMoved) {
		t.Errorf("a merge at another head: %v", err)
	}
	f.must(adapter.Merge(ctx, number, head))
	f.must(adapter.Merge(ctx, number, head)) // which changes nothing
	pull, err := adapter.PullRequest(ctx, number)
	f.must(err)
	if pull.Open || pull.Merge == "" || pull.Head != head || pull.MergedBy.Handle != hub.Bot || pull.MergedAt.IsZero() {
		t.Errorf("merged: %+v", pull)
	}
	work.git("fetch", "--quiet", "origin")
	if main := work.git("rev-parse", "origin/main"); main != pull.Merge {
		t.Errorf("main is %s, and the merge is %s", main, pull.Merge)
	}
	for _, commit := range []string{pull.Merge, head} { // the head came with it
		found, isMerged, err := adapter.Merged(ctx, commit)
		f.must(err)
		if !isMerged || found != pull {
			t.Errorf("%s was brought by %+v, %v", commit, found, isMerged)
		}
	}
	f.must(adapter.State(ctx, pull.Merge, reconciler.CheckPassed, "1 unit was applied"))
}

// What was approved against one base is not approved against another.
func TestPaveSeesAnotherBase(t *testing.T) {
	f := start(t, nil)
	adapter, err := pave.New(pave.Options{URL: f.URL, Owner: owner, Name: name, Branch: "main", Token: f.Users[hub.Bot].Token})
	f.must(err)
	work, opened := f.propose("alice", "topic")
	work.git("push", "--quiet", "origin", "origin/main:refs/heads/side")
	number := opened.GetNumber()
	approve := func() {
		t.Helper()
		_, _, err := f.as("bob").PullRequests.CreateReview(t.Context(), owner, name, number, &github.PullRequestReviewRequest{Event: github.String("APPROVE")})
		f.must(err)
	}
	retarget := func(base string) {
		t.Helper()
		_, _, err := f.as("alice").PullRequests.Edit(t.Context(), owner, name, number, &github.PullRequest{Base: &github.PullRequestBranch{Ref: &base}})
		f.must(err)
	}
	count := func(when string, want int) {
		t.Helper()
		reviews, err := adapter.Reviews(t.Context(), number)
		f.must(err)
		equal(t, "reviews "+when, len(reviews), want)
	}
	approve()
	count("before any change", 1)
	retarget("side")
	count("after the first change", 0)
	time.Sleep(1100 * time.Millisecond) // the forge counts in seconds
	approve()
	count("of the other base", 1)
	retarget("main")
	count("after the way back", 0)
	time.Sleep(1100 * time.Millisecond)
	approve()
	count("of the tracked branch", 1)
	pull, err := adapter.PullRequest(t.Context(), number)
	f.must(err)
	equal(t, "the head", pull.Head, work.git("rev-parse", "HEAD"))
	events, _, err := f.as("bob").Issues.ListIssueEvents(t.Context(), owner, name, number, nil)
	f.must(err)
	if len(events) != 2 || events[0].GetEvent() != "base_ref_changed" || events[0].GetActor().GetLogin() != "alice" {
		t.Errorf("events: %v", events)
	}
}

// What Pave says of the branch follows what Gitea's rule says of it.
func TestPaveSeesGaps(t *testing.T) {
	f := start(t, nil)
	adapter := func(check string) *pave.Forge {
		t.Helper()
		made, err := pave.New(pave.Options{URL: f.URL, Owner: owner, Name: name, Branch: "main", Token: f.Users[hub.Bot].Token, Check: check})
		f.must(err)
		return made
	}
	gaps := func(check string, want ...string) {
		t.Helper()
		got, err := adapter(check).Gaps(t.Context())
		f.must(err)
		matches := len(got) == len(want)
		for i := 0; matches && i < len(got); i++ {
			matches = strings.Contains(got[i], want[i])
		}
		if !matches {
			t.Errorf("the gaps are %q, want %q", got, want)
		}
	}
	gaps(hub.DefaultCheck, "whoever may write statuses") // Gitea pins to nobody
	gaps("other", "not required")
	f.gitea(http.MethodPatch, object{"enable_push": true})
	gaps(hub.DefaultCheck, "whoever may write statuses") // the protection asks for approvals still
	f.gitea(http.MethodPatch, object{"enable_status_check": false})
	gaps(hub.DefaultCheck, "not required")
	f.gitea(http.MethodDelete, nil)
	gaps(hub.DefaultCheck, "not protected")

	// A branch without protection takes a merge as it comes, but at no other head.
	work, opened := f.propose("alice", "topic")
	early := work.git("rev-parse", "HEAD")
	work.commit("more.txt", "more")
	work.git("push", "--quiet", "origin", "topic")
	if err := adapter(hub.DefaultCheck).Merge(t.Context(), opened.GetNumber(), early); !errors.Is(err, reconciler.ErrMoved) {
		t.Errorf("a merge of what was pushed over: %v", err)
	}
}

type object = map[string]any

// gitea changes the rule of main past the proxy, as an administrator does.
func (f *forge) gitea(method string, change object) {
	f.Helper()
	body, err := json.Marshal(change)
	f.must(err)
	request, err := http.NewRequestWithContext(f.Context(), method, f.Gitea+"/api/v1/repos/"+f.Repository+"/branch_protections/main", bytes.NewReader(body))
	f.must(err)
	request.Header.Set("Authorization", "token "+f.Users[hub.Bot].Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	f.must(err)
	response.Body.Close()
	if response.StatusCode >= 300 {
		f.Fatalf("%s of the rule: %s", method, response.Status)
	}
}
