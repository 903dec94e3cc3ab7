package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate knows who let a change happen: which pull request brought it, who took
// part and who approved. The forge is asked beside the loop, never by it.
type gate struct {
	forge   Forge // nil where there is none: then only signed approvals count
	roster  *roster
	shown   *Shown
	log     *slog.Logger
	changed func() // called when something was read

	work sync.WaitGroup // a reading that goes on

	mu      sync.Mutex
	reading bool                 // guarded by mu, as all below
	stale   bool                 // while something was read it was to be forgotten
	retry   map[string]time.Time // when commits that could not be read are tried again
	pulls   map[string]origin
	facts   map[int]*facts
	who     electors
	teams   map[string]Team // whose electors they are
	failure string          // why something could not be read, as long as that is so

	signed    []SignedApproval // for the loop alone
	signedTip string
}

// origin is the pull request that brought a commit; 0 where none did, as far as
// the forge knew at the time.
type origin struct {
	number int
	at     time.Time
}

// factsAge is how old may be what the forge says for an approval to count.
const factsAge = 20 * time.Second

func newGate(forge Forge, shown *Shown, accounts *Accounts, log *slog.Logger, changed func()) *gate {
	return &gate{forge: forge, shown: shown, log: log, changed: changed,
		roster: &roster{forge: forge, log: log, accounts: accounts}, pulls: map[string]origin{}, facts: map[int]*facts{}}
}

// inquiry is what decisions need to know of the forge.
type inquiry struct {
	commits map[string]bool // which pull requests brought them, and who approved those
	teams   map[string]Team
	people  bool // who their members are
}

func (q *inquiry) asks() bool { return q.people || len(q.commits) > 0 }

// ask reads what an inquiry needs, in the background.
func (g *gate) ask(ctx context.Context, q *inquiry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reading {
		return // whoever asks is told when that is over, and asks again
	}
	g.reading, g.stale = true, false
	g.work.Go(func() {
		news, err := g.read(ctx, q)
		if err != nil && ctx.Err() == nil {
			g.log.Warn("ask the forge who let changes happen", "error", err)
		}
		g.mu.Lock()
		g.reading = false
		if g.stale { // what was read is used once
			time.AfterFunc(time.Second, func() { g.forget(); g.changed() })
		}
		g.mu.Unlock()
		if ctx.Err() == nil && news {
			g.changed()
		}
	})
}

// readTimeout bounds one reading: the forge may limit requests for long.
const readTimeout = 10 * time.Minute

// read reads what an inquiry needs and is not known, or not known freshly. What
// cannot be read holds nothing else up, and is left alone for a while. It tells
// whether anything was read. What was counts from the end on: otherwise the first
// of many would be too old before the last is known.
func (g *gate) read(ctx context.Context, q *inquiry) (news bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	who := g.roster.electors(ctx, q.teams)
	g.mu.Lock()
	g.who, g.teams = who, q.teams
	g.mu.Unlock()
	news = q.people
	fresh := map[string]origin{}
	pulls := map[int]*facts{}
	var failed []error
	left := false
	for _, commit := range sortedNames(q.commits) {
		if g.postponed(commit) {
			left = true
			continue
		}
		number, err := g.readOne(ctx, commit, pulls)
		if ctx.Err() != nil {
			return news, context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, err)
			g.postpone(commit)
			continue
		}
		fresh[commit] = origin{number: number}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(g.pulls)+len(g.facts)+len(g.retry) > 4*mostSteps { // what is needed still is read again
		clear(g.pulls)
		clear(g.facts)
		clear(g.retry)
	}
	for commit, o := range fresh {
		g.pulls[commit] = origin{o.number, now}
		delete(g.retry, commit)
	}
	for number, f := range pulls {
		f.At = now
		g.facts[number] = f
	}
	err = errors.Join(failed...)
	switch {
	case err == nil && !left:
		g.failure = ""
	case err != nil && g.failure == "": // the first words stand: the next ones may differ by a port or a time
		g.failure = failed[0].Error()
	}
	return news || len(fresh) > 0, err
}

