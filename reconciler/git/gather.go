package git

import (
	"bufio"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

const (
	// maxPacks is how many small packs a mirror holds: each is an open file and
	// an index in memory, and every object is looked for in all of them.
	maxPacks = 50
	// smallPack is the size, in bytes, up to which packs are gathered. It bounds
	// how long that takes, however large the repository is.
	smallPack = 32 << 20
	// stale is the age at which what was left in the making is not going to be
	// finished any more.
	stale = 24 * time.Hour
)

// packFile is a pack on disk.
type packFile struct {
	path string // without its ending
	size int64
}

// packFiles returns the packs of a repository, the smallest first.
func packFiles(dir string) ([]packFile, error) {
	entries, err := os.ReadDir(packFolder(dir))
	if err != nil {
		return nil, err
	}
	var packs []packFile
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ".pack")
		if !is {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // another process gathered it
		}
		if err != nil {
			return nil, err
		}
		packs = append(packs, packFile{filepath.Join(packFolder(dir), name), info.Size()})
	}
	slices.SortFunc(packs, func(a, b packFile) int {
		return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.path, b.path))
	})
	return packs, nil
}

func packFolder(dir string) string { return filepath.Join(dir, "objects", "pack") }

// gather makes one pack of many small ones, where there are too many, and tells
// whether it did. Nothing is left out. It may be killed at any time, and others
// may read the repository meanwhile or gather it as well: whatever is removed is
// in another pack by then.
func gather(dir string, packs []packFile) (bool, error) {
	packs = slices.DeleteFunc(slices.Clone(packs), func(p packFile) bool { return p.size > smallPack })
	if len(packs) <= maxPacks {
		return false, nil
	}
	return true, gatherPacks(dir, packs[:crowd(packs)])
}

// gatherPacks makes packs one.
func gatherPacks(dir string, packs []packFile) error {
	made, err := join(dir, packs)
	if err != nil {
		return fmt.Errorf("gather packs: %w", err)
	}
	for _, p := range packs {
		if p.path == made {
			continue
		}
		for _, ending := range []string{".pack", ".idx"} { // an index is not looked for without its pack
			if err := os.Remove(p.path + ending); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("gather packs: %w", err)
			}
		}
	}
	return nil
}

// crowd returns how many packs, of those sorted by size, are made one. Each that
// is left is at least as large as all that are smaller together, twice over, so
// that there are few of them and no object is copied more often than the
// repository doubles.
func crowd(packs []packFile) int {
	n := len(packs) - 1
	for n > 0 && packs[n].size >= 2*packs[n-1].size {
		n--
	}
	n++
	var total int64
	for _, p := range packs[:n] {
		total += p.size
	}
	for n < len(packs) && packs[n].size < 2*total {
		total += packs[n].size
		n++
	}
	return n
}

// join copies the objects of packs into a new one and returns its path, without
// an ending. Objects are copied as they are, neither unpacked nor compared: they
// were looked at when they came. What they are deltas of is in the same pack, and
// stays before them.
func join(dir string, packs []packFile) (path string, err error) {
	indexes := make([][]idxfile.Entry, len(packs))
	all := map[plumbing.Hash]bool{}
	for i, p := range packs {
		if indexes[i], err = readIndex(p); err != nil {
			return "", err
		}
		for _, e := range indexes[i] {
			all[e.Hash] = true
		}
	}
	file, err := os.CreateTemp(packFolder(dir), "tmp_pack_")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name()) // where it still has that name
	defer file.Close()
	j := &joiner{out: bufio.NewWriterSize(file, 1<<16), sum: sha1.New(), at: map[plumbing.Hash]int64{}, index: &idxfile.Writer{}}
	if err := j.start(len(all)); err != nil {
		return "", err
	}
	for i, p := range packs {
		if err := j.add(p, indexes[i]); err != nil {
			return "", fmt.Errorf("copy %s: %w", filepath.Base(p.path), err)
		}
	}
	name, err := j.finish()
	if err != nil {
		return "", err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return "", err
	}
	path = filepath.Join(packFolder(dir), "pack-"+name.String())
	// A pack that is found must have its index.
	if err := j.writeIndex(path + ".idx"); err != nil {
		return "", err
	}
	if err := os.Rename(file.Name(), path+".pack"); err != nil {
		return "", err
	}
	return path, syncFolder(packFolder(dir))
}

