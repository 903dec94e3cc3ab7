package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// rescue writes back the states of the unit that engines could not write, the
// oldest first: what they hold would be made again. One that does not lead on
// from the state that is there stays, and holds the unit. The outcome is empty
// where nothing is left to rescue.
func (e *execution) rescue(ctx context.Context) (reconciler.Outcome, error) {
	unit := filepath.Dir(e.dir)
	kept, err := fs.Glob(os.DirFS(unit), "*/"+erroredName)
	if err != nil {
		return reconciler.PlanFailed, fmt.Errorf("look for a kept state: %w", err)
	}
	for _, name := range kept {
		if err := e.rescueOne(ctx, filepath.Join(unit, name)); err != nil {
			outcome := reconciler.PlanFailed
			if errors.As(err, new(*conflictError)) {
				outcome = reconciler.StateLost
			}
			return outcome, fmt.Errorf("write back the state that an earlier run kept as %s in the folder of runs: %w", filepath.Join(e.job.Unit, name), err)
		}
	}
	return "", nil
}

// conflictError tells why a kept state is not written over the one that is there.
type conflictError struct{ why string }

func (c *conflictError) Error() string { return c.why + ", then remove the file" }

// conflict is for two states of which one must be chosen.
func conflict(format string, args ...any) error {
	return &conflictError{fmt.Sprintf(format, args...) + ": compare both, write the right one with `state push`"}
}

func (e *execution) rescueOne(ctx context.Context, file string) error {
	data, err := readFile(file, maxStateFile)
	if err != nil {
		return err
	}
	kept, err := parseState(data)
	if err != nil || kept.Version == 0 { // as where the disk was full
		return &conflictError{"it is damaged: see what the apply made, remove it or import it"}
	}
	e.secrets.addState(kept)
	if err := e.readBefore(ctx); err != nil {
		return err
	}
	written, err := e.leadsOn(kept)
	if err != nil {
		return err
	}
	if !written {
		push := func(patience string) error { return e.push(ctx, e.here(), file, patience, false) }
		if err := e.locked(ctx, push); err != nil {
			return err
		}
		if err := e.readBefore(ctx); err != nil {
			return err
		}
		if !sameContent(*e.before, kept) {
			return errors.New("it was written and is not what is there: the next run looks again")
		}
	}
	fmt.Fprintf(os.Stderr, "wrote back %s, serial %d\n", file, kept.Serial)
	return forgetKept(file)
}

// leadsOn tells whether the kept state was written already, or refuses it where
// something else was written since, or it is another unit's.
func (e *execution) leadsOn(kept stateFile) (written bool, err error) {
	there, recorded := *e.before, e.job.Recorded.Lineage
	switch {
	case kept.owner() != "" && kept.owner() != e.job.Unit:
		return false, conflict("it is of %s", kept.owner())
	case sameContent(there, kept):
		return true, nil
	case recorded != "" && there.Lineage == "":
		return false, conflict("the state that it leads on from is gone")
	case there.Lineage == "":
		return false, nil
	case there.Lineage != kept.Lineage:
		return false, conflict("it has lineage %s, the state that is there has %s", kept.Lineage, there.Lineage)
	case there.Serial >= kept.Serial:
		return false, conflict("it has serial %d, and the state that is there has %d: something else was written since", kept.Serial, there.Serial)
	}
	return false, nil
}

// sameContent tells whether two states say the same of every resource and output.
func sameContent(a, b stateFile) bool {
	a.Lineage, a.Serial = b.Lineage, b.Serial // an engine gives a state that is the first one others
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && bytes.Equal(x, y)
}

// push writes a state in an initialised folder. Unless forced, the engine itself
// refuses another lineage and an older serial.
func (e *execution) push(ctx context.Context, at room, file, patience string, force bool) error {
	if err := e.host.offer(file, userOf(e.job.Unit)); err != nil {
		return err
	}
	at.reads = append(slices.Clone(at.reads), file)
	args := []string{"state", "push", "-no-color", "-lock-timeout=" + patience}
	if force {
		args = append(args, "-force")
	}
	return e.engine(ctx, at, "state push", append(args, file)...)
}

