package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/schema"
)

// virtualRoot is where CUE believes the repository to be. It exists on no
// disk, so nothing of the host can be read through it.
const virtualRoot = "/platform-repository"

// evaluation is what a child remembers between its jobs.
type evaluation struct {
	ctx        *cue.Context
	governance job
	broken     map[string]string // the stubs of blueprints that could not be evaluated
	facts      map[string]string // the root's team, environment and blueprint names, to notice a change
	service    cue.Value
	request    cue.Value
	byName     map[string]cue.Value       // request, by blueprint
	outputs    map[string]map[string]bool // what each blueprint hands out

	// What the compiled constraints follow from, and those that were needed, by
	// blueprint and environment, both empty for a service.
	plainness    plainness
	blueprints   cue.Value
	environments map[string]bool
	compiled     map[[2]string]*compiled
}

func (ev *evaluation) do(j job) answer {
	switch {
	case j.Kind == governanceJob:
		return ev.govern(j)
	case ev.ctx == nil:
		return answer{} // the governance is refused, and so is everything below it
	case j.Kind == dataJob:
		return ev.data(j)
	default:
		return ev.folder(j)
	}
}

// instance loads and builds one folder of the repository, offline.
func (ev *evaluation) instance(ctx *cue.Context, folder string, files ...map[string]string) (cue.Value, []*ast.File, error) {
	overlay := map[string]load.Source{}
	for _, set := range files {
		for name, content := range set {
			overlay[path.Join(virtualRoot, name)] = load.FromString(content)
		}
	}
	folders := []string{"./" + folder}
	if top, _, _ := strings.Cut(folder, "/"); len(top) == 1 {
		// From a folder whose name has one letter CUE does not find the root's
		// imports, unless it loads the root as well.
		folders = []string{".", "./" + folder}
	}
	instances := load.Instances(folders, &load.Config{
		Dir: virtualRoot, Overlay: overlay,
		Env: []string{"CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent"},
	})
	instance := instances[len(instances)-1]
	if err := instance.Err; err != nil {
		return cue.Value{}, nil, err
	}
	v := ctx.BuildInstance(instance)
	return v, instance.Files, nil
}

// govern evaluates the root. A broken blueprint is replaced by a stub, so that
// the others and everything else can still be evaluated.
func (ev *evaluation) govern(j job) answer {
	*ev = evaluation{governance: j, broken: map[string]string{}, byName: map[string]cue.Value{}, outputs: map[string]map[string]bool{},
		environments: map[string]bool{}, compiled: map[[2]string]*compiled{}}
	var a answer
	for _, name := range j.Blueprints {
		if vs := ev.tryBlueprint(name); len(vs) > 0 {
			a.Violations = append(a.Violations, vs...)
			ev.stub(name)
		}
	}
	ctx := cuecontext.New()
	root, files, err := ev.instance(ctx, "", j.Files, ev.broken)
	if err == nil {
		err = root.Validate(cue.Concrete(true), cue.All())
	}
	if err != nil {
		a.Violations = append(a.Violations, ev.explainRoot(ctx, err, root, files)...)
		return a
	}
	if g, err := export(root, j.Blueprints); err != nil {
		a.Violations = append(a.Violations, reconciler.Violation{Level: reconciler.Deny, Scope: reconciler.ScopeRevision,
			Position: reconciler.Position{File: "platform.cue"}, Message: err.Error(),
			Hint: "embed the schema in platform.cue:  schema.#Root"})
		return a
	} else {
		for i, b := range g.Blueprints {
			if _, refused := ev.broken[b.Folder+"/blueprint.cue"]; refused {
				g.Blueprints[i].Inputs = nil
			}
		}
		a.Governance = g
	}
	a.Violations = append(a.Violations, strayDocuments(root)...)
	ev.ctx = ctx
	ev.facts = governanceFacts(root)
	ev.service = root.LookupPath(cue.MakePath(cue.Def("#service")))
	ev.request = root.LookupPath(cue.MakePath(cue.Def("#request")))
	ev.plainness = plainnessOf(j.Files)
	ev.blueprints = root.LookupPath(cue.MakePath(cue.Def("#blueprints")))
	for _, d := range a.Governance.Environments {
		ev.environments[d.Name] = true
	}
	for _, b := range a.Governance.Blueprints {
		ev.byName[b.Name] = ev.request.FillPath(cue.MakePath(cue.Str("blueprint")), b.Name)
		ev.outputs[b.Name] = map[string]bool{}
		outputs, err := root.LookupPath(cue.MakePath(cue.Def("#blueprints"), cue.Str(b.Name), cue.Str("outputs"))).Fields()
		for err == nil && outputs.Next() {
			ev.outputs[b.Name][outputs.Selector().Unquoted()] = true
		}
	}
	return a
}

