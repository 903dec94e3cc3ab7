package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/reconciler/portal"
	"github.com/pave-dev/pave/reconciler/terraform"
)

func (a *app) serveCommand() *cobra.Command {
	var listen, format, onStop string
	var leave reconciler.Leave
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: keep what runs as the tracked branch says",
		Long: `Run the daemon. It watches a repository on this machine and polls any other, and
converges whenever the tracked branch moves.

SIGTERM lets the runs that are going on end first; a second one ends the
patience. What has not ended by then goes on without the daemon, and the next
daemon finds it. With --on-stop interrupt it is asked to stop instead, and waited
for: right in a container, whose processes all end with the daemon.

With --github it looks at pull requests as well: one check and one comment say
what each would change, and nothing happens that nobody approved.

It answers /healthz, /readyz and /metrics on the listen address, and takes
GitHub's webhooks at /webhook. Where that address is on loopback, whoever opens it
in a browser sees the portal, as with pave portal.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var handler slog.Handler
			switch format {
			case "text":
				handler = slog.NewTextHandler(a.stderr, nil)
			case "json":
				handler = slog.NewJSONHandler(a.stderr, nil)
			default:
				return usage(fmt.Errorf("--log-format: expected text or json; got %q", format))
			}
			if onStop != "leave" && onStop != "interrupt" {
				return usage(fmt.Errorf("--on-stop: expected leave or interrupt; got %q", onStop))
			}
			leave.Interrupt = onStop == "interrupt"
			return a.serve(cmd.Context(), slog.New(handler), listen, leave)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "the address for health, metrics and the portal")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().DurationVar(&leave.Patience, "patience", 30*time.Minute, "how long to wait for runs when stopped")
	cmd.Flags().StringVar(&onStop, "on-stop", "leave", "what becomes of runs after the patience: leave lets them go on, interrupt stops them")
	cmd.Flags().StringVar(&a.forge.webhookSecret, "webhook-secret-file", "", "a file with the secret of GitHub's webhook, 16 characters or more")
	a.engineFlags(cmd)
	a.forgeFlags(cmd)
	a.portalFlags(cmd)
	cmd.Flags().StringVar(&a.lease.ref, "lease", git.DefaultLease, "the ref that keeps daemons on other hosts from acting as well; empty where no other runs")
	cmd.Flags().DurationVar(&a.lease.patience, "lease-patience", 2*time.Minute, "how long a lease that nobody renews is respected")
	return cmd
}

func (a *app) serve(ctx context.Context, log *slog.Logger, listen string, leave reconciler.Leave) error {
	again := make(chan os.Signal, 1)
	defer context.AfterFunc(ctx, func() { signal.Notify(again, os.Interrupt, syscall.SIGTERM) })()
	leave.Hurry = again
	monitor := &monitor{}
	front := &front{monitor: monitor, listen: listen}
	defer front.close()
	if err := front.open(); err != nil && !errors.Is(err, syscall.EADDRINUSE) { // which the one that is at work may do
		return err
	}
	a.standBy = func(holder string) {
		if monitor.standBy(holder) {
			log.Info("standing by: another pave is at work, this one takes over when it ends", "holder", holder, "listen", front.address())
		}
	}
	r, mirror, release, err := a.reconciler(ctx, log, runsFolder)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	holdLess()
	lease, err := a.takeLease(ctx, mirror, log)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if lease != nil {
		r.Sole = lease.Held
	}
	a.ignored()
	if e, ok := r.Evaluator.(*catalog.Evaluator); ok {
		e.Stay(2 * time.Minute)
		defer e.Stay(0)
	}
	var pulls *reconciler.Proposals
	if r.Forge != nil {
		var unlock func()
		if pulls, unlock, err = a.proposals(ctx, r, mirror, log); err != nil {
			return err
		}
		defer unlock()
		r.Progressed = pulls.Progressed
	}
	hook, err := a.webhook(func(number int) {
		r.Poke()
		pulls.Poke(number)
	})
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if a.confinement.Way == terraform.Unconfined {
		level = slog.LevelWarn
	}
	confinement := confinementLine(a.confinement, confine.Level())
	log.Log(ctx, level, confinement)
	if err := front.open(); err != nil {
		return err
	}
	forge, _ := r.Forge.(*github.Forge)
	a.portal.edits = a.edits(func(context.Context) (*git.Mirror, error) { return mirror, nil }, forge, besides(r))
	pages, relaxPages, closePages, err := a.daemonPortal(mirror, front.listener.Addr(), r, func() portal.Health { return monitor.health(a.forgeAddress()) }, log)
	if err != nil {
		return err
	}
	defer closePages()
	monitor.serve(confinement, hook, pages)
	r.Progress = monitor.update
	log.Info("serving", "repository", a.repo, "listen", front.address(), "version", version())

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return front.wait()
	})
	group.Go(func() error {
		a.watch(ctx, log, r.Poke)
		return nil
	})
	group.Go(func() error {
		a.memory.serve(ctx, log, func() {
			mirror.Relax()
			relaxPages()
		})
		return nil
	})
	served, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer end()
		defer front.close()
		return r.Serve(ctx, leave)
	})
	if lease != nil { // also while the last runs end
		group.Go(func() error { return lease.Hold(served) })
	}
	if pulls != nil {
		group.Go(func() error { return pulls.Serve(ctx) })
	}
	return group.Wait()
}

// confinementLine says what is confined on this host, whose kernel has that level
// of Landlock.
func confinementLine(runs terraform.Confinement, level int) string {
	line := runs.String()
	if level < confine.MinLevel {
		line += "; what reads pull requests is not confined"
	}
	return line
}

// watch pokes when a repository on this machine changes. Polling goes on
// beside it, so a watch that breaks costs time and nothing else.
func (a *app) watch(ctx context.Context, log *slog.Logger, poke func()) {
	for ctx.Err() == nil {
		err := git.Watch(ctx, a.repo, poke)
		if err == nil || errors.Is(err, git.ErrNotLocal) {
			return
		}
		log.Warn("watch the repository", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
		}
	}
}

// front answers on the listen address.
type front struct {
	monitor  *monitor
	listen   string
	listener net.Listener
	server   *http.Server
	ended    chan error
}

// open begins to answer, where that did not begin before.
func (f *front) open() error {
	if f.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w: choose another address with --listen", err)
	}
	f.listener, f.ended = listener, make(chan error, 1)
	f.server = &http.Server{Handler: f.monitor.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	go func() { f.ended <- f.server.Serve(listener) }()
	return nil
}

// address is where it answers; nowhere as long as another process does there.
func (f *front) address() string {
	if f.listener == nil {
		return ""
	}
	return f.listener.Addr().String()
}

// wait returns when it answers no more, and why where nobody closed it.
func (f *front) wait() error {
	if err := <-f.ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}

func (f *front) close() {
	if f.server != nil {
		f.server.Close()
	}
}

// monitor turns progress into metrics and health.
type monitor struct {
	mu          sync.Mutex
	last        reconciler.Progress // guarded by mu, as all below
	holder      string              // whom this one stands by for
	confinement string              // a line about the runs
	hook        http.Handler        // takes webhooks; nil where nobody does
	pages       http.Handler        // the portal; nil where nobody may read it
}

// standBy notes who is at work, and tells whether that is news.
func (m *monitor) standBy(holder string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	news := m.holder != holder
	m.holder = holder
	return news
}

// serve notes that this process is at work.
func (m *monitor) serve(confinement string, hook, pages http.Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holder, m.confinement, m.hook, m.pages = "", confinement, hook, pages
}

func (m *monitor) update(p reconciler.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = p
}

func (m *monitor) progress() reconciler.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// health is what the portal shows of this process.
func (m *monitor) health(forge string) portal.Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	return portal.Health{Progress: m.last, Version: version(), Forge: forge, Confinement: m.confinement}
}

func (m *monitor) handler() http.Handler {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, value func(reconciler.Progress) float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(m.progress()) }))
	}
	counter := func(name, help string, labels prometheus.Labels, value func(reconciler.Progress) int) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(m.progress())) }))
	}
	gauge("pave_requests", "Requests of the revision in force.", func(p reconciler.Progress) float64 { return float64(p.Units) })
	gauge("pave_requests_ready", "Requests whose infrastructure is as the revision says.", func(p reconciler.Progress) float64 { return float64(p.Ready) })
	gauge("pave_requests_waiting", "Requests that wait for others.", func(p reconciler.Progress) float64 { return float64(p.Waiting) })
	gauge("pave_requests_held", "Requests that failed or that a person must act on.", func(p reconciler.Progress) float64 { return float64(p.Held) })
	gauge("pave_requests_drifted", "Requests whose infrastructure differs from what was applied.", func(p reconciler.Progress) float64 { return float64(p.Drifted) })
	gauge("pave_runs_active", "Runs that are going on.", func(p reconciler.Progress) float64 { return float64(p.Running) })
	gauge("pave_revision_refused", "1 while the tip of the tracked branch is refused or held.", func(p reconciler.Progress) float64 {
		if p.Refused != nil {
			return 1
		}
		return 0
	})
	gauge("pave_last_fetch_timestamp_seconds", "When the repository was fetched last.", func(p reconciler.Progress) float64 { return seconds(p.LastFetch) })
	gauge("pave_last_record_timestamp_seconds", "When a status commit was published last.", func(p reconciler.Progress) float64 { return seconds(p.LastRecord) })
	const runs = "Runs since the daemon started, by how they ended."
	counter("pave_runs_total", runs, prometheus.Labels{"outcome": "succeeded"}, func(p reconciler.Progress) int { return p.Succeeded })
	counter("pave_runs_total", runs, prometheus.Labels{"outcome": "failed"}, func(p reconciler.Progress) int { return p.Failed })
	counter("pave_runs_total", runs, prometheus.Labels{"outcome": "destroyed"}, func(p reconciler.Progress) int { return p.Destroyed })

	mux := http.NewServeMux()
	mux.Handle("/webhook", m.later(func() http.Handler { return m.hook }))
	mux.Handle("/", m.later(func() http.Handler { return m.pages }))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", m.ready)
	return mux
}

// later answers with a handler that is there once this process is at work. choose
// is called with mu held.
func (m *monitor) later(choose func() http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		handler := choose()
		m.mu.Unlock()
		if handler == nil {
			http.NotFound(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// ready tells whether a revision is in force, and why not.
func (m *monitor) ready(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	p, holder, confinement := m.last, m.holder, m.confinement
	m.mu.Unlock()
	if p.Revision.Commit != "" {
		fmt.Fprintf(w, "ok: revision %s in force\n%s\n", p.Revision.Short(), confinement)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if holder != "" {
		fmt.Fprintf(w, "standing by for %s\n", holder)
		return
	}
	fmt.Fprintln(w, "no revision is in force")
	if p.Refused != nil {
		is := "is refused"
		if p.Refused.Waiting {
			is = "is held"
		}
		fmt.Fprintf(w, "the tip of the tracked branch %s:\n", is)
		printViolations(w, p.Refused.Violations)
	}
	if p.LastError != "" {
		fmt.Fprintln(w, p.LastError)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
