package github_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/testdata/mutate"
)

// FuzzWebhook takes deliveries, the event of which is in the first line.
func FuzzWebhook(f *testing.F) {
	seeds := [][]byte{
		[]byte("push\n" + `{"ref":"refs/heads/main","repository":{"full_name":"acme/platform"}}`),
		[]byte("pull_request\n" + `{"action":"opened","number":7,"repository":{"full_name":"acme/platform"}}`),
		[]byte("pull_request_review\n" + `{"action":"submitted","pull_request":{"number":7},"repository":{"full_name":"acme/platform"}}`),
		[]byte("check_run\n" + `{"action":"rerequested","check_run":{"pull_requests":[{"number":7},{"number":8}]},"repository":{"full_name":"Acme/Platform"}}`),
		[]byte("check_suite\n" + `{"action":"rerequested","check_suite":{"pull_requests":[]},"repository":{"full_name":"acme/platform"}}`),
		[]byte("ping\n{}"), []byte("push\n" + `{"repository":{"full_name":"acme/other"}}`),
	}
	handler, err := github.Handler(secret, "acme/platform", func(e github.Event) {
		if e.Number < 0 {
			panic("a poke for a pull request that cannot be")
		}
	})
	if err != nil {
		f.Fatal(err)
	}
	h := &hook{Handler: handler}
	expected := []int{http.StatusAccepted, http.StatusBadRequest, http.StatusNotFound}
	mutate.Fuzz(f, seeds, func(t testing.TB, input []byte) {
		event, body, _ := strings.Cut(string(input), "\n")
		got := h.answer(delivery(event, []byte(body)))
		if !slices.Contains(expected, got) {
			t.Errorf("a signed delivery is answered with %d", got)
		}
		if got == http.StatusAccepted && event != "ping" && !strings.Contains(strings.ToLower(body), "platform") && !strings.Contains(body, `\`) {
			t.Error("a delivery of another repository is taken")
		}
		forged := delivery(event, []byte(body))
		forged.Header.Set("X-Hub-Signature-256", sign([]byte("another secret of somebody"), []byte(body)))
		if got := h.answer(forged); got != http.StatusUnauthorized {
			t.Errorf("a forged delivery is answered with %d", got)
		}
	})
}
