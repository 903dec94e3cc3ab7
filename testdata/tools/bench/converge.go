package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fewUnits is how many units are at most applied again in each round, and by hand.
const fewUnits = 100

// mostConverged is how many units are at most applied for the first time.
const mostConverged = 1000

// converge measures the first pass over a platform that was never applied, beside
// xargs over the engine's bare commands in as many folders, which are initialised
// beforehand, so many at a time here and there. The first pass over a larger
// platform is measured once, and compared with the smaller one.
func (b *bench) converge(ctx context.Context, units int) error {
	if units > mostConverged {
		b.say("\nConverge %d new units: not measured, it takes hours\n", units)
		return nil
	}
	s, err := b.made(ctx, units, provided)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("Converge %d new units (%s), %d at a time", units, provided, parallel)
	pave := contender{"pave apply", func(ctx context.Context, round int) (cost, error) {
		if round == 0 {
			return s.cost, nil
		}
		name := fmt.Sprintf("%s-%d", s.name, round)
		again, err := b.platform(ctx, name, units, provided)
		if err != nil {
			return cost{}, err
		}
		other, err := b.converged(ctx, name, again, inPlace)
		if err != nil {
			return cost{}, err
		}
		return other.cost, other.remove()
	}}
	rounds, beside := 1, []contender{pave}
	if units <= fewUnits {
		_, byHand, err := b.byHand(ctx, s.name, s.p)
		if err != nil {
			return err
		}
		rounds, beside = b.rounds, append(beside, contender{fmt.Sprintf("xargs -P%d plan, show, apply", parallel), byHand})
	}
	medians, err := b.compareIn(ctx, rounds, title, beside...)
	if err != nil {
		return err
	}
	single := medians[0].cpu.Seconds() / float64(units)
	if b.single == 0 {
		b.single, b.singleOf = single, units
	}
	b.say("  a unit takes %.3f s of a processor, %.2f times what one of %d does\n", single, single/b.single, b.singleOf)
	return nil
}

// remove removes what a converge left.
func (s *stage) remove() error {
	left, err := filepath.Glob(filepath.Join(s.dir, s.name) + "*")
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// byHand lays out the units of a platform in folders that are initialised, and
// returns the folders and what applies them all.
func (b *bench) byHand(ctx context.Context, name string, p platform) (dirs []string, apply func(context.Context, int) (cost, error), err error) {
	root := filepath.Join(b.dir, name+"-by-hand")
	for _, blueprint := range []string{p.kind.blueprint(), "link"} {
		dir := filepath.Join(root, blueprint)
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.dir, "blueprints", blueprint))); err != nil {
			return nil, nil, err
		}
		if _, err := measure(b.command(ctx, dir, b.engine, "init", "-input=false")); err != nil {
			return nil, nil, err
		}
	}
	for n := range p.units {
		dir := filepath.Join(root, unitName(n))
		blueprint, asked := p.kind.blueprint(), variables(p.kind, p.files, n)
		if refers(n) {
			blueprint, asked = "link", []byte(`{"target": "elsewhere"}`)
		}
		if err := copyInitialised(dir, filepath.Join(root, blueprint)); err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"), asked, 0o600); err != nil {
			return nil, nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, func(ctx context.Context, _ int) (cost, error) {
		for _, dir := range dirs {
			if err := os.RemoveAll(filepath.Join(dir, "terraform.tfstate")); err != nil {
				return cost{}, err
			}
		}
		const steps = `cd "$1" && "$0" plan -input=false -out=plan >said && "$0" show -json plan >shown && "$0" apply -input=false -json plan >said`
		cmd := b.command(ctx, root, "xargs", fmt.Sprintf("-P%d", parallel), "-n1", "sh", "-c", steps, b.engine)
		cmd.Stdin = strings.NewReader(strings.Join(dirs, "\n"))
		return measure(cmd)
	}, nil
}

// copyInitialised copies the files of a folder, and lets the copy use the
// providers of the original.
func copyInitialised(dir, from string) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(from, entry.Name())
		if entry.IsDir() {
			err = os.Symlink(path, filepath.Join(dir, entry.Name()))
		} else {
			err = os.Link(path, filepath.Join(dir, entry.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
