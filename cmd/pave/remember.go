package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/gob"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/policy"
)

// memory keeps on disk what a process found out about the tracked branch, so that
// the next one need not find it out again. It is a cache: whatever is wrong with it,
// it is as if there were none. It is believed as the mirror beside it is, because
// only this user can write it; what other programs wrote, other versions of this one
// included, is not looked at.
type memory struct {
	folder string
	parts  map[string]rememberer // by the name of their file
}

// rememberer is a part of Pave that another process can go on with.
type rememberer interface {
	// Remember returns what is to be kept, in parts that gob can write and nobody
	// changes any more. Each is in memory twice for a moment when it is read: of what
	// there are thousands, a part is a hundred or so, which leaves no gaps as one would
	// and takes no room as all would. It returns nil where that is not worth it.
	Remember() iter.Seq[any]
	// Recall takes over what was kept. read reads the next part into what a pointer
	// points to, and returns [io.EOF] after the last.
	Recall(read func(into any) error) error
}

func newMemory(cache string, r *reconciler.Reconciler) memory {
	m := memory{filepath.Join(cache, "known"), map[string]rememberer{"record": r}}
	if e, ok := r.Evaluator.(*catalog.Evaluator); ok {
		m.parts["documents"] = e
	}
	if c, ok := r.Rules.(*policy.Compiler); ok {
		m.parts["verdicts"] = c
	}
	if mirror, ok := r.Source.(*git.Mirror); ok {
		m.parts["tree"] = mirror
	}
	return m
}

// recall takes over what an earlier process kept.
func (m memory) recall() {
	program, err := programID()
	if err != nil {
		return
	}
	var recalling sync.WaitGroup
	for name, part := range m.parts {
		recalling.Go(func() {
			_ = readKept(filepath.Join(m.folder, name), program, func(kept io.Reader) error { // or else it begins anew
				return part.Recall(gob.NewDecoder(kept).Decode)
			})
		})
	}
	recalling.Wait()
}

// keep writes down what is worth it.
func (m memory) keep() error {
	program, err := programID()
	if err != nil {
		return err
	}
	for name, part := range m.parts {
		kept := part.Remember()
		if kept == nil {
			continue
		}
		if err := writeKept(filepath.Join(m.folder, name), program, kept); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
	}
	return nil
}

// serve keeps what is worth it, now and then, until the context ends, and calls relax
// whenever nothing has gone on for a while after something did.
func (m memory) serve(ctx context.Context, log *slog.Logger, relax func()) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.keep(); err != nil {
			log.Warn("keep what is known for the next start", "error", err)
		}
		if r.due(allocated()) {
			relax()
			debug.FreeOSMemory()
		}
	}
}

// holdLess has garbage be collected at half the usual growth, unless the environment
// says at which: what stays lies between what does not, and the more of that there is at
// a time, the larger the gaps that stay as well.
func holdLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// rest tells work from rest by how much memory is asked for.
type rest struct {
	last, relaxed uint64 // what was asked for by the last look, and when it was due last
}

// Passes that find nothing new ask for idleBytes at most between two looks, and work is
// what asks for workBytes. So do such passes together, after a while, and it is given
// back as well: at ten thousand units every two minutes, when Go would collect anyway.
const (
	idleBytes = 4 << 20
	workBytes = 8 << 20
)

// due tells whether work is over, where all was asked for so far.
func (r *rest) due(all uint64) bool {
	idle := all-r.last < idleBytes
	r.last = all
	if !idle || all-r.relaxed < workBytes {
		return false
	}
	r.relaxed = all
	return true
}

// allocated is all the memory that the process ever asked for.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// programID tells this build of the program from every other one.
func programID() ([]byte, error) {
	f, err := elf.Open(confine.Path)
	if err != nil {
		return nil, fmt.Errorf("read the program's build id: %w", err)
	}
	defer f.Close()
	const header = 16 // of an ELF note of Go's
	section := f.Section(".note.go.buildid")
	if section == nil {
		return nil, errors.New("the program has no build id")
	}
	id, err := section.Data()
	if err != nil || len(id) <= header {
		return nil, fmt.Errorf("the program has no build id: %w", err)
	}
	return id, nil
}

// newSeal computes what a file begins with, from the content that is written to it:
// only this program keeps such a file.
func newSeal(program []byte) hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "pave keeps\x00%d\x00%s", len(program), program)
	return h
}

// mostKept bounds what is read.
const mostKept = 1 << 30

// readKept has the content of a file be read that this user and this program wrote.
func readKept(path string, program []byte, read func(io.Reader) error) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !ownAlone(info) || info.Size() > mostKept {
		return errors.New("is no file that this user alone can write")
	}
	sealed, seal := make([]byte, sha256.Size), newSeal(program)
	if _, err := io.ReadFull(f, sealed); err != nil {
		return err
	}
	if _, err := io.Copy(seal, f); err != nil {
		return err
	}
	if !bytes.Equal(sealed, seal.Sum(nil)) {
		return errors.New("is damaged, or another program's")
	}
	if _, err := f.Seek(sha256.Size, io.SeekStart); err != nil {
		return err
	}
	return read(bufio.NewReaderSize(f, 1<<16))
}

// ownAlone tells whether nobody but this user can read or write a regular file.
func ownAlone(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0 && int(stat.Uid) == os.Geteuid()
}

// writeKept replaces a file; no other process may do so at the time. It need not
// survive the loss of power: what is damaged is not read.
func writeKept(path string, program []byte, content iter.Seq[any]) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next := path + ".new" // which an earlier process may have left
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(writeSealed(f, newSeal(program), content), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

func writeSealed(f *os.File, seal hash.Hash, content iter.Seq[any]) error {
	if _, err := f.Seek(sha256.Size, io.SeekStart); err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.MultiWriter(f, seal), 1<<16)
	encoder := gob.NewEncoder(out)
	for part := range content {
		if err := encoder.Encode(part); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(seal.Sum(nil), 0)
	return err
}
