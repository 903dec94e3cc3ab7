package portal

import (
	"cmp"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

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
	handler, token := operated(t, Options{Snapshots: nothing()})
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
	b := signedIn(t, Options{Snapshots: nothing(), Anonymous: true})
	token := b.csrf()
	other := signedIn(t, Options{Snapshots: nothing()})
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

// TestInside checks where a login may lead.
func TestInside(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"/services?q=a%20b": "/services?q=a%20b", "/at/2026-01-01/": "/at/2026-01-01/", "/": "/",
		"": "/", "services": "/", "//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "https://evil.example/": "/",
		"http:evil.example": "/", "javascript:evil()": "/", "/\t/evil.example": "/", "/\n/evil.example": "/", " //evil.example": "/", "/ /evil.example": "/", "/%": "/", "\x00/": "/", "https:///evil.example": "/",
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
