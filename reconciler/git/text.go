package git

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unseen tells whether a character is not what a reader sees: control
// characters and those that reorder text.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// checkText refuses a name, an e-mail address or a message that a commit could
// not hold or that would deceive its reader. The characters of also are
// allowed besides: a message may hold "\n\t<>", a name none of them.
func checkText(what, text, also string) error {
	if strings.TrimSpace(text) == "" {
		return refuse("%s is empty", what)
	}
	if !utf8.ValidString(text) {
		return refuse("%s %q is not UTF-8", what, text)
	}
	for _, r := range text {
		if (unseen(r) || r == '<' || r == '>') && !strings.ContainsRune(also, r) {
			return refuse("%s %q holds the character %q", what, text, r)
		}
	}
	return nil
}

// printable makes text of a stranger fit for one line of a terminal.
func printable(text string) string { return clean(text, "") }

// clean removes the characters that a reader does not see, but for those of keep.
func clean(text, keep string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unseen(r) && !strings.ContainsRune(keep, r) {
			return -1
		}
		return r
	}, text)
}

// refusal is an error about what was asked or what the repository holds:
// neither a second attempt nor another copy would change it.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(format string, args ...any) error {
	return refusal{fmt.Errorf(format, args...)}
}

// Refused tells that an error is about what a repository holds: it is the same
// however often one tries.
func Refused(err error) bool {
	_, is := errors.AsType[refusal](err)
	return is
}
