package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
)

// keeper makes passwords; user gets them and does with them what it must not.
var canaryFiles = map[string]string{
	"blueprints/keeper/blueprint.cue": `package keeper

import "pave.dev/schema"

#Inputs: generation!: int

#Blueprint: schema.#Blueprint & {
	name:  "keeper"
	title: "Keeper"
	outputs: {all: sensitive: true, first: sensitive: true, lines: sensitive: true, encoded: {}, escaped: {}, told: {}}
	lifetime: {default: "90d", max: "365d"}
	request: {
		inputs: #Inputs
		cost: monthly: 1
	}
}
`,
	"blueprints/keeper/main.tf": `terraform {
  required_providers {
    random = {
      source = "hashicorp/random"
    }
  }
}

variable "generation" {
  type = number
}

resource "random_password" "all" {
  count            = 24
  length           = 24
  override_special = "!@#&*\"<>"
  keepers          = { generation = var.generation }
}

output "all" {
  value     = join(",", random_password.all[*].result)
  sensitive = true
}

output "first" {
  value     = random_password.all[0].result
  sensitive = true
}

output "lines" {
  value     = join("\n", random_password.all[*].result)
  sensitive = true
}

output "encoded" {
  value = nonsensitive(base64encode(random_password.all[1].result))
}

output "escaped" {
  value = nonsensitive(urlencode(random_password.all[2].result))
}

output "told" {
  value = nonsensitive("the password is ${random_password.all[3].result}")
}
`,
	"blueprints/user/blueprint.cue": `package user

import "pave.dev/schema"

#Inputs: {
	all!:   schema.#Ref
	first!: schema.#Ref
	fails:  *"" | string
	folder: *"" | string
	pin?:   string | schema.#Ref
}

#Blueprint: schema.#Blueprint & {
	name:  "user"
	title: "User"
	outputs: told: {}
	lifetime: {default: "90d", max: "365d"}
	request: {
		inputs: #Inputs
		cost: monthly: 1
	}
}
`,
	"blueprints/user/main.tf": `terraform {
  required_providers {
    local = {
      source = "hashicorp/local"
    }
  }
}

variable "all" {
  type      = string
  sensitive = true
}

variable "first" {
  type      = string
  sensitive = true
}

variable "fails" {
  type    = string
  default = ""
}

variable "folder" {
  type    = string
  default = ""
}

variable "pin" {
  type      = string
  default   = "` + canaryPin + `"
  sensitive = true
}

# Its address holds the secret, and somebody removes it.
resource "local_file" "kept" {
  for_each = nonsensitive(toset(var.folder == "" ? [] : [var.first]))
  filename = "${var.folder}/kept"
  content  = "${each.key} ${var.all}"
}

resource "terraform_data" "env" {
  count = var.fails == "env" ? 1 : 0
  provisioner "local-exec" {
    command = "env >&2; exit 1"
  }
}

resource "terraform_data" "slow" {
  count = var.fails == "slow" ? 1 : 0
  provisioner "local-exec" {
    command = "touch '${var.folder}/arrived'; until [ -e '${var.folder}/open' ]; do sleep 0.1; done"
  }
}

resource "terraform_data" "each" {
  for_each = nonsensitive(toset([var.first]))
  input    = { key = each.key, all = var.all, fails = var.fails }

  lifecycle {
    precondition {
      condition     = var.fails != "plan"
      error_message = "No:\n${nonsensitive(var.all)}, ${nonsensitive(jsonencode(var.first))}."
    }
    precondition {
      condition     = var.fails != "default"
      error_message = "No: ${nonsensitive(var.pin)}."
    }
    postcondition {
      condition     = var.fails != "apply" || self.id == ""
      error_message = "No: ${nonsensitive(var.first)}."
    }
  }
}

# The provider says which file it cannot write.
resource "local_file" "refused" {
  count    = var.fails == "provider" ? 1 : 0
  filename = "/proc/${nonsensitive(base64encode(var.first))}/${nonsensitive(var.first)}"
  content  = "x"
}

output "told" {
  value = nonsensitive(split(",", var.all))
}
`,
	"catalog/payments/keeper.cue": `package platform

request: "the-keeper": {
	blueprint:   "keeper"
	service:     "ledger"
	environment: "development"
	inputs: generation: 1
}
`,
}

