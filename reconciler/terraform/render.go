package terraform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// identifier is what names an argument of the language without quotes.
var identifier = reconciler.Pattern(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// defaultTags tells where a provider takes tags for all that it creates, by
// the provider's local name.
var defaultTags = map[string][]string{
	"aws":         {"default_tags", "tags"},
	"google":      {"default_labels"},
	"google-beta": {"default_labels"},
}

// Render returns what Pave adds to the unit's blueprint. Strings in the
// generated file are templates to Terraform, so every value of a request or an
// environment goes through the variables, which it never interpolates; only
// the backend's arguments are written out, as literals.
//
// The name of the unit's state begins with stateKeyPrefix, unless the
// environment's backend gives another prefix.
func Render(unit reconciler.Unit, stateKeyPrefix string) (reconciler.Rendering, error) {
	if !reconciler.IsName(unit.Name()) {
		return reconciler.Rendering{}, fmt.Errorf("render request %q: the name must match %s", unit.Name(), reconciler.NameForm)
	}
	rendering, err := render(unit, stateKeyPrefix)
	if err != nil {
		return reconciler.Rendering{}, fmt.Errorf("render request %s: %w", unit.Name(), err)
	}
	return rendering, nil
}

func render(unit reconciler.Unit, stateKeyPrefix string) (reconciler.Rendering, error) {
	backend, address, err := renderBackend(*unit.Environment, unit.Name(), stateKeyPrefix)
	if err != nil {
		return reconciler.Rendering{}, err
	}
	variables, references, err := splitInputs(unit.Request)
	if err != nil {
		return reconciler.Rendering{}, err
	}
	variables["pave"] = marshal(identify(unit))
	providers, err := renderProviders(unit, variables)
	if err != nil {
		return reconciler.Rendering{}, err
	}
	return reconciler.Rendering{
		Generated:  generated(*unit.Module, backend, providers, variables),
		Variables:  variables,
		References: references,
		Address:    address,
	}, nil
}

// splitInputs separates the inputs that are given from those that other units provide.
func splitInputs(request *reconciler.Request) (map[string]json.RawMessage, map[string]reconciler.Ref, error) {
	variables := map[string]json.RawMessage{}
	var references map[string]reconciler.Ref
	for name, value := range request.Inputs.All() {
		if !identifier().MatchString(name) || reserved(name) {
			return nil, nil, fmt.Errorf("inputs.%s: the name is reserved or no identifier", name)
		}
		if !json.Valid(value) {
			return nil, nil, fmt.Errorf("inputs.%s: expected JSON", name)
		}
		if ref, ok := reconciler.Reference(value); ok {
			if references == nil {
				references = map[string]reconciler.Ref{}
			}
			references[name] = ref
			continue
		}
		variables[name] = value
	}
	return variables, references, nil
}

// reserved tells whether a name is Pave's own, on any file system.
func reserved(name string) bool {
	return strings.HasPrefix(strings.ToLower(name), "pave")
}

// ownershipRecord is the value of the reserved variable `pave`, and by an output of
// that name the record in the state of the unit that owns it.
type ownershipRecord struct {
	Request     string            `json:"request"`
	Service     string            `json:"service"`
	Owner       string            `json:"owner"`
	Environment string            `json:"environment"`
	Stage       string            `json:"stage"`
	Tags        map[string]string `json:"tags"`
}

func identify(unit reconciler.Unit) ownershipRecord {
	return ownershipRecord{
		Request:     unit.Name(),
		Service:     unit.Request.Service,
		Owner:       unit.Service.Owner,
		Environment: unit.Request.Environment,
		Stage:       unit.Environment.Stage,
		Tags: map[string]string{
			"pave_request":     unit.Name(),
			"pave_service":     unit.Request.Service,
			"pave_owner":       unit.Service.Owner,
			"pave_environment": unit.Request.Environment,
		},
	}
}

// renderProviders returns the blocks of the providers that the module requires
// and that need one, and adds the variables that they read.
func renderProviders(unit reconciler.Unit, variables map[string]json.RawMessage) (map[string]any, error) {
	blocks := map[string]any{}
	for _, name := range unit.Module.Providers {
		raw, configured := unit.Environment.Providers[name]
		tags, tagged := defaultTags[name]
		if !configured && !tagged {
			continue
		}
		block := map[string]any{}
		if configured {
			var err error
			if block, err = renderProvider(name, raw); err != nil {
				return nil, fmt.Errorf("environment %s: providers.%s%w", unit.Environment.Name, name, err)
			}
			variables[providerVariable(name)] = raw
		}
		if tagged {
			setDefault(block, tags, "${var.pave.tags}")
		}
		blocks[name] = block
	}
	return blocks, nil
}

func providerVariable(name string) string { return "pave_provider_" + name }

// renderProvider mirrors the provider's arguments, each value a reference. Its
// errors begin with the rest of the path to the argument.
func renderProvider(name string, raw json.RawMessage) (map[string]any, error) {
	value, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	arguments, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf(": expected the provider's arguments; got %s", oneLine(value))
	}
	if !identifier().MatchString(name) {
		return nil, fmt.Errorf(": %q is no name of a provider", name)
	}
	for _, key := range []string{"alias", "for_each", "version"} {
		if _, ok := arguments[key]; ok {
			return nil, fmt.Errorf(".%s: an environment configures the default provider alone; remove it", key)
		}
	}
	block, err := mirror(arguments, "var."+providerVariable(name), nil, defaultTags[name])
	if err != nil {
		return nil, err
	}
	return block.(map[string]any), nil
}

