package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// idlePasses is how many passes one measurement of the processor's time is over.
const idlePasses = 5

// idle measures a pass with nothing new, over HTTP as from a forge: what it takes of
// the daemon, from the question to what the metrics say, and whether it starts any
// process; beside one `git fetch` from the same server with nothing new. What the
// server takes is on no side.
func (b *bench) idle(ctx context.Context, units int) (err error) {
	name := fmt.Sprintf("%d-idle", units)
	p, err := b.platform(ctx, name, units, builtIn)
	if err != nil {
		return err
	}
	p.poll = "1s"
	if err := errors.Join(p.file("platform.cue", []byte(p.settings())), b.commit(ctx, p.dir, "Poll every second")); err != nil {
		return err
	}
	server, err := b.serveGit(ctx)
	if err != nil {
		return err
	}
	defer server.Close()
	s, err := b.furnished(ctx, name, p, func(remote string) string { return server.URL + "/" + filepath.Base(remote) })
	if err != nil {
		return err
	}
	d, err := s.serve(ctx, options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	address, err := d.address(ctx)
	if err != nil {
		return err
	}
	other, err := b.serveGit(ctx) // which is not counted
	if err != nil {
		return err
	}
	defer other.Close()
	clone := filepath.Join(b.dir, name+"-clone")
	if _, err := b.git(ctx, b.dir, "clone", "--quiet", "--mirror", other.URL+"/"+filepath.Base(s.remote), clone); err != nil {
		return err
	}
	before, err := d.childFaults()
	if err != nil {
		return err
	}
	counted := server.asked.Load()
	err = b.compare(ctx, fmt.Sprintf("A pass over %d units with nothing new", units),
		contender{"pave serve, one pass", func(ctx context.Context, _ int) (cost, error) {
			wall, err := d.pass(ctx, server, address+"/metrics")
			if err != nil {
				return cost{}, err
			}
			cpu, err := d.passes(ctx, server)
			return cost{wall: wall, cpu: cpu}, err
		}},
		contender{"git fetch", func(ctx context.Context, _ int) (cost, error) { return b.git(ctx, clone, "fetch", "--quiet") }})
	if err != nil {
		return err
	}
	after, err := d.childFaults()
	if err != nil {
		return err
	}
	started := "started no process"
	if after != before {
		started = "started processes"
	}
	b.say("  %d passes %s\n", server.asked.Load()-counted, started)
	return d.sayPeak()
}

// passes returns the processor's time of one pass, as the mean of a few.
func (d *daemon) passes(ctx context.Context, server *gitServer) (time.Duration, error) {
	if err := d.asks(ctx, server, 1); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond) // half-way between two passes
	before, err := d.onProcessor()
	if err != nil {
		return 0, err
	}
	asked := server.asked.Load()
	if err := d.asks(ctx, server, idlePasses); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond)
	after, err := d.onProcessor()
	return (after - before) / time.Duration(server.asked.Load()-asked), err
}

// asks waits until the daemon has asked the server so many times more.
func (d *daemon) asks(ctx context.Context, server *gitServer, times int64) error {
	until := server.asked.Load() + times
	return d.await(ctx, time.Minute, func() (bool, error) { return server.asked.Load() >= until, nil })
}

// pass returns how long a pass takes from its question to the server until its end,
// when the metrics say when the repository was fetched last.
func (d *daemon) pass(ctx context.Context, server *gitServer, metrics string) (time.Duration, error) {
	last, err := fetched(ctx, metrics)
	if err != nil {
		return 0, err
	}
	var at time.Time
	err = d.await(ctx, time.Minute, func() (bool, error) {
		now, err := fetched(ctx, metrics)
		at = time.Now()
		return now != last, err
	})
	return at.Sub(time.Unix(0, server.last.Load())), err
}

var fetchedAt = regexp.MustCompile(`(?m)^pave_last_fetch_timestamp_seconds (.*)$`)

func fetched(ctx context.Context, metrics string) (string, error) {
	body, err := get(ctx, metrics)
	if err != nil {
		return "", err
	}
	found := fetchedAt.FindSubmatch(body)
	if found == nil {
		return "", errors.New("the metrics do not say when the repository was fetched")
	}
	return string(found[1]), nil
}

// childFaults counts the page faults of all processes that the daemon waited for.
// There is none without many, so it tells whether there were any, however short.
func (d *daemon) childFaults() (uint, error) {
	proc, err := d.proc()
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return stat.CMinFlt, err
}

// onProcessor is what the threads of the daemon took so far, in more detail than
// the kernel's ticks.
func (d *daemon) onProcessor() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.cmd.Process.Pid))
	if err != nil || len(paths) == 0 {
		return 0, errors.Join(err, errors.New("the kernel does not say how long threads ran"))
	}
	var all time.Duration
	for _, path := range paths {
		if ran, err := threadTime(filepath.Dir(path)); err == nil { // one that fails has ended
			all += ran
		}
	}
	return all, nil
}

// gitServer serves the repositories of the bench over HTTP.
type gitServer struct {
	*httptest.Server
	asked atomic.Int64 // how often it was asked for branches
	last  atomic.Int64 // when, in nanoseconds
}

func (b *bench) serveGit(ctx context.Context) (*gitServer, error) {
	programs, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, err
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + b.dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true"}}
	s := &gitServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			s.asked.Add(1)
			s.last.Store(time.Now().UnixNano())
		}
		backend.ServeHTTP(w, r)
	}))
	return s, nil
}
