package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/github/fake"
)

// people are the accounts of testdata/forge.txtar's teams, and one of nobody's.
var people = map[string]fake.User{
	"alice": {ID: 101, Login: "alice"}, "bob": {ID: 102, Login: "bob"}, "carol": {ID: 103, Login: "carol"},
	"dana": {ID: 104, Login: "dana"}, "erin": {ID: 105, Login: "erin"}, "mallory": {ID: 199, Login: "mallory"},
}

// stand is a forge that is held to GitHub's published interface, in front of a
// repository on this machine: for what no other forge does, and for faults.
type stand struct {
	testing.TB
	server *fake.Server
	dir    string
	work   string
	flags  []string
	log    *syncBuffer
	pulls  int
	// patience is what waiting for the forge may take beyond what it usually does.
	patience time.Duration
}

func newStand(t testing.TB) *stand {
	t.Helper()
	if testing.Short() {
		t.Skip("waits for a daemon again and again, which takes minutes: make test")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	s := &stand{TB: t, server: fake.New(t), dir: dir, work: filepath.Join(dir, "work"), log: &syncBuffer{}}
	s.server.Limit = -1
	for _, user := range people {
		s.server.AddUser(user)
	}
	must(t, layOut(s.work, "forge"))
	must(t, layOut(s.work, "boxes"))
	must(t, os.Remove(filepath.Join(s.work, "catalog/shop/chain.cue")))
	must(t, os.Remove(filepath.Join(s.work, "catalog/shop/alone.cue")))
	s.replace("platform.cue", `platform: owner: "platform"`, `platform: {owner: "platform", intervals: poll: "1s"}`)
	bare := filepath.Join(dir, "platform.git")
	s.git("init", "--quiet", "--bare", "--initial-branch", "main", bare)
	s.git("init", "--quiet", "--initial-branch", "main")
	s.git("remote", "add", "origin", bare)
	s.commit("Start the platform")
	s.git("push", "--quiet", "origin", "main")
	bin := filepath.Join(dir, "engines")
	must(t, os.Mkdir(bin, 0o700))
	_, err = layOutEngines(bin, findEngines(t))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "token"), []byte(fake.Token+"\n"), 0o600))
	s.flags = append([]string{"--repo", bare, "--branch", "main", "--cache-dir", filepath.Join(dir, "cache"),
		"--state-dir", filepath.Join(dir, "state"), "--token-file", filepath.Join(dir, "token"), "--github", fake.Owner + "/" + fake.Name, "--github-url", s.server.Listen()}, engineFlags(bin)...)
	return s
}

func (s *stand) git(args ...string) string {
	s.Helper()
	return strings.TrimSpace(gitIn(s.TB, s.dir, s.work, args...))
}

func (s *stand) replace(file, from, to string) {
	s.Helper()
	path := filepath.Join(s.work, file)
	content, err := os.ReadFile(path)
	must(s.TB, err)
	if strings.Count(string(content), from) != 1 {
		s.Fatalf("%s holds %q not once", file, from)
	}
	must(s.TB, os.WriteFile(path, []byte(strings.Replace(string(content), from, to, 1)), 0o644))
}

func (s *stand) commit(message string) string {
	s.Helper()
	s.git("add", "--all")
	s.git("commit", "--quiet", "--message", message)
	return s.git("rev-parse", "HEAD")
}

// serve starts Pave; the returned function stops it.
func (s *stand) serve() (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--patience", "30s"}, s.flags...)
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, strings.NewReader(""), s.log, s.log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	s.Cleanup(func() {
		stop()
		if s.Failed() {
			s.Logf("what Pave said:\n%s", s.log.String())
		}
	})
	return stop
}

