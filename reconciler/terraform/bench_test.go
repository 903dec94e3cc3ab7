package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// The test binary is three programs: the tests, the process of a run
// (`Self __run DIR`), and the engine that counts: a link named terraform beside
// a link to the real one.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "terraform":
		fmt.Fprintln(os.Stderr, countAndExec())
		os.Exit(127)
	case len(os.Args) == 2 && os.Args[1] == daemonVerb:
		fmt.Fprintln(os.Stderr, daemon())
		os.Exit(1)
	case len(os.Args) == 2 && os.Args[1] == "__start":
		fmt.Fprintln(os.Stderr, startAndHang())
		os.Exit(1)
	case len(os.Args) == 3 && os.Args[1] == "__run":
		if err := Execute(context.Background(), os.Args[2], testJudge); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startAndHang starts the run that it reads and stays until it is killed.
func startAndHang() error {
	var in intent
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	runner, err := NewRunner(in.Host)
	if err != nil {
		return err
	}
	if _, err := runner.Start(context.Background(), in.Job); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return errors.New("nobody came")
}

// countAndExec writes down what the engine was started with and becomes the
// real one. Its environment is closed, so it finds everything beside itself.
func countAndExec() error {
	dir := filepath.Dir(os.Args[0])
	record, err := json.Marshal(start{Args: os.Args[1:], Env: os.Environ()})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := log.Write(append(record, '\n')); err != nil {
		return err
	}
	real := filepath.Join(dir, "real")
	return syscall.Exec(real, append([]string{real}, os.Args[1:]...), os.Environ())
}

// start is one start of the engine.
type start struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
}

// verdict tells testJudge what to say, in place of a policy.
type verdict struct {
	Level reconciler.Level `json:"level"`
	Error string           `json:"error"`
	Quote bool             `json:"quote"` // the message is the whole plan
	Until string           `json:"until"` // waits for a file
}

func testJudge(ctx context.Context, job reconciler.Job, plan json.RawMessage) ([]reconciler.Violation, error) {
	var v verdict
	if len(job.Policy) > 0 {
		if err := json.Unmarshal(job.Policy, &v); err != nil {
			return nil, err
		}
	}
	for v.Until != "" && !exists(v.Until) {
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	message := "the plan was judged"
	if v.Quote {
		message = string(plan)
	}
	switch {
	case v.Error != "":
		return nil, errors.New(v.Error)
	case v.Level != "":
		return []reconciler.Violation{{Level: v.Level, Scope: reconciler.ScopeDocument, Rule: "test", Message: message}}, nil
	}
	return nil, nil
}

// bench is a host of its own for one test.
type bench struct {
	*testing.T
	host   Host
	runner *Runner
	engine reconciler.Engine
	bin    string
	jobs   int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	return newBenchAlone(t)
}

// newBenchAlone is newBench for a test that changes the process's environment,
// which no other may share.
func newBenchAlone(t *testing.T) *bench {
	t.Helper()
	real, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal("these tests need terraform on the PATH: install it from https://developer.hashicorp.com/terraform/install")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	must(t, os.Mkdir(bin, 0o700))
	must(t, os.Symlink(real, filepath.Join(bin, "real")))
	must(t, os.Symlink(self, filepath.Join(bin, "terraform")))
	b := &bench{T: t, bin: bin, host: Host{
		Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "state"), Runs: filepath.Join(dir, "runs"),
		EnginePath: bin, Self: self, Grace: 20 * time.Second,
		AllowWrite: bin, // where starts are counted
	}}
	b.restart()
	b.engine, err = b.runner.Engine(t.Context(), "terraform")
	must(t, err)
	b.forgetStarts()
	return b
}

// outside returns a folder that engines may write to though no unit owns it, and
// restarts the runner for that.
func (b *bench) outside() string {
	b.Helper()
	dir := b.TempDir()
	b.host.AllowWrite += string(filepath.ListSeparator) + dir
	b.restart()
	return dir
}

