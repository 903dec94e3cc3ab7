package git

import (
	"bytes"
	"context"
)

// rarest is how often a line may occur at most for a comparison to hold on to
// it. Where all lines that two texts share are more frequent than that, the
// texts count as different there.
const rarest = 64

// change is a stretch of lines that another stretch takes the place of; either
// may be empty. Ends are exclusive.
type change struct {
	from, to       int // in the old text
	newFrom, newTo int // in the new one
}

// splitLines cuts a text after each line break.
func splitLines(text []byte) [][]byte {
	var lines [][]byte
	for line := range bytes.Lines(text) {
		lines = append(lines, line)
	}
	return lines
}

// numbered gives the same number to the same line in all texts.
func numbered(texts ...[][]byte) [][]int {
	numbers := map[string]int{}
	all := make([][]int, len(texts))
	for i, lines := range texts {
		all[i] = make([]int, len(lines))
		for j, line := range lines {
			n, known := numbers[string(line)]
			if !known {
				n = len(numbers)
				numbers[string(line)] = n
			}
			all[i][j] = n
		}
	}
	return all
}

// changes compares two texts and returns what differs, in order. It finds the
// stretches that Git finds when it merges: the histogram algorithm, then each
// change moved down as far as it goes or to where it meets one of the other side.
func changes(ctx context.Context, old, new []int) ([]change, error) {
	c := comparison{ctx: ctx, old: text{old, make([]bool, len(old))}, new: text{new, make([]bool, len(new))}}
	c.compare(0, len(old), 0, len(new))
	if c.err != nil {
		return nil, c.err
	}
	settle(c.old, c.new)
	settle(c.new, c.old)
	return c.collect(), nil
}

// text is a text with its lines as numbers, and which of them the other one lacks.
type text struct {
	lines   []int
	changed []bool
}

type comparison struct {
	ctx      context.Context
	old, new text
	steps    int
	err      error // the comparison was given up
}

// equal compares two lines, and the context with the clock now and then:
// texts can be made that take very long.
func (c *comparison) equal(i, j int) bool {
	if c.steps++; c.steps%(1<<20) == 0 && c.ctx.Err() != nil {
		c.err = context.Cause(c.ctx)
	}
	return c.err == nil && c.old.lines[i] == c.new.lines[j]
}

// compare marks what differs between two stretches: it lines them up at their
// best common run and does the same with what is before and what is after it.
func (c *comparison) compare(oldFrom, oldTo, newFrom, newTo int) {
	for c.err == nil && (oldFrom < oldTo || newFrom < newTo) {
		run, found := c.bestRun(oldFrom, oldTo, newFrom, newTo)
		if !found {
			mark(c.old.changed[oldFrom:oldTo])
			mark(c.new.changed[newFrom:newTo])
			return
		}
		c.compare(oldFrom, run.from, newFrom, run.newFrom)
		oldFrom, newFrom = run.to, run.newTo
	}
}

func mark(changed []bool) {
	for i := range changed {
		changed[i] = true
	}
}

// bestRun returns a run of lines that both stretches have: the one with the
// rarest line, of those the longest, of those the first.
func (c *comparison) bestRun(oldFrom, oldTo, newFrom, newTo int) (best change, found bool) {
	places := map[int][]int{}
	for i := oldFrom; i < oldTo; i++ {
		places[c.old.lines[i]] = append(places[c.old.lines[i]], i)
	}
	rarity := rarest + 1
	for j := newFrom; j < newTo; {
		next := j + 1
		at := places[c.new.lines[j]]
		if len(at) > rarity {
			at = nil
		}
		end := 0 // of the run before, in the old text
		for _, i := range at {
			if i < end {
				continue
			}
			run := change{i, i + 1, j, j + 1}
			rare := len(at)
			for run.from > oldFrom && run.newFrom > newFrom && c.equal(run.from-1, run.newFrom-1) {
				run.from, run.newFrom = run.from-1, run.newFrom-1
				rare = min(rare, len(places[c.old.lines[run.from]]))
			}
			for run.to < oldTo && run.newTo < newTo && c.equal(run.to, run.newTo) {
				rare = min(rare, len(places[c.old.lines[run.to]]))
				run.to, run.newTo = run.to+1, run.newTo+1
			}
			if c.err != nil {
				return change{}, false
			}
			end, next = run.to, max(next, run.newTo)
			if rare < rarity || run.to-run.from > max(1, best.to-best.from) {
				best, rarity = run, rare
			}
		}
		j = next
	}
	return best, rarity <= rarest
}

// settle moves each change of a text to where Git puts it. The same change may
// stand in several places, as a line added to a run of equal lines may. Between
// two unchanged lines there is one place for a change in either text, so the
// places of both texts are walked together.
func settle(t, other text) {
	g, o := t.first(), other.first()
	for {
		if g.from < g.to {
			settleOne(t, other, &g, &o)
		}
		if !t.next(&g) {
			return
		}
		other.next(&o)
	}
}

