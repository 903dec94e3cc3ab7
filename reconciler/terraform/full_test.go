package terraform

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
)

// inFull names the small file system in which this process is to work.
const inFull = "PAVE_TEST_FULL"

// A file system that fills up at any write of a run loses nothing and makes
// nothing twice: an outcome is right, or it is said that it is not known. The
// test runs in a mount namespace of its own, as root or as anybody who may make
// user namespaces.
func TestDiskFull(t *testing.T) {
	if os.Getenv(inFull) != "" {
		fillUp(t)
		return
	}
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^TestDiskFull$", "-test.v", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), inFull+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a mount namespace (allow unprivileged user namespaces, or run as root): %v\n%s", err, out)
	}
	t.Logf("%s", out)
	if !bytes.Contains(out, []byte("levels of free space: ")) {
		t.Fatalf("nothing was shown:\n%s", out)
	}
}

func fillUp(t *testing.T) {
	small := os.Getenv(inFull)
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=8m"))
	must(t, os.Mkdir(filepath.Join(small, "tmp"), 0o700))
	b := newBenchAlone(t)
	t.Setenv("TMPDIR", filepath.Join(small, "tmp"))
	b.host.Runs, b.host.State = filepath.Join(small, "runs"), filepath.Join(small, "state")
	made := filepath.Join(b.outside(), "made")
	module := `
variable "size" { type = string }
resource "terraform_data" "main" {
  provisioner "local-exec" { command = "echo ${var.size} >>'` + made + `'" }
}`
	b.run(b.job("warm-up", module, inputs("size", `"warm"`)), reconciler.Applied) // fills the cache, which is elsewhere

	seen := map[reconciler.Outcome]int{}
	levels := []int{0, 2, 4, 6, 7, 8, 9, 10, 12, 24} // the last is enough
	if testing.Short() {
		levels = []int{0, 8, 24}
	}
	for i, pages := range levels {
		unit := fmt.Sprintf("unit-%d", i)
		job := b.job(unit, module, inputs("size", fmt.Sprintf("%q", unit)))
		free := leave(t, small, pages)
		result := reconciler.Result{Outcome: "not started"}
		if run, err := b.runner.Start(t.Context(), job); err == nil {
			result, err = run.Wait(t.Context())
			must(t, err)
			t.Logf("%d pages: %s: %s", pages, result.Outcome, result.Message)
		} else if !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%d pages: %v", pages, err)
		}
		seen[result.Outcome]++
		free()
		content, _ := os.ReadFile(made)
		times := strings.Count(string(content), unit+"\n")
		state, err := readLocalState(b.host, unit)
		switch {
		case err != nil:
			t.Errorf("%d pages: the state cannot be read: %v", pages, err)
		case result.Outcome == reconciler.Applied && len(state.addresses()) != 1:
			t.Errorf("%d pages: applied, and in the state is %v", pages, state.addresses())
		case times > 0 && result.Outcome != reconciler.Applied && result.Outcome != reconciler.ApplyFailed && result.Outcome != reconciler.Unknown:
			t.Errorf("%d pages: it was made, and the run says %s: %s", pages, result.Outcome, result.Message)
		}

		// With room again the unit converges, and what is in a state is not made again.
		kept := len(state.addresses()) > 0 || exists(filepath.Join(b.dir(job), erroredName))
		result, err = b.start(b.again(job, result)).Wait(t.Context())
		must(t, err)
		damaged := result.Outcome == reconciler.StateLost && strings.Contains(result.Message, "errored.tfstate in the folder of runs: it is damaged")
		if result.Outcome != reconciler.Applied && result.Outcome != reconciler.Unchanged && !damaged {
			t.Errorf("%d pages, then room: %s: %s", pages, result.Outcome, result.Message)
		}
		content, _ = os.ReadFile(made)
		if now := strings.Count(string(content), unit+"\n"); kept && now != times || now > times+1 {
			t.Errorf("%d pages: made %d times, then %d times; the state was kept: %v", pages, times, now, kept)
		}
	}
	t.Logf("levels of free space: %v", seen)
	if seen[reconciler.Applied] == 0 || len(seen) < 2 {
		t.Errorf("expected runs that end well and some that do not, got %v", seen)
	}
}

// leave fills the file system but for so many pages of 4 KiB. The function
// makes room again.
func leave(t *testing.T, dir string, pages int) func() {
	t.Helper()
	var there unix.Statfs_t
	must(t, unix.Statfs(dir, &there))
	ballast := filepath.Join(dir, "ballast")
	size := int64(there.Bavail)*there.Bsize - int64(pages)*4096
	must(t, os.WriteFile(ballast, make([]byte, max(size, 0)), 0o600))
	return func() { must(t, os.Remove(ballast)) }
}
