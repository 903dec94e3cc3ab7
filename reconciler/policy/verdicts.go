package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// verdicts are what an engine found about subjects that may be asked about again
// as they are: nearly all of a platform, with each revision.
type verdicts struct {
	mu sync.Mutex
	// Those that were asked for lately are in young, and go with old when young is
	// full twice. Both are guarded by mu.
	young, old map[[sha256.Size]byte][]reconciler.Violation
}

// mostVerdicts is how many may be young: of ten thousand services and requests
// each, twice.
const mostVerdicts = 1 << 16

// of returns what was found. The key of no subject is never known.
func (v *verdicts) of(key [sha256.Size]byte) ([]reconciler.Violation, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, known := v.young[key]
	if !known {
		if found, known = v.old[key]; known {
			v.put(key, found)
		}
	}
	return slices.Clone(found), known
}

func (v *verdicts) keep(key [sha256.Size]byte, found []reconciler.Violation) {
	if key == [sha256.Size]byte{} {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(key, slices.Clone(found))
}

func (v *verdicts) put(key [sha256.Size]byte, found []reconciler.Violation) {
	if v.young == nil || len(v.young) >= mostVerdicts {
		v.young, v.old = map[[sha256.Size]byte][]reconciler.Violation{}, v.young
	}
	v.young[key] = found
}

// keyOf identifies all that rules can see of a subject, but of the time the day
// alone. It is zero where a plan is judged, which happens once.
func keyOf(s reconciler.Subject) (key [sha256.Size]byte) {
	if len(s.Plan) > 0 {
		return key
	}
	h := sha256.New()
	add := func(part []byte) {
		var size [8]byte
		binary.LittleEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	rest, err := json.Marshal([]any{s.Kind, s.Name, s.Change.Action, s.Change.Fields, s.Cost, s.Heal, s.Reviewed, s.Now.UTC().Format(time.DateOnly)})
	if err != nil {
		return key
	}
	add(rest)
	for _, doc := range slices.Concat([]json.RawMessage{s.Change.Before, s.Document, s.Team, s.Service, s.Environment, s.Blueprint, s.Settings}, s.Dependencies) {
		add(doc)
	}
	h.Sum(key[:0])
	return key
}