// strayDocuments refuses documents that governance computes, which the survey
// could not see: nothing would read them.
func strayDocuments(root cue.Value) []reconciler.Violation {
	var violations []reconciler.Violation
	for _, kind := range []string{"service", "request"} {
		it, err := lookup(root, []string{kind}).Fields()
		for err == nil && it.Next() {
			at := declared(it.Value())
			if at.File == "" {
				at.File = "platform.cue"
			}
			violations = append(violations, reconciler.Violation{Level: reconciler.Deny, Scope: reconciler.ScopeRevision,
				Kind: kind, Name: it.Selector().Unquoted(), Position: at,
				Message: "is computed beside the platform's own settings, where it would never be read",
				Hint:    "move it to a file of its own, such as catalog/TEAM/NAME.cue"})
		}
	}
	return violations
}

// explainRoot explains the errors of the root, document by document.
func (ev *evaluation) explainRoot(ctx *cue.Context, err error, root cue.Value, files []*ast.File) []reconciler.Violation {
	definitions := map[string]string{"platform": "#Platform", "team": "#Team", "environment": "#Environment"}
	type subject struct{ kind, name string }
	var order []subject
	errs := map[subject][]errors.Error{}
	var consequences []errors.Error
	surveyed := slices.ContainsFunc(files, func(f *ast.File) bool { return documentKinds(f.Decls).unknown != "" })
	for _, e := range errors.Errors(err) {
		if surveyed && strings.Contains(e.Error(), "unknown kind of document") {
			continue // the survey reports it, with its position
		}
		var s subject
		switch path := cleanPath(e.Path()); {
		case len(path) > 0 && definitions[path[0]] != "":
			s.kind = path[0]
			if s.kind != "platform" && len(path) > 1 {
				s.name = path[1]
			}
		case len(path) == 3 && path[0] == "#blueprints" && path[2] == "name":
			s.kind, s.name = "blueprint", path[1]
		case len(path) > 0 && (path[0] == "#request" || path[0] == "#service"):
			consequences = append(consequences, e)
			continue
		}
		if errs[s] == nil {
			order = append(order, s)
		}
		errs[s] = append(errs[s], e)
	}
	if len(order) == 0 && len(consequences) > 0 {
		order = append(order, subject{})
		errs[subject{}] = consequences
	}
	var violations []reconciler.Violation
	for _, s := range order {
		if s.kind == "blueprint" {
			violations = append(violations, misnamed(s.name, files))
			continue
		}
		var constraint cue.Value
		var prefix []string
		value := root
		if s.kind != "" {
			constraint = ev.definition(ctx, definitions[s.kind])
			prefix = []string{s.kind}
			if s.name != "" {
				prefix = append(prefix, s.name)
			}
			value = lookup(root, prefix)
			if s.name != "" {
				constraint = constraint.FillPath(namePath, s.name)
			}
		}
		body, at := sourceOf(files, prefix)
		for _, p := range explain(errs[s], prefix, value, constraint, body) {
			v := p.violation(reconciler.ScopeRevision, s.kind, s.name, "platform.cue")
			if s.kind == "platform" {
				v.Path = append([]string{"platform"}, v.Path...)
			}
			if v.Position.Line == 0 && at.Line > 0 {
				v.Position = at
			}
			violations = append(violations, v)
		}
	}
	return violations
}

// misnamed is the violation of a blueprint that platform.cue lists under
// another name than its own.
func misnamed(name string, files []*ast.File) reconciler.Violation {
	v := reconciler.Violation{Level: reconciler.Deny, Scope: reconciler.ScopeRevision, Kind: "blueprint", Name: name,
		Position: reconciler.Position{File: "platform.cue"}, Message: "is listed under a name that is not its own",
		Hint: "write the same name here and in the blueprint's own  name: …"}
	for _, f := range files {
		if field, found := findField(f.Decls, []string{"#blueprints", name}); found {
			v.Position = position(field.Label.Pos())
		}
	}
	return v
}

