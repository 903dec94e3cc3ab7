// Package built gives tests of tools the programs that the tools start.
package built

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Pave builds the program from the sources of this checkout, and returns its path.
func Pave(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pave")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/pave-dev/pave/cmd/pave").CombinedOutput(); err != nil {
		t.Fatalf("build pave: %v\n%s", err, out)
	}
	watchSources(t)
	return program
}

// watchSources opens the folders of Pave's sources. Go keeps the result of a test
// until a folder changes that the test opened; it knows nothing of a program that
// the test had built.
func watchSources(t testing.TB) {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	for _, folder := range []string{"cmd", "policies", "reconciler", "schema"} {
		root := filepath.Join(strings.TrimSpace(string(module)), folder)
		if err := filepath.WalkDir(root, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}

// Terraform returns the path of the engine that tests run: what
// $PAVE_TEST_TERRAFORM names, else the terraform on the PATH.
func Terraform(t testing.TB) string {
	t.Helper()
	if engine := os.Getenv("PAVE_TEST_TERRAFORM"); engine != "" {
		return engine
	}
	engine, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal("terraform is not on the PATH: `go run ./testdata/tools/get engine` finds or builds one, `make test` sets PAVE_TEST_TERRAFORM")
	}
	return engine
}
