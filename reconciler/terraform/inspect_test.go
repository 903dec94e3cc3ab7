package terraform

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pave-dev/pave/reconciler"
)

// newTree makes a tree of the files, all regular but those whose mode is given.
func newTree(files map[string]string, modes map[string]reconciler.Mode) *reconciler.Tree {
	tree := &reconciler.Tree{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sum := sha1.Sum([]byte(files[path]))
		tree.Files = append(tree.Files, reconciler.File{Path: path, Mode: modes[path], Hash: hex.EncodeToString(sum[:]), Size: int64(len(files[path]))})
	}
	tree.Read = func(f reconciler.File) ([]byte, error) {
		if f.Mode != reconciler.Regular && f.Mode != reconciler.Executable {
			return nil, errors.New("not a regular file")
		}
		content, ok := files[f.Path]
		if !ok {
			return nil, errors.New("no such file")
		}
		return []byte(content), nil
	}
	return tree
}

const folderX = "blueprints/x/"

// blueprintX is a blueprint with the input size, and with what edit makes of it.
func blueprintX(edit func(*reconciler.Blueprint)) reconciler.Blueprint {
	bp := reconciler.Blueprint{
		Name:   "x",
		Folder: "blueprints/x",
		Inputs: map[string]reconciler.Input{"size": {Type: "string", Position: reconciler.Position{File: folderX + "blueprint.cue", Line: 7, Column: 2}}},
	}
	bp.Position = reconciler.Position{File: folderX + "blueprint.cue", Line: 12, Column: 1}
	if edit != nil {
		edit(&bp)
	}
	return bp
}

const variableSize = "variable \"size\" {\n  type = string\n}\n"

// inspect inspects files below the blueprint's folder; unless they have one of their own, the variable size is there.
func inspect(files map[string]string, bp reconciler.Blueprint) (reconciler.Module, []reconciler.Violation) {
	all := map[string]string{folderX + "variables.tf": variableSize}
	for name, content := range files {
		all[folderX+name] = content
	}
	return Inspect(newTree(all, nil), bp)
}

