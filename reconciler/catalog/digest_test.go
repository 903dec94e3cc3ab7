package catalog

import (
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// What a document says is known by one digest, whichever tier evaluated it.
func TestDigests(t *testing.T) {
	files := archiveFiles(t, "testdata/differential.txtar")
	const body = `{title: "B <&> é\u2028", owner: "payments", type: "job", lifecycle: "production", slos: [{name: "a", objective: 99.90}], tier: 2}` + "\n"
	files["x/data.cue"] = "package platform\nservice: \"one\": " + body
	files["y/code.cue"] = "package platform\n_computes: true\nservice: \"two\": " + body
	p, violations, err := testEvaluator(t).Evaluate(t.Context(), treeOf(files))
	if err != nil || reconciler.Denied(violations) {
		t.Fatal(err, violations)
	}
	for _, name := range []string{"one", "two"} {
		if d := p.Services[name]; d.Digest == "" || d.Digest != reconciler.DocumentDigest(d.JSON) {
			t.Errorf("%s has the digest %q, want %q: %s", name, d.Digest, reconciler.DocumentDigest(d.JSON), d.JSON)
		}
	}
}
