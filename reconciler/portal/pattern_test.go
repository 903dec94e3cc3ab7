package portal

import "testing"

func TestBrowserPattern(t *testing.T) {
	for expression, want := range map[string]string{
		"":                    "",
		"^[a-z]+$":            `^(?:[\u{61}-\u{7a}])+$`,
		"a":                   `[\s\S]*a[\s\S]*`,
		"^a|b$":               `[\s\S]*(?:^a|b$)[\s\S]*`,
		"^a.b$":               `^a.b$`,
		`^\.(x|y){2,3}$`:      `^\u{2e}(?:(?:[\u{78}-\u{79}])){2,3}$`,
		`^x{2,}$`:             `^(?:x){2,}$`,
		"(?i)^abc$":           "",
		`\bword\b`:            "",
		`^[`:                  "",
		`^\p{L}$`:             "", // more than a page should hold
		`^[A-Za-z0-9 ._@-]$`:  `^[\u{20}-\u{20}\u{2d}-\u{2e}\u{30}-\u{39}\u{40}-\u{5a}\u{5f}-\u{5f}\u{61}-\u{7a}]$`,
		`^(?:[^\x00-\x1f])*$`: `^(?:[\u{20}-\u{10ffff}])*$`,
		"^/$":                 `^\u{2f}$`,
	} {
		if got := browserPattern(expression); got != want {
			t.Errorf("%s: got %s, want %s", expression, got, want)
		}
	}
}
