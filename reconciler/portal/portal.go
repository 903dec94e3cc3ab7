// Package portal draws a platform for people: HTML and JSON over a snapshot,
// and nothing else.
//
// A [Snapshot] is what a commit of the tracked branch and one of the status
// branch say. Every page is a function of a snapshot and the request, so every
// page exists for the past as well, below /at/, and nothing on it comes from
// anywhere but Git. The same values that a template shows are the page's JSON
// (?format=json). Nothing here writes, and no page needs a script.
//
// Whatever stands in the repository is text on a page, never markup.
package portal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Options say what a portal shows and to whom.
type Options struct {
	Snapshots Snapshots
	// Hosts are the names that the portal answers to beside those of this
	// machine's loopback: any other is a page that had its name resolved here.
	Hosts []string
	// Direct refuses what a proxy passed on: a reader who is let in for being on
	// this machine may not be anywhere else.
	Direct bool
	Log    *slog.Logger
}

// New returns the portal. It answers GET and HEAD.
func New(options Options) http.Handler {
	p := &portal{Options: options, mux: http.NewServeMux()}
	for pattern, r := range routes {
		p.mux.Handle("GET "+pattern, p.page(r))
	}
	p.mux.HandleFunc("GET /static/{file}", static)
	p.mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		p.refuse(w, r, http.StatusNotFound, "There is no such page", "Nothing is at this address.")
	})
	return p
}

// portal is the handler.
type portal struct {
	Options
	mux *http.ServeMux
}

// route is a page: the template that shows it and the function that makes it.
type route struct {
	template string
	make     func(v *view, r *http.Request) (any, error)
}

var routes = map[string]route{
	"/{$}":                            {"home", home},
	"/search":                         {"search", search},
	"/services":                       {"services", services},
	"/services/{name}":                {"service", service},
	"/services/{name}/docs/{path...}": {"docs", docs},
	"/requests":                       {"requests", requests},
	"/requests/{name}":                {"request", request},
	"/teams":                          {"teams", teams},
	"/teams/{name}":                   {"team", team},
	"/environments":                   {"environments", environments},
	"/environments/{name}":            {"environment", environment},
	"/blueprints":                     {"blueprints", blueprints},
	"/blueprints/{name}":              {"blueprint", blueprint},
	"/compare":                        {"compare", compare},
	"/compare/{between}":              {"compare", compare},
	"/graph":                          {"graph", graph},
	"/audit":                          {"audit", audit},
	"/source/{path...}":               {"source", source},
}

// ServeHTTP refuses what no browser of a reader sends, and answers the rest.
func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	switch {
	case !p.known(r.Host):
		http.Error(w, "This portal does not go by that name.", http.StatusMisdirectedRequest)
	case p.Direct && passedOn(r.Header):
		http.Error(w, "This portal is for this machine alone.", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "This portal is for reading.", http.StatusMethodNotAllowed)
	default:
		p.travel(w, r)
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
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback() ||
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
		v, err := p.view(r)
		if err != nil {
			p.unavailable(w, r, err)
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
		case errors.As(err, &moved):
			http.Redirect(w, r, string(moved), http.StatusFound)
		default:
			p.unavailable(w, r, err)
		}
	})
}

// view finds the snapshot that a page is about.
func (p *portal) view(r *http.Request) (*view, error) {
	when, past := r.Context().Value(whenKey{}).(string)
	if !past {
		s, err := p.Snapshots.Now(r.Context())
		if err != nil {
			return nil, err
		}
		return &view{Snapshot: s, index: s.indexed(), snapshots: p.Snapshots}, nil
	}
	s, err := p.Snapshots.At(r.Context(), when)
	if err != nil {
		return nil, err
	}
	return &view{Snapshot: s, index: s.indexed(), snapshots: p.Snapshots, base: "/at/" + url.PathEscape(when), when: when}, nil
}

// unavailable answers where there is no snapshot to show.
func (p *portal) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, ErrNoSuchTime):
		p.refuse(w, r, http.StatusNotFound, "There is no such time", err.Error())
	case r.Context().Err() != nil: // nobody waits
	default:
		p.Log.Warn("the portal cannot show a page", "path", r.URL.Path, "error", err)
		p.refuse(w, r, http.StatusServiceUnavailable, "The repository cannot be read", err.Error())
	}
}

// refuse answers with a page that says why there is no other.
func (p *portal) refuse(w http.ResponseWriter, r *http.Request, code int, title, why string) {
	p.show(w, r, code, "missing", frame{Title: title, Static: assets.version, Body: notFound{Title: title, Why: why}})
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
		err = pages[name].Execute(&b, f)
	}
	if err != nil {
		p.Log.Error("the portal cannot render a page", "page", name, "error", err)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // a reader who left misses nothing
}
