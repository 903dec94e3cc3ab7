// Package portal draws a platform for people: HTML and JSON over a snapshot,
// and nothing else.
//
// A [Snapshot] is what a commit of the tracked branch and one of the status
// branch say. Every page is a function of a snapshot and the request, so every
// page exists for the past as well, below /at/, and nothing on it comes from
// anywhere but Git, but for what the process that keeps the platform says of itself
// and of its runs today. The same values that a template shows are the page's JSON
// (?format=json). No page needs a script.
//
// What a person does is a form: a [Person] whose session sent it is known before
// anything else happens, and what they may read and do follows from the teams of
// the platform as it is today.
//
// Whatever stands in the repository is text on a page, never markup.
package portal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// Options say what a portal shows and to whom.
type Options struct {
	Snapshots Snapshots
	// Judgements tell what the rules say; nil where nobody asks them.
	Judgements *Judgements
	// Edit is the address of the page where people change a file, in which {path}
	// stands for the file and {line} for the line; empty where there is none.
	Edit string
	// Health asks the process that keeps the platform; nil where none is at hand.
	Health func() Health
	// Runs returns the log of a request's run that goes on, or of its last one, where
	// the process that keeps the platform has one; nil where none is at hand. Whoever
	// may see the request reads it.
	Runs func(request string) (reconciler.RunLog, bool)
	// Hosts are the names that the portal answers to beside those of this
	// machine's loopback: any other is a page that had its name resolved here.
	Hosts []string
	// Direct refuses what a proxy passed on: a reader who is let in for being on
	// this machine may not be anywhere else.
	Direct bool
	// URL is the address that browsers know the portal by; nil where that is the one
	// of this machine. Nothing that a request says of it counts.
	URL *url.URL
	// Proxies are the networks of those that say truly for whom they ask.
	Proxies []netip.Prefix
	// Anonymous lets people read who did not sign in. They never write.
	Anonymous bool
	// Operator lets in who runs the portal; nil where nobody may.
	Operator *Operator
	// Edits let people ask for changes; nil is a portal for reading.
	Edits *Edits
	// Provider lets people sign in; nil where there is none.
	Provider Provider
	// Rules say who may see and ask for what. Without them nobody may.
	Rules reconciler.Rules
	Log   *slog.Logger
}

// New returns the portal. It answers GET and HEAD, and forms by POST.
func New(options Options) http.Handler {
	p := &portal{
		Options: options, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		sessions: sessions{open: map[[sha256.Size]byte]*session{}},
		reads:    newLimits(time.Second/25, 500), writes: newLimits(time.Second, 30),
	}
	_, _ = rand.Read(p.key[:]) // it never fails
	if p.Operator != nil {
		p.Operator.open()
	}
	for pattern, r := range routes {
		p.mux.Handle("GET "+pattern, p.page(r))
	}
	for pattern, r := range actions {
		p.mux.Handle("POST "+pattern, p.page(r))
	}
	p.mux.HandleFunc("GET /login", p.login)
	p.mux.HandleFunc("GET "+back, p.comeBack)
	p.mux.HandleFunc("POST /logout", p.logout)
	p.mux.HandleFunc("GET /static/{file}", static)
	p.mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		p.refuse(w, r, http.StatusNotFound, "There is no such page", "Nothing is at this address.")
	})
	return p
}

// portal is the handler.
type portal struct {
	Options
	mux      *http.ServeMux
	sessions sessions
	origin   *http.CrossOriginProtection
	key      [32]byte // of the secrets of logins
	seen     lately[sight, *Snapshot]
	hides    lately[seenAt, hidden]  // from whom
	hidden   lately[glimpse, hidden] // of it what is not only recorded
	judging  sync.Mutex
	judged   *reconciler.Tree // whose rules judge has; guarded by judging, as it is
	judge    reconciler.Judge
	reads    *limits
	writes   *limits
}

// route is a page: the template that shows it and the function that makes it.
type route struct {
	template string
	make     func(v *view, r *http.Request) (any, error)
}

