package terraform

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/pave-dev/pave/reconciler"
)

// The parsers recurse without a limit, and a stack that overflows cannot be
// caught. These bounds are far above what people write.
const (
	maxSource  = 256 << 10 // bytes of a file
	maxNesting = 200
)

// file is one parsed file of configuration.
type file struct {
	body   hcl.Body
	native *hclsyntax.Body // nil for JSON
	json   hcl.Expression  // nil for native syntax
	source []byte
}

// parseFile parses a file; nil, after violations, if it cannot be understood.
func (in *inspector) parseFile(entry reconciler.File) *file {
	source := in.read(entry)
	if source == nil {
		return nil
	}
	var f *file
	var diags hcl.Diagnostics
	if strings.HasSuffix(entry.Path, ".json") {
		f, diags = parseJSON(source, entry.Path)
	} else {
		f, diags = parseNative(source, entry.Path)
	}
	if diags.HasErrors() {
		in.denyAll(diags)
		return nil
	}
	return f
}

func parseNative(source []byte, name string) (*file, hcl.Diagnostics) {
	tokens, _ := hclsyntax.LexConfig(source, name, hcl.InitialPos) // the parser reports what is wrong with them
	if diags := checkNesting(source, tokens); diags.HasErrors() {
		return nil, diags
	}
	parsed, diags := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	body := parsed.Body.(*hclsyntax.Body)
	return &file{body: body, native: body, source: source}, nil
}

func parseJSON(source []byte, name string) (*file, hcl.Diagnostics) {
	if diags := checkJSONNesting(source, name); diags.HasErrors() {
		return nil, diags
	}
	parsed, diags := json.Parse(source, name)
	if diags.HasErrors() {
		return nil, diags
	}
	expr, diags := json.ParseExpression(source, name)
	if diags.HasErrors() {
		return nil, diags
	}
	return &file{body: parsed.Body, json: expr, source: source}, nil
}

// parseTemplate parses text that Terraform reads as a template. Offsets in the
// result count from the text's beginning.
func parseTemplate(text []byte, name string, line, column int) (hclsyntax.Expression, hcl.Diagnostics) {
	start := hcl.Pos{Line: line, Column: column}
	tokens, _ := hclsyntax.LexTemplate(text, name, start)
	if diags := checkNesting(text, tokens); diags.HasErrors() {
		return nil, diags
	}
	return hclsyntax.ParseTemplate(text, name, start)
}

// parseExpression parses an expression that stands in JSON text.
func parseExpression(text string, at hcl.Range) (hcl.Expression, hcl.Diagnostics) {
	tokens, _ := hclsyntax.LexExpression([]byte(text), at.Filename, at.Start)
	if diags := checkNesting([]byte(text), tokens); diags.HasErrors() {
		return nil, diags
	}
	return hclsyntax.ParseExpression([]byte(text), at.Filename, at.Start)
}

// checkNesting refuses source whose parse tree would be too deep: brackets in
// brackets, and operators that take all that follows as their operand.
func checkNesting(source []byte, tokens hclsyntax.Tokens) hcl.Diagnostics {
	if len(source) > maxSource {
		return refuse(tokens[0].Range, "File too large", "Split it into several files.")
	}
	depth := nesting{}
	for i, token := range tokens {
		depth.add(token, i > 0 && tokens[i-1].Type == hclsyntax.TokenStar)
		if depth.total() > maxNesting {
			return refuse(token.Range, "Nested too deeply", "Name parts of the expression in a locals block.")
		}
	}
	return nil
}

// nesting follows the depth of the parse tree from token to token. Operators
// count until the expression that they are part of has ended.
type nesting struct {
	open      []opener
	operators int
	controls  int // template directives that are not yet ended
}

type opener struct {
	token     hclsyntax.TokenType
	operators int
	controls  int
}

func (n *nesting) total() int { return len(n.open) + n.operators + n.controls }

func (n *nesting) add(token hclsyntax.Token, afterStar bool) {
	switch token.Type {
	case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
		hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		n.open = append(n.open, opener{token.Type, n.operators, n.controls})
	case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc,
		hclsyntax.TokenTemplateSeqEnd:
		n.close(token.Type, afterStar)
	case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenQuestion, hclsyntax.TokenStar:
		n.operators++
	case hclsyntax.TokenComma:
		n.reset()
	case hclsyntax.TokenNewline:
		if last := len(n.open) - 1; last < 0 || n.open[last].token == hclsyntax.TokenOBrace {
			n.reset()
		}
	case hclsyntax.TokenIdent:
		n.directive(string(token.Bytes))
	}
}

