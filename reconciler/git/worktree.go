package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/pave-dev/pave/reconciler"
)

// WorkTree returns what a commit of everything in the checkout would hold: the
// checkout that dir is in, or dir itself where it is in none. Ignored files are
// left out unless they are tracked; symbolic links are reported, not followed.
// Files over DefaultMaxFile are listed but not read.
func WorkTree(dir string) (*reconciler.Tree, error) {
	w, err := openWorkTree(dir)
	if err != nil {
		return nil, fmt.Errorf("read work tree: %w", err)
	}
	if n := w.sparse(); n > 0 {
		return nil, fmt.Errorf("read work tree: %d files are not checked out; type: git sparse-checkout disable", n)
	}
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("read work tree: %w", err)
	}
	t := &reconciler.Tree{Files: w.files}
	t.Read = func(f reconciler.File) ([]byte, error) { return w.read(t, f) }
	return t, nil
}

// Uncommitted returns the number of files of the checkout that differ from its
// last commit: changed, added and not ignored, or removed. It writes nothing,
// and reads only files that changed since Git looked at them.
func Uncommitted(dir string) (int, error) {
	w, err := openWorkTree(dir)
	if err != nil {
		return 0, fmt.Errorf("compare work tree: %w", err)
	}
	w.trustIndex = true
	if err := w.walk(); err != nil {
		return 0, fmt.Errorf("compare work tree: %w", err)
	}
	c, err := OpenClone(dir)
	if err != nil {
		return 0, fmt.Errorf("compare work tree: %w", err)
	}
	defer c.Close()
	head, err := c.head()
	if err != nil {
		return 0, fmt.Errorf("compare work tree: %w", err)
	}
	return w.differ(head), nil
}

// head returns the tree of HEAD; an empty one before the first commit.
func (c *Clone) head() (*reconciler.Tree, error) {
	var commit string
	err := c.retry(context.Background(), func(s store) error {
		ref, err := resolveHead(s)
		if ref != nil {
			commit = ref.Hash().String()
		}
		return err
	})
	if err != nil || commit == "" {
		return &reconciler.Tree{}, err
	}
	return c.Tree(context.Background(), commit)
}

// workTree is a checkout while it is read.
type workTree struct {
	root       string
	exclude    string                  // the repository's own list of ignored files
	tracked    map[string]*index.Entry // by path; empty without an index
	folders    map[string]bool         // those that hold tracked files
	indexed    time.Time               // when the index was written
	trustIndex bool                    // take hashes from the index for files that look unchanged

	files   []reconciler.File
	entries int
}

func openWorkTree(dir string) (*workTree, error) {
	root, ok := Root(dir)
	if !ok {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(abs)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, refuse("%s is not a folder", dir)
		}
		return &workTree{root: abs}, nil
	}
	w := &workTree{root: root}
	gitDir, common, err := gitDirs(root)
	if err != nil {
		return nil, err
	}
	w.exclude = filepath.Join(common, "info", "exclude")
	return w, w.readIndex(filepath.Join(gitDir, "index"))
}

// readIndex reads what is tracked. An index that go-git does not understand is
// as good as none: then what is ignored is left out even if it is tracked.
func (w *workTree) readIndex(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	idx := &index.Index{}
	if index.NewDecoder(bytes.NewReader(data)).Decode(idx) != nil {
		return nil
	}
	w.indexed = info.ModTime()
	w.tracked = make(map[string]*index.Entry, len(idx.Entries))
	w.folders = map[string]bool{}
	for _, e := range idx.Entries {
		w.tracked[e.Name] = e
		for f := path.Dir(e.Name); f != "." && !w.folders[f]; f = path.Dir(f) {
			w.folders[f] = true
		}
	}
	return nil
}

// sparse returns the number of tracked files that are kept off the disk.
func (w *workTree) sparse() int {
	n := 0
	for _, e := range w.tracked {
		if e.SkipWorktree {
			n++
		}
	}
	return n
}

func (w *workTree) walk() error {
	patterns := append(globalIgnore(), readIgnore(w.exclude, nil)...)
	if err := w.folder("", patterns, false); err != nil {
		return err
	}
	sortFiles(w.files)
	return nil
}