// canaryPin is the default of a sensitive variable: it is in Git, and nowhere else.
const canaryPin = "pin-4711-canary"

// Each fails in another way and tells a secret; the last two use a folder.
var canaryUsers = []string{"plan", "apply", "provider", "default", "env", "slow", ""}

func userRequest(fails, folder string) string {
	name := "bad-" + fails
	if fails == "" {
		name = "good"
	}
	return fmt.Sprintf(`request: %q: {
	blueprint:   "user"
	service:     "ledger"
	environment: "development"
	inputs: {
		all: from: {request: "the-keeper", output: "all"}
		first: from: {request: "the-keeper", output: "first"}
		fails:  %q
		folder: %q
	}
}
`, name, fails, folder)
}

// unmasked makes nothing of what engines say secret.
//
//go:linkname unmasked github.com/pave-dev/pave/reconciler/terraform.unmasked
var unmasked bool

// unmaskedName is a file beside the folder of state of a stand whose runs mask
// nothing.
const unmaskedName = "unmasked"

// unmask lets a child mask nothing where its stand says so.
func unmask(args []string) {
	if args[0] == runVerb && len(args) == 2 { // STAND/state/REPOSITORY/runs/UNIT/RUN
		_, err := os.Stat(filepath.Join(args[1], "../../../../..", unmaskedName))
		unmasked = err == nil
	}
}

// TestCanaries plants secrets wherever Pave is given any, lets a daemon, a pull
// request and commands handle them, and looks for them everywhere but where they
// belong. Passwords are made by a provider, travel between units, and come back in
// errors, addresses, drift and outputs that call themselves harmless.
func TestCanaries(t *testing.T) {
	for _, found := range newCanaries(t).handled() {
		t.Error(found)
	}
}

// The search finds what is not masked, wherever it comes to.
func TestCanariesAreFoundUnmasked(t *testing.T) {
	c := newCanaries(t)
	must(t, os.WriteFile(filepath.Join(c.dir, unmaskedName), nil, 0o600))
	unmasked = true
	defer func() { unmasked = false }()
	found := strings.Join(c.handled(), "\n")
	for what, count := range map[string]int{
		"the secret planted": 26, "the secret pin-4711": 1, // from the environment and the code
		// Messages are cut at their ends.
		"is in the objects of": 50, "is in the daemon's log": 10, "is in pave status -o json": 10, "is in pave status good": 10, "is in messages of the status branch": 1,
		"is in a live run": 1, "is in /requests/bad-apply": 1, "is in /requests/bad-slow": 1,
	} {
		if n := strings.Count(found, what); n < count {
			t.Errorf("expected to read %q %d times, got %d", what, count, n)
		}
	}
	if t.Failed() {
		t.Log(found)
	}
}

// canaries is a stand in which secrets are planted.
type canaries struct {
	*stand
	t       *testing.T
	common  []string // the flags that every command gets
	folder  string   // that runs may change
	planted []string
	said    map[string]string // what was seen, by the place
}

