package terraform

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Limits of what an engine's output may take.
const (
	maxStderr      = 256 << 10
	maxPlanFile    = 256 << 20
	maxPlanJSON    = 128 << 20
	maxStateFile   = 256 << 20
	maxCredentials = 1 << 20
)

// systemPath is where an engine finds the programs that it calls itself: git
// for modules, and what provisioners name.
const systemPath = "/usr/local/bin:/usr/bin:/bin"

// command is one engine process. terraform-exec runs plan and state pull; init,
// show and apply go through here because terraform-exec asks the engine for its
// version before each of them in every new process, which would double the
// price of a small unit, and because it ties an apply to the life of the run:
// here an apply outlives its run, so that its state is written whatever happens.
type command struct {
	path           string
	dir            string
	env            map[string]string
	stdout, stderr io.Writer
	// keep are files that the process holds open as long as it lives: the locks
	// of its run.
	keep  []*os.File
	grace time.Duration
}

// run starts the engine and waits for it. When ctx ends the engine is
// interrupted and, after the grace, killed.
func (c command) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.dir
	cmd.Env = environList(c.env)
	cmd.Stdout, cmd.Stderr = c.stdout, c.stderr
	cmd.ExtraFiles = c.keep
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = c.grace
	// A second interrupt makes the engine give up at once, so a signal to the
	// run's process group must not reach it beside the one sent here.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Run()
}

func environList(env map[string]string) []string {
	list := make([]string, 0, len(env)+2)
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	// terraform-exec sets these two by itself and refuses to be given them.
	return append(list, "TF_IN_AUTOMATION=1", "TF_INPUT=0")
}

// baseEnviron is all of the environment that an engine gets beside credentials.
func baseEnviron(host Host, home, tmp string) map[string]string {
	return map[string]string{
		"PATH":               systemPath,
		"HOME":               home,
		"TMPDIR":             tmp,
		"LANG":               "C.UTF-8",
		"CHECKPOINT_DISABLE": "1",
		"TF_CLI_CONFIG_FILE": host.CLIConfig,
	}
}

// limited keeps the first bytes that are written to it and drops the rest
// silently: an error would make the writer's process end.
type limited struct {
	buf     bytes.Buffer // not embedded: its ReadFrom would pass the limit by
	limit   int
	dropped bool
}

func (l *limited) Write(p []byte) (int, error) {
	kept := p[:min(len(p), max(0, l.limit-l.buf.Len()))]
	l.buf.Write(kept)
	l.dropped = l.dropped || len(kept) < len(p)
	return len(p), nil
}

func (l *limited) Bytes() []byte { return l.buf.Bytes() }

// String returns what was kept as text, without a line that was cut: half a
// line could be half a secret, which nothing masks.
func (l *limited) String() string {
	text := l.buf.String()
	if l.dropped {
		text = text[:strings.LastIndex(text, "\n")+1]
	}
	return text
}
