package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/pave-dev/pave/reconciler"
)

// snapshot tells every file of a folder with its size and time.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestQuarantine(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		options.Cache = filepath.Join(t.TempDir(), "mirror")
		for i := range 20 {
			commit(t, work, map[string]string{fmt.Sprintf("catalog/%d.cue", i): strings.Repeat("package platform\n", i)}, "more")
		}
		run(t, work, "push", "-q", "origin", "main")
		m := open(t, options)
		base := fetch(t, m).Tracked
		status := publish(t, m, "", nil, put("README.md", "# Status\n"))
		m.Close()
		run(t, work, "switch", "-q", "-c", "change")
		head := commit(t, work, map[string]string{"teams.cue": "package platform\n\nteam: payments: {}\n"}, "add teams")
		run(t, work, "push", "-q", "origin", head+":refs/pull/7/head")
		run(t, work, "switch", "-q", "main")

		before := snapshot(t, options.Cache)
		q := quarantine(t, QuarantineOptions{URL: options.URL, Token: options.Token, Mirror: options.Cache})
		bring(t, q, "refs/pull/7/head", head)
		bring(t, q, "refs/pull/7/head", head)
		equal(t, "objects brought", strings.Fields(run(t, q.options.Dir, "count-objects", "-v"))[5], "3") // a commit, its tree, a file

		for name, c := range map[string]struct{ commit, path, content string }{
			"head":   {head, "teams.cue", "package platform\n\nteam: payments: {}\n"},
			"shared": {head, "platform.cue", "package platform\n"},
			"base":   {base, "platform.cue", "package platform\n"},
			"status": {status, "README.md", "# Status\n"},
		} {
			tree, err := q.Tree(background, c.commit)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, name, read(t, tree, c.path), c.content)
		}
		revision, err := q.Revision(background, head)
		equal(t, "subject", revision.Subject, "add teams")
		if err != nil {
			t.Error(err)
		}
		follows, err := q.Follows(background, head, base)
		if !follows || err != nil {
			t.Errorf("head follows base: %v, %v", follows, err)
		}
		line, reached, err := q.Line(background, head, base, 5)
		equal(t, "line", fmt.Sprint(line, reached, err), fmt.Sprint([]string{head}, true, nil))
		_, tree, err := q.Merge(background, base, head)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "merged", lsTree(tree), run(t, work, "ls-tree", "-r", head))

		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(q.options.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the quarantine is left: %v", err)
		}
		equal(t, "mirror", snapshot(t, options.Cache), before)
	})
}

func TestQuarantineFollowsTheMirror(t *testing.T) {
	bare, work := bareRemote(t)
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	fetch(t, m)
	q := quarantine(t, QuarantineOptions{URL: bare, Mirror: cache})
	late := commit(t, work, map[string]string{"late.cue": "package platform\n"}, "late")
	if _, err := q.Tree(background, late); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
	run(t, work, "push", "-q", "origin", "main")
	fetch(t, m)
	tree, err := q.Tree(background, late)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "content", read(t, tree, "late.cue"), "package platform\n")
}

