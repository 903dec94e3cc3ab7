package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The pair that both servers take.
const (
	accessKey = "local"
	secretKey = "known-to-the-host-alone"
)

// awsServer is an S3 or a DynamoDB server of its own on this machine.
type awsServer struct {
	*testing.T
	service string
	address string
	program string
	args    []string
	cmd     *exec.Cmd
	ended   chan error // once it runs
}

// startS3 starts versitygw over a folder.
func startS3(t *testing.T) *awsServer {
	t.Helper()
	objects, versions := t.TempDir(), t.TempDir()
	return startServer(t, "s3", "PAVE_TEST_VERSITYGW", "versitygw", func(address string) []string {
		return []string{"--port", address, "posix", "--versioning-dir", versions, objects}
	})
}

// startDynamoDB starts dynalite, which keeps everything in memory.
func startDynamoDB(t *testing.T) *awsServer {
	t.Helper()
	return startServer(t, "dynamodb", "PAVE_TEST_DYNALITE", "dynalite", func(address string) []string {
		host, port, _ := net.SplitHostPort(address)
		return []string{"--host", host, "--port", port, "--createTableMs", "50"}
	})
}

// startServer starts a program on a free port and waits until it answers.
func startServer(t *testing.T, service, variable, name string, args func(address string) []string) *awsServer {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		program = name
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &awsServer{T: t, service: service, address: listener.Addr().String(), program: program}
	must(t, listener.Close())
	s.args = args(s.address)
	t.Cleanup(s.stop)
	s.start()
	return s
}

// start starts the server, which is not running.
func (s *awsServer) start() {
	s.Helper()
	var output bytes.Buffer
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	s.cmd.Stdout, s.cmd.Stderr = &output, &output
	if err := s.cmd.Start(); err != nil {
		s.Fatalf("%v: `go run ./testdata/tools/get %s` makes it", err, filepath.Base(s.program))
	}
	ended := make(chan error, 1)
	s.ended = ended
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(s.cmd)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			s.Fatalf("%s ended: %v\n%s", s.program, err, &output)
		default:
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s does not answer at %s", s.program, s.address)
		}
	}
}

// stop kills the server, if it runs.
func (s *awsServer) stop() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.ended = nil
}

func (s *awsServer) url() string { return "http://" + s.address }

// do sends a request that is signed as AWS wants it (signature version 4), and
// returns the status and the body of the answer.
func (s *awsServer) do(method, path, target, body string) (int, string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.url()+path, strings.NewReader(body))
	must(s.T, err)
	now := time.Now().UTC()
	digest := hexSum(body)
	request.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	request.Header.Set("X-Amz-Content-Sha256", digest)
	if target != "" {
		request.Header.Set("X-Amz-Target", target)
		request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	}
	const signed = "host;x-amz-content-sha256;x-amz-date"
	canonical := strings.Join([]string{
		method, path, "", "host:" + s.address, "x-amz-content-sha256:" + digest, "x-amz-date:" + request.Header.Get("X-Amz-Date"), "", signed, digest,
	}, "\n")
	scope := now.Format("20060102") + "/us-east-1/" + s.service + "/aws4_request"
	key := []byte("AWS4" + secretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = sign(key, part)
	}
	signature := sign(key, "AWS4-HMAC-SHA256\n"+request.Header.Get("X-Amz-Date")+"\n"+scope+"\n"+hexSum(canonical))
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", accessKey, scope, signed, signature))
	response, err := http.DefaultClient.Do(request)
	must(s.T, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(s.T, err)
	return response.StatusCode, string(answer)
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// expect sends a request to the S3 server and compares the status of the answer.
func (s *awsServer) expect(status int, method, path string) string {
	s.Helper()
	got, body := s.do(method, path, "", "")
	if got != status {
		s.Fatalf("%s %s: expected %d, got %d: %s", method, path, status, got, body)
	}
	return body
}

// expectTable asks the DynamoDB server for a table.
func (s *awsServer) expectTable(status int, name string) {
	s.Helper()
	got, body := s.do(http.MethodPost, "/", "DynamoDB_20120810.DescribeTable", `{"TableName":"`+name+`"}`)
	if got != status {
		s.Fatalf("table %s: expected %d, got %d: %s", name, status, got, body)
	}
}

// bind gives environments the credentials of the servers.
func (h *host) bind(environments ...string) {
	h.Helper()
	folder := h.TempDir() // expectNowhere does not look there
	for _, name := range environments {
		lines := "AWS_ACCESS_KEY_ID=" + accessKey + "\nAWS_SECRET_ACCESS_KEY=" + secretKey + "\n"
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
	objects, tables := startS3(t), startDynamoDB(t)
	h := newHost(t, "terraform", func(repo string) { must(t, os.CopyFS(repo, os.DirFS("../../examples/aws"))) })
	h.replace("environments.cue", "http://127.0.0.1:7070", objects.url())
	h.replace("environments.cue", "http://127.0.0.1:4569", tables.url())
	h.commit("Use this machine's servers")
	h.flags = append(h.flags, "--terraform-config", providers)

	h.bind("development", "production")
	h.pave(0, "apply")
	h.expectAllReady(3)
	objects.expect(200, http.MethodHead, "/studio-uploads-pictures")
	objects.expect(200, http.MethodHead, "/studio-thumbnails-scratch")
	tables.expectTable(200, "studio-uploads-index")

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
	objects.expect(404, http.MethodHead, "/studio-thumbnails-scratch")
	objects.expect(200, http.MethodHead, "/studio-uploads-pictures")
	tables.expectTable(200, "studio-uploads-index")
	h.expectNowhere([]string{secretKey})
}
