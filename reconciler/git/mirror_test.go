package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

var background = context.Background()

// remotes runs a test against each kind of remote: a bare repository and a
// checkout on this disk, and a bare one behind http.
func remotes(t *testing.T, f func(t *testing.T, options Options, remote, work string)) {
	t.Run("bare", func(t *testing.T) {
		bare, work := bareRemote(t)
		f(t, Options{URL: bare}, bare, work)
	})
	t.Run("checkout", func(t *testing.T) {
		work := checkout(t)
		run(t, work, "remote", "add", "origin", work)
		f(t, Options{URL: "file://" + work}, filepath.Join(work, ".git"), work)
	})
	t.Run("http", func(t *testing.T) {
		bare, work := bareRemote(t)
		url, _ := serveHTTP(t, filepath.Dir(bare))
		f(t, Options{URL: url + "/platform.git", Token: token}, bare, work)
	})
}

func TestFetchFollowsTheRemote(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		m := open(t, options)
		first := run(t, work, "rev-parse", "HEAD")
		equal(t, "first fetch", fetch(t, m), reconciler.Heads{Tracked: first})
		equal(t, "branch", m.Branch(), "main")

		tree, err := m.Tree(background, first)
		equal(t, "tree", paths(t, tree, err), "blueprints/db/main.tf 0 10\nplatform.cue 0 17")
		equal(t, "content", read(t, tree, "platform.cue"), "package platform\n")
		hash, _ := tree.Find("platform.cue")
		equal(t, "hash", hash.Hash, run(t, work, "rev-parse", "HEAD:platform.cue"))

		second := commit(t, work, map[string]string{"teams.cue": "package platform\n"}, "add teams\n\nand why")
		run(t, work, "push", "-q", "origin", "main")
		equal(t, "second fetch", fetch(t, m).Tracked, second)
		rev, err := m.Revision(background, second)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "revision", rev, reconciler.Revision{Commit: second, Author: "Ada", Subject: "add teams",
			Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	})
}

func TestFetchFollowsARewrittenBranch(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		m := open(t, options)
		commit(t, work, map[string]string{"a.cue": "package platform\n"}, "a mistake")
		run(t, work, "push", "-q", "origin", "main")
		gone := fetch(t, m).Tracked

		run(t, work, "reset", "-q", "--hard", "HEAD~1")
		rewritten := commit(t, work, map[string]string{"b.cue": "package platform\n"}, "instead")
		run(t, work, "push", "-q", "--force", "origin", "main")
		equal(t, "tip", fetch(t, m).Tracked, rewritten)
		tree, err := m.Tree(background, rewritten)
		equal(t, "tree", paths(t, tree, err), "b.cue 0 17\nblueprints/db/main.tf 0 10\nplatform.cue 0 17")
		if _, err := m.Tree(background, gone); err != nil {
			t.Errorf("the mirror lost a commit that it had: %v", err)
		}
	})
}

func TestFetchOfNothingIsOneRoundTrip(t *testing.T) {
	bare, work := bareRemote(t)
	url, requests := serveHTTP(t, filepath.Dir(bare))
	m := open(t, Options{URL: url + "/platform.git", Token: token})
	fetch(t, m)
	requests.Store(0)
	fetch(t, m)
	equal(t, "requests without news", requests.Load(), 1)
	commit(t, work, nil, "news")
	run(t, work, "push", "-q", "origin", "main")
	requests.Store(0)
	fetch(t, m)
	equal(t, "requests with news", requests.Load(), 2)
}

