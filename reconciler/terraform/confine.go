package terraform

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pave-dev/pave/reconciler/confine"
)

// The ways to keep an engine and all that it starts to its unit's own files.
const (
	// ByLandlock lets the kernel refuse everything else.
	ByLandlock = "landlock"
	// ByUsers gives each unit a user of its own; for root where the kernel has
	// no Landlock.
	ByUsers = "users"
	// Unconfined lets engines do whatever the user may that Pave runs as.
	Unconfined = "off"
)

// Confinement tells how the engines of a host are confined.
type Confinement struct {
	// Way is ByLandlock, ByUsers or Unconfined.
	Way string
	// Why tells why there is no better one, or what this one does not cover;
	// empty where there is nothing to say.
	Why string
}

// String returns a line that says what holds.
func (c Confinement) String() string {
	text := map[string]string{
		ByLandlock: "runs are confined to the files of their unit by Landlock",
		ByUsers:    "runs are confined by a user for each unit",
		Unconfined: "runs are not confined",
	}[c.Way]
	if c.Why != "" {
		text += ": " + c.Why
	}
	return text
}

// Confinement tells how runs are confined on this host.
func (r *Runner) Confinement() Confinement { return r.confinement }

// confinement decides it for the host: the way that it names, or the best that
// there is. A way that was asked for and cannot be had is an error.
func (h Host) confinement() (Confinement, error) {
	var c Confinement
	var err error
	switch h.Confine {
	case "":
		if c, err = h.byLandlock(); err == nil {
			return c, nil
		}
		var second error
		if c, second = h.byUsers(); second == nil {
			return c, nil
		}
		return Confinement{Way: Unconfined, Why: err.Error() + "; " + second.Error()}, nil
	case ByLandlock:
		c, err = h.byLandlock()
	case ByUsers:
		c, err = h.byUsers()
	case Unconfined:
		c = Confinement{Way: Unconfined, Why: "as the host says"}
	default:
		err = fmt.Errorf("expected one of: %s, %s, %s; got %q", ByLandlock, ByUsers, Unconfined, h.Confine)
	}
	if err != nil {
		return Confinement{}, fmt.Errorf("host confinement: %w", err)
	}
	return c, nil
}

func (h Host) byLandlock() (Confinement, error) {
	switch level := confine.Level(); {
	case level == 0:
		return Confinement{}, errors.New("the kernel has no Landlock")
	case level < confine.MinLevel:
		return Confinement{}, fmt.Errorf("the kernel's Landlock is of level %d, and %d is needed", level, confine.MinLevel)
	case level < confine.SignalLevel:
		return Confinement{ByLandlock, "not their signals to other processes of the same user, nor connections to sockets of the host"}, nil
	case level < confine.SocketLevel:
		return Confinement{ByLandlock, "not their connections to sockets of the host that are files"}, nil
	}
	return Confinement{Way: ByLandlock}, nil
}

func (h Host) byUsers() (Confinement, error) {
	if os.Geteuid() != 0 {
		return Confinement{}, errors.New("only root can give each unit a user of its own")
	}
	if err := mapped(lastUser); err != nil {
		return Confinement{}, err
	}
	for _, folder := range slices.Concat(h.stored(), []string{h.Cache, h.State, h.Runs, h.CLIConfig, os.TempDir()}) {
		for dir := filepath.Dir(folder); dir != "/"; dir = filepath.Dir(dir) {
			info, err := os.Stat(dir)
			if err == nil && info.Mode().Perm()&0o001 == 0 {
				return Confinement{}, fmt.Errorf("other users than root cannot pass through %s: run chmod o+x on it, or choose another place for %s", dir, folder)
			}
		}
	}
	return Confinement{ByUsers, "they can read what every user of this machine can"}, nil
}

// The users of units: a range that no distribution hands out.
const (
	firstUser = 0x70000000
	lastUser  = 0x7fffffff
)

// userOf returns the user of a unit. With a thousand units the odds that two of
// them share one are one in five hundred.
func userOf(unit string) int {
	sum := fnv.New32a()
	sum.Write([]byte(unit))
	return firstUser + int(sum.Sum32()&(lastUser-firstUser))
}

// mapped tells whether a process may have the user here; a container may know
// only the first few.
func mapped(user int) error {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && user >= inside && user-inside < count {
			return nil
		}
	}
	return fmt.Errorf("there is no user %d in this container", user)
}

// confined returns what to start in place of an engine, and in which
// environment, so that it can touch no more than the paths that are given, its
// temporary files and what the host lets every engine read and write.
func (h Host) confined(engine string, user int, env map[string]string, read, write []string) (string, map[string]string) {
	if h.Confine == Unconfined {
		return engine, env
	}
	real, err := filepath.EvalSymlinks(engine)
	if err != nil {
		real = engine // starting it tells the error
	}
	p := confine.Profile{
		Program: engine,
		Read:    slices.Concat(read, []string{real, h.CLIConfig}, filepath.SplitList(h.AllowRead), named(env)),
		Write:   slices.Concat(write, []string{env["HOME"], env["TMPDIR"]}, filepath.SplitList(h.AllowWrite)),
	}
	if h.Confine == ByUsers {
		p.User = user
	}
	env = maps.Clone(env)
	env[confine.Variable] = p.Environ()
	return confine.Path, env
}