// definition returns a definition of the schema by itself.
func (ev *evaluation) definition(ctx *cue.Context, name string) cue.Value {
	file := map[string]string{"definition/definition.cue": "package definition\nimport \"" + schema.Module + "\"\nvalue: schema." + name}
	v, _, err := ev.instance(ctx, "definition", ev.governance.Files, file)
	if err != nil {
		return cue.Value{}
	}
	return v.LookupPath(cue.MakePath(cue.Str("value")))
}

func lookup(v cue.Value, path []string) cue.Value {
	for _, part := range path {
		v = v.LookupPath(cue.MakePath(cue.Str(part)))
	}
	return v
}

// sourceOf finds the struct that the path leads to, where one place holds it.
func sourceOf(files []*ast.File, path []string) (*ast.StructLit, reconciler.Position) {
	for _, f := range files {
		if field, found := findField(f.Decls, path); found {
			body, _ := field.Value.(*ast.StructLit)
			return body, position(field.Label.Pos())
		}
	}
	return nil, reconciler.Position{}
}

// tryBlueprint evaluates one blueprint folder by itself.
func (ev *evaluation) tryBlueprint(name string) []reconciler.Violation {
	folder := path.Join(BlueprintFolder, name)
	deny := func(p problem) reconciler.Violation {
		return p.violation(reconciler.ScopeBlueprint, "blueprint", name, folder+"/blueprint.cue")
	}
	ctx := cuecontext.New()
	v, files, err := ev.instance(ctx, folder, ev.governance.Files)
	if err != nil {
		return ev.unloadable(folder, err, deny)
	}
	err = v.Validate(cue.All())
	def := v.LookupPath(cue.MakePath(cue.Def("#Blueprint")))
	if err == nil && !def.Exists() {
		return []reconciler.Violation{deny(problem{message: "does not define #Blueprint",
			hint: "write:  #Blueprint: schema.#Blueprint & {name: \"" + name + "\", …}"})}
	}
	if err == nil {
		err = def.Validate(cue.All())
	}
	if err == nil {
		return nil
	}
	var violations []reconciler.Violation
	body := blueprintBody(files)
	_, at := sourceOf(files, []string{"#Blueprint"})
	for _, p := range explain(errors.Errors(err), []string{"#Blueprint"}, def, ev.definition(ctx, "#Blueprint"), body) {
		if p.position.Line == 0 {
			p.position = at
		}
		violations = append(violations, deny(p))
	}
	return violations
}

// unloadable says why a blueprint's files do not even load.
func (ev *evaluation) unloadable(folder string, err error, deny func(problem) reconciler.Violation) []reconciler.Violation {
	var violations []reconciler.Violation
	for file, content := range ev.governance.Files {
		if path.Dir(file) != folder {
			continue
		}
		if _, err := parser.ParseFile(file, content); err != nil {
			for _, p := range cueProblems(errors.Errors(err)) {
				p.message = "syntax error: " + p.message
				violations = append(violations, deny(p))
			}
		}
	}
	if len(violations) > 0 {
		return violations
	}
	for _, p := range cueProblems(errors.Errors(err)) {
		violations = append(violations, deny(p))
	}
	return violations
}

// blueprintBody finds the struct in `#Blueprint: schema.#Blueprint & {…}`.
func blueprintBody(files []*ast.File) *ast.StructLit {
	for _, f := range files {
		if field, found := findField(f.Decls, []string{"#Blueprint"}); found {
			if both, ok := field.Value.(*ast.BinaryExpr); ok {
				body, _ := both.Y.(*ast.StructLit)
				return body
			}
		}
	}
	return nil
}

// stub replaces a blueprint's CUE by the least that the root can import.
func (ev *evaluation) stub(name string) {
	folder := path.Join(BlueprintFolder, name)
	pkg := name
	for file, content := range ev.governance.Files {
		if path.Dir(file) == folder && strings.HasSuffix(file, ".cue") {
			if f, err := parser.ParseFile(file, content, parser.PackageClauseOnly); err == nil && f.PackageName() != "" {
				pkg = f.PackageName()
			}
			ev.broken[file] = "package " + pkg
		}
	}
	ev.broken[folder+"/blueprint.cue"] = fmt.Sprintf(`package %s
import "pave.dev/schema"
#Blueprint: schema.#Blueprint & {title: "(broken)", outputs: [string]: _, request: {inputs: _, cost: monthly: 0}}
`, pkg)
}

