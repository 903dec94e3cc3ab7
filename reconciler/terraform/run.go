package terraform

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"
	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/confine"
)

// The files of a run directory.
const (
	intentName  = "intent.json" // what to do; written once, by Start
	begunName   = "begun.json"  // the plan, from when its apply began
	resultName  = "result.json" // what came of it; written once, by the run
	stopName    = "stop"        // its existence asks the run to end
	runLock     = "lock"        // locked as long as anything of the run lives
	stdoutName  = "stdout"
	stderrName  = "stderr"
	workName    = "work"    // the root module; removed with the run's end
	privateName = "private" // plan, home and temporary files; removed as well
	plannedName = "planned" // in private: where the engine writes a plan
	unitLock    = "lock"    // beside the run directories: locked by the unit's one run
)

const (
	// lockTimeout is how long an engine waits for the lock of a state. Only
	// something other than Pave can hold it: Pave runs a unit once at a time.
	lockTimeout    = time.Minute
	defaultTimeout = time.Hour
	stopPoll       = 100 * time.Millisecond
	maxIntent      = 256 << 20
)

var errStopped = errors.New("stopped on request")

// intent is a job together with the host that it runs on: all that a run reads.
type intent struct {
	Host Host           `json:"host"`
	Job  reconciler.Job `json:"job"`
}

// judge decides on a plan, given as the engine's own JSON.
type judge = func(ctx context.Context, job reconciler.Job, plan json.RawMessage) ([]reconciler.Violation, error)

// execution is one run while its process carries it out.
type execution struct {
	host    Host
	job     reconciler.Job
	dir     string
	judge   judge
	locks   []*os.File // what an apply keeps locked beyond the run's own end
	secrets secrets
	said    []string // what engines said when they failed, not yet masked
	log     log
	tmp     string
	reads   []string // what the unit's engines read of the template
	store   []string // where engines find providers, once it was looked up
	backend string
	env     map[string]string
	// uncompared notes that an engine compared the providers with the lock; nil
	// where engines need not.
	uncompared func(began time.Time) error
	bound      map[string]map[string]string // the credentials of environments

	upstreams map[string]room // where states of other units were read

	before *stateFile // the state as the run found it, where it was read
	after  *stateFile // the state as the run left it, where it differs
	result reconciler.Result
}

// Execute carries out the run whose directory Start made, and leaves its result
// there. It is the whole of the run's process, which must have been started by
// Start: it inherits the run's lock as file descriptor 3 and it changes the
// process's umask. The judge is asked once, about a plan that changes
// something; its error denies the plan. The error tells that no result was left.
func Execute(ctx context.Context, dir string, judge func(context.Context, reconciler.Job, json.RawMessage) ([]reconciler.Violation, error)) error {
	syscall.Umask(0o077)
	if err := confine.Protect(); err != nil {
		return err
	}
	lock, err := inheritedLock(dir)
	if err != nil {
		return fmt.Errorf("start run: %w", err)
	}
	defer unlock(lock)
	var in intent
	if err := readJSON(filepath.Join(dir, intentName), maxIntent, &in); err != nil {
		return fmt.Errorf("read intent: %w", err)
	}
	if err := checkJob(in.Job); err != nil {
		return fmt.Errorf("read intent: %w", err)
	}
	own, err := thisProcess()
	if err == nil {
		err = writeJSON(filepath.Join(dir, processName), own)
	}
	if err != nil {
		return fmt.Errorf("start run: %w", err)
	}
	if in.Job.Mode == reconciler.Observe {
		goLast()
	}
	e := &execution{host: in.Host, job: in.Job, dir: dir, judge: judge, locks: []*os.File{lock}}
	defer e.unlockUnit()
	defer scrub(dir)
	ctx, release := e.watchStop(ctx)
	defer release()
	taken := watchMemory()
	e.run(ctx)
	e.endLeft()
	e.clearLock()
	if err := e.host.makeDir(dir); err != nil { // somebody may have removed it meanwhile
		return err
	}
	e.noteMemory(taken())
	return writeJSON(filepath.Join(dir, resultName), e.result)
}

