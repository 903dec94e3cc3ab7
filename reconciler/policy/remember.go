package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/pave-dev/pave/reconciler"
)

// remembered is what rules leave to the next process of the same program.
type remembered struct {
	Bundle   []byte // of the rules
	Verdicts []rememberedVerdict
}

type rememberedVerdict struct {
	Kind, Name string
	Subject    [sha256.Size]byte // see digest
	Found      []reconciler.Violation
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
	m := remembered{Bundle: engine.bundle}
	for name, last := range engine.said.unsaved() {
		if subject, ok := digest(last.subject); ok {
			m.Verdicts = append(m.Verdicts, rememberedVerdict{name.kind, name.name, subject, last.found})
		}
	}
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
	v.recalled = make(map[named]rememberedVerdict, len(m.Verdicts))
	for _, r := range m.Verdicts {
		v.recalled[named{r.Kind, r.Name}] = r
	}
}

// recall returns what another process found about the subject, once: from then on
// it is known here. The caller holds mu.
func (v *verdicts) recall(s reconciler.Subject) ([]reconciler.Violation, bool) {
	name := named{s.Kind, s.Name}
	r, known := v.recalled[name]
	if !known || len(s.Plan) > 0 {
		return nil, false
	}
	if delete(v.recalled, name); len(v.recalled) == 0 {
		v.recalled = nil
	}
	if subject, ok := digest(s); !ok || subject != r.Subject {
		return nil, false
	}
	v.put(name, verdict{s, r.Found})
	return slices.Clone(r.Found), true
}

// digest tells subjects apart as same does, beyond this process.
func digest(s reconciler.Subject) (sum [sha256.Size]byte, ok bool) {
	type head struct {
		Kind, Name     string
		Heal, Reviewed bool
		Day            int64
		Action         string
		Fields         []string
		Cost           *reconciler.Cost
	}
	text, err := json.Marshal(head{s.Kind, s.Name, s.Heal, s.Reviewed, day(s.Now), s.Change.Action, s.Change.Fields, s.Cost})
	if err != nil { // a cost that is no number
		return sum, false
	}
	h := sha256.New()
	write := func(text []byte) {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		h.Write(text)
	}
	for _, part := range append([]json.RawMessage{text, s.Change.Before, s.Document, s.Team, s.Service, s.Environment, s.Blueprint, s.Settings}, s.Dependencies...) {
		write(part)
	}
	h.Sum(sum[:0])
	return sum, true
}
