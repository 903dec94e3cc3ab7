package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// taking makes a job that takes over the state that another one left.
func taking(job, from reconciler.Job, left reconciler.Result) reconciler.Job {
	job.Recorded = reconciler.State{}
	job.Takes = &reconciler.Takeover{Unit: from.Unit, State: left.State, Generated: from.Rendering.Generated}
	return job
}

func TestTakeOver(t *testing.T) {
	for _, way := range []string{"local to local", "local to http", "http to local", "http to http"} {
		t.Run(way, func(t *testing.T) {
			b := newBench(t)
			from, to, _ := strings.Cut(way, " to ")
			old := b.job("alone", simple, inputs("size", `"small"`))
			job := b.job("lonely", simple, inputs("size", `"small"`))
			var server *stores.HTTP
			if from == "http" {
				old, server = b.remote(old)
			}
			if to == "http" {
				job, _ = b.remote(job)
			}
			first := b.run(old, reconciler.Applied)

			// Where the plan is denied, or only looked at, nothing moves.
			denied := taking(job, old, first)
			denied.Policy = json.RawMessage(`{"level": "deny"}`)
			b.run(denied, reconciler.DeniedByPolicy)
			look := b.again(taking(job, old, first), reconciler.Result{})
			look.Mode = reconciler.Preview
			b.run(look, reconciler.Changed)
			b.run(b.again(old, first), reconciler.Unchanged)

			taken := b.run(b.again(taking(job, old, first), reconciler.Result{}), reconciler.Applied)
			if taken.State.Lineage != first.State.Lineage || taken.State.Address != job.Rendering.Address || !taken.Moved || !taken.Plan.Empty() {
				t.Errorf("got %+v of %+v", taken, first)
			}
			b.run(b.again(job, taken), reconciler.Unchanged)

			// Nobody can go on with the old one.
			lost := b.run(b.again(old, first), reconciler.StateLost)
			contains(t, lost.Message, "expected state lineage "+first.State.Lineage)
			if server != nil && strings.Contains(string(server.States["alone"]), first.State.Lineage) {
				t.Errorf("the old state is there still: %s", server.States["alone"])
			}

			// A destroy goes by the new owner's name.
			gone := b.again(job, taken)
			gone.Destroy = true
			b.run(gone, reconciler.Destroyed)
		})
	}
}

// A run that is killed leaves the state at either address, or at both.
func TestTakeOverGoesOn(t *testing.T) {
	b := newBench(t)
	old := b.job("alone", simple, inputs("size", `"small"`))
	first := b.run(old, reconciler.Applied)
	path := localState(b.host, "alone")
	kept, err := os.ReadFile(path)
	must(t, err)
	job := b.job("lonely", simple, inputs("size", `"small"`))
	taken := b.run(taking(job, old, first), reconciler.Applied)

	must(t, os.WriteFile(path, kept, 0o600)) // killed before it was withdrawn
	again := b.run(b.again(taking(job, old, first), reconciler.Result{}), reconciler.Unchanged)
	if again.State.Lineage != first.State.Lineage || !again.Moved || exists(path) {
		t.Errorf("got %+v; the old one is there: %v", again, exists(path))
	}
	again = b.run(b.again(taking(job, old, first), reconciler.Result{}), reconciler.Unchanged) // and after it was
	if again.State.Serial != taken.State.Serial || !again.Moved {
		t.Errorf("got %+v of %+v", again, taken)
	}
}

func TestTakeOverRefuses(t *testing.T) {
	b := newBench(t)
	old := b.job("alone", simple, inputs("size", `"small"`))
	first := b.run(old, reconciler.Applied)
	file := filepath.Join(t.TempDir(), "own.tfstate")
	kept, err := os.ReadFile(localState(b.host, "alone"))
	must(t, err)
	must(t, os.WriteFile(file, kept, 0o600))

	other := b.job("other", simple, inputs("size", `"small"`))
	there := b.run(other, reconciler.Applied)
	onto := b.again(taking(other, old, first), reconciler.Result{})
	result := b.run(onto, reconciler.StateLost)
	contains(t, result.Message, "there is another state at local:other already, of lineage "+there.State.Lineage)

	job := b.job("lonely", simple, inputs("size", `"small"`))
	wrong := taking(job, old, first)
	wrong.Takes.State.Lineage = "another"
	contains(t, b.run(wrong, reconciler.StateLost).Message, "expected state lineage another at local:alone, found "+first.State.Lineage)
	wrong = b.again(taking(job, old, first), reconciler.Result{})
	wrong.Takes.Unit = "nobody"
	contains(t, b.run(wrong, reconciler.StateLost).Message, "found none")
	imported := b.again(job, reconciler.Result{})
	imported.Takes = &reconciler.Takeover{File: file, Keeps: true}
	contains(t, b.run(imported, reconciler.NotOwned).Message, "the state records alone as its owner: rename that request with renamedFrom")

	replaced := b.again(taking(job, old, first), reconciler.Result{})
	replaced.Module = map[string][]byte{"main.tf": []byte(strings.ReplaceAll(simple, "main", "other"))}
	replaced.Takes.Keeps = true
	contains(t, b.run(replaced, reconciler.PlanFailed).Message, "nothing was taken over, because the plan would delete terraform_data.main")
	b.run(b.again(old, first), reconciler.Unchanged)
}

func TestRetain(t *testing.T) {
	for _, backend := range []string{"local", "http"} {
		t.Run(backend, func(t *testing.T) {
			b := newBench(t)
			job := b.job("alone", simple, inputs("size", `"small"`))
			if backend == "http" {
				job, _ = b.remote(job)
			}
			first := b.run(job, reconciler.Applied)
			b.forgetStarts()
			gone := b.again(job, first)
			gone.Destroy, gone.Retain = true, true
			result := b.run(gone, reconciler.Destroyed)
			if len(result.Retained) != 1 || result.Retained[0].Address != "terraform_data.main" || result.Retained[0].ID == "" || result.Plan.Destroy != 0 {
				t.Errorf("got %+v", result)
			}
			for _, s := range b.starts() {
				if s.Args[0] == "apply" {
					t.Error("an apply was started")
				}
			}
			copies, _ := filepath.Glob(filepath.Join(b.host.State, "alone", "retained-*.tfstate"))
			if len(copies) != 1 {
				t.Fatalf("got copies %q", copies)
			}
			b.run(b.again(job, first), reconciler.StateLost)
			anew := b.again(job, reconciler.Result{})
			anew.Takes = &reconciler.Takeover{File: copies[0], Keeps: true}
			if back := b.run(anew, reconciler.Unchanged); back.State.Lineage != first.State.Lineage {
				t.Errorf("got %+v", back)
			}
		})
	}
}
