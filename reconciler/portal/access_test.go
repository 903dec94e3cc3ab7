package portal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/policy"
)

// compiler is shared, for most tests have no rules but those built in.
var compiler = &policy.Compiler{}

// browser keeps the cookies of a portal, and sends its forms as browsers do.
type browser struct {
	testing.TB
	http.Handler
	cookies map[string]*http.Cookie
}

func newBrowser(t testing.TB, handler http.Handler) *browser {
	return &browser{TB: t, Handler: handler, cookies: map[string]*http.Cookie{}}
}

// ask sends a request, whose headers change lets the test have its way with.
func (b *browser) ask(method, path string, form url.Values, change func(*http.Request)) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Host = "localhost:8080"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://"+r.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	checkHeaders(b, path, w)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c
	}
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	b.Helper()
	return b.ask(http.MethodGet, path, nil, nil)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf is what the forms of this browser carry; empty where nobody is signed in.
func (b *browser) csrf() string {
	b.Helper()
	if m := csrfField.FindStringSubmatch(b.get("/").Body.String()); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// post fills a form of this portal in and sends it.
func (b *browser) post(path string, form url.Values) *httptest.ResponseRecorder {
	b.Helper()
	filled := url.Values{"csrf": {b.csrf()}}
	for k, v := range form {
		filled[k] = v
	}
	return b.ask(http.MethodPost, path, filled, nil)
}

// operated is a portal that its operator may sign in to, and the token for that.
func operated(t testing.TB, options Options) (handler http.Handler, token *string) {
	token = new(string)
	options.Operator = NewOperator("Alice", "alice@acme.example", func(next string) { *token = next })
	options.Log = cmp.Or(options.Log, slog.New(slog.DiscardHandler))
	return New(options), token
}

// signedIn is the browser of a portal's operator.
func signedIn(t testing.TB, options Options) *browser {
	t.Helper()
	handler, token := operated(t, options)
	b := newBrowser(t, handler)
	if w := b.get("/login?token=" + *token); w.Code != http.StatusSeeOther {
		t.Fatalf("signing in: got %d %s", w.Code, w.Body)
	}
	return b
}

// nothing is a platform of which nothing is known.
func nothing() Snapshots {
	return fixed{&Snapshot{Revision: reconciler.Revision{Commit: "0123456789abcdef"}, Platform: &reconciler.Platform{}, Record: reconciler.NewRecord(), Tree: &reconciler.Tree{}}}
}

// TestOperator signs the operator in and out.
func TestOperator(t *testing.T) {
	t.Parallel()
	handler, token := operated(t, Options{Snapshots: nothing(), Rules: compiler})
	b := newBrowser(t, handler)
	if w := b.get("/services"); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "0123456789ab") {
		t.Errorf("nobody reads: got %d %s", w.Code, w.Body)
	}
	first := *token
	for _, wrong := range []string{"", "x", first[1:], strings.ToLower(first)} {
		if w := b.get("/login?token=" + wrong); w.Code != http.StatusForbidden || len(b.cookies) > 0 {
			t.Errorf("token %q: got %d %v", wrong, w.Code, b.cookies)
		}
	}
	w := b.get("/login?token=" + first)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		t.Fatalf("got %d to %s", w.Code, w.Header().Get("Location"))
	}
	if c := w.Result().Cookies(); len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode || c[0].Path != "/" || c[0].Domain != "" || c[0].Name != "pave-8080-session" || c[0].Secure {
		t.Errorf("got %v", c)
	}
	if w := b.get("/services"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Alice") {
		t.Errorf("the operator reads: got %d %s", w.Code, w.Body)
	}
	if w := newBrowser(t, handler).get("/login?token=" + first); w.Code != http.StatusForbidden {
		t.Errorf("a token again: got %d", w.Code)
	}
	if w := newBrowser(t, handler).get("/login?token=" + *token); w.Code != http.StatusSeeOther {
		t.Errorf("the next token: got %d", w.Code)
	}
	stolen := newBrowser(t, handler)
	for name, c := range b.cookies {
		stolen.cookies[name] = c
	}
	if w := b.post("/logout", nil); w.Code != http.StatusSeeOther || len(b.cookies) > 0 {
		t.Errorf("got %d %v", w.Code, b.cookies)
	}
	if w := stolen.get("/services"); w.Code != http.StatusUnauthorized {
		t.Errorf("after the end of the session: got %d", w.Code)
	}
}

