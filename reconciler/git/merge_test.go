package git

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// quarantine opens one for a repository on this disk, whose mirror is fetched.
func quarantine(t testing.TB, options QuarantineOptions) *Quarantine {
	t.Helper()
	if options.Mirror == "" {
		options.Mirror = filepath.Join(t.TempDir(), "mirror")
		fetch(t, open(t, Options{URL: options.URL, Token: options.Token, Cache: options.Mirror}))
	}
	if options.Dir == "" {
		options.Dir = filepath.Join(t.TempDir(), "quarantine")
	}
	if options.Tracked == "" {
		options.Tracked, options.Status = "main", "pave/status"
	}
	q, err := OpenQuarantine(background, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func bring(t testing.TB, q *Quarantine, ref, head string) {
	t.Helper()
	if err := q.Bring(background, ref, head); err != nil {
		t.Fatal(err)
	}
}

// thing is what a path of a generated tree holds.
type thing struct{ mode, content string }

// history writes generated commits by fast-import.
type history struct {
	stream strings.Builder
	marks  int
}

func (h *history) commit(tree map[string]thing, parents ...int) int {
	h.marks++
	fmt.Fprintf(&h.stream, "commit refs/heads/case-%d\nmark :%d\ncommitter Ada <ada@acme.example> %d +0000\ndata 1\nx\n", h.marks, h.marks, 1767323045+h.marks)
	for i, parent := range parents {
		fmt.Fprintf(&h.stream, "%s :%d\n", []string{"from", "merge"}[min(i, 1)], parent)
	}
	h.stream.WriteString("deleteall\n")
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		if tree[path].mode == "160000" {
			fmt.Fprintf(&h.stream, "M 160000 %s %s\n", tree[path].content, path)
			continue
		}
		fmt.Fprintf(&h.stream, "M %s inline %s\ndata %d\n%s\n", tree[path].mode, path, len(tree[path].content), tree[path].content)
	}
	return h.marks
}

// write returns a bare repository with the commits, and their hashes by mark.
// main is the first of them; all leads to every one.
func (h *history) write(t *testing.T) (bare string, commits []string) {
	t.Helper()
	bare = filepath.Join(t.TempDir(), "platform.git")
	run(t, t.TempDir(), "init", "-q", "--bare", "-b", "main", bare)
	h.stream.WriteString("reset refs/heads/main\nfrom :1\n")
	last := h.marks
	fmt.Fprintf(&h.stream, "commit refs/heads/all\nmark :%d\ncommitter Ada <ada@acme.example> 1867323045 +0000\ndata 1\nx\nfrom :1\n", last+1)
	for mark := 2; mark <= last; mark++ {
		fmt.Fprintf(&h.stream, "merge :%d\n", mark)
	}
	marks := filepath.Join(t.TempDir(), "marks")
	cmd := exec.Command("git", "fast-import", "--quiet", "--export-marks="+marks)
	cmd.Dir, cmd.Stdin = bare, strings.NewReader(h.stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	commits = strings.Fields(run(t, bare, append([]string{"rev-parse"}, branches(last)...)...))
	return bare, append([]string{""}, commits...)
}

func branches(last int) []string {
	var names []string
	for mark := 1; mark <= last; mark++ {
		names = append(names, fmt.Sprintf("refs/heads/case-%d", mark))
	}
	return names
}

// gitMerge returns the tree that git makes and the paths that it calls conflicts.
func gitMerge(t *testing.T, dir, ours, theirs string) (tree string, conflicts []string) {
	t.Helper()
	out, err := tryGit(dir, "merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs)
	lines := strings.Split(out, "\n")
	if exit, failed := errors.AsType[*exec.ExitError](err); err != nil && (!failed || exit.ExitCode() != 1) {
		t.Fatalf("git merge-tree: %v\n%s", err, out)
	}
	if (err == nil) != (len(lines) == 1) {
		t.Fatalf("git merge-tree says %v and %q", err, lines)
	}
	return lines[0], lines[1:]
}

// generator makes texts and changes of them that often meet.
type generator struct{ *rand.Rand }

var sampleLines = []string{"", "", "}", "}", "\t}", "a: 1", "b: 2", "c: 3", "size: \"large\"", "size: \"small\"", "request: {"}

func (g generator) line() string {
	if g.IntN(3) == 0 {
		return fmt.Sprintf("n%d: %d", g.IntN(40), g.IntN(4))
	}
	return sampleLines[g.IntN(len(sampleLines))]
}

func (g generator) text(lines int) string {
	var b strings.Builder
	for range lines {
		b.WriteString(g.line() + "\n")
	}
	return b.String()
}

// edit changes a text in a few places.
func (g generator) edit(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 1 + g.IntN(3) {
		at, end := g.IntN(len(lines)), 0
		end = min(len(lines), at+g.IntN(3))
		var put []string
		for range g.IntN(4) {
			if g.IntN(3) == 0 { // a copy, as people make them
				put = append(put, lines[g.IntN(len(lines))])
			} else {
				put = append(put, g.line()+"\n")
			}
		}
		lines = slices.Concat(lines[:at], put, lines[end:])
		if len(lines) == 0 {
			lines = []string{""}
		}
	}
	text = strings.Join(lines, "")
	if g.IntN(12) == 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

// Lines merge as Git merges them: the same paths conflict, and what does not
// comes out the same.
func TestMergeLinesAsGitDoes(t *testing.T) {
	t.Parallel()
	cases, files := 12, 150
	if testing.Short() {
		cases = 2
	}
	g := generator{rand.New(rand.NewPCG(3, 7))}
	h := &history{}
	root := h.commit(map[string]thing{"platform.cue": {"100644", "package platform\n"}})
	type texts [3]string
	var all []map[string]texts
	for range cases {
		made := map[string]texts{}
		trees := [3]map[string]thing{{}, {}, {}}
		for i := range files {
			base := g.text(g.IntN(40))
			made[fmt.Sprint("f", i)] = texts{base, g.edit(base), g.edit(base)}
			for side, content := range made[fmt.Sprint("f", i)] {
				trees[side][fmt.Sprint("f", i)] = thing{"100644", content}
			}
		}
		base := h.commit(trees[0], root)
		h.commit(trees[1], base)
		h.commit(trees[2], base)
		all = append(all, made)
	}
	bare, commits := h.write(t)
	clean, conflicting := 0, 0
	for i, made := range all {
		ours, theirs := commits[3*i+3], commits[3*i+4]
		tree, conflicts := gitMerge(t, bare, ours, theirs)
		for name, c := range made {
			merged, ok, err := mergeLines(background, []byte(c[0]), []byte(c[1]), []byte(c[2]))
			if err != nil {
				t.Fatal(err)
			}
			if ok == slices.Contains(conflicts, name) {
				t.Errorf("clean: %v\nbase:\n%s\nours:\n%s\ntheirs:\n%s", ok, c[0], c[1], c[2])
				continue
			}
			if !ok {
				conflicting++
				continue
			}
			clean++
			want, err := exec.Command("git", "-C", bare, "cat-file", "blob", tree+":"+name).Output()
			if err != nil {
				t.Fatal(err)
			}
			if string(merged) != string(want) {
				t.Errorf("base:\n%s\nours:\n%s\ntheirs:\n%s\ngot:\n%s\nwant:\n%s", c[0], c[1], c[2], merged, want)
			}
		}
	}
	t.Logf("%d clean, %d conflicts", clean, conflicting)
	if few := cases * files / 6; clean < few || conflicting < few {
		t.Errorf("the cases are one-sided: %d clean, %d conflicts", clean, conflicting)
	}
}

// change makes a tree of another one.
func (g generator) change(tree map[string]thing, ops []string) map[string]thing {
	tree = maps.Clone(tree)
	for range 1 + g.IntN(3) {
		paths := slices.Sorted(maps.Keys(tree))
		if len(paths) == 0 {
			break
		}
		path := paths[g.IntN(len(paths))]
		switch old := tree[path]; ops[g.IntN(len(ops))] {
		case "edit":
			if old.mode[:3] == "100" {
				tree[path] = thing{old.mode, g.edit(old.content)}
			}
		case "add":
			g.place(tree, g.path(), thing{"100644", g.text(g.IntN(3))})
		case "delete":
			delete(tree, path)
		case "mode":
			tree[path] = thing{"100755", old.content}
			if old.mode == "100755" {
				tree[path] = thing{"100644", old.content}
			} else if old.mode != "100644" {
				tree[path] = old
			}
		case "link":
			tree[path] = thing{"120000", fmt.Sprint("target-", g.IntN(2))}
		case "module":
			tree[path] = thing{"160000", strings.Repeat(fmt.Sprint(1+g.IntN(2)), 40)}
		case "binary":
			tree[path] = thing{"100644", fmt.Sprint("\x00", g.IntN(3))}
		case "folder":
			delete(tree, path)
			g.place(tree, path+"/inner", thing{"100644", g.text(2)})
		case "file":
			if i := strings.Index(path, "/"); i > 0 {
				g.place(tree, path[:i], thing{"100644", g.text(2)})
			}
		case "rename":
			delete(tree, path)
			g.place(tree, fmt.Sprint("moved-", g.IntN(100)), old)
		}
	}
	return tree
}

func (g generator) path() string {
	return []string{"", "d/", "e/", "d/e/"}[g.IntN(4)] + string(rune('a'+g.IntN(6)))
}

// place puts a thing at a path in the place of what is in its way.
func (g generator) place(tree map[string]thing, path string, what thing) {
	maps.DeleteFunc(tree, func(have string, _ thing) bool {
		return strings.HasPrefix(have, path+"/") || strings.HasPrefix(path, have+"/")
	})
	tree[path] = what
}

func (g generator) tree() map[string]thing {
	tree := map[string]thing{}
	for range 4 + g.IntN(8) {
		g.place(tree, g.path(), thing{"100644", g.text(6 + g.IntN(12))})
	}
	return tree
}

// outcome is what merging gives: a listing of the tree, or the conflicts.
func outcome(t *testing.T, q *Quarantine, base, head string) (listing string, conflicts []string) {
	t.Helper()
	_, tree, err := q.Merge(background, base, head)
	if c, is := errors.AsType[*ConflictError](err); is {
		return "", c.Paths
	}
	if err != nil {
		t.Fatal(err)
	}
	return lsTree(tree), nil
}

func lsTree(tree *reconciler.Tree) string {
	kinds := map[reconciler.Mode]string{reconciler.Regular: "100644 blob", reconciler.Executable: "100755 blob",
		reconciler.Symlink: "120000 blob", reconciler.Submodule: "160000 commit"}
	var lines []string
	for _, f := range tree.Files {
		lines = append(lines, fmt.Sprintf("%s %s\t%s", kinds[f.Mode], f.Hash, f.Path))
	}
	return strings.Join(lines, "\n")
}

// renames returns the paths that Git takes for renamed, old and new, between a
// commit and each of the others.
func renames(t *testing.T, dir, from string, to ...string) map[string]bool {
	t.Helper()
	paths := map[string]bool{}
	for _, commit := range to {
		for line := range strings.Lines(run(t, dir, "diff", "-M", "--diff-filter=R", "--name-status", from, commit)) {
			for _, path := range strings.Fields(line)[1:] {
				paths[path] = true
			}
		}
	}
	return paths
}

// Trees merge as Git merges them. Only where Git sees a rename the two differ
// about what conflicts, never about what comes out.
func TestMergeAsGitDoes(t *testing.T) {
	t.Parallel()
	cases := 400
	if testing.Short() {
		cases = 40
	}
	g := generator{rand.New(rand.NewPCG(11, 13))}
	kinds := map[string][]string{
		"edits":   {"edit", "edit", "edit", "add", "delete", "mode"},
		"shapes":  {"edit", "add", "delete", "mode", "link", "module", "binary", "folder", "file"},
		"renames": {"edit", "rename"},
	}
	h := &history{}
	root := h.commit(map[string]thing{"platform.cue": {"100644", "package platform\n"}})
	var names []string
	for i := range cases {
		name := []string{"edits", "edits", "shapes", "shapes", "renames"}[i%5]
		names = append(names, name)
		tree := g.tree()
		base := h.commit(tree, root)
		h.commit(g.change(tree, kinds[name]), base)
		h.commit(g.change(tree, kinds[name]), base)
	}
	bare, commits := h.write(t)
	q := quarantine(t, QuarantineOptions{URL: bare})
	bring(t, q, "refs/heads/all", run(t, bare, "rev-parse", "all"))

	var clean, conflicting, cautious, bold int
	for i, name := range names {
		base, ours, theirs := commits[3*i+2], commits[3*i+3], commits[3*i+4]
		at := fmt.Sprintf("case %d, %s: merge %s into %s", i, name, theirs, ours)
		listing, conflicts := outcome(t, q, ours, theirs)
		want, theirConflicts := gitMerge(t, bare, ours, theirs)
		if len(conflicts)+len(theirConflicts) == 0 {
			clean++
			equal(t, at, listing, run(t, bare, "ls-tree", "-r", want))
			continue
		}
		conflicting++
		renamed := renames(t, bare, base, ours, theirs)
		excused := func(paths []string) bool {
			return !slices.ContainsFunc(paths, func(path string) bool { return !renamed[path] })
		}
		switch {
		case len(theirConflicts) == 0:
			cautious++
			if !excused(conflicts) {
				t.Errorf("%s: %q conflict; git merges them, and saw renames only of %v", at, conflicts, renamed)
			}
		case len(conflicts) == 0:
			bold++
			if !excused(theirConflicts) {
				t.Errorf("%s: no conflict; git says %q, and saw renames only of %v", at, theirConflicts, renamed)
			}
		case len(renamed) == 0 && !strings.Contains(strings.Join(theirConflicts, " "), "~"): // what git calls a file beside a folder
			equal(t, at, conflicts, theirConflicts)
		}
	}
	t.Logf("%d clean, %d conflicts, of which for a rename %d only here and %d only for Git", clean, conflicting, cautious, bold)
	if clean < cases/4 || conflicting < cases/4 {
		t.Errorf("the cases are one-sided: %d clean, %d conflicts", clean, conflicting)
	}
	if cautious == 0 && !testing.Short() || cautious > cases/10 || bold > cases/10 {
		t.Errorf("of %d cases %d conflict only here and %d only for Git", cases, cautious, bold)
	}
}

func TestMergeBases(t *testing.T) {
	t.Parallel()
	g := rand.New(rand.NewPCG(5, 9))
	h := &history{}
	const cases, size = 20, 25
	for c := range cases {
		for i := range size {
			var parents []int
			for range min(i, 1+g.IntN(3)) {
				if p := c*size + 1 + g.IntN(i); !slices.Contains(parents, p) {
					parents = append(parents, p)
				}
			}
			if i > 0 && len(parents) == 0 {
				parents = []int{c*size + 1}
			}
			h.commit(map[string]thing{"a": {"100644", fmt.Sprint(c, i)}}, parents...)
		}
	}
	// Clocks go wrong, and by a lot.
	stream := strings.Split(h.stream.String(), "\n")
	for i, line := range stream {
		if strings.HasPrefix(line, "committer ") && g.IntN(3) == 0 {
			stream[i] = fmt.Sprintf("committer Ada <ada@acme.example> %d +0000", 1767323045+g.IntN(1000)-500)
		}
	}
	h.stream.Reset()
	h.stream.WriteString(strings.Join(stream, "\n"))
	bare, commits := h.write(t)
	m := open(t, Options{URL: bare, Tracked: "all"})
	fetch(t, m)
	several := 0
	for range 300 {
		c := g.IntN(cases) * size
		one, other := commits[c+1+g.IntN(size)], commits[c+1+g.IntN(size)]
		var found []string
		err := m.do(background, func(s store) error {
			one, _ := parseHash(one)
			other, _ := parseHash(other)
			bases, err := mergeBases(background, s, []plumbing.Hash{one}, other)
			found = nil
			for _, b := range bases {
				found = append(found, b.String())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(run(t, bare, "merge-base", "--all", one, other))
		slices.Sort(want)
		slices.Sort(found)
		equal(t, "merge bases of "+one+" "+other, found, want)
		if len(want) > 1 {
			several++
		}
	}
	if several < 20 {
		t.Errorf("only %d pairs have several merge bases", several)
	}
}

// Branches that were merged into each other.
func TestMergeAcrossCrossings(t *testing.T) {
	t.Parallel()
	g := generator{rand.New(rand.NewPCG(17, 19))}
	h := &history{}
	root := h.commit(map[string]thing{"platform.cue": {"100644", "package platform\n"}})
	const cases = 60
	type pair struct{ ours, theirs int }
	var pairs []pair
	for range cases {
		tree := map[string]thing{}
		for i := range 4 {
			tree[fmt.Sprint("f", i)] = thing{"100644", g.text(12)}
		}
		edit := func(path string, tree map[string]thing) map[string]thing {
			tree = maps.Clone(tree)
			tree[path] = thing{"100644", g.edit(tree[path].content)}
			return tree
		}
		base := h.commit(tree, root)
		left, right := edit("f0", tree), edit("f1", tree)
		if g.IntN(2) == 0 { // what both change was decided by whoever merged
			left, right = edit("f2", left), edit("f2", right)
		}
		l, r := h.commit(left, base), h.commit(right, base)
		both := maps.Clone(left)
		both["f1"] = right["f1"]
		ours := h.commit(both, l, r)
		theirs := h.commit(both, r, l)
		pairs = append(pairs, pair{
			h.commit(edit("f3", both), ours),
			h.commit(edit(fmt.Sprint("f", g.IntN(4)), both), theirs),
		})
	}
	bare, commits := h.write(t)
	q := quarantine(t, QuarantineOptions{URL: bare})
	bring(t, q, "refs/heads/all", run(t, bare, "rev-parse", "all"))
	var clean, cautious int
	for _, p := range pairs {
		ours, theirs := commits[p.ours], commits[p.theirs]
		listing, conflicts := outcome(t, q, ours, theirs)
		want, theirConflicts := gitMerge(t, bare, ours, theirs)
		switch {
		case len(conflicts) == 0 && len(theirConflicts) == 0:
			clean++
			equal(t, "tree of "+ours+" "+theirs, listing, run(t, bare, "ls-tree", "-r", want))
		case len(conflicts) == 0:
			t.Errorf("%s %s: no conflict; git says %q", ours, theirs, theirConflicts)
		case len(theirConflicts) == 0:
			cautious++
		}
	}
	t.Logf("%d clean, %d conflicts that Git merges", clean, cautious)
	if clean < cases/3 || cautious > cases/5 {
		t.Errorf("of %d cases %d are clean and %d conflict for us alone", cases, clean, cautious)
	}
}

func TestMergeOfALine(t *testing.T) {
	bare, work := bareRemote(t)
	first := run(t, work, "rev-parse", "HEAD")
	second := commit(t, work, map[string]string{"a.cue": "package platform\n"}, "second\n\nbody")
	run(t, work, "push", "-q", "origin", "main")
	run(t, work, "switch", "-q", "-c", "side", first)
	t.Setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:06Z")
	side := commit(t, work, map[string]string{"b.cue": "package platform\n"}, "beside")
	run(t, work, "switch", "-q", "--orphan", "other")
	other := commit(t, work, nil, "from nowhere")
	run(t, work, "push", "-q", "origin", "side", "other")
	q := quarantine(t, QuarantineOptions{URL: bare})
	bring(t, q, "refs/heads/side", side)
	bring(t, q, "refs/heads/other", other)

	early, late := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	for _, c := range []struct {
		name, base, head, paths string
		revision                reconciler.Revision
	}{
		{"head follows base", first, second, "a.cue blueprints/db/main.tf platform.cue", reconciler.Revision{Commit: second, Time: early, Author: "Ada", Subject: "second"}},
		{"base follows head", second, first, "a.cue blueprints/db/main.tf platform.cue", reconciler.Revision{Commit: first, Time: early, Author: "Ada", Subject: "start the platform"}},
		{"the same", second, second, "a.cue blueprints/db/main.tf platform.cue", reconciler.Revision{Commit: second, Time: early, Author: "Ada", Subject: "second"}},
		{"later head", second, side, "a.cue b.cue blueprints/db/main.tf platform.cue", reconciler.Revision{Commit: side, Time: late, Author: "Ada", Subject: "beside"}},
		{"later base", side, second, "a.cue b.cue blueprints/db/main.tf platform.cue", reconciler.Revision{Commit: second, Time: late, Author: "Ada", Subject: "second"}},
	} {
		revision, tree, err := q.Merge(background, c.base, c.head)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var paths []string
		for _, f := range tree.Files {
			paths = append(paths, f.Path)
		}
		equal(t, c.name, strings.Join(paths, " "), c.paths)
		equal(t, c.name, revision, c.revision)
		equal(t, c.name, read(t, tree, "platform.cue"), "package platform\n")
	}
	_, _, err := q.Merge(background, second, other)
	refused(t, err, "share no history", "git rebase")
	_, _, err = q.Merge(background, second, strings.Repeat("1", 40))
	if !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("got %v", err)
	}
}

func TestMergedContentIsRead(t *testing.T) {
	bare, work := bareRemote(t)
	commit(t, work, map[string]string{"a.cue": "1\n2\n3\n4\n5\n", "z.cue": "z\n"}, "base")
	run(t, work, "switch", "-q", "-c", "side")
	side := commit(t, work, map[string]string{"a.cue": "one\n2\n3\n4\n5\n"}, "first line")
	run(t, work, "switch", "-q", "main")
	main := commit(t, work, map[string]string{"a.cue": "1\n2\n3\n4\nfive\n"}, "last line")
	run(t, work, "switch", "-q", "-c", "clash", "main~")
	clash := commit(t, work, map[string]string{"a.cue": "1\n2\n3\n4\nFIVE\n", "z.cue": "y\n"}, "last line, too")
	run(t, work, "push", "-q", "origin", "main", "side", "clash")
	q := quarantine(t, QuarantineOptions{URL: bare})
	bring(t, q, "refs/heads/side", side)
	bring(t, q, "refs/heads/clash", clash)
	_, tree, err := q.Merge(background, main, side)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "merged", read(t, tree, "a.cue"), "one\n2\n3\n4\nfive\n")
	_, _, err = q.Merge(background, main, clash)
	refused(t, err, "merge "+clash[:8]+" into "+main[:8]+": both sides changed a.cue; ", "git merge")
	if c, is := errors.AsType[*ConflictError](err); !is || !slices.Equal(c.Paths, []string{"a.cue"}) {
		t.Errorf("got %#v", c)
	}
}

// A merge is honest where Git made it, and by nobody's hand.
func TestHonest(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat("line\n", 20)
	for name, test := range map[string]struct {
		main, side string             // what the two make of a.cue, of which each changes a part
		merge      func(string) error // what somebody does before the merge is committed
		want       bool
	}{
		"as Git makes it":    {"main\n" + lines, lines + "side\n", func(string) error { return nil }, true},
		"with an extra file": {"main\n" + lines, lines + "side\n", func(dir string) error { return os.WriteFile(filepath.Join(dir, "extra.cue"), nil, 0o644) }, false},
		"with a file altered": {"main\n" + lines, lines + "side\n", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "platform.cue"), []byte("package other\n"), 0o644)
		}, false},
		"with a merged file altered": {"main\n" + lines, lines + "side\n", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a.cue"), []byte("main\n"+lines+"side\nmore\n"), 0o644)
		}, false},
		"with a file left out": {"main\n" + lines, lines + "side\n", func(dir string) error { return os.Remove(filepath.Join(dir, "platform.cue")) }, false},
		"a conflict resolved by hand": {"main\n" + lines, "side\n" + lines, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a.cue"), []byte("main\n"+lines), 0o644)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bare, work := bareRemote(t)
			commit(t, work, map[string]string{"a.cue": lines}, "base")
			run(t, work, "checkout", "-q", "-b", "side")
			commit(t, work, map[string]string{"a.cue": test.side}, "side")
			run(t, work, "checkout", "-q", "main")
			commit(t, work, map[string]string{"a.cue": test.main}, "main")
			if out, err := tryGit(work, "merge", "--no-ff", "--no-commit", "side"); err != nil && !strings.Contains(out, "CONFLICT") {
				t.Fatalf("git merge: %v\n%s", err, out)
			}
			if err := test.merge(work); err != nil {
				t.Fatal(err)
			}
			expectHonest(t, bare, work, commit(t, work, nil, "merge"), test.want)
		})
	}
	t.Run("no merge", func(t *testing.T) {
		bare, work := bareRemote(t)
		expectHonest(t, bare, work, run(t, work, "rev-parse", "HEAD"), true)
		expectHonest(t, bare, work, commit(t, work, map[string]string{"a.cue": "one\n"}, "one"), true)
	})
	t.Run("an octopus", func(t *testing.T) {
		bare, work := bareRemote(t)
		for _, side := range []string{"one", "two"} {
			run(t, work, "checkout", "-q", "-b", side, "main")
			commit(t, work, map[string]string{side: side}, side)
		}
		run(t, work, "checkout", "-q", "main")
		run(t, work, "merge", "-q", "--no-ff", "-m", "octopus", "one", "two")
		equal(t, "parents", len(strings.Fields(run(t, work, "rev-parse", "HEAD^@"))), 3)
		expectHonest(t, bare, work, run(t, work, "rev-parse", "HEAD"), false)
	})
	t.Run("of what shares no history", func(t *testing.T) {
		bare, work := bareRemote(t)
		run(t, work, "checkout", "-q", "--orphan", "side")
		commit(t, work, nil, "side")
		run(t, work, "checkout", "-q", "main")
		run(t, work, "merge", "-q", "--no-ff", "--allow-unrelated-histories", "-m", "merge", "side")
		expectHonest(t, bare, work, run(t, work, "rev-parse", "HEAD"), false)
	})
}

// expectHonest asks a mirror and a quarantine about the tip of main, and expects
// that neither writes anything.
func expectHonest(t *testing.T, bare, work, tip string, want bool) {
	t.Helper()
	run(t, work, "push", "-q", "origin", "main")
	cache := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: bare, Cache: cache})
	fetch(t, m)
	q := quarantine(t, QuarantineOptions{URL: bare, Mirror: cache})
	dir := filepath.Join(cache, "mirror.git")
	before := run(t, dir, "count-objects", "-v")
	for name, s := range map[string]reconciler.Source{"mirror": m, "quarantine": q} {
		honest, _, err := s.Honest(background, tip)
		if err != nil || honest != want {
			t.Errorf("%s: honest: %v, %v", name, honest, err)
		}
	}
	equal(t, "objects of the mirror", run(t, dir, "count-objects", "-v"), before)
	equal(t, "objects of the quarantine", strings.Fields(run(t, q.options.Dir, "count-objects"))[0], "0")
	if _, _, err := m.Honest(background, strings.Repeat("1", 40)); !errors.Is(err, ErrUnknownCommit) {
		t.Errorf("an unknown commit: %v", err)
	}
}
