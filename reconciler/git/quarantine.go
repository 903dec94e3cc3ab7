package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/pave-dev/pave/reconciler"
)

const (
	// DefaultMaxPack is the size, in bytes, of the largest pack that a
	// quarantine takes in where the options say nothing.
	DefaultMaxPack = 64 << 20
	// maxObject is the size of the largest object of a pack once it is
	// inflated: go-git holds a few of them in memory at a time.
	maxObject = 16 << 20
	// maxInflation is how many times its greatest size a pack may hold.
	maxInflation = 4
)

// ErrHeadMoved reports that a pull request is at another commit than the one
// that was asked for. Whoever asked looks at the pull request again.
var ErrHeadMoved = errors.New("the head moved")

// QuarantineOptions say what a quarantine is for.
type QuarantineOptions struct {
	// URL and Token are those of the mirrored repository. What was brought is
	// read without them.
	URL, Token string
	// Mirror is the mirror's Cache folder. It is only ever read.
	Mirror string
	// Dir is a folder for this quarantine alone, new or empty.
	Dir string
	// Tracked and Status are the branches of which the mirror holds all: what
	// they led to is not fetched again.
	Tracked, Status string
	// MaxFile is the size in bytes of the largest file that is read;
	// DefaultMaxFile where it is 0.
	MaxFile int64
	// MaxPack is the size in bytes of the largest pack that is taken in;
	// DefaultMaxPack where it is 0.
	MaxPack int64
}

// Quarantine holds what a pull request brings, apart from the mirror, for one
// look at it. It reads the mirror's commits as well, and serves as the Source of
// a reconciler that only looks: it has no heads, believes no signature and
// publishes nothing. The process that holds it may be killed at any time; what
// is left then is Dir.
type Quarantine struct {
	objects
	options QuarantineOptions
	address address
}

var _ reconciler.Source = (*Quarantine)(nil)

// OpenQuarantine prepares a quarantine. Nothing is fetched yet.
func OpenQuarantine(ctx context.Context, options QuarantineOptions) (*Quarantine, error) {
	at, err := parseAddress(options.URL, options.Token)
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	if err := emptyFolder(options.Dir); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return openQuarantine(ctx, options, at)
}

// ReadQuarantine opens a quarantine that another process brought something into.
// It only reads: whatever it was fetched with is not needed again.
func ReadQuarantine(ctx context.Context, options QuarantineOptions) (*Quarantine, error) {
	if _, err := os.Stat(filepath.Join(options.Dir, "HEAD")); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return openQuarantine(ctx, options, address{shown: options.Dir})
}

func openQuarantine(ctx context.Context, options QuarantineOptions, at address) (*Quarantine, error) {
	if options.MaxFile == 0 {
		options.MaxFile = DefaultMaxFile
	}
	if options.MaxPack == 0 {
		options.MaxPack = DefaultMaxPack
	}
	q := &Quarantine{options: options, address: at}
	q.objects = objects{maxFile: options.MaxFile, open: q.openStore}
	if err := q.once(ctx, func(store) error { return nil }); err != nil {
		return nil, errors.Join(fmt.Errorf("open quarantine: %w", err), q.Close())
	}
	return q, nil
}

// emptyFolder makes a folder where there is none. One that holds anything is
// refused: it will be removed.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = refuse("%s is not empty; name a folder that may be removed", dir)
	}
	return err
}

