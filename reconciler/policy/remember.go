package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// remembered is what rules leave to the next process of the same program.
type remembered struct {
	bundle   []byte // of the rules
	verdicts map[named]verdict
}

// rememberedPart is a part of it: the bundle, or some verdicts.
type rememberedPart struct {
	Bundle   []byte
	Verdicts map[named]verdict
}

// rememberedTogether is how many verdicts are one part.
const rememberedTogether = 512

// Remember returns what the rules of the last revision found, for another process
// of the same program to Recall. It returns nil as long as little of it is news to
// who called it before.
func (c *Compiler) Remember() iter.Seq[any] {
	c.mu.Lock()
	engine := c.last
	c.mu.Unlock()
	if engine == nil {
		return nil
	}
	verdicts := engine.said.unsaved()
	if len(verdicts) == 0 {
		return nil
	}
	return func(yield func(any) bool) {
		if !yield(rememberedPart{Bundle: engine.bundle}) {
			return
		}
		for names := range slices.Chunk(slices.Collect(maps.Keys(verdicts)), rememberedTogether) {
			some := map[named]verdict{}
			for _, of := range names {
				some[of] = verdicts[of]
			}
			if !yield(rememberedPart{Verdicts: some}) {
				return
			}
		}
	}
}

// Recall has the next engine of the same rules know what another process remembered,
// which is believed: it must come from this program, and from a process that judged
// what is trusted.
func (c *Compiler) Recall(read func(into any) error) error {
	m := remembered{verdicts: map[named]verdict{}}
	var held reconciler.Texts
	for {
		var p rememberedPart
		if err := read(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read what rules found before: %w", err)
		}
		if p.Bundle != nil {
			m.bundle = p.Bundle
		}
		for of, said := range p.Verdicts {
			held.Share(&of.Kind)
			held.Hold(&of.Name)
			m.verdicts[of] = said
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recalled = &m
	return nil
}

// unsaved returns all verdicts, where enough of them are news.
func (v *verdicts) unsaved() map[named]verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.news == 0 || v.news*20 < len(v.young) {
		return nil
	}
	v.news = 0
	all := maps.Clone(v.old)
	if all == nil {
		all = map[named]verdict{}
	}
	maps.Copy(all, v.young)
	return all
}

// take believes what was remembered, where it is of the same rules.
func (v *verdicts) take(m *remembered, bundle []byte) {
	if m == nil || !bytes.Equal(m.bundle, bundle) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.young = m.verdicts
}