// TestForms checks what a form must have before it does anything.
func TestForms(t *testing.T) {
	t.Parallel()
	b := signedIn(t, Options{Snapshots: nothing(), Rules: compiler, Anonymous: true})
	token := b.csrf()
	other := signedIn(t, Options{Snapshots: nothing(), Rules: compiler})
	for what, c := range map[string]struct {
		change func(*http.Request)
		csrf   string
		code   int
	}{
		"no token":                   {nil, "", http.StatusForbidden},
		"a wrong token":              {nil, token + "A", http.StatusForbidden},
		"the token of another":       {nil, other.csrf(), http.StatusForbidden},
		"no session":                 {func(r *http.Request) { r.Header.Del("Cookie") }, token, http.StatusForbidden},
		"another site":               {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, token, http.StatusForbidden},
		"another port":               {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, token, http.StatusForbidden},
		"another origin":             {func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") }, token, http.StatusForbidden},
		"no origin to speak of":      {func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") }, token, http.StatusForbidden},
		"another host":               {func(r *http.Request) { r.Host = "evil.example" }, token, http.StatusMisdirectedRequest},
		"JSON":                       {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, token, http.StatusUnsupportedMediaType},
		"text":                       {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, token, http.StatusUnsupportedMediaType},
		"parts":                      {func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, token, http.StatusUnsupportedMediaType},
		"nothing said of what it is": {func(r *http.Request) { r.Header.Del("Content-Type") }, token, http.StatusUnsupportedMediaType},
		"too much":                   {nil, token + strings.Repeat("A", maxForm), http.StatusRequestEntityTooLarge},
		"the token in the address":   {func(r *http.Request) { r.URL.RawQuery = "csrf=" + token }, "", http.StatusForbidden},
		"a page":                     {func(r *http.Request) { r.URL.Path = "/services" }, token, http.StatusMethodNotAllowed},
		"the past":                   {func(r *http.Request) { r.URL.Path = "/at/2026-01-01/logout" }, token, http.StatusMethodNotAllowed},
		"another method":             {func(r *http.Request) { r.Method = http.MethodDelete }, token, http.StatusMethodNotAllowed},
		"another method in a header": {func(r *http.Request) { r.Method = http.MethodGet; r.Header.Set("X-HTTP-Method-Override", "POST") }, token, http.StatusNotFound},
	} {
		if w := b.ask(http.MethodPost, "/logout", url.Values{"csrf": {c.csrf}}, c.change); w.Code != c.code {
			t.Errorf("%s: got %d, expected %d", what, w.Code, c.code)
		}
	}
	if w := b.post("/logout", nil); w.Code != http.StatusSeeOther {
		t.Errorf("the form as it is: got %d", w.Code)
	}
}

// TestActions sends each form that changes something without what it must have.
func TestActions(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	a.options.Edits = &Edits{Writer: catalog.Writer{}, Proposer: untouched{t}}
	a.Handler = New(a.options)
	b, other := a.as(platformGroup), a.as(platformGroup)
	tried := 0
	for pattern := range actions {
		path := strings.Replace(pattern, "{name}", map[bool]string{true: "tls-cert", false: "checkout-db"}[strings.HasPrefix(pattern, "/blueprints")], 1)
		form := url.Values{"name": {"shop-extra"}, "service": {"shop"}, "environment": {`"staging"`}, "input.hostname": {"shop.acme.example"}, "retire": {"yes"}, "do": {"submit"}}
		for what, c := range map[string]struct {
			csrf   string
			change func(*http.Request)
		}{
			"no token":             {"", nil},
			"the token of another": {other.csrf(), nil},
			"another site":         {b.csrf(), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
			"another origin":       {b.csrf(), func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") }},
			"no session":           {b.csrf(), func(r *http.Request) { r.Header.Del("Cookie") }},
		} {
			form.Set("csrf", c.csrf)
			if w := b.ask(http.MethodPost, path, form, c.change); w.Code != http.StatusForbidden {
				t.Errorf("%s, %s: got %d", path, what, w.Code)
			}
			tried++
		}
		for _, query := range []string{"?", "?csrf=" + b.csrf() + "&"} { // an address that somebody is led to does nothing
			if w := b.get(path + query + form.Encode()); w.Code != http.StatusOK || strings.Contains(w.Body.String(), `id="checked"`) {
				t.Errorf("%s as an address: got %d", path, w.Code)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d forms were sent", tried)
	}
}

// untouched is a proposer that nobody may reach.
type untouched struct{ testing.TB }

func (u untouched) Judge(context.Context, Draft) (Outlook, error) {
	u.Error("a form was judged")
	return Outlook{}, nil
}

func (u untouched) Propose(context.Context, Draft) (Proposal, error) {
	u.Error("a form was proposed")
	return Proposal{}, nil
}

// TestInside checks where a login may lead.
func TestInside(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"/services?q=a%20b": "/services?q=a%20b", "/at/2026-01-01/": "/at/2026-01-01/", "/": "/",
		"": "/", "services": "/", "//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "https://evil.example/": "/",
		"http:evil.example": "/", "javascript:evil()": "/", "/\t/evil.example": "/", "/\n/evil.example": "/", " //evil.example": "/", "/ /evil.example": "/", "/%": "/", "\x00/": "/", "https:///evil.example": "/",
		"/" + strings.Repeat("a", 3000): "/",
	} {
		if got := inside(address); got != want {
			t.Errorf("%q: got %q", address, got)
		}
	}
}

// TestPerson checks what people are to a platform.
func TestPerson(t *testing.T) {
	t.Parallel()
	p := &reconciler.Platform{Teams: map[string]reconciler.Team{"platform": {}, "payments": {}, "search": {}, "nobody": {}}}
	p.Settings.Owner = "platform"
	for name, group := range map[string]string{"platform": "g-1", "payments": "g-2", "search": "g-3"} {
		team := p.Teams[name]
		team.Groups.OIDC = group
		p.Teams[name] = team
	}
	for _, c := range []struct {
		who               Identity
		role, own, others Role
		teams             string
		writes            bool
	}{
		{Identity{}, Viewer, Viewer, Viewer, "", false},
		{Identity{Groups: []string{"", "payments", "g"}}, Viewer, Viewer, Viewer, "", false},
		{Identity{Groups: []string{"g-2"}}, Developer, Owner, Developer, "payments", true},
		{Identity{Groups: []string{"g-3", "g-2"}}, Developer, Owner, Developer, "payments search", true},
		{Identity{Groups: []string{"g-1"}}, PlatformTeam, PlatformTeam, PlatformTeam, "platform", true},
		{Identity{Operator: true}, PlatformTeam, PlatformTeam, PlatformTeam, "", true},
	} {
		got := newPerson(c.who, p)
		if got.Role != c.role || got.RoleFor("payments") != c.own || got.RoleFor("nobody") != c.others || strings.Join(got.Teams, " ") != c.teams || got.MayWrite() != c.writes {
			t.Errorf("%v: got %+v", c.who, got)
		}
	}
	if (*Person)(nil).MayWrite() {
		t.Error("nobody writes")
	}
}

// TestFixation checks that a login takes no session over that was there before, and
// that a session ends.
func TestFixation(t *testing.T) {
	t.Parallel()
	handler, token := operated(t, Options{Snapshots: nothing(), Rules: compiler})
	b := newBrowser(t, handler)
	const name = "pave-8080-session"
	b.cookies[name] = &http.Cookie{Name: name, Value: "PLANTED"}
	if w := b.get("/me"); w.Code != http.StatusUnauthorized {
		t.Errorf("a session that somebody made up: got %d", w.Code)
	}
	b.get("/login?token=" + *token)
	first := b.cookies[name]
	if first.Value == "PLANTED" || len(first.Value) < 22 {
		t.Errorf("after the login the session is %q", first.Value)
	}
	b.get("/login?token=" + *token)
	if b.cookies[name].Value == first.Value {
		t.Error("two logins have one session")
	}
	for what, value := range map[string]string{"planted": "PLANTED", "of the login before": first.Value, "empty": ""} {
		other := newBrowser(t, handler)
		other.cookies[name] = &http.Cookie{Name: name, Value: value}
		if w := other.get("/me"); w.Code != http.StatusUnauthorized {
			t.Errorf("the session %s: got %d", what, w.Code)
		}
	}
}

// TestOver comes with a session that is over, and sends a form of it.
func TestOver(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*session){
		"idle":     func(s *session) { s.seen = s.seen.Add(-sessionIdle - time.Second) },
		"long ago": func(s *session) { s.began = s.began.Add(-sessionLife - time.Second) },
	} {
		b := signedIn(t, Options{Snapshots: nothing(), Rules: compiler})
		csrf := b.csrf()
		if w := b.get("/me"); w.Code != http.StatusOK || csrf == "" {
			t.Fatalf("%s: got %d", what, w.Code)
		}
		for _, s := range b.Handler.(*portal).sessions.open {
			change(s)
		}
		if w := b.get("/me"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: a page: got %d", what, w.Code)
		}
		if w := b.ask(http.MethodPost, "/logout", url.Values{"csrf": {csrf}}, nil); w.Code != http.StatusForbidden {
			t.Errorf("%s: a form: got %d", what, w.Code)
		}
	}
}

// anybody is a provider that lets everybody in.
type anybody struct{}

func (anybody) Begin(_ context.Context, state, _, _ string) (string, error) {
	return "https://login.acme.example/?state=" + state, nil
}
func (anybody) Identify(context.Context, string, string, string) (Identity, error) {
	return Identity{ID: "alice", Name: "Alice"}, nil
}

// TestPlanted signs in at a provider with cookies that somebody else put there.
func TestPlanted(t *testing.T) {
	t.Parallel()
	handler := New(Options{Snapshots: nothing(), Rules: compiler, Provider: anybody{}, Log: slog.New(slog.DiscardHandler)})
	const sessionName, loginName = "pave-8080-session", "pave-8080-login"
	// begun leaves for the provider and returns the state to come back with.
	begun := func(b *browser) string {
		t.Helper()
		to, err := url.Parse(b.get("/login?next=/teams").Header().Get("Location"))
		must(t, err)
		return to.Query().Get("state")
	}
	in := func(b *browser) bool { return b.get("/me").Code == http.StatusOK }

	// A session that was there before is nobody's afterwards, whoever had it.
	evil := newBrowser(t, handler)
	evil.get("/login/back?code=x&state=" + begun(evil))
	if !in(evil) {
		t.Fatal("nobody is let in")
	}
	for what, planted := range map[string]string{"made up": "PLANTED", "another's": evil.cookies[sessionName].Value} {
		b := newBrowser(t, handler)
		b.cookies[sessionName] = &http.Cookie{Name: sessionName, Value: planted}
		b.get("/login/back?code=x&state=" + begun(b))
		other := newBrowser(t, handler)
		other.cookies[sessionName] = &http.Cookie{Name: sessionName, Value: planted}
		if b.cookies[sessionName].Value == planted || !in(b) || in(other) {
			t.Errorf("%s: the session that was planted is let in", what)
		}
	}

	// A login goes on with the cookie that it began with, and leads into the portal.
	b := newBrowser(t, handler)
	state := begun(b)
	secret, _, _ := strings.Cut(b.cookies[loginName].Value, ".")
	for what, value := range map[string]string{"empty": "", "without a secret": ".Lw", "with a secret made up": "AAAA.Lw", "not encoded": secret + ".%%%"} {
		b.cookies[loginName] = &http.Cookie{Name: loginName, Value: value}
		if w := b.get("/login/back?code=x&state=" + state); w.Code != http.StatusForbidden || b.cookies[sessionName] != nil {
			t.Errorf("a cookie %s: got %d", what, w.Code)
		}
	}
	for _, next := range []string{"//evil.example", "https://evil.example/", "/\\evil.example", "javascript:evil()"} {
		b := newBrowser(t, handler)
		state := begun(b)
		secret, _, _ := strings.Cut(b.cookies[loginName].Value, ".")
		b.cookies[loginName].Value = secret + "." + base64.RawURLEncoding.EncodeToString([]byte(next))
		if w := b.get("/login/back?code=x&state=" + state); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
			t.Errorf("%s: got %d to %q", next, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestSessions checks how long sessions last, and how many there are.
func TestSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sessions{open: map[[sha256.Size]byte]*session{}}
		idle, busy := s.begin(Identity{ID: "idle"}), s.begin(Identity{ID: "busy"})
		for range int(sessionLife/sessionIdle) * 2 {
			if s.find(busy) == nil {
				t.Fatal("it ends while it is used")
			}
			time.Sleep(sessionIdle / 2)
		}
		if s.find(idle) != nil {
			t.Error("it goes on while nobody uses it")
		}
		time.Sleep(time.Second)
		if s.find(busy) != nil {
			t.Error("it goes on for ever")
		}
		first := s.begin(Identity{ID: "first"})
		for range maxSessions {
			time.Sleep(time.Millisecond)
			s.begin(Identity{ID: "another"})
		}
		if len(s.open) != maxSessions || s.find(first) != nil {
			t.Errorf("there are %d", len(s.open))
		}
	})
}

// never is a provider that nobody comes back from.
type never struct{}

func (never) Begin(context.Context, string, string, string) (string, error) {
	return "https://login.acme.example/", nil
}
func (never) Identify(context.Context, string, string, string) (Identity, error) {
	return Identity{}, errors.New("nobody")
}

// TestSecure checks what a portal sets that browsers reach by https.
func TestSecure(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, New(Options{Snapshots: nothing(), Rules: compiler, Provider: never{}, URL: &url.URL{Scheme: "https", Host: "portal.acme.example"}, Log: slog.New(slog.DiscardHandler)}))
	for path, want := range map[string]string{"/services?q=a": "/login?next=%2Fservices%3Fq%3Da", "/at/2026-01-01/teams": "/login?next=%2Fat%2F2026-01-01%2Fteams"} {
		w := b.ask(http.MethodGet, path, nil, func(r *http.Request) { r.Host = "portal.acme.example" })
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want || w.Header().Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
		}
	}
	if w := b.get("/services?format=json"); w.Code != http.StatusUnauthorized {
		t.Errorf("a program: got %d", w.Code)
	}
	w := b.ask(http.MethodGet, "/login?next=/teams", nil, func(r *http.Request) { r.Host = "portal.acme.example:443" })
	if c := w.Result().Cookies(); len(c) != 1 || c[0].Name != "__Host-pave-login" || !c[0].Secure || !c[0].HttpOnly || c[0].Path != "/" || c[0].Domain != "" || c[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("got %v", c)
	}
	if w := b.ask(http.MethodGet, "/", nil, func(r *http.Request) { r.Host = "portal.evil.example" }); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host: got %d", w.Code)
	}
	if w := b.ask(http.MethodGet, "/", nil, func(r *http.Request) {
		r.Host, r.Header = "evil.example", http.Header{"X-Forwarded-Host": {"portal.acme.example"}}
	}); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host that speaks of this one: got %d", w.Code)
	}
}

