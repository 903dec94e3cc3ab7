package reconciler

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Who approves what: only the last word of somebody of the team counts who had no
// hand in the change, said of what is merged.
func TestApproved(t *testing.T) {
	const head, older = "head", "older"
	team := map[int64]bool{1: true, 2: true, 3: true}
	alice, bob, carol, mallory := Person{1, "alice"}, Person{2, "bob"}, Person{3, "carol"}, Person{9, "mallory"}
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }
	say := func(by Person, state ReviewState, commit string, minute int) Review {
		return Review{By: by, State: state, Commit: commit, Submitted: at(minute)}
	}
	for _, test := range []struct {
		name       string
		took       []Person
		incomplete bool
		reviews    []Review
		want       string
	}{
		{name: "nobody said anything"},
		{name: "a member approves the head", reviews: []Review{say(bob, ReviewApproved, head, 1)}, want: "bob"},
		{name: "an approval of an older head", reviews: []Review{say(bob, ReviewApproved, older, 1)}},
		{name: "somebody of no team", reviews: []Review{say(mallory, ReviewApproved, head, 1)}},
		{name: "a comment is no approval", reviews: []Review{say(bob, ReviewComment, head, 1)}},
		{name: "a comment takes nothing back", reviews: []Review{say(bob, ReviewApproved, head, 1), say(bob, ReviewComment, head, 2)}, want: "bob"},
		{name: "a dismissal takes it back", reviews: []Review{say(bob, ReviewApproved, head, 1), say(bob, ReviewDismissed, head, 2)}},
		{name: "changes requested take it back", reviews: []Review{say(bob, ReviewApproved, head, 1), say(bob, ReviewRejected, head, 2)}},
		{name: "a colleague who asks for changes", reviews: []Review{say(bob, ReviewApproved, head, 1), say(carol, ReviewRejected, head, 2)}},
		{name: "a stranger who asks for changes", reviews: []Review{say(bob, ReviewApproved, head, 1), say(mallory, ReviewRejected, head, 2)}, want: "bob"},
		{name: "whoever opened it", reviews: []Review{say(alice, ReviewApproved, head, 1)}},
		{name: "a co-author", took: []Person{bob}, reviews: []Review{say(bob, ReviewApproved, head, 1)}},
		{name: "another member beside a co-author", took: []Person{bob}, reviews: []Review{say(bob, ReviewApproved, head, 1), say(carol, ReviewApproved, head, 2)}, want: "carol"},
		{name: "somebody took part whom nobody knows", incomplete: true, reviews: []Review{say(bob, ReviewApproved, head, 1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &facts{Pull: PullRequest{Author: alice, Head: head}, Took: map[int64]Person{1: alice}, Complete: !test.incomplete, Reviews: test.reviews}
			for _, person := range test.took {
				f.Took[person.ID] = person
			}
			by, ok := f.approved(team, func(r Review) bool { return r.Commit == head })
			if by.Handle != test.want || ok != (test.want != "") {
				t.Errorf("got %q, %v; want %q", by.Handle, ok, test.want)
			}
		})
	}
}

// Members speak for their team only where nobody else had a hand in the change.
func TestInsiders(t *testing.T) {
	who := electors{"payments": {1: true, 2: true}, "search": {3: true}}
	for name, test := range map[string]struct {
		took     []int64
		complete bool
		courier  int64
		want     bool
	}{
		"one member":                         {[]int64{1}, true, 0, true},
		"two members":                        {[]int64{1, 2}, true, 0, true},
		"a member and somebody":              {[]int64{1, 9}, true, 0, false},
		"somebody":                           {[]int64{9}, true, 0, false},
		"a member, and who knows":            {[]int64{1}, false, 0, false},
		"a member, by Pave":                  {[]int64{1, 9}, true, 9, true},
		"somebody, by Pave":                  {[]int64{8, 9}, true, 9, false},
		"nobody but Pave":                    {[]int64{9}, true, 9, false},
		"a member, by a Pave that is anyone": {[]int64{1, 3}, true, 3, false},
		"a member, by a Pave that is one":    {[]int64{1, 2}, true, 2, true},
		"a member and who knows, by Pave":    {[]int64{1, 9}, false, 9, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &facts{Took: map[int64]Person{}, Complete: test.complete, Courier: test.courier}
			for _, id := range test.took {
				f.Took[id] = Person{ID: id}
			}
			if got := f.insiders(who, "payments"); got != test.want {
				t.Errorf("got %v", got)
			}
			f.Pull.Author.ID = 9
			if got, want := f.carried(who), test.courier == 9 && test.want; got != want {
				t.Errorf("carried for people of the teams: got %v, want %v", got, want)
			}
		})
	}
}

// A team that made the change itself has approved nothing, and need not.
func TestSettle(t *testing.T) {
	f := &facts{Took: map[int64]Person{1: {ID: 1, Handle: "alice"}}, Complete: true, Pull: PullRequest{Author: Person{ID: 1, Handle: "alice"}}}
	needed := []Needed{{Team: "payments", Insider: true}, {Team: "payments"}}
	f.settle(needed, electors{"payments": {1: true}}, nil)
	if !needed[0].Given || needed[0].By != "" || needed[1].Given {
		t.Errorf("got %+v", needed)
	}
}

