package catalog

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// TestLocateReadsOnce checks that a file is read once for all its fields, and
// again where it could not be read or is another.
func TestLocateReadsOnce(t *testing.T) {
	var mu sync.Mutex
	reads, fails := 0, true
	tree := func(hash string) *reconciler.Tree {
		return &reconciler.Tree{
			Files: []reconciler.File{{Path: "a.cue", Hash: hash}},
			Read: func(f reconciler.File) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if reads++; fails {
					fails = false
					return nil, errors.New("the disk is away")
				}
				return fmt.Appendf(nil, "package platform\n\n// %s\nservice: checkout: {\n\ttitle: \"Checkout\"\n\towner: \"payments\"\n}\n", f.Hash), nil
			},
		}
	}
	e := New(nil, 0)
	at := reconciler.Position{File: "a.cue", Line: 4, Column: 20}
	where := func(hash, field string) int {
		return e.Locate(tree(hash), at, "service", "checkout", []string{field}).Line
	}
	if line := where("1", "owner"); line != 4 {
		t.Errorf("unread: got line %d", line)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if title, owner := where("1", "title"), where("1", "owner"); title != 5 || owner != 6 {
				t.Errorf("got lines %d and %d", title, owner)
			}
		})
	}
	all.Wait()
	if reads != 2 {
		t.Errorf("read %d times", reads)
	}
	where("2", "owner")
	where("", "owner")
	where("", "owner")
	if reads != 5 {
		t.Errorf("read %d times", reads)
	}
}
