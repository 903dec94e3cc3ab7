package github

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pave-dev/pave/reconciler"
)

// Text that Pave did not write must do nothing but be read. Rather than escape
// what GitHub is known to make live, only plain words and numbers stand as they
// are; everything else goes into code spans, in which GitHub makes nothing
// live: no mention, reference, link, image, commit, emoji or HTML.

// visible makes one line of a text, at most max characters long. Characters that a
// reader would not see, or that would move others, become escapes.
func visible(text string, max int) string {
	var b strings.Builder
	length, blank, marks := 0, false, 0
	for _, r := range text {
		if unicode.IsSpace(r) {
			blank = b.Len() > 0
			continue
		}
		if length >= max-1 {
			b.WriteString("…")
			break
		}
		if blank {
			b.WriteByte(' ')
			length++
			blank = false
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		if r == utf8.RuneError || !strconv.IsPrint(r) || strings.ContainsRune(blankLetters, r) || marks > 2 {
			escape := fmt.Sprintf(`\u%04x`, r)
			b.WriteString(escape)
			length += len(escape)
			continue
		}
		b.WriteRune(r)
		length++
	}
	return cut(b.String(), max)
}

// blankLetters are letters by class that show nothing.
const blankLetters = "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5"

// cut keeps a text within max characters.
func cut(text string, max int) string {
	if utf8.RuneCountInString(text) <= max {
		return text
	}
	return string([]rune(text)[:max-1]) + "…"
}

const maxProse = 600 // characters

// prose returns a text as Markdown that does nothing.
func prose(text string) string { return proseOf(text, maxProse) }

func proseOf(text string, max int) string {
	var out, held []string
	flush := func() {
		if len(held) > 0 {
			out = append(out, codeSpan(strings.Join(held, " ")))
			held = nil
		}
	}
	for i, word := range strings.Fields(visible(text, max)) {
		if !plain(word, i == 0) {
			held = append(held, word)
			continue
		}
		flush()
		out = append(out, word)
	}
	flush()
	return strings.Join(out, " ")
}

var (
	plainWord   = reconciler.Pattern(`^[("“]{0,2}\p{L}[\p{L}\p{M}]*(['’-]\p{L}[\p{L}\p{M}]*)*[)"”.,;:!?…]{0,3}$`)
	plainNumber = reconciler.Pattern(`^\(?\d+([.,]\d+)*[)%.,;:!?…]{0,3}$`)
	plainSign   = reconciler.Pattern(`^[–—→…·]$`)
	commitLike  = reconciler.Pattern(`[0-9a-fA-F]{7}`)
	keyLike     = reconciler.Pattern(`[A-Z]{2}-`) // of a ticket or an advisory, which forges link
	listNumber  = reconciler.Pattern(`^\d+[.)]$`)
)

// plain tells whether a word stays a word in Markdown.
func plain(word string, first bool) bool {
	if commitLike().MatchString(word) || keyLike().MatchString(word) || first && listNumber().MatchString(word) {
		return false
	}
	return plainWord().MatchString(word) || plainNumber().MatchString(word) || plainSign().MatchString(word)
}

// codeSpan fences a visible text by more backticks than stand together in it.
func codeSpan(text string) string {
	if text == "" {
		return ""
	}
	longest, run := 0, 0
	for _, r := range text {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return fence + text + fence
}

// cell makes finished Markdown fit for a table. A bar would end the cell even in
// a code span, and escaping it can be escaped.
func cell(markdown string) string { return strings.ReplaceAll(markdown, "|", "¦") }

// linkable tells whether a path can be one of a file of the repository.
func linkable(file string) bool {
	if file == "" || len(file) > 500 || path.Clean(file) != file || strings.HasPrefix(file, "/") || strings.HasPrefix(file, "..") {
		return false
	}
	return strings.IndexFunc(file, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) < 0
}

// escapePath returns the path as part of an address.
func escapePath(file string) string {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