// readOne returns the pull request that brought a commit, and reads it where it is
// not known freshly.
func (g *gate) readOne(ctx context.Context, commit string, pulls map[int]*facts) (int, error) {
	number, known := g.pullOf(commit)
	if !known {
		pull, found, err := g.forge.Merged(ctx, commit)
		if err != nil || !found {
			return 0, err
		}
		number = pull.Number
	}
	if number == 0 || pulls[number] != nil || g.factsOf(number) != nil {
		return number, nil
	}
	pull, err := g.forge.PullRequest(ctx, number)
	if err != nil {
		return 0, err
	}
	pulls[number], err = readFacts(ctx, g.forge, pull, time.Now())
	if err != nil {
		delete(pulls, number)
	}
	return number, err
}

// postpone lets a commit that could not be read alone for a while.
func (g *gate) postpone(commit string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retry == nil {
		g.retry = map[string]time.Time{}
	}
	g.retry[commit] = time.Now().Add(factsAge)
}

func (g *gate) postponed(commit string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.retry[commit])
}

func (g *gate) pullOf(commit string) (int, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o, known := g.pulls[commit]
	return o.number, known && (o.number != 0 || time.Since(o.at) < factsAge)
}

// factsOf returns what is known of a pull request; nil where that is too old.
func (g *gate) factsOf(number int) *facts {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.facts[number]; f != nil && time.Since(f.At) < factsAge {
		return f
	}
	return nil
}

// electors returns the members of the teams; nil where they are to be found first.
func (g *gate) electors(teams map[string]Team) electors {
	g.mu.Lock()
	defer g.mu.Unlock()
	same := func(a, b Team) bool { return a.Lead == b.Lead && slices.Equal(a.Members, b.Members) }
	if g.who == nil || !maps.EqualFunc(g.teams, teams, same) {
		return nil
	}
	return g.who
}

// failing says why the forge could not be asked; empty where it could.
func (g *gate) failing() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failure
}

// forget lets everything that was read be read again, where it is needed.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stale = g.reading
	for _, f := range g.facts {
		f.At = time.Time{}
	}
	maps.DeleteFunc(g.pulls, func(_ string, o origin) bool { return o.number == 0 })
}

// clearance is what is known of who let a change happen.
type clearance struct {
	unknown bool   // the forge must be asked first
	hold    string // why nobody can let it happen
	needed  []Needed
	plans   map[string][]string // that have all approvals: the teams that gave them, by digest
	pulls   []int               // the pull requests that brought it, the latest first
}

func (c clearance) missing() []Needed {
	var missing []Needed
	for _, n := range c.needed {
		if !n.Given {
			missing = append(missing, n)
		}
	}
	return missing
}

// asking is a plan that a run made and that needs an approval.
type asking struct {
	key    string // what was planned, see planKey
	plan   string
	needed []Needed
}

// planKey identifies what a run plans, before it has planned it.
func planKey(made decision) string {
	if made.deletes {
		return "destroy"
	}
	return made.basis
}

// gates puts the gate before the decisions of a pass: what nobody let happen
// waits. It returns what the forge must be asked.
func (r *Reconciler) gates(ctx context.Context, decisions map[string]decision) (*inquiry, error) {
	q := &inquiry{commits: map[string]bool{}, teams: r.checked.Platform.Teams}
	if err := r.countersigned(ctx); err != nil {
		return q, err
	}
	since := map[string]string{}
	var names []string
	for name, made := range decisions {
		switch {
		case !r.judges(name, made):
			delete(r.holds, name)
		case made.verb == busy: // it is judged when the run is over
			made.uncleared = true
			decisions[name] = made
		default:
			names = append(names, name)
			since[name] = r.since(name)
		}
	}
	slices.Sort(names)
	line, err := r.lineSince(ctx, since)
	if err != nil {
		return q, err
	}
	for _, name := range names {
		made := decisions[name]
		c, err := r.clearance(ctx, name, made, line, since[name], q)
		if err != nil {
			return q, err
		}
		decisions[name] = r.gated(name, made, c)
	}
	return q, nil
}

// judges tells whether somebody must have let this happen.
func (r *Reconciler) judges(name string, made decision) bool {
	if made.verb == forget {
		return false
	}
	starts := made.starts()
	if r.gate.forge == nil {
		return starts
	}
	return starts || r.record.Units[name].Exists() && r.redocumented(name)
}

// redocumented tells whether the revision says anything else of a live unit than
// what was let happen.
func (r *Reconciler) redocumented(name string) bool {
	u, runs := r.checked.Units[name]
	return runs && r.record.Units[name].redocumented(u)
}

