package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/limited"
)

// The limits of a child.
const (
	childMemory  = 512 << 20
	childFiles   = 32
	childSeconds = 120
)

// evaluateInChildren answers the jobs in order. The first is the governance,
// which every child evaluates before anything else. Where a child dies or
// exceeds the deadline, the job it was at is answered with a violation and
// another child goes on behind it.
func evaluateInChildren(ctx context.Context, command []string, deadline time.Duration, jobs []job, held *shelves) ([]*answer, error) {
	answers := make([]*answer, len(jobs))
	for at := 0; at < len(jobs); {
		todo := jobs[at:]
		if at > 0 {
			todo = append([]job{jobs[0]}, todo...)
		}
		got, cause, err := oneChild(ctx, command, deadline, todo, held)
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
func exceeded(j job, cause string) *answer {
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
	return &answer{Violations: []reconciler.Violation{v}, exceeded: true}
}

// oneChild returns the answers that one child gave before it ended, and why it
// ended early, in words that follow "evaluation".
func oneChild(ctx context.Context, command []string, deadline time.Duration, jobs []job, held *shelves) ([]*answer, string, error) {
	c, err := startChild(ctx, command)
	if err != nil {
		return nil, "", err
	}
	defer c.kill(nil)
	answers := c.ask(deadline, jobs, held, c.stdin.Close)
	err = c.cmd.Wait()
	switch {
	case len(answers) == len(jobs):
		return answers, "", nil
	case c.ctx.Err() != nil && !errors.Is(context.Cause(c.ctx), limited.ErrDeadline):
		return nil, "", context.Cause(c.ctx)
	}
	cause, err := limited.Why(c.ctx, err, &c.stderr, childMemory, deadline)
	if err != nil {
		return nil, "", fmt.Errorf("the evaluator ended: %w", err)
	}
	return answers, cause, nil
}

// child is a process that answers jobs until its input ends, or it is killed.
type child struct {
	cmd     *exec.Cmd
	ctx     context.Context // ends with the process, and the process with it
	kill    context.CancelCauseFunc
	stdin   io.WriteCloser
	answers *json.Decoder
	stderr  limited.Tail
}

func startChild(ctx context.Context, command []string) (*child, error) {
	var c child
	c.ctx, c.kill = context.WithCancelCause(ctx)
	c.cmd = exec.CommandContext(c.ctx, command[0], command[1:]...)
	c.cmd.Env = append(confine.Shut(nil, nil), "CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent", "GOTRACEBACK=none")
	c.cmd.Dir = "/"
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = time.Second
	c.cmd.Stderr = &c.stderr
	var stdout io.Reader
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		stdout, err = c.cmd.StdoutPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.kill(nil)
		return nil, fmt.Errorf("start the evaluator: %w", err)
	}
	c.answers = json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	return &c, nil
}

// ask returns the answers to the jobs, as many as the child gave before it ended or
// one took longer than the deadline, which ends it. sent is called once it was told
// of all of them.
func (c *child) ask(deadline time.Duration, jobs []job, held *shelves, sent func() error) []*answer {
	go func() {
		w := bufio.NewWriterSize(c.stdin, 1<<16)
		enc := json.NewEncoder(w)
		for _, j := range jobs {
			if enc.Encode(j) != nil {
				break
			}
		}
		_ = w.Flush() // fails where the child ended
		_ = sent()
	}()
	patience := limited.NewPatience(c.cmd.Process.Pid, deadline, func() { c.kill(limited.ErrDeadline) })
	defer patience.Stop()
	var answers []*answer
	files := map[string]*file{}
	for _, j := range jobs {
		for _, f := range j.reads {
			files[f.Path] = f
		}
	}
	for len(answers) < len(jobs) {
		var a answer
		if c.answers.Decode(&a) != nil {
			break
		}
		patience.Renew()
		answers = append(answers, held.answer(a, files))
	}
	return answers
}

// Serve is the child: it limits itself, then reads jobs from the reader and
// writes an answer to each to the writer, in order, until the reader ends.
func Serve(r io.Reader, w io.Writer) error {
	if err := (limited.Limits{Memory: childMemory, Seconds: childSeconds, Files: childFiles}).Enter(); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	out := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false) // a document leaves as it is
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
