package portal

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// Provider lets people sign in elsewhere. State and nonce are secrets of one login
// that come back with it, in the address and in what the provider signs; the
// verifier is the one of PKCE.
type Provider interface {
	// Begin returns where a browser goes to sign in.
	Begin(ctx context.Context, state, nonce, verifier string) (address string, err error)
	// Identify returns who came back with a code. The error says why they are not
	// believed.
	Identify(ctx context.Context, code, nonce, verifier string) (Identity, error)
}

// back is where a [Provider] sends browsers back to.
const back = "/login/back"

// Back returns the address that a provider must know a portal by.
func Back(portal string) string { return strings.TrimSuffix(portal, "/") + back }

// login lets the operator in by a token, and sends others to the provider.
func (p *portal) login(w http.ResponseWriter, r *http.Request) {
	switch query := r.URL.Query(); {
	case p.Operator != nil && p.Operator.enter(query.Get("token")):
		p.enter(w, r, p.Operator.who, "/")
	case p.Provider != nil:
		p.leave(w, r, inside(query.Get("next")))
	default:
		p.refuse(w, r, http.StatusForbidden, "This address lets nobody in", "Each address that the portal prints works once: take the latest.")
	}
}

// leave sends a browser to the provider. Everything about the login follows from
// what its cookie holds, so that nothing is kept of those who never come back.
func (p *portal) leave(w http.ResponseWriter, r *http.Request, next string) {
	secret := rand.Text()
	address, err := p.Provider.Begin(r.Context(), p.derive("state", secret), p.derive("nonce", secret), p.derive("verifier", secret))
	if err != nil {
		p.Log.Warn("nobody can sign in", "error", err)
		p.refuse(w, r, http.StatusBadGateway, "Nobody can sign in", "The identity provider does not answer. Try again in a while.")
		return
	}
	http.SetCookie(w, p.cookie(r, loginCookie, secret+"."+base64.RawURLEncoding.EncodeToString([]byte(next)), http.SameSiteLaxMode, 10*60))
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// derive makes a secret of one login from the one that its browser has.
func (p *portal) derive(what, secret string) string {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write([]byte(what + " " + secret))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// comeBack lets somebody in whom the provider sent back, in the browser that left.
func (p *portal) comeBack(w http.ResponseWriter, r *http.Request) {
	if p.Provider == nil {
		p.refuse(w, r, http.StatusNotFound, "There is no such page", "Nobody signs in here.")
		return
	}
	http.SetCookie(w, p.cookie(r, loginCookie, "", http.SameSiteLaxMode, -1))
	cookie, err := r.Cookie(p.cookieName(r, loginCookie))
	query := r.URL.Query()
	if err != nil {
		p.refuse(w, r, http.StatusForbidden, "This login is over", "It was not begun in this browser, or too long ago: sign in again.")
		return
	}
	secret, encoded, _ := strings.Cut(cookie.Value, ".")
	next, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !same(query.Get("state"), p.derive("state", secret)) {
		p.refuse(w, r, http.StatusForbidden, "This login is of another", "It was not begun in this browser: sign in again.")
		return
	}
	if why := query.Get("error"); why != "" {
		p.refuse(w, r, http.StatusForbidden, "You were not let in", "The identity provider says: "+cmp.Or(query.Get("error_description"), why))
		return
	}
	who, err := p.Provider.Identify(r.Context(), query.Get("code"), p.derive("nonce", secret), p.derive("verifier", secret))
	if err != nil {
		p.Log.Warn("a login is refused", "error", err)
		p.refuse(w, r, http.StatusForbidden, "You were not let in", "What the identity provider says of you cannot be believed: sign in again. The log of this portal has the reason.")
		return
	}
	p.enter(w, r, who, inside(string(next)))
}

// enter opens a session for somebody. What their browser had before ends.
func (p *portal) enter(w http.ResponseWriter, r *http.Request, who Identity, next string) {
	p.sessions.end(p.sessionID(r))
	// Who follows a link from a forge or a chat is to arrive as who they are. The
	// operator follows none.
	site := http.SameSiteLaxMode
	if who.Operator {
		site = http.SameSiteStrictMode
	}
	http.SetCookie(w, p.cookie(r, sessionCookie, p.sessions.begin(who), site, 0))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// logout ends the session.
func (p *portal) logout(w http.ResponseWriter, r *http.Request) {
	p.sessions.end(p.sessionID(r))
	http.SetCookie(w, p.cookie(r, sessionCookie, "", http.SameSiteLaxMode, -1))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// inside returns an address if it leads to a page of this portal, and that of the
// first one otherwise. Browsers take a backslash for a slash and leave control
// characters out, so neither passes; and a cookie holds so much.
func inside(address string) string {
	u, err := url.Parse(address)
	odd := func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }
	if err != nil || len(address) > 2000 || u.IsAbs() || u.Host != "" || !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") || strings.ContainsFunc(address, odd) {
		return "/"
	}
	return address
}