// redocumented tells whether a unit is said to be anything else than was recorded.
func (s *UnitStatus) redocumented(u *Unit) bool {
	return s == nil || s.Owner != u.Service.Owner || s.ServiceDigest != u.Service.digest() || differs(Document{JSON: s.Document}, u.Request.Document)
}

// starts tells whether the decision changes what runs.
func (d decision) starts() bool { return d.verb == start || d.verb == destroy }

// gated turns a decision into what its clearance allows.
func (r *Reconciler) gated(name string, made decision, c clearance) decision {
	starts := made.starts()
	missing := c.missing()
	made.pulls = c.pulls
	hold := func(message string) decision {
		return decision{verb: halt, condition: Approved, reason: ReasonApproval, message: message, basis: made.basis,
			deletes: made.deletes, uncleared: true, pulls: c.pulls}
	}
	switch {
	case c.unknown:
		if last, found := r.holds[name]; found && last.key == planKey(made) {
			return last.decision
		}
		made.uncleared = true
		why := r.gate.failing()
		switch {
		case why != "" && (starts || made.verb == keep):
			made.verb, made.reason, made.message = wait, ReasonForge, "the forge does not say who let it happen: "+why
		case starts:
			made.verb, made.reason, made.message = wait, ReasonApproval, "the forge is asked who let it happen"
		}
		return made
	case c.hold != "":
		made = r.held(name, made, hold(c.hold))
	case len(missing) == 0:
		made.gated, made.approved, made.credits = len(c.needed) > 0, c.plans, r.gate.credits(c)
		delete(r.holds, name)
	case starts && r.asking[name].key != planKey(made):
		made.gated, made.uncleared = true, true // plans, so that there is something to approve
	case starts:
		made = r.held(name, made, hold(asks(missing, r.asking[name].plan, r.checked.Platform.Teams)))
	default:
		made = r.held(name, made, hold(asks(missing, "", r.checked.Platform.Teams)))
	}
	return made
}

