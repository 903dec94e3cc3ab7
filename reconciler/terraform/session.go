package terraform

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// member is a process of a run's session that works in the run's folder.
type member struct{ pid, group int }

// signLock writes into the run's lock which process it is of. A run leads a
// session, and all that it starts is in it unless it leaves on purpose.
func signLock(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// leader returns the process that signed the lock of a run; zero where none did.
func leader(dir string) int {
	text, err := readFile(filepath.Join(dir, runLock), 32)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// members returns what lives of a run. That a process works in the folder tells
// it from one of a later session with the same number.
func members(dir string) []member {
	session := leader(dir)
	if session == 0 {
		return nil
	}
	entries, _ := os.ReadDir("/proc")
	var found []member
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if m, s := inspectProcess(pid, dir); s == session {
			found = append(found, m)
		}
	}
	return found
}

// inspectProcess returns the process and its session; zero where it is dead,
// works elsewhere or is another user's.
func inspectProcess(pid int, dir string) (member, int) {
	at := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(at, "stat"))
	if err != nil {
		return member{}, 0
	}
	// The name before it is in parentheses and may hold anything: state, parent,
	// group and session follow.
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	m, session, state := member{pid: pid}, 0, ""
	if _, err := fmt.Sscan(after, &state, new(int), &m.group, &session); err != nil || state == "Z" {
		return member{}, 0
	}
	cwd, err := os.Readlink(filepath.Join(at, "cwd"))
	if err != nil || cwd != dir && !strings.HasPrefix(cwd, dir+string(filepath.Separator)) {
		return member{}, 0
	}
	return m, session
}

// orphaned tells whether the run and every engine that it started are dead,
// though something of it lives. Each of them leads a process group; what else is
// in the group are providers and what provisioners left.
func orphaned(dir string) bool {
	pid := leader(dir)
	if _, session := inspectProcess(pid, dir); pid == 0 || session == pid {
		return false
	}
	left := members(dir)
	for _, m := range left {
		if m.pid == m.group {
			return false
		}
	}
	return len(left) > 0
}

// endLeft ends what a run that is over left in its folder: providers do not
// notice that their engine is dead, and would stay for ever.
func endLeft(dir string) error {
	var errs []error
	for _, m := range members(dir) {
		if err := syscall.Kill(m.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("end process %d: %w", m.pid, err))
		}
	}
	return errors.Join(errs...)
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
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		at := filepath.Join("/proc", entry.Name())
		line, err := os.ReadFile(filepath.Join(at, "cmdline"))
		program, _, _ := strings.Cut(string(line), "\x00")
		if err != nil || !knownEngine(filepath.Base(program)) {
			continue
		}
		cwd, err := os.Readlink(filepath.Join(at, "cwd"))
		if err != nil || strings.HasPrefix(cwd, folder+string(filepath.Separator)) {
			continue
		}
		if backendOf(cwd) == backend {
			return fmt.Sprintf("process %s in %s may hold it", entry.Name(), cwd)
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
