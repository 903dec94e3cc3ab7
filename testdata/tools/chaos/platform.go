package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/schema"
)

// files is the platform, but for its requests and the schema.
const files = `
-- cue.mod/module.cue --
module: "chaos.example/platform@v0"
language: version: "v0.17.0"
-- platform.cue --
package platform

import (
	"pave.dev/schema"
	"chaos.example/platform/blueprints/object"
)

schema.#Root

platform: {
	owner: "platform"
	guards: {maxDeletes: 1000, maxDeletesPerHour: 10000, maxDeletesShare: 100}
	policy: providers: ["pave/target"]
	intervals: {poll: "2s", retry: "1s", drift: "40s"}
	limits: parallel: 4
}

team: platform: title: "Platform"

environment: live: {
	stage: "development"
	providers: target: address: "ADDRESS"
}

#blueprints: "object": object.#Blueprint
-- blueprints/object/blueprint.cue --
package object

import "pave.dev/schema"

#Inputs: content!: string | schema.#Ref

#Blueprint: schema.#Blueprint & {
	name:  "object"
	title: "Object"
	outputs: content: {}
	lifetime: {default: "90d", max: "365d"}
	request: {
		inputs: #Inputs
		cost: monthly: 1
	}
}
-- blueprints/object/main.tf --
terraform {
  required_providers {
    target = {
      source  = "registry.terraform.io/pave/target"
      version = "1.0.0"
    }
  }
}

variable "content" {
  type = string
}

variable "pave" {
  type = object({
    request     = string
    service     = string
    owner       = string
    environment = string
    stage       = string
    tags        = map(string)
  })
}

resource "target_object" "main" {
  name    = var.pave.request
  content = var.content
}

output "content" {
  value = target_object.main.content
}
-- catalog/service.cue --
package platform

service: api: {title: "API", owner: "platform", type: "service", lifecycle: "experimental", tier: 3}
`

// platform is the remote repository and the checkout from which people push.
type platform struct {
	remote, checkout, home string
	random                 *rand.Rand
	wanted                 map[string]string // the content of each request, but for those that refer
	refers                 map[string]string // the request whose content each of these has
	broken                 string            // a file that makes the revision bad, if there is one
	serial, pushes         int
}

func newPlatform(ctx context.Context, dir, address string, seed uint64) (*platform, error) {
	p := &platform{remote: filepath.Join(dir, "remote.git"), checkout: filepath.Join(dir, "checkout"), home: dir,
		random: rand.New(rand.NewPCG(seed, 1)), wanted: map[string]string{}, refers: map[string]string{}}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch", "main", p.remote},
		// Which commits the remote ever had is what its own log says.
		{"-C", p.remote, "config", "core.logAllRefUpdates", "always"},
		{"init", "--quiet", "--initial-branch", "main", p.checkout},
		{"-C", p.checkout, "remote", "add", "origin", p.remote},
	} {
		if _, err := p.git(ctx, args...); err != nil {
			return nil, err
		}
	}
	content := txtar.Parse([]byte(strings.Replace(files, "ADDRESS", address, 1))).Files
	content = append(content, txtar.File{Name: schema.Folder + "/schema.cue", Data: schema.Source})
	for _, f := range content {
		if err := p.write(f.Name, string(f.Data)); err != nil {
			return nil, err
		}
	}
	for range 4 {
		if err := p.add(); err != nil {
			return nil, err
		}
	}
	return p, p.push(ctx, "Start the platform")
}

// git runs Git without anybody's configuration.
func (p *platform) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = p.home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Maria", "GIT_AUTHOR_EMAIL=maria@acme.example",
		"GIT_COMMITTER_NAME=Maria", "GIT_COMMITTER_EMAIL=maria@acme.example",
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

