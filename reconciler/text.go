package reconciler

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Nearest returns at most n of the names, those most like the wanted one
// first. With nothing wanted it keeps their order.
func Nearest(wanted string, names []string, n int) []string {
	sorted := slices.Clone(names)
	if wanted != "" {
		slices.SortStableFunc(sorted, func(a, b string) int {
			return cmp.Or(cmp.Compare(distance(wanted, a), distance(wanted, b)), cmp.Compare(a, b))
		})
	}
	return sorted[:min(n, len(sorted))]
}

// Missing is the error for a name that nothing has: what says so, and is followed
// by the known names that may be meant.
func Missing(what, name string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("%s %q: there is none at all", what, name)
	}
	return fmt.Errorf("%s %q; nearest: %s", what, name, strings.Join(Nearest(name, known, 3), ", "))
}

// Similar tells whether one word is likely a misspelling of the other.
func Similar(a, b string) bool {
	return distance(a, b) <= max(1, min(len(a), len(b))/3)
}

// distance is the number of letters to insert, remove, replace or swap
// (Damerau–Levenshtein, restricted), case ignored.
func distance(a, b string) int {
	r, s := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if len(r) > 64 || len(s) > 64 {
		return max(len(r), len(s))
	}
	two, one, row := make([]int, len(s)+1), make([]int, len(s)+1), make([]int, len(s)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(r); i++ {
		row[0] = i
		for j := 1; j <= len(s); j++ {
			cost := 1
			if r[i-1] == s[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && r[i-1] == s[j-2] && r[i-2] == s[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(s)]
}

// Pattern returns a regular expression, which is compiled when it is first asked for:
// whatever a package prepares for itself, each process of this program prepares, and
// most are over before they would have used it. A wrong expression panics then.
func Pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// Plural says how many there are of what a noun names.
func Plural(n int, noun string) string { return fmt.Sprintf("%d %s", n, Noun(n, noun)) }

// Noun returns a noun as it is said of so many.
func Noun(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
