package portal

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestMine shows somebody what their teams answer for, and nobody else that.
func TestMine(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	s, err := a.options.Snapshots.Now(t.Context())
	must(t, err)
	for _, c := range []struct {
		person   *Person
		has, not []string
	}{
		{nil, []string{"<h1>The platform at a glance</h1>"}, []string{"What is yours"}},
		{&Person{Identity: Identity{ID: "1"}, Role: Viewer}, []string{"<h1>The platform at a glance</h1>"}, []string{"What is yours"}},
		{&Person{Identity: Identity{ID: "1"}, Role: Developer, Teams: []string{"storefront"}}, []string{"<h1>What is yours</h1>", "/services/checkout", "/requests/checkout-config", "the plan waits for storefront"}, []string{"Your services</h2><p"}},
		{&Person{Identity: Identity{ID: "1"}, Role: Developer, Teams: []string{"search"}}, []string{"<h1>What is yours</h1>", "/services/indexer", "Everything that your teams asked for is there"}, nil},
	} {
		v := &view{Snapshot: s, index: s.indexed(), person: c.person}
		body, err := home(v, httptest.NewRequest(http.MethodGet, "/", nil))
		must(t, err)
		var b bytes.Buffer
		must(t, pages()["home"].Execute(&b, v.frame(httptest.NewRequest(http.MethodGet, "/", nil), body)))
		own, _, _ := strings.Cut(b.String(), "The platform at a glance</h2>")
		for _, want := range c.has {
			if !strings.Contains(own, want) {
				t.Errorf("%+v: it does not say %q", c.person, want)
			}
		}
		for _, no := range c.not {
			if strings.Contains(own, no) {
				t.Errorf("%+v: it says %q", c.person, no)
			}
		}
	}
}
