package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long one step of the story may take.
const patience = 5 * time.Minute

// unit is what `pave status` says of one request.
type unit struct {
	Request string `json:"request"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// pulse is what the daemon's metrics say: more often than it records.
type pulse struct{ Requests, Ready, Waiting, Running int }

func (p pulse) String() string {
	return fmt.Sprintf("%d of %d Ready, %d running, %d waiting for another", p.Ready, p.Requests, p.Running, p.Waiting)
}

// serve starts the daemon. It is in a process group of its own, so that Ctrl-C
// reaches the demo alone, which then stops it in order.
func (d *demo) serve(ctx context.Context) error {
	d.say("Starting pave serve on it.")
	log, err := os.Create(d.log())
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"serve",
		"--cache-dir", filepath.Join(d.dir, "cache"), "--state-dir", d.state(),
		"--engine", filepath.Base(d.engine), "--engine-path", filepath.Dir(d.engine),
		"--allow-write", d.infrastructure(), "--terraform-config", d.providers, "--listen", "127.0.0.1:0", "--patience", "5s"}, d.where...)
	if d.hub != nil {
		args = append(args, "--github", d.hub.Repository, "--github-url", d.hub.URL, "--webhook-secret-file", d.secret("webhook"))
	}
	daemon := d.command(context.WithoutCancel(ctx), d.pave, args...)
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		return err
	}
	d.daemon, d.ended = daemon, make(chan error, 1)
	go func() { d.ended <- daemon.Wait() }()
	return nil
}

func (d *demo) log() string { return filepath.Join(d.dir, "serve.log") }

// state is what Pave must not lose: here the states of all units.
func (d *demo) state() string { return filepath.Join(d.dir, "state") }

// stop ends the daemon as a service manager does, and then its runs, which are
// made to outlive it.
func (d *demo) stop() {
	d.daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.daemon.Process.Kill()
		<-d.ended
	}
	runs, _ := filepath.Glob(filepath.Join(d.state(), "*", "runs", "*", "*", "lock"))
	for _, lock := range runs {
		os.WriteFile(filepath.Join(filepath.Dir(lock), "stop"), nil, 0o600)
	}
	for _, lock := range runs {
		waitUnlocked(lock)
	}
}

// waitUnlocked returns when nothing of the run lives.
func waitUnlocked(lock string) {
	file, err := os.Open(lock)
	if err != nil {
		return // the run has ended and was forgotten
	}
	defer file.Close()
	syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
}

// wait looks at the platform until it is as wanted, and prints what changes.
func (d *demo) wait(ctx context.Context, wanted func() bool) error {
	return d.watch(ctx, time.After(patience), wanted)
}

// watch is wait with another patience; without one it has no end of its own.
func (d *demo) watch(ctx context.Context, late <-chan time.Time, wanted func() bool) error {
	for {
		if err := d.follow(ctx); err != nil {
			return err
		}
		if wanted() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("pave serve ended: %v\n%s", err, d.tail())
		case <-late:
			return fmt.Errorf("not there after %s\n%s", patience, d.tail())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// recorded waits for a status commit of main's tip that says this of a unit.
func (d *demo) recorded(ctx context.Context, what string) error {
	tip, err := d.command(ctx, "git", "rev-parse", "main").Output()
	if err != nil {
		return fmt.Errorf("git rev-parse: %w", err)
	}
	return d.wait(ctx, func() bool {
		out, err := d.command(ctx, "git", "log", "-1", "--format=%h", "--all-match",
			"--grep", "^Revision: "+strings.TrimSpace(string(tip)), "--grep", "^Unit: "+what, "pave/status").Output()
		return err == nil && len(out) > 0
	})
}

// follow prints everything that is not as it was.
func (d *demo) follow(ctx context.Context) error {
	if now := d.feel(ctx); now != d.pulse {
		d.pulse = now
		if now.Ready < now.Requests { // else the units tell all there is
			d.note("%s", now)
		}
	}
	units, err := d.status(ctx)
	if err != nil {
		return err
	}
	left := d.units
	d.units = map[string]unit{}
	for _, u := range units {
		d.units[u.Request] = u
		if before := left[u.Request]; before.Ready != u.Ready || before.Reason != u.Reason {
			d.note("  %s", u)
		}
		delete(left, u.Request)
	}
	for name := range left {
		d.note("  – %s is gone", name)
	}
	if d.hub == nil {
		return nil
	}
	return d.review(ctx)
}

func (u unit) String() string {
	if u.Ready {
		return "✓ " + u.Request
	}
	return fmt.Sprintf("… %s: %s: %s", u.Request, u.Reason, u.Message)
}

func (d *demo) ready() int {
	n := 0
	for _, u := range d.units {
		if u.Ready {
			n++
		}
	}
	return n
}

// status asks Pave; before the first record there is nothing to tell.
func (d *demo) status(ctx context.Context) ([]unit, error) {
	out, err := d.command(ctx, d.pave, append([]string{"status", "-o", "json"}, d.where...)...).Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(out) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pave status: %w", err)
	}
	var status struct {
		Units []unit `json:"units"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return nil, fmt.Errorf("read pave status: %w", err)
	}
	return status.Units, nil
}

// listening is where the daemon's log says that it answers.
var listening = regexp.MustCompile(`listen=(127\.0\.0\.1:[0-9]+)`)

// address is where the daemon answers; empty before it does.
func (d *demo) address() string {
	log, _ := os.ReadFile(d.log())
	if found := listening.FindSubmatch(log); found != nil {
		return "http://" + string(found[1])
	}
	return ""
}

// feel reads the daemon's metrics; where they cannot be read, nothing has changed.
func (d *demo) feel(ctx context.Context) pulse {
	address := d.address()
	if address == "" {
		return d.pulse
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/metrics", nil)
	if err != nil {
		return d.pulse
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return d.pulse
	}
	defer response.Body.Close()
	var p pulse
	wanted := map[string]*int{
		"pave_requests": &p.Requests, "pave_requests_ready": &p.Ready,
		"pave_requests_waiting": &p.Waiting, "pave_runs_active": &p.Running,
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if into := wanted[name]; into != nil {
			*into, _ = strconv.Atoi(value)
		}
	}
	return p
}

// tail is the end of the daemon's log.
func (d *demo) tail() string {
	data, _ := os.ReadFile(d.log())
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
