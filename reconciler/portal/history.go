package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// Repository is a platform repository with its history: Git.
type Repository interface {
	// Heads returns the tips of both branches.
	Heads(ctx context.Context) (reconciler.Heads, error)
	Revision(ctx context.Context, commit string) (reconciler.Revision, error)
	Tree(ctx context.Context, commit string) (*reconciler.Tree, error)
	// Record returns what a commit of the status branch says: of what is known of
	// another one, only what differs is read. known may be nil, and stays as it is.
	Record(ctx context.Context, commit string, known *reconciler.Record) (*reconciler.Record, error)
	// Line is that of [reconciler.Source].
	Line(ctx context.Context, tip, since string, most int) (commits []string, reached bool, err error)
	// Changes is Line with what the commits say and, of the newest of them, so many
	// as compared, the files that they changed.
	Changes(ctx context.Context, tip, since string, most, compared int) (changes []Change, reached bool, err error)
	// Log returns at most so many commits that led to tip, latest first.
	Log(ctx context.Context, tip string, most int) ([]Commit, error)
	// Relax gives back what was read only to find the next thing faster.
	Relax()
}

// The commits of each branch that the portal looks back on, of how many of them
// it knows the files, and the past snapshots that it keeps: so many, and of those
// that are large as many as have so many documents together.
const (
	mostCommits  = 20_000
	mostCompared = 2_000
	mostPast     = 4
	mostThen     = 10_000
)

// mostSaid is how many bytes of what status commits say are kept, the latest first.
const mostSaid = 16 << 20

// patience is how long a page waits for news; then it shows what was known.
const patience = 50 * time.Millisecond

// unwatched is how long snapshots are kept that nobody asks for.
const unwatched = 10 * time.Minute

// History makes snapshots of a repository: Snapshots. What it keeps is made
// from Git and may be lost at any time.
type History struct {
	repository Repository
	evaluators func() reconciler.Evaluator
	every      time.Duration
	log        *slog.Logger

	ctx  context.Context // of what goes on in the background
	stop context.CancelFunc
	busy sync.WaitGroup

	evaluator reconciler.Evaluator // of the latest snapshots; used by one look at a time

	mu      sync.Mutex
	asked   time.Time     // guarded by mu, as all below: when somebody wanted the latest snapshot
	looked  time.Time     // when the branches were looked at last
	looking chan struct{} // closed when the look that goes on ends; nil while none does
	heads   reconciler.Heads
	line    []Change // of the tracked branch, newest first
	commits []Commit // of the status branch, newest first
	now     *Snapshot
	err     error       // of the last look
	past    []*Snapshot // last used last

	library library

	travel sync.Mutex  // held while a past snapshot is made: one at a time
	idle   *time.Timer // forgets the snapshots
}

// NewHistory returns the history of a repository, which is looked at so often
// at most, and while somebody asks. evaluators makes an evaluator: what it
// remembers of the latest revision is lost when it is asked for another.
func NewHistory(repository Repository, evaluators func() reconciler.Evaluator, every time.Duration, log *slog.Logger) *History {
	h := &History{repository: repository, evaluators: evaluators, evaluator: evaluators(), every: every, log: log}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.idle = time.AfterFunc(unwatched, h.forget)
	return h
}

// forget gives back what nobody asked for lately; it is made again from Git, and
// from what the evaluator remembers.
func (h *History) forget() {
	h.mu.Lock()
	if time.Since(h.asked) >= unwatched { // or somebody asks just now
		h.now, h.past = nil, nil
	}
	h.mu.Unlock()
	h.repository.Relax()
}

// Evaluator is the one of the latest snapshots, for what changes one of them: it
// remembers what stays as it is.
func (h *History) Evaluator() reconciler.Evaluator { return h.evaluator }

// Close ends what goes on in the background.
func (h *History) Close() {
	h.stop()
	h.idle.Stop()
	h.busy.Wait()
}

