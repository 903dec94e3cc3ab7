package stores

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

// AccessKey and SecretKey are the pair that both servers take.
const (
	AccessKey = "local"
	SecretKey = "known-to-the-host-alone"
)

// AWS is an S3 or a DynamoDB server of its own on this machine.
type AWS struct {
	*testing.T
	service string
	address string
	program string
	args    []string
	cmd     *exec.Cmd
	ended   chan error // once it runs
}

// StartS3 starts versitygw over a folder.
func StartS3(t *testing.T) *AWS {
	t.Helper()
	objects, versions := t.TempDir(), t.TempDir()
	return startServer(t, "s3", "PAVE_TEST_VERSITYGW", "versitygw", func(address string) []string {
		return []string{"--port", address, "posix", "--versioning-dir", versions, objects}
	})
}

// StartDynamoDB starts dynalite, which keeps everything in memory.
func StartDynamoDB(t *testing.T) *AWS {
	t.Helper()
	return startServer(t, "dynamodb", "PAVE_TEST_DYNALITE", "dynalite", func(address string) []string {
		host, port, _ := net.SplitHostPort(address)
		return []string{"--host", host, "--port", port, "--createTableMs", "50"}
	})
}

// startServer starts a program on a free port and waits until it answers.
func startServer(t *testing.T, service, variable, name string, args func(address string) []string) *AWS {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		program = name
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &AWS{T: t, service: service, address: listener.Addr().String(), program: program}
	must(t, listener.Close())
	s.args = args(s.address)
	t.Cleanup(s.stop)
	s.start()
	return s
}

// start starts the server, which is not running.
func (s *AWS) start() {
	s.Helper()
	var output bytes.Buffer
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
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
func (s *AWS) stop() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.ended = nil
}

// URL is where it answers.
func (s *AWS) URL() string { return "http://" + s.address }

// do sends a request that is signed as AWS wants it (signature version 4), and
// returns the status and the body of the answer.
func (s *AWS) do(method, path, target, body string) (int, string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.URL()+path, strings.NewReader(body))
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
	key := []byte("AWS4" + SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = sign(key, part)
	}
	signature := sign(key, "AWS4-HMAC-SHA256\n"+request.Header.Get("X-Amz-Date")+"\n"+scope+"\n"+hexSum(canonical))
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", AccessKey, scope, signed, signature))
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

// Expect sends a request to the S3 server and compares the status of the answer.
func (s *AWS) Expect(status int, method, path string) string {
	s.Helper()
	got, body := s.do(method, path, "", "")
	if got != status {
		s.Fatalf("%s %s: expected %d, got %d: %s", method, path, status, got, body)
	}
	return body
}

// ExpectTable asks the DynamoDB server for a table.
func (s *AWS) ExpectTable(status int, name string) {
	s.Helper()
	got, body := s.do(http.MethodPost, "/", "DynamoDB_20120810.DescribeTable", `{"TableName":"`+name+`"}`)
	if got != status {
		s.Fatalf("table %s: expected %d, got %d: %s", name, status, got, body)
	}
}

// Store returns the server as a store, with a bucket for it.
func (s *AWS) Store() Store {
	s.Helper()
	s.Expect(200, http.MethodPut, "/states")
	state := func(unit string) string { return "/states/pave/" + unit + ".tfstate" }
	return Store{
		Backend: "s3",
		Config: map[string]any{
			"bucket": "states", "region": "us-east-1", "endpoints": map[string]any{"s3": s.URL()}, "use_lockfile": true, "use_path_style": true, "max_retries": 1,
			"skip_credentials_validation": true, "skip_metadata_api_check": true, "skip_region_validation": true, "skip_requesting_account_id": true,
		},
		Stop: s.stop, Start: s.start,
		State: func(unit string) string {
			if status, text := s.do(http.MethodGet, state(unit), "", ""); status == http.StatusOK {
				return text
			}
			return ""
		},
		Lose: func(unit string) { s.Expect(204, http.MethodDelete, state(unit)) },
		Locked: func(unit string) bool {
			status, _ := s.do(http.MethodHead, state(unit)+".tflock", "", "")
			return status == http.StatusOK
		},
	}
}

// lockedBy returns the server as a store whose locks are in a table of another one.
func (s *AWS) lockedBy(tables *AWS) Store {
	s.Helper()
	status, body := tables.do(http.MethodPost, "/", "DynamoDB_20120810.CreateTable", `{"TableName":"locks","BillingMode":"PAY_PER_REQUEST",
		"AttributeDefinitions":[{"AttributeName":"LockID","AttributeType":"S"}],"KeySchema":[{"AttributeName":"LockID","KeyType":"HASH"}]}`)
	if status != http.StatusOK {
		s.Fatalf("make a table: %d %s", status, body)
	}
	store := s.Store()
	delete(store.Config, "use_lockfile")
	store.Config["dynamodb_table"] = "locks"
	store.Config["endpoints"] = map[string]any{"s3": s.URL(), "dynamodb": tables.URL()}
	store.Locked = func(unit string) bool {
		_, item := tables.do(http.MethodPost, "/", "DynamoDB_20120810.GetItem", `{"TableName":"locks","Key":{"LockID":{"S":"states/pave/`+unit+`.tfstate"}}}`)
		return strings.Contains(item, "Info")
	}
	return store
}