// export turns the evaluated root into plain documents.
func export(root cue.Value, folders []string) (*governance, error) {
	settings := root.LookupPath(cue.MakePath(cue.Str("platform")))
	blueprints := root.LookupPath(cue.MakePath(cue.Def("#blueprints")))
	if !settings.Exists() || !blueprints.Exists() {
		return nil, fmt.Errorf("the root does not embed the schema")
	}
	var g governance
	doc, err := settings.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	g.Settings = document{Kind: "platform", Name: "platform", JSON: doc, Position: declared(settings)}
	if g.Teams, err = exportAll(root, "team"); err != nil {
		return nil, err
	}
	if g.Environments, err = exportAll(root, "environment"); err != nil {
		return nil, err
	}
	it, err := blueprints.Fields(cue.Optional(false))
	if err != nil {
		return nil, err
	}
	for it.Next() {
		b, err := exportBlueprint(it.Selector().Unquoted(), it.Value(), folders)
		if err != nil {
			return nil, err
		}
		g.Blueprints = append(g.Blueprints, b)
	}
	return &g, nil
}

func exportAll(root cue.Value, kind string) ([]document, error) {
	var docs []document
	v := root.LookupPath(cue.MakePath(cue.Str(kind)))
	if !v.Exists() {
		return nil, nil
	}
	it, err := v.Fields()
	if err != nil {
		return nil, err
	}
	for it.Next() {
		doc, err := it.Value().MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("read %s %s: %w", kind, it.Selector(), err)
		}
		docs = append(docs, document{Kind: kind, Name: it.Selector().Unquoted(), JSON: doc, Position: declared(it.Value())})
	}
	return docs, nil
}

// exportBlueprint returns the blueprint's document, its inputs described in
// place of `request`, which only a request makes concrete.
func exportBlueprint(name string, v cue.Value, folders []string) (evaluatedBlueprint, error) {
	fields := map[string]json.RawMessage{}
	it, err := v.Fields()
	if err != nil {
		return evaluatedBlueprint{}, err
	}
	for it.Next() {
		if it.Selector().String() == "request" {
			continue
		}
		if fields[it.Selector().Unquoted()], err = it.Value().MarshalJSON(); err != nil {
			return evaluatedBlueprint{}, fmt.Errorf("read blueprint %s: %w", name, err)
		}
	}
	b := evaluatedBlueprint{document: document{Kind: "blueprint", Name: name}}
	inputs := v.LookupPath(cue.ParsePath("request.inputs"))
	b.Inputs = inputsOf(inputs)
	for _, at := range append([]reconciler.Position{declared(inputs)}, operandPositions(v)...) {
		if folder, ok := blueprintOf(at.File); ok && slices.Contains(folders, folder) {
			b.Folder = path.Join(BlueprintFolder, folder)
			break
		}
	}
	if b.Folder == "" {
		b.Folder = path.Join(BlueprintFolder, name)
	}
	b.Position = reconciler.Position{File: b.Folder + "/blueprint.cue"}
	for _, at := range operandPositions(v) {
		if path.Dir(at.File) == b.Folder {
			b.Position = at
			break
		}
	}
	described := map[string]map[string]any{}
	for input, i := range b.Inputs {
		described[input] = map[string]any{"type": i.Type, "optional": i.Optional}
	}
	if fields["inputs"], err = json.Marshal(described); err != nil {
		return b, err
	}
	b.JSON, err = json.Marshal(fields)
	return b, err
}

// data checks the literal documents of one file, each by itself.
func (ev *evaluation) data(j job) answer {
	file := path.Join(virtualRoot, j.Own[0])
	content := j.Files[j.Own[0]]
	if entries, literal := quickEntries(file, content); literal {
		a := ev.entries(entries, nil)
		if !slices.ContainsFunc(a.Documents, func(d document) bool { return d.JSON == nil }) {
			return a
		}
	}
	parsed, err := parser.ParseFile(file, content)
	if err != nil {
		return answer{Violations: []reconciler.Violation{{Level: reconciler.Deny, Scope: reconciler.ScopeFile, Position: reconciler.Position{File: j.Own[0]}, Message: err.Error()}}}
	}
	entries, _ := literalEntries(parsed)
	handed := map[string]any{}
	for _, e := range entries {
		for _, u := range e.uses {
			if !ev.outputs[j.Uses.Of(u.request)][u.output] {
				return answer{Unsure: true}
			}
			handed[u.request] = map[string]any{"outputs": ev.handed(u.request, j.Uses.Of(u.request))}
		}
	}
	return ev.entries(entries, handed)
}

