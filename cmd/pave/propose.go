package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/limited"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// What the processes that handle a pull request may use. The evaluator that the
// second of them starts has limits of its own.
const (
	proposeMemory = 1 << 30
	maxProposal   = 256 << 20

	// fetchDeadline bounds how long the repository may take: to be slow is no
	// fault of the change, and it is tried again. What the change makes the
	// process compute meanwhile is bounded by fetchSeconds.
	fetchDeadline = 3 * time.Minute
	fetchSeconds  = 60
	// readDeadline bounds how long it may take to read and to judge the change,
	// which is refused beyond.
	readDeadline = 2 * time.Minute
	readSeconds  = 240
)

// proposing is all that such a process is told.
type proposing struct {
	Change     reconciler.ProposedChange `json:"change"`
	Quarantine git.QuarantineOptions     `json:"quarantine"`
	// Known is what the daemon evaluated of the tracked branch, so that it is not
	// evaluated for each pull request again. Nothing is taken back.
	Known json.RawMessage `json:"known,omitempty"`
}

// proposer has pull requests fetched by one process and read by another, which
// has nothing to reach the repository with. It implements [reconciler.Proposer].
type proposer struct {
	self        string
	folder      string // for throw-away copies
	input       proposing
	known       func() (json.RawMessage, error) // of the tracked branch
	fetch, read child
}

// child is one of the two processes.
type child struct {
	verb     string
	deadline time.Duration
	seconds  time.Duration // of processor time
	late     error         // the cause of its end where it is over the deadline
	environ  func(in proposing, dir string) []string
}

// Propose starts the processes, one after the other, and waits for their word.
// Whatever they leave is removed.
func (p *proposer) Propose(ctx context.Context, change reconciler.ProposedChange) (*reconciler.Proposal, error) {
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return nil, fmt.Errorf("prepare a quarantine: %w", err)
	}
	dir, err := os.MkdirTemp(p.folder, "change-")
	if err != nil {
		return nil, fmt.Errorf("prepare a quarantine: %w", err)
	}
	defer os.RemoveAll(dir)
	in := p.input
	in.Change, in.Quarantine.Dir = change, filepath.Join(dir, "git")
	var brought fetched
	why, err := p.fetch.run(ctx, p.self, dir, in, &brought)
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch a pull request: %w: %w", reconciler.ErrNotFetched, err)
	case why != "":
		return refused(change, "fetching it "+why), nil
	case brought.Refused != "":
		return refused(change, brought.Refused), nil
	}
	in.Quarantine.URL, in.Quarantine.Token = "", ""
	if in.Known, err = p.known(); err != nil {
		return nil, err
	}
	proposal := &reconciler.Proposal{}
	why, err = p.read.run(ctx, p.self, dir, in, proposal)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read a pull request: %w", err)
	case why != "":
		return refused(change, "reading it "+why), nil
	}
	return proposal, nil
}

// run starts the process and waits for its answer. why tells, in words that
// follow what it did, that the change kept it from answering; the error is for
// what is no fault of the change.
func (c child) run(ctx context.Context, self, dir string, in proposing, answer any) (why string, err error) {
	request, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	timer := time.AfterFunc(c.deadline, func() { kill(c.late) })
	defer timer.Stop()
	cmd := exec.CommandContext(ctx, self, c.verb)
	cmd.Env = c.environ(in, dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	cmd.Stdin = bytes.NewReader(request)
	var stderr limited.Tail
	cmd.Stderr = &stderr
	var stdout bounded
	cmd.Stdout = &stdout
	err = cmd.Run()
	switch {
	case stdout.over:
		return fmt.Sprintf("makes more than %d MB of text", maxProposal>>20), nil
	case err == nil:
		if err := json.Unmarshal(stdout.buf.Bytes(), answer); err != nil {
			return "", fmt.Errorf("understand the answer: %w", err)
		}
		return "", nil
	case ctx.Err() == nil && killed(err):
		if used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); used >= c.seconds {
			return fmt.Sprintf("takes more than %s of a processor", c.seconds), nil
		}
		return "", err // by somebody else: it was within its limits
	}
	return limited.Why(ctx, err, &stderr, proposeMemory, c.deadline)
}

