package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stage is a platform whose units are all applied, with its repository and with
// what Pave keeps of it. Cases that come one after the other share it.
type stage struct {
	*bench
	p        platform
	name     string
	remote   string // the folder of the repository
	address  string // by which Pave reaches it
	versions map[int]int
	pulls    int  // pull requests that were opened
	cost     cost // of converging
}

// mostMade is how many units of a stage are made where nothing needs all of them:
// what follows changes only the first few.
const mostMade = 100

// stage returns the stage of so many units, which the first case that needs it pays
// for. Of a large one only the first units are made.
func (b *bench) stage(ctx context.Context, units int, kind kind) (*stage, error) {
	if units <= mostMade {
		return b.made(ctx, units, kind)
	}
	return b.once(ctx, units, kind, "", func(ctx context.Context, name string, p platform) (*stage, error) {
		return b.furnished(ctx, name, p, inPlace)
	})
}

// inPlace is the address of a repository of this machine.
func inPlace(remote string) string { return remote }

// made returns the stage of so many units, each of which was made.
func (b *bench) made(ctx context.Context, units int, kind kind) (*stage, error) {
	return b.once(ctx, units, kind, "-made", func(ctx context.Context, name string, p platform) (*stage, error) {
		return b.converged(ctx, name, p, inPlace)
	})
}

func (b *bench) once(ctx context.Context, units int, kind kind, suffix string, set func(context.Context, string, platform) (*stage, error)) (*stage, error) {
	name := fmt.Sprintf("%d-%s%s", units, strings.ReplaceAll(string(kind), " ", "-"), suffix)
	if s := b.stages[name]; s != nil {
		return s, nil
	}
	p, err := b.platform(ctx, name, units, kind)
	if err != nil {
		return nil, err
	}
	s, err := set(ctx, name, p)
	if err == nil {
		b.stages[name] = s
	}
	return s, err
}

// furnished makes the first units of a platform, and records the others as if they
// had been made.
func (b *bench) furnished(ctx context.Context, name string, p platform, address func(remote string) string) (*stage, error) {
	if p.units <= mostMade {
		return b.converged(ctx, name, p, address)
	}
	for n := mostMade; n < p.units; n++ {
		if err := os.Remove(filepath.Join(p.dir, p.path(n))); err != nil {
			return nil, err
		}
	}
	if err := b.commit(ctx, p.dir, "Begin with a few"); err != nil {
		return nil, err
	}
	s, err := b.converged(ctx, name, p, address)
	if err != nil {
		return nil, err
	}
	for n := mostMade; n < p.units; n++ {
		if err := p.document(n, 0); err != nil {
			return nil, err
		}
	}
	if err := s.setParallel(ctx, 256); err != nil {
		return nil, err
	}
	if err := b.furnish(ctx, s.address, s.cacheDir(), s.stateDir()); err != nil {
		return nil, err
	}
	if err := s.setParallel(ctx, parallel); err != nil {
		return nil, err
	}
	_, err = s.apply(ctx) // or who has a forge waits for a review of the settings
	return s, err
}

// setParallel has the settings say how many units run at a time, and pushes that
// with whatever else changed.
func (s *stage) setParallel(ctx context.Context, units int) error {
	s.p.parallel = units
	if err := s.p.file("platform.cue", []byte(s.p.settings())); err != nil {
		return err
	}
	if err := s.commit(ctx, s.p.dir, fmt.Sprintf("Run %d at a time", units)); err != nil {
		return err
	}
	_, err := s.push(ctx, "main")
	return err
}

// converged applies a platform that was never applied, in one pass.
func (b *bench) converged(ctx context.Context, name string, p platform, address func(remote string) string) (*stage, error) {
	s := &stage{bench: b, p: p, name: name, remote: filepath.Join(b.dir, name+".git"), versions: map[int]int{}}
	s.address = address(s.remote)
	for _, args := range [][]string{{"clone", "--quiet", "--bare", p.dir, s.remote}, {"remote", "add", "origin", s.remote}, {"fetch", "--quiet"}} {
		if _, err := b.git(ctx, p.dir, args...); err != nil {
			return nil, err
		}
	}
	var err error
	s.cost, err = s.apply(ctx)
	return s, err
}

// apply makes one pass.
func (s *stage) apply(ctx context.Context) (cost, error) {
	return measure(s.command(ctx, s.dir, s.pave, s.flags("apply", "--quiet")...))
}

func (s *stage) cacheDir() string { return filepath.Join(s.dir, s.name+"-cache") }
func (s *stage) stateDir() string { return filepath.Join(s.dir, s.name+"-state") }

// flags are those of a verb that runs the engine.
func (s *stage) flags(verb string, more ...string) []string {
	return append([]string{verb, "--repo", s.address, "--branch", "main",
		"--cache-dir", s.cacheDir(), "--state-dir", s.stateDir(),
		"--engine", filepath.Base(s.engine), "--engine-path", filepath.Dir(s.engine), "--terraform-config", s.providers,
		"--allow-write", s.p.files}, more...)
}

// ask has the document of a unit ask for something else, and commits that.
func (s *stage) ask(ctx context.Context, n int) error {
	s.versions[n]++
	if err := s.p.document(n, s.versions[n]); err != nil {
		return err
	}
	return s.commit(ctx, s.p.dir, fmt.Sprintf("Change %s", unitName(n)))
}

// look has the settings say how often units are compared with what runs, and
// commits that.
func (s *stage) look(ctx context.Context, every string) error {
	s.p.drift = every
	if err := s.p.file("platform.cue", []byte(s.p.settings())); err != nil {
		return err
	}
	return s.commit(ctx, s.p.dir, "Look for drift every "+every)
}

// push sends what was committed.
func (s *stage) push(ctx context.Context, refs ...string) (cost, error) {
	return s.git(ctx, s.p.dir, append([]string{"push", "--quiet", "origin"}, refs...)...)
}

// appliable are the units that may be changed by themselves.
func (s *stage) appliable(i int) int {
	own := s.p.units - s.p.units/10
	i %= own
	return i/9*10 + i%9
}

// propose pushes a branch on which the first unit is changed, and returns its base
// and its head.
func (s *stage) propose(ctx context.Context, branch string) (base, head string, err error) {
	if base, err = s.head(ctx); err != nil {
		return "", "", err
	}
	if _, err = s.git(ctx, s.p.dir, "switch", "--quiet", "--create", branch); err != nil {
		return "", "", err
	}
	if err = s.ask(ctx, 0); err != nil {
		return "", "", err
	}
	if head, err = s.head(ctx); err != nil {
		return "", "", err
	}
	if _, err = s.push(ctx, branch); err != nil {
		return "", "", err
	}
	_, err = s.git(ctx, s.p.dir, "switch", "--quiet", "main")
	return base, head, err
}

// head is the commit of the work tree.
func (s *stage) head(ctx context.Context) (string, error) {
	var said bytes.Buffer
	cmd := s.command(ctx, s.p.dir, "git", "rev-parse", "HEAD")
	cmd.Stdout = &said
	_, err := measure(cmd)
	return strings.TrimSpace(said.String()), err
}