// Now returns the latest snapshot. While a newer one is being made it returns
// the one before, but for the first.
func (h *History) Now(ctx context.Context) (*Snapshot, error) {
	h.mu.Lock()
	h.asked = time.Now()
	h.idle.Reset(unwatched)
	if h.looking == nil && time.Since(h.looked) >= h.every && h.ctx.Err() == nil {
		h.looking = make(chan struct{})
		h.busy.Go(h.look)
	}
	looking, known := h.looking, h.now != nil
	h.mu.Unlock()
	if looking != nil {
		var enough <-chan time.Time
		if known {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case <-looking:
		case <-enough:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		return nil, errors.Join(h.err, h.ctx.Err())
	}
	return h.now, nil
}

// look brings the history up to date.
func (h *History) look() {
	err := h.update(h.ctx)
	if err != nil && h.ctx.Err() == nil {
		h.log.Warn("the portal cannot read the repository", "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.looking)
	h.looking, h.looked, h.err = nil, time.Now(), err
}

func (h *History) update(ctx context.Context) error {
	heads, err := h.repository.Heads(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	before, line, commits, now := h.heads, h.line, h.commits, h.now
	h.mu.Unlock()
	if now != nil && before.Tracked == heads.Tracked && before.Status == heads.Status {
		return nil
	}
	if line, err = h.extend(ctx, line, heads.Tracked); err != nil {
		return err
	}
	if commits, err = h.recorded(ctx, commits, heads.Status); err != nil {
		return err
	}
	if now, err = h.snapshot(ctx, h.evaluator, now, heads.Tracked, heads.Status, window{line: line, commits: commits}); err != nil {
		return err
	}
	now.indexed() // so that nobody waits for it
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads, h.line, h.commits, h.now = heads, line, commits, now
	return nil
}

// extend returns the first-parent line of a tip, given that of an earlier one.
func (h *History) extend(ctx context.Context, line []Change, tip string) ([]Change, error) {
	if len(line) > 0 {
		news, reached, err := h.repository.Changes(ctx, tip, line[0].ID, mostCommits, mostCompared)
		if err != nil {
			return nil, err
		}
		if reached {
			return latest(news, line), nil
		}
	}
	line, _, err := h.repository.Changes(ctx, tip, "", mostCommits, mostCompared)
	return line, err
}

// recorded returns the commits of the status branch, given the earlier ones.
func (h *History) recorded(ctx context.Context, commits []Commit, tip string) ([]Commit, error) {
	if tip == "" {
		return nil, nil
	}
	if len(commits) > 0 {
		news, reached, err := h.repository.Line(ctx, tip, commits[0].ID, mostCommits)
		switch {
		case err != nil:
			return nil, err
		case reached && len(news) == 0:
			return commits, nil
		case reached: // Pave makes no merges, so the latest are the news
			fresh, err := h.repository.Log(ctx, tip, len(news))
			return bounded(latest(fresh, commits), mostSaid), err
		}
	}
	commits, err := h.repository.Log(ctx, tip, mostCommits)
	return bounded(commits, mostSaid), err
}

// latest puts news before what was known, of which the oldest go.
func latest[T any](news, known []T) []T {
	all := append(news, known...)
	return all[:min(mostCommits, len(all))]
}

// bounded has commits say only which revision was in force, from where on the later
// ones say so many bytes.
func bounded(commits []Commit, most int) []Commit {
	for i := range commits {
		c := &commits[i]
		if most -= len(c.Message); most >= 0 || c.cut {
			continue
		}
		revision, _ := c.revision()
		c.Subject, c.cut = strings.Clone(c.Subject), true
		c.Message = c.Subject + "\n\nRevision: " + revision + "\n"
	}
	return commits
}

// snapshot makes the one of two commits. What is known of the same revision
// from another snapshot is not evaluated again.
func (h *History) snapshot(ctx context.Context, evaluator reconciler.Evaluator, known *Snapshot, tracked, status string, w window) (*Snapshot, error) {
	s := &Snapshot{Record: reconciler.NewRecord(), Log: w.until(status), asked: tracked, library: &h.library}
	if err := h.readStatus(ctx, s, known, status); err != nil {
		return nil, err
	}
	// A revision that is refused whole is not what the platform is.
	if refused := s.Record.Platform.Refused; refused != nil && refused.Revision == tracked && s.Record.Platform.Revision != "" {
		tracked = s.Record.Platform.Revision
	}
	s.Changes = w.since(tracked)
	if known != nil && known.Revision.Commit == tracked {
		s.Revision, s.Platform, s.Violations, s.Tree, s.Locate = known.Revision, known.Platform, known.Violations, known.Tree, known.Locate
		return s, nil
	}
	var err error
	if s.Revision, err = h.repository.Revision(ctx, tracked); err != nil {
		return nil, err
	}
	if s.Tree, err = h.repository.Tree(ctx, tracked); err != nil {
		return nil, err
	}
	if s.Platform, s.Violations, err = evaluator.Evaluate(ctx, s.Tree); err != nil {
		return nil, err
	}
	if s.Platform == nil {
		s.Platform = &reconciler.Platform{}
	}
	tree := s.Tree
	s.Locate = func(at reconciler.Position, kind, name string, path []string) reconciler.Position {
		return h.evaluator.Locate(tree, at, kind, name, path) // which outlives the snapshot, as what another remembers need not
	}
	return s, nil
}

// readStatus reads the record at a commit of the status branch: what differs from
// a known one.
func (h *History) readStatus(ctx context.Context, s, known *Snapshot, status string) (err error) {
	if status == "" {
		return nil
	}
	var before *reconciler.Record
	if known != nil {
		before = known.Record
	}
	if s.Record, err = h.repository.Record(ctx, status, before); err != nil {
		return err
	}
	s.Status, err = h.repository.Revision(ctx, status)
	return err
}

var (
	dayPattern    = reconciler.Pattern(`^\d{4}-\d\d-\d\d$`)
	commitPattern = reconciler.Pattern(`^[0-9a-f]{7,40}$`)
	pairPattern   = reconciler.Pattern(`^([0-9a-f]{7,40})-([0-9a-f]{7,40})$`)
)

// At returns a past snapshot.
func (h *History) At(ctx context.Context, when string) (*Snapshot, error) {
	now, err := h.Now(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	w := window{line: h.line, commits: h.commits}
	h.mu.Unlock()
	tracked, status, err := w.find(when)
	if err != nil {
		return nil, err
	}
	if at := h.kept(now, tracked, status); at != nil {
		return at, nil
	}
	h.travel.Lock()
	defer h.travel.Unlock()
	if at := h.kept(now, tracked, status); at != nil {
		return at, nil
	}
	known := now
	h.mu.Lock()
	for _, s := range h.past {
		if s.Revision.Commit == tracked {
			known = s
		}
	}
	h.mu.Unlock()
	at, err := h.snapshot(ctx, h.evaluators(), known, tracked, status, w)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = append(h.past, at)
	all := 0
	for _, s := range h.past {
		all += s.size()
	}
	for len(h.past) > mostPast || len(h.past) > 1 && all > mostThen {
		all -= h.past[0].size()
		h.past = slices.Delete(h.past, 0, 1)
	}
	return at, nil
}

// kept returns a snapshot that was made before.
func (h *History) kept(now *Snapshot, tracked, status string) *Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	is := func(s *Snapshot) bool {
		return (s.asked == tracked || s.Revision.Commit == tracked) && s.Status.Commit == status
	}
	if is(now) {
		return now
	}
	for i, s := range h.past {
		if is(s) {
			h.past = append(slices.Delete(h.past, i, i+1), s)
			return s
		}
	}
	return nil
}

// window is what the history reaches back to.
type window struct {
	line    []Change
	commits []Commit
}

// find returns the commits of both branches at a time.
func (w window) find(when string) (tracked, status string, err error) {
	switch pair := pairPattern().FindStringSubmatch(when); {
	case dayPattern().MatchString(when):
		return w.day(when)
	case pair != nil:
		if tracked, err = w.tracked(pair[1]); err == nil {
			status, err = w.status(pair[2])
		}
		return tracked, status, err
	case commitPattern().MatchString(when):
		if tracked, err = w.tracked(when); err == nil {
			return tracked, w.recordOf(tracked), nil
		}
		if status, err = w.status(when); err != nil {
			return "", "", err
		}
		tracked, err = w.revisionOf(status)
		return tracked, status, err
	}
	return "", "", fmt.Errorf("%w: expected a commit or a day such as 2026-03-01; got %q", ErrNoSuchTime, when)
}

// day returns the last commits of a day, in UTC, or before.
func (w window) day(day string) (tracked, status string, err error) {
	begins, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return "", "", fmt.Errorf("%w: there is no day %s", ErrNoSuchTime, day)
	}
	end := begins.AddDate(0, 0, 1)
	for _, c := range w.commits {
		if c.Time.Before(end) {
			status = c.ID
			break
		}
	}
	for _, c := range w.line {
		if c.Time.Before(end) {
			return c.ID, status, nil
		}
	}
	return "", "", fmt.Errorf("%w: the tracked branch has no commit of %s or before", ErrNoSuchTime, day)
}

func (w window) tracked(digits string) (string, error) {
	return complete(digits, w.line, func(c Change) string { return c.ID }, "the tracked branch has no commit")
}

func (w window) status(digits string) (string, error) {
	return complete(digits, w.commits, func(c Commit) string { return c.ID }, "neither branch has a commit")
}

// complete returns the one commit that begins with the digits.
func complete[T any](digits string, commits []T, id func(T) string, none string) (string, error) {
	found := ""
	for _, c := range commits {
		switch commit := id(c); {
		case !strings.HasPrefix(commit, digits):
		case found != "" && found != commit:
			return "", fmt.Errorf("%w: several commits begin with %s", ErrNoSuchTime, digits)
		default:
			found = commit
		}
	}
	if found == "" {
		return "", fmt.Errorf("%w: %s %s", ErrNoSuchTime, none, digits)
	}
	return found, nil
}

// recordOf returns the last status commit that was made while a revision or an
// earlier one was in force; empty where there is none.
func (w window) recordOf(tracked string) string {
	age := make(map[string]int, len(w.line)) // 0 is the newest
	for i, c := range w.line {
		age[c.ID] = i
	}
	for _, c := range w.commits {
		revision, said := c.revision()
		if at, known := age[revision]; said && known && at >= age[tracked] {
			return c.ID
		}
	}
	return ""
}

// revisionOf returns the revision that was in force at a status commit.
func (w window) revisionOf(status string) (string, error) {
	for _, c := range w.until(status) {
		if revision, said := c.revision(); said && w.since(revision) != nil {
			return revision, nil
		}
	}
	return "", fmt.Errorf("%w: %s names no revision of the tracked branch", ErrNoSuchTime, short(status))
}

// until returns the commits that led to one of the status branch.
func (w window) until(status string) []Commit {
	i := slices.IndexFunc(w.commits, func(c Commit) bool { return c.ID == status })
	if i < 0 {
		return nil
	}
	return w.commits[i:]
}

// since returns the commits that led to one of the tracked branch.
func (w window) since(tracked string) []Change {
	i := slices.IndexFunc(w.line, func(c Change) bool { return c.ID == tracked })
	if i < 0 {
		return nil
	}
	return w.line[i:]
}
