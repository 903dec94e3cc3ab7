package portal

import (
	"bytes"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/pave-dev/pave/reconciler"
)

// docsPage is a Markdown file of a service's documentation.
type docsPage struct {
	Service link          `json:"service"`
	At      spot          `json:"at"`
	Files   []link        `json:"files"`
	Text    string        `json:"text"`
	HTML    template.HTML `json:"-"`
}

// indexes are the files that a folder opens with.
var indexes = []string{"README.md", "index.md"}

func docs(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	s, found := v.Platform.Services[name]
	if !found {
		return nil, v.missing("service", name, slices.Collect(maps.Keys(v.Platform.Services)))
	}
	d, err := readService(s)
	if err != nil {
		return nil, err
	}
	file, found := v.document(d.Docs, r.PathValue("path"))
	if !found {
		return nil, notFound{Kind: "document", Name: name, Why: "The service " + name + " has no such document.", Near: []link{v.to("service", name)}}
	}
	v.title, v.here = s.Title+": "+path.Base(file.Path), "/services"
	content, err := v.Tree.Read(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Path, err)
	}
	p := &docsPage{Service: link{s.Title, v.to("service", name).Href}, At: v.at(reconciler.Position{File: file.Path}), Text: string(content)}
	for _, f := range v.Tree.Under(d.Docs) {
		if strings.HasSuffix(f.Path, ".md") && len(p.Files) < mostRows {
			p.Files = append(p.Files, link{strings.TrimPrefix(f.Path, d.Docs+"/"), v.docsOf(name, d.Docs, f.Path)})
		}
	}
	p.HTML, err = markdown(p.Text, func(destination string) string { return v.follow(destination, name, d.Docs, file.Path) })
	return p, err
}

// document finds a Markdown file of a folder; without a name the one that it
// opens with.
func (v *view) document(folder, name string) (reconciler.File, bool) {
	if folder == "" {
		return reconciler.File{}, false
	}
	names := indexes
	if name != "" {
		names = []string{name}
	}
	for _, name := range names {
		f, found := v.Tree.Find(folder + "/" + name)
		if found && strings.HasSuffix(name, ".md") && (f.Mode == reconciler.Regular || f.Mode == reconciler.Executable) {
			return f, true
		}
	}
	return reconciler.File{}, false
}

func (v *view) docsOf(service, folder, file string) string {
	return v.to("service", service).Href + "/docs/" + escapePath(strings.TrimPrefix(file, folder+"/"))
}

// follow returns where a link of a document leads; nowhere where that is neither
// a page of the web nor a file of the revision.
func (v *view) follow(destination, service, folder, file string) string {
	to, err := url.Parse(destination)
	switch {
	case err != nil:
		return ""
	case web(destination) != "" || to.Scheme == "mailto":
		return to.String()
	case to.Scheme != "" || to.Host != "" || to.Path == "":
		return ""
	}
	target := path.Join("/", path.Dir(file), to.Path)
	if strings.HasPrefix(to.Path, "/") {
		target = path.Clean(to.Path)
	}
	target = strings.TrimPrefix(target, "/")
	if _, found := v.Tree.Find(target); !found && len(v.Tree.Under(target)) == 0 {
		return ""
	}
	if _, document := v.document(folder, strings.TrimPrefix(target, folder+"/")); document && strings.HasPrefix(target, folder+"/") {
		return v.docsOf(service, folder, target)
	}
	return v.base + "/source/" + escapePath(target)
}

// web is an address where it leads to the web; empty where it leads anywhere else, or
// pretends to.
func web(address string) string {
	if to, err := url.Parse(address); err == nil && (to.Scheme == "http" || to.Scheme == "https") && to.Host != "" && to.User == nil {
		return address
	}
	return ""
}