func TestBringInsistsOnTheHead(t *testing.T) {
	bare, work := bareRemote(t)
	old := commit(t, work, nil, "old head")
	head := commit(t, work, nil, "head")
	run(t, work, "push", "-q", "origin", head+":refs/pull/7/head")
	q := quarantine(t, QuarantineOptions{URL: bare})
	for name, err := range map[string]error{
		"another commit":  q.Bring(background, "refs/pull/7/head", old),
		"another request": q.Bring(background, "refs/pull/8/head", head),
	} {
		refused(t, err, "fetch refs/pull/", "the head moved")
		if !errors.Is(err, ErrHeadMoved) {
			t.Errorf("%s: %v is not ErrHeadMoved", name, err)
		}
	}
	refused(t, q.Bring(background, "main", head), `"main" is not a whole reference`)
	refused(t, q.Bring(background, "refs/pull/7/head", "HEAD"), "not a full hash")
	if _, err := q.Tree(background, head); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("something was fetched: %v", err)
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if err := q.Bring(ctx, "refs/pull/7/head", head); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOpenQuarantineErrors(t *testing.T) {
	bare, _ := bareRemote(t)
	cache := filepath.Join(t.TempDir(), "mirror")
	fetch(t, open(t, Options{URL: bare, Cache: cache}))
	full := t.TempDir()
	write(t, full, "mine", "keep")
	_, err := OpenQuarantine(background, QuarantineOptions{URL: bare, Mirror: cache, Dir: full})
	refused(t, err, "open quarantine: "+full+" is not empty")
	if _, err := os.Stat(filepath.Join(full, "mine")); err != nil {
		t.Error(err)
	}
	_, err = OpenQuarantine(background, QuarantineOptions{URL: bare, Mirror: full, Dir: filepath.Join(t.TempDir(), "q")})
	refused(t, err, "open quarantine: open mirror: ")
	_, err = OpenQuarantine(background, QuarantineOptions{URL: "git://x", Mirror: cache, Dir: filepath.Join(t.TempDir(), "q")})
	refused(t, err, "open quarantine: ", "expected a path")
	missing := filepath.Join(t.TempDir(), "q")
	if _, err := ReadQuarantine(background, QuarantineOptions{Mirror: cache, Dir: missing}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// What one process brought another reads, that cannot reach the repository.
func TestReadQuarantine(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		options.Cache = filepath.Join(t.TempDir(), "mirror")
		m := open(t, options)
		base := fetch(t, m).Tracked
		m.Close()
		run(t, work, "switch", "-q", "-c", "change")
		head := commit(t, work, map[string]string{"teams.cue": "package platform\n"}, "add teams")
		run(t, work, "push", "-q", "origin", head+":refs/pull/7/head")
		brought := quarantine(t, QuarantineOptions{URL: options.URL, Token: options.Token, Mirror: options.Cache})
		bring(t, brought, "refs/pull/7/head", head)
		q, err := ReadQuarantine(background, QuarantineOptions{Mirror: options.Cache, Dir: brought.options.Dir})
		if err != nil {
			t.Fatal(err)
		}
		_, tree, err := q.Merge(background, base, head)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "what was brought", read(t, tree, "teams.cue"), "package platform\n")
		if err := q.Bring(background, "refs/pull/7/head", head); err == nil {
			t.Error("it reached the repository")
		}
	})
}

