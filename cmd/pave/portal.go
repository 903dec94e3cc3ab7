package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/portal"
)

// portalFlags say who may read the portal.
type portalFlags struct {
	anonymous bool
	asked     bool // whether anonymous was said
	hosts     []string
	// edits lets people ask for changes; nil is a portal for reading.
	edits func(reconciler.Evaluator) *portal.Edits
}

func (a *app) portalFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.portal.anonymous, "portal-anonymous", false, "show the portal to whoever reaches the listen address (default: on loopback only)")
	cmd.Flags().StringSliceVar(&a.portal.hosts, "portal-host", nil, "a name that the portal is reached by, beside those of loopback")
	cmd.PreRun = func(cmd *cobra.Command, _ []string) { a.portal.asked = cmd.Flags().Changed("portal-anonymous") }
}

func (a *app) portalCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "portal",
		Short: "Show the platform in a browser, from any clone",
		Long: `Show the platform in a browser: services, requests, teams, blueprints, and what
happened. It reads the commits of the tracked and the status branch of a clone,
needs no network and changes nothing.

It prints two addresses. Whoever opens the first one reads; the second one signs
one browser in as you, by the name that Git's configuration has for you.

Every page has a twin in JSON (?format=json), and exists for the past as well: at
/at/2026-03-01/ and at /at/COMMIT/.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.servePortal(cmd.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "the address; port 0 takes one that is free")
	a.portalFlags(cmd)
	return cmd
}

// servePortal shows the portal until ctx ends.
func (a *app) servePortal(ctx context.Context, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w: choose another address with --listen", err)
	}
	defer listener.Close()
	repository, err := a.portalRepository(ctx)
	if err != nil {
		return err
	}
	defer repository.Close()
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	if _, err := repository.Heads(ctx); err != nil { // told here and not on a page
		return err
	}
	a.ignored()
	mirror, closeMirror := a.ownMirror()
	defer closeMirror()
	a.portal.edits = a.edits(mirror, nil)
	fmt.Fprintf(a.stdout, "http://%s/\n", listener.Addr())
	handler, closePortal, err := a.newPortal(repository, listener.Addr(), nil, func(address string) { fmt.Fprintf(a.stdout, "to sign in: %s\n", address) }, log)
	if errors.Is(err, errNobody) {
		return usage(fmt.Errorf("nobody may read the portal at %s: --portal-anonymous shows it to whoever reaches that address", listener.Addr()))
	}
	if err != nil {
		return err
	}
	defer closePortal()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		server.Close()
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// mayRead tells whether whoever reaches an address may read the portal.
func (a *app) mayRead(address net.Addr) bool {
	if a.portal.asked {
		return a.portal.anonymous
	}
	return loopback(address)
}

// loopback tells whether only this machine reaches an address.
func loopback(address net.Addr) bool {
	tcp, is := address.(*net.TCPAddr)
	return is && tcp.IP.IsLoopback()
}

// errNobody reports a portal that nobody may read.
var errNobody = errors.New("nobody may read the portal")

// newPortal returns the portal of a repository for an address, and what ends it.
// tell is called with each address by which its operator signs in. The error is
// errNobody where there would be nobody to show it to.
func (a *app) newPortal(repository portal.Repository, at net.Addr, health func() portal.Health, tell func(address string), log *slog.Logger) (http.Handler, func(), error) {
	evaluators := func() reconciler.Evaluator { return a.parts().Evaluator }
	options := portal.Options{Hosts: a.portal.hosts, Direct: !a.portal.anonymous, Anonymous: a.mayRead(at), Health: health, Log: log}
	if options.Direct && loopback(at) {
		name, email, err := git.User(a.repo)
		if err != nil {
			return nil, nil, err
		}
		if name != "" && email != "" {
			options.Operator = portal.NewOperator(name, email, func(token string) { tell(fmt.Sprintf("http://%s/login?token=%s", at, token)) })
		}
	}
	if !options.Anonymous && options.Operator == nil {
		return nil, nil, errNobody
	}
	history := portal.NewHistory(repository, evaluators, time.Second, log)
	if a.portal.edits != nil {
		options.Edits = a.portal.edits(history.Evaluator())
	}
	options.Snapshots, options.Judgements = history, portal.NewJudgements(a.portalJudge())
	return portal.New(options), func() {
		options.Judgements.Close()
		history.Close()
	}, nil
}

// daemonPortal returns the portal of the daemon, which shows what its mirror
// holds; none where whoever reaches the address may not read it.
func (a *app) daemonPortal(mirror *git.Mirror, address net.Addr, health func() portal.Health, log *slog.Logger) (pages http.Handler, end func(), err error) {
	clone, err := mirror.Reader()
	if err != nil {
		return nil, nil, err
	}
	heads := func(context.Context) (heads reconciler.Heads, err error) {
		fetched := false
		if branch := mirror.Branch(); branch != "" {
			heads.Tracked, fetched, err = clone.Tip(branch)
		}
		if err == nil && !fetched {
			err = errors.New("the repository has not been fetched yet")
		}
		if err == nil {
			heads.Status, _, err = clone.Tip(a.statusBranch)
		}
		return heads, err
	}
	tell := func(address string) { log.Info("sign in to the portal, once, at this address", "address", address) }
	pages, closePortal, err := a.newPortal(portalRepository{clone, heads}, address, health, tell, log)
	if err != nil {
		clone.Close()
		if errors.Is(err, errNobody) {
			return nil, func() {}, nil
		}
		return nil, nil, err
	}
	return pages, func() {
		closePortal()
		clone.Close()
	}, nil
}

// commits is a repository whose commits can be read: a clone or a mirror.
type commits interface {
	history
	Tree(ctx context.Context, commit string) (*reconciler.Tree, error)
	Revision(ctx context.Context, commit string) (reconciler.Revision, error)
	Line(ctx context.Context, tip, since string, most int) (commits []string, reached bool, err error)
	Changes(ctx context.Context, tip, since string, most, compared int) (changes []git.Change, reached bool, err error)
	Close()
}

// portalRepository makes commits what the portal reads.
type portalRepository struct {
	commits
	heads func(ctx context.Context) (reconciler.Heads, error)
}

// Heads returns the tips of both branches.
func (r portalRepository) Heads(ctx context.Context) (reconciler.Heads, error) { return r.heads(ctx) }

// Log returns at most so many commits that led to tip, latest first.
func (r portalRepository) Log(ctx context.Context, tip string, most int) ([]portal.Commit, error) {
	entries, err := r.commits.Log(ctx, tip, most, nil)
	all := make([]portal.Commit, len(entries))
	for i, e := range entries {
		all[i] = portalCommit(e)
	}
	return all, err
}

// Changes returns the commits of a first-parent line with what they changed.
func (r portalRepository) Changes(ctx context.Context, tip, since string, most, compared int) ([]portal.Change, bool, error) {
	changes, reached, err := r.commits.Changes(ctx, tip, since, most, compared)
	all := make([]portal.Change, len(changes))
	for i, c := range changes {
		all[i] = portal.Change{Commit: portalCommit(c.Entry), Author: c.Author, Paths: c.Paths}
	}
	return all, reached, err
}

func portalCommit(e git.Entry) portal.Commit {
	return portal.Commit{ID: e.Commit, Time: e.Time, Subject: e.Subject, Message: e.Message}
}

// portalRepository opens the clone at --repo, or the mirror of an address.
func (a *app) portalRepository(ctx context.Context) (portalRepository, error) {
	path, local := git.Local(a.repo)
	if !local {
		mirror, err := a.mirror(ctx)
		if err != nil {
			return portalRepository{}, err
		}
		return portalRepository{mirror, seldom(30*time.Second, mirror.Fetch)}, nil
	}
	clone, err := git.OpenClone(path)
	if err != nil {
		return portalRepository{}, err
	}
	return portalRepository{clone, func(ctx context.Context) (heads reconciler.Heads, err error) {
		if heads.Tracked, err = a.tracked(ctx, clone); err != nil {
			return heads, err
		}
		heads.Status, _, err = clone.Tip(a.statusBranch)
		return heads, err
	}}, nil
}

// tracked returns where the tracked branch of a clone is.
func (a *app) tracked(ctx context.Context, clone *git.Clone) (string, error) {
	if a.branch == "" {
		return clone.Resolve(ctx, "HEAD")
	}
	tip, found, err := clone.Tip(a.branch)
	if err == nil && !found {
		err = fmt.Errorf("there is no branch %s: choose another with --branch", a.branch)
	}
	return tip, err
}

// seldom asks at most so often, and repeats the last answer in between.
func seldom(every time.Duration, ask func(context.Context) (reconciler.Heads, error)) func(context.Context) (reconciler.Heads, error) {
	var mu sync.Mutex
	var last time.Time
	var heads reconciler.Heads
	return func(ctx context.Context) (reconciler.Heads, error) {
		mu.Lock()
		defer mu.Unlock()
		if heads.Tracked != "" && time.Since(last) < every {
			return heads, nil
		}
		news, err := ask(ctx)
		if err != nil {
			return heads, err
		}
		heads, last = news, time.Now()
		return heads, nil
	}
}