func newCanaries(t *testing.T) *canaries {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	providers := findProviders(t)
	s := newStand(t)
	c := &canaries{stand: s, t: t, folder: filepath.Join(s.dir, "engines"), said: map[string]string{}}
	for name, content := range canaryFiles {
		path := filepath.Join(s.work, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	users := "package platform\n\n"
	for _, fails := range canaryUsers {
		folder := ""
		if fails == "slow" || fails == "" {
			folder = c.folder
		}
		users += userRequest(fails, folder)
	}
	must(t, os.WriteFile(filepath.Join(s.work, "catalog/payments/users.cue"), []byte(users), 0o644))
	s.replace("platform.cue", "\t\"acme.example/boxes/blueprints/box\"\n", "\t\"acme.example/boxes/blueprints/box\"\n\t\"acme.example/boxes/blueprints/keeper\"\n\t\"acme.example/boxes/blueprints/user\"\n")
	s.replace("platform.cue", `#blueprints: "box": box.#Blueprint`, `#blueprints: {"box": box.#Blueprint, "keeper": keeper.#Blueprint, "user": user.#Blueprint}`)
	s.replace("platform.cue", `intervals: poll: "1s"`, `intervals: poll: "1s", limits: parallel: 3, policy: overrides: "module-provisioner": {level: "off", reason: "these tell secrets"}`)
	s.replace("environments.cue", `development: stage: "development"`, `development: {stage: "development", drift: every: "5s"}`)
	s.replace("teams.cue", `members: ["alice", "bob"], budget: 10`, `members: ["alice", "bob"], budget: 1000`)
	s.commit("Keep passwords")
	s.git("push", "--quiet", "origin", "main")
	c.planted = s.plant()
	c.common = append(slices.Clone(s.flags), "--terraform-config", providers)
	return c
}

// handled lets everything handle the secrets, and tells which are where.
func (c *canaries) handled() []string {
	c.Helper()
	t, s, said := c.t, c.stand, c.said
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	s.flags = append(slices.Clone(c.common), "--listen", address, "--webhook-secret-file", filepath.Join(s.secrets(), "hook"))
	seen := watchProcesses(t)
	stop := s.serve()
	recorded := func() string {
		s.git("fetch", "--quiet")
		return s.git("log", "--format=%B", "--all")
	}
	s.eventually("an apply waits", func() bool {
		_, err := os.Stat(filepath.Join(c.folder, "arrived"))
		return err == nil
	})
	found := c.lookAtLiveRun()
	must(t, os.WriteFile(filepath.Join(c.folder, "open"), nil, 0o600))
	s.eventually("the units are done", func() bool {
		return containsAll(recorded(), []string{"Unit: good applied", "Unit: bad-plan ", "Unit: bad-apply ", "Unit: bad-provider ", "Unit: bad-default ", "Unit: bad-env ", "Unit: bad-slow applied"})
	})
	must(t, os.Remove(filepath.Join(c.folder, "kept")))
	s.eventually("drift is seen", func() bool { return strings.Contains(recorded(), "Unit: good drifted +1 ") })
	s.replace("catalog/payments/keeper.cue", "generation: 1", "generation: 2")
	p := s.open("carol", false)
	s.expect(p, p.HeadSHA, "pending", "the-keeper")
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		said[path] = get(t, address, path)
	}
	for _, request := range []string{"the-keeper", "good", "bad-plan", "bad-apply", "bad-provider", "bad-default", "bad-env", "bad-slow"} {
		page := "/requests/" + request
		s.eventually(page+" shows a run that ended", func() bool { // what fails is tried again, and says little until it failed
			said[page] = html.UnescapeString(get(t, address, page))
			return strings.Contains(said[page], `class="log"`) && !strings.Contains(said[page], "The run that goes on")
		})
	}
	stop()
	for _, command := range []string{"plan", "apply", "status", "status the-keeper", "status good", "status -o json", "log", "log bad-apply", "log good -o json", "state list"} {
		var out syncBuffer
		args := strings.Fields(command)
		switch args[0] {
		case "plan", "apply":
			args = append(args, c.common...)
		default:
			args = append(args, c.common[:8]...)
		}
		run(t.Context(), args, strings.NewReader(""), &out, &out)
		said["pave "+command] = out.String()
	}
	said["the daemon's log"] = s.log.String()
	for place, text := range said {
		if place != "pave state list" && text == "" {
			t.Errorf("%s is empty", place)
		}
	}
	said["arguments and environments of processes"] = seen()
	for _, comment := range s.server.Comments(p.Number) {
		said["a comment"] += comment.Body
	}
	for _, commit := range []string{p.HeadSHA, s.git("rev-parse", "main")} {
		for _, status := range s.server.Statuses(commit) {
			said["a status"] += fmt.Sprint(status)
		}
	}
	made := s.passwords()
	if len(made)+len(c.planted) < 50 {
		t.Errorf("expected 50 secrets or more, got %d and %d", len(made), len(c.planted))
	}
	states := s.below(func(path string) bool { return strings.Contains(path, "/units/") })
	if found := find(made, states); len(found) < len(made) {
		t.Errorf("the search finds %d of %d passwords in the states, where all are", len(found), len(made))
	}
	// What the code has is in Git and in what is made of it. The status branch says
	// nothing of it but there.
	outside := map[string]string{"messages of the status branch": recorded(), "requests on the status branch": ""}
	for _, file := range strings.Fields(s.git("ls-tree", "-r", "--name-only", "origin/pave/status")) {
		if !strings.HasPrefix(file, "applied/") {
			outside["requests on the status branch"] += s.git("show", "origin/pave/status:"+file)
		}
	}
	for place, text := range said {
		outside[place] = text
	}
	found = append(found, find([]string{canaryPin}, outside)...)
	for place, content := range s.below(func(path string) bool {
		return !strings.Contains(path, "/units/") && !strings.HasPrefix(path, s.secrets()) && path != filepath.Join(c.folder, "kept")
	}) {
		said[place] = content
	}
	return append(found, find(append(made, c.planted...), said)...)
}

// lookAtLiveRun looks at what an apply that is going on has on disk and shows of its
// processes, and tells which secrets are where they need not be.
func (c *canaries) lookAtLiveRun() (found []string) {
	c.Helper()
	runs, err := filepath.Glob(filepath.Join(c.dir, "state", "*", "runs", "bad-slow", "*", "work"))
	must(c.t, err)
	if len(runs) != 1 {
		c.t.Fatalf("expected one run, got %q", runs)
	}
	secrets := append(c.passwords(), c.planted...)
	holds := 0
	must(c.t, filepath.WalkDir(filepath.Join(c.dir, "state"), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another run goes on and ends
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		if info.Mode().Perm()&0o077 != 0 {
			c.t.Errorf("others may read %s, mode %s", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		if err != nil || len(find(secrets, map[string]string{path: string(text)})) == 0 {
			return nil
		}
		holds++
		switch entry.Name() {
		case "terraform.tfvars.json", "terraform.tfstate", "terraform.tfstate.backup": // Terraform's own
		case "apply.jsonl": // what it says of an apply, which may outlive the run that masks it
		default:
			found = append(found, "a secret is in a live run: "+path)
		}
		return nil
	}))
	if holds == 0 {
		c.t.Error("no file of a live run holds a secret, which it needs")
	}
	c.lookAtProcesses(filepath.Dir(runs[0]))
	return found
}

// lookAtProcesses looks at the processes of a run, as other users see them: no core
// of any has a secret, for none leaves one.
func (c *canaries) lookAtProcesses(run string) {
	c.Helper()
	own, count := "", 0
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	must(c.t, err)
	for _, link := range links {
		cwd, _ := os.Readlink(link)
		if cwd != run && !strings.HasPrefix(cwd, run+"/") {
			continue
		}
		count++
		process := filepath.Dir(link)
		environment, _ := os.ReadFile(filepath.Join(process, "environ"))
		own += string(environment)
		limits, err := os.ReadFile(filepath.Join(process, "limits"))
		must(c.t, err)
		if !noCore.Match(limits) {
			command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
			c.t.Errorf("%q may leave a core:\n%s", command, limits)
		}
	}
	if count < 3 || len(find(c.planted, map[string]string{"": own})) == 0 {
		c.t.Errorf("expected a run, an engine and what it starts, with credentials in their environments; found %d processes", count)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		c.t.Errorf("the daemon's memory is open to others: %d, %v", dumpable, err)
	}
	if os.Geteuid() != 0 {
		c.t.Log("this is not root, so nobody looks from another user")
		return
	}
	nobody := exec.Command("/bin/sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/maps 2>/dev/null; true")
	nobody.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	text, err := nobody.Output()
	must(c.t, err)
	if !strings.Contains(string(text), "\x00__run") {
		c.t.Error("another user sees no run, and should see its arguments")
	}
	c.said["what another user sees of processes"] = string(text)
}

var noCore = regexp.MustCompile(`(?m)^Max core file size +0 +0 `)

// secrets is the folder of what the host's operator keeps.
func (s *stand) secrets() string { return filepath.Join(s.dir, "kept") }

// plant gives the host credentials, a key and the webhook's secret.
func (s *stand) plant() []string {
	s.Helper()
	dir := s.secrets()
	must(s.TB, os.MkdirAll(dir, 0o700))
	var planted []string
	lines := ""
	for i := range 26 {
		value := fmt.Sprintf("planted \"%d\" & <kept> = canary-%02d", i, i)
		planted = append(planted, value)
		lines += fmt.Sprintf("CANARY_%d=%s\n", i, value)
	}
	must(s.TB, os.WriteFile(filepath.Join(dir, "development.env"), []byte(lines), 0o600))
	must(s.TB, os.WriteFile(filepath.Join(dir, "hook"), []byte(webhookSecret), 0o600))
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		s.Fatalf("make a key: %v: %s", err, out)
	}
	private, err := os.ReadFile(key)
	must(s.TB, err)
	s.flags = append(s.flags, "--credentials", dir, "--signing-key", key)
	return append(planted, webhookSecret, strings.Split(string(private), "\n")[2])
}

// passwords are those that the provider made, as its unit's state has them.
func (s *stand) passwords() []string {
	s.Helper()
	var made []string
	files, err := filepath.Glob(filepath.Join(s.dir, "state", "*", "units", "the-keeper", "terraform.tfstate"))
	must(s.TB, err)
	for _, path := range files {
		content, err := os.ReadFile(path)
		must(s.TB, err)
		var state struct {
			Resources []struct {
				Instances []struct{ Attributes struct{ Result string } }
			}
		}
		must(s.TB, json.Unmarshal(content, &state))
		for _, r := range state.Resources {
			for _, instance := range r.Instances {
				made = append(made, instance.Attributes.Result)
			}
		}
	}
	return made
}

// below returns the files of the stand that are chosen, and every object of its
// repositories. Whatever others may read among Pave's own files is an error.
func (s *stand) below(chosen func(path string) bool) map[string]string {
	s.Helper()
	found := map[string]string{}
	must(s.TB, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if strings.HasSuffix(path, ".git") {
				found["the objects of "+path] = gitIn(s.TB, s.dir, path, "cat-file", "--batch-all-objects", "--batch")
			}
			return nil
		}
		if !entry.Type().IsRegular() || !chosen(path) || strings.HasPrefix(entry.Name(), "terraform-provider-") {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, filepath.Join(s.dir, "state")) && info.Mode().Perm()&0o077 != 0 {
			s.Errorf("others may read %s", path)
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	}))
	return found
}

