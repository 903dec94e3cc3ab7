package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What `make bench` measures can be measured: here once, on the smallest of
// platforms, for no figure's sake.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built cue: make test")
	}
	pave := filepath.Join(t.TempDir(), "pave")
	if out, err := exec.Command("go", "build", "-o", pave, "github.com/pave-dev/pave/cmd/pave").CombinedOutput(); err != nil {
		t.Fatalf("build pave: %v\n%s", err, out)
	}
	t.Setenv("PAVE", pave)
	t.Setenv("BENCH_UNITS", "3")
	t.Setenv("BENCH_ROUNDS", "1")
	if os.Getenv("PAVE_TEST_TERRAFORM") == "" {
		engine, err := exec.LookPath("terraform")
		if err != nil {
			t.Fatal("terraform is not on the PATH: `go run ./testdata/tools/get engine` finds or builds one, `make test` sets PAVE_TEST_TERRAFORM")
		}
		t.Setenv("PAVE_TEST_TERRAFORM", engine)
	}
	var said strings.Builder
	b, err := fromEnvironment(&said)
	if err == nil {
		err = b.run(t.Context())
	}
	t.Log(said.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"Validate 3 services and 3 requests", "Change one of 3 units (random and local)", "Change one of 3 units (built in)"} {
		if !strings.Contains(said.String(), title) {
			t.Errorf("it does not say %q", title)
		}
	}
	if left, err := os.ReadDir(b.dir); err == nil {
		t.Errorf("it leaves %d files", len(left))
	}
}
