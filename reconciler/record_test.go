package reconciler

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// newTree is a tree of files that are in memory.
func newTree(files map[string]string) *Tree {
	t := &Tree{}
	for path, content := range files {
		t.Files = append(t.Files, File{Path: path, Size: int64(len(content))})
	}
	slices.SortFunc(t.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	t.Read = func(f File) ([]byte, error) { return []byte(files[f.Path]), nil }
	return t
}

func TestRecordRefusesWhatPaveDoesNotWrite(t *testing.T) {
	unit := func(fields string) string { return `{"version": 1, "request": "db", ` + fields + `"conditions": []}` }
	for path, content := range map[string]string{
		"requests/7b/db.json":     `{"version": 1, "request": "db"`,
		"requests/xx/db.json":     unit(""),
		"requests/fc/ab/c.json":   `{"version": 1, "request": "ab/c"}`,
		"requests/5e/...json":     `{"version": 1, "request": ".."}`,
		"requests/0a/Db.json":     `{"version": 1, "request": "Db"}`,
		"requests/7b/db.json ":    unit(""),
		"services/9a/x\ny.json":   `{"version": 1, "service": "x\ny"}`,
		"services/93/pay.json":    `{"version": 1, "service": "pay", "owner": "a\u001b[2Jb"}`,
		"locks/../../x.json":      `{"module": "m"}`,
		"platform.json":           `{"version": 2}`,
		"requests/61/vers.json":   `{"version": 2, "request": "vers"}`,
		"requests/7b/db.json\x00": unit(""),
	} {
		if strings.HasSuffix(path, ".json") {
			if _, err := ReadRecord(newTree(map[string]string{path: content}), "tip"); err == nil {
				t.Errorf("%q was read: %s", path, content)
			}
		}
	}
	for _, fields := range []string{
		`"blueprint": "x\nUnit: ledger-db destroyed", `, `"environment": "../prod", `, `"owner": "[x](y)", `, `"service": "A", `,
		`"stage": "|", `, `"references": {"a": {"request": "../x", "output": "o"}}, `,
	} {
		if _, err := ReadRecord(newTree(map[string]string{"requests/7b/db.json": unit(fields)}), "tip"); err == nil {
			t.Errorf("%s was read", fields)
		}
	}
	r, err := ReadRecord(newTree(map[string]string{"requests/7b/db.json": unit(""), "README.md": "x"}), "tip")
	if err != nil || len(r.Units) != 1 {
		t.Errorf("got %v, %v", r, err)
	}
}

// A record that is read again is what it is where it is read anew, and what refuses
// the one refuses the other.
func TestRecordIsReadAgain(t *testing.T) {
	hashed := func(files map[string]string) *Tree {
		tree := newTree(files)
		for i, f := range tree.Files {
			tree.Files[i].Hash = files[f.Path]
		}
		return tree
	}
	last := hashed(nil)
	record, err := ReadRecord(last, "0")
	if err != nil {
		t.Fatal(err)
	}
	for i, files := range []map[string]string{
		{"requests/db/db.json": `{"version": 1, "request": "db"}`, "services/pa/pay.json": `{"version": 1, "service": "pay"}`,
			"locks/box.json": `{"module": "m"}`, "platform.json": `{"version": 1, "revision": "r"}`, "README.md": "a"},
		{"requests/db/db.json": `{"version": 1, "request": "db", "owner": "pay", "document": {"a": 1, "b": [ 2 ]}}`,
			"requests/ca/cache.json": `{"version": 1, "request": "cache"}`, "services/pa/pay.json": `{"version": 1, "service": "pay"}`,
			"locks/box.json": `{"module": "n"}`, "platform.json": `{"version": 1}`, "applied/db/db/pave.tf.json": "{}"},
		{"requests/db/db.json": `{"version": 2, "request": "db"}`},
		{"requests/ca/cache.json": `{"version": 1, "request": "cache"}`, "services/se/search.json": `{"version": 1, "service": "search"}`},
		{},
	} {
		tree, tip := hashed(files), fmt.Sprint(i)
		before, _ := json.Marshal(record)
		want, refused := ReadRecord(tree, tip)
		got, err := record.Reread(last, tree, tip)
		if fmt.Sprint(err) != fmt.Sprint(refused) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%d: got %+v, %v; want %+v, %v", i, got, err, want, refused)
		}
		if after, _ := json.Marshal(record); string(after) != string(before) {
			t.Errorf("%d: the record before is %s; it was %s", i, after, before)
		}
		if err == nil {
			record, last = got, tree
		}
	}
}

