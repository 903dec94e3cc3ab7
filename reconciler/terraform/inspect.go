package terraform

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

const lockFile = ".terraform.lock.hcl"

// Inspector is [Inspect] as the domain's Inspector.
type Inspector struct{}

// Inspect calls [Inspect].
func (Inspector) Inspect(tree *reconciler.Tree, b reconciler.Blueprint) (reconciler.Module, []reconciler.Violation) {
	return Inspect(tree, b)
}

// Inspect reads the folder of a blueprint as the engine would and runs nothing
// of it. Each violation holds the units of the blueprint; a module with
// violations must not be run.
func Inspect(tree *reconciler.Tree, blueprint reconciler.Blueprint) (reconciler.Module, []reconciler.Violation) {
	in := &inspector{
		tree:      tree,
		blueprint: blueprint,
		files:     map[string]reconciler.File{},
		templates: map[string]bool{},
		facts:     newFacts(),
	}
	module := reconciler.Module{Lock: in.readFolder()}
	root, nested := in.readModules()
	in.checkFiles(root)
	if !in.broken {
		in.checkVariables(root)
		in.checkOutputs(root)
	}
	module.Files = in.given()
	module.Digest = digest(module.Files)
	module.Providers = requiredProviders(root, nested)
	module.Sensitive = root.sensitive()
	_, module.DeclaresPave = root.variables["pave"]
	module.Facts = in.facts.marshal()
	return module, reconciler.SortViolations(in.violations)
}

// inspector collects what one inspection finds.
type inspector struct {
	tree       *reconciler.Tree
	blueprint  reconciler.Blueprint
	files      map[string]reconciler.File // what Terraform is given, by path relative to the folder
	templates  map[string]bool            // by path as in files: whether the template was understood
	facts      facts
	violations []reconciler.Violation
	broken     bool // a file could not be read, so what is absent may be in it
}

func (in *inspector) deny(at reconciler.Position, hint, format string, args ...any) {
	in.violations = append(in.violations, reconciler.Violation{
		Level:    reconciler.Deny,
		Scope:    reconciler.ScopeBlueprint,
		Kind:     "blueprint",
		Name:     in.blueprint.Name,
		Position: at,
		Message:  fmt.Sprintf(format, args...),
		Hint:     hint,
	})
}

// readFolder sorts the folder's entries into those that Terraform is given and
// the others, and returns the lock file; nil where there is none.
func (in *inspector) readFolder() []byte {
	var lock []byte
	for _, entry := range in.tree.Under(in.blueprint.Folder) {
		name := strings.TrimPrefix(entry.Path, in.blueprint.Folder+"/")
		at := reconciler.Position{File: entry.Path}
		switch {
		case entry.Mode == reconciler.Symlink || entry.Mode == reconciler.Submodule:
			in.deny(at, "copy what it points to into the blueprint",
				"%s is a symlink or a submodule; a blueprint holds files alone", name)
		case name == lockFile:
			lock = in.read(entry)
		case notGiven(name):
		default:
			if message, hint := forbidden(name); message != "" {
				in.deny(at, hint, "%s %s", name, message)
				continue
			}
			in.files[name] = entry
		}
	}
	return lock
}

// notGiven tells whether a file is for people and tools, not for a run.
func notGiven(name string) bool {
	return name == "README.md" ||
		strings.HasPrefix(name, "tests/") ||
		strings.HasSuffix(name, ".cue") ||
		strings.HasSuffix(name, ".tftest.hcl") ||
		strings.HasSuffix(name, ".tftest.json")
}

// forbiddenFiles are those that would change a run behind the request's back.
// Case is folded: the file system of a host may do so.
var forbiddenFiles = []struct {
	name          func() *regexp.Regexp
	message, hint string
}{
	{reconciler.Pattern(`\.tfvars[^/]*$`),
		"would override the inputs of requests", "remove it and give the inputs their values in CUE"},
	{reconciler.Pattern(`(^|/|_)override\.(tf|tofu)[^/]*$`),
		"would override other files", "remove it and change those files"},
	{reconciler.Pattern(`(^|/)\.terraform/`),
		"belongs to a working directory of Terraform", "remove the folder .terraform and add it to .gitignore"},
	{reconciler.Pattern(`\.tfstate[^/]*$|^state(/|$)|^errored\.tfstate`),
		"stands where Terraform keeps state", "remove or rename it"},
	{reconciler.Pattern(`\.tofu(\.json)?$`),
		"is read by OpenTofu alone", "rename it to end in .tf or .tf.json"},
	{reconciler.Pattern(`^pave`),
		"takes a name reserved for Pave", `rename it; names that start with "pave" are reserved`},
}

