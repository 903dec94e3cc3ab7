package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// One run may take an hour, and nothing changes meanwhile: what was counted
// before the first second is told all the same, once.
func TestProgressSpeaksWhileNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		p := (&app{stderr: &stderr}).progress("converging")
		p.update(reconciler.Progress{Units: 3, Ready: 1, Running: 1, Waiting: 1})
		time.Sleep(time.Hour)
		p.end()
		if got, want := stderr.String(), "converging: 1 of 3 ready, 1 running, 1 waiting, 0 held\n"; got != want {
			t.Errorf("expected %q; got %q", want, got)
		}
	})
}

// What has nothing to count says at least what it is at, and what is quick or
// told to be quiet says nothing.
func TestProgressWithoutCounts(t *testing.T) {
	for _, test := range []struct {
		quiet bool
		takes time.Duration
		want  string
	}{
		{takes: time.Second, want: ""},
		{takes: time.Minute, want: "validating\n"},
		{quiet: true, takes: time.Minute, want: ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var stderr bytes.Buffer
			p := (&app{stderr: &stderr, quiet: test.quiet}).progress("validating")
			time.Sleep(test.takes)
			p.end()
			if got := stderr.String(); got != test.want {
				t.Errorf("after %s: expected %q; got %q", test.takes, test.want, got)
			}
		})
	}
}
