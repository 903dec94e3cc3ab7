package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/testdata/tools/built"
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
	var said strings.Builder
	err := run(t.Context(), options{length: 10 * time.Second, kills: 10, round: 10 * time.Second, first: 2, seed: 1,
		pave: built.Pave(t), engine: built.Terraform(t), provider: provider, out: &said})
	t.Log(said.String())
	if err != nil {
		t.Fatal(err)
	}
}