// credits are the trailers of who brought a change and who let it happen.
func (g *gate) credits(c clearance) []string {
	var lines []string
	for _, number := range c.pulls {
		line := fmt.Sprintf("Pull-Request: #%d", number)
		if f := g.factsOf(number); f != nil {
			line += " by " + f.Pull.Author.Handle
		}
		lines = append(lines, line)
	}
	for _, n := range c.needed {
		if line := "Approved-By: " + n.By; n.By != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// heldBack is the last decision to hold a unit for want of an approval.
type heldBack struct {
	key      string // of what is held, see planKey: another revision may ask for the same
	decision decision
}

func (r *Reconciler) held(name string, made, held decision) decision {
	r.holds[name] = heldBack{planKey(made), held}
	return held
}

// asks says who must approve what, and who of them cannot.
func asks(missing []Needed, plan string, known map[string]Team) string {
	var teams, reasons, nobody []string
	for _, n := range missing {
		reasons = append(reasons, n.Reason)
		if slices.Contains(teams, n.Team) {
			continue
		}
		teams = append(teams, n.Team)
		if _, exists := known[n.Team]; !exists {
			nobody = append(nobody, noTeam(n.Team, known)+": declare it, or correct what asks for it")
		}
	}
	reasons = append(reasons, nobody...)
	what := "it"
	if plan != "" {
		what = "the plan " + plan[:min(12, len(plan))]
	}
	return fmt.Sprintf("%s must approve %s: %s", strings.Join(teams, " and "), what, strings.Join(reasons, "; "))
}

// noTeam says that nobody can speak for a team, and which one may be meant.
func noTeam(name string, known map[string]Team) string {
	text := "there is no team " + name
	if near := Nearest(name, sortedNames(known), 3); len(near) > 0 {
		text += " (nearest: " + strings.Join(near, ", ") + ")"
	}
	return text
}

// clearance finds out who let the change of a unit happen.
func (r *Reconciler) clearance(ctx context.Context, name string, made decision, line line, since string, q *inquiry) (clearance, error) {
	g := r.gate
	var c clearance
	owner := ""
	if u, runs := r.checked.Units[name]; runs {
		c.needed, owner = r.checked.needs(name), u.Service.Owner
	} else if recorded := r.record.Units[name]; recorded != nil {
		owner = recorded.Owner
	}
	plan := ""
	if a := r.asking[name]; a.key != "" && a.key == planKey(made) {
		plan = a.plan
		c.needed = merge(append(c.needed, a.needed...))
	}
	if g.forge == nil {
		r.signedFor(name, plan, &c)
		return c, nil
	}
	own, governing := r.brought(name, line, since)
	required := r.checked.Platform.Settings.Guards.RequirePullRequest
	_, runs := r.checked.Units[name]
	switch {
	case required && since != "" && !line.reaches(since):
		c.hold = fmt.Sprintf("the tracked branch does not lead on from %s, up to which it was let happen: put back what it said there, and propose the change as a pull request", shortHash(since))
		return c, nil
	case !runs && len(own) == 0: // whatever removed it
		own, governing = line.after(since), nil
	}
	if len(own)+len(governing) == 0 {
		if len(c.needed) == 0 {
			return c, nil // nothing in Git changed
		}
		var err error
		if own, err = r.lastOf(ctx, name); err != nil {
			return c, err
		}
	}
	who := g.electors(q.teams)
	if who == nil {
		q.people, c.unknown = true, true
	}
	var pulls []*facts
	for _, s := range slices.Concat(own, governing) {
		m, err := r.mergeOf(ctx, s.commit)
		if err != nil {
			return c, err
		}
		number, known := g.pullOf(s.commit)
		switch {
		case !m.honest:
			if required && slices.ContainsFunc(own, s.is) {
				c.hold = fmt.Sprintf(holdsMore, shortHash(s.commit))
			}
		case !known:
			q.commits[s.commit], c.unknown = true, true
		case number == 0:
			if required && slices.ContainsFunc(own, s.is) {
				c.hold = fmt.Sprintf("%s came to the tracked branch without a pull request, so nobody could review it: revert it, and propose it as one", shortHash(s.commit))
			}
		case slices.Contains(c.pulls, number):
		default:
			f := g.factsOf(number)
			if f == nil || who == nil {
				q.commits[s.commit], c.unknown = true, true
				continue
			}
			if !m.of(f.Pull) && required && slices.ContainsFunc(own, s.is) {
				c.hold = fmt.Sprintf(mergesAnother, shortHash(s.commit), number)
				continue
			}
			c.pulls = append(c.pulls, number)
			pulls = append(pulls, f)
			if required && slices.ContainsFunc(own, s.is) {
				c.needed = append(c.needed, r.ownersOf(name, owner, f, who)...)
			}
		}
	}
	if c.unknown || c.hold != "" || len(c.needed) == 0 {
		return c, nil
	}
	r.approvedOn(name, plan, made, pulls, who, &c)
	return c, nil
}

// lastOf returns the last commit that changed what a unit's document says: where
// nothing in Git changed and a rule asks for an approval, that is where to ask.
func (r *Reconciler) lastOf(ctx context.Context, name string) ([]step, error) {
	line, err := r.lineSince(ctx, map[string]string{name: ""})
	if err != nil {
		return nil, err
	}
	own, _ := r.brought(name, line, "")
	return own[:min(1, len(own))], nil
}

// ownersOf returns the approvals of the owners, before and after the change, that
// one pull request needs and that its own people are not already.
func (r *Reconciler) ownersOf(name, owner string, f *facts, who electors) []Needed {
	teams := []string{owner}
	if recorded := r.record.Units[name]; recorded != nil && recorded.Owner != "" && recorded.Owner != owner {
		teams = append(teams, recorded.Owner)
	}
	var needed []Needed
	for _, team := range teams {
		if !f.insiders(who, team) {
			needed = append(needed, Needed{Team: team, Units: []string{name}, pull: f.Pull.Number,
				Reason: fmt.Sprintf("owns %s, which #%d by %s changes", name, f.Pull.Number, f.Pull.Author.Handle)})
		}
	}
	return needed
}

// approvedOn marks the approvals that reviews give. Whoever owns what a pull request
// changes must have approved that pull request: no plan shows all that it says.
// What runs is approved by its plan besides, and every approval must be for the
// same one.
func (r *Reconciler) approvedOn(name, plan string, made decision, pulls []*facts, who electors, c *clearance) {
	changes := func(n Needed) (Person, bool) {
		for i, f := range pulls {
			if n.pull == f.Pull.Number || n.pull == 0 && i == 0 {
				return f.approved(who[n.Team], func(review Review) bool { return f.ofHead(review) || f.afterMerge(review) })
			}
		}
		return Person{}, false
	}
	if !made.starts() { // there is no plan
		c.needed, _ = given(c.needed, changes)
		return
	}
	shown := make([]shownPlan, len(pulls))
	var wanted []string
	for i, f := range pulls {
		remembered, err := r.gate.shown.pull(f.Pull.Number)
		if err != nil {
			c.hold = fmt.Sprintf("what people were shown cannot be read: %v", err)
			return
		}
		shown[i] = remembered.Units[name]
		if p := shown[i].Plan; p != "" && (plan == "" || p == plan) && !slices.Contains(wanted, p) {
			wanted = append(wanted, p)
		}
	}
	c.plans = map[string][]string{}
	best := c.needed
	for _, p := range wanted {
		marked, all := given(c.needed, func(n Needed) (Person, bool) {
			if _, ok := changes(n); n.pull != 0 && !ok {
				return Person{}, false
			}
			for i, f := range pulls {
				if shown[i].Plan != p {
					continue
				}
				if by, ok := f.approved(who[n.Team], f.counts(shown[i])); ok {
					return by, true
				}
			}
			return Person{}, false
		})
		if all {
			for _, n := range marked {
				c.plans[p] = append(c.plans[p], n.Team)
			}
		}
		if all && len(c.plans) == 1 || len(c.plans) == 0 && p == wanted[0] {
			best = marked
		}
	}
	c.needed = best
}

// given returns the needed approvals with those marked that are given, and whether
// all are.
func given(needed []Needed, by func(Needed) (Person, bool)) ([]Needed, bool) {
	marked := slices.Clone(needed)
	all := true
	for i, n := range marked {
		if person, ok := by(n); ok {
			marked[i].Given, marked[i].By = true, person.Handle
		}
		all = all && marked[i].Given
	}
	return marked, all
}

// signedFor marks the approvals that are signed with a key of the team.
func (r *Reconciler) signedFor(name, plan string, c *clearance) {
	c.plans = map[string][]string{}
	for i := range c.needed {
		n := &c.needed[i]
		team := r.checked.Platform.Teams[n.Team]
		for _, s := range r.gate.signed {
			if plan != "" && s.Unit == name && s.Plan == plan && slices.Contains(team.Members, s.By) {
				n.Given, n.By = true, s.By
				c.plans[plan] = append(c.plans[plan], n.Team)
			}
		}
	}
}

// countersigned reads the signed approvals where there are new ones.
func (r *Reconciler) countersigned(ctx context.Context) error {
	g := r.gate
	if g.forge != nil || r.approvalsTip == g.signedTip {
		return nil
	}
	if r.approvalsTip == "" {
		g.signed, g.signedTip = nil, ""
		return nil
	}
	keys := map[string][]string{}
	for _, team := range r.checked.Platform.Teams {
		for handle, key := range team.Keys {
			keys[handle] = append(keys[handle], key)
		}
	}
	signed, err := r.Source.Approvals(ctx, r.approvalsTip, keys)
	if err != nil {
		return fmt.Errorf("read approvals: %w", err)
	}
	g.signed, g.signedTip = signed, r.approvalsTip
	return nil
}

// step is one commit of the tracked branch's first-parent line.
type step struct {
	commit string
	paths  []string // that it changes
}

func (s step) is(other step) bool { return s.commit == other.commit }

// line is a stretch of the tracked branch, the newest commit first.
type line struct {
	steps   []step
	commits []string // those of the steps, and what is known of those before them
}

// reaches tells whether the line leads back to the commit.
func (l line) reaches(commit string) bool { return slices.Contains(l.commits, commit) }

// after returns the steps that came after the commit.
func (l line) after(commit string) []step {
	if i := slices.IndexFunc(l.steps, func(s step) bool { return s.commit == commit }); i >= 0 {
		return l.steps[:i]
	}
	return l.steps
}

// mostSteps bounds how far back the line is read: what lies further back is held
// as if nobody had let it happen.
const mostSteps = 1000

// lineSince returns the line from the revision in force back to the oldest of the
// revisions, the newest commit first.
func (r *Reconciler) lineSince(ctx context.Context, since map[string]string) (line, error) {
	if r.gate.forge == nil || len(since) == 0 {
		return line{}, nil
	}
	commits, _, err := r.Source.Line(ctx, r.checked.Revision.Commit, "", mostSteps)
	if err != nil {
		return line{}, err
	}
	oldest := 0
	for _, commit := range since {
		i := slices.Index(commits, commit)
		if i < 0 {
			i = len(commits)
		}
		oldest = max(oldest, i)
	}
	known := line{commits: commits}
	for i, commit := range commits[:oldest] {
		parent := ""
		if i+1 < len(commits) {
			parent = commits[i+1]
		}
		paths, err := r.pathsOf(ctx, commit, parent)
		if err != nil {
			return line{}, err
		}
		known.steps = append(known.steps, step{commit, paths})
	}
	return known, nil
}

// pathsOf returns what a commit changes.
func (r *Reconciler) pathsOf(ctx context.Context, commit, parent string) ([]string, error) {
	if paths, known := r.paths[commit]; known {
		return paths, nil
	}
	tree, err := r.Source.Tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	before := &Tree{}
	if parent != "" {
		if before, err = r.Source.Tree(ctx, parent); err != nil {
			return nil, err
		}
	}
	if r.paths == nil || len(r.paths) > 4*mostSteps {
		r.paths = map[string][]string{}
	}
	r.paths[commit] = ChangedPaths(before, tree)
	return r.paths[commit], nil
}

// holdsMore says why the pull request of a commit that is not honest did not let
// it happen: the reviews are of what was merged, and of nothing besides.
const holdsMore = "%s is a merge that holds more than what was merged (or resolves a conflict by hand): revert it, and propose what it changes"

// mergesAnother says the same of a merge of something else than was reviewed.
const mergesAnother = "%s does not merge the head of #%d, which was reviewed: revert it, and propose what it changes"

// mergeCommit is what is known of a commit as a merge, see [Source].
type mergeCommit struct {
	honest bool
	merged string
}

// of tells whether what was merged is the head of the pull request. A squashed or
// rebased one is a commit like any other.
func (m mergeCommit) of(pull PullRequest) bool { return m.merged == "" || m.merged == pull.Head }

// mergeOf returns what is known of a commit as a merge.
func (r *Reconciler) mergeOf(ctx context.Context, commit string) (mergeCommit, error) {
	if m, known := r.merges[commit]; known {
		return m, nil
	}
	var m mergeCommit
	var err error
	if m.honest, m.merged, err = r.Source.Honest(ctx, commit); err != nil {
		return m, err
	}
	if r.merges == nil || len(r.merges) > 4*mostSteps {
		r.merges = map[string]mergeCommit{}
	}
	r.merges[commit] = m
	return m, nil
}

// brought returns the commits that changed what a unit's document says since a
// revision, and those that changed what it is judged by or made of.
func (r *Reconciler) brought(name string, line line, since string) (own, governing []step) {
	sources := map[string]bool{}
	note := func(paths []string) {
		for _, path := range paths {
			sources[path] = true
		}
	}
	blueprint := ""
	if u, runs := r.checked.Units[name]; runs {
		note(r.checked.Platform.sources(name))
		blueprint = u.Blueprint.Folder + "/"
	}
	if recorded := r.record.Units[name]; recorded != nil {
		note(recorded.Sources)
	}
	for _, s := range line.after(since) {
		switch {
		case slices.ContainsFunc(s.paths, func(path string) bool { return sources[path] }):
			own = append(own, s)
		case slices.ContainsFunc(s.paths, func(path string) bool {
			return blueprint != "" && strings.HasPrefix(path, blueprint) || governs(path) && !strings.HasPrefix(path, "blueprints/")
		}):
			governing = append(governing, s)
		}
	}
	return own, governing
}

// since returns the revision up to which what a unit asks for was let happen.
func (r *Reconciler) since(name string) string {
	if at, pending := r.settled.Pending[name]; pending {
		return at
	}
	return r.settled.Settled
}

// settle notes which units are as the revision in force says, with everybody's
// leave.
func (r *Reconciler) settle(decisions map[string]decision) error {
	if r.gate.forge == nil {
		return nil
	}
	pending := map[string]string{}
	for name, made := range decisions {
		if made.verb == forget || made.verb == keep && made.reason == ReasonApplied && !made.uncleared {
			continue
		}
		pending[name] = r.since(name)
	}
	tip := r.checked.Revision.Commit
	if r.settled.Settled == tip && maps.Equal(pending, r.settled.Pending) {
		return nil
	}
	r.settled.Settled, r.settled.Pending = tip, pending
	return r.Trust.update(func(t *trusted) { t.Settled, t.Pending = tip, pending })
}
