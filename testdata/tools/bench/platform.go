package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pave-dev/pave/schema"
)

// kind is what the units of a platform are made of.
type kind string

const (
	// provided units are a random_id and a local_file, whose providers are
	// processes that each command of the engine starts anew.
	provided kind = "random and local"
	// builtIn units are a terraform_data, which the engine makes by itself.
	builtIn kind = "built in"
)

// blueprint is what most units of that kind are built by.
func (k kind) blueprint() string {
	if k == builtIn {
		return "note"
	}
	return "file"
}

// platform is a generated repository of so many services, each with one request:
// fifty of them to a team and a folder, every tenth using an output of the one
// before.
type platform struct {
	dir   string
	files string // the folder that units write their files to
	units int
	kind  kind
	// How often the repository is asked, and each unit compared with what runs.
	poll, drift string
	parallel    int // how many units run at a time
}

// never is an interval in which nothing falls due while the bench runs.
const never = "90000h"

const perTeam = 50

func unitName(n int) string    { return fmt.Sprintf("unit-%05d", n) }
func serviceName(n int) string { return fmt.Sprintf("service-%05d", n) }
func teamName(n int) string    { return fmt.Sprintf("team-%03d", n/perTeam) }

// refers tells whether the unit uses an output of the one before.
func refers(n int) bool { return n%10 == 9 }

// write lays out the whole repository.
func (p platform) write() error {
	for path, content := range map[string]string{
		"cue.mod/module.cue":          "module: \"bench.example/platform@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"platform.cue":                p.settings(),
		"environments.cue":            "package platform\n\nenvironment: development: stage: \"development\"\nenvironment: production: stage:  \"production\"\n",
		schema.Folder + "/schema.cue": string(schema.Source),
		"policies/names.rego": `# METADATA
# title: Requests are named for what they are
package bench.names

deny contains "the name must begin with unit-" if {
	input.kind == "request"
	not startswith(input.name, "unit-")
}
`,
	} {
		if err := p.file(path, []byte(content)); err != nil {
			return err
		}
	}
	for name, module := range blueprints {
		if err := p.writeBlueprint(name, module); err != nil {
			return err
		}
	}
	var teams strings.Builder
	teams.WriteString("package platform\n\nteam: platform: {title: \"Platform\", members: [\"ines\"]}\n")
	for n := 0; n < p.units; n += perTeam {
		fmt.Fprintf(&teams, "team: %q: {title: \"Team %d\", members: [\"lead-%d\", \"member-%d\"], onCall: \"pagerduty:%s\", channel: \"#%s\", budget: 5000}\n",
			teamName(n), n/perTeam, n/perTeam, n/perTeam, teamName(n), teamName(n))
	}
	if err := p.file("teams.cue", []byte(teams.String())); err != nil {
		return err
	}
	for n := range p.units {
		if err := p.document(n, 0); err != nil {
			return err
		}
	}
	return nil
}

