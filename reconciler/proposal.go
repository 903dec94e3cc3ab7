package reconciler

import (
	"context"
	"errors"
)

// Proposer reads a change that nobody has accepted yet, in a process of its
// own: whatever it brings is read by that process and not by this one.
type Proposer interface {
	// Propose returns what the change would make of the platform. A change that
	// cannot be read or judged is a proposal that says so; an error tells that
	// trying again may help. It is ErrNotFetched where the repository did not give
	// what the change brings.
	Propose(ctx context.Context, change ProposedChange) (*Proposal, error)
}

// ErrNotFetched reports that what a change brings could not be fetched, for no
// fault of the change.
var ErrNotFetched = errors.New("the change was not fetched")

// ProposedChange says what to read, and what to compare it with.
type ProposedChange struct {
	// Ref is the reference of the repository that leads to Head, such as
	// refs/pull/7/head.
	Ref  string `json:"ref"`
	Head string `json:"head"`
	// Base is the tip of the tracked branch, with which Head is merged. Empty
	// takes Head as it is.
	Base string `json:"base,omitempty"`
	// InForce is the revision whose governance judges.
	InForce string `json:"inForce"`
	// Status is the status commit that is believed; Unverified are the units for
	// which it is not.
	Status     string   `json:"status,omitempty"`
	Unverified []string `json:"unverified,omitempty"`
	Engine     Engine   `json:"engine"`
	// Insider tells that somebody of the teams proposes it, from a branch of the
	// repository itself: unless it changes what others are judged by, it is planned
	// unasked.
	Insider bool `json:"-"`
}

// Proposal is what a change would make of the platform.
type Proposal struct {
	// Report lacks what only the forge and the plans know: approvals that were
	// given, plans, the state and the headline. Units tell what would happen as
	// far as it can be told without an engine.
	Report Report `json:"report"`
	// Conflicts are the paths that do not merge; nothing else was read then.
	Conflicts []string `json:"conflicts,omitempty"`
	// Jobs are the plans that show what the change does, by unit, without an id.
	Jobs []Job `json:"jobs,omitempty"`
	// Preapproved tells that the rules in force call every part of the change
	// pre-approved.
	Preapproved bool `json:"preapproved,omitempty"`
}
