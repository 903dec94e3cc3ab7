package portal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// way is how somebody looks at a page.
type way struct {
	name          string
	width, height int64
	dark, phone   bool
	noScript      bool
}

// ways are those that pictures are made of.
var ways = []way{
	{name: "light", width: 1280, height: 900},
	{name: "dark", width: 1280, height: 900, dark: true},
	{name: "phone", width: 390, height: 844, phone: true},
}

// openBrowser starts a headless Chromium with a folder of its own.
func openBrowser(ctx context.Context, folder string) (context.Context, func(), error) {
	path := os.Getenv("PAVE_TEST_CHROMIUM")
	if path == "" {
		found, err := exec.LookPath("chromium")
		if err != nil {
			return nil, nil, errors.New("chromium is not on the PATH: `go run ./testdata/tools/get chromium` finds or installs it, `make test` sets PAVE_TEST_CHROMIUM")
		}
		path = found
	}
	browser, end := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(folder), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-dev-shm-usage", true),
	))
	if err := chromedp.Do(browser); err != nil {
		end()
		return nil, nil, fmt.Errorf("start %s: %w", path, err)
	}
	return browser, end, nil
}

// sight is what was seen of a page.
type sight struct {
	picture    []byte
	complaints []string // of the browser: errors, and requests to other hosts
}

// look opens a page in a tab of its own, and lets then do something with it.
func look(browser context.Context, address, path string, as way, then ...func(tab context.Context) error) (sight, error) {
	tab, end := chromedp.NewContext(browser)
	defer end()
	if err := chromedp.Do(tab); err != nil {
		return sight{}, err
	}
	tab, cancel := context.WithTimeout(tab, 2*time.Minute)
	defer cancel()
	var seen sight
	var mu sync.Mutex
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen.complaints = append(seen.complaints, fmt.Sprintf(format, args...))
	}
	if err := chromedp.Listen(tab, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complain("a script failed: %s", e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			// A page that says 404 is a page as any other.
			if e.Entry.Level == log.EntryLevelError && (e.Entry.Source != log.EntrySourceNetwork || strings.Contains(e.Entry.URL, "/static/")) {
				complain("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if to, err := url.Parse(e.Request.URL); err != nil || to.Scheme != "data" && "http://"+to.Host != address {
				complain("it asks another host: %s", e.Request.URL)
			}
		}
	}); err != nil {
		return sight{}, err
	}
	if err := dress(tab, as); err != nil {
		return sight{}, err
	}
	if err := chromedp.Do(tab, chromedp.Navigate(address+path)); err != nil {
		return sight{}, err
	}
	for _, f := range then {
		if err := f(tab); err != nil {
			return sight{}, err
		}
	}
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	seen.picture = picture
	mu.Lock()
	defer mu.Unlock()
	return seen, err
}

// dress makes a tab what somebody looks at.
func dress(tab context.Context, as way) error {
	options := []chromedp.EmulateViewportOption{}
	if as.phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	if err := chromedp.Do(tab, chromedp.EmulateViewport(as.width, as.height, options...)); err != nil {
		return err
	}
	scheme := "light"
	if as.dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err == nil && as.noScript {
		_, err = chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	return err
}

// accessible returns what axe finds against level AA on the page of a tab.
func accessible(tab context.Context, axe string) ([]string, error) {
	if _, err := chromedp.Run(tab, chromedp.Evaluate[chromedp.Void](axe+";null")); err != nil {
		return nil, fmt.Errorf("load axe: %w", err)
	}
	const ask = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).then(r =>
		JSON.stringify(r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + v.help + ": " + n.html.slice(0, 200) + " " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message))))`
	said, err := chromedp.Run(tab, chromedp.Evaluate[string](ask, chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, fmt.Errorf("ask axe: %w", err)
	}
	var found []string
	return found, json.Unmarshal([]byte(said), &found)
}

// judge says what axe finds wrong with the page that a tab shows.
func (as way) judge(t *testing.T, tab context.Context, axe string) error {
	t.Helper()
	found, err := accessible(tab, axe)
	for _, f := range found {
		t.Errorf("%s: %s", as.name, f)
	}
	return err
}

// report says what the browser complained of.
func (as way) report(t *testing.T, seen sight) {
	t.Helper()
	for _, complaint := range seen.complaints {
		t.Errorf("%s: %s", as.name, complaint)
	}
}
