package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// remote makes a job keep its state on a server of the backend "http".
func (b *bench) remote(job reconciler.Job) (reconciler.Job, *stores.HTTP) {
	b.Helper()
	server := stores.NewHTTP(b.T)
	return b.on(job, server.Store()), server
}

// on makes a job keep its state on a server, with the credentials of it.
func (b *bench) on(job reconciler.Job, store stores.Store) reconciler.Job {
	b.Helper()
	environment := reconciler.Environment{Name: job.Environment, Backend: reconciler.Backend{Type: store.Backend, Config: map[string]json.RawMessage{}}}
	for name, value := range store.Config {
		environment.Backend.Config[name] = marshal(value)
	}
	block, address, err := renderBackend(environment, job.Unit, "pave")
	must(b.T, err)
	var file map[string]any
	must(b.T, json.Unmarshal(job.Rendering.Generated, &file))
	file["terraform"] = map[string]any{"backend": block}
	job.Rendering.Generated, job.Rendering.Address = marshal(file), address
	if store.Backend == "s3" {
		b.host.Credentials = b.TempDir()
		lines := "AWS_ACCESS_KEY_ID=" + stores.AccessKey + "\nAWS_SECRET_ACCESS_KEY=" + stores.SecretKey + "\n"
		must(b.T, os.WriteFile(filepath.Join(b.host.Credentials, job.Environment+".env"), []byte(lines), 0o600))
		b.restart()
	}
	return job
}

// onEach runs a test on servers, and tells whether their locks outlive whoever
// has them.
func onEach(t *testing.T, names []string, test func(t *testing.T, store stores.Store, outlives bool)) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "http" {
				t.Skip("needs PostgreSQL and built servers: make test")
			}
			test(t, stores.New(t, name), name != "pg")
		})
	}
}

func TestRemoteState(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	first := b.run(job, reconciler.Applied)
	b.expectStarts("init", "init", "plan", "show", "apply", "state") // the first init is every unit's
	if first.State.Lineage == "" || string(first.Outputs.Of("size")) != `"small"` {
		t.Errorf("got %+v", first)
	}
	second := b.run(b.again(job, first), reconciler.Unchanged)
	b.expectStarts("state", "plan")
	if second.State != first.State {
		t.Errorf("got %+v", second.State)
	}
	// An observation that knows no lineage learns it.
	unknown := b.again(job, reconciler.Result{})
	unknown.Mode = reconciler.Observe
	if result := b.run(unknown, reconciler.Unchanged); result.State != first.State {
		t.Errorf("got %+v", result.State)
	}

	server.Do(func() { clear(server.States) })
	lost := b.again(job, first)
	result := b.run(lost, reconciler.StateLost)
	contains(t, result.Message, "expected state lineage "+first.State.Lineage+" at http:", "found none")
}

func TestRemoteUnitsShareProvidersAndModules(t *testing.T) {
	b := newBench(t)
	one, _ := b.remote(b.withModule(b.job("one", simple, inputs("size", `"small"`))))
	two, _ := b.remote(b.withModule(b.job("two", simple, inputs("size", `"small"`))))
	b.run(one, reconciler.Applied)
	b.expectStarts("init", "init", "plan", "show", "apply", "state")
	result := b.run(two, reconciler.Applied)
	b.expectStarts("init", "plan", "show", "apply", "state")
	if !slices.Contains(result.Resources, "module.inner.terraform_data.inner") {
		t.Errorf("got %v", result.Resources)
	}
}

// withModule adds a local module to a job.
func (b *bench) withModule(job reconciler.Job) reconciler.Job {
	job.Module["inner.tf"] = []byte(`module "inner" { source = "./modules/inner" }`)
	job.Module["modules/inner/main.tf"] = []byte(`resource "terraform_data" "inner" {}`)
	return job
}

func TestRemoteSensitiveOutput(t *testing.T) {
	b := newBench(t)
	ledger, _ := b.remote(b.job("ledger-db", upstreamModule, nil))
	up := b.run(ledger, reconciler.Applied)
	b.forgetStarts()
	job := b.job("checkout-db", usesPassword+`output "length" { value = nonsensitive(length(var.password)) }`, inputs(
		"host", `{"from":{"request":"ledger-db","output":"host"}}`,
		"password", `{"from":{"request":"ledger-db","output":"password"}}`))
	job.Upstream = map[string]reconciler.Upstream{"ledger-db": {
		Outputs: up.Outputs, Generated: ledger.Rendering.Generated, State: up.State, Environment: "staging",
	}}
	run := b.start(job)
	result := b.wait(run, reconciler.Applied)
	if string(result.Outputs.Of("length")) != "22" {
		t.Errorf("got %s", result.Outputs)
	}
	lacks(t, b.leftBy(run), "canary")
}

