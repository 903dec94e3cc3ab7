package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

const simple = `
variable "size" { type = string }
resource "terraform_data" "main" { input = var.size }
output "size" { value = terraform_data.main.output }
`

func TestConverge(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"${file(\"secret.txt\")} %{ for x in y }"`))

	first := b.run(job, reconciler.Applied)
	b.expectStarts("init", "plan", "show", "apply")
	if got := first.Plan.String(); got != "+1 ~0 -0" {
		t.Errorf("plan: got %s", got)
	}
	var size string
	must(t, json.Unmarshal(first.Outputs.Of("size"), &size))
	if size != `${file("secret.txt")} %{ for x in y }` {
		t.Errorf("the input did not arrive literally: %s", size)
	}
	if len(first.Outputs) != 1 || !first.OutputsChanged || !slices.Equal(first.Resources, []string{"terraform_data.main"}) {
		t.Errorf("got outputs %v, changed %v, resources %v", first.Outputs, first.OutputsChanged, first.Resources)
	}
	if first.IDs.Of("terraform_data.main") == "" {
		t.Errorf("got ids %v", first.IDs)
	}
	if first.State.Lineage == "" || first.State.Address != job.Rendering.Address {
		t.Errorf("got state %+v", first.State)
	}

	second := b.run(b.again(job, first), reconciler.Unchanged)
	b.expectStarts("plan")
	if second.State != first.State || second.OutputsChanged || len(second.Outputs) != 1 {
		t.Errorf("got %+v", second)
	}

	changed := b.again(job, second)
	changed.Rendering.Variables["size"] = json.RawMessage(`"large"`)
	third := b.run(changed, reconciler.Applied)
	b.expectStarts("plan", "show", "apply")
	want := []reconciler.ChangedField{{Address: "terraform_data.main", Action: "update", Attributes: []string{"input", "output"}}}
	if third.Plan.String() != "+0 ~1 -0" || len(third.Plan.Changes) != 1 || !slices.Equal(third.Plan.Changes[0].Attributes, want[0].Attributes) {
		t.Errorf("got plan %+v", third.Plan)
	}
	if third.State.Serial <= first.State.Serial || third.State.Lineage != first.State.Lineage || !third.OutputsChanged {
		t.Errorf("got state %+v after %+v", third.State, first.State)
	}
	if !exists(filepath.Join(b.host.State, "checkout-db", "terraform.tfstate.backup")) {
		t.Error("the backup is not beside the state")
	}
}

func TestObserveStopsAfterThePlan(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	for _, mode := range []reconciler.Walk{reconciler.Observe, reconciler.Preview} {
		job.Mode = mode
		result := b.run(job, reconciler.Changed)
		if result.Plan.Add != 1 || result.Plan.Digest == "" || result.State.Lineage != "" {
			t.Errorf("%s: got %+v", mode, result)
		}
		job = b.again(job, result)
	}
	job.Mode = reconciler.Converge
	applied := b.run(job, reconciler.Applied)
	job = b.again(job, applied)
	job.Mode = reconciler.Observe
	b.run(job, reconciler.Unchanged)

	// Drift that no rule would allow is drift all the same.
	job = b.again(job, applied)
	job.Policy = json.RawMessage(`{"level": "deny"}`)
	job.Rendering.Variables["size"] = json.RawMessage(`"large"`)
	b.run(job, reconciler.Changed)
	job = b.again(job, applied)
	job.Mode = reconciler.Preview
	b.run(job, reconciler.DeniedByPolicy)
}

func TestOutputsAloneAreAChange(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	first := b.run(job, reconciler.Applied)
	job = b.again(job, first)
	job.Module = map[string][]byte{"main.tf": []byte(simple + `output "more" { value = 1 }`)}
	result := b.run(job, reconciler.Applied)
	if !result.Plan.Empty() || !result.OutputsChanged || string(result.Outputs.Of("more")) != "1" {
		t.Errorf("got %+v", result)
	}
	if result.Plan.Digest == first.Plan.Digest || result.Plan.Digest == "" {
		t.Errorf("got digest %q", result.Plan.Digest)
	}
}

func TestDestroy(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	gone := job
	gone.Destroy, gone.Mode = true, reconciler.Preview
	b.run(gone, reconciler.Unchanged) // never applied
	gone = b.again(gone, reconciler.Result{})
	gone.Mode = reconciler.Converge
	b.run(gone, reconciler.Destroyed)
	b.forgetStarts()

	applied := b.run(b.again(job, reconciler.Result{}), reconciler.Applied)
	b.forgetStarts()
	gone = b.again(job, applied)
	gone.Destroy = true
	result := b.run(gone, reconciler.Destroyed)
	b.expectStarts("plan", "show", "apply")
	if result.Plan.String() != "+0 ~0 -1" || len(result.Resources) != 0 || !result.OutputsChanged {
		t.Errorf("got %+v", result)
	}
	// The result got lost: the destroy is asked for once more.
	gone = b.again(gone, applied)
	b.run(gone, reconciler.Destroyed)
	b.expectStarts()
}

// A unit whose first engine was killed as soon as it had the lock leaves nothing,
// whatever its run was to do.
func TestKilledEngineLeavesNoLock(t *testing.T) {
	b := newBench(t)
	for _, destroy := range []bool{false, true} {
		// Its upstream was never applied, so no engine comes after that one.
		job := b.job("checkout-db", `variable "host" { type = string }`, inputs("host", `{"from":{"request":"ledger-db","output":"host"}}`))
		if job.Destroy = destroy; destroy {
			job.Rendering.References = nil
		}
		unit := filepath.Dir(localState(b.host, job.Unit))
		must(t, os.MkdirAll(unit, 0o700))
		for _, name := range []string{"terraform.tfstate", ".terraform.tfstate.lock.info"} {
			must(t, os.WriteFile(filepath.Join(unit, name), nil, 0o600))
		}
		outcome := reconciler.PlanFailed
		if destroy {
			outcome = reconciler.Destroyed
		}
		b.run(job, outcome)
		if left, err := os.ReadDir(unit); err != nil || len(left) > 0 {
			t.Errorf("destroy %v: left are %v, %v", destroy, left, err)
		}
	}
}

func TestDestroyOnlyWhatIsOwned(t *testing.T) {
	b := newBench(t)
	applied := b.run(b.job("checkout-db", simple, inputs("size", `"small"`)), reconciler.Applied)
	must(t, os.Rename(filepath.Join(b.host.State, "checkout-db"), filepath.Join(b.host.State, "ledger-db")))

	other := b.job("ledger-db", simple, inputs("size", `"small"`))
	other.Destroy = true
	result := b.run(other, reconciler.NotOwned)
	contains(t, result.Message, "checkout-db", "not ledger-db")
	if result.State != (reconciler.State{}) {
		t.Errorf("a state of another unit was reported: %+v", result.State)
	}
	state, err := readLocalState(b.host, "ledger-db")
	must(t, err)
	if state.Serial != applied.State.Serial || state.empty() {
		t.Error("the state was touched")
	}
}

// A destroy that fails has removed the outputs, and the ownership record with
// them. The next one goes on all the same, but not with another state.
func TestFailedDestroyIsTriedAgain(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", `
resource "terraform_data" "main" {
  provisioner "local-exec" {
    when    = destroy
    command = "exit 1"
  }
}`, nil)
	job = b.again(job, b.run(job, reconciler.Applied))
	job.Destroy = true
	failed := b.run(job, reconciler.ApplyFailed)
	state, err := readLocalState(b.host, "checkout-db")
	must(t, err)
	if state.owner() != "" || len(state.addresses()) != 1 {
		t.Fatalf("this shows nothing: the state is %+v", state)
	}

	again := b.again(job, failed)
	again.Module = map[string][]byte{"main.tf": []byte(`resource "terraform_data" "main" {}`)}
	owned := filepath.Join(b.host.Runs, "checkout-db", ownedName)
	must(t, os.Rename(owned, owned+"-away"))
	b.run(again, reconciler.NotOwned)
	must(t, os.WriteFile(owned, []byte("another lineage"), 0o600))
	b.run(b.again(again, failed), reconciler.NotOwned)
	must(t, os.Rename(owned+"-away", owned))
	b.run(b.again(again, failed), reconciler.Destroyed)
	if exists(owned) {
		t.Error("the note is left")
	}
}

func TestStateLost(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, path string){
		"removed":   func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"truncated": func(t *testing.T, path string) { must(t, os.Truncate(path, 20)) },
		"empty":     func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
		"another lineage": func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(`{"version":4,"serial":9,"lineage":"other"}`), 0o600))
		},
	} {
		for _, destroy := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				job := b.job("checkout-db", simple, inputs("size", `"small"`))
				applied := b.run(job, reconciler.Applied)
				b.forgetStarts()
				lose(t, localState(b.host, "checkout-db"))
				job = b.again(job, applied)
				job.Destroy = destroy
				result := b.run(job, reconciler.StateLost)
				b.expectStarts()
				contains(t, result.Message, applied.State.Lineage, applied.State.Address, "`pave state restore checkout-db FILE`")
				if result.State != applied.State {
					t.Errorf("expected the recorded state, got %+v", result.State)
				}
			})
		}
	}
}

func TestPlanFails(t *testing.T) {
	b := newBench(t)
	result := b.run(b.job("checkout-db", `
variable "size" { type = string }
resource "terraform_data" "main" {
  lifecycle {
    precondition {
      condition     = var.size == "large"
      error_message = "Only large ones, not ${var.size}."
    }
  }
}`, inputs("size", `"small"`)), reconciler.PlanFailed)
	contains(t, result.Message, "plan: main.tf:6: ", "Resource precondition failed", "Only large ones, not small.")
	lacks(t, result.Message, "\n", "\x1b", "│")
	if !result.Plan.Empty() || result.State.Lineage != "" {
		t.Errorf("got %+v", result)
	}

	result = b.run(b.job("broken", `resource "terraform_data" {`, nil), reconciler.PlanFailed)
	contains(t, result.Message, "prepare template: init: main.tf:1: ")
}

func TestApplyFails(t *testing.T) {
	b := newBench(t)
	result := b.run(b.job("checkout-db", `
resource "terraform_data" "good" {}
resource "terraform_data" "bad" {
  depends_on = [terraform_data.good]
  provisioner "local-exec" { command = "echo no luck; exit 3" }
}
output "here" { value = terraform_data.good.id }`, nil), reconciler.ApplyFailed)
	contains(t, result.Message, "apply: main.tf:5: local-exec provisioner error", "exit status 3", "(terraform_data.bad)")
	if !slices.Contains(result.Resources, "terraform_data.good") || result.State.Lineage == "" {
		t.Errorf("what was made is not reported: %+v", result)
	}
}

func TestJudge(t *testing.T) {
	b := newBench(t)
	for policy, want := range map[string]reconciler.Outcome{
		`{"level":"deny"}`:         reconciler.DeniedByPolicy,
		`{"error":"no such rule"}`: reconciler.DeniedByPolicy,
		`{"level":"approve"}`:      reconciler.AwaitingApproval,
		`{"level":"unheard-of"}`:   reconciler.AwaitingApproval,
		`{"level":"warn"}`:         reconciler.Applied,
	} {
		job := b.job("judged", simple, inputs("size", `"small"`))
		job.Policy = json.RawMessage(policy)
		result := b.run(job, want)
		if want != reconciler.Applied && exists(localState(b.host, "judged")) {
			t.Fatalf("%s: something was applied", policy)
		}
		if want == reconciler.Applied {
			must(t, os.RemoveAll(filepath.Join(b.host.State, "judged")))
		}
		if policy == `{"error":"no such rule"}` {
			contains(t, result.Message, "judge plan: no such rule")
		} else if len(result.Violations) != 1 || result.Plan.Add != 1 {
			t.Errorf("%s: got %+v", policy, result)
		}
	}
}

func TestTemplateServesAllUnits(t *testing.T) {
	b := newBench(t)
	one := b.start(b.job("one", simple, inputs("size", `"small"`)))
	two := b.start(b.job("two", simple, inputs("size", `"large"`)))
	b.wait(one, reconciler.Applied)
	b.wait(two, reconciler.Applied)
	inits := 0
	for _, s := range b.starts() {
		if s.Args[0] == "init" {
			inits++
		}
	}
	if inits != 1 {
		t.Errorf("expected one init for two units, got %d", inits)
	}
}

func TestOneRunOfAUnitAtATime(t *testing.T) {
	b := newBench(t)
	slow := b.start(b.job("busy", slowModule(5), nil))
	b.awaitStart("apply")
	result := b.run(b.job("busy", simple, inputs("size", `"small"`)), reconciler.PlanFailed)
	contains(t, result.Message, "another run of busy has not ended")
	b.wait(slow, reconciler.Applied)
}

// What cannot be read is not worth another try; what failed on the way is.
func TestUnreadableCodeIsInvalid(t *testing.T) {
	b := newBench(t)
	unreadable := b.job("unreadable", simple+`output "more" { value = terraform_data.other.id }`, inputs("size", `"small"`))
	result := b.run(unreadable, reconciler.PlanFailed)
	b.expectStarts("init", "plan", "validate")
	if !result.Invalid {
		t.Errorf("got %+v", result)
	}
	failing := b.job("failing", `
variable "size" { type = string }
resource "terraform_data" "main" {
  input = var.size
  lifecycle {
    precondition {
      condition     = var.size == "large"
      error_message = "not now"
    }
  }
}
`, inputs("size", `"small"`))
	if result := b.run(failing, reconciler.PlanFailed); result.Invalid {
		t.Errorf("got %+v", result)
	}
}
