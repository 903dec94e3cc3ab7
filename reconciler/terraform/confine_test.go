package terraform

import (
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
	"github.com/pave-dev/pave/reconciler/confine"
)

const canary = "canary-7f3a"

// daemonVerb makes the test binary stand for a daemon: it holds secrets in its
// environment and does nothing.
const daemonVerb = "__daemon"

func daemon() error {
	if err := confine.Protect(); err != nil {
		return err
	}
	fmt.Println("ready")
	time.Sleep(10 * time.Minute)
	return nil
}

// scene is a host with something to steal and to spoil.
type scene struct {
	*bench
	victim  reconciler.Job     // of a run that goes on
	run     reconciler.Running // that run
	pid     int                // its process
	daemon  *exec.Cmd
	key     string // the file of a signing key
	outside string // a folder that belongs to nobody's run
}

func newScene(t *testing.T, engine, way string) *scene {
	real := os.Getenv(map[string]string{"terraform": "PAVE_TEST_TERRAFORM", "tofu": "PAVE_TEST_TOFU"}[engine])
	if real == "" {
		var err error
		if real, err = exec.LookPath(engine); err != nil {
			t.Fatalf("%s is not on the PATH: `go run ./testdata/tools/get %s` builds it", engine, engine)
		}
	}
	b := newBenchAlone(t)
	dir := filepath.Dir(b.bin)
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) // users of units pass through it
	bin := filepath.Join(dir, "engines")
	must(t, os.Mkdir(bin, 0o755))
	must(t, os.Symlink(real, filepath.Join(bin, engine)))
	h := &scene{bench: b, key: filepath.Join(dir, "signing-key"), outside: filepath.Join(dir, "outside")}
	b.host.EnginePath, b.host.AllowWrite, b.host.Confine = bin, "", way
	b.host.Cache += "-hostile"
	b.host.Credentials = filepath.Join(dir, "credentials")
	b.host.CLIConfig = os.Getenv("PAVE_TEST_PROVIDERS")
	if way == ByUsers {
		b.host.CLIConfig = copyProviders(t, dir, b.host)
	}
	for _, folder := range []string{b.host.Credentials, h.outside} {
		must(t, os.Mkdir(folder, 0o700))
	}
	must(t, os.WriteFile(h.key, []byte(canary), 0o600))
	must(t, os.WriteFile(filepath.Join(b.host.Credentials, "production.env"), []byte("TOKEN="+canary+"\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(h.outside, "file"), nil, 0o600))
	b.restart()
	var err error
	b.engine, err = b.runner.Engine(t.Context(), engine)
	must(t, err)
	h.startVictim()
	return h
}

// copyProviders returns a CLI configuration whose providers every user can read.
func copyProviders(t *testing.T, dir string, host Host) string {
	store, _ := host.providerStore()
	for _, folder := range store {
		const local = "registry.terraform.io/hashicorp/local"
		if exists(filepath.Join(folder, local)) {
			to := filepath.Join(dir, "providers", local)
			must(t, os.CopyFS(to, os.DirFS(filepath.Join(folder, local))))
			must(t, filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Chmod(path, 0o755))
			}))
		}
	}
	path := filepath.Join(dir, "cli.tfrc")
	must(t, os.WriteFile(path, []byte(fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(dir, "providers"))), 0o644))
	return path
}

// startVictim applies a unit and starts another run of it, which waits for its
// judge until the test ends.
func (h *scene) startVictim() {
	h.Helper()
	h.victim = h.job("ledger-db", simple, inputs("size", `"`+canary+`"`))
	first := h.bench.run(h.victim, reconciler.Applied)
	h.victim = h.again(h.victim, first)
	h.victim.Rendering.Variables["size"] = json.RawMessage(`"` + canary + ` again"`)
	h.victim.Timeout = 10 * time.Minute
	h.victim.Policy = json.RawMessage(`{"until":"` + filepath.Join(h.TempDir(), "never") + `"}`)
	h.run = h.start(h.victim)
	h.await("the victim's plan", func() bool { return exists(filepath.Join(h.dir(h.victim), privateName, "plan")) })
	h.pid = h.pidOf("__run", h.dir(h.victim))
	h.Cleanup(func() { _ = syscall.Kill(h.pid, syscall.SIGKILL) })
}

// startDaemon starts a process that an engine must leave alone.
func (h *scene) startDaemon() {
	h.Helper()
	h.daemon = exec.Command(h.host.Self, daemonVerb)
	h.daemon.Env = []string{"PAVE_TOKEN=" + canary}
	out, err := h.daemon.StdoutPipe()
	must(h.T, err)
	must(h.T, h.daemon.Start())
	_, err = out.Read(make([]byte, 5))
	must(h.T, err)
}

// stopDaemon ends it and tells whether something else did.
func (h *scene) stopDaemon() bool {
	h.Helper()
	time.Sleep(10 * time.Millisecond)
	_ = h.daemon.Process.Signal(syscall.SIGTERM)
	err := h.daemon.Wait()
	return err == nil || !strings.Contains(err.Error(), "terminated")
}

