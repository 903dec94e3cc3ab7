package oidc_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/portal/oidc"
)

// issuer is an OpenID provider that says whatever a test wants.
type issuer struct {
	*httptest.Server
	path string
	keys map[string]*rsa.PrivateKey // that it publishes
	mint func(nonce string) string  // makes the next ID token
	// nonce is that of the login that is going on, and asked counts what was asked
	// of it beside what OpenID needs.
	nonce string
	asked int
	away  bool
}

func newIssuer(t *testing.T, path string) *issuer {
	i := &issuer{path: path, keys: map[string]*rsa.PrivateKey{"one": newKey(t)}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET "+path+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.name(), "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		var keys []map[string]any
		for id, key := range i.keys {
			keys = append(keys, map[string]any{"kty": "RSA", "kid": id, "use": "sig", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())})
		}
		answer(w, map[string]any{"keys": keys})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.mint(i.nonce)})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		i.asked++
		answer(w, map[string]any{"value": []string{"group-platform"}})
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.away {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return key
}

func (i *issuer) name() string { return i.URL + i.path }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// honest are the claims of a token that is to be believed.
func (i *issuer) honest(nonce string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": i.name(), "aud": "pave", "sub": "alice", "name": "Alice", "nonce": nonce, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "groups": []string{"group-payments"}}
}

