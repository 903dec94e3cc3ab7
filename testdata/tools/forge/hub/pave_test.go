package hub_test

import (
	"net/http/httptest"
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
		people, complete, err := adapter.Participants(ctx, number)
		f.must(err)
		if len(people) != 1 || people[0].Handle != "alice" {
			t.Errorf("took part: %v", people)
		}
		return complete
	})

	report := reconciler.Report{Number: number, Base: open[0].Base, Head: head, State: reconciler.CheckWaiting, Headline: "alice needs an approval"}
	f.must(adapter.Publish(ctx, report))
	report.State, report.Headline = reconciler.CheckPassed, "1 unit is created"
	f.must(adapter.Publish(ctx, report))
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
	merged, _, err := f.as("alice").PullRequests.Merge(ctx, owner, name, number, "", nil)
	f.must(err)
	found, isMerge, err := adapter.Merged(ctx, merged.GetSHA())
	f.must(err)
	if !isMerge || found.Number != number || found.Merge != merged.GetSHA() || found.MergedBy.Handle != "alice" || found.MergedAt.IsZero() {
		t.Errorf("merged: %+v, %v", found, isMerge)
	}
	_, isMerge, err = adapter.Merged(ctx, head)
	f.must(err)
	if isMerge {
		t.Error("a commit of the pull request counts as its merge")
	}
	f.must(adapter.State(ctx, merged.GetSHA(), reconciler.CheckPassed, "1 unit was applied"))
}
