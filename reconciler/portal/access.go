package portal

import (
	"errors"
	"mime"
	"net/http"
)

// maxForm bounds what a form may send.
const maxForm = 64 << 10

// act lets a form do something: where a page of this portal sent it, and the
// person whose browser sent it may write.
func (p *portal) act(w http.ResponseWriter, r *http.Request) {
	if _, pattern := p.mux.Handler(r); pattern == "" { // nothing takes a form there
		p.mux.ServeHTTP(w, r)
		return
	}
	if err := p.origin.Check(r); err != nil {
		p.refuse(w, r, http.StatusForbidden, "That came from elsewhere", "Only a page of this portal may send a form to it.")
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		p.refuse(w, r, http.StatusUnsupportedMediaType, "That is not a form", "This portal takes forms and nothing else.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		code, why := http.StatusBadRequest, "The form cannot be read."
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			code, why = http.StatusRequestEntityTooLarge, "The form is larger than 64 KiB."
		}
		p.refuse(w, r, code, "That is too much or too little", why)
		return
	}
	signed := p.sessions.find(p.sessionID(r))
	switch {
	case signed == nil:
		p.refuse(w, r, http.StatusForbidden, "Nobody is signed in", "Who changes something must be known: sign in, then send the form again.")
	case !same(r.PostForm.Get("csrf"), signed.csrf):
		p.refuse(w, r, http.StatusForbidden, "That form is not of this session", "Load the page again, then send its form.")
	default:
		p.mux.ServeHTTP(w, r)
	}
}
