package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// cache is the folder where tools are kept.
type cache string

func openCache() (cache, error) {
	dir := os.Getenv("PAVE_TOOLS")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for the tools: %w; set PAVE_TOOLS", err)
		}
		dir = filepath.Join(base, "pave-tools")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return cache(dir), os.MkdirAll(dir, 0o755)
}

// path is where the folder of a tool is, whether it was made or not.
func (c cache) path(name, key string) string {
	return filepath.Join(string(c), name+"-"+key)
}

// folder returns the folder of that name and key, which make fills the first
// time. A folder is there complete or not at all, and only one is made at a
// time, whoever asks.
func (c cache) folder(name, key string, make func(dir string) error) (string, error) {
	dir := c.path(name, key)
	if exists(dir) {
		return dir, nil
	}
	unlock, err := c.lock()
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", c, err)
	}
	defer unlock()
	if exists(dir) { // another process made it meanwhile
		return dir, nil
	}
	work := filepath.Join(string(c), "unfinished") // what a killed process left goes
	defer os.RemoveAll(work)
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", err
	}
	if err := make(work); err != nil {
		return "", err
	}
	return dir, os.Rename(work, dir)
}

// lock waits for other processes that make tools in this cache.
func (c cache) lock() (unlock func() error, err error) {
	file, err := os.OpenFile(filepath.Join(string(c), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd())
	if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return file.Close, nil
	}
	fmt.Fprintln(os.Stderr, "waiting for another process that builds tools…")
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return file.Close, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