// mirror returns the shape of a value with a reference in place of every leaf.
// Objects keep their shape because they may be blocks, which Terraform cannot
// take from a variable; the tags are known to be none.
func mirror(value any, reference string, path, tags []string) (any, error) {
	if len(path) > 0 && slices.Equal(path, tags) {
		return "${" + reference + "}", nil
	}
	switch value := value.(type) {
	case map[string]any:
		return mirrorObject(value, reference, path, tags)
	case []any:
		if slices.ContainsFunc(value, isObject) || len(value) == 0 {
			return mirrorBlocks(value, reference, path)
		}
	}
	return "${" + reference + "}", nil
}

func mirrorObject(value map[string]any, reference string, path, tags []string) (any, error) {
	mirrored := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(value)) {
		if !identifier().MatchString(key) {
			return nil, fmt.Errorf("%s: expected keys that match %s; got %q", dotted(path), identifier(), key)
		}
		var err error
		mirrored[key], err = mirror(value[key], reference+"."+key, append(slices.Clone(path), key), tags)
		if err != nil {
			return nil, err
		}
	}
	return mirrored, nil
}

func mirrorBlocks(values []any, reference string, path []string) (any, error) {
	mirrored := []any{}
	for i, value := range values {
		if !isObject(value) {
			return nil, fmt.Errorf("%s: expected a list of objects or one without any", dotted(path))
		}
		block, err := mirror(value, fmt.Sprintf("%s[%d]", reference, i), append(slices.Clone(path), fmt.Sprint(i)), nil)
		if err != nil {
			return nil, err
		}
		mirrored = append(mirrored, block)
	}
	return mirrored, nil
}

func isObject(value any) bool {
	_, ok := value.(map[string]any)
	return ok
}

func dotted(path []string) string {
	var b strings.Builder
	for _, key := range path {
		b.WriteString("." + key)
	}
	return b.String()
}

// setDefault sets a value deep in a block unless the block says anything there.
func setDefault(block map[string]any, path []string, value any) {
	if _, ok := block[path[0]]; ok {
		return
	}
	for _, key := range slices.Backward(path[1:]) {
		value = map[string]any{key: value}
	}
	block[path[0]] = value
}

// generated writes pave.tf.json. Its text depends on the shapes of the values
// and on the backend, never on a value.
func generated(module reconciler.Module, backend, providers map[string]any, variables map[string]json.RawMessage) []byte {
	declared := map[string]any{}
	for name := range variables {
		if strings.HasPrefix(name, providerVariable("")) {
			declared[name] = map[string]any{"type": "any"}
		}
	}
	if !module.DeclaresPave {
		declared["pave"] = map[string]any{"type": typeText(ownership)}
	}
	file := map[string]any{
		"//":        "Written by Pave. All values are in terraform.tfvars.json.",
		"terraform": map[string]any{"backend": backend},
		"output":    map[string]any{"pave": map[string]any{"value": "${var.pave}"}},
	}
	if len(declared) > 0 {
		file["variable"] = declared
	}
	if len(providers) > 0 {
		file["provider"] = providers
	}
	var b bytes.Buffer
	if err := json.Indent(&b, marshal(file), "", "  "); err != nil {
		panic(err) // marshal writes JSON
	}
	b.WriteByte('\n')
	return b.Bytes()
}
