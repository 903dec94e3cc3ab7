package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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
	t.Parallel()
	for name, webhooks := range map[string]bool{"Webhooks": true, "Polling": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t, webhooks)
			f.unit("ledger-box", "Ready     true")

			p := f.propose("alice", "change", "catalog/payments/ledger.cue", strings.Replace(ledgerV2, `"changed"`, `7`, 1))
			p.expect("failure", "Denied", "catalog/payments/ledger.cue:15")
			p.refused("alice", "status checks")

			p.write("catalog/payments/ledger.cue", ledgerV2)
			p.head = p.push("Say it as a text")
			p.expect("success", "Ready to merge", "ledger-box", "2 to change", "`input`")
			p.refused("alice", "approvals")
			p.review("bob", "APPROVE")
			merge := p.merge("alice")

			f.unit("ledger-box", "Ready     true", "applied at "+merge[:8], `output value = "changed"`)
			p.head = merge
			p.expect("success", "Deployed", "ledger-box")
			w := f.clone("alice")
			log := w.git("log", "-3", "--format=%B", "origin/pave/status")
			if !containsAll(log, []string{"Unit: ledger-box applied +0 ~2 -0", "Pull-Request: #1 by alice"}) {
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
	t.Parallel()
	f := newForge(t, true)
	f.unit("ledger-box", "Ready     true")

	t.Run("a member's change of what their team owns", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("alice", "insider", ledgerFile, ledger("by alice", "payments"))
		p.expect("success", "Ready to merge")
		p.review("erin", "APPROVE") // the forge wants one, of whomever
		p.merge("alice")
		f.unit("ledger-box", "Ready     true", `"by alice"`)
	})

	t.Run("an outsider's change that an owner approved", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "outsider", ledgerFile, ledger("by carol", "payments"))
		p.expect("pending", "`payments` must approve")
		p.review("erin", "APPROVE") // counts for the forge, and not for payments
		p.expect("pending", "`payments` must approve")
		p.review("alice", "APPROVE")
		p.expect("success", "by `alice`")
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
		p.expect("success", "by `bob`")
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
		p.expect("pending", "1 unit to go", "waiting")
		// This forge takes no review after the merge. What was pushed through goes
		// back, and the next change is judged for itself.
		q := f.propose("alice", "put-back", ledgerFile, ledger("by carol", "payments"))
		q.expect("success")
		q.review("bob", "APPROVE")
		q.merge("alice")
		f.unit("ledger-box", "Ready     true", `"by carol"`)
		p.expect("success", "Deployed")
		q = f.propose("alice", "take-over", ledgerFile, ledger("taken over", "payments"))
		q.expect("success", "Ready to merge")
		q.review("bob", "APPROVE")
		q.merge("alice")
		f.unit("ledger-box", "Ready     true", `"taken over"`)
	})

	t.Run("a merge while Pave was down, of another plan than was approved", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "meanwhile", ledgerFile, strings.Replace(ledger("taken over", "payments"), "\tinputs: value:", "\tdescription: \"Carol's\"\n\tinputs: note:  \"carol\"\n\tinputs: value:", 1))
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
		r := f.propose("bob", "put-back-again", ledgerFile, ledger("taken over", "payments"))
		r.expect("success")
		r.review("alice", "APPROVE")
		r.merge("bob")
		f.unit("ledger-box", "Ready     true", `"taken over"`)
	})

	t.Run("a push past pull requests", func(t *testing.T) {
		f := f.sub(t)
		tighten := f.loosen()
		w := f.clone("alice")
		before := w.read(ledgerFile)
		w.write(ledgerFile, strings.Replace(before, `"taken over"`, `"direct"`, 1))
		direct := w.push("Who needs reviews?")
		f.unit("ledger-box", "Approved  false AwaitingApproval", direct[:8]+" came to the tracked branch without a pull request", "revert it")
		w.write(ledgerFile, before)
		w.push("Revert")
		f.unit("ledger-box", "Ready     true", `"taken over"`)

		teams := w.read("teams.cue")
		w.write("teams.cue", strings.Replace(teams, `"carol"`, `"carol", "mallory"`, 1))
		governance := w.push("Let mallory in")
		f.eventually("the revision is held", func() bool {
			w.git("fetch", "--quiet")
			readme, _ := w.try("show", "origin/pave/status:README.md")
			return containsAll(readme, []string{"is held", governance[:8], "came without a pull request"})
		})
		w.write("teams.cue", teams)
		w.push("Out with mallory")
		f.eventually("the revision is in force", func() bool {
			w.git("fetch", "--quiet")
			readme, _ := w.try("show", "origin/pave/status:README.md")
			return !strings.Contains(readme, "is held")
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

// What a pull request may bring to get what it must not: nothing of it runs, it
// allows itself nothing, and the comment names it.
func TestHostilePullRequests(t *testing.T) {
	t.Parallel()
	f := newForge(t, true)
	for _, unit := range []string{"ledger-box", "vault-box", "index-box", "third"} {
		f.unit(unit, "Ready     true")
	}
	marker := filepath.Join(f.dir, "ran")

	ledgerWith := func(field string) string {
		return strings.Replace(ledger("one", "payments"), "\tinputs: value:", "\t"+field+"\n\tinputs: value:", 1)
	}
	box := f.clone("carol").read("blueprints/box/main.tf")
	for _, test := range []struct {
		name  string
		who   string
		files []string
		state string
		words []string
	}{
		{"interpolation", "carol", []string{"catalog/search/more.cue", request("more", "index", "development", `value: "${file(\"/etc/passwd\")} %{ for x in [1] }"`)}, "success", []string{"more", "create"}},
		{"a name that leads elsewhere", "carol", []string{"catalog/search/more.cue", request(`../../etc`, "index", "development", `value: "x"`)}, "failure", []string{"Denied", "catalog/search/more.cue:3"}},
		{"a bomb of CUE", "carol", []string{"catalog/search/bomb.cue", "package platform\n\nlet a = \"aaaaaaaaaaaaaaaa\"\nlet b = a+a+a+a+a+a+a+a+a+a+a+a+a+a+a+a\nlet c = b+b+b+b+b+b+b+b+b+b+b+b+b+b+b+b\nlet d = c+c+c+c+c+c+c+c+c+c+c+c+c+c+c+c\nlet e = d+d+d+d+d+d+d+d+d+d+d+d+d+d+d+d\nlet f = e+e+e+e+e+e+e+e+e+e+e+e+e+e+e+e\nlet g = f+f+f+f+f+f+f+f+f+f+f+f+f+f+f+f\nrequest: bomb: {blueprint: \"box\", service: \"index\", environment: \"development\", inputs: value: g}\n"}, "failure", []string{"Denied", "bomb.cue", "evaluation"}},
		{"the author joins the team", "carol", []string{"teams.cue", strings.Replace(f.clone("carol").read("teams.cue"), `"alice", "bob"`, `"alice", "bob", "carol"`, 1)}, "pending", []string{"`platform` must approve", "gains carol"}},
		{"a service changes hands", "carol", []string{ledgerFile, ledger("one", "search")}, "pending", []string{"`payments` must approve", "moves from payments to search"}},
		{"rules that allow themselves", "carol", []string{"policies/mine.rego", "package mine\n\nrequire_approval contains \"nobody\" if false\n", "platform.cue", strings.Replace(f.clone("carol").read("platform.cue"), "platform: {", `platform: {policy: overrides: "lifetime-past": {level: "off", reason: "because I say so"}, `, 1), ledgerFile, ledgerWith(`expires: "2020-01-01"`)}, "pending", []string{"This changes what others are judged by", "policies/mine.rego", "`platform` must approve"}},
		{"more money", "carol", []string{"teams.cue", strings.Replace(f.clone("carol").read("teams.cue"), `members: ["carol"], budget: 10`, `members: ["carol"], budget: 10000`, 1), "catalog/search/many.cue", many(12)}, "failure", []string{"may spend 10000.00 a month", "budget", "This changes what others are judged by"}},
		{"a provisioner", "carol", []string{"blueprints/box/main.tf", box + "\nresource \"terraform_data\" \"evil\" {\n  provisioner \"local-exec\" {\n    command = \"touch " + marker + "\"\n  }\n}\n"}, "failure", []string{"provisioner", "blueprints/box/main.tf", "This changes what others are judged by"}},
		{"a program as data", "carol", []string{"blueprints/box/main.tf", box + "\ndata \"external\" \"evil\" {\n  program = [\"touch\", \"" + marker + "\"]\n}\n"}, "failure", []string{"external", "blueprints/box/main.tf"}},
		{"protection lifted", "carol", []string{"catalog/payments/vault.cue", strings.Replace(f.clone("carol").read("catalog/payments/vault.cue"), "\tinputs:", "\tprotect: false\n\tinputs:", 1)}, "pending", []string{"`protect`", "may be destroyed by a later change", "`payments` must approve"}},
		{"an end in the past", "carol", []string{ledgerFile, ledgerWith(`expires: "2020-01-01"`)}, "pending", []string{"destroy", "`payments` must approve", "2020-01-01"}},
		{"words that do things", "carol", []string{"catalog/search/index.cue", strings.Replace(f.clone("carol").read("catalog/search/index.cue"), `"Index"`, `"@alice Fixes #1 ![x](http://evil.example/x.png) </details>"`, 1)}, "success", []string{"index"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := f.sub(t)
			p := f.propose(test.who, strings.ReplaceAll(test.name, " ", "-"), test.files...)
			p.expect(test.state, test.words...)
			if _, err := os.Stat(marker); err == nil {
				t.Error("the pull request ran something")
			}
			p.close()
		})
	}

	t.Run("a symbolic link", func(t *testing.T) {
		f := f.sub(t)
		w := f.clone("carol")
		w.git("switch", "--quiet", "--create", "link")
		must(t, os.Symlink("/etc/passwd", filepath.Join(w.dir, "catalog/search/link.cue")))
		p := w.open("A link", "link", w.push("Link"))
		p.expect("failure", "catalog/search/link.cue", "symbolic link")
		p.close()
	})
	t.Run("a pack that is a bomb", func(t *testing.T) {
		f := f.sub(t)
		w := f.clone("carol")
		w.git("switch", "--quiet", "--create", "pack")
		bomb, err := os.Create(filepath.Join(w.dir, "bomb.bin"))
		must(t, err)
		must(t, bomb.Truncate(1<<30))
		must(t, bomb.Close())
		p := w.open("A bomb", "pack", w.push("Bomb"))
		p.expect("failure", "the change is not read")
		p.close()
	})
	t.Run("ten thousand requests at once", func(t *testing.T) {
		f := f.sub(t)
		p := f.propose("carol", "flood", "catalog/search/flood.cue", computed(10000))
		p.expect("failure", "Denied")
		p.close()
	})
	t.Run("a fork", func(t *testing.T) {
		f := f.sub(t)
		before := f.engineStarts()
		p := f.fork("mallory", ledgerFile, ledger("forked", "payments"))
		p.expect("pending", "`payments` must approve", "comes from a fork", "changes")
		if after := f.engineStarts(); after != before {
			t.Errorf("an engine was started for a fork: %d", after-before)
		}
		p.close()
	})
	if _, err := os.Stat(marker); err == nil {
		t.Error("something ran")
	}
}

// request is a file with one request.
func request(name, service, environment, inputs string) string {
	return fmt.Sprintf("package platform\n\nrequest: %q: {\n\tblueprint:   \"box\"\n\tservice:     %q\n\tenvironment: %q\n\tinputs: {%s}\n}\n", name, service, environment, inputs)
}

// many is a file with requests that cost money.
func many(n int) string {
	var b strings.Builder
	b.WriteString("package platform\n")
	for i := range n {
		fmt.Fprintf(&b, "\nrequest: \"many-%d\": {blueprint: \"box\", service: \"index\", environment: \"development\", inputs: value: \"x\"}\n", i)
	}
	return b.String()
}

// computed is a file that makes requests.
func computed(n int) string {
	return fmt.Sprintf("package platform\n\nimport \"list\"\n\nfor i in list.Range(0, %d, 1) {\n\trequest: \"flood-\\(i)\": {blueprint: \"box\", service: \"index\", environment: \"development\", inputs: value: \"x\"}\n}\n", n)
}

// fork proposes files from a fork.
func (f *forge) fork(login string, files ...string) *pull {
	f.Helper()
	_, _, err := f.as(login).Repositories.CreateFork(f.Context(), "acme", "platform", nil)
	if _, accepted := errors.AsType[*github.AcceptedError](err); err != nil && !accepted {
		f.Fatal(err)
	}
	address, err := url.Parse(f.URL + "/" + login + "/platform.git")
	must(f.T, err)
	address.User = url.UserPassword(login, f.Users[login].Token)
	w := &work{f, filepath.Join(f.TempDir(), login), login}
	f.eventually("the fork is there", func() bool {
		_, err := w.try("clone", "--quiet", address.String(), w.dir)
		return err == nil
	})
	w.git("switch", "--quiet", "--create", "forked")
	w.write(files...)
	return w.open("From a fork", login+":forked", w.push("Fork"))
}