// goLast has the processors work for others before they do for this process, which
// Start made a group of its own, and for all that it starts: nobody waits for it.
func goLast() {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less what it is called elsewhere
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PGRP, 0, 20-raw+10) // the kernel knows the last
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "let others go first: %v\n", err)
	}
}

// unlockUnit lets the unit's next run begin, whatever a provisioner left running
// with the locks that it inherited.
func (e *execution) unlockUnit() {
	for _, lock := range e.locks[1:] {
		unlock(lock)
	}
}

// clearLock removes what a killed engine left of its lock of a local state, which
// went with its process: the note of whose it was, and the file that it was taken
// on, where nothing was written to that. No other engine might come after it. A
// preview goes on beside other runs of the unit, and leaves that to them.
func (e *execution) clearLock() {
	if e.backend != "local" || e.job.Mode == reconciler.Preview {
		return
	}
	state := localState(e.host, e.job.Unit)
	file, err := os.Open(state)
	if err == nil {
		defer file.Close()
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type != unix.F_UNLCK {
			return // an engine that somebody started by hand
		}
		if info, err := file.Stat(); err == nil && info.Size() == 0 {
			removeLeft(state)
		}
	}
	removeLeft(filepath.Join(filepath.Dir(state), "."+filepath.Base(state)+".lock.info"))
}

// removeLeft removes a file that may not be there. That it stays is no fault of the run.
func removeLeft(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "remove what an engine left: %v\n", err)
	}
}

// inheritedLock returns the lock that Start took before there was an intent, so
// that a run never looks dead while it starts. It is closed in the engines that
// this process starts, but for an apply, which is given it.
func inheritedLock(dir string) (*os.File, error) {
	file := os.NewFile(3, runLock)
	have, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("no lock was inherited: %w", err)
	}
	want, err := os.Stat(filepath.Join(dir, runLock))
	if err != nil {
		return nil, err
	}
	if !os.SameFile(have, want) {
		return nil, errors.New("another lock was inherited")
	}
	unix.CloseOnExec(int(file.Fd()))
	return file, nil
}

// watchStop ends the context when somebody asks the run to stop, by file or by
// signal.
func (e *execution) watchStop(ctx context.Context) (context.Context, func()) {
	ctx, unregister := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, stopPoll) == nil {
			if e.stopAsked() {
				cancel(errStopped)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		unregister()
	}
}

func (e *execution) stopAsked() bool { return exists(filepath.Join(e.dir, stopName)) }

// room is an initialised folder in which an engine runs, with what it is given there.
type room struct {
	dir           string
	env           map[string]string
	reads, writes []string
}

// here is the run's own room.
func (e *execution) here() room { return room{e.work(), e.env, e.reads, e.writes()} }

func (e *execution) work() string    { return filepath.Join(e.dir, workName) }
func (e *execution) private() string { return filepath.Join(e.dir, privateName) }
func (e *execution) home() string    { return filepath.Join(e.private(), "home") }
func (e *execution) planned() string { return filepath.Join(e.private(), plannedName) }

// run does the steps and makes the result of how they ended.
func (e *execution) run(ctx context.Context) {
	e.result = reconciler.Result{ID: e.job.ID, Unit: e.job.Unit, Started: time.Now().UTC()}
	e.beginLog()
	outcome, err := e.steps(ctx)
	if outcome == reconciler.Unchanged && e.before == nil {
		if err = e.readBefore(ctx); err != nil {
			outcome = reconciler.PlanFailed
		}
	}
	unjudged := outcome == reconciler.DeniedByPolicy && err != nil
	if ctx.Err() != nil && (outcome == reconciler.PlanFailed || unjudged) {
		outcome, err = reconciler.Interrupted, nil
	}
	e.report(outcome, err)
}

