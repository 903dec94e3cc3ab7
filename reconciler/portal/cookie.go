package portal

import (
	"cmp"
	"net"
	"net/http"
)

// The cookies of the portal, by what their names end with.
const (
	sessionCookie = "session"
	loginCookie   = "login" // of one who is on their way to the provider and back
)

// cookie returns one that nobody but this portal sets or reads.
func (p *portal) cookie(r *http.Request, kind, value string, site http.SameSite, age int) *http.Cookie {
	return &http.Cookie{
		Name: p.cookieName(r, kind), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: p.secure(), SameSite: site,
	}
}

// cookieName is one that browsers let only this very host set, where they reach it
// by https. Elsewhere it has the port in it: they send the cookies of one port of
// this machine to all, and a second portal would sign people out of the first.
func (p *portal) cookieName(r *http.Request, kind string) string {
	if p.secure() {
		return "__Host-pave-" + kind
	}
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = ""
	}
	return "pave-" + cmp.Or(port, "80") + "-" + kind
}

// secure tells whether browsers reach the portal by https.
func (p *portal) secure() bool { return p.URL != nil && p.URL.Scheme == "https" }

// sessionID is what a request says of its session; empty where it says nothing.
func (p *portal) sessionID(r *http.Request) string {
	c, err := r.Cookie(p.cookieName(r, sessionCookie))
	if err != nil {
		return ""
	}
	return c.Value
}
