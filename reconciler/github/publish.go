package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/reconciler"
)

// maxRemembered bounds what is remembered of pull requests and commits; past it
// everything is read again.
const maxRemembered = 4096

// Publish implements [reconciler.Forge]. The comment comes first, so that the
// check can lead to it, but neither waits for the other to succeed.
//
// Where several open pull requests have one head, their check says what the worst
// of them says: the forge knows checks of commits, not of pull requests. It does
// not pass while one of them, of those that Open listed, was not reported on.
func (f *Forge) Publish(ctx context.Context, report reconciler.Report, shown func(at time.Time) error) error {
	if !commitPattern().MatchString(report.Head) || report.Number <= 0 {
		return fmt.Errorf("publish: pull request %d with head %q", report.Number, report.Head)
	}
	return f.take(ctx, func(me self) error {
		stands, commentErr := f.putComment(ctx, me, report.Number, f.marker()+"\n"+f.render(report))
		if commentErr != nil {
			commentErr = fmt.Errorf("comment on pull request %d: %w", report.Number, commentErr)
		} else if err := shown(stands.at); err != nil {
			return fmt.Errorf("remember what was shown: %w", err)
		}
		said := f.worst(report.Number, report.Head, f.verdictOf(report, stands.link))
		checkErr := f.putCheck(ctx, me, report.Head, said)
		if checkErr != nil {
			checkErr = fmt.Errorf("set the check of %s: %w", report.Head, checkErr)
		}
		return errors.Join(commentErr, checkErr)
	})
}

// State implements [reconciler.Forge].
func (f *Forge) State(ctx context.Context, commit string, state reconciler.CheckState, description string) error {
	if !commitPattern().MatchString(commit) {
		return fmt.Errorf("set the check: %q is no commit", commit)
	}
	return f.take(ctx, func(me self) error {
		if err := f.putCheck(ctx, me, commit, verdict{state: state, title: visible(description, maxTitle), summary: prose(description)}); err != nil {
			return fmt.Errorf("set the check of %s: %w", commit, err)
		}
		return nil
	})
}

// take does one thing at a time: the forge asks for it, and what is remembered
// of it stays true. A fault may come after the change was made; then all is
// read again before anything is repeated.
func (f *Forge) take(ctx context.Context, do func(me self) error) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	me, err := f.self(ctx)
	if err != nil {
		return err
	}
	for faults := 1; ; faults++ {
		err := do(me)
		if err == nil || !passing(err) || faults >= maxFaults || !sleep(ctx, backoff(faults)) {
			return err
		}
	}
}

// passing tells whether an error may be gone the next time.
func passing(err error) bool {
	var answered *github.ErrorResponse
	if errors.As(err, &answered) {
		return answered.Response != nil && answered.Response.StatusCode >= 500
	}
	var failed *url.Error
	return errors.As(err, &failed) && !errors.Is(err, context.Canceled)
}

// claim is what one open pull request says of its head.
type claim struct {
	head string
	verdict
}

// worst notes what the pull request says of the head, and returns the worst that
// any says of it.
func (f *Forge) worst(number int, head string, v verdict) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verdicts[number] = claim{head, v}
	first := number
	for other, c := range f.verdicts {
		if c.head != head {
			continue
		}
		chosen := f.verdicts[first]
		if order := cmp.Compare(gravity(chosen.state), gravity(c.state)); order < 0 || order == 0 && other < first {
			first = other
		}
	}
	chosen := f.verdicts[first].verdict
	if chosen.state == reconciler.CheckPassed && f.unjudged(head) {
		chosen.state, chosen.title = reconciler.CheckPending, "another pull request with this head is not judged yet"
	}
	return chosen
}

// unjudged tells whether an open pull request has the head and was not reported
// on with it, as after a restart. It is called with mu held.
func (f *Forge) unjudged(head string) bool {
	for number, its := range f.heads {
		if its == head && f.verdicts[number].head != head {
			return true
		}
	}
	return false
}

func gravity(state reconciler.CheckState) int {
	switch state {
	case reconciler.CheckPassed:
		return 0
	case reconciler.CheckPending:
		return 1
	case reconciler.CheckWaiting:
		return 2
	}
	return 3
}

