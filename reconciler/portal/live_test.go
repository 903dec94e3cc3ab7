package portal_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

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

// TestLive watches a request arrive in a browser that nobody touches.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Chromium: make test")
	}
	platform := &latest{}
	platform.Store(standing(false, reconciler.ReasonWaiting))
	server := httptest.NewServer(portal.New(portal.Options{Snapshots: platform, Rules: &policy.Compiler{}, Anonymous: true, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	browser, end, err := openBrowser(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(end)
	address := strings.TrimPrefix(server.URL, "http://")
	seen, err := look(browser, "http://"+address, "/requests/db", way{name: "light", width: 1280, height: 900}, func(tab context.Context) error {
		if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.body.dataset.mine = "yes"; true`)); err != nil {
			return err
		}
		platform.Store(standing(true, reconciler.ReasonApplied))
		if err := chromedp.Do(tab, chromedp.WaitVisible(".head .badge.good")); err != nil {
			return err
		}
		same, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.body.dataset.mine === "yes" && !document.querySelector("[data-live]")`))
		if err == nil && !same {
			t.Error("the page was loaded anew, or goes on asking")
		}
		return err
	})
	must(t, err)
	for _, complaint := range seen.complaints {
		t.Error(complaint)
	}
}
