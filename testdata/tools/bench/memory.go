package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// memory measures what the daemon holds in memory over a long history of commits that
// each change one service and nothing that runs: a commit is pushed as soon as the
// one before is in force. It also says how large the mirror and the status branch
// become.
func (b *bench) memory(ctx context.Context, units int) (err error) {
	s, err := b.stage(ctx, units, builtIn)
	if err != nil {
		return err
	}
	commits, err := s.history(ctx, b.passes)
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{environ: []string{"GODEBUG=gctrace=1"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	b.say("\nMemory of pave serve over %d passes at %d units, each over a commit that changes one service\n", len(commits), units)
	b.say("  %-10s %10s %10s %10s %11s %11s %14s\n", "passes", "live heap", "resident", "peak", "open files", "mirror", "status branch")
	if err := d.weigh(ctx, "0"); err != nil {
		return err
	}
	began, from := time.Now(), d.now()
	before, err := d.processor()
	if err != nil {
		return err
	}
	for i, commit := range commits {
		if err := d.advance(ctx, commit); err != nil {
			return fmt.Errorf("pass %d: %w", i+1, err)
		}
		if done := i + 1; done%(len(commits)/4) == 0 {
			if err := d.weigh(ctx, strconv.Itoa(done)); err != nil {
				return err
			}
		}
	}
	took := time.Since(began)
	after, err := d.processor()
	if err != nil {
		return err
	}
	if err := d.collected(ctx); err != nil {
		return err
	}
	if err := d.weigh(ctx, "collected"); err != nil {
		return err
	}
	if err := d.settle(ctx, b.quiet); err != nil {
		return err
	}
	if err := d.weigh(ctx, "then idle"); err != nil {
		return err
	}
	runs, err := d.count(from, "started a run")
	if err != nil {
		return err
	}
	status, err := d.status()
	if err != nil {
		return err
	}
	b.say("  %d MB of what is resident are pages of the program's file\n", status.RssFile>>20)
	b.say("  a pass took %.3f s of a processor and %.3f s; Terraform ran %d times\n", (after-before).Seconds()/float64(len(commits)), took.Seconds()/float64(len(commits)), runs)
	b.say("  live heap: what the last collection left; collected: once the daemon, at rest, has had one made and given back what is free; idle: %s later\n", b.quiet)
	return s.catchUp(ctx)
}

// history adds commits to the repository, on no branch, and returns them. Each says
// something else of one service, one after the other.
func (s *stage) history(ctx context.Context, passes int) ([]string, error) {
	const ref = "refs/bench/history"
	head, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.push(ctx, "main"); err != nil {
		return nil, err
	}
	var script bytes.Buffer
	for i := range passes {
		n := i % s.p.units
		text := s.p.text(n, s.versions[n], fmt.Sprintf("day and %d times a year", i+1))
		fmt.Fprintf(&script, "commit %s\ncommitter Bench <bench@localhost> %d +0000\ndata <<.\nDescribe %s\n.\n\n", ref, time.Now().Unix(), serviceName(n))
		if i == 0 {
			fmt.Fprintf(&script, "from %s\n", head)
		}
		fmt.Fprintf(&script, "M 100644 inline %s\ndata %d\n%s\n", s.p.path(n), len(text), text)
	}
	load := s.command(ctx, s.remote, "git", "fast-import", "--quiet", "--force")
	load.Stdin = &script
	if _, err := measure(load); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	list := s.command(ctx, s.remote, "git", "rev-list", "--reverse", head+".."+ref)
	list.Stdout = &said
	_, err = measure(list)
	return strings.Fields(said.String()), err
}

// catchUp brings the work tree to where the history led.
func (s *stage) catchUp(ctx context.Context) error {
	_, err := s.git(ctx, s.p.dir, "pull", "--quiet", "--ff-only", "origin", "main")
	return err
}

// advance moves the tracked branch and waits until that is in force.
func (d *daemon) advance(ctx context.Context, commit string) error {
	from := d.now()
	ref := filepath.Join(d.remote, "refs/heads/main")
	if err := errors.Join(os.WriteFile(ref+".lock", []byte(commit+"\n"), 0o644), os.Rename(ref+".lock", ref)); err != nil {
		return err
	}
	_, err := d.says(ctx, from, inForce+".*revision="+commit[:8])
	return err
}

// settle waits so long, in which nothing happens.
func (d *daemon) settle(ctx context.Context, quiet time.Duration) error {
	until := time.Now().Add(quiet)
	return d.await(ctx, 2*quiet+time.Minute, func() (bool, error) { return time.Now().After(until), nil })
}

// collected waits until the daemon has its memory collected by force, as it does soon
// after work is over, and has given back what is free.
func (d *daemon) collected(ctx context.Context) error {
	if _, err := d.says(ctx, d.now(), `^gc \d+ .*\(forced\)`); err != nil {
		return fmt.Errorf("nothing was collected by force: %w: there was little to collect: ask for more with BENCH_PASSES", err)
	}
	return d.settle(ctx, time.Second)
}

var collection = regexp.MustCompile(`(?m)^gc \d+ .* \d+->\d+->(\d+) MB`)

// weigh prints what the daemon holds now.
func (d *daemon) weigh(ctx context.Context, when string) error {
	status, err := d.status()
	if err != nil {
		return err
	}
	files, err := d.openFiles()
	if err != nil {
		return err
	}
	said, err := d.said(max(0, d.now()-1<<20))
	if err != nil {
		return err
	}
	live := "?"
	if all := collection.FindAllSubmatch(said, -1); len(all) > 0 {
		live = string(all[len(all)-1][1])
	}
	mirrors, err := filepath.Glob(filepath.Join(d.dir, d.name+"-cache", "*", "mirror"))
	if err != nil || len(mirrors) != 1 {
		return errors.Join(err, fmt.Errorf("%d mirrors", len(mirrors)))
	}
	mirror, err := size(mirrors[0])
	if err != nil {
		return err
	}
	var branch bytes.Buffer
	cmd := d.command(ctx, d.remote, "git", "rev-list", "--disk-usage", "--objects", "pave/status")
	cmd.Stdout = &branch
	if _, err := measure(cmd); err != nil {
		return err
	}
	recorded, err := strconv.ParseInt(strings.TrimSpace(branch.String()), 10, 64)
	d.say("  %-10s %7s MB %7d MB %7d MB %11d %8.2f MB %11.2f MB\n", when, live, status.VmRSS>>20, status.VmHWM>>20, files, float64(mirror)/(1<<20), float64(recorded)/(1<<20))
	return err
}

// openFiles is how many files the daemon holds open.
func (d *daemon) openFiles() (int, error) {
	proc, err := d.proc()
	if err != nil {
		return 0, err
	}
	return proc.FileDescriptorsLen()
}

// size is what the files below a folder hold.
func size(dir string) (int64, error) {
	var all int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			all += info.Size()
		}
		return nil
	})
	return all, err
}
