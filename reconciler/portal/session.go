package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
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

// find returns the session that a cookie holds, and keeps it from being idle; nil
// where there is none.
func (s *sessions) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, now := s.open[sha256.Sum256([]byte(id))], time.Now()
	if one == nil || one.over(now) {
		return nil
	}
	one.seen = now
	known := *one
	return &known
}

// end closes a session, if there is one.
func (s *sessions) end(id string) {
	s.mu.Lock()
	delete(s.open, sha256.Sum256([]byte(id)))
	s.mu.Unlock()
}

// Operator lets who runs a portal sign in to it, by an address that only they see.
type Operator struct {
	who  Identity
	tell func(token string)

	mu    sync.Mutex
	token string // guarded by mu
}

// NewOperator returns the operator of a portal. Once that is made it tells a token
// by which they sign in, and the next one whenever one was used: each lets one
// browser in.
func NewOperator(name, email string, tell func(token string)) *Operator {
	return &Operator{who: Identity{ID: "operator", Name: name, Email: email, Operator: true}, tell: tell}
}

// open makes the next token.
func (o *Operator) open() {
	o.token = rand.Text()
	o.tell(o.token)
}

// enter spends a token.
func (o *Operator) enter(token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.token == "" || !same(token, o.token) {
		return false
	}
	o.open()
	return true
}

// same compares two secrets.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
