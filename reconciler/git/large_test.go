package git

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

const (
	manyFolders = 200
	manyFiles   = 50 // of a folder
)

// largeRepository makes a repository with 10,000 files in 200 folders on main,
// and a status branch with six files for each of them. It returns a mirror of it,
// a checkout's `.git` to commit with, and the tips.
func largeRepository(b *testing.B) (m *Mirror, remote string, heads reconciler.Heads) {
	b.Helper()
	remote = filepath.Join(b.TempDir(), "platform.git")
	run(b, filepath.Dir(remote), "init", "-q", "--bare", "-b", "main", remote)
	var in strings.Builder
	header := func(branch string, mark int) {
		fmt.Fprintf(&in, "commit refs/heads/%s\nmark :%d\ncommitter Ada <ada@acme.example> 1767323045 +0000\ndata 5\nstart\n", branch, mark)
	}
	file := func(path, content string) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(content), content)
	}
	header("main", 1)
	for i := range manyFolders * manyFiles {
		file(catalogFile(i), fmt.Sprintf("package team\n\nservice: %q: tier: 1\n", fmt.Sprint(i)))
	}
	file("platform.cue", "package platform\n")
	header("pave/status", 2)
	for i := range manyFolders * manyFiles {
		file(statusFile(i), fmt.Sprintf("{\"request\": %d}\n", i))
		for _, name := range []string{"module/main.tf", "module/variables.tf", "generated.tf.json", "variables.json", ".terraform.lock.hcl"} {
			file(appliedFile(i)+"/"+name, name)
		}
	}
	cmd := exec.Command("git", "fast-import", "--quiet", "--done")
	cmd.Dir, cmd.Stdin = remote, strings.NewReader(in.String()+"done\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("git fast-import: %v\n%s", err, out)
	}
	m = open(b, Options{URL: remote})
	return m, remote, fetch(b, m)
}

func catalogFile(i int) string {
	return fmt.Sprintf("catalog/team-%03d/service-%d.cue", i%manyFolders, i)
}

func statusFile(i int) string { return fmt.Sprintf("requests/%02x/unit-%d.json", i%256, i) }

func appliedFile(i int) string { return fmt.Sprintf("applied/%02x/unit-%d", i%256, i) }

// next commits one change of one file to a branch of the repository.
func next(b *testing.B, remote, branch, path string, n int) string {
	b.Helper()
	content := fmt.Sprintf("package team\n\n// change %d\n", n)
	in := fmt.Sprintf("commit refs/heads/%s\ncommitter Ada <ada@acme.example> 1767323045 +0000\ndata 4\nnext\nfrom refs/heads/%s^0\nM 100644 inline %s\ndata %d\n%s\ndone\n",
		branch, branch, path, len(content), content)
	cmd := exec.Command("git", "fast-import", "--quiet", "--done")
	cmd.Dir, cmd.Stdin, cmd.Stderr = remote, strings.NewReader(in), os.Stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return run(b, remote, "rev-parse", branch)
}

// BenchmarkTree lists a tree of 10,000 files of which one is new.
func BenchmarkTree(b *testing.B) {
	m, remote, heads := largeRepository(b)
	if _, err := m.Tree(background, heads.Tracked); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		tip := next(b, remote, "main", catalogFile(n*37%10000), n)
		fetch(b, m)
		b.StartTimer()
		if _, err := m.Tree(background, tip); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPart reads what a unit was applied from, on a status branch of 60,000
// files with a new commit.
func BenchmarkPart(b *testing.B) {
	m, remote, _ := largeRepository(b)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		tip := next(b, remote, "pave/status", statusFile(n*37%10000), n)
		fetch(b, m)
		b.StartTimer()
		tree, err := m.Part(background, tip, appliedFile(n*41%10000))
		if err != nil || len(tree.Files) != 5 {
			b.Fatalf("%d files, %v", len(tree.Files), err)
		}
		for _, f := range tree.Files {
			if _, err := tree.Read(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkDraft makes a status commit of ten changes on a branch of 60,000 files,
// without pushing it.
func BenchmarkDraft(b *testing.B) {
	m, _, heads := largeRepository(b)
	n := 0
	for b.Loop() {
		n++
		var edits []reconciler.Edit
		for i := range 10 {
			edits = append(edits, put(statusFile((n+i*41)%10000), fmt.Sprint(n)),
				reconciler.Edit{Path: appliedFile((n+i*41)%10000) + "/module", TreeAt: heads.Tracked + ":catalog/team-001"})
		}
		d, err := m.draft(background, heads.Status, []string{heads.Status}, edits, "record\n\nPave-Record: v1\n")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.pack(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish publishes a commit and fetches what others committed, and tells
// what the mirror has come to.
func BenchmarkPublish(b *testing.B) {
	m, remote, heads := largeRepository(b)
	status := heads.Status
	n := 0
	for b.Loop() {
		n++
		status = publish(b, m, status, []string{status}, put(statusFile(n%10000), fmt.Sprint(n)), put("README.md", fmt.Sprint(n)))
		b.StopTimer()
		next(b, remote, "main", catalogFile(n*37%10000), n)
		b.StartTimer()
		fetch(b, m)
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	packs, err := packFiles(m.dir())
	if err != nil {
		b.Fatal(err)
	}
	disk := int64(0)
	for _, p := range packs {
		disk += p.size
	}
	b.ReportMetric(float64(len(packs)), "packs")
	b.ReportMetric(float64(openFiles(b, m.options.Cache)), "open-files")
	b.ReportMetric(float64(stats.HeapAlloc)/1e6, "heap-MB")
	b.ReportMetric(float64(disk)/1e6, "disk-MB")
}

// BenchmarkFetch asks for news where there are none.
func BenchmarkFetch(b *testing.B) {
	m, _, _ := largeRepository(b)
	for b.Loop() {
		fetch(b, m)
	}
}

// BenchmarkLine reads what a pass asks of a commit.
func BenchmarkLine(b *testing.B) {
	m, remote, heads := largeRepository(b)
	tip := ""
	for i := range 20 {
		tip = next(b, remote, "main", catalogFile(i), i)
	}
	fetch(b, m)
	for b.Loop() {
		if _, err := m.Revision(background, tip); err != nil {
			b.Fatal(err)
		}
		if _, _, err := m.Line(background, tip, heads.Tracked, 100); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoin copies the pack of the repository.
func BenchmarkJoin(b *testing.B) {
	m, _, _ := largeRepository(b)
	packs, err := packFiles(m.dir())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(packs[0].size)
	for b.Loop() {
		if _, err := join(m.dir(), packs); err != nil {
			b.Fatal(err)
		}
	}
}
