package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/github/fake"
)

// BenchmarkPreview measures the time from a webhook to the final status of a pull
// request that changes one unit of a hundred, with all rules on, beside the bare
// plan and show of the same unit in a folder that is initialised already:
//
//	go run ./testdata/tools/get engine -- go test ./cmd/pave -run '^$' -bench Preview -benchtime 5x
func BenchmarkPreview(b *testing.B) {
	const units = 100
	s := newStand(b)
	var catalog strings.Builder
	catalog.WriteString("package platform\n")
	for i := range units {
		fmt.Fprintf(&catalog, "\nrequest: \"many-%d\": {\n\tblueprint:   \"box\"\n\tservice:     \"ledger\"\n\tenvironment: \"development\"\n\tinputs: value: \"value %d\"\n}\n", i, i)
	}
	must(b, os.WriteFile(filepath.Join(s.work, "catalog/payments/many.cue"), []byte(catalog.String()), 0o644))
	s.replace("teams.cue", `members: ["alice", "bob"], budget: 10`, `members: ["alice", "bob"], budget: 1000`)
	s.replace("platform.cue", `poll: "1s"`, `poll: "1h"`)
	s.commit("Ask for a hundred boxes")
	s.git("push", "--quiet", "origin", "main")
	secret := filepath.Join(s.dir, "hook")
	must(b, os.WriteFile(secret, []byte(webhookSecret), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	address := listener.Addr().String()
	must(b, listener.Close())
	s.flags = append(s.flags, "--webhook-secret-file", secret, "--listen", address)
	s.serve()
	for end := time.Now().Add(15 * time.Minute); strings.Count(s.log.String(), "outcome=applied") < units+3; time.Sleep(time.Second) {
		if time.Now().After(end) {
			b.Fatalf("the units did not converge:\n%s", s.log.String())
		}
	}
	time.Sleep(2 * time.Second) // until that is recorded

	bare := bareUnit(b, s.work)
	var overhead, floor time.Duration
	for i := 0; b.Loop(); i++ {
		s.replace("catalog/payments/many.cue", fmt.Sprintf(`"value %d"`, i), fmt.Sprintf(`"changed %d"`, i))
		p := s.open("alice", false)
		began := time.Now()
		deliver(b, address, p.Number)
		s.expect(p, p.HeadSHA, "success", "Ready to merge")
		took := time.Since(began)
		bareTook := bare()
		overhead, floor = overhead+took-bareTook, floor+bareTook
		s.server.Do(func() { p.State = "closed" })
	}
	b.ReportMetric(floor.Seconds()/float64(b.N), "s-bare/op")
	b.ReportMetric(overhead.Seconds()/float64(b.N), "s-overhead/op")
}

// deliver sends the webhook that a pull request was opened.
func deliver(b testing.TB, address string, number int) {
	b.Helper()
	body := fmt.Appendf(nil, `{"action":"opened","number":%d,"repository":{"full_name":"%s/%s"}}`, number, fake.Owner, fake.Name)
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write(body)
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/webhook", bytes.NewReader(body))
	must(b, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "pull_request")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	must(b, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		b.Fatalf("the webhook was answered %s", resp.Status)
	}
}

// bareUnit returns what plans and shows one unit with the engine alone.
func bareUnit(b testing.TB, work string) func() time.Duration {
	b.Helper()
	dir := b.TempDir()
	must(b, os.CopyFS(dir, os.DirFS(filepath.Join(work, "blueprints/box"))))
	must(b, os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"), []byte(`{"value":"one","note":""}`), 0o600))
	engine := findEngines(b)["terraform"]
	terraform := func(args ...string) {
		b.Helper()
		cmd := exec.Command(engine, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CHECKPOINT_DISABLE=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
	terraform("init", "-input=false")
	terraform("apply", "-input=false", "-auto-approve")
	must(b, os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"), []byte(`{"value":"two","note":""}`), 0o600))
	return func() time.Duration {
		began := time.Now()
		terraform("plan", "-input=false", "-out=plan")
		terraform("show", "-json", "plan")
		return time.Since(began)
	}
}
