package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watching starts a watch and returns its pokes, the first one taken.
func watching(t *testing.T, url string) (pokes chan time.Time, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(background)
	pokes = make(chan time.Time, 100)
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, url, func() { pokes <- time.Now() }) }()
	end = func() error {
		cancel()
		return <-done
	}
	t.Cleanup(cancel)
	poked(t, pokes)
	return pokes, end
}

func poked(t *testing.T, pokes chan time.Time) time.Time {
	t.Helper()
	select {
	case at := <-pokes:
		return at
	case <-time.After(10 * time.Second):
		t.Fatal("not poked")
	}
	return time.Time{}
}

// calm waits until no poke has come for a while.
func calm(pokes chan time.Time) {
	for {
		select {
		case <-pokes:
		case <-time.After(3 * apart):
			return
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	bare, work := bareRemote(t)
	pokes, end := watching(t, bare)
	push := func(args ...string) {
		t.Helper()
		calm(pokes)
		run(t, work, append([]string{"push", "-q", "origin"}, args...)...)
		poked(t, pokes)
	}
	commit(t, work, nil, "second")
	push("main")
	push("main:feat/deep/x")
	commit(t, work, nil, "third")
	push("main:feat/deep/x")
	run(t, bare, "pack-refs", "--all")
	push("main")
	push(":feat/deep/x")
	push("main:feat/again")
	if err := end(); err != nil {
		t.Error(err)
	}

	pokes, end = watching(t, work)
	commit(t, work, nil, "in the checkout")
	poked(t, pokes)
	calm(pokes)
	run(t, work, "status")
	write(t, work, "scratch.cue", "")
	run(t, work, "add", "scratch.cue")
	select {
	case <-pokes:
		t.Error("poked although no branch moved")
	case <-time.After(5 * apart):
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestWatchBundlesPokes(t *testing.T) {
	t.Parallel()
	work := checkout(t)
	pokes, _ := watching(t, work)
	calm(pokes)
	branches := filepath.Join(work, ".git", "refs", "heads")
	begin := time.Now()
	for time.Since(begin) < 1500*time.Millisecond {
		write(t, branches, "busy", "")
		time.Sleep(20 * time.Millisecond)
	}
	end := time.Now()
	first := poked(t, pokes)
	if first.After(end) {
		t.Error("the first poke waited until nothing happened any more")
	}
	second := poked(t, pokes)
	if gap := second.Sub(first); gap < apart {
		t.Errorf("two pokes within %v", gap)
	}
}

func TestWatchErrors(t *testing.T) {
	t.Parallel()
	err := Watch(background, "https://host/x", func() {})
	if !errors.Is(err, ErrNotLocal) {
		t.Errorf("got %v", err)
	}
	err = Watch(background, t.TempDir(), func() {})
	if !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
	bare, _ := bareRemote(t)
	_, end := watching(t, bare)
	if err := os.RemoveAll(bare); err != nil {
		t.Fatal(err)
	}
	time.Sleep(apart)
	if err := end(); !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
}
