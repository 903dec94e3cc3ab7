package portal_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/portal"
)

// latest is a snapshot that is replaced by later ones.
type latest struct {
	atomic.Pointer[portal.Snapshot]
}

func (l *latest) Now(context.Context) (*portal.Snapshot, error)        { return l.Load(), nil }
func (l *latest) At(context.Context, string) (*portal.Snapshot, error) { return l.Load(), nil }

// standing is a platform with a request that stands so.
func standing(ready bool, reason string) *portal.Snapshot {
	record := reconciler.NewRecord()
	record.Units["db"] = &reconciler.UnitStatus{Request: "db", Conditions: reconciler.Conditions{{Type: reconciler.Ready, Status: ready, Reason: reason}}}
	return &portal.Snapshot{
		Revision: reconciler.Revision{Commit: strings.Repeat("1", 40)}, Status: reconciler.Revision{Commit: strings.Repeat("2", 40)},
		Platform: &reconciler.Platform{Requests: map[string]*reconciler.Request{"db": {Name: "db"}}}, Record: record, Tree: &reconciler.Tree{},
	}
}

// handed is a portal of a platform in which nothing but the latest snapshot is known,
// its address and the browser that looks at it.
func handed(t *testing.T, options portal.Options) (browser context.Context, address string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Chromium: make test")
	}
	options.Rules, options.Anonymous, options.Log = &policy.Compiler{}, true, slog.New(slog.DiscardHandler)
	server := httptest.NewServer(portal.New(options))
	t.Cleanup(server.Close)
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	return browser, server.URL
}

// mark marks the page, so that it is known whether it was loaded anew.
var mark = chromedp.Evaluate[bool](`document.body.dataset.mine = "yes"; true`)

// settled tells whether the page is the one that was marked, and asks no more.
func settled(t *testing.T, tab context.Context) error {
	t.Helper()
	same, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.body.dataset.mine === "yes" && !document.querySelector("[data-live]")`))
	if err == nil && !same {
		t.Error("the page was loaded anew, or goes on asking")
	}
	return err
}

// TestLive watches a request arrive in a browser that nobody touches.
func TestLive(t *testing.T) {
	platform := &latest{}
	platform.Store(standing(false, reconciler.ReasonWaiting))
	browser, address := handed(t, portal.Options{Snapshots: platform})
	seen, err := look(browser, address, "/requests/db", way{name: "light", width: 1280, height: 900}, func(tab context.Context) error {
		if _, err := chromedp.Run(tab, mark); err != nil {
			return err
		}
		platform.Store(standing(true, reconciler.ReasonApplied))
		if err := chromedp.Do(tab, chromedp.WaitVisible(".head .badge.good")); err != nil {
			return err
		}
		return settled(t, tab)
	})
	must(t, err)
	for _, complaint := range seen.complaints {
		t.Error(complaint)
	}
}

// TestLiveRun watches a run of a request that was ready before, light, dark and on a
// phone.
func TestLiveRun(t *testing.T) {
	platform := &latest{}
	platform.Store(standing(true, reconciler.ReasonApplied))
	var runs atomic.Pointer[reconciler.RunLog]
	browser, address := handed(t, portal.Options{Snapshots: platform, Runs: func(string) (reconciler.RunLog, bool) { return *runs.Load(), true }})
	axe := script(t)
	for _, as := range ways {
		said := reconciler.RunLog{Run: "run-7"}
		for range 60 {
			said.Lines = append(said.Lines, reconciler.LogLine{Time: time.Unix(0, 0), Text: "terraform_data.database: create " + strings.Repeat("x", 100)})
		}
		runs.Store(&said)
		seen, err := look(browser, address, "/requests/db", as, func(tab context.Context) error {
			if _, err := chromedp.Run(tab, mark); err != nil {
				return err
			}
			more := said
			more.Lines = append(slices.Clone(said.Lines), reconciler.LogLine{Time: time.Unix(9, 0), Text: "the newest"})
			runs.Store(&more)
			if err := chromedp.Do(tab, chromedp.WaitVisible(".log li:nth-child(61)")); err != nil {
				return err
			}
			if err := as.judge(t, tab, axe); err != nil {
				return err
			}
			last, err := chromedp.Run(tab, chromedp.Evaluate[bool](`(function () {
				var log = document.querySelector(".log").getBoundingClientRect(), line = document.querySelector(".log li:last-child").getBoundingClientRect();
				return line.bottom <= log.bottom && document.documentElement.scrollWidth <= window.innerWidth;
			})()`))
			if err != nil {
				return err
			}
			if !last {
				t.Errorf("%s: the newest line is not in sight, or the page is wider than the window", as.name)
			}
			more.Ended, more.Outcome = time.Unix(9, 0), reconciler.Applied
			runs.Store(&more)
			if err := chromedp.Do(tab, chromedp.WaitVisible("h2 .badge.good")); err != nil {
				return err
			}
			return settled(t, tab)
		})
		must(t, err)
		as.report(t, seen)
		if *screens != "" {
			must(t, os.WriteFile(filepath.Join(*screens, "request-run-"+as.name+".png"), seen.picture, 0o644))
		}
	}
}

// TestArrows goes through what a search found by the arrow keys.
func TestArrows(t *testing.T) {
	snapshot := standing(true, reconciler.ReasonApplied)
	for _, name := range []string{"db-1", "db-2"} {
		snapshot.Platform.Requests[name] = &reconciler.Request{Name: name}
	}
	platform := &latest{}
	platform.Store(snapshot)
	browser, address := handed(t, portal.Options{Snapshots: platform})
	seen, err := look(browser, address, "/search?q=db", way{name: "light", width: 1280, height: 900}, func(tab context.Context) error {
		if err := chromedp.Do(tab, chromedp.Focus("#search")); err != nil {
			return err
		}
		for _, step := range []struct{ key, at string }{
			{kb.ArrowUp, ""}, {kb.ArrowDown, "db"}, {kb.ArrowDown, "db-1"}, {kb.ArrowDown, "db-2"}, {kb.ArrowDown, "db-2"}, {kb.ArrowUp, "db-1"}, {kb.ArrowUp, "db"}, {kb.ArrowUp, ""}, {kb.ArrowDown, "db"},
		} {
			if err := chromedp.Do(tab, chromedp.KeyEvent(step.key)); err != nil {
				return err
			}
			at, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.activeElement.textContent"))
			if err != nil {
				return err
			}
			if at != step.at {
				t.Errorf("expected to be at %q: got %q", step.at, at)
			}
		}
		if err := chromedp.Do(tab, chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(".head")); err != nil {
			return err
		}
		where, err := chromedp.Run(tab, chromedp.Evaluate[string]("location.pathname"))
		if err == nil && where != "/requests/db" {
			t.Errorf("it leads to %s", where)
		}
		return err
	})
	must(t, err)
	for _, complaint := range seen.complaints {
		t.Error(complaint)
	}
}
