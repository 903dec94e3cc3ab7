package policy

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/pave-dev/pave/reconciler"
)

// Folder holds the organisation's policies in a platform repository.
const Folder = "policies"

// MaxFile is the size of the largest policy that is read, in bytes.
const MaxFile = 64 << 10

// Read returns what decides the rules of a platform repository: every .rego
// file below Folder, and the settings. A violation denies; the sources are of
// no use then.
func Read(tree *reconciler.Tree, settings reconciler.Settings) (Sources, []reconciler.Violation) {
	sources := Sources{
		Organisation: map[string]string{},
		Overrides:    settings.Policy.Overrides,
		Waivers:      settings.Policy.Waivers,
	}
	var violations []reconciler.Violation
	for _, file := range tree.Under(Folder) {
		if !strings.HasSuffix(file.Path, ".rego") {
			continue
		}
		if file.Size > MaxFile {
			violations = append(violations, refuse(reconciler.Position{File: file.Path},
				fmt.Sprintf("has %d bytes; a policy may have %d", file.Size, MaxFile), "split it"))
			continue
		}
		text, err := tree.Read(file)
		if err != nil {
			violations = append(violations, refuse(reconciler.Position{File: file.Path},
				fmt.Sprintf("read the policy: %v", err), "commit it as a regular file, or remove it"))
			continue
		}
		sources.Organisation[file.Path] = string(text)
	}
	return sources, violations
}

// Compiler compiles the rules of a revision. It implements what the domain
// asks of its rules. Where they are those of the revision before, so are the engine
// and what it found; not one in which an evaluation is stuck, for the next may end.
type Compiler struct {
	mu      sync.Mutex
	last    *Engine // guarded by mu, as all below
	sources Sources
	said    []reconciler.Violation
	// recalled is what another process found by its rules, until rules are compiled.
	recalled *remembered
}

// Compile reads and compiles the rules of the tree. The judge is an [*Engine],
// or nil where a violation denies.
func (c *Compiler) Compile(ctx context.Context, tree *reconciler.Tree, settings reconciler.Settings) (reconciler.Judge, []reconciler.Violation) {
	sources, violations := Read(tree, settings)
	if len(violations) > 0 {
		return nil, violations
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && !c.last.stuck.Load() && reflect.DeepEqual(c.sources, sources) {
		return c.last, slices.Clone(c.said)
	}
	engine, violations := Compile(ctx, sources)
	if engine == nil {
		return nil, violations
	}
	engine.said.take(c.recalled, engine.bundle)
	c.recalled = nil
	c.last, c.sources, c.said = engine, sources, slices.Clone(violations)
	return engine, violations
}
