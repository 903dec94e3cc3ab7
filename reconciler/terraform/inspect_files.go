package terraform

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/pave-dev/pave/reconciler"
)

// fileFunctions are the functions that read files, with the number of their
// arguments that name one. What templatestring renders is known only when it
// runs, and may itself call all the others.
var fileFunctions = map[string]int{
	"file": 1, "filebase64": 1, "filebase64sha256": 1, "filebase64sha512": 1, "fileexists": 1, "filemd5": 1,
	"filesha1": 1, "filesha256": 1, "filesha512": 1, "fileset": 2, "templatefile": 1, "templatestring": 0,
}

// fileCall is one call of such a function.
type fileCall struct {
	Function string `json:"function"`
	Argument string `json:"argument"` // the path as it is written
	Constant bool   `json:"constant"`
	Value    string `json:"value"`  // the path, where it is constant
	Leaves   bool   `json:"leaves"` // whether it cannot be shown to stay inside the module
	place
}

// caller is the code that calls: where it is decides what a path means.
type caller struct {
	in     *inspector
	module string // what path.module is, relative to the blueprint's folder; empty if it may be anything
	source []byte // that the ranges of its expressions count in
}

func (in *inspector) findFileCalls(m *module, f *file) {
	if f.native != nil {
		caller{in, m.folder, f.source}.walk(f.native)
		return
	}
	in.walkJSON(m, f.json)
}

// walkJSON walks every text of a JSON file, keys included: which of them are
// templates depends on schemas that only the providers know.
func (in *inspector) walkJSON(m *module, expr hcl.Expression) {
	if pairs, diags := hcl.ExprMap(expr); !diags.HasErrors() {
		for _, pair := range pairs {
			in.walkJSON(m, pair.Key)
			in.walkJSON(m, pair.Value)
		}
		return
	}
	if elements, diags := hcl.ExprList(expr); !diags.HasErrors() {
		for _, element := range elements {
			in.walkJSON(m, element)
		}
		return
	}
	value, diags := expr.Value(nil)
	if diags.HasErrors() || !isText(value) || !interpolated(value.AsString()) {
		return
	}
	at := expr.Range()
	text := []byte(value.AsString())
	template, diags := parseTemplate(text, at.Filename, at.Start.Line, at.Start.Column+1)
	if diags.HasErrors() {
		in.denyAll(diags)
		return
	}
	caller{in, m.folder, text}.walk(template)
}

func (c caller) walk(node hclsyntax.Node) {
	if redefinesPath(node) {
		c.module = ""
	}
	_ = hclsyntax.VisitAll(node, func(node hclsyntax.Node) hcl.Diagnostics {
		if call, ok := node.(*hclsyntax.FunctionCallExpr); ok {
			c.inspect(call)
		}
		return nil
	})
}

// redefinesPath tells whether a loop gives the name `path` to something else.
func redefinesPath(node hclsyntax.Node) bool {
	found := false
	_ = hclsyntax.VisitAll(node, func(node hclsyntax.Node) hcl.Diagnostics {
		if loop, ok := node.(*hclsyntax.ForExpr); ok && (loop.KeyVar == "path" || loop.ValVar == "path") {
			found = true
		}
		return nil
	})
	return found
}

func (c caller) inspect(call *hclsyntax.FunctionCallExpr) {
	name := strings.TrimPrefix(call.Name, "core::")
	paths, ok := fileFunctions[name]
	if !ok {
		return
	}
	fact := fileCall{Function: name, Leaves: true, place: placeOf(call.NameRange)}
	if len(call.Args) > 0 {
		fact.Argument = string(call.Args[0].Range().SliceBytes(c.source))
		fact.Value, fact.Constant = literalText(call.Args[0])
	}
	if paths > 0 && len(call.Args) >= paths && !call.ExpandFinal {
		_, inside := c.locate(call.Args[0])
		fact.Leaves = !inside || (paths > 1 && !staysBelow(call.Args[1]))
	}
	if name == "templatefile" && !fact.Leaves {
		fact.Leaves = !c.walkTemplate(call.Args[0])
	}
	c.in.facts.FileCalls = append(c.in.facts.FileCalls, fact)
}

// locate returns the file that a path names, relative to the blueprint's
// folder, and whether it is sure to lie in the module. A constant path begins
// where Terraform runs: in the root module.
func (c caller) locate(expr hclsyntax.Expression) (string, bool) {
	if text, ok := literalText(expr); ok {
		return path.Clean(text), below(text)
	}
	switch e := expr.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return c.module, c.module != "" && reference(e) == "path.module"
	case *hclsyntax.TemplateWrapExpr:
		return c.locate(e.Wrapped)
	case *hclsyntax.TemplateExpr:
		rest, ok := literalParts(e.Parts[1:])
		if !ok || c.module == "" || reference(e.Parts[0]) != "path.module" {
			return "", false
		}
		text, slash := strings.CutPrefix(rest.AsString(), "/")
		return path.Join(c.module, text), slash && below(text)
	}
	return "", false
}

// below tells whether a path stays below the folder it begins in.
func below(name string) bool {
	return !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "~") && !strings.Contains(name, `\`) &&
		!slices.Contains(strings.Split(name, "/"), "..")
}

// dots finds a pattern that may come to match "..", by itself or after its
// braces were expanded.
var dots = reconciler.Pattern(`\.\.|[{,][.,}]|\.[,}]`)

// staysBelow tells whether a pattern of fileset is sure to match nothing
// outside the folder.
func staysBelow(pattern hclsyntax.Expression) bool {
	text, ok := literalText(pattern)
	return ok && below(text) && !dots().MatchString(text)
}

// walkTemplate walks a template of the blueprint, which may call functions, too;
// whatever it calls `path` comes from the caller. It returns false if there is
// no such file or it cannot be understood.
func (c caller) walkTemplate(expr hclsyntax.Expression) bool {
	name, _ := c.locate(expr)
	if understood, seen := c.in.templates[name]; seen {
		return understood
	}
	c.in.templates[name] = false
	entry, ok := c.in.files[name]
	if !ok {
		return false
	}
	text, err := c.in.tree.Read(entry)
	if err != nil {
		return false
	}
	template, diags := parseTemplate(text, entry.Path, 1, 1)
	if diags.HasErrors() {
		return false
	}
	c.in.templates[name] = true
	caller{in: c.in, source: text}.walk(template)
	return true
}