const (
	reads = `
variable "path" { type = string }
output "stolen" { value = file(var.path) }`
	runs = `
variable "script" { type = string }
resource "terraform_data" "main" {
  provisioner "local-exec" { command = var.script }
}`
	writes = `
variable "path" { type = string }
resource "local_file" "main" {
  filename = var.path
  content  = "spoiled"
}`
)

// crime is a hostile blueprint.
type crime struct {
	module string
	// arg is the path or the script that the module is given.
	arg func(h *scene) string
	// spoils is the file that it changes or removes, if any.
	spoils func(h *scene) string
}

// crimes are what blueprints try. The last one ends the victim.
var crimes = []struct {
	name string
	crime
}{
	{"reads the variables of another unit", crime{module: reads, arg: func(h *scene) string {
		return filepath.Join(h.dir(h.victim), workName, variablesName)
	}}},
	{"reads the state of another unit", crime{module: reads, arg: (*scene).victimState}},
	{"reads an intent", crime{module: reads, arg: func(h *scene) string { return filepath.Join(h.dir(h.victim), intentName) }}},
	{"reads credentials", crime{module: reads, arg: func(h *scene) string { return filepath.Join(h.host.Credentials, "production.env") }}},
	{"reads the signing key", crime{module: reads, arg: func(h *scene) string { return h.key }}},
	{"reads the daemon's environment", crime{module: reads, arg: func(h *scene) string { return fmt.Sprintf("/proc/%d/environ", h.daemon.Process.Pid) }}},
	{"opens the memory of a run", crime{module: runs, arg: func(h *scene) string { return fmt.Sprintf("exec 3<>/proc/%d/mem", h.pid) }}},
	{"writes to the state of another unit", crime{module: runs,
		arg:    func(h *scene) string { return "echo spoiled >>" + h.victimState() },
		spoils: (*scene).victimState}},
	{"writes to a template", crime{module: runs,
		arg:    func(h *scene) string { return "echo '# spoiled' >>" + h.template() },
		spoils: (*scene).template}},
	{"writes a result", crime{module: runs,
		arg:    func(h *scene) string { return "echo '{}' >" + filepath.Join(h.dir(h.victim), resultName) },
		spoils: func(h *scene) string { return filepath.Join(h.dir(h.victim), resultName) }}},
	{"removes a lock", crime{module: runs,
		arg:    func(h *scene) string { return "rm -f " + filepath.Join(h.dir(h.victim), runLock) },
		spoils: func(h *scene) string { return filepath.Join(h.dir(h.victim), runLock) }}},
	{"writes through a link", crime{module: runs,
		arg:    func(h *scene) string { return "ln -s " + h.outside + " out && echo spoiled >out/file" },
		spoils: func(h *scene) string { return filepath.Join(h.outside, "file") }}},
	{"writes a file elsewhere", crime{module: writes,
		arg:    func(h *scene) string { return filepath.Join(h.outside, "made") },
		spoils: func(h *scene) string { return filepath.Join(h.outside, "made") }}},
	{"kills the daemon", crime{module: runs, arg: func(h *scene) string { return fmt.Sprintf("kill -KILL %d", h.daemon.Process.Pid) }}},
	{"kills a run", crime{module: runs, arg: func(h *scene) string { return fmt.Sprintf("kill -KILL %d", h.pid) }}},
}

func (h *scene) victimState() string { return localState(h.host, h.victim.Unit) }

// template returns a file of the template that the victim runs from.
func (h *scene) template() string {
	h.Helper()
	own, err := os.ReadFile(filepath.Join(h.dir(h.victim), workName, "main.tf"))
	must(h.T, err)
	found, err := filepath.Glob(filepath.Join(h.host.Cache, "templates", "*", "main.tf"))
	must(h.T, err)
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && string(text) == string(own) {
			return path
		}
	}
	h.Fatal("the victim has no template")
	return ""
}

// TestHostileBlueprints lets every blueprint commit its crime where nothing keeps
// it from that, which shows that it is one, and under each way to confine it.
func TestHostileBlueprints(t *testing.T) {
	if testing.Short() {
		t.Skip("needs built providers: make test")
	}
	if os.Getenv("PAVE_TEST_PROVIDERS") == "" {
		t.Fatal("PAVE_TEST_PROVIDERS is not set: `go run ./testdata/tools/get providers` makes what it names, `make test` sets it")
	}
	root := os.Geteuid() == 0
	ways := []struct{ engine, way string }{{"terraform", ByLandlock}}
	if root { // who reads the memory of others where nothing forbids it, and gives users
		ways = []struct{ engine, way string }{{"terraform", Unconfined}, {"terraform", ByUsers}, {"tofu", ByLandlock}}
		t.Run("terraform landlock, not as root", asNobody)
	}
	for _, c := range ways {
		t.Run(c.engine+" "+c.way, func(t *testing.T) {
			t.Parallel()
			h := newScene(t, c.engine, c.way)
			for i, crime := range crimes {
				h.commit(i, crime.name, crime.crime, c.way == Unconfined)
			}
		})
	}
}

