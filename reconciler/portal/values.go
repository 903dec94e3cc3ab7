package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// plain shows a value: a string as it is, anything else as JSON.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return indented(value)
}

func indented(value json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return string(value)
	}
	return b.String()
}

// hides tells whether a character hides or turns the text around it.
func hides(r rune) bool {
	switch {
	case r == '\t', r == '\n':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f, r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}

// visible spells such characters out.
func visible(text string) string {
	if strings.IndexFunc(text, hides) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hides(r) {
			fmt.Fprintf(&b, "\\u{%x}", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// legible makes the text of a page [visible], for nobody checked what people wrote
// into commits, files and outputs. What stands in a form stays as it is, or sending
// the form would change it.
func legible(page []byte) []byte {
	if utf8.Valid(page) && bytes.IndexFunc(page, hides) < 0 {
		return page
	}
	page = bytes.ReplaceAll(bytes.ToValidUTF8(page, []byte("\ufffd")), []byte("\r\n"), []byte("\n"))
	var b bytes.Buffer
	tokens := html.NewTokenizer(bytes.NewReader(page))
	entered := false // in a field
	for {
		kind := tokens.Next()
		raw := tokens.Raw()
		switch kind {
		case html.ErrorToken:
			return b.Bytes()
		case html.TextToken:
			if !entered {
				raw = []byte(visible(string(raw)))
			}
		case html.StartTagToken, html.EndTagToken:
			name, _ := tokens.TagName()
			entered = kind == html.StartTagToken && string(name) == "textarea"
		}
		b.Write(raw)
	}
}
