package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// verdict measures how soon the daemon knows: after a restart with its caches, until
// the revision is in force, and of one changed service, from when the commit is on
// the branch until its verdict. Nothing is run.
func (b *bench) verdict(ctx context.Context, units int) (err error) {
	s, err := b.stage(ctx, units, builtIn)
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{}) // which leaves what it knows
	if err == nil {
		err = d.stop()
	}
	if err != nil {
		return err
	}
	err = b.compare(ctx, fmt.Sprintf("Ready after a restart, %d services and requests", units), contender{"pave serve", func(ctx context.Context, _ int) (cost, error) {
		began := time.Now()
		d, err := s.start(ctx, options{})
		if err != nil {
			return cost{}, err
		}
		_, err = d.says(ctx, 0, inForce)
		wall := time.Since(began)
		cpu, failed := d.processor()
		return cost{wall: wall, cpu: cpu}, errors.Join(err, failed, d.rests(ctx), d.stop())
	}})
	if err != nil {
		return err
	}
	commits, err := s.history(ctx, b.rounds)
	if err != nil {
		return err
	}
	if d, err = s.serve(ctx, options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	err = b.compare(ctx, fmt.Sprintf("Verdict about one changed of %d services", units), contender{"pave serve", func(ctx context.Context, round int) (cost, error) {
		before, err := d.processor()
		if err != nil {
			return cost{}, err
		}
		began := time.Now()
		err = d.advance(ctx, commits[round])
		wall := time.Since(began)
		after, failed := d.processor()
		return cost{wall: wall, cpu: after - before}, errors.Join(err, failed, d.rests(ctx))
	}})
	return errors.Join(err, s.catchUp(ctx))
}
