package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// localStore is the folder of this host.
func localStore(h *host) stores.Store {
	return stores.Store{Backend: "local", Config: map[string]any{}, Lose: func(unit string) {
		files, err := filepath.Glob(filepath.Join(h.state(), "*", "units", unit, "terraform.tfstate"))
		must(h.T, err)
		for _, file := range files {
			must(h.T, os.Remove(file))
		}
	}}
}

// newStored makes a host with the platform of tokens on a store.
func newStored(t *testing.T, name string) (*host, stores.Store) {
	h := newTokens(t, "terraform")
	h.bind("development")
	store := localStore(h)
	if name != "local" {
		store = stores.New(t, name)
	}
	h.keepStatesIn(store)
	return h, store
}

// keepStatesIn changes the backend of the environment.
func (h *host) keepStatesIn(store stores.Store) {
	h.Helper()
	h.write("environments.cue", "package platform\n\nenvironment: development: {stage: \"development\", drift: every: \"1s\", backend: "+store.CUE()+"}\n")
	h.commit("Keep states elsewhere")
}

// engine is an engine that somebody else runs on the state of a unit.
type engine struct {
	*host
	dir  string
	path string
}

// engineOn makes a folder with the backend that was recorded of a unit.
func (h *host) engineOn(unit string) *engine {
	h.Helper()
	dir := h.TempDir()
	e := &engine{h, dir, findEngines(h.T)["terraform"]}
	var generated struct {
		Terraform json.RawMessage `json:"terraform"`
	}
	must(h.T, json.Unmarshal([]byte(h.git("show", "pave/status:"+recorded("applied", unit)+"/pave.tf.json")), &generated))
	must(h.T, os.WriteFile(filepath.Join(dir, "main.tf.json"), []byte(`{"terraform":`+string(generated.Terraform)+`,"resource":{"terraform_data":{"other":{}}}}`), 0o600))
	if units, _ := filepath.Glob(filepath.Join(h.state(), "*", "units")); len(units) == 1 {
		must(h.T, os.Symlink(filepath.Join(units[0], unit), filepath.Join(dir, "state"))) // where the local backend looks
	}
	e.run("init", "-input=false")
	return e
}

func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(e.path, args...)
	cmd.Dir = e.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir, "CHECKPOINT_DISABLE=1", "AWS_ACCESS_KEY_ID=" + stores.AccessKey, "AWS_SECRET_ACCESS_KEY=" + stores.SecretKey}
	return cmd
}

func (e *engine) run(args ...string) string {
	e.Helper()
	out, err := e.command(args...).CombinedOutput()
	if err != nil {
		e.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// expectNothing looks for resources in the state that is left at the address.
func (e *engine) expectNothing() {
	e.Helper()
	var left struct{ Resources []any }
	if text := e.run("state", "pull"); strings.TrimSpace(text) != "" {
		must(e.T, json.Unmarshal([]byte(text), &left))
	}
	if len(left.Resources) > 0 {
		e.Errorf("there are resources left: %v", left.Resources)
	}
}

// hold locks the state, by an apply that waits for a word, until it is let go.
func (e *engine) hold() (release func()) {
	e.Helper()
	cmd := e.command("apply", "-no-color")
	stdin, err := cmd.StdinPipe()
	must(e.T, err)
	output := &output{}
	cmd.Stdout, cmd.Stderr = output, output
	must(e.T, cmd.Start())
	release = sync.OnceFunc(func() {
		_, _ = io.WriteString(stdin, "no\n")
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	e.Cleanup(release)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(output.String(), "Enter a value"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.Fatalf("the other engine does not ask:\n%s", output)
		}
	}
	return release
}

// output is what a process wrote so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// token returns the token in the state of its unit, wherever that is.
func (h *host) token() string {
	h.Helper()
	file := filepath.Join(h.T.TempDir(), "token.tfstate")
	h.pave(0, "state", "backup", "api-token", file)
	text, err := os.ReadFile(file)
	must(h.T, err)
	return tokenIn(h.T, string(text))
}

// awaitStart waits until an engine was started with a subcommand.
func (h *host) awaitStart(subcommand string) {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(h.starts)
		if strings.Contains(string(text), " "+subcommand+" ") {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("no engine was started for %s:\n%s", subcommand, text)
		}
	}
}

// aside runs a command beside the test. What is returned waits for its end.
func (h *host) aside(code int, args ...string) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.pave(code, args...)
	}()
	return func() { <-ended }
}

// TestStateBackends takes a platform through its life on each backend.
func TestStateBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("needs PostgreSQL and a built server: make test")
	}
	t.Parallel()
	for _, name := range []string{"local", "pg", "s3", "http"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			liveOn(t, name)
		})
	}
}

