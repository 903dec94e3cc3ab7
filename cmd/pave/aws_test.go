package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// bind gives environments the credentials of the servers.
func (h *host) bind(environments ...string) {
	h.Helper()
	folder := h.TempDir() // expectNowhere does not look there
	for _, name := range environments {
		lines := "AWS_ACCESS_KEY_ID=" + stores.AccessKey + "\nAWS_SECRET_ACCESS_KEY=" + stores.SecretKey + "\n"
		must(h.T, os.WriteFile(filepath.Join(folder, name+".env"), []byte(lines), 0o600))
	}
	h.flags = append(h.flags, "--credentials", folder)
}

// TestAWSConverges runs wherever the AWS provider is. It cannot be built from
// source in reasonable time; where it is missing, `make test` says that the test
// did not run.
func TestAWSConverges(t *testing.T) {
	if testing.Short() {
		t.Skip("needs built servers: make test")
	}
	t.Parallel()
	providers := findProviders(t)
	text, err := os.ReadFile(providers)
	must(t, err)
	if !strings.Contains(string(text), "hashicorp/aws") {
		t.Skip("this machine has no AWS provider: PAVE_AWS_PROVIDER_MIRROR may name a plugin folder that has it")
	}
	objects, tables := stores.StartS3(t), stores.StartDynamoDB(t)
	h := newHost(t, "terraform", func(repo string) { must(t, os.CopyFS(repo, os.DirFS("../../examples/aws"))) })
	h.replace("environments.cue", "http://127.0.0.1:7070", objects.URL())
	h.replace("environments.cue", "http://127.0.0.1:4569", tables.URL())
	h.commit("Use this machine's servers")
	h.flags = append(h.flags, "--terraform-config", providers)

	h.bind("development", "production")
	h.pave(0, "apply")
	h.expectAllReady(3)
	objects.Expect(200, http.MethodHead, "/studio-uploads-pictures")
	objects.Expect(200, http.MethodHead, "/studio-thumbnails-scratch")
	tables.ExpectTable(200, "studio-uploads-index")

	h.expectStarts("version", "init", "plan", "show", "apply")
	h.loseCache()
	h.pave(0, "apply")
	h.expectStarts("version")

	h.cut("catalog/media/thumbnails.cue", "thumbnails-scratch")
	h.cut("catalog/media/uploads.cue", "uploads-index")
	h.commit("Remove a bucket and, by mistake, a table of production")
	h.pave(3, "apply")
	h.expectRecorded("thumbnails-scratch destroyed", "uploads-index held")
	h.expectHeld("uploads-index", "Protected")
	objects.Expect(404, http.MethodHead, "/studio-thumbnails-scratch")
	objects.Expect(200, http.MethodHead, "/studio-uploads-pictures")
	tables.ExpectTable(200, "studio-uploads-index")
	h.expectNowhere([]string{stores.SecretKey})
}