// close ends the innermost bracket. A splat stays part of the expression around
// it, and a directive outlives the braces that hold it.
func (n *nesting) close(token hclsyntax.TokenType, splat bool) {
	last := len(n.open) - 1
	if last < 0 {
		return
	}
	n.operators = n.open[last].operators
	if token == hclsyntax.TokenCBrack && splat {
		n.operators++
	}
	if token != hclsyntax.TokenTemplateSeqEnd {
		n.controls = n.open[last].controls
	}
	n.open = n.open[:last]
}

func (n *nesting) reset() {
	n.operators = 0
	if last := len(n.open) - 1; last >= 0 {
		n.operators = n.open[last].operators
	}
}

func (n *nesting) directive(word string) {
	if last := len(n.open) - 1; last < 0 || n.open[last].token != hclsyntax.TokenTemplateControl {
		return
	}
	switch word {
	case "if", "for":
		n.controls++
	case "endif", "endfor":
		n.controls--
	}
}

// checkJSONNesting does the same for the brackets of JSON; the templates in
// its text are checked when they are parsed.
func checkJSONNesting(source []byte, name string) hcl.Diagnostics {
	at := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if len(source) > maxSource {
		return refuse(at, "File too large", "Split it into several files.")
	}
	depth, quoted := 0, false
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '\n':
			at.Start.Line++
		case !quoted && (c == '[' || c == '{'):
			depth++
		case !quoted && (c == ']' || c == '}'):
			depth--
		}
		if depth > maxNesting {
			at.Start.Column = 0
			return refuse(at, "Nested too deeply", "Write it in native syntax and name parts of it in a locals block.")
		}
	}
	return nil
}

func refuse(at hcl.Range, summary, detail string) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}}
}

// denyAll turns the errors of the parser into violations.
func (in *inspector) denyAll(diags hcl.Diagnostics) {
	for _, diag := range diags {
		if diag.Severity != hcl.DiagError {
			continue
		}
		in.broken = true
		var at reconciler.Position
		if diag.Subject != nil {
			at = position(*diag.Subject)
		}
		in.deny(at, "run: terraform -chdir="+in.blueprint.Folder+" validate", "%s: %s", diag.Summary, diag.Detail)
	}
}

func position(r hcl.Range) reconciler.Position {
	return reconciler.Position{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

func placeOf(r hcl.Range) place { return place{File: r.Filename, Line: r.Start.Line} }

func native(expr hcl.Expression) bool {
	_, ok := expr.(hclsyntax.Expression)
	return ok
}

// literal returns the value of an expression that is one as it stands. Nothing
// is evaluated: an expression without any reference can still run for hours.
func literal(expr hcl.Expression) (cty.Value, bool) {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return e.Val, true
	case *hclsyntax.ObjectConsKeyExpr:
		return literal(e.Wrapped)
	case *hclsyntax.TemplateExpr:
		return literalParts(e.Parts)
	}
	if native(expr) {
		return cty.NilVal, false
	}
	value, diags := expr.Value(nil) // JSON: the text as it is written
	if diags.HasErrors() || (isText(value) && interpolated(value.AsString())) {
		return cty.NilVal, false
	}
	return value, true
}

func literalParts(parts []hclsyntax.Expression) (cty.Value, bool) {
	var b strings.Builder
	for _, part := range parts {
		value, ok := part.(*hclsyntax.LiteralValueExpr)
		if !ok || !isText(value.Val) {
			return cty.NilVal, false
		}
		b.WriteString(value.Val.AsString())
	}
	return cty.StringVal(b.String()), true
}

func literalText(expr hcl.Expression) (string, bool) {
	value, ok := literal(expr)
	if !ok || !isText(value) {
		return "", false
	}
	return value.AsString(), true
}

func isText(value cty.Value) bool {
	return value != cty.NilVal && value.Type() == cty.String && value.IsKnown() && !value.IsNull()
}

func interpolated(text string) bool {
	return strings.Contains(text, "${") || strings.Contains(text, "%{")
}
