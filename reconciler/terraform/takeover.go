package terraform

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// takeOver makes a state that is elsewhere the unit's own: that of the name it
// had before, its own at another address, or one of a file. It plans against a
// copy first, so that nothing has moved while the plan is denied or waits for an
// approval. Then the copy is written to the unit's address, read back, and the
// old one is withdrawn: two states of one thing would be two owners.
//
// Any step may be the last one. A run that finds the state at both addresses
// goes on where the earlier one ended.
func (e *execution) takeOver(ctx context.Context) (reconciler.Outcome, error) {
	t := e.job.Takes
	if t == nil {
		return "", nil
	}
	source, err := e.source(ctx)
	if err != nil {
		return reconciler.PlanFailed, fmt.Errorf("read the state to take over: %w", err)
	}
	target, err := e.readState(ctx)
	if err != nil {
		return reconciler.PlanFailed, fmt.Errorf("read state: %w", err)
	}
	lineage := t.State.Lineage
	if t.File != "" {
		lineage = source.Lineage
	}
	switch {
	case target.Lineage != "" && target.Lineage == lineage: // an earlier run wrote it
	case !target.empty():
		return reconciler.StateLost, fmt.Errorf("there is another state at %s already, of lineage %s: nothing is written over it", e.job.Rendering.Address, target.Lineage)
	default:
		if outcome, err := e.mayTake(source, lineage); outcome != "" {
			return outcome, err
		}
		copied, err := source.handedTo(e.job.Unit)
		if err != nil {
			return reconciler.PlanFailed, err
		}
		if outcome, err := e.rehearse(ctx, copied); outcome != "" {
			return outcome, err
		}
		if target, err = e.writeState(ctx, copied, target); err != nil {
			return reconciler.Unknown, fmt.Errorf("take over the state: %w", err)
		}
	}
	if e.job.Mode == reconciler.Converge {
		if err := e.withdraw(ctx, source, lineage); err != nil {
			return reconciler.Unknown, fmt.Errorf("withdraw the state that was taken over from %s: %w", t.State.Address, err)
		}
		e.result.Moved = true
	}
	e.job.Recorded = target.identity(e.job.Rendering.Address)
	return "", nil
}

// mayTake refuses a state that is not the one to take over.
func (e *execution) mayTake(source stateFile, lineage string) (reconciler.Outcome, error) {
	t := e.job.Takes
	switch owner := source.owner(); {
	case t.File != "" && source.Lineage == "":
		return reconciler.StateLost, fmt.Errorf("%s holds no state: expected what `terraform state pull` writes", t.File)
	case source.Lineage == "" || source.Lineage != lineage:
		return reconciler.StateLost, lost(t.Unit, orNone(lineage), t.State.Address, "found "+orNone(source.Lineage))
	case t.File != "" && owner != "" && owner != e.job.Unit:
		return reconciler.NotOwned, fmt.Errorf("the state records %s as its owner: rename that request with renamedFrom", owner)
	case t.File == "" && owner != t.Unit:
		return reconciler.NotOwned, fmt.Errorf("the state at %s records %s as its owner, not %s: it is not taken over", t.State.Address, orNone(owner), t.Unit)
	}
	return "", nil
}

// source reads the state to take over. Its unit, where it is another one, is
// locked: no run of it may be at work.
func (e *execution) source(ctx context.Context) (stateFile, error) {
	t := e.job.Takes
	if t.File != "" {
		data, err := readFile(t.File, maxStateFile)
		if err != nil {
			return stateFile{}, err
		}
		state, err := parseState(data)
		e.secrets.addState(state)
		return state, err
	}
	if t.Unit != e.job.Unit {
		dir := filepath.Join(e.host.Runs, t.Unit)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return stateFile{}, err
		}
		lock, err := tryLock(filepath.Join(dir, unitLock))
		if errors.Is(err, errHeld) {
			return stateFile{}, fmt.Errorf("a run of %s has not ended", t.Unit)
		}
		if err != nil {
			return stateFile{}, err
		}
		e.locks = append(e.locks, lock)
		if kept, _ := filepath.Glob(filepath.Join(dir, "*", erroredName)); len(kept) > 0 {
			return stateFile{}, fmt.Errorf("an earlier run of %s could not write its state: put that name back, so that it is written first", t.Unit)
		}
	}
	state, err := e.upstreamState(ctx, t.Unit, reconciler.Upstream{Generated: t.Generated, Environment: t.Environment})
	e.secrets.addState(state)
	return state, err
}