// token signs claims by a key, whose name may be that of another.
func token(claims map[string]any, id string, key *rsa.PrivateKey) string {
	text := unsigned(map[string]any{"alg": "RS256", "kid": id}, claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return text + "." + encode(signature)
}

func unsigned(header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return encode(h) + "." + encode(c)
}

// hashed signs by a secret, which verifiers that trust the header take for a key.
func hashed(claims map[string]any, secret []byte) string {
	text := unsigned(map[string]any{"alg": "HS256", "kid": "one"}, claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// begin starts a login and returns its state.
func (i *issuer) begin(s *site) string {
	s.Helper()
	s.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := s.Client.Get(s.address + "/login?next=%2Fme")
	must(s.TB, err)
	answer.Body.Close()
	to, err := answer.Location()
	must(s.TB, err)
	query := to.Query()
	if to.Host != strings.TrimPrefix(i.URL, "http://") || query.Get("code_challenge_method") != "S256" || query.Get("response_type") != "code" || len(query.Get("state")) < 22 || len(query.Get("nonce")) < 22 {
		s.Fatalf("a login begins at %s", to)
	}
	i.nonce = query.Get("nonce")
	return query.Get("state")
}

// end comes back from the provider and tells how that went.
func (s *site) end(query url.Values) (code int, to, text string) {
	s.Helper()
	answer, err := s.Client.Get(s.address + "/login/back?" + query.Encode())
	must(s.TB, err)
	to = answer.Header.Get("Location")
	code, _, text = s.read(answer)
	return code, to, text
}

// signedIn tells whether the browser has a session.
func (s *site) signedIn() bool {
	code, _, text := s.get(s.address + "/me?format=json")
	return code == http.StatusOK && strings.Contains(text, `"id"`)
}

// TestForged comes back with tokens that are not to be believed.
func TestForged(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	trusting := func() *site {
		s := newSite(t)
		s.trust(oidc.Config{Issuer: i.name(), ClientSecret: "secret", GroupsClaim: "groups"})
		return s
	}
	other := newKey(t)
	with := func(change map[string]any) func(string) string {
		return func(nonce string) string {
			claims := i.honest(nonce)
			maps.Copy(claims, change)
			for name, v := range change {
				if v == nil {
					delete(claims, name)
				}
			}
			return token(claims, "one", i.keys["one"])
		}
	}
	public, err := x509.MarshalPKIXPublicKey(&i.keys["one"].PublicKey)
	must(t, err)
	long := time.Now().Add(-time.Hour).Unix()
	for what, c := range map[string]struct {
		mint     func(nonce string) string
		believed bool
	}{
		"an honest one":                 {with(nil), true},
		"an honest one for several":     {with(map[string]any{"aud": []string{"pave", "else"}, "azp": "pave"}), true},
		"an expired one":                {with(map[string]any{"exp": long}), false},
		"one that does not expire":      {with(map[string]any{"exp": nil}), false},
		"one for later":                 {with(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), false},
		"one for another client":        {with(map[string]any{"aud": "else"}), false},
		"one for nobody":                {with(map[string]any{"aud": nil}), false},
		"one for several":               {with(map[string]any{"aud": []string{"pave", "else"}}), false},
		"one that another asked for":    {with(map[string]any{"aud": []string{"pave", "else"}, "azp": "else"}), false},
		"one of another issuer":         {with(map[string]any{"iss": "https://evil.example"}), false},
		"one of no issuer":              {with(map[string]any{"iss": nil}), false},
		"one of another login":          {with(map[string]any{"nonce": "another"}), false},
		"one of no login":               {with(map[string]any{"nonce": nil}), false},
		"one about nobody":              {with(map[string]any{"sub": nil}), false},
		"one about several lines":       {with(map[string]any{"sub": "alice\nApproved-By: bob"}), false},
		"one about too much":            {with(map[string]any{"sub": strings.Repeat("a", 400)}), false},
		"one by another key":            {func(nonce string) string { return token(i.honest(nonce), "one", other) }, false},
		"one by a key nobody published": {func(nonce string) string { return token(i.honest(nonce), "two", other) }, false},
		"one by the secret":             {func(nonce string) string { return hashed(i.honest(nonce), []byte("secret")) }, false},
		"one by the public key":         {func(nonce string) string { return hashed(i.honest(nonce), public) }, false},
		"one by the public key in text": {func(nonce string) string {
			return hashed(i.honest(nonce), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		}, false},
		"one without a signature":              {func(nonce string) string { return unsigned(map[string]any{"alg": "none"}, i.honest(nonce)) + "." }, false},
		"one without a signature, in capitals": {func(nonce string) string { return unsigned(map[string]any{"alg": "NONE"}, i.honest(nonce)) + "." }, false},
		"one whose claims were changed": {func(nonce string) string {
			parts := strings.Split(token(i.honest(nonce), "one", i.keys["one"]), ".")
			claims := i.honest(nonce)
			claims["sub"] = "bob"
			return unsigned(map[string]any{"alg": "RS256", "kid": "one"}, claims) + "." + parts[2]
		}, false},
		"none at all":          {func(string) string { return "" }, false},
		"one that is no token": {func(string) string { return "a.b.c" }, false},
	} {
		s := trusting()
		i.mint = c.mint
		code, to, text := s.end(url.Values{"code": {"x"}, "state": {i.begin(s)}})
		if believed := code == http.StatusSeeOther && to == "/me"; believed != c.believed || !believed && code != http.StatusForbidden || s.signedIn() != c.believed {
			t.Errorf("%s: got %d to %q: %s", what, code, to, text)
		}
	}

	// A provider changes its keys now and then.
	s := trusting()
	for id, key := range map[string]*rsa.PrivateKey{"one": i.keys["one"], "two": other} {
		s.forget()
		i.keys = map[string]*rsa.PrivateKey{id: key}
		i.mint = func(nonce string) string { return token(i.honest(nonce), id, key) }
		if code, _, text := s.end(url.Values{"code": {"x"}, "state": {i.begin(s)}}); code != http.StatusSeeOther || !s.signedIn() {
			t.Errorf("after a change of keys: got %d: %s", code, text)
		}
	}
}

// TestComeBack comes back from the provider in ways that no browser does which
// left for it.
func TestComeBack(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	i.mint = func(nonce string) string { return token(i.honest(nonce), "one", i.keys["one"]) }
	s := newSite(t)
	s.trust(oidc.Config{Issuer: i.name(), GroupsClaim: "groups"})
	refused := func(what string, query url.Values) {
		t.Helper()
		if code, to, text := s.end(query); code != http.StatusForbidden || s.signedIn() || strings.Contains(text, "<b>") {
			t.Errorf("%s: got %d to %q: %s", what, code, to, text)
		}
		s.forget()
	}
	state := i.begin(s)
	s.forget()
	refused("in another browser", url.Values{"code": {"x"}, "state": {state}})
	i.begin(s)
	refused("with the state of another", url.Values{"code": {"x"}, "state": {state}})
	i.begin(s)
	refused("without a state", url.Values{"code": {"x"}})
	refused("with an error", url.Values{"error": {"access_denied"}, "error_description": {"<b>no</b>"}, "state": {i.begin(s)}})

	// A login ends once.
	query := url.Values{"code": {"x"}, "state": {i.begin(s)}}
	if code, _, text := s.end(query); code != http.StatusSeeOther {
		t.Fatalf("got %d %s", code, text)
	}
	if code, _, _ := s.end(query); code != http.StatusForbidden {
		t.Errorf("once more: got %d", code)
	}
}

// TestNext leads nobody out of the portal after a login.
func TestNext(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	i.mint = func(nonce string) string { return token(i.honest(nonce), "one", i.keys["one"]) }
	for next, want := range map[string]string{
		"/teams?q=a": "/teams?q=a", "": "/", "https://evil.example/": "/", "//evil.example/": "/", "/\\evil.example": "/", "/\t/evil.example": "/", "javascript:evil()": "/", "evil.example": "/",
	} {
		s := newSite(t)
		s.trust(oidc.Config{Issuer: i.name(), GroupsClaim: "groups"})
		s.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, err := s.Client.Get(s.address + "/login?" + url.Values{"next": {next}}.Encode())
		must(t, err)
		answer.Body.Close()
		provider, err := answer.Location()
		must(t, err)
		i.nonce = provider.Query().Get("nonce")
		if _, to, _ := s.end(url.Values{"code": {"x"}, "state": {provider.Query().Get("state")}}); to != want {
			t.Errorf("%q: led to %q", next, to)
		}
	}
}

// TestOverage asks for groups where the host says, and never where a token does.
func TestOverage(t *testing.T) {
	t.Parallel()
	elsewhere, configured := newIssuer(t, ""), newIssuer(t, "")
	i := newIssuer(t, "/4f6b3c1e-0000-0000-0000-000000000001/v2.0")
	for what, c := range map[string]struct {
		groups   string
		claims   map[string]any
		platform bool
		id       string
	}{
		"as Entra ID has it": {configured.URL + "/groups", map[string]any{"tid": "4f6b3c1e-0000-0000-0000-000000000001", "oid": "9"}, true, "4f6b3c1e-0000-0000-0000-000000000001 9"},
		"of another tenant":  {configured.URL + "/groups", map[string]any{"tid": "another", "oid": "9"}, true, i.name() + " alice"},
		"nowhere configured": {"", nil, false, i.name() + " alice"},
		"nobody answers":     {"http://127.0.0.1:1/groups", nil, false, i.name() + " alice"},
	} {
		s := newSite(t)
		s.trust(oidc.Config{Issuer: i.name(), GroupsClaim: "groups", GroupsURL: c.groups})
		i.mint = func(nonce string) string {
			claims := i.honest(nonce)
			maps.Copy(claims, c.claims)
			delete(claims, "groups")
			claims["_claim_names"] = map[string]any{"groups": "src1"}
			claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": elsewhere.URL + "/groups"}}
			return token(claims, "one", i.keys["one"])
		}
		if code, _, text := s.end(url.Values{"code": {"x"}, "state": {i.begin(s)}}); code != http.StatusSeeOther {
			t.Fatalf("%s: got %d %s", what, code, text)
		}
		_, _, text := s.get(s.address + "/me?format=json")
		if strings.Contains(text, `"role": "platform"`) != c.platform || !strings.Contains(text, fmt.Sprintf(`"id": %q`, c.id)) {
			t.Errorf("%s: got %s", what, text)
		}
	}
	if elsewhere.asked > 0 || configured.asked == 0 {
		t.Errorf("asked %d times where the token says, and %d times where the host does", elsewhere.asked, configured.asked)
	}
}

// TestNames takes only what may stand in a line of a commit for a name.
func TestNames(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	for name, want := range map[any]string{
		"Li Na": "Li Na", "Zoë Żółć": "Zoë Żółć", "": "li-na", 7: "li-na", "A\nB": "li-na", "A <b@acme.example>": "li-na", "A\u202eB": "li-na", "A\x00": "li-na", strings.Repeat("a", 400): "li-na",
	} {
		s := newSite(t)
		s.trust(oidc.Config{Issuer: i.name(), GroupsClaim: "groups"})
		i.mint = func(nonce string) string {
			claims := i.honest(nonce)
			claims["name"], claims["preferred_username"] = name, "li-na"
			return token(claims, "one", i.keys["one"])
		}
		s.end(url.Values{"code": {"x"}, "state": {i.begin(s)}})
		if _, _, text := s.get(s.address + "/me?format=json"); !strings.Contains(text, fmt.Sprintf(`"name": %q`, want)) {
			t.Errorf("%q: got %s", name, text)
		}
	}
}

// TestConfig refuses what would send secrets in the open.
func TestConfig(t *testing.T) {
	t.Parallel()
	good := oidc.Config{Issuer: "https://login.acme.example", ClientID: "pave", Redirect: "https://portal.acme.example/login/back"}
	for what, change := range map[string]func(*oidc.Config){
		"no client":            func(c *oidc.Config) { c.ClientID = "" },
		"no issuer":            func(c *oidc.Config) { c.Issuer = "" },
		"an open issuer":       func(c *oidc.Config) { c.Issuer = "http://login.acme.example" },
		"an open way back":     func(c *oidc.Config) { c.Redirect = "http://portal.acme.example/login/back" },
		"an open groups":       func(c *oidc.Config) { c.GroupsURL = "http://graph.acme.example" },
		"a file":               func(c *oidc.Config) { c.Issuer = "file:///etc/passwd" },
		"a password in it":     func(c *oidc.Config) { c.Issuer = "https://a:b@login.acme.example" },
		"a name like loopback": func(c *oidc.Config) { c.Issuer = "http://127.0.0.1.evil.example" },
	} {
		c := good
		change(&c)
		if _, err := oidc.New(c); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
	if _, err := oidc.New(good); err != nil {
		t.Error(err)
	}
}

// TestAway checks that nobody is let in while the provider is away, or by one that
// goes by another name, and that they are once it is back.
func TestAway(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	i.mint = func(nonce string) string { return token(i.honest(nonce), "one", i.keys["one"]) }
	s := newSite(t)
	s.trust(oidc.Config{Issuer: i.name() + "/", GroupsClaim: "groups"})
	if code, _, text := s.get(s.address + "/login"); code != http.StatusBadGateway {
		t.Errorf("another name: got %d %s", code, text)
	}
	s.trust(oidc.Config{Issuer: i.name(), GroupsClaim: "groups"})
	i.away = true
	if code, _, text := s.get(s.address + "/login"); code != http.StatusBadGateway {
		t.Errorf("away: got %d %s", code, text)
	}
	i.away = false
	if code, _, text := s.end(url.Values{"code": {"x"}, "state": {i.begin(s)}}); code != http.StatusSeeOther {
		t.Errorf("back again: got %d %s", code, text)
	}
}