// folder walks one folder. Within an ignored one only what is tracked counts.
func (w *workTree) folder(dir string, patterns []gitignore.Pattern, ignored bool) error {
	full := filepath.Join(w.root, filepath.FromSlash(dir))
	list, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	var domain []string
	if dir != "" {
		domain = strings.Split(dir, "/")
	}
	patterns = append(patterns[:len(patterns):len(patterns)], readIgnore(filepath.Join(full, ".gitignore"), domain)...)
	matcher := gitignore.NewMatcher(patterns)
	for _, e := range list {
		if e.Name() == ".git" {
			continue
		}
		p := path.Join(dir, e.Name())
		skip := ignored || matcher.Match(append(domain[:len(domain):len(domain)], e.Name()), e.IsDir())
		if e.IsDir() {
			err = w.subfolder(p, patterns, skip)
		} else if w.tracked[p] != nil || !skip {
			err = w.file(p, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *workTree) subfolder(p string, patterns []gitignore.Pattern, ignored bool) error {
	entry := w.tracked[p]
	_, err := os.Lstat(filepath.Join(w.root, filepath.FromSlash(p), ".git"))
	switch {
	case entry != nil && entry.Mode == filemode.Submodule:
		return w.add(reconciler.File{Path: p, Mode: reconciler.Submodule, Hash: entry.Hash.String()})
	case ignored && !w.folders[p]:
		return nil
	case err == nil && !w.folders[p]:
		// A repository within: Git would add it as a submodule.
		return w.add(reconciler.File{Path: p, Mode: reconciler.Submodule, Hash: plumbing.ZeroHash.String()})
	}
	if err := w.count(); err != nil {
		return err
	}
	return w.folder(p, patterns, ignored)
}

func (w *workTree) file(p string, e fs.DirEntry) error {
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since the folder was read
	}
	if err != nil {
		return err
	}
	f := reconciler.File{Path: p, Size: info.Size()}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.Mode = reconciler.Symlink
	case !info.Mode().IsRegular():
		return nil // Git does not see sockets, pipes and devices
	case info.Mode().Perm()&0o100 != 0:
		f.Mode = reconciler.Executable
	}
	if f.Hash, err = w.hash(f, info); err != nil {
		return fmt.Errorf("read %s: %w", p, err)
	}
	return w.add(f)
}

func (w *workTree) add(f reconciler.File) error {
	w.files = append(w.files, f)
	return w.count()
}

func (w *workTree) count() error {
	if w.entries++; w.entries > maxEntries {
		return refuse("%s holds more than %d files and folders", w.root, maxEntries)
	}
	return nil
}

// hash returns the hash of the blob that Git would make.
func (w *workTree) hash(f reconciler.File, info fs.FileInfo) (string, error) {
	if entry := w.tracked[f.Path]; w.trustIndex && entry != nil && w.unchanged(entry, info) {
		return entry.Hash.String(), nil
	}
	full := filepath.Join(w.root, filepath.FromSlash(f.Path))
	if f.Mode == reconciler.Symlink {
		target, err := os.Readlink(full)
		return plumbing.ComputeHash(plumbing.BlobObject, []byte(filepath.ToSlash(target))).String(), err
	}
	file, err := openRegular(full)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := plumbing.NewHasher(plumbing.BlobObject, f.Size)
	if n, err := io.Copy(h, io.LimitReader(file, f.Size)); err != nil || n != f.Size {
		return "", errors.Join(err, changed(n != f.Size))
	}
	return h.Sum().String(), nil
}

// unchanged tells whether the file looks as it did when Git last hashed it. One
// written in the same instant as the index may have changed after.
func (w *workTree) unchanged(e *index.Entry, info fs.FileInfo) bool {
	return e.Stage == 0 && !e.IntentToAdd && e.Size == uint32(info.Size()) &&
		e.ModifiedAt.Equal(info.ModTime()) && info.ModTime().Before(w.indexed)
}

// differ counts the paths that are not the same here and in the tree.
func (w *workTree) differ(head *reconciler.Tree) int {
	n, here := 0, make(map[string]bool, len(w.files))
	for _, f := range w.files {
		here[f.Path] = true
		if h, ok := head.Find(f.Path); !ok || h.Hash != f.Hash || h.Mode != f.Mode {
			n++
		}
	}
	for _, h := range head.Files {
		if e := w.tracked[h.Path]; !here[h.Path] && (e == nil || !e.SkipWorktree) {
			n++
		}
	}
	return n
}

// read returns the content of a file as it was when the tree was listed.
func (w *workTree) read(t *reconciler.Tree, f reconciler.File) ([]byte, error) {
	if err := readable(t, f, DefaultMaxFile); err != nil {
		return nil, err
	}
	file, err := openRegular(filepath.Join(w.root, filepath.FromSlash(f.Path)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, f.Size+1))
	if err == nil {
		// Whoever keeps what a file evaluated to by its hash must be able to rely on it.
		err = changed(plumbing.ComputeHash(plumbing.BlobObject, data).String() != f.Hash)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return data, nil
}

func changed(is bool) error {
	if is {
		return errors.New("it changed while it was read")
	}
	return nil
}

// openRegular opens a file that is no symbolic link and does not block.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = refuse("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readIgnore reads the patterns of one file, for paths below domain. A file
// that cannot be read ignores nothing, as in Git.
func readIgnore(file string, domain []string) []gitignore.Pattern {
	f, err := openRegular(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, DefaultMaxFile))
	if err != nil {
		return nil
	}
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, domain))
		}
	}
	return patterns
}

// globalIgnore reads what the user ignores everywhere, or Pave would count what
// `git status` does not show.
func globalIgnore() []gitignore.Pattern {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	file := filepath.Join(home, ".config", "git", "ignore")
	if base := os.Getenv("XDG_CONFIG_HOME"); base != "" {
		file = filepath.Join(base, "git", "ignore")
	}
	if cfg, err := config.LoadConfig(config.GlobalScope); err == nil {
		if named := cfg.Raw.Section("core").Option("excludesfile"); named != "" {
			file = named
		}
	}
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		file = filepath.Join(home, rest)
	}
	return readIgnore(file, nil)
}