// What is refused by whoever writes the commit would keep everything else from
// being recorded.
func TestTextOfStrangersIsOneLine(t *testing.T) {
	hostile := "a\x1b[2Jb\u200ec\u200fd\u061ce\u202ef\u2066g\u2028h\u2029i\u0085j\xffk\nUnit: ledger-db destroyed\r\tl"
	got := oneLine(hostile, 500)
	if want := "a [2Jb c d e f g h i j\uFFFDk Unit: ledger-db destroyed l"; got != want {
		t.Errorf("got %q", got)
	}
	text := message("Apply checkout-db", Revision{Commit: "c0ffee"}, []string{hostile}, nil, []event{{unit: "checkout-db", verb: "fail", trailer: "failed", text: hostile}})
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Unit: ") && line != "Unit: checkout-db failed\n" {
			t.Errorf("a forged trailer: %q", line)
		}
	}
	if got := escapeMarkdown("www.evil.example http://evil.example @all <img> [x](y) a|b"); strings.ContainsAny(got, "@<") ||
		strings.Contains(got, "www.") || strings.Contains(got, "http:") || strings.Contains(got, "](") {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(len([]rune(oneLine(strings.Repeat("é", 2000), 300)))); got != "300" {
		t.Errorf("got %s characters", got)
	}
}

