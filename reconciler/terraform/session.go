package terraform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

const (
	processName     = "process.json" // which process the run is; written by itself
	interruptedName = "interrupted"  // its existence tells that an apply without its run was interrupted
)

// process tells one process from every other, also of another boot of the
// machine or of another container, where its number may be somebody else's.
type process struct {
	Boot    string `json:"boot"`
	Space   string `json:"space"` // of process numbers
	ID      int    `json:"id"`    // of its session as well: a run leads one
	Started uint64 `json:"started"`
}

// thisProcess returns the running one.
func thisProcess() (process, error) {
	boot, space, err := numbering()
	if err != nil {
		return process{}, err
	}
	stat, err := statOf(os.Getpid())
	return process{Boot: boot, Space: space, ID: os.Getpid(), Started: stat.Starttime}, err
}

// numbering returns where numbers of processes mean something.
func numbering() (boot, space string, err error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", err
	}
	space, err = os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(id)), space, err
}

// here tells whether its number means something to this process.
func (p process) here() bool {
	boot, space, err := numbering()
	return err == nil && p.ID > 0 && p.Boot == boot && p.Space == space
}

func (p process) alive() bool {
	stat, err := statOf(p.ID)
	return err == nil && stat.Starttime == p.Started && !dead(stat)
}

func statOf(id int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(id)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// dead tells whether a process only waits for somebody to notice that it ended.
func dead(stat procfs.ProcStat) bool { return stat.State == "Z" || stat.State == "X" }

// livingWhere returns the living processes, but for this one, of which something
// is so. What cannot be read of a process ended, or is of somebody else. The error
// tells that nothing could be read for want of something.
func livingWhere(so func(procfs.Proc) (bool, error)) ([]procfs.Proc, error) {
	all, err := procfs.AllProcs()
	var found []procfs.Proc
	for _, p := range all {
		if p.PID == os.Getpid() {
			continue
		}
		if session, err := unix.Getsid(p.PID); err == nil && session == 0 {
			continue // the kernel's own, or begun outside: every run leads a session in here
		}
		is, readErr := so(p)
		if is && readErr == nil {
			var stat procfs.ProcStat
			stat, readErr = p.Stat()
			is = readErr == nil && !dead(stat)
		}
		if lacking(readErr) {
			err = readErr
		}
		if is {
			found = append(found, p)
		}
	}
	return found, err
}

// ofRun tells whether a process was started by the engines of a run, directly or
// not: they have a home that nothing else has. That holds in another session as
// well, and unlike a number it is never given again.
func ofRun(dir string, p procfs.Proc) (bool, error) {
	environ, err := p.Environ()
	return slices.Contains(environ, "HOME="+filepath.Join(dir, privateName, "home")), err
}

// endLeft ends what the engines of this process left behind, once none of them
// is at work any more: it holds credentials, and could change what the unit's
// next run looks at.
func (e *execution) endLeft() {
	own := os.Getpid()
	for range 50 {
		left, err := livingWhere(func(p procfs.Proc) (bool, error) {
			if session, err := unix.Getsid(p.PID); err == nil && session == own {
				return true, nil
			}
			return ofRun(e.dir, p)
		})
		if err != nil {
			fmt.Fprintf(os.Stderr, "look for processes that are left: %v\n", err)
		}
		if len(left) == 0 {
			return
		}
		fmt.Fprintf(os.Stderr, "ended processes that the run left behind: %v\n", left)
		killAll(left)
		time.Sleep(stopPoll)
	}
}

func killAll(processes []procfs.Proc) {
	for _, p := range processes {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may have ended by itself
	}
}

// alive tells whether anything of the run is: its lock is held, or one of its
// processes lives. An apply that outlived its run goes on within the limits that
// the run would have kept it to. All else that a dead run left is ended: nobody
// waits for what it does.
func (p *running) alive() (bool, error) {
	locked, err := held(filepath.Join(p.dir, runLock))
	if err != nil {
		return false, err
	}
	var leader process
	err = readJSON(filepath.Join(p.dir, processName), 1<<10, &leader)
	if lacking(err) {
		return false, err
	}
	switch known := err == nil; {
	case !known && !exists(filepath.Join(p.dir, intentName)): // somebody removed the folder, and the lock with it
	case !known || !leader.here():
		return locked, nil // before it began, or elsewhere: its lock alone tells
	case leader.alive():
		return true, nil
	}
	left, err := livingWhere(func(process procfs.Proc) (bool, error) { return ofRun(p.dir, process) })
	if err != nil {
		return false, err
	}
	for _, process := range left {
		if p.leads(process) || p.applies(process) && p.mayGoOn(process.PID) {
			return true, nil
		}
	}
	killAll(left)
	return locked || len(left) > 0, nil
}

// leads tells whether a process is the run's own.
func (p *running) leads(process procfs.Proc) bool {
	args, err := process.CmdLine()
	return err == nil && len(args) == 3 && args[1] == "__run" && args[2] == p.dir
}

// strays refuses to go on beside another run of the unit whose folder somebody
// removed, with the lock by which it would be known.
func (e *execution) strays() error {
	home := regexp.MustCompile("^HOME=(" + regexp.QuoteMeta(filepath.Dir(e.dir)) + "/([^/]+))/" + privateName + "/home$")
	others := map[string]string{} // the names of runs by their folders
	_, err := livingWhere(func(process procfs.Proc) (bool, error) {
		environ, err := process.Environ()
		for _, variable := range environ {
			if found := home.FindStringSubmatch(variable); found != nil && found[1] != e.dir {
				others[found[1]] = found[2]
			}
		}
		return false, err
	})
	for dir, id := range others {
		alive, aliveErr := (&running{host: e.host, job: e.job, dir: dir}).alive()
		if alive {
			return fmt.Errorf("run %s of %s has not ended: when it has, what it did is looked at", id, e.job.Unit)
		}
		err = cmp.Or(err, aliveErr)
	}
	if err != nil {
		return fmt.Errorf("look for other runs of %s: %w", e.job.Unit, err)
	}
	return nil
}

// applies tells whether a process is the run's apply.
func (p *running) applies(process procfs.Proc) bool {
	args, err := process.CmdLine()
	return err == nil && len(args) > 2 && args[1] == "apply" && args[len(args)-1] == filepath.Join(p.dir, privateName, "plan")
}

// mayGoOn tells whether an apply without its run may. One that takes too long, or
// that was asked to stop, is interrupted once and has its grace.
func (p *running) mayGoOn(id int) bool {
	mark := filepath.Join(p.dir, interruptedName)
	if info, err := os.Stat(mark); err == nil {
		return time.Since(info.ModTime()) < p.host.Grace
	}
	if !exists(filepath.Join(p.dir, stopName)) && age(id) < stepTimeout(p.job) {
		return true
	}
	err := errors.Join(os.MkdirAll(p.dir, 0o700), writeFile(mark, nil), syscall.Kill(id, syscall.SIGINT))
	return err == nil
}

// age tells how long a process has lived.
func age(id int) time.Duration {
	var up unix.Timespec
	stat, err := statOf(id)
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return 0
	}
	return time.Duration(up.Nano()) - time.Duration(stat.Starttime)*10*time.Millisecond
}

// whoami is how engines name who has a lock: user@host.
func whoami() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

// stranger names an engine that works outside a folder with the backend of the
// work directory; empty where there is none.
func stranger(folder, work string) string {
	backend := backendOf(work)
	all, _ := procfs.AllProcs()
	for _, p := range all {
		args, err := p.CmdLine()
		if err != nil || len(args) == 0 || !knownEngine(filepath.Base(args[0])) {
			continue
		}
		cwd, err := p.Cwd()
		if err != nil || strings.HasPrefix(cwd, folder+string(filepath.Separator)) {
			continue
		}
		if backendOf(cwd) == backend {
			return fmt.Sprintf("process %d in %s may hold it", p.PID, cwd)
		}
	}
	return ""
}

// backendOf returns the backend for which a folder was initialised, as one text.
func backendOf(dir string) string {
	var file struct {
		Backend struct {
			Type   string          `json:"type"`
			Config json.RawMessage `json:"config"`
		} `json:"backend"`
	}
	if readJSON(filepath.Join(dir, dataName, backendName), maxStateFile, &file) != nil {
		return ""
	}
	return file.Backend.Type + " " + string(canonical(file.Backend.Config))
}
