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
	"sync"
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
//
// A stranger's is read by a process of its own. Those of people whose changes are
// planned unasked are read by one process, one after the other, as long as nothing
// is wrong with it: what it has read of the tracked branch is nearly all of the
// work. Who could make it tell lies of another's change could have made it tell
// them of their own.
type proposer struct {
	self        string
	folder      string // for throw-away copies
	input       proposing
	known       func() (json.RawMessage, error) // of the tracked branch
	fetch, read child
	insiders    *kept
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
	return p.propose(ctx, change, change.Insider)
}

// propose has a change fetched and read. kept tells that a reader that is kept may
// read it.
func (p *proposer) propose(ctx context.Context, change reconciler.ProposedChange, kept bool) (*reconciler.Proposal, error) {
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
	if kept && p.insiders.mu.TryLock() { // where it is at work another process does
		defer p.insiders.mu.Unlock()
		proposal, err := p.ask(ctx, in)
		switch {
		case err == nil:
			return proposal, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("read a pull request: %w", context.Cause(ctx))
		}
		return p.propose(ctx, change, false) // which tells whose fault it is
	}
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
	cmd := c.command(ctx, self, dir, in)
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

// command is the process, to be started in the folder. It ends with ctx.
func (c child) command(ctx context.Context, self, dir string, in proposing) *exec.Cmd {
	cmd := command(ctx, self, c.verb)
	cmd.Env = c.environ(in, dir)
	cmd.Dir = dir
	return cmd
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

// The limits of a reader that is kept: what it leaks, and what it holds while
// nothing changes, is bounded by them.
const (
	mostRead   = 100
	readerIdle = 5 * time.Minute
)

// kept keeps a reader.
type kept struct {
	mu     sync.Mutex
	reader *reader     // nil while there is none; guarded by mu, as is idle
	idle   *time.Timer // ends the reader
}

// reader is a process that reads one change after the other.
type reader struct {
	dir     string // for throw-away copies, below which it may write
	cmd     *exec.Cmd
	kill    context.CancelFunc
	stdin   io.WriteCloser
	stdout  io.Reader
	changes int // that it was told of
}

// ask has the reader of insiders' changes read one. The reader ends where it does not
// answer. The caller holds mu.
func (p *proposer) ask(ctx context.Context, in proposing) (_ *reconciler.Proposal, err error) {
	k := p.insiders
	if k.idle != nil {
		k.idle.Stop()
	}
	if k.reader == nil {
		if in.Known, err = p.known(); err != nil {
			return nil, err
		}
		if k.reader, err = p.newReader(in); err != nil {
			return nil, err
		}
	}
	r := k.reader
	timed, cancel := context.WithTimeout(ctx, p.read.deadline)
	defer cancel()
	inTime := context.AfterFunc(timed, r.kill)
	proposal, err := r.ask(in)
	if !inTime() {
		err = errors.Join(err, context.Cause(timed))
	}
	if err != nil || r.changes == mostRead {
		k.end()
		return proposal, err
	}
	k.idle = time.AfterFunc(readerIdle, k.close)
	return proposal, nil
}

// newReader starts a reader.
func (p *proposer) newReader(in proposing) (*reader, error) {
	dir, err := os.MkdirTemp(p.folder, "reader-")
	if err != nil {
		return nil, err
	}
	ctx, kill := context.WithCancel(context.Background())
	r := &reader{dir: dir, cmd: p.read.command(ctx, p.self, dir, in), kill: kill}
	if r.stdin, err = r.cmd.StdinPipe(); err == nil {
		if r.stdout, err = r.cmd.StdoutPipe(); err == nil {
			err = r.cmd.Start()
		}
	}
	if err != nil {
		kill()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// ask tells the reader of one change, moves what it brought to where the reader may
// reach it, and takes the answer.
func (r *reader) ask(in proposing) (*reconciler.Proposal, error) {
	r.changes++
	dir := filepath.Join(r.dir, fmt.Sprint(r.changes))
	if err := os.Rename(in.Quarantine.Dir, dir); err != nil {
		return nil, err
	}
	in.Quarantine.Dir = dir
	if err := json.NewEncoder(r.stdin).Encode(in); err != nil {
		return nil, err
	}
	proposal := &reconciler.Proposal{}
	return proposal, json.NewDecoder(io.LimitReader(r.stdout, maxProposal)).Decode(proposal)
}

// end ends the reader and removes what it left. The caller holds mu.
func (k *kept) end() {
	k.reader.kill()
	k.reader.cmd.Wait()        // it was killed
	os.RemoveAll(k.reader.dir) // or the next start does
	k.reader = nil
}

// close ends the reader, if there is one.
func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle != nil {
		k.idle.Stop()
	}
	if k.reader != nil {
		k.end()
	}
}

// newProposer returns a proposer whose throw-away copies are in the folder, which no
// other process uses. What a process that was killed left there is removed.
func newProposer(folder string, input proposing, known func() (json.RawMessage, error)) (*proposer, error) {
	if err := os.RemoveAll(folder); err != nil {
		return nil, fmt.Errorf("remove earlier quarantines: %w", err)
	}
	return &proposer{self: confine.Path, folder: folder, input: input, known: known, insiders: &kept{},
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

// limit limits such a process.
func limit(seconds uint64) error {
	return limited.Limits{Memory: proposeMemory, Seconds: seconds, Files: 1024, FileSize: 1 << 30}.Enter()
}

// fetched is what the first process answers: why what the change brings must not
// be taken in, if it must not.
type fetched struct {
	Refused string `json:"refused,omitempty"`
}

// fetchChange is the first process: it fetches what a change brings.
func fetchChange(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if err := limit(fetchSeconds); err != nil {
		return err
	}
	var in proposing
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("read what to fetch: %w", err)
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
// makes of the platform, one change after the other until it is told of no more.
func propose(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if err := limit(readSeconds); err != nil {
		return err
	}
	told, answers := json.NewDecoder(stdin), json.NewEncoder(stdout)
	var desk desk
	defer desk.close()
	for {
		var in proposing
		if err := told.Decode(&in); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what to read: %w", err)
		}
		proposal, err := desk.proposal(ctx, in)
		if err != nil {
			return err
		}
		if err := answers.Encode(proposal); err != nil {
			return err
		}
	}
}

// desk is where changes are read.
type desk struct {
	quarantine *git.Quarantine // nil before the first
	evaluator  *catalog.Evaluator
	reader     *reconciler.Reader
}

// lay has the desk read what was brought by a change.
func (d *desk) lay(ctx context.Context, in proposing) (err error) {
	if d.quarantine != nil {
		return d.quarantine.Turn(in.Quarantine.Dir)
	}
	if d.quarantine, err = git.ReadQuarantine(ctx, in.Quarantine); err != nil {
		return err
	}
	parts := (&app{}).parts()
	d.evaluator = parts.Evaluator.(*catalog.Evaluator)
	if err := d.evaluator.Know(in.Known); err != nil {
		return err
	}
	d.evaluator.Stay(readerIdle) // the child is for the changes that this process is for
	// It only renders: nothing is started here.
	dir := filepath.Dir(in.Quarantine.Dir)
	runner, err := terraform.NewRunner(terraform.Host{Confine: terraform.Unconfined,
		Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "units"), Runs: filepath.Join(dir, "runs")})
	if err != nil {
		return err
	}
	d.reader = reconciler.NewReader(reconciler.Options{Parts: parts, Source: d.quarantine, Runner: runner},
		func() reconciler.Evaluator { return d.evaluator.Aside() })
	return nil
}

func (d *desk) close() {
	if d.evaluator != nil {
		d.evaluator.Stay(0)
	}
	if d.quarantine != nil {
		d.quarantine.Close() // what is left is removed with the rest
	}
}

func (d *desk) proposal(ctx context.Context, in proposing) (*reconciler.Proposal, error) {
	if err := d.lay(ctx, in); err != nil {
		return nil, err
	}
	q, change := d.quarantine, in.Change
	var revision reconciler.Revision
	var tree *reconciler.Tree
	var err error
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
	return d.reader.Propose(ctx, change, tree, revision)
}

// unread tells a change that must not be read from one that cannot be read now.
func unread(change reconciler.ProposedChange, err error) (*reconciler.Proposal, error) {
	if git.Refused(err) {
		return refused(change, err.Error()), nil
	}
	return nil, err
}
