package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// change measures the way of one changed request among so many units, from when its
// commit was pushed to the status commit on the remote, beside the engine's bare
// commands for the same unit in a folder that is initialised, with one fetch and
// one push. The push of the commit is on no side.
func (b *bench) change(ctx context.Context, units int) error {
	for _, kind := range []kind{provided, builtIn} {
		if err := b.changeOf(ctx, units, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) changeOf(ctx context.Context, units int, kind kind) (err error) {
	s, err := b.stage(ctx, units, kind)
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	bare, err := b.bareUnit(ctx, s.name+"-change", s.p)
	if err != nil {
		return err
	}
	err = b.compare(ctx, fmt.Sprintf("Change one of %d units (%s)", units, kind),
		contender{"pave serve", func(ctx context.Context, _ int) (cost, error) {
			before, err := d.processor()
			if err != nil {
				return cost{}, err
			}
			took, err := d.changes(ctx, 0)
			if err != nil {
				return cost{}, err
			}
			err = d.rests(ctx) // what is tidied up afterwards belongs to it
			after, failed := d.processor()
			return cost{wall: took, cpu: after - before}, errors.Join(err, failed)
		}},
		contender{"plan, show, apply, git", bare.apply})
	return errors.Join(err, d.sayPeak())
}

// changes has a unit changed, and returns how long after the push that is recorded.
func (d *daemon) changes(ctx context.Context, n int) (time.Duration, error) {
	if err := d.ask(ctx, n); err != nil {
		return 0, err
	}
	d.seen()
	if _, err := d.push(ctx, "main"); err != nil {
		return 0, err
	}
	began := time.Now()
	err := d.recorded(ctx, "Unit: "+unitName(n)+" applied")
	return time.Since(began), err
}
