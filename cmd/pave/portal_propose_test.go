package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// visitor is a browser without scripts.
type visitor struct {
	*testing.T
	client *http.Client
	base   string // of the portal, without a slash
}

// visit signs a browser in at an address that lets one in.
func visit(t *testing.T, door string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	base, _, found := strings.Cut(door, "/login?")
	if !found {
		t.Fatalf("%s is no address to sign in at", door)
	}
	v := &visitor{t, &http.Client{Jar: jar}, base}
	v.read(v.client.Get(door))
	return v
}

func (v *visitor) read(answer *http.Response, err error) string {
	v.Helper()
	must(v.T, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(v.T, err)
	if answer.StatusCode != http.StatusOK {
		v.Fatalf("%s: got %d %s", answer.Request.URL, answer.StatusCode, text)
	}
	return string(text)
}

func (v *visitor) page(path string) string { v.Helper(); return v.read(v.client.Get(v.base + path)) }

// form returns what a browser would send of the form on a page, as it stands.
func (v *visitor) form(path string) url.Values { v.Helper(); return fieldsOf(v.T, v.page(path)) }

// send sends a form with some of its fields entered, in pairs, and returns the page
// that answers. An empty text empties a field.
func (v *visitor) send(path string, form url.Values, do string, entered ...string) string {
	v.Helper()
	for i := 0; i < len(entered); i += 2 {
		if form.Set(entered[i], entered[i+1]); entered[i+1] == "" {
			form.Del(entered[i])
		}
	}
	form.Set("do", do)
	return v.read(v.client.PostForm(v.base+path, form))
}

// fieldsOf returns the fields of the form for requests on a page, as a browser sends
// them.
func fieldsOf(t *testing.T, page string) url.Values {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	must(t, err)
	values := url.Values{}
	attribute := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	for n := range doc.Descendants() {
		if class, _ := attribute(n, "class"); n.Data != "form" || class != "ask" {
			continue
		}
		for n := range n.Descendants() {
			name, _ := attribute(n, "name")
			value, _ := attribute(n, "value")
			kind, _ := attribute(n, "type")
			_, checked := attribute(n, "checked")
			switch {
			case n.Data == "input" && name != "" && (kind != "checkbox" || checked):
				values.Set(name, value)
			case n.Data == "textarea" && n.FirstChild != nil:
				values.Set(name, n.FirstChild.Data)
			case n.Data == "option" && n.Parent.Data == "select":
				name, _ := attribute(n.Parent, "name")
				if _, selected := attribute(n, "selected"); selected || !values.Has(name) {
					values.Set(name, value)
				}
			}
		}
	}
	if !values.Has("csrf") {
		t.Fatalf("there is no form on the page:\n%s", textOf(page))
	}
	return values
}

// textOf is what a reader sees of a page.
func textOf(page string) string {
	var b strings.Builder
	tokens := html.NewTokenizer(strings.NewReader(page))
	for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
		if kind == html.TextToken {
			b.WriteString(string(tokens.Text()))
		}
	}
	return html.UnescapeString(regexp.MustCompile(`\s*\n\s*`).ReplaceAllString(b.String(), "\n"))
}

// acmePortal is a clone of examples/acme and its portal, with the operator signed in.
func acmePortal(t *testing.T) (*visitor, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	repo := filepath.Join(dir, "platform")
	must(t, os.CopyFS(repo, os.DirFS("../../examples/acme")))
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch", "main"}, {"config", "user.name", "Alice"},
		{"config", "user.email", "alice@acme.example"}, {"add", "--all"}, {"commit", "--quiet", "--message", "Begin"}} {
		gitIn(t, dir, repo, args...)
	}
	door := started(t, "to sign in:", "portal", "--repo", repo, "--cache-dir", filepath.Join(dir, "cache"))
	return visit(t, strings.TrimPrefix(door, "to sign in: ")), repo
}

func expect(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s does not say %q:\n%s", what, word, text)
		}
	}
}

var mergeLine = regexp.MustCompile(`git -C (\S+) merge (pave/\S+)`)

// merged runs the command that a page shows, waits until the portal shows what
// became of it, and returns a page of then.
func (v *visitor) merged(repo, page, path string) string {
	v.Helper()
	found := mergeLine.FindStringSubmatch(textOf(page))
	if found == nil {
		v.Fatalf("the page shows no command:\n%s", textOf(page))
	}
	gitIn(v.T, filepath.Dir(repo), found[1], "merge", "--quiet", found[2])
	commit := gitIn(v.T, filepath.Dir(repo), repo, "rev-parse", "HEAD")[:8]
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		answer, err := v.client.Get(v.base + path)
		must(v.T, err)
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		must(v.T, err)
		if shown := textOf(string(text)); strings.Contains(shown, "revision "+commit) {
			return shown
		} else if time.Now().After(end) {
			v.Fatalf("%s never shows %s:\n%s", path, commit, shown)
		}
	}
}