func TestFetchBringsApprovalsAndNamesTheQueue(t *testing.T) {
	bare, work := bareRemote(t)
	url, requests := serveHTTP(t, filepath.Dir(bare))
	m := open(t, Options{URL: url + "/platform.git", Token: token})
	tracked := fetch(t, m).Tracked
	run(t, work, "switch", "-q", "--orphan", "approvals")
	approvals := commit(t, work, nil, "an approval")
	run(t, work, "switch", "-q", "main")
	queued := func(number, subject string) string {
		run(t, work, "switch", "-q", "--detach", "main")
		c := commit(t, work, nil, subject)
		run(t, work, "push", "-q", "origin", c+":refs/heads/gh-readonly-queue/main/pr-"+number+"-"+tracked)
		return c
	}
	ten, nine := queued("10", "ten"), queued("9", "nine")
	run(t, work, "push", "-q", "origin", "approvals:pave/approvals",
		"main:gh-readonly-queue/main/pr-0-"+tracked, "main:gh-readonly-queue/main/pr-7", "main:gh-readonly-queue/main/x/pr-7-"+tracked,
		"main:gh-readonly-queue/dev/pr-7-"+tracked, "main:pr-7-"+tracked)

	want := reconciler.Heads{Tracked: tracked, Approvals: approvals, Queue: []reconciler.QueuedMerge{
		{Number: 9, Ref: "refs/heads/gh-readonly-queue/main/pr-9-" + tracked, Commit: nine},
		{Number: 10, Ref: "refs/heads/gh-readonly-queue/main/pr-10-" + tracked, Commit: ten}}}
	equal(t, "heads", fetch(t, m), want)
	requests.Store(0)
	equal(t, "heads again", fetch(t, m), want)
	equal(t, "requests without news", requests.Load(), 1)
	m.heal = nil
	if _, err := m.Revision(background, approvals); err != nil {
		t.Error(err)
	}
	if _, err := m.Revision(background, ten); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("a queued merge was fetched: %v", err)
	}

	run(t, work, "push", "-q", "origin", ":pave/approvals")
	equal(t, "approvals removed", fetch(t, m).Approvals, "")
}

func TestLine(t *testing.T) {
	bare, work := bareRemote(t)
	first := run(t, work, "rev-parse", "HEAD")
	run(t, work, "switch", "-q", "-c", "side")
	side := commit(t, work, map[string]string{"side.cue": "package platform\n"}, "beside")
	run(t, work, "switch", "-q", "main")
	second := commit(t, work, nil, "second")
	run(t, work, "merge", "-q", "--no-ff", "-m", "merge", "side")
	merge := run(t, work, "rev-parse", "HEAD")
	tip := commit(t, work, nil, "tip")
	run(t, work, "push", "-q", "origin", "main")
	m := open(t, Options{URL: bare})
	fetch(t, m)

	line := func(m *Mirror, from, since string, most int) string {
		t.Helper()
		commits, reached, err := m.Line(background, from, since, most)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]string{first: "first", second: "second", merge: "merge", tip: "tip", side: "side"}
		var said []string
		for _, c := range commits {
			said = append(said, names[c])
		}
		return fmt.Sprint(said, reached)
	}
	equal(t, "all", line(m, tip, "", 10), "[tip merge second first] true")
	equal(t, "exactly all", line(m, tip, "", 4), "[tip merge second first] true")
	equal(t, "too many", line(m, tip, "", 3), "[tip merge second] false")
	equal(t, "since", line(m, tip, second, 10), "[tip merge] true")
	equal(t, "since, just", line(m, tip, second, 2), "[tip merge] true")
	equal(t, "since, too many", line(m, tip, second, 1), "[tip] false")
	equal(t, "beside the line", line(m, tip, side, 10), "[tip merge second first] false")
	equal(t, "later", line(m, second, tip, 10), "[second first] false")
	equal(t, "itself", line(m, tip, tip, 10), "[] true")
	equal(t, "none wanted", line(m, tip, first, 0), "[] false")
	_, _, err := m.Line(background, "main", "", 1)
	refused(t, err, "not a full hash")
	_, _, err = m.Line(background, strings.Repeat("1", 40), "", 1)
	if !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}

	shallow := filepath.Join(t.TempDir(), "shallow")
	run(t, work, "clone", "-q", "--depth", "2", "file://"+work, shallow)
	cut := open(t, Options{URL: shallow})
	fetch(t, cut)
	equal(t, "cut", line(cut, tip, "", 10), "[tip merge] false")
}

func TestHeadIsAskedOnce(t *testing.T) {
	work := checkout(t)
	m := open(t, Options{URL: work})
	tip := fetch(t, m).Tracked
	run(t, work, "switch", "-q", "-c", "experiment")
	commit(t, work, nil, "not for production")
	equal(t, "tip after a switch of branches", fetch(t, m).Tracked, tip)
}

