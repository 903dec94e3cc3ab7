package terraform

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// maxResult bounds what is read of a result.
const maxResult = 64 << 20

// running is a run that was started, by this process or another.
type running struct {
	host Host
	job  reconciler.Job
	dir  string
	// exited is closed when the run's process, a child of this one, has ended
	// and was reaped; nil where it is nobody's child here.
	exited <-chan struct{}
	// ended says how it ended, once exited is closed.
	ended *error
}

// Start starts a run in a process of its own, in its own session, which goes on
// when this process ends. The job's ID must be unused.
func (r *Runner) Start(_ context.Context, job reconciler.Job) (reconciler.Running, error) {
	if err := checkJob(job); err != nil {
		return nil, err
	}
	if err := r.prepareCache(); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	unit := filepath.Join(r.host.Runs, job.Unit)
	if err := r.host.makeDir(unit); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	dir := filepath.Join(unit, job.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	if err := r.host.makeDir(dir); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	run := &running{host: r.host, job: job, dir: dir}
	if err := run.launch(); err != nil {
		return nil, errors.Join(fmt.Errorf("start run: %w", err), os.RemoveAll(dir))
	}
	return run, nil
}

// launch writes the intent and starts the process. The run's lock is taken
// before there is an intent and handed to the process, so that whoever finds
// the intent finds the run alive.
func (p *running) launch() error {
	lock, err := tryLock(filepath.Join(p.dir, runLock))
	if err != nil {
		return err
	}
	defer lock.Close()
	home := filepath.Join(p.dir, privateName, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	stdout, err := createLog(filepath.Join(p.dir, stdoutName))
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := createLog(filepath.Join(p.dir, stderrName))
	if err != nil {
		return err
	}
	defer stderr.Close()
	if err := writeJSON(filepath.Join(p.dir, intentName), intent{Host: p.host, Job: p.job}); err != nil {
		return err
	}
	cmd := exec.Command(p.host.Self, "__run", p.dir)
	cmd.Args[0] = os.Args[0] // for people: the path may say nothing
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + home, "LANG=C.UTF-8", "TMPDIR=" + os.TempDir(), "CHECKPOINT_DISABLE=1"}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.reap(cmd)
	return nil
}

func createLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// reap waits for the process in the background, for as long as it lives: a
// child that nobody waits for stays in the process table.
func (p *running) reap(cmd *exec.Cmd) {
	exited := make(chan struct{})
	p.exited, p.ended = exited, new(error)
	go func() {
		defer close(exited)
		*p.ended = cmd.Wait()
	}()
}

// Job returns the job as it was started.
func (p *running) Job() reconciler.Job { return p.job }

// Wait returns the result once neither the run's process is alive nor an apply
// that outlived it. What else they left in the run's folder is ended.
func (p *running) Wait(ctx context.Context) (reconciler.Result, error) {
	if p.exited != nil {
		select {
		case <-p.exited:
		case <-ctx.Done():
			return reconciler.Result{}, context.Cause(ctx)
		}
	}
	for said := false; ; {
		var alive bool
		var err error
		if !p.endedWell() {
			alive, err = p.alive()
		}
		if err == nil && !alive {
			var result reconciler.Result
			if result, err = p.collect(); err == nil {
				return result, nil
			}
		}
		wait := lockPoll
		if lacking(err) { // whether it lives, and what it left, is not known until there is some
			if !said {
				fmt.Fprintf(os.Stderr, "wait for run %s of %s: %v\n", p.job.ID, p.job.Unit, err)
			}
			said, wait, err = true, time.Second, nil
		}
		if err != nil {
			return reconciler.Result{}, fmt.Errorf("wait for run: %w", err)
		}
		if err := sleep(ctx, wait); err != nil {
			return reconciler.Result{}, err
		}
	}
}

// endedWell tells whether the run's process, a child of this one, left a result,
// which it does when nothing of it is left.
func (p *running) endedWell() bool { return p.exited != nil && *p.ended == nil }

// collect reads what a run that has ended left. The error tells that it could
// not be read for want of something.
func (p *running) collect() (reconciler.Result, error) {
	var result reconciler.Result
	err := readJSON(filepath.Join(p.dir, resultName), maxResult, &result)
	if lacking(err) {
		return reconciler.Result{}, err
	}
	defer scrub(p.dir)
	if err == nil && result.ID == p.job.ID && result.Unit == p.job.Unit {
		return result, nil
	}
	result = p.unknown()
	p.endLog(result)
	return result, nil
}

// unknown is the result of a run that left none.
func (p *running) unknown() reconciler.Result {
	message := "the run ended without a result"
	if p.ended != nil && *p.ended != nil {
		message += ": " + (*p.ended).Error()
	}
	secrets, known := p.leftSecrets()
	if tail := p.tail(); tail != "" && known {
		message += ": " + tail
	}
	kept := keepErrored(p.dir)
	if kept {
		message += "; a state that was not written is kept beside it as " + erroredName
	}
	var plan reconciler.PlanSummary // of the apply, where one began
	_ = readJSON(filepath.Join(p.dir, begunName), maxResult, &plan)
	var doubt []string
	if !kept {
		doubt = plan.Makes()
	}
	if words := reconciler.Unwritten(doubt); words != "" {
		message += "; " + words
	}
	return reconciler.Result{
		ID: p.job.ID, Unit: p.job.Unit, Outcome: reconciler.Unknown, Plan: plan, Doubt: doubt,
		Message: secrets.line(message), State: p.job.Recorded, Finished: time.Now().UTC(),
	}
}

// tail returns the end of what the run wrote to its standard error.
func (p *running) tail() string {
	file, err := os.Open(filepath.Join(p.dir, stderrName))
	if err != nil {
		return ""
	}
	defer file.Close()
	cut := false
	if info, err := file.Stat(); err == nil && info.Size() > maxMessage/2 {
		_, err = file.Seek(-maxMessage/2, io.SeekEnd)
		cut = err == nil
	}
	data, _ := io.ReadAll(io.LimitReader(file, maxMessage/2))
	if cut { // half a line could be half a secret, which nothing masks
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	return printable(string(data))
}

// leftSecrets returns the secrets that a dead run may have written: its
// credentials, the values that came from other units and those that its code has.
// What the run wrote was masked by itself; this is for the traces of a crash. Not
// all are known where a helper made the credentials, for it makes others each time.
func (p *running) leftSecrets() (left *secrets, known bool) {
	s := &secrets{}
	s.addDefaults(p.job.Module)
	environments := map[string]bool{p.job.Environment: true}
	for _, up := range p.job.Upstream {
		environments[up.Environment] = true
	}
	if p.job.Takes != nil {
		environments[p.job.Takes.Environment] = true
	}
	known = true
	for environment := range environments {
		source, err := findCredentials(p.host, environment, p.job.Mode)
		var values map[string]string
		if err == nil {
			values, err = source.held()
		}
		known = known && err == nil && !source.helper
		for _, value := range values {
			s.add(value)
		}
	}
	var values map[string]any
	if readJSON(filepath.Join(p.dir, workName, variablesName), maxIntent, &values) == nil {
		for name := range p.job.Rendering.References {
			s.addValue(values[name])
		}
	}
	return s, known
}

// Stop asks the run to end: before its apply it changes nothing any more,
// during it the engine is interrupted and given time to write its state.
func (p *running) Stop() error {
	err := os.MkdirAll(p.dir, 0o700) // somebody may have removed it
	if err == nil {
		err = writeFile(filepath.Join(p.dir, stopName), nil)
	}
	if err != nil {
		return fmt.Errorf("stop run: %w", err)
	}
	return nil
}

// Forget removes what the run left. A state that the engine could not write
// stays. It refuses while the run is alive.
func (p *running) Forget() error {
	alive, err := held(filepath.Join(p.dir, runLock))
	if err != nil {
		return fmt.Errorf("forget run: %w", err)
	}
	if alive {
		return fmt.Errorf("forget run: %s of %s has not ended", p.job.ID, p.job.Unit)
	}
	scrub(p.dir)
	p.keepLog()
	if !exists(filepath.Join(p.dir, erroredName)) {
		return os.RemoveAll(p.dir)
	}
	// Without an intent the directory is no run any more.
	return os.Remove(filepath.Join(p.dir, intentName))
}

// Unfinished returns the runs of this host that were not forgotten, dead or
// alive, by unit and ID. No other process may start runs in the folder meanwhile:
// what one left that was killed before it wrote an intent is removed. One that cannot be read is in the error; the others
// are returned all the same.
func (r *Runner) Unfinished() ([]reconciler.Running, error) {
	r.removeUnbegun()
	paths, err := fs.Glob(os.DirFS(r.host.Runs), "*/*/"+intentName)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var found []reconciler.Running
	var errs []error
	for _, path := range paths {
		dir := filepath.Join(r.host.Runs, filepath.Dir(path))
		run, err := r.adopt(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // forgotten meanwhile
		case err != nil:
			errs = append(errs, fmt.Errorf("read run %s: %w", dir, err))
		default:
			found = append(found, run)
		}
	}
	slices.SortFunc(found, func(a, b reconciler.Running) int {
		return cmp.Or(cmp.Compare(a.Job().Unit, b.Job().Unit), cmp.Compare(a.Job().ID, b.Job().ID))
	})
	return found, errors.Join(errs...)
}

// removeUnbegun removes folders of runs that have no intent and hold no state.
func (r *Runner) removeUnbegun() {
	dirs, _ := filepath.Glob(filepath.Join(r.host.Runs, "*", "*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || exists(filepath.Join(dir, intentName)) || exists(filepath.Join(dir, erroredName)) {
			continue
		}
		if alive, err := held(filepath.Join(dir, runLock)); alive || err != nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintf(os.Stderr, "remove %s: %v\n", dir, err)
		}
	}
}

// adopt returns the run of a directory, whoever started it.
func (r *Runner) adopt(dir string) (*running, error) {
	var in intent
	if err := readJSON(filepath.Join(dir, intentName), maxIntent, &in); err != nil {
		return nil, err
	}
	if in.Job.ID != filepath.Base(dir) || in.Job.Unit != filepath.Base(filepath.Dir(dir)) {
		return nil, fmt.Errorf("the intent is of run %s of %s", in.Job.ID, in.Job.Unit)
	}
	return &running{host: r.host, job: in.Job, dir: dir}, nil
}
