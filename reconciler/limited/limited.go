// Package limited holds a process that reads what nobody can trust: what it may
// use is bounded by the operating system, and when it ends early it is told why.
// The package knows processes and nothing of what they do.
package limited

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler/confine"
)

// Limits are what a process may use.
type Limits struct {
	// Memory in bytes. It bounds RLIMIT_DATA, which follows the memory that is
	// really used, unlike RLIMIT_AS, under which the Go runtime cannot start.
	Memory uint64
	// Seconds of processor time end a process whose parent died.
	Seconds uint64
	// Files that are open at a time, and the size of any that is written.
	Files, FileSize uint64
}

// Enter limits the process that calls it, for good.
func (l Limits) Enter() error {
	for what, limit := range map[int]uint64{
		unix.RLIMIT_DATA: l.Memory, unix.RLIMIT_CPU: l.Seconds,
		unix.RLIMIT_NOFILE: l.Files, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: l.FileSize,
	} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit the process: %w", err)
		}
	}
	// Up to there, memory is cheaper than collecting it.
	debug.SetMemoryLimit(int64(l.Memory) * 3 / 4)
	debug.SetGCPercent(400)
	return nil
}

// ErrDeadline is the cause of a context that ended because its process took too long.
var ErrDeadline = errors.New("deadline")

// Why tells why a limited process ended early, in words that follow its name, such
// as "needs more than 512 MB of memory". wait is what waiting for it returned. The
// error is for what is no fault of what the process read.
func Why(ctx context.Context, wait error, stderr *Tail, memory uint64, deadline time.Duration) (string, error) {
	switch {
	case errors.Is(context.Cause(ctx), ErrDeadline):
		return fmt.Sprintf("took longer than %s", deadline), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case stderr.contains("out of memory") || stderr.contains("cannot allocate memory"):
		return fmt.Sprintf("needs more than %d MB of memory", memory>>20), nil
	case stderr.contains("stack overflow") || stderr.contains("panic:"):
		return "ended in a fault of its reader", nil
	}
	// The runtime itself may be what finds no memory, and then says anything:
	// that a thread cannot be made, or that it met a nil pointer. A process that
	// says itself what is wrong ends with 1, and one that could not be confined has a
	// code of its own.
	if exit, ended := errors.AsType[*exec.ExitError](wait); ended && exit.ExitCode() != 1 && exit.ExitCode() != confine.Failed {
		return fmt.Sprintf("needs more than %d MB of memory", memory>>20), nil
	}
	return "", fmt.Errorf("%w: %s", wait, strings.TrimSpace(stderr.String()))
}

// Tail keeps the first 4 kB that are written to it.
type Tail struct{ buf bytes.Buffer }

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	if room := 4096 - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String returns what was kept.
func (t *Tail) String() string { return strings.ToValidUTF8(t.buf.String(), "?") }

func (t *Tail) contains(text string) bool { return strings.Contains(t.buf.String(), text) }