// saw notes the heads of the open pull requests, and drops what others said.
func (f *Forge) saw(heads map[int]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads = heads
	for number := range f.verdicts {
		if _, open := heads[number]; !open {
			delete(f.verdicts, number)
		}
	}
}

// comment is one comment of ours.
type comment struct {
	id         int64
	body, link string
	at         time.Time // when it was written or last edited, by the forge's clock
}

// marker begins every comment of ours. It is hidden, and no proof: the author is.
func (f *Forge) marker() string { return "<!-- pave: " + f.check + " -->" }

// putComment brings our one comment to the body. It creates one only after it has
// found none, and looks again afterwards, so that of two that were created at
// once, by two processes or around a crash, one remains.
func (f *Forge) putComment(ctx context.Context, me self, number int, body string) (stands comment, err error) {
	known := f.comments[number]
	delete(f.comments, number)
	var created comment
	for range 4 {
		if known.id == 0 {
			if known, err = f.findComment(ctx, me, number); err != nil {
				return created, err
			}
		}
		if known.id == 0 {
			known = created // not listed yet
		}
		switch {
		case known.id == 0:
			if created, err = f.createComment(ctx, number, body); err != nil {
				return comment{}, err
			}
		case normal(known.body) != normal(body):
			known, err = f.editComment(ctx, known.id, body)
			if err != nil && !isStatus(err, http.StatusNotFound) {
				return known, err
			}
			// Somebody deleted it: known is none.
		case known.at.IsZero(): // every review would be later than that
			return known, errors.New("the forge does not say when it was written")
		default:
			if len(f.comments) >= maxRemembered {
				clear(f.comments)
			}
			f.comments[number] = known
			return known, nil
		}
	}
	return known, errors.New("it changes while it is written")
}

// normal is a body as it compares: the forge may end lines in its own way.
func normal(body string) string {
	return strings.TrimSpace(strings.ReplaceAll(body, "\r\n", "\n"))
}

// findComment returns our comment, the oldest where there are several, and
// deletes the others.
func (f *Forge) findComment(ctx context.Context, me self, number int) (comment, error) {
	all, err := pages(func(page github.ListOptions) ([]*github.IssueComment, *github.Response, error) {
		return f.client.Issues.ListComments(ctx, f.owner, f.name, number, &github.IssueListCommentsOptions{ListOptions: page})
	})
	if err != nil {
		return comment{}, err
	}
	var ours []*github.IssueComment
	for _, c := range all {
		if c.GetUser().GetID() == me.account && strings.HasPrefix(c.GetBody(), f.marker()) {
			ours = append(ours, c)
		}
	}
	if len(ours) == 0 {
		return comment{}, nil
	}
	first := ours[0]
	for _, c := range ours {
		if c.GetID() < first.GetID() {
			first = c
		}
	}
	for _, c := range ours {
		if c.GetID() == first.GetID() {
			continue
		}
		if _, err := f.client.Issues.DeleteComment(ctx, f.owner, f.name, c.GetID()); err != nil && !isStatus(err, http.StatusNotFound) {
			return comment{}, fmt.Errorf("delete a second one: %w", err)
		}
	}
	return f.commentOf(first), nil
}

func (f *Forge) createComment(ctx context.Context, number int, body string) (comment, error) {
	made, _, err := f.client.Issues.CreateComment(ctx, f.owner, f.name, number, &github.IssueComment{Body: &body})
	if err != nil {
		return comment{}, err
	}
	return f.commentOf(made), nil
}

func (f *Forge) editComment(ctx context.Context, id int64, body string) (comment, error) {
	edited, _, err := f.client.Issues.EditComment(ctx, f.owner, f.name, id, &github.IssueComment{Body: &body})
	if err != nil {
		return comment{}, err
	}
	c := f.commentOf(edited)
	c.body = body // the forge took it; how it writes it down is not a difference
	return c, nil
}

func (f *Forge) commentOf(c *github.IssueComment) comment {
	return comment{id: c.GetID(), body: c.GetBody(), link: c.GetHTMLURL(), at: c.GetUpdatedAt().Time}
}
