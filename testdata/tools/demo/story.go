package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long nothing may happen before the demo gives up.
const patience = 5 * time.Minute

// unit is what `pave status` says of one request.
type unit struct {
	Request string `json:"request"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
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
	d.daemon = d.command(context.WithoutCancel(ctx), d.pave, "serve", "--repo", d.repo,
		"--cache-dir", filepath.Join(d.dir, "cache"), "--state-dir", filepath.Join(d.dir, "state"),
		"--terraform-config", d.providers, "--listen", "127.0.0.1:0")
	d.daemon.Stdout, d.daemon.Stderr = log, log
	d.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.daemon.Start(); err != nil {
		d.daemon = nil
		return err
	}
	d.ended = make(chan error, 1)
	go func() { d.ended <- d.daemon.Wait() }()
	return nil
}

func (d *demo) log() string { return filepath.Join(d.dir, "serve.log") }

// converge waits for the whole platform.
func (d *demo) converge(ctx context.Context) error {
	d.say("Waiting until every request is Ready. Meanwhile:")
	units, err := d.wait(ctx, func(units []unit) bool {
		for _, u := range units {
			if !u.Ready {
				return false
			}
		}
		return len(units) > 0
	})
	if err == nil {
		d.say("All %d requests are Ready.", len(units))
	}
	return err
}

// change merges a change of one request.
func (d *demo) change(ctx context.Context) error {
	const name = "checkout-events"
	d.say("A change: %s keeps its messages for two weeks in place of one.", name)
	if err := d.edit("catalog/payments/checkout.cue", replace("retention: 168", "retention: 336")); err != nil {
		return err
	}
	if err := d.merge(ctx, "keep-events", "Keep the events of checkout for two weeks"); err != nil {
		return err
	}
	if err := d.recorded(ctx, name+" applied"); err != nil {
		return err
	}
	d.say("Only that unit ran. What Pave recorded:")
	return d.show(ctx, "git", "log", "-1", "--format=%B", "--grep", "^Unit: "+name+" ", "pave/status")
}

// remove deletes a request that nobody protects.
func (d *demo) remove(ctx context.Context) error {
	const name = "shop-preview"
	d.say("A removal: the summer campaign is over, nobody needs %s.", name)
	if err := d.edit("catalog/storefront/shop.cue", cutRequest(name)); err != nil {
		return err
	}
	if err := d.merge(ctx, "end-of-summer", "Remove the preview of the summer campaign"); err != nil {
		return err
	}
	if err := d.recorded(ctx, name+" destroyed"); err != nil {
		return err
	}
	d.say("It was destroyed, and nothing else:")
	return d.show(ctx, "git", "log", "-1", "--format=%B", "--grep", "^Unit: "+name+" destroyed", "pave/status")
}

// cutRequest returns an edit that removes a request that is written as a block of its own.
func cutRequest(name string) func(string) (string, error) {
	return func(text string) (string, error) {
		before, rest, found := strings.Cut(text, "request: \""+name+"\": {\n")
		_, after, closed := strings.Cut(rest, "\n}\n")
		if !found || !closed {
			return "", fmt.Errorf("expected a block that opens with: request: %q: {", name)
		}
		return before + after, nil
	}
}

// mistake merges what cannot be, then takes it back.
func (d *demo) mistake(ctx context.Context) error {
	const name = "checkout-db"
	d.say("A mistake: somebody asks for a size of database that there is not.")
	if err := d.edit("catalog/payments/checkout.cue", replace(`size: "large"`, `size: "huge"`)); err != nil {
		return err
	}
	if err := d.merge(ctx, "bigger-database", "Ask for a bigger database"); err != nil {
		return err
	}
	if _, err := d.wait(ctx, func(units []unit) bool {
		u, ok := find(units, name)
		return ok && !u.Ready
	}); err != nil {
		return err
	}
	d.say("Pave holds that unit as it was, and says why:")
	if err := d.show(ctx, d.pave, "status", name); err != nil {
		return err
	}
	d.say("Whoever had validated first would have known:")
	if err := d.show(ctx, d.pave, "validate"); err != nil {
		return err
	}
	d.say("The merge is reverted.")
	if err := d.git(ctx, "revert", "--no-edit", "--mainline", "1", "HEAD"); err != nil {
		return err
	}
	_, err := d.wait(ctx, func(units []unit) bool {
		u, ok := find(units, name)
		return ok && u.Ready
	})
	return err
}

func find(units []unit, name string) (unit, bool) {
	for _, u := range units {
		if u.Request == name {
			return u, true
		}
	}
	return unit{}, false
}

// look shows what there is in the end.
func (d *demo) look(ctx context.Context) error {
	d.say("The history of it all, from the status branch:")
	if err := d.show(ctx, "git", "log", "--format=%h %an: %s", "pave/status"); err != nil {
		return err
	}
	d.say("What exists:")
	if err := d.show(ctx, d.pave, "status"); err != nil {
		return err
	}
	d.say("And the files that the blueprints made:")
	return d.show(ctx, "find", d.infrastructure(), "-type", "f")
}

// recorded waits for a commit on the status branch that says so.
func (d *demo) recorded(ctx context.Context, what string) error {
	_, err := d.wait(ctx, func([]unit) bool {
		out, err := d.command(ctx, "git", "log", "-1", "--format=%h", "--grep", "^Unit: "+what, "main..pave/status").Output()
		return err == nil && len(out) > 0
	})
	return err
}

// wait polls the status until it is as wanted, and prints what changes.
func (d *demo) wait(ctx context.Context, wanted func([]unit) bool) ([]unit, error) {
	moved := time.Now()
	for {
		units, err := d.status(ctx)
		if err != nil {
			return nil, err
		}
		if d.follow(units) {
			moved = time.Now()
		}
		if wanted(units) {
			return units, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-d.ended:
			d.ended <- err
			return nil, fmt.Errorf("pave serve ended: %v\n%s", err, d.tail())
		case <-time.After(500 * time.Millisecond):
		}
		if time.Since(moved) > patience {
			return nil, fmt.Errorf("nothing happened for %s\n%s", patience, d.tail())
		}
	}
}

// status asks Pave; before the first record there is nothing to tell.
func (d *demo) status(ctx context.Context) ([]unit, error) {
	out, err := d.command(ctx, d.pave, "status", "-o", "json").Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return nil, fmt.Errorf("pave status: %w", errors.Join(err, ctx.Err()))
	}
	var status struct {
		Units []unit `json:"units"`
	}
	if len(out) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return nil, fmt.Errorf("read pave status: %w", err)
	}
	return status.Units, nil
}

// follow prints every unit that is not as it was, and tells whether any was.
func (d *demo) follow(units []unit) bool {
	ready, changed := 0, false
	for _, u := range units {
		if u.Ready {
			ready++
		}
	}
	for _, u := range units {
		if d.seen[u.Request] == u {
			continue
		}
		d.seen[u.Request], changed = u, true
		mark := "…"
		if u.Ready {
			mark = "✓"
		}
		d.note("%s %-28s %-12s %s", mark, u.Request, u.Reason, u.Message)
	}
	if changed {
		d.note("%d of %d Ready", ready, len(units))
	}
	return changed
}

// tail is the end of the daemon's log.
func (d *demo) tail() string {
	data, _ := os.ReadFile(d.log())
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
