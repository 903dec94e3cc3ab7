package portal

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/pave-dev/pave/reconciler"
)

//go:embed templates static
var files embed.FS

// pages are the templates by name, each with the frame and the parts around it.
// Most processes of this program show none, so they are parsed for the first that does.
var pages = sync.OnceValue(func() map[string]*template.Template {
	frame := template.Must(template.New("frame.html").Funcs(template.FuncMap{"line": func(i int) int { return i + 1 }, "plural": reconciler.Plural, "noun": reconciler.Noun}).ParseFS(files, "templates/frame.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	list, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is above
	}
	for _, file := range list {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name != "frame" && name != "parts" {
			all[name] = template.Must(template.Must(frame.Clone()).ParseFS(files, file))
		}
	}
	return all
})

type asset struct {
	content []byte
	kind    string
}

// assets are the files that pages refer to, and a version that changes with them.
var assets = sync.OnceValue(func() (loaded struct {
	files   map[string]asset
	version string
}) {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	loaded.files = map[string]asset{}
	digest := sha256.New()
	list, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range list {
		content, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		digest.Write(content)
		loaded.files[e.Name()] = asset{content, kinds[path.Ext(e.Name())]}
	}
	loaded.version = hex.EncodeToString(digest.Sum(nil)[:4])
	return loaded
})

// static answers with an asset, which keeps as long as its version is asked for.
func static(w http.ResponseWriter, r *http.Request) {
	a, found := assets().files[r.PathValue("file")]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	if r.URL.Query().Get("v") == assets().version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.content)
}
