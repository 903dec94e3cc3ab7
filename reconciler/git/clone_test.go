package git

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func tipOf(t *testing.T, c *Clone, branch string) string {
	t.Helper()
	commit, ok, err := c.Tip(branch)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return "none"
	}
	return commit
}

func openClone(t *testing.T, path string) *Clone {
	t.Helper()
	c, err := OpenClone(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCloneReadsTheStatusBranch(t *testing.T) {
	bare, work := bareRemote(t)
	m := open(t, Options{URL: bare})
	fetch(t, m)
	status := publish(t, m, "", nil, put("requests/ch/checkout-db.json", "{}"))
	status = publish(t, m, status, []string{status}, put("requests/ch/checkout-db.json", "{\"a\":1}"))

	clone := filepath.Join(t.TempDir(), "clone")
	run(t, work, "clone", "-q", bare, clone)
	linked := filepath.Join(t.TempDir(), "linked")
	run(t, clone, "worktree", "add", "-q", "--detach", linked)
	shared := filepath.Join(t.TempDir(), "shared")
	run(t, work, "clone", "-q", "--shared", clone, shared)
	run(t, shared, "fetch", "-q", bare, "pave/status:refs/heads/pave/status")
	run(t, work, "remote", "rename", "origin", "upstream")
	run(t, work, "fetch", "-q", "upstream")
	for name, path := range map[string]string{
		"bare": bare, "clone": clone, "folder of a clone": filepath.Join(clone, "blueprints", "db"),
		"linked work tree": linked, "borrowed objects": shared, "other remote": work,
	} {
		t.Run(name, func(t *testing.T) {
			c := openClone(t, path)
			equal(t, "tip", tipOf(t, c, "pave/status"), status)
			equal(t, "no such branch", tipOf(t, c, "status"), "none")
			tree, err := c.Tree(background, status)
			equal(t, "tree", paths(t, tree, err), "requests/ch/checkout-db.json 0 7")
			equal(t, "content", read(t, tree, "requests/ch/checkout-db.json"), "{\"a\":1}")
			entries, err := c.Log(background, status, 0, nil)
			if err != nil || len(entries) != 2 {
				t.Fatalf("got %v, %v", entries, err)
			}
		})
	}
	// A local branch comes before the remote's.
	run(t, clone, "branch", "pave/status", "HEAD")
	equal(t, "local branch", tipOf(t, openClone(t, clone), "pave/status"), run(t, clone, "rev-parse", "HEAD"))
}

func TestCloneSurvivesRepacks(t *testing.T) {
	work := checkout(t)
	c := openClone(t, work)
	first := tipOf(t, c, "main")
	tree, err := c.Tree(background, first)
	if err != nil {
		t.Fatal(err)
	}
	run(t, work, "gc", "-q", "--prune=now")
	second := commit(t, work, map[string]string{"more.cue": "package platform\n"}, "more")
	run(t, work, "gc", "-q", "--prune=now")
	equal(t, "tip", tipOf(t, c, "main"), second)
	equal(t, "content", read(t, tree, "platform.cue"), "package platform\n")
	if _, err := c.Tree(background, second); err != nil {
		t.Error(err)
	}
	if _, err := c.Revision(background, "2222222222222222222222222222222222222222"); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
}

func TestCloneErrors(t *testing.T) {
	_, err := OpenClone(t.TempDir())
	if !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
	work := checkout(t)
	run(t, work, "config", "core.repositoryFormatVersion", "1")
	run(t, work, "config", "extensions.objectFormat", "sha256")
	_, err = OpenClone(work)
	refused(t, err, "it uses objectformat=sha256, which Pave cannot read")
	run(t, work, "config", "--unset", "extensions.objectFormat")
	run(t, work, "config", "extensions.worktreeConfig", "true")
	c := openClone(t, work)
	equal(t, "tip", tipOf(t, c, "main"), run(t, work, "rev-parse", "HEAD"))
	_, _, err = c.Tip("../../etc")
	refused(t, err, "is not a name for a branch")
}

func TestLocal(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"/srv/platform.git": "/srv/platform.git", "/srv//x/../platform/": "/srv/platform",
		"file:///srv/platform": "/srv/platform", "file://localhost/srv/a%20b": "/srv/a b",
		".": here, "./a:b": filepath.Join(here, "a:b"), "/srv/a:b": "/srv/a:b",
		"https://host/x": "", "ssh://git@host/x": "", "git@host:x/y.git": "", "host:x": "", "file://other/x": "", "": "",
	} {
		path, ok := Local(address)
		if path != want || ok != (want != "") {
			t.Errorf("Local(%q) = %q, %v", address, path, ok)
		}
	}
}

func TestRepositoryID(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	same := [][]string{
		{"https://host/acme/platform", "https://host/acme/platform.git", "https://ada:secret@HOST/acme/platform/",
			"https://host:443/acme/platform", "ssh://git@host/acme/platform.git", "ssh://git@host:22/acme/platform", "git@host:acme/platform.git"},
		{"https://host:8443/acme/platform"}, {"https://host/acme/other"}, {"https://other/acme/platform"},
		{dir, dir + "/", "file://" + dir, link, filepath.Join(dir, "x", "..")},
		{filepath.Join(dir, "x")},
	}
	seen := map[string]string{}
	for _, group := range same {
		id := RepositoryID(group[0])
		if len(id) != 16 || seen[id] != "" {
			t.Errorf("%s: id %s is also that of %s", group[0], id, seen[id])
		}
		seen[id] = group[0]
		for _, other := range group {
			equal(t, other, RepositoryID(other), id)
		}
	}
}

func TestRoot(t *testing.T) {
	work := checkout(t)
	linked := filepath.Join(t.TempDir(), "linked")
	run(t, work, "worktree", "add", "-q", "--detach", linked)
	bare := filepath.Join(work, "inner.git")
	run(t, work, "init", "-q", "--bare", bare)
	for path, want := range map[string]string{
		work: work, filepath.Join(work, "blueprints", "db"): work, filepath.Join(work, "platform.cue"): work,
		filepath.Join(linked, "blueprints"): linked, bare: "", t.TempDir(): "",
	} {
		root, ok := Root(path)
		if root != want || ok != (want != "") {
			t.Errorf("Root(%s) = %q, %v", path, root, ok)
		}
	}
}
