package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// signIn is where the daemon's log says how its operator signs in.
var signIn = regexp.MustCompile(`sign in to the portal.*address="?([^"\s]+)`)

// door is the latest address by which somebody signs in to the portal, once.
func (d *demo) door() string {
	log, _ := os.ReadFile(d.log())
	all := signIn.FindAllStringSubmatch(string(log), -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

// portal says where the portal is and what to try there.
func (d *demo) portal() error {
	door := d.door()
	if door == "" {
		return errors.New("the daemon did not say how to sign in to its portal")
	}
	d.say("The same platform for the browser: %s/", d.address())
	d.note("to sign in, once: %s", door)
	d.note("try: who owns checkout, and how to reach them?  %s/services/checkout", d.address())
	d.note("try: order a certificate, and watch it come up.  %s/blueprints/tls-cert/new", d.address())
	return nil
}

// visit shows the portal and stays. What somebody asks for there becomes a branch,
// which the demo merges, as a colleague would after a look at it.
func (d *demo) visit(ctx context.Context) error {
	if err := d.portal(); err != nil || d.once {
		return err
	}
	d.say("What you ask for is a branch, which a colleague merges here after five seconds. Ctrl-C ends it all.")
	left := map[string]bool{} // what cannot be merged
	for {
		look := time.Now().Add(5 * time.Second)
		if err := d.watch(ctx, nil, func() bool { return time.Now().After(look) }); err != nil {
			return err
		}
		if err := d.mergeAsked(ctx, left); err != nil {
			return err
		}
	}
}

// mergeAsked merges what was asked for in the portal. What does not fit what was
// merged before is left alone from then on.
func (d *demo) mergeAsked(ctx context.Context, left map[string]bool) error {
	out, err := d.command(ctx, "git", "for-each-ref", "--format=%(refname:short)", "--no-merged", "main", "refs/heads/pave/").Output()
	if err != nil {
		return fmt.Errorf("git for-each-ref: %w", err)
	}
	for _, branch := range strings.Fields(string(out)) {
		if branch == "pave/status" || left[branch] {
			continue
		}
		if err := d.git(ctx, "merge", "--quiet", "--no-ff", "--message", "Merge branch '"+branch+"'", branch); err != nil {
			left[branch] = true
			d.say("Branch %s does not fit what was merged before: ask for it again.", branch)
			if err := d.git(ctx, "merge", "--abort"); err != nil {
				return err
			}
			continue
		}
		d.say("A colleague merged branch %s.", branch)
	}
	return nil
}
