package terraform

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/pave-dev/pave/reconciler"
)

// The parts of the language that Pave knows. What else stands in a file is
// refused rather than left unseen.
var (
	fileBlocks = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "terraform"}, {Type: "locals"}, {Type: "moved"}, {Type: "removed"}, {Type: "import"},
		{Type: "provider", LabelNames: []string{"name"}},
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "output", LabelNames: []string{"name"}},
		{Type: "module", LabelNames: []string{"name"}},
		{Type: "check", LabelNames: []string{"name"}},
		{Type: "resource", LabelNames: []string{"type", "name"}},
		{Type: "data", LabelNames: []string{"type", "name"}},
		{Type: "ephemeral", LabelNames: []string{"type", "name"}},
	}}
	terraformBlocks = &hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "required_version"}, {Name: "experiments"}, {Name: "language"}},
		Blocks: []hcl.BlockHeaderSchema{
			{Type: "backend", LabelNames: []string{"type"}},
			{Type: "provider_meta", LabelNames: []string{"provider"}},
			{Type: "cloud"}, {Type: "required_providers"},
		},
	}
	variableParts = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "type"}, {Name: "default"}, {Name: "sensitive"}, {Name: "ephemeral"}}}
	outputParts = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "sensitive"}}}
	moduleParts = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}, {Name: "version"}}}
	// resourceParts serves removed blocks, too: they may run provisioners.
	resourceParts = &hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "provider"}, {Name: "from"}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "provisioner", LabelNames: []string{"type"}}},
	}
	checkParts = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "data", LabelNames: []string{"type", "name"}}}}
)

// module is one folder of configuration.
type module struct {
	folder    string // relative to the blueprint's; "." is the root
	files     int
	variables map[string]variable
	outputs   map[string]output
	providers map[string]string // sources by local name
	uses      []use
	calls     []string // folders of local modules
}

type variable struct {
	at                   reconciler.Position
	ty                   cty.Type
	typed, hasDefault    bool
	sensitive, ephemeral bool
}

type output struct {
	at        reconciler.Position
	sensitive bool
}

// use is a provider that a resource needs.
type use struct {
	provider string
	place    place
}

func (m *module) root() bool { return m.folder == "." }

// sensitive returns the names of the variables that are declared sensitive.
func (m *module) sensitive() map[string]bool {
	names := map[string]bool{}
	for name, v := range m.variables {
		if v.sensitive {
			names[name] = true
		}
	}
	return names
}

// readModules reads the root module and all local modules that it reaches.
func (in *inspector) readModules() (root *module, nested []*module) {
	root = in.readModule(".")
	seen := map[string]bool{".": true}
	for queue := root.calls; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		m := in.readModule(queue[0])
		nested = append(nested, m)
		queue = append(queue, m.calls...)
	}
	return root, nested
}

func (in *inspector) readModule(folder string) *module {
	m := &module{
		folder:    folder,
		variables: map[string]variable{},
		outputs:   map[string]output{},
		providers: map[string]string{},
	}
	for _, name := range slices.Sorted(maps.Keys(in.files)) {
		if path.Dir(name) != folder || !configuration(path.Base(name)) {
			continue
		}
		m.files++
		if f := in.parseFile(in.files[name]); f != nil {
			in.readFile(m, f)
		}
	}
	in.implyProviders(m)
	return m
}

