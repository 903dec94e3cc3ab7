package reconciler

import (
	"fmt"
	"testing"
)

func TestTreeWith(t *testing.T) {
	base := &Tree{Files: []File{{Path: "a.cue", Hash: "1"}, {Path: "c.cue", Hash: "2", Mode: Executable}}, Read: func(f File) ([]byte, error) { return []byte("the old " + f.Path), nil }}
	for _, c := range []struct {
		path    string
		content []byte
		want    string
	}{
		{"b.cue", []byte("new\n"), "a.cue=the old a.cue b.cue=new\n c.cue=the old c.cue"},
		{"c.cue", []byte("new\n"), "a.cue=the old a.cue c.cue=new\n"},
		{"a.cue", nil, "c.cue=the old c.cue"},
		{"d.cue", nil, "a.cue=the old a.cue c.cue=the old c.cue"},
	} {
		made := base.With(c.path, c.content)
		got := ""
		for i, f := range made.Files {
			content, err := made.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%s=%s", f.Path, content)
			// As `git hash-object` has it: another content is another file.
			if string(content) == "new\n" && f.Hash != "3e757656cf36eca53338e520d134963a44f793f8" {
				t.Errorf("the hash is %s", f.Hash)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.path, got, c.want)
		}
	}
	if len(base.Files) != 2 || base.Files[1].Hash != "2" {
		t.Errorf("the tree changed: %v", base.Files)
	}
}
