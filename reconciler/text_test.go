package reconciler

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNearest(t *testing.T) {
	names := []string{"small", "medium", "large"}
	for _, test := range []struct {
		wanted string
		n      int
		want   string
	}{
		{"", 8, "small medium large"},
		{"smal", 1, "small"},
		{"lareg", 3, "large small medium"},
		{"MEDIUM", 1, "medium"},
		{"large", 2, "large small"},
		{"xxxxxxxxxxxxxxx", 8, "large medium small"},
		{"small", 0, ""},
	} {
		if got := strings.Join(Nearest(test.wanted, names, test.n), " "); got != test.want {
			t.Errorf("%q, %d: got %s, want %s", test.wanted, test.n, got, test.want)
		}
	}
	if !slices.Equal(names, []string{"small", "medium", "large"}) {
		t.Errorf("the names were sorted in place: %v", names)
	}
	if got := Nearest("a", nil, 8); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSimilar(t *testing.T) {
	for _, pair := range [][2]string{
		{"owner", "owenr"}, {"title", "titel"}, {"environment", "enviroment"}, {"size", "Size"}, {"dependsOn", "depends_on"},
		{"checkout-db", "chekcout-db"}, {"a", "b"}, {"größe", "grösse"}, {"tier", "tiers"},
	} {
		if !Similar(pair[0], pair[1]) || !Similar(pair[1], pair[0]) {
			t.Errorf("%s and %s are not similar", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{"owner", "title"}, {"db", "queue"}, {"tier", "type"}, {"", "ab"}, {"small", "large"},
		{strings.Repeat("a", 65), strings.Repeat("a", 64) + "b"}, // too long to compare
	} {
		if Similar(pair[0], pair[1]) {
			t.Errorf("%s and %s are similar", pair[0], pair[1])
		}
	}
}

func TestPlural(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 services", 1: "1 service", 2: "2 services"} {
		if got := Plural(n, "service"); got != want {
			t.Errorf("got %q, expected %q", got, want)
		}
	}
}

func FuzzDistance(f *testing.F) {
	for _, pair := range [][2]string{{"", ""}, {"a", ""}, {"ab", "ba"}, {"größe", "GRÖSSE"}, {"\xff", "\x00"}, {strings.Repeat("x", 100), "x"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		d := distance(a, b)
		if back := distance(b, a); d != back {
			t.Errorf("there %d, back %d", d, back)
		}
		if longest := max(utf8.RuneCountInString(strings.ToLower(a)), utf8.RuneCountInString(strings.ToLower(b))); d < 0 || d > longest {
			t.Errorf("%d letters to change of %d", d, longest)
		}
		if same := strings.ToLower(a); utf8.RuneCountInString(same) <= 64 && distance(a, a) != 0 {
			t.Errorf("%q is at a distance from itself", a)
		}
	})
}
