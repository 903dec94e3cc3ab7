package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/pave-dev/pave/reconciler"
)

// pidOf returns the process whose command line ends in the given arguments.
func (b *bench) pidOf(args ...string) int {
	b.Helper()
	want := strings.Join(args, "\x00") + "\x00"
	found := 0
	b.await("a process with arguments "+strings.Join(args, " "), func() bool {
		entries, err := os.ReadDir("/proc")
		must(b.T, err)
		for _, entry := range entries {
			pid, err := strconv.Atoi(entry.Name())
			if err != nil {
				continue
			}
			line, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
			if strings.HasSuffix(string(line), want) {
				found = pid
				return true
			}
		}
		return false
	})
	return found
}

func (b *bench) awaitProvisioner(job reconciler.Job) {
	b.Helper()
	b.await("the provisioner", func() bool { return exists(filepath.Join(b.dir(job), workName, "started")) })
}

func TestKilledRunIsUnknownAndItsApplyEnds(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(5), nil)
	run := b.start(job)
	b.awaitProvisioner(job)
	must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
	if err := run.Forget(); err == nil {
		t.Error("a run was forgotten while its apply was alive")
	}
	result := b.wait(run, reconciler.Unknown)
	contains(t, result.Message, "the run ended without a result: signal: killed", "may exist though no state has it: terraform_data.slow")
	if result.Plan.Add != 1 {
		t.Errorf("the plan is %+v", result.Plan)
	}
	state, err := readLocalState(b.host, "checkout-db")
	must(t, err)
	if got := state.addresses(); len(got) != 1 {
		t.Errorf("the apply did not write its state: %v", got)
	}
	for _, name := range []string{workName, privateName} {
		if exists(filepath.Join(b.dir(job), name)) {
			t.Errorf("%s is left", name)
		}
	}
}

func TestKilledEngineIsAFailedApply(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(20), nil)
	run := b.start(job)
	b.awaitProvisioner(job)
	must(t, syscall.Kill(b.pidOf("-lock-timeout=30s", filepath.Join(b.dir(job), privateName, "plan")), syscall.SIGKILL))
	result := b.wait(run, reconciler.ApplyFailed)
	contains(t, result.Message, "apply: signal: killed", "may exist though no state has it: terraform_data.slow")
	if !slices.Equal(result.Doubt, []string{"terraform_data.slow"}) {
		t.Errorf("what may exist is %v", result.Doubt)
	}
}

func TestAnotherProcessAdoptsARun(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(1), nil)
	job.Recorded.Address = "recorded"
	b.start(job)
	b.restart()
	runs, err := b.runner.Unfinished()
	must(t, err)
	if len(runs) != 1 || runs[0].Job().ID != job.ID || runs[0].Job().Recorded.Address != "recorded" {
		t.Fatalf("got %v", runs)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := runs[0].Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("expected the end of the wait, got %v", err)
	}
	b.wait(runs[0], reconciler.Applied)
	b.wait(runs[0], reconciler.Applied) // a result can be read again

	must(t, runs[0].Forget())
	runs, err = b.runner.Unfinished()
	must(t, err)
	if len(runs) != 0 || exists(b.dir(job)) {
		t.Errorf("the run was not forgotten: %v", runs)
	}
}

// A run must go on when the process that started it is killed with its whole
// process group.
func TestRunOutlivesItsStarter(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(1), nil)
	data, err := json.Marshal(intent{Host: b.host, Job: job})
	must(t, err)
	cmd := exec.Command(b.host.Self, "__start")
	cmd.Stdin = strings.NewReader(string(data))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	b.awaitProvisioner(job)
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	if err := cmd.Wait(); err == nil {
		t.Fatal("the starter was not killed")
	}
	runs, err := b.runner.Unfinished()
	must(t, err)
	if len(runs) != 1 {
		t.Fatalf("got %v", runs)
	}
	b.wait(runs[0], reconciler.Applied)
}

func TestStopBeforeTheApply(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	job.Policy = json.RawMessage(`{"until":"` + filepath.Join(t.TempDir(), "never") + `"}`)
	run := b.start(job)
	b.awaitStart("show")
	must(t, run.Stop())
	must(t, run.Stop()) // again is the same
	b.wait(run, reconciler.Interrupted)
	b.expectStarts("init", "plan", "show")
	if exists(localState(b.host, "checkout-db")) {
		t.Error("something was applied")
	}
}