// open proposes what is in the work tree.
func (s *stand) open(author string, fork bool) *fake.Pull {
	s.Helper()
	s.pulls++
	branch := fmt.Sprintf("change-%d", s.pulls)
	base := s.git("rev-parse", "main")
	s.git("switch", "--quiet", "--create", branch)
	head := s.commit("Change " + branch)
	s.git("push", "--quiet", "origin", branch, fmt.Sprintf("%s:refs/pull/%d/head", branch, s.pulls))
	s.git("switch", "--quiet", "main")
	owner := fake.Owner
	p := fake.Pull{Number: s.pulls, Title: branch, Author: people[author], State: "open", BaseRef: "main", BaseSHA: base, HeadRef: branch, HeadSHA: head,
		Commits: []fake.Commit{{SHA: head, Message: "Change", Author: people[author], Committer: people[author], AuthorEmail: author + "@example.com", CommitterEmail: author + "@example.com"}}}
	if fork {
		owner = author
		p.HeadOwner, p.HeadName = author, fake.Name
	}
	s.server.AddPush(fake.Push{Owner: owner, Name: fake.Name, Ref: "refs/heads/" + branch, Before: strings.Repeat("0", 40), After: head, Kind: "branch_creation", By: people[author]})
	return s.server.AddPull(p)
}

// merge merges a pull request as somebody who asks nobody.
func (s *stand) merge(p *fake.Pull, by string) string {
	s.Helper()
	s.git("merge", "--quiet", "--no-ff", "--message", "Merge "+p.HeadRef, p.HeadRef)
	commit := s.git("rev-parse", "HEAD")
	s.server.Do(func() { p.State, p.MergeSHA, p.MergedAt, p.MergedBy = "closed", commit, time.Now(), people[by] })
	s.git("push", "--quiet", "origin", "main")
	return commit
}

func (s *stand) review(p *fake.Pull, by, state string) {
	s.server.Do(func() {
		p.Reviews = append(p.Reviews, fake.Review{By: people[by], State: state, Commit: p.HeadSHA, Submitted: time.Now().Add(time.Second)})
	})
}

// expect waits for the status of a commit and for words of the comment.
func (s *stand) expect(p *fake.Pull, commit, state string, words ...string) {
	s.Helper()
	got, body := "", ""
	for end := time.Now().Add(2*time.Minute + s.patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		got, body = "", ""
		if all := s.server.Statuses(commit); len(all) > 0 {
			got = all[len(all)-1].State
		}
		for _, c := range s.server.Comments(p.Number) {
			body += c.Body
		}
		if got == state && containsAll(body, words) {
			return
		}
	}
	s.Fatalf("pull request %d: want %s with %q\ngot %s\n%s", p.Number, state, words, got, body)
}

// An approval after the merge counts where it is later than the comment that named
// the plan, and from somebody who had no hand in the change.
func TestApprovalAfterTheMerge(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve()
	s.replace(ledgerFile, `value: "one"`, `value: "hurried"`)
	p := s.open("carol", false)
	s.expect(p, p.HeadSHA, "pending", "`payments` must approve")
	s.review(p, "alice", "APPROVED") // and takes it back
	s.expect(p, p.HeadSHA, "success", "by `alice`")
	s.review(p, "alice", "DISMISSED")
	s.expect(p, p.HeadSHA, "pending", "`payments` must approve")
	merge := s.merge(p, "carol")
	s.expect(p, merge, "pending", "1 unit to go", "`ledger-box`")
	s.review(p, "carol", "APPROVED")
	s.review(p, "erin", "APPROVED")
	time.Sleep(3 * time.Second) // in which nothing must happen
	s.expect(p, merge, "pending", "1 unit to go", "`ledger-box`")
	s.review(p, "bob", "APPROVED")
	s.expect(p, merge, "success", "Deployed", "`ledger-box`")
	s.git("fetch", "--quiet")
	if log := s.git("log", "-1", "--format=%B", "--grep", "Unit: ledger-box applied +0", "origin/pave/status"); !containsAll(log, []string{"Pull-Request: #1 by carol", "Approved-By: bob"}) {
		t.Errorf("the record does not say who let it happen:\n%s", log)
	}
}

