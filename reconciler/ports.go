package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Heads are the tips of the branches that Pave reads; empty where one does not exist.
type Heads struct {
	Tracked string
	Status  string
	// Approvals is the branch that `pave approve` writes.
	Approvals string
	// Queue are the commits that a merge queue wants to know about before they
	// become the tracked branch, in the order of their numbers. They are not fetched.
	Queue []QueuedMerge
}

// QueuedMerge is a commit that a merge queue made of the tracked branch and one
// or more pull requests, the last of which has the number.
type QueuedMerge struct {
	Number int
	Ref    string // such as refs/heads/gh-readonly-queue/main/pr-7-…
	Commit string
}

// SignedApproval is somebody's word, signed with their key, that one plan of one
// unit may be applied.
type SignedApproval struct {
	Unit string
	Plan string // the digest, whole
	By   string // whose key it is
}

// ErrConflict reports that the status branch moved between fetch and push. The
// caller fetches, rebuilds and tries again.
var ErrConflict = errors.New("the status branch moved")

// Source is where the platform repository lives.
type Source interface {
	// Fetch brings both branches up to date and returns their tips. A fetch
	// that brings nothing new costs one round trip.
	Fetch(ctx context.Context) (Heads, error)
	// Revision returns what is known of a fetched commit.
	Revision(ctx context.Context, commit string) (Revision, error)
	// Tree returns the content of a fetched commit.
	Tree(ctx context.Context, commit string) (*Tree, error)
	// Part returns what a fetched commit holds at and below some paths, none of which
	// is below another, by the same paths as in its tree; nothing of one that it does
	// not have. It costs what they hold, not what the commit does, and does not ask for
	// the sizes of files: those are 0.
	Part(ctx context.Context, commit string, paths ...string) (*Tree, error)
	// Authentic tells whether the commit carries a valid signature of this
	// host's key; false where the host has no key.
	Authentic(ctx context.Context, commit string) (bool, error)
	// Follows tells whether a fetched commit is, or descends from, an earlier one.
	Follows(ctx context.Context, commit, earlier string) (bool, error)
	// Line returns the commits of the first-parent line from tip back to since,
	// which is left out, the newest first, and whether since was reached. It
	// returns at most so many. An empty since is before the first commit.
	Line(ctx context.Context, tip, since string, most int) (commits []string, reached bool, err error)
	// Honest tells whether a fetched commit brings nothing but what its parents
	// say. One with one parent or none is: its changes are its own. One with two
	// is where its tree is what merging the two makes without anybody's help. Any
	// other is not, and neither is one of which that cannot be told. merged is what
	// a commit with two parents merged: the second of them.
	Honest(ctx context.Context, commit string) (honest bool, merged string, err error)
	// Approvals returns what the commits of the approvals branch say, up to its
	// tip, of those that are signed by one of the keys. keys are SSH public keys
	// as authorized_keys has them, by whom they belong to.
	Approvals(ctx context.Context, tip string, keys map[string][]string) ([]SignedApproval, error)
	// Publish makes one commit on the status branch, whose tip on the remote is
	// expected to be parents[0]. No parents means that there is no branch: the
	// commit follows base then, so that a branch that was removed returns with
	// its history. The new tree is that of base ("" means empty) with the edits.
	// announce is called with the commit that is returned before it leaves this
	// host, and an error of it keeps the commit here. Publish returns ErrConflict when the branch is
	// elsewhere; nothing was published then. After another error it may have been.
	Publish(ctx context.Context, base string, parents []string, edits []Edit, message string, announce func(commit string) error) (string, error)
}

// Edit changes one path of a tree.
type Edit struct {
	Path string
	// Content is the new content of the file; nil removes the path, a folder with all below it.
	Content []byte
	// TreeAt, where set, puts the folder of another commit at Path: "COMMIT:FOLDER".
	TreeAt string
}

// Evaluator turns a tree into a platform: CUE.
type Evaluator interface {
	// Evaluate returns the platform with everything that could be evaluated and
	// all violations of the revision at once. A document with violations of its
	// own is absent from the platform and named in a violation. The error tells
	// that evaluation itself could not be done.
	Evaluate(ctx context.Context, tree *Tree) (*Platform, []Violation, error)
	// Locate returns the position of a field of the document in the file that declares it,
	// or the document's own where the field is not written there.
	Locate(tree *Tree, document Position, kind, name string, path []string) Position
}

// Inspector reads a blueprint's code: HCL.
type Inspector interface {
	// Inspect parses the folder of a blueprint. Violations carry positions.
	Inspect(tree *Tree, blueprint Blueprint) (Module, []Violation)
}

// Rules compiles the rules of one revision: the built-in ones under the
// settings, and the organisation's own in the tree.
type Rules interface {
	// Compile returns the judge, nil where a violation denies.
	Compile(ctx context.Context, tree *Tree, settings Settings) (Judge, []Violation)
}

// Judge applies the rules: OPA.
type Judge interface {
	// Judge returns what the rules say of one input. An error means that no
	// verdict was reached, which denies.
	Judge(ctx context.Context, input Subject) ([]Violation, error)
	// Stands tells whether what the rules said at one time they say at another, of
	// what is the same otherwise.
	Stands(said, now time.Time) bool
	// Bundle is what a run needs to judge its plan by the same rules.
	Bundle() json.RawMessage
}

// Calendar reads schedules: cron.
type Calendar interface {
	// Last returns when a schedule began last, at or before a time. The error tells
	// what is wrong with the schedule or the time zone.
	Last(schedule, timeZone string, at time.Time) (time.Time, error)
}

// Runner renders units and runs them: Terraform.
type Runner interface {
	// Render returns what Pave adds to the blueprint for this unit.
	Render(Unit) (Rendering, error)
	// Engine returns the engine that the settings name, found on this host.
	Engine(ctx context.Context, name string) (Engine, error)
	// Memory returns how many bytes a run of the unit is expected to take.
	Memory(unit string) uint64
	// Start starts a run in a process of its own and returns at once.
	Start(ctx context.Context, job Job) (Running, error)
	// Unfinished returns the runs of this repository that were started by
	// anyone and not yet forgotten.
	Unfinished() ([]Running, error)
}

// Running is a run that was started.
type Running interface {
	Job() Job
	// Wait returns the result once the run's process has ended, Unknown where
	// it left none. It returns early, with an error, only when ctx ends.
	Wait(ctx context.Context) (Result, error)
	// Stop asks the run to end before its apply, or to interrupt it.
	Stop() error
	// Forget removes what the run left, after its result was recorded.
	Forget() error
}

func sprintCounts(add, change, destroy int) string {
	return fmt.Sprintf("+%d ~%d -%d", add, change, destroy)
}
