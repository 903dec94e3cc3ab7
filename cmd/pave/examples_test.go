package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// folderLine is the one line of examples/acme that names a folder of the host.
var folderLine = regexp.MustCompile(`(?m)^let folder = ".*"$`)

func TestAcmeConverges(t *testing.T) {
	if testing.Short() {
		t.Skip("needs built providers: make test")
	}
	t.Parallel()
	for _, engine := range []string{"terraform", "tofu"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			convergeAcme(newAcme(t, engine))
		})
	}
}

// newAcme makes a host with examples/acme as its platform.
func newAcme(t *testing.T, engine string) *host {
	h := newHost(t, engine, func(repo string) {
		must(t, os.CopyFS(repo, os.DirFS("../../examples/acme")))
		settings := filepath.Join(repo, "platform.cue")
		text, err := os.ReadFile(settings)
		must(t, err)
		if n := len(folderLine.FindAll(text, -1)); n != 1 {
			t.Fatalf("expected one line of platform.cue to name the folder for files, got %d", n)
		}
		line := `let folder = "` + filepath.Join(filepath.Dir(repo), "infrastructure") + `"`
		must(t, os.WriteFile(settings, folderLine.ReplaceAllLiteral(text, []byte(line)), 0o644))
	})
	bin := filepath.Join(h.dir, "engines")
	h.flags = append(h.flags, "--terraform-config", findProviders(t), "--allow-write", bin+":"+filepath.Join(h.dir, "infrastructure"))
	return h
}

// convergeAcme lives through what a platform lives through, from nothing.
func convergeAcme(h *host) {
	h.pave(0, "apply")
	h.expectAllReady(25)
	h.expectStarts("version", "init", "plan", "show", "apply")
	files := h.files("infrastructure")
	if !slices.Contains(files, "buckets/shop-site/imprint.html") || !slices.Contains(files, "zones/checkout-zone.zone") {
		h.Errorf("got files %q", files)
	}

	// A second pass finds nothing to do, whatever is left of the cache.
	recorded := h.git("rev-parse", "pave/status")
	h.pave(0, "apply")
	h.expectStarts()
	h.loseCache()
	h.pave(0, "apply")
	h.expectStarts("version")
	if now := h.git("rev-parse", "pave/status"); now != recorded {
		h.Errorf("nothing happened, but the status branch moved:\n%s", h.git("log", "-1", "pave/status"))
	}

	// Another password of the database reaches what depends on it, and the
	// output of that is as before.
	first := h.secrets()
	h.replace("catalog/payments/checkout.cue", `database: "checkout",`, `database: "checkout", rotation: 2,`)
	h.commit("Rotate the password of checkout's database")
	h.pave(0, "apply")
	h.expectRecorded("checkout-db applied", "checkout-config applied", "checkout-zone unchanged")
	second := h.secrets()
	if slices.Sort(first); len(first) < 10 || len(second) != len(first) {
		h.Fatalf("expected the same secrets, at least 10, got %d and %d", len(first), len(second))
	}
	changed := slices.DeleteFunc(slices.Clone(second), func(s string) bool { return slices.Contains(first, s) })
	if len(changed) != 1 {
		h.Errorf("expected one changed secret, got %d", len(changed))
	}
	if config := h.stateOf("checkout-config"); !strings.Contains(config, changed[0]) {
		h.Error("the configuration does not have the database's new password")
	}

	h.cut("catalog/storefront/shop.cue", "shop-site-staging")
	h.cut("catalog/platform/edge.cue", "edge-zone-staging")
	h.commit("Close the shop's staging")
	h.pave(0, "apply")
	h.expectRecorded("shop-site-staging destroyed", "edge-zone-staging destroyed")
	h.expectAllReady(23)
	gone := []string{
		"buckets/shop-site-staging/imprint.html", "buckets/shop-site-staging/index.html", "buckets/shop-site-staging/robots.txt",
		"zones/edge-zone-staging.zone",
	}
	left := slices.DeleteFunc(files, func(f string) bool { return slices.Contains(gone, f) })
	if now := h.files("infrastructure"); !slices.Equal(now, left) {
		h.Errorf("expected files %q, got %q", left, now)
	}

	for _, command := range [][]string{
		{"status"}, {"status", "checkout-db"}, {"status", "checkout-config"}, {"status", "checkout-config", "-o", "json"},
		{"log"}, {"log", "checkout-config"}, {"validate"}, {"plan", "checkout-db"},
	} {
		h.pave(0, command...)
	}
	h.expectNowhere(append(first, second...))
	// The search finds what is no secret.
	var db reconciler.UnitStatus
	must(h.T, json.Unmarshal([]byte(h.pave(0, "status", "checkout-db", "-o", "json")), &db))
	var username string
	must(h.T, json.Unmarshal(db.Outputs.Of("username"), &username))
	if objects := h.leftBehind()["the objects of "+h.repo]; !strings.Contains(objects, username) {
		h.Errorf("the user's name %q is not in the repository", username)
	}
}