// Turn has the quarantine read what another process brought into the folder, in
// place of what it holds, which is removed. What the mirror holds is not looked up
// again: the same hash is the same content.
func (q *Quarantine) Turn(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err != nil {
		return fmt.Errorf("open quarantine: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.options.Dir
	q.options.Dir, q.address = dir, address{shown: dir}
	if b, is := q.storage.(*borrowing); is {
		s, err := initStorage(dir)
		if err != nil {
			return fmt.Errorf("open quarantine: %w", err)
		}
		b.Storage.Close() // it was read from; there is nothing to lose
		q.storage = &borrowing{s, b.from}
	}
	return os.RemoveAll(before)
}

// Close removes the quarantine with all that it holds.
func (q *Quarantine) Close() error {
	q.forget()
	return os.RemoveAll(q.options.Dir)
}

func (q *Quarantine) openStore() (store, error) {
	mirror := filepath.Join(q.options.Mirror, "mirror.git")
	if _, err := os.Stat(filepath.Join(mirror, "HEAD")); err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	s, err := initStorage(q.options.Dir)
	if err != nil {
		return nil, err
	}
	return &borrowing{s, openStorage(osfs.New(mirror))}, nil
}

// borrowing is a repository that looks for everything in another one first, where
// nearly all is, and never writes there. Git's own alternates would do, but go-git
// opens such a repository afresh, with all its indexes, for every single object.
type borrowing struct {
	*filesystem.Storage
	from *filesystem.Storage
}

func (b *borrowing) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, err := b.from.EncodedObject(kind, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return b.Storage.EncodedObject(kind, hash)
	}
	return obj, err
}

func (b *borrowing) HasEncodedObject(hash plumbing.Hash) error {
	err := b.from.HasEncodedObject(hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return b.Storage.HasEncodedObject(hash)
	}
	return err
}

func (b *borrowing) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	size, err := b.from.EncodedObjectSize(hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return b.Storage.EncodedObjectSize(hash)
	}
	return size, err
}

// LooseObjectTime finds an object that is a file of its own.
func (b *borrowing) LooseObjectTime(hash plumbing.Hash) (time.Time, error) {
	at, err := b.from.LooseObjectTime(hash)
	if errors.Is(err, fs.ErrNotExist) {
		return b.Storage.LooseObjectTime(hash)
	}
	return at, err
}

func (b *borrowing) Shallow() ([]plumbing.Hash, error) {
	mine, err := b.Storage.Shallow()
	if err != nil {
		return nil, err
	}
	theirs, err := b.from.Shallow()
	return append(mine, theirs...), err
}

func (b *borrowing) Close() error { return errors.Join(b.Storage.Close(), b.from.Close()) }

// Bring fetches a reference such as refs/pull/7/head, which must be at the
// commit head: ErrHeadMoved where it is elsewhere or gone.
func (q *Quarantine) Bring(ctx context.Context, ref, head string) error {
	hash, err := parseHash(head)
	if err == nil && !strings.HasPrefix(ref, "refs/") {
		err = refuse("%q is not a whole reference; expected one like refs/pull/7/head", ref)
	}
	if err == nil {
		err = q.bring(ctx, ref, hash)
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", printable(ref), err)
	}
	return nil
}

