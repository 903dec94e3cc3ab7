package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Accounts remembers, on this host, whose account each handle was first. A handle
// that its owner gives up is anybody's to take.
type Accounts struct {
	path string

	mu  sync.Mutex
	ids map[string]int64 // by handle; guarded by mu; nil before it was read
}

// NewAccounts returns the memory kept in the file, which need not exist.
func NewAccounts(path string) *Accounts { return &Accounts{path: path} }

// bind remembers whose a handle is, unless it was somebody's before, and returns
// whose it is.
func (a *Accounts) bind(handle string, id int64) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		ids := map[string]int64{}
		content, err := os.ReadFile(a.path)
		if err == nil {
			err = json.Unmarshal(content, &ids)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("read %s: %w", a.path, err)
		}
		a.ids = ids
	}
	handle = strings.ToLower(handle) // to a forge case makes no difference
	if known, found := a.ids[handle]; found {
		return known, nil
	}
	ids := maps.Clone(a.ids)
	ids[handle] = id
	if err := replaceJSON(a.path, ids); err != nil {
		return 0, err
	}
	a.ids = ids
	return id, nil
}

// roster finds the accounts of the people that team documents name. The forge's
// numeric id counts, so that nobody is somebody else by taking a handle over.
type roster struct {
	forge    Forge
	log      *slog.Logger
	accounts *Accounts

	mu    sync.Mutex
	known map[string]rostered // by handle; guarded by mu
}

type rostered struct {
	person Person
	at     time.Time
}

// rosterAge is how long an account that was found is believed to have its handle.
const rosterAge = time.Hour

// members returns the ids of the team's members. Somebody who cannot be found is
// none: that can only keep an approval from counting.
func (r *roster) members(ctx context.Context, team Team) map[int64]bool {
	ids := map[int64]bool{}
	for _, handle := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(team.Members), team.Lead)))) {
		if handle == "" {
			continue
		}
		if person, found := r.find(ctx, handle); found {
			ids[person.ID] = true
		}
	}
	return ids
}

func (r *roster) find(ctx context.Context, handle string) (Person, bool) {
	r.mu.Lock()
	known, found := r.known[handle]
	r.mu.Unlock()
	if found && time.Since(known.at) < rosterAge {
		return known.person, true
	}
	person, err := r.forge.Person(ctx, handle)
	if err != nil {
		r.log.Warn("find a member of a team on the forge", "handle", handle, "error", err)
		return Person{}, false
	}
	first, err := r.accounts.bind(handle, person.ID)
	if err != nil {
		r.log.Warn("remember a member of a team", "handle", handle, "error", err)
		return Person{}, false
	}
	if first != person.ID {
		r.log.Warn("a handle is somebody else's by now, who is in no team: if it may be, stop Pave and remove it from the file",
			"handle", handle, "file", r.accounts.path)
		return Person{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]rostered{}
	}
	maps.DeleteFunc(r.known, func(_ string, old rostered) bool { return time.Since(old.at) >= rosterAge })
	r.known[handle] = rostered{person, time.Now()}
	return person, true
}

// electors are the members of all teams, by team.
type electors map[string]map[int64]bool

func (r *roster) electors(ctx context.Context, teams map[string]Team) electors {
	all := electors{}
	for _, name := range sortedNames(teams) {
		all[name] = r.members(ctx, teams[name])
	}
	return all
}

// anybody tells whether the person is in any team.
func (e electors) anybody(id int64) bool {
	for _, members := range e {
		if members[id] {
			return true
		}
	}
	return false
}

// facts are what the forge says of one pull request.
type facts struct {
	Pull PullRequest
	// Took are those who may not approve it; nobody may where it is not Complete.
	Took     map[int64]Person
	Complete bool
	Courier  int64 // Pave's account, where others acted by it; see [Participants]
	Reviews  []Review
	At       time.Time // when they were read
}

