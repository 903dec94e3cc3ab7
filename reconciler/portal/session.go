package portal

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A session ends when nobody used it for a while, and after a day at work anyway:
// who left the organisation meanwhile is let in no more.
const (
	sessionIdle = 2 * time.Hour
	sessionLife = 12 * time.Hour
	maxSessions = 10_000
)

// session is a browser in which somebody signed in.
type session struct {
	Identity
	csrf        string // what each form of it carries
	began, seen time.Time
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.seen) > sessionIdle || now.Sub(s.began) > sessionLife
}

// sessions are those of one portal. They end with it.
type sessions struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*session // by the digest of what the cookie says; guarded by mu
}

// begin opens a session and returns what its cookie says. It never takes over
// what a browser came with, which somebody else may have put there.
func (s *sessions) begin(who Identity) string {
	id, now := rand.Text(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.open, func(_ [sha256.Size]byte, one *session) bool { return one.over(now) })
	if len(s.open) >= maxSessions {
		idlest := slices.MinFunc(slices.Collect(maps.Keys(s.open)), func(a, b [sha256.Size]byte) int { return s.open[a].seen.Compare(s.open[b].seen) })
		delete(s.open, idlest)
	}
	s.open[sha256.Sum256([]byte(id))] = &session{Identity: who, csrf: rand.Text(), began: now, seen: now}
	return id
}

// of returns the session that a request belongs to; nil where there is none.
func (s *sessions) of(r *http.Request) *session {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one, now := s.open[sha256.Sum256([]byte(cookie.Value))], time.Now()
	if one == nil || one.over(now) {
		return nil
	}
	one.seen = now
	known := *one
	return &known
}

// end closes the session of a request.
func (s *sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(cookieName(r)); err == nil {
		s.mu.Lock()
		delete(s.open, sha256.Sum256([]byte(cookie.Value)))
		s.mu.Unlock()
	}
}

// cookieName has the port in it: browsers send the cookies of one port of this
// machine to all of them, and a second portal would sign people out of the first.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = ""
	}
	return "pave-" + cmp.Or(port, "80")
}

// sessionCookie returns the cookie that holds a session; without a value, the one
// that takes it away.
func sessionCookie(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{Name: cookieName(r), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// Operator lets who runs a portal sign in to it, by an address that only they see.
type Operator struct {
	who  Identity
	tell func(token string)

	mu    sync.Mutex
	token string // guarded by mu
}

// NewOperator tells a token by which somebody signs in as the operator of the
// portal, and the next one once that was used: each lets one browser in.
func NewOperator(name, email string, tell func(token string)) *Operator {
	o := &Operator{who: Identity{ID: "operator", Name: name, Email: email, Operator: true}, tell: tell, token: rand.Text()}
	tell(o.token)
	return o
}

// enter spends a token.
func (o *Operator) enter(token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !same(token, o.token) {
		return false
	}
	o.token = rand.Text()
	o.tell(o.token)
	return true
}

// same compares two secrets.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
