package git

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/pave-dev/pave/reconciler"
)

func TestPublish(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		m := open(t, options)
		tracked := fetch(t, m).Tracked

		first := publish(t, m, "", nil,
			put("README.md", "# Status\n"), put("requests/ch/checkout-db.json", "{}\n"),
			reconciler.Edit{Path: "applied/checkout-db/module", TreeAt: tracked + ":blueprints/db"})
		equal(t, "remote tip", run(t, remote, "rev-parse", "pave/status"), first)
		equal(t, "parents", run(t, remote, "log", "--format=%P", "pave/status"), "")
		equal(t, "tree", run(t, remote, "ls-tree", "-r", "--name-only", first),
			"README.md\napplied/checkout-db/module/main.tf\nrequests/ch/checkout-db.json")
		equal(t, "shared folder", run(t, remote, "rev-parse", first+":applied/checkout-db/module"),
			run(t, work, "rev-parse", "HEAD:blueprints/db"))
		equal(t, "commit", run(t, remote, "log", "-1", "--format=%an <%ae>|%cn|%B", first), "Pave <pave@localhost>|Pave|record\n\nPave-Record: v1")

		second := publish(t, m, first, []string{first},
			reconciler.Edit{Path: "requests"}, put("requests/ch/checkout-db.json", "{\"a\":1}\n"), put("requests/le/ledger.json", "{}\n"),
			reconciler.Edit{Path: "applied/checkout-db"}, reconciler.Edit{Path: "not/there"})
		equal(t, "tree", run(t, remote, "ls-tree", "-r", "--name-only", second),
			"README.md\nrequests/ch/checkout-db.json\nrequests/le/ledger.json")
		equal(t, "parent", run(t, remote, "rev-parse", second+"^"), first)
		equal(t, "fetch", fetch(t, m), reconciler.Heads{Tracked: tracked, Status: second})
		published, err := m.Published(background)
		equal(t, "published", published, second)
		if err != nil {
			t.Error(err)
		}

		same := publish(t, m, second, []string{second}, put("README.md", "# Status\n"),
			reconciler.Edit{Path: "gone.json"}, put("x/y", "1"), reconciler.Edit{Path: "x"})
		equal(t, "without a change", same, second)
		all := publish(t, m, second, []string{second},
			reconciler.Edit{Path: "README.md"}, reconciler.Edit{Path: "requests"})
		equal(t, "emptied", run(t, remote, "ls-tree", "-r", all), "")
		run(t, remote, "fsck", "--full", "--strict")

		// A mirror that never saw the branch reads what was published.
		fresh := options
		fresh.Cache = ""
		other := open(t, fresh)
		fetch(t, other)
		tree, err := other.Tree(background, second)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "content", read(t, tree, "requests/ch/checkout-db.json"), "{\"a\":1}\n")
	})
}

func TestPublishConflicts(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		one, two := open(t, options), open(t, options)
		fetch(t, one)
		fetch(t, two)
		first := publish(t, one, "", nil, put("a", "1"))
		conflict := func(base string, parents ...string) {
			t.Helper()
			_, err := two.Publish(background, base, parents, []reconciler.Edit{put("b", "late")}, "record", unannounced)
			if !errors.Is(err, reconciler.ErrConflict) {
				t.Fatalf("got %v", err)
			}
		}
		conflict("")
		equal(t, "after the conflict", fetch(t, two).Status, first)
		second := publish(t, two, first, []string{first}, put("b", "2"))
		equal(t, "merged", run(t, remote, "ls-tree", "-r", "--name-only", second), "a\nb")
		run(t, remote, "update-ref", "-d", "refs/heads/pave/status")
		conflict(second, second)
	})
}