// steps is the run, in order. Until apply it changes nothing.
func (e *execution) steps(ctx context.Context) (reconciler.Outcome, error) {
	if err := e.prepare(ctx); err != nil {
		return reconciler.PlanFailed, err
	}
	if outcome, err := e.takeOver(ctx); outcome != "" {
		return outcome, err
	}
	if outcome, err := e.checkState(ctx); outcome != "" {
		return outcome, err
	}
	if err := e.beginState(ctx); err != nil {
		return reconciler.PlanFailed, fmt.Errorf("begin the state: %w", err)
	}
	if outcome, err := e.consider(ctx, e.here()); outcome != "" {
		if outcome == reconciler.Unchanged {
			e.keepRefreshed(ctx)
		}
		return outcome, err
	}
	if e.job.Retain {
		return e.retain(ctx)
	}
	return e.apply(ctx)
}

// consider makes the plan in an initialised folder and judges it. The outcome is
// empty where it may be applied.
func (e *execution) consider(ctx context.Context, at room) (reconciler.Outcome, error) {
	e.note("plan")
	changes, err := e.plan(ctx, at)
	if err != nil {
		return reconciler.PlanFailed, err
	}
	if !changes {
		return e.nothingToDo(), nil
	}
	shown, err := e.show(ctx, at)
	if err != nil {
		return reconciler.PlanFailed, err
	}
	if e.job.Mode == reconciler.Observe { // nobody asked for what differs, so there is nothing to judge
		return reconciler.Changed, nil
	}
	if outcome, err := e.judged(ctx, shown); outcome != "" {
		return outcome, err
	}
	if e.job.Mode != reconciler.Converge {
		return reconciler.Changed, nil
	}
	if ctx.Err() != nil || e.stopAsked() {
		return reconciler.Interrupted, nil
	}
	return "", nil
}

// prepare makes the work directory: the code, its values, the initialised
// providers, and the way to the state.
func (e *execution) prepare(ctx context.Context) error {
	unit, err := tryLock(filepath.Join(filepath.Dir(e.dir), unitLock))
	if errors.Is(err, errHeld) {
		return fmt.Errorf("another run of %s has not ended", e.job.Unit)
	}
	if err != nil {
		return fmt.Errorf("lock unit: %w", err)
	}
	e.locks = append(e.locks, unit)
	if err := e.strays(); err != nil {
		return err
	}
	if err := e.makePrivate(); err != nil {
		return fmt.Errorf("prepare run: %w", err)
	}
	if e.env, err = e.environ(ctx, e.job.Environment); err != nil {
		return err
	}
	e.secrets.addDefaults(e.job.Module)
	c := code{files: e.job.Module, generated: e.job.Rendering.Generated, lock: e.job.Lock}
	if e.backend, err = c.backend(); err != nil {
		return err
	}
	template, err := e.template(ctx, c, e.env)
	if err != nil {
		return fmt.Errorf("prepare template: %w", err)
	}
	if c.lock, err = readLock(template); err != nil {
		return fmt.Errorf("prepare template: %w", err)
	}
	e.reads = templateReads(template)
	e.result.Lock = c.lock
	c.lock = e.spared(template, c.lock)
	values, err := e.variables(ctx)
	if err != nil {
		return err
	}
	if err := c.workDir(template, e.work()); err != nil {
		return fmt.Errorf("prepare work directory: %w", err)
	}
	if err := writeJSON(filepath.Join(e.work(), variablesName), values); err != nil {
		return fmt.Errorf("write variables: %w", err)
	}
	if err := e.linkState(); err != nil {
		return err
	}
	return e.own(e.writes()...)
}

// writes returns what the unit's engines change.
func (e *execution) writes() []string {
	return []string{e.work(), e.planned(), filepath.Dir(localState(e.host, e.job.Unit))}
}

// makePrivate makes the folders of the engines. Temporary files are elsewhere,
// behind a link: providers listen on sockets there, whose whole path must not
// exceed about a hundred bytes.
func (e *execution) makePrivate() error {
	if err := e.host.makeDir(e.private()); err != nil {
		return err
	}
	for _, dir := range []string{e.home(), e.planned()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// The link comes first, so that whoever scrubs after this run finds the folder.
	e.tmp = filepath.Join(os.TempDir(), tmpPrefix+rand.Text())
	if err := os.Symlink(e.tmp, filepath.Join(e.private(), tmpLink)); err != nil {
		return err
	}
	if err := os.Mkdir(e.tmp, 0o700); err != nil {
		return err
	}
	return e.own(e.home(), e.tmp)
}

// linkState leads the constant path of the local backend to the unit's state.
func (e *execution) linkState() error {
	if e.backend != "local" {
		return nil
	}
	dir := filepath.Dir(localState(e.host, e.job.Unit))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("prepare state: %w", err)
	}
	return os.Symlink(dir, filepath.Join(e.work(), stateName))
}