func TestFetchErrors(t *testing.T) {
	bare, work := bareRemote(t)
	run(t, work, "push", "-q", "origin", "main:dev", "main:pave/status")
	empty := filepath.Join(t.TempDir(), "empty.git")
	run(t, work, "init", "-q", "--bare", empty)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.git")
	run(t, work, "init", "-q", "--bare", "-b", "trunk", elsewhere)
	run(t, work, "push", "-q", elsewhere, "main")
	folder := t.TempDir()
	url, _ := serveHTTP(t, filepath.Dir(bare))

	fails := func(options Options) error {
		t.Helper()
		_, err := open(t, options).Fetch(background)
		return err
	}
	err := fails(Options{URL: bare, Tracked: "mian"})
	refused(t, err, `branch "mian" does not exist; expected one of: main, dev; choose: --branch main`)
	if missing, ok := errors.AsType[*MissingBranchError](err); !ok || missing.Branch != "mian" || strings.Join(missing.Have, " ") != "main dev" {
		t.Errorf("got %#v", missing)
	}
	refused(t, fails(Options{URL: elsewhere}), "HEAD names no branch that exists; expected one of: main; choose: --branch main")
	for _, empty := range []Options{{URL: empty}} {
		err := fails(empty)
		refused(t, err, "the repository is empty", "pave init")
		if !errors.Is(err, ErrEmpty) {
			t.Errorf("%v is not ErrEmpty", err)
		}
	}
	for _, none := range []Options{{URL: folder}, {URL: filepath.Join(folder, "gone")}, {URL: url + "/gone.git", Token: token}} {
		err := fails(none)
		refused(t, err, "no Git repository at ")
		if !errors.Is(err, ErrNoRepository) {
			t.Errorf("%v is not ErrNoRepository", err)
		}
	}
	err = fails(Options{URL: url + "/platform.git", Token: "wr0ng"})
	refused(t, err, "access denied", "token")
	if strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("error shows the token: %v", err)
	}
	refused(t, fails(Options{URL: "http://127.0.0.1:1/platform.git"}), "fetch http://127.0.0.1:1/platform.git: ", "refused")
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		options Options
		says    string
	}{
		{Options{URL: "git://host/x"}, `expected a path, https:// or ssh://; got "git://"`},
		{Options{URL: "http://host/x", Token: "t"}, "use https://"},
		{Options{URL: "http://ada:pw@host/x"}, "use https://"},
		{Options{URL: "https://ada:p%zzw@host/x"}, "it is not a URL"},
		{Options{URL: "."}, ""},
		{Options{URL: ".", Tracked: "x", Status: "x"}, `the branch "x" cannot be both`},
		{Options{URL: ".", Tracked: "x", Approvals: "x"}, `the branch "x" cannot be both`},
		{Options{URL: ".", Status: "x", Approvals: "x"}, `the branch "x" cannot be both`},
		{Options{URL: ".", Approvals: "a b"}, `approvals branch: "a b" is not a name for a branch`},
		{Options{URL: ".", Tracked: "a..b"}, `tracked branch: "a..b" is not a name for a branch`},
		{Options{URL: ".", Status: "-x"}, `status branch: "-x" is not a name for a branch`},
		{Options{URL: ".", Author: "Eve <root@x>"}, "author name"},
		{Options{URL: ".", Email: "a\nb"}, "author e-mail"},
		{Options{URL: ""}, "expected a path"},
	} {
		options := c.options
		options.Cache = filepath.Join(t.TempDir(), "m")
		if options.Status == "" {
			options.Status = "pave/status"
		}
		m, err := Open(background, options)
		if c.says == "" {
			if err != nil {
				t.Errorf("%+v: %v", options, err)
			}
			m.Close()
			continue
		}
		refused(t, err, c.says)
		if strings.Contains(err.Error(), "pw") || strings.Contains(err.Error(), "zzw") {
			t.Errorf("error shows a password: %v", err)
		}
	}
	cache := filepath.Join(t.TempDir(), "deep", "m")
	open(t, Options{URL: ".", Cache: cache})
	info, err := os.Stat(cache)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "mode of the cache", info.Mode().Perm(), 0o700)
}

