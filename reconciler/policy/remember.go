package policy

import (
	"bytes"
	"fmt"
	"maps"
)

// remembered is what rules leave to the next process of the same program.
type remembered struct {
	Bundle   []byte // of the rules
	Verdicts map[named]verdict
}

// Remember returns what the rules of the last revision found, for another process
// of the same program to Recall. It returns nil as long as little of it is news to
// who called it before.
func (c *Compiler) Remember() any {
	c.mu.Lock()
	engine := c.last
	c.mu.Unlock()
	if engine == nil {
		return nil
	}
	m := remembered{engine.bundle, engine.said.unsaved()}
	if len(m.Verdicts) == 0 {
		return nil
	}
	return m
}

// Recall has the next engine of the same rules know what another process remembered,
// which is believed: it must come from this program, and from a process that judged
// what is trusted.
func (c *Compiler) Recall(read func(into any) error) error {
	var m remembered
	if err := read(&m); err != nil {
		return fmt.Errorf("read what rules found before: %w", err)
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
	if m == nil || !bytes.Equal(m.Bundle, bundle) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.young = m.Verdicts
}