// environ returns an engine's whole environment: Pave's own variables and the
// credentials of one environment. Nothing of the host's is passed on.
func (e *execution) environ(ctx context.Context, environment string) (map[string]string, error) {
	env := baseEnviron(e.host, e.home(), e.tmp)
	credentials, err := e.credentials(ctx, environment)
	if err != nil {
		return nil, err
	}
	for key, value := range credentials {
		env[key] = value
		e.secrets.add(value)
	}
	return env, nil
}

// checkState refuses a state that is not the recorded one or not the last one,
// and to destroy what is not the unit's own. The outcome is empty where the run
// may go on.
func (e *execution) checkState(ctx context.Context) (reconciler.Outcome, error) {
	if outcome, err := e.rescue(ctx); outcome != "" {
		return outcome, err
	}
	recorded := e.job.Recorded.Lineage
	if e.backend != "local" && recorded == "" && !e.job.Destroy {
		return "", nil // a remote state costs a process to read, and there is nothing to compare
	}
	if err := e.readBefore(ctx); err != nil {
		if recorded != "" && e.backend == "local" {
			return reconciler.StateLost, e.lost(err.Error())
		}
		return reconciler.PlanFailed, err
	}
	if recorded != "" && e.before.Lineage != recorded {
		return reconciler.StateLost, e.lost("found " + orNone(e.before.Lineage))
	}
	switch {
	case !e.job.Destroy:
		return "", nil
	case e.before.empty():
		_ = os.Remove(e.ownedFile())
		return e.nothingToDo(), nil
	case !e.owned():
		return reconciler.NotOwned, fmt.Errorf("the state at %s records %s as its owner, not %s: nothing of it is destroyed",
			e.job.Rendering.Address, orNone(e.before.owner()), e.job.Unit)
	}
	return "", nil
}

// beginState writes an empty state for a new unit on PostgreSQL. Until there is
// one, its engine locks not the state but the making of any state in the
// database, from the plan to the end of the first apply, and no other new unit
// gets further meanwhile.
func (e *execution) beginState(ctx context.Context) error {
	if e.backend != "pg" || e.job.Recorded.Lineage != "" || e.job.Destroy || e.job.Mode != reconciler.Converge {
		return nil
	}
	state, err := e.readState(ctx)
	if err != nil || state.Lineage != "" {
		return err
	}
	return e.put(ctx, e.here(), stateFile{}.ended(), false)
}

// ownedName is beside the run directories of a unit: the lineage of a state that
// carried the unit's ownership record when its destroy began. A destroy removes
// the record with the other outputs first, and may fail after that.
const ownedName = "owned"

func (e *execution) ownedFile() string { return filepath.Join(filepath.Dir(e.dir), ownedName) }

// owned tells whether the state carries the unit's ownership record, or lost it
// in a destroy that did not end.
func (e *execution) owned() bool {
	if owner := e.before.owner(); owner != "" {
		return owner == e.job.Unit
	}
	lineage, err := readFile(e.ownedFile(), 1<<10)
	return err == nil && e.before.Lineage != "" && string(lineage) == e.before.Lineage
}

// lost tells what was expected where, and what to do.
func (e *execution) lost(found string) error {
	return lost(e.job.Unit, e.job.Recorded.Lineage, e.job.Rendering.Address, found)
}

func lost(unit, lineage, address, found string) error {
	return fmt.Errorf("expected state lineage %s at %s, %s: put it back from a backup with `pave state restore %s FILE`",
		lineage, address, found, unit)
}

// readBefore reads the unit's state as the run finds it.
func (e *execution) readBefore(ctx context.Context) error {
	state, err := e.readState(ctx)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	e.before = &state
	return nil
}

