package reconciler

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/testdata/mutate"
)

// FuzzRecord reads status documents, the kind of which is in the first line.
func FuzzRecord(f *testing.F) {
	seeds := [][]byte{
		[]byte(`requests
{"version": 1, "request": "checkout-db", "service": "checkout", "owner": "payments", "blueprint": "postgres", "environment": "production", "stage": "production",
 "conditions": [{"type": "Ready", "status": false, "reason": "PlanFailed", "message": "no <b>", "since": "2026-01-02T03:04:05Z"}, {"type": "Drifted", "status": true, "reason": "Drift", "since": "2026-01-02T03:04:05Z"}],
 "observedRevision": "c0ffee", "protect": true, "cost": 12.5, "plan": {"add": 1, "changes": [{"address": "a.b", "action": "create"}]},
 "drift": {"plan": {"change": 1}, "times": 2, "first": "2026-01-02T03:04:05Z"}, "resources": ["a.b"], "outputs": {"host": "db"}, "sensitiveOutputs": ["password"],
 "references": {"a": {"request": "ledger-db", "output": "host"}}, "state": {"address": "local:checkout-db", "lineage": "l", "serial": 3}, "document": {"inputs": {}}}`),
		[]byte("services\n" + `{"version": 1, "service": "checkout", "owner": "payments", "lifecycle": "production", "tier": 1, "conditions": [{"type": "Ready", "status": true, "reason": "r", "since": "s"}], "requests": ["checkout-db"]}`),
		[]byte("locks\n" + `{"module": "m", "engine": "terraform 1.9", "content": "provider"}`),
		[]byte("platform\n" + `{"version": 1, "revision": "c0ffee", "refused": {"revision": "decade", "violations": [{"level": "deny", "message": "m", "position": {"file": "a.cue", "line": 1}}]},
 "warnings": ["w"], "deletions": [{"request": "old-db", "revision": "c0ffee", "at": "2026-01-02T03:04:05Z"}],
 "orphans": [{"request": "old-db", "owner": "payments", "blueprint": "postgres", "environment": "production", "revision": "c0ffee", "at": "2026-01-02T03:04:05Z", "resources": [{"address": "a.b", "id": "i"}]}]}`),
	}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		kind, content, _ := strings.Cut(string(input), "\n")
		r, err := ReadRecord(newTree(map[string]string{placeOf(kind, content): content}), "tip")
		if err != nil {
			return
		}
		for _, name := range namesIn(r) {
			if name != "" && !IsName(name) {
				t.Errorf("the name %q was read", name)
			}
		}
		if readme := string(r.readme("Platform")); strings.Contains(readme, "<b>") || strings.Contains(readme, "\x1b") {
			t.Errorf("the page lets a document's text through:\n%s", readme)
		}
		written := encoded(t, r)
		again, err := ReadRecord(newTree(written), "tip")
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if !reflect.DeepEqual(encoded(t, again), written) {
			t.Errorf("what was read says something else when it is written:\n%s", written)
		}
	})
}

// placeOf is where a document belongs that may be a good one.
func placeOf(kind, content string) string {
	var named struct{ Request, Service string }
	_ = json.Unmarshal([]byte(content), &named)
	switch kind {
	case "requests":
		return shard(kind, named.Request) + ".json"
	case "services":
		return shard(kind, named.Service) + ".json"
	case "locks":
		return "locks/postgres.json"
	}
	return "platform.json"
}

func namesIn(r *Record) []string {
	var names []string
	for name, u := range r.Units {
		names = append(names, name, u.Request, u.Service, u.Owner, u.Blueprint, u.Environment, u.Stage)
	}
	for name, s := range r.Services {
		names = append(append(names, name, s.Service, s.Owner), s.Requests...)
	}
	for _, d := range r.Platform.Deletions {
		names = append(names, d.Request)
	}
	for _, o := range r.Platform.Orphans {
		names = append(names, o.Request, o.Owner, o.Blueprint, o.Environment)
	}
	return names
}

func encoded(t testing.TB, r *Record) map[string]string {
	t.Helper()
	files := map[string]string{}
	add := func(path string, v any) {
		content, err := encode(v)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		files[path+".json"] = string(content)
	}
	for name, u := range r.Units {
		add(shard("requests", name), u)
	}
	for name, s := range r.Services {
		add(shard("services", name), s)
	}
	for name, l := range r.Locks {
		add("locks/"+name, l)
	}
	if r.Platform.Version != 0 {
		add("platform", r.Platform)
	}
	return files
}

func FuzzShown(f *testing.F) {
	seeds := [][]byte{
		[]byte(`{"1": {"units": {"checkout-db": {"plan": "3fa9", "head": "c0ffee", "at": "2026-01-02T03:04:05Z", "replaced": true}}, "base": "b", "merge": "m", "deploying": {"checkout-db": {"request": "checkout-db"}}, "deployed": false}, "2": {}}`),
		[]byte(`{"1": null, "3": null}`),
	}
	path := filepath.Join(f.TempDir(), "shown.json")
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		mutate.WriteFile(t, path, input)
		s := NewShown(path)
		left, err := s.unfinished()
		if err != nil {
			if _, again := s.pull(1); again == nil {
				t.Error("what cannot be read looks like nothing that was shown")
			}
			return
		}
		for number := range left {
			if p, err := s.pull(number); err != nil || p.Merge == "" || p.Deployed {
				t.Errorf("pull request %d is unfinished: %+v, %v", number, p, err)
			}
		}
		report := Report{Number: 1, Head: "beef"}
		report.Units = []PlannedUnit{{Request: "ledger-db", Plan: PlanSummary{Digest: "d1"}}}
		// What was read may hold times that cannot be written; then nothing changes.
		if s.plans(report, time.Unix(1, 0).UTC()) != nil {
			return
		}
		if p, err := NewShown(path).pull(1); err != nil || p.Units["ledger-db"].Plan != "d1" {
			t.Errorf("what was shown is forgotten: %+v, %v", p, err)
		}
	})
}
