package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/reconciler/portal"
)

// edits lets people ask for changes in the portal of the repository that mirror
// opens, by pull requests where there is a forge. loop is the one whose portal it is;
// the zero one where there is none.
func (a *app) edits(mirror func(context.Context) (*git.Mirror, error), forge *github.Forge, loop loop) func(reconciler.Evaluator) *portal.Edits {
	return func(evaluator reconciler.Evaluator) *portal.Edits {
		p := &portalProposer{parts: a.parts(), mirror: mirror, forge: forge, repo: a.repo, loop: loop}
		if loop.view != nil { // whose rules have judged what is in force
			p.parts.Rules = loop.parts.Rules
		}
		p.parts.Evaluator, p.parts.Reviewed = evaluator, forge != nil
		return &portal.Edits{Writer: catalog.Writer{}, Proposer: p}
	}
}

// portalProposer judges changes as the daemon would, and proposes them.
type portalProposer struct {
	parts  reconciler.Parts
	mirror func(context.Context) (*git.Mirror, error)
	forge  *github.Forge // nil where there is none
	repo   string
	loop   loop

	mu   sync.Mutex          // held while a change is judged: one at a time
	base *reconciler.Checked // what was changed last
}

// Judge implements [portal.Proposer].
func (p *portalProposer) Judge(ctx context.Context, draft portal.Draft) (portal.Outlook, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, now := draft.Snapshot, time.Now().UTC()
	if p.base == nil || p.base.Revision.Commit != s.Revision.Commit || !stands(p.base, now) {
		revision := s.Revision
		revision.Time = now // what only time brought about is not of the change
		base, err := reconciler.Check(ctx, p.parts, s.Tree, revision, s.Record, p.earlier(ctx, now))
		if err != nil {
			return portal.Outlook{}, fmt.Errorf("judge revision %s: %w", s.Revision.Short(), err)
		}
		base.LetGo()
		p.base = base
	}
	head, err := reconciler.Check(ctx, p.parts, s.Tree.With(draft.File, draft.Content), reconciler.Revision{Time: p.base.Revision.Time}, s.Record, p.base)
	if err != nil {
		return portal.Outlook{}, fmt.Errorf("judge a change: %w", err)
	}
	j := portal.Outlook{Report: reconciler.Compare(p.base, head, []string{draft.File})}
	if p.forge == nil { // nobody knows there who somebody is, so nobody is asked but whom a rule names
		j.Approvals = slices.DeleteFunc(j.Approvals, func(n reconciler.Needed) bool { return n.Insider })
	}
	if head.Platform != nil {
		j.Request = head.Platform.Requests[draft.Request]
	}
	return j, nil
}

// stands tells whether the rules say now what they said of a revision.
func stands(c *reconciler.Checked, now time.Time) bool {
	return c.Judge != nil && c.Judge.Stands(c.Revision.Time, now)
}

// earlier is a revision that was checked before: what was changed last, else what the
// loop has in force. Only what differs from it is looked at again.
func (p *portalProposer) earlier(ctx context.Context, now time.Time) *reconciler.Checked {
	if p.base != nil && stands(p.base, now) {
		return p.base
	}
	if c := p.loop.now(ctx).InForce; c != nil {
		return c
	}
	return p.base
}

// Propose implements [portal.Proposer].
func (p *portalProposer) Propose(ctx context.Context, draft portal.Draft) (portal.Proposal, error) {
	mirror, err := p.mirror(ctx)
	if err != nil {
		return portal.Proposal{}, err
	}
	branch := branchOf(draft)
	made := git.Proposed{
		Branch: branch, Parent: draft.Snapshot.Revision.Commit, Message: messageOf(draft),
		Edits:  []reconciler.Edit{{Path: draft.File, Content: draft.Content}},
		Author: git.Who{Name: draft.By.Name, Email: cmp.Or(draft.By.Email, "nobody@localhost")},
	}
	if p.forge == nil {
		return portal.Proposal{Branch: branch, Command: p.command(branch)}, mirror.Propose(ctx, made)
	}
	if made.Author, made.Committer, err = p.accounts(ctx, draft.By, made.Author); err != nil {
		return portal.Proposal{}, err
	}
	if err := mirror.Propose(ctx, made); err != nil {
		return portal.Proposal{}, err
	}
	pull, err := p.forge.Propose(ctx, branch, draft.Subject, draft.By.Name, draft.Why)
	return portal.Proposal{Branch: branch, URL: pull.URL}, err
}

// accounts returns who wrote a commit and who made it, as the forge knows them:
// whoever asks must be somebody there, or nobody could tell who may not approve it.
func (p *portalProposer) accounts(ctx context.Context, by portal.Identity, author git.Who) (git.Who, git.Who, error) {
	me, err := p.forge.Account(ctx)
	if err != nil {
		return git.Who{}, git.Who{}, err
	}
	committer := git.Who{Name: "Pave", Email: p.forge.Address(me)}
	switch {
	case by.Handle != "":
		person, err := p.forge.Person(ctx, by.Handle)
		if err != nil {
			return git.Who{}, git.Who{}, err
		}
		author.Email = p.forge.Address(person)
	case !by.Operator: // who, by the e-mail address that the host has for them, is somebody there or lets nobody approve
		return git.Who{}, git.Who{}, errors.New("nobody knows your account on the forge, so nobody could tell who may approve this: the place where you sign in must name it")
	}
	return author, committer, nil
}

// branchOf names the branch of a change: another one for every change of every
// revision, and one for the same.
func branchOf(draft portal.Draft) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%t\x00%s", draft.Snapshot.Revision.Commit, draft.File, draft.Content == nil, draft.Content)
	return fmt.Sprintf("pave/%s-%.5x", draft.Request, h.Sum(nil))
}

// messageOf is the commit message of a change.
func messageOf(draft portal.Draft) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", draft.Subject)
	if draft.Why != "" {
		fmt.Fprintf(&b, "\n%s\n", draft.Why)
	}
	fmt.Fprintf(&b, "\nRequest: %s\nRequested-With: %s\n", draft.Request, draft.By.ID)
	if draft.By.Handle != "" {
		fmt.Fprintf(&b, "Pave-Requested-By: %s\n", draft.By.Handle)
	}
	return b.String()
}

// command is what brings a branch to the tracked one where there is no forge.
func (p *portalProposer) command(branch string) string {
	if path, local := git.Local(p.repo); local {
		return fmt.Sprintf("git -C %s merge %s", shellWord(path), branch)
	}
	return fmt.Sprintf("git fetch origin %s && git merge FETCH_HEAD && git push", branch)
}

// shellWord writes a path so that a shell takes it for one word.
func shellWord(path string) string {
	plain := func(c rune) bool {
		return strings.ContainsRune("/._-+@%:,", c) || c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c))
	}
	if !strings.ContainsFunc(path, func(c rune) bool { return !plain(c) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// ownMirror opens the mirror of the repository when it is first needed.
func (a *app) ownMirror() (open func(context.Context) (*git.Mirror, error), end func()) {
	var mu sync.Mutex
	var mirror *git.Mirror
	open = func(ctx context.Context) (*git.Mirror, error) {
		mu.Lock()
		defer mu.Unlock()
		if mirror == nil {
			opened, err := a.mirror(ctx)
			if err != nil {
				return nil, err
			}
			mirror = opened
		}
		_, err := mirror.Fetch(ctx)
		return mirror, err
	}
	return open, func() {
		mu.Lock()
		defer mu.Unlock()
		if mirror != nil {
			mirror.Close()
		}
	}
}
