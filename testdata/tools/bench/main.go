// Command bench measures Pave on generated platforms beside what is done by hand
// or by another tool, in one run and in turns, and prints medians and ratios:
//
//	make bench [BENCH_UNITS=100,1000] [BENCH_ROUNDS=5]
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
}

func fromEnvironment(out io.Writer) (*bench, error) {
	b := &bench{out: out, pave: os.Getenv("PAVE"), engine: os.Getenv("PAVE_TEST_TERRAFORM"),
		providers: os.Getenv("PAVE_TEST_PROVIDERS"), cue: os.Getenv("PAVE_TEST_CUE"), rounds: 5}
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
	fmt.Fprintf(b.out, "%s, %d processors, %s\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOARCH)
	for _, n := range b.units {
		if err := b.validation(ctx, n); err != nil {
			return fmt.Errorf("validate %d units: %w", n, err)
		}
	}
	for _, kind := range []kind{provided, builtIn} {
		for _, n := range b.units {
			if err := b.change(ctx, n, kind); err != nil {
				return fmt.Errorf("change one of %d units: %w", n, err)
			}
		}
	}
	return nil
}

// platform generates a platform in a folder of the bench and commits it.
func (b *bench) platform(ctx context.Context, name string, units int, kind kind) (platform, error) {
	p := platform{dir: filepath.Join(b.dir, name), files: filepath.Join(b.dir, name+"-files"), units: units, kind: kind}
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
