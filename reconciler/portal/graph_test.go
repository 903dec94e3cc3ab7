package portal

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func TestGraph(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	for path, texts := range map[string][]string{
		"/graph":                                {"What most others need", "/graph?service=ledger"},
		"/graph?service=checkout":               {"<svg", "/services/checkout", "checkout-db", "terraform_data.database", "db-7f3a", "/services/ledger", "depends on it"},
		"/graph?request=checkout-db":            {"/requests/checkout-config", "uses its outputs", "runs on it", "random_password.user", "!/services/checkout/docs"},
		"/at/2026-01-31/graph?service=checkout": {"checkout-db", "!terraform_data.database", "/at/2026-01-31/requests/checkout-db"},
		"/requests/checkout-db":                 {"db-7f3a", "/graph?request=checkout-db"},
		"/services/checkout":                    {"/graph?service=checkout"},
	} {
		expect(t, a, path, http.StatusOK, texts...)
	}
	expect(t, a, "/graph?service=chekout", http.StatusNotFound, "There is no such service", "/services/checkout")
	expect(t, a, "/graph?request=none", http.StatusNotFound, "There is no such request")
}

// TestImpact checks what breaks, how far away and through what.
func TestImpact(t *testing.T) {
	t.Parallel()
	service := func(name string, tier int, needs ...string) *reconciler.Service {
		return &reconciler.Service{Name: name, Title: name, Owner: "team", Tier: tier, DependsOn: needs}
	}
	request := func(name, service, from string) *reconciler.Request {
		r := &reconciler.Request{Name: name, Service: service, Blueprint: "db"}
		if from != "" {
			r.Inputs = reconciler.FieldsOf(map[string]json.RawMessage{"host": json.RawMessage(`{"from": {"request": "` + from + `", "output": "host"}}`)})
		}
		return r
	}
	s := &Snapshot{Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}, Platform: &reconciler.Platform{
		Services: map[string]*reconciler.Service{"base": service("base", 2), "near": service("near", 3, "base"), "important": service("important", 1, "base"), "far": service("far", 4, "near", "ring"), "ring": service("ring", 0, "far"), "other": service("other", 1)},
		Requests: map[string]*reconciler.Request{"base-db": request("base-db", "base", ""), "other-app": request("other-app", "other", "base-db"), "free": request("free", "other", "")},
	}}
	v := &view{Snapshot: s, index: s.indexed()}
	var got []string
	for _, b := range v.impact(thing{"service", "base"}, v.own(thing{"service", "base"})) {
		got = append(got, strings.Repeat(">", b.distance)+b.kind+" "+b.name+" by "+b.via.name)
	}
	want := []string{">service important by base", ">request other-app by base-db", ">service near by base", ">>service other by other-app", ">>service far by near", ">>>service ring by far"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	handler := New(Options{Snapshots: fixed{s}, Rules: compiler, Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	expect(t, handler, "/graph?service=base", http.StatusOK, "2 services of tier 1", "1 service without a tier")
	expect(t, handler, "/graph?request=free", http.StatusOK, "runs on it", "!base")
}

// TestDrawing checks that no two boxes of a picture cover each other.
func TestDrawing(t *testing.T) {
	t.Parallel()
	s := largeSnapshot(300)
	v := &view{Snapshot: s, index: s.indexed()}
	subject := thing{"service", "service-1"}
	own := v.own(subject)
	d := v.draw(subject, own, v.needs(subject, own), v.impact(subject, own))
	if len(d.Boxes) < 10 || len(d.Lines) < 5 {
		t.Errorf("got %d boxes and %d lines", len(d.Boxes), len(d.Lines))
	}
	for i, a := range d.Boxes {
		if a.X < 0 || a.Y < 0 || a.X+a.W > d.Width || a.Y+a.H > d.Height {
			t.Errorf("%s is outside", a.Name)
		}
		for _, b := range d.Boxes[:i] {
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s and %s cover each other", a.Name, b.Name)
			}
		}
	}
}