// entries checks the literal documents of one file.
func (ev *evaluation) entries(entries []entry, handed map[string]any) answer {
	var a answer
	for _, e := range entries {
		d, vs := ev.entry(e, handed)
		a.Documents = append(a.Documents, d)
		a.Violations = append(a.Violations, vs...)
	}
	return a
}

// handed returns what a request of the blueprint hands out.
func (ev *evaluation) handed(request, blueprint string) map[string]any {
	outputs := map[string]any{}
	for output := range ev.outputs[blueprint] {
		outputs[output] = use{request, output}.reference()
	}
	return outputs
}

// entry checks one literal document. One that is refused is evaluated again
// from its source, which has the positions; what that says holds, and without source
// it has no JSON. handed are the requests whose outputs it may use.
func (ev *evaluation) entry(e entry, handed map[string]any) (document, []reconciler.Violation) {
	d := document{Kind: e.kind, Name: e.name, Position: position(e.at)}
	var doc json.RawMessage
	c := ev.compiledFor(e)
	if c != nil && c.trusted() {
		doc = c.check(ev, e)
	}
	if doc != nil && c.confirmed {
		d.JSON = doc
		return d, nil
	}
	d.JSON = concreteJSON(ev.unify(e))
	if doc != nil {
		c.confirmed = bytes.Equal(doc, d.JSON)
		c.refuted = !c.confirmed
	}
	if d.JSON != nil {
		return d, nil
	}
	if e.body == nil {
		return d, nil
	}
	constraint := ev.schemaOf(e.kind, e.value["blueprint"]).FillPath(namePath, e.name)
	v := constraint.Unify(ev.ctx.BuildExpr(e.body, cue.Scope(ev.ctx.Encode(map[string]any{"request": handed}))))
	if d.JSON = concreteJSON(v); d.JSON != nil {
		return d, nil
	}
	return d, ev.explainEntry(v, constraint, e, d)
}

// concreteJSON returns the value as JSON with its fields sorted, nil where it is
// refused.
func concreteJSON(v cue.Value) json.RawMessage {
	if v.Validate(cue.Concrete(true)) != nil {
		return nil
	}
	doc, err := sortedJSON(v)
	if err != nil {
		return nil
	}
	return doc
}

// sortedJSON renders a value with its fields sorted: CUE orders them by where they
// were found first, which is no change of the document.
func sortedJSON(v cue.Value) (json.RawMessage, error) {
	doc, err := v.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return sortFields(doc)
}

// sortFields renders JSON with the fields of every struct sorted.
func sortFields(doc json.RawMessage) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

var namePath = cue.MakePath(cue.Str("name"))

// unify puts a literal document under its constraints. The label says its
// name; where a field says it too, both must agree.
func (ev *evaluation) unify(e entry) cue.Value {
	constraint := ev.schemaOf(e.kind, e.value["blueprint"])
	if _, said := e.value["name"]; said {
		return constraint.FillPath(namePath, e.name).Unify(ev.ctx.Encode(e.value))
	}
	// Cheaper than filling the constraint, which copies it.
	e.value["name"] = e.name
	v := constraint.Unify(ev.ctx.Encode(e.value))
	delete(e.value, "name")
	return v
}

// schemaOf returns the constraints on a document of the kind.
func (ev *evaluation) schemaOf(kind string, blueprint any) cue.Value {
	if kind == "service" {
		return ev.service
	}
	if name, ok := blueprint.(string); ok {
		if v, found := ev.byName[name]; found {
			return v
		}
	}
	return ev.request
}

