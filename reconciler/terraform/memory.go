package terraform

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
)

// ThisMachine tells what runs may use of the machine, or of the control group
// that Pave is in. A quarter of the memory is left to Pave and to others: what
// is expected of runs is no promise.
func ThisMachine() reconciler.Machine {
	total := uint64(math.MaxUint64)
	for _, most := range []func() (uint64, error){memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := most(); err == nil {
			total = min(total, n)
		}
	}
	return reconciler.Machine{Memory: total / 4 * 3, Processors: runtime.GOMAXPROCS(0)}
}

// memoryName is beside the run directories of a unit: how many bytes its last
// apply took, or a run that looked since, where that took more.
const memoryName = "memory.json"

// unmeasured is what is expected of a unit that never ran: an engine and a
// provider of a cloud take less.
const unmeasured = 512 << 20

// Memory returns how many bytes a run of the unit took last, at most.
func (r *Runner) Memory(unit string) uint64 {
	var taken uint64
	if readJSON(filepath.Join(r.host.Runs, unit, memoryName), 1<<10, &taken) != nil {
		return unmeasured
	}
	return taken
}

// noteMemory keeps what the run took, for those that come after it.
func (e *execution) noteMemory(taken uint64) {
	file := filepath.Join(filepath.Dir(e.dir), memoryName)
	var last uint64
	known := readJSON(file, 1<<10, &last) == nil
	if e.result.Outcome != reconciler.Applied && e.result.Outcome != reconciler.Destroyed {
		taken = max(taken, last)
	}
	if known && max(taken, last)-min(taken, last) <= last/16 {
		return
	}
	if err := writeJSON(file, taken); err != nil { // then it is as it was expected
		fmt.Fprintf(os.Stderr, "note the memory: %v\n", err)
	}
}

// watchMemory adds up what this process and all below it hold, now and then until
// the returned function is called, which tells the most. What a living process held
// at most the kernel remembers, and of what came and went in between the largest. In
// a run that was looked at a few times only, another one may have been as large.
func watchMemory() (most func() uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	var peak uint64
	looks := 0
	watch.Go(func() {
		for sleep(ctx, memoryPoll) == nil {
			peak, looks = max(peak, treeMemory(os.Getpid())), looks+1
		}
	})
	return func() uint64 {
		cancel()
		watch.Wait()
		// What this process itself used at most begins with what its parent did.
		own := mostHeld(readAt(unix.AT_FDCWD, "/proc/self/status", make([]byte, 4<<10)))
		below := heldBelow()
		if looks < fewLooks {
			below *= 2
		}
		return max(peak, own+below)
	}
}

const (
	memoryPoll = 2 * time.Second
	fewLooks   = 5
)

// heldBelow returns the most that any process below this one held that ended.
func heldBelow() uint64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &usage) != nil {
		return 0
	}
	return uint64(usage.Maxrss) << 10
}

// treeMemory returns the most that a living process held so far, and those below
// it together. What it shares with others is counted for each.
//
// A look costs much more than it seems, so that small runs are over before the first:
// what it opens below a process in /proc the kernel keeps, and has to drop when that
// process ends. Its threads and whoever waits for it do so at once, and where the
// machine is busy they burn their time waiting for each other. So it opens only what
// it reads.
func treeMemory(id int) uint64 {
	buf := make([]byte, 4<<10)
	process := "/proc/" + strconv.Itoa(id)
	sum := mostHeld(readAt(unix.AT_FDCWD, process+"/status", buf))
	tasks, err := unix.Open(process+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum // it ended
	}
	defer unix.Close(tasks)
	var threads []string
	for {
		n, err := unix.Getdents(tasks, buf)
		if err != nil || n <= 0 {
			break
		}
		_, _, threads = unix.ParseDirent(buf[:n], -1, threads)
	}
	for _, thread := range threads {
		children := readAt(tasks, thread+"/children", buf)
		children = children[:bytes.LastIndexByte(children, ' ')+1] // of those that do not fit, half a number
		for child := range bytes.FieldsSeq(children) {
			if id, err := strconv.Atoi(string(child)); err == nil {
				sum += treeMemory(id)
			}
		}
	}
	return sum
}

// readAt returns the beginning of a file, as much as the buffer holds; nothing
// where it cannot be read.
func readAt(dir int, path string, buf []byte) []byte {
	file, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(file)
	n, _ := unix.Read(file, buf)
	return buf[:max(n, 0)]
}

// mostHeld finds the most bytes that a process held in what its status says.
func mostHeld(status []byte) uint64 {
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	kilobytes, _, _ := bytes.Cut(rest, []byte(" kB\n"))
	n, _ := strconv.ParseUint(string(bytes.TrimSpace(kilobytes)), 10, 64)
	return n << 10
}
