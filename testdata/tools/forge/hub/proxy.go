package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxBody = 16 << 20

// proxy answers GitHub's paths from Gitea, and passes everything else, pages and
// Git among it, through untouched.
type proxy struct {
	client client
	hooks  *hooks
	limits limits
	log    *log.Logger
	mux    *http.ServeMux
}

func newProxy(gitea *url.URL, public string, h *hooks, limit int, logger *log.Logger) *proxy {
	p := &proxy{
		client: client{base: gitea.String() + "/api/v1", public: public},
		hooks:  h, limits: limits{limit: limit}, log: logger, mux: http.NewServeMux(),
	}
	for pattern, answer := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		p.mux.Handle(method+" "+prefix+path, p.handler(answer))
	}
	p.mux.Handle(prefix+"/", p.handler(unknown))
	p.mux.Handle("POST "+hookPath, h.receiver(p))
	p.mux.Handle("/", &httputil.ReverseProxy{
		// Host stays: Gitea checks the origin of forms by it.
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(gitea); r.Out.Host = r.In.Host },
		ErrorLog: logger,
		// No buffering: Git's side band shows progress.
		FlushInterval: -1,
	})
	return p
}

const prefix = "/api/v3"

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// call is one request to GitHub's interface.
type call struct {
	*proxy
	request *http.Request
	query   url.Values
	body    object // nil where the request has none
}

// answer is how a route answers.
type answer func(c *call) (reply, error)

func (p *proxy) handler(answer answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.Header.Get("Authorization"); !p.limits.left(token) {
			p.write(w, r, failure(http.StatusForbidden, "API rate limit exceeded for this token."))
			return
		}
		c := &call{proxy: p, request: r, query: r.URL.Query()}
		out, err := c.answer(answer, http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			p.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			out = failure(http.StatusBadGateway, "%v", err)
		}
		p.write(w, r, out)
	})
}

func (c *call) answer(answer answer, body io.Reader) (reply, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return failure(http.StatusRequestEntityTooLarge, "%v", err), nil
	}
	if len(bytes.TrimSpace(data)) > 0 {
		value, err := decode(data)
		if c.body, _ = value.(object); err != nil || c.body == nil && value != nil {
			return failure(http.StatusBadRequest, "Problems parsing JSON"), nil
		}
	}
	return answer(c)
}

// write sends an answer as GitHub does: with an ETag, unless the caller has that
// answer already, and with what the rate limit leaves.
func (p *proxy) write(w http.ResponseWriter, r *http.Request, out reply) {
	var data []byte
	if out.body != nil {
		text, err := json.Marshal(out.body)
		if err != nil {
			p.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		data = bytes.ReplaceAll(text, []byte(p.client.public+"/api/v1/"), []byte(p.client.public+prefix+"/"))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-GitHub-Request-Id", random()[:16])
	if link := out.header.Get("Link"); link != "" {
		h.Set("Link", link)
	}
	if r.Method == http.MethodGet && out.status == http.StatusOK {
		sum := sha256.Sum256(append([]byte(out.header.Get("Link")), data...))
		etag := fmt.Sprintf(`W/"%x"`, sum)
		h.Set("ETag", etag)
		if matches(r.Header.Get("If-None-Match"), etag) {
			out.status, data = http.StatusNotModified, nil
		}
	}
	// What is not modified does not count.
	p.limits.take(h, r.Header.Get("Authorization"), out.status != http.StatusNotModified)
	w.WriteHeader(out.status)
	w.Write(data)
}

func matches(header, etag string) bool {
	for known := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(known), "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

// failure is an error in GitHub's form.
func failure(status int, format string, args ...any) reply {
	return reply{status: status, body: object{
		"message": fmt.Sprintf(format, args...), "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	}}
}

// unknown answers what no route knows. The log tells that a route is missing,
// for a caller may take a 404 for an answer.
func unknown(c *call) (reply, error) {
	c.log.Printf("no route for %s %s", c.request.Method, c.request.URL.Path)
	return failure(http.StatusNotFound, "Not Found"), nil
}

// limits counts requests of each token, hour by hour.
type limits struct {
	limit int

	mu    sync.Mutex
	used  map[string]int // guarded by mu
	reset time.Time      // guarded by mu
}

// left tells whether the token may ask once more.
func (l *limits) left(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used[token] < l.limit || time.Now().After(l.reset)
}

// take counts a request, if it counts, and states in the headers what is left.
func (l *limits) take(h http.Header, token string, counts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.After(l.reset) {
		l.used, l.reset = map[string]int{}, now.Add(time.Hour)
	}
	if counts {
		l.used[token]++
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(l.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, l.limit-l.used[token])))
	h.Set("X-RateLimit-Used", strconv.Itoa(l.used[token]))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(l.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}
