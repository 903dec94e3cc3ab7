// Package mutate runs fuzz targets in the test suite. `go test` alone gives a
// target its seeds and no more; this gives it what comes of them by thousands of
// small changes, the same ones on every machine.
package mutate

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
	"time"
	"unicode/utf8"
)

const (
	inputs = 10_000
	// bound is the time that one input may take. It is far more than any needs:
	// only a hang reaches it, on however slow a machine.
	bound = 20 * time.Second
	// maxAllocated bounds what one input may allocate, together.
	maxAllocated = 256 << 20
	// maxStack bounds how deep one input may lead, far below what Go bears.
	maxStack = 256 << 20
	maxInput = 64 << 10
)

// Fuzz is f.Fuzz of the target over the seeds. Where nobody fuzzes, the target gets
// 10,000 changed seeds first, or a tenth of that with -short. No input may make it
// panic, take longer than a hang does, or allocate without bound.
func Fuzz(f *testing.F, seeds [][]byte, target func(t testing.TB, input []byte)) {
	f.Helper()
	for _, seed := range seeds {
		f.Add(seed)
	}
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing == nil || fuzzing.Value.String() == "" {
		many(f, seeds, target)
	}
	f.Fuzz(func(t *testing.T, input []byte) { one(t, input, target) })
}

// WriteFile writes a file for a target that reads one. It is a new file each time:
// file systems write the old content out before they cut it off, which takes longer
// than everything else.
func WriteFile(t testing.TB, path string, input []byte) {
	t.Helper()
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path, input, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func many(f *testing.F, seeds [][]byte, target func(t testing.TB, input []byte)) {
	f.Helper()
	n := inputs
	if testing.Short() {
		n /= 10
	}
	defer debug.SetMaxStack(debug.SetMaxStack(maxStack))
	name := fnv.New64a()
	name.Write([]byte(f.Name()))
	m := newMutator(seeds, name.Sum64())
	for range n {
		if one(f, m.next(), target); f.Failed() {
			return
		}
	}
}

// one gives the target one input and says which it was when that went wrong.
func one(t testing.TB, input []byte, target func(t testing.TB, input []byte)) {
	t.Helper()
	hang := time.AfterFunc(bound, func() { panic(fmt.Sprintf("%s hangs at %s", t.Name(), shown(input))) })
	defer hang.Stop()
	before := allocated()
	finished := false
	defer func() {
		if !finished || t.Failed() {
			t.Logf("the input was %s", shown(input))
		}
	}()
	target(t, bytes.Clone(input))
	finished = true
	if used := allocated() - before; used > maxAllocated {
		t.Errorf("it allocated %d MiB", used>>20)
	}
}

func shown(input []byte) string {
	if len(input) > 4000 {
		return fmt.Sprintf("%q… of %d bytes", input[:4000], len(input))
	}
	return fmt.Sprintf("%q", input)
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A mutator changes seeds, by bytes, words and what stands in brackets.
type mutator struct {
	*rand.Rand
	seeds [][]byte
	words [][]byte // what stands in the seeds, and what parsers stumble over
	plain int      // how many of the words, the first ones, stand where any value does
}

// split returns where the words of a text are, which is all of it: texts in
// quotation marks, names and numbers, space, and any other character alone.
func split(b []byte) [][]int {
	var all [][]int
	for from, to := 0, 0; from < len(b); from = to {
		switch c := b[from]; {
		case c == '"':
			to = from + quoted(b[from:])
		case named(c):
			for to++; to < len(b) && named(b[to]); to++ {
			}
		case spaced(c):
			for to++; to < len(b) && spaced(b[to]); to++ {
			}
		default:
			_, size := utf8.DecodeRune(b[from:])
			to = from + size
		}
		all = append(all, []int{from, to})
	}
	return all
}

// quoted returns how long the quoted text is that begins here: the mark alone,
// where it does not end in its line.
func quoted(b []byte) int {
	for i := 1; i < len(b) && b[i] != '\n'; i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i++; i < len(b) && b[i] == '\n' {
				return 1
			}
		}
	}
	return 1
}