// configuration tells whether Terraform reads a file of this name: it ignores
// what editors leave behind.
func configuration(name string) bool {
	return (strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json")) && !strings.HasPrefix(name, ".")
}

func (in *inspector) readFile(m *module, f *file) {
	content, diags := f.body.Content(fileBlocks)
	in.denyAll(diags)
	for _, block := range content.Blocks {
		in.readBlock(m, block)
	}
	in.findFileCalls(m, f)
}

func (in *inspector) readBlock(m *module, block *hcl.Block) {
	switch block.Type {
	case "terraform":
		in.readTerraform(m, block)
	case "provider":
		if m.root() {
			in.deny(position(block.DefRange), "remove the block and set the provider's arguments in each environment: providers: "+block.Labels[0],
				"the blueprint configures provider %q itself", block.Labels[0])
		}
	case "variable":
		if m.root() {
			in.readVariable(m, block)
		}
	case "output":
		if m.root() {
			in.readOutput(m, block)
		}
	case "module":
		in.readCall(m, block)
	case "resource", "removed":
		in.readResource(m, block)
	case "data", "ephemeral":
		in.readData(m, block)
	case "check":
		for _, data := range in.content(block, checkParts).Blocks {
			in.readData(m, data)
		}
	}
}

// content returns the parts of a block that the schema names.
func (in *inspector) content(block *hcl.Block, schema *hcl.BodySchema) *hcl.BodyContent {
	content, _, diags := block.Body.PartialContent(schema)
	in.denyAll(diags)
	return content
}

func (in *inspector) readTerraform(m *module, block *hcl.Block) {
	content, diags := block.Body.Content(terraformBlocks)
	in.denyAll(diags)
	for _, b := range content.Blocks {
		switch {
		case b.Type == "required_providers":
			in.readRequirements(m, b)
		case b.Type == "backend" && m.root():
			in.deny(position(b.DefRange), "remove the block; the environment of a request says where its state is kept",
				"the blueprint configures the backend %q itself", b.Labels[0])
		case b.Type == "cloud" && m.root():
			in.deny(position(b.DefRange), "remove the block; the environment of a request says where its state is kept",
				"the blueprint configures a cloud block itself")
		}
	}
}

func (in *inspector) readRequirements(m *module, block *hcl.Block) {
	attributes, diags := block.Body.JustAttributes()
	in.denyAll(diags)
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		attribute := attributes[name]
		fact := providerFact{Name: name, Source: impliedSource(name), place: placeOf(attribute.Range)}
		if version, ok := literalText(attribute.Expr); ok {
			fact.Version = version
		} else {
			in.readRequirement(m, attribute, &fact)
		}
		m.providers[name] = strings.TrimPrefix(fact.Source, "registry.terraform.io/")
		in.facts.Providers = append(in.facts.Providers, fact)
	}
}

func (in *inspector) readRequirement(m *module, attribute *hcl.Attribute, fact *providerFact) {
	pairs, diags := hcl.ExprMap(attribute.Expr)
	in.denyAll(diags)
	for _, pair := range pairs {
		key := hcl.ExprAsKeyword(pair.Key)
		if key == "" {
			key, _ = literalText(pair.Key)
		}
		switch key {
		case "source":
			fact.Source = in.text(pair.Value, "source")
		case "version":
			fact.Version = in.text(pair.Value, "version")
		case "configuration_aliases":
			in.readAliases(m, pair.Value)
		}
	}
}

func (in *inspector) readAliases(m *module, list hcl.Expression) {
	aliases, diags := hcl.ExprList(list)
	in.denyAll(diags)
	for _, alias := range aliases {
		name := reference(alias)
		if _, after, _ := strings.Cut(name, "."); m.root() && reserved(after) {
			in.deny(position(alias.Range()), `rename it; names that start with "pave" are reserved`,
				"provider alias %q takes a name reserved for Pave", name)
		}
	}
}

func (in *inspector) readVariable(m *module, block *hcl.Block) {
	name, content := block.Labels[0], in.content(block, variableParts)
	v := variable{
		at:         position(block.DefRange),
		hasDefault: content.Attributes["default"] != nil,
		sensitive:  in.flag(content.Attributes["sensitive"]),
		ephemeral:  in.flag(content.Attributes["ephemeral"]),
		ty:         cty.DynamicPseudoType,
	}
	if attribute := content.Attributes["type"]; attribute != nil {
		v.typed = true
		v.ty = in.readType(attribute)
	}
	if first, ok := m.variables[name]; ok {
		in.deny(v.at, "remove one of them", "variable %q is declared twice, first at %s", name, first.at)
		return
	}
	m.variables[name] = v
	in.facts.Variables = append(in.facts.Variables, variableFact{
		Name: name, Type: typeText(v.ty), Sensitive: v.sensitive, Default: v.hasDefault, place: placeOf(block.DefRange)})
}