// What people were shown survives a restart, and a plan that stands keeps its time.
func TestShown(t *testing.T) {
	path := t.TempDir() + "/state/shown.json"
	s := NewShown(path)
	first, second := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	report := Report{Number: 7, Head: "head", Units: []PlannedUnit{{Request: "db", Plan: PlanSummary{Digest: "d1"}}, {Request: "no-plan"}}}
	if err := s.plans(report, first); err != nil {
		t.Fatal(err)
	}
	if err := s.plans(report, second); err != nil {
		t.Fatal(err)
	}
	s = NewShown(path)
	p, err := s.pull(7)
	if err != nil || len(p.Units) != 1 || p.Units["db"] != (shownPlan{Plan: "d1", Head: "head", At: first}) {
		t.Fatalf("got %+v, %v", p, err)
	}
	// After the merge the same plan is as it was shown; another is new.
	report.Deployed = true
	if err := s.plans(report, second); err != nil {
		t.Fatal(err)
	}
	if p, _ = s.pull(7); p.Units["db"] != (shownPlan{Plan: "d1", Head: "head", At: first}) {
		t.Errorf("the plan that was shown before the merge is forgotten: %+v", p)
	}
	report.Units[0].Plan.Digest = "d2"
	if err := s.plans(report, second); err != nil {
		t.Fatal(err)
	}
	if p, _ = s.pull(7); p.Units["db"] != (shownPlan{Plan: "d2", At: second}) {
		t.Errorf("got %+v", p)
	}
	if empty, err := s.pull(8); err != nil || empty.Units != nil {
		t.Errorf("got %+v, %v", empty, err)
	}
	if err := s.update(7, func(p *shownPull) { p.Merge, p.Merged = "c", map[string]PlannedUnit{"db": {Request: "db"}} }); err != nil {
		t.Fatal(err)
	}
	left, err := NewShown(path).unfinished()
	if err != nil || len(left) != 1 || left[7].Merge != "c" {
		t.Errorf("got %+v, %v", left, err)
	}
}

func TestConclude(t *testing.T) {
	unit := PlannedUnit{Request: "db", Action: "apply", Outcome: Changed, Plan: PlanSummary{Add: 1, Digest: "d"}}
	deny := Violation{Level: Deny, Kind: "request", Name: "db", Message: "is wrong", Rule: "pave-wrong", Position: Position{File: "a.cue", Line: 3}}
	unread := Violation{Level: Deny, Message: "expected a value", Position: Position{File: "a.cue", Line: 3}}
	for name, test := range map[string]struct {
		report  Report
		pending bool
		state   CheckState
		words   string
	}{
		"nothing":          {Report{}, false, CheckPassed, "Nothing to do: no document and no code changes"},
		"a plan":           {Report{Units: []PlannedUnit{unit}}, false, CheckPassed, "Ready to merge: db, resources +1 ~0 -0"},
		"plans to come":    {Report{Units: []PlannedUnit{unit}}, true, CheckPending, "Planning 1 unit"},
		"a denial":         {Report{Units: []PlannedUnit{unit}, Violations: []Violation{deny}}, true, CheckFailed, "Denied: request db: is wrong"},
		"a denied plan":    {Report{Units: []PlannedUnit{{Request: "db", Outcome: DeniedByPolicy, Violations: []Violation{deny}}}}, false, CheckFailed, "Denied: request db: is wrong"},
		"a file unread":    {Report{Violations: []Violation{unread}}, false, CheckFailed, "Denied: a.cue:3: expected a value"},
		"no plan":          {Report{Units: []PlannedUnit{{Request: "db", Outcome: PlanFailed, Message: "boom"}}}, false, CheckFailed, "No plan: db: boom"},
		"an approval":      {Report{Units: []PlannedUnit{unit}, Approvals: []Needed{{Team: "payments"}}}, false, CheckWaiting, "payments must approve: db, resources +1 ~0 -0"},
		"an approval said": {Report{Units: []PlannedUnit{unit}, Approvals: []Needed{{Team: "payments", Given: true}}}, false, CheckPassed, "Ready to merge: db, resources +1 ~0 -0"},
		"governance":       {Report{Governance: []string{"teams.cue"}, Approvals: []Needed{{Team: "platform"}}}, false, CheckWaiting, "platform must approve: 1 file that others are judged by"},
	} {
		t.Run(name, func(t *testing.T) {
			test.report.conclude(test.pending)
			if test.report.State != test.state || test.report.Headline != test.words {
				t.Errorf("got %s: %s", test.report.State, test.report.Headline)
			}
		})
	}
}

func TestChangedPaths(t *testing.T) {
	tree := func(files ...string) *Tree {
		t := &Tree{}
		for _, f := range files {
			t.Files = append(t.Files, File{Path: f[:1], Hash: f[1:]})
		}
		return t
	}
	got := ChangedPaths(tree("a1", "b1", "c1"), tree("b2", "c1", "d1"))
	if len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "d" {
		t.Errorf("got %v", got)
	}
	if got := ChangedPaths(tree("a1"), tree("a1")); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// A handle that somebody else took over is in no team, after a restart neither.
func TestHandleTakenOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "people.json")
	team := Team{Members: []string{"alice", "bob"}}
	members := func() map[int64]bool {
		r := &roster{forge: &memoryForge{}, log: slog.New(slog.DiscardHandler), accounts: NewAccounts(file)}
		return r.members(t.Context(), team)
	}
	if got := members(); !got[1] || !got[2] {
		t.Fatalf("got %v", got)
	}
	defer func(was []string) { folk = was }(folk)
	folk = []string{"gone", "bob", "mallory", "alice"}
	if got := members(); len(got) != 1 || !got[2] {
		t.Errorf("got %v", got)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := members(); len(got) > 0 {
		t.Errorf("nobody can tell who they are, got %v", got)
	}
}