func TestStateThatCouldNotBeWrittenIsKept(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	server.Do(func() { server.Full = true })
	run := b.start(job)
	result := b.wait(run, reconciler.ApplyFailed)
	contains(t, result.Message, "checkout-db/"+job.ID+"/errored.tfstate", "Failed to save state")
	must(t, run.Forget())
	data, err := os.ReadFile(filepath.Join(b.dir(job), erroredName))
	must(t, err)
	state, err := parseState(data)
	must(t, err)
	if len(state.addresses()) != 1 {
		t.Errorf("got %s", data)
	}
	runs, err := b.runner.Unfinished()
	must(t, err)
	if len(runs) != 0 {
		t.Errorf("the run was not forgotten: %v", runs)
	}

	// It is written back before anything else, so nothing is made twice.
	server.Do(func() { server.Full = false })
	b.forgetStarts()
	again := b.again(job, result)
	again.Recorded = reconciler.State{}
	if rescued := b.run(again, reconciler.Unchanged); len(rescued.Resources) != 1 {
		t.Errorf("got %+v", rescued)
	}
	b.expectStarts("state", "state", "state", "plan")
	if left, err := os.ReadDir(filepath.Dir(b.dir(job))); err != nil || len(left) != 4 { // the run's, the unit's lock, what it took and the last log
		t.Errorf("left is %v, %v", left, err)
	}
}

// A kept state that does not lead on from what is there is written over nothing.
func TestKeptStateThatDoesNotLeadOn(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	first := b.run(job, reconciler.Applied)
	state := string(server.States["checkout-db"])
	for name, kept := range map[string]string{
		"damaged":          state[:len(state)/2],
		"other lineage":    strings.Replace(strings.Replace(state, `"small"`, `"large"`, -1), first.State.Lineage, "00000000-0000-0000-0000-000000000000", 1),
		"older":            strings.Replace(strings.Replace(state, `"small"`, `"large"`, -1), `"serial": 1`, `"serial": 0`, 1),
		"same serial":      strings.Replace(state, `"small"`, `"large"`, -1),
		"of another owner": strings.Replace(strings.Replace(state, `"serial": 1`, `"serial": 9`, 1), `"request": "checkout-db"`, `"request": "ledger-db"`, 1),
	} {
		if kept == state {
			t.Fatalf("%s: nothing was replaced in %s", name, state)
		}
		dir := filepath.Join(b.host.Runs, "checkout-db", "run-0")
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, erroredName), []byte(kept), 0o600))
		result := b.run(b.again(job, first), reconciler.StateLost)
		contains(t, result.Message, "checkout-db/run-0/errored.tfstate", "then remove the file")
		if got := string(server.States["checkout-db"]); got != state {
			t.Errorf("%s: the state is %s", name, got)
		}
		must(t, os.RemoveAll(dir))
	}

	// One that was written already is only removed.
	dir := filepath.Join(b.host.Runs, "checkout-db", "run-0")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, erroredName), []byte(state), 0o600))
	b.forgetStarts()
	b.run(b.again(job, first), reconciler.Unchanged)
	b.expectStarts("state", "state", "plan")
	if exists(dir) {
		t.Error("the kept state is left")
	}
}

// An engine that is killed cannot give the lock of its state back, where the
// server does not see that it ended. The unit's next run does.
func TestLockOfADeadRunIsReleased(t *testing.T) {
	onEach(t, []string{"http", "s3", "s3 with DynamoDB", "pg"}, func(t *testing.T, store stores.Store, outlives bool) {
		b := newBench(t)
		job := b.on(b.job("checkout-db", slowModule(60), nil), store)
		run := b.start(job)
		b.awaitProvisioner(job)
		if !store.Locked(job.Unit) {
			t.Fatal("the state is not locked during the apply")
		}
		engine := b.engineOf(job)
		must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
		must(t, syscall.Kill(engine, syscall.SIGKILL))
		b.wait(run, reconciler.Unknown)
		if outlives != store.Locked(job.Unit) {
			t.Fatalf("the state is locked: %t", !outlives)
		}
		must(t, run.Forget())
		again := b.again(job, reconciler.Result{})
		again.Module = map[string][]byte{"main.tf": []byte(slowModule(0))}
		b.run(again, reconciler.Applied)
		if store.Locked(job.Unit) || exists(filepath.Join(b.host.Runs, job.Unit, windowsName)) {
			t.Error("the lock is left")
		}
	})
}