// explainEntry says why a document is refused.
func (ev *evaluation) explainEntry(v, constraint cue.Value, e entry, d document) []reconciler.Violation {
	err := v.Validate(cue.Concrete(true), cue.All())
	if err == nil {
		_, err = v.MarshalJSON()
	}
	var violations []reconciler.Violation
	for _, p := range explain(errors.Errors(err), []string{"#" + e.kind}, v, constraint, e.body) {
		violations = append(violations, p.inDocument(reconciler.ScopeDocument, e.kind, e.name, d.Position))
	}
	return violations
}

// folder evaluates the files of one folder together, as plain CUE does.
func (ev *evaluation) folder(j job) answer {
	ctx := cuecontext.New()
	root, files, err := ev.instance(ctx, j.Folder, ev.governance.Files, ev.broken, j.Files)
	var a answer
	fail := func(scope reconciler.Scope, err error) answer {
		for _, p := range explain(errors.Errors(err), nil, root, cue.Value{}, nil) {
			a.Violations = append(a.Violations, p.violation(scope, "", "", j.Own[0]))
		}
		return a
	}
	if err != nil {
		return fail(reconciler.ScopeFile, err)
	}
	if err := root.Err(); err != nil && !root.LookupPath(cue.MakePath(cue.Str("environment"))).Exists() {
		return fail(reconciler.ScopeFile, err) // nothing was built: an import that is not used, say
	}
	if changed := ev.changedGovernance(root); changed != "" {
		a.Violations = append(a.Violations, reconciler.Violation{Level: reconciler.Deny, Scope: reconciler.ScopeFile,
			Position: reconciler.Position{File: culprit(j)},
			Message:  fmt.Sprintf("what is computed here changes %s, which belongs to the root of the repository", changed),
			Hint:     "move it to platform.cue, teams.cue or environments.cue"})
		return a
	}
	patterns := patternRanges(files)
	answered := map[[2]string]bool{}
	for _, kind := range []string{"service", "request"} {
		all := root.LookupPath(cue.MakePath(cue.Str(kind)))
		it, err := all.Fields()
		if err != nil {
			return fail(reconciler.ScopeFile, err)
		}
		for it.Next() {
			name := it.Selector().Unquoted()
			docs, vs := ev.computed(kind, name, it.Value(), j, files, patterns)
			a.Documents = append(a.Documents, docs...)
			a.Violations = append(a.Violations, vs...)
			answered[[2]string{kind, name}] = true
		}
	}
	// What is wrong outside every document, such as an unknown kind.
	if err := root.Validate(cue.Concrete(true), cue.All()); err != nil {
		outside := slices.DeleteFunc(errors.Errors(err), func(e errors.Error) bool {
			path := cleanPath(e.Path())
			return len(path) > 1 && answered[[2]string{path[0], path[1]}]
		})
		for _, p := range explain(outside, nil, root, cue.Value{}, nil) {
			a.Violations = append(a.Violations, p.violation(reconciler.ScopeFile, "", "", j.Own[0]))
		}
	}
	return a
}

// culprit returns the file that most likely computes what it should not: files
// of literals cannot, and a file in a folder above reaches more.
func culprit(j job) string {
	suspect := j.Own[0]
	for _, file := range slices.Sorted(maps.Keys(j.Files)) {
		if f, err := parser.ParseFile(file, j.Files[file]); err == nil && !isLiteral(f) &&
			strings.Count(file, "/") < strings.Count(suspect, "/") {
			suspect = file
		}
	}
	return suspect
}

// computed returns a document of a folder that computes, once for each of the
// folder's files that declares it.
func (ev *evaluation) computed(kind, name string, v cue.Value, j job, files []*ast.File, patterns []span) ([]document, []reconciler.Violation) {
	docs, above := declarations(kind, name, v, j, patterns)
	err := v.Validate(cue.Concrete(true), cue.All())
	if above {
		return nil, spoilt(kind, name, err, j)
	}
	if err == nil {
		if docs[0].JSON, err = sortedJSON(v); err == nil {
			return docs, nil
		}
	}
	blueprint, _ := v.LookupPath(cue.MakePath(cue.Str("blueprint"))).String()
	var violations []reconciler.Violation
	body := documentBody(files, kind, name)
	for _, p := range explain(errors.Errors(err), []string{kind, name}, v, ev.schemaOf(kind, blueprint).FillPath(namePath, name), body) {
		violations = append(violations, p.inDocument(reconciler.ScopeDocument, kind, name, docs[0].Position))
	}
	return docs, violations
}