// readState reads the unit's state: a local one as a file, for no process is
// cheaper.
func (e *execution) readState(ctx context.Context) (stateFile, error) {
	state, err := readLocalState(e.host, e.job.Unit)
	if e.backend != "local" {
		state, err = e.pull(ctx, e.here())
	}
	if err == nil {
		e.secrets.addState(state)
	}
	return state, err
}

// pull reads the state of an initialised folder from its backend.
func (e *execution) pull(ctx context.Context, at room) (stateFile, error) {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	tf, stderr, err := e.tfexec(at)
	if err != nil {
		return stateFile{}, err
	}
	text, err := tf.StatePull(ctx)
	if err != nil {
		return stateFile{}, e.explain(ctx, "state pull", err, stderr.String(), textErrors(stderr.String()))
	}
	return parseState([]byte(text))
}

// tfexec returns terraform-exec for one command in a folder, and what that
// command writes to its standard error.
func (e *execution) tfexec(at room) (*tfexec.Terraform, *limited, error) {
	path, env := e.confined(at.env, at.reads, at.writes)
	tf, err := tfexec.NewTerraform(at.dir, path)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(tf.SetEnv(env), tf.SetWaitDelay(e.host.Grace)); err != nil {
		return nil, nil, err
	}
	stderr := &limited{limit: maxStderr}
	tf.SetStderr(stderr)
	return tf, stderr, nil
}

// stepTimeout is how long one step of a run may take.
func stepTimeout(job reconciler.Job) time.Duration {
	if job.Timeout <= 0 {
		return defaultTimeout
	}
	return job.Timeout
}

// timed bounds one step.
func (e *execution) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := stepTimeout(e.job)
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("took longer than %s", timeout))
}

