package main

import (
	"strings"
	"testing"

	"github.com/google/go-github/v62/github"
)

const ledgerV2 = `package platform

service: ledger: {
	title:     "Ledger"
	owner:     "payments"
	type:      "service"
	lifecycle: "production"
	tier:      1
}

request: "ledger-box": {
	blueprint:   "box"
	service:     "ledger"
	environment: "development"
	inputs: value: "changed"
}
`

// A pull request from its opening to what became of it, by webhooks and by
// polling alone.
func TestPullRequest(t *testing.T) {
	for name, webhooks := range map[string]bool{"Webhooks": true, "Polling": false} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t, webhooks)
			f.unit("ledger-box", "Ready     true")

			p := f.propose("alice", "change", "catalog/payments/ledger.cue", strings.Replace(ledgerV2, `"changed"`, `7`, 1))
			p.expect("failure", "Denied", "catalog/payments/ledger.cue:15")
			p.refused("alice", "status checks")

			p.write("catalog/payments/ledger.cue", ledgerV2)
			p.head = p.push("Say it as a text")
			p.expect("success", "Ready to merge", "ledger-box", "1 to change", "`input`")
			p.refused("alice", "approvals")
			p.review("bob", "APPROVE")
			merge := p.merge("alice")

			f.unit("ledger-box", "Ready     true", "applied at "+merge[:8], `output value = "changed"`)
			p.head = merge
			p.expect("success", "Deployed", "ledger-box")
			w := f.clone("alice")
			log := w.git("log", "-3", "--format=%B", "origin/pave/status")
			if !containsAll(log, []string{"Unit: ledger-box applied +0 ~1 -0", "Pull-Request: #1 by alice"}) {
				t.Errorf("the record does not name the pull request:\n%s", log)
			}
		})
	}
}

// ledger is catalog/payments/ledger.cue with a value and an owner.
func ledger(value, owner string) string {
	return strings.NewReplacer(`"changed"`, `"`+value+`"`, `"payments"`, `"`+owner+`"`).Replace(ledgerV2)
}

const ledgerFile = "catalog/payments/ledger.cue"

