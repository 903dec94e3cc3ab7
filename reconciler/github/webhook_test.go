package github_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/pave-dev/pave/reconciler/github"
	published "github.com/pave-dev/pave/testdata/github"
)

var secret = []byte("a secret of the tests")

// hook is a handler and the pokes that it made.
type hook struct {
	http.Handler
	mu    sync.Mutex
	pokes []github.Event
}

func newHook(t *testing.T, repository string) *hook {
	t.Helper()
	h := &hook{}
	var err error
	h.Handler, err = github.Handler(secret, repository, func(e github.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.pokes = append(h.pokes, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// take waits until no more pokes come and returns them.
func (h *hook) take() []github.Event {
	time.Sleep(5 * time.Second)
	h.mu.Lock()
	defer h.mu.Unlock()
	pokes := h.pokes
	h.pokes = nil
	return pokes
}

func sign(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func delivery(event string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-Hub-Signature-256", sign(secret, body))
	return r
}

func (h *hook) answer(r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func examples(t *testing.T) []published.Example {
	t.Helper()
	all, err := published.Webhooks()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 60 {
		t.Fatalf("only %d published deliveries", len(all))
	}
	for _, event := range []string{"check_run", "check_suite", "merge_group", "ping", "pull_request", "pull_request_review", "push"} {
		if !slices.ContainsFunc(all, func(e published.Example) bool { return e.Event == event }) {
			t.Fatalf("no published delivery of %s", event)
		}
	}
	return all
}

func TestPublishedDeliveriesAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, e := range examples(t) {
			var of struct {
				Action      string
				Number      int
				Repository  struct{ Full_name string }
				PullRequest struct{ Number int } `json:"pull_request"`
			}
			if err := json.Unmarshal(e.Payload, &of); err != nil {
				t.Fatal(err)
			}
			repository := of.Repository.Full_name
			if repository == "" { // a ping to an organisation's hook
				repository = "acme/platform"
			}
			h := newHook(t, repository)
			if status := h.answer(delivery(e.Event, e.Payload)); status != http.StatusAccepted {
				t.Errorf("example %d, %s %s: %d", i, e.Event, of.Action, status)
			}
			pokes := h.take()
			want := 1
			if e.Event == "ping" || strings.HasPrefix(e.Event, "check_") && of.Action != "rerequested" {
				want = 0
			}
			if len(pokes) != want {
				t.Errorf("example %d, %s %s: %d pokes, want %d", i, e.Event, of.Action, len(pokes), want)
			}
			if number := max(of.Number, of.PullRequest.Number); want == 1 && number > 0 && pokes[0].Number != number {
				t.Errorf("example %d, %s %s: a poke for %d, want %d", i, e.Event, of.Action, pokes[0].Number, number)
			}
			if h := newHook(t, "someone/else"); e.Event != "ping" && h.answer(delivery(e.Event, e.Payload)) != http.StatusNotFound {
				t.Errorf("example %d passes for one of another repository", i)
			}
		}
	})
}

func TestForgedDeliveriesAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, "Codertocat/Hello-World")
		all := examples(t)
		random := rand.New(rand.NewPCG(3, 4))
		rejected := 0
		for i := range 1200 {
			e := all[i%len(all)]
			body := bytes.Clone(e.Payload)
			r := delivery(e.Event, body)
			switch i % 10 {
			case 0: // truncated
				r.Body = io.NopCloser(bytes.NewReader(body[:random.IntN(len(body))]))
			case 1: // a changed byte
				body[random.IntN(len(body))] ^= 1 << random.IntN(7)
				r.Body = io.NopCloser(bytes.NewReader(body))
			case 2:
				r.Header.Set("X-Hub-Signature-256", sign([]byte("another secret"), body))
			case 3:
				r.Header.Del("X-Hub-Signature-256")
			case 4: // a signature by SHA-1 is none
				mac := hmac.New(sha1.New, secret)
				mac.Write(body)
				r.Header.Del("X-Hub-Signature-256")
				r.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(mac.Sum(nil)))
			case 5:
				mac := hmac.New(sha1.New, secret)
				mac.Write(body)
				r.Header.Set("X-Hub-Signature-256", "sha1="+hex.EncodeToString(mac.Sum(nil)))
			case 6:
				r.Header.Set("X-Hub-Signature-256", sign(secret, body)[:70])
			case 7:
				r.Header.Set("X-Hub-Signature-256", strings.TrimPrefix(sign(secret, body), "sha256="))
			case 8: // something after the end
				r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), strings.NewReader(" ")))
			case 9:
				r.Header.Add("X-Hub-Signature-256", sign([]byte("x"), body))
			}
			if status := h.answer(r); status != http.StatusUnauthorized {
				t.Fatalf("forgery %d of kind %d: %d", i, i%10, status)
			}
			rejected++
		}
		if pokes := h.take(); len(pokes) != 0 || rejected < 1000 {
			t.Errorf("%d pokes of %d forgeries", len(pokes), rejected)
		}
	})
}

func TestOddDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, "acme/platform")
		ours := []byte(`{"action":"opened","number":7,"repository":{"full_name":"Acme/Platform"}}`)
		h.answer(delivery("pull_request", ours)) // makes a poke at once; what follows in the same second makes another
		synctest.Wait()
		for name, c := range map[string]struct {
			change func(r *http.Request) *http.Request
			status int
		}{
			"as it should be": {func(r *http.Request) *http.Request { return r }, 202},
			"with a charset": {func(r *http.Request) *http.Request {
				r.Header.Set("Content-Type", "application/json; charset=utf-8")
				return r
			}, 202},
			"an unknown event": {func(r *http.Request) *http.Request { r.Header.Set("X-GitHub-Event", "star"); return r }, 202},
			"GET":              {func(r *http.Request) *http.Request { r.Method = "GET"; return r }, 405},
			"a form": {func(r *http.Request) *http.Request {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				return r
			}, 415},
			"no type":  {func(r *http.Request) *http.Request { r.Header.Del("Content-Type"); return r }, 415},
			"no event": {func(r *http.Request) *http.Request { r.Header.Del("X-GitHub-Event"); return r }, 400},
			"a broken body": {func(r *http.Request) *http.Request {
				r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
				return r
			}, 400},
			"no JSON":            {func(*http.Request) *http.Request { return delivery("push", []byte("payload={}")) }, 400},
			"deep JSON":          {func(*http.Request) *http.Request { return delivery("push", []byte(strings.Repeat("[", 100_000))) }, 400},
			"a number as a word": {func(*http.Request) *http.Request { return delivery("pull_request", []byte(`{"number":"7"}`)) }, 400},
			"no repository":      {func(*http.Request) *http.Request { return delivery("push", []byte(`{}`)) }, 404},
			"too large":          {func(*http.Request) *http.Request { return delivery("push", bytes.Repeat([]byte(" "), 5<<20)) }, 413},
		} {
			if status := h.answer(c.change(delivery("pull_request", ours))); status != c.status {
				t.Errorf("%s: %d, want %d", name, status, c.status)
			}
		}
		if pokes := h.take(); !slices.Equal(pokes, []github.Event{{Number: 7}, {Number: 7}}) {
			t.Errorf("the pokes are %v", pokes)
		}
	})
}

// Slow senders cannot fill the memory: no more than a few bodies are read at a time.
func TestSlowDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, "acme/platform")
		var ends []io.Closer
		busy := 0
		statuses := make(chan int, 100)
		for range 50 {
			r, w := io.Pipe()
			ends = append(ends, w)
			request := delivery("push", nil)
			request.Body = r
			go func() { statuses <- h.answer(request) }()
		}
		synctest.Wait()
		for len(statuses) > 0 {
			if <-statuses == http.StatusServiceUnavailable {
				busy++
			}
		}
		for _, end := range ends {
			end.Close()
		}
		synctest.Wait()
		if busy != 50-16 {
			t.Errorf("%d of 50 were turned away", busy)
		}
		if status := h.answer(delivery("ping", []byte("{}"))); status != http.StatusAccepted {
			t.Errorf("afterwards: %d", status)
		}
	})
}

// A storm of replays costs a poke a second, and the last of it is never lost.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, "acme/platform")
		replay := func(number int) {
			body := fmt.Appendf(nil, `{"action":"synchronize","number":%d,"repository":{"full_name":"acme/platform"}}`, number)
			if status := h.answer(delivery("pull_request", body)); status != http.StatusAccepted {
				t.Fatal(status)
			}
		}
		for range 10_000 { // within ten seconds
			replay(7)
			time.Sleep(time.Millisecond)
		}
		if n := len(h.take()); n < 10 || n > 12 {
			t.Errorf("10 seconds of replays make %d pokes", n)
		}
		replay(1) // makes a poke at once; what follows in the same second makes others
		synctest.Wait()
		for i := range 10_000 {
			replay(i + 1)
		}
		if pokes := h.take(); !slices.Equal(pokes, []github.Event{{Number: 1}, {}}) {
			t.Errorf("replays about 10,000 pull requests make the pokes %v, want one for all", pokes)
		}
		replay(1)
		synctest.Wait()
		for i := range 100 {
			replay(i + 1)
		}
		if pokes := h.take(); len(pokes) != 101 {
			t.Errorf("replays about 100 pull requests make %d pokes, want one for each", len(pokes))
		}
	})
}

func TestHandlerRefuses(t *testing.T) {
	for _, c := range []struct{ secret, repository string }{{"", "a/b"}, {"short", "a/b"}, {string(secret), ""}, {string(secret), "a"}} {
		if _, err := github.Handler([]byte(c.secret), c.repository, func(github.Event) {}); err == nil {
			t.Errorf("a handler with %q for %q", c.secret, c.repository)
		}
	}
}