func (q *Quarantine) bring(ctx context.Context, ref string, head plumbing.Hash) error {
	session, refs, err := q.address.uploadPack(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	if refs.References[ref] != head {
		return fmt.Errorf("%s: %w: it is not at %s any more; look at it again", q.address.shown, ErrHeadMoved, head)
	}
	var haves []plumbing.Hash
	there := false
	err = q.retry(ctx, func(s store) error {
		err := s.HasEncodedObject(head)
		if there = err == nil; there || !errors.Is(err, plumbing.ErrObjectNotFound) {
			return err
		}
		haves = q.haves(s)
		return nil
	})
	if err != nil || there {
		return err
	}
	into := &inspector{ctx: ctx, dir: q.options.Dir, left: q.options.MaxPack, most: q.options.MaxPack, into: sink{&q.objects}}
	if err := download(ctx, session, refs, []plumbing.Hash{head}, haves, into); err != nil {
		return err
	}
	return q.once(ctx, func(s store) error {
		if _, err := readCommit(s, head); err != nil {
			return fmt.Errorf("the remote sent no such commit: %w", err)
		}
		return setShallow(s, refs)
	})
}

// haves returns what the mirror has of the branches.
func (q *Quarantine) haves(s store) []plumbing.Hash {
	b, is := s.(*borrowing)
	if !is {
		return nil
	}
	var tips []plumbing.Hash
	for _, branch := range []string{q.options.Tracked, q.options.Status} {
		if ref, err := b.from.Reference(plumbing.NewRemoteReferenceName("origin", branch)); err == nil {
			tips = append(tips, ref.Hash())
		}
	}
	return ancestors(s, tips)
}

// inspector takes a pack in and looks through it before go-git does: go-git
// inflates whatever a pack holds, and a pack of 1.5 MB may hold 1.5 GB.
type inspector struct {
	ctx        context.Context
	dir        string
	left, most int64
	into       storer.PackfileWriter
	file       *os.File
	failed     bool
}

// PackfileWriter starts with an empty pack.
func (p *inspector) PackfileWriter() (io.WriteCloser, error) {
	file, err := os.CreateTemp(p.dir, "pack-")
	p.file = file
	return p, err
}

// Write keeps what was received.
func (p *inspector) Write(data []byte) (int, error) {
	if p.left -= int64(len(data)); p.left < 0 {
		p.failed = true
		return 0, refuse("it brings more than %d bytes; leave large files out of the repository", p.most)
	}
	n, err := p.file.Write(data)
	p.failed = p.failed || err != nil
	return n, err
}

// Close looks through the pack and passes it on.
func (p *inspector) Close() error {
	defer os.Remove(p.file.Name())
	defer p.file.Close()
	if p.failed {
		return nil // Write told
	}
	if size, err := p.file.Seek(0, io.SeekCurrent); err != nil || size == 0 {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := inspect(p.ctx, p.file, p.most*maxInflation); err != nil {
		return fmt.Errorf("inspect pack: %w", err)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return packfile.WritePackfileToObjectStorage(p.into, p.file)
}

// inspect refuses a pack with too many objects, one too large, or too much in
// all. It believes what the objects say of their sizes: go-git refuses those
// that hold more than they say.
func inspect(ctx context.Context, pack io.Reader, most int64) error {
	scanner := packfile.NewScanner(pack)
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	if count > maxEntries {
		return refuse("it brings more than %d objects", maxEntries)
	}
	for range count {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		size, err := objectSize(scanner)
		if err != nil {
			return err
		}
		if size > maxObject {
			return refuse("it brings an object of %d bytes, more than the limit of %d; leave large files out of the repository", size, maxObject)
		}
		if most -= size; most < 0 {
			return refuse("its objects are too large together; leave large files out of the repository")
		}
	}
	return nil
}

// objectSize returns what the next object of a pack takes once it is inflated
// and, where it is a delta, applied.
func objectSize(scanner *packfile.Scanner) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, err
	}
	if header.Length > maxObject { // not inflated at all
		return header.Length, nil
	}
	if !header.Type.IsDelta() {
		_, _, err := scanner.NextObject(io.Discard)
		return header.Length, err
	}
	var start prefix
	if _, _, err := scanner.NextObject(&start); err != nil {
		return 0, err
	}
	sizes := bytes.NewReader(start)
	if _, err := binary.ReadUvarint(sizes); err != nil {
		return 0, fmt.Errorf("read delta: %w", err)
	}
	target, err := binary.ReadUvarint(sizes)
	if err != nil {
		return 0, fmt.Errorf("read delta: %w", err)
	}
	return max(header.Length, int64(min(target, math.MaxInt64))), nil
}

// prefix keeps the first bytes of what is written to it.
type prefix []byte

func (p *prefix) Write(data []byte) (int, error) {
	*p = append(*p, data[:min(len(data), 2*binary.MaxVarintLen64-len(*p))]...)
	return len(data), nil
}

// Fetch returns no heads: a quarantine only reads what it is told to bring.
func (q *Quarantine) Fetch(context.Context) (reconciler.Heads, error) {
	return reconciler.Heads{}, nil
}

// Authentic believes no commit: the host's key stays out of a process that
// reads what strangers wrote.
func (q *Quarantine) Authentic(context.Context, string) (bool, error) { return false, nil }

// Publish fails: a quarantine publishes nothing.
func (q *Quarantine) Publish(context.Context, string, []string, []reconciler.Edit, string, func(string) error) (string, error) {
	return "", refuse("a quarantine publishes nothing")
}
