// Package fake is a GitHub for tests: the parts of its interface that Pave uses,
// with state, GitHub's documented limits, and faults on demand. Every request
// and every answer is held against GitHub's own OpenAPI description; what does not
// fit fails the test.
package fake

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	published "github.com/pave-dev/pave/testdata/github"
)

// The accounts that exist from the start.
var (
	Bot   = User{ID: 1001, Login: "pave-bot"}      // whose token is Token
	AppIs = User{ID: 1002, Login: "pave-app[bot]"} // as whom the App acts
)

const (
	// Token is accepted as Bot's.
	Token = "ghp_fake"
	// AppID and Installation name the App.
	AppID        = 77
	Installation = 7001
	// Owner and Name name the repository.
	Owner, Name  = "acme", "platform"
	repositoryID = 4242
)

// User is an account.
type User struct {
	ID    int64
	Login string
}

// Pull is a pull request. Tests change it before they use the server, or within Do.
type Pull struct {
	Number              int
	Title               string
	Author              User
	State               string // open or closed
	BaseRef, BaseSHA    string
	HeadRef, HeadSHA    string
	HeadOwner, HeadName string // empty: the repository itself
	HeadGone            bool   // the fork was deleted
	MergeSHA            string
	MergedAt            time.Time
	MergedBy            User
	Refuses             string // why it cannot be merged; empty: it can
	Commits             []Commit
	Reviews             []Review
	Events              []Event
}

// Commit is a commit of a pull request, or of the repository.
type Commit struct {
	SHA, Message      string
	Author, Committer User // zero: the forge knows no account
	AuthorEmail       string
	CommitterEmail    string
	Verified          bool
}

// Review is a review of a pull request.
type Review struct {
	By        User
	State     string // as the forge writes it: APPROVED …
	Commit    string
	Submitted time.Time
}

// Event is an event of a pull request.
type Event struct {
	By   User
	Kind string // as the forge writes it: base_ref_changed …
	At   time.Time
}

// Push is a change of a branch.
type Push struct {
	Owner, Name, Ref    string // Ref begins with refs/heads/
	Before, After, Kind string
	By                  User
}

// Comment is a comment on a pull request.
type Comment struct {
	ID     int64
	Pull   int
	By     User
	Body   string
	Edited int
	// Repeated counts the edits that changed nothing.
	Repeated int
	At       time.Time // when it was written or last edited
}

// Status is a commit status.
type Status struct {
	ID                                       int64
	SHA, State, Context, Description, Target string
	By                                       User
}

// Run is a check run.
type Run struct {
	ID                                                        int64
	SHA, Name, Status, Conclusion, Title, Summary, ExternalID string
	Details                                                   string
	Annotations                                               []map[string]any
	At                                                        time.Time
}

// Call is one request that reached the forge.
type Call struct {
	Method, Path, Query string
	Status              int
	Operation           string
}

// Fault is what goes wrong with a request. The zero value is nothing.
type Fault struct {
	// Before breaks the connection before the request is handled, After once it
	// is: the answer is lost.
	Before, After bool
	// Status answers with it instead.
	Status int
	Header http.Header
	Body   string
}

// Server is the forge. It is a handler, for paths that begin with /api/v3/.
type Server struct {
	t      testing.TB
	doc    *openapi3.T
	router routers.Router
	key    *rsa.PrivateKey

	mu       sync.Mutex
	users    []User
	pulls    []*Pull
	commits  []Commit
	pushes   []Push // latest first
	comments []Comment
	statuses []Status
	runs     []Run
	tokens   map[string]time.Time
	calls    []Call
	created  []time.Time // when content was, for the secondary limit
	posted   int
	nextID   int64
	fault    func(call int, r *http.Request) Fault

	// ChecksDenied takes the App's permission to write checks.
	ChecksDenied bool
	// Denied answers operations of these ids with a status instead.
	Denied map[string]int
	// Branch is the tracked branch, main where empty. Rules are those that its
	// rulesets have, Protection is its protection, as the forge writes them; nil
	// is none.
	Branch     string
	Rules      []map[string]any
	Protection map[string]any
	// MergeMethods are those that the repository allows; nil is all.
	MergeMethods []string
	// Unlisted is in how many of the next lists of comments the latest is missing.
	Unlisted int
	// Limit is the requests that are left until Reset; negative is no limit.
	Limit int
	Reset time.Time
}

var description = sync.OnceValues(func() (*openapi3.T, error) {
	data, err := published.API()
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	return doc, nil
})

var appKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// New returns a forge without pull requests.
func New(t testing.TB) *Server {
	t.Helper()
	doc, err := description()
	if err != nil {
		t.Fatalf("load the description: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("load the description: %v", err)
	}
	key, err := appKey()
	if err != nil {
		t.Fatal(err)
	}
	return &Server{t: t, doc: doc, router: router, key: key, users: []User{Bot, AppIs}, nextID: 5000, Limit: -1, tokens: map[string]time.Time{}}
}

// AppKey is the App's private key in PEM.
func (s *Server) AppKey() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)})
}

// Listen serves on a loopback address until the test ends, and returns the
// address of the forge's pages.
func (s *Server) Listen() string {
	server := httptest.NewServer(s)
	s.t.Cleanup(server.Close)
	return server.URL
}

// Transport carries requests to the forge without a network, whatever their host.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		if failure := recover(); failure == http.ErrAbortHandler {
			resp, err = nil, errors.New("connection reset by peer")
		} else if failure != nil {
			panic(failure)
		}
	}()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.s.ServeHTTP(w, r)
	resp = w.Result()
	resp.Request = r
	return resp, nil
}

// Do changes the forge's state.
func (s *Server) Do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// AddUser adds an account.
func (s *Server) AddUser(u User) { s.Do(func() { s.users = append(s.users, u) }) }

// AddPull opens a pull request.
func (s *Server) AddPull(p Pull) *Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls = append(s.pulls, &p)
	return &p
}

// AddCommit adds a commit to the repository's tracked branch.
func (s *Server) AddCommit(c Commit) { s.Do(func() { s.commits = append(s.commits, c) }) }

// AddPush adds the latest change of a branch.
func (s *Server) AddPush(p Push) { s.Do(func() { s.pushes = slices.Insert(s.pushes, 0, p) }) }

// AddComment adds a comment and returns its id.
func (s *Server) AddComment(pull int, by User, body string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	s.comments = append(s.comments, Comment{ID: s.nextID, Pull: pull, By: by, Body: body, At: time.Now()})
	return s.nextID
}

// AddStatuses fills a commit's context with n statuses.
func (s *Server) AddStatuses(sha, context string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.nextID++
		s.statuses = append(s.statuses, Status{ID: s.nextID, SHA: sha, Context: context, State: "pending", By: Bot})
	}
}

// SetFault sets what goes wrong: it is asked for every request, which are
// counted from one since then.
func (s *Server) SetFault(fault func(call int, r *http.Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.fault = nil, fault
}

// Operation is the id of the operation that a request asks for; empty where GitHub
// has none.
func (s *Server) Operation(r *http.Request) string {
	plain := r.Clone(r.Context())
	plain.URL.Path, plain.URL.RawPath, plain.RequestURI = strings.TrimPrefix(r.URL.Path, prefix), strings.TrimPrefix(r.URL.RawPath, prefix), ""
	route, _, err := s.router.FindRoute(plain)
	if err != nil {
		return ""
	}
	return route.Operation.OperationID
}

// Calls returns the requests since the last SetFault.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Comments returns the comments of a pull request, oldest first.
func (s *Server) Comments(pull int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.comments), func(c Comment) bool { return c.Pull != pull })
}

// Posted counts the comments that were created over the interface, also those that
// were deleted since.
func (s *Server) Posted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posted
}

// Statuses returns the statuses of a commit, oldest first.
func (s *Server) Statuses(sha string) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.statuses), func(c Status) bool { return c.SHA != sha })
}

// Runs returns the check runs of a commit, oldest first.
func (s *Server) Runs(sha string) []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.runs), func(c Run) bool { return c.SHA != sha })
}

const prefix = "/api/v3"

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var fault Fault
	if s.fault != nil {
		fault = s.fault(len(s.calls)+1, r)
	}
	s.calls = append(s.calls, Call{Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, prefix), Query: r.URL.RawQuery})
	call := &s.calls[len(s.calls)-1]
	if fault.Before {
		panic(http.ErrAbortHandler)
	}
	if fault.Status != 0 {
		call.Status = fault.Status
		for name, values := range fault.Header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(fault.Status)
		fmt.Fprint(w, fault.Body)
		return
	}
	a := s.answer(r, body, call)
	call.Status = a.status
	if fault.After {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// answer is what goes back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func strict() *openapi3filter.Options {
	o := &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	o.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason // without the schema and the value
	})
	return o
}