// explain makes an error of a step that failed: why it was ended, or what the
// engine said. The engine's own words are kept for the run's stderr.
func (e *execution) explain(ctx context.Context, step string, err error, stderr string, ds []diagnostic) error {
	if stderr == "" {
		stderr = err.Error()
	}
	e.said = append(e.said, step+":\n"+stderr)
	for _, d := range ds {
		e.log.add(logLine{at: time.Now().UTC(), text: step + ": " + d.String(), foreign: true})
	}
	said := joinDiagnostics(ds)
	switch {
	case ctx.Err() != nil && said != "":
		return fmt.Errorf("%s: %w: %s", step, context.Cause(ctx), said)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", step, context.Cause(ctx))
	case said != "":
		return fmt.Errorf("%s: %s", step, said)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// planFile is the plan that is shown, judged and applied. It is a copy: what a
// plan started and left behind could still change the file that it wrote.
func (e *execution) planFile() string { return filepath.Join(e.private(), "plan") }

// plan makes the plan in an initialised folder and tells whether it changes
// anything.
func (e *execution) plan(ctx context.Context, at room) (bool, error) {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	changes := false
	err := e.locked(ctx, func(patience string) (err error) {
		changes, err = e.planOnce(ctx, at, patience)
		return err
	})
	if held := (*lockedError)(nil); err != nil && !errors.As(err, &held) {
		e.result.Invalid = e.unreadable(ctx, at)
	}
	return changes, err
}

// planOnce is one try, which waits so long for the lock of the state.
func (e *execution) planOnce(ctx context.Context, at room, patience string) (bool, error) {
	tf, stderr, err := e.tfexec(at)
	if err != nil {
		return false, err
	}
	written := filepath.Join(e.planned(), "plan")
	// Who only looks at what is not there yet has nothing to lock.
	lock := e.job.Mode == reconciler.Converge || e.job.Recorded.Lineage != ""
	began := time.Now()
	changes, err := tf.Plan(ctx, tfexec.Out(written), tfexec.Lock(lock), tfexec.LockTimeout(patience), tfexec.Destroy(e.job.Destroy))
	if err != nil {
		return false, e.stepError(ctx, "plan", err, stderr.String())
	}
	e.compared(at, began)
	if changes {
		err = e.keepPlan(written)
	}
	return changes, err
}

// unreadable tells whether the engine cannot read the code: then everything that
// it says is about a place in the code. What has no place, such as a provider that
// does not start, may be otherwise the next time.
func (e *execution) unreadable(ctx context.Context, at room) bool {
	if ctx.Err() != nil {
		return false
	}
	ctx, cancel := e.timed(ctx)
	defer cancel()
	stdout := &limited{limit: maxStderr}
	path, env := e.confined(at.env, at.reads, at.writes)
	_ = command{
		path: path, dir: at.dir, env: env, stdout: stdout, stderr: io.Discard, grace: e.host.Grace,
	}.run(ctx, "validate", "-json", "-no-color") // its output says whether it fails
	var said tfjson.ValidateOutput
	if json.Unmarshal(stdout.Bytes(), &said) != nil || said.Valid {
		return false
	}
	return !slices.ContainsFunc(said.Diagnostics, func(d tfjson.Diagnostic) bool {
		return d.Severity == tfjson.DiagnosticSeverityError && d.Range == nil
	})
}

func (e *execution) keepPlan(written string) error {
	data, err := readOwn(written, maxPlanFile)
	if err == nil {
		err = os.WriteFile(e.planFile(), data, 0o600)
	}
	if err == nil {
		err = e.host.offer(e.planFile(), userOf(e.job.Unit))
	}
	if err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	return nil
}

// stepError is explain for an engine that speaks to people.
func (e *execution) stepError(ctx context.Context, step string, err error, stderr string) error {
	return asLocked(e.explain(ctx, step, err, stderr, textErrors(stderr)), stderr)
}

// nothingToDo is the outcome where there is nothing to change.
func (e *execution) nothingToDo() reconciler.Outcome {
	if e.job.Destroy && e.job.Mode == reconciler.Converge {
		return reconciler.Destroyed
	}
	return reconciler.Unchanged
}

// show returns the plan as JSON, learns its secrets and summarises it.
func (e *execution) show(ctx context.Context, at room) (json.RawMessage, error) {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	stdout, stderr := &limited{limit: maxPlanJSON}, &limited{limit: maxStderr}
	path, env := e.confined(at.env, append(slices.Clone(at.reads), e.planFile()), at.writes)
	err := command{
		path: path, dir: at.dir, env: env,
		stdout: stdout, stderr: stderr, grace: e.host.Grace,
	}.run(ctx, "show", "-json", "-no-color", e.planFile())
	if err != nil {
		return nil, e.explain(ctx, "show plan", err, stderr.String(), textErrors(stderr.String()))
	}
	if stdout.dropped {
		return nil, fmt.Errorf("show plan: the plan is larger than %d bytes: split the request", maxPlanJSON)
	}
	raw := json.RawMessage(stdout.Bytes())
	if e.job.Retain {
		if raw, err = forgetting(raw); err != nil {
			return nil, err
		}
	}
	plan, err := parsePlan(raw)
	if err != nil {
		return nil, err
	}
	e.secrets.addPlan(plan)
	e.result.Plan, err = summarise(plan)
	if e.job.Mode == reconciler.Observe {
		addAuthors(&e.result.Plan, plan)
	}
	e.result.Plan.Digest = e.job.PlanDigest(e.result.Plan.Digest, e.result.Lock)
	e.notePlan()
	return raw, err
}

// judged asks the judge. The outcome is empty where the plan may be applied.
func (e *execution) judged(ctx context.Context, plan json.RawMessage) (reconciler.Outcome, error) {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	violations, err := e.judge(ctx, e.job, plan)
	if err != nil {
		return reconciler.DeniedByPolicy, fmt.Errorf("judge plan: %w", err)
	}
	e.result.Violations = violations
	switch {
	case reconciler.Denied(violations):
		return reconciler.DeniedByPolicy, nil
	case e.job.Lacks(e.result.Plan.Digest, violations):
		return reconciler.AwaitingApproval, nil
	}
	return "", nil
}

// apply does what was planned and reads what became of it.
func (e *execution) apply(ctx context.Context) (reconciler.Outcome, error) {
	if e.job.Destroy {
		if err := writeFile(e.ownedFile(), []byte(e.before.Lineage)); err != nil {
			return reconciler.PlanFailed, fmt.Errorf("note the ownership: %w", err)
		}
	}
	e.maskPlan()
	if err := writeJSON(filepath.Join(e.dir, begunName), e.result.Plan); err != nil {
		return reconciler.PlanFailed, fmt.Errorf("note what begins: %w", err)
	}
	e.note("apply")
	applyErr := e.runApply(ctx)
	// A run that was asked to stop has still changed things: it reads them.
	state, err := e.readState(context.WithoutCancel(ctx))
	if err == nil {
		e.after = &state
	}
	switch {
	case applyErr != nil:
		return reconciler.ApplyFailed, e.doubted(applyErr, state)
	case err != nil:
		return reconciler.Unknown, fmt.Errorf("read state after apply: %w", err)
	case !e.job.Destroy:
		return reconciler.Applied, nil
	case len(state.addresses()) > 0:
		return reconciler.ApplyFailed, errors.New("resources are left after the destroy")
	}
	_ = os.Remove(e.ownedFile()) // it would say nothing of another lineage
	return reconciler.Destroyed, nil
}

// doubted adds to the error of an apply that did not end by itself, or whose
// provider did not, what may exist that the state lacks.
func (e *execution) doubted(applyErr error, after stateFile) error {
	if !errors.As(applyErr, new(*cutError)) {
		return applyErr
	}
	written := after.addresses()
	e.result.Doubt = slices.DeleteFunc(e.result.Plan.Makes(), func(address string) bool { return slices.Contains(written, address) })
	if words := reconciler.Unwritten(e.result.Doubt); words != "" {
		return fmt.Errorf("%w; %s", applyErr, words)
	}
	return applyErr
}

// cutError is of an apply that may have made what it did not write down.
type cutError struct{ error }

// asCut makes the error of an apply one where its engine was killed, or a provider
// ended in the middle of an answer.
func asCut(err, ended error, ds []diagnostic) error {
	exit, is := errors.AsType[*exec.ExitError](ended)
	killed := is && !exit.Exited()
	if killed || slices.ContainsFunc(ds, func(d diagnostic) bool { return d.Summary == "Plugin did not respond" }) {
		return &cutError{err}
	}
	return err
}

// runApply starts the engine's apply. Its output goes to files, and it keeps
// the run's locks, so that it ends well if this process does not.
func (e *execution) runApply(ctx context.Context) error {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	stdout, err := createLog(filepath.Join(e.private(), "apply.jsonl"))
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := createLog(filepath.Join(e.private(), "apply.stderr"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	stop := bound(stdout, stderr)
	told := e.follow(stdout.Name())
	path, env := e.confined(e.env, append(slices.Clone(e.reads), e.planFile()), e.writes())
	err = e.locking(func() error {
		return command{
			path: path, dir: e.work(), env: env,
			stdout: stdout, stderr: stderr, keep: e.locks, grace: e.host.Grace,
		}.run(ctx, "apply", "-json", "-input=false", "-lock-timeout="+e.patience(), e.planFile())
	})
	told()
	cut := stop()
	if err == nil {
		return nil
	}
	said, ds := applyErrors(stdout, stderr, cut)
	return asCut(e.explain(ctx, "apply", err, said, ds), err, ds)
}

// applyErrors reads what a failed apply said, in its stream and beside it. Where
// its beginning is cut, half a line is left out: it could be half a secret.
func applyErrors(stdout, stderr *os.File, cut bool) (string, []diagnostic) {
	var ds []diagnostic
	if _, err := stdout.Seek(0, 0); err == nil {
		ds = streamErrors(stdout)
	}
	text := &limited{limit: maxStderr}
	if _, err := stderr.Seek(0, 0); err == nil {
		from := bufio.NewReader(stderr)
		if cut {
			_, _ = from.ReadSlice('\n')
		}
		_, _ = from.WriteTo(text)
	}
	return joinDiagnostics(ds) + "\n" + text.String(), append(ds, textErrors(text.String())...)
}

// report fills the result, and lets no secret into it. It comes last, when all
// secrets are known that the run could learn.
func (e *execution) report(outcome reconciler.Outcome, err error) {
	r := &e.result
	r.Outcome = outcome
	message := ""
	if err != nil {
		message = err.Error()
	}
	if keepErrored(e.dir) {
		note := fmt.Sprintf("the engine could not write the state: it is kept on the host as %s/%s/%s in the folder of runs, and is written back before anything else",
			e.job.Unit, e.job.ID, erroredName)
		message = strings.TrimSuffix(note+": "+message, ": ")
	}
	r.Message = e.secrets.line(message)
	for _, text := range e.said {
		fmt.Fprintln(os.Stderr, e.secrets.mask(text))
	}
	for i := range r.Violations {
		v := &r.Violations[i]
		v.Message, v.Hint = e.secrets.line(v.Message), e.secrets.line(v.Hint)
		for i := range v.Path {
			v.Path[i] = e.secrets.line(v.Path[i])
		}
		v.Position.File = e.secrets.line(v.Position.File)
	}
	e.maskPlan()
	for i := range r.Retained {
		r.Retained[i].Address, r.Retained[i].ID = e.secrets.mask(r.Retained[i].Address), e.secrets.line(r.Retained[i].ID)
	}
	e.reportState()
	r.Finished = time.Now().UTC()
	e.endLog()
}

func (e *execution) maskPlan() {
	for i := range e.result.Plan.Changes {
		c := &e.result.Plan.Changes[i]
		c.Address, c.By = e.secrets.mask(c.Address), e.secrets.line(c.By)
	}
}

// reportState tells the state after the run. Where it was not read, or is not
// the unit's, what was recorded before stays true.
func (e *execution) reportState() {
	r := &e.result
	r.State = e.job.Recorded
	if e.before == nil && e.after == nil || r.Outcome == reconciler.StateLost || r.Outcome == reconciler.NotOwned {
		return
	}
	state := e.before
	if e.after != nil {
		state = e.after
		r.OutputsChanged = e.before == nil || !sameOutputs(*e.before, *e.after)
	}
	r.State = state.identity(e.job.Rendering.Address)
	plain, sensitive := state.outputs()
	for name, value := range plain {
		// An output that holds a secret without saying so becomes a sensitive
		// one: masked it would be a wrong value for the units that use it.
		if decoded, err := decode(value); err != nil || e.secrets.within(decoded) {
			delete(plain, name)
			sensitive = append(sensitive, name)
		}
	}
	slices.Sort(sensitive)
	r.Outputs, r.Sensitive = reconciler.FieldsOf(plain), sensitive
	r.Resources = state.addresses()
	for i := range r.Resources {
		r.Resources[i] = e.secrets.mask(r.Resources[i])
	}
	ids := map[string]string{}
	for _, found := range state.identified() {
		if found.ID != "" && !e.secrets.within(found.ID) {
			ids[e.secrets.mask(found.Address)] = e.secrets.line(found.ID)
		}
	}
	r.IDs = reconciler.FieldsOf(ids)
}

const (
	tmpPrefix = "pave-run-"
	tmpLink   = "tmp"
)

// keepErrored saves the state that an engine could not write from the end of
// the work directory, and tells whether there is one.
func keepErrored(dir string) bool {
	from, to := filepath.Join(dir, workName, erroredName), filepath.Join(dir, erroredName)
	if info, err := os.Lstat(from); err == nil && !info.Mode().IsRegular() {
		return exists(to) // no state, but a trap for who reads it
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "keep %s: %v\n", erroredName, err)
	}
	return exists(to)
}

// scrub removes everything of a run that may hold a secret. It is done again
// for a run that died.
func scrub(dir string) {
	keepErrored(dir)
	private := filepath.Join(dir, privateName)
	if tmp, err := os.Readlink(filepath.Join(private, tmpLink)); err == nil &&
		strings.HasPrefix(filepath.Base(tmp), tmpPrefix) {
		_ = os.RemoveAll(tmp)
	}
	for _, path := range []string{private, filepath.Join(dir, workName)} {
		if err := os.RemoveAll(path); err != nil {
			fmt.Fprintf(os.Stderr, "remove %s: %v\n", path, err)
		}
	}
}
