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

func (f *memoryForge) Participants(context.Context, int) ([]Person, bool, error) {
	return nil, true, nil
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
	source := &memorySource{trees: map[string]*Tree{}}
	r := New(Options{Source: source, Forge: forge, Shown: NewShown(filepath.Join(t.TempDir(), "shown.json")),
		Trust: NewTrust(filepath.Join(t.TempDir(), "status.json"))})
	g := &gatehouse{T: t, Reconciler: r, forge: forge, source: source, noon: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.record = NewRecord()
	var err error
	if r.journal, err = newJournal(r.record, r.Trust, "", ""); err != nil {
		t.Fatal(err)
	}
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
		Services: map[string]Service{"ledger": {Name: "ledger", Owner: owner}},
		Teams: map[string]Team{"payments": {Name: "payments", Members: []string{"alice", "bob"}}, "search": {Name: "search", Members: []string{"carol"}},
			"security": {Name: "security", Members: []string{"sam"}}},
		Blueprints: map[string]Blueprint{"box": {Name: "box", Folder: "blueprints/box"}}, Requests: map[string]Request{},
	}
	p.Settings.Guards.RequirePullRequest = true
	g.Reconciler.checked = &Checked{Revision: Revision{Commit: commit, Time: g.noon}, Tree: g.source.trees[commit], Platform: p,
		Units: map[string]Unit{}, holds: map[string]hold{}, asks: map[string][]Violation{}}
	if document != "" {
		r := Request{Name: "ledger", Blueprint: "box", Service: "ledger", Document: Document{JSON: json.RawMessage(document), Sources: []string{ledgerSource}}}
		_ = json.Unmarshal([]byte(document), &r)
		p.Requests["ledger"] = r
	}
	g.Reconciler.checked.sort()
}

// decide puts the gate before a decision about ledger, with all that the forge
// knows.
func (g *gatehouse) decide(made decision) decision {
	g.Helper()
	decisions := map[string]decision{"ledger": made}
	q, err := g.gates(g.Context(), decisions)
	if err == nil && q.asks() {
		if err = g.gate.read(g.Context(), q); err == nil {
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
		"a look for drift": {verb: start, observe: true, basis: "b"},
		"a run":            {verb: busy, basis: "b"},
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