// markdown renders a document of which nothing is believed: HTML in it is shown
// as the text that it is, and a link leads where follow says or nowhere.
func markdown(source string, follow func(destination string) string) (template.HTML, error) {
	m := goldmark.New(
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)), extension.Strikethrough),
		goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(tamer{follow}, 0))),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(plainHTML{}, 0))),
	)
	var b bytes.Buffer
	if err := m.Convert([]byte(source), &b); err != nil {
		return "", fmt.Errorf("render Markdown: %w", err)
	}
	return template.HTML(b.String()), nil
}

// tamer changes a document before it is rendered: an image becomes a link, a
// link leads where it may, and headings stand below the title of the page.
type tamer struct {
	follow func(destination string) string
}

// Transform implements [parser.ASTTransformer].
func (t tamer) Transform(document *ast.Document, reader text.Reader, _ parser.Context) {
	var links []ast.Node
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			switch n := n.(type) {
			case *ast.Heading:
				n.Level = min(n.Level+1, 6)
			case *ast.Link, *ast.Image, *ast.AutoLink:
				links = append(links, n)
			}
		}
		return ast.WalkContinue, nil
	})
	for _, n := range links {
		switch n := n.(type) {
		case *ast.Link:
			t.lead(n, string(n.Destination))
		case *ast.Image:
			t.lead(n, string(n.Destination))
		case *ast.AutoLink:
			n.AppendChild(n, ast.NewString(n.Label(reader.Source())))
			t.lead(n, string(n.URL(reader.Source())))
		}
	}
}

// lead puts a link to a destination in the place of a node, or its text alone.
func (t tamer) lead(n ast.Node, destination string) {
	parent := n.Parent()
	var children []ast.Node
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		children = append(children, child)
	}
	into, before := parent, n
	if to := t.follow(destination); to != "" && !within(n, ast.KindLink) {
		link := ast.NewLink()
		link.Destination = []byte(to)
		parent.InsertBefore(parent, n, link)
		into, before = link, nil
	}
	for _, child := range children {
		if before == nil {
			into.AppendChild(into, child)
		} else {
			into.InsertBefore(into, before, child)
		}
	}
	parent.RemoveChild(parent, n)
}

// within tells whether a node stands in one of a kind.
func within(n ast.Node, kind ast.NodeKind) bool {
	for n = n.Parent(); n != nil; n = n.Parent() {
		if n.Kind() == kind {
			return true
		}
	}
	return false
}

// plainHTML shows HTML as text.
type plainHTML struct{}

// RegisterFuncs implements [renderer.NodeRenderer].
func (plainHTML) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindRawHTML, func(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			segments := n.(*ast.RawHTML).Segments
			for i := range segments.Len() {
				segment := segments.At(i)
				template.HTMLEscape(w, segment.Value(source))
			}
		}
		return ast.WalkSkipChildren, nil
	})
	r.Register(ast.KindHTMLBlock, func(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		block := n.(*ast.HTMLBlock)
		if !entering {
			return ast.WalkContinue, nil
		}
		_, _ = w.WriteString("<pre>")
		for i := range block.Lines().Len() {
			line := block.Lines().At(i)
			template.HTMLEscape(w, line.Value(source))
		}
		if block.HasClosure() {
			template.HTMLEscape(w, block.ClosureLine.Value(source))
		}
		_, _ = w.WriteString("</pre>\n")
		return ast.WalkContinue, nil
	})
}

// headingsOf returns the headings of a Markdown text, at most so many as a search
// looks at.
func headingsOf(source string) []string {
	const most = 50
	var all []string
	content := []byte(source)
	document := goldmark.DefaultParser().Parse(text.NewReader(content))
	for n := document.FirstChild(); n != nil && len(all) < most; n = n.NextSibling() {
		heading, is := n.(*ast.Heading)
		if !is {
			continue
		}
		var b strings.Builder
		_ = ast.Walk(heading, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if t, is := n.(*ast.Text); is && entering {
				b.Write(t.Segment.Value(content))
			}
			return ast.WalkContinue, nil
		})
		all = append(all, cutTo(b.String(), mostValue))
	}
	return all
}