// restart makes another runner on the same host, as after a restart of Pave.
func (b *bench) restart() {
	b.Helper()
	runner, err := NewRunner(b.host)
	must(b.T, err)
	b.runner = runner
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// job returns a converging job of a module that is one file.
func (b *bench) job(unit, module string, inputs map[string]json.RawMessage) reconciler.Job {
	b.Helper()
	rendering, err := b.runner.Render(reconciler.Unit{
		Request:     &reconciler.Request{Name: unit, Service: "checkout", Environment: "staging", Inputs: reconciler.FieldsOf(inputs)},
		Service:     &reconciler.Service{Name: "checkout", Owner: "payments"},
		Environment: &reconciler.Environment{Name: "staging", Stage: "staging", Backend: reconciler.Backend{Type: "local"}},
		Module:      &reconciler.Module{},
	})
	must(b.T, err)
	b.jobs++
	return reconciler.Job{
		ID: fmt.Sprintf("run-%d", b.jobs), Unit: unit, Mode: reconciler.Converge, Engine: b.engine,
		Module: map[string][]byte{"main.tf": []byte(module)}, Rendering: rendering,
		Environment: "staging", Timeout: time.Minute,
	}
}

// again returns the job once more, as it comes after a result.
func (b *bench) again(job reconciler.Job, last reconciler.Result) reconciler.Job {
	b.jobs++
	job.ID = fmt.Sprintf("run-%d", b.jobs)
	job.Recorded, job.Lock = last.State, last.Lock
	return job
}

func (b *bench) start(job reconciler.Job) reconciler.Running {
	b.Helper()
	run, err := b.runner.Start(b.Context(), job)
	must(b.T, err)
	return run
}

// run carries the job out and expects an outcome.
func (b *bench) run(job reconciler.Job, want reconciler.Outcome) reconciler.Result {
	b.Helper()
	return b.wait(b.start(job), want)
}

func (b *bench) wait(run reconciler.Running, want reconciler.Outcome) reconciler.Result {
	b.Helper()
	result, err := run.Wait(b.Context())
	must(b.T, err)
	if result.Outcome != want {
		b.Fatalf("run of %s: expected %s, got %s: %s %v\n%s", run.Job().Unit, want, result.Outcome, result.Message, result.Violations, b.leftBy(run))
	}
	return result
}

func (b *bench) dir(job reconciler.Job) string { return filepath.Join(b.host.Runs, job.Unit, job.ID) }

// leftBy returns the content of all files that a run left.
func (b *bench) leftBy(run reconciler.Running) string {
	b.Helper()
	var all strings.Builder
	err := filepath.WalkDir(b.dir(run.Job()), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s: %s\n", filepath.Base(path), data)
		return err
	})
	must(b.T, err)
	return all.String()
}

// starts returns the engine's processes since the last call of forgetStarts.
func (b *bench) starts() []start {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(b.bin, "starts"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(b.T, err)
	var list []start
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		var s start
		must(b.T, json.Unmarshal([]byte(line), &s))
		list = append(list, s)
	}
	return list
}

func (b *bench) forgetStarts() {
	b.Helper()
	if err := os.Remove(filepath.Join(b.bin, "starts")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
}

// expectStarts compares the subcommands of the engine's processes.
func (b *bench) expectStarts(want ...string) {
	b.Helper()
	var got []string
	for _, s := range b.starts() {
		got = append(got, s.Args[0])
	}
	if !slices.Equal(got, want) {
		b.Fatalf("engine processes: expected %v, got %v", want, got)
	}
	b.forgetStarts()
}

// awaitStart waits until the engine was started with a subcommand.
func (b *bench) awaitStart(subcommand string) {
	b.Helper()
	b.await(subcommand, func() bool {
		return slices.ContainsFunc(b.starts(), func(s start) bool { return s.Args[0] == subcommand })
	})
}

func (b *bench) await(what string, done func() bool) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain for %s", what)
		}
	}
}

// slowModule is a module whose apply takes some seconds.
func slowModule(seconds int) string {
	return fmt.Sprintf(`
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch started; exec sleep %d" }
}
output "id" { value = terraform_data.slow.id }`, seconds)
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("expected %q in:\n%s", part, text)
		}
	}
}

func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("expected no %q in:\n%s", part, text)
		}
	}
}

func inputs(pairs ...string) map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return values
}