// What breaks the glass of a freeze is judged, waits for the platform team, and is
// kept in the record.
func TestGlassIsBrokenWithApproval(t *testing.T) {
	s := newStand(t)
	s.replace("environments.cue", `development: stage: "development"`, `development: {stage: "development", freeze: [{from: "* * * * *", for: "2h", timeZone: "UTC", reason: "we move house"}]}`)
	s.commit("Freeze")
	s.git("push", "--quiet", "origin", "main")
	s.serve()
	recorded := func() string {
		s.git("fetch", "--quiet")
		return s.git("log", "--format=%B", "--all", "--grep", "^Unit: ledger-box ")
	}
	s.eventually("the request waits", func() bool { return strings.Contains(recorded(), "Unit: ledger-box waiting reason=Freeze") })
	glass := func(until string) *fake.Pull {
		s.replace(ledgerFile, `inputs: value: "one"`, fmt.Sprintf("breakGlass: {until: %q, reason: \"the shop is down\"}\n\tinputs: value: \"one\"", until))
		return s.open("alice", false)
	}
	p := glass("2099-01-01")
	s.expect(p, p.HeadSHA, "failure", "more than seven days ahead", "break-glass-max")
	until := time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	p = glass(until)
	s.expect(p, p.HeadSHA, "pending", "`platform` must approve", "while development is frozen")
	merge := s.merge(p, "alice")
	s.review(p, "bob", "APPROVED") // whose request it is, but not whose freeze
	s.expect(p, merge, "pending", "`platform`", "`ledger-box`")
	time.Sleep(3 * time.Second) // in which nothing must happen
	if log := recorded(); strings.Contains(log, "Unit: ledger-box applied") {
		t.Fatalf("nobody of the platform team had approved it:\n%s", log)
	}
	s.review(p, "dana", "APPROVED")
	s.expect(p, merge, "success", "Deployed", "`ledger-box`")
	log := recorded()
	if !containsAll(log, []string{"Unit: ledger-box applied", "Break-Glass: ledger-box until " + until + ": the shop is down", "Approved-By: dana"}) {
		t.Errorf("the record does not keep who broke the glass and why:\n%s", log)
	}
	if status := s.git("show", "origin/pave/status:requests/7f/ledger-box.json"); !containsAll(status, []string{`"breakGlass": {`, `"reason": "the shop is down"`, `"used": "20`}) {
		t.Errorf("the status does not keep it: %s", status)
	}
	if strings.Contains(s.git("log", "--format=%B", "--all"), "Unit: index-box applied") {
		t.Error("the glass was broken for another request")
	}
}

// One check and one comment, whatever the number of units.
func TestForgeCallsAreFew(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve()
	writes := map[int]int{}
	for n, state := range map[int]string{1: "pending", 50: "failure", 300: "failure"} { // more than the budget allows
		must(t, os.WriteFile(filepath.Join(s.work, "catalog/search/many.cue"), []byte(many(n)), 0o644))
		s.server.SetFault(nil)
		p := s.open("mallory", true)
		s.expect(p, p.HeadSHA, state, "`search` must approve")
		for _, call := range s.server.Calls() {
			if call.Method != http.MethodGet {
				writes[n]++
			}
		}
		s.server.Do(func() { p.State = "closed" })
	}
	if writes[1] > 4 || writes[50] != writes[1] || writes[300] != writes[1] {
		t.Errorf("requests that write, by the number of units: %v", writes)
	}
}

