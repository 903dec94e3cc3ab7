package portal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/testdata/tools/built"
)

// TestNothingButGit reads every page, takes away everything that is not a commit, and
// reads every page again: not a byte may differ. Then it goes back to the first day,
// of which every page must say what it says to whoever has no later commit.
func TestNothingButGit(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the example's providers: make test")
	}
	s, err := openStand(t.Context(), t.TempDir(), built.Pave(t))
	must(t, err)
	t.Cleanup(func() { s.close() })
	tracked, status := s.firstCommits(t)
	then := s.clone(t)
	must(t, then.git(t.Context(), "reset", "--quiet", "--hard", tracked))
	must(t, then.git(t.Context(), "update-ref", "refs/remotes/origin/pave/status", status))
	now := s.clone(t)

	before := s.everything(t, "/")
	s.close()
	must(t, os.RemoveAll(s.dir)) // the repository, its infrastructure, the state of that and every cache
	must(t, now.show(t.Context()))
	t.Cleanup(now.close)
	after := now.everything(t, "/")
	if len(before) < 400 {
		t.Errorf("only %d pages were found", len(before))
	}
	for path, want := range before {
		if got := after[path]; got != want {
			t.Errorf("%s says something else from a clone:\n%s", path, differing(want.body, got.body))
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d pages were found before, %d after", len(before), len(after))
	}

	must(t, then.show(t.Context()))
	t.Cleanup(then.close)
	base := fmt.Sprintf("/at/%.12s-%.12s", tracked, status)
	past := now.everything(t, base+"/")
	compared := 0
	for path, want := range then.everything(t, "/") {
		if !strings.Contains(path, "format=json") || strings.HasPrefix(path, "/at/") || strings.HasPrefix(path, "/compare") {
			continue
		}
		got, found := past[base+path]
		if !found && (strings.Contains(path, "/new?") || strings.Contains(path, "/edit?")) { // nobody changes the past
			continue
		}
		compared++
		if a, b := saidBy(t, want.body, base), saidBy(t, got.body, base); a != b {
			t.Errorf("%s says something else than it did then:\n%s", base+path, differing(a, b))
		}
	}
	if compared < 70 {
		t.Errorf("only %d pages of the past were compared", compared)
	}
	if is, was := after["/services/checkout?format=json"].body, past[base+"/services/checkout?format=json"].body; !strings.Contains(is, `"lifecycle": "deprecated"`) || !strings.Contains(was, `"lifecycle": "production"`) {
		t.Errorf("the checkout was in production and is deprecated; the pages say\n%s\n%s", was, is)
	}
}

// firstCommits are the first ones of the tracked and the status branch.
func (s *stand) firstCommits(t *testing.T) (tracked, status string) {
	t.Helper()
	first := func(branch string) string {
		out, err := exec.Command("git", "-C", s.repo, "rev-list", "--reverse", branch).Output()
		must(t, err)
		commit, _, _ := strings.Cut(string(out), "\n")
		return commit
	}
	return first("main"), first("pave/status")
}

// clone is a stand that has the commits of another and nothing else of it.
func (s *stand) clone(t *testing.T) *stand {
	t.Helper()
	c := &stand{dir: t.TempDir(), pave: s.pave, end: func() {}}
	c.repo = filepath.Join(c.dir, "platform")
	must(t, s.git(t.Context(), "clone", "--quiet", "--no-hardlinks", s.repo, c.repo))
	return c
}

// everything is what is at each address of a time, in HTML and JSON.
func (s *stand) everything(t *testing.T, from string) map[string]answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for { // the rules are asked in the background
		got, err := s.get(ctx, from+"policies")
		must(t, err)
		if strings.Contains(got.body, "Rules that come with Pave") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	base := strings.TrimSuffix(from, "/")
	all, err := s.crawl(ctx, from, func(path string) bool {
		return strings.HasPrefix(path, base+"/") && (base != "" || !strings.HasPrefix(path, "/at/") || strings.Contains(path, "/source/"))
	})
	must(t, err)
	return all
}

// saidBy is what a page says as JSON, whatever time its links lead to, and but for what
// the past has none of: forms, and a daemon that tells of its runs.
func saidBy(t *testing.T, body, base string) string {
	t.Helper()
	var said any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(body, base, "")), &said); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				strip(one)
			}
		case map[string]any:
			maps.DeleteFunc(v, func(key string, value any) bool {
				strip(value)
				return key == "form" || key == "noRun" || key == "edit" || key == "ask"
			})
		}
	}
	strip(said)
	text, err := json.MarshalIndent(said, "", "  ")
	must(t, err)
	return string(text)
}

// differing are the lines around the first one in which two texts differ.
func differing(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	var out bytes.Buffer
	for _, lines := range [][]string{x, y} {
		fmt.Fprintf(&out, "%d: %.1000s\n", n+1, strings.Join(lines[min(n, len(lines)):min(n+3, len(lines))], "\n"))
	}
	return out.String()
}
