package catalog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"github.com/pave-dev/pave/reconciler"
)

const formInputs = `package probe

import "strings"

#Name: =~"^[a-z]+$"
#Ref: from!: {request!: string, output!: string}

#Inputs: {
	// The size
	// of it.
	size!: "small" | "large" @pave(label="Size", group="Sizing", order=2)
	storage: (*20 | int) & >=10 & <1000 @pave(group="Sizing")
	ratio?: >0 & <=1.5
	replicas: *3 | 1 | 3 | 5
	title!: strings.MinRunes(3) & strings.MaxRunes(40)
	name!: #Name
	// Told by itself.
	host?: #Name | #Ref
	port: *5432 | int & >0 & <65536 | #Ref
	user: *"" | =~"^[a-z]+$" | #Ref
	password: *"" | #Ref
	public: *false | bool
	guests: [...#Name]
	settings: [string]: string
	mixed?: string | int
	fixed: "here"
	both: *"ab" | =~"^a" & =~"b$"
	nested: #Nested
	records: [...{
		name!: #Name
		kind!: "a" | "b" @pave(label="Kind")
		ttl: (*300 | int) & >=60
		on?: bool
	}]
	lists: [...{names: [...string]}]
	referring: [...{host: string | #Ref}]
	either: [...{a: int}] | [...{b: int}]
	several: [...({a: int} | {b: int})]
}
#Nested: {a!: int, b?: string}
`

// TestFields compiles every kind of input, and says what its field must be.
func TestFields(t *testing.T) {
	v := cuecontext.New().CompileString(formInputs).LookupPath(cue.MakePath(cue.Def("#Inputs")))
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	raw := func(texts ...string) (all []json.RawMessage) {
		for _, text := range texts {
			all = append(all, json.RawMessage(text))
		}
		return all
	}
	want := map[string]reconciler.Field{
		"size":     {Label: "Size", Group: "Sizing", Order: 2, Control: reconciler.ControlChoice, Choices: raw(`"small"`, `"large"`), Required: true},
		"storage":  {Group: "Sizing", Control: reconciler.ControlWhole, Min: "10", Max: "999", Default: json.RawMessage("20")},
		"ratio":    {Control: reconciler.ControlNumber, Min: "0", Max: "1.5"},
		"replicas": {Control: reconciler.ControlChoice, Choices: raw("1", "3", "5"), Default: json.RawMessage("3")},
		"title":    {Control: reconciler.ControlText, MinLength: 3, MaxLength: 40, Required: true},
		"name":     {Control: reconciler.ControlText, Pattern: "^[a-z]+$", Required: true},
		"host":     {Control: reconciler.ControlText, Pattern: "^[a-z]+$", Reference: true},
		"port":     {Control: reconciler.ControlWhole, Min: "1", Max: "65535", Default: json.RawMessage("5432"), Reference: true},
		"user":     {Control: reconciler.ControlText, Pattern: "^[a-z]+$", Default: json.RawMessage(`""`), Reference: true},
		"password": {Control: reconciler.ControlChoice, Choices: raw(`""`), Default: json.RawMessage(`""`), Reference: true},
		"public":   {Control: reconciler.ControlSwitch, Default: json.RawMessage("false")},
		"guests":   {Control: reconciler.ControlLines, Default: json.RawMessage("[]")},
		"settings": {Control: reconciler.ControlData, Default: json.RawMessage("{}")},
		"mixed":    {Control: reconciler.ControlData},
		"fixed":    {Control: reconciler.ControlChoice, Choices: raw(`"here"`), Default: json.RawMessage(`"here"`), Fixed: true},
		"both":     {Control: reconciler.ControlText, Default: json.RawMessage(`"ab"`)},
		"nested":   {Control: reconciler.ControlData, Required: true},
		"records": {Control: reconciler.ControlRows, Default: json.RawMessage("[]"), Columns: []reconciler.Column{
			{Name: "name", Field: reconciler.Field{Control: reconciler.ControlText, Pattern: "^[a-z]+$", Required: true}},
			{Name: "kind", Field: reconciler.Field{Label: "Kind", Control: reconciler.ControlChoice, Choices: raw(`"a"`, `"b"`), Required: true}},
			{Name: "ttl", Field: reconciler.Field{Control: reconciler.ControlWhole, Min: "60", Default: json.RawMessage("300")}},
			{Name: "on", Field: reconciler.Field{Control: reconciler.ControlSwitch}},
		}},
		"lists":     {Control: reconciler.ControlData, Default: json.RawMessage("[]")},
		"referring": {Control: reconciler.ControlData, Default: json.RawMessage("[]")},
		"either":    {Control: reconciler.ControlData, Default: json.RawMessage("[]")},
		"several":   {Control: reconciler.ControlData, Default: json.RawMessage("[]")},
	}
	got := inputsOf(v)
	for name, w := range want {
		g := got[name].Field
		g.Help = "" // a value without a file has none; see below
		a, _ := json.Marshal(g)
		b, _ := json.Marshal(w)
		if string(a) != string(b) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, a, b)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not expected", name)
	}
}

// acmeFiles returns the governance of examples/acme.
func acmeFiles(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := "../../examples/acme"
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".cue") || strings.HasPrefix(p, root+"/catalog/") {
			return err
		}
		content, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		files[rel] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestFieldHelp takes help from the comment above an input and nowhere else, and
// leaves a blueprint with the attribute of forms among those that are compiled.
func TestFieldHelp(t *testing.T) {
	files := acmeFiles(t)
	const file = "blueprints/tls-cert/blueprint.cue"
	files[file] = strings.Replace(files[file], "<=365", `<=365 @pave(label="Days until renewal", order=1)`, 1)
	var ev evaluation
	a := ev.do(job{Kind: governanceJob, Files: files, Blueprints: []string{"tls-cert"}})
	if len(a.Violations) > 0 {
		t.Fatal(a.Violations)
	}
	for _, b := range a.Governance.Blueprints {
		if b.Name != "tls-cert" {
			continue
		}
		if f := b.Inputs["days"].Field; f.Label != "Days until renewal" || f.Order != 1 || f.Max != "365" ||
			f.Help != "Days until it ends. It is renewed when a tenth of them is left." {
			t.Errorf("got %+v", f)
		}
		if f := b.Inputs["hostname"].Field; f.Help != "The name that the certificate is for." || !f.Reference || !f.Required {
			t.Errorf("got %+v", f)
		}
	}
	if got := ev.plainness.blueprints["tls-cert"]; got != priced {
		t.Errorf("the attribute keeps the blueprint from being compiled: %v", got)
	}
}
