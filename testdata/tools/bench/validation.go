package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// validation compares a cold validation with all rules to plain `cue vet -c` of
// the same documents as one package in one folder.
func (b *bench) validation(ctx context.Context, units int) error {
	name := fmt.Sprintf("validate-%d", units)
	p, err := b.platform(ctx, name, units, builtIn)
	if err != nil {
		return err
	}
	flat := p
	flat.dir = filepath.Join(b.dir, name+"-flat")
	if err := flat.write(); err != nil {
		return err
	}
	for n := range units {
		path := filepath.Join(flat.dir, p.path(n))
		if err := os.Rename(path, filepath.Join(flat.dir, filepath.Base(path))); err != nil {
			return err
		}
	}
	return b.compare(ctx, fmt.Sprintf("Validate %d services and %d requests", units, units),
		contender{"pave validate", func(ctx context.Context, _ int) (cost, error) {
			return measure(b.command(ctx, p.dir, b.pave, "validate", "--quiet"))
		}},
		contender{"cue vet -c .", func(ctx context.Context, _ int) (cost, error) {
			return measure(b.command(ctx, flat.dir, b.cue, "vet", "-c", "."))
		}})
}
