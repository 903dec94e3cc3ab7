package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// begin goes to the root of the checkout and gives the demo a temporary folder
// of its own, which the test then finds empty. Its path is short: Terraform
// and its providers talk through sockets there, whose whole path is limited.
func begin(t *testing.T) (tmp string) {
	if testing.Short() {
		t.Skip("needs the example's providers: make test")
	}
	t.Chdir("../../..")
	tmp, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		if err := os.Remove(tmp); err != nil {
			t.Errorf("left behind: %v", err)
			os.RemoveAll(tmp)
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
	runs, _ := filepath.Glob(filepath.Join(tmp, "pave-*", "state", "*", "runs", "*", "*", "intent.json"))
	return len(runs) > 0
}