func (p *platform) write(name, content string) error {
	path := filepath.Join(p.checkout, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

func (p *platform) push(ctx context.Context, subject string) error {
	if _, err := p.git(ctx, "-C", p.checkout, "add", "--all"); err != nil {
		return err
	}
	if _, err := p.git(ctx, "-C", p.checkout, "commit", "--quiet", "--allow-empty", "--message", subject); err != nil {
		return err
	}
	p.pushes++
	_, err := p.git(ctx, "-C", p.checkout, "push", "--quiet", "origin", "main")
	return err
}

// request writes the document of a request.
func (p *platform) request(name, content string) error {
	return p.write("catalog/"+name+".cue", fmt.Sprintf(`package platform

request: %q: {
	blueprint:   "object"
	service:     "api"
	environment: "live"
	inputs: content: %s
}
`, name, content))
}

func (p *platform) set(name string) error {
	p.serial++
	p.wanted[name] = fmt.Sprintf("content %d", p.serial)
	return p.request(name, fmt.Sprintf("%q", p.wanted[name]))
}

func (p *platform) add() error {
	p.serial++
	return p.set(fmt.Sprintf("object-%d", p.serial))
}

// pick returns one of the names, and false where there is none.
func (p *platform) pick(names map[string]string) (string, bool) {
	sorted := slices.Sorted(maps.Keys(names))
	if len(sorted) == 0 {
		return "", false
	}
	return sorted[p.random.IntN(len(sorted))], true
}

// change pushes something: at most a dozen requests come, change, refer to each
// other and go, and now and then a commit breaks the platform.
func (p *platform) change(ctx context.Context) error {
	subject := ""
	for range 1 + p.random.IntN(2) {
		what, err := p.edit()
		if err != nil {
			return err
		}
		subject = what
	}
	return p.push(ctx, subject)
}

// changes pushes something now and then.
func (p *platform) changes(ctx context.Context, end time.Time) error {
	for time.Now().Before(end) && ctx.Err() == nil {
		if err := p.change(ctx); err != nil {
			return err
		}
		time.Sleep(time.Duration(300+p.random.IntN(2500)) * time.Millisecond)
	}
	return ctx.Err()
}

func (p *platform) edit() (string, error) {
	name, some := p.pick(p.wanted)
	dice := p.random.IntN(100)
	switch {
	case p.broken != "" && dice < 50:
		return "Repair the platform", p.repair()
	case p.broken == "" && dice < 8:
		return "Break the platform", p.breaks()
	case dice < 30 && len(p.wanted) < 12 || !some:
		return "Ask for one more", p.add()
	case dice < 38 && len(p.refers) < 3:
		p.serial++
		dependent := fmt.Sprintf("object-%d", p.serial)
		p.refers[dependent] = name
		return "Ask for a copy", p.request(dependent, fmt.Sprintf("from: {request: %q, output: \"content\"}", name))
	case dice < 60 && len(p.wanted) > 3:
		return "Ask no longer", p.remove(name)
	}
	return "Ask for another content", p.set(name)
}

// remove removes a request, after those that refer to it.
func (p *platform) remove(name string) error {
	for dependent, upstream := range p.refers {
		if upstream != name {
			continue
		}
		delete(p.refers, dependent)
		if err := os.Remove(filepath.Join(p.checkout, "catalog", dependent+".cue")); err != nil {
			return err
		}
	}
	delete(p.wanted, name)
	return os.Remove(filepath.Join(p.checkout, "catalog", name+".cue"))
}

// breaks makes the revision one that cannot be read, or one that is refused.
func (p *platform) breaks() error {
	if p.random.IntN(2) == 0 {
		p.broken = "catalog/broken.cue"
		return p.write(p.broken, "package platform\n\nrequest: {")
	}
	p.broken = "teams.cue"
	return p.write(p.broken, "package platform\n\nteam: platform: lead: 1\n")
}

func (p *platform) repair() error {
	if p.broken == "" {
		return nil
	}
	err := os.Remove(filepath.Join(p.checkout, filepath.FromSlash(p.broken)))
	p.broken = ""
	return err
}

// objects is what is to be there in the end.
func (p *platform) objects() map[string]string {
	objects := maps.Clone(p.wanted)
	for dependent, upstream := range p.refers {
		objects[dependent] = p.wanted[upstream]
	}
	return objects
}
