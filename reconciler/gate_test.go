package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// memoryForge answers with what a test put into it.
type memoryForge struct {
	Forge // what no test of the gate calls
	pulls map[int]PullRequest
	// reviews are of pull requests; broken are those that cannot be read.
	reviews map[int][]Review
	broken  map[int]error
	asked   int
}

func (f *memoryForge) PullRequest(_ context.Context, number int) (PullRequest, error) {
	f.asked++
	return f.pulls[number], f.broken[number]
}

func (f *memoryForge) Merged(_ context.Context, commit string) (PullRequest, bool, error) {
	f.asked++
	for _, pull := range f.pulls {
		if pull.Merge == commit {
			return pull, true, nil
		}
	}
	return PullRequest{}, false, nil
}

func (f *memoryForge) Participants(context.Context, int) (Participants, error) {
	return Participants{Complete: true}, nil
}

func (f *memoryForge) Reviews(_ context.Context, number int) ([]Review, error) {
	return f.reviews[number], nil
}

func (f *memoryForge) Person(_ context.Context, handle string) (Person, error) {
	id := int64(slices.Index(folk, handle) + 1)
	if id == 0 {
		return Person{}, errors.New("no such account")
	}
	return Person{ID: id, Handle: handle}, nil
}

// folk are the accounts of the forge, in the order of their ids.
var folk = []string{"alice", "bob", "carol", "sam"}

func account(handle string) Person {
	return Person{ID: int64(slices.Index(folk, handle) + 1), Handle: handle}
}

// memorySource is a line of commits.
type memorySource struct {
	Source          // what no test of the gate calls
	line   []string // the newest first
	trees  map[string]*Tree
	evil   map[string]bool   // the merges that hold more than what was merged
	merged map[string]string // what commits merge
}

func (s *memorySource) Line(_ context.Context, tip, since string, most int) ([]string, bool, error) {
	line := s.line[slices.Index(s.line, tip):]
	if i := slices.Index(line, since); i >= 0 {
		return line[:i], true, nil
	}
	return line[:min(most, len(line))], since == "", nil
}

func (s *memorySource) Tree(_ context.Context, commit string) (*Tree, error) {
	return s.trees[commit], nil
}

func (s *memorySource) Honest(_ context.Context, commit string) (bool, string, error) {
	return !s.evil[commit], s.merged[commit], nil
}

// gatehouse is a reconciler with a forge, where nothing runs.
type gatehouse struct {
	*testing.T
	*Reconciler
	forge  *memoryForge
	source *memorySource
	noon   time.Time
}

// ledgerSource holds the request "ledger" of the team payments.
const ledgerSource = "catalog/ledger.cue"