// What a rule calls pre-approved is merged where the settings allow it, and nothing
// that is denied, comes from a fork or changes what others are judged by.
func TestAutoMerge(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	must(t, os.MkdirAll(filepath.Join(s.work, "policies"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.work, "policies/small.rego"), []byte(`package small

# METADATA
# title: Values of development may change
# custom:
#   id: small-change
preapprove contains "only a value of development" if {
	input.kind == "request"
	input.environment.stage == "development"
}
`), 0o644))
	s.replace("platform.cue", `platform: {`, `platform: {autoMerge: true, `)
	s.commit("Merge what is small")
	s.git("push", "--quiet", "origin", "main")
	s.serve()

	s.replace("catalog/payments/vault.cue", `value: "gold"`, `value: "silver"`)
	production := s.open("alice", false)
	s.expect(production, production.HeadSHA, "success", "Ready to merge")
	s.replace("teams.cue", `members: ["carol"]`, `members: ["carol", "alice"]`)
	governance := s.open("alice", false)
	s.expect(governance, governance.HeadSHA, "pending", "`platform` must approve")
	s.replace(ledgerFile, `value: "one"`, `value: "small"`)
	fork := s.open("mallory", true)
	s.expect(fork, fork.HeadSHA, "pending", "comes from a fork")
	s.replace(ledgerFile, `value: "one"`, `value: "two"`)
	small := s.open("alice", false)
	s.expect(small, small.HeadSHA, "success", "Ready to merge")
	state := func(p *fake.Pull) (state string) {
		s.server.Do(func() { state = p.State })
		return state
	}
	for end := time.Now().Add(time.Minute); state(small) == "open" && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if got := state(small); got != "closed" {
		t.Errorf("the small change is %s", got)
	}
	for name, p := range map[string]*fake.Pull{"production": production, "governance": governance, "a fork": fork} {
		if got := state(p); got != "open" {
			t.Errorf("%s was merged", name)
		}
	}
}

// A merge queue is answered for each of its commits.
func TestMergeQueue(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve()
	s.replace(ledgerFile, `value: "one"`, `value: 1`)
	bad := s.open("alice", false)
	s.expect(bad, bad.HeadSHA, "failure", "Denied")
	s.replace(ledgerFile, `value: "one"`, `value: "queued"`)
	good := s.open("alice", false)
	s.expect(good, good.HeadSHA, "success", "Ready to merge")
	for _, p := range []*fake.Pull{bad, good} {
		s.git("push", "--quiet", "origin", fmt.Sprintf("%s:refs/heads/gh-readonly-queue/main/pr-%d-%s", p.HeadRef, p.Number, p.BaseSHA))
	}
	// Both are the heads themselves, which have a status each already: the queue's
	// comes after it.
	for p, want := range map[*fake.Pull]string{bad: "failure", good: "success"} {
		s.expect(p, p.HeadSHA, want)
	}
	s.git("switch", "--quiet", "--create", "queued", "main")
	s.replace(ledgerFile, `value: "one"`, `value: "in the queue"`)
	queued := s.commit("Queue it")
	s.git("push", "--quiet", "origin", fmt.Sprintf("queued:refs/heads/gh-readonly-queue/main/pr-%d-%s", good.Number, queued))
	s.expect(good, queued, "success")
}

// A change of rules says what they would deny of what runs and of what was applied.
func TestRulesOnTheLivePlatform(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.serve()
	must(t, os.MkdirAll(filepath.Join(s.work, "policies"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.work, "policies/gold.rego"), []byte(`package gold

# METADATA
# title: Nothing is gold
# custom:
#   id: no-gold
deny contains {"msg": "all that is gold is denied", "path": ["inputs", "value"]} if {
	input.kind == "request"
	input.document.inputs.value == "gold"
}
`), 0o644))
	time.Sleep(time.Second)
	for end := time.Now().Add(time.Minute); !strings.Contains(s.log.String(), "unit=vault-box") && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(3 * time.Second) // until the apply is recorded
	p := s.open("dana", false)
	s.expect(p, p.HeadSHA, "pending", "`platform` must approve", "would deny", "all that is gold is denied", "`vault-box`")
}

// applies makes one pass and expects its exit code and what is said.
func (s *stand) applies(want int, words ...string) {
	s.Helper()
	s.expectSaid(want, words, append([]string{"apply"}, s.flags...))
}

