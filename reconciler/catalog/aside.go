package catalog

import "maps"

// Aside returns an evaluator that knows what this one remembers of its last pass.
// Neither learns from what the other evaluates. A child that stays is that of both.
func (e *Evaluator) Aside() *Evaluator {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &Evaluator{command: e.command, deadline: e.deadline, cache: e.cache, layout: e.layout, held: &shelves{}, place: e.place}
}

// Learn has the next pass know what another evaluator remembers of its last one. From
// then on neither learns from the other, and both may go on at once. What both know is
// held in memory once.
func (e *Evaluator) Learn(from *Evaluator) {
	cache, layout, gathered := from.known()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache, e.layout, e.gathered, e.held = cache, layout, gathered, &shelves{}
}

// known copies what a pass would change of what is remembered.
func (e *Evaluator) known() (map[digest]*answer, *layout, gathered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	cache := maps.Clone(e.cache)
	for key, a := range cache {
		if a.Governance != nil { // which is read when it is first asked for
			copied, governance := *a, *a.Governance
			copied.Governance = &governance
			cache[key] = &copied
		}
	}
	if e.layout == nil {
		return cache, nil, gathered{}
	}
	layout := *e.layout
	layout.asked, layout.folders = nil, nil // which a pass adds to
	return cache, &layout, e.gathered
}
