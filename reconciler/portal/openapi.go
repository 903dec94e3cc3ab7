package portal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/pave-dev/pave/reconciler"
)

// description is what an OpenAPI document says, as far as people look for it.
type description struct {
	Title      string      `json:"title,omitempty"`
	Version    string      `json:"version,omitempty"`
	About      string      `json:"description,omitempty"`
	Operations []operation `json:"operations,omitempty"`
	More       int         `json:"moreOperations,omitempty"`
	// Wrong says why the document cannot be shown.
	Wrong string `json:"wrong,omitempty"`
}

// operation is one thing that an API does.
type operation struct {
	Method     string `json:"method"`
	Path       string `json:"path"`
	Summary    string `json:"summary,omitempty"`
	Deprecated bool   `json:"deprecated,omitempty"`
}

// The operations of one document that are shown, and the size of the largest one
// that is read, in bytes.
const (
	mostOperations = 100
	largestAPI     = 512 << 10
)

// methods are those of HTTP, as OpenAPI names them.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// describe reads an OpenAPI document of version 2 or 3. Nothing that it refers to
// is read.
func describe(name string, content []byte) description {
	var d map[string]any
	var err error
	if path.Ext(name) == ".json" {
		err = json.Unmarshal(content, &d)
	} else {
		err = unmarshalYAML(content, &d)
	}
	if err == nil && d["openapi"] == nil && d["swagger"] == nil {
		err = errors.New("it says neither openapi nor swagger")
	}
	if err != nil {
		return description{Wrong: "This is no OpenAPI document: " + cutTo(err.Error(), mostValue)}
	}
	info := object(d["info"])
	made := description{Title: saying(info["title"]), Version: saying(info["version"]), About: saying(info["description"])}
	for at, item := range object(d["paths"]) {
		for _, method := range methods {
			if o, is := object(item)[method].(map[string]any); is {
				made.Operations = append(made.Operations, operation{strings.ToUpper(method), cutTo(at, mostValue), cmp.Or(saying(o["summary"]), saying(o["operationId"])), o["deprecated"] == true})
			}
		}
	}
	slices.SortFunc(made.Operations, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	if more := len(made.Operations) - mostOperations; more > 0 {
		made.Operations, made.More = slices.Clone(made.Operations[:mostOperations]), more
	}
	return made
}

// object is a value as an object; empty where it is none.
func object(value any) map[string]any {
	fields, _ := value.(map[string]any)
	return fields
}

// saying is a value as a text for people.
func saying(value any) string {
	if value == nil {
		return ""
	}
	return cutTo(strings.TrimSpace(fmt.Sprint(value)), mostValue)
}

// unmarshalYAML reads YAML of strangers: what the parser does not survive is an
// error.
func unmarshalYAML(content []byte, into any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read YAML: %v", r)
		}
	}()
	return yaml.Unmarshal(content, into)
}

// library remembers what was read in files, by their hashes. Snapshots share one.
type library struct {
	mu    sync.Mutex
	apis  map[string]description // guarded by mu, as is titles
	texts map[string][]string    // the headings of Markdown files
}

// mostRead bounds a library.
const mostRead = 10_000

// remembered returns what is known of a file, or makes it. What has no hash is
// made each time.
func remembered[T any](l *library, of func(*library) *map[string]T, hash string, make func() T) T {
	l.mu.Lock()
	made, known := (*of(l))[hash]
	l.mu.Unlock()
	if known && hash != "" {
		return made
	}
	made = make()
	l.mu.Lock()
	defer l.mu.Unlock()
	all := of(l)
	if *all == nil || len(*all) >= mostRead {
		*all = map[string]T{}
	}
	(*all)[hash] = made
	return made
}

// api returns what a file of a tree says of an API.
func (l *library) api(tree *reconciler.Tree, f reconciler.File) description {
	return remembered(l, func(l *library) *map[string]description { return &l.apis }, f.Hash, func() description {
		content, err := readSmall(tree, f, largestAPI)
		if err != nil {
			return description{Wrong: err.Error()}
		}
		return describe(f.Path, content)
	})
}

// headings returns the headings of a Markdown file, the first one first.
func (l *library) headings(tree *reconciler.Tree, f reconciler.File) []string {
	return remembered(l, func(l *library) *map[string][]string { return &l.texts }, f.Hash, func() []string {
		content, err := readSmall(tree, f, largestAPI)
		if err != nil {
			return nil
		}
		return headingsOf(string(content))
	})
}

// readSmall reads a regular file that is not larger than that.
func readSmall(tree *reconciler.Tree, f reconciler.File, largest int64) ([]byte, error) {
	switch {
	case f.Mode != reconciler.Regular && f.Mode != reconciler.Executable:
		return nil, errors.New("this is no regular file")
	case f.Size > largest:
		return nil, fmt.Errorf("this file has %d bytes; %d are read", f.Size, largest)
	}
	return tree.Read(f)
}
