package terraform

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/pave-dev/pave/reconciler"
)

// keepRefreshed writes what a plan without changes learnt of what exists into the
// state: an engine does that only when it applies. It costs one start more, and
// none where nothing was learnt. Where it fails the state is as true as it was.
func (e *execution) keepRefreshed(ctx context.Context) {
	if e.job.Mode != reconciler.Converge || e.job.Destroy {
		return
	}
	written := filepath.Join(e.planned(), "plan")
	learnt, err := learns(written)
	if err == nil && !learnt {
		return
	}
	if err == nil {
		err = e.keepPlan(written)
	}
	if err == nil {
		err = e.runApply(ctx)
	}
	var state stateFile
	if err == nil {
		state, err = e.readState(context.WithoutCancel(ctx))
	}
	if err != nil {
		e.said = append(e.said, fmt.Sprintf("keep what the plan learnt: %v", err))
		return
	}
	e.after = &state
}

// The states in a plan file, which is a zip archive: as it was, and as it was
// found to be.
const (
	priorState  = "tfstate-prev"
	latestState = "tfstate"
)

// learns tells whether a plan file holds another state than the one that it was
// made from.
func learns(plan string) (bool, error) {
	data, err := readOwn(plan, maxPlanFile)
	if err != nil {
		return false, err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return false, err
	}
	states := map[string]stateFile{}
	for _, file := range archive.File {
		if file.Name != priorState && file.Name != latestState {
			continue
		}
		content, err := file.Open()
		if err != nil {
			return false, err
		}
		text, err := io.ReadAll(io.LimitReader(content, maxStateFile))
		if err := errors.Join(err, content.Close()); err != nil {
			return false, err
		}
		if states[file.Name], err = parseState(text); err != nil {
			return false, err
		}
	}
	if len(states) != 2 {
		return false, fmt.Errorf("the plan holds %d states", len(states))
	}
	return !sameContent(states[priorState], states[latestState]), nil
}
