package portal

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler/catalog"
)

// TestUnchanged checks that a page that somebody has is not sent again.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	first := get(a, "/requests/checkout-config")
	tag := first.Header().Get("ETag")
	ask := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/requests/checkout-config", nil)
		r.Host = "localhost"
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		checkHeaders(t, "unchanged", w)
		return w
	}
	if w := ask(tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%q: got %d with %d bytes", tag, w.Code, w.Body.Len())
	}
	if w := ask(`"other"`); w.Code != http.StatusOK || w.Body.Len() == 0 {
		t.Errorf("got %d", w.Code)
	}
	a.record("2026-03-01T13:00:00Z", "Apply", "Unit: checkout-config applied +1 ~0 -0")
	a.until("/requests/checkout-config", "Not recorded")
	if w := ask(tag); w.Code != http.StatusOK {
		t.Errorf("after a change: got %d", w.Code)
	}
	expect(t, a, "/requests/checkout-config", http.StatusOK, "data-live")
	expect(t, a, "/services/checkout", http.StatusOK, "data-live")
	expect(t, a, "/at/2026-02-20/requests/checkout-config", http.StatusOK, "!data-live")
	expect(t, a, "/teams", http.StatusOK, "!data-live")
}

// TestEdit checks that what can be changed leads to where that is done, and that
// the past cannot.
func TestEdit(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	const edit = "https://git.acme.example/acme/platform/_edit/main/"
	expect(t, a, "/services/checkout", http.StatusOK, "!_edit")
	a.options.Edit = edit + "{path}?line={line}"
	a.Handler = New(a.options)
	expect(t, a, "/services/checkout", http.StatusOK, edit+"catalog/payments/checkout.cue?line=3", edit+"catalog/payments/checkout.cue?line=6")
	expect(t, a, "/source/teams.cue", http.StatusOK, edit+"teams.cue?line=1", "Edit this file")
	expect(t, a, "/source/catalog", http.StatusOK, "!Edit this file")
	expect(t, a, "/at/2026-02-20/services/checkout", http.StatusOK, "!_edit")
}

// TestEditByForm checks that what a form changes leads to its field there, and to the
// forge beside it; what no form changes to the forge alone.
func TestEditByForm(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	const page, edit = "/requests/checkout-db", "https://git.acme.example/edit/"
	form := page + "/edit"
	expect(t, a, page, http.StatusOK, "!by the form", "!"+form)
	a.options.Edits = &Edits{Writer: catalog.Writer{}}
	a.Handler = New(a.options)
	expect(t, a, page, http.StatusOK, form+"#input.storage", "!on the forge")
	a.options.Edit = edit + "{path}"
	a.Handler = New(a.options)
	text := get(a, page).Body.String()
	for _, want := range []string{`href="` + form + `" aria-label="Edit catalog/payments/checkout.cue:30 by the form">Edit</a> <a href="` + edit, `href="` + form + `#input.storage"`, `href="` + form + `#protect"`, `>on the forge</a>`} {
		if !strings.Contains(text, want) {
			t.Errorf("expected %s:\n%s", want, text)
		}
	}
	fields := get(a, form).Body.String()
	anchors := regexp.MustCompile(`"`+form+`#([^"]*)"`).FindAllStringSubmatch(text, -1)
	if len(anchors) < 3 {
		t.Errorf("few places have a field in the form: %v", anchors)
	}
	for _, anchor := range anchors {
		if !strings.Contains(fields, ` id="`+anchor[1]+`"`) {
			t.Errorf("the form has no field %s", anchor[1])
		}
	}
	if strings.Contains(text, form+"#service") || strings.Contains(text, form+"#blueprint") {
		t.Error("a form seems to change what it does not")
	}
	expect(t, a, "/at/2026-02-20"+page, http.StatusOK, "!"+form, "!_edit")
}
