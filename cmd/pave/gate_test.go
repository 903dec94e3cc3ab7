package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
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

// Wherever the forge breaks off, and Pave with it, the next start puts right what
// the forge shows, and posts nothing twice.
func TestForgeBreaksOff(t *testing.T) {
	s := newStand(t)
	stop := s.serve()
	s.replace(ledgerFile, `value: "one"`, `value: "two"`)
	p := s.open("alice", false)
	s.expect(p, p.HeadSHA, "success", "Ready to merge")
	stop()
	calls := 4
	for at := 1; at <= calls; at++ {
		s.git("switch", "--quiet", p.HeadRef)
		s.replace(ledgerFile, `value: "`, fmt.Sprintf(`value: "%d `, at))
		head := s.commit("Change it again")
		s.git("push", "--quiet", "origin", p.HeadRef, fmt.Sprintf("%s:refs/pull/%d/head", p.HeadRef, p.Number))
		s.git("switch", "--quiet", "main")
		s.server.AddPush(fake.Push{Owner: fake.Owner, Name: fake.Name, Ref: "refs/heads/" + p.HeadRef, Before: p.HeadSHA, After: head, Kind: "push", By: people["alice"]})
		s.server.Do(func() {
			p.HeadSHA = head
			p.Commits = append(p.Commits, fake.Commit{SHA: head, Message: "Change", Author: people["alice"], Committer: people["alice"], AuthorEmail: "alice@example.com", CommitterEmail: "alice@example.com"})
		})
		broke := make(chan struct{})
		var once sync.Once
		writes := 0
		s.server.SetFault(func(call int, r *http.Request) fake.Fault {
			if r.Method != http.MethodGet {
				writes++
			}
			if writes < (at+1)/2 {
				return fake.Fault{}
			}
			once.Do(func() { close(broke) })
			return fake.Fault{Before: at%2 == 0, After: at%2 == 1} // the request or its answer is lost
		})
		stop := s.serve()
		<-broke
		stop()
		s.server.SetFault(nil)
		stop = s.serve()
		s.expect(p, head, "success", "Ready to merge")
		stop()
		if n := len(s.server.Comments(p.Number)); n != 1 {
			t.Errorf("broken off at %d: %d comments", at, n)
		}
	}
	if n := s.server.Posted(); n != 1 {
		t.Errorf("%d comments were posted, want 1", n)
	}
}

// One check and one comment, whatever the number of units.
func TestForgeCallsAreFew(t *testing.T) {
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
