package reconciler

import (
	"context"
	"errors"
	"time"
)

// Forge is where people propose and review changes. Everything is read from
// it when it is needed; nothing that arrives by itself is believed. Methods wait
// out rate limits and pass other faults on; a call may be repeated.
type Forge interface {
	// Open returns the open pull requests whose base is the tracked branch,
	// oldest first.
	Open(ctx context.Context) ([]PullRequest, error)
	// Strays returns open pull requests that go to other branches though this
	// check passed on their heads, as it did before they were sent there. It looks
	// at a few only, those that changed last.
	Strays(ctx context.Context) ([]PullRequest, error)
	// PullRequest returns one, open or not.
	PullRequest(ctx context.Context, number int) (PullRequest, error)
	// Merged returns the pull request that brought the commit to the tracked
	// branch, and whether there is one. A merge that rebases brings several
	// commits, of which the last is the pull request's Merge.
	Merged(ctx context.Context, commit string) (PullRequest, bool, error)
	// Participants returns who may not approve the pull request.
	Participants(ctx context.Context, number int) (Participants, error)
	// Reviews returns the reviews of a pull request, oldest first. Those that
	// were not submitted after its base was last changed to another branch are
	// left out: they are of another change, even where the head is the same.
	Reviews(ctx context.Context, number int) ([]Review, error)
	// Person returns the account with the handle.
	Person(ctx context.Context, handle string) (Person, error)
	// Publish brings the one check and the one comment of a pull request to
	// what the report says. What stands already is left alone. Once the comment
	// stands, and before the check can let anybody merge, shown is told when, by
	// the forge's clock, the comment was brought to what it says; where it fails
	// the check stays as it is.
	Publish(ctx context.Context, report Report, shown func(at time.Time) error) error
	// State sets the one status of a commit.
	State(ctx context.Context, commit string, state CheckState, description string) error
	// Merge merges a pull request whose head is the commit. The error is
	// ErrMoved where the head is another by now, or the forge would not merge it,
	// or Pave opened it itself.
	Merge(ctx context.Context, number int, head string) error
	// Gaps says, in sentences for the platform team, where the forge's own
	// settings let a change past Pave's check: a tracked branch that is not
	// protected, a check that is not required or that anybody may set. It is nil
	// where there is none or where Pave may not know.
	Gaps(ctx context.Context) ([]string, error)
}

// ErrMoved reports that a pull request is not what it was.
var ErrMoved = errors.New("the pull request moved")

// Person is an account of the forge. Only the id identifies it.
type Person struct {
	ID     int64  `json:"id"`
	Handle string `json:"handle"`
}

// Participants are those who had a hand in a pull request: who opened it, authored,
// committed or co-authored a commit of it, pushed to it, or asked Pave for it.
type Participants struct {
	People []Person
	// Complete is false where somebody could not be identified; nobody's approval
	// counts then.
	Complete bool
	// Courier is Pave's own account, one of the people, where it did nothing but
	// carry what the others asked it to propose; 0 otherwise.
	Courier int64
}

// PullRequest is a proposed change.
type PullRequest struct {
	Number int    `json:"number"`
	Title  string `json:"title"` // untrusted
	URL    string `json:"url"`
	// Base and Head are commits; BaseBranch is the branch it goes to.
	BaseBranch string `json:"baseBranch"`
	Base       string `json:"base"`
	Head       string `json:"head"`
	Author     Person `json:"author"`
	// Fork tells that the head lies in another repository.
	Fork bool `json:"fork"`
	Open bool `json:"open"`
	// Merge is the commit that merging made; empty where it is not merged.
	Merge    string    `json:"merge,omitempty"`
	MergedBy Person    `json:"mergedBy,omitzero"`
	MergedAt time.Time `json:"mergedAt,omitzero"`
}

// Review is one person's word on a pull request.
type Review struct {
	By        Person      `json:"by"`
	State     ReviewState `json:"state"`
	Commit    string      `json:"commit"` // the head that was reviewed
	Submitted time.Time   `json:"submitted"`
}

// ReviewState is what a review says.
type ReviewState string

// The states of a review. A later one of the same person replaces an earlier
// one, but a comment replaces nothing.
const (
	ReviewApproved  ReviewState = "approved"
	ReviewRejected  ReviewState = "changes-requested"
	ReviewDismissed ReviewState = "dismissed"
	ReviewComment   ReviewState = "comment"
)

// CheckState is what the forge shows beside a commit.
type CheckState string

// The states of a check.
const (
	CheckPending CheckState = "pending"
	CheckPassed  CheckState = "success"
	CheckFailed  CheckState = "failure"
	CheckWaiting CheckState = "action-required" // an approval is missing
)

// Report is all that a reviewer needs to know of a pull request: the content
// of the check and of the comment, and what `pave plan --base` shows.
type Report struct {
	Number int        `json:"number,omitempty"`
	Base   string     `json:"base"`
	Head   string     `json:"head"`
	State  CheckState `json:"state"`
	// Headline is one line that a reviewer can act on.
	Headline string `json:"headline"`
	// Governance names the files that change what others are judged by.
	Governance []string      `json:"governance,omitempty"`
	Units      []PlannedUnit `json:"units,omitempty"`
	Effects    []Effect      `json:"effects,omitempty"`
	Violations []Violation   `json:"violations,omitempty"`
	Costs      []CostChange  `json:"costs,omitempty"`
	Affected   []Affected    `json:"affected,omitempty"`
	Approvals  []Needed      `json:"approvals,omitempty"`
	// Live are documents of the platform that rules which the change brings
	// would deny, though the change does not touch them.
	Live []Violation `json:"live,omitempty"`
	// Past are applies of the recorded history that these rules would have denied.
	Past []PastDenial `json:"past,omitempty"`
	// Notes say what the report does not cover, and why.
	Notes []string `json:"notes,omitempty"`
	// Deployed tells that the change is merged, and that Units say what became of it.
	Deployed bool `json:"deployed,omitempty"`
}

// Effect is a change that no plan shows, as what it will cause.
type Effect struct {
	Kind    string `json:"kind"` // service, request, team, policy …
	Name    string `json:"name"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// CostChange is what a team pays a month before and after.
type CostChange struct {
	Team   string   `json:"team"`
	Before float64  `json:"before"`
	After  float64  `json:"after"`
	Budget *float64 `json:"budget,omitempty"`
}

// Affected is a service that the change touches or that depends on one it touches.
type Affected struct {
	Service string `json:"service"`
	Owner   string `json:"owner"`
	Tier    int    `json:"tier,omitempty"`
	Via     string `json:"via,omitempty"` // the service that it depends on; empty where it is touched itself
}

// PastDenial is an apply that rules which came later would have denied.
type PastDenial struct {
	Request  string `json:"request"`
	Revision string `json:"revision"` // that was applied
	Rule     string `json:"rule"`
	Message  string `json:"message"`
}

// Needed is an approval that a change needs.
type Needed struct {
	Team   string `json:"team"`
	Reason string `json:"reason"`
	// Units wait for it, sorted; none means the whole revision.
	Units []string `json:"units,omitempty"`
	// Insider tells that a change which only members of the team made needs it
	// not: they speak for the team.
	Insider bool   `json:"insider,omitempty"`
	Given   bool   `json:"given"`
	By      string `json:"by,omitempty"` // the handle of who gave it; empty where the team made the change

	pull int // the pull request whose own reviews give it; 0 is any
}
