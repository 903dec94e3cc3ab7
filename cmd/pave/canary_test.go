package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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

# Its address holds the secret.
resource "terraform_data" "each" {
  for_each = nonsensitive(toset([var.first]))
  input    = { key = each.key, all = var.all, fails = var.fails }

  lifecycle {
    precondition {
      condition     = var.fails != "plan"
      error_message = "No:\n${nonsensitive(var.all)}, ${nonsensitive(jsonencode(var.first))}."
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
` + userRequest("good", "") + userRequest("bad-plan", "plan") + userRequest("bad-apply", "apply") + userRequest("bad-provider", "provider"),
}

func userRequest(name, fails string) string {
	return fmt.Sprintf(`request: %q: {
	blueprint:   "user"
	service:     "ledger"
	environment: "development"
	inputs: {
		all: from: {request: "the-keeper", output: "all"}
		first: from: {request: "the-keeper", output: "first"}
		fails: %q
	}
}
`, name, fails)
}

// TestCanaries plants secrets wherever Pave is given any, lets a daemon, a pull
// request and commands handle them, and looks for them everywhere but where they
// belong. Passwords are made by a provider, travel between units, and come back in
// errors, addresses and outputs that call themselves harmless.
func TestCanaries(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	providers := findProviders(t)
	s := newStand(t)
	for name, content := range canaryFiles {
		path := filepath.Join(s.work, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	s.replace("platform.cue", "\t\"acme.example/boxes/blueprints/box\"\n", "\t\"acme.example/boxes/blueprints/box\"\n\t\"acme.example/boxes/blueprints/keeper\"\n\t\"acme.example/boxes/blueprints/user\"\n")
	s.replace("platform.cue", `#blueprints: "box": box.#Blueprint`, `#blueprints: {"box": box.#Blueprint, "keeper": keeper.#Blueprint, "user": user.#Blueprint}`)
	s.replace("teams.cue", `members: ["alice", "bob"], budget: 10`, `members: ["alice", "bob"], budget: 1000`)
	s.commit("Keep passwords")
	s.git("push", "--quiet", "origin", "main")

	planted := s.plant()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	common := append(slices.Clone(s.flags), "--terraform-config", providers)
	s.flags = append(slices.Clone(common), "--listen", address, "--webhook-secret-file", filepath.Join(s.secrets(), "hook"))
	seen := watchProcesses(t)
	stop := s.serve()
	s.eventually("the units are done", func() bool {
		s.git("fetch", "--quiet")
		log := s.git("log", "--format=%B", "--all")
		return containsAll(log, []string{"Unit: good applied", "Unit: bad-plan ", "Unit: bad-apply ", "Unit: bad-provider "})
	})
	s.replace("catalog/payments/keeper.cue", "generation: 1", "generation: 2")
	p := s.open("carol", false)
	s.expect(p, p.HeadSHA, "pending", "the-keeper")
	said := map[string]string{"/metrics": get(t, address, "/metrics"), "/readyz": get(t, address, "/readyz"), "the daemon's log": ""}
	stop()
	for _, command := range []string{"plan", "apply", "status", "status the-keeper", "status good -o json", "log", "log bad-apply", "state list"} {
		var out syncBuffer
		args := strings.Fields(command)
		switch args[0] {
		case "plan", "apply":
			args = append(args, common...)
		default:
			args = append(args, common[:8]...)
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
	for _, c := range s.server.Comments(p.Number) {
		said["a comment"] += c.Body
	}
	for _, commit := range []string{p.HeadSHA, s.git("rev-parse", "main")} {
		for _, status := range s.server.Statuses(commit) {
			said["a status"] += fmt.Sprint(status)
		}
	}

	made := s.passwords()
	if len(made)+len(planted) < 50 {
		t.Errorf("expected 50 secrets or more, got %d and %d", len(made), len(planted))
	}
	states := s.below(func(path string) bool { return strings.Contains(path, "/units/") })
	if found := find(made, states); len(found) < len(made) {
		t.Errorf("the search finds %d of %d passwords in the states, where all are", len(found), len(made))
	}
	for place, content := range s.below(func(path string) bool {
		return !strings.Contains(path, "/units/") && !strings.HasPrefix(path, s.secrets())
	}) {
		said[place] = content
	}
	for _, found := range find(append(made, planted...), said) {
		t.Error(found)
	}
}

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
