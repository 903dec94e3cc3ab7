package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// begin goes to the root of the checkout and gives the demo a temporary folder
// of its own, which the test then finds empty.
func begin(t *testing.T) (tmp string) {
	if testing.Short() {
		t.Skip("needs the example's providers: make test")
	}
	t.Chdir("../../..")
	tmp = t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(tmp, "pave-demo-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return tmp
}

func TestDemoTellsItsWholeStory(t *testing.T) {
	begin(t)
	if err := run(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	tmp := begin(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		for ctx.Err() == nil && !aRunIsGoingOn(tmp) {
			time.Sleep(50 * time.Millisecond)
		}
		interrupt()
	}()
	if err := run(ctx, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func aRunIsGoingOn(tmp string) bool {
	runs, _ := filepath.Glob(filepath.Join(tmp, "pave-demo-*", "state", "*", "runs", "*", "*", "intent.json"))
	return len(runs) > 0
}
