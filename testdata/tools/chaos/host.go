package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
)

// kind is what a process is.
type kind string

const (
	daemonKind    kind = "daemon"
	runKind       kind = "run"
	terraformKind kind = "terraform"
	providerKind  kind = "provider"
)

// host is the machine that Pave runs on.
type host struct {
	dir     string // state, cache, log and temporary files are below it
	args    []string
	pave    string
	mu      sync.Mutex
	daemon  *exec.Cmd // guarded by mu
	ended   chan struct{}
	killing bool // the daemon is about to end because it was killed
	died    []string
	starts  int
}

func (h *host) stateDir() string { return filepath.Join(h.dir, "state") }
func (h *host) tmp() string      { return filepath.Join(h.dir, "tmp") }
func (h *host) logFile() string  { return filepath.Join(h.dir, "serve.log") }

// start starts the daemon. What ends it but this program is noted.
func (h *host) start() error {
	log, err := os.OpenFile(h.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(h.pave, h.args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + h.tmp(), "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	h.mu.Lock()
	h.daemon, h.ended, h.killing = cmd, ended, false
	h.starts++
	h.mu.Unlock()
	go func() {
		err := cmd.Wait()
		h.mu.Lock()
		if !h.killing {
			h.died = append(h.died, fmt.Sprint(err))
		}
		h.mu.Unlock()
		close(ended)
	}()
	return nil
}

// end sends the daemon a signal and waits for its end.
func (h *host) end(signal syscall.Signal, patience time.Duration) error {
	h.mu.Lock()
	h.killing = true
	cmd, ended := h.daemon, h.ended
	h.mu.Unlock()
	_ = cmd.Process.Signal(signal)
	select {
	case <-ended:
		return nil
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("the daemon did not end within %s", patience)
	}
}

// process is a process of a run, held so that its number cannot be another's.
type process struct {
	fd        int
	pid       int
	kind      kind
	unit, run string
	args      []string
}

func (p process) close() { unix.Close(p.fd) }

// kill kills it with SIGKILL.
func (p process) kill() error { return unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0) }

// processes returns those that work in a folder of a run of this host, whoever
// their parent is.
func (h *host) processes() []process {
	entries, _ := os.ReadDir("/proc")
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if p, ok := h.inspect(pid); ok {
			p.fd = fd
			found = append(found, p)
		} else {
			unix.Close(fd)
		}
	}
	return found
}

func (h *host) inspect(pid int) (process, bool) {
	at := filepath.Join("/proc", strconv.Itoa(pid))
	cwd, err := os.Readlink(filepath.Join(at, "cwd"))
	if err != nil {
		return process{}, false
	}
	below, err := filepath.Rel(h.stateDir(), strings.TrimSuffix(cwd, " (deleted)"))
	if err != nil || strings.HasPrefix(below, "..") {
		return process{}, false
	}
	steps := strings.Split(below, "/") // REPOSITORY/runs/UNIT/RUN/…
	line, err := os.ReadFile(filepath.Join(at, "cmdline"))
	if err != nil || len(steps) < 4 || len(line) == 0 {
		return process{}, false
	}
	p := process{pid: pid, unit: steps[2], run: steps[3], args: strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")}
	base := filepath.Base(p.args[0])
	switch {
	case len(p.args) > 1 && p.args[1] == "__run":
		if session, err := unix.Getsid(pid); err != nil || session != pid {
			return process{}, false // a child of it that is not yet what it is to be
		}
		p.kind = runKind
	case strings.HasPrefix(base, "terraform-provider-"):
		p.kind = providerKind
	case base == "terraform" || base == "tofu":
		p.kind = terraformKind
	default:
		return process{}, false
	}
	return p, true
}

// owes tells whether the record must say that nobody knows how the run ended,
// which was killed. Once it left its result it has nothing more to tell, and a look
// for drift changes nothing.
func (h *host) owes(p process) bool {
	dirs, _ := filepath.Glob(filepath.Join(h.stateDir(), "*", "runs", p.unit, p.run))
	if len(dirs) != 1 {
		return false
	}
	if _, err := os.Stat(filepath.Join(dirs[0], "result.json")); err == nil {
		return false
	}
	var intent struct{ Job reconciler.Job }
	return readJSON(filepath.Join(dirs[0], "intent.json"), &intent) == nil && intent.Job.Mode == reconciler.Converge
}

// stopRuns ends everything that runs, when all is over.
func (h *host) stopRuns() {
	for range 50 {
		left := h.processes()
		for _, p := range left {
			_ = p.kill()
			p.close()
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// free tells whether nobody holds the lock of a file.
func free(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// stateLock returns the process that holds Terraform's lock of a local state;
// zero where none does.
func stateLock(path string) int {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock) != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}
