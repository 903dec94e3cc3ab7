package terraform

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/sys/unix"
)

// packages are the files and folders of the providers of a template, by their
// paths in it.
//
// An engine hashes all of them whenever it starts, to compare them with the lock:
// half a second for the provider of a large cloud, several times a run. A lock
// without hashes spares it that, and it gets one as long as everything is what an
// engine has found to be as the lock says. Whoever writes to a file, or puts
// another in its place, changes the time of change that the kernel keeps, and
// then the engine hashes again.
type packages map[string]stamp

// stamp tells a file from any other, and from what it was before it changed.
type stamp struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // in nanoseconds; nobody can set it
}

// packagesOf returns what a template's engines start. What is neither a file nor a
// folder is an error: where a link leads may change without it.
func packagesOf(template string) (packages, error) {
	root := filepath.Join(template, dataName, "providers")
	const each = "*/*/*/*/*" // host, namespace, type, version, platform
	dirs, err := fs.Glob(os.DirFS(root), each)
	if err != nil {
		return nil, err
	}
	found := packages{}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(filepath.Join(root, dir))
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(real, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !entry.IsDir() && !entry.Type().IsRegular() {
				return fmt.Errorf("%s is neither a file nor a folder", path)
			}
			found[dir+path[len(real):]], err = stampOf(path)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func stampOf(path string) (stamp, error) {
	var s unix.Stat_t
	err := unix.Lstat(path, &s)
	return stamp{Device: uint64(s.Dev), Inode: s.Ino, Size: s.Size, Changed: s.Ctim.Nano()}, err
}

// comparedName returns where the packages of a template are noted that an engine
// compared with the lock: beside the template, where no engine may write.
func comparedName(template string) (string, error) {
	real, err := filepath.EvalSymlinks(template)
	return real + ".compared", err
}

// spared returns the lock of a template for an engine to use, without hashes where
// it need not compare the packages. An engine that is not confined could note what
// it likes.
func (e *execution) spared(template string, lock []byte) []byte {
	if lock == nil || e.host.Confine == Unconfined {
		return lock
	}
	now, err := packagesOf(template)
	if err != nil || len(now) == 0 {
		return lock
	}
	note, err := comparedName(template)
	if err != nil {
		return lock
	}
	var known packages
	if readJSON(note, maxIntent, &known) == nil && maps.Equal(known, now) {
		if short, err := withoutHashes(lock); err == nil {
			return short
		}
	}
	e.uncompared = func(began time.Time) error { return noteCompared(template, note, now, began) }
	return lock
}

// compared tells that an engine that began then ended well. In the run's own room it
// compared what was not yet.
func (e *execution) compared(at room, began time.Time) {
	if e.uncompared == nil || at.dir != e.work() {
		return
	}
	if err := e.uncompared(began); err != nil { // then the next one compares again
		fmt.Fprintf(os.Stderr, "note that the providers are as the lock says: %v\n", err)
	}
	e.uncompared = nil
}

// noteCompared notes the packages of a template that an engine, which began to work
// then and ended well, compared with the lock. They must be what they were before
// that, and since so long that a change meanwhile would show.
func noteCompared(template, note string, before packages, began time.Time) error {
	const coarsest = 2 * time.Second // of the clocks by which file systems tell times
	now, err := packagesOf(template)
	if err != nil || !maps.Equal(before, now) {
		return err
	}
	for _, s := range now {
		if s.Changed > began.Add(-coarsest).UnixNano() {
			return nil
		}
	}
	return writeJSON(note, now)
}

// withoutHashes returns a provider lock with nothing in it to compare packages with.
func withoutHashes(lock []byte) ([]byte, error) {
	file, diags := hclsyntax.ParseConfig(lock, lockName, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, errors.New("the lock is not in the native syntax")
	}
	short := slices.Clone(lock)
	for _, block := range slices.Backward(body.Blocks) { // so that what is before keeps its place
		if hashes := block.Body.Attributes["hashes"]; block.Type == "provider" && hashes != nil {
			short = slices.Delete(short, hashes.SrcRange.Start.Byte, hashes.SrcRange.End.Byte)
		}
	}
	return short, nil
}
