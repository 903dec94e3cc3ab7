package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A daemon that may open no file loses nothing: what ended meanwhile is recorded
// as it ended when files can be opened again, and what could not be looked at is
// looked at then.
func TestDaemonWithoutDescriptors(t *testing.T) {
	g := newGate(t)
	g.replace("platform.cue", `owner: "platform", `, `owner: "platform", intervals: {poll: "1s", retry: "1s"}, `)
	g.commit("Look often")
	d := g.spawn(g.ofPave("pave"))
	g.arrived()
	may := func(files uint64) {
		t.Helper()
		var limit unix.Rlimit
		must(t, unix.Prlimit(d.Process.Pid, unix.RLIMIT_NOFILE, nil, &limit))
		limit.Cur = files
		must(t, unix.Prlimit(d.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil))
	}
	may(3)
	g.open()
	g.until("the run has ended", func() bool { return len(g.processes()) == 0 })
	d.said("too many open files")
	if strings.Contains(d.log.String(), "outcome=") {
		t.Errorf("the daemon took what it could not read for an outcome")
	}
	may(1024)
	d.said("outcome=applied")
	g.replace("catalog/shop/alone.cue", "solitude", "silence")
	g.commit("Put something else in")
	g.until("the change is recorded", func() bool {
		log, _ := os.ReadFile(filepath.Join(g.repo, ".git/refs/heads/pave/status"))
		return len(log) > 0 && strings.Count(d.log.String(), "outcome=applied") == 2
	})
	g.expectAllReady(1)
	if n := g.applies(); n != 2 {
		t.Errorf("there were %d applies", n)
	}
}
