package portal_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/pave-dev/pave/testdata/tools/built"
)

// Somebody asks for a certificate in a browser, with scripts and without: what the
// page says of a mistake and of what is proposed is read as it is shown, and nothing
// on these pages is against level AA.
func TestAskInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Chromium and axe: make test")
	}
	axe := script(t)
	dir := t.TempDir()
	s := &stand{dir: dir, repo: filepath.Join(dir, "platform"), pave: built.Pave(t), end: func() {}}
	must(t, os.CopyFS(s.repo, os.DirFS("../../examples/acme")))
	for _, step := range []func(context.Context) error{s.own, s.begin, s.show} {
		must(t, step(t.Context()))
	}
	t.Cleanup(s.close)
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	door, leave := chromedp.NewContext(browser)
	must(t, chromedp.Do(door, chromedp.Navigate(s.address+s.door())))
	leave()
	for _, as := range append([]way{{name: "without scripts", width: 1280, height: 900, noScript: true}}, ways...) {
		t.Run(as.name, func(t *testing.T) {
			shows := func(tab context.Context, selector string, words ...string) {
				t.Helper()
				must(t, chromedp.Do(tab, chromedp.WaitVisible(selector)))
				text, err := chromedp.Run(tab, chromedp.Text("main"))
				must(t, err)
				for _, word := range words {
					if !strings.Contains(text, word) {
						t.Errorf("the page does not say %q:\n%s", word, text)
					}
				}
				if as.noScript {
					return
				}
				found, err := accessible(tab, axe)
				must(t, err)
				for _, f := range found {
					t.Error(f)
				}
			}
			seen, err := look(browser, s.address, "/blueprints/tls-cert/new?service=shop", as, func(tab context.Context) error {
				must(t, chromedp.Do(tab, chromedp.SendKeys("#name", "shop-extra"), chromedp.SendKeys("#environment", "staging"),
					chromedp.SendKeys(`[name="input.hostname"]`, "extra.acme.example"), chromedp.SendKeys(`[name="input.names"]`, "not a name"),
					chromedp.Click(`button[value="check"]`)))
				shows(tab, "#checked", "It would be refused", `got "not a name"`)
				must(t, chromedp.Do(tab, chromedp.SetValue(`[name="input.names"]`, "www.extra.acme.example"), chromedp.Click(`button[value="submit"]`)))
				shows(tab, "#proposed", "It is proposed", "merge pave/shop-extra-", "EUR 1.50 after")
				return nil
			})
			must(t, err)
			for _, complaint := range seen.complaints {
				t.Error(complaint)
			}
			if *screens != "" {
				must(t, os.WriteFile(filepath.Join(*screens, "proposed-"+as.name+".png"), seen.picture, 0o644))
			}
		})
	}
}
