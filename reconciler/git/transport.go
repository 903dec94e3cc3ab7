package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/pave-dev/pave/reconciler"
	xssh "golang.org/x/crypto/ssh"
)

// connectTimeout bounds what go-git does without looking at a context.
const connectTimeout = 30 * time.Second

// advertised is what a repository says of its branches, in one answer.
type advertised struct {
	*packp.AdvRefs
}

// tip returns where a branch is; zero where it does not exist.
func (a advertised) tip(branch string) plumbing.Hash {
	return a.at(plumbing.NewBranchReferenceName(branch))
}

// at returns where a ref is; zero where it does not exist.
func (a advertised) at(ref plumbing.ReferenceName) plumbing.Hash {
	return a.References[ref.String()]
}

// head returns the branch that HEAD names; empty where HEAD is detached.
func (a advertised) head() string {
	for _, link := range a.Capabilities.Get(capability.SymRef) {
		if branch, ok := strings.CutPrefix(link, "HEAD:refs/heads/"); ok {
			return branch
		}
	}
	return ""
}

// branches returns the names of all branches.
func (a advertised) branches() []string {
	var names []string
	for ref := range a.References {
		if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			names = append(names, name)
		}
	}
	return names
}

var queuedName = reconciler.Pattern(`^pr-([1-9][0-9]{0,8})-[0-9a-f]{40}$`)

// queue returns what the forge's merge queue made of the branch, in the order
// of the numbers.
func (a advertised) queue(branch string) []reconciler.QueuedMerge {
	var queue []reconciler.QueuedMerge
	for ref, hash := range a.References {
		name, ok := strings.CutPrefix(ref, "refs/heads/gh-readonly-queue/"+branch+"/")
		if parts := queuedName().FindStringSubmatch(name); ok && parts != nil {
			number, _ := strconv.Atoi(parts[1]) // nine digits at most
			queue = append(queue, reconciler.QueuedMerge{Number: number, Ref: ref, Commit: hash.String()})
		}
	}
	slices.SortFunc(queue, func(a, b reconciler.QueuedMerge) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Commit, b.Commit))
	})
	return queue
}

// dial opens a session in the background: go-git connects, and starts git,
// without looking at the context.
func dial[S transport.Session](ctx context.Context, open func() (S, error)) (S, error) {
	type answer struct {
		session S
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		s, err := open()
		answers <- answer{s, err}
	}()
	select {
	case a := <-answers:
		return a.session, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				a.session.Close()
			}
		}()
		var none S
		return none, context.Cause(ctx)
	}
}

// login returns the client for the address and what it identifies itself with.
func (a address) login() (transport.Transport, *transport.Endpoint, transport.AuthMethod, error) {
	ep := a.endpoint // the client writes into it
	cl, err := client.NewClient(&ep)
	if err != nil || ep.Protocol != "ssh" {
		return cl, &ep, a.auth, err
	}
	agent, err := ssh.NewSSHAgentAuth(ep.User)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w; start an SSH agent that holds the key: ssh-add", err)
	}
	return cl, &ep, timedAuth{agent}, nil
}

// timedAuth bounds the connection attempt.
type timedAuth struct{ ssh.AuthMethod }

func (a timedAuth) ClientConfig() (*xssh.ClientConfig, error) {
	config, err := a.AuthMethod.ClientConfig()
	if err == nil {
		config.Timeout = connectTimeout
	}
	return config, err
}

// uploadPack opens a session to fetch from the repository.
func (a address) uploadPack(ctx context.Context) (transport.UploadPackSession, advertised, error) {
	s, err := dial(ctx, func() (transport.UploadPackSession, error) {
		cl, ep, auth, err := a.login()
		if err != nil {
			return nil, err
		}
		return cl.NewUploadPackSession(ep, auth)
	})
	if err != nil {
		return nil, advertised{}, a.explain(ctx, err)
	}
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		s.Close()
		return nil, advertised{}, a.explain(ctx, err)
	}
	return s, advertised{refs}, nil
}