func (p platform) file(path string, content []byte) error {
	path = filepath.Join(p.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func (p platform) settings() string {
	return fmt.Sprintf(`package platform

import (
	"pave.dev/schema"
	"bench.example/platform/blueprints/file"
	"bench.example/platform/blueprints/note"
	"bench.example/platform/blueprints/link"
)

schema.#Root

platform: {
	title: "Bench"
	owner: "platform"
	guards: {maxDeletes: 100, maxDeletesPerHour: 1000}
	rollout: {maxParallel: 100, maxFailures: 100}
	intervals: {poll: %q, drift: %q}
	limits: parallel: %d
}

#blueprints: {
	"file": file.#Blueprint & {request: inputs: "folder": %q}
	"note": note.#Blueprint
	"link": link.#Blueprint
}
`, p.poll, p.drift, p.parallel, p.files)
}

// parallel is how many units run at a time, here and by hand.
const parallel = 2

// module is a blueprint's Terraform and the CUE of its inputs.
type module struct{ inputs, outputs, tf string }

// The inputs that files and notes share, in CUE and in Terraform.
const (
	contentInputs = "content!: =~\"^[a-z0-9 -]{1,200}$\"\n\tsize: *\"small\" | \"medium\" | \"large\"\n\tcopies: (*1 | int) & >=1 & <=10"
	contentTF     = `variable "content" { type = string }
variable "size" { type = string }
variable "copies" { type = number }
`
	contentText = `"${var.content} ${var.size} ${var.copies}"`
)

var blueprints = map[string]module{
	"file": {
		inputs:  contentInputs + "\n\tfolder!: =~\"^/[A-Za-z0-9._/-]+$\"",
		outputs: "path: description: \"Where the file is.\"",
		tf: contentTF + `variable "folder" { type = string }

resource "random_id" "name" {
  byte_length = 8
}

resource "local_file" "file" {
  filename = "${var.folder}/${random_id.name.hex}"
  content  = ` + contentText + `
}

output "path" { value = local_file.file.filename }
`,
	},
	"note": {
		inputs:  contentInputs,
		outputs: "path: description: \"What the note is known by.\"",
		tf: contentTF + `
resource "terraform_data" "note" {
  input = ` + contentText + `
}

output "path" { value = terraform_data.note.id }
`,
	},
	"link": {
		inputs:  "target!: string | schema.#Ref",
		outputs: "path: description: \"Where it leads.\"",
		tf: `variable "target" { type = string }

resource "terraform_data" "link" {
  input = var.target
}

output "path" { value = terraform_data.link.output }
`,
	},
}

func (p platform) writeBlueprint(name string, m module) error {
	providers := ""
	if strings.Contains(m.tf, "random_id") {
		providers = "  required_providers {\n    random = { source = \"hashicorp/random\" }\n    local  = { source = \"hashicorp/local\" }\n  }\n"
	}
	tf := "terraform {\n" + providers + "}\n\n" + m.tf
	cue := fmt.Sprintf("package %s\n\nimport \"pave.dev/schema\"\n\n#Inputs: {\n\t%s\n}\n\n#Blueprint: schema.#Blueprint & {\n\tname: %q\n\ttitle: \"A %s\"\n\tlifetime: default: \"90d\"\n\toutputs: %s\n\trequest: {\n\t\tinputs: #Inputs\n\t\tcost: monthly: 5\n\t}\n}\n",
		name, m.inputs, name, name, m.outputs)
	if err := p.file("blueprints/"+name+"/main.tf", []byte(tf)); err != nil {
		return err
	}
	return p.file("blueprints/"+name+"/blueprint.cue", []byte(cue))
}

// path returns the file of a service and its request.
func (p platform) path(n int) string {
	return filepath.Join("catalog", teamName(n), serviceName(n)+".cue")
}

// document writes a service and its request; another version asks for a change
// of the unit.
func (p platform) document(n, version int) error {
	return p.file(p.path(n), p.text(n, version, "day"))
}

// text is a document; another time of the service changes nothing that runs.
func (p platform) text(n, version int, time string) []byte {
	return []byte("package platform\n\n" + p.service(n, time) + "\n" + p.request(n, version))
}

func (p platform) service(n int, time string) string {
	depends := ""
	if n%perTeam > 0 {
		depends = fmt.Sprintf("%q", serviceName(n-1))
	}
	return fmt.Sprintf(`service: %[1]q: {
	title:       "Service %[2]d"
	description: "Does the %[2]d-th of many things, every %[7]s."
	owner:       %[3]q
	type:        "service"
	lifecycle:   "production"
	tier:        %[4]d
	system:      "system-%[5]d"
	repository:  "https://git.bench.example/%[3]s/%[1]s"
	language:    "Go"
	links: [{type: "dashboard", title: "Dashboard", url: "https://metrics.bench.example/d/%[1]s"}]
	docs: "docs/%[1]s"
	apis: [{name: "main", type: "openapi", definition: "https://api.bench.example/%[1]s.json"}]
	slos: [{name: "availability", objective: 99.9, description: "Requests that end in an answer."}]
	onCall: "pagerduty:%[1]s"
	dependsOn: [%[6]s]
	tags: ["bench", "generated"]
}
`, serviceName(n), n, teamName(n), n%perTeam*4/perTeam+1, n/10, depends, time)
}

func (p platform) request(n, version int) string {
	blueprint, inputs := p.kind.blueprint(), fmt.Sprintf("{content: \"version %d of %d\", size: %q, copies: %d}", version, n, []string{"small", "medium", "large"}[n%3], n%10+1)
	if refers(n) {
		blueprint, inputs = "link", fmt.Sprintf("{target: request.%q.outputs.path}", unitName(n-1))
	}
	return fmt.Sprintf(`request: %q: {
	blueprint:   %q
	service:     %q
	environment: %q
	description: "What service %d needs."
	inputs: %s
}
`, unitName(n), blueprint, serviceName(n), []string{"development", "production"}[n%2], n, inputs)
}
