package portal

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
)

// maxPattern bounds the expressions that a browser is given.
const maxPattern = 2000

// browserPattern returns the expression for an input's pattern attribute that
// matches what one of Go finds something in; empty where there is none that says
// the same. A browser reads another language than Go does, so it is written anew
// from what the expression means.
func browserPattern(expression string) string {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil || expression == "" {
		return ""
	}
	var b strings.Builder
	if !writePattern(&b, parsed) || b.Len() > maxPattern {
		return ""
	}
	// The attribute must match the whole text.
	pattern := b.String()
	if !strings.HasPrefix(pattern, "^") {
		pattern = `[\s\S]*` + pattern
	}
	if !strings.HasSuffix(pattern, "$") {
		pattern += `[\s\S]*`
	}
	return pattern
}

func writePattern(b *strings.Builder, re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase != 0 || b.Len() > maxPattern {
		return false
	}
	group := func(open string, parts []*syntax.Regexp, between, end string) bool {
		b.WriteString(open)
		for i, part := range parts {
			if i > 0 {
				b.WriteString(between)
			}
			if !writePattern(b, part) {
				return false
			}
		}
		b.WriteString(end)
		return true
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		b.WriteString("(?:)")
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			writeRune(b, r)
		}
	case syntax.OpCharClass:
		b.WriteByte('[')
		for i := 0; i+1 < len(re.Rune); i += 2 {
			fmt.Fprintf(b, `\u{%x}-\u{%x}`, re.Rune[i], re.Rune[i+1])
		}
		b.WriteByte(']')
	case syntax.OpAnyChar:
		b.WriteString(`[\s\S]`)
	case syntax.OpAnyCharNotNL:
		b.WriteByte('.')
	case syntax.OpBeginText:
		b.WriteByte('^')
	case syntax.OpEndText:
		b.WriteByte('$')
	case syntax.OpCapture:
		return group("(?:", re.Sub, "", ")")
	case syntax.OpConcat:
		return group("", re.Sub, "", "")
	case syntax.OpAlternate:
		return group("(?:", re.Sub, "|", ")")
	case syntax.OpStar:
		return group("(?:", re.Sub, "", ")*")
	case syntax.OpPlus:
		return group("(?:", re.Sub, "", ")+")
	case syntax.OpQuest:
		return group("(?:", re.Sub, "", ")?")
	case syntax.OpRepeat:
		most := ""
		if re.Max >= 0 {
			most = strconv.Itoa(re.Max)
		}
		return group("(?:", re.Sub, "", fmt.Sprintf("){%d,%s}", re.Min, most))
	default:
		return false
	}
	return true
}

// writeRune writes a character so that it stands for itself.
func writeRune(b *strings.Builder, r rune) {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == ' ' || r == '_' {
		b.WriteRune(r)
		return
	}
	fmt.Fprintf(b, `\u{%x}`, r)
}
