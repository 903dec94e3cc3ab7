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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/terraform"
)

func (a *app) serveCommand() *cobra.Command {
	var listen, format string
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: keep what runs as the tracked branch says",
		Long: `Run the daemon. It watches a repository on this machine and polls any other, and
converges whenever the tracked branch moves. SIGTERM lets the runs that are
going on end first.

With --github it looks at pull requests as well: one check and one comment say
what each would change, and nothing happens that nobody approved.

It answers /healthz, /readyz and /metrics on the listen address, and takes
GitHub's webhooks at /webhook.`,
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
			return a.serve(cmd.Context(), slog.New(handler), listen, patience)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "the address for health and metrics")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.Flags().DurationVar(&patience, "patience", 30*time.Minute, "how long to wait for runs when stopped; they go on without the daemon after that")
	cmd.Flags().StringVar(&a.forge.webhookSecret, "webhook-secret-file", "", "a file with the secret of GitHub's webhook, 16 characters or more")
	a.engineFlags(cmd)
	a.forgeFlags(cmd)
	return cmd
}

func (a *app) serve(ctx context.Context, log *slog.Logger, listen string, patience time.Duration) error {
	r, mirror, release, err := a.reconciler(ctx, log, runsFolder)
	if err != nil {
		return err
	}
	defer release()
	a.ignored()
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
	log.Log(ctx, level, a.confinement.String())
	monitor := &monitor{confinement: a.confinement.String()}
	r.Progress = monitor.update
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w: choose another address with --listen", err)
	}
	server := &http.Server{Handler: monitor.handler(hook), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	log.Info("serving", "repository", a.repo, "listen", listener.Addr().String(), "version", version())

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve health and metrics: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		a.watch(ctx, log, r.Poke)
		return nil
	})
	group.Go(func() error {
		defer server.Close()
		return r.Serve(ctx, patience)
	})
	if pulls != nil {
		group.Go(func() error { return pulls.Serve(ctx) })
	}
	return group.Wait()
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

// monitor turns progress into metrics and health.
type monitor struct {
	confinement string // a line about the runs

	mu   sync.Mutex
	last reconciler.Progress // guarded by mu
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

func (m *monitor) handler(hook http.Handler) http.Handler {
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
	if hook != nil {
		mux.Handle("/webhook", hook)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		p := m.progress()
		if p.Revision.Commit == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
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
			return
		}
		fmt.Fprintf(w, "ok: revision %s in force\n%s\n", p.Revision.Short(), m.confinement)
	})
	return mux
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