// syncFolder makes sure that what was renamed in a folder is there after a
// failure of power.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readIndex returns what the index of a pack lists, in the order of the pack.
func readIndex(p packFile) ([]idxfile.Entry, error) {
	file, err := os.Open(p.path + ".idx")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(bufio.NewReader(file)).Decode(index); err != nil {
		return nil, err
	}
	all, err := index.Entries()
	if err != nil {
		return nil, err
	}
	defer all.Close()
	var entries []idxfile.Entry
	for {
		e, err := all.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, *e)
	}
	slices.SortFunc(entries, func(a, b idxfile.Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	return entries, nil
}

// joiner writes a pack.
type joiner struct {
	out   *bufio.Writer
	sum   hash.Hash // of what was written
	crc   hash.Hash32
	size  int64 // of what was written
	at    map[plumbing.Hash]int64
	index *idxfile.Writer
}

// Write writes to the pack.
func (j *joiner) Write(data []byte) (int, error) {
	n, err := j.out.Write(data)
	j.sum.Write(data[:n])
	if j.crc != nil {
		j.crc.Write(data[:n])
	}
	j.size += int64(n)
	return n, err
}

func (j *joiner) start(objects int) error {
	header := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(objects))
	if err := j.index.OnHeader(uint32(objects)); err != nil {
		return err
	}
	_, err := j.Write(header)
	return err
}

// add copies what is not there yet from a pack.
func (j *joiner) add(p packFile, entries []idxfile.Entry) error {
	file, err := os.Open(p.path + ".pack")
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<16)
	moved := make(map[int64]int64, len(entries)) // where objects are now, by where they were
	end := uint64(p.size - sha1.Size)
	for at := uint64(0); len(entries) > 0; entries = entries[1:] {
		e, next := entries[0], end
		if len(entries) > 1 {
			next = entries[1].Offset
		}
		if e.Offset < at || next <= e.Offset {
			return errors.New("its index does not fit it")
		}
		if _, err := in.Discard(int(e.Offset - at)); err != nil {
			return err
		}
		at = next
		if _, there := j.at[e.Hash]; there {
			_, err = in.Discard(int(next - e.Offset))
		} else {
			err = j.copy(in, int64(next-e.Offset), e, moved)
		}
		if err != nil {
			return noEOF(err)
		}
		moved[int64(e.Offset)] = j.at[e.Hash]
	}
	return nil
}

// copy copies one object, which takes so many bytes. Where it is a delta of one
// that is so far before it, that distance changes.
func (j *joiner) copy(in *bufio.Reader, size int64, e idxfile.Entry, moved map[int64]int64) error {
	place := j.size
	j.crc = crc32.NewIEEE()
	header, delta, err := objectHeader(in)
	if err != nil {
		return err
	}
	size -= int64(len(header))
	if delta {
		back, err := readBack(in)
		if err != nil {
			return err
		}
		base, known := moved[int64(e.Offset)-back]
		if !known {
			return fmt.Errorf("%s is a delta of what its index does not list", e.Hash)
		}
		size -= int64(len(writeBack(back)))
		header = append(header, writeBack(place-base)...)
	}
	if _, err := j.Write(header); err != nil {
		return err
	}
	if _, err := io.CopyN(j, in, size); err != nil {
		return err
	}
	j.index.Add(e.Hash, uint64(place), j.crc.Sum32())
	j.at[e.Hash], j.crc = place, nil
	return nil
}

// objectHeader reads the type and the size of an object, and tells whether it is
// a delta of one that is named by how far before it it is.
func objectHeader(in io.ByteReader) (header []byte, delta bool, err error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return nil, false, err
		}
		header = append(header, b)
		if b&0x80 == 0 {
			return header, plumbing.ObjectType(header[0]>>4&7) == plumbing.OFSDeltaObject, nil
		}
	}
}

// readBack reads a number in Git's form for distances within a pack: seven bits
// to a byte, the highest first, and one added for each byte but the last.
func readBack(in io.ByteReader) (int64, error) {
	n := int64(-1)
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		n = (n+1)<<7 | int64(b&0x7f)
		if b&0x80 == 0 {
			return n, nil
		}
	}
}

// writeBack is the reverse of readBack.
func writeBack(n int64) []byte {
	form := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		form = append(form, 0x80|byte(n&0x7f))
	}
	slices.Reverse(form)
	return form
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// finish ends the pack and returns its checksum.
func (j *joiner) finish() (plumbing.Hash, error) {
	sum := plumbing.Hash(j.sum.Sum(nil))
	if _, err := j.out.Write(sum[:]); err != nil {
		return sum, err
	}
	return sum, errors.Join(j.out.Flush(), j.index.OnFooter(sum))
}

func (j *joiner) writeIndex(path string) error {
	index, err := j.index.Index()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "tmp_idx_")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	out := bufio.NewWriter(file)
	_, err = idxfile.NewEncoder(out).Encode(index)
	if err := errors.Join(err, out.Flush(), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// sweep removes from a folder what processes that were killed left in the making.
func sweep(folder string, left func(name string) bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !left(e.Name()) || time.Since(info.ModTime()) < stale {
			continue
		}
		if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sweepPacks removes packs that were never finished and indexes without a pack.
func sweepPacks(dir string) error {
	folder := packFolder(dir)
	return sweep(folder, func(name string) bool {
		pack, is := strings.CutSuffix(name, ".idx")
		if !is {
			return strings.HasPrefix(name, "tmp_")
		}
		_, err := os.Stat(filepath.Join(folder, pack+".pack"))
		return errors.Is(err, os.ErrNotExist)
	})
}
