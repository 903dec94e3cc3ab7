package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peer is a tool that does a part of what Pave does.
type peer struct {
	program string
	part    string // of what Pave does
	// without tells why it is not measured; empty where it is.
	without string
	compare func(b *bench, ctx context.Context, s *stage) error
}

// known are the tools that are measured where the machine has them.
var known = []peer{
	{program: "conftest", part: "rules over documents", compare: (*bench).conftest},
	{program: "terragrunt", part: "plans of many units", compare: everyFolder("terragrunt.hcl", "", func(b *bench) []string {
		return []string{"terragrunt", "run", "--all", "--non-interactive", "--parallelism", fmt.Sprint(parallel), "--tf-path", b.engine, "plan"}
	})},
	{program: "terramate", part: "plans of many units", compare: everyFolder("stack.tm.hcl", "stack {}\n", func(b *bench) []string {
		return []string{"terramate", "run", "--disable-safeguards=all", "--parallel", fmt.Sprint(parallel), "--", b.engine, "plan", "-input=false"}
	})},
	{program: "atlantis", part: "plans of pull requests", without: "it works for a forge alone"},
}

// peers measures Pave beside the tools that the machine has, and names those that
// it has not. A tool that fails is named as well.
func (b *bench) peers(ctx context.Context, units int) error {
	b.say("\nOther tools\n")
	for _, p := range known {
		path, err := exec.LookPath(p.program)
		switch {
		case err != nil:
			b.say("  %s (%s) is not on the PATH\n", p.program, p.part)
			continue
		case p.without != "":
			b.say("  %s (%s) is not measured: %s\n", path, p.part, p.without)
			continue
		}
		s, err := b.stage(ctx, units, builtIn)
		if err != nil {
			return err
		}
		if err := p.compare(b, ctx, s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.say("  %s (%s) fails here: %.300s\n", p.program, p.part, err)
		}
	}
	return nil
}

// conftest judges all requests by the platform's own rule, which is one of those
// that Pave judges them by, as JSON that is evaluated beforehand.
func (b *bench) conftest(ctx context.Context, s *stage) error {
	dir := filepath.Join(b.dir, s.name+"-conftest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for n := range s.p.units {
		document := fmt.Appendf(nil, `{"kind": "request", "name": %q, "service": %q, "blueprint": %q, "inputs": {"content": "version 0 of %d"}}`,
			unitName(n), serviceName(n), s.p.kind.blueprint(), n)
		if err := os.WriteFile(filepath.Join(dir, unitName(n)+".json"), document, 0o644); err != nil {
			return err
		}
	}
	policies := filepath.Join(s.p.dir, "policies")
	return b.compare(ctx, fmt.Sprintf("All rules and checks of %d services and requests, and one rule over the requests alone", s.p.units),
		contender{"pave validate", func(ctx context.Context, _ int) (cost, error) {
			return measure(b.command(ctx, s.p.dir, b.pave, "validate", "--quiet"))
		}},
		contender{"conftest test", func(ctx context.Context, _ int) (cost, error) {
			return measure(b.command(ctx, dir, "conftest", "test", "--quiet", "--all-namespaces", "--policy", policies, "."))
		}})
}

// everyFolder compares a plan of all units while one is changed, from the command
// line, to a tool that plans in folders, each of which such a file makes a unit and
// was applied.
func everyFolder(file, content string, args func(*bench) []string) func(*bench, context.Context, *stage) error {
	return func(b *bench, ctx context.Context, s *stage) error {
		command := args(b)
		dirs, apply, err := b.byHand(ctx, s.name+"-"+command[0], s.p)
		if err != nil {
			return err
		}
		if _, err := apply(ctx, 0); err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dirs[0], "terraform.tfvars.json"), variables(s.p.kind, s.p.files, -1), 0o600); err != nil {
			return err
		}
		_, head, err := s.propose(ctx, "for-"+command[0])
		if err != nil {
			return err
		}
		return b.compare(ctx, fmt.Sprintf("Plan %d units of which one is changed (%s)", s.p.units, s.p.kind),
			contender{"pave plan", func(ctx context.Context, _ int) (cost, error) {
				const pending = 3 // the exit code where there is something to apply
				return measure(b.command(ctx, b.dir, b.pave, s.flags("plan", "--quiet", "--revision", head)...), pending)
			}},
			contender{command[0], func(ctx context.Context, _ int) (cost, error) {
				return measure(b.command(ctx, filepath.Dir(dirs[0]), command[0], command[1:]...))
			}})
	}
}
