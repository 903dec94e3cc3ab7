package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/pave-dev/pave/reconciler"
)

// retain forgets the state and leaves what it describes. A copy stays beside the
// states of this host, from which what exists can be imported again.
func (e *execution) retain(ctx context.Context) (reconciler.Outcome, error) {
	dir := filepath.Dir(localState(e.host, e.job.Unit))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeFile(filepath.Join(dir, fmt.Sprintf("retained-%d.tfstate", e.before.Serial)), e.before.raw)
	}
	if err != nil {
		return reconciler.PlanFailed, fmt.Errorf("keep a copy of the state: %w", err)
	}
	if err := e.end(ctx, *e.before, e.backend, e.job.Unit, e.here()); err != nil {
		return reconciler.Unknown, fmt.Errorf("forget the state: %w", err)
	}
	e.result.Retained = e.before.retained()
	return reconciler.Destroyed, nil
}

// retained lists the managed resources with the identities that their provider
// gave them. An identity that is marked sensitive is left out.
func (s stateFile) retained() []reconciler.RetainedResource {
	var list []reconciler.RetainedResource
	for _, r := range s.Resources {
		if r.Mode != "managed" {
			continue
		}
		for _, instance := range r.Instances {
			var attributes struct {
				ID any `json:"id"`
			}
			found := reconciler.RetainedResource{Address: r.address() + indexText(instance.IndexKey)}
			secret := slices.ContainsFunc(instance.Sensitive, func(path []pathStep) bool {
				if len(path) == 0 { // all of it
					return true
				}
				key, err := path[0].key()
				return err != nil || key == "id"
			})
			if json.Unmarshal(instance.Attributes, &attributes) == nil && attributes.ID != nil && !secret {
				found.ID = fmt.Sprint(attributes.ID)
			}
			list = append(list, found)
		}
	}
	return list
}

// identified is retained without the resources whose identity is what they hold,
// or a digest of it: a secret may be made of that without being marked.
func (s stateFile) identified() []reconciler.RetainedResource {
	s.Resources = slices.DeleteFunc(slices.Clone(s.Resources), func(r stateResource) bool {
		return strings.HasPrefix(r.Type, "random_") || strings.HasPrefix(r.Type, "local_")
	})
	return s.retained()
}

// forgetting returns a plan to destroy as what a run that retains does of it:
// every resource is forgotten, and nothing is deleted. Rules judge that.
func forgetting(raw json.RawMessage) (json.RawMessage, error) {
	var plan map[string]json.RawMessage
	var changes []map[string]json.RawMessage
	err := json.Unmarshal(raw, &plan)
	if err == nil {
		err = json.Unmarshal(plan["resource_changes"], &changes)
	}
	if err != nil {
		return nil, fmt.Errorf("parse plan: %w", err)
	}
	for _, c := range changes {
		var change map[string]json.RawMessage
		if err := json.Unmarshal(c["change"], &change); err != nil {
			return nil, fmt.Errorf("parse plan: %w", err)
		}
		var actions tfjson.Actions
		if json.Unmarshal(change["actions"], &actions) == nil && actions.Delete() {
			change["actions"] = marshal(tfjson.Actions{tfjson.ActionForget})
			c["change"] = marshal(change)
		}
	}
	plan["resource_changes"] = marshal(changes)
	return marshal(plan), nil
}
