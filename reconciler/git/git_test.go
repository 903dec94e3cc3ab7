package git

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// TestMain shuts out the configuration of whoever runs the tests, from Git and
// from the git processes that the transport starts.
func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	home, err := os.MkdirTemp("", "pave-git-")
	if err != nil {
		panic(err)
	}
	for key, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, "config"),
		"GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
		"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@acme.example", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@acme.example", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
	} {
		os.Setenv(key, value)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// run runs git in a folder and returns what it prints.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	full := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commit writes files into a checkout and commits all of it.
func commit(t testing.TB, dir string, files map[string]string, message string) string {
	t.Helper()
	for name, content := range files {
		write(t, dir, name, content)
	}
	run(t, dir, "add", "-A")
	run(t, dir, "commit", "-q", "--allow-empty", "-m", message)
	return run(t, dir, "rev-parse", "HEAD")
}

// checkout makes a repository with one commit on main.
func checkout(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, map[string]string{"platform.cue": "package platform\n", "blueprints/db/main.tf": "# nothing\n"}, "start the platform")
	return dir
}

// bareRemote makes a bare repository and a checkout that pushes to it.
func bareRemote(t testing.TB) (bare, work string) {
	t.Helper()
	work = checkout(t)
	bare = filepath.Join(t.TempDir(), "platform.git")
	run(t, work, "init", "-q", "--bare", "-b", "main", bare)
	run(t, bare, "config", "http.receivepack", "true")
	run(t, work, "remote", "add", "origin", bare)
	run(t, work, "push", "-q", "origin", "main")
	return bare, work
}

const token = "s3cret-token"

// serveHTTP serves the repositories below root as a forge does, and counts
// the requests. Without the token nobody gets in.
func serveHTTP(t testing.TB, root string) (url string, requests *atomic.Int32) {
	t.Helper()
	execPath := run(t, root, "--exec-path")
	backend := &cgi.Handler{
		Path:   filepath.Join(execPath, "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=pave"},
		Stderr: t.Output(),
	}
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, password, _ := r.BasicAuth(); password != token {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func open(t testing.TB, options Options) *Mirror {
	t.Helper()
	if options.Cache == "" {
		options.Cache = filepath.Join(t.TempDir(), "mirror")
	}
	if options.Status == "" {
		options.Status = "pave/status"
	}
	m, err := Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func fetch(t testing.TB, m *Mirror) reconciler.Heads {
	t.Helper()
	heads, err := m.Fetch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return heads
}

func publish(t testing.TB, m *Mirror, base string, parents []string, edits ...reconciler.Edit) string {
	t.Helper()
	c, err := m.Publish(context.Background(), base, parents, edits, "record\n\nPave-Record: v1\n", unannounced)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// unannounced is for who remembers no commits.
func unannounced(string) error { return nil }

func put(path, content string) reconciler.Edit {
	return reconciler.Edit{Path: path, Content: []byte(content)}
}

// paths lists a tree as "path mode size".
func paths(t testing.TB, tree *reconciler.Tree, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range tree.Files {
		lines = append(lines, fmt.Sprintf("%s %d %d", f.Path, f.Mode, f.Size))
	}
	return strings.Join(lines, "\n")
}

func read(t testing.TB, tree *reconciler.Tree, path string) string {
	t.Helper()
	f, ok := tree.Find(path)
	if !ok {
		t.Fatalf("no %s in the tree", path)
	}
	data, err := tree.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// refused fails unless the error exists and says all of it.
func refused(t testing.TB, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; expected one that says %q", says)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
