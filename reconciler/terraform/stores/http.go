package stores

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// HTTP keeps states as the backend "http" wants them.
type HTTP struct {
	t       *testing.T
	address string
	server  *http.Server

	mu sync.Mutex
	// States and Locks are by unit, and Full tells that nothing can be written.
	// They are for [HTTP.Do] alone while anything runs.
	States, Locks map[string][]byte
	Full          bool
}

// NewHTTP starts a server of the backend "http".
func NewHTTP(t *testing.T) *HTTP {
	t.Helper()
	s := &HTTP{t: t, States: map[string][]byte{}, Locks: map[string][]byte{}, address: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *HTTP) start() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	must(s.t, err)
	s.address, s.server = listener.Addr().String(), &http.Server{Handler: s}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server)
}

func (s *HTTP) stop() { _ = s.server.Close() }

// Do does something while nothing is served.
func (s *HTTP) Do(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
}

// Store returns the server as a store.
func (s *HTTP) Store() Store {
	return Store{
		Backend: "http", Config: map[string]any{"address": "http://" + s.address + "/units", "retry_max": 0},
		Stop: s.stop, Start: s.start,
		State:  func(unit string) (state string) { s.Do(func() { state = string(s.States[unit]) }); return state },
		Lose:   func(unit string) { s.Do(func() { delete(s.States, unit) }) },
		Locked: func(unit string) (locked bool) { s.Do(func() { _, locked = s.Locks[unit] }); return locked },
	}
}

// ServeHTTP answers engines.
func (s *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unit := strings.TrimPrefix(r.URL.Path, "/units/")
	held, locked := s.Locks[unit]
	switch r.Method {
	case "LOCK":
		if locked {
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(held)
			return
		}
		s.Locks[unit] = body
	case "UNLOCK":
		delete(s.Locks, unit)
	case http.MethodGet:
		state, found := s.States[unit]
		if !found {
			w.WriteHeader(http.StatusNoContent)
		}
		_, _ = w.Write(state)
	case http.MethodPost:
		if s.Full {
			w.WriteHeader(http.StatusInsufficientStorage)
			return
		}
		s.States[unit] = body
	}
}