func TestMirrorMayVanish(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		options.Cache = filepath.Join(t.TempDir(), "mirror")
		m := open(t, options)
		tip := fetch(t, m).Tracked
		vanish := func() {
			m.trees = nil
			if err := os.RemoveAll(options.Cache); err != nil {
				t.Fatal(err)
			}
		}

		vanish()
		equal(t, "fetch", fetch(t, m).Tracked, tip)
		tree, err := m.Tree(background, tip)
		want := paths(t, tree, err)
		vanish()
		m.forget()
		tree, err = m.Tree(background, tip)
		equal(t, "tree", paths(t, tree, err), want)
		m.forget()
		vanish()
		equal(t, "content", read(t, tree, "platform.cue"), "package platform\n")
		vanish()
		m.forget()
		status := publish(t, m, "", nil, put("README.md", "hello"))
		vanish()
		equal(t, "status", fetch(t, m).Status, status)
	})
}

func TestMirrorMayBreak(t *testing.T) {
	breaks := map[string]func(t *testing.T, dir string){
		"index of a pack gone": func(t *testing.T, dir string) { remove(t, dir, "*.idx") },
		"pack gone":            func(t *testing.T, dir string) { remove(t, dir, "*.pack") },
		"pack cut short": func(t *testing.T, dir string) {
			for _, p := range glob(t, dir, "*.pack") {
				os.Chmod(p, 0o600)
				if err := os.Truncate(p, 40); err != nil {
					t.Fatal(err)
				}
			}
		},
		"index garbled": func(t *testing.T, dir string) {
			for _, p := range glob(t, dir, "*.idx") {
				os.Chmod(p, 0o600)
				if err := os.WriteFile(p, []byte("garbage"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, harm := range breaks {
		t.Run(name, func(t *testing.T) {
			bare, work := bareRemote(t)
			cache := filepath.Join(t.TempDir(), "mirror")
			fetch(t, open(t, Options{URL: bare, Cache: cache}))
			harm(t, cache)

			m := open(t, Options{URL: bare, Cache: cache})
			tip := run(t, work, "rev-parse", "HEAD")
			tree, err := m.Tree(background, tip)
			equal(t, "tree", paths(t, tree, err), "blueprints/db/main.tf 0 10\nplatform.cue 0 17")
			equal(t, "content", read(t, tree, "platform.cue"), "package platform\n")
			equal(t, "fetch", fetch(t, m).Tracked, tip)
		})
	}
}

func glob(t *testing.T, cache, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, "mirror.git", "objects", "pack", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s in the mirror", pattern)
	}
	return found
}

func remove(t *testing.T, cache, pattern string) {
	for _, p := range glob(t, cache, pattern) {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnknownCommit(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	fetch(t, m)
	unknown := strings.Repeat("1", 40)
	_, err := m.Tree(background, unknown)
	if !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Revision(background, unknown); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
	_, err = m.Tree(background, "main")
	refused(t, err, `"main" is not a full hash`)

	// A commit that could not be looked for is not an unknown one.
	m.options.URL, m.address.endpoint.Path = "/nowhere", "/nowhere"
	if _, err = m.Tree(background, unknown); err == nil || errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
}

func TestModesAndLimits(t *testing.T) {
	bare, work := bareRemote(t)
	write(t, work, "run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(work, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("platform.cue", filepath.Join(work, "link.cue")); err != nil {
		t.Fatal(err)
	}
	run(t, work, "update-index", "--add", "--cacheinfo", "160000,"+run(t, work, "rev-parse", "HEAD")+",module")
	write(t, work, "large.cue", strings.Repeat("x", 101))
	write(t, work, "a.b/x", "1")
	write(t, work, "a/x", "1")
	run(t, work, "add", "run.sh", "link.cue", "large.cue", "a", "a.b")
	run(t, work, "commit", "-q", "-m", "all kinds")
	run(t, work, "push", "-q", "origin", "main")

	m := open(t, Options{URL: bare, MaxFile: 100})
	tree, err := m.Tree(background, fetch(t, m).Tracked)
	equal(t, "tree", paths(t, tree, err), strings.Join([]string{
		"a.b/x 0 1", "a/x 0 1", "blueprints/db/main.tf 0 10", "large.cue 0 101",
		"link.cue 2 12", "module 3 0", "platform.cue 0 17", "run.sh 1 10"}, "\n"))
	equal(t, "executable", read(t, tree, "run.sh"), "#!/bin/sh\n")
	fresh := open(t, Options{URL: bare, MaxFile: 100}) // which keeps no tree that tells sizes
	tip := fetch(t, fresh).Tracked
	for path, says := range map[string]string{
		"large.cue": "read large.cue: it has 101 bytes, more than the limit of 100",
		"link.cue":  "read link.cue: it is not a regular file",
		"module":    "read module: it is not a regular file",
	} {
		f, _ := tree.Find(path)
		_, err := tree.Read(f)
		refused(t, err, says)
		part, err := fresh.Part(background, tip, path)
		if err != nil || len(part.Files) != 1 {
			t.Fatal(part, err)
		}
		_, err = part.Read(part.Files[0])
		refused(t, err, says)
	}
	_, err = tree.Read(reconciler.File{Path: "platform.cue", Hash: strings.Repeat("1", 40)})
	refused(t, err, "it is not in this tree")
}

// mktree makes a commit of a tree that git's porcelain would not make.
func mktree(t *testing.T, dir, listing string) string {
	t.Helper()
	cmd := exec.Command("git", "mktree", "--missing")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(listing)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git mktree: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestHostileTrees(t *testing.T) {
	work := checkout(t)
	blob := run(t, work, "rev-parse", "HEAD:platform.cue")
	tree := run(t, work, "rev-parse", "HEAD:blueprints")
	bomb := tree
	for range 6 {
		var b strings.Builder
		for _, name := range "abcdefgh" {
			b.WriteString("040000 tree " + bomb + "\t" + string(name) + "\n")
		}
		bomb = mktree(t, work, b.String())
	}
	deep := tree
	for range 30 {
		deep = mktree(t, work, "040000 tree "+deep+"\t"+strings.Repeat("d", 200)+"\n")
	}
	for name, c := range map[string]struct{ tree, says string }{
		"up":    {mktree(t, work, "040000 tree "+tree+"\t..\n"), `an entry named ".."`},
		"git":   {mktree(t, work, "040000 tree "+tree+"\t.GIT\n"), `an entry named ".GIT"`},
		"twice": {mktree(t, work, "100644 blob "+blob+"\ta\n100644 blob "+blob+"\ta.b\n040000 tree "+tree+"\ta\n"), `holds "a" twice`},
		"bomb":  {bomb, "more than 200000 files and folders"},
		"deep":  {deep, "longer than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tip := run(t, work, "commit-tree", "-m", name, c.tree)
			run(t, work, "update-ref", "refs/heads/"+name, tip)
			m := open(t, Options{URL: work, Tracked: name})
			fetch(t, m)
			_, err := m.Tree(background, tip)
			refused(t, err, c.says)
		})
	}
}

func TestShallowRemote(t *testing.T) {
	work := checkout(t)
	commit(t, work, nil, "second")
	shallow := filepath.Join(t.TempDir(), "shallow")
	run(t, work, "clone", "-q", "--depth", "1", "file://"+work, shallow)
	m := open(t, Options{URL: shallow})
	tip := fetch(t, m).Tracked
	entries, err := m.Log(background, tip, 0, nil)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
}

func TestCancelledFetch(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := m.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	fetch(t, m)
	if _, err := m.Tree(ctx, strings.Repeat("1", 40)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReadersDoNotWaitForFetches(t *testing.T) {
	t.Parallel()
	bare, work := bareRemote(t)
	m := open(t, Options{URL: bare})
	tip := fetch(t, m).Tracked
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				tree, err := m.Tree(background, tip)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := tree.Read(tree.Files[0]); err != nil {
					t.Error(err)
				}
				if _, err := m.Log(background, tip, 0, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	status := ""
	for range 5 {
		commit(t, work, map[string]string{"n.cue": time.Now().String()}, "news")
		run(t, work, "push", "-q", "origin", "main")
		fetch(t, m)
		var parents []string
		if status != "" {
			parents = []string{status}
		}
		status = publish(t, m, status, parents, put("n", time.Now().String()))
		m.forget()
	}
	close(done)
	readers.Wait()
}