// readType reads a type as Terraform does. The defaults of object attributes
// are evaluated on the way, so expressions that could run long are refused.
func (in *inspector) readType(attribute *hcl.Attribute) cty.Type {
	expr := attribute.Expr
	if text, ok := literalText(expr); ok && !native(expr) {
		var diags hcl.Diagnostics
		if expr, diags = parseExpression(text, expr.Range()); diags.HasErrors() {
			in.denyAll(diags)
			return cty.DynamicPseudoType
		}
	}
	if e, ok := expr.(hclsyntax.Expression); ok && loops(e) {
		in.deny(position(expr.Range()), "write the defaults as plain values", "a type with a for expression in it is refused")
		return cty.DynamicPseudoType
	}
	ty, _, diags := typeexpr.TypeConstraintWithDefaults(expr)
	in.denyAll(diags)
	return ty
}

func loops(expr hclsyntax.Expression) bool {
	found := false
	_ = hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
		_, loop := node.(*hclsyntax.ForExpr)
		found = found || loop
		return nil
	})
	return found
}

func (in *inspector) readOutput(m *module, block *hcl.Block) {
	name := block.Labels[0]
	o := output{at: position(block.DefRange), sensitive: in.flag(in.content(block, outputParts).Attributes["sensitive"])}
	if first, ok := m.outputs[name]; ok {
		in.deny(o.at, "remove one of them", "output %q is declared twice, first at %s", name, first.at)
		return
	}
	m.outputs[name] = o
	in.facts.Outputs = append(in.facts.Outputs, outputFact{Name: name, Sensitive: o.sensitive, place: placeOf(block.DefRange)})
}

func (in *inspector) readResource(m *module, block *hcl.Block) {
	content := in.content(block, resourceParts)
	address := strings.Join(block.Labels, ".")
	if block.Type == "resource" {
		in.facts.Resources = append(in.facts.Resources, resourceFact{Type: block.Labels[0], Name: block.Labels[1], place: placeOf(block.DefRange)})
	} else if from := content.Attributes["from"]; from != nil {
		address = reference(from.Expr)
	}
	if kind, _, _ := strings.Cut(address, "."); kind != "module" {
		m.use(kind, content.Attributes["provider"], block)
	}
	for _, provisioner := range content.Blocks {
		in.facts.Provisioners = append(in.facts.Provisioners, provisionerFact{
			Type: provisioner.Labels[0], Resource: address, place: placeOf(provisioner.DefRange)})
	}
}

// readData reads ephemeral resources, too: both are read while planning.
func (in *inspector) readData(m *module, block *hcl.Block) {
	in.facts.Data = append(in.facts.Data, resourceFact{Type: block.Labels[0], Name: block.Labels[1], place: placeOf(block.DefRange)})
	m.use(block.Labels[0], in.content(block, resourceParts).Attributes["provider"], block)
}

// use notes the provider that a resource needs: the one it names, or the one
// that the first word of its type implies.
func (m *module) use(kind string, provider *hcl.Attribute, block *hcl.Block) {
	name, _, _ := strings.Cut(kind, "_")
	if provider != nil {
		if named, _, _ := strings.Cut(reference(provider.Expr), "."); named != "" {
			name = named
		}
	}
	m.uses = append(m.uses, use{name, placeOf(block.DefRange)})
}

// implyProviders adds the providers that are used without a requirement.
// `terraform` is built in.
func (in *inspector) implyProviders(m *module) {
	for _, u := range m.uses {
		if _, ok := m.providers[u.provider]; ok || u.provider == "terraform" || u.provider == "" {
			continue
		}
		m.providers[u.provider] = impliedSource(u.provider)
		in.facts.Providers = append(in.facts.Providers, providerFact{Name: u.provider, Source: impliedSource(u.provider), place: u.place})
	}
}

func impliedSource(name string) string { return "hashicorp/" + name }

