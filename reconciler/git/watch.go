package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	soonest    = 10 * time.Millisecond  // after the first event: a push may move several branches
	apart      = 100 * time.Millisecond // from one poke to the next
	maxWatches = 2000                   // folders of branches; more are left to polling
)

// Watch calls poke when the branches of a repository on this machine may have
// changed, and once when it starts to watch. A poke is a hint: the branches are
// where they were, or more than one has moved. Pokes are at least 100 ms apart; one
// comes within 10 ms of a change, or as soon after the last one as that allows. Some
// file systems tell nothing, so polling goes on beside it.
//
// Watch returns nil when ctx ends, [ErrNotLocal] for an address elsewhere, and
// another error when it cannot watch (any more).
func Watch(ctx context.Context, url string, poke func()) error {
	path, ok := Local(url)
	if !ok {
		return fmt.Errorf("watch: %w", ErrNotLocal)
	}
	_, dir, err := gitDirs(path)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	for _, sub := range []string{"refs", "reftable"} {
		if err := watchBelow(w, filepath.Join(dir, sub)); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
	}
	if err := listen(ctx, w, dir, poke); err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	return nil
}

// watchBelow watches a folder and all below it: never files, because Git
// replaces them. What vanishes meanwhile is not missed, its parent tells.
func watchBelow(w *fsnotify.Watcher, root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || len(w.WatchList()) > maxWatches {
			return nil
		}
		if err := w.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// listen turns events into pokes: the first one soon, those that follow together.
func listen(ctx context.Context, w *fsnotify.Watcher, dir string, poke func()) error {
	timer := time.NewTimer(0) // the branches may have moved before the watch stood
	defer timer.Stop()
	var last time.Time // when a poke was
	pending := true
	soon := func() {
		if !pending {
			pending = true
			timer.Reset(max(soonest, apart-time.Since(last)))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			poke()
			pending, last = false, time.Now()
		case e, open := <-w.Events:
			if !open {
				return errors.New("the watch ended")
			}
			if err := follow(w, dir, e); err != nil {
				return err
			}
			if !noise(dir, e.Name) {
				soon()
			}
		case err := <-w.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			soon() // some event was lost, perhaps the one that counts
		}
	}
}

// follow adds folders as they appear, and tells when the repository is gone.
func follow(w *fsnotify.Watcher, dir string, e fsnotify.Event) error {
	if e.Name == dir && e.Has(fsnotify.Remove|fsnotify.Rename) {
		return fmt.Errorf("%w: it was removed", ErrNoRepository)
	}
	if !e.Has(fsnotify.Create) || !strings.HasPrefix(e.Name, filepath.Join(dir, "refs")) {
		return nil
	}
	if info, err := os.Lstat(e.Name); err != nil || !info.IsDir() {
		return nil
	}
	return watchBelow(w, e.Name)
}

// noise tells whether a file says nothing about branches: locks, and in the
// repository's own folder all but three.
func noise(dir, path string) bool {
	if filepath.Dir(path) != dir {
		return strings.HasSuffix(path, ".lock")
	}
	switch filepath.Base(path) {
	case "HEAD", "packed-refs", "refs":
		return false
	}
	return true
}