// What is remembered of a record is all of it, at the commit that it was read from,
// and what differs from that is read.
func TestRecordIsRemembered(t *testing.T) {
	trees := map[string]*Tree{}
	write := func(commit string, r *Record) {
		t.Helper()
		files := map[string]string{}
		for name := range r.Units {
			files[shard("requests", name)+".json"] = ""
		}
		for name := range r.Services {
			files[shard("services", name)+".json"] = ""
		}
		for name := range r.Locks {
			files["locks/"+name+".json"] = ""
		}
		files["platform.json"] = ""
		for path := range files {
			content, err := encode(r.document(path))
			if err != nil {
				t.Fatal(err)
			}
			files[path] = string(content)
		}
		trees[commit] = newTree(files)
		for i, f := range trees[commit].Files {
			trees[commit].Files[i].Hash = fmt.Sprintf("%x", sha256.Sum256([]byte(files[f.Path])))
		}
	}
	record := NewRecord()
	record.Platform = PlatformStatus{Version: 1, Revision: "first", Orphans: []Orphan{{Request: "old", Owner: "payments", Resources: []RetainedResource{{Address: "a.b"}}}}}
	record.Locks["box"] = Lock{Module: "m", Engine: "terraform 1.11", Content: "lock"}
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, name := range []string{"ledger", "checkout"} {
		s := &ServiceStatus{Version: 1, Service: name, Owner: "payments", Lifecycle: "production", Requests: []string{name + "-db"}}
		s.Conditions.Set(Valid, true, Valid, "", now)
		record.Services[name] = s
		u := &UnitStatus{Version: 1, Request: name + "-db", Service: name, Owner: "payments", Blueprint: "box", Environment: "production", Protect: true, Cost: 1.5,
			Plan: &PlanSummary{}, Drift: &Drift{Plan: PlanSummary{Change: 1}, Times: 2, First: "2027-03-01T00:00:00Z"}, BreakGlass: &BreakGlass{},
			Outputs: FieldsOf(map[string]json.RawMessage{"host": json.RawMessage(`"a"`), "none": json.RawMessage("null")}), References: map[string]Ref{"x": {Request: "y", Output: "z"}},
			State: State{Address: "local:" + name, Lineage: "l", Serial: 3}, Document: json.RawMessage(`{"name":"` + name + `"}`), Sources: []string{"catalog/a.cue"}}
		u.Conditions.Set(Ready, false, ReasonWaiting, "waits", now)
		record.Units[u.Request] = u
	}
	write("first", record)
	record.Tip = "first"

	before := New(Options{})
	before.record, before.journal = record, newJournal(record, nil, &quiet{}, "first", "first")
	before.keep(false)
	kept := before.Remember()
	if kept == nil || before.Remember() != nil {
		t.Fatal("nothing was remembered, or again what was remembered before")
	}
	before.keep(true)
	if before.Remember() != nil {
		t.Error("nothing happened, and it was remembered again")
	}
	record.Tip = "second" // which differs a little
	before.keep(false)
	if before.Remember() != nil {
		t.Error("little happened, and it was remembered again")
	}
	before.journal.touchUnit("ledger-db")
	before.keep(true)
	if before.Remember() != nil {
		t.Error("what was not published was remembered")
	}
	changed := before.journal.unit("ledger-db") // and not what was remembered
	changed.Conditions.Set(Ready, true, ReasonApplied, "", now)
	changed.Drift.Times = 3
	delete(record.Units, "checkout-db")
	write("second", record)

	for commit, want := range map[string]int{"first": 0, "second": 1} {
		reads := 0
		source := &statusSource{trees: map[string]*Tree{}}
		for name, tree := range trees {
			source.trees[name] = &Tree{Files: tree.Files, Read: func(f File) ([]byte, error) { reads++; return tree.Read(f) }}
		}
		r := New(Options{Source: source})
		var file bytes.Buffer
		encoder := gob.NewEncoder(&file)
		for part := range kept {
			if err := encoder.Encode(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Recall(gob.NewDecoder(&file).Decode); err != nil {
			t.Fatal(err)
		}
		got, err := r.readRecord(t.Context(), commit)
		if err != nil {
			t.Fatal(err)
		}
		if reads != want {
			t.Errorf("%s: %d files were read, want %d", commit, reads, want)
		}
		read, err := ReadRecord(trees[commit], commit)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range trees[commit].Files {
			a, _ := encode(got.document(f.Path))
			b, _ := encode(read.document(f.Path))
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s: got\n%s\nwant\n%s", commit, f.Path, a, b)
			}
		}
		if got.Tip != commit || len(got.Units) != len(read.Units) || len(got.Services) != len(read.Services) || len(got.Locks) != len(read.Locks) {
			t.Errorf("%s: got %+v", commit, got)
		}
	}
	r := New(Options{})
	if err := r.Recall(func(any) error { return io.ErrUnexpectedEOF }); err == nil || r.recalled != nil {
		t.Error("half of it passed for the whole")
	}
}

// TestRecordStays checks that a record that was shared says what it said, whatever is
// noted since.
func TestRecordStays(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	record := NewRecord()
	for _, name := range []string{"held", "drifted", "righted", "gone", "failed"} {
		u := &UnitStatus{Version: 1, Request: name, State: State{Address: "local:" + name}, Drift: &Drift{Times: 1, First: "2027-03-01T00:00:00Z"}}
		u.Conditions.Set(Ready, true, ReasonApplied, "", now)
		u.Conditions.Set(Drifted, name == "righted", ReasonDrift, "", now)
		record.Units[name] = u
	}
	for _, name := range []string{"shop", "closed"} {
		s := &ServiceStatus{Version: 1, Service: name}
		s.Conditions.Set(Valid, true, Valid, "", now)
		record.Services[name] = s
	}
	shared := record.copy()
	says := func(r *Record) string {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := says(shared)
	j := newJournal(record, nil, &quiet{}, "first", "first")
	c := &Checked{Revision: Revision{Commit: "second", Time: now}, Complete: true, Platform: &Platform{
		Services: map[string]*Service{"shop": {Name: "shop", Owner: "payments"}},
		Requests: map[string]*Request{"held": {Name: "held", Service: "shop"}},
	}, holds: map[string]hold{"service/closed": {Valid, ReasonInvalid, "is wrong"}}}
	j.inForce(c)
	j.note(c, map[string]decision{"held": {verb: halt, condition: Allowed, reason: ReasonDenied, message: "is denied"}}, now)
	j.result(Job{Unit: "drifted", Mode: Observe}, Result{Outcome: Changed, Plan: PlanSummary{Change: 1, Digest: "1"}}, now)
	j.result(Job{Unit: "righted", Mode: Observe}, Result{Outcome: Unchanged}, now)
	j.result(Job{Unit: "gone", Destroy: true}, Result{Outcome: Destroyed}, now)
	j.result(Job{Unit: "failed"}, Result{Outcome: PlanFailed, Message: "no"}, now)
	(&Reconciler{record: record, journal: j, unverified: map[string]bool{}}).disbelieve()
	if after := says(shared); after != before {
		t.Errorf("got\n%s\nwant\n%s", after, before)
	}
	for name, u := range shared.Units {
		if record.Units[name] == u {
			t.Errorf("nothing was noted of %s", name)
		}
	}
}

// statusSource holds the trees of commits of the status branch.
type statusSource struct {
	Source
	trees map[string]*Tree
}

func (s *statusSource) Part(_ context.Context, commit string, _ ...string) (*Tree, error) {
	return s.trees[commit], nil
}

// TestIsName compares it with the form that it stands for.
func TestIsName(t *testing.T) {
	form := regexp.MustCompile(NameForm)
	letters := []string{"a", "m", "z", "0", "9", "-", "A", "_", ".", "/", "{", "`", "é", "\n", "\x00", " "}
	texts := []string{"", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 62) + "-", "a" + strings.Repeat("-", 61) + "a"}
	for _, x := range letters {
		texts = append(texts, x)
		for _, y := range letters {
			texts = append(texts, x+y)
			for _, z := range letters {
				texts = append(texts, x+y+z)
			}
		}
	}
	for _, text := range texts {
		if got, want := IsName(text), form.MatchString(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
