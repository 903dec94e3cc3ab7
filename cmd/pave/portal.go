package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/portal"
	"github.com/pave-dev/pave/reconciler/portal/oidc"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// portalFlags say who may read the portal, and how it knows them.
type portalFlags struct {
	anonymous bool
	asked     bool // whether anonymous was said
	hosts     []string
	// edits lets people ask for changes; nil is a portal for reading.
	edits   func(reconciler.Evaluator) *portal.Edits
	url     string
	proxies []string
	oidc    oidc.Config
	secret  string // the file with the client's
	edit    string // see portal.Options.Edit
}

func (a *app) portalFlags(cmd *cobra.Command) {
	flags, p := cmd.Flags(), &a.portal
	flags.BoolVar(&p.anonymous, "portal-anonymous", false, "show the portal to whoever reaches the listen address (default: on loopback only, where nobody signs in at a provider)")
	flags.StringSliceVar(&p.hosts, "portal-host", nil, "a name that the portal is reached by, beside those of loopback and of --portal-url")
	flags.StringVar(&p.url, "portal-url", "", "the address that browsers know the portal by, such as https://portal.acme.example")
	flags.StringSliceVar(&p.proxies, "portal-trusted-proxy", nil, "the network of a proxy that says truly whom it asks for, such as 10.1.2.0/24")
	flags.StringVar(&p.oidc.Issuer, "oidc-issuer", "", "the OpenID provider at which people sign in to the portal")
	flags.StringVar(&p.oidc.ClientID, "oidc-client-id", "", "the portal's id at the provider")
	flags.StringVar(&p.secret, "oidc-client-secret-file", "", "a file with the portal's secret at the provider (default: $PAVE_OIDC_CLIENT_SECRET)")
	flags.StringSliceVar(&p.oidc.Scopes, "oidc-scope", nil, "a scope to ask for beside openid, profile and email")
	flags.StringVar(&p.oidc.GroupsClaim, "oidc-groups-claim", "groups", "the claim with the ids of somebody's groups")
	flags.StringVar(&p.oidc.HandleClaim, "oidc-handle-claim", "", "the claim with somebody's account on the forge, which they cannot change: with --github nobody asks for anything without")
	flags.StringVar(&p.oidc.GroupsURL, "oidc-groups-url", "", "where to ask for groups that are too many for a token, such as https://graph.microsoft.com/v1.0/me/getMemberGroups")
	flags.StringVar(&p.edit, "portal-edit", "", "the address where people change a file, with {path} and perhaps {line}, such as https://github.com/acme/platform/edit/main/{path}#L{line}")
	cmd.PreRun = func(cmd *cobra.Command, _ []string) { p.asked = cmd.Flags().Changed("portal-anonymous") }
}