// spoilt reports what this folder's files make wrong about a document of a
// folder above. What is wrong without them is said there.
func spoilt(kind, name string, err error, j job) []reconciler.Violation {
	caused := slices.DeleteFunc(errors.Errors(err), func(e errors.Error) bool {
		return !slices.ContainsFunc(errors.Positions(e), func(p token.Pos) bool { return slices.Contains(j.Own, position(p).File) })
	})
	var violations []reconciler.Violation
	for _, p := range explain(caused, []string{kind, name}, cue.Value{}, cue.Value{}, nil) {
		violations = append(violations, p.inDocument(reconciler.ScopeFile, kind, name, reconciler.Position{File: j.Own[0]}))
	}
	return violations
}

// declarations returns the document at each place where the job's own files
// declare it, or tells that a folder above does. One that no file declares, as
// what an import brings, is the first file's.
func declarations(kind, name string, v cue.Value, j job, patterns []span) (docs []document, above bool) {
	for _, at := range operandPositions(v) {
		if within(patterns, at) {
			continue
		}
		if !slices.Contains(j.Own, at.File) {
			_, read := j.Files[at.File]
			above = above || read
			continue
		}
		if !slices.ContainsFunc(docs, func(d document) bool { return d.Position.File == at.File }) {
			docs = append(docs, document{Kind: kind, Name: name, Position: at})
		}
	}
	if len(docs) == 0 && !above {
		docs = []document{{Kind: kind, Name: name, Position: reconciler.Position{File: j.Own[0]}}}
	}
	return docs, len(docs) == 0
}

// governanceFacts renders what a catalog file may not change.
func governanceFacts(root cue.Value) map[string]string {
	facts := map[string]string{}
	for _, kind := range []string{"platform", "team", "environment"} {
		if doc, err := root.LookupPath(cue.MakePath(cue.Str(kind))).MarshalJSON(); err == nil {
			facts[kind] = string(doc)
		}
	}
	if it, err := root.LookupPath(cue.MakePath(cue.Def("#blueprints"))).Fields(); err == nil {
		var names []string
		for it.Next() {
			names = append(names, it.Selector().Unquoted())
		}
		slices.Sort(names)
		facts["the blueprints"] = strings.Join(names, ",")
	}
	return facts
}

func (ev *evaluation) changedGovernance(root cue.Value) string {
	facts := governanceFacts(root)
	for _, kind := range slices.Sorted(maps.Keys(ev.facts)) {
		if facts[kind] != ev.facts[kind] {
			return kind
		}
	}
	return ""
}

// operandPositions returns where the parts of a value stand in the repository.
func operandPositions(v cue.Value) []reconciler.Position {
	var all []reconciler.Position
	add := func(p token.Pos) {
		if p.IsValid() && strings.HasPrefix(p.Filename(), virtualRoot+"/") {
			all = append(all, position(p))
		}
	}
	if op, args := v.Expr(); op == cue.AndOp {
		for _, a := range args {
			if src := a.Source(); src != nil {
				add(src.Pos())
			}
			add(a.Pos())
		}
	}
	if src := v.Source(); src != nil {
		add(src.Pos())
	}
	add(v.Pos())
	return all
}

// declared returns where a value stands outside the schema.
func declared(v cue.Value) reconciler.Position {
	for _, at := range operandPositions(v) {
		if !strings.HasPrefix(at.File, "cue.mod/") {
			return at
		}
	}
	return reconciler.Position{}
}

// span is a part of a file, in lines and columns.
type span struct{ from, to reconciler.Position }

// patternRanges returns the places of pattern constraints, such as
// `service: [string]: owner: "payments"`: they declare no document.
func patternRanges(files []*ast.File) []span {
	var spans []span
	for _, f := range files {
		ast.Walk(f, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				if _, pattern := field.Label.(*ast.ListLit); pattern {
					spans = append(spans, span{position(field.Pos()), position(field.End())})
				}
			}
			return true
		}, nil)
	}
	return spans
}

func within(spans []span, at reconciler.Position) bool {
	before := func(a, b reconciler.Position) bool {
		return a.Line < b.Line || a.Line == b.Line && a.Column <= b.Column
	}
	return slices.ContainsFunc(spans, func(s span) bool {
		return s.from.File == at.File && before(s.from, at) && before(at, s.to)
	})
}