// TestAddress checks whom a request is counted for.
func TestAddress(t *testing.T) {
	t.Parallel()
	p := New(Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}).(*portal)
	for _, c := range []struct{ from, forwarded, want string }{
		{"198.51.100.7:1", "", "198.51.100.7"},
		{"198.51.100.7:1", "203.0.113.9", "198.51.100.7"}, // who is no proxy of ours says what it likes
		{"10.1.2.3:1", "203.0.113.9", "203.0.113.9"},
		{"10.1.2.3:1", "192.0.2.1, 203.0.113.9", "203.0.113.9"}, // what came with it was not said by ours
		{"10.1.2.3:1", "192.0.2.1, 203.0.113.9, 10.1.9.9", "203.0.113.9"},
		{"10.1.2.3:1", "10.1.9.9", "10.1.9.9"},
		{"10.1.2.3:1", "nonsense", "10.1.2.3"},
		{"10.1.2.3:1", "203.0.113.9, nonsense", "10.1.2.3"},
		{"10.1.2.3:1", "", "10.1.2.3"},
		{"[::ffff:10.1.2.3]:1", "203.0.113.9", "203.0.113.9"},
		{"[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::/64"},
		{"[fd00::1]:1", "2001:db8:1:2::9", "2001:db8:1:2::/64"},
		{"@", "", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := p.address(r); got != c.want {
			t.Errorf("%s for %q: got %q, expected %q", c.from, c.forwarded, got, c.want)
		}
	}
}

