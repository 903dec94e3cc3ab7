package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// errHeld reports that another process holds a lock.
var errHeld = errors.New("held by another process")

// lockPoll is how often a held lock is tried again. flock can wait by itself,
// but not end with a context.
const lockPoll = 50 * time.Millisecond

// lacking tells whether something could not be done for want of descriptors or
// memory, of which there may be enough soon.
func lacking(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// writeFile replaces a file so that a reader, or a host that loses power, sees
// the old content or the new one. The mode is 0600.
func writeFile(path string, data []byte) error { return replaceFile(path, data, true) }

// replaceFile is writeFile; where it need not be durable, a host that loses power may
// find nothing there.
func replaceFile(path string, data []byte, durable bool) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if durable {
		err = errors.Join(err, file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if !durable {
		return nil
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// writeJSON is writeFile of a value in JSON.
func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) { return read(path, 0, limit) }

// readOwn is readFile where an engine may have written the file. It may have put
// a link there, to what only its reader can read.
func readOwn(path string, limit int64) ([]byte, error) { return read(path, unix.O_NOFOLLOW, limit) }

func read(path string, flags int, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0) // a pipe would make its reader wait
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file", filepath.Base(path)))
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), limit)
	}
	return data, nil
}

// readJSON is readFile into a value.
func readJSON(path string, limit int64, value any) error {
	data, err := readFile(path, limit)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

// exists tells whether there is something at the path; a link that leads
// nowhere is nothing.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tryLock takes the exclusive lock of a file, made if need be. It returns
// errHeld at once where somebody else holds it. Closing the file releases the
// lock, unless a child process was given the same file.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(file, unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// awaitLock is tryLock, again and again until ctx ends.
func awaitLock(ctx context.Context, path string) (*os.File, error) {
	for {
		file, err := tryLock(path)
		if !errors.Is(err, errHeld) {
			return file, err
		}
		if err := sleep(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// held tells whether a process holds the lock of a file.
func held(path string) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	switch err := flock(file, unix.LOCK_SH); {
	case errors.Is(err, errHeld):
		return true, nil
	default:
		return false, err
	}
}

func flock(file *os.File, how int) error {
	err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return err
}

// unlock releases a lock for everyone who was given it, children included.
func unlock(file *os.File) {
	_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
	_ = file.Close()
}

// maxOutput bounds what is kept of what an apply says: its end, for an engine says
// last why it failed.
const maxOutput = 16 << 20

// bound keeps files that are appended to from growing beyond maxOutput, until the
// returned function is called: what they hold is dropped. That function tells
// whether it ever was.
func bound(files ...*os.File) (stop func() (dropped bool)) {
	ctx, cancel := context.WithCancel(context.Background())
	done, dropped := make(chan struct{}), false
	go func() {
		defer close(done)
		for sleep(ctx, lockPoll) == nil {
			for _, file := range files {
				if info, err := file.Stat(); err == nil && info.Size() > maxOutput {
					dropped = file.Truncate(0) == nil || dropped
				}
			}
		}
	}()
	return func() bool {
		cancel()
		<-done
		return dropped
	}
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
