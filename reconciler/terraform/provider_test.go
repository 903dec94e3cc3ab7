package terraform

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// offer makes a program the one provider that engines find: pave/NAME.
func (b *bench) offer(name, version string, program []byte) {
	b.Helper()
	mirror := filepath.Join(b.TempDir(), "mirror")
	folder := filepath.Join(mirror, "registry.terraform.io/pave", name, version, platform)
	must(b.T, os.MkdirAll(folder, 0o700))
	must(b.T, os.WriteFile(filepath.Join(folder, "terraform-provider-"+name+"_v"+version), program, 0o700))
	b.host.CLIConfig = filepath.Join(b.TempDir(), "config.tfrc")
	must(b.T, os.WriteFile(b.host.CLIConfig, []byte(`provider_installation { filesystem_mirror { path = "`+mirror+`" } }`), 0o600))
	b.restart()
}

// objects is a server that keeps objects by their names, for the provider pave/target.
type objects struct {
	mu    sync.Mutex
	there map[string]string // guarded by mu, as all below
	made  map[string]int
	// crash is the request, METHOD NAME, at which the provider crashes once, and
	// late tells that it was done by then.
	crash string
	late  bool
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	name := filepath.Base(r.URL.Path)
	crashes := r.Method+" "+name == o.crash
	if crashes {
		o.crash = ""
		defer w.WriteHeader(http.StatusTeapot)
		if !o.late {
			return
		}
	}
	content, found := o.there[name]
	switch {
	case !found && r.Method != http.MethodPost:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		o.there[name] = string(body)
		if r.Method == http.MethodPost {
			o.made[name]++
		}
	case r.Method == http.MethodDelete:
		delete(o.there, name)
	case !crashes:
		_, _ = io.WriteString(w, content)
	}
}

// offerTarget makes pave/target the one provider, and starts what it manages
// objects of.
func (b *bench) offerTarget() (server *objects, address string) {
	b.Helper()
	path := os.Getenv("PAVE_TEST_TERRAFORM_PROVIDER_TARGET")
	if path == "" {
		b.Fatal("PAVE_TEST_TERRAFORM_PROVIDER_TARGET is not set: `go run ./testdata/tools/get terraform-provider-target` makes what it names, `make test` sets it")
	}
	program, err := os.ReadFile(path)
	must(b.T, err)
	b.offer("target", "1.0.0", program)
	server = &objects{there: map[string]string{}, made: map[string]int{}}
	listener := httptest.NewServer(server)
	b.Cleanup(listener.Close)
	return server, listener.URL
}

// useTarget returns the head of a module whose objects are at the address.
func useTarget(address string) string {
	return `
terraform {
  required_providers { target = { source = "pave/target" } }
}
provider "target" { address = "` + address + `" }`
}

// A provider that crashes ends the run of its unit and nothing else: what was
// made by then is recorded, and the next run does the rest.
func TestProviderCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built provider: make test")
	}
	b := newBench(t)
	server, address := b.offerTarget()
	module := func(unit, content string) string {
		return useTarget(address) + `
resource "target_object" "first" {
  name    = "` + unit + `-first"
  content = "steady"
}
resource "target_object" "second" {
  name       = "` + unit + `-second"
  content    = "` + content + `"
  depends_on = [target_object.first]
}
resource "target_object" "third" {
  name       = "` + unit + `-third"
  content    = "steady"
  depends_on = [target_object.second]
}`
	}
	crash := func(request string, late bool) {
		server.mu.Lock()
		defer server.mu.Unlock()
		server.crash, server.late = request, late
	}
	expect := func(result reconciler.Result, addresses ...string) {
		t.Helper()
		if !slices.Equal(result.Resources, addresses) {
			t.Errorf("expected %v to be recorded, got %v", addresses, result.Resources)
		}
	}
	all := []string{"target_object.first", "target_object.second", "target_object.third"}

	crash("POST one-second", false)
	other := b.start(b.job("two", module("two", "old"), nil)) // beside it
	job := b.job("one", module("one", "old"), nil)
	result := b.run(job, reconciler.ApplyFailed)
	contains(t, result.Message, "the provider met a fault of its own", "may exist though no state has it: target_object.second, target_object.third")
	expect(result, all[0])
	expect(b.wait(other, reconciler.Applied), all...)
	result = b.run(b.again(job, result), reconciler.Applied)
	expect(result, all...)

	// What was done before the crash is seen by the next run, and not done again.
	job.Module["main.tf"] = []byte(module("one", "new"))
	crash("PUT one-second", true)
	result = b.run(b.again(job, result), reconciler.ApplyFailed)
	expect(result, all...)
	result = b.run(b.again(job, result), reconciler.Unchanged)

	// A plan changes nothing, and neither does its crash.
	crash("GET one-second", false)
	result = b.run(b.again(job, result), reconciler.PlanFailed)
	contains(t, result.Message, "the provider met a fault of its own")
	result = b.run(b.again(job, result), reconciler.Unchanged)

	job = b.again(job, result)
	job.Destroy = true
	crash("DELETE one-second", true)
	result = b.run(job, reconciler.ApplyFailed)
	expect(result, all[:2]...)
	job = b.again(job, result)
	b.run(job, reconciler.Destroyed)
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, name := range []string{"one-first", "one-second", "one-third", "two-first", "two-second", "two-third"} {
		if _, there := server.there[name]; server.made[name] != 1 || there != (name[:3] == "two") {
			t.Errorf("%s was made %d times; it is there: %t", name, server.made[name], there)
		}
	}
}