func liveOn(t *testing.T, name string) {
	h, store := newStored(t, name)
	h.pave(0, "apply")
	h.expectAllReady(2)
	first := h.token()
	h.expectDigestOf(first)
	h.expectStarts(recordedStarts(name)...)
	h.pave(0, "apply")
	h.expectStarts()
	h.replace("catalog/api.cue", "generation: 1", "generation: 2")
	h.commit("Make another token")
	h.pave(0, "apply")
	second := h.token()
	if second == first {
		t.Error("expected another token")
	}
	h.expectDigestOf(second)

	// Somebody who holds the lock is waited for, and named.
	other := h.engineOn("api-token")
	h.replace("catalog/api.cue", "generation: 2", "generation: 3")
	h.commit("Make a third token")
	release := other.hold()
	must(t, os.WriteFile(h.starts, nil, 0o600))
	wait := h.aside(0, "apply")
	h.awaitStart("plan")
	time.Sleep(time.Second)
	if u := h.units()["api-token"]; u.Reason == "Ready" && !u.Ready {
		t.Errorf("got %+v", u)
	}
	release()
	wait()
	h.expectAllReady(2)
	third := h.token()
	if third == second {
		t.Error("expected a third token")
	}
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\nplatform: limits: runTime: \"6s\"")
	h.replace("catalog/api.cue", "generation: 3", "generation: 4")
	h.commit("Make a fourth token, and wait for less")
	release = other.hold()
	said := h.lastSaid(1, "apply")
	who, err := user.Current()
	must(t, err)
	if !strings.Contains(said, "the state is locked by "+who.Username+"@") {
		t.Errorf("expected to be told who holds the lock, got %s", said)
	}
	release()
	if now := h.token(); now != third {
		t.Error("the token was changed under another's lock")
	}
	h.git("revert", "--no-edit", "HEAD")
	h.pave(0, "apply")
	h.expectAllReady(2)

	// What is lost is not begun anew, and can be put back.
	backup := filepath.Join(t.TempDir(), "backup.tfstate")
	h.pave(0, "state", "backup", "api-token", backup)
	store.Lose("api-token")
	h.replace("catalog/api.cue", "generation: 3", "generation: 5")
	h.commit("Make a fifth token")
	h.pave(1, "apply")
	h.expectHeld("api-token", "StateLost")
	h.pave(0, "state", "restore", "api-token", backup)
	h.git("revert", "--no-edit", "HEAD")
	h.pave(0, "apply")
	h.expectAllReady(2)
	if now := h.token(); now != third {
		t.Error("the restored state holds another token")
	}

	// What differs is found.
	pulled := filepath.Join(t.TempDir(), "changed.tfstate")
	var state map[string]any
	must(t, json.Unmarshal([]byte(other.run("state", "pull")), &state))
	attributes := state["resources"].([]any)[0].(map[string]any)["instances"].([]any)[0].(map[string]any)["attributes"].(map[string]any)
	attributes["triggers_replace"].(map[string]any)["value"] = 99
	state["serial"] = state["serial"].(float64) + 1
	text, err := json.Marshal(state)
	must(t, err)
	must(t, os.WriteFile(pulled, text, 0o600))
	d := h.serve()
	d.until("msg=", 1)
	other.run("state", "push", pulled)
	for deadline := time.Now().Add(60 * time.Second); !strings.Contains(h.git("log", "--format=%B", "pave/status"), "Unit: api-token drifted"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no drift was found:\n%s", d.said())
		}
	}
	d.end()

	h.cut("catalog/api.cue", "api-token")
	h.cut("catalog/api.cue", "api-user")
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\nplatform: guards: shrink: {to: 0, reason: \"the API is closed\"}")
	h.commit("Close the API")
	h.pave(0, "apply")
	h.expectAllReady(0)
	other.expectNothing()
	h.expectNowhere([]string{first, second, third})
}

// PostgreSQL has one lock for a whole database while states are made in it: two
// requests that are applied for the first time at once both succeed, however
// long one of them takes.
func TestFirstAppliesOnPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("needs PostgreSQL: make test")
	}
	t.Parallel()
	h, _ := newStored(t, "pg")
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\nplatform: limits: runTime: \"12s\"\nplatform: policy: waivers: [{rule: \"module-provisioner\", blueprint: \"token\", reason: \"it takes its time\"}]")
	h.replace("blueprints/token/main.tf", "triggers_replace = var.generation\n", `triggers_replace = var.generation
  provisioner "local-exec" { command = "sleep 8" } // longer than a lock is waited for
`)
	h.cut("catalog/api.cue", "api-user")
	h.write("catalog/other.cue", `package platform

request: "api-other": {
	blueprint:   "token"
	service:     "api"
	environment: "development"
	inputs: generation: 1
}
`)
	h.commit("Make two tokens")
	h.pave(0, "apply")
	h.expectAllReady(2)
}

// recordedStarts are the subcommands that a first apply starts.
func recordedStarts(backend string) []string {
	starts := []string{"version", "init", "plan", "show", "apply"}
	if backend != "local" {
		starts = append(starts, "state")
	}
	return starts
}

// TestStatesMove moves states from backend to backend and home again.
func TestStatesMove(t *testing.T) {
	if testing.Short() {
		t.Skip("needs PostgreSQL and a built server: make test")
	}
	t.Parallel()
	h, home := newStored(t, "local")
	h.pave(0, "apply")
	token := h.token()
	for _, store := range []stores.Store{stores.New(t, "pg"), stores.New(t, "s3"), stores.New(t, "http"), home} {
		old := h.engineOn("api-token")
		h.keepStatesIn(store)
		h.pave(1, "apply")
		h.expectHeld("api-token", "StateMoved")
		h.pave(0, "state", "move", "api-token", "api-user")
		h.expectAllReady(2)
		if h.token() != token {
			t.Errorf("another token is at %s", store.CUE())
		}
		h.expectDigestOf(token)
		old.expectNothing()
		must(t, os.WriteFile(h.starts, nil, 0o600))
		h.pave(0, "apply")
		h.expectStarts()
	}
}
