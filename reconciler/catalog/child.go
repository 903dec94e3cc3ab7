package catalog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pave-dev/pave/reconciler"
)

// The limits of a child. RLIMIT_DATA follows the memory really used, unlike
// RLIMIT_AS, under which the Go runtime itself cannot start.
const (
	childMemory = 512 << 20
	childFiles  = 32
	// childSeconds of processor time end a child whose parent died.
	childSeconds = 120
)

// evaluateInChildren answers the jobs in order. The first is the governance,
// which every child evaluates before anything else. Where a child dies or
// exceeds the deadline, the job it was at is answered with a violation and
// another child goes on behind it.
func evaluateInChildren(ctx context.Context, command []string, deadline time.Duration, jobs []job) ([]answer, error) {
	answers := make([]answer, len(jobs))
	for at := 0; at < len(jobs); {
		todo := jobs[at:]
		if at > 0 {
			todo = append([]job{jobs[0]}, todo...)
		}
		got, cause, err := oneChild(ctx, command, deadline, todo)
		if err != nil {
			return nil, err
		}
		if at > 0 && len(got) > 0 {
			got = got[1:]
		}
		at += copy(answers[at:], got)
		if at < len(jobs) {
			if at > 0 && len(got) == 0 && cause == "" {
				return nil, errors.New("the evaluator ended early")
			}
			answers[at] = exceeded(jobs[at], cause)
			if at == 0 {
				return answers, nil
			}
			at++
		}
	}
	return answers, nil
}

// exceeded is the answer to a job that its child could not finish.
func exceeded(j job, cause string) answer {
	v := reconciler.Violation{Level: reconciler.Deny, Scope: reconciler.ScopeFile,
		Message: "evaluation " + cause, Hint: "simplify what is computed here"}
	switch j.Kind {
	case governanceJob:
		v.Scope = reconciler.ScopeRevision
		v.Position.File = "platform.cue"
	case dataJob:
		v.Position.File = j.Own[0]
	default:
		v.Position.File = j.Own[0]
		if len(j.Own) > 1 {
			v.Message = fmt.Sprintf("evaluation of this file with the others in %s %s", j.Folder, cause)
		}
	}
	return answer{Violations: []reconciler.Violation{v}}
}

// oneChild returns the answers that one child gave before it ended, and why it
// ended early, in words that follow "evaluation".
func oneChild(ctx context.Context, command []string, deadline time.Duration, jobs []job) ([]answer, string, error) {
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{"CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent", "GOTRACEBACK=none"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	var stderr tail
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start the evaluator: %w", err)
	}
	go func() {
		w := bufio.NewWriterSize(stdin, 1<<16)
		enc := json.NewEncoder(w)
		for _, j := range jobs {
			if enc.Encode(j) != nil {
				break
			}
		}
		w.Flush()
		stdin.Close()
	}()
	errDeadline := errors.New("deadline")
	timer := time.AfterFunc(deadline, func() { kill(errDeadline) })
	defer timer.Stop()
	var answers []answer
	dec := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	for len(answers) < len(jobs) {
		var a answer
		if dec.Decode(&a) != nil {
			break
		}
		timer.Reset(deadline)
		answers = append(answers, a)
	}
	err = cmd.Wait()
	switch {
	case len(answers) == len(jobs):
		return answers, "", nil
	case errors.Is(context.Cause(ctx), errDeadline):
		return answers, fmt.Sprintf("took longer than %s", deadline), nil
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case stderr.contains("out of memory") || stderr.contains("cannot allocate memory"):
		return answers, fmt.Sprintf("needs more than %d MB of memory", childMemory>>20), nil
	}
	if text := stderr.String(); strings.Contains(text, "stack overflow") || strings.Contains(text, "panic:") {
		return answers, "ended in a fault of the evaluator", nil
	}
	// The runtime itself may be what finds no memory, and then says anything:
	// that a thread cannot be made, or that it met a nil pointer. Serve ends
	// with 1 where it says what is wrong.
	if exit, ended := errors.AsType[*exec.ExitError](err); ended && exit.ExitCode() != 1 {
		return answers, fmt.Sprintf("needs more than %d MB of memory", childMemory>>20), nil
	}
	return nil, "", fmt.Errorf("the evaluator ended: %w: %s", err, stderr.String())
}

// tail keeps the first 4 kB that are written to it.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if room := 4096 - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string            { return strings.ToValidUTF8(t.buf.String(), "?") }
func (t *tail) contains(text string) bool { return strings.Contains(t.buf.String(), text) }

// Serve is the child: it limits itself, then reads jobs from the reader and
// writes an answer to each to the writer, in order, until the reader ends.
func Serve(r io.Reader, w io.Writer) error {
	for what, limit := range map[int]uint64{
		unix.RLIMIT_DATA: childMemory, unix.RLIMIT_CPU: childSeconds,
		unix.RLIMIT_NOFILE: childFiles, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0,
	} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit the evaluator: %w", err)
		}
	}
	debug.SetMemoryLimit(childMemory * 3 / 4)
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	out := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(out)
	var ev evaluation
	for {
		var j job
		if err := dec.Decode(&j); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if err := enc.Encode(ev.do(j)); err != nil {
			return err
		}
		// Each answer leaves at once: the parent's deadline is for one job.
		if err := out.Flush(); err != nil {
			return err
		}
	}
}
