package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		for _, process := range living(t, tmp) {
			t.Errorf("still running: %s", process)
		}
		if err := os.Remove(tmp); err != nil {
			t.Errorf("left behind: %v", err)
			os.RemoveAll(tmp)
		}
	})
	return tmp
}

// demos are both stories, as they end by themselves.
var demos = map[string]options{"Repository": {once: true}, "Forge": {forge: true, once: true}}

func TestDemoTellsItsWholeStory(t *testing.T) {
	for name, o := range demos {
		t.Run(name, func(t *testing.T) {
			begin(t)
			if err := run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	for name, o := range demos {
		t.Run(name, func(t *testing.T) {
			tmp := begin(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			go func() {
				for ctx.Err() == nil && !aRunIsGoingOn(tmp) {
					time.Sleep(50 * time.Millisecond)
				}
				interrupt()
			}()
			if err := run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v", err, context.Canceled)
			}
		})
	}
}

// living returns the command lines of the processes that name the folder.
func living(t *testing.T, folder string) (found []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("list the processes: %d of them, %v", len(files), err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may have ended
		if strings.Contains(string(line), folder) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func aRunIsGoingOn(tmp string) bool {
	runs, _ := filepath.Glob(filepath.Join(tmp, "pave-*", "state", "*", "runs", "*", "*", "intent.json"))
	return len(runs) > 0
}
