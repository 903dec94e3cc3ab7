package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Shown remembers, on this host, which plans people were shown on which pull
// request: an approval is for what was shown. What is forgotten must be shown,
// and approved, again.
type Shown struct {
	path string

	mu    sync.Mutex
	pulls map[int]*shownPull // guarded by mu; nil before it was read
}

// shownPull is what was shown on one pull request.
type shownPull struct {
	Units map[string]shownPlan `json:"units,omitempty"`
	// Merge is the commit that it became, Base the one that it was proposed on, and
	// Merged what becomes of the units that it changes. Deployed tells that
	// everything has been said of that; Merged is forgotten then.
	Base     string                 `json:"base,omitempty"`
	Merge    string                 `json:"merge,omitempty"`
	Merged   map[string]PlannedUnit `json:"deploying,omitempty"`
	Deployed bool                   `json:"deployed,omitempty"`
}

// shownPlan is one plan that was shown.
type shownPlan struct {
	Plan string `json:"plan"`
	// Head is the head that it was shown for; empty where it was shown after the
	// merge, At by the forge's clock.
	Head string    `json:"head,omitempty"`
	At   time.Time `json:"at"`
	// Replaced tells that another plan was shown for the same head before.
	Replaced bool `json:"replaced,omitempty"`
}

// mostShown bounds the pull requests that are remembered; the oldest go first.
const mostShown = 2000

// NewShown returns the memory kept in the file, which need not exist.
func NewShown(path string) *Shown { return &Shown{path: path} }

// read makes sure that the file was read. The caller holds mu.
func (s *Shown) read() error {
	if s.pulls != nil {
		return nil
	}
	content, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.pulls = map[int]*shownPull{}
		return nil
	}
	if err != nil {
		return err
	}
	var pulls map[int]*shownPull
	if err := json.Unmarshal(content, &pulls); err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	s.pulls = pulls
	if s.pulls == nil {
		s.pulls = map[int]*shownPull{}
	}
	maps.DeleteFunc(s.pulls, func(_ int, p *shownPull) bool { return p == nil })
	return nil
}

// pull returns what was shown on a pull request.
func (s *Shown) pull(number int) (shownPull, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return shownPull{}, err
	}
	if p := s.pulls[number]; p != nil {
		found := *p
		found.Units = maps.Clone(p.Units)
		return found, nil
	}
	return shownPull{}, nil
}

// update changes what is remembered of a pull request.
func (s *Shown) update(number int, change func(*shownPull)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return err
	}
	p := s.pulls[number]
	if p == nil {
		p = &shownPull{}
	}
	if p.Units == nil {
		p.Units = map[string]shownPlan{}
	}
	before, err := json.Marshal(p)
	if err != nil {
		return err
	}
	change(p)
	after, err := json.Marshal(p)
	if err != nil || s.pulls[number] != nil && string(before) == string(after) {
		return err
	}
	s.pulls[number] = p
	for _, old := range slices.Sorted(maps.Keys(s.pulls)) {
		if len(s.pulls) <= mostShown {
			break
		}
		delete(s.pulls, old)
	}
	return replaceJSON(s.path, s.pulls)
}

// unfinished returns the merged pull requests of which not everything was said.
func (s *Shown) unfinished() (map[int]shownPull, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return nil, err
	}
	left := map[int]shownPull{}
	for number, p := range s.pulls {
		if p.Merge != "" && !p.Deployed {
			left[number] = *p
		}
	}
	return left, nil
}

// plans notes the plans of a report that was published, for the head or, after
// the merge, for nobody's head. A plan that stands keeps its time.
func (s *Shown) plans(report Report, at time.Time) error {
	return s.update(report.Number, func(p *shownPull) {
		head := report.Head
		if report.Deployed {
			head = ""
		}
		for _, u := range report.Units {
			if u.Plan.Digest == "" {
				continue
			}
			p.Units[u.Request] = p.Units[u.Request].next(u.Plan.Digest, head, at)
		}
	})
}

// next is what was shown once another plan is, for a head or, after the merge, for
// none. The same one stands as it did.
func (old shownPlan) next(plan, head string, at time.Time) shownPlan {
	if old.Plan == plan && (old.Head == head || head == "") {
		return old
	}
	return shownPlan{Plan: plan, Head: head, At: at, Replaced: old.Head == head && (old.Replaced || old.Plan != "" && old.Plan != plan)}
}

// replaceJSON replaces a file at once: a reader sees the old or the new content.
func replaceJSON(path string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
