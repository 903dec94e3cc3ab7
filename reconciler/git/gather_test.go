package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/pave-dev/pave/reconciler"
)

// packNames returns what a pattern finds among the packs of a mirror.
func packNames(t testing.TB, m *Mirror, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(packFolder(m.dir()), pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// openFiles returns how many files this process holds open below a folder.
func openFiles(t testing.TB, folder string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && strings.HasPrefix(name, folder) {
			n++
		}
	}
	return n
}

// However fast commits come, there are few packs, few open files, and nothing is lost.
func TestPacksAreGathered(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes 120 times: make test")
	}
	t.Parallel()
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	tracked := fetch(t, m).Tracked
	status := ""
	contents := map[string]string{}
	for i := range 120 {
		name := fmt.Sprintf("requests/%02x/%d.json", i%7, i%30)
		contents[name] = fmt.Sprintf("%d of many", i)
		if i%20 == 0 { // what was there before comes again
			contents[name] = "again"
		}
		var parents []string
		if status != "" {
			parents = []string{status}
		}
		status = publish(t, m, status, parents, put(name, contents[name]), put("README.md", fmt.Sprint(i)))
		if i%5 == 0 {
			fetch(t, m)
		}
	}
	equal(t, "status", fetch(t, m).Status, status)
	if n := len(packNames(t, m, "*.pack")); n > maxPacks+10 {
		t.Errorf("%d packs", n)
	}
	equal(t, "indexes", len(packNames(t, m, "*.idx")), len(packNames(t, m, "*.pack")))
	equal(t, "left", packNames(t, m, "tmp_*"), nil)
	loose, _ := filepath.Glob(filepath.Join(m.dir(), "objects", "??"))
	equal(t, "loose objects", loose, nil)

	tree, err := m.Tree(background, status)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range contents {
		equal(t, name, read(t, tree, name), want)
	}
	if n := openFiles(t, m.options.Cache); n > maxPacks+10 {
		t.Errorf("%d files are open", n)
	}
	log, err := m.Log(background, status, 0, nil)
	if err != nil || len(log) != 120 {
		t.Errorf("%d commits, %v", len(log), err)
	}
	for _, tip := range []string{status, tracked} {
		run(t, m.dir(), "rev-list", "--objects", tip)
	}
	run(t, m.dir(), "fsck", "--full", "--strict")
}

// packObjects packs what git rev-list says, and one object more.
func packObjects(t *testing.T, dir string, flags []string, more string, revisions ...string) {
	t.Helper()
	var hashes []string
	for line := range strings.Lines(run(t, dir, append([]string{"rev-list", "--objects"}, revisions...)...)) {
		hashes = append(hashes, line[:40])
	}
	cmd := exec.Command("git", append(append([]string{"pack-objects", "-q"}, flags...), ".git/objects/pack/pack")...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(strings.Join(append(hashes, more), "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git pack-objects: %v\n%s", err, out)
	}
}

// severalPacks makes a repository whose packs hold deltas of both kinds, and one
// object in all of them.
func severalPacks(t *testing.T) (dir string, packs []packFile) {
	work := checkout(t)
	dir = filepath.Join(work, ".git")
	shared := run(t, work, "rev-parse", "HEAD:platform.cue")
	first := run(t, work, "rev-parse", "HEAD")
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&lines, i*i*i)
	}
	since := []string{first}
	for i := range 4 {
		files := map[string]string{}
		for j := range 3 {
			files[fmt.Sprintf("large-%d", j)] = fmt.Sprintf("%d %d\n%s%d\n", i, j, lines.String(), j)
		}
		tip := commit(t, work, files, fmt.Sprint(i))
		flags := []string{"--delta-base-offset"}
		if i == 2 {
			flags = nil
		}
		packObjects(t, work, flags, shared, since...)
		since = []string{tip, "^" + tip + "~1"}
	}
	packObjects(t, work, nil, shared, since...)
	run(t, work, "prune-packed")
	packs, err := packFiles(dir)
	if err != nil || len(packs) != 5 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	return dir, packs
}