var routes = map[string]route{
	"/{$}":                            {"home", home},
	"/me":                             {"me", me},
	"/search":                         {"search", search},
	"/services":                       {"services", services},
	"/services/{name}":                {"service", service},
	"/services/{name}/docs/{path...}": {"docs", docs},
	"/requests":                       {"requests", requests},
	"/requests/{name}":                {"request", request},
	"/requests/{name}/edit":           {"form", edit},
	"/teams":                          {"teams", teams},
	"/teams/{name}":                   {"team", team},
	"/environments":                   {"environments", environments},
	"/environments/{name}":            {"environment", environment},
	"/blueprints":                     {"blueprints", blueprints},
	"/blueprints/{name}":              {"blueprint", blueprint},
	"/blueprints/{name}/new":          {"form", ask},
	"/compare":                        {"compare", compare},
	"/compare/{between}":              {"compare", compare},
	"/graph":                          {"graph", graph},
	"/audit":                          {"audit", audit},
	"/policies":                       {"policies", policies},
	"/health":                         {"health", health},
	"/sunset":                         {"sunset", sunset},
	"/source/{path...}":               {"source", source},
}

// actions are what forms do, by where they are sent. One is made as a page is,
// with a view whose person may write and with the form in r.PostForm, and shows
// what became of it or moves the browser there.
var actions = map[string]route{
	"/blueprints/{name}/new": {"form", ask},
	"/requests/{name}/edit":  {"form", edit},
}

// ServeHTTP refuses what no browser of a reader sends, and answers the rest.
func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Cookie")
	if p.secure() {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	switch {
	case !p.known(r.Host):
		http.Error(w, "This portal does not go by that name.", http.StatusMisdirectedRequest)
	case p.Direct && passedOn(r.Header):
		p.refuse(w, r, http.StatusForbidden, "This portal is for this machine alone", "Something passed the request on to it.")
	case !p.within(r):
		h.Set("Retry-After", "10")
		p.refuse(w, r, http.StatusTooManyRequests, "That is too often", "Wait a little, then load the page again.")
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		p.travel(w, r)
	case r.Method == http.MethodPost:
		p.act(w, r)
	default:
		h.Set("Allow", "GET, HEAD")
		p.refuse(w, r, http.StatusMethodNotAllowed, "That is no page and no form", "This portal shows pages and takes forms.")
	}
}

// known tells whether a request was meant for this portal.
func (p *portal) known(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	ip := net.ParseIP(name)
	return p.URL != nil && strings.EqualFold(name, p.URL.Hostname()) || strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback() ||
		slices.ContainsFunc(p.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// passedOn tells whether a proxy says that the request is another's.
func passedOn(h http.Header) bool {
	return slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}, func(name string) bool { return h.Get(name) != "" })
}

type whenKey struct{}

// travel takes /at/WHEN off an address and remembers when it is.
func (p *portal) travel(w http.ResponseWriter, r *http.Request) {
	rest, past := strings.CutPrefix(r.URL.Path, "/at/")
	when, page, found := strings.Cut(rest, "/")
	switch {
	case !past:
		p.mux.ServeHTTP(w, r)
		return
	case !found: // /at/2026-03-01, or what the form for days asks for
		when = cmp.Or(when, r.URL.Query().Get("day"))
		http.Redirect(w, r, "/at/"+url.PathEscape(when)+"/", http.StatusFound)
		return
	}
	then := r.Clone(context.WithValue(r.Context(), whenKey{}, when))
	then.URL.Path, then.URL.RawPath = "/"+page, ""
	p.mux.ServeHTTP(w, then)
}

// page answers with one page.
func (p *portal) page(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed := p.sessions.find(p.sessionID(r))
		if signed == nil && !p.Anonymous {
			p.stranger(w, r)
			return
		}
		if signed != nil {
			w.Header().Set("Cache-Control", "no-store")
		}
		v, err := p.view(r, signed)
		if err != nil {
			p.unavailable(w, r, err)
			return
		}
		if r.Method == http.MethodPost && !v.person.MayWrite() {
			p.refuse(w, r, http.StatusForbidden, "You are in no team", "Who asks for something does so for a team of the platform.")
			return
		}
		body, err := to.make(v, r)
		var missing notFound
		var moved moved
		switch {
		case err == nil:
			p.show(w, r, http.StatusOK, to.template, v.frame(r, body))
		case errors.As(err, &missing):
			v.title = "There is no such " + missing.Kind
			missing.Title = v.title
			p.show(w, r, http.StatusNotFound, "missing", v.frame(r, missing))
		case errors.As(err, &moved) && r.Method == http.MethodPost:
			http.Redirect(w, r, string(moved), http.StatusSeeOther)
		case errors.As(err, &moved):
			http.Redirect(w, r, string(moved), http.StatusFound)
		default:
			p.unavailable(w, r, err)
		}
	})
}

