// Package stores starts the servers on which tests keep states: each is of its
// own for one test, on this machine, and ends with it.
package stores

import (
	"encoding/json"
	"testing"
)

// Store is where an environment keeps its states.
type Store struct {
	// Backend names it, and Config are its arguments.
	Backend string
	Config  map[string]any
	// Stop ends the server at once, as a crash does, and Start makes it answer
	// again with what it kept. They are nil where there is no server.
	Stop, Start func()
	// State returns the state of a unit by the store's own means, and nothing where
	// there is none.
	State func(unit string) string
	// Lose deletes the state of a unit by the store's own means.
	Lose func(unit string)
	// Locked tells whether somebody has the lock of a unit's state.
	Locked func(unit string) bool
}

// CUE returns the backend as an environment writes it.
func (s Store) CUE() string {
	text, err := json.Marshal(map[string]any{"type": s.Backend, "config": s.Config})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// New starts the server of one of the backends http, pg, s3 and "s3 with
// DynamoDB", where the locks are there.
func New(t *testing.T, backend string) Store {
	t.Helper()
	switch backend {
	case "http":
		return NewHTTP(t).Store()
	case "pg":
		return newPostgres(t).store()
	case "s3":
		return StartS3(t).Store()
	case "s3 with DynamoDB":
		return StartS3(t).lockedBy(StartDynamoDB(t))
	}
	t.Fatalf("there is no server for the backend %q", backend)
	return Store{}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