// rehearse plans against a copy of the state, with nothing but local files. The
// outcome is empty where the state may be taken over and the run go on.
func (e *execution) rehearse(ctx context.Context, state []byte) (reconciler.Outcome, error) {
	c, err := code{files: e.job.Module, generated: e.job.Rendering.Generated, lock: e.result.Lock}.local()
	if err != nil {
		return reconciler.PlanFailed, err
	}
	template, err := e.template(ctx, c, e.env)
	if err != nil {
		return reconciler.PlanFailed, fmt.Errorf("prepare template: %w", err)
	}
	dir := filepath.Join(e.private(), "rehearsal")
	if err := c.workDir(template, dir); err != nil {
		return reconciler.PlanFailed, fmt.Errorf("prepare work directory: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, stateName), 0o700); err != nil {
		return reconciler.PlanFailed, err
	}
	if err := writeFile(filepath.Join(dir, stateName, "terraform.tfstate"), state); err != nil {
		return reconciler.PlanFailed, err
	}
	if err := copyFile(filepath.Join(e.work(), variablesName), filepath.Join(dir, variablesName)); err != nil {
		return reconciler.PlanFailed, err
	}
	if err := e.own(dir); err != nil {
		return reconciler.PlanFailed, err
	}
	outcome, err := e.consider(ctx, room{dir, e.env, templateReads(template), []string{dir, e.planned()}})
	if outcome == reconciler.Unchanged && e.job.Mode == reconciler.Converge {
		outcome = ""
	}
	if outcome == "" && e.job.Takes.Keeps && e.result.Plan.Destroy > 0 {
		return reconciler.PlanFailed, errors.New(destroys(e.result.Plan))
	}
	return outcome, err
}

// destroys says what a plan would destroy of a state that was to be taken over
// as it is.
func destroys(plan reconciler.PlanSummary) string {
	var lost []string
	for _, c := range plan.Changes {
		if c.Action == "delete" || c.Action == "replace" {
			lost = append(lost, c.Action+" "+c.Address)
		}
	}
	return fmt.Sprintf("nothing was taken over, because the plan would %s: make the inputs fit what exists, or the blueprint, and remove from the state what does not belong to the request", strings.Join(lost, ", "))
}

// handedTo returns the state with the unit as its recorded owner.
func (s stateFile) handedTo(unit string) ([]byte, error) {
	var file, record map[string]json.RawMessage
	var outputs map[string]map[string]json.RawMessage
	if err := json.Unmarshal(s.raw, &file); err != nil {
		return nil, fmt.Errorf("parse state: %w", err)
	}
	file["serial"] = json.RawMessage(strconv.FormatUint(s.Serial+1, 10))
	if s.owner() == "" {
		return json.Marshal(file)
	}
	err := json.Unmarshal(file["outputs"], &outputs)
	if err == nil {
		err = json.Unmarshal(outputs[ownershipOutput]["value"], &record)
	}
	if err != nil {
		return nil, fmt.Errorf("parse state: %w", err)
	}
	record["request"] = marshal(unit)
	outputs[ownershipOutput]["value"] = marshal(record)
	file["outputs"] = marshal(outputs)
	return json.Marshal(file)
}

// writeState writes a state to the unit's address, where present is, and reads it
// back.
func (e *execution) writeState(ctx context.Context, data []byte, present stateFile) (stateFile, error) {
	want, err := parseState(data)
	if err != nil {
		return stateFile{}, err
	}
	switch path := localState(e.host, e.job.Unit); {
	case e.backend == "local":
		err = errors.Join(writeFile(path, data), e.own(filepath.Dir(path)))
	case present.Lineage == "":
		// Where there is none yet, engines give whatever is written a lineage of
		// their own, as if it began there.
		if err = e.put(ctx, e.here(), want.ended(), false); err == nil {
			err = e.put(ctx, e.here(), data, true)
		}
	default:
		err = e.put(ctx, e.here(), data, present.empty())
	}
	if err != nil {
		return stateFile{}, err
	}
	written, err := e.readState(ctx)
	if err == nil && (written.Lineage != want.Lineage || len(written.addresses()) != len(want.addresses())) {
		err = fmt.Errorf("what was read back from %s is another state, of lineage %s", e.job.Rendering.Address, orNone(written.Lineage))
	}
	return written, err
}

// withdraw leaves nothing at the old address that could be taken for the state.
func (e *execution) withdraw(ctx context.Context, source stateFile, lineage string) error {
	t := e.job.Takes
	if t.File != "" || source.Lineage != lineage {
		return nil // the file is the operator's, and what is gone is gone
	}
	backend, err := code{generated: t.Generated}.backend()
	if err != nil {
		return err
	}
	return e.end(ctx, source, backend, t.Unit, e.upstreams[t.Unit])
}

// end leaves nothing of a unit's state at its address. No engine removes a
// state of another backend than the local one: an empty one of another lineage
// is put there, which is refused by whoever expects the old one.
func (e *execution) end(ctx context.Context, state stateFile, backend, unit string, at room) error {
	if backend == "local" {
		path := localState(e.host, unit)
		return errors.Join(os.Remove(path), syncDir(filepath.Dir(path)))
	}
	return e.put(ctx, at, state.ended(), true)
}

// ended returns an empty state of a lineage of its own, in place of this one.
func (s stateFile) ended() []byte {
	var file map[string]json.RawMessage
	_ = json.Unmarshal(s.raw, &file) // it was parsed before
	return marshal(map[string]any{
		"version": 4, "terraform_version": file["terraform_version"], "serial": s.Serial + 1,
		"lineage": "withdrawn-" + rand.Text(), "outputs": map[string]any{}, "resources": []any{},
	})
}

// put writes a state that is no file yet.
func (e *execution) put(ctx context.Context, at room, data []byte, force bool) error {
	file := filepath.Join(e.private(), "push.tfstate")
	if err := writeFile(file, data); err != nil {
		return err
	}
	return errors.Join(e.push(ctx, at, file, e.patience(), force), os.Remove(file))
}