// killed tells whether a process was ended from outside.
func killed(err error) bool {
	exit, ended := errors.AsType[*exec.ExitError](err)
	if !ended {
		return false
	}
	status, known := exit.Sys().(syscall.WaitStatus)
	return known && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// newProposer returns a proposer whose throw-away copies are in the folder, which no
// other process uses. What a process that was killed left there is removed.
func newProposer(folder string, input proposing, known func() (json.RawMessage, error)) (*proposer, error) {
	if err := os.RemoveAll(folder); err != nil {
		return nil, fmt.Errorf("remove earlier quarantines: %w", err)
	}
	return &proposer{self: confine.Path, folder: folder, input: input, known: known,
		fetch: child{fetchVerb, fetchDeadline, fetchSeconds * time.Second, fmt.Errorf("the repository took longer than %s", fetchDeadline), fetchEnviron},
		read:  child{proposeVerb, readDeadline, readSeconds * time.Second, limited.ErrDeadline, readEnviron},
	}, nil
}

// readEnviron is the whole environment of what reads a pull request: nothing of
// the host's but where programs are. It shuts the process in where the kernel can:
// of files it is left the mirror to read and its own folder.
func readEnviron(in proposing, dir string) []string {
	return append(baseEnviron(dir), confine.Shut([]string{in.Quarantine.Mirror}, []string{dir})...)
}

func baseEnviron(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "GOTRACEBACK=none", "LANG=C.UTF-8"}
}

// fetchEnviron is that of what fetches one, with what it takes to reach the
// repository.
func fetchEnviron(_ proposing, dir string) []string {
	env := append(baseEnviron(dir), "SSH_AUTH_SOCK="+os.Getenv("SSH_AUTH_SOCK"), "SSH_KNOWN_HOSTS="+knownHosts())
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// knownHosts is where SSH finds the keys of hosts when HOME is another.
func knownHosts() string {
	if set := os.Getenv("SSH_KNOWN_HOSTS"); set != "" {
		return set
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".ssh", "known_hosts")
}

// bounded keeps what is written up to a limit.
type bounded struct {
	buf  bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxProposal {
		b.over = true
		return 0, errors.New("too much")
	}
	return b.buf.Write(p)
}

// refused is the proposal of a change that cannot be read.
func refused(change reconciler.ProposedChange, why string) *reconciler.Proposal {
	return &reconciler.Proposal{Report: reconciler.Report{Head: change.Head, Base: change.Base, Violations: []reconciler.Violation{{
		Level: reconciler.Deny, Scope: reconciler.ScopeRevision, Message: "the change is not read: " + why,
		Hint: "propose less at a time, and plain files"}}}}
}

// begins limits such a process and returns what it is told.
func begins(stdin io.Reader, seconds uint64) (in proposing, err error) {
	limits := limited.Limits{Memory: proposeMemory, Seconds: seconds, Files: 1024, FileSize: 1 << 30}
	if err := limits.Enter(); err != nil {
		return in, err
	}
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return in, fmt.Errorf("read what to read: %w", err)
	}
	return in, nil
}

// fetched is what the first process answers: why what the change brings must not
// be taken in, if it must not.
type fetched struct {
	Refused string `json:"refused,omitempty"`
}

// fetchChange is the first process: it fetches what a change brings.
func fetchChange(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in, err := begins(stdin, fetchSeconds)
	if err != nil {
		return err
	}
	q, err := git.OpenQuarantine(ctx, in.Quarantine)
	if err != nil {
		return err
	}
	var answer fetched
	err = q.Bring(ctx, in.Change.Ref, in.Change.Head)
	if git.Refused(err) {
		answer.Refused, err = err.Error(), nil
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(answer)
}

// propose is the second process: it reads what was fetched and writes what it
// makes of the platform.
func propose(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in, err := begins(stdin, readSeconds)
	if err != nil {
		return err
	}
	proposal, err := proposalOf(ctx, in)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(proposal)
}

func proposalOf(ctx context.Context, in proposing) (*reconciler.Proposal, error) {
	q, err := git.ReadQuarantine(ctx, in.Quarantine)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	change := in.Change
	var revision reconciler.Revision
	var tree *reconciler.Tree
	if change.Base == "" {
		if revision, err = q.Revision(ctx, change.Head); err == nil {
			tree, err = q.Tree(ctx, change.Head)
		}
	} else {
		revision, tree, err = q.Merge(ctx, change.Base, change.Head)
	}
	if conflict, is := errors.AsType[*git.ConflictError](err); is {
		return &reconciler.Proposal{Report: reconciler.Report{Head: change.Head, Base: change.Base}, Conflicts: conflict.Paths}, nil
	}
	if err != nil {
		return unread(change, err)
	}
	parts := (&app{}).parts()
	if err := parts.Evaluator.(*catalog.Evaluator).Know(in.Known); err != nil {
		return nil, err
	}
	// It only renders: nothing is started here.
	dir := filepath.Dir(in.Quarantine.Dir)
	runner, err := terraform.NewRunner(terraform.Host{Confine: terraform.Unconfined,
		Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "units"), Runs: filepath.Join(dir, "runs")})
	if err != nil {
		return nil, err
	}
	r := reconciler.New(reconciler.Options{Parts: parts, Source: q, Runner: runner})
	return r.Propose(ctx, change, tree, revision)
}

// unread tells a change that must not be read from one that cannot be read now.
func unread(change reconciler.ProposedChange, err error) (*reconciler.Proposal, error) {
	if git.Refused(err) {
		return refused(change, err.Error()), nil
	}
	return nil, err
}
