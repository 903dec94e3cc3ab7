package reconciler

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
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
