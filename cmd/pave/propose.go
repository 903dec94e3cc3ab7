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
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/limited"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// What the process that reads a pull request may use. The evaluator that it starts
// has limits of its own.
const (
	proposeMemory   = 1 << 30
	proposeDeadline = 2 * time.Minute
	maxProposal     = 256 << 20
)

// proposing is all that such a process is told.
type proposing struct {
	Change     reconciler.ProposedChange `json:"change"`
	Quarantine git.QuarantineOptions     `json:"quarantine"`
	Host       terraform.Host            `json:"host"`
}

// proposer has pull requests read by a process of their own. It implements
// [reconciler.Proposer].
type proposer struct {
	self   string
	folder string // for throw-away copies
	input  proposing
}

// Propose starts the process and waits for its word. Whatever it leaves is removed.
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
	in.Host.Cache, in.Host.State, in.Host.Runs = filepath.Join(dir, "cache"), p.input.Host.State, filepath.Join(dir, "runs")
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	timer := time.AfterFunc(proposeDeadline, func() { kill(limited.ErrDeadline) })
	defer timer.Stop()
	cmd := exec.CommandContext(ctx, p.self, proposeVerb)
	cmd.Env = proposeEnviron(dir)
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
	if err == nil && !stdout.over {
		proposal := &reconciler.Proposal{}
		if err := json.Unmarshal(stdout.buf.Bytes(), proposal); err != nil {
			return nil, fmt.Errorf("read what a pull request would change: %w", err)
		}
		return proposal, nil
	}
	if stdout.over {
		return refused(change, fmt.Sprintf("changes more than %d MB of text can tell", maxProposal>>20)), nil
	}
	why, err := limited.Why(ctx, err, &stderr, proposeMemory, proposeDeadline)
	if err != nil {
		return nil, fmt.Errorf("read a pull request: %w", err)
	}
	return refused(change, "reading it "+why), nil
}

// newProposer returns a proposer whose throw-away copies are in the folder, which no
// other process uses. What a process that was killed left there is removed.
func newProposer(folder string, input proposing) (*proposer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(folder); err != nil {
		return nil, fmt.Errorf("remove earlier quarantines: %w", err)
	}
	return &proposer{self: self, folder: folder, input: input}, nil
}

// proposeEnviron is the whole environment of such a process: what it takes to
// reach the repository, and nothing else of the host's.
func proposeEnviron(dir string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "GOTRACEBACK=none", "LANG=C.UTF-8",
		"SSH_AUTH_SOCK=" + os.Getenv("SSH_AUTH_SOCK"), "SSH_KNOWN_HOSTS=" + knownHosts()}
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

// propose is that process: it reads one change and writes what it makes of the
// platform.
func propose(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	limits := limited.Limits{Memory: proposeMemory, Seconds: uint64(proposeDeadline / time.Second * 2), Files: 1024, FileSize: 1 << 30}
	if err := limits.Enter(); err != nil {
		return err
	}
	var in proposing
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("read what to read: %w", err)
	}
	proposal, err := proposalOf(ctx, in)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(proposal)
}

func proposalOf(ctx context.Context, in proposing) (*reconciler.Proposal, error) {
	q, err := git.OpenQuarantine(ctx, in.Quarantine)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	change := in.Change
	if err := q.Bring(ctx, change.Ref, change.Head); err != nil {
		return unread(change, err)
	}
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
	parts, err := (&app{}).parts()
	if err != nil {
		return nil, err
	}
	runner, err := terraform.NewRunner(in.Host)
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