// One quarantine reads one change after the other, and whatever the mirror brought
// meanwhile; of a change before it knows nothing.
func TestTurn(t *testing.T) {
	bare, work := bareRemote(t)
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	var q *Quarantine
	var earlier, last string // the head and the folder of the change before
	for i := range 3 {
		base := fetch(t, m).Tracked
		ref := fmt.Sprintf("refs/pull/%d/head", i+7)
		run(t, work, "switch", "-q", "-c", fmt.Sprint("change-", i))
		head := commit(t, work, map[string]string{"teams.cue": fmt.Sprintf("package platform\n// %d\n", i)}, "say who")
		run(t, work, "push", "-q", "origin", head+":"+ref)
		brought := quarantine(t, QuarantineOptions{URL: bare, Mirror: cache})
		bring(t, brought, ref, head)
		dir := brought.options.Dir
		var err error
		if q == nil {
			q, err = ReadQuarantine(background, QuarantineOptions{Mirror: cache, Dir: dir})
		} else {
			err = q.Turn(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, tree, err := q.Merge(background, base, head)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "what was brought", read(t, tree, "teams.cue"), fmt.Sprintf("package platform\n// %d\n", i))
		if earlier != "" {
			if _, err := q.Revision(background, earlier); !errors.Is(err, ErrUnknownCommit) {
				t.Errorf("the change before is still known: %v", err)
			}
			if _, err := os.Stat(last); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was brought before is left: %v", err)
			}
		}
		earlier, last = head, dir
		run(t, work, "switch", "-q", "main")
		commit(t, work, map[string]string{"late.cue": fmt.Sprintf("package platform\n// %d\n", i)}, "late")
		run(t, work, "push", "-q", "origin", "main")
	}
	if err := q.Turn(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// A list of many files that are objects of their own leaves none of them open.
func TestListLeavesNoFileOpen(t *testing.T) {
	bare, _ := bareRemote(t)
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	fetch(t, m)
	var edits []reconciler.Edit
	for i := range 100 {
		edits = append(edits, put(fmt.Sprintf("requests/%d.json", i), fmt.Sprint(i)))
	}
	status := publish(t, m, "", nil, edits...)
	q := quarantine(t, QuarantineOptions{URL: bare, Mirror: cache})
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close them at some time
	opened := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := opened()
	if tree, err := q.Tree(background, status); err != nil || len(tree.Files) != 100 {
		t.Fatal(tree, err)
	}
	if more := opened() - before; more > 10 {
		t.Errorf("%d files are left open", more)
	}
}

func TestQuarantineIsASourceThatOnlyReads(t *testing.T) {
	bare, _ := bareRemote(t)
	q := quarantine(t, QuarantineOptions{URL: bare})
	source := reconciler.New(reconciler.Options{Source: q}).Source
	heads, err := source.Fetch(background)
	equal(t, "heads", heads, reconciler.Heads{})
	if err != nil {
		t.Error(err)
	}
	believed, err := source.Authentic(background, strings.Repeat("1", 40))
	if believed || err != nil {
		t.Errorf("got %v, %v", believed, err)
	}
	_, err = source.Publish(background, "", nil, []reconciler.Edit{put("a", "1")}, "record", unannounced)
	refused(t, err, "a quarantine publishes nothing")
}

func TestQuarantineRefusesAsTheMirrorDoes(t *testing.T) {
	t.Parallel()
	bare, work := bareRemote(t)
	blob := run(t, work, "rev-parse", "HEAD:platform.cue")
	folder := run(t, work, "rev-parse", "HEAD:blueprints")
	main := run(t, work, "rev-parse", "HEAD")
	with := func(entry string) string {
		return "040000 tree " + folder + "\tblueprints\n100644 blob " + blob + "\tplatform.cue\n" + entry + "\n"
	}
	// Another commit on main, so that merging makes a tree of its own.
	base := commit(t, work, map[string]string{"a.cue": "package platform\n"}, "go on")
	run(t, work, "push", "-q", "origin", "main")
	q := quarantine(t, QuarantineOptions{URL: bare, MaxFile: 100})
	large := filepath.Join(t.TempDir(), "large")
	write(t, filepath.Dir(large), "large", strings.Repeat("x", 101))
	for name, c := range map[string]struct{ entry, path, says string }{
		"symlink":   {"120000 blob " + blob + "\tlink.cue", "link.cue", "read link.cue: it is not a regular file"},
		"submodule": {"160000 commit " + main + "\tmodule", "module", "read module: it is not a regular file"},
		"large":     {"100644 blob " + run(t, work, "hash-object", "-w", large) + "\tlarge.cue", "large.cue", "read large.cue: it has 101 bytes, more than the limit of 100"},
		"up":        {"040000 tree " + folder + "\t..", "", `"" holds an entry named ".."`},
		"git":       {"040000 tree " + folder + "\t.git", "", `"" holds an entry named ".git"`},
		"deep":      {"040000 tree " + mktree(t, work, "040000 tree "+folder+"\t.GIT\n") + "\tcatalog", "", `"catalog" holds an entry named ".GIT"`},
		"twice":     {"100644 blob " + blob + "\tplatform.cue", "", `"" holds "platform.cue" twice`},
	} {
		t.Run(name, func(t *testing.T) {
			head := run(t, work, "commit-tree", "-m", name, "-p", main, mktree(t, work, with(c.entry)))
			run(t, work, "update-ref", "refs/pull/"+name, head)
			// What a server refuses may be in its store all the same.
			run(t, bare, "fetch", "-q", work, "refs/pull/"+name+":refs/pull/"+name)
			bring(t, q, "refs/pull/"+name, head)
			look := func(tree *reconciler.Tree, err error) {
				t.Helper()
				if c.path == "" {
					refused(t, err, c.says)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				f, ok := tree.Find(c.path)
				if !ok {
					t.Fatalf("no %s", c.path)
				}
				_, err = tree.Read(f)
				refused(t, err, c.says)
			}
			look(q.Tree(background, head))
			_, tree, err := q.Merge(background, base, head)
			look(tree, err)
		})
	}
}

func TestPackIsBoundedWhileReceived(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		noise := make([]byte, 3<<20)
		rand.NewChaCha8([32]byte{}).Read(noise)
		options.Cache = filepath.Join(t.TempDir(), "mirror")
		fetch(t, open(t, options))
		run(t, work, "switch", "-q", "-c", "change")
		head := commit(t, work, map[string]string{"noise.bin": string(noise)}, "noise")
		run(t, work, "push", "-q", "origin", head+":refs/pull/7/head")
		q := quarantine(t, QuarantineOptions{URL: options.URL, Token: options.Token, Mirror: options.Cache, MaxPack: 1 << 20})
		refused(t, q.Bring(background, "refs/pull/7/head", head), "it brings more than 1048576 bytes")
		packs, _ := filepath.Glob(filepath.Join(q.options.Dir, "pack-*"))
		equal(t, "files left", len(packs), 0)
		q.options.MaxPack = 4 << 20
		bring(t, q, "refs/pull/7/head", head)
	})
}

// packed makes a pack by hand: one that no git would make.
func packed(objects ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	binary.Write(&b, binary.BigEndian, []uint32{2, uint32(len(objects))})
	for _, o := range objects {
		b.Write(o)
	}
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

// packEntry is an object of a pack; it says that it has so many bytes. A delta is
// one of the object so many bytes before.
func packEntry(kind byte, says int, base int, content []byte) []byte {
	var b bytes.Buffer
	first := kind<<4 | byte(says&15)
	for says >>= 4; says > 0; says >>= 7 {
		b.WriteByte(first | 0x80)
		first = byte(says & 127)
	}
	b.WriteByte(first)
	if kind == 6 {
		offset := []byte{byte(base & 127)}
		for base >>= 7; base > 0; base >>= 7 {
			base--
			offset = append([]byte{byte(base&127) | 0x80}, offset...)
		}
		b.Write(offset)
	}
	z := zlib.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

func TestInspectPack(t *testing.T) {
	const most = 64 << 20
	plain := []byte("package platform\n")
	entry := packEntry(3, len(plain), 0, plain)
	zeros := make([]byte, 1<<20)
	large := packEntry(3, len(zeros), 0, zeros)
	// grown is a delta that makes an object of the size out of copies of its base.
	grown := func(size uint64) []byte {
		delta := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(zeros))), size)
		for range (size + 1<<20 - 1) >> 20 {
			delta = append(delta, 0x80|0x40, 0x10) // copy 1 MiB from the start
		}
		return packEntry(6, len(delta), len(large), delta)
	}
	endless := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(zeros))), 1<<63+5)
	var many [][]byte
	for range 100 {
		many = append(many, large)
	}
	count := packed(entry)
	binary.BigEndian.PutUint32(count[8:], 1<<31)
	for name, c := range map[string]struct {
		pack []byte
		says string
	}{
		"plain":             {packed(entry, entry), ""},
		"large":             {packed(packEntry(3, maxObject+1, 0, nil)), "it brings an object of 16777217 bytes, more than the limit of 16777216"},
		"huge":              {packed(packEntry(3, 1500_000_000, 0, nil)), "an object of 1500000000 bytes"},
		"too many":          {count, "more than 200000 objects"},
		"too much":          {packed(many...), "its objects are too large together"},
		"delta":             {packed(large, grown(2<<20)), ""},
		"large delta":       {packed(large, grown(1500_000_000)), "an object of 1500000000 bytes"},
		"endless delta":     {packed(large, packEntry(6, len(endless), len(large), endless)), "an object of 9223372036854775807 bytes"},
		"delta without end": {packed(large, packEntry(6, 3, len(large), []byte{0x80, 0x80, 0x80})), "read delta: "},
		"more than it says": {packed(packEntry(3, 5, 0, zeros)), "exceeds declared size"},
		"cut short":         {packed(entry)[:20], "EOF"},
		"no pack":           {[]byte("hello"), "signature"},
	} {
		err := inspect(background, bytes.NewReader(c.pack), most)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", name, err, c.says)
		}
	}
}