// engine runs one short command of the engine in an initialised folder.
func (e *execution) engine(ctx context.Context, at room, step string, args ...string) error {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	stdout, stderr := &limited{limit: maxStderr}, &limited{limit: maxStderr}
	path, env := e.confined(at.env, at.reads, at.writes)
	err := command{path: path, dir: at.dir, env: env, stdout: stdout, stderr: stderr, grace: e.host.Grace}.run(ctx, args...)
	if err == nil {
		return nil
	}
	return e.stepError(ctx, step, err, stderr.String())
}

// forgetKept removes a kept state that was written back, and the folder of its
// run where that was recorded.
func forgetKept(file string) error {
	dir := filepath.Dir(file)
	if err := os.Remove(file); err != nil {
		return err
	}
	if exists(filepath.Join(dir, intentName)) {
		return nil
	}
	return os.RemoveAll(dir)
}

// A lock of a state that outlives its process, as those of s3 and http do, holds
// the unit until somebody removes it. Pave removes it where it can tell that its
// own dead run took it: whoever wants a lock notes on the host that it begins
// to, and the note goes only when the engine gave the lock back.

// lockWindow is a time within which an engine of this unit may have taken the
// lock of the state and not given it back.
type lockWindow struct {
	Run   string    `json:"run"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"` // zero while it goes on, or where it was killed
}

// windowsName is beside the run directories of a unit.
const windowsName = "locking.json"

const maxWindows = 100

func (e *execution) windowsFile() string { return filepath.Join(filepath.Dir(e.dir), windowsName) }

// soon is how long after its start an engine may take the lock: it is the first
// thing that it does, after it waited for it.
const soon = 2 * time.Minute

// windows returns the unit's windows. Where nobody saw the end, an engine that
// had not taken the lock soon had died.
func (e *execution) windows() []lockWindow {
	var list []lockWindow
	if readJSON(e.windowsFile(), maxResult, &list) != nil {
		return nil // no lock is taken for ours then
	}
	for i := range list {
		if list[i].Until.IsZero() {
			list[i].Until = list[i].From.Add(soon)
		}
	}
	return list
}

// locking runs an engine that takes the state's lock, between the notes.
func (e *execution) locking(engine func() error) error {
	if e.backend == "local" { // the system releases that lock with the process
		return engine()
	}
	earlier := e.windows()
	if len(earlier) > maxWindows {
		earlier = earlier[len(earlier)-maxWindows:]
	}
	own := lockWindow{Run: e.job.ID, From: time.Now().UTC()}
	if err := writeJSON(e.windowsFile(), append(earlier, own)); err != nil {
		return fmt.Errorf("note the lock: %w", err)
	}
	err := engine()
	var noted error
	if err == nil { // it got the lock and gave it back, so no window before it matters
		noted = os.Remove(e.windowsFile())
	} else {
		own.Until = time.Now().UTC()
		noted = writeJSON(e.windowsFile(), append(earlier, own))
	}
	if noted != nil {
		fmt.Fprintf(os.Stderr, "note the lock: %v\n", noted)
	}
	return err
}

// locked runs an engine that takes the state's lock: at first without patience,
// to learn who has it. A lock that a dead run of this unit left is released.
func (e *execution) locked(ctx context.Context, engine func(patience string) error) error {
	if e.backend == "local" {
		return engine(e.patience())
	}
	try := func(patience string) error {
		err := e.locking(func() error { return engine(patience) })
		if held := (*lockedError)(nil); e.backend == "http" && errors.As(err, &held) {
			return e.askHolder(ctx, held)
		}
		return err
	}
	err := try("0s")
	var held *lockedError
	if !errors.As(err, &held) {
		return err
	}
	if why := e.foreign(held); why != "" {
		fmt.Fprintf(os.Stderr, "the state's lock %s is left alone: %s\n", printable(held.id), why)
	} else {
		fmt.Fprintf(os.Stderr, "release the state's lock %s, which a dead run left\n", held.id)
		if err := e.engine(ctx, e.here(), "force-unlock", "force-unlock", "-no-color", "-force", held.id); err != nil {
			return err
		}
	}
	return try(e.patience())
}

