package reconciler

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// The values are pinned: another one runs every unit of every platform again
// after an upgrade of Pave, so it must be meant.
func TestFingerprintIsPinned(t *testing.T) {
	r := Rendering{
		Generated:  []byte(`{"terraform": {}}`),
		Address:    "local:checkout-db",
		Variables:  map[string]json.RawMessage{"size": json.RawMessage(`"large"`), "tags": json.RawMessage(`{"b": 1, "a": [true, null, 1.50]}`)},
		References: map[string]Ref{"host": {"network", "host"}},
	}
	b := basis("digest", r, Engine{Name: "terraform", Path: "/usr/bin/terraform", Version: "1.11.4"}, func(string) string { return "lineage:7" })
	if want := "48f12c7b1a2d71e319fd630f3db47bdc136ea758"; b != want {
		t.Errorf("the basis is %s, was %s", b, want)
	}
	if got, want := fingerprint(b, []byte("lock")), "3ed27f07ea288b14ec1c17f6b24e689dd26854d6"; got != want {
		t.Errorf("the fingerprint is %s, was %s", got, want)
	}
	if got, want := fingerprint(b, ""), "f32f96cd99c921e4f2eaf76300ef0cd87288fd78"; got != want {
		t.Errorf("the fingerprint without a lock is %s, was %s", got, want)
	}
}

func TestFingerprintFollowsWhatTheEngineIsGiven(t *testing.T) {
	type given struct {
		module   string
		r        Rendering
		engine   Engine
		upstream string
		lock     string
	}
	first := func() given {
		return given{"digest", Rendering{Generated: []byte("{}"), Address: "local:a",
			Variables:  map[string]json.RawMessage{"size": json.RawMessage(`{"a": 1, "b": 2}`)},
			References: map[string]Ref{"host": {"network", "host"}}}, Engine{"terraform", "/a", "1.11.4"}, "lineage:7", "lock"}
	}
	of := func(g given) string {
		return fingerprint(basis(g.module, g.r, g.engine, func(string) string { return g.upstream }), []byte(g.lock))
	}
	same := of(first())
	for name, change := range map[string]func(*given){
		"the order of keys and spaces": func(g *given) { g.r.Variables["size"] = json.RawMessage(`{"b":2,"a":1}`) },
		"the engine's patch version":   func(g *given) { g.engine.Version = "1.11.9" },
		"the engine's path":            func(g *given) { g.engine.Path = "/b" },
	} {
		g := first()
		change(&g)
		if of(g) != same {
			t.Errorf("%s: the fingerprint changes", name)
		}
	}
	seen := map[string]string{same: "nothing"}
	for name, change := range map[string]func(*given){
		"module":             func(g *given) { g.module = "other" },
		"generated files":    func(g *given) { g.r.Generated = []byte("{ }") },
		"address":            func(g *given) { g.r.Address = "local:b" },
		"variable":           func(g *given) { g.r.Variables["size"] = json.RawMessage(`{"a": 1, "b": 3}`) },
		"variable's type":    func(g *given) { g.r.Variables["size"] = json.RawMessage(`"{\"a\":1,\"b\":2}"`) },
		"variable's name":    func(g *given) { g.r.Variables = map[string]json.RawMessage{"sizes": g.r.Variables["size"]} },
		"one more variable":  func(g *given) { g.r.Variables["other"] = json.RawMessage("null") },
		"large numbers":      func(g *given) { g.r.Variables["size"] = json.RawMessage("9007199254740993") },
		"the next number":    func(g *given) { g.r.Variables["size"] = json.RawMessage("9007199254740992") },
		"reference":          func(g *given) { g.r.References["host"] = Ref{"network", "address"} },
		"referenced request": func(g *given) { g.r.References["host"] = Ref{"other", "host"} },
		"reference's name":   func(g *given) { g.r.References = map[string]Ref{"hosts": {"network", "host"}} },
		"no reference":       func(g *given) { g.r.References = nil },
		"upstream's outputs": func(g *given) { g.upstream = "lineage:8" },
		"engine":             func(g *given) { g.engine.Name = "tofu" },
		"engine's version":   func(g *given) { g.engine.Version = "1.12.0" },
		"lock":               func(g *given) { g.lock = "other" },
		"no lock":            func(g *given) { g.lock = "" },
	} {
		g := first()
		change(&g)
		got := of(g)
		if other, found := seen[got]; found {
			t.Errorf("%s and %s: the fingerprints are the same", name, other)
		}
		seen[got] = name
	}
}

// What people say of a request, and what judges it, is not given to the engine.
func TestFingerprintLeavesWordsOut(t *testing.T) {
	s := newSituation(ask("a")).applied("a")
	s.changed("a", expires("2030-01-01"), protect, func(r *Request) {
		r.ShareWith, r.Replace, r.Cost.Monthly = []string{"search"}, true, 99
		r.JSON = json.RawMessage(`{"name": "a", "description": "other words"}`)
	})
	p := s.checked.Platform
	p.Settings.Title, p.Settings.Guards.MaxDeletes, p.Settings.Limits.Parallel = "Other", 99, 99
	p.Settings.Policy.Overrides = map[string]Override{"budget": {Level: "off", Reason: "for the fair"}}
	b := p.Blueprints["db"]
	b.Title, b.Description, b.Stateful = "Other", "Other", []string{"x"}
	p.Blueprints["db"] = b
	if made := s.sorted().decide()["a"]; made.verb != keep {
		t.Errorf("it runs again: %s", told(made))
	}
}

// A verdict is another one with another document, other rules or another day,
// and the same an hour later.
func TestVerdictKey(t *testing.T) {
	key := func(bundle, document string, now time.Time) string {
		policy, err := json.Marshal(judgement{Bundle: json.RawMessage(bundle), Subject: Subject{Document: json.RawMessage(document), Now: now}})
		if err != nil {
			t.Fatal(err)
		}
		return verdictKey(policy)
	}
	first := key(`"rules"`, `{"size": 1}`, noon)
	if later := key(`"rules"`, `{"size": 1}`, noon.Add(time.Hour)); first == "" || later != first {
		t.Errorf("an hour later %q is %q", first, later)
	}
	for _, other := range []string{key(`"others"`, `{"size": 1}`, noon), key(`"rules"`, `{"size": 2}`, noon), key(`"rules"`, `{"size": 1}`, noon.AddDate(0, 0, 1))} {
		if other == first {
			t.Errorf("%q stands for two verdicts", first)
		}
	}
}

// TestCanonical compares what is known to be written already with what is written.
func TestCanonical(t *testing.T) {
	for _, data := range []string{`"a"`, `""`, `"a b~!"`, `"<"`, `"\u0041"`, `"\""`, `"ä"`, `"\u2028"`, "\"\u007f\"", `0`, `-1.50e+3`, `1E400`, `true`, `false`, `null`, ` 1`, `"a" `, `[1, 2]`, `{"b":1,"a":[{"d":"x","c":null}]}`} {
		dec := json.NewDecoder(strings.NewReader(data))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := canonical(json.RawMessage(data)); string(got) != string(want) {
			t.Errorf("%s: got %s, want %s", data, got, want)
		}
	}
}
