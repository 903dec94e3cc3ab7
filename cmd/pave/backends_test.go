package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stateStore is a server that keeps states, or the folder of this host.
type stateStore struct {
	config string // its backend in CUE
	// stop ends the server at once, as a crash does, and start makes it answer
	// again with what it kept. They are nil where there is no server.
	stop, start func()
	// lose deletes the state of a unit by the store's own means.
	lose func(unit string)
}

// stores are the backends, by name.
var stores = map[string]func(h *host) stateStore{
	"local": localStore, "pg": pgStore, "s3": s3Store, "http": httpStore,
}

func localStore(h *host) stateStore {
	return stateStore{config: `{type: "local"}`, lose: func(unit string) {
		files, err := filepath.Glob(filepath.Join(h.state(), "*", "units", unit, "terraform.tfstate"))
		must(h.T, err)
		for _, file := range files {
			must(h.T, os.Remove(file))
		}
	}}
}

func s3Store(h *host) stateStore {
	s := startS3(h.T)
	s.expect(200, http.MethodPut, "/states")
	return s.store()
}

func (s *awsServer) store() stateStore {
	return stateStore{
		config: `{type: "s3", config: {bucket: "states", region: "us-east-1", endpoints: s3: "` + s.url() + `", use_lockfile: true, use_path_style: true, max_retries: 1,
			skip_credentials_validation: true, skip_metadata_api_check: true, skip_region_validation: true, skip_requesting_account_id: true}}`,
		stop: s.stop, start: s.start,
		lose: func(unit string) { s.expect(204, http.MethodDelete, "/states/pave/"+unit+".tfstate") },
	}
}

func httpStore(h *host) stateStore {
	s := &stateServer{states: map[string][]byte{}, locks: map[string][]byte{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(h.T, err)
	address := listener.Addr().String()
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	stop := func() { _ = server.Close() }
	h.Cleanup(func() { stop() })
	return stateStore{
		config: `{type: "http", config: {address: "http://` + address + `/units", retry_max: 0}}`,
		stop:   stop,
		start: func() {
			listener, err := net.Listen("tcp", address)
			must(h.T, err)
			server = &http.Server{Handler: s}
			go func(server *http.Server) { _ = server.Serve(listener) }(server)
		},
		lose: func(unit string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.states, "/units/"+unit)
		},
	}
}

// stateServer keeps states as the backend "http" wants them.
type stateServer struct {
	mu            sync.Mutex
	states, locks map[string][]byte // guarded by mu
}

func (s *stateServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
		state, found := s.states[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNoContent)
		}
		_, _ = w.Write(state)
	case http.MethodPost:
		s.states[r.URL.Path] = body
	}
}

// postgres is a server of its own on this machine.
type postgres struct {
	*testing.T
	dir, bin string
	port     string
	user     *syscall.Credential // whom it runs as, where that is another one
	cmd      *exec.Cmd
}

func pgStore(h *host) stateStore {
	p := newPostgres(h.T)
	return stateStore{
		config: `{type: "pg", config: conn_str: "postgres://postgres@127.0.0.1:` + p.port + `/postgres?sslmode=disable"}`,
		stop:   p.stop, start: p.start,
		lose: func(unit string) { p.query("DELETE FROM pave_" + strings.ReplaceAll(unit, "-", "_") + ".states") },
	}
}

// newPostgres starts a PostgreSQL with nothing in it.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	must(t, err)
	if path, err := exec.LookPath("initdb"); err == nil && len(found) == 0 {
		path, err = filepath.EvalSymlinks(path) // to what lies beside it
		must(t, err)
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Fatal("there is no PostgreSQL on this machine: `apt-get install postgresql` brings it")
	}
	p := &postgres{T: t, bin: filepath.Dir(found[len(found)-1])}
	// The folder is of the user that the server runs as, which is never root.
	p.dir, err = os.MkdirTemp("", "pave-postgres-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(p.dir) })
	if os.Geteuid() == 0 {
		owner, err := user.Lookup("postgres")
		must(t, err)
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		p.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		must(t, os.Chown(p.dir, uid, gid))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, p.port, _ = net.SplitHostPort(listener.Addr().String())
	must(t, listener.Close())
	if out, err := p.command("initdb", "-D", p.data(), "-A", "trust", "-U", "postgres", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	return cmd
}

func (p *postgres) start() {
	p.Helper()
	p.cmd = p.command("postgres", "-D", p.data(), "-p", p.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	said := &output{}
	p.cmd.Stdout, p.cmd.Stderr = said, said
	must(p.T, p.cmd.Start())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := p.command("pg_isready", "-h", "127.0.0.1", "-p", p.port).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.Fatalf("PostgreSQL does not answer: %v\n%s%s", err, out, said)
		}
	}
}

// stop ends the server at once; it recovers at the next start.
func (p *postgres) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *postgres) query(sql string) {
	p.Helper()
	if out, err := p.command("psql", "-X", "-q", "-h", "127.0.0.1", "-p", p.port, "-U", "postgres", "-c", sql).CombinedOutput(); err != nil {
		p.Fatalf("psql: %v\n%s", err, out)
	}
}

// newStored makes a host with the platform of tokens on a store.
func newStored(t *testing.T, name string) (*host, stateStore) {
	h := newTokens(t, "terraform")
	h.bind("development")
	store := stores[name](h)
	h.keepStatesIn(store)
	return h, store
}

// keepStatesIn changes the backend of the environment.
func (h *host) keepStatesIn(store stateStore) {
	h.Helper()
	h.write("environments.cue", "package platform\n\nenvironment: development: {stage: \"development\", drift: every: \"1s\", backend: "+store.config+"}\n")
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
	must(h.T, json.Unmarshal([]byte(h.git("show", "pave/status:applied/"+unit[:2]+"/"+unit+"/pave.tf.json")), &generated))
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
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir, "CHECKPOINT_DISABLE=1", "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey}
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
	store.lose("api-token")
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
	for _, store := range []stateStore{pgStore(h), s3Store(h), httpStore(h), home} {
		old := h.engineOn("api-token")
		h.keepStatesIn(store)
		h.pave(1, "apply")
		h.expectHeld("api-token", "StateMoved")
		h.pave(0, "state", "move", "api-token", "api-user")
		h.expectAllReady(2)
		if h.token() != token {
			t.Errorf("another token is at %s", store.config)
		}
		h.expectDigestOf(token)
		old.expectNothing()
		must(t, os.WriteFile(h.starts, nil, 0o600))
		h.pave(0, "apply")
		h.expectStarts()
	}
}
