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

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/procfs"
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

// watchMemory adds up what this process and all below it hold, again and again
// until the returned function is called, which tells the most. Of what came and
// went in between it counts the largest.
func watchMemory() (most func() uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	var peak uint64
	watch.Go(func() {
		for {
			peak = max(peak, treeMemory(os.Getpid()))
			if sleep(ctx, 2*lockPoll) != nil {
				return
			}
		}
	})
	return func() uint64 {
		cancel()
		watch.Wait()
		var gone unix.Rusage
		if unix.Getrusage(unix.RUSAGE_CHILDREN, &gone) != nil {
			return peak
		}
		return max(peak, treeMemory(os.Getpid())+uint64(gone.Maxrss)<<10)
	}
}

// treeMemory returns the most that a living process held so far, and those below
// it together. What it shares with others is counted for each.
func treeMemory(id int) uint64 {
	process, err := procfs.NewProc(id)
	if err != nil {
		return 0 // it ended
	}
	status, err := process.NewStatus()
	if err != nil {
		return 0
	}
	sum := status.VmHWM
	lists, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(id), "task", "*", "children"))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for _, child := range bytes.Fields(children) {
			if id, err := strconv.Atoi(string(child)); err == nil {
				sum += treeMemory(id)
			}
		}
	}
	return sum
}