func (in *inspector) readCall(m *module, block *hcl.Block) {
	content := in.content(block, moduleParts)
	fact := moduleFact{Name: block.Labels[0], place: placeOf(block.DefRange)}
	source := content.Attributes["source"]
	if source == nil {
		in.deny(position(block.DefRange), `add to the module: source = "./..."`, "module %q has no source", fact.Name)
		return
	}
	fact.Source = in.text(source.Expr, "source")
	if version := content.Attributes["version"]; version != nil {
		fact.Version = in.text(version.Expr, "version")
	}
	fact.Local = isLocal(fact.Source)
	fact.Pinned = pinned(fact.Source, fact.Version)
	in.facts.Modules = append(in.facts.Modules, fact)
	in.followCall(m, fact, position(source.Expr.Range()))
}

// followCall notes the folder of a local module, which must be in the blueprint.
func (in *inspector) followCall(m *module, fact moduleFact, at reconciler.Position) {
	folder := path.Join(m.folder, fact.Source)
	switch {
	case onHost(fact.Source), fact.Local && (folder == ".." || strings.HasPrefix(folder, "../")):
		in.deny(at, "copy the module into "+in.blueprint.Folder+" or use a remote one, pinned to a version",
			"module %q has the source %q outside the blueprint", fact.Name, fact.Source)
	case fact.Local && !in.holdsConfiguration(folder):
		in.deny(at, "add "+path.Join(in.blueprint.Folder, folder, "main.tf"),
			"module %q has the source %q, which holds no .tf or .tf.json file", fact.Name, fact.Source)
	case fact.Local:
		m.calls = append(m.calls, folder)
	}
}

func (in *inspector) holdsConfiguration(folder string) bool {
	for name := range in.files {
		if path.Dir(name) == folder && configuration(path.Base(name)) {
			return true
		}
	}
	return false
}

func isLocal(source string) bool {
	return source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}

var hostSource = reconciler.Pattern(`(?i)^(/|~|\\|\.{1,2}\\|[a-z]:[\\/]|file:)`)

// onHost tells whether a source is a folder of whatever machine runs Terraform.
func onHost(source string) bool { return hostSource().MatchString(source) }

var (
	registrySource = reconciler.Pattern(`^([A-Za-z0-9.-]+(:[0-9]+)?/)?[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/[a-z0-9]+(//.*)?$`)
	gitSource      = reconciler.Pattern(`^(git::|git@|github\.com/|bitbucket\.org/)`)
	gitCommit      = reconciler.Pattern(`[?&]ref=[0-9a-f]{40}(&|$)`)
	exactVersion   = reconciler.Pattern(`^\s*=?\s*v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\s*$`)
)

// pinned tells whether a remote source always brings the same content.
func pinned(source, version string) bool {
	switch {
	case gitSource().MatchString(source):
		return gitCommit().MatchString(source) && strings.Count(source, "ref=") == 1
	case registrySource().MatchString(source):
		return exactVersion().MatchString(version)
	}
	return false
}

// text returns a literal text; empty, after a violation, for anything else.
func (in *inspector) text(expr hcl.Expression, argument string) string {
	text, ok := literalText(expr)
	if !ok {
		in.deny(position(expr.Range()), "write it in quotes, without ${ }", "%s must be literal text", argument)
	}
	return text
}

// flag returns a literal truth value; absent means false.
func (in *inspector) flag(attribute *hcl.Attribute) bool {
	if attribute == nil {
		return false
	}
	value, ok := literal(attribute.Expr)
	if ok && !value.IsNull() {
		if b, err := convert.Convert(value, cty.Bool); err == nil {
			return b.True()
		}
	}
	in.deny(position(attribute.Expr.Range()), "write "+attribute.Name+" = true or "+attribute.Name+" = false",
		"%s must be true or false", attribute.Name)
	return false
}

// reference returns a reference as text, such as "aws.west"; empty if it is none.
func reference(expr hcl.Expression) string {
	traversal, diags := hcl.AbsTraversalForExpr(expr)
	if diags.HasErrors() {
		text, _ := literalText(expr)
		return text
	}
	var parts []string
	for _, step := range traversal {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			parts = append(parts, step.Name)
		case hcl.TraverseAttr:
			parts = append(parts, step.Name)
		}
	}
	return strings.Join(parts, ".")
}