// asNobody runs this test as a user who is not root, with whom Pave shares all that
// it has on most hosts.
func asNobody(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "nobody-") // short: providers listen on sockets below it
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "terraform.test")
	must(t, os.WriteFile(program, self, 0o755))
	tmp := filepath.Join(dir, "tmp")
	must(t, os.Mkdir(tmp, 0o755))
	const nobody = 65534
	must(t, os.Chown(tmp, nobody, nobody))
	cmd := exec.Command(program, "-test.v", "-test.run", "^TestHostileBlueprints$")
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PAVE_TEST_TERRAFORM=" + os.Getenv("PAVE_TEST_TERRAFORM"),
		"TMPDIR=" + tmp, "PAVE_TEST_PROVIDERS=" + copyProviders(t, dir, Host{CLIConfig: os.Getenv("PAVE_TEST_PROVIDERS")})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHostileBlueprints/terraform_landlock") {
		t.Errorf("%v\n%s", err, out)
	}
}

// commit runs one blueprint and expects that it gets its way, or does not.
func (h *scene) commit(i int, name string, c crime, free bool) {
	h.Helper()
	h.startDaemon()
	var victim string
	var before []byte
	if c.spoils != nil {
		victim = c.spoils(h)
		before, _ = os.ReadFile(victim)
		defer h.restore(victim, before, exists(victim))
	}
	argument, err := json.Marshal(c.arg(h))
	must(h.T, err)
	variable := "path"
	if c.module == runs {
		variable = "script"
	}
	job := h.job("hostile", c.module, inputs(variable, string(argument)))
	job.ID = fmt.Sprintf("crime-%d", i)
	run := h.start(job)
	result, err := run.Wait(h.Context())
	must(h.T, err)
	said := result.Message
	_, statErr := os.Stat("/proc/" + fmt.Sprint(h.pid))
	state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.pid))
	killed := h.stopDaemon() || statErr != nil || strings.Contains(string(state), ") Z ")
	spoiled := victim != "" && h.spoiled(victim, before)
	stolen := strings.Contains(string(result.Outputs.Of("stolen")), canary)
	succeeded := killed || spoiled || stolen || c.module == runs && victim == "" && result.Outcome == reconciler.Applied
	if succeeded != free {
		h.Errorf("%s: killed %v, spoiled %v, stolen %v, %s: %s", name, killed, spoiled, stolen, result.Outcome, said)
	}
	want := reconciler.ApplyFailed
	switch {
	case free:
		want = reconciler.Applied
	case c.module == reads:
		want = reconciler.PlanFailed
	}
	if result.Outcome != want {
		h.Errorf("%s: expected %s, got %s: %s", name, want, result.Outcome, said)
	}
	lower := strings.ToLower(said)
	if !free && !strings.Contains(lower, "permission denied") && !strings.Contains(lower, "operation not permitted") {
		h.Errorf("%s: expected an error of the kernel, got: %s", name, said)
	}
	must(h.T, run.Forget())
	must(h.T, os.RemoveAll(filepath.Join(h.host.State, "hostile")))
}

func (h *scene) spoiled(path string, before []byte) bool {
	after, err := os.ReadFile(path)
	return err != nil && before != nil || string(after) != string(before)
}

func (h *scene) restore(path string, content []byte, existed bool) {
	if !existed {
		_ = os.Remove(path)
		return
	}
	if !exists(path) {
		must(h.T, os.WriteFile(path, content, 0o600))
		return
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(h.T, err)
	defer file.Close()
	_, err = file.Write(content)
	must(h.T, err)
}

// BenchmarkEngineStart compares what a start of the smallest program costs with
// and without confinement, in processor time of the program and what it becomes.
func BenchmarkEngineStart(b *testing.B) {
	for _, way := range []string{Unconfined, ByLandlock} {
		b.Run(way, func(b *testing.B) {
			home := b.TempDir()
			path, env := Host{Confine: way}.confined("/bin/true", 0, map[string]string{"HOME": home, "TMPDIR": home}, nil, nil)
			var used time.Duration
			for b.Loop() {
				cmd := exec.Command(path)
				cmd.Env = environList(env)
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// A mirror may hold links to packages that are elsewhere.
func TestLinkedProvidersAreRead(t *testing.T) {
	dir := t.TempDir()
	mirror, elsewhere := filepath.Join(dir, "mirror"), filepath.Join(dir, "elsewhere")
	at := filepath.Join(mirror, "registry.terraform.io", "hashicorp", "local", "2.5.3")
	must(t, os.MkdirAll(at, 0o700))
	must(t, os.Mkdir(elsewhere, 0o700))
	must(t, os.Symlink(elsewhere, filepath.Join(at, "linux_amd64")))
	host := Host{CLIConfig: filepath.Join(dir, "cli.tfrc"), Credentials: filepath.Join(elsewhere, "credentials")}
	must(t, os.WriteFile(host.CLIConfig, []byte(fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)), 0o600))
	store, _ := host.providerStore()
	if !slices.Contains(store, elsewhere) {
		t.Errorf("got %q", store)
	}
	if err := host.checkStore(); err == nil {
		t.Error("a link that leads to the credentials is taken")
	}
}