// TestForms asks for things in the browser, with nothing but a clone: the real
// evaluator and the real rules answer, and what is proposed is a branch.
func TestForms(t *testing.T) {
	t.Parallel()
	v, repo := acmePortal(t)
	validate := func() {
		t.Helper()
		var out strings.Builder
		if code := run(t.Context(), []string{"validate", "--repo", repo}, strings.NewReader(""), &out, &out); code != 0 {
			t.Errorf("validate: got %d %s", code, out.String())
		}
	}

	t.Run("a new request", func(t *testing.T) {
		v := &visitor{t, v.client, v.base}
		expect(t, "the blueprint's page", v.page("/blueprints/tls-cert"), `href="/blueprints/tls-cert/new"`, "Days until it ends.", "90")
		const path = "/blueprints/tls-cert/new"
		form := v.form(path + "?service=shop")
		if got := form.Get("service"); got != "shop" {
			t.Errorf("the service is %q", got)
		}
		page := v.send(path, form, "submit", "name", "shop-extra", "environment", `"staging"`, "input.hostname", "not a name", "input.days", "5", "input.names", "a.example\r\n\r\nb.example\r\n")
		expect(t, "the page", textOf(page), "It would be refused", "expected another request's output or text that matches", "expected a whole number, at least 10, at most 365; got 5")
		form = fieldsOf(t, page)
		for name, want := range map[string]string{"name": "shop-extra", "environment": `"staging"`, "input.hostname": "not a name", "input.days": "5", "input.names": "a.example\n\nb.example\n"} {
			if got := form.Get(name); got != want {
				t.Errorf("%s was entered as %q and shows %q", name, want, got)
			}
		}
		page = v.send(path, form, "check", "input.hostname", "extra.acme.example", "input.days", "30", "why", "The campaign needs a name of its own.")
		expect(t, "the page", textOf(page), "Nothing stands against it", "nothing before, EUR 2.00 after", "storefront pays", "+++ b/catalog/storefront/shop-extra.cue", "+\t\tdays: 30")
		first := v.send(path, fieldsOf(t, page), "submit")
		expect(t, "the page", textOf(first), "It is proposed")
		again := v.send(path, fieldsOf(t, page), "submit")
		if a, b := mergeLine.FindString(textOf(first)), mergeLine.FindString(textOf(again)); a == "" || a != b {
			t.Errorf("sent twice, it is proposed as %q and %q", a, b)
		}
		expect(t, "the request", v.merged(repo, first, "/requests/shop-extra"), "extra.acme.example")
		log := gitIn(t, filepath.Dir(repo), repo, "log", "-1", "--format=%an <%ae> %cn %s%n%b")
		expect(t, "the commit", log, "Alice <alice@acme.example> Pave Ask for shop-extra", "The campaign needs a name of its own.", "Request: shop-extra")
		if got := gitIn(t, filepath.Dir(repo), repo, "show", "--format=", "HEAD"); !strings.Contains(got, "+\t\tnames: [\"a.example\", \"b.example\"]\n") {
			t.Errorf("got %s", got)
		}
		validate()
		page = v.send(path, v.form(path), "check", "name", "shop-extra", "service", "nothing", "environment", `"staging"`, "input.hostname", "x.acme.example")
		expect(t, "the page", textOf(page), "is taken", "expected a service of this platform")
	})

	t.Run("references and policies", func(t *testing.T) {
		v := &visitor{t, v.client, v.base}
		const path = "/blueprints/app-config/new"
		form := v.form(path)
		page := v.send(path, form, "check", "name", "ledger-config", "service", "ledger", "environment", `"production"`, "ref.input.host", "ledger-db.hots",
			"ref.input.password", "ledger-db.password", "input.settings", `{LOG_LEVEL: "info", BATCH: "5" }`)
		expect(t, "the page", textOf(page), "It would be refused", "hots")
		page = v.send(path, fieldsOf(t, page), "check", "ref.input.host", "ledger-db.host", "input.settings", `{LOG_LEVEL: level}`)
		expect(t, "the page", textOf(page), "expected plain CUE data")
		page = v.send(path, fieldsOf(t, page), "submit", "input.settings", "{\r\n\tLOG_LEVEL: \"info\"\r\n}")
		expect(t, "the request", v.merged(repo, page, "/requests/ledger-config"), "ledger-db.password")
		validate()
	})

	t.Run("day two", func(t *testing.T) {
		v := &visitor{t, v.client, v.base}
		const path = "/requests/checkout-namespace/edit"
		file := filepath.Join(repo, "catalog/payments/rehearsal.cue")
		before, err := os.ReadFile(file)
		must(t, err)
		expect(t, "the request's page", v.page("/requests/checkout-namespace"), `href="`+path+`"`)
		expect(t, "the page", textOf(v.send(path, v.form(path), "check")), "Nothing is changed.")
		page := v.send(path, v.form(path), "submit", "input.size", `"large"`, "expires", "2099-01-31")
		expect(t, "the page", textOf(page), "It would be refused", "2099-01-31 is later than blueprint namespace allows", "(lifetime-max)")
		day := time.Now().UTC().AddDate(0, 0, 60).Format(time.DateOnly)
		page = v.send(path, fieldsOf(t, page), "submit", "expires", day)
		expect(t, "the page", textOf(page), "EUR 20.00 before, EUR 48.00 after", "is destroyed after "+day)
		expect(t, "the request", v.merged(repo, page, "/requests/checkout-namespace"), day)
		want := strings.Replace(string(before), `size: "medium", guests: ["storefront"]}`, `size: "large", guests: ["storefront"]}`+"\n\texpires: \""+day+"\"", 1)
		if after, err := os.ReadFile(file); err != nil || string(after) != want {
			t.Errorf("got %s, want %s", after, want)
		}
		stale := v.form(path)
		page = v.send(path, v.form(path), "submit", "suspend", "short")
		expect(t, "the page", textOf(page), "It would be refused")
		page = v.send(path, v.form(path), "submit", "suspend", "Until the audit is over")
		expect(t, "the request", v.merged(repo, page, "/requests/checkout-namespace"), "Until the audit is over")
		expect(t, "the page", textOf(v.send(path, stale, "check", "input.size", `"small"`)), "Somebody changed the request meanwhile")
		page = v.send(path, v.form(path), "submit", "suspend", "", "expires", "")
		if shown := v.merged(repo, page, "/requests/checkout-namespace"); strings.Contains(shown, "audit") || strings.Contains(shown, day) {
			t.Errorf("it is still suspended, or ends:\n%s", shown)
		}
		validate()
		page = v.send(path, v.form(path), "submit", "retire", "yes")
		expect(t, "the page", textOf(page), "EUR 48.00 before, nothing after", "-request: \"checkout-namespace\": {")
		expect(t, "the page", v.merged(repo, page, "/requests/checkout-namespace"), "There is no such request")
		validate()
	})

	t.Run("entries of a list", func(t *testing.T) {
		v := &visitor{t, v.client, v.base}
		const path = "/blueprints/dns-zone/new"
		shows := func(page string, want map[string]string) url.Values {
			t.Helper()
			form := fieldsOf(t, page)
			for name, value := range want {
				if got := form.Get(name); got != value {
					t.Errorf("%s shows %q, expected %q", name, got, value)
				}
			}
			return form
		}
		form := shows(v.page(path), map[string]string{"input.records.rows": "2", "input.records.0.name": "", "input.records.1.ttl": "300"})
		page := v.send(path, form, "more", "name", "shop-zone", "service", "shop", "environment", `"staging"`, "input.domain", "shop.acme.example",
			"input.records.1.name", "www", "input.records.1.type", `"A"`, "input.records.1.value", "192.0.2.7")
		if text := textOf(page); strings.Contains(text, "another look") || strings.Contains(text, "stands against it") {
			t.Errorf("where more room was asked for the page says:\n%s", text)
		}
		form = shows(page, map[string]string{"input.records.rows": "9", "input.records.0.name": "www", "input.records.1.name": ""})
		page = v.send(path, form, "check", "input.records.3.name", "mail", "input.records.3.value", "192.0.2.8")
		expect(t, "the page", textOf(page), "expected a value", "an entry needs another look")
		form = shows(page, map[string]string{"input.records.rows": "4", "input.records.1.name": "mail"})
		page = v.send(path, form, "check", "input.records.1.type", `"A"`, "input.records.1.ttl", "5")
		expect(t, "the page", page, `id="input.records.1.ttl-error"`)
		expect(t, "the page", textOf(page), "It would be refused", "at least 60")
		page = v.send(path, fieldsOf(t, page), "submit", "input.records.1.ttl", "60")
		expect(t, "the request", v.merged(repo, page, "/requests/shop-zone"), "192.0.2.8")
		got := strings.Join(strings.Fields(gitIn(t, filepath.Dir(repo), repo, "show", "HEAD:catalog/storefront/shop-zone.cue")), "")
		expect(t, "the file", got, `records:[{name:"www"type:"A"value:"192.0.2.7"ttl:300},{name:"mail"type:"A"value:"192.0.2.8"ttl:60}]`)
		validate()

		const edit = "/requests/shop-zone/edit"
		form = shows(v.page(edit), map[string]string{"input.records.rows": "4", "input.records.1.value": "192.0.2.8", "input.records.1.ttl": "60"})
		expect(t, "the page", textOf(v.send(edit, form, "check")), "Nothing is changed.")
		page = v.send(edit, v.form(edit), "submit", "input.records.0.name", "", "input.records.0.type", "", "input.records.0.value", "", "input.records.0.ttl", "")
		shown := v.merged(repo, page, "/requests/shop-zone")
		if strings.Contains(shown, "192.0.2.7") || !strings.Contains(shown, "192.0.2.8") {
			t.Errorf("the first record was to go:\n%s", shown)
		}
		validate()
	})

	t.Run("what is computed", func(t *testing.T) {
		v := &visitor{t, v.client, v.base}
		page := v.page("/requests/search-cache-staging/edit")
		expect(t, "the page", textOf(page), "No form changes this request", "is computed here")
		if !regexp.MustCompile(`/source/catalog/search/\w+\.cue#L\d+"`).MatchString(page) || strings.Contains(page, `name="do"`) {
			t.Errorf("the page does not lead to the place:\n%s", textOf(page))
		}
	})
}
