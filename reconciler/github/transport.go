package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"golang.org/x/time/rate"
)

const (
	requestDeadline = 30 * time.Second // of one attempt, its body included
	maxBody         = 64 << 20
	maxFaults       = 4 // attempts that may fail before the fault is passed on
	maxHold         = time.Hour + 5*time.Minute
)

// GitHub asks for no more than one change a second, and allows 80 a minute.
const (
	changesPerSecond = 1
	changesAtOnce    = 10
)

// bounded gives every attempt a deadline and every answer a size, and reads the
// answer whole, so that nobody else has to close it.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), requestDeadline)
	defer cancel()
	resp, err := b.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer to %s %s exceeds %d MiB", req.Method, req.URL.Path, maxBody>>20)
	}
	setBody(resp, body)
	return resp, nil
}

// patient waits while the forge limits requests, for as long as the context
// allows, and repeats what failed a bounded number of times. A change is never
// repeated: whether it was made is not known, so whoever asked for it looks first.
type patient struct {
	next    http.RoundTripper
	changes *rate.Limiter
	log     *slog.Logger

	mu        sync.Mutex
	until     time.Time // no request before; guarded by mu
	secondary int       // limits in a row that named no time; guarded by mu
}

func newPatient(next http.RoundTripper, log *slog.Logger) *patient {
	return &patient{next: next, log: log, changes: rate.NewLimiter(changesPerSecond, changesAtOnce)}
}

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for faults := 0; ; {
		if err := p.await(ctx, req.Method); err != nil {
			return nil, err
		}
		attempt := req.Clone(ctx)
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			attempt.Body = body
		}
		resp, err := p.next.RoundTrip(attempt)
		if p.limited(answerTo(resp, err)) {
			continue // refused before anything was done
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil && resp.StatusCode < 500 {
			// The client would refuse requests by these instead of waiting.
			for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
				resp.Header.Del(name)
			}
			return resp, nil
		}
		faults++
		if faults >= maxFaults || !repeatable(req.Method, err) {
			return resp, err
		}
		if !sleep(ctx, backoff(faults)) {
			return nil, context.Cause(ctx)
		}
	}
}

// await blocks until the limits allow the request.
func (p *patient) await(ctx context.Context, method string) error {
	if method != http.MethodGet && method != http.MethodHead {
		if err := p.changes.Wait(ctx); err != nil {
			return err
		}
	}
	for {
		p.mu.Lock()
		wait := time.Until(p.until)
		p.mu.Unlock()
		if wait <= 0 {
			return ctx.Err()
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// limited notes the limits that an answer states, and tells whether it refuses
// the request because of them.
func (p *patient) limited(resp *http.Response) bool {
	if resp == nil {
		return false
	}
	refused := isLimit(resp)
	wait := statedWait(resp)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !refused && wait == 0:
		p.secondary = 0
		return false
	case refused && wait == 0: // documented: a minute, and longer each time
		wait = time.Minute << min(p.secondary, 5)
		p.secondary++
	}
	wait = min(wait, maxHold) + time.Second
	if until := time.Now().Add(wait); until.After(p.until) {
		p.until = until
		p.log.Warn("the forge limits requests", "wait", wait.Round(time.Second).String(), "status", resp.StatusCode)
	}
	return refused
}

// isLimit tells whether an answer refuses a request because there were too many.
func isLimit(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
	default:
		return false
	}
	if resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-RateLimit-Remaining") == "0" {
		return true
	}
	body := bytes.ToLower(peek(resp))
	return bytes.Contains(body, []byte("secondary rate limit")) || bytes.Contains(body, []byte("abuse detection")) ||
		bytes.Contains(body, []byte("secondary-rate-limits"))
}

// statedWait is how long an answer asks to wait; zero where it does not say.
// It reads the forge's clock, so that ours need not agree.
func statedWait(resp *http.Response) time.Duration {
	now := time.Now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	if resp.StatusCode >= 400 {
		after := resp.Header.Get("Retry-After")
		if seconds, err := strconv.Atoi(after); err == nil && seconds > 0 {
			return time.Duration(min(seconds, int(maxHold/time.Second))) * time.Second
		}
		if at, err := http.ParseTime(after); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(reset, 0).Sub(now), 0)
		}
	}
	return 0
}

// answerTo returns the forge's answer, also where it is one to the request for
// a token that went before.
func answerTo(resp *http.Response, err error) *http.Response {
	var refused *ghinstallation.HTTPError
	if errors.As(err, &refused) {
		return refused.Response
	}
	return resp
}

// repeatable tells whether doing it twice is as good as once. What failed for
// want of a token was not done at all.
func repeatable(method string, err error) bool {
	var untold *ghinstallation.HTTPError
	return method == http.MethodGet || method == http.MethodDelete || errors.As(err, &untold)
}

// backoff doubles from half a second, and is spread so that not all come back together.
func backoff(faults int) time.Duration {
	full := 500 * time.Millisecond << min(faults, 6)
	return full/2 + rand.N(full/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// remembering asks again only whether what it has seen still holds: an answer
// with an ETag is kept and offered with the next request for it, and a "not
// modified", which the forge does not count, stands for it. It always asks:
// an HTTP cache would serve answers for the minute that GitHub lets it, and an
// approval that was withdrawn would count.
type remembering struct {
	next http.RoundTripper

	mu      sync.Mutex
	answers map[string]answer // guarded by mu
	size    int               // guarded by mu
}

type answer struct {
	etag   string
	header http.Header
	body   []byte
}

const (
	maxAnswer  = 8 << 20
	maxAnswers = 64 << 20
)

func (r *remembering) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return r.next.RoundTrip(req)
	}
	key := req.URL.String() + "\n" + req.Header.Get("Accept")
	r.mu.Lock()
	known, found := r.answers[key]
	r.mu.Unlock()
	if found {
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", known.etag)
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if found && resp.StatusCode == http.StatusNotModified {
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		for name, values := range known.header {
			if resp.Header.Get(name) == "" {
				resp.Header[name] = values
			}
		}
		setBody(resp, known.body)
		return resp, nil
	}
	if etag := resp.Header.Get("ETag"); etag != "" && resp.StatusCode == http.StatusOK {
		r.keep(key, answer{etag, resp.Header.Clone(), peek(resp)})
	}
	return resp, nil
}

// keep remembers an answer, and forgets others for it where there are too many.
func (r *remembering) keep(key string, a answer) {
	if len(a.body) > maxAnswer {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = map[string]answer{}
	}
	r.size += len(a.body) - len(r.answers[key].body)
	r.answers[key] = a
	for other := range r.answers {
		if r.size <= maxAnswers {
			break
		}
		if other != key {
			r.size -= len(r.answers[other].body)
			delete(r.answers, other)
		}
	}
}

// peek returns the body of an answer and leaves it readable.
func peek(resp *http.Response) []byte {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil // bodies are in memory; bounded read them
	}
	setBody(resp, body)
	return body
}

func setBody(resp *http.Response, body []byte) {
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// sameHost keeps a redirect from leading credentials elsewhere.
func sameHost(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || !strings.EqualFold(req.URL.Host, first.Host) {
		return fmt.Errorf("the forge redirects to another host, %s", req.URL.Host)
	}
	if len(via) >= 5 {
		return errors.New("the forge redirects too often")
	}
	return nil
}