// answer handles a request that reached the forge.
func (s *Server) answer(r *http.Request, body []byte, call *Call) answer {
	plain := r.Clone(r.Context())
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		return s.refuse(http.StatusNotFound, "no interface at this path")
	}
	plain.URL.Path, plain.URL.RawPath, plain.RequestURI = path, strings.TrimPrefix(r.URL.RawPath, prefix), ""
	plain.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := s.router.FindRoute(plain)
	if err != nil {
		s.t.Errorf("%s %s: GitHub has no such operation: %v", r.Method, path, err)
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	call.Operation = route.Operation.OperationID
	input := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route,
		Options: strict()}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		s.t.Errorf("%s %s: not a valid request: %v", r.Method, path, err)
	}
	for name, value := range params {
		if params[name], err = url.PathUnescape(value); err != nil {
			return s.refuse(http.StatusBadRequest, "Bad Request")
		}
	}
	q := request{Request: plain, params: params, body: body}
	a := s.limited(q, func() answer { return s.authenticated(q, route.Operation.OperationID) })
	if a.status >= 400 || a.status == http.StatusNotModified || s.undescribed() {
		return a
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{RequestValidationInput: input,
		Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: strict()})
	if err != nil {
		s.t.Errorf("%s %s: the fake's answer is not one of GitHub's: %v", r.Method, path, err)
	}
	return a
}

// undescribed tells whether the state holds what GitHub does and its description
// does not allow: the repository of a head may be gone.
func (s *Server) undescribed() bool {
	return slices.ContainsFunc(s.pulls, func(p *Pull) bool { return p.HeadGone })
}

// limited answers within the limits: the primary one counts requests that are
// not answered by "not modified", the secondary one those that create content.
func (s *Server) limited(q request, next func() answer) answer {
	if s.Limit >= 0 && !time.Now().Before(s.Reset) {
		s.Limit, s.Reset = 5000, time.Now().Add(time.Hour)
	}
	var a answer
	switch {
	case s.Limit == 0:
		a = s.refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1001.")
	case q.Method != http.MethodGet && !s.mayCreate():
		a = s.refuse(http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
		a.header.Set("Retry-After", "60")
	default:
		a = next()
	}
	if q.Method == http.MethodGet && a.status == http.StatusOK {
		sum := sha256.Sum256(a.body)
		etag := `"` + hex.EncodeToString(sum[:16]) + `"`
		if q.Header.Get("If-None-Match") == etag {
			a.status, a.body = http.StatusNotModified, nil
		}
		a.header.Set("ETag", etag)
		a.header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	}
	if s.Limit >= 0 {
		if s.Limit > 0 && a.status != http.StatusNotModified {
			s.Limit--
		}
		a.header.Set("X-RateLimit-Limit", "5000")
		a.header.Set("X-RateLimit-Remaining", strconv.Itoa(s.Limit))
		a.header.Set("X-RateLimit-Reset", strconv.FormatInt(s.Reset.Unix(), 10))
	}
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return a
}

// mayCreate counts 80 requests a minute that create content.
func (s *Server) mayCreate() bool {
	s.created = slices.DeleteFunc(s.created, func(at time.Time) bool { return time.Since(at) >= time.Minute })
	s.created = append(s.created, time.Now())
	return len(s.created) <= 80
}

func (s *Server) refuse(status int, message string) answer {
	return s.reply(status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

func (s *Server) invalid(field, message string) answer {
	return s.reply(http.StatusUnprocessableEntity, map[string]any{"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest",
		"errors": []any{map[string]any{"resource": "Pave", "field": field, "code": "custom", "message": message}}})
}

func (s *Server) reply(status int, v any) answer {
	a := answer{status: status, header: http.Header{}}
	if v == nil {
		return a
	}
	data, err := json.Marshal(v)
	if err != nil {
		s.t.Errorf("encode an answer: %v", err)
	}
	a.header.Set("Content-Type", "application/json; charset=utf-8")
	a.body = data
	return a
}

// request is one that fits the description.
type request struct {
	*http.Request
	params map[string]string
	body   []byte
}

func (q request) number(name string) int64 {
	n, _ := strconv.ParseInt(q.params[name], 10, 64)
	return n
}

// page answers with the part of a list that the request asks for.
func (s *Server) page(q request, all []any, wrap func(part []any) any) answer {
	query := q.URL.Query()
	size, number := 30, 1
	if n, err := strconv.Atoi(query.Get("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 0 {
		number = n
	}
	from := min((number-1)*size, len(all))
	to := min(from+size, len(all))
	part := append([]any{}, all[from:to]...)
	a := s.reply(http.StatusOK, wrap(part))
	if to < len(all) {
		query.Set("page", strconv.Itoa(number+1))
		next := *q.URL
		next.Path, next.RawQuery = prefix+q.URL.Path, query.Encode()
		next.Scheme, next.Host = "http", q.Host
		a.header.Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next.String()))
	}
	return a
}

func list(part []any) any { return part }

// Pull returns a pull request, for use within Do.
func (s *Server) Pull(number int) *Pull { return s.findPull(int64(number)) }