func TestInspectViolations(t *testing.T) {
	input := func(name, ty string, optional bool) func(*reconciler.Blueprint) {
		return func(bp *reconciler.Blueprint) {
			bp.Inputs[name] = reconciler.Input{Type: ty, Optional: optional, Position: reconciler.Position{File: folderX + "blueprint.cue", Line: 8, Column: 2}}
		}
	}
	output := func(name string, sensitive bool) func(*reconciler.Blueprint) {
		return func(bp *reconciler.Blueprint) {
			bp.Outputs = map[string]reconciler.Output{name: {Type: "string", Sensitive: sensitive}}
		}
	}
	tests := []struct {
		name  string
		edit  func(*reconciler.Blueprint)
		files map[string]string
		want  []string // position, message and hint
	}{
		{"syntax", nil, map[string]string{"main.tf": "resource \"a\" {\n"}, []string{
			"blueprints/x/main.tf:1:14: Unclosed configuration block: There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file. | run: terraform -chdir=blueprints/x validate"}},
		{"json syntax", nil, map[string]string{"main.tf.json": "{\n  \"a\": }\n"}, []string{
			"blueprints/x/main.tf.json:2:8: Missing JSON value: A JSON value must start with a brace, a bracket, a number, a string, or a keyword. | run: terraform -chdir=blueprints/x validate"}},
		{"unknown block", nil, map[string]string{"main.tf": "action \"local_command\" \"a\" {}\n"}, []string{
			"blueprints/x/main.tf:1:1: Unsupported block type: Blocks of type \"action\" are not expected here. | run: terraform -chdir=blueprints/x validate"}},
		{"state encryption", nil, map[string]string{"main.tf": "terraform {\n  encryption {}\n}\n"}, []string{
			"blueprints/x/main.tf:2:3: Unsupported block type: Blocks of type \"encryption\" are not expected here. | run: terraform -chdir=blueprints/x validate"}},
		{"backend", nil, map[string]string{"main.tf": "terraform {\n  backend \"s3\" {}\n}\n"}, []string{
			"blueprints/x/main.tf:2:3: the blueprint configures the backend \"s3\" itself | remove the block; the environment of a request says where its state is kept"}},
		{"cloud", nil, map[string]string{"main.tf": "terraform {\n  cloud {}\n}\n"}, []string{
			"blueprints/x/main.tf:2:3: the blueprint configures a cloud block itself | remove the block; the environment of a request says where its state is kept"}},
		{"backend in JSON", nil, map[string]string{"main.tf.json": "{\"terraform\": {\n  \"backend\": {\"s3\": {}}}}\n"}, []string{
			"blueprints/x/main.tf.json:2:21: the blueprint configures the backend \"s3\" itself | remove the block; the environment of a request says where its state is kept"}},
		{"provider", nil, map[string]string{"main.tf": "\nprovider \"aws\" {}\n"}, []string{
			"blueprints/x/main.tf:2:1: the blueprint configures provider \"aws\" itself | remove the block and set the provider's arguments in each environment: providers: aws"}},
		{"tfvars", nil, map[string]string{"a.auto.tfvars.json": "{}"}, []string{
			"blueprints/x/a.auto.tfvars.json: a.auto.tfvars.json would override the inputs of requests | remove it and give the inputs their values in CUE"}},
		{"tfvars in capitals", nil, map[string]string{"terraform.TFVARS": ""}, []string{
			"blueprints/x/terraform.TFVARS: terraform.TFVARS would override the inputs of requests | remove it and give the inputs their values in CUE"}},
		{"override", nil, map[string]string{"override.tf": ""}, []string{
			"blueprints/x/override.tf: override.tf would override other files | remove it and change those files"}},
		{"named override", nil, map[string]string{"modules/m/a_override.tf.json": "{}"}, []string{
			"blueprints/x/modules/m/a_override.tf.json: modules/m/a_override.tf.json would override other files | remove it and change those files"}},
		{"working directory", nil, map[string]string{".terraform/modules/modules.json": "{}"}, []string{
			"blueprints/x/.terraform/modules/modules.json: .terraform/modules/modules.json belongs to a working directory of Terraform | remove the folder .terraform and add it to .gitignore"}},
		{"state", nil, map[string]string{"terraform.tfstate": "{}", "state/main.tf": ""}, []string{
			"blueprints/x/state/main.tf: state/main.tf stands where Terraform keeps state | remove or rename it",
			"blueprints/x/terraform.tfstate: terraform.tfstate stands where Terraform keeps state | remove or rename it"}},
		{"tofu", nil, map[string]string{"main.tofu": ""}, []string{
			"blueprints/x/main.tofu: main.tofu is read by OpenTofu alone | rename it to end in .tf or .tf.json"}},
		{"reserved file", nil, map[string]string{"PAVE.tf.json": "{}"}, []string{
			"blueprints/x/PAVE.tf.json: PAVE.tf.json takes a name reserved for Pave | rename it; names that start with \"pave\" are reserved"}},
		{"reserved variable", nil, map[string]string{"main.tf": "variable \"pave_region\" {\n  type = string\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"pave_region\" takes a name reserved for Pave | rename it; names that start with \"pave\" are reserved"}},
		{"reserved output", nil, map[string]string{"main.tf": "output \"pave\" {\n  value = 1\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: output \"pave\" takes a name reserved for Pave | rename it; names that start with \"pave\" are reserved"}},
		{"reserved input", input("Pave", "string", false), nil, []string{
			"blueprints/x/blueprint.cue:8:2: input Pave takes a name reserved for Pave | rename it; names that start with \"pave\" are reserved"}},
		{"reserved alias", nil, map[string]string{"main.tf": "terraform {\n  required_providers {\n    aws = { source = \"hashicorp/aws\", configuration_aliases = [aws.pave_a] }\n  }\n}\n"}, []string{
			"blueprints/x/main.tf:3:64: provider alias \"aws.pave_a\" takes a name reserved for Pave | rename it; names that start with \"pave\" are reserved"}},
		{"variable without input", nil, map[string]string{"main.tf": "variable \"colour\" {\n  type = string\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"colour\" is no input of the blueprint | add colour to #Inputs in blueprints/x/blueprint.cue, or remove the variable"}},
		{"input without variable", input("zone", "string", false), nil, []string{
			"blueprints/x/blueprint.cue:8:2: input zone has no variable in blueprints/x | add to blueprints/x/variables.tf: variable \"zone\" { type = string }"}},
		{"optional input without variable", input("zone", "string", true), nil, []string{
			"blueprints/x/blueprint.cue:8:2: input zone has no variable in blueprints/x | add to blueprints/x/variables.tf: variable \"zone\" { type = string, default = null }"}},
		{"type", nil, map[string]string{"variables.tf": "variable \"size\" {\n  type = number\n}\n"}, []string{
			"blueprints/x/variables.tf:1:1: variable \"size\" is number, the input size is string (blueprints/x/blueprint.cue:7:2) | write type = string, or change the input"}},
		{"type of an attribute", input("db", "object({a=string,b=optional(number)})", false), map[string]string{"main.tf": "variable \"db\" {\n  type = object({ a = string, b = number })\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"db\" is object({a=string,b=number}), the input db is object({a=string,b=optional(number)}) (blueprints/x/blueprint.cue:8:2) | write type = object({a=string,b=optional(number)}), or change the input"}},
		{"no type", nil, map[string]string{"variables.tf": "variable \"size\" {}\n"}, []string{
			"blueprints/x/variables.tf:1:1: variable \"size\" has no type | add to the variable: type = string"}},
		{"bad type", nil, map[string]string{"variables.tf": "variable \"size\" {\n  type = list\n}\n"}, []string{
			"blueprints/x/variables.tf:2:10: Invalid type specification: The list type constructor requires one argument specifying the element type. | run: terraform -chdir=blueprints/x validate"}},
		{"type that computes", nil, map[string]string{"variables.tf": "variable \"size\" {\n  type = object({ a = optional(list(any), [for a in [1] : [for b in [1] : a]]) })\n}\n"}, []string{
			"blueprints/x/variables.tf:2:10: a type with a for expression in it is refused | write the defaults as plain values",
			"blueprints/x/variables.tf:1:1: variable \"size\" is any, the input size is string (blueprints/x/blueprint.cue:7:2) | write type = string, or change the input"}},
		{"unknown input type", input("zone", "text", false), map[string]string{"main.tf": "variable \"zone\" {\n  type = string\n}\n"}, []string{
			"blueprints/x/blueprint.cue:8:2: input zone has no Terraform type: read type \"text\": :1,1-5: Invalid type specification; The keyword \"text\" is not a valid type specification. | write the input so that one Terraform type fits all its values"}},
		{"optional without default", input("zone", "string", true), map[string]string{"main.tf": "variable \"zone\" {\n  type = string\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"zone\" has no default, but the input zone is optional (blueprints/x/blueprint.cue:8:2) | add to the variable: default = null"}},
		{"declared twice", nil, map[string]string{"main.tf": variableSize + "output \"a\" {}\noutput \"a\" {}\n"}, []string{
			"blueprints/x/main.tf:5:1: output \"a\" is declared twice, first at blueprints/x/main.tf:4:1 | remove one of them",
			"blueprints/x/variables.tf:1:1: variable \"size\" is declared twice, first at blueprints/x/main.tf:1:1 | remove one of them"}},
		{"sensitive is no literal", nil, map[string]string{"variables.tf": "variable \"size\" {\n  type = string\n  sensitive = !false\n}\n"}, []string{
			"blueprints/x/variables.tf:3:15: sensitive must be true or false | write sensitive = true or sensitive = false"}},
		{"missing output", output("host", false), nil, []string{
			"blueprints/x/blueprint.cue:12:1: output host is declared, but blueprints/x has no such output | add to blueprints/x/outputs.tf: output \"host\" { value = ... }"}},
		{"output not sensitive", output("host", true), map[string]string{"main.tf": "output \"host\" {\n  value = 1\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: output \"host\" is not sensitive, the blueprint declares it sensitive (blueprints/x/blueprint.cue:12:1) | add to the output: sensitive = true"}},
		{"output sensitive", output("host", false), map[string]string{"main.tf.json": "{\"output\": {\"host\": {\n  \"value\": 1, \"sensitive\": true}}}\n"}, []string{
			"blueprints/x/main.tf.json:1:21: output \"host\" is sensitive, the blueprint does not declare it so (blueprints/x/blueprint.cue:12:1) | write in the blueprint: outputs: host: sensitive: true"}},
		{"pave without type", nil, map[string]string{"main.tf": "variable \"pave\" {}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"pave\" has no type | add to the variable: type = object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string)})"}},
		{"pave of another type", nil, map[string]string{"main.tf": "variable \"pave\" {\n  type = object({ request = string })\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"pave\" is object({request=string}), Pave gives it object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string)}) | write type = object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string)})"}},
		{"pave sensitive", nil, map[string]string{"main.tf": "variable \"pave\" {\n  type = any\n  sensitive = true\n}\n"}, []string{
			"blueprints/x/main.tf:1:1: variable \"pave\" is sensitive or ephemeral, but the state records it openly | remove sensitive and ephemeral from the variable"}},
		{"module outside", nil, map[string]string{"main.tf": "module \"a\" {\n  source = \"./m/../../y\"\n}\n"}, []string{
			"blueprints/x/main.tf:2:12: module \"a\" has the source \"./m/../../y\" outside the blueprint | copy the module into blueprints/x or use a remote one, pinned to a version"}},
		{"module of the host", nil, map[string]string{"main.tf": "module \"a\" {\n  source = \"/etc/terraform\"\n}\n"}, []string{
			"blueprints/x/main.tf:2:12: module \"a\" has the source \"/etc/terraform\" outside the blueprint | copy the module into blueprints/x or use a remote one, pinned to a version"}},
		{"nested module outside", nil, map[string]string{"main.tf": "module \"a\" {\n  source = \"./m\"\n}\n", "m/main.tf": "module \"b\" {\n  source = \"../../y\"\n}\n"}, []string{
			"blueprints/x/m/main.tf:2:12: module \"b\" has the source \"../../y\" outside the blueprint | copy the module into blueprints/x or use a remote one, pinned to a version"}},
		{"module missing", nil, map[string]string{"main.tf": "module \"a\" {\n  source = \"./m\"\n}\n"}, []string{
			"blueprints/x/main.tf:2:12: module \"a\" has the source \"./m\", which holds no .tf or .tf.json file | add blueprints/x/m/main.tf"}},
		{"module without source", nil, map[string]string{"main.tf": "module \"a\" {}\n"}, []string{
			"blueprints/x/main.tf:1:1: module \"a\" has no source | add to the module: source = \"./...\""}},
		{"computed source", nil, map[string]string{"main.tf": "module \"a\" {\n  source = \"./${var.size}\"\n}\n"}, []string{
			"blueprints/x/main.tf:2:12: source must be literal text | write it in quotes, without ${ }"}},
		{"template in JSON", nil, map[string]string{"main.tf.json": "{\"locals\": {\n  \"a\": \"${file(\"}}\n"}, []string{
			"blueprints/x/main.tf.json:2:16: Missing expression: Expected the start of an expression, but found the end of the file. | run: terraform -chdir=blueprints/x validate"}},
		{"nested too deeply", nil, map[string]string{"main.tf": "locals {\n  a = " + strings.Repeat("[", 40000) + "\n}\n"}, []string{
			"blueprints/x/main.tf:2:206: Nested too deeply: Name parts of the expression in a locals block. | run: terraform -chdir=blueprints/x validate"}},
		{"JSON nested too deeply", nil, map[string]string{"main.tf.json": "{\"locals\":\n" + strings.Repeat("[", 40000)}, []string{
			"blueprints/x/main.tf.json:2: Nested too deeply: Write it in native syntax and name parts of it in a locals block. | run: terraform -chdir=blueprints/x validate"}},
		{"too large", nil, map[string]string{"main.tf": strings.Repeat("# 34567\n", 40000)}, []string{
			"blueprints/x/main.tf:1:1: File too large: Split it into several files. | run: terraform -chdir=blueprints/x validate"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, violations := inspect(test.files, blueprintX(test.edit))
			got := texts(t, violations)
			slices.Sort(test.want)
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("violations:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(test.want, "\n     "))
			}
		})
	}
}