// Many recorders of one repository lose races inside the server too, where
// only its own lock tells.
func TestPublishRaces(t *testing.T) {
	bare, _ := bareRemote(t)
	url, _ := serveHTTP(t, filepath.Dir(bare))
	const recorders, records = 4, 5
	var wg sync.WaitGroup
	for i := range recorders {
		options := Options{URL: bare}
		if i%2 == 1 {
			options = Options{URL: url + "/platform.git", Token: token}
		}
		m := open(t, options)
		wg.Go(func() {
			for n := range records {
				record(t, m, put(strings.Join([]string{"requests", string(rune('a' + i)), string(rune('a' + n))}, "/"), "x"))
			}
		})
	}
	wg.Wait()
	equal(t, "commits", run(t, bare, "rev-list", "--count", "pave/status"), "20")
	equal(t, "files", len(strings.Fields(run(t, bare, "ls-tree", "-r", "--name-only", "pave/status"))), 20)
	run(t, bare, "fsck", "--full", "--strict")
}

// record publishes as the loop does: fetch, build, push, again on a conflict.
func record(t *testing.T, m *Mirror, edit reconciler.Edit) {
	for range 100 {
		heads, err := m.Fetch(background)
		if err != nil {
			t.Error(err)
			return
		}
		var parents []string
		if heads.Status != "" {
			parents = []string{heads.Status}
		}
		_, err = m.Publish(background, heads.Status, parents, []reconciler.Edit{edit}, "record", unannounced)
		if err == nil {
			return
		}
		if !errors.Is(err, reconciler.ErrConflict) {
			t.Error(err)
			return
		}
	}
	t.Error("never published")
}

func TestPublishRestores(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		m := open(t, options)
		fetch(t, m)
		good := publish(t, m, "", nil, put("requests/a.json", "1"))
		good = publish(t, m, good, []string{good}, put("requests/b.json", "2"))

		// Somebody replaces the branch, and the remote forgets what was there.
		blank := run(t, work, "commit-tree", "-m", "forged", run(t, work, "rev-parse", "HEAD^{tree}"))
		run(t, work, "push", "-q", "--force", remote, blank+":refs/heads/pave/status")
		run(t, remote, "reflog", "expire", "--all", "--expire=now")
		run(t, remote, "gc", "-q", "--prune=now")
		if out, err := tryGit(remote, "cat-file", "-e", good); err == nil {
			t.Fatalf("the remote still has it: %s", out)
		}

		equal(t, "forged tip", fetch(t, m).Status, blank)
		restored := publish(t, m, good, []string{blank, good}, put("restored.json", "3"))
		equal(t, "parents", run(t, remote, "log", "-1", "--format=%P", restored), blank+" "+good)
		equal(t, "tree", run(t, remote, "ls-tree", "-r", "--name-only", restored), "requests/a.json\nrequests/b.json\nrestored.json")
		equal(t, "history", run(t, remote, "rev-list", "--count", restored), "4")
		run(t, remote, "fsck", "--full", "--strict")

		// Without the copy as a parent its tree has to travel as well.
		run(t, work, "push", "-q", "--force", remote, blank+":refs/heads/pave/status")
		run(t, remote, "reflog", "expire", "--all", "--expire=now")
		run(t, remote, "gc", "-q", "--prune=now")
		fetch(t, m)
		publish(t, m, good, []string{blank}, put("restored.json", "3"))
		run(t, remote, "fsck", "--full", "--strict")
	})
}

