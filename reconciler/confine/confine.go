// Package confine starts programs that can touch no more than they were given.
//
// A program is started as [Path] with its own arguments, and with [Variable]
// set to a [Profile] in its environment. That is the running program once
// more: it takes everything away from itself that the profile does not give,
// for good and for all that it starts, and becomes the program. A caller that
// can name only the path of a program, such as terraform-exec, is served by this
// as well as any other.
//
// It happens while packages are initialised and not in main, as soon as the few
// packages that this one imports are ready. What the rest of Pave prepares for
// itself costs several times what the confinement does, and every start of an
// engine would pay for it. So this package imports next to nothing, and nothing
// may be imported here that is not needed before an engine starts.
//
// Why not confine a thread and let it start the engine, which would cost less: the
// engine would share the confinement with that thread, and might signal it.
package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

const (
	// Variable names the environment variable that holds a profile. The program
	// that is started does not get it.
	Variable = "PAVE_CONFINED"
	// Path is the running program, also when its file was replaced meanwhile.
	Path = "/proc/self/exe"
	// Failed is the exit code where the program could not be started: the one
	// that shells use for it.
	Failed = 126
)

// Profile says what a program may touch.
type Profile struct {
	// Program is the absolute path of the program.
	Program string `json:"program"`
	// Read and Write are the files and folders, with all that is below them,
	// that the program may read and execute, and change. The system's own are
	// added; what does not exist is left out.
	Read  []string `json:"read,omitempty"`
	Write []string `json:"write,omitempty"`
	// User is the user and group that the program runs as. Zero means the
	// caller's, and that Landlock keeps it to Read and Write; with another user
	// it is the owners and modes of files that do.
	User int `json:"user,omitempty"`
	// Offline keeps the program from every network and from every socket.
	Offline bool `json:"offline,omitempty"`
}

// Shut returns what to add to the environment of this very program, started as
// [Path], so that before it does anything it gives up all but these paths and what
// belongs to the system, and can reach nobody. It is empty where the kernel cannot
// do that.
func Shut(read, write []string) []string {
	if Level() < MinLevel {
		return nil
	}
	return []string{Variable + "=" + Profile{Program: Path, Read: read, Write: write, Offline: true}.Environ()}
}

// Environ returns the value of [Variable].
func (p Profile) Environ() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // there is nothing in a profile that JSON cannot say
	}
	return string(text)
}

func init() {
	text, found := os.LookupEnv(Variable)
	if !found {
		return
	}
	fmt.Fprintf(os.Stderr, "Error: confine: %v\n", become(text))
	os.Exit(Failed)
}

// become turns this process into the program of a profile. It returns only an
// error: a program that cannot be confined is not started.
func become(text string) error {
	var p Profile
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	if err := os.Unsetenv(Variable); err != nil {
		return err
	}
	if err := p.enter(); err != nil {
		return err
	}
	err := syscall.Exec(p.Program, append([]string{p.Program}, os.Args[1:]...), os.Environ())
	return fmt.Errorf("start %s: %w", p.Program, err)
}

func (p Profile) enter() error {
	// While packages are initialised there is one goroutine, on the process's
	// first thread, which is the one that becomes the program.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if p.User == 0 {
		if err := p.landlock(); err != nil {
			return err
		}
	}
	if p.Offline {
		if err := refuseSockets(); err != nil {
			return err
		}
	}
	return dropCapabilities(p.User)
}

// landlock restricts the process to what the profile names.
func (p Profile) landlock() error {
	if level := Level(); level < MinLevel {
		return fmt.Errorf("the kernel has Landlock %d, which is less than %d", level, MinLevel)
	}
	config := landlock.V10
	if !p.Offline { // providers speak to the world
		config.HandledAccessNet = 0
	}
	rules := append(readable(system), readable(p.Read)...)
	rules = append(rules, writable(devices)...)
	rules = append(rules, writable(p.Write)...)
	return config.BestEffort().Restrict(append(rules, readable([]string{p.Program})...)...)
}

// readable and writable return a rule for each path that exists. Files and
// folders have different rights.
func readable(paths []string) []landlock.Rule {
	return each(paths, landlock.ROFiles, landlock.RODirs)
}

func writable(paths []string) []landlock.Rule {
	return each(paths, landlock.RWFiles, func(dirs ...string) landlock.FSRule {
		return landlock.RWDirs(dirs...).WithRefer()
	})
}

func each(paths []string, file, dir func(...string) landlock.FSRule) []landlock.Rule {
	var rules []landlock.Rule
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		rule := file
		if info.IsDir() {
			rule = dir
		}
		rules = append(rules, rule(path).WithResolveUnix().IgnoreIfMissing())
	}
	return rules
}

// refuseSockets has the kernel refuse every new socket, and what makes them in
// other ways: Landlock knows some kinds of them, each since another level.
func refuseSockets() error {
	arch, known := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !known {
		return nil
	}
	const (
		number, architecture = 0, 4 // of a system call, as offsets in struct seccomp_data
		x32                  = 1 << 30
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(test uint16, value uint32, ifTrue, ifFalse uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: value, Jt: ifTrue, Jf: ifFalse}
	}
	answer := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	// A jump tells how many lines it skips.
	filter := []unix.SockFilter{
		load(architecture),
		jump(unix.BPF_JEQ, arch, 0, 5), // the calls of another have other numbers
		load(number),
		jump(unix.BPF_JGE, x32, 3, 0),
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 2, 0),
		jump(unix.BPF_JEQ, unix.SYS_IO_URING_SETUP, 1, 0),
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("refuse sockets: %w", err)
	}
	return nil
}

// dropCapabilities gives up what root, or a service that was given some, may do
// beyond its own files: to load modules, to read the memory of others, to pass
// modes by. It becomes the other user, if there is one, on the way.
func dropCapabilities(user int) error {
	for c := uintptr(0); ; c++ {
		bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break // the kernel knows no more
		}
		if bound == 0 {
			continue
		}
		err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err != nil && os.Geteuid() == 0 { // anybody else gets none back by starting a program
			return fmt.Errorf("give up capability %d: %w: run Pave as another user than root", c, err)
		}
	}
	if user != 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(user), syscall.Setuid(user)); err != nil {
			return fmt.Errorf("become user %d: %w", user, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("give up ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// The levels of Landlock, as the kernel counts them.
const (
	// MinLevel is the first that keeps files from being changed in every way.
	MinLevel = 3
	// SignalLevel is the first that keeps signals, and sockets without a file,
	// among the confined.
	SignalLevel = 6
	// SocketLevel is the first that does so for sockets that are files.
	SocketLevel = 9
)

// Level returns the kernel's level of Landlock; zero where it has none.
func Level() int {
	level, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return level
}

// Protect keeps the memory and the environment of this process from others of
// the same user, and out of core files.
func Protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protect the process: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("protect the process: %w", err)
	}
	return nil
}
