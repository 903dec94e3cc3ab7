package portal_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/pave-dev/pave/testdata/tools/built"
)

// screens is for `make screenshots`.
var screens = flag.String("screens", "", "a folder for a picture of every page, light, dark and on a phone")

// Every kind of page, light, dark, on a phone and without scripts: nothing that
// axe has against it at level AA, no error in the console, no request to another
// host, nothing wider than the window.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Chromium and axe: make test")
	}
	axe := script(t)
	if *screens != "" {
		must(t, os.MkdirAll(*screens, 0o755))
	}
	s, err := openStand(t.Context(), t.TempDir(), built.Pave(t))
	must(t, err)
	t.Cleanup(s.close)
	pages, err := s.kinds(t.Context())
	must(t, err)
	if len(pages) < 16 {
		t.Fatalf("few pages: %v", pages)
	}
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	plain := way{name: "without scripts", width: 1280, height: 900, noScript: true}
	_, err = look(browser, s.address, s.door(), plain)
	must(t, err)
	for _, page := range pages {
		t.Run(page.kind, func(t *testing.T) {
			t.Logf("the page is %s", page.path)
			for _, as := range append([]way{plain}, ways...) {
				seen, err := look(browser, s.address, page.path, as, func(tab context.Context) error {
					if as.noScript {
						_, err := chromedp.Run(tab, chromedp.Text("h1"))
						return err
					}
					wide, err := chromedp.Run(tab, chromedp.Evaluate[string](tooWide))
					if err != nil {
						return err
					}
					if wide != "" {
						t.Errorf("%s: wider than its place: %s", as.name, wide)
					}
					stretched, err := chromedp.Run(tab, chromedp.Evaluate[bool](stretched))
					if err != nil {
						return err
					}
					if stretched {
						t.Errorf("%s: a badge is wider than what it says", as.name)
					}
					return as.judge(t, tab, axe)
				})
				must(t, err)
				as.report(t, seen)
				if *screens != "" && !as.noScript {
					must(t, os.WriteFile(filepath.Join(*screens, page.kind+"-"+as.name+".png"), seen.picture, 0o644))
				}
			}
		})
	}
	if *screens != "" {
		s.makePictures(t, browser, filepath.Join(*screens, "readme"))
	}
}

// tooWide names what does not fit: the page into the window, or a table into its
// card, which would cut it.
const tooWide = `(document.documentElement.scrollWidth > window.innerWidth ? "the page " : "") +
	Array.from(document.querySelectorAll(".card:not(.picture)")).filter(c => c.scrollWidth > c.clientWidth).map(c => (c.querySelector("h2") || c).textContent.slice(0, 50)).join(", ")`

// stretched tells whether a badge is wider than its words with their padding.
const stretched = `Array.from(document.querySelectorAll(".badge")).some(function (badge) {
	var words = document.createRange();
	words.selectNodeContents(badge);
	return badge.getBoundingClientRect().width > words.getBoundingClientRect().width + 40;
})`

// script is axe, which judges pages.
func script(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PAVE_TEST_AXE")
	if path == "" {
		t.Fatal("PAVE_TEST_AXE is not set: `go run ./testdata/tools/get axe` gets axe, `make test` sets it")
	}
	text, err := os.ReadFile(filepath.Clean(path))
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A newcomer signs in, orders a certificate by the form, with scripts off, and sees
// it Ready once a colleague has merged what came of that.
func TestOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Chromium and the example's providers: make test")
	}
	s, err := openStand(t.Context(), t.TempDir(), built.Pave(t))
	must(t, err)
	t.Cleanup(s.close)
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	plain := way{name: "without scripts", width: 1280, height: 900, noScript: true}
	at := func(path string, then func(tab context.Context) error) {
		t.Helper()
		seen, err := look(browser, s.address, path, plain, then)
		must(t, err)
		for _, complaint := range seen.complaints {
			t.Errorf("%s: %s", path, complaint)
		}
	}
	at(s.door(), func(tab context.Context) error { return chromedp.Do(tab, chromedp.WaitVisible("form.who")) })
	at("/blueprints/tls-cert/new", func(tab context.Context) error {
		return chromedp.Do(tab,
			chromedp.SetValue("#name", "search-cert"), chromedp.SetValue("#service", "search"), chromedp.SetValue("#environment", `"development"`),
			chromedp.SetValue(`[id="input.hostname"]`, "search.acme.example"), chromedp.Click("button[value=submit]"), chromedp.WaitVisible("#proposed"))
	})
	branch, err := exec.Command("git", "-C", s.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/pave/search-cert*").Output()
	must(t, err)
	must(t, s.git(t.Context(), "merge", "--quiet", "--no-ff", "--no-edit", strings.TrimSpace(string(branch))))
	must(t, s.converge(t.Context()))
	at("/requests/search-cert", func(tab context.Context) error {
		text, err := chromedp.Run(tab, chromedp.Text(".head"))
		if err == nil && !strings.Contains(text, "Ready") {
			t.Errorf("the page says %q", text)
		}
		return err
	})
}