// What a plan without changes finds out is in the state afterwards.
func TestUnchangedPlanKeepsWhatItLearnt(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built provider: make test")
	}
	for name, remote := range map[string]bool{"local": false, "http": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			server, address := b.offerTarget()
			job := b.job("one", useTarget(address)+`
resource "target_object" "main" {
  name    = "one"
  content = "old"
  lifecycle { ignore_changes = [content] }
}`, nil)
			state := func() string {
				state, err := readLocalState(b.host, job.Unit)
				must(t, err)
				return string(state.raw)
			}
			if remote {
				store := stores.NewHTTP(t).Store()
				job, state = b.on(job, store), func() string { return store.State(job.Unit) }
			}
			result := b.run(job, reconciler.Applied)
			before := result.State
			b.forgetStarts()
			server.mu.Lock()
			server.there["one"] = "new"
			server.mu.Unlock()

			looks := b.again(job, result)
			looks.Mode = reconciler.Observe
			if b.run(looks, reconciler.Unchanged); strings.Contains(state(), `"new"`) {
				t.Error("an observation wrote a state")
			}
			result = b.run(b.again(job, result), reconciler.Unchanged)
			if !strings.Contains(state(), `"new"`) || result.State.Serial != before.Serial+1 || len(result.Resources) != 1 {
				t.Errorf("got %+v; the state is %s", result, state())
			}
			b.forgetStarts()
			result = b.run(b.again(job, result), reconciler.Unchanged)
			if result.State.Serial != before.Serial+1 || slices.ContainsFunc(b.starts(), func(s start) bool { return s.Args[0] == "apply" }) {
				t.Errorf("got %+v after %v", result, b.starts())
			}
		})
	}
}

// An engine compares the providers with the lock until it has found them to be as
// it says, and again as soon as they may be others.
func TestProvidersAreComparedOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built provider: make test")
	}
	b := newBench(t)
	_, address := b.offerTarget()
	job := b.job("one", useTarget(address)+`
resource "target_object" "main" {
  name    = "main"
  content = "steady"
}`, nil)
	last := b.run(job, reconciler.Applied)
	templates, err := filepath.Glob(filepath.Join(b.host.Cache, "templates", "*", "main.tf"))
	must(t, err)
	template, err := filepath.EvalSymlinks(filepath.Dir(templates[0]))
	must(t, err)
	note, err := comparedName(template)
	must(t, err)
	for !exists(note) { // as long as the provider could have changed in the same instant
		last = b.run(b.again(job, last), reconciler.Unchanged)
	}
	contains(t, string(last.Lock), "hashes")
	b.run(b.again(job, last), reconciler.Unchanged)

	programs, err := filepath.Glob(filepath.Join(template, dataName, "providers/*/*/*/*/*/terraform-provider-target*"))
	must(t, err)
	program, err := os.OpenFile(programs[0], os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = program.WriteString("more")
	must(t, errors.Join(err, program.Close()))
	refused := b.run(b.again(job, last), reconciler.PlanFailed)
	contains(t, refused.Message, "does not match any of the checksums")

	changed, err := packagesOf(template)
	must(t, errors.Join(err, writeJSON(note, changed)))
	b.run(b.again(job, last), reconciler.Unchanged) // as the note says that it was compared
	must(t, os.Chmod(programs[0], 0o500))
	b.run(b.again(job, last), reconciler.PlanFailed)
}