func newGatehouse(t *testing.T) *gatehouse {
	forge := &memoryForge{pulls: map[int]PullRequest{}, reviews: map[int][]Review{}, broken: map[int]error{}}
	source := &memorySource{trees: map[string]*Tree{}, evil: map[string]bool{}, merged: map[string]string{}}
	r := New(Options{Source: source, Forge: forge, Shown: NewShown(filepath.Join(t.TempDir(), "shown.json")),
		Accounts: NewAccounts(filepath.Join(t.TempDir(), "people.json")), Trust: NewTrust(filepath.Join(t.TempDir(), "status.json"))})
	g := &gatehouse{T: t, Reconciler: r, forge: forge, source: source, noon: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.record = NewRecord()
	r.journal = newJournal(r.record, r.Trust, &quiet{}, "", "")
	g.commit("first", map[string]string{ledgerSource: "v0"})
	g.revise("first", "payments", `{"name":"ledger"}`)
	r.record.Units["ledger"] = &UnitStatus{Version: 1, Request: "ledger", Service: "ledger", Owner: "payments", Blueprint: "box", Protect: true,
		State: State{Address: "local:ledger"}, Document: json.RawMessage(`{"name":"ledger"}`), Sources: []string{ledgerSource}}
	r.settled = trusted{Settled: "first", Pending: map[string]string{}}
	return g
}

// commit adds a commit to the tracked branch.
func (g *gatehouse) commit(name string, files map[string]string) {
	tree := &Tree{}
	for _, path := range sortedNames(files) {
		tree.Files = append(tree.Files, File{Path: path, Hash: files[path]})
	}
	g.source.trees[name] = tree
	g.source.line = append([]string{name}, g.source.line...)
}

// merged is a pull request that made a commit, approved by whoever is named, each
// of them one minute after the other, and merged an hour later.
func (g *gatehouse) merged(number int, merge, author string, approvers ...string) {
	g.forge.pulls[number] = PullRequest{Number: number, Head: fmt.Sprintf("head-%d", number), Author: account(author), Merge: merge, MergedAt: g.noon.Add(time.Hour)}
	for i, handle := range approvers {
		g.review(number, handle, fmt.Sprintf("head-%d", number), g.noon.Add(time.Duration(i)*time.Minute))
	}
}

func (g *gatehouse) review(number int, handle, commit string, at time.Time) {
	g.forge.reviews[number] = append(g.forge.reviews[number], Review{By: account(handle), State: ReviewApproved, Commit: commit, Submitted: at})
	g.gate.forget()
}

// revise brings a revision into force that says the document of ledger; empty
// removes it.
func (g *gatehouse) revise(commit, owner, document string) {
	g.Helper()
	p := &Platform{
		Services: map[string]*Service{"ledger": {Name: "ledger", Owner: owner}},
		Teams: map[string]Team{"payments": {Name: "payments", Members: []string{"alice", "bob"}}, "search": {Name: "search", Members: []string{"carol"}},
			"security": {Name: "security", Members: []string{"sam"}}},
		Blueprints: map[string]Blueprint{"box": {Name: "box", Folder: "blueprints/box"}}, Requests: map[string]*Request{},
	}
	p.Settings.Guards.RequirePullRequest = true
	g.Reconciler.checked = &Checked{Revision: Revision{Commit: commit, Time: g.noon}, Tree: g.source.trees[commit], Platform: p,
		Units: map[string]*Unit{}, holds: map[string]hold{}, asks: map[string][]Violation{}}
	if document != "" {
		r := &Request{Name: "ledger", Blueprint: "box", Service: "ledger", Document: Document{JSON: json.RawMessage(document), Sources: []string{ledgerSource}}}
		_ = json.Unmarshal([]byte(document), r)
		p.Requests["ledger"] = r
	}
	g.Reconciler.checked.sort(nil)
}

// decide puts the gate before a decision about ledger, with all that the forge
// knows.
func (g *gatehouse) decide(made decision) decision {
	g.Helper()
	decisions := map[string]decision{"ledger": made}
	q, err := g.gates(g.Context(), decisions)
	if err == nil && q.asks() {
		if _, err = g.gate.read(g.Context(), q); err == nil {
			decisions["ledger"] = made
			_, err = g.gates(g.Context(), decisions)
		}
	}
	if err != nil {
		g.Fatal(err)
	}
	return decisions["ledger"]
}

// starts is the decision to apply a basis.
func starts(basis string) decision { return decision{verb: start, basis: basis} }

// expectHeld expects that nothing is let happen, for want of what is said.
func (g *gatehouse) expectHeld(made decision, words ...string) {
	g.Helper()
	if made.verb != halt || !made.uncleared {
		g.Errorf("expected a hold, got verb %d, uncleared %v: %s", made.verb, made.uncleared, made.message)
	}
	for _, word := range words {
		if !strings.Contains(made.message, word) {
			g.Errorf("the message lacks %q: %s", word, made.message)
		}
	}
}

// While a unit is looked at, or a run of it goes on, nothing is taken over that
// nobody let happen.
func TestTakeNothingOverMeanwhile(t *testing.T) {
	for name, made := range map[string]decision{
		"nothing differs": {verb: keep, reason: ReasonApplied, basis: "b"},
		"a run":           {verb: busy, basis: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGatehouse(t)
			g.commit("second", map[string]string{ledgerSource: "v1"})
			g.merged(1, "second", "carol")
			g.revise("second", "search", `{"name":"ledger","protect":false}`)
			decided := g.decide(made)
			if !decided.uncleared {
				t.Errorf("it counts as let happen: %+v", decided)
			}
			g.journal.note(g.Reconciler.checked, map[string]decision{"ledger": decided}, g.noon)
			if u := g.Reconciler.record.Units["ledger"]; u.Owner != "payments" || !u.Protect {
				t.Errorf("the record says owner %s, protect %v", u.Owner, u.Protect)
			}
		})
	}
}