func forbidden(name string) (message, hint string) {
	name = strings.ToLower(name)
	for _, f := range forbiddenFiles {
		if f.name().MatchString(name) {
			return f.message, f.hint
		}
	}
	return "", ""
}

// read returns a file's content; nil, after a violation, if it cannot be had.
func (in *inspector) read(file reconciler.File) []byte {
	content, err := in.tree.Read(file)
	if err != nil {
		in.broken = true
		in.deny(reconciler.Position{File: file.Path}, "make the file readable and smaller than the limit", "cannot be read: %v", err)
		return nil
	}
	return content
}

// given returns what Terraform is given, sorted, with paths relative to the folder.
func (in *inspector) given() []reconciler.File {
	var files []reconciler.File
	for _, name := range slices.Sorted(maps.Keys(in.files)) {
		file := in.files[name]
		file.Path = name
		files = append(files, file)
	}
	return files
}

// digest identifies the files by path, mode and content.
func digest(files []reconciler.File) string {
	sum := sha256.New()
	for _, file := range files {
		fmt.Fprintf(sum, "%q %d %s\n", file.Path, file.Mode, file.Hash)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// requiredProviders returns the local names of the root module's providers.
// Nested modules inherit the configuration of a provider from the root even
// where the root does not name it, so those with the implied source count.
func requiredProviders(root *module, nested []*module) []string {
	names := map[string]bool{}
	for name := range root.providers {
		names[name] = true
	}
	for _, m := range nested {
		for name, source := range m.providers {
			if source == impliedSource(name) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (in *inspector) checkFiles(root *module) {
	if root.files == 0 && !in.broken {
		in.deny(in.blueprint.Position, "add "+path.Join(in.blueprint.Folder, "main.tf"),
			"%s holds no Terraform: expected at least one .tf or .tf.json file", in.blueprint.Folder)
		in.broken = true
	}
}

// checkVariables compares the variables of the root module with the inputs,
// where those are known.
func (in *inspector) checkVariables(root *module) {
	if in.blueprint.Inputs == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(root.variables)) {
		in.checkVariable(name, root.variables[name])
	}
	for _, name := range slices.Sorted(maps.Keys(in.blueprint.Inputs)) {
		input := in.blueprint.Inputs[name]
		if reserved(name) {
			in.deny(input.Position, `rename it; names that start with "pave" are reserved`,
				"input %s takes a name reserved for Pave", name)
			continue
		}
		if _, ok := root.variables[name]; !ok {
			in.deny(input.Position, fmt.Sprintf("add to %s: variable %q { %s }", path.Join(in.blueprint.Folder, "variables.tf"), name, variableBody(input)),
				"input %s has no variable in %s", name, in.blueprint.Folder)
		}
	}
}

func variableBody(input reconciler.Input) string {
	if input.Optional {
		return "type = " + input.Type + ", default = null"
	}
	return "type = " + input.Type
}

func (in *inspector) checkVariable(name string, v variable) {
	if name == "pave" {
		in.checkOwnership(v)
		return
	}
	if reserved(name) {
		in.deny(v.at, `rename it; names that start with "pave" are reserved`, "variable %q takes a name reserved for Pave", name)
		return
	}
	input, ok := in.blueprint.Inputs[name]
	if !ok {
		in.deny(v.at, fmt.Sprintf("add %s to #Inputs in %s, or remove the variable", name, path.Join(in.blueprint.Folder, "blueprint.cue")),
			"variable %q is no input of the blueprint", name)
		return
	}
	if !v.typed {
		in.deny(v.at, "add to the variable: type = "+input.Type, "variable %q has no type", name)
		return
	}
	in.checkType(name, v, input)
	if input.Optional && !v.hasDefault {
		in.deny(v.at, "add to the variable: default = null",
			"variable %q has no default, but the input %s is optional%s", name, name, inParentheses(input.Position))
	}
}

func (in *inspector) checkType(name string, v variable, input reconciler.Input) {
	want, err := parseType(input.Type)
	if err != nil {
		in.deny(input.Position, "write the input so that one Terraform type fits all its values", "input %s has no Terraform type: %v", name, err)
		return
	}
	if !accepts(v.ty, want) {
		in.deny(v.at, fmt.Sprintf("write type = %s, or change the input", typeText(want)),
			"variable %q is %s, the input %s is %s%s", name, typeText(v.ty), name, typeText(want), inParentheses(input.Position))
	}
}

// inParentheses returns the second place of a message.
func inParentheses(at reconciler.Position) string {
	if at.File == "" {
		return ""
	}
	return " (" + at.String() + ")"
}

// checkOwnership makes sure that the reserved variable passes what it is given
// on to the output that tells whose the state is.
func (in *inspector) checkOwnership(v variable) {
	want := "type = " + typeText(ownership)
	switch {
	case !v.typed:
		in.deny(v.at, "add to the variable: "+want, `variable "pave" has no type`)
	case !keepsOwnership(v.ty):
		in.deny(v.at, "write "+want, `variable "pave" is %s, Pave gives it %s`, typeText(v.ty), typeText(ownership))
	}
	if v.sensitive || v.ephemeral {
		in.deny(v.at, "remove sensitive and ephemeral from the variable", `variable "pave" is sensitive or ephemeral, but the state records it openly`)
	}
}

// checkOutputs compares the outputs of the root module with those that the blueprint declares.
func (in *inspector) checkOutputs(root *module) {
	for _, name := range slices.Sorted(maps.Keys(root.outputs)) {
		if reserved(name) {
			in.deny(root.outputs[name].at, `rename it; names that start with "pave" are reserved`, "output %q takes a name reserved for Pave", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.blueprint.Outputs)) {
		declared := in.blueprint.Outputs[name]
		o, ok := root.outputs[name]
		switch {
		case !ok:
			in.deny(in.blueprint.Position, fmt.Sprintf("add to %s: output %q { value = ... }", path.Join(in.blueprint.Folder, "outputs.tf"), name),
				"output %s is declared, but %s has no such output", name, in.blueprint.Folder)
		case declared.Sensitive && !o.sensitive:
			in.deny(o.at, "add to the output: sensitive = true",
				"output %q is not sensitive, the blueprint declares it sensitive%s", name, inParentheses(in.blueprint.Position))
		case !declared.Sensitive && o.sensitive:
			in.deny(o.at, fmt.Sprintf("write in the blueprint: outputs: %s: sensitive: true", name),
				"output %q is sensitive, the blueprint does not declare it so%s", name, inParentheses(in.blueprint.Position))
		}
	}
}

// facts are what policies see of a blueprint's code.
type facts struct {
	Variables    []variableFact    `json:"variables"`
	Outputs      []outputFact      `json:"outputs"`
	Providers    []providerFact    `json:"providers"`
	Modules      []moduleFact      `json:"modules"`
	Resources    []resourceFact    `json:"resources"`
	Data         []resourceFact    `json:"data"`
	Provisioners []provisionerFact `json:"provisioners"`
	FileCalls    []fileCall        `json:"fileCalls"`
}

// place is where a fact was found: the file's path in the repository.
type place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

type variableFact struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Sensitive bool   `json:"sensitive"`
	Default   bool   `json:"default"` // whether it has one
	place
}

type outputFact struct {
	Name      string `json:"name"`
	Sensitive bool   `json:"sensitive"`
	place
}

type providerFact struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Version string `json:"version"`
	place
}

type moduleFact struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Version string `json:"version"`
	Pinned  bool   `json:"pinned"` // to a commit or an exact version
	Local   bool   `json:"local"`
	place
}

type resourceFact struct {
	Type string `json:"type"`
	Name string `json:"name"`
	place
}

type provisionerFact struct {
	Type     string `json:"type"`
	Resource string `json:"resource"`
	place
}

func newFacts() facts {
	return facts{
		Variables: []variableFact{}, Outputs: []outputFact{}, Providers: []providerFact{}, Modules: []moduleFact{},
		Resources: []resourceFact{}, Data: []resourceFact{}, Provisioners: []provisionerFact{}, FileCalls: []fileCall{},
	}
}

// marshal writes the facts; walking an expression finds its calls in any order.
func (f facts) marshal() json.RawMessage {
	slices.SortFunc(f.FileCalls, func(a, b fileCall) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Argument, b.Argument))
	})
	return marshal(f)
}
