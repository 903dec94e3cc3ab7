package catalog

// Aside returns an evaluator that knows what this one remembers of its last pass.
// Neither learns from what the other evaluates. A child that stays is that of both.
func (e *Evaluator) Aside() *Evaluator {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &Evaluator{command: e.command, deadline: e.deadline, cache: e.cache, layout: e.layout, place: e.place}
}