// confined is that for an engine of the run's unit.
func (e *execution) confined(env map[string]string, reads, writes []string) (string, map[string]string) {
	if e.store == nil { // it is looked up once for all that the run starts
		e.store = e.host.stored()
	}
	return e.host.confined(e.job.Engine.Path, userOf(e.job.Unit), env, slices.Concat(reads, e.store), writes)
}

// own gives folders to the unit's user, where it has one.
func (e *execution) own(dirs ...string) error {
	if e.host.Confine != ByUsers {
		return nil
	}
	for _, dir := range dirs {
		if err := give(dir, userOf(e.job.Unit), nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give %s to the unit's user: %w", filepath.Base(dir), err)
		}
	}
	return nil
}

// disown takes a folder back and lets every unit read it.
func (e *execution) disown(dir string) error {
	if e.host.Confine != ByUsers {
		return nil
	}
	return give(dir, 0, func(mode fs.FileMode) fs.FileMode { return mode | mode&0o500>>3 | mode&0o500>>6 })
}

// offer lets a unit's user read a file that stays Pave's.
func (h Host) offer(path string, user int) error {
	if h.Confine != ByUsers {
		return nil
	}
	return errors.Join(os.Chown(path, -1, user), os.Chmod(path, 0o640))
}

// named returns the files and folders that the credentials of an environment
// name: a key file, a token that is renewed. Who wrote them there meant them to
// be read.
func named(env map[string]string) []string {
	own := baseEnviron(Host{}, "", "")
	var paths []string
	for key, value := range env {
		if _, reserved := own[key]; reserved {
			continue
		}
		for _, path := range filepath.SplitList(value) {
			if filepath.IsAbs(path) && filepath.Clean(path) != "/" {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// providerStore returns the folders that the CLI configuration names: mirrors,
// which are read, and caches, which init fills as well. The file is the host's;
// all that is needed of its language are the paths.
func (h Host) providerStore() (store, caches []string) {
	text, err := readFile(h.CLIConfig, 1<<20)
	if err != nil {
		return nil, nil // the engine tells the error
	}
	tokens, _ := hclsyntax.LexConfig(text, h.CLIConfig, hcl.InitialPos)
	name := ""
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenIdent:
			name = string(token.Bytes)
		case hclsyntax.TokenQuotedLit:
			path := string(token.Bytes)
			switch {
			case !filepath.IsAbs(path):
			case name == "plugin_cache_dir":
				caches = append(caches, path)
			default:
				store = append(append(store, path), links(path)...)
			}
		}
	}
	return store, caches
}

// stored returns all of them, which every engine reads.
func (h Host) stored() []string {
	store, caches := h.providerStore()
	return append(store, caches...)
}

// links returns where the links in a mirror lead: a package may be one.
func links(mirror string) []string {
	var found []string
	_ = filepath.WalkDir(mirror, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type() == fs.ModeSymlink {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				found = append(found, real)
			}
		}
		return nil // what cannot be read the engine complains of
	})
	return found
}

// templateReads returns what an engine reads of a template: its folder, and
// where the links in it lead.
func templateReads(template string) []string {
	paths := []string{template}
	data := filepath.Join(template, dataName)
	entries, _ := os.ReadDir(data)
	for _, entry := range entries {
		if real, err := filepath.EvalSymlinks(filepath.Join(data, entry.Name())); err == nil {
			paths = append(paths, real)
		}
	}
	return paths
}

// checkStore refuses a host on which engines would be given a folder that holds
// what they must not see.
func (h Host) checkStore() error {
	open := slices.Concat(h.stored(), filepath.SplitList(h.AllowRead), filepath.SplitList(h.AllowWrite))
	for _, folder := range open {
		for _, secret := range []string{h.Cache, h.State, h.Runs, h.Credentials} {
			if secret != "" && within(folder, secret) {
				return fmt.Errorf("host: %s, which engines may read, holds %s: choose another folder for one of them", folder, secret)
			}
		}
	}
	return nil
}

// within tells whether a path is the folder or below it.
func within(folder, path string) bool {
	rest, err := filepath.Rel(folder, path)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, "../")
}

// give hands a folder and all that is in it to a user, and follows no link: an
// engine of that user may have written it.
func give(dir string, user int, mode func(fs.FileMode) fs.FileMode) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := root.Lchown(path, user, user); err != nil {
			return err
		}
		if mode == nil || entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return root.Chmod(path, mode(info.Mode().Perm()))
	})
}
