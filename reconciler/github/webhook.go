package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	maxDelivery     = 4 << 20
	maxAtOnce       = 16          // deliveries that are read at a time
	pokeInterval    = time.Second // between rounds of pokes
	maxPending      = 100         // pull requests in a round; more are one poke for all
	minSecretLength = 16
)

// Event is a hint that it is time to look. The repository is the one that the
// handler was made for.
type Event struct {
	// Number is a pull request's; zero is the branches, and all pull requests.
	Number int
}

// Handler takes webhook deliveries for one repository, "owner/name", and calls
// poke for them, from one goroutine at a time, at once but at most once a second
// for each pull request. Deliveries that are not signed with the secret
// are refused; of the others only the repository, the number of a pull request and
// the kind of event are read.
//
// It answers 202 to what it takes or ignores, 400 to what it cannot read, 401
// to what is not signed, 404 to other repositories' deliveries, 405 and 415
// to what is no delivery, 413 to what is too large and 503 when it has too
// much to read.
func Handler(secret []byte, repository string, poke func(Event)) (http.Handler, error) {
	if len(secret) < minSecretLength {
		return nil, errors.New("a webhook needs a secret of 16 characters or more")
	}
	if owner, name, ok := strings.Cut(repository, "/"); !ok || !namePattern().MatchString(owner) || !namePattern().MatchString(name) {
		return nil, errors.New("a webhook needs its repository as OWNER/NAME")
	}
	return &handler{secret: secret, repository: repository, reading: make(chan struct{}, maxAtOnce),
		pokes: pokes{poke: poke, pending: map[Event]bool{}}}, nil
}

type handler struct {
	secret     []byte
	repository string
	reading    chan struct{}
	pokes      pokes
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := h.take(w, r)
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, http.StatusText(status), status)
}

// take handles a delivery and returns the answer's status.
func (h *handler) take(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType
	}
	signature, ok := signatureOf(r)
	if !ok {
		return http.StatusUnauthorized
	}
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	default:
		return http.StatusServiceUnavailable
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return http.StatusBadRequest
	}
	mac := hmac.New(sha256.New, h.secret)
	mac.Write(body)
	if !hmac.Equal(signature, mac.Sum(nil)) {
		return http.StatusUnauthorized
	}
	return h.hint(r.Header.Get("X-GitHub-Event"), body)
}

// signatureOf reads the one signature that counts: SHA-1 is not accepted.
func signatureOf(r *http.Request) ([]byte, bool) {
	given := r.Header.Values("X-Hub-Signature-256")
	if len(given) != 1 {
		return nil, false
	}
	digits, ok := strings.CutPrefix(given[0], "sha256=")
	signature, err := hex.DecodeString(digits)
	return signature, ok && err == nil && len(signature) == sha256.Size
}

// delivery is all that is read of one.
type delivery struct {
	Action     string
	Number     int
	Repository struct {
		FullName string `json:"full_name"`
	}
	PullRequest numbered `json:"pull_request"`
	CheckRun    struct {
		PullRequests []numbered `json:"pull_requests"`
	} `json:"check_run"`
	CheckSuite struct {
		PullRequests []numbered `json:"pull_requests"`
	} `json:"check_suite"`
}

type numbered struct{ Number int }

// hint pokes for what a signed delivery is about.
func (h *handler) hint(event string, body []byte) int {
	var d delivery
	if event == "" || json.Unmarshal(body, &d) != nil {
		return http.StatusBadRequest
	}
	if event == "ping" {
		return http.StatusAccepted
	}
	if !strings.EqualFold(d.Repository.FullName, h.repository) {
		return http.StatusNotFound
	}
	switch event {
	case "push", "merge_group":
		h.pokes.add(Event{})
	case "pull_request":
		h.pokes.add(Event{Number: d.Number})
	case "pull_request_review":
		h.pokes.add(Event{Number: d.PullRequest.Number})
	case "check_run", "check_suite":
		if d.Action != "rerequested" { // the others are our own doing
			break
		}
		asked := append(d.CheckRun.PullRequests, d.CheckSuite.PullRequests...)
		if len(asked) == 0 { // of a fork, or of the tracked branch
			h.pokes.add(Event{})
		}
		for _, p := range asked {
			h.pokes.add(Event(p))
		}
	}
	return http.StatusAccepted
}

// pokes gathers what to poke for, so that a storm of deliveries costs one poke a
// second for each pull request, and one for all of them where they are many.
type pokes struct {
	poke func(Event)

	mu      sync.Mutex
	pending map[Event]bool // guarded by mu
	last    time.Time      // when pokes were made; guarded by mu
	waiting bool           // a flush is coming or going on; guarded by mu
}

func (p *pokes) add(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := (Event{}); !p.pending[all] {
		p.pending[Event{Number: max(e.Number, 0)}] = true
		if p.pending[all] || len(p.pending) > maxPending {
			p.pending = map[Event]bool{all: true}
		}
	}
	p.schedule()
}

// schedule is called with mu held.
func (p *pokes) schedule() {
	if len(p.pending) > 0 && !p.waiting {
		p.waiting = true
		time.AfterFunc(time.Until(p.last.Add(pokeInterval)), p.flush)
	}
}

func (p *pokes) flush() {
	p.mu.Lock()
	events := p.pending
	p.pending, p.last = map[Event]bool{}, time.Now()
	p.mu.Unlock()
	for e := range events {
		p.poke(e)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	p.schedule()
}
