package portal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// largeSnapshot is a platform of n services with a request each.
func largeSnapshot(n int) *Snapshot {
	p := &reconciler.Platform{
		Teams: map[string]reconciler.Team{}, Environments: map[string]reconciler.Environment{"production": {Name: "production", Stage: "production"}},
		Blueprints: map[string]reconciler.Blueprint{"postgres": {Name: "postgres", Title: "PostgreSQL"}},
		Services:   map[string]*reconciler.Service{}, Requests: map[string]*reconciler.Request{},
	}
	s := &Snapshot{Revision: reconciler.Revision{Commit: "0123456789abcdef"}, Status: reconciler.Revision{Commit: "fedcba9876543210"}, Platform: p, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}
	for i := range n {
		team, name := fmt.Sprintf("team-%d", i%100), fmt.Sprintf("service-%d", i)
		p.Teams[team] = reconciler.Team{Name: team, Title: team, Members: []string{"jo"}}
		at := reconciler.Position{File: "catalog/" + team + ".cue", Line: i}
		document := fmt.Sprintf(`{"name":%q,"title":"Service %d","description":"It does the work of department %d.","tags":["tag-%d"]}`, name, i, i%97, i%13)
		p.Services[name] = &reconciler.Service{Name: name, Title: fmt.Sprintf("Service %d", i), Owner: team, Type: "service", Lifecycle: "production", Tier: 1 + i%4,
			DependsOn: []string{fmt.Sprintf("service-%d", i/2)}, Document: reconciler.Document{JSON: json.RawMessage(document), Position: at}}
		db := name + "-db"
		p.Requests[db] = &reconciler.Request{Name: db, Blueprint: "postgres", Service: name, Environment: "production", Document: reconciler.Document{JSON: json.RawMessage(document), Position: at}}
		s.Record.Units[db] = &reconciler.UnitStatus{Request: db, Service: name, Owner: team, Blueprint: "postgres", Environment: "production", Conditions: ready(i%10 > 0, reconciler.ReasonApplied, ""), Resources: []string{"aws_db_instance.main", "random_password.user"}, IDs: reconciler.FieldsOf(map[string]string{"aws_db_instance.main": "db-" + name})}
		message := fmt.Sprintf("Apply %s\n\nRevision: 0123456789abcdef0123456789abcdef01234567\nUnit: %s applied +1 ~0 -0 blueprint=postgres plan=3fa9\nPave-Record: v1\n", db, db)
		s.Log = append(s.Log, Commit{ID: fmt.Sprintf("%040x", i), Time: time.Unix(int64(2e9-i), 0), Subject: "Apply " + db, Message: message})
	}
	return s
}

// BenchmarkPages asks for the pages of a platform of 10,000 services.
func BenchmarkPages(b *testing.B) {
	s := largeSnapshot(10_000)
	s.indexed()
	handler := New(Options{Snapshots: fixed{s}, Rules: compiler, Anonymous: true, Direct: true, Log: slog.New(slog.DiscardHandler)})
	for _, path := range []string{
		"/", "/search?q=service-77", "/search?q=department+7", "/services", "/services?owner=team-7&q=work", "/services?page=150", "/services/service-5000",
		"/requests?state=Applied", "/requests/service-9999-db", "/teams", "/teams/team-5", "/environments", "/environments/production", "/blueprints", "/blueprints/postgres", "/services/none",
		"/graph", "/graph?service=service-1", "/graph?request=service-7-db", "/compare/x...", "/health", "/sunset", "/audit", "/audit?service=service-77", "/audit?q=postgres&page=90",
	} {
		b.Run(path, func(b *testing.B) {
			before := processor(b)
			for b.Loop() {
				if w := get(handler, path); w.Code == http.StatusInternalServerError {
					b.Fatal(w.Body)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}

// processor is the time of a processor that this process took.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkIndex indexes a platform of 10,000 services.
func BenchmarkIndex(b *testing.B) {
	s := largeSnapshot(10_000)
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		newIndex(s)
	}
	b.ReportMetric(float64(processor(b)-before)/1e6/float64(b.N), "cpu-ms/op")
}
