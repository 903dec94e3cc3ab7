package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// change measures the way of one changed request among so many units, from the
// push of its commit to the status commit on the remote, beside the engine's bare
// commands for the same unit in a folder that is initialised, with one fetch and
// one push.
func (b *bench) change(ctx context.Context, units int, kind kind) (err error) {
	name := fmt.Sprintf("change-%d-%s", units, strings.ReplaceAll(string(kind), " ", "-"))
	p, err := b.platform(ctx, name, units, kind)
	if err != nil {
		return err
	}
	remote := filepath.Join(b.dir, name+".git")
	if _, err := b.git(ctx, b.dir, "clone", "--quiet", "--bare", p.dir, remote); err != nil {
		return err
	}
	if _, err := b.git(ctx, p.dir, "remote", "add", "origin", remote); err != nil {
		return err
	}
	d, err := b.serve(ctx, name, remote, p.files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.converged(ctx, units); err != nil {
		return err
	}
	bare, err := b.bareUnit(ctx, name, p)
	if err != nil {
		return err
	}
	return b.compare(ctx, fmt.Sprintf("Change one of %d units (%s)", units, kind),
		contender{"pave serve", func(ctx context.Context, round int) (cost, error) {
			if err := p.document(0, round+1); err != nil {
				return cost{}, err
			}
			if err := b.commit(ctx, p.dir, "Change a unit"); err != nil {
				return cost{}, err
			}
			before, err := d.processor()
			if err != nil {
				return cost{}, err
			}
			began := time.Now()
			pushed, err := b.git(ctx, p.dir, "push", "--quiet", "origin", "main")
			if err != nil {
				return cost{}, err
			}
			if err := d.recorded(ctx, "Unit: "+unitName(0)+" applied"); err != nil {
				return cost{}, err
			}
			took := time.Since(began)
			time.Sleep(500 * time.Millisecond) // what is tidied up afterwards belongs to it
			after, err := d.processor()
			return cost{wall: took, cpu: after - before + pushed.cpu}, err
		}},
		contender{"plan, show, apply, git", bare})
}

// daemon is a running `pave serve`.
type daemon struct {
	cmd    *exec.Cmd
	log    string
	remote string
	ended  chan error
	tip    string // of the status branch, when it was looked at last
}

func (b *bench) serve(ctx context.Context, name, remote, files string) (*daemon, error) {
	d := &daemon{log: filepath.Join(b.dir, name+".log"), remote: remote, ended: make(chan error, 1)}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = b.command(context.WithoutCancel(ctx), b.dir, b.pave, "serve", "--repo", remote, "--branch", "main", "--listen", "127.0.0.1:0",
		"--cache-dir", filepath.Join(b.dir, name+"-cache"), "--state-dir", filepath.Join(b.dir, name+"-state"),
		"--engine", filepath.Base(b.engine), "--engine-path", filepath.Dir(b.engine), "--terraform-config", b.providers,
		"--allow-write", files, "--on-stop", "interrupt", "--patience", "1s")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.ended <- d.cmd.Wait() }()
	return d, nil
}

func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(errors.New("pave serve did not end"), d.cmd.Process.Kill())
	}
}

