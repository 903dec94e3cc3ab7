package terraform

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// stateServer keeps states as Terraform's backend "http" wants them.
type stateServer struct {
	mu     sync.Mutex
	states map[string][]byte
	locks  map[string][]byte
	full   bool // nothing can be written
}

func (s *stateServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	held, locked := s.locks[r.URL.Path]
	switch r.Method {
	case "LOCK":
		if locked {
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(held)
			return
		}
		s.locks[r.URL.Path] = body
	case "UNLOCK":
		delete(s.locks, r.URL.Path)
	case http.MethodGet:
		if state, ok := s.states[r.URL.Path]; ok {
			_, _ = w.Write(state)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		if s.full {
			w.WriteHeader(http.StatusInsufficientStorage)
			return
		}
		s.states[r.URL.Path] = body
	}
}

func (s *stateServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// remote makes a job keep its state on a server.
func (b *bench) remote(job reconciler.Job) (reconciler.Job, *stateServer) {
	b.Helper()
	server := &stateServer{states: map[string][]byte{}, locks: map[string][]byte{}}
	listener := httptest.NewServer(server)
	b.Cleanup(listener.Close)
	return b.at(job, listener.URL), server
}

func (b *bench) at(job reconciler.Job, url string) reconciler.Job {
	b.Helper()
	var file map[string]json.RawMessage
	must(b.T, json.Unmarshal(job.Rendering.Generated, &file))
	address := url + "/" + job.Unit
	settings, err := json.Marshal(map[string]any{"backend": map[string]any{"http": map[string]any{
		"address": address, "lock_address": address, "unlock_address": address, "retry_max": 0,
	}}})
	must(b.T, err)
	file["terraform"] = settings
	job.Rendering.Generated, err = json.Marshal(file)
	must(b.T, err)
	job.Rendering.Address = "http:" + address
	return job
}

func TestRemoteState(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	first := b.run(job, reconciler.Applied)
	b.expectStarts("init", "init", "plan", "show", "apply", "state") // the first init is every unit's
	if first.State.Lineage == "" || string(first.Outputs["size"]) != `"small"` {
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

	server.set(func() { clear(server.states) })
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
	if string(result.Outputs["length"]) != "22" {
		t.Errorf("got %s", result.Outputs)
	}
	lacks(t, b.leftBy(run), "canary")
}

func TestStateThatCouldNotBeWrittenIsKept(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	server.set(func() { server.full = true })
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
	server.set(func() { server.full = false })
	b.forgetStarts()
	again := b.again(job, result)
	again.Recorded = reconciler.State{}
	if rescued := b.run(again, reconciler.Unchanged); len(rescued.Resources) != 1 {
		t.Errorf("got %+v", rescued)
	}
	b.expectStarts("state", "state", "state", "plan")
	if left, err := os.ReadDir(filepath.Dir(b.dir(job))); err != nil || len(left) != 3 { // the run's, the unit's lock and what it took
		t.Errorf("left is %v, %v", left, err)
	}
}

// A kept state that does not lead on from what is there is written over nothing.
func TestKeptStateThatDoesNotLeadOn(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	first := b.run(job, reconciler.Applied)
	state := string(server.states["/checkout-db"])
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
		if got := string(server.states["/checkout-db"]); got != state {
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

// An engine that is killed cannot give the lock of its state back. The unit's
// next run does.
func TestLockOfADeadRunIsReleased(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", slowModule(60), nil))
	run := b.start(job)
	b.awaitProvisioner(job)
	must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
	must(t, syscall.Kill(b.pidOf("-lock-timeout=30s", filepath.Join(b.dir(job), privateName, "plan")), syscall.SIGKILL))
	b.wait(run, reconciler.Unknown)
	if len(server.locks) != 1 {
		t.Fatalf("the state is not locked: %q", server.locks)
	}
	must(t, run.Forget())
	again := b.again(job, reconciler.Result{})
	again.Module = map[string][]byte{"main.tf": []byte(slowModule(0))}
	b.run(again, reconciler.Applied)
	if len(server.locks) != 0 || exists(filepath.Join(b.host.Runs, "checkout-db", windowsName)) {
		t.Errorf("left is the lock %q", server.locks)
	}
}

// A state server that dies in mid-apply loses nothing: the state is kept on the
// host, and when the server is back it is written and its lock given back.
func TestStateServerDiesDuringTheApply(t *testing.T) {
	b := newBench(t)
	made := filepath.Join(b.outside(), "made")
	module := `
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "echo made >>'` + made + `'; touch started; exec sleep 3" }
}`
	server := &stateServer{states: map[string][]byte{}, locks: map[string][]byte{}}
	first := httptest.NewServer(server)
	job := b.at(b.job("checkout-db", module, nil), first.URL)
	run := b.start(job)
	b.awaitProvisioner(job)
	first.CloseClientConnections()
	first.Close()
	result := b.wait(run, reconciler.ApplyFailed)
	contains(t, result.Message, "checkout-db/"+job.ID+"/errored.tfstate")
	must(t, run.Forget())
	if len(server.states) != 0 || len(server.locks) != 1 {
		t.Fatalf("the server has the states %q and the locks %q", server.states, server.locks)
	}
	b.run(b.again(job, result), reconciler.PlanFailed) // the server is away

	listener, err := net.Listen("tcp", strings.TrimPrefix(first.URL, "http://"))
	must(t, err)
	second := httptest.NewUnstartedServer(server)
	second.Listener = listener
	second.Start()
	t.Cleanup(second.Close)
	b.run(b.again(job, result), reconciler.Unchanged)
	text, err := os.ReadFile(made)
	must(t, err)
	if string(text) != "made\n" || len(server.locks) != 0 {
		t.Errorf("made %q; left is the lock %q", text, server.locks)
	}
}

// Nobody else's lock is broken, not even one of the same person on this host.
func TestLockOfSomebodyElseIsReported(t *testing.T) {
	b := newBench(t)
	job, server := b.remote(b.job("checkout-db", simple, inputs("size", `"small"`)))
	job.Timeout = 10 * time.Second
	window := lockWindow{Run: "run-0", From: time.Now().Add(-time.Hour).UTC(), Until: time.Now().Add(-time.Hour + time.Minute).UTC()}
	must(t, os.MkdirAll(filepath.Join(b.host.Runs, "checkout-db"), 0o700))
	for _, who := range []struct {
		name    string
		created time.Time
	}{
		{"maria@laptop", window.From.Add(time.Second)},
		{whoami(), window.From.Add(-time.Second)},
		{whoami(), window.Until.Add(time.Second)},
	} {
		must(t, writeJSON(filepath.Join(b.host.Runs, "checkout-db", windowsName), []lockWindow{window}))
		info, err := json.Marshal(map[string]any{"ID": "5d9d2e1c-0000-0000-0000-000000000000", "Operation": "OperationTypeApply",
			"Who": who.name, "Version": "1.11.4", "Created": who.created, "Path": ""})
		must(t, err)
		server.set(func() { server.locks["/checkout-db"] = info })
		result := b.run(b.again(job, reconciler.Result{}), reconciler.PlanFailed)
		contains(t, result.Message, "the state is locked by "+who.name, "force-unlock 5d9d2e1c-0000-0000-0000-000000000000")
		if string(server.locks["/checkout-db"]) != string(info) {
			t.Errorf("the lock of %s is %s", who.name, server.locks["/checkout-db"])
		}
	}
}

// init hashes a provider and never starts it, so any file serves as one, up to
// the plan.
func TestChosenProvidersAreReturned(t *testing.T) {
	b := newBench(t)
	mirror := filepath.Join(t.TempDir(), "mirror")
	folder := filepath.Join(mirror, "registry.terraform.io/pave/fake/1.2.3", platform)
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "terraform-provider-fake_v1.2.3"), []byte("no program"), 0o700))
	b.host.CLIConfig = filepath.Join(t.TempDir(), "config.tfrc")
	must(t, os.WriteFile(b.host.CLIConfig, []byte(`provider_installation { filesystem_mirror { path = "`+mirror+`" } }`), 0o600))
	b.restart()

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
