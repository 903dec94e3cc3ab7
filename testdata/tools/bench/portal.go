package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// looks is how many pages of the portal are asked for.
const looks = 1000

// portal measures the pages of the daemon's portal, as somebody gets them over HTTP:
// a thousand of all kinds, one after the other, and what the daemon holds in memory
// more than before the first.
func (b *bench) portal(ctx context.Context, units int) (err error) {
	s, err := b.stage(ctx, units, builtIn)
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	address, err := d.address(ctx)
	if err != nil {
		return err
	}
	rest := min(b.quiet, 30*time.Second) // after which the daemon gives back what it does not need
	if err := d.settle(ctx, rest); err != nil {
		return err
	}
	before, err := d.status()
	if err != nil {
		return err
	}
	first, err := look(ctx, address+"/")
	if err != nil {
		return err
	}
	from, err := d.processor()
	if err != nil {
		return err
	}
	took := map[string][]time.Duration{}
	var all []time.Duration
	for i := range looks {
		kind, path := s.page(i)
		t, err := look(ctx, address+path)
		if err != nil {
			return err
		}
		took[kind], all = append(took[kind], t), append(all, t)
	}
	until, err := d.processor()
	if err != nil {
		return err
	}
	after, err := d.status()
	if err != nil {
		return err
	}
	if err := d.settle(ctx, rest); err != nil {
		return err
	}
	rested, err := d.status()
	if err != nil {
		return err
	}
	b.say("\n%d pages of the portal, of %d services and as many requests\n  %-12s %10s %10s %10s\n", looks, units, "", "median", "95 of 100", "slowest")
	line := func(name string, of []time.Duration) {
		slices.Sort(of)
		b.say("  %-12s %7.1f ms %7.1f ms %7.1f ms\n", name, milliseconds(of[len(of)/2]), milliseconds(of[len(of)*95/100]), milliseconds(of[len(of)-1]))
	}
	for _, p := range pages {
		line(p.kind, took[p.kind])
	}
	line("all", all)
	b.say("  the first page of all took %.1f ms; a page took %.1f ms of a processor\n", milliseconds(first), milliseconds((until-from)/looks))
	b.say("  resident: %d MB before the first page, %d MB after the last, %d MB once nobody looks\n", before.VmRSS>>20, after.VmRSS>>20, rested.VmRSS>>20)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pages are the kinds of pages, each for a number that chooses among many.
var pages = []struct {
	kind string
	path func(s *stage, n int) string
}{
	{"home", func(*stage, int) string { return "/" }},
	{"search", func(_ *stage, n int) string { return "/search?q=" + url.QueryEscape(serviceName(n)[:11]) }},
	{"services", func(s *stage, n int) string { return fmt.Sprintf("/services?page=%d", 1+n%max(1, s.p.units/50)) }},
	{"filtered", func(_ *stage, n int) string { return "/services?owner=" + teamName(n) }},
	{"service", func(_ *stage, n int) string { return "/services/" + serviceName(n) }},
	{"requests", func(*stage, int) string { return "/requests?environment=production" }},
	{"request", func(_ *stage, n int) string { return "/requests/" + unitName(n) }},
	{"team", func(_ *stage, n int) string { return "/teams/" + teamName(n) }},
	{"blueprint", func(*stage, int) string { return "/blueprints/note" }},
	{"environment", func(*stage, int) string { return "/environments/production" }},
	{"graph", func(_ *stage, n int) string { return "/graph?service=" + serviceName(n) }},
	{"audit", func(_ *stage, n int) string { return "/audit?service=" + serviceName(n) }},
	{"policies", func(*stage, int) string { return "/policies" }},
	{"health", func(*stage, int) string { return "/health" }},
	{"sunset", func(*stage, int) string { return "/sunset" }},
}

// page returns the kind and the address of one of many pages.
func (s *stage) page(i int) (kind, path string) {
	p := pages[i%len(pages)]
	return p.kind, p.path(s, i*7919%s.p.units) // a prime, so that they differ
}

// look gets a page and returns how long that took.
func look(ctx context.Context, address string) (time.Duration, error) {
	began := time.Now()
	_, err := get(ctx, address)
	return time.Since(began), err
}
