// Command pave is the one binary: `serve` is the daemon, every other verb is
// one pass of the same code.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes, as `pave help` documents them.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitPending     = 3 // changes, drift or an approval are pending
	exitDenied      = 4 // denied by policy
	exitInterrupted = 130
)

// codeError ends the program with a code; its text, if any, has been printed
// where it belongs already when err is nil.
type codeError struct {
	code int
	err  error
}

func (e codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e codeError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program, but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if child, found := children[args[0]]; found {
			if err := child(ctx, args[1:], stdin, stdout); err != nil {
				fmt.Fprintln(stderr, err)
				return exitFailure
			}
			return 0
		}
	}
	cmd := newRoot(&app{stdout: stdout, stderr: stderr})
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var coded codeError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		if coded.err != nil {
			fmt.Fprintf(stderr, "pave: %v\n", coded.err)
		}
		return coded.code
	case errors.Is(err, context.Canceled) || ctx.Err() != nil:
		fmt.Fprintln(stderr, "pave: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "pave: %v\n", err)
	return exitFailure
}
