package terraform

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// testFolder is a root module of its own that the real Terraform runs in.
type testFolder struct {
	t    *testing.T
	path string
	env  []string
}

func newFolder(t *testing.T, files map[string]string) testFolder {
	t.Helper()
	f := testFolder{t: t, path: t.TempDir()}
	cli := filepath.Join(t.TempDir(), "cli.tfrc")
	writeTestFile(t, cli, "disable_checkpoint = true\n")
	f.env = []string{"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=" + cli, "HOME=" + t.TempDir()}
	for name, content := range files {
		writeTestFile(t, filepath.Join(f.path, name), content)
	}
	return f
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tryTerraform returns what Terraform wrote to both streams.
func (f testFolder) tryTerraform(args ...string) (string, error) {
	f.t.Helper()
	program, err := exec.LookPath("terraform")
	if err != nil {
		f.t.Fatal("terraform is not on the PATH; install it as https://developer.hashicorp.com/terraform/install says")
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = f.path, f.env
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func (f testFolder) terraform(args ...string) string {
	f.t.Helper()
	output, err := f.tryTerraform(args...)
	if err != nil {
		f.t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

// outputs converges the folder and returns its outputs as JSON, compacted.
func (f testFolder) outputs() map[string]string {
	f.t.Helper()
	f.terraform("init", "-backend=false", "-input=false")
	f.terraform("validate")
	f.terraform("init", "-input=false")
	f.terraform("apply", "-input=false", "-auto-approve")
	var outputs map[string]struct{ Value json.RawMessage }
	if err := json.Unmarshal([]byte(f.terraform("output", "-json")), &outputs); err != nil {
		f.t.Fatal(err)
	}
	values := map[string]string{}
	for name, output := range outputs {
		values[name] = compactJSON(f.t, output.Value)
	}
	return values
}

func compactJSON(t *testing.T, raw []byte) string {
	t.Helper()
	value, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(marshal(value))
}

func newUnit(inputs map[string]json.RawMessage) reconciler.Unit {
	return reconciler.Unit{
		Request:     &reconciler.Request{Name: "checkout-db", Service: "checkout", Environment: "production", Inputs: reconciler.FieldsOf(inputs)},
		Service:     &reconciler.Service{Name: "checkout", Owner: "payments"},
		Environment: &reconciler.Environment{Name: "production", Stage: "production", Backend: reconciler.Backend{Type: "local"}},
		Module:      &reconciler.Module{},
	}
}

const paveValue = `{"environment":"production","owner":"payments","request":"checkout-db","service":"checkout","stage":"production",` +
	`"tags":{"pave_environment":"production","pave_owner":"payments","pave_request":"checkout-db","pave_service":"checkout"}}`

func mustRender(t *testing.T, unit reconciler.Unit) reconciler.Rendering {
	t.Helper()
	rendering, err := Render(unit, "pave")
	if err != nil {
		t.Fatal(err)
	}
	return rendering
}

// hostile are texts that mean something to a template, to JSON, to HCL or to a shell.
// The one thing that Terraform does to text is to compose it (Unicode NFC), as this is.
var hostile = []string{
	`${file("secret.txt")}`, `$${file("secret.txt")}`, `%{ for x in [1, 2] }${x}%{ endfor }`, `%%{ if true }x%{ endif }`,
	`${var.pave.request}`, `"quoted" \ and 'single'`, "lines\nand\r\n\ttabs", `</script>&`, `$(touch x)`, "`touch x`",
	"\u2028 \u00e9 \u202e \U0001f680", `//`, `{"from": "x"}`, "<<EOT\n${1}\nEOT", strings.Repeat("64 KiB ${x} ", 64<<10/12),
}

// TestValuesArriveLiterally passes hostile text as value and as key through every type of input.
func TestValuesArriveLiterally(t *testing.T) {
	inputs := func(texts []string) map[string]json.RawMessage {
		byText := map[string]string{}
		for _, text := range texts {
			byText[text] = text
		}
		return map[string]json.RawMessage{
			"text":   marshal(strings.Join(texts, "")),
			"list":   marshal(texts),
			"map":    marshal(byText),
			"object": marshal(map[string]any{"a": texts, "b": nil}),
			"any":    marshal(map[string]any{"x": byText, "y": texts}),
			"exact":  json.RawMessage(`1234567890123456789012345678.25`),
		}
	}
	unit := newUnit(inputs(hostile))
	rendering := mustRender(t, unit)
	harmless := mustRender(t, newUnit(inputs([]string{"a"})))
	if !bytes.Equal(rendering.Generated, harmless.Generated) {
		t.Errorf("the generated file depends on the inputs: %s", rendering.Generated)
	}
	folder := newFolder(t, map[string]string{
		"secret.txt": "leaked",
		"main.tf": `
variable "text" { type = string }
variable "list" { type = list(string) }
variable "map" { type = map(string) }
variable "object" { type = object({ a = list(string), b = optional(string) }) }
variable "any" { type = any }
variable "exact" { type = number }
resource "terraform_data" "all" {
  input = [var.text, var.list, var.map, var.object, var.any, var.exact]
}
output "text" { value = terraform_data.all.output[0] }
output "list" { value = terraform_data.all.output[1] }
output "map" { value = terraform_data.all.output[2] }
output "object" { value = terraform_data.all.output[3] }
output "any" { value = terraform_data.all.output[4] }
output "exact" { value = terraform_data.all.output[5] }
`,
		"pave.tf.json":          string(rendering.Generated),
		"terraform.tfvars.json": string(marshal(rendering.Variables)),
	})
	want := map[string]string{"pave": paveValue}
	for name, value := range unit.Request.Inputs.All() {
		want[name] = compactJSON(t, value)
	}
	got := folder.outputs()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("output %s:\n got %.300s\nwant %.300s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("outputs: got %d, want %d", len(got), len(want))
	}
}

// providersEnvironment has a provider with hostile values in blocks, in lists of blocks and in lists.
const providersEnvironment = `{
	"acme": {
		"region": "${file(\"secret.txt\")}",
		"endpoints": {"s3": "%{ if true }x%{ endif }", "sts-x": "\"\n"},
		"assume_role": [{"arn": "${1}", "tags": ["a"]}, {"arn": "b"}],
		"accounts": ["${2}", 3],
		"retries": 5,
		"quiet": true,
		"features": {},
		"none": []
	},
	"aws": {"region": "eu-west-1"},
	"google-beta": {"project": "p", "default_labels": {"acme.example/key": "${3}"}},
	"unused": {"x": "y"}
}`

func unitWithProviders(t *testing.T) reconciler.Unit {
	t.Helper()
	unit := newUnit(nil)
	unit.Module.Providers = []string{"acme", "aws", "google", "google-beta", "random"}
	if err := json.Unmarshal([]byte(providersEnvironment), &unit.Environment.Providers); err != nil {
		t.Fatal(err)
	}
	return unit
}

func TestGeneratedFile(t *testing.T) {
	unit := unitWithProviders(t)
	unit.Environment.Backend = reconciler.Backend{Type: "s3", Config: map[string]json.RawMessage{"bucket": json.RawMessage(`"acme-state"`)}}
	golden := filepath.Join("testdata", "render", "pave.tf.json")
	got := mustRender(t, unit).Generated
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestProviderValues puts the arguments of the provider blocks into outputs:
// the references lead to the environment's values, as they are.
func TestProviderValues(t *testing.T) {
	rendering := mustRender(t, unitWithProviders(t))
	if slices.ContainsFunc([]string{"secret.txt", "eu-west-1", "acme.example/key", "unused"}, func(text string) bool {
		return bytes.Contains(rendering.Generated, []byte(text))
	}) {
		t.Errorf("the generated file holds a value: %s", rendering.Generated)
	}
	var file map[string]any
	if err := json.Unmarshal(rendering.Generated, &file); err != nil {
		t.Fatal(err)
	}
	file["output"].(map[string]any)["providers"] = map[string]any{"value": file["provider"]}
	delete(file, "provider")
	folder := newFolder(t, map[string]string{
		"pave.tf.json":          string(marshal(file)),
		"terraform.tfvars.json": string(marshal(rendering.Variables)),
		"secret.txt":            "leaked",
	})
	var want map[string]any
	if err := json.Unmarshal([]byte(providersEnvironment), &want); err != nil {
		t.Fatal(err)
	}
	tags := map[string]any{"pave_environment": "production", "pave_owner": "payments", "pave_request": "checkout-db", "pave_service": "checkout"}
	delete(want, "unused")
	want["aws"].(map[string]any)["default_tags"] = map[string]any{"tags": tags}
	want["google"] = map[string]any{"default_labels": tags}
	var got map[string]any
	if err := json.Unmarshal([]byte(folder.outputs()["providers"]), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("providers:\n got %s\nwant %s", marshal(got), marshal(want))
	}
}

func TestRenderSplitsInputs(t *testing.T) {
	unit := newUnit(map[string]json.RawMessage{
		"size": json.RawMessage(`"large"`),
		"host": json.RawMessage(`{"from": {"request": "ledger-db", "output": "host"}}`),
		"like": json.RawMessage(`{"from": {"request": "ledger-db"}}`),
	})
	unit.Module.DeclaresPave = true
	rendering := mustRender(t, unit)
	if got := slices.Sorted(maps.Keys(rendering.Variables)); !slices.Equal(got, []string{"like", "pave", "size"}) {
		t.Errorf("variables: got %v", got)
	}
	if want := map[string]reconciler.Ref{"host": {Request: "ledger-db", Output: "host"}}; !maps.Equal(rendering.References, want) {
		t.Errorf("references: got %v, want %v", rendering.References, want)
	}
	if got := compactJSON(t, rendering.Variables["pave"]); got != paveValue {
		t.Errorf("pave: got %s, want %s", got, paveValue)
	}
	if rendering.Address != "local:checkout-db" {
		t.Errorf("address: got %s", rendering.Address)
	}
	if bytes.Contains(rendering.Generated, []byte(`"variable"`)) {
		t.Errorf("a variable is declared twice: %s", rendering.Generated)
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(*reconciler.Unit)
		want string
	}{
		{"name", func(u *reconciler.Unit) { u.Request.Name = "../x" },
			`render request "../x": the name must match ^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`},
		{"reserved input", func(u *reconciler.Unit) {
			u.Request.Inputs = reconciler.FieldsOf(map[string]json.RawMessage{"Pave_x": json.RawMessage(`1`)})
		},
			`render request checkout-db: inputs.Pave_x: the name is reserved or no identifier`},
		{"input", func(u *reconciler.Unit) {
			u.Request.Inputs = reconciler.FieldsOf(map[string]json.RawMessage{"//": json.RawMessage(`1`)})
		},
			`render request checkout-db: inputs.//: the name is reserved or no identifier`},
		{"no JSON", func(u *reconciler.Unit) {
			u.Request.Inputs = reconciler.FieldsOf(map[string]json.RawMessage{"x": json.RawMessage(`{`)})
		},
			`render request checkout-db: inputs.x: expected JSON`},
		{"backend", func(u *reconciler.Unit) { u.Environment.Backend.Type = "etcd" },
			`render request checkout-db: environment production: backend.type: expected a backend of the engine, such as local or s3; got "etcd"`},
		{"provider key", provider(`{"endpoints": {"${file(\"x\")}": "y"}}`),
			`render request checkout-db: environment production: providers.acme.endpoints: expected keys that match ^[A-Za-z_][A-Za-z0-9_-]*$; got "${file(\"x\")}"`},
		{"provider key in a list", provider(`{"a": [{"b c": 1}]}`),
			`render request checkout-db: environment production: providers.acme.a.0: expected keys that match ^[A-Za-z_][A-Za-z0-9_-]*$; got "b c"`},
		{"provider list", provider(`{"a": [{"b": 1}, 2]}`),
			`render request checkout-db: environment production: providers.acme.a: expected a list of objects or one without any`},
		{"provider alias", provider(`{"alias": "west"}`),
			`render request checkout-db: environment production: providers.acme.alias: an environment configures the default provider alone; remove it`},
		{"provider no object", provider(`["x"]`),
			`render request checkout-db: environment production: providers.acme: expected the provider's arguments; got ["x"]`},
	}
	for _, test := range tests {
		unit := newUnit(nil)
		test.edit(&unit)
		if _, err := Render(unit, "pave"); err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.name, err, test.want)
		}
	}
}

func provider(arguments string) func(*reconciler.Unit) {
	return func(u *reconciler.Unit) {
		u.Module.Providers = []string{"acme"}
		u.Environment.Providers = map[string]json.RawMessage{"acme": json.RawMessage(arguments)}
	}
}
