package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// drift measures changes while every unit is compared with what runs, again and
// again, beside the same without. Half of those without come before, half after.
func (b *bench) drift(ctx context.Context, units int) (err error) {
	s, err := b.stage(ctx, units, builtIn)
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	alone, err := d.timed(ctx, 0, b.changes/2)
	if err != nil {
		return err
	}
	if err := d.sweep(ctx, "1s", "mode=observe"); err != nil {
		return err
	}
	from := d.now()
	beside, err := d.timed(ctx, 0, b.changes)
	if err != nil {
		return err
	}
	looks, err := d.count(from, "mode=observe")
	if err != nil {
		return err
	}
	differ, err := d.count(from, "outcome=changed")
	if err != nil {
		return err
	}
	if err := d.sweep(ctx, never, inForce); err != nil {
		return err
	}
	after, err := d.timed(ctx, b.changes/2, b.changes)
	if err == nil {
		err = d.rests(ctx) // what was seen on the branch, Pave may not know to be there
	}
	if err != nil {
		return err
	}
	alone = append(alone, after...)
	b.say("\n%d changes beside a sweep for drift of %d units (%s, median)\n", b.changes, units, builtIn)
	for _, part := range []struct {
		name string
		of   func(way) time.Duration
	}{{"until it is applied", func(w way) time.Duration { return w.applied }}, {"until it is recorded", func(w way) time.Duration { return w.recorded }}} {
		with, without := middle(beside, part.of), middle(alone, part.of)
		b.say("  %-28s %9.3f s beside the sweep %9.3f s without   %.2f times\n", part.name, with.Seconds(), without.Seconds(), ratio(with, without))
	}
	b.say("  meanwhile %d units were compared with what runs, of which %d differed\n", looks, differ)
	return nil
}

// way is how long after its push a change was applied, and recorded.
type way struct{ applied, recorded time.Duration }

func middle(ways []way, of func(way) time.Duration) time.Duration {
	var all []time.Duration
	for _, w := range ways {
		all = append(all, of(w))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// sweep sets how often units are compared with what runs, and waits for a word of
// the log.
func (d *daemon) sweep(ctx context.Context, every, until string) error {
	from := d.now()
	if err := d.look(ctx, every); err != nil {
		return err
	}
	if _, err := d.push(ctx, "main"); err != nil {
		return err
	}
	if _, err := d.says(ctx, from, until); err != nil || every != never {
		return err
	}
	return d.rests(ctx)
}

// timed makes changes one after the other.
func (d *daemon) timed(ctx context.Context, from, to int) ([]way, error) {
	var ways []way
	for i := from; i < to; i++ {
		n := d.appliable(i)
		if err := d.ask(ctx, n); err != nil {
			return nil, err
		}
		d.seen()
		at := d.now()
		if _, err := d.push(ctx, "main"); err != nil {
			return nil, err
		}
		began := time.Now()
		if _, err := d.says(ctx, at, "a run ended.*unit="+unitName(n)+" .*outcome=applied"); err != nil {
			return nil, err
		}
		w := way{applied: time.Since(began)}
		if err := d.recorded(ctx, "Unit: "+unitName(n)+" applied"); err != nil {
			return nil, err
		}
		w.recorded = time.Since(began)
		ways = append(ways, w)
	}
	return ways, nil
}
