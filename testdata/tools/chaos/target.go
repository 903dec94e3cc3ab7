package main

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// target is a slow server that keeps objects by their names, and a log of
// everything that it did. What was asked of it happens, also when whoever asked
// has died meanwhile: so it is with a cloud.
type target struct {
	http.Server
	address string

	mu      sync.Mutex
	random  *rand.Rand             // guarded by mu
	busy    map[string]*sync.Mutex // by name, for one thing happens to an object at a time
	objects map[string]string      // the content by name
	log     []entry
	// lenient makes what exists again, as a cloud does whose names are the
	// caller's; else that is refused.
	lenient bool
	pending int // what was asked and has not happened yet
}

// entry is one change, or an attempt at one.
type entry struct {
	asked, done   time.Time
	method, name  string
	before, after string // the content, as far as there was one
	existed       bool
	refused       bool
}

func startTarget(seed uint64) (*target, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{address: "http://" + listener.Addr().String(), random: rand.New(rand.NewPCG(seed, 2)),
		busy: map[string]*sync.Mutex{}, objects: map[string]string{}}
	t.Handler = t
	go t.Serve(listener)
	return t, nil
}

func (t *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/objects/")
	if r.Method == http.MethodGet {
		if content, found := t.get(name); found {
			io.WriteString(w, content)
		} else {
			http.NotFound(w, r)
		}
		return
	}
	e := t.change(r.Method, name, string(body))
	switch {
	case e.refused:
		http.Error(w, name+" exists", http.StatusConflict)
	case !e.existed && r.Method != http.MethodPost:
		http.NotFound(w, r)
	}
}

func (t *target) get(name string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	content, found := t.objects[name]
	return content, found
}

// change takes its time, half before it happens and half after.
func (t *target) change(method, name, content string) entry {
	e := entry{asked: time.Now(), method: method, name: name, after: content}
	t.mu.Lock()
	t.pending++
	own := t.busy[name]
	if own == nil {
		own = &sync.Mutex{}
		t.busy[name] = own
	}
	pause := time.Duration(50+t.random.IntN(250)) * time.Millisecond
	t.mu.Unlock()

	own.Lock()
	defer own.Unlock()
	time.Sleep(pause)
	defer time.Sleep(pause)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending--
	e.before, e.existed = t.objects[name]
	e.done = time.Now()
	switch {
	case method == http.MethodDelete:
		delete(t.objects, name)
	case method == http.MethodPost && e.existed && !t.lenient:
		e.refused = true
	case method == http.MethodPost, e.existed:
		t.objects[name] = content
	}
	t.log = append(t.log, e)
	return e
}

// now returns what there is, and whether nothing is about to happen to it.
func (t *target) now() (objects map[string]string, quiet bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	objects = map[string]string{}
	for name, content := range t.objects {
		objects[name] = content
	}
	return objects, t.pending == 0
}

func (t *target) history() []entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]entry(nil), t.log...)
}

func (t *target) be(lenient bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lenient = lenient
}
