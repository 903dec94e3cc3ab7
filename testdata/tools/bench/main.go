// Command bench measures Pave on generated platforms beside what is done by hand
// or by another tool, in one run and in turns, and prints medians and ratios:
//
//	make bench [BENCH_UNITS=100,1000] [BENCH_ROUNDS=5] [BENCH_CASES=validate,idle] [BENCH_PASSES=3600]
//
// A case that BENCH_CASES does not name is left out; all are where it is empty.
// They are listed in cases. BENCH_PASSES is how many passes the history of the case
// memory has: a quarter of an hour at a thousand units. Most of the time goes into the
// first apply of each platform. Only converge makes all of its units; the other cases
// make a hundred, and record the rest as if they had been made.
//
// Processor seconds are those of a process and of all that it started and waited
// for. They are the figures to go by: how long something takes depends on what
// else a machine does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := fromEnvironment(os.Stdout)
	if err == nil {
		err = b.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what is measured with.
type bench struct {
	out       io.Writer
	dir       string // of everything that it makes
	pave      string
	engine    string
	providers string // the engine's CLI configuration
	cue       string
	units     []int
	rounds    int
	cases     []string
	passes    int           // of the history
	changes   int           // that are pushed beside a sweep
	quiet     time.Duration // how long nothing happens before the last look at memory

	stages map[string]*stage
	// What a unit of the first converge took, in processor seconds, and of how
	// many it was one.
	single   float64
	singleOf int
}

// cases are what is measured, in this order for each number of units.
var cases = []struct {
	name string
	run  func(*bench, context.Context, int) error
}{
	{"validate", (*bench).validation},
	{"verdict", (*bench).verdict},
	{"peers", (*bench).peers},
	{"converge", (*bench).converge},
	{"change", (*bench).change},
	{"profile", (*bench).profile},
	{"preview", (*bench).preview},
	{"drift", (*bench).drift},
	{"idle", (*bench).idle},
	{"portal", (*bench).portal},
	{"memory", (*bench).memory},
}

func fromEnvironment(out io.Writer) (*bench, error) {
	b := &bench{out: out, pave: os.Getenv("PAVE"), engine: os.Getenv("PAVE_TEST_TERRAFORM"),
		providers: os.Getenv("PAVE_TEST_PROVIDERS"), cue: os.Getenv("PAVE_TEST_CUE"), changes: 20, quiet: 150 * time.Second, stages: map[string]*stage{}}
	for name, value := range map[string]string{"PAVE": b.pave, "PAVE_TEST_TERRAFORM": b.engine, "PAVE_TEST_PROVIDERS": b.providers, "PAVE_TEST_CUE": b.cue} {
		if value == "" {
			return nil, fmt.Errorf("$%s is not set: `make bench` and `make test` set it", name)
		}
	}
	for text := range strings.SplitSeq(given("BENCH_UNITS", "100,1000"), ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100_000 {
			return nil, fmt.Errorf("BENCH_UNITS: %q is no number from 1 to 100000", text)
		}
		b.units = append(b.units, n)
	}
	var err error
	if b.rounds, err = strconv.Atoi(given("BENCH_ROUNDS", "5")); err != nil || b.rounds < 1 {
		return nil, errors.New("BENCH_ROUNDS is no number of rounds")
	}
	if b.passes, err = strconv.Atoi(given("BENCH_PASSES", "3600")); err != nil || b.passes < 4 {
		return nil, errors.New("BENCH_PASSES is no number from 4 on")
	}
	var known []string
	for _, c := range cases {
		known = append(known, c.name)
	}
	b.cases = strings.Split(given("BENCH_CASES", strings.Join(known, ",")), ",")
	for _, name := range b.cases {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("BENCH_CASES: %q is none of: %s", name, strings.Join(known, ", "))
		}
	}
	return b, nil
}

func given(variable, otherwise string) string {
	if value := os.Getenv(variable); value != "" {
		return value
	}
	return otherwise
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "pave-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.say("%s, %d processors, %s\nx: how many times as much the first line takes\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOARCH)
	for _, n := range b.units {
		for _, c := range cases {
			if !slices.Contains(b.cases, c.name) {
				continue
			}
			if err := c.run(b, ctx, n); err != nil {
				return fmt.Errorf("%s with %d units: %w", c.name, n, err)
			}
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }

// platform generates a platform in a folder of the bench and commits it.
func (b *bench) platform(ctx context.Context, name string, units int, kind kind) (platform, error) {
	p := platform{dir: filepath.Join(b.dir, name), files: filepath.Join(b.dir, name+"-files"), units: units, kind: kind, poll: "1h", drift: never, parallel: parallel}
	if err := errors.Join(p.write(), os.MkdirAll(p.files, 0o755)); err != nil {
		return p, err
	}
	if _, err := b.git(ctx, p.dir, "init", "--quiet", "--initial-branch", "main"); err != nil {
		return p, err
	}
	return p, b.commit(ctx, p.dir, "Start the platform")
}

func (b *bench) commit(ctx context.Context, dir, message string) error {
	if _, err := b.git(ctx, dir, "add", "--all"); err != nil {
		return err
	}
	_, err := b.git(ctx, dir, "commit", "--quiet", "--message", message)
	return err
}

func (b *bench) git(ctx context.Context, dir string, args ...string) (cost, error) {
	return measure(b.command(ctx, dir, "git", args...))
}

// command is a program with nothing of this process's environment but what it needs.
func (b *bench) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Bench", "GIT_AUTHOR_EMAIL=bench@localhost", "GIT_COMMITTER_NAME=Bench", "GIT_COMMITTER_EMAIL=bench@localhost",
		"TF_CLI_CONFIG_FILE=" + b.providers, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1"}
	return cmd
}
