package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

func TestProgramEndsWithItsInput(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Gitea, which `go run ./testdata/tools/get gitea` builds: make test")
	}
	program := filepath.Join(t.TempDir(), "forge")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "platform.cue"), []byte("package platform\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-from", from, "-outsiders", "")
	cmd.Stderr = t.Output()
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(output).ReadBytes('\n')
	var ready hub.Ready
	if err != nil || json.Unmarshal(line, &ready) != nil {
		t.Fatalf("first line %q: %v", line, err)
	}
	if len(ready.Users) != 3 || ready.Users["alice"].Token == "" || ready.Repository != "acme/platform" {
		t.Errorf("ready: %s", line)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("git", "-c", "http.proxy=", "clone", "--quiet", ready.Clone, clone).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(clone, "platform.cue")); err != nil || string(got) != "package platform\n" {
		t.Errorf("the first commit holds %q, %v", got, err)
	}

	input.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("still running a minute after its input closed")
	}
	for _, address := range []string{ready.URL, ready.Gitea} {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://")); err == nil {
			conn.Close()
			t.Errorf("something still listens at %s", address)
		}
	}
}
