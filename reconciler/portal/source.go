package portal

import (
	"bytes"
	"cmp"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/pave-dev/pave/reconciler"
)

// sourcePage is a file or a folder of the revision.
type sourcePage struct {
	Path   string   `json:"path"`
	Crumbs []link   `json:"-"`
	Files  []link   `json:"files,omitempty"` // of a folder
	Text   string   `json:"text,omitempty"`
	Lines  []string `json:"-"`
	Note   string   `json:"note,omitempty"` // why there is no text
	Edit   string   `json:"edit,omitempty"`
}

func source(v *view, r *http.Request) (any, error) {
	name := strings.TrimSuffix(r.PathValue("path"), "/")
	v.title = cmp.Or(name, "Source")
	p := &sourcePage{Path: name, Crumbs: v.crumbs(name)}
	f, found := v.Tree.Find(name)
	if !found {
		if p.Files = v.folder(name); len(p.Files) == 0 {
			return nil, notFound{Kind: "file", Name: name, Why: "This revision has no file " + name + ".", Near: []link{{"all files", v.base + "/source/"}}}
		}
		return p, nil
	}
	p.Edit = v.at(reconciler.Position{File: name}).Edit
	content, err := v.Tree.Read(f)
	switch {
	case f.Mode != reconciler.Regular && f.Mode != reconciler.Executable:
		p.Note = "This is no regular file."
	case err != nil:
		p.Note = err.Error()
	case !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0:
		p.Note = "This file is no text. It has " + reconciler.Plural(int(f.Size), "byte") + "."
	default:
		p.Text = string(content)
		p.Lines = strings.Split(strings.TrimSuffix(p.Text, "\n"), "\n")
	}
	return p, nil
}

// crumbs lead from the root to a path.
func (v *view) crumbs(name string) []link {
	crumbs := []link{{"source", v.base + "/source/"}}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		if part != "" {
			at = path.Join(at, part)
			crumbs = append(crumbs, link{part, v.base + "/source/" + escapePath(at)})
		}
	}
	return crumbs
}

// folder lists what is in a folder.
func (v *view) folder(name string) []link {
	var all []link
	last := ""
	for _, f := range v.Tree.Under(name) {
		rest := strings.TrimPrefix(strings.TrimPrefix(f.Path, name), "/")
		entry, _, deeper := strings.Cut(rest, "/")
		if entry == last {
			continue
		}
		last = entry
		text := entry
		if deeper {
			text += "/"
		}
		all = append(all, link{text, v.base + "/source/" + escapePath(path.Join(name, entry))})
	}
	return all
}