// hashes returns the objects that packs list, sorted and each once.
func hashes(t *testing.T, packs ...packFile) []string {
	t.Helper()
	var all []string
	for _, p := range packs {
		index, err := readIndex(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range index {
			all = append(all, e.Hash.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestJoinedPacksHoldTheSame(t *testing.T) {
	dir, packs := severalPacks(t)
	objects, want := run(t, dir, "rev-list", "--objects", "--all"), hashes(t, packs...)
	var deltas [8]int
	for _, p := range packs {
		data, err := os.ReadFile(p.path + ".pack")
		if err != nil {
			t.Fatal(err)
		}
		index, err := readIndex(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range index {
			deltas[data[e.Offset]>>4&7]++
		}
	}
	if deltas[plumbing.OFSDeltaObject] == 0 || deltas[plumbing.REFDeltaObject] == 0 {
		t.Fatalf("kinds of objects: %v", deltas)
	}
	made, err := join(dir, packs)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		removePack(t, p)
	}
	run(t, dir, "index-pack", "--strict", "--verify", made+".pack")
	run(t, dir, "fsck", "--full", "--strict")
	equal(t, "objects", run(t, dir, "rev-list", "--objects", "--all"), objects)
	left, err := packFiles(dir)
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	equal(t, "hashes", hashes(t, left...), want)

	again, err := join(dir, left)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a pack of the same", again, made)
}

func removePack(t *testing.T, p packFile) {
	t.Helper()
	if err := errors.Join(os.Remove(p.path+".pack"), os.Remove(p.path+".idx")); err != nil {
		t.Fatal(err)
	}
}

// A pack of what is in others already is the pack that was there: it stays.
func TestGatheringOfWhatIsGathered(t *testing.T) {
	dir, packs := severalPacks(t)
	if _, err := join(dir, packs); err != nil {
		t.Fatal(err)
	}
	all, err := packFiles(dir)
	if err != nil || len(all) != len(packs)+1 {
		t.Fatalf("%v, %v", all, err)
	}
	if err := gatherPacks(dir, all); err != nil {
		t.Fatal(err)
	}
	left, err := packFiles(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	run(t, dir, "fsck", "--full", "--strict")
}

// Whenever a process that gathers is killed, all is there, and what it was
// writing goes when it is old.
func TestGatheringMayBeKilled(t *testing.T) {
	bare, work := bareRemote(t)
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	for i := range 5 {
		commit(t, work, map[string]string{"n.cue": fmt.Sprint(i)}, "step")
		run(t, work, "push", "-q", "origin", "main")
		fetch(t, m)
	}
	whole := func() {
		t.Helper()
		m := open(t, Options{URL: bare, Cache: cache})
		m.heal = nil
		commits, _, err := m.Line(background, run(t, work, "rev-parse", "HEAD"), "", 100)
		if err != nil || len(commits) != 6 {
			t.Fatalf("%d commits, %v", len(commits), err)
		}
		for _, c := range commits {
			if _, err := m.Tree(background, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	packs, err := packFiles(m.dir())
	if err != nil || len(packs) != 5 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	if _, err := join(m.dir(), packs); err != nil {
		t.Fatal(err)
	}
	whole()
	for _, p := range packs {
		os.Remove(p.path + ".pack")
		whole()
	}
	for _, name := range []string{"mirror.git/objects/pack/tmp_pack_1", "mirror.git/objects/pack/tmp_idx_1", "clone-1/new/HEAD"} {
		write(t, cache, name, "half")
	}
	whole()
	equal(t, "in the making", len(packNames(t, m, "*")), 2+len(packs)+2)
	old := time.Now().Add(-2 * stale)
	for _, p := range append(packNames(t, m, "*"), filepath.Join(cache, "clone-1")) {
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	whole()
	equal(t, "left", len(packNames(t, m, "*")), 2)
	clones, _ := filepath.Glob(filepath.Join(cache, "clone-*"))
	equal(t, "clones left", clones, nil)
}

func TestCrowd(t *testing.T) {
	for _, c := range []struct {
		sizes []int64
		want  int
	}{
		{[]int64{1}, 1},
		{[]int64{1, 1, 1}, 3},
		{[]int64{1, 1, 1, 100}, 3},
		{[]int64{1, 1, 1, 5, 100}, 4},
		{[]int64{1, 1, 1, 6, 100}, 3},
		{[]int64{1, 1, 30, 40, 1000}, 4},
		{[]int64{1, 1, 30, 40, 100}, 5},
	} {
		var packs []packFile
		for _, size := range c.sizes {
			packs = append(packs, packFile{size: size})
		}
		equal(t, fmt.Sprint(c.sizes), crowd(packs), c.want)
	}
}

// A mirror that has grown is cloned anew, unless that was just done, and loses
// nothing that comes while it is.
func TestOutgrownMirrorIsClonedAnew(t *testing.T) {
	bare, work := bareRemote(t)
	cloned := 0
	m := open(t, Options{URL: bare, Clone: func(ctx context.Context, options Options, dir string) error {
		cloned++
		equal(t, "tracked", options.Tracked, "main")
		return CloneMirror(ctx, options, dir)
	}})
	fetch(t, m)
	news := func() string {
		t.Helper()
		tip := commit(t, work, map[string]string{"n.cue": time.Now().String()}, "news")
		run(t, work, "push", "-q", "origin", "main")
		equal(t, "tip", fetch(t, m).Tracked, tip)
		return tip
	}
	first := news()
	status := publish(t, m, "", nil, put("a", "1"))
	equal(t, "packs", len(packNames(t, m, "*.pack")), 3)
	write(t, packFolder(m.dir()), "filler.pack", strings.Repeat("x", 2*slack))
	news()
	m.aside.Wait()
	equal(t, "packs while it rests", len(packNames(t, m, "*.pack")), 5)

	m.remote.Lock() // held until more has come, as if the clone took long
	m.due = time.Time{}
	heads, err := m.fetch(background)
	if err != nil {
		t.Fatal(err)
	}
	later := publish(t, m, status, []string{status}, put("a", "2"))
	m.remote.Unlock()
	m.aside.Wait()
	m.heal = nil
	for _, c := range []string{first, heads.Tracked, status, later} {
		if _, err := m.Revision(background, c); err != nil {
			t.Error(err)
		}
	}
	published, err := m.Published(background)
	equal(t, "published", published, later)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "clones", cloned, 1)
	equal(t, "packs of a clone", len(packNames(t, m, "*.pack")), 2)
	left, _ := filepath.Glob(filepath.Join(m.options.Cache, clones+"*"))
	equal(t, "folders left", left, nil)
	packs, err := packFiles(m.dir())
	if err != nil || outgrown(m.dir(), packs) {
		t.Error("it is cloned once more")
	}
	news()
	run(t, m.dir(), "fsck", "--full", "--strict", "--connectivity-only")
}

// Where the remote lost what was published, only the mirror holds it, and stays.
func TestOnlyCopyIsNotReplaced(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	fetch(t, m)
	status := publish(t, m, "", nil, put("a", "1"))
	heads := fetch(t, m)
	before, err := packFiles(m.dir())
	if err != nil {
		t.Fatal(err)
	}
	run(t, bare, "update-ref", "-d", "refs/heads/pave/status")
	for _, heads := range []reconciler.Heads{heads, {Tracked: heads.Tracked}} {
		m.cloneAside(before, heads)
		m.heal = nil
		if _, err := m.Revision(background, status); err != nil {
			t.Error(err)
		}
	}
}