func TestSignalIsAStop(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	job.Policy = json.RawMessage(`{"until":"` + filepath.Join(t.TempDir(), "never") + `"}`)
	run := b.start(job)
	b.awaitStart("show")
	must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGTERM))
	b.wait(run, reconciler.Interrupted)
}

func TestStopDuringTheApply(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(30), nil)
	run := b.start(job)
	b.awaitProvisioner(job)
	must(t, run.Stop())
	result := b.wait(run, reconciler.ApplyFailed)
	contains(t, result.Message, "apply: stopped on request")
	if result.State.Lineage == "" {
		t.Errorf("the state was not read: %+v", result)
	}
}

// living returns the processes of a run's engines.
func (b *bench) living(job reconciler.Job) []procfs.Proc {
	left, err := livingWhere(func(p procfs.Proc) (bool, error) { return ofRun(b.dir(job), p) })
	must(b.T, err)
	return left
}

// A provisioner may leave processes behind, which inherit all that the apply
// holds open. They end with the run, and the unit's next one does not wait.
func TestLeftProcessesEnd(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", `
resource "terraform_data" "main" {
  provisioner "local-exec" { command = "(sleep 20; touch late) >/dev/null 2>&1 </dev/null & setsid sleep 20 >/dev/null 2>&1 </dev/null &" }
}`, nil)
	began := time.Now()
	first := b.run(job, reconciler.Applied)
	if left := b.living(job); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	b.run(b.again(job, first), reconciler.Unchanged)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestStepTakesTooLong(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(30), nil)
	job.Timeout = 5 * time.Second
	result := b.run(job, reconciler.ApplyFailed)
	contains(t, result.Message, "apply: took longer than 5s")
}

func TestStartRefusesNames(t *testing.T) {
	b := newBench(t)
	for _, change := range []func(*reconciler.Job){
		func(j *reconciler.Job) { j.Unit = "../escape" },
		func(j *reconciler.Job) { j.ID = ".." },
		func(j *reconciler.Job) { j.ID = unitLock },
		func(j *reconciler.Job) { j.ID = "-rf" },
		func(j *reconciler.Job) { j.Environment = "a/b" },
		func(j *reconciler.Job) { j.Upstream = map[string]reconciler.Upstream{"../other": {}} },
		func(j *reconciler.Job) { j.Engine.Path = "terraform" },
		func(j *reconciler.Job) { j.Engine.Name = "sh" },
	} {
		job := b.job("checkout-db", simple, nil)
		change(&job)
		if _, err := b.runner.Start(t.Context(), job); err == nil {
			t.Errorf("started %+v", job)
		}
	}
	job := b.job("checkout-db", simple, inputs("size", `"small"`))
	b.run(job, reconciler.Applied)
	if _, err := b.runner.Start(t.Context(), job); err == nil {
		t.Error("the same run was started twice")
	}
}

func TestModuleStaysInItsDirectory(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"../escape.tf", "/escape.tf", ".terraform/x", "state/x", "pave.tf.json", "x.auto.tfvars", "terraform.tfvars.json", "./terraform.tfvars"} {
		job := b.job("checkout-db", simple, inputs("size", `"small"`))
		job.Module[name] = []byte("size = 1")
		result := b.run(job, reconciler.PlanFailed)
		contains(t, result.Message, "write module")
	}
}

// A starter that is killed before there is an intent leaves nothing.
func TestUnbegunRunIsRemoved(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(b.host.Runs, "checkout-db", "run-0")
	must(t, os.MkdirAll(dir, 0o700))
	lock, err := tryLock(filepath.Join(dir, runLock))
	must(t, err)
	for _, there := range []bool{true, false} {
		runs, err := b.runner.Unfinished()
		must(t, err)
		if len(runs) != 0 || exists(dir) != there {
			t.Errorf("got %v; the folder is there: %v, want %v", runs, exists(dir), there)
		}
		if there {
			unlock(lock)
		}
	}
}
