package main

import (
	"bytes"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func TestSummaryNamesWhatDrifted(t *testing.T) {
	var out bytes.Buffer
	printSummary(&app{stdout: &out}, &reconciler.Summary{Units: []reconciler.UnitSummary{
		{Request: "cart-cache", Ready: true, Reason: reconciler.ReasonApplied, Drifted: true},
		{Request: "cart-db", Ready: false, Reason: reconciler.ReasonSuspended, Message: "wait"},
		{Request: "cart-site", Ready: true, Reason: reconciler.ReasonApplied},
	}})
	want := "cart-cache: Drift: what runs differs from what was applied, see `pave status cart-cache`\n" +
		"cart-db: Suspended: wait\n2 of 3 requests are ready\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
}