// find tells which texts stand where, in each spelling that a program may give them.
func find(texts []string, places map[string]string) []string {
	var found []string
	for _, text := range texts {
		quoted, _ := json.Marshal(text)
		spellings := []string{text, strings.Trim(string(quoted), `"`), url.QueryEscape(text), url.PathEscape(text),
			base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text))}
		for place, content := range places {
			if slices.ContainsFunc(spellings, func(spelling string) bool { return strings.Contains(content, spelling) }) {
				found = append(found, fmt.Sprintf("the secret %.9s… is in %s", text, place))
			}
		}
	}
	return found
}

// watchProcesses collects the arguments of every process on this machine, and the
// environments of Pave's own, until the returned function is called.
func watchProcesses(t *testing.T) func() string {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range paths {
				arguments, _ := os.ReadFile(path)
				text := string(arguments)
				if strings.Contains(text, "\x00__") { // a child of Pave
					environment, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
					text += string(environment)
				}
				mu.Lock()
				seen[text] = true
				mu.Unlock()
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return sync.OnceValue(func() string {
		close(done)
		work.Wait()
		var b strings.Builder
		for text := range seen {
			b.WriteString(text + "\n")
		}
		if !strings.Contains(b.String(), "\x00__run") {
			t.Error("no run was seen")
		}
		return b.String()
	})
}

func get(t *testing.T, address, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}

// eventually waits for something that the daemon does.
func (s *stand) eventually(what string, is func() bool) {
	s.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("it never came that %s", what)
		}
	}
}
