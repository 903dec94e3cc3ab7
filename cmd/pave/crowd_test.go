package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// crowd is a platform of many units, all of which run as far as it knows, and what
// reads changes of it.
type crowd struct {
	*proposal
	t      testing.TB
	work   string
	bare   string
	mirror *git.Mirror
	loop   *reconciler.Reconciler
	pulls  int
}

func newCrowd(t testing.TB, units int) *crowd {
	t.Helper()
	dir := t.TempDir()
	c := &crowd{t: t, work: filepath.Join(dir, "work"), bare: filepath.Join(dir, "platform.git")}
	must(t, layOut(c.work, "forge"))
	must(t, layOut(c.work, "boxes"))
	c.write("policies/names.rego", "# METADATA\n# title: Requests are named for what they are\npackage acme.names\n\ndeny contains \"a name says something\" if {\n\tinput.kind == \"request\"\n\tcount(input.name) < 3\n}\n")
	teams, err := os.ReadFile(filepath.Join(c.work, "teams.cue"))
	must(t, err)
	c.write("teams.cue", strings.ReplaceAll(string(teams), "budget: 10}", "budget: 100000}"))
	for n := range units {
		c.unit(n, "as it is")
	}
	c.git("init", "--quiet", "--initial-branch", "main")
	c.git("init", "--quiet", "--bare", "--initial-branch", "main", c.bare)
	c.mirror, err = git.Open(t.Context(), git.Options{URL: c.bare, Tracked: "main", Status: "pave/status", Cache: filepath.Join(dir, "mirror")})
	must(t, err)
	t.Cleanup(func() { c.mirror.Close() })
	runner, err := terraform.NewRunner(terraform.Host{Confine: terraform.Unconfined,
		Cache: filepath.Join(dir, "engine"), State: filepath.Join(dir, "units"), Runs: filepath.Join(dir, "runs")})
	must(t, err)
	parts := (&app{}).parts()
	c.loop = reconciler.New(reconciler.Options{Parts: parts, Source: c.mirror, Runner: yielding{runner},
		Machine: reconciler.Machine{Processors: units + 10}, Trust: reconciler.NewTrust(filepath.Join(dir, "status.json"))})
	p, err := newProposer(filepath.Join(dir, "quarantine"), proposing{
		Quarantine: git.QuarantineOptions{URL: c.bare, Mirror: filepath.Join(dir, "mirror"), Tracked: "main", Status: "pave/status"},
	}, parts.Evaluator.(*catalog.Evaluator).Answers)
	must(t, err)
	t.Cleanup(p.insiders.close)
	c.proposal = &proposal{proposer: p}
	c.converge()
	return c
}

func (c *crowd) git(args ...string) string {
	c.t.Helper()
	return strings.TrimSpace(gitIn(c.t, filepath.Dir(c.work), c.work, args...))
}

func (c *crowd) write(path, content string) {
	c.t.Helper()
	path = filepath.Join(c.work, path)
	must(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(c.t, os.WriteFile(path, []byte(content), 0o644))
}

// unit writes a service and its request, fifty to a folder.
func (c *crowd) unit(n int, value string) {
	c.t.Helper()
	c.write(crowded(n), fmt.Sprintf(`package platform

service: "one-%05[1]d": {
	title:     "One of many"
	owner:     "payments"
	type:      "service"
	lifecycle: "production"
	tier:      2
	dependsOn: ["ledger"]
}

request: "one-%05[1]d-box": {
	blueprint:   "box"
	service:     "one-%05[1]d"
	environment: "development"
	description: "What it needs."
	inputs: {value: %[2]q, note: "of many"}
}
`, n, value))
}

// crowded is the file of a unit.
func crowded(n int) string {
	return fmt.Sprintf("catalog/payments/many-%03d/one-%05d.cue", n/50, n)
}

// converge pushes what the folder holds, lets it come into force and run, and has
// changes be compared with that.
func (c *crowd) converge() {
	c.t.Helper()
	c.git("add", "--all")
	c.git("commit", "--quiet", "--message", "Ask for it")
	c.git("push", "--quiet", c.bare, "main")
	summary, err := c.loop.Converge(c.t.Context())
	must(c.t, err)
	if summary.Refused != nil {
		c.t.Fatalf("got %+v", summary.Refused)
	}
	heads, err := c.mirror.Fetch(c.t.Context())
	must(c.t, err)
	c.change = reconciler.ProposedChange{Base: heads.Tracked, InForce: heads.Tracked, Status: heads.Status, Engine: yields}
}

// propose makes a pull request of what the folder holds, which is then as it was
// before.
func (c *crowd) propose() reconciler.ProposedChange {
	c.t.Helper()
	c.pulls++
	change := c.change
	change.Ref = fmt.Sprintf("refs/pull/%d/head", c.pulls)
	c.git("add", "--all")
	c.git("commit", "--quiet", "--message", "Change it")
	change.Head = c.git("rev-parse", "HEAD")
	c.git("push", "--quiet", c.bare, "HEAD:"+change.Ref)
	c.git("reset", "--quiet", "--hard", "HEAD~1")
	return change
}

// yields is an engine that nothing is run with.
var yields = reconciler.Engine{Name: "terraform", Path: "/nonexistent/terraform", Version: "1.11.4"}

// yielding is a runner whose runs end at once as they should.
type yielding struct{ *terraform.Runner }

func (yielding) Engine(context.Context, string) (reconciler.Engine, error) { return yields, nil }

func (yielding) Start(_ context.Context, job reconciler.Job) (reconciler.Running, error) {
	return &yielded{job}, nil
}

func (yielding) Unfinished() ([]reconciler.Running, error) { return nil, nil }

type yielded struct{ job reconciler.Job }

func (y *yielded) Job() reconciler.Job { return y.job }
func (y *yielded) Stop() error         { return nil }
func (y *yielded) Forget() error       { return nil }

func (y *yielded) Wait(context.Context) (reconciler.Result, error) {
	result := reconciler.Result{ID: y.job.ID, Unit: y.job.Unit, Outcome: reconciler.Applied,
		State:     reconciler.State{Address: y.job.Rendering.Address, Lineage: y.job.Unit, Serial: 1},
		Plan:      reconciler.PlanSummary{Add: 2, Digest: strings.Repeat("0", 64)},
		Resources: []string{"terraform_data.box", "terraform_data.lid"}, Finished: time.Now()}
	if y.job.Destroy {
		result.Outcome, result.Resources = reconciler.Destroyed, nil
	}
	return result, nil
}
