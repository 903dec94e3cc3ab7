package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/prometheus/procfs"
)

// faulty serves the host's repository over HTTP, as Git does, with a fault.
type faulty struct {
	*httptest.Server
	fault atomic.Value // of type string: "", refuse, hang, truncate, cut a pack or stall in one
	asked atomic.Int32 // since the fault began
}

func (h *host) serveFaulty() *faulty {
	h.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	must(h.T, err)
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + h.repo, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + h.dir,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true"},
	}
	f := &faulty{}
	f.fault.Store("")
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := f.fault.Load()
		if fault != "" {
			f.asked.Add(1)
		}
		switch fault {
		case "refuse":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "hang":
			<-r.Context().Done()
		case "truncate", "cut", "stall":
			whole := httptest.NewRecorder()
			backend.ServeHTTP(whole, r)
			answer := whole.Body.Bytes()
			if fault != "truncate" && !bytes.Contains(answer, []byte("PACK")) {
				fault = "" // only a pack breaks off
			}
			for key, values := range whole.Header() {
				w.Header()[key] = values
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
			w.WriteHeader(whole.Code)
			if fault != "" {
				answer = answer[:len(answer)*2/3]
			}
			_, _ = w.Write(answer)
			if fault == "stall" {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
		default:
			backend.ServeHTTP(w, r)
		}
	}))
	h.Cleanup(f.CloseClientConnections)
	return f
}

// serveThrough serves the repository of the host through the faulty server.
func (h *host) serveThrough(f *faulty) *daemon { h.Helper(); return h.serveFrom(f.URL + "/.git") }

// through runs a command of Pave that reaches the repository through the
// faulty server, for so long, and returns its exit code and what it said.
func (h *host) through(f *faulty, patience time.Duration, args ...string) (int, string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	args = append(append(args, h.flags...), "--repo", f.URL+"/.git", "--cache-dir", h.cache(), "--state-dir", h.state())
	var said bytes.Buffer
	code := run(ctx, args, strings.NewReader(""), &said, &said)
	return code, said.String()
}

// A remote that refuses, hangs or breaks off changes nothing: not even the
// destruction that is asked for begins, and nothing is taken for empty.
func TestRemoteFaults(t *testing.T) {
	h := newStarter(t)
	f := h.serveFaulty()
	if code, said := h.through(f, time.Minute, "apply"); code != 0 {
		t.Fatalf("expected exit code 0, got %d: %s", code, said)
	}
	h.expectStarts("version", "init", "plan", "show", "apply")
	recorded := h.git("rev-parse", "pave/status")
	h.cut("catalog/platform/welcome.cue", "welcome-quote")
	h.commit("Remove the quote")
	for _, fault := range []string{"refuse", "hang", "truncate"} {
		f.fault.Store(fault)
		f.asked.Store(0)
		began := time.Now()
		code, said := h.through(f, 3*time.Second, "apply")
		if took := time.Since(began); code == 0 || code == exitPending || took > 20*time.Second || f.asked.Load() == 0 {
			t.Errorf("%s: exit code %d after %s and %d requests: %s", fault, code, took, f.asked.Load(), said)
		}
		h.expectStarts()
		if now := h.git("rev-parse", "pave/status"); now != recorded {
			t.Errorf("%s: something was recorded", fault)
		}
	}
	f.fault.Store("")
	if code, said := h.through(f, time.Minute, "apply"); code != 0 || !strings.Contains(said, "1 of 1 requests are ready") {
		t.Errorf("expected exit code 0, got %d: %s", code, said)
	}
	h.expectRecorded("welcome-quote destroyed")
}

// silence is how long a repository may send nothing in the middle of a pack.
//
//go:linkname silence github.com/pave-dev/pave/reconciler/git.silence
var silence time.Duration