func named(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}

func spaced(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func newMutator(seeds [][]byte, seed uint64) *mutator {
	m := &mutator{Rand: rand.New(rand.NewPCG(1, seed)), seeds: seeds}
	for i, text := range []string{
		"null", "true", "[]", "{}", `""`, "0", "-1", "1e999", "99999999999999999999", "1.5", "[null]", `{"":null}`,
		`"\u0000"`, `"\ud800"`, `"../../etc"`,
		"\u202e", "\x00", "\xff", "\r\n", "\n", "\ufeff", "${", "%{", `\(`, `"""`, "'", "#", "@", "|", "_", "...",
	} {
		m.words = append(m.words, []byte(text))
		if text == `"../../etc"` {
			m.plain = i + 1
		}
	}
	for _, s := range seeds {
		at := split(s)
		for _, here := range at[:min(len(at), 2000)] {
			m.words = append(m.words, s[here[0]:here[1]])
		}
	}
	return m
}

// next returns another input.
func (m *mutator) next() []byte {
	input := bytes.Clone(m.seeds[m.IntN(len(m.seeds))])
	// One way for all changes: what one leaves well-formed another would not.
	change := []func([]byte) []byte{m.changeBytes, m.changeWords, m.changeValues}[m.IntN(3)]
	for range 1 + m.IntN(4) {
		input = change(input)
		input = input[:min(len(input), maxInput)]
	}
	return input
}

// part returns the ends of a part of something, most often a short one.
func (m *mutator) part(length int) (from, to int) {
	from = m.IntN(length + 1)
	most := length - from
	if m.IntN(4) > 0 {
		most = min(most, 16)
	}
	return from, from + m.IntN(most+1)
}

func (m *mutator) changeBytes(b []byte) []byte {
	from, to := m.part(len(b))
	switch m.IntN(5) {
	case 0: // leave out
		return slices.Delete(b, from, to)
	case 1: // say again
		return slices.Insert(b, to, bytes.Clone(b[from:to])...)
	case 2: // cut off
		return b[:to]
	case 3: // nest deeply
		return slices.Insert(b, from, bytes.Repeat([]byte{"[({\"-<"[m.IntN(6)]}, 1<<m.IntN(13))...)
	}
	if from < len(b) {
		b[from] ^= 1 << m.IntN(8)
	}
	return b
}

func (m *mutator) changeWords(b []byte) []byte {
	at := split(b)
	if len(at) == 0 {
		return m.words[m.IntN(len(m.words))]
	}
	here := at[m.IntN(len(at))]
	other := m.words[m.IntN(len(m.words))]
	switch m.IntN(4) {
	case 0:
		other = nil
	case 1: // another word of the same input
		there := at[m.IntN(len(at))]
		other = bytes.Clone(b[there[0]:there[1]])
	case 2:
		return slices.Insert(b, here[0], other...)
	}
	return slices.Replace(b, here[0], here[1], other...)
}

// changeValues puts something in the place of what stands in brackets or is a word
// of its own, or says it twice, and most often leaves the whole well-formed.
func (m *mutator) changeValues(b []byte) []byte {
	var found, open [][]int
	for _, at := range split(b) {
		switch b[at[0]] {
		case '{', '[', '(':
			open = append(open, at)
		case '}', ']', ')':
			if last := len(open) - 1; last >= 0 {
				found = append(found, []int{open[last][0], at[1]})
				open = open[:last]
			}
		case ' ', '\t', '\n', ',', ':', '=':
		default:
			found = append(found, at)
		}
	}
	if len(found) == 0 {
		return m.changeWords(b)
	}
	here, there := found[m.IntN(len(found))], found[m.IntN(len(found))]
	switch m.IntN(4) {
	case 0:
		return slices.Insert(b, here[1], append([]byte(","), b[here[0]:here[1]]...)...)
	case 1:
		return slices.Replace(b, here[0], here[1], bytes.Clone(b[there[0]:there[1]])...)
	}
	return slices.Replace(b, here[0], here[1], m.words[m.IntN(m.plain)]...)
}
