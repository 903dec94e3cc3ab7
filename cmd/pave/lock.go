package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler/git"
)

// busyError tells that another pave is at work in a folder.
type busyError struct{ folder, holder string }

func (e busyError) Error() string {
	return fmt.Sprintf("another pave, process %s, is at work in %s: wait until it ends, or stop it with: kill %[1]s", e.holder, e.folder)
}

// takeoverPoll is how often one that stands by looks whether the other has ended.
const takeoverPoll = 200 * time.Millisecond

// lock is lock, but that one who stands by waits for whoever holds it.
func (a *app) lock(ctx context.Context, folder string) (func(), error) {
	for {
		unlock, err := lock(folder)
		var busy busyError
		if a.standBy == nil || !errors.As(err, &busy) {
			return unlock, err
		}
		a.standBy("process " + busy.holder)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(takeoverPoll):
		}
	}
}

// leasing says how a daemon keeps others, on other hosts, from acting as well.
type leasing struct {
	ref      string // none where it is empty
	patience time.Duration
}

// takeLease waits until no other daemon acts on the repository: those of this
// state directory are kept out by its lock. It returns nil where there is no lease.
func (a *app) takeLease(ctx context.Context, mirror *git.Mirror, log *slog.Logger) (*git.Lease, error) {
	if a.lease.ref == "" {
		return nil, nil
	}
	if a.lease.patience < time.Second {
		return nil, usage(fmt.Errorf("--lease-patience: expected a second or more; got %s", a.lease.patience))
	}
	_, state, err := a.folders()
	if err != nil {
		return nil, err
	}
	name, err := nameOf(state)
	if err != nil {
		return nil, err
	}
	lease, err := mirror.NewLease(a.lease.ref, name, a.lease.patience, log)
	if err != nil {
		return nil, usage(fmt.Errorf("--lease: %w", err))
	}
	if err := lease.Acquire(ctx, a.standBy); err != nil {
		return nil, err
	}
	return lease, nil
}

// nameOf returns the name of a state directory: the host's and a random part.
func nameOf(state string) (string, error) {
	file := filepath.Join(state, "name")
	if name, err := os.ReadFile(file); err == nil && len(name) > 0 {
		return strings.TrimSpace(string(name)), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name := host + " " + rand.Text()[:12]
	return name, os.WriteFile(file, []byte(name+"\n"), 0o600)
}

// lock keeps every other pave from working in a folder at the same time: two
// that record on one branch and believe each other's runs would apply twice.
// The lock ends with the process. The returned function releases it before.
func lock(folder string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	file, err := os.OpenFile(folder+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", folder, err)
		}
		return nil, busyError{folder, holder(file)}
	}
	// The number is for people; nothing depends on it.
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(file, os.Getpid())
	}
	return func() {
		// A child between its fork and its program has the file open as well, and
		// would keep the lock for that long.
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		file.Close()
	}, nil
}

// holder returns the process that a lock names.
func holder(file *os.File) string {
	pid, err := io.ReadAll(io.LimitReader(file, 32))
	if text := strings.TrimSpace(string(pid)); err == nil && text != "" {
		return text
	}
	return "unknown"
}

// sweep removes what a pave that was killed had not finished writing. The one
// that acts on the repository calls it, before it writes anything.
func sweep(state string) {
	half, _ := filepath.Glob(filepath.Join(state, ".new-*"))
	for _, file := range half {
		_ = os.Remove(file) // it is in nobody's way
	}
}
