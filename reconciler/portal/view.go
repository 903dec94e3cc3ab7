package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// frame is what surrounds a page. Its JSON is the page's.
type frame struct {
	Title     string `json:"title"`
	Revision  commit `json:"revision"`
	Status    commit `json:"status"`
	Permalink string `json:"permalink,omitempty"`
	Body      any    `json:"page"`

	Person *Person `json:"-"` // who reads; nil is nobody in particular
	CSRF   string  `json:"-"` // what each form of theirs carries
	SignIn string  `json:"-"` // where people sign in; empty where nobody does

	Platform string `json:"-"` // what the organisation calls it
	Nav      []tab  `json:"-"`
	More     []tab  `json:"-"` // what not everybody looks for
	Base     string `json:"-"` // what every address begins with
	When     string `json:"-"` // the time that was asked for; empty is now
	Today    string `json:"-"` // the same page now
	JSON     string `json:"-"`
	Query    string `json:"-"` // of the search
	Static   string `json:"-"` // the version of the style sheet and the script
}

// commit is a commit as pages show it.
type commit struct {
	ID    string `json:"commit,omitempty"`
	Short string `json:"-"`
	Time  string `json:"time,omitempty"`
	Href  string `json:"-"`
}

// tab leads to a part of the portal.
type tab struct {
	link
	Here bool
}

// link leads to a page.
type link struct {
	Text string `json:"name"`
	Href string `json:"href"`
}

// notFound is the error for a name that nothing has, and the page about it.
type notFound struct {
	Title      string  `json:"-"`
	Kind       string  `json:"kind,omitempty"`
	Name       string  `json:"name,omitempty"`
	Why        string  `json:"why"`
	Near       []link  `json:"near,omitempty"`
	Violations []fault `json:"violations,omitempty"`
}

func (n notFound) Error() string { return "there is no " + n.Kind + " " + n.Name }

// moved is the error for what is at another address.
type moved string

func (m moved) Error() string { return "it is at " + string(m) }

// view is a snapshot as one request sees it: with the addresses of its pages.
type view struct {
	*Snapshot
	*index
	snapshots  Snapshots // for pages about several
	judgements *Judgements
	health     func() Health
	runs       func(request string) (reconciler.RunLog, bool)
	edit       string // see Options.Edit

	base   string // what its addresses begin with
	when   string
	title  string
	here   string  // the tab that the page belongs to
	person *Person // who asks; nil is nobody in particular
	csrf   string  // what each form must carry, in a field of this name
	edits  *Edits  // nil where nobody changes anything here
	signIn string
	rules  rules // of today, for the person
}

func (v *view) frame(r *http.Request, body any) frame {
	here := &url.URL{Path: r.URL.Path}
	query := r.URL.Query()
	query.Del("format")
	here.RawQuery = query.Encode()
	f := frame{
		Title: v.title, Body: body, Person: v.person, CSRF: v.csrf, SignIn: v.signIn, Platform: cmp.Or(v.Snapshot.Platform.Settings.Title, "Platform"),
		Base: v.base, When: v.when, Today: here.String(), Query: query.Get("q"), Static: assets().version,
		Permalink: v.permanent() + here.String(), Revision: v.commit(v.Snapshot.Revision), Status: v.commit(v.Snapshot.Status),
	}
	if v.here != "" {
		f.Query = "" // it is the filter's
	}
	query.Set("format", "json")
	here.RawQuery = query.Encode()
	f.JSON = v.base + here.String()
	f.Nav = v.tabs([]place{{"Services", "/services"}, {"Requests", "/requests"}, {"Blueprints", "/blueprints"}, {"Teams", "/teams"}, {"Environments", "/environments"}})
	f.More = v.tabs([]place{{"Graph", "/graph"}, {"Policies", "/policies"}, {"Health", "/health"}, {"Audit", "/audit"}, {"What changed", "/compare"}, {"Sunset", "/sunset"}})
	return f
}

// place is a part of the portal.
type place struct{ text, path string }