// patience is how long an engine waits for the state's lock: not so long that
// the step ends without saying who has it.
func (e *execution) patience() string {
	return min(lockTimeout, stepTimeout(e.job)/2).String()
}

// lockedError tells who has the lock of a state.
type lockedError struct {
	id, who, operation string
	created            time.Time
	err                error
}

func (l *lockedError) Error() string {
	by := "somebody"
	if l.who != "" {
		by = fmt.Sprintf("%s since %s (%s)", printable(l.who), l.created.UTC().Format(time.RFC3339), printable(l.operation))
	}
	return fmt.Sprintf("the state is locked by %s: wait until that ends; where nothing of it runs any more, release it with `force-unlock %s`",
		by, printable(l.id))
}

func (l *lockedError) Unwrap() error { return l.err }

var (
	lockInfo = reconciler.Pattern(`(?m)^[\s│|╷╵]*(ID|Who|Operation|Created): +(.*?)\s*$`)
	lockHeld = reconciler.Pattern(`already[\s│|]+locked:[\s│|]+ID=(\S+)`)
	lockID   = reconciler.Pattern(`^[A-Za-z0-9][A-Za-z0-9:._/-]*$`)
)

// lockTime is how engines print when a lock was taken.
const lockTime = "2006-01-02 15:04:05.999999999 -0700 MST"

// asLocked makes an error that an engine gave for want of the lock one that says
// who has it. Engines tell it as text alone.
func asLocked(err error, stderr string) error {
	if !strings.Contains(stderr, "Error acquiring the state lock") {
		return err
	}
	info := map[string]string{}
	for _, m := range lockInfo().FindAllStringSubmatch(stderr, -1) {
		info[m[1]] = m[2]
	}
	if info["ID"] == "" {
		return err
	}
	locked := &lockedError{id: info["ID"], err: err}
	// The backend "http" describes who wants the lock, not who has it.
	if m := lockHeld().FindStringSubmatch(stderr); m != nil {
		locked.id = m[1]
		return locked
	}
	if created, err := time.Parse(lockTime, info["Created"]); err == nil {
		locked.who, locked.operation, locked.created = info["Who"], info["Operation"], created
	}
	return locked
}

// foreign tells why a lock is not one that a dead run of this unit left; empty
// where it is.
func (e *execution) foreign(l *lockedError) string {
	switch {
	case l.who == "":
		return "the backend does not tell whose it is"
	case len(l.id) > 200 || !lockID().MatchString(l.id):
		return "its id is not one"
	}
	if own := whoami(); l.who != own {
		return fmt.Sprintf("it is of %s, not %s", l.who, own)
	}
	ours := slices.ContainsFunc(e.windows(), func(w lockWindow) bool {
		return w.Run != e.job.ID && !l.created.Before(w.From) && !l.created.After(w.Until)
	})
	if !ours {
		return "no run of this unit was going on when it was taken"
	}
	return e.livingOwner()
}

// livingOwner names an engine of this host that may hold the lock: another run
// of the unit, as a preview is, or one that somebody started by hand. Runs of
// other units have locks of their own.
func (e *execution) livingOwner() string {
	runs := filepath.Dir(filepath.Dir(e.dir))
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(runs), "*", e.job.Unit, "*", runLock))
	for _, lock := range others {
		if filepath.Dir(lock) == e.dir {
			continue
		}
		if alive, err := held(lock); alive || err != nil {
			return "another run of the unit is alive: " + filepath.Dir(lock)
		}
	}
	return stranger(filepath.Dir(runs), e.work())
}
