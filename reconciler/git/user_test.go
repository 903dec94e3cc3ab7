package git

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestUser reads who Git says somebody is, in a repository and in a folder of it.
func TestUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "--quiet"}, {"config", "user.name", "Alice"}, {"config", "user.email", "alice@acme.example"}, {"commit", "--quiet", "--allow-empty", "--message", "Start"}, {"worktree", "add", "--quiet", "beside"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	for _, path := range []string{dir, "file://" + dir, filepath.Join(dir, "beside")} {
		name, email, err := User(path)
		if name != "Alice" || email != "alice@acme.example" || err != nil {
			t.Errorf("%s: got %q %q %v", path, name, email, err)
		}
	}
	if _, _, err := User("https://forge.acme.example/acme/platform"); err != nil {
		t.Error(err)
	}
}
