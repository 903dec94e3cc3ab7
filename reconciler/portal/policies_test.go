package portal

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// said is a verdict in which every text is the same.
func said(s string) Verdict {
	at := reconciler.Position{File: s, Line: 3}
	return Verdict{
		Rules:      []Rule{{ID: s, Title: s, Description: s, Severity: s, Level: s + "x", Reason: s, Position: at}, {ID: s, Builtin: true, Level: "deny", Position: at}},
		Tests:      []RuleTest{{Name: s, Position: at, Message: s}, {Name: s, Builtin: true, Passed: true}},
		Violations: []reconciler.Violation{{Level: reconciler.Deny, Rule: s, Kind: s, Name: s, Message: s, Hint: s, Position: at, Team: s}},
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	at := reconciler.Position{File: "policies/naming.rego", Line: 7}
	judge := func(context.Context, *Snapshot) (Verdict, error) {
		return Verdict{
			Rules:      []Rule{{ID: "acme-naming", Title: "Names say what it is", Level: "warn", Severity: "deny", Reason: "until March", Position: at}, {ID: "production-tier", Builtin: true, Level: "deny", Severity: "deny", Position: reconciler.Position{File: "production.rego", Line: 21}}},
			Tests:      []RuleTest{{Name: "test_a", Position: reconciler.Position{File: "policies/naming_test.rego", Line: 3}, Passed: true}, {Name: "test_b", Position: reconciler.Position{File: "policies/naming_test.rego", Line: 9}, Message: "not so"}, {Name: "test_c", Builtin: true, Passed: true, Position: reconciler.Position{File: "production_test.rego", Line: 3}}},
			Violations: []reconciler.Violation{{Level: reconciler.Deny, Rule: "production-tier", Kind: "request", Name: "checkout-db", Message: "has no tier", Position: reconciler.Position{File: "catalog/payments/checkout.cue", Line: 3}}, {Level: reconciler.Warn, Message: "of no rule", Position: at}},
		}, nil
	}
	a.options.Judgements = NewJudgements(judge)
	t.Cleanup(a.options.Judgements.Close)
	a.Handler = New(a.options)
	expect(t, a, "/policies", http.StatusOK, "Names say what it is", "until March", "policies/naming.rego:7", "2 tests", "1 fails", "not so", "production.rego:21", "1 test", "has no tier", "!of no rule", "catalog/payments/checkout.cue:3", ">1</strong><span>denial<")
	expect(t, a, "/at/2026-01-31/policies?format=json", http.StatusOK, `"id": "acme-naming"`, `"findings": 1`)
}

// TestJudging checks that a page says what is not known yet, and never what failed
// before.
func TestJudging(t *testing.T) {
	t.Parallel()
	release, fail := make(chan struct{}), true
	judgements := NewJudgements(func(ctx context.Context, _ *Snapshot) (Verdict, error) {
		select {
		case <-release:
		case <-ctx.Done():
			return Verdict{}, ctx.Err()
		}
		if fail {
			fail = false
			return Verdict{}, errors.New("no such luck")
		}
		return said("fine"), nil
	})
	t.Cleanup(judgements.Close)
	handler := New(Options{Snapshots: fixed{largeSnapshot(1)}, Rules: compiler, Judgements: judgements, Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	expect(t, handler, "/policies", http.StatusOK, "The rules are being asked")
	close(release)
	for end := time.Now().Add(time.Minute); !strings.Contains(get(handler, "/policies").Body.String(), ">fine<"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never judged again")
		}
	}
}

// TestJudgementsAreFew checks that no reader makes many wait for each other.
func TestJudgementsAreFew(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	judgements := NewJudgements(func(ctx context.Context, _ *Snapshot) (Verdict, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return Verdict{}, ctx.Err()
	})
	t.Cleanup(judgements.Close)
	snapshot := func(commit string) *Snapshot { return &Snapshot{Revision: reconciler.Revision{Commit: commit}} }
	for i, want := range []bool{true, true, true, false, false} {
		if begun := judgements.begin(snapshot(string(rune('a'+i)))) != nil; begun != want {
			t.Errorf("%d: begun: %v", i, begun)
		}
	}
	if judgements.begin(snapshot("b")) == nil {
		t.Error("one that goes on is not found")
	}
	close(release)
	<-judgements.begin(snapshot("a")).done
	if judgements.begin(snapshot("z")) == nil {
		t.Error("none is begun after one ended")
	}
}
