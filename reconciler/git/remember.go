package git

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
)

// Remember returns the sizes of the blobs that were listed, for another process that
// has the same mirror to Recall: asking for them is most of what listing a tree for
// the first time takes. It returns nothing as long as few of them are news to who
// called it before.
func (m *Mirror) Remember() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if news := len(m.sizes) - m.remembered; news <= 0 || news*20 < len(m.sizes) {
		return nil, nil
	}
	m.remembered = len(m.sizes)
	var out []byte
	for hash, size := range m.sizes {
		out = binary.AppendVarint(append(out, hash[:]...), size)
	}
	return out, nil
}

// Recall takes over what Remember returned, which is believed.
func (m *Mirror) Recall(memory []byte) error {
	sizes := map[plumbing.Hash]int64{}
	r := bytes.NewReader(memory)
	for r.Len() > 0 {
		var hash plumbing.Hash
		if n, _ := r.Read(hash[:]); n < len(hash) {
			return errors.New("read the sizes of blobs: they end early")
		}
		size, err := binary.ReadVarint(r)
		if err != nil {
			return errors.New("read the sizes of blobs: they end early")
		}
		sizes[hash] = size
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sizes, m.remembered = sizes, len(sizes)
	return nil
}
