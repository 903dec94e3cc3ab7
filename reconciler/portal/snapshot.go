package portal

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// Snapshot is what a commit of the tracked branch and one of the status branch
// say together. It does not change, and may be read by several goroutines.
type Snapshot struct {
	// Revision is the commit of the tracked branch that was evaluated.
	Revision reconciler.Revision
	// Status is the commit of the status branch; without a commit where nothing
	// was recorded yet.
	Status reconciler.Revision

	Platform   *reconciler.Platform
	Violations []reconciler.Violation
	Record     *reconciler.Record
	// Tree is the content of Revision.
	Tree *reconciler.Tree
	// Log are the commits that led to Status, itself first.
	Log []Commit
	// Changes are the commits that led to Revision, itself first, along first
	// parents.
	Changes []Change
	// Locate finds the place of a field, see [reconciler.Evaluator]. Where it is
	// nil, the place of a field is that of its document.
	Locate func(document reconciler.Position, kind, name string, path []string) reconciler.Position

	asked   string    // the tracked commit it was asked for, where that one was refused
	library *library  // of what its files say; shared
	whole   *Snapshot // of which this is what somebody may see, but for what is hidden; nil where it is all
	hidden  hidden
	once    sync.Once
	index   *index
}

// Commit is one commit of the status branch.
type Commit struct {
	ID      string    `json:"commit"`
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
	Message string    `json:"-"` // whole
	cut     bool      // it is not
}

// Change is one commit of the tracked branch.
type Change struct {
	Commit
	Author string   `json:"author"`
	Paths  []string `json:"-"` // of the files that it changed, where it is recent
}

// unit returns what the commit says of a request.
func (c Commit) unit(name string) (string, bool) { return c.trailer("Unit: " + name + " ") }

// revision returns the commit of the tracked branch that was in force then.
func (c Commit) revision() (string, bool) { return c.trailer("Revision: ") }

// trailer returns the rest of the line that begins so.
func (c Commit) trailer(start string) (string, bool) {
	_, rest, found := strings.Cut(c.Message, "\n"+start)
	rest, _, _ = strings.Cut(rest, "\n")
	return rest, found
}

// ErrNoSuchTime reports a commit or a day of which there is no snapshot.
var ErrNoSuchTime = errors.New("nothing is known of that time")

// Snapshots yields snapshots. The error is [ErrNoSuchTime] where the time is
// not one, or lies before the first commit; any other may pass.
type Snapshots interface {
	// Now returns the latest one.
	Now(ctx context.Context) (*Snapshot, error)
	// At returns a past one: of a day (2026-03-01, its end in UTC), of a commit of
	// either branch, or of a pair of them (TRACKED-STATUS). Commits may be
	// shortened to seven digits.
	At(ctx context.Context, when string) (*Snapshot, error)
}

// key identifies the snapshot; permanent in links.
func (s *Snapshot) key() string {
	if s.Status.Commit == "" {
		return short(s.Revision.Commit)
	}
	return short(s.Revision.Commit) + "-" + short(s.Status.Commit)
}

// entire is the snapshot with what is hidden from somebody.
func (s *Snapshot) entire() *Snapshot { return cmp.Or(s.whole, s) }

// size is how many documents there are.
func (s *Snapshot) size() int { return len(s.Platform.Services) + len(s.Platform.Requests) }

// short is a commit as links have it: digits enough for any repository.
func short(commit string) string { return commit[:min(12, len(commit))] }

// indexed returns the indexes of the snapshot, made at the first use.
func (s *Snapshot) indexed() *index {
	s.once.Do(func() {
		if s.library == nil {
			s.library = &library{}
		}
		s.index = newIndex(s)
	})
	return s.index
}