// processor is what the daemon and all that it waited for took so far.
func (d *daemon) processor() (time.Duration, error) {
	proc, err := procfs.NewProc(d.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go knows
	return time.Duration(int(stat.UTime)+int(stat.STime)+stat.CUTime+stat.CSTime) * tick, err
}

// recorded waits until a status commit that it did not see yet says the text.
func (d *daemon) recorded(ctx context.Context, text string) error {
	return d.await(ctx, 10*time.Minute, func() (bool, error) {
		tip, err := os.ReadFile(filepath.Join(d.remote, "refs/heads/pave/status"))
		if err != nil || string(tip) == d.tip {
			return false, nil
		}
		news := []string{"log", "--format=%B", strings.TrimSpace(string(tip))}
		if d.tip != "" {
			news = append(news, "^"+strings.TrimSpace(d.tip))
		}
		said, err := exec.CommandContext(ctx, "git", append([]string{"-C", d.remote}, news...)...).Output()
		d.tip = string(tip)
		return bytes.Contains(said, []byte(text)), err
	})
}

// converged waits until all units are applied, and until there is nothing more to
// record.
func (d *daemon) converged(ctx context.Context, units int) error {
	const quiet = 12 * time.Second // longer than changes are gathered for one commit
	err := d.await(ctx, time.Duration(units)*10*time.Second+time.Minute, func() (bool, error) {
		log, err := os.ReadFile(d.log)
		return bytes.Count(log, []byte("outcome=applied")) >= units, err
	})
	since := time.Now()
	return errors.Join(err, d.await(ctx, 5*time.Minute, func() (bool, error) {
		tip, err := os.ReadFile(filepath.Join(d.remote, "refs/heads/pave/status"))
		if string(tip) != d.tip {
			d.tip, since = string(tip), time.Now()
		}
		return d.tip != "" && time.Since(since) > quiet, err
	}))
}

func (d *daemon) await(ctx context.Context, patience time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			log, _ := os.ReadFile(d.log)
			return fmt.Errorf("pave serve ended: %v: %s", err, log[max(0, len(log)-2000):])
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(d.log)
			return fmt.Errorf("it took longer than %s: %s", patience, log[max(0, len(log)-2000):])
		}
	}
}

// bareUnit lays out the first unit by hand, and returns what changes it.
func (b *bench) bareUnit(ctx context.Context, name string, p platform) (func(context.Context, int) (cost, error), error) {
	blueprint := "file"
	if p.kind == builtIn {
		blueprint = "note"
	}
	dir := filepath.Join(b.dir, name+"-bare")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.dir, "blueprints", blueprint))); err != nil {
		return nil, err
	}
	clone, remote := filepath.Join(b.dir, name+"-clone"), filepath.Join(b.dir, name+"-bare.git")
	for _, args := range [][]string{{"clone", "--quiet", "--bare", p.dir, remote}, {"clone", "--quiet", remote, clone}} {
		if _, err := b.git(ctx, b.dir, args...); err != nil {
			return nil, err
		}
	}
	terraform := func(ctx context.Context, args ...string) (cost, error) {
		return measure(b.command(ctx, dir, b.engine, args...))
	}
	variables := func(round int) error {
		folder := ""
		if p.kind == provided {
			folder = fmt.Sprintf(", %q: %q", "folder", p.files)
		}
		return os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"),
			fmt.Appendf(nil, `{"content": "version %d of 0", "size": "small", "copies": 1%s}`, round, folder), 0o600)
	}
	if err := variables(0); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"init", "-input=false"}, {"apply", "-input=false", "-auto-approve"}} {
		if _, err := terraform(ctx, args...); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, round int) (cost, error) {
		if err := errors.Join(variables(round+1), os.WriteFile(filepath.Join(clone, "status"), fmt.Appendln(nil, round), 0o644)); err != nil {
			return cost{}, err
		}
		if err := b.commit(ctx, clone, "Record"); err != nil {
			return cost{}, err
		}
		var all cost
		for _, args := range [][]string{{"plan", "-input=false", "-out=plan"}, {"show", "-json", "plan"}, {"apply", "-input=false", "-json", "plan"}} {
			c, err := terraform(ctx, args...)
			if err != nil {
				return cost{}, err
			}
			all = all.plus(c)
		}
		for _, args := range [][]string{{"fetch", "--quiet", "origin"}, {"push", "--quiet", "origin", "main"}} {
			c, err := b.git(ctx, clone, args...)
			if err != nil {
				return cost{}, err
			}
			all = all.plus(c)
		}
		all.peak = 0 // that of the other side is not known
		return all, nil
	}, nil
}
