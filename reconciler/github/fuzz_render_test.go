package github

import (
	"strings"
	"testing"

	"github.com/pave-dev/pave/testdata/mutate"
)

// FuzzComment puts a stranger's text everywhere into a comment: it neither looks
// like the mark by which Pave knows its own comment nor hides what follows.
func FuzzComment(f *testing.F) {
	var seeds [][]byte
	for _, text := range hostile() {
		seeds = append(seeds, []byte(text))
	}
	seeds = append(seeds, []byte("<!-- pave: pave -->"))
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		text := string(input[:min(len(input), 500)])
		page := Markdown(everywhere(text), "")
		if strings.Contains(page, "\n<!--") || strings.ContainsAny(page, "\x00\x1b\u202e") {
			t.Errorf("the text got through:\n%s", page)
		}
		if len(text)%16 == 0 { // parsing the page costs more than all else
			inspect(t, page)
		}
	})
}