func (v *view) tabs(places []place) []tab {
	var tabs []tab
	for _, p := range places {
		tabs = append(tabs, tab{link{p.text, v.base + p.path}, v.here == p.path})
	}
	return tabs
}

func (v *view) commit(r reconciler.Revision) commit {
	if r.Commit == "" {
		return commit{}
	}
	return commit{ID: r.Commit, Short: r.Short(), Time: moment(r.Time), Href: "/at/" + short(r.Commit) + "/"}
}

// moment is a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// permanent is what the addresses of this very snapshot begin with.
func (v *view) permanent() string { return "/at/" + v.key() }

// formAt leads to a form; nowhere in the past, or where nobody changes anything.
func (v *view) formAt(text, path string) link {
	if v.edits == nil || v.when != "" {
		return link{}
	}
	return link{text, path}
}

// to leads to the page of a document; nowhere without a name.
func (v *view) to(kind, name string) link {
	if name == "" {
		return link{}
	}
	return link{name, v.base + "/" + kind + "s/" + url.PathEscape(name)}
}

// among leads to a list of what has a value in a field.
func (v *view) among(list, field, value string) link {
	return link{value, v.base + "/" + list + "?" + url.Values{field: {value}}.Encode()}
}

// spot is a place in a file, and where people change it: by a form of the portal, or
// on the forge.
type spot struct {
	link
	Form string `json:"form,omitempty"`
	Edit string `json:"edit,omitempty"`
}

// at leads to a place in a file, at this commit. Only the present is changed.
func (v *view) at(p reconciler.Position) spot {
	if p.File == "" {
		return spot{}
	}
	s := spot{link: link{p.File, v.permanent() + "/source/" + escapePath(p.File)}}
	if p.Line > 0 {
		s.Text += fmt.Sprintf(":%d", p.Line)
		s.Href += fmt.Sprintf("#L%d", p.Line)
	}
	if _, file := v.Tree.Find(p.File); file && v.edit != "" && v.when == "" {
		s.Edit = strings.NewReplacer("{path}", escapePath(p.File), "{line}", strconv.Itoa(max(1, p.Line))).Replace(v.edit)
	}
	return s
}

// field leads to where a field of a document is written.
func (v *view) field(document reconciler.Position, kind, name string, path ...string) spot {
	// To find a field is to parse its file.
	const large = 256 << 10
	if f, found := v.Tree.Find(document.File); v.Locate == nil || !found || f.Size > large {
		return v.at(document)
	}
	return v.at(v.Locate(document, kind, name, path))
}

func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// missing is the error for a name, with those that may be meant and what the
// revision says of it.
func (v *view) missing(kind, name string, known []string) error {
	n := notFound{Kind: kind, Name: name, Why: "This revision has no " + kind + " " + name + "."}
	if len(name) <= 64 {
		for _, near := range reconciler.Nearest(name, around(name, known), 3) {
			n.Near = append(n.Near, v.to(kind, near))
		}
	}
	n.Violations = v.faults(func(x reconciler.Violation) bool { return x.Kind == kind && x.Name == name })
	return n
}

// around returns the names, of very many those beside a name in the alphabet: to
// compare them all takes too long.
func around(name string, names []string) []string {
	const most = 500
	if len(names) <= most {
		return names
	}
	slices.Sort(names)
	at, _ := slices.BinarySearch(names, name)
	from := min(max(0, at-most/2), len(names)-most)
	return names[from : from+most]
}

// fault is a violation as pages show it.
type fault struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
	At    spot   `json:"at"`
}

func (v *view) faults(keep func(reconciler.Violation) bool) []fault {
	var all []fault
	for _, x := range v.Snapshot.Violations {
		if keep(x) {
			all = append(all, v.fault(x))
		}
	}
	return all
}

func (v *view) fault(x reconciler.Violation) fault {
	f := fault{Level: string(x.Level), Hint: x.Hint, At: v.at(x.Position)}
	x.Position, x.Level = reconciler.Position{}, reconciler.Deny
	f.Text = x.String()
	return f
}