// TestLimits checks how often one reader may ask, and that no other pays for it.
func TestLimits(t *testing.T) {
	t.Parallel()
	handler := New(Options{Snapshots: nothing(), Rules: compiler, Anonymous: true, Log: slog.New(slog.DiscardHandler)})
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address + ":1" }
	}
	b := newBrowser(t, handler)
	until := func(path, address string) (n int) {
		for n = 0; n < 2000; n++ {
			if w := b.ask(http.MethodGet, path, nil, from(address)); w.Code == http.StatusTooManyRequests {
				if w.Header().Get("Retry-After") == "" {
					t.Error("it does not say when to come again")
				}
				return n
			}
		}
		return n
	}
	if n := until("/login?token=x", "198.51.100.7"); n < 30 || n > 200 {
		t.Errorf("a login may be tried %d times", n)
	}
	if w := b.ask(http.MethodGet, "/", nil, from("198.51.100.7")); w.Code != http.StatusOK {
		t.Errorf("reading after that: got %d", w.Code)
	}
	if n := until("/login?token=x", "198.51.100.8"); n < 30 {
		t.Errorf("another may try it %d times", n)
	}
	if n := until("/static/icon.svg", "198.51.100.9"); n < 500 || n == 2000 {
		t.Errorf("a page may be read %d times", n)
	}
}

