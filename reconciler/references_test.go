package reconciler

import (
	"encoding/json"
	"testing"
)

// A secret never goes to a stage that needs less care, in whatever order the
// settings roll changes out, and whether or not they name the stage.
func TestSecretsStayInTheirStage(t *testing.T) {
	for _, test := range []struct {
		name     string
		from, to string
		rollout  []string
		allowed  bool
	}{
		{"same stage", "production", "production", []string{"development", "staging", "production"}, true},
		{"upwards", "development", "production", []string{"development", "staging", "production"}, true},
		{"downwards", "production", "development", []string{"development", "staging", "production"}, false},
		{"rolled out the other way round", "production", "development", []string{"production", "development"}, false},
		{"stages that no rollout names", "production", "development", []string{"development"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &Platform{
				Teams:        map[string]Team{"payments": {}},
				Services:     map[string]*Service{"checkout": {Name: "checkout", Owner: "payments"}},
				Environments: map[string]Environment{"a": {Name: "a", Stage: test.from}, "b": {Name: "b", Stage: test.to}},
				Blueprints:   map[string]Blueprint{"db": {Name: "db", Outputs: map[string]Output{"password": {Sensitive: true}}}},
				Requests: map[string]*Request{
					"up": {Name: "up", Service: "checkout", Environment: "a", Blueprint: "db"},
					"down": {Name: "down", Service: "checkout", Environment: "b", Blueprint: "db",
						Inputs: FieldsOf(map[string]json.RawMessage{"password": json.RawMessage(`{"from": {"request": "up", "output": "password"}}`)})},
				},
			}
			p.Settings.Rollout.Stages = test.rollout
			c := &Checked{Modules: map[string]Module{"db": {Sensitive: map[string]bool{"password": true}}}}
			vs := c.references(p, &news{})
			if allowed := len(vs) == 0; allowed != test.allowed {
				t.Errorf("allowed: %v, violations: %v", allowed, vs)
			}
		})
	}
}

// A service that is to be replaced names one that there is.
func TestSuccessor(t *testing.T) {
	for successor, wrong := range map[string]int{"": 0, "shop": 0, "shpo": 1} {
		p := &Platform{Services: map[string]*Service{"shop": {Name: "shop"}, "old-shop": {Name: "old-shop", Successor: successor}}}
		c := &Checked{}
		if vs := c.references(p, &news{}); len(vs) != wrong || wrong > 0 && (vs[0].Path[0] != "successor" || vs[0].Hint != "did you mean shop?") {
			t.Errorf("%q: got %v", successor, vs)
		}
	}
}