// adopts types `pave status adopt` on the same host.
func (s *stand) adopts(want int, word string, args ...string) {
	s.Helper()
	s.expectSaid(want, []string{word}, slices.Concat([]string{"status", "adopt"}, s.flags[:4], s.flags[6:10], args)) // but for the engine and the forge
}

func (s *stand) expectSaid(want int, words, args []string) {
	s.Helper()
	var said strings.Builder
	if code := run(s.Context(), args, strings.NewReader(""), &said, &said); code != want || !containsAll(said.String(), words) {
		s.Errorf("pave %s: want %d with %q, got %d:\n%s", args[0], want, words, code, said.String())
	}
}

// A pull request that cannot be read holds what it brought, and nothing else.
func TestPassBesidesUnreadPullRequest(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.applies(0, "3 of 3 requests are ready")
	s.replace(ledgerFile, `value: "one"`, `value: "unread"`)
	unread := s.open("alice", false)
	s.merge(unread, "alice")
	s.replace("catalog/search/index.cue", `value: "two"`, `value: "read"`)
	s.merge(s.open("carol", false), "carol")
	s.server.SetFault(func(_ int, r *http.Request) fake.Fault {
		if strings.Contains(r.URL.Path, fmt.Sprintf("/pulls/%d", unread.Number)) {
			return fake.Fault{Status: http.StatusInternalServerError}
		}
		return fake.Fault{}
	})
	s.applies(exitFailure, "ledger-box: ForgeUnread: the forge does not say who let it happen", "2 of 3 requests are ready")
	s.server.SetFault(nil)
	s.applies(0, "3 of 3 requests are ready")
}

// Where it is not known what was in force, nothing comes into force but by an
// operator's word: the tip of the tracked branch does not say who may approve it.
func TestNobodyKnowsWhatWasInForce(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.applies(0, "3 of 3 requests are ready")
	s.replace("teams.cue", `members: ["dana", "erin"]`, `members: ["dana", "erin", "mallory"]`)
	s.replace(ledgerFile, `value: "one"`, `value: "stolen"`)
	s.commit("Take over")
	s.git("push", "--quiet", "origin", "main")
	must(t, os.RemoveAll(filepath.Join(s.dir, "cache")))
	memory, err := filepath.Glob(filepath.Join(s.dir, "state", "*", "status.json"))
	must(t, err)
	must(t, os.Remove(memory[0]))
	for range 2 { // what Pave wrote over it is believed no more than what was there
		s.applies(exitPending, "is held", "`pave status adopt`", "so nothing is done")
	}
	readme := s.git("--git-dir", filepath.Join(s.dir, "platform.git"), "show", "pave/status:README.md")
	if !containsAll(readme, []string{"is held; nothing is in force", "pave status adopt"}) {
		t.Errorf("the status branch says\n%s", readme)
	}
	s.adopts(0, "adopted")
	s.applies(exitPending, "is held; the last good one", "came without a pull request")

	// A revision that this version of Pave refuses judges nothing either.
	s.git("checkout", "--quiet", "HEAD~1", "--", ".")
	s.replace("teams.cue", `team: platform: {`, `team: platform: {size: 3, `)
	refused := s.commit("What another version accepts")
	s.replace("teams.cue", `size: 3, `, ``)
	tip := s.commit("What this one accepts")
	s.git("push", "--quiet", "origin", "main")
	trust, err := os.ReadFile(memory[0])
	must(t, err)
	at := strings.Index(string(trust), `"revision":"`) + len(`"revision":"`)
	must(t, os.WriteFile(memory[0], []byte(string(trust[:at])+refused+string(trust[at+40:])), 0o600))
	s.applies(exitPending, "is held", refused[:8]+", which was in force last, is refused by this version of Pave", "`pave status adopt --revision "+tip+"`")
	s.adopts(1, "is not on the tracked branch", "--revision", strings.Repeat("0", 40))
	s.adopts(0, "what comes after "+tip[:8], "--revision", tip)
	s.applies(0, "3 of 3 requests are ready")
}