// A pack that breaks off, one that stops coming, and a revision without a file
// destroy nothing. The daemon says what is wrong and what to do, and goes on as
// soon as it can.
func TestDaemonAndBrokenRevisions(t *testing.T) {
	h := newStarter(t)
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\n\tintervals: {poll: \"1s\", retry: \"1s\"}")
	h.commit("Look often")
	kept := silence
	silence = time.Second
	t.Cleanup(func() { silence = kept })
	f := h.serveFaulty()
	d := h.serveThrough(f)
	d.until("outcome=applied", 2)
	h.awaitRecord("Unit: welcome-quote applied")
	h.expectStarts("version", "init", "plan", "show", "apply")
	for i, fault := range []struct{ name, says string }{
		{"cut", "the repository sent less than it announced: nothing is taken of it, and it is asked again"},
		{"stall", "the repository sent nothing more in the middle of an answer"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			recorded := h.git("rev-parse", "pave/status")
			f.fault.Store(fault.name)
			before, after := fmt.Sprintf("greeting %d", i), fmt.Sprintf("greeting %d", i+1)
			if i == 0 {
				before = "Hello from Git."
			}
			h.replace("catalog/platform/welcome.cue", before, after)
			h.commit("Say " + after)
			d.until(fault.says, 1)
			h.expectStarts()
			if now := h.git("rev-parse", "pave/status"); now != recorded {
				t.Error("something was recorded")
			}
			f.fault.Store("")
			f.CloseClientConnections()
			h.awaitRecord("Revision: " + strings.TrimSpace(h.git("rev-parse", "main")))
			h.expectStarts("plan", "show", "apply")
		})
	}
	state := h.stateOf("welcome-note")
	h.git("rm", "--quiet", "-r", ".")
	h.commit("Empty everything")
	const why = "the repository is empty: `git revert` the commit that emptied it"
	h.awaitRecord("refused: " + why)
	d.until(`msg="refused a revision"`, 1)
	d.until(why, 1)
	h.git("revert", "--no-edit", "HEAD")
	h.awaitRecord("Accept the revision")
	d.end()
	h.expectStarts()
	h.expectAllReady(2)
	if h.stateOf("welcome-note") != state {
		t.Error("the state was changed")
	}
}

// awaitRecord waits until the last status commit says something.
func (h *host) awaitRecord(text string) {
	h.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		said := h.git("log", "-1", "--format=%B", "--glob=refs/heads/pave/status*")
		if strings.Contains(said, text) {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("it was not recorded that %s; the last record says %s", text, said)
		}
	}
}

// However often the record is refused, what was applied is not applied again,
// and is recorded as soon as it can be.
func TestStatusPushRejectedTwentyTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	h := newStarter(t)
	count := filepath.Join(h.dir, "refused")
	hook := filepath.Join(h.repo, ".git", "hooks", "update")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\n[ \"$1\" != refs/heads/pave/status ] || { echo no >>'"+count+"'; exit 1; }\n"), 0o700))
	for i := range 20 {
		h.pave(exitFailure, "apply")
		if i == 0 {
			h.expectStarts("version", "init", "plan", "show", "apply")
		}
	}
	h.expectStarts()
	if refused, err := os.ReadFile(count); err != nil || bytes.Count(refused, []byte("\n")) < 20 {
		t.Errorf("refused %q, %v", refused, err)
	}
	must(t, os.Remove(hook))
	h.pave(0, "apply")
	h.expectStarts()
	h.expectRecorded("welcome-note applied", "welcome-quote applied")
	if commits := strings.TrimSpace(h.git("rev-list", "--count", "pave/status")); commits != "1" {
		t.Errorf("the record has %s commits", commits)
	}
}

// A Pave that is killed when its record has reached the remote, before it heard so,
// knows the record again for its own: it restores nothing and records nothing twice.
func TestKilledBetweenPushAndAnswer(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	h.cut("catalog/platform/welcome.cue", "welcome-quote")
	h.commit("Remove the quote")
	pid := filepath.Join(h.dir, "pid")
	hook := filepath.Join(h.repo, ".git", "hooks", "post-receive")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\nkill -9 $(cat '"+pid+"')\n"), 0o700))
	cmd := exec.Command("pave", append([]string{"apply", "--repo", h.repo, "--cache-dir", h.cache(), "--state-dir", h.state()}, h.flags...)...)
	cmd.Env = []string{"HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	must(t, os.WriteFile(pid, fmt.Appendln(nil, cmd.Process.Pid), 0o600))
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("expected a kill, got %v: %s", err, &said)
	}
	must(t, os.Remove(hook))
	h.expectRecorded("welcome-quote destroyed")
	recorded := h.git("rev-parse", "pave/status")
	h.expectStarts("version", "init", "plan", "show", "apply")
	h.pave(0, "apply")
	h.expectStarts()
	h.expectAllReady(1)
	if now := h.git("rev-parse", "pave/status"); now != recorded {
		t.Errorf("it was recorded once more:\n%s", h.git("log", "--format=%h %B", "pave/status"))
	}
	if runs, err := filepath.Glob(filepath.Join(h.state(), "*", "runs", "*", "[0-9]*")); err != nil || len(runs) > 0 {
		t.Errorf("runs that were left: %v, %v", runs, err)
	}
}

