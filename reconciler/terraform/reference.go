package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// variables returns the values of all variables: the unit's own and those that
// other units hand out.
func (e *execution) variables(ctx context.Context) (map[string]json.RawMessage, error) {
	values := maps.Clone(e.job.Rendering.Variables)
	if values == nil {
		values = map[string]json.RawMessage{}
	}
	states := map[string]stateFile{}
	for _, name := range slices.Sorted(maps.Keys(e.job.Rendering.References)) {
		value, err := e.resolve(ctx, e.job.Rendering.References[name], states)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

// resolve returns the value of another unit's output. What was recorded is
// taken from the record; anything else, above all what is sensitive, from the
// unit's state, which is read once.
func (e *execution) resolve(ctx context.Context, ref reconciler.Ref, states map[string]stateFile) (json.RawMessage, error) {
	up, found := e.job.Upstream[ref.Request]
	if !found {
		return nil, fmt.Errorf("request %s was never applied", ref.Request)
	}
	if value, recorded := up.Outputs.Get(ref.Output); recorded {
		return value, nil
	}
	state, read := states[ref.Request]
	if !read {
		var err error
		if state, err = e.upstreamState(ctx, ref.Request, up); err != nil {
			return nil, fmt.Errorf("read state of %s: %w", ref.Request, err)
		}
		states[ref.Request] = state
		e.secrets.addState(state)
	}
	output, found := state.Outputs[ref.Output]
	if !found || ref.Output == ownershipOutput {
		return nil, fmt.Errorf("request %s has no output %s: add it to the Terraform of its blueprint, or apply the request first", ref.Request, ref.Output)
	}
	return output.Value, nil
}

// upstreamState reads another unit's state, and refuses one that is not the
// recorded one.
func (e *execution) upstreamState(ctx context.Context, request string, up reconciler.Upstream) (stateFile, error) {
	c := code{generated: up.Generated}
	backend, err := c.backend()
	if err != nil {
		return stateFile{}, err
	}
	var state stateFile
	if backend == "local" {
		state, err = readLocalState(e.host, request)
	} else {
		state, err = e.pullUpstream(ctx, request, c, up.Environment)
	}
	if err != nil {
		return stateFile{}, err
	}
	if want := up.State.Lineage; want != "" && state.Lineage != want {
		return stateFile{}, fmt.Errorf("expected lineage %s at %s, found %s", want, up.State.Address, orNone(state.Lineage))
	}
	return state, nil
}

// pullUpstream reads a remote state with nothing but its backend: the
// providers of the other blueprint are not needed.
func (e *execution) pullUpstream(ctx context.Context, request string, c code, environment string) (stateFile, error) {
	env, err := e.environ(ctx, environment)
	if err != nil {
		return stateFile{}, err
	}
	at, err := e.backendRoom(ctx, c, env, filepath.Join(e.private(), "upstream-"+request))
	if err != nil {
		return stateFile{}, err
	}
	if e.upstreams == nil {
		e.upstreams = map[string]room{}
	}
	e.upstreams[request] = at
	return e.pull(ctx, at)
}

// backendRoom makes a folder that is initialised for the backend of some code,
// and for nothing else of it.
func (e *execution) backendRoom(ctx context.Context, c code, env map[string]string, dir string) (room, error) {
	c, err := c.backendOnly()
	if err != nil {
		return room{}, err
	}
	template, err := e.template(ctx, c, env)
	if err != nil {
		return room{}, err
	}
	if err := c.workDir(template, dir); err != nil {
		return room{}, err
	}
	return room{dir, env, templateReads(template), []string{dir}}, e.own(dir)
}

// backendOnly returns code that names the same backend and holds nothing else.
func (c code) backendOnly() (code, error) {
	var file struct {
		Terraform struct {
			Backend json.RawMessage `json:"backend"`
		} `json:"terraform"`
	}
	if err := json.Unmarshal(c.generated, &file); err != nil {
		return code{}, err
	}
	generated, err := json.Marshal(file)
	return code{generated: generated}, err
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