// childMode is the environment variable that makes the test binary the limited
// process which reads a pull request.
const childMode = "PAVE_TEST_QUARANTINE"

// child brings a pull request and reads it with 512 MB of memory.
func child(mode string) int {
	limit := syscall.Rlimit{Cur: 512 << 20, Max: 512 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &limit); err != nil {
		fmt.Println("limit:", err)
		return 2
	}
	head := os.Args[4]
	q, err := OpenQuarantine(background, QuarantineOptions{URL: os.Args[1], Token: token, Mirror: os.Args[2], Dir: os.Args[3], Tracked: "main"})
	if err != nil {
		fmt.Println("open:", err)
		return 2
	}
	if mode == "trusting" { // as a mirror fetches
		err = trust(q, plumbing.NewHash(head))
	} else {
		err = q.Bring(background, "refs/pull/7/head", head)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	tree, err := q.Tree(background, head)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(len(tree.Files), "files")
	for _, f := range tree.Files {
		if _, err := tree.Read(f); err != nil {
			fmt.Println(err)
		}
	}
	return 0
}

func trust(q *Quarantine, head plumbing.Hash) error {
	session, refs, err := q.address.uploadPack(background)
	if err != nil {
		return err
	}
	defer session.Close()
	return download(background, session, refs, []plumbing.Hash{head}, nil, sink{&q.objects})
}

// A pack of 1.5 MB that holds 1.5 GB.
func TestHostilePack(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a blob of 1.5 GB: make test")
	}
	bare, work := bareRemote(t)
	url, _ := serveHTTP(t, filepath.Dir(bare))
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	fetch(t, m)
	m.Close()
	main := run(t, work, "rev-parse", "main")

	reads := func(t *testing.T, mode, head string) (out string, code int, took time.Duration) {
		t.Helper()
		run(t, bare, "update-ref", "refs/pull/7/head", head)
		before := snapshot(t, cache)
		ctx, cancel := context.WithTimeout(background, 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], url+"/platform.git", cache, filepath.Join(t.TempDir(), "quarantine"), head)
		cmd.Env = append(os.Environ(), childMode+"="+mode)
		began := time.Now()
		said, err := cmd.CombinedOutput()
		took = time.Since(began)
		if ctx.Err() != nil {
			t.Fatalf("it hangs: %s", said)
		}
		equal(t, "mirror", snapshot(t, cache), before)
		if exit, failed := errors.AsType[*exec.ExitError](err); failed {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: exit %d after %s: %.120q", mode, code, took.Round(10*time.Millisecond), said)
		return string(said), code, took
	}
	commitOf := func(listing string) string {
		return run(t, bare, "commit-tree", "-m", "bomb", "-p", main, mktree(t, bare, listing))
	}

	hash := exec.Command("git", "-C", bare, "hash-object", "-w", "--stdin")
	hash.Stdin = io.LimitReader(zeros{}, 1_500_000_000)
	blob, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	// Packed, it is sent as it is: what takes time then is the reading.
	pack := exec.Command("git", "-C", bare, "pack-objects", "-q", "objects/pack/pack")
	pack.Stdin = bytes.NewReader(blob)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("git pack-objects: %v\n%s", err, out)
	}
	bomb := commitOf("100644 blob " + strings.TrimSpace(string(blob)) + "\tbomb.cue\n")
	out, code, took := reads(t, "bring", bomb)
	equal(t, "exit", code, 1)
	if took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if want := "it brings an object of 1500000000 bytes, more than the limit of 16777216; leave large files out of the repository"; !strings.Contains(out, want) {
		t.Errorf("it does not say %q: %s", want, out)
	}
	// The bomb is one: whoever takes it in without a look dies of it. How is
	// the runtime's affair: where no page is left it may say that memory is
	// out, or touch what it did not get, or be killed.
	const crashed, killed = 2, -1
	if out, code, _ = reads(t, "trusting", bomb); code != crashed && code != killed {
		t.Errorf("exit %d: %.300s", code, out)
	}

	// As much as is taken in, in objects as large as can be.
	var listing strings.Builder
	for i := range 15 {
		hash := exec.Command("git", "-C", bare, "hash-object", "-w", "--stdin")
		hash.Stdin = io.MultiReader(strings.NewReader(fmt.Sprintf("%03d", i)), io.LimitReader(zeros{}, maxObject-3))
		blob, err := hash.Output()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&listing, "100644 blob %s\tlarge-%d\n", strings.TrimSpace(string(blob)), i)
	}
	out, code, _ = reads(t, "bring", commitOf(listing.String()))
	equal(t, "exit", code, 0)
	if n := strings.Count(out, "more than the limit of 1048576"); n != 15 {
		t.Errorf("%d files were refused: %s", n, out)
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