func (a *app) portalCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "portal",
		Short: "Show the platform in a browser, from any clone",
		Long: `Show the platform in a browser: services, requests, teams, blueprints, and what
happened. It reads the commits of the tracked and the status branch of a clone
and needs no network. What is asked for in a form becomes a branch of its own.

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
	a.portal.edits = a.edits(mirror, nil, loop{})
	options, err := a.access(listener.Addr(), func(address string) { fmt.Fprintf(a.stdout, "to sign in: %s\n", address) }, log)
	if errors.Is(err, errNobody) {
		return usage(fmt.Errorf("nobody may read the portal at %s: --oidc-issuer lets people sign in, --portal-anonymous shows it to whoever reaches that address", listener.Addr()))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "http://%s/\n", listener.Addr())
	handler, closePortal := a.newPortal(repository, loop{}, options)
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

// loopback tells whether only this machine reaches an address.
func loopback(address net.Addr) bool {
	tcp, is := address.(*net.TCPAddr)
	return is && tcp.IP.IsLoopback()
}

// errNobody reports a portal that nobody may read.
var errNobody = errors.New("nobody may read the portal")

// newPortal returns the portal of a repository, and what ends it.
func (a *app) newPortal(repository portal.Repository, loop loop, options portal.Options) (http.Handler, func()) {
	parts := a.parts()
	history := portal.NewHistory(repository, func() reconciler.Evaluator { return newInForce(a.evaluator(), loop) }, time.Second, options.Log)
	if a.portal.edits != nil {
		options.Edits = a.portal.edits(history.Evaluator())
	}
	options.Snapshots, options.Rules, options.Judgements = history, parts.Rules, portal.NewJudgements(portalJudge(parts, loop))
	return portal.New(options), func() {
		options.Judgements.Close()
		history.Close()
	}
}

// access says who may read the portal at an address, and how it knows them. tell
// is called with each address by which its operator signs in. The error is
// errNobody where there would be nobody to show it to.
func (a *app) access(at net.Addr, tell func(address string), log *slog.Logger) (options portal.Options, err error) {
	p := a.portal
	options = portal.Options{Hosts: p.hosts, Anonymous: p.anonymous, Edit: p.edit, Log: log}
	if to, err := url.Parse(p.edit); p.edit != "" && (err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" || !strings.Contains(p.edit, "{path}")) {
		return options, usage(fmt.Errorf("--portal-edit: expected an address with {path} in it, such as https://github.com/acme/platform/edit/main/{path}; got %q", p.edit))
	}
	if p.url != "" {
		if options.URL, err = url.Parse(p.url); err != nil || options.URL.Host == "" || strings.Trim(options.URL.Path, "/") != "" {
			return options, usage(fmt.Errorf("--portal-url: expected an address without a path, such as https://portal.acme.example; got %q", p.url))
		}
	}
	for _, network := range p.proxies {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return options, usage(fmt.Errorf("--portal-trusted-proxy: expected a network, such as 10.1.2.0/24; got %q", network))
		}
		options.Proxies = append(options.Proxies, prefix)
	}
	if p.oidc.Issuer != "" {
		options.Provider, err = a.provider(log)
		return options, err
	}
	// Without a provider the machine vouches for its users, and for nobody whom a
	// proxy lets on it.
	options.Direct = loopback(at) && !p.anonymous
	options.Anonymous = p.anonymous || options.Direct && !p.asked
	if options.Direct {
		name, email, err := git.User(a.repo)
		if err != nil {
			return options, err
		}
		if name != "" && email != "" {
			options.Operator = portal.NewOperator(name, email, func(token string) { tell(fmt.Sprintf("http://%s/login?token=%s", at, token)) })
		}
	}
	if !options.Anonymous && options.Operator == nil {
		return options, errNobody
	}
	return options, nil
}

// provider returns the OpenID provider at which people sign in.
func (a *app) provider(log *slog.Logger) (portal.Provider, error) {
	c := a.portal.oidc
	if a.portal.url == "" {
		return nil, usage(errors.New("--oidc-issuer: the provider must know where to send people back to: say --portal-url"))
	}
	c.Redirect, c.Log, c.ClientSecret = portal.Back(a.portal.url), log, os.Getenv("PAVE_OIDC_CLIENT_SECRET")
	if a.portal.secret != "" {
		content, err := os.ReadFile(a.portal.secret)
		if err != nil {
			return nil, fmt.Errorf("read the secret of the OpenID client: %w", err)
		}
		c.ClientSecret = strings.TrimSpace(string(content))
	}
	provider, err := oidc.New(c)
	if err != nil {
		return nil, usage(fmt.Errorf("--oidc-issuer: %w: see --oidc-client-id, --portal-url and --oidc-groups-url", err))
	}
	return provider, nil
}

// daemonPortal returns the portal of the daemon, which shows what its mirror
// holds and what the loop says; none where nobody may read it. relax gives back what it
// read only to find the next thing faster.
func (a *app) daemonPortal(mirror *git.Mirror, address net.Addr, r *reconciler.Reconciler, health func() portal.Health, log *slog.Logger) (pages http.Handler, relax, end func(), err error) {
	options, err := a.access(address, func(address string) { log.Info("sign in to the portal, once, at this address", "address", address) }, log)
	if errors.Is(err, errNobody) {
		return nil, func() {}, func() {}, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	options.Health = health
	if runner, ok := r.Runner.(*terraform.Runner); ok {
		options.Runs = runner.Log
	}
	clone, err := mirror.Reader()
	if err != nil {
		return nil, nil, nil, err
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
	beside := besides(r)
	pages, closePortal := a.newPortal(besideLoop{portalRepository{clone, heads}, beside, clone}, beside, options)
	return pages, clone.Relax, func() {
		closePortal()
		clone.Close()
	}, nil
}

// loop is that of the daemon; the zero one of a process without. What it holds in
// memory, nobody beside it reads and holds again.
type loop struct {
	view  func(context.Context) (reconciler.View, error)
	parts reconciler.Parts
}

// besides returns what is beside a loop.
func besides(r *reconciler.Reconciler) loop { return loop{r.View, r.Parts} }

// now returns how things stand. The loop answers between two passes, so a revision
// that it is reading is waited for, but not for ever.
func (l loop) now(ctx context.Context) reconciler.View {
	if l.view == nil {
		return reconciler.View{}
	}
	asking, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now, err := l.view(asking)
	if err != nil {
		return reconciler.View{} // of which nothing is known
	}
	return now
}

// inForce is an evaluator that asks the loop first: what that has in force is
// evaluated, and held in memory, once, and of any other revision what differs from it.
type inForce struct {
	reconciler.Evaluator
	loop loop

	mu    sync.Mutex
	known string // guarded by mu: the revision that was in force when it learned last
}

func newInForce(own reconciler.Evaluator, loop loop) *inForce {
	return &inForce{Evaluator: own, loop: loop}
}

// Evaluate implements [reconciler.Evaluator].
func (e *inForce) Evaluate(ctx context.Context, tree *reconciler.Tree) (*reconciler.Platform, []reconciler.Violation, error) {
	if c := e.loop.now(ctx).InForce; c != nil {
		if slices.Equal(c.Tree.Files, tree.Files) {
			return c.Platform, slices.Clone(c.Stated), nil
		}
		e.follow(c.Revision.Commit)
	}
	return e.Evaluator.Evaluate(ctx, tree)
}

// follow learns from the loop, once for each revision that comes into force.
func (e *inForce) follow(revision string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == revision {
		return
	}
	own, is := e.Evaluator.(*catalog.Evaluator)
	if known, both := e.loop.parts.Evaluator.(*catalog.Evaluator); is && both {
		own.Learn(known)
	}
	e.known = revision
}

// besideLoop is a repository of which the loop is asked first.
type besideLoop struct {
	portalRepository
	loop  loop
	clone *git.Clone
}

// Tree returns the content of a commit.
func (r besideLoop) Tree(ctx context.Context, commit string) (*reconciler.Tree, error) {
	if c := r.loop.now(ctx).InForce; c != nil && c.Revision.Commit == commit {
		return r.clone.Reads(c.Tree), nil
	}
	return r.portalRepository.Tree(ctx, commit)
}

// Record returns what a commit of the status branch says.
func (r besideLoop) Record(ctx context.Context, commit string, known *reconciler.Record) (*reconciler.Record, error) {
	if record := r.loop.now(ctx).Record; record != nil && record.Tip == commit {
		return record, nil
	}
	return r.portalRepository.Record(ctx, commit, known)
}

// commits is a repository whose commits can be read: a clone or a mirror.
type commits interface {
	history
	Tree(ctx context.Context, commit string) (*reconciler.Tree, error)
	Part(ctx context.Context, commit string, paths ...string) (*reconciler.Tree, error)
	Revision(ctx context.Context, commit string) (reconciler.Revision, error)
	Line(ctx context.Context, tip, since string, most int) (commits []string, reached bool, err error)
	Changes(ctx context.Context, tip, since string, most, compared int) (changes []git.Change, reached bool, err error)
	Relax()
	Close()
}

// portalRepository makes commits what the portal reads.
type portalRepository struct {
	commits
	heads func(ctx context.Context) (reconciler.Heads, error)
}

// Heads returns the tips of both branches.
func (r portalRepository) Heads(ctx context.Context) (reconciler.Heads, error) { return r.heads(ctx) }

// Record returns what a commit of the status branch says.
func (r portalRepository) Record(ctx context.Context, commit string, known *reconciler.Record) (*reconciler.Record, error) {
	return reconciler.RecordAt(ctx, r.commits, commit, known)
}

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
	if errors.Is(err, git.ErrNoRepository) {
		err = fmt.Errorf("%w: name a clone with --repo, or make a repository: pave init %s", err, shellWord(path))
	}
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