// A state server that dies in mid-apply loses nothing: the state is kept on the
// host, and when the server is back it is written and its lock given back.
func TestStateServerDiesDuringTheApply(t *testing.T) {
	onEach(t, []string{"http", "s3", "pg"}, func(t *testing.T, store stores.Store, outlives bool) {
		b := newBench(t)
		made := filepath.Join(b.outside(), "made")
		job := b.on(b.job("checkout-db", `
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "echo made >>'`+made+`'; touch started; exec sleep 3" }
}`, nil), store)
		run := b.start(job)
		b.awaitProvisioner(job)
		store.Stop()
		result := b.wait(run, reconciler.ApplyFailed)
		contains(t, result.Message, "checkout-db/"+job.ID+"/errored.tfstate")
		must(t, run.Forget())
		b.run(b.again(job, result), reconciler.PlanFailed) // the server is away

		store.Start()
		if strings.Contains(store.State(job.Unit), "terraform_data") || outlives != store.Locked(job.Unit) {
			t.Fatalf("the server has the state %s; it is locked: %t", store.State(job.Unit), !outlives)
		}
		b.run(b.again(job, result), reconciler.Unchanged)
		text, err := os.ReadFile(made)
		must(t, err)
		if string(text) != "made\n" || store.Locked(job.Unit) || !strings.Contains(store.State(job.Unit), "terraform_data") {
			t.Errorf("made %q; it is locked: %t; the state is %s", text, store.Locked(job.Unit), store.State(job.Unit))
		}
	})
}

// Nobody else's lock is broken, not even one of the same person on this host.
func TestLockOfSomebodyElseIsReported(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	job.Timeout = 10 * time.Second
	window := lockWindow{Run: "run-0", From: time.Now().Add(-time.Hour).UTC(), Until: time.Now().Add(-time.Hour + time.Minute).UTC()}
	must(t, os.MkdirAll(filepath.Join(b.host.Runs, "checkout-db"), 0o700))
	for i, who := range []struct {
		name    string
		created time.Time
	}{
		{"maria@laptop", window.From.Add(time.Second)},
		{whoami(), window.From.Add(-time.Second)},
		{whoami(), window.Until.Add(time.Second)},
	} {
		if i > 0 && testing.Short() {
			t.Skip("each of the others is waited for as well: go test ./reconciler/terraform -run TestLockOfSomebodyElse")
		}
		must(t, writeJSON(filepath.Join(b.host.Runs, "checkout-db", windowsName), []lockWindow{window}))
		info, err := json.Marshal(map[string]any{"ID": "5d9d2e1c-0000-0000-0000-000000000000", "Operation": "OperationTypeApply",
			"Who": who.name, "Version": "1.11.4", "Created": who.created, "Path": ""})
		must(t, err)
		server.Do(func() { server.Locks["checkout-db"] = info })
		result := b.run(b.again(job, reconciler.Result{}), reconciler.PlanFailed)
		contains(t, result.Message, "the state is locked by "+who.name, "force-unlock 5d9d2e1c-0000-0000-0000-000000000000")
		if string(server.Locks["checkout-db"]) != string(info) {
			t.Errorf("the lock of %s is %s", who.name, server.Locks["checkout-db"])
		}
	}
}

// init hashes a provider and never starts it, so any file serves as one, up to
// the plan.
func TestChosenProvidersAreReturned(t *testing.T) {
	b := newBench(t)
	b.offer("fake", "1.2.3", []byte("no program"))
	job := b.job("one", `terraform {
  required_providers { fake = { source = "registry.terraform.io/pave/fake" } }
}
resource "terraform_data" "main" {}`, nil)
	first := b.run(job, reconciler.PlanFailed)
	b.expectStarts("init", "plan", "validate")
	contains(t, first.Message, "plan: ", "failed to instantiate provider", "exec format error")
	contains(t, string(first.Lock), "registry.terraform.io/pave/fake", "1.2.3")

	again := b.run(b.again(job, first), reconciler.PlanFailed)
	b.expectStarts("plan", "validate") // the lock names the template that it came from
	if string(again.Lock) != string(first.Lock) {
		t.Errorf("got lock %s", again.Lock)
	}
	remote := b.again(job, first)
	remote.Unit = "two"
	remote, _ = b.remote(remote)
	b.run(remote, reconciler.PlanFailed)
	b.expectStarts("init", "plan", "validate") // its own backend with the shared providers

	other := b.again(job, first)
	other.Lock = []byte(`provider "registry.terraform.io/pave/fake" { version = "9.9.9" }` + "\n")
	result := b.run(other, reconciler.PlanFailed)
	contains(t, result.Message, "prepare template: init: ", "9.9.9")
	other = b.again(job, first)
	other.Lock = []byte("# no provider\n")
	result = b.run(other, reconciler.PlanFailed)
	contains(t, result.Message, "read-only")
}
