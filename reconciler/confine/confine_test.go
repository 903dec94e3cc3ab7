package confine

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crashing makes the test binary a process with a secret that is about to crash;
// its value tells whether it protects itself.
const crashing = "PAVE_TEST_CRASHES"

func TestMain(m *testing.M) {
	how, crashes := os.LookupEnv(crashing)
	if !crashes {
		os.Exit(m.Run())
	}
	secret := strings.Join([]string{"canary", "of", "the", "memory"}, "-")
	if how == "protected" {
		if err := Protect(); err != nil {
			panic(err)
		}
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(strconv.Itoa(dumpable))
	time.Sleep(time.Minute)
	os.Stdout.WriteString(secret)
}

// A crash leaves no core of a protected process, and one of any other. Where the
// kernel hands cores to a program, only the protections themselves are seen.
func TestProtectLeavesNoCore(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	files := !strings.ContainsAny(string(pattern), "|/")
	for how, protected := range map[string]bool{"unprotected": false, "protected": true} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Dir, cmd.Env = dir, []string{crashing + "=" + how, "GOTRACEBACK=crash"}
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		dumpable := make([]byte, 1)
		_, err = out.Read(dumpable)
		must(t, err)
		if (string(dumpable) == "0") != protected {
			t.Errorf("%s: the dumpable flag is %s", how, dumpable)
		}
		limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "limits"))
		must(t, err)
		if noCore.Match(limits) != protected {
			t.Errorf("%s: got limits\n%s", how, limits)
		}
		if !protected { // the shell that started the tests may have lowered it
			var limit unix.Rlimit
			must(t, unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, nil, &limit))
			limit.Cur = limit.Max
			must(t, unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &limit, nil))
			files = files && limit.Max > 0
		}
		must(t, cmd.Process.Signal(unix.SIGABRT))
		_ = cmd.Wait()
		cores, err := filepath.Glob(filepath.Join(dir, "*"))
		must(t, err)
		if found := len(cores) > 0; found && protected || !found && !protected && files {
			t.Errorf("%s: found the cores %q", how, cores)
		}
	}
}

var noCore = regexp.MustCompile(`(?m)^Max core file size +0 +0 `)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
