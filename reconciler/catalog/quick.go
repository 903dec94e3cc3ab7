package catalog

import (
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/scanner"
	"cuelang.org/go/cue/token"
)

// quickDepth is the deepest nesting that the quick reader takes.
const quickDepth = 32

// quickEntries reads the documents of a file of literals from its tokens, which is
// four times as fast as to parse it. It reads what the parser reads or is unsure, and
// knows the plainest notation only: fields, scalars, structs and lists.
func quickEntries(file, content string) (entries []entry, ok bool) {
	r := &reader{}
	r.scanner.Init(token.NewFile(file, -1, len(content)), []byte(content), nil, 0)
	r.next()
	if !r.word("package") || !r.word(Package) || !r.take(token.COMMA) {
		return nil, false
	}
	seen := map[[2]string]bool{}
	for r.kind != token.EOF {
		kind, _, ok := r.label()
		if !ok || kind != "service" && kind != "request" {
			return nil, false
		}
		ok = r.fields(func(name string, at token.Pos) bool {
			doc, ok := r.value(1)
			value, is := doc.(map[string]any)
			key := [2]string{kind, name}
			twice := seen[key]
			seen[key] = true
			entries = append(entries, entry{kind: kind, name: name, at: at, value: value})
			return ok && is && !twice
		})
		if !ok || !r.end(token.EOF) {
			return nil, false
		}
	}
	return entries, len(entries) > 0
}

// reader reads literals. Each method starts at the token that is not yet taken.
type reader struct {
	scanner scanner.Scanner
	at      token.Pos
	kind    token.Token
	text    string
}

func (r *reader) next() {
	if r.at, r.kind, r.text = r.scanner.Scan(); r.scanner.ErrorCount > 0 {
		r.kind = token.ILLEGAL
	}
}

func (r *reader) take(kind token.Token) bool {
	if r.kind != kind {
		return false
	}
	r.next()
	return true
}

func (r *reader) word(text string) bool { return r.text == text && r.take(token.IDENT) }

// end takes what separates fields, if the last one is not closed by a bracket.
func (r *reader) end(closing token.Token) bool { return r.kind == closing || r.take(token.COMMA) }

// label takes the name of a regular field with its colon.
func (r *reader) label() (name string, at token.Pos, ok bool) {
	kind, text := r.kind, r.text
	at = r.at
	r.next()
	if !r.take(token.COLON) {
		return "", at, false
	}
	name, ok = labelName(kind, text)
	return name, at, ok
}

// labelName returns the name that the token of a label states.
func labelName(kind token.Token, text string) (string, bool) {
	if kind == token.IDENT {
		return text, text[0] != '#' && text[0] != '_'
	}
	return plainText(kind, text)
}

// plainText returns the text of a string in which nothing is escaped.
func plainText(kind token.Token, text string) (string, bool) {
	if kind != token.STRING || len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' || !utf8.ValidString(text) {
		return "", false
	}
	text = text[1 : len(text)-1]
	return text, !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == '"' || c == '\\' || c == 0x7f })
}

// fields takes a struct, in braces or a single field in line.
func (r *reader) fields(field func(name string, at token.Pos) bool) bool {
	if r.kind != token.LBRACE {
		name, at, ok := r.label()
		return ok && field(name, at)
	}
	for r.next(); r.kind != token.RBRACE; {
		name, at, ok := r.label()
		if !ok || !field(name, at) || !r.end(token.RBRACE) {
			return false
		}
	}
	r.next()
	return true
}

// value takes a literal.
func (r *reader) value(depth int) (any, bool) {
	if depth > quickDepth {
		return nil, false
	}
	kind, text := r.kind, r.text
	switch kind {
	case token.LBRACE:
		m := map[string]any{}
		return m, r.fields(func(name string, _ token.Pos) bool {
			v, ok := r.value(depth + 1)
			_, twice := m[name]
			m[name] = v
			return ok && !twice
		})
	case token.LBRACK:
		return r.list(depth)
	}
	r.next()
	switch {
	case r.kind == token.COLON:
		name, ok := labelName(kind, text)
		if !ok {
			return nil, false
		}
		r.next()
		v, ok := r.value(depth + 1)
		return map[string]any{name: v}, ok
	case kind == token.STRING:
		return plainText(kind, text)
	}
	return scalar(&ast.BasicLit{Kind: kind, Value: text})
}

func (r *reader) list(depth int) (any, bool) {
	list := []any{}
	for r.next(); r.kind != token.RBRACK; {
		braced := r.kind == token.LBRACE
		v, ok := r.value(depth + 1)
		if _, fields := v.(map[string]any); !ok || fields && !braced {
			return nil, false
		}
		list = append(list, v)
		line := r.kind == token.COMMA && r.text == "\n"
		if !r.end(token.RBRACK) || line && r.kind != token.RBRACK {
			return nil, false
		}
	}
	r.next()
	return list, true
}
