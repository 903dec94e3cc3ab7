package git

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const leasePatience = 2 * time.Second

func leaseOf(t *testing.T, options Options, holder string) *Lease {
	t.Helper()
	options.Cache = filepath.Join(t.TempDir(), "cache")
	l, err := open(t, options).NewLease(DefaultLease, holder, leasePatience, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// acquire takes a lease, and returns whom it waited for.
func acquire(t *testing.T, l *Lease) (waited string, took time.Duration) {
	t.Helper()
	began := time.Now()
	if err := l.Acquire(t.Context(), func(holder string) { waited = holder }); err != nil {
		t.Fatal(err)
	}
	if !l.Held() {
		t.Error("it is not held")
	}
	return waited, time.Since(began)
}

func hold(t *testing.T, l *Lease) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Hold(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// As long as one renews the lease another waits, and gets it as soon as it is
// given back.
func TestLeaseIsHeldByOne(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, _ string) {
		one, two := leaseOf(t, options, "one"), leaseOf(t, options, "two")
		acquire(t, one)
		stop := hold(t, one)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if waited, _ := acquire(t, two); waited != "one" {
				t.Errorf("it waited for %q", waited)
			}
		}()
		select {
		case <-done:
			t.Error("both have it")
		case <-time.After(3 * leasePatience):
		}
		if !one.Held() {
			t.Error("the first does not renew it")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		select {
		case <-done:
		case <-time.After(leasePatience):
			t.Error("it was not given back")
		}
		run(t, remote, "fsck", "--strict")
	})
}

// A lease that nobody renews is taken by one of those who wait, when it is old and
// not before. Who had it learns that when it comes back.
func TestLeaseOfTheDead(t *testing.T) {
	bare, _ := bareRemote(t)
	options := Options{URL: bare}
	dead := leaseOf(t, options, "dead")
	acquire(t, dead)
	type got struct {
		lease *Lease
		took  time.Duration
	}
	first := make(chan got, 2)
	for _, name := range []string{"one", "two"} {
		l := leaseOf(t, options, name)
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go func() {
			began := time.Now()
			if l.Acquire(ctx, func(string) {}) == nil {
				first <- got{l, time.Since(began)}
			}
		}()
	}
	winner := <-first
	if winner.took < leasePatience {
		t.Errorf("it was taken after %s", winner.took)
	}
	stop := hold(t, winner.lease)
	select {
	case <-first:
		t.Error("two have it")
	case <-time.After(2 * leasePatience):
	}
	if dead.Held() {
		t.Error("who did not renew it believes to have it")
	}
	if err := dead.Hold(t.Context()); !errors.Is(err, ErrLeaseLost) || !strings.Contains(err.Error(), winner.lease.holder) {
		t.Errorf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Who works on the same state is the same holder: its lock keeps others out.
func TestLeaseOfTheSameState(t *testing.T) {
	bare, _ := bareRemote(t)
	acquire(t, leaseOf(t, Options{URL: bare}, "one"))
	if waited, took := acquire(t, leaseOf(t, Options{URL: bare}, "one")); waited != "" || took > leasePatience {
		t.Errorf("it waited %s for %q", took, waited)
	}
}

// A renewal whose answer gets lost is a renewal, and a ref that somebody removes is
// made again.
func TestLeaseSurvivesAccidents(t *testing.T) {
	bare, _ := bareRemote(t)
	l := leaseOf(t, Options{URL: bare}, "one")
	if l.Held() {
		t.Error("it is held before it is taken")
	}
	acquire(t, l)
	write(t, bare, "hooks/post-receive", "#!/bin/sh\nkill -9 $PPID\n")
	if err := os.Chmod(filepath.Join(bare, "hooks/post-receive"), 0o755); err != nil {
		t.Fatal(err)
	}
	known := l.tip
	if err := l.move(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	l.tip, l.tried = known, l.tip // as where not even the second look came back
	stop := hold(t, l)
	time.Sleep(leasePatience)
	run(t, bare, "update-ref", "-d", DefaultLease)
	time.Sleep(leasePatience)
	if err := stop(); err != nil || !l.Held() {
		t.Errorf("got %v, held: %v", err, l.Held())
	}
}

func TestLeaseRefused(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	for _, ref := range []string{"", "lease", "refs/heads/lease", "refs/tags/lease", "refs/a b"} {
		_, err := m.NewLease(ref, "one", leasePatience, nil)
		refused(t, err, "is not a ref for a lease")
	}
	write(t, bare, "hooks/pre-receive", "#!/bin/sh\necho no >&2\nexit 1\n")
	if err := os.Chmod(filepath.Join(bare, "hooks/pre-receive"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := leaseOf(t, Options{URL: bare}, "one")
	var said bytes.Buffer
	l.log = slog.New(slog.NewTextHandler(&said, nil))
	ctx, cancel := context.WithTimeout(t.Context(), leasePatience)
	defer cancel()
	if err := l.Acquire(ctx, func(string) {}); !errors.Is(err, context.DeadlineExceeded) || l.Held() {
		t.Errorf("got %v, held: %v", err, l.Held())
	}
	if text := said.String(); strings.Count(text, "move the lease "+DefaultLease) < 2 || !strings.Contains(text, "pre-receive hook declined") {
		t.Errorf("it says %s", text)
	}
	if err := os.Remove(filepath.Join(bare, "hooks/pre-receive")); err != nil {
		t.Fatal(err)
	}
	acquire(t, l)
}
