package reconciler

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestTrustRemembers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "trust.json") // its folder is made
	trust := NewTrust(file)
	if v, err := trust.load(); err != nil || !reflect.DeepEqual(v, trusted{}) {
		t.Fatalf("before anything was written: %+v, %v", v, err)
	}
	want := trusted{written: written{Tip: "4be1f5c0", Unverified: []string{"a", "b"}, Recorded: []string{"run"}}, Pushing: []written{{Tip: "c0ffee"}}, Revision: "c0ffee"}
	if err := trust.save(want); err != nil {
		t.Fatal(err)
	}
	if v, err := NewTrust(file).load(); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v, %v", v, err)
	}
	for path, mode := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): fs.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if err := trust.Adopt(&Record{Tip: "adopted"}, ""); err != nil {
		t.Fatal(err)
	}
	if v, err := trust.load(); err != nil || v.Tip != "adopted" || v.Unverified != nil || v.Revision != want.Revision {
		t.Errorf("after Adopt: %+v, %v", v, err)
	}
}

// A memory that cannot be read must not look like none: then any tip would be
// a stranger's, or nobody's.
func TestTrustThatCannotBeReadIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trust.json")
	for _, content := range []string{"", "{", `"tip"`, `{"tip": 1}`, `{"tip": "a"} more`, "\x00\x00\x00"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := NewTrust(file).load(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: got %+v, %v", content, v, err)
		}
		if err := NewTrust(file).Adopt(&Record{Tip: "x"}, ""); err == nil {
			t.Errorf("%q: it was overwritten", content)
		}
	}
	if _, err := NewTrust(t.TempDir()).load(); err == nil {
		t.Error("a folder was read")
	}
}

// Whoever reads while another writes sees the old or the new memory, whole.
func TestTrustIsReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	trust := NewTrust(filepath.Join(dir, "trust.json"))
	values := []trusted{{written: written{Tip: strings.Repeat("a", 1<<16)}}, {written: written{Tip: strings.Repeat("b", 1<<17)}}}
	if err := trust.save(values[0]); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range 50 {
			if err := trust.save(values[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		if v, err := trust.load(); err != nil || v.Tip != values[0].Tip && v.Tip != values[1].Tip {
			t.Fatalf("read %d bytes of a tip: %v", len(v.Tip), err)
		}
	}
	writing.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A write that fails leaves what was there.
func TestTrustKeepsTheOldWhereTheNewCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trust.json")
	if err := os.Mkdir(file, 0o700); err != nil { // a rename cannot replace it
		t.Fatal(err)
	}
	if err := NewTrust(file).save(trusted{written: written{Tip: "x"}}); err == nil {
		t.Error("no error")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if doc, err := json.Marshal(trusted{}); err != nil || string(doc) != `{"tip":""}` {
		t.Errorf("got %s, %v", doc, err)
	}
}
