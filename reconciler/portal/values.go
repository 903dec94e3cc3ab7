package portal

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pave-dev/pave/reconciler"
)

// plain shows a value: a string as it is, anything else as JSON.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return visible(text)
	}
	return indented(value)
}

// visible spells out what would hide or turn text: nobody checked what stands in
// a file or an output.
func visible(text string) string {
	return visibly().ReplaceAllStringFunc(text, func(s string) string { return fmt.Sprintf("\\u{%x}", []rune(s)[0]) })
}

var visibly = reconciler.Pattern(`[\x{0}-\x{8}\x{b}-\x{1f}\x{7f}-\x{9f}\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2069}\x{feff}]`)

func indented(value json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return visible(string(value))
	}
	return visible(b.String())
}