// receivePack opens a session to push to the repository.
func (a address) receivePack(ctx context.Context) (transport.ReceivePackSession, advertised, error) {
	s, err := dial(ctx, func() (transport.ReceivePackSession, error) {
		cl, ep, auth, err := a.login()
		if err != nil {
			return nil, err
		}
		return cl.NewReceivePackSession(ep, auth)
	})
	if err != nil {
		return nil, advertised{}, a.explain(ctx, err)
	}
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		s.Close()
		return nil, advertised{}, a.explain(ctx, err)
	}
	return s, advertised{refs}, nil
}

// explain says in Pave's words what keeps a session from opening.
func (a address) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return fmt.Errorf("%s: %w; commit a platform first: pave init", a.shown, ErrEmpty)
	case errors.Is(err, transport.ErrRepositoryNotFound) && a.endpoint.Protocol == "file":
		return fmt.Errorf("%w at %s; make one: pave init %s", ErrNoRepository, a.shown, a.shown)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("%w at %s, or none that these credentials may see", ErrNoRepository, a.shown)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("%s: access denied; check the token and that it may read and write contents", a.shown)
	}
	return fmt.Errorf("%s: %s", a.shown, printable(err.Error()))
}

// silence is how long a repository may send nothing in the middle of a pack. Git
// itself says something every five seconds, others prepare in silence.
var silence = 2 * time.Minute

// What keeps a pack from being whole. Nothing is taken of one that is not.
var (
	errSilent = errors.New("the repository sent nothing more in the middle of an answer: nothing is taken of it, and it is asked again; if that goes on, see what is between")
	errCut    = errors.New("the repository sent less than it announced: nothing is taken of it, and it is asked again; if that goes on, run `git fsck` in it, and see what is between")
)

// heard puts off a timer with everything that it reads.
type heard struct {
	io.Reader
	timer *time.Timer
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.timer.Reset(silence)
	}
	return n, err
}

// download fetches the wanted commits with all that they need and the
// repository does not have, into sink.
func download(ctx context.Context, s transport.UploadPackSession, refs advertised, wants, haves []plumbing.Hash, sink storer.PackfileWriter) error {
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	if refs.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	req.Wants, req.Haves = wants, haves
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	answer, err := s.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer answer.Close()
	timer := time.AfterFunc(silence, func() { stop(errSilent) })
	defer timer.Stop()
	err = packfile.WritePackfileToObjectStorage(sink, demultiplex(req.Capabilities, heard{answer, timer}))
	if err == nil {
		return nil
	}
	silent := context.Cause(ctx) == errSilent
	// The server may be in the middle of sending. Closing waits until it has
	// ended, and reading after the context has ended is what ends it.
	stop(nil)
	io.Copy(io.Discard, answer)
	switch {
	case silent:
		return errSilent
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return err
}

// demultiplex takes the pack out of a stream that may carry progress as well.
func demultiplex(agreed *capability.List, r io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// push moves a ref from old (zero: it does not exist) to new (zero: it goes), and
// nowhere if it is not at old: the server compares once more under its lock.
func (a address) push(ctx context.Context, ref plumbing.ReferenceName, old, new plumbing.Hash, pack []byte) error {
	s, refs, err := a.receivePack(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if refs.at(ref) != old {
		return errMoved
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	if !refs.Capabilities.Supports(capability.ReportStatus) {
		return fmt.Errorf("%s does not report whether a push succeeded", a.shown)
	}
	if err := req.Capabilities.Set(capability.ReportStatus); err != nil {
		return err
	}
	req.Commands = []*packp.Command{{Name: ref, Old: old, New: new}}
	if !new.IsZero() {
		req.Packfile = io.NopCloser(bytes.NewReader(pack))
	}
	if _, err := s.ReceivePack(ctx, req); err != nil {
		return a.explain(ctx, err)
	}
	return nil
}
