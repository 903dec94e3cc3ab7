package reconciler

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Trust remembers, on this host, which status commit Pave wrote last. The
// status branch is a cache and an audit, never an authority: a tip that this
// Pave did not write counts for nothing until an operator adopts it, or the
// host's key signed it.
type Trust struct{ path string }

// NewTrust returns the memory kept in the file, which need not exist.
func NewTrust(path string) *Trust { return &Trust{path: path} }

// trusted is the content of the file.
type trusted struct {
	written
	// Pushing are what was about to be pushed since the branch moved last, the
	// latest last. Where the branch is found to be at one of them, it was pushed,
	// though this Pave did not live, or not wait, to hear of it.
	Pushing []written `json:"announced,omitempty"`
	// Revision is the revision of the tracked branch that was in force last.
	Revision string `json:"revision,omitempty"`
	// Settled is the revision up to which everything was let happen and was done,
	// but for the units of Pending, each with its own such revision.
	Settled string            `json:"settled,omitempty"`
	Pending map[string]string `json:"pending,omitempty"`
	// Arrived is the revision up to which it is known which pull requests were merged.
	Arrived string `json:"arrived,omitempty"`
}

// written is a status commit of this Pave and what came with it.
type written struct {
	Tip string `json:"tip"`
	// Unverified are the units whose record came from a tip that is not
	// believed and that no run has confirmed since.
	Unverified []string `json:"unverified,omitempty"`
	// Recorded are the runs whose results are recorded and whose files may be
	// left: found again, they would be recorded once more, over what came later.
	Recorded []string `json:"recorded,omitempty"`
}

// landed takes what was about to be pushed for pushed where the branch is there.
func (v *trusted) landed(tip string) bool {
	i := slices.IndexFunc(v.Pushing, func(w written) bool { return w.Tip == tip })
	if i < 0 {
		return false
	}
	v.written, v.Pushing = v.Pushing[i], nil
	return true
}

// mostPushing is how many status commits are remembered that were not heard of.
// A push that was given up may still arrive, but not for long.
const mostPushing = 16

// last returns as many of the last as there may be.
func last[T any](all []T, most int) []T { return all[max(0, len(all)-most):] }

func (t *Trust) load() (trusted, error) {
	content, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return trusted{}, nil
	}
	if err != nil {
		return trusted{}, err
	}
	var v trusted
	if err := json.Unmarshal(content, &v); err != nil {
		return trusted{}, fmt.Errorf("read %s: %w", t.path, err)
	}
	return v, nil
}

// update changes what is remembered.
func (t *Trust) update(change func(*trusted)) error {
	v, err := t.load()
	if err != nil {
		return err
	}
	change(&v)
	return t.save(v)
}

func (t *Trust) save(v trusted) error { return replaceJSON(t.path, v) }

// Adopt believes a record that this Pave did not write, on the operator's word.
// The revision, where there is one, was in force last; else it is what this host
// remembers or, where it does not, what is recorded.
func (t *Trust) Adopt(record *Record, revision string) error {
	return t.update(func(v *trusted) {
		v.Tip, v.Unverified = cmp.Or(record.Tip, v.Tip), nil
		v.Revision = cmp.Or(revision, v.Revision, record.Platform.Revision)
		if v.Settled == "" {
			v.Settled, v.Pending = cmp.Or(record.Platform.Revision, revision), record.unready()
		}
	})
}
