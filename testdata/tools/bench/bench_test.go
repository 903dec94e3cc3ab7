package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pave-dev/pave/testdata/tools/built"
)

// What `make bench` measures can be measured: here once, on the smallest of
// platforms, for no figure's sake.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built cue: make test")
	}
	t.Setenv("PAVE", built.Pave(t))
	t.Setenv("PAVE_TEST_TERRAFORM", built.Terraform(t))
	t.Setenv("BENCH_UNITS", "3")
	t.Setenv("BENCH_ROUNDS", "1")
	var said strings.Builder
	t.Setenv("BENCH_CASES", "")
	t.Setenv("BENCH_PASSES", "4")
	b, err := fromEnvironment(&said)
	if err == nil {
		b.changes, b.quiet = 2, 0
		err = b.run(t.Context())
	}
	t.Log(said.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{
		"Validate 3 services and 3 requests", "Converge 3 new units", "Change one of 3 units (random and local)", "Change one of 3 units (built in)",
		"Processor's time of pave validate", "Processor's time of a change", "Processor's time of a preview", "Preview of a pull request", "2 changes beside a sweep",
		"A pass over 3 units with nothing new", "passes started no process", "1000 pages of the portal", "Memory of pave serve over 4 passes",
	} {
		if !strings.Contains(said.String(), title) {
			t.Errorf("it does not say %q", title)
		}
	}
	if left, err := os.ReadDir(b.dir); err == nil {
		t.Errorf("it leaves %d files", len(left))
	}
}