// stranger answers somebody who is not signed in where nobody else may read.
func (p *portal) stranger(w http.ResponseWriter, r *http.Request) {
	if p.Provider == nil || r.URL.Query().Has("format") || r.Method == http.MethodPost {
		why := "This portal is for people who are known: open the address that it printed, or logged, when it started."
		if p.Provider != nil {
			why = "This portal is for people who are known: sign in first."
		}
		p.refuse(w, r, http.StatusUnauthorized, "Nobody is signed in", why)
		return
	}
	when, _ := r.Context().Value(whenKey{}).(string)
	http.Redirect(w, r, signIn(base(when), r), http.StatusSeeOther)
}

// base is what the addresses of a time begin with; those of now with nothing.
func base(when string) string {
	if when == "" {
		return ""
	}
	return "/at/" + url.PathEscape(when)
}

// view finds the snapshot that a page is about, as the person of a session sees
// it. What they are is what the platform says today, whatever time they look at.
func (p *portal) view(r *http.Request, signed *session) (v *view, err error) {
	v = &view{judgements: p.Judgements, health: p.Health, runs: p.Runs, edits: p.Edits, edit: p.Edit}
	if when, past := r.Context().Value(whenKey{}).(string); past {
		v.base, v.when = base(when), when
		v.Snapshot, err = p.Snapshots.At(r.Context(), when)
	} else {
		v.Snapshot, err = p.Snapshots.Now(r.Context())
	}
	if err != nil {
		return nil, err
	}
	today := v.Snapshot
	if v.when != "" {
		if today, err = p.Snapshots.Now(r.Context()); err != nil {
			return nil, err
		}
	}
	if signed != nil {
		v.person, v.csrf = newPerson(signed.Identity, today.Platform), signed.csrf
	}
	if p.Provider != nil {
		v.signIn = signIn(v.base, r)
	}
	judge, err := p.judgeOf(r.Context(), today)
	if err != nil {
		return nil, err
	}
	v.rules = rules{judge, today, v.person, p.Log}
	v.snapshots = seenBy{p, v.rules}
	if v.Snapshot, err = p.visible(r.Context(), v.Snapshot, v.rules); err != nil {
		return nil, err
	}
	v.index = v.indexed()
	return v, nil
}

// signIn is the address by which somebody signs in and comes back to a page.
func signIn(base string, r *http.Request) string {
	here := url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	return "/login?" + url.Values{"next": {base + here.String()}}.Encode()
}

// unavailable answers where there is no snapshot to show.
func (p *portal) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, ErrNoSuchTime):
		p.refuse(w, r, http.StatusNotFound, "There is no such time", err.Error())
	case r.Context().Err() != nil: // nobody waits
	case errors.Is(err, errRules):
		p.Log.Warn("the portal cannot tell who may see what", "error", err)
		p.refuse(w, r, http.StatusServiceUnavailable, "Nobody may see anything", errRules.Error())
	default:
		p.Log.Warn("the portal cannot show a page", "path", r.URL.Path, "error", err)
		p.refuse(w, r, http.StatusServiceUnavailable, "The repository cannot be read", err.Error())
	}
}

// refuse answers with a page that says why there is no other.
func (p *portal) refuse(w http.ResponseWriter, r *http.Request, code int, title, why string) {
	f := frame{Title: title, Static: assets().version, Body: notFound{Title: title, Why: why}}
	if p.Provider != nil {
		f.SignIn = "/login"
	}
	p.show(w, r, code, "missing", f)
}

// show renders a page, whole or not at all.
func (p *portal) show(w http.ResponseWriter, r *http.Request, code int, name string, f frame) {
	var b bytes.Buffer
	var err error
	format := r.URL.Query().Get("format")
	table, isTable := f.Body.(tabular)
	switch {
	case format == "json":
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		encoder := json.NewEncoder(&b)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(f)
	case format == "csv" && isTable:
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
		err = writeCSV(&b, table)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		err = pages()[name].Execute(&b, f)
	}
	if err != nil {
		p.Log.Error("the portal cannot render a page", "page", name, "error", err)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(b.Bytes())
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	if code == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // a reader who left misses nothing
}
