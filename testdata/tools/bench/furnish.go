package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/calendar"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// furnish records units as applied that nobody made: to make ten thousand takes
// hours, and what is measured afterwards only looks at them. Everything else of it
// is real, in the folders of a daemon that has ended.
func (b *bench) furnish(ctx context.Context, address, cache, state string) error {
	id := git.RepositoryID(address)
	cache, state = filepath.Join(cache, id), filepath.Join(state, id)
	mirror, err := git.Open(ctx, git.Options{URL: address, Cache: filepath.Join(cache, "mirror"), Tracked: "main", Status: "pave/status"})
	if err != nil {
		return err
	}
	defer mirror.Close()
	runner, err := terraform.NewRunner(terraform.Host{Cache: filepath.Join(cache, "engine"), State: filepath.Join(state, "units"), Runs: filepath.Join(state, "runs"),
		CLIConfig: b.providers, EnginePath: filepath.Dir(b.engine)})
	if err != nil {
		return err
	}
	_, err = reconciler.New(reconciler.Options{
		Parts:  reconciler.Parts{Evaluator: catalog.New([]string{b.pave, "__eval"}, 0), Inspector: terraform.Inspector{}, Rules: &policy.Compiler{}, Calendar: calendar.Calendar{}},
		Source: mirror, Runner: furnisher{runner, filepath.Join(state, "units")}, Engine: filepath.Base(b.engine), Machine: reconciler.Machine{Processors: 1000},
		Trust: reconciler.NewTrust(filepath.Join(state, "status.json")), Log: slog.New(slog.DiscardHandler),
	}).Converge(ctx)
	return err
}

// furnisher is a runner whose runs succeed by saying so. Of units that are built in
// they leave the state that the engine would have left.
type furnisher struct {
	*terraform.Runner
	states string // the folder of the states
}

func (furnisher) Memory(string) uint64 { return 0 }

func (f furnisher) Start(_ context.Context, job reconciler.Job) (reconciler.Running, error) {
	if err := f.leave(job); err != nil {
		return nil, err
	}
	return &furnished{job}, nil
}

// Every furnished unit has this lineage, and the only output this value, by which
// what the engine made is known as well.
const (
	furnishedLineage = "furnished"
	furnishedID      = "x"
)

// object is one of JSON.
type object map[string]any

// leave leaves the state of a unit that is built in.
func (f furnisher) leave(job reconciler.Job) error {
	given := job.Rendering.Variables
	if _, provided := given["folder"]; provided {
		return nil
	}
	name, input := "link", furnishedID // what a link is given is the output of another unit
	if content, is := given["content"]; is {
		var text, size string
		if err := errors.Join(json.Unmarshal(content, &text), json.Unmarshal(given["size"], &size)); err != nil {
			return err
		}
		name, input = "note", fmt.Sprintf("%s %s %s", text, size, given["copies"])
	}
	value := object{"value": input, "type": "string"}
	state, err := json.Marshal(object{"version": 4, "terraform_version": "1.0.0", "lineage": furnishedLineage, "serial": 1,
		"outputs": object{
			"path": object{"value": furnishedID, "type": "string"},
			"pave": object{"value": given["pave"], "type": ownerType},
		},
		"resources": []object{{"mode": "managed", "type": "terraform_data", "name": name, "provider": `provider["terraform.io/builtin/terraform"]`,
			"instances": []object{{"schema_version": 0, "attributes": object{"id": furnishedID, "input": value, "output": value, "triggers_replace": nil}}},
		}},
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(f.states, job.Unit)
	return errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "terraform.tfstate"), state, 0o600))
}

// ownerType is the type of the output that says whose a state is.
var ownerType = []any{"object", object{"environment": "string", "owner": "string", "request": "string", "service": "string", "stage": "string",
	"tags": []any{"map", "string"}}}

type furnished struct{ job reconciler.Job }

func (f *furnished) Job() reconciler.Job { return f.job }
func (f *furnished) Stop() error         { return nil }
func (f *furnished) Forget() error       { return nil }

func (f *furnished) Wait(context.Context) (reconciler.Result, error) {
	return reconciler.Result{
		Unit: f.job.Unit, ID: f.job.ID, Outcome: reconciler.Applied, Finished: time.Now(), Lock: f.job.Lock,
		State:   reconciler.State{Lineage: furnishedLineage, Serial: 1},
		Outputs: reconciler.FieldsOf(map[string]json.RawMessage{"path": json.RawMessage(`"` + furnishedID + `"`)}),
	}, nil
}