// shows remembers that a plan of ledger was shown for the head of a pull request.
func (g *gatehouse) shows(number int, plan string, at time.Time) {
	g.Helper()
	err := g.Shown.plans(Report{Number: number, Head: fmt.Sprintf("head-%d", number), Units: []PlannedUnit{{Request: "ledger", Plan: PlanSummary{Digest: plan}}}}, at)
	if err != nil {
		g.Fatal(err)
	}
}

// An approval of one pull request lets nothing happen that another one brought.
func TestApprovalOfAnotherPullRequest(t *testing.T) {
	bring := func(t *testing.T, document string) *gatehouse {
		g := newGatehouse(t)
		g.commit("second", map[string]string{ledgerSource: "v1"})
		g.commit("third", map[string]string{ledgerSource: "v2"})
		g.merged(1, "second", "carol", "alice")
		g.merged(2, "third", "carol")
		g.shows(1, "plan", g.noon)
		g.shows(2, "plan", g.noon)
		g.revise("third", "payments", document)
		return g
	}
	t.Run("of a change without a plan", func(t *testing.T) {
		g := bring(t, `{"name":"ledger","protect":false}`)
		g.expectHeld(g.decide(decision{verb: keep, reason: ReasonApplied}), "payments", "#2 by carol")
		g.review(2, "bob", "head-2", g.noon)
		if made := g.decide(decision{verb: keep, reason: ReasonApplied}); made.uncleared {
			t.Errorf("held though both are approved: %s", made.message)
		}
	})
	t.Run("of the same plan", func(t *testing.T) {
		g := bring(t, `{"name":"ledger","protect":false}`)
		g.asking["ledger"] = asking{key: "b", plan: "plan"}
		g.expectHeld(g.decide(starts("b")), "payments", "#2 by carol")
		g.review(2, "bob", "head-2", g.noon)
		if made := g.decide(starts("b")); made.uncleared || !slices.Equal(made.approved["plan"], []string{"payments", "payments"}) {
			t.Errorf("got %+v", made)
		}
	})
}

// All approvals must be for one plan: two plans with one each have none.
func TestApprovalsOfTwoPlans(t *testing.T) {
	g := newGatehouse(t)
	g.commit("second", map[string]string{ledgerSource: "v1"})
	g.commit("third", map[string]string{ledgerSource: "v2"})
	g.merged(1, "second", "carol", "alice", "sam")
	g.merged(2, "third", "carol", "alice")
	g.shows(1, "plan-1", g.noon)
	g.shows(2, "plan-2", g.noon)
	g.revise("third", "payments", `{"name":"ledger","size":2}`)
	g.Reconciler.checked.asks["ledger"] = []Violation{{Level: Approve, Team: "security", Message: "is large"}}
	if made := g.decide(starts("b")); len(made.approved["plan-2"]) > 0 {
		t.Errorf("security never saw the second plan: %+v", made.approved)
	}
	g.review(2, "sam", "head-2", g.noon)
	if made := g.decide(starts("b")); made.uncleared || !slices.Contains(made.approved["plan-2"], "security") {
		t.Errorf("got %+v", made)
	}
}

