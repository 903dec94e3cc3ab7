package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/limited"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// The verbs by which Pave starts itself. They are not for people.
const (
	evalVerb = "__eval" // evaluates CUE, limited in memory and time
	runVerb  = "__run"  // carries out one run
	// fetchVerb fetches a pull request, and proposeVerb reads it; both are limited
	// in memory and time, and only the first has credentials.
	fetchVerb   = "__fetch"
	proposeVerb = "__propose"
	// cloneVerb clones the repository, with all that the daemon reaches it with.
	cloneVerb = "__clone"
)

var children = map[string]func(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error{
	evalVerb: func(_ context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return catalog.Serve(stdin, stdout)
	},
	fetchVerb: func(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return fetchChange(ctx, stdin, stdout)
	},
	proposeVerb: func(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
		return propose(ctx, stdin, stdout)
	},
	cloneVerb: func(ctx context.Context, _ []string, stdin io.Reader, _ io.Writer) error {
		return clone(ctx, stdin)
	},
	runVerb: func(_ context.Context, args []string, _ io.Reader, _ io.Writer) error {
		if len(args) != 1 {
			return errors.New("expected the folder of a run")
		}
		collectLate()
		// A run listens to signals by itself: it must not stop half-way.
		return terraform.Execute(context.Background(), args[0], judgePlan)
	},
}

// command is a process of Pave, of its own group, that ends with ctx and with this one.
func command(ctx context.Context, self, verb string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self, verb)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// cloning is what is cloned, and into which folder.
type cloning struct {
	Options git.Options `json:"options"`
	Dir     string      `json:"dir"`
}

// cloneBeside has another process clone the repository, see [git.Options]: what that
// takes for a moment, the daemon would keep gaps of.
func cloneBeside(ctx context.Context, options git.Options, dir string) error {
	request, err := json.Marshal(cloning{options, dir})
	if err != nil {
		return err
	}
	cmd := command(ctx, confine.Path, cloneVerb)
	var stderr limited.Tail
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("clone the repository: %w: %s", cmp.Or(context.Cause(ctx), err), strings.TrimSpace(stderr.String()))
	}
	return nil
}

func clone(ctx context.Context, stdin io.Reader) error {
	var in cloning
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("read what to clone: %w", err)
	}
	return git.CloneMirror(ctx, in.Options, in.Dir)
}

// collectLate has this process collect garbage for the first time when it holds four
// times what it would else: what carries out the run of a small unit ends before that.
// From then on it is as usual, for a large plan must not take many times its size.
func collectLate() {
	usual := debug.SetGCPercent(400)
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}

// judgePlan applies the rules that a job carries to its plan.
func judgePlan(ctx context.Context, job reconciler.Job, plan json.RawMessage) ([]reconciler.Violation, error) {
	bundle, subject, err := reconciler.PlanSubject(job, plan)
	if err != nil {
		return nil, err
	}
	engine, err := policy.Load(ctx, bundle)
	if err != nil {
		return nil, err
	}
	return engine.Judge(ctx, subject)
}