// Converge is the gate: whatever came to the tracked branch, a unit applies only
// what somebody who may let it happen has approved.
func TestGate(t *testing.T) {
	f := newForge(t, true)
	f.unit("ledger-box", "Ready     true")

	t.Run("an outsider's change that an owner approved", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "outsider", ledgerFile, ledger("by carol", "payments"))
		p.expect("pending", "`payments` must approve")
		p.review("erin", "APPROVE") // counts for the forge, and not for payments
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.expect("success", "approved by `alice`")
		merge := p.merge("carol")
		f.unit("ledger-box", "Ready     true", `"by carol"`)
		if log := p.recordOf(merge); !containsAll(log, []string{"by carol", "Approved-By: alice"}) {
			t.Errorf("the record does not say who approved:\n%s", log)
		}
	})

	t.Run("an approval of an older head", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "older", ledgerFile, ledger("first", "payments"))
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.expect("success")
		p.write(ledgerFile, ledger("second", "payments"))
		p.head = p.push("Say something else")
		p.expect("pending", "`payments` must approve")
		p.close()
	})

	t.Run("a co-author approves", func(t *testing.T) {
		f := f.sub(t)
		w := f.clone("carol")
		w.git("switch", "--quiet", "--create", "together")
		w.write(ledgerFile, ledger("together", "payments"))
		head := w.push("Do it together\n\nCo-authored-by: Alice <" + f.Users["alice"].Email + ">")
		p := w.open("Together", "together", head)
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.review("bob", "COMMENT")
		p.expect("pending", "`payments` must approve")
		p.review("bob", "APPROVE")
		p.expect("success", "approved by `bob`")
		p.review("bob", "REQUEST_CHANGES")
		p.expect("pending", "`payments` must approve")
		p.close()
	})

	t.Run("a merge that nobody approved", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "pushy", ledgerFile, ledger("pushed through", "payments"))
		p.expect("pending", "`payments` must approve")
		tighten := f.loosen()
		merge := p.merge("carol")
		tighten()
		f.unit("ledger-box", "Approved  false AwaitingApproval", "payments must approve the plan", "by carol changes")
		f.unit("ledger-box", `output value = "by carol"`)
		p.head = merge
		p.expect("pending", "1 unit to go", "payments must approve the plan")
		p.review("alice", "APPROVE")
		f.unit("ledger-box", "Ready     true", `"pushed through"`)
		p.expect("success", "Deployed")
	})

	t.Run("a merge while Pave was down, of another plan than was approved", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "meanwhile", ledgerFile, strings.Replace(ledger("pushed through", "payments"), "\tinputs: value:", "\tdescription: \"Carol's\"\n\tinputs: note:  \"carol\"\n\tinputs: value:", 1))
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.expect("success")
		f.stop()
		tighten := f.loosen()
		w := f.clone("bob")
		w.write("catalog/payments/ledger.cue", strings.Replace(w.read(ledgerFile), "blueprint:   \"box\"", "blueprint:   \"box\"\n\tinputs: key:   \"bob's\"", 1))
		w.git("switch", "--quiet", "--create", "bobs")
		q := w.open("Bob's", "bobs", w.push("Add a key"))
		f.eventually("bob's merges", func() bool {
			_, _, err := q.as("bob").PullRequests.Merge(q.Context(), "acme", "platform", q.number, "", nil)
			return err == nil
		})
		p.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
		f.eventually("carol's merges", func() bool {
			_, _, err := p.as("carol").PullRequests.Merge(p.Context(), "acme", "platform", p.number, "", nil)
			return err == nil
		})
		tighten()
		f.serve()
		f.unit("ledger-box", "Approved  false AwaitingApproval", "payments must approve the plan")
		p.review("alice", "APPROVE")
		f.unit("ledger-box", "Ready     true")
	})

	t.Run("a push past pull requests", func(t *testing.T) {
		f := f.sub(t)
		tighten := f.loosen()
		w := f.clone("alice")
		before := w.read(ledgerFile)
		w.write(ledgerFile, strings.Replace(before, `"pushed through"`, `"direct"`, 1))
		direct := w.push("Who needs reviews?")
		f.unit("ledger-box", "Approved  false AwaitingApproval", direct[:8]+" came to the tracked branch without a pull request", "revert it")
		w.write(ledgerFile, before)
		w.push("Revert")
		f.unit("ledger-box", "Ready     true", `"pushed through"`)

		teams := w.read("teams.cue")
		w.write("teams.cue", strings.Replace(teams, `"carol"`, `"carol", "mallory"`, 1))
		governance := w.push("Let mallory in")
		f.eventually("the revision is held", func() bool {
			w.git("fetch", "--quiet")
			readme, _ := w.try("show", "origin/pave/status:README.md")
			return containsAll(readme, []string{"waits for an approval", governance[:8], "came without a pull request"})
		})
		w.write("teams.cue", teams)
		w.push("Out with mallory")
		f.eventually("the revision is in force", func() bool {
			w.git("fetch", "--quiet")
			readme, _ := w.try("show", "origin/pave/status:README.md")
			return !strings.Contains(readme, "waits for an approval")
		})
		tighten()
	})
}

// sub is the forge for a part of a test.
func (f *forge) sub(t *testing.T) *forge {
	t.Helper()
	part := *f
	part.T = t
	t.Cleanup(func() { f.stop = part.stop })
	return &part
}

// close closes the pull request.
func (p *pull) close() {
	p.Helper()
	_, _, err := p.as(p.login).PullRequests.Edit(p.Context(), "acme", "platform", p.number, &github.PullRequest{State: github.String("closed")})
	must(p.T, err)
}

// recordOf returns what status commits say of a revision.
func (p *pull) recordOf(revision string) string {
	p.Helper()
	p.git("fetch", "--quiet")
	return p.git("log", "--format=%B", "--grep", "^Revision: "+revision, "origin/pave/status")
}
