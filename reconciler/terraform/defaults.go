package terraform

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// addDefaults makes the defaults of a root module's sensitive variables secret. An
// engine tells what they are in its plan alone, and not of one that fails.
func (s *secrets) addDefaults(files map[string][]byte) {
	for name, source := range files {
		if strings.Contains(name, "/") || !configuration(name) {
			continue
		}
		parse := parseNative
		if strings.HasSuffix(name, ".json") {
			parse = parseJSON
		}
		f, diags := parse(source, name)
		if diags.HasErrors() {
			continue // the engine will not read it either
		}
		content, _, _ := f.body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variable", LabelNames: []string{"name"}}}})
		for _, block := range content.Blocks {
			parts, _, _ := block.Body.PartialContent(variableParts)
			if given := parts.Attributes["default"]; given != nil && isTrue(parts.Attributes["sensitive"]) {
				s.addLiterals(given.Expr)
			}
		}
	}
}

func isTrue(attribute *hcl.Attribute) bool {
	if attribute == nil {
		return false
	}
	value, ok := literal(attribute.Expr)
	if !ok || value.IsNull() {
		return false
	}
	flag, err := convert.Convert(value, cty.Bool)
	return err == nil && flag.True()
}

// addLiterals makes every text and number within an expression secret.
func (s *secrets) addLiterals(expr hcl.Expression) {
	add := func(value cty.Value) {
		if value.Type() != cty.String && value.Type() != cty.Number {
			return // truth stands in every text
		}
		if text, err := convert.Convert(value, cty.String); err == nil && isText(text) {
			s.add(text.AsString())
		}
	}
	if node, is := expr.(hclsyntax.Node); is {
		_ = hclsyntax.VisitAll(node, func(node hclsyntax.Node) hcl.Diagnostics {
			if part, is := node.(hclsyntax.Expression); is {
				if value, ok := literal(part); ok {
					add(value)
				}
			}
			return nil
		})
		return
	}
	value, diags := expr.Value(nil)
	if diags.HasErrors() {
		return
	}
	_ = cty.Walk(value, func(_ cty.Path, value cty.Value) (bool, error) {
		add(value)
		return true, nil
	})
}
