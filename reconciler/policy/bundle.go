package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pave-dev/pave/policies"
	"github.com/pave-dev/pave/reconciler"
)

// bundle is an engine on its way to a run. The built-in rules are in the binary
// at both ends; the digest tells that they are the same.
type bundle struct {
	Builtin      string                         `json:"builtin"`
	Organisation map[string]string              `json:"organisation,omitempty"` // without tests
	Overrides    map[string]reconciler.Override `json:"overrides,omitempty"`
	Deadline     time.Duration                  `json:"deadline,omitempty"`
}

func newBundle(sources Sources) json.RawMessage {
	organisation := maps.Clone(sources.Organisation)
	maps.DeleteFunc(organisation, func(path, _ string) bool { return isTest(path) })
	text, err := json.Marshal(bundle{builtinDigest(), organisation, sources.Overrides, sources.Deadline})
	if err != nil {
		panic(err) // strings and numbers always have JSON
	}
	return text
}

// Bundle returns what Load needs to judge as this engine does. The same rules
// give the same bytes.
func (e *Engine) Bundle() json.RawMessage { return slices.Clone(e.bundle) }

// Load returns the engine of a bundle. It takes milliseconds. Tests do not
// travel, so [Engine.Test] finds none.
func Load(ctx context.Context, data json.RawMessage) (*Engine, error) {
	var b bundle
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	if b.Builtin != builtinDigest() {
		return nil, errors.New("read the policies: they were written by another version of Pave")
	}
	engine, violations := Compile(ctx, Sources{Organisation: b.Organisation, Overrides: b.Overrides, Deadline: b.Deadline})
	if engine == nil {
		return nil, fmt.Errorf("compile the policies: %s", violations[0])
	}
	return engine, nil
}

func builtinDigest() string {
	files := policies.Files()
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isTest(name) {
			fmt.Fprintf(sum, "%s %d\n%s", name, len(files[name]), files[name])
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}
