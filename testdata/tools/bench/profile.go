package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// profile tells where the processor's time goes, by kinds of processes, of a cold
// validation, of changes and of previews.
func (b *bench) profile(ctx context.Context, units int) error {
	s, err := b.stage(ctx, units, provided)
	if err != nil {
		return err
	}
	if err := b.profileValidation(ctx, s); err != nil {
		return err
	}
	if err := b.profileChange(ctx, s); err != nil {
		return err
	}
	return b.profilePreview(ctx, s)
}

func (b *bench) profileValidation(ctx context.Context, s *stage) error {
	var all time.Duration
	taken := map[string]time.Duration{}
	for range b.rounds {
		cmd := b.command(ctx, s.p.dir, b.pave, "validate", "--quiet")
		if err := cmd.Start(); err != nil {
			return err
		}
		c := observe(cmd.Process.Pid)
		err := cmd.Wait()
		c.end(taken)
		if err != nil {
			return err
		}
		all += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.share(fmt.Sprintf("pave validate of %d services and %d requests", s.p.units, s.p.units), all, taken)
	return nil
}

func (b *bench) profileChange(ctx context.Context, s *stage) (err error) {
	d, err := s.serve(ctx, options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	return b.profileOf(fmt.Sprintf("a change of one of %d units (%s)", s.p.units, s.p.kind), d, func() error {
		if _, err := d.changes(ctx, 0); err != nil {
			return err
		}
		return d.rests(ctx)
	})
}

func (b *bench) profilePreview(ctx context.Context, s *stage) (err error) {
	p, err := s.previews(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if _, err := p.one(ctx); err != nil { // which starts what stays
		return err
	}
	return b.profileOf(fmt.Sprintf("a preview of a change of one of %d units (%s)", s.p.units, s.p.kind), p.daemon, func() error {
		_, err := p.one(ctx)
		return err
	})
}

// profileOf tells where the time goes that a daemon takes for something that is done
// a few times.
func (b *bench) profileOf(what string, d *daemon, do func() error) error {
	before, err := d.processor()
	if err != nil {
		return err
	}
	c := observe(d.cmd.Process.Pid)
	for range b.rounds {
		if err = do(); err != nil {
			break
		}
	}
	taken := map[string]time.Duration{}
	c.end(taken)
	after, failed := d.processor()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	b.share(what, after-before, taken)
	return nil
}

// share prints how a mean of all rounds is made up.
func (b *bench) share(of string, all time.Duration, taken map[string]time.Duration) {
	rest := all
	for _, t := range taken {
		rest -= t
	}
	if rest > 0 {
		taken["not seen (ended between two looks)"] = rest
	}
	each := all.Seconds() / float64(b.rounds)
	b.say("\nProcessor's time of %s: %.3f s (mean of %d), of which\n", of, each, b.rounds)
	for _, kind := range slices.SortedFunc(maps.Keys(taken), func(x, y string) int { return cmp.Compare(taken[y], taken[x]) }) {
		t := taken[kind].Seconds() / float64(b.rounds)
		b.say("  %-36s %8.3f s  %3.0f %%\n", kind, t, 100*t/each)
	}
}

// census looks at a process and at all below it again and again, for what they are
// and took. Processes tell nobody what they took once they are waited for, so what
// each took after the last look is missing.
type census struct {
	root int
	stop chan struct{}
	done sync.WaitGroup
	of   map[int]*observation // by process id
}

type observation struct {
	kind    string
	begun   time.Duration            // what it took before
	threads map[string]time.Duration // by path; those that ended as well
}

const lookEvery = 3 * time.Millisecond

// observe begins to look at a process. What it took before, and what it has started
// already, is not counted.
func observe(root int) *census {
	c := &census{root: root, stop: make(chan struct{}), of: map[int]*observation{}}
	c.look()
	for _, o := range c.of {
		o.begun = o.sum()
	}
	c.done.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(lookEvery):
				c.look()
			}
		}
	})
	return c
}

// end stops looking, and adds what was seen by kind.
func (c *census) end(taken map[string]time.Duration) {
	close(c.stop)
	c.done.Wait()
	for _, o := range c.of {
		if o.kind != "" { // else it ended before it could be told
			taken[o.kind] += o.sum() - o.begun
		}
	}
}

func (o *observation) sum() (all time.Duration) {
	for _, ran := range o.threads {
		all += ran
	}
	return all
}

func (c *census) look() {
	queue := []int{c.root}
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		o := c.of[pid]
		if o == nil {
			o = &observation{threads: map[string]time.Duration{}}
			c.of[pid] = o
		}
		if pid == c.root {
			o.kind = "pave itself"
		} else if kind := kindOf(pid); kind != "" {
			o.kind = kind
		}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, task := range tasks {
			if ran, err := threadTime(task); err == nil {
				o.threads[task] = ran
			}
		}
		queue = append(queue, children(pid)...)
	}
}

// children are the processes that a process started and that are there.
func children(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list) // nothing where the thread has ended
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

const (
	evaluation = "evaluation of CUE (__eval)"
	reading    = "reading of pull requests (__propose)"
)

// kindOf tells what a process is; empty where it cannot be told any more.
func kindOf(pid int) string {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return ""
	}
	args, err := proc.CmdLine()
	if err != nil || len(args) == 0 {
		return ""
	}
	program, verb := filepath.Base(args[0]), ""
	if len(args) > 1 {
		verb = args[1]
	}
	switch {
	case strings.HasPrefix(program, "terraform-provider-"):
		return "providers"
	case program == "terraform" || program == "tofu":
		return program + " " + verb
	case strings.HasPrefix(program, "git"):
		return "git"
	case verb == "__eval":
		return evaluation
	case verb == "__propose":
		return reading
	case verb == "__run":
		return "run (__run)"
	case strings.HasPrefix(verb, "__"):
		return verb
	}
	return "others, such as " + program
}
