package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// daemon is a running `pave serve`.
type daemon struct {
	*stage
	cmd   *exec.Cmd
	log   string
	ended chan error
	tip   string // of the status branch, when it was looked at last
}

// options are what a case wants of its daemon beside the usual.
type options struct {
	flags   []string
	environ []string
}

// inForce is what the daemon says of a revision that it has its verdict of.
const inForce = "read a revision"

// serve starts a daemon on the stage, and waits until the tip is in force and
// everything that follows from it is done.
func (s *stage) serve(ctx context.Context, o options) (*daemon, error) {
	d, err := s.start(ctx, o)
	if err != nil {
		return nil, err
	}
	if _, err := d.says(ctx, 0, inForce); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	if err := d.rests(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// start starts a daemon on the stage.
func (s *stage) start(ctx context.Context, o options) (*daemon, error) {
	d := &daemon{stage: s, log: filepath.Join(s.dir, s.name+".log"), ended: make(chan error, 1)}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	flags := append([]string{"--listen", "127.0.0.1:0", "--on-stop", "interrupt", "--patience", "1s"}, o.flags...)
	d.cmd = s.command(context.WithoutCancel(ctx), s.dir, s.pave, s.flags("serve", flags...)...)
	d.cmd.Env = append(d.cmd.Env, o.environ...)
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

// get returns what is at an address of the daemon.
func get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, resp.Status)
	}
	return body, err
}

func (d *daemon) proc() (procfs.Proc, error) { return procfs.NewProc(d.cmd.Process.Pid) }

// processor is what the daemon and all that it started took so far.
func (d *daemon) processor() (time.Duration, error) {
	all, err := processorOf(d.cmd.Process.Pid)
	return ticks(all), err
}

// processorOf is what a process and all that it started took so far, those that stay
// included.
func processorOf(pid int) (int, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	all := int(stat.UTime) + int(stat.STime) + stat.CUTime + stat.CSTime
	for _, child := range children(pid) {
		if more, err := processorOf(child); err == nil { // else it has ended
			all += more
		}
	}
	return all, err
}

// status is what the daemon holds of memory.
func (d *daemon) status() (procfs.ProcStatus, error) {
	proc, err := d.proc()
	if err != nil {
		return procfs.ProcStatus{}, err
	}
	return proc.NewStatus()
}

// sayPeak prints what the daemon took of memory at most, without what it started.
func (d *daemon) sayPeak() error {
	status, err := d.status()
	d.say("  the daemon itself held %d MB of memory at most\n", status.VmHWM>>20)
	return err
}

// ticks is a time as /proc counts it.
func ticks(n int) time.Duration {
	return time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go knows
}

// rests waits until the daemon has started, said and recorded nothing for a while.
// What evaluates CUE may stay, and so may what reads pull requests.
func (d *daemon) rests(ctx context.Context) error {
	const quiet = 1500 * time.Millisecond
	logged, since := int64(-1), time.Now()
	return d.await(ctx, 10*time.Minute, func() (bool, error) {
		tip := d.tip
		d.seen()
		if now := d.now(); now != logged || d.tip != tip || d.busy() {
			logged, since = now, time.Now()
		}
		return time.Since(since) > quiet, nil
	})
}

// busy tells whether anything that the daemon started is at work.
func (d *daemon) busy() bool {
	return slices.ContainsFunc(children(d.cmd.Process.Pid), func(pid int) bool { return kindOf(pid) != evaluation && kindOf(pid) != reading })
}

// said returns what the daemon logged from an offset on.
func (d *daemon) said(from int64) ([]byte, error) {
	file, err := os.Open(d.log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// now is the offset of what the daemon logs next.
func (d *daemon) now() int64 {
	info, err := os.Stat(d.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// says waits for a line of the log that matches, from an offset on, and returns it.
func (d *daemon) says(ctx context.Context, from int64, pattern string) (string, error) {
	line := regexp.MustCompile("(?m)^.*" + pattern + ".*$")
	found := ""
	err := d.await(ctx, 10*time.Minute, func() (bool, error) {
		said, err := d.said(from)
		found = string(line.Find(said))
		return found != "", err
	})
	return found, err
}

// recorded waits until a status commit that it did not see yet says the text.
func (d *daemon) recorded(ctx context.Context, text string) error {
	return d.await(ctx, 10*time.Minute, func() (bool, error) {
		tip, err := os.ReadFile(filepath.Join(d.remote, "refs/heads/pave/status"))
		if err != nil || string(tip) == d.tip {
			return false, nil
		}
		news := []string{"log", "--format=%B", "--max-count=200", strings.TrimSpace(string(tip))}
		if d.tip != "" {
			news = append(news, "^"+strings.TrimSpace(d.tip))
		}
		said, err := exec.CommandContext(ctx, "git", append([]string{"-C", d.remote}, news...)...).Output()
		d.tip = string(tip)
		return bytes.Contains(said, []byte(text)), err
	})
}

// seen notes the status commit up to which everything is known.
func (d *daemon) seen() {
	tip, _ := os.ReadFile(filepath.Join(d.remote, "refs/heads/pave/status"))
	d.tip = string(tip)
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
			return fmt.Errorf("pave serve ended: %v: %s", err, d.last())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it took longer than %s: %s", patience, d.last())
		}
	}
}

// last is the end of the log.
func (d *daemon) last() []byte {
	log, _ := d.said(max(0, d.now()-2000))
	return log
}

var listening = regexp.MustCompile(`listen=(\S+)`)

// address is where the daemon answers.
func (d *daemon) address(ctx context.Context) (string, error) {
	line, err := d.says(ctx, 0, `msg=serving `)
	if err != nil {
		return "", err
	}
	return "http://" + listening.FindStringSubmatch(line)[1], nil
}

// count returns how many lines of the log match, from an offset on.
func (d *daemon) count(from int64, pattern string) (int, error) {
	said, err := d.said(from)
	return len(regexp.MustCompile(pattern).FindAll(said, -1)), err
}
