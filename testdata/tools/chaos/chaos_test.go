package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A short run of what `make chaos` does for longer.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built provider: make test")
	}
	provider := os.Getenv("PAVE_TEST_TERRAFORM_PROVIDER_TARGET")
	if provider == "" {
		t.Fatal("PAVE_TEST_TERRAFORM_PROVIDER_TARGET is not set: `go run ./testdata/tools/get terraform-provider-target` makes what it names, `make test` sets it")
	}
	engine := os.Getenv("PAVE_TEST_TERRAFORM")
	if engine == "" {
		var err error
		if engine, err = exec.LookPath("terraform"); err != nil {
			t.Fatal("terraform is not on the PATH: `go run ./testdata/tools/get engine` finds or builds one, `make test` sets PAVE_TEST_TERRAFORM")
		}
	}
	pave := filepath.Join(t.TempDir(), "pave")
	if out, err := exec.Command("go", "build", "-o", pave, "github.com/pave-dev/pave/cmd/pave").CombinedOutput(); err != nil {
		t.Fatalf("build pave: %v\n%s", err, out)
	}
	var said strings.Builder
	err := run(t.Context(), options{length: 10 * time.Second, kills: 10, round: 10 * time.Second, first: 2, seed: 1,
		pave: pave, engine: engine, provider: provider, out: &said})
	t.Log(said.String())
	if err != nil {
		t.Fatal(err)
	}
}