func readFacts(ctx context.Context, forge Forge, pull PullRequest, now time.Time) (*facts, error) {
	took, err := forge.Participants(ctx, pull.Number)
	if err != nil {
		return nil, err
	}
	f := &facts{Pull: pull, Took: map[int64]Person{pull.Author.ID: pull.Author}, Complete: took.Complete, Courier: took.Courier, At: now}
	for _, person := range took.People {
		f.Took[person.ID] = person
	}
	if f.Reviews, err = forge.Reviews(ctx, pull.Number); err != nil {
		return nil, fmt.Errorf("read the reviews of pull request %d: %w", pull.Number, err)
	}
	return f, nil
}

// insiders tells whether only members of the team had a hand in the change. Whom
// Pave carried it for made it, not Pave, unless its account is somebody's who is in
// a team.
func (f *facts) insiders(who electors, team string) bool {
	if !f.Complete {
		return false
	}
	members := 0
	for id := range f.Took {
		switch {
		case who[team][id]:
			members++
		case id != f.Courier || who.anybody(id):
			return false
		}
	}
	return members > 0
}

// carried tells whether Pave proposed the change for people of the teams.
func (f *facts) carried(who electors) bool {
	if !f.Complete || f.Courier == 0 || f.Courier != f.Pull.Author.ID || len(f.Took) < 2 {
		return false
	}
	for id := range f.Took {
		if id != f.Courier && !who.anybody(id) {
			return false
		}
	}
	return true
}

// approved returns who of the team approves by a review that counts. The last
// word of each person counts, a comment is none, and whoever asks for changes
// speaks against the approval of the whole team.
func (f *facts) approved(members map[int64]bool, counts func(Review) bool) (Person, bool) {
	if !f.Complete {
		return Person{}, false
	}
	last := map[int64]Review{}
	for _, review := range f.Reviews {
		if review.State != ReviewComment {
			last[review.By.ID] = review
		}
	}
	var by Person
	for id, review := range last {
		if _, took := f.Took[id]; !members[id] || took {
			continue
		}
		switch {
		case review.State == ReviewRejected:
			return Person{}, false
		case review.State == ReviewApproved && counts(review) && (by.ID == 0 || id < by.ID):
			by = review.By
		}
	}
	return by, by.ID != 0
}

func (f *facts) ofHead(review Review) bool { return review.Commit == f.Pull.Head }

func (f *facts) afterMerge(review Review) bool {
	return review.Submitted.After(f.Pull.MergedAt)
}

// counts returns which reviews are of a plan that was shown: those of the head
// that it was shown for, and after the merge those later than it. An approval
// given where another plan stood before is for that one.
func (f *facts) counts(shown shownPlan) func(Review) bool {
	return func(review Review) bool {
		later := review.Submitted.After(shown.At)
		ofHead := shown.Head == f.Pull.Head && f.ofHead(review) && (!shown.Replaced || later)
		return ofHead || (shown.Head == "" || shown.Head == f.Pull.Head) && later && f.afterMerge(review)
	}
}

// before returns which reviews of an open pull request count for units, given what
// was shown of them: those of the head that converge will take for their plans.
func (f *facts) before(shown map[string]shownPlan, units []string) func(Review) bool {
	return func(review Review) bool {
		return f.ofHead(review) && !slices.ContainsFunc(units, func(unit string) bool {
			plan := shown[unit]
			return plan.Plan != "" && plan.Head == f.Pull.Head && !f.counts(plan)(review)
		})
	}
}

// settle marks which of the needed approvals are given before the merge. Where a
// team made the change itself nobody gave one.
func (f *facts) settle(needed []Needed, who electors, shown map[string]shownPlan) {
	for i := range needed {
		n := &needed[i]
		if n.Insider && f.insiders(who, n.Team) {
			n.Given = true
			continue
		}
		if by, ok := f.approved(who[n.Team], f.before(shown, n.Units)); ok {
			n.Given, n.By = true, by.Handle
		}
	}
}