// A rule that sees the plan may ask for a team that nobody knew of before.
func TestLacks(t *testing.T) {
	job := Job{Owner: "payments", Gated: true, Approved: map[string][]string{"plan": {"payments"}}}
	asks := func(team string) []Violation { return []Violation{{Level: Warn}, {Level: Approve, Team: team}} }
	for name, test := range map[string]struct {
		plan  string
		rules []Violation
		want  bool
	}{
		"the approved plan":                {"plan", nil, false},
		"another plan":                     {"other", nil, true},
		"a rule that asks for the owner":   {"plan", asks(""), false},
		"a rule that asks for who gave it": {"plan", asks("payments"), false},
		"a rule that asks for another":     {"plan", asks("security"), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := job.Lacks(test.plan, test.rules); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if free := (Job{}); free.Lacks("plan", nil) || !free.Lacks("plan", asks("security")) {
		t.Error("a plan that nothing gates lacks what rules ask for, and nothing else")
	}
}

// An approval is for what its giver could see: the head that is merged, and the
// plan that stood there.
func TestApprovalOfWhatWasShown(t *testing.T) {
	minute := func(g *gatehouse, n int) time.Time { return g.noon.Add(time.Duration(n) * time.Minute) }
	for name, test := range map[string]struct {
		say  func(g *gatehouse)
		want bool
	}{
		"the head, before the first plan": {func(g *gatehouse) {
			g.review(1, "alice", "head-1", minute(g, 1))
			g.shows(1, "plan", minute(g, 2))
		}, true},
		"an older head, after the plan was shown": {func(g *gatehouse) {
			g.shows(1, "plan", minute(g, 2))
			g.review(1, "alice", "older", minute(g, 3))
		}, false},
		"the head, before the plan became another": {func(g *gatehouse) {
			g.shows(1, "first", minute(g, 1))
			g.review(1, "alice", "head-1", minute(g, 2))
			g.shows(1, "plan", minute(g, 3))
		}, false},
		"the head, after the plan became another": {func(g *gatehouse) {
			g.shows(1, "first", minute(g, 1))
			g.shows(1, "plan", minute(g, 2))
			g.review(1, "alice", "head-1", minute(g, 3))
		}, true},
		"after the merge": {func(g *gatehouse) {
			g.shows(1, "plan", minute(g, 1))
			g.review(1, "alice", "head-1", minute(g, 61))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGatehouse(t)
			g.commit("second", map[string]string{ledgerSource: "v1"})
			g.merged(1, "second", "carol")
			g.revise("second", "payments", `{"name":"ledger","size":2}`)
			test.say(g)
			g.asking["ledger"] = asking{key: "b", plan: "plan"}
			if made := g.decide(starts("b")); made.uncleared == test.want {
				t.Errorf("got %+v", made)
			}
		})
	}
}

// A branch that was put back, or that forgot a unit, changes nothing that runs.
func TestRewrittenBranch(t *testing.T) {
	t.Run("put back to an older document", func(t *testing.T) {
		g := newGatehouse(t)
		g.commit("second", map[string]string{ledgerSource: "v1"})
		g.merged(1, "second", "alice")
		g.merged(9, "first", "alice")
		g.settled = trusted{Settled: "lost", Pending: map[string]string{}}
		g.revise("second", "payments", `{"name":"ledger","size":1}`)
		g.expectHeld(g.decide(starts("b")), "does not lead on from lost")
	})
	t.Run("put back to before the unit", func(t *testing.T) {
		g := newGatehouse(t)
		g.merged(9, "first", "alice")
		g.settled = trusted{Settled: "lost", Pending: map[string]string{}}
		g.revise("first", "payments", "")
		g.expectHeld(g.decide(decision{verb: destroy, deletes: true}), "does not lead on from lost")
	})
	t.Run("a removal that no file tells of", func(t *testing.T) {
		g := newGatehouse(t)
		g.Reconciler.record.Units["ledger"].Sources = nil
		g.commit("second", map[string]string{})
		g.revise("second", "payments", "")
		g.expectHeld(g.decide(decision{verb: destroy, deletes: true}), "second came to the tracked branch without a pull request")
	})
}

// Whoever moves a request that waits to another file has not made what it says.
func TestMoveOfWhatWaits(t *testing.T) {
	for name, waits := range map[string]func(g *gatehouse){
		"held": func(g *gatehouse) {
			held := decision{verb: halt, condition: Ready, reason: ReasonSuspended}
			g.journal.note(g.Reconciler.checked, map[string]decision{"ledger": held}, g.noon)
		},
		"planned": func(g *gatehouse) {
			success := &UnitStatus{Version: 1, Request: "ledger", Sources: []string{ledgerSource}}
			g.journal.result(Job{Unit: "ledger", Mode: Converge, Success: success}, Result{Outcome: AwaitingApproval}, g.noon)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGatehouse(t)
			delete(g.Reconciler.record.Units, "ledger")
			g.commit("second", map[string]string{ledgerSource: "v1"})
			g.merged(1, "second", "carol")
			g.revise("second", "payments", `{"name":"ledger"}`)
			waits(g)
			g.commit("third", map[string]string{"catalog/moved.cue": "v1"})
			g.commit("fourth", map[string]string{"catalog/moved.cue": "v2"})
			g.merged(3, "fourth", "alice")
			g.merged(2, "third", "alice")
			g.revise("fourth", "payments", `{"name":"ledger"}`)
			g.Reconciler.checked.Platform.Requests["ledger"].Sources = []string{"catalog/moved.cue"}
			g.Reconciler.checked.sort(nil)
			g.asking["ledger"] = asking{key: "b", plan: "plan"}
			g.expectHeld(g.decide(starts("b")), "payments", "#1 by carol")
		})
	}
}

// An approved pull request lets nothing happen that a merge of it holds besides.
func TestGateHoldsEvilMerge(t *testing.T) {
	for _, evil := range []bool{false, true} {
		g := newGatehouse(t)
		g.commit("second", map[string]string{ledgerSource: "v1"})
		g.source.evil["second"] = evil
		g.merged(8, "second", "carol", "alice")
		g.revise("second", "payments", `{"name":"ledger","protect":false}`)
		made := g.decide(decision{verb: keep, reason: ReasonApplied})
		if evil {
			g.expectHeld(made, "second is a merge that holds more than what was merged")
		} else if made.uncleared || !slices.Equal(made.pulls, []int{8}) {
			t.Errorf("an honest merge is held: %+v", made)
		}
	}
}

// A merge of something that the reviewed head is only a part of is none of the
// pull request, though the forge takes it for one.
func TestGateHoldsMergeOfAnother(t *testing.T) {
	for merged, want := range map[string]bool{"": true, "head-8": true, "another": false} {
		g := newGatehouse(t)
		g.commit("second", map[string]string{ledgerSource: "v1", "platform.cue": "v1"})
		g.source.merged["second"] = merged
		g.merged(8, "second", "carol", "sam", "alice")
		pull := g.forge.pulls[8]
		pull.Head = "head-8"
		g.forge.pulls[8] = pull
		g.Reconciler.checked.Platform.Settings.Owner = "security"
		may, err := g.governs(g.Context(), &Checked{Revision: Revision{Commit: "second", Time: g.noon}, Tree: g.source.trees["second"]})
		if err != nil {
			t.Fatal(err)
		}
		held := g.refusal != nil && strings.Contains(g.refusal.Violations[0].Message, "second does not merge the head of #8")
		if held == want || may && !want {
			t.Errorf("a merge of %q: comes into force: %v, %+v", merged, may, g.refusal)
		}
	}
}

// What everybody is judged by comes into force by an approved pull request, but
// not by a merge of it that holds more.
func TestGovernsHoldsEvilMerge(t *testing.T) {
	for _, evil := range []bool{false, true} {
		g := newGatehouse(t)
		g.Reconciler.checked.Platform.Settings.Owner = "security"
		g.commit("second", map[string]string{ledgerSource: "v0", "platform.cue": "v1"})
		g.source.evil["second"] = evil
		g.merged(8, "second", "carol", "sam")
		may, err := g.governs(g.Context(), &Checked{Revision: Revision{Commit: "second", Time: g.noon}, Tree: g.source.trees["second"]})
		if err != nil || may == evil {
			t.Errorf("evil %v: comes into force: %v, %v", evil, may, err)
		}
		if evil && (g.refusal == nil || !strings.Contains(g.refusal.Violations[0].Message, "second is a merge that holds more than what was merged")) {
			t.Errorf("got the refusal %+v", g.refusal)
		}
	}
}

// What others are judged by, or what their code reads, is governance.
func TestGoverns(t *testing.T) {
	for path, want := range map[string]bool{
		"platform.cue": true, "cue.mod/module.cue": true, "policies/org.rego": true, "anywhere/main.tf": true,
		"blueprints/box/main.tf": true, "blueprints/box/.terraform.lock.hcl": true, "blueprints/box/deep/README.md": true,
		"blueprints/box/startup.md": true, "blueprints/box/README.md": false, "blueprints/README.md": false,
		"policies/README.md": false, "README.md": false, "catalog/ledger.cue": false, "CODEOWNERS": false,
	} {
		if governs(path) != want {
			t.Errorf("governs(%q): want %v", path, want)
		}
	}
}

// One pull request that cannot be read keeps nothing else waiting, is not asked
// for again at once, and is spoken of in the same words as long as it cannot be.
func TestReadPastFaults(t *testing.T) {
	g := newGatehouse(t)
	g.merged(1, "a", "alice")
	g.merged(2, "b", "alice")
	q := &inquiry{commits: map[string]bool{"a": true, "b": true}}
	for try := range 3 {
		g.forge.broken[1] = fmt.Errorf("read from port %d", 1024+try)
		before := g.forge.asked
		news, err := g.gate.read(g.Context(), q)
		if try == 0 && (!news || err == nil) {
			t.Errorf("the first reading: %v, %v", news, err)
		}
		if number, known := g.gate.pullOf("b"); !known || number != 2 || g.gate.factsOf(2) == nil {
			t.Error("the second pull request is not known")
		}
		if asked := g.forge.asked - before; try == 1 && asked > 0 {
			t.Errorf("asked %d times again", asked)
		}
		if try == 1 { // its time has come
			g.gate.retry["a"] = time.Time{}
		}
		if why := g.gate.failing(); why != "read from port 1024" {
			t.Errorf("got %q", why)
		}
	}
	delete(g.forge.broken, 1)
	g.gate.retry["a"] = time.Time{}
	if news, err := g.gate.read(g.Context(), q); !news || err != nil || g.gate.failing() != "" {
		t.Errorf("got %v, %v, %q", news, err, g.gate.failing())
	}
}

// What is held stays so, in the record too, while the forge is asked about the next
// revision.
func TestHoldWhileAsking(t *testing.T) {
	g := newGatehouse(t)
	g.commit("second", map[string]string{ledgerSource: "v1"})
	g.merged(1, "second", "carol")
	g.revise("second", "payments", `{"name":"ledger","protect":false}`)
	kept := decision{verb: keep, reason: ReasonApplied}
	held := g.decide(kept)
	g.expectHeld(held, "payments must approve")
	g.commit("third", map[string]string{ledgerSource: "v1", "catalog/other.cue": "v1"})
	g.revise("third", "payments", `{"name":"ledger","protect":false}`)
	g.gate.forget()
	decisions := map[string]decision{"ledger": kept}
	q, err := g.gates(g.Context(), decisions)
	if err != nil || !q.asks() {
		t.Fatalf("got %+v, %v", q, err)
	}
	if made := decisions["ledger"]; made.verb != halt || made.message != held.message {
		t.Errorf("got verb %d, %q", made.verb, made.message)
	}
}

// What the forge said takes no memory for ever.
func TestForgetWhatTheForgeSaid(t *testing.T) {
	g := newGatehouse(t)
	for n := range 4*mostSteps + 1 {
		g.gate.pulls[fmt.Sprint(n)] = origin{number: n}
	}
	g.merged(1, "a", "alice")
	if _, err := g.gate.read(g.Context(), &inquiry{commits: map[string]bool{"a": true}}); err != nil || len(g.gate.pulls) != 1 || g.gate.factsOf(1) == nil {
		t.Errorf("%d commits are remembered, %v", len(g.gate.pulls), err)
	}
}

// What waits for a team that does not exist would wait for ever: it says so.
func TestNobodyToAsk(t *testing.T) {
	g := newGatehouse(t)
	g.commit("second", map[string]string{ledgerSource: "v1"})
	g.merged(1, "second", "alice")
	g.revise("second", "payments", `{"name":"ledger","size":2}`)
	asked := Violation{Level: Approve, Kind: "request", Name: "ledger", Team: "securty", Message: "is large", Rule: "org-large"}
	checked := g.Reconciler.checked
	checked.Violations = []Violation{asked, asked}
	checked.sort(nil)
	g.asking["ledger"] = asking{key: "b", plan: "plan"}
	g.expectHeld(g.decide(starts("b")), "is large (org-large)", "there is no team securty (nearest: security", "declare it")
	checked.warnOfTeams()
	if last := checked.Violations[len(checked.Violations)-1]; len(checked.Violations) != 3 || last.Level != Warn || !strings.Contains(last.String(), "there is no team securty") || !strings.Contains(last.Hint, "org-large") {
		t.Errorf("got %+v", checked.Violations)
	}
}
