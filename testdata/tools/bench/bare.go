package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bare is what is done by hand: a unit in a folder that is initialised, and a
// clone of a repository.
type bare struct {
	*bench
	folder, clone string
	files         string
	kind          kind
	version       int
}

// bareUnit lays out the first unit of a platform by hand, and applies it.
func (b *bench) bareUnit(ctx context.Context, name string, p platform) (*bare, error) {
	name += "-bare"
	by := &bare{bench: b, folder: filepath.Join(b.dir, name), clone: filepath.Join(b.dir, name+"-clone"), files: p.files, kind: p.kind}
	if err := os.CopyFS(by.folder, os.DirFS(filepath.Join(p.dir, "blueprints", p.kind.blueprint()))); err != nil {
		return nil, err
	}
	remote := filepath.Join(b.dir, name+".git")
	for _, args := range [][]string{{"clone", "--quiet", "--bare", p.dir, remote}, {"clone", "--quiet", remote, by.clone}} {
		if _, err := b.git(ctx, b.dir, args...); err != nil {
			return nil, err
		}
	}
	if err := by.change(); err != nil {
		return nil, err
	}
	_, err := by.terraform(ctx, []string{"init", "-input=false"}, []string{"apply", "-input=false", "-auto-approve"})
	return by, err
}

// change asks for something else.
func (b *bare) change() error {
	b.version++
	return os.WriteFile(filepath.Join(b.folder, "terraform.tfvars.json"), variables(b.kind, b.files, b.version), 0o600)
}

// variables are those of a unit.
func variables(kind kind, files string, version int) []byte {
	folder := ""
	if kind == provided {
		folder = fmt.Sprintf(", %q: %q", "folder", files)
	}
	return fmt.Appendf(nil, `{"content": "version %d of 0", "size": "small", "copies": 1%s}`, version, folder)
}

// terraform runs commands of the engine one after the other.
func (b *bare) terraform(ctx context.Context, commands ...[]string) (cost, error) {
	var all cost
	for _, args := range commands {
		c, err := measure(b.command(ctx, b.folder, b.engine, args...))
		if err != nil {
			return cost{}, err
		}
		all = all.plus(c)
	}
	all.peak = 0 // that of the other side is not known
	return all, nil
}

// apply plans, shows and applies another version, fetches, and pushes a commit.
func (b *bare) apply(ctx context.Context, round int) (cost, error) {
	err := errors.Join(b.change(), os.WriteFile(filepath.Join(b.clone, "status"), fmt.Appendln(nil, round), 0o644))
	if err != nil {
		return cost{}, err
	}
	if err := b.commit(ctx, b.clone, "Record"); err != nil {
		return cost{}, err
	}
	all, err := b.terraform(ctx, []string{"plan", "-input=false", "-out=plan"}, []string{"show", "-json", "plan"}, []string{"apply", "-input=false", "-json", "plan"})
	if err != nil {
		return cost{}, err
	}
	fetched, err := b.git(ctx, b.clone, "fetch", "--quiet", "origin")
	if err != nil {
		return cost{}, err
	}
	pushed, err := b.git(ctx, b.clone, "push", "--quiet", "origin", "main")
	all = all.plus(fetched).plus(pushed)
	all.peak = 0
	return all, err
}

// plan plans and shows another version, and fetches.
func (b *bare) plan(ctx context.Context, _ int) (cost, error) {
	if err := b.change(); err != nil {
		return cost{}, err
	}
	all, err := b.terraform(ctx, []string{"plan", "-input=false", "-out=plan"}, []string{"show", "-json", "plan"})
	if err != nil {
		return cost{}, err
	}
	fetched, err := b.git(ctx, b.clone, "fetch", "--quiet", "origin")
	all = all.plus(fetched)
	all.peak = 0
	return all, err
}