// slowNote makes the starter's note take some seconds to apply, in an apply
// that tells in a file that it began.
func (h *host) slowNote() (began string) {
	h.Helper()
	folder := h.TempDir()
	h.flags[slices.Index(h.flags, "--allow-write")+1] += ":" + folder
	began = filepath.Join(folder, "began")
	h.replace("blueprints/note/main.tf", `    priority = var.priority
  }
`, `    priority = var.priority
  }
  provisioner "local-exec" {
    command = "echo made >>'`+began+`'; sleep 3"
  }
`)
	h.replace("platform.cue", `owner: "platform"`, "owner: \"platform\"\n\tintervals: {poll: \"1s\", retry: \"1s\"}\n\tpolicy: overrides: \"module-provisioner\": {level: \"off\", reason: \"a test needs it to be slow\"}")
	return began
}

// awaitLines waits until the file has so many lines.
func (h *host) awaitLines(file string, want int) {
	h.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		if bytes.Count(text, []byte("\n")) >= want {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("%s has %q; expected %d lines", file, text, want)
		}
	}
}

// The cache may go at any time, in mid-apply as well.
func TestCacheDeletedWhileRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	h := newStarter(t)
	began := h.slowNote()
	h.commit("Take your time")
	d := h.serve()
	h.awaitLines(began, 1)
	h.loseCache()
	d.until("outcome=applied", 2)
	h.loseCache()
	h.replace("catalog/platform/welcome.cue", "Hello from Git.", "Hello again.")
	h.commit("Say something else")
	d.until("outcome=applied", 4)
	d.end()
	h.expectAllReady(2)
	if made, _ := os.ReadFile(began); bytes.Count(made, []byte("\n")) != 2 {
		t.Errorf("two things were made %d times", bytes.Count(made, []byte("\n")))
	}
}

// Without the folder of runs, what a run did that is killed is unknown, and then
// observed: what was made is not made again.
func TestRunsDeletedWhileRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	h := newStarter(t)
	began := h.slowNote()
	h.commit("Take your time")
	d := h.serve()
	h.awaitLines(began, 1)
	runs, err := filepath.Glob(filepath.Join(h.state(), "*", "runs"))
	must(t, err)
	if len(runs) != 1 {
		t.Fatalf("got %q", runs)
	}
	lose(t, runs[0])
	processes, err := procfs.AllProcs()
	must(t, err)
	for _, p := range processes {
		if args, err := p.CmdLine(); err == nil && len(args) > 2 && args[1] == "__run" && strings.HasPrefix(args[2], runs[0]) {
			must(t, syscall.Kill(p.PID, syscall.SIGKILL))
		}
	}
	d.until("outcome=unknown", 1)
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(h.git("log", "--format=%B", "pave/status"), "Unit: welcome-quote applied"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the quote was not applied:\n%s", d.said())
		}
	}
	d.end()
	h.expectAllReady(2)
	if log := h.git("log", "--format=%B", "pave/status"); !strings.Contains(log, "Unit: welcome-note failed +0 ~0 -0 reason=OutcomeUnknown run=") {
		t.Errorf("the unknown outcome is not recorded:\n%s", log)
	}
	if made, _ := os.ReadFile(began); bytes.Count(made, []byte("\n")) != 2 {
		t.Errorf("two things were made %d times", bytes.Count(made, []byte("\n")))
	}
}

// What a killed pave had not finished writing goes with the next one.
func TestHalfWrittenFilesGo(t *testing.T) {
	h := newStarter(t)
	h.pave(0, "apply")
	status, err := filepath.Glob(filepath.Join(h.state(), "*", "status.json"))
	must(t, err)
	half := filepath.Join(filepath.Dir(status[0]), ".new-1")
	must(t, os.WriteFile(half, []byte("{"), 0o600))
	h.pave(0, "apply")
	if _, err := os.Stat(half); err == nil {
		t.Errorf("%s is left", half)
	}
}