func TestPublishRefusals(t *testing.T) {
	bare, work := bareRemote(t)
	m := open(t, Options{URL: bare})
	tracked := fetch(t, m).Tracked
	commit := publish(t, m, "", nil, put("a/b", "1"))
	fails := func(message string, edits ...reconciler.Edit) error {
		t.Helper()
		_, err := m.Publish(background, commit, []string{commit}, edits, message, unannounced)
		if errors.Is(err, reconciler.ErrConflict) {
			t.Errorf("%v is a conflict", err)
		}
		return err
	}
	for _, path := range []string{"", "/a", "../a", "a/../b", "a//b", ".git/config", "a/.GIT/x", "a\nb", "a\x00b"} {
		refused(t, fails("record", put(path, "x")), "it is not a path in a repository")
	}
	refused(t, fails("record", put("a/b/c", "x")), `"b" is a file, not a folder`)
	refused(t, fails("record", reconciler.Edit{Path: "x", TreeAt: tracked + ":nowhere"}), `has no folder "nowhere"`)
	refused(t, fails("record", reconciler.Edit{Path: "x", TreeAt: tracked + ":platform.cue"}), `has no folder "platform.cue"`)
	refused(t, fails("record", reconciler.Edit{Path: "x", TreeAt: "main:blueprints"}), "not a full hash")
	refused(t, fails("", put("x", "1")), "message is empty")
	refused(t, fails("bell \a", put("x", "1")), "message", "holds the character")
	refused(t, fails("left \u202e right", put("x", "1")), "holds the character")
	equal(t, "branch", run(t, bare, "rev-parse", "pave/status"), commit)

	// A rule of the server is no lost race: trying again would not help.
	write(t, bare, "hooks/pre-receive", "#!/bin/sh\necho no >&2\nexit 1\n")
	if err := os.Chmod(filepath.Join(bare, "hooks/pre-receive"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, fails("record", put("x", "1")), "publish on pave/status", "pre-receive hook declined")

	run(t, work, "switch", "-q", "-c", "pave/status")
	local := open(t, Options{URL: work, Tracked: "main"})
	heads := fetch(t, local)
	_, err := local.Publish(background, heads.Status, []string{heads.Status}, []reconciler.Edit{put("x", "1")}, "record", unannounced)
	refused(t, err, "branch is currently checked out")
}

func TestPublishLostAnswer(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	fetch(t, m)
	d, err := m.draft(background, "", nil, []reconciler.Edit{put("a", "1")}, "record")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := d.pack()
	if err != nil {
		t.Fatal(err)
	}
	// The server moves the branch, then fails: what counts is where the branch is.
	write(t, bare, "hooks/post-receive", "#!/bin/sh\nkill -9 $PPID\n")
	if err := os.Chmod(filepath.Join(bare, "hooks/post-receive"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.push(background, plumbing.NewBranchReferenceName(m.options.Status), d.old, d.commit, pack); err != nil {
		t.Fatal(err)
	}
	equal(t, "branch", run(t, bare, "rev-parse", "pave/status"), d.commit.String())
}

func TestLog(t *testing.T) {
	bare, work := bareRemote(t)
	commit(t, work, nil, "add \x1b[31mred\u202e\n\nUnit: ledger applied")
	commit(t, work, nil, "third")
	run(t, work, "push", "-q", "origin", "main")
	m := open(t, Options{URL: bare})
	tip := fetch(t, m).Tracked
	all, err := m.Log(background, tip, 0, nil)
	if err != nil || len(all) != 3 {
		t.Fatalf("got %d entries, %v", len(all), err)
	}
	equal(t, "first", all[0].Commit, tip)
	some, err := m.Log(background, tip, 1, func(message string) bool { return strings.Contains(message, "Unit: ledger ") })
	if err != nil || len(some) != 1 {
		t.Fatalf("got %v, %v", some, err)
	}
	equal(t, "subject", some[0].Subject, "add [31mred")
	equal(t, "message", some[0].Message, "add [31mred\n\nUnit: ledger applied\n")
	equal(t, "author", some[0].Author, "Ada")
}

func TestPublishReturns(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		m := open(t, options)
		fetch(t, m)
		first := publish(t, m, "", nil, put("a", "1"))
		run(t, remote, "update-ref", "-d", "refs/heads/pave/status")
		equal(t, "removed", fetch(t, m).Status, "")
		second := publish(t, m, first, nil)
		equal(t, "history", run(t, remote, "log", "--format=%H", "pave/status"), second+"\n"+first)
		for _, c := range []struct {
			commit, earlier string
			follows         bool
		}{{second, first, true}, {first, first, true}, {first, second, false}} {
			follows, err := m.Follows(background, c.commit, c.earlier)
			if err != nil || follows != c.follows {
				t.Errorf("%s follows %s: %v, %v", c.commit, c.earlier, follows, err)
			}
		}
	})
}
