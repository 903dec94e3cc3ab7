package terraform

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

func TestProcessIsNotMistaken(t *testing.T) {
	own, err := thisProcess()
	must(t, err)
	if !own.here() || !own.alive() {
		t.Errorf("%+v is not here and alive", own)
	}
	other := own
	other.Started++
	if other.alive() {
		t.Error("a process with the same number is taken for another one")
	}
	for _, other := range []process{{Boot: "before", Space: own.Space, ID: own.ID}, {Boot: own.Boot, Space: "container", ID: own.ID}, {}} {
		if other.here() {
			t.Errorf("%+v is taken for one of this boot and container", other)
		}
	}
}

// engineOf returns the process of a run's apply.
func (b *bench) engineOf(job reconciler.Job) int {
	b.Helper()
	return b.pidOf("-lock-timeout="+min(lockTimeout, job.Timeout/2).String(), filepath.Join(b.dir(job), privateName, "plan"))
}

// What a dead run and a dead engine leave goes on for nobody, and would keep the
// unit from running for as long as it does.
func TestOrphansOfDeadRunEnd(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(300), nil)
	b.start(job)
	b.awaitProvisioner(job)
	engine := b.engineOf(job)
	must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
	must(t, syscall.Kill(engine, syscall.SIGKILL))
	if len(b.living(job)) == 0 {
		t.Fatal("the provisioner did not outlive its engine")
	}
	b.restart()
	runs, err := b.runner.Unfinished()
	must(t, err)
	b.wait(runs[0], reconciler.Unknown)
	if left := b.living(job); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	job = b.again(job, reconciler.Result{})
	job.Module = map[string][]byte{"main.tf": []byte(`resource "terraform_data" "slow" {}`)}
	b.run(job, reconciler.Applied)
}

// Somebody who removes the folder of runs takes away the locks and what adopts a
// run, and not the run: nothing of the unit begins beside it.
func TestFolderOfRunsIsRemoved(t *testing.T) {
	remove := func(b *bench, module string) (reconciler.Job, reconciler.Running) {
		job := b.job("checkout-db", module, nil)
		b.start(job)
		b.awaitProvisioner(job)
		b.restart()
		runs, err := b.runner.Unfinished()
		must(b.T, err)
		err = os.RemoveAll(b.host.Runs)
		for errors.Is(err, syscall.ENOTEMPTY) { // the run wrote into it meanwhile
			err = os.RemoveAll(b.host.Runs)
		}
		must(b.T, err)
		return job, runs[0]
	}
	t.Run("run goes on", func(t *testing.T) {
		b := newBench(t)
		_, run := remove(b, slowModule(3))
		if result := b.wait(run, reconciler.Applied); len(result.Resources) != 1 {
			t.Errorf("got %+v", result)
		}
		must(t, run.Forget())
	})
	t.Run("stopped", func(t *testing.T) {
		b := newBench(t)
		_, run := remove(b, slowModule(60))
		must(t, run.Stop())
		contains(t, b.wait(run, reconciler.ApplyFailed).Message, "apply: stopped on request")
	})
	t.Run("apply goes on alone", func(t *testing.T) {
		b := newBench(t)
		made := filepath.Join(b.outside(), "made")
		module := `
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "echo made >>'` + made + `'; touch started; exec sleep 8" }
}`
		job, run := remove(b, module)
		must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
		b.restart() // which knows nothing of it
		result := b.run(b.again(job, reconciler.Result{}), reconciler.PlanFailed)
		contains(t, result.Message, "run "+job.ID+" of checkout-db has not ended")
		b.wait(run, reconciler.Unknown)
		b.run(b.again(job, reconciler.Result{}), reconciler.Unchanged)
		if text, err := os.ReadFile(made); string(text) != "made\n" {
			t.Errorf("made %q, %v", text, err)
		}
	})
}

// An apply that outlived its run is kept to what the run would have kept it to.
func TestApplyWithoutItsRunHasLimits(t *testing.T) {
	for name, stop := range map[string]bool{"too long": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			job := b.job("checkout-db", slowModule(300), nil)
			if !stop {
				job.Timeout = 5 * time.Second
			}
			run := b.start(job)
			b.awaitProvisioner(job)
			must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
			if stop {
				must(t, run.Stop())
			}
			b.wait(run, reconciler.Unknown)
			state, err := readLocalState(b.host, job.Unit)
			must(t, err)
			if state.Lineage == "" {
				t.Error("the apply was not given the time to write its state")
			}
		})
	}
}

// What goes wrong with an engine, or with what it starts, is the matter of its
// unit, and of one run of it.
func TestEngineTroubleIsContained(t *testing.T) {
	for name, trouble := range map[string]struct{ command, says string }{
		"hangs":         {"trap '' INT TERM; touch started; while :; do sleep 1; done", "apply: took longer than 8s"},
		"crashes":       {"kill -SEGV $PPID; sleep 60", "apply: "},
		"is killed":     {"kill -KILL $PPID; sleep 60", "apply: signal: killed"}, // as the kernel does where memory is short
		"lacks memory":  {"ulimit -v 20000; exec awk 'BEGIN { while (1) s = s \\\"0123456789abcdef\\\" s }'", "local-exec provisioner error"},
		"lacks handles": {"ulimit -n 3; exec cat /etc/hostname /dev/null", "local-exec provisioner error"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.host.Grace = 2 * time.Second
			b.restart()
			job := b.job("checkout-db", `
resource "terraform_data" "good" {}
resource "terraform_data" "bad" {
  depends_on = [terraform_data.good]
  provisioner "local-exec" { command = "`+trouble.command+`" }
}`, nil)
			job.Timeout = 8 * time.Second
			result := b.run(job, reconciler.ApplyFailed)
			contains(t, result.Message, trouble.says)
			if left := b.living(job); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			job = b.again(job, result)
			job.Timeout = time.Minute
			job.Module = map[string][]byte{"main.tf": []byte(`
resource "terraform_data" "good" {}
resource "terraform_data" "better" {}`)}
			result = b.run(job, reconciler.Applied)
			if len(result.Resources) != 2 {
				t.Errorf("got %v", result.Resources)
			}
		})
	}
}

// An engine that says more than a disk holds fills none.
func TestFloodIsBounded(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", `
resource "terraform_data" "main" {
  provisioner "local-exec" { command = "exec yes $(head -c 200 /dev/zero | tr '\\0' x)" }
}`, nil)
	run := b.start(job)
	b.awaitStart("apply")
	last, largest := int64(0), int64(0)
	for deadline := time.Now().Add(50 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := os.Stat(filepath.Join(b.dir(job), privateName, "apply.jsonl"))
		if err == nil {
			if info.Size() < last {
				break
			}
			last, largest = info.Size(), max(largest, info.Size())
		}
		if time.Now().After(deadline) {
			t.Fatalf("the output grew to %d MB", last>>20)
		}
	}
	if largest > 2*maxOutput {
		t.Errorf("the output took %d MB", largest>>20)
	}
	must(t, run.Stop())
	contains(t, b.wait(run, reconciler.ApplyFailed).Message, "apply: stopped on request")
}
