package portal

import (
	"bytes"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/html"
)

// grammar are elements with the attributes that each may have.
type grammar map[string]map[string]bool

func (g grammar) add(element string, attributes ...string) {
	if g[element] == nil {
		g[element] = map[string]bool{}
	}
	for _, a := range attributes {
		g[element][a] = true
	}
}

var action = regexp.MustCompile(`\{\{.*?\}\}`)

// ofTemplates is what the templates put into pages. What a template of an attribute
// holds is said here.
var ofTemplates = sync.OnceValue(func() grammar {
	g := grammar{}
	for _, element := range []string{"input", "select", "textarea"} {
		g.add(element, "aria-describedby", "aria-invalid")
	}
	list, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, file := range list {
		text, err := files.ReadFile(file)
		if err != nil {
			panic(err)
		}
		tokens := html.NewTokenizer(bytes.NewReader(action.ReplaceAll(text, nil)))
		for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
			if token := tokens.Token(); kind == html.StartTagToken || kind == html.SelfClosingTagToken {
				g.add(token.Data)
				for _, a := range token.Attr {
					g.add(token.Data, a.Key)
				}
			}
		}
	}
	return g
})

// ofMarkdown is what a document may be made of.
var ofMarkdown = sync.OnceValue(func() grammar {
	g := grammar{}
	for _, element := range strings.Fields("h2 h3 h4 h5 h6 p em strong del blockquote pre hr br ul li table thead tbody tr") {
		g.add(element)
	}
	for element, attribute := range map[string]string{"a": "href", "ol": "start", "code": "class", "th": "align", "td": "align"} {
		g.add(element, attribute)
	}
	return g
})

// void are the elements that have no end.
var void = strings.Fields("meta link img input br hr")

// seenPage is what is read of a page.
type seenPage struct {
	elements []string
	texts    strings.Builder // with NUL between them
	values   strings.Builder // of attributes
	wrong    []string        // what no template put there
}

// readPage reads HTML of a grammar, and of that of Markdown within an article.
func readPage(page string, g grammar) *seenPage {
	s := &seenPage{}
	var open []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
		token := tokens.Token()
		switch kind {
		case html.TextToken:
			s.texts.WriteString(token.Data + "\x00")
			if strings.IndexFunc(token.Data, hides) >= 0 && (len(open) == 0 || open[len(open)-1] != "textarea") {
				s.wrong = append(s.wrong, "a text that hides: "+token.Data)
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			allowed := g
			if slices.Contains(open, "article") {
				allowed = ofMarkdown()
			}
			s.element(token, allowed)
			if kind == html.StartTagToken && !slices.Contains(void, token.Data) {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				s.wrong = append(s.wrong, "an end of "+token.Data)
				return s
			}
			open = open[:len(open)-1]
		case html.CommentToken:
			s.wrong = append(s.wrong, "a comment: "+token.Data)
		}
	}
	if len(open) > 0 {
		s.wrong = append(s.wrong, "no end of "+strings.Join(open, " "))
	}
	return s
}

// element looks at one element.
func (s *seenPage) element(token html.Token, allowed grammar) {
	s.elements = append(s.elements, token.Data)
	attributes, known := allowed[token.Data]
	if !known {
		s.wrong = append(s.wrong, "an element: "+token.String())
	}
	for _, a := range token.Attr {
		s.values.WriteString(a.Val + "\x00")
		if !attributes[a.Key] || strings.HasPrefix(a.Key, "on") {
			s.wrong = append(s.wrong, "an attribute "+a.Key+": "+token.String())
		}
		if leads := map[string]func(string) bool{"href": leadsOn, "action": inThePortal, "src": isOwnFile}[a.Key]; leads != nil && !leads(a.Val) {
			s.wrong = append(s.wrong, "an address: "+token.String())
		}
		if a.Key == "style" || a.Key == "target" || a.Key == "formaction" {
			s.wrong = append(s.wrong, "an attribute "+a.Key+": "+token.String())
		}
	}
	if token.Data == "script" && (len(token.Attr) == 0 || token.Attr[0].Key != "src") {
		s.wrong = append(s.wrong, "a script of its own")
	}
}

// leadsOn tells whether a link leads to a page of the portal, within a page, or to
// the web.
func leadsOn(address string) bool {
	if inThePortal(address) || strings.HasPrefix(address, "#") {
		return true
	}
	scheme, _, _ := strings.Cut(address, ":")
	return scheme == "mailto" || scheme == "http" || scheme == "https"
}

func inThePortal(address string) bool {
	return strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") && !strings.ContainsAny(address, "\\\t\r\n")
}

func isOwnFile(address string) bool { return strings.HasPrefix(address, "/static/") }

// judgePage reports what a page has that no template put there, and returns what it
// says.
func judgePage(t testing.TB, what, page string) *seenPage {
	t.Helper()
	s := readPage(page, ofTemplates())
	for _, wrong := range s.wrong {
		t.Errorf("%.300q: %.500q", what, wrong)
	}
	return s
}

// parsePage reports where a browser finds other elements than stand on a page.
func parsePage(t testing.TB, what, page string, s *seenPage) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	must(t, err)
	var elements []string
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			elements = append(elements, n.Data)
		}
	}
	if !slices.Equal(elements, s.elements) {
		t.Errorf("%.300q: a browser finds other elements than stand there", what)
	}
}
