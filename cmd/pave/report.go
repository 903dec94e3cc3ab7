package main

import (
	"fmt"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// printReport shows what a change would do: the content of the comment that a pull
// request gets, for a terminal.
func (a *app) printReport(r *reconciler.Report) {
	say := func(format string, args ...any) { fmt.Fprintln(a.stdout, printable(fmt.Sprintf(format, args...))) }
	section := func(title string) { say("\n%s", title) }
	say("%s", r.Headline)
	if len(r.Governance) > 0 {
		section("Changes what others are judged by:")
		for _, file := range r.Governance {
			say("  %s", file)
		}
	}
	if len(r.Units) > 0 {
		section("What happens:")
		a.printPlan(r.Units)
	}
	if len(r.Effects) > 0 {
		section("Changes that no plan shows:")
		for _, e := range r.Effects {
			say("  %s: %s", strings.TrimSpace(e.Kind+" "+e.Name+" "+e.Field), e.Message)
		}
	}
	if len(r.Violations) > 0 {
		section("What stands against it:")
		printViolations(a.stdout, r.Violations)
	}
	if len(r.Live) > 0 {
		section("What these rules would deny of what runs now:")
		printViolations(a.stdout, r.Live)
	}
	if len(r.Past) > 0 {
		section("Past applies that they would have denied:")
		for _, p := range r.Past {
			say("  %s at %.8s: %s (%s)", p.Request, p.Revision, p.Message, p.Rule)
		}
	}
	if len(r.Costs) > 0 {
		section("Cost a month:")
		for _, c := range r.Costs {
			budget := ""
			if c.Budget != nil {
				budget = fmt.Sprintf(" of %.2f", *c.Budget)
			}
			say("  %s: %.2f to %.2f%s", c.Team, c.Before, c.After, budget)
		}
	}
	if len(r.Affected) > 0 {
		section("Services that it touches:")
		for _, s := range r.Affected {
			via := ""
			if s.Via != "" {
				via = ", which depends on " + s.Via
			}
			say("  %s of %s%s", s.Service, s.Owner, via)
		}
	}
	if len(r.Approvals) > 0 {
		section("Who must approve:")
		for _, n := range r.Approvals {
			say("  %s: %s", n.Team, n.Reason)
		}
	}
	if len(r.Notes) > 0 {
		section("What this does not cover:")
		for _, note := range r.Notes {
			say("  %s", note)
		}
	}
}
