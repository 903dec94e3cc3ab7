package terraform

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// parseType reads a type in Terraform's notation, such as
// `object({a=string,b=optional(number)})`.
func parseType(text string) (cty.Type, error) {
	expr, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilType, fmt.Errorf("read type %q: %w", text, diags)
	}
	ty, diags := typeexpr.TypeConstraint(expr)
	if diags.HasErrors() {
		return cty.NilType, fmt.Errorf("read type %q: %w", text, diags)
	}
	return ty, nil
}

// typeText writes a type as parseType reads it.
func typeText(ty cty.Type) string {
	switch {
	case ty.IsListType():
		return "list(" + typeText(ty.ElementType()) + ")"
	case ty.IsSetType():
		return "set(" + typeText(ty.ElementType()) + ")"
	case ty.IsMapType():
		return "map(" + typeText(ty.ElementType()) + ")"
	case ty.IsTupleType():
		var elements []string
		for _, element := range ty.TupleElementTypes() {
			elements = append(elements, typeText(element))
		}
		return "tuple([" + strings.Join(elements, ",") + "])"
	case ty.IsObjectType():
		return "object({" + strings.Join(attributeTexts(ty), ",") + "})"
	}
	return typeexpr.TypeString(ty)
}

func attributeTexts(object cty.Type) []string {
	attributes := object.AttributeTypes()
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		text := typeText(attributes[name])
		if object.AttributeOptional(name) {
			text = "optional(" + text + ")"
		}
		texts = append(texts, name+"="+text)
	}
	return texts
}

// accepts tells whether a variable of one type takes every value of an input
// of the other without converting it. A list may go into a set or a tuple; an
// input of type any goes anywhere, because its values are known to CUE alone.
func accepts(variable, input cty.Type) bool {
	switch {
	case input == cty.DynamicPseudoType:
		return true
	case input.IsListType() && variable.IsTupleType():
		return !slices.ContainsFunc(variable.TupleElementTypes(), func(element cty.Type) bool {
			return !accepts(element, input.ElementType())
		})
	case input.IsListType():
		return (variable.IsListType() || variable.IsSetType()) && accepts(variable.ElementType(), input.ElementType())
	case input.IsMapType():
		return variable.IsMapType() && accepts(variable.ElementType(), input.ElementType())
	case input.IsObjectType():
		return variable.IsObjectType() && acceptsAttributes(variable, input)
	}
	return variable.Equals(input)
}

func acceptsAttributes(variable, input cty.Type) bool {
	if len(variable.AttributeTypes()) != len(input.AttributeTypes()) {
		return false
	}
	for name, ty := range input.AttributeTypes() {
		if !variable.HasAttribute(name) ||
			variable.AttributeOptional(name) != input.AttributeOptional(name) ||
			!accepts(variable.AttributeType(name), ty) {
			return false
		}
	}
	return true
}

// ownership is the type of the reserved variable `pave`.
var ownership = cty.Object(map[string]cty.Type{
	"request":     cty.String,
	"service":     cty.String,
	"owner":       cty.String,
	"environment": cty.String,
	"stage":       cty.String,
	"tags":        cty.Map(cty.String),
})

// keepsOwnership tells whether a variable of this type keeps the whole of the
// reserved value: an object type drops the attributes that it does not name,
// and the state's ownership record would lack them.
func keepsOwnership(ty cty.Type) bool {
	if ty == cty.DynamicPseudoType {
		return true
	}
	if !ty.IsObjectType() {
		return false
	}
	for name, want := range ownership.AttributeTypes() {
		if !ty.HasAttribute(name) || (ty.AttributeType(name) != cty.DynamicPseudoType && !ty.AttributeType(name).Equals(want)) {
			return false
		}
	}
	for name := range ty.AttributeTypes() {
		if !ownership.HasAttribute(name) && !ty.AttributeOptional(name) {
			return false
		}
	}
	return true
}