// TestTraversal asks for each page by a name that is a way out of somewhere.
func TestTraversal(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	parameter := regexp.MustCompile(`\{[a-z]+(\.\.\.)?\}`)
	for pattern := range routes {
		if !parameter.MatchString(pattern) {
			continue
		}
		for _, way := range []string{
			"..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc%5cpasswd", "%2fetc%2fpasswd", "..", "%2e%2e", ".git%2fconfig", "..%2f.git%2fconfig", "a%00b", "%00",
			"....%2f%2fetc%2fpasswd", "%252e%252e%252fetc%252fpasswd", "file:%2f%2f%2fetc%2fpasswd", "%2f%2fevil.example", "~root", "$HOME", "-o", strings.Repeat("a", 5000), strings.Repeat("..%2f", 500),
		} {
			for _, base := range []string{"", "/at/2026-02-20", "/at/" + way} {
				path := base + parameter.ReplaceAllLiteralString(strings.Replace(pattern, "{$}", "", 1), way)
				w := get(a, path)
				to := w.Header().Get("Location")
				if text := w.Body.String(); w.Code == http.StatusOK && !strings.HasPrefix(pattern, "/compare") || w.Code >= 500 || strings.Contains(text, "root:x") || strings.Contains(text, "[core]") || strings.HasPrefix(to, "//") || strings.Contains(to, "://") {
					t.Errorf("%.100s: got %d to %.100q: %.300s", path, w.Code, to, text)
				}
			}
		}
	}
}
