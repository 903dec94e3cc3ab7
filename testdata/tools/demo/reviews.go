package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-github/v62/github"
)

// ownChange proposes what concerns nobody but the team of who proposes it.
func (d *demo) ownChange(ctx context.Context) (err error) {
	d.say("A change of one's own: jonas-weber of payments keeps their events for two weeks in place of one.")
	if err := d.edit("catalog/payments/checkout.cue", replace("retention: 168", "retention: 336")); err != nil {
		return err
	}
	d.own, err = d.propose(ctx, "jonas-weber", "keep-events", "Keep the events of checkout for two weeks", "success", "")
	return err
}

// denied proposes what a rule of the company forbids.
func (d *demo) denied(ctx context.Context) error {
	const who = "elena-rossi"
	d.say("A change that a rule forbids: %s of storefront wants the shop's certificate to last a year.", who)
	if err := d.edit("catalog/storefront/shop.cue", replace("days: 60", "days: 365")); err != nil {
		return err
	}
	number, err := d.propose(ctx, who, "long-certificate", "Renew the shop's certificate once a year", "failure", "")
	if err != nil {
		return err
	}
	err = d.mergePull(ctx, who, number)
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) {
		return errors.Join(errors.New("the forge does not refuse to merge what Pave denied"), err)
	}
	d.say("The forge does not let %s merge it: %s", who, refused.Message)
	return nil
}

// foreignChange proposes what another team must let happen.
func (d *demo) foreignChange(ctx context.Context) (err error) {
	d.say("A change of what others own: tomas-novak of search wants more room in a database of storefront.")
	if err := d.edit("catalog/storefront/products.cue", replace(
		`inputs: {database: "products", engine: "mysql"}`,
		`inputs: {database: "products", engine: "mysql", storage: 60}`)); err != nil {
		return err
	}
	d.foreign, err = d.propose(ctx, "tomas-novak", "more-products", "Make room for all products in staging", "pending", "approve")
	return err
}

// deploy merges the first pull request and waits for what becomes of it.
func (d *demo) deploy(ctx context.Context) error {
	if err := d.approve(ctx, "mira-okafor", d.own); err != nil {
		return err
	}
	head := d.checks[d.own].commit
	if err := d.mergePull(ctx, "jonas-weber", d.own); err != nil {
		return err
	}
	d.say("jonas-weber merged it.")
	if err := d.wait(ctx, func() bool { return d.checks[d.own].commit != head && d.checks[d.own].state == "success" }); err != nil {
		return err
	}
	return d.comment(ctx, d.own)
}

// invite says what there is to see and to try, and stays for it.
func (d *demo) invite(ctx context.Context) error {
	d.say("The pull requests:")
	for _, number := range slices.Sorted(maps.Keys(d.checks)) {
		fmt.Printf("    %s  %s\n", d.checks[number].page, d.checks[number])
	}
	d.say("The forge is at %s. Who may log in, and the password:", d.page())
	teams, err := d.teams()
	if err != nil {
		return err
	}
	for _, t := range teams {
		for _, login := range t.members {
			fmt.Printf("    %-12s %-14s %s\n", t.name, login, d.hub.Users[login].Password)
		}
	}
	if err := d.portal(); err != nil || d.once {
		return err
	}
	const approver = "yuki-tanaka"
	api := fmt.Sprintf("curl -u %s:%s -H 'Content-Type: application/json' %srepos/%s/pulls/%d", approver, d.hub.Users[approver].Password, d.hub.API, d.hub.Repository, d.foreign)
	d.say("Pull request %d waits for storefront. To approve and merge it as %s:", d.foreign, approver)
	fmt.Printf("    %s/reviews -d '{\"event\": \"APPROVE\"}'\n    %s/merge -X PUT -d '{}'\n", api, api)
	d.say("What Pave says is shown here as it comes. Ctrl-C ends it all.")
	return d.watch(ctx, nil, func() bool { return false })
}