// texts returns position, message and hint, after checking what all violations share.
func texts(t *testing.T, violations []reconciler.Violation) []string {
	t.Helper()
	var texts []string
	for _, v := range violations {
		if v.Level != reconciler.Deny || v.Scope != reconciler.ScopeBlueprint || v.Kind != "blueprint" || v.Name != "x" {
			t.Errorf("violation %+v: want a denial of blueprint x", v)
		}
		texts = append(texts, fmt.Sprintf("%s: %s | %s", v.Position, v.Message, v.Hint))
	}
	return texts
}

func TestInspectFolder(t *testing.T) {
	t.Run("symlink and submodule", func(t *testing.T) {
		tree := newTree(map[string]string{
			folderX + "main.tf": variableSize, folderX + "a": "", folderX + "b": "", folderX + "tests/c": "",
		}, map[string]reconciler.Mode{folderX + "a": reconciler.Symlink, folderX + "b": reconciler.Submodule, folderX + "tests/c": reconciler.Symlink})
		module, violations := Inspect(tree, blueprintX(nil))
		want := []string{
			"blueprints/x/a: a is a symlink or a submodule; a blueprint holds files alone | copy what it points to into the blueprint",
			"blueprints/x/b: b is a symlink or a submodule; a blueprint holds files alone | copy what it points to into the blueprint",
			"blueprints/x/tests/c: tests/c is a symlink or a submodule; a blueprint holds files alone | copy what it points to into the blueprint",
		}
		if got := texts(t, violations); !slices.Equal(got, want) {
			t.Errorf("violations: got %q, want %q", got, want)
		}
		if len(module.Files) != 1 {
			t.Errorf("files: got %v, want main.tf alone", module.Files)
		}
	})
	t.Run("no configuration", func(t *testing.T) {
		tree := newTree(map[string]string{folderX + "blueprint.cue": "", folderX + ".a.tf": variableSize}, nil)
		_, violations := Inspect(tree, blueprintX(nil))
		want := []string{"blueprints/x/blueprint.cue:12:1: blueprints/x holds no Terraform: expected at least one .tf or .tf.json file | add blueprints/x/main.tf"}
		if got := texts(t, violations); !slices.Equal(got, want) {
			t.Errorf("violations: got %q, want %q", got, want)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		tree := newTree(map[string]string{folderX + "main.tf": variableSize}, nil)
		tree.Read = func(reconciler.File) ([]byte, error) { return nil, errors.New("larger than 64 KiB") }
		_, violations := Inspect(tree, blueprintX(nil))
		want := []string{"blueprints/x/main.tf: cannot be read: larger than 64 KiB | make the file readable and smaller than the limit"}
		if got := texts(t, violations); !slices.Equal(got, want) {
			t.Errorf("violations: got %q, want %q", got, want)
		}
	})
}

// TestInspectGiven shows what belongs to a module and what changes its digest.
func TestInspectGiven(t *testing.T) {
	files := map[string]string{
		"README.md": "1", "m/README.md": "2", "blueprint.cue": "3", "m/x.cue": "4", "a.tftest.hcl": "5", "b.tftest.json": "6",
		"tests/main.tf": "}", lockFile: "locked", "m/main.tf": "", "templates/a.tpl": "7",
	}
	module, violations := inspect(files, blueprintX(nil))
	if len(violations) > 0 {
		t.Fatalf("violations: %v", violations)
	}
	var names []string
	for _, file := range module.Files {
		names = append(names, file.Path)
	}
	if want := []string{"m/README.md", "m/main.tf", "templates/a.tpl", "variables.tf"}; !slices.Equal(names, want) {
		t.Errorf("files: got %q, want %q", names, want)
	}
	if string(module.Lock) != "locked" {
		t.Errorf("lock: got %q", module.Lock)
	}
	for name, same := range map[string]bool{"README.md": true, "tests/main.tf": true, lockFile: true, "templates/a.tpl": false, "m/README.md": false} {
		changed := maps.Clone(files)
		changed[name] += "changed"
		other, _ := inspect(changed, blueprintX(nil))
		if (other.Digest == module.Digest) != same {
			t.Errorf("%s changed: digest is the same: %v, want %v", name, !same, same)
		}
	}
	all := map[string]string{folderX + "variables.tf": variableSize}
	for name, content := range files {
		all[folderX+name] = content
	}
	other, _ := Inspect(newTree(all, map[string]reconciler.Mode{folderX + "templates/a.tpl": reconciler.Executable}), blueprintX(nil))
	if other.Digest == module.Digest {
		t.Error("mode changed: the digest is the same")
	}
}

var update = flag.Bool("update", false, "rewrite the goldens")

// TestInspectFacts compares the module of each archive in testdata/inspect with
// the file want in it.
func TestInspectFacts(t *testing.T) {
	archives, err := filepath.Glob("testdata/inspect/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("find archives: %v, %d found", err, len(archives))
	}
	for _, name := range archives {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			last := len(archive.Files) - 1
			if archive.Files[last].Name != "want" {
				t.Fatalf("the last file is %s, want want", archive.Files[last].Name)
			}
			files := map[string]string{}
			for _, file := range archive.Files[:last] {
				files[folderX+file.Name] = string(file.Data)
			}
			module, violations := Inspect(newTree(files, nil), blueprintX(func(bp *reconciler.Blueprint) { bp.Inputs = nil }))
			if len(violations) > 0 {
				t.Errorf("violations: %v", violations)
			}
			got := describe(t, module)
			if *update {
				archive.Files[last].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(archive.Files[last].Data); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe writes a module with one fact a line. Reading the facts' names from
// the JSON keeps them and their order, which rules rely on, in the golden.
func describe(t *testing.T, module reconciler.Module) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "providers %v\nsensitive %v\ndeclares pave %v\n", module.Providers, module.Sensitive, module.DeclaresPave)
	var facts map[string][]json.RawMessage
	if err := json.Unmarshal(module.Facts, &facts); err != nil {
		t.Fatal(err)
	}
	for _, kind := range slices.Sorted(maps.Keys(facts)) {
		if facts[kind] == nil {
			t.Errorf("%s is null, want a list", kind)
		}
		fmt.Fprintf(&b, "\n%s %d\n", kind, len(facts[kind]))
		for _, fact := range facts[kind] {
			fmt.Fprintf(&b, "  %s\n", fact)
		}
	}
	return b.String()
}

func TestPinned(t *testing.T) {
	commit := strings.Repeat("0a", 20)
	tests := []struct {
		source, version string
		want            bool
	}{
		{"terraform-aws-modules/vpc/aws", "5.1.0", true},
		{"terraform-aws-modules/vpc/aws", "= 5.1.0", true},
		{"app.example.com/acme/vpc/aws//sub", "5.1.0-rc1", true},
		{"terraform-aws-modules/vpc/aws", "", false},
		{"terraform-aws-modules/vpc/aws", "~> 5.1.0", false},
		{"terraform-aws-modules/vpc/aws", "5.1", false},
		{"terraform-aws-modules/vpc/aws", "5.1.0, 5.1.1", false},
		{"git::https://example.com/vpc.git?ref=" + commit, "", true},
		{"git::https://example.com/vpc.git//sub?depth=1&ref=" + commit, "", true},
		{"github.com/acme/vpc?ref=" + commit, "", true},
		{"git@github.com:acme/vpc.git?ref=" + commit, "", true},
		{"git::https://example.com/vpc.git?ref=v1.2.0", "", false},
		{"git::https://example.com/vpc.git?ref=" + commit + "&ref=main", "", false},
		{"git::https://example.com/vpc.git", "1.0.0", false},
		{"https://example.com/vpc.zip?ref=" + commit, "", false},
		{"s3::https://s3.amazonaws.com/b/vpc.zip", "", false},
		{"./m", "", false},
	}
	for _, test := range tests {
		if got := pinned(test.source, test.version); got != test.want {
			t.Errorf("pinned(%q, %q) = %v, want %v", test.source, test.version, got, test.want)
		}
	}
}

// TestNesting keeps hostile files from the recursive parsers, and people's from the limit.
func TestNesting(t *testing.T) {
	many := func(text string) string { return strings.Repeat(text, 20000) }
	hostile := map[string]string{
		"parentheses": "a = " + many("("), "negations": "a = " + many("!") + "1", "minus": "a = " + many("-") + "1",
		"conditions": "a = " + many("1?"), "conditions on lines": "a = (" + many("1?\n"),
		"templates": "a = " + many("\"${"), "blocks": many("a {\n"), "objects": "a = " + many("{a="), "calls": "a = " + many("f("),
		"loops": "a = " + many("[for a in "), "directives": "a = \"" + many("%{if 1}") + "\"", "heredocs": "a = " + many("<<A\n${"),
		"splats": "a = a" + many("[*]"), "attribute splats": "a = a" + many(".*"),
	}
	for name, source := range hostile {
		if _, diags := parseNative([]byte(source), "a.tf"); !diags.HasErrors() || diags[0].Summary != "Nested too deeply" {
			t.Errorf("%s: got %v, want it refused", name, diags)
		}
	}
	fine := map[string]string{
		"negative numbers": "a = [" + strings.Repeat("-1, ", 1000) + "]\n",
		"conditions":       "a = \"" + strings.Repeat("${a ? -1 : 2}", 1000) + "\"\n",
		"directives":       "a = <<E\n" + strings.Repeat("%{ if a }x%{ else }y%{ endif }\n", 1000) + "E\n",
		"attributes":       "a = {\n" + strings.Repeat("  b = -1\n", 300) + "}\n",
		"sums":             "a = 1" + strings.Repeat(" + 1", 1000) + "\n",
		"splats":           "a = [" + strings.Repeat("a[*].b, ", 1000) + "]\n",
	}
	for name, source := range fine {
		if _, diags := parseNative([]byte(source), "a.tf"); diags.HasErrors() {
			t.Errorf("%s: %v", name, diags)
		}
	}
}
