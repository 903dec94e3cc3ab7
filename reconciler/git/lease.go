package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"
)

// DefaultLease is the ref of the lease where no other is named.
const DefaultLease = "refs/pave/lease"

// Lease keeps daemons on different hosts from acting on one repository at the same
// time. It is a ref of the remote that its holder moves again and again: whoever
// sees it move knows that the holder lives, without a clock that both go by, and
// whoever has not seen it move for the patience may take it. The remote moves it
// from what it was seen at or not at all, so that of two who try one gets it.
type Lease struct {
	mirror   *Mirror
	ref      plumbing.ReferenceName
	holder   string // whoever has the same name has the same state, and the lease with it
	patience time.Duration
	log      *slog.Logger

	began   time.Time
	tip     plumbing.Hash // what this process moved the ref to
	seen    plumbing.Hash // what it was at last
	holds   string        // who moved it there
	tried   plumbing.Hash // what it may have moved the ref to, without an answer
	renewed atomic.Int64  // when it succeeded last, since it began
}

// ErrLeaseLost reports that another daemon has taken the lease.
var ErrLeaseLost = errors.New("another pave has taken the lease")

// NewLease returns the lease of the mirrored repository. holder names the state
// that this process works on; two processes must never work on one state at once.
// The ref is full, such as DefaultLease.
func (m *Mirror) NewLease(ref, holder string, patience time.Duration, log *slog.Logger) (*Lease, error) {
	name := plumbing.ReferenceName(ref)
	if err := name.Validate(); err != nil || !strings.HasPrefix(ref, "refs/") || name.IsBranch() || name.IsTag() {
		return nil, refuse("%q is not a ref for a lease: expected one such as %s, which is no branch and no tag", ref, DefaultLease)
	}
	l := &Lease{mirror: m, ref: name, holder: holder, patience: patience, log: log, began: time.Now()}
	l.renewed.Store(-int64(patience)) // never
	return l, nil
}

// Acquire takes the lease. As long as another has it, it calls wait with words for
// the holder, and looks again; so it does, with a warning, while the remote cannot
// be reached or refuses. The error is that of ctx.
func (l *Lease) Acquire(ctx context.Context, wait func(holder string)) error {
	var seen plumbing.Hash
	var since time.Time
	for {
		tip, holder, err := l.look(ctx)
		if err == nil && tip != seen {
			seen, since = tip, time.Now()
		}
		switch {
		case err != nil:
		case tip.IsZero() || holder == l.holder || time.Since(since) > l.patience:
			if err = l.move(ctx, tip); err == nil {
				return nil
			}
		default:
			wait(holder)
		}
		if err != nil && !errors.Is(err, errMoved) && ctx.Err() == nil {
			l.log.Warn("take the lease: nothing is done without it", "error", err,
				"hint", "let Pave push this ref, name another with --lease, or switch it off with --lease '' where no other daemon runs")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(l.patience / 8):
		}
	}
}

// Hold keeps the lease until ctx ends, and gives it back then. It returns
// ErrLeaseLost when another has it. While the remote cannot be reached it goes on
// trying; Held tells whether the lease is still sure.
func (l *Lease) Hold(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return l.release()
		case <-time.After(l.patience / 4):
		}
		err := l.move(ctx, l.tip)
		if errors.Is(err, errMoved) {
			err = l.moved(ctx)
		}
		switch {
		case errors.Is(err, ErrLeaseLost):
			return err
		case err != nil && ctx.Err() == nil:
			l.log.Warn("renew the lease", "error", err)
		}
	}
}

// moved finds out who moved the ref. It may have been this process, without an
// answer; and where somebody only removed it, it is there to be taken.
func (l *Lease) moved(ctx context.Context) error {
	tip, holder, err := l.look(ctx)
	switch {
	case err != nil:
		return err
	case !tip.IsZero() && tip != l.tried:
		return fmt.Errorf("%w: %s", ErrLeaseLost, holder)
	}
	l.tip = tip
	return nil
}

// Held tells whether nobody else can have taken the lease.
func (l *Lease) Held() bool {
	return time.Since(l.began)-time.Duration(l.renewed.Load()) < l.patience*3/4
}

// look returns where the ref is, and who moved it there.
func (l *Lease) look(ctx context.Context) (plumbing.Hash, string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	session, refs, err := l.mirror.address.uploadPack(ctx)
	if err != nil {
		return plumbing.ZeroHash, "", fmt.Errorf("look for the lease %s: %w", l.ref, err)
	}
	defer session.Close()
	tip := refs.at(l.ref)
	if tip.IsZero() {
		return tip, "", nil
	}
	if tip != l.seen {
		message, err := readWord(ctx, session, refs, tip)
		if err != nil {
			return tip, "", fmt.Errorf("read the lease %s: %w", l.ref, err)
		}
		_, holder, _ := strings.Cut(message, "Holder: ")
		holder, _, _ = strings.Cut(holder, "\n")
		l.seen, l.holds = tip, printable(holder)
	}
	return tip, l.holds, nil
}

// readWord fetches a commit that says something and has no files, and returns its
// message. The mirror does not take it in: a lease moves every few seconds.
func readWord(ctx context.Context, session transport.UploadPackSession, refs advertised, tip plumbing.Hash) (string, error) {
	var pack word
	if err := download(ctx, session, refs, []plumbing.Hash{tip}, nil, &pack); err != nil {
		return "", err
	}
	if err := inspect(ctx, bytes.NewReader(pack.data.Bytes()), maxWord); err != nil {
		return "", err
	}
	s := memory.NewStorage()
	if err := packfile.UpdateObjectStorage(s, &pack.data); err != nil {
		return "", err
	}
	c, err := readCommit(s, tip)
	if err != nil {
		return "", err
	}
	return c.Message, nil
}

// maxWord is how many bytes a commit that says something leads to at most.
const maxWord = 1 << 20

// word is a pack in memory, which is small.
type word struct{ data bytes.Buffer }

func (w *word) PackfileWriter() (io.WriteCloser, error) { return w, nil }

func (w *word) Write(data []byte) (int, error) {
	if w.data.Len()+len(data) > maxWord {
		return 0, refuse("it leads to more than a few words")
	}
	return w.data.Write(data)
}

func (w *word) Close() error { return nil }

// move moves the ref from where it was seen to a commit that is new each time.
func (l *Lease) move(ctx context.Context, from plumbing.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience/2)
	defer cancel()
	d := &draft{made: memory.NewStorage()}
	at := time.Since(l.began)
	pack, err := l.mirror.word(d, fmt.Sprintf("Hold the lease\n\nHolder: %s\nBeat: %d.%d\n", l.holder, os.Getpid(), at), nil)
	if err != nil {
		return err
	}
	if err := l.mirror.push(ctx, l.ref, from, d.commit, pack); err != nil {
		if !errors.Is(err, errMoved) {
			l.tried = d.commit
		}
		return fmt.Errorf("move the lease %s: %w", l.ref, err)
	}
	l.tip = d.commit
	l.renewed.Store(int64(at))
	return nil
}

// release removes the ref, so that who waits need not wait until it is old.
func (l *Lease) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.mirror.push(ctx, l.ref, l.tip, plumbing.ZeroHash, nil); err != nil && !errors.Is(err, errMoved) {
		l.log.Warn("give the lease back", "error", err)
	}
	return nil
}