func settleOne(t, other text, g, o *stretch) {
	top, meets := 0, -1
	for size := -1; size != g.to-g.from; { // it grows where it meets another change
		size = g.to - g.from
		for t.up(g) {
			other.previous(o)
		}
		top, meets = g.to, -1
		if o.from < o.to {
			meets = g.to
		}
		for t.down(g) {
			other.next(o)
			if o.from < o.to {
				meets = g.to
			}
		}
	}
	if g.to == top || meets < 0 {
		return
	}
	for o.from == o.to {
		t.up(g)
		other.previous(o)
	}
}

// stretch is the place between two unchanged lines, with what changed there.
type stretch struct{ from, to int }

func (t text) first() stretch { return stretch{0, t.grow(0)} }

// grow returns where the changed lines from i on end.
func (t text) grow(i int) int {
	for i < len(t.changed) && t.changed[i] {
		i++
	}
	return i
}

func (t text) shrink(i int) int {
	for i > 0 && t.changed[i-1] {
		i--
	}
	return i
}

func (t text) next(s *stretch) bool {
	if s.to == len(t.lines) {
		return false
	}
	*s = stretch{s.to + 1, t.grow(s.to + 1)}
	return true
}

func (t text) previous(s *stretch) {
	if s.from > 0 {
		*s = stretch{t.shrink(s.from - 1), s.from - 1}
	}
}

// up moves a change by one line, which becomes its first, and takes in a change
// that it meets.
func (t text) up(s *stretch) bool {
	if s.from == 0 || t.lines[s.from-1] != t.lines[s.to-1] {
		return false
	}
	t.changed[s.from-1], t.changed[s.to-1] = true, false
	*s = stretch{t.shrink(s.from - 1), s.to - 1}
	return true
}

func (t text) down(s *stretch) bool {
	if s.to == len(t.lines) || t.lines[s.from] != t.lines[s.to] {
		return false
	}
	t.changed[s.from], t.changed[s.to] = false, true
	*s = stretch{s.from + 1, t.grow(s.to + 1)}
	return true
}

// collect reads the changes from the marks.
func (c *comparison) collect() []change {
	var all []change
	g, o := c.old.first(), c.new.first()
	for {
		if g.from < g.to || o.from < o.to {
			all = append(all, change{g.from, g.to, o.from, o.to})
		}
		if !c.old.next(&g) {
			return all
		}
		c.new.next(&o)
	}
}

// mergeLines applies to base what one and what the other changed in it. ok is
// false where both changed the same lines, or lines that touch, to something
// different.
func mergeLines(ctx context.Context, base, one, other []byte) (merged []byte, ok bool, err error) {
	texts := [][][]byte{splitLines(base), splitLines(one), splitLines(other)}
	numbers := numbered(texts...)
	ones, err := changes(ctx, numbers[0], numbers[1])
	if err != nil {
		return nil, false, err
	}
	others, err := changes(ctx, numbers[0], numbers[2])
	if err != nil {
		return nil, false, err
	}
	var b bytes.Buffer
	at := 0 // what is before it in the base is merged
	for len(ones)+len(others) > 0 {
		mine, theirs := touching(ones, others)
		ones, others = ones[len(mine):], others[len(theirs):]
		from, to := bounds(mine, theirs)
		writeLines(&b, texts[0][at:from])
		at = to
		switch {
		case len(theirs) == 0:
			writeLines(&b, replaced(texts[1], mine, from, to))
		case len(mine) == 0:
			writeLines(&b, replaced(texts[2], theirs, from, to))
		default:
			result := replaced(texts[1], mine, from, to)
			if !sameLines(result, replaced(texts[2], theirs, from, to)) {
				return nil, false, nil
			}
			writeLines(&b, result)
		}
	}
	writeLines(&b, texts[0][at:])
	return b.Bytes(), true, nil
}

// touching returns the first changes of each side that hang together. At least
// one side has a change.
func touching(ones, others []change) (mine, theirs []change) {
	end := -1
	for {
		switch i, j := len(mine), len(theirs); {
		case i < len(ones) && (ones[i].from <= end || end < 0 && (len(others) == 0 || ones[i].from <= others[0].from)):
			mine = ones[:i+1]
			end = max(end, ones[i].to)
		case j < len(others) && (others[j].from <= end || end < 0):
			theirs = others[:j+1]
			end = max(end, others[j].to)
		default:
			return mine, theirs
		}
	}
}

// bounds returns the stretch of the base that the changes cover together.
func bounds(mine, theirs []change) (from, to int) {
	from = -1
	for _, c := range [][]change{mine, theirs} {
		if len(c) == 0 {
			continue
		}
		if from < 0 || c[0].from < from {
			from = c[0].from
		}
		to = max(to, c[len(c)-1].to)
	}
	return from, to
}

// replaced returns what the changes make of a stretch of the base.
func replaced(lines [][]byte, changes []change, from, to int) [][]byte {
	first, last := changes[0], changes[len(changes)-1]
	return lines[first.newFrom-(first.from-from) : last.newTo+(to-last.to)]
}

func sameLines(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil))
}

func writeLines(b *bytes.Buffer, lines [][]byte) {
	for _, line := range lines {
		b.Write(line)
	}
}
