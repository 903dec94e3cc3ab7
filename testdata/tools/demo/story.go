package main

import (
	"context"
	"fmt"
	"strings"
)

// converge waits for the whole platform.
func (d *demo) converge(ctx context.Context) error {
	d.say("Waiting until every request is Ready. Meanwhile:")
	err := d.wait(ctx, func() bool {
		return d.pulse.Requests > 0 && len(d.units) == d.pulse.Requests && d.ready() == len(d.units)
	})
	if err == nil {
		d.say("All %d requests are Ready.", len(d.units))
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
	return d.show(ctx, "git", "log", "-1", "pave/status")
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
	return d.show(ctx, "git", "log", "-1", "pave/status")
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
	const name = "ledger-db"
	d.say("A mistake: somebody asks for a size of database that there is not.")
	if err := d.edit("catalog/payments/ledger.cue", replace(`size: "large"`, `size: "huge"`)); err != nil {
		return err
	}
	if err := d.merge(ctx, "bigger-database", "Ask for a bigger database"); err != nil {
		return err
	}
	if err := d.wait(ctx, func() bool { return !d.units[name].Ready }); err != nil {
		return err
	}
	d.say("Pave holds that unit as it was, and says why:")
	if err := d.show(ctx, d.pave, "status", name); err != nil {
		return err
	}
	d.say("Had it been validated first, nobody would have merged it:")
	if err := d.show(ctx, d.pave, "validate"); err != nil {
		return err
	}
	d.say("The merge is reverted.")
	if err := d.git(ctx, "revert", "--no-edit", "--mainline", "1", "HEAD"); err != nil {
		return err
	}
	return d.wait(ctx, func() bool { return d.units[name].Ready })
}

// look shows what there is in the end.
func (d *demo) look(ctx context.Context) error {
	d.say("What happened, from the status branch:")
	if err := d.show(ctx, "git", "log", "--date=format:%H:%M:%S", "--format=%h %ad %s", "pave/status"); err != nil {
		return err
	}
	d.say("What exists:")
	if err := d.show(ctx, d.pave, "status"); err != nil {
		return err
	}
	d.say("And the files that the blueprints made:")
	return d.show(ctx, "find", "../infrastructure", "-type", "f")
}
