package terraform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
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
	stat, err := readStat(os.Getpid())
	return process{Boot: boot, Space: space, ID: os.Getpid(), Started: stat.started}, err
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
	stat, err := readStat(p.ID)
	return err == nil && stat.started == p.Started && !stat.dead
}

// stat is what the system says of a process.
type stat struct {
	dead    bool // nobody has waited for it yet
	session int
	started uint64 // in hundredths of a second since the boot
}

func readStat(id int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name before it may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("understand the process %d", id)
	}
	session, err := strconv.Atoi(fields[3])
	if err != nil {
		return stat{}, err
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	return stat{dead: fields[0] == "Z" || fields[0] == "X", session: session, started: started}, err
}

// livingWhere returns the living processes, but for this one, of which something
// is so.
func livingWhere(so func(id int, s stat) bool) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		if s, err := readStat(id); err == nil && !s.dead && so(id, s) {
			found = append(found, id)
		}
	}
	return found
}

// ofRun tells whether a process was started by the engines of a run, directly or
// not: they have a home that nothing else has. That holds in another session as
// well, and unlike a number it is never given again.
func ofRun(dir string, id int) bool {
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "environ"))
	home := "HOME=" + filepath.Join(dir, privateName, "home")
	return err == nil && (bytes.HasPrefix(environ, []byte(home+"\x00")) || bytes.Contains(environ, []byte("\x00"+home+"\x00")))
}

// endLeft ends what the engines of this process left behind, once none of them
// is at work any more: it holds credentials, and could change what the unit's
// next run looks at.
func (e *execution) endLeft() {
	own := os.Getpid()
	left := func() []int {
		return livingWhere(func(id int, s stat) bool { return s.session == own || ofRun(e.dir, id) })
	}
	for range 50 {
		ids := left()
		if len(ids) == 0 {
			return
		}
		fmt.Fprintf(os.Stderr, "ended processes that the run left behind: %v\n", ids)
		killAll(ids)
		time.Sleep(stopPoll)
	}
}

func killAll(ids []int) {
	for _, id := range ids {
		_ = syscall.Kill(id, syscall.SIGKILL) // it may have ended by itself
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
	if readJSON(filepath.Join(p.dir, processName), 1<<10, &leader) != nil || !leader.here() {
		return locked, nil // before it began, or elsewhere: its lock alone tells
	}
	if leader.alive() {
		return true, nil
	}
	left := livingWhere(func(id int, _ stat) bool { return ofRun(p.dir, id) })
	for _, id := range left {
		if p.applies(id) && p.mayGoOn(id) {
			return true, nil
		}
	}
	killAll(left)
	return locked || len(left) > 0, nil
}

// applies tells whether a process is the run's apply.
func (p *running) applies(id int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id), "cmdline"))
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
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
	err := errors.Join(writeFile(mark, nil), syscall.Kill(id, syscall.SIGINT))
	return err == nil
}

// age tells how long a process has lived.
func age(id int) time.Duration {
	var up float64
	text, err := os.ReadFile("/proc/uptime")
	if err == nil {
		_, err = fmt.Sscan(string(text), &up)
	}
	stat, statErr := readStat(id)
	if err != nil || statErr != nil {
		return 0
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(stat.started)*10*time.Millisecond
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
