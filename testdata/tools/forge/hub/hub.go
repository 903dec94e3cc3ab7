// Package hub starts a forge for tests: Gitea, set up with people, a repository
// and a protected branch, and a proxy in front of it that answers as GitHub
// does. Programs that talk to a GitHub Enterprise Server talk to it unchanged.
//
// The proxy keeps no truth of its own: pull requests, reviews, comments,
// statuses, refusals to merge and ids are Gitea's. It renames paths, verbs and
// fields, signs webhooks anew, and adds what GitHub has around its answers:
// pages, ETags, rate limits. Only webhook addresses and the list of pushes, which
// Gitea cannot be asked for, live in the proxy.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What Options leaves out.
const (
	DefaultRepository = "acme/platform"
	DefaultCheck      = "pave"
	defaultRateLimit  = 5000
)

// Who Options leaves out.
var (
	DefaultMembers   = []string{"alice", "bob"}
	DefaultOutsiders = []string{"mallory"}
)

// Bot is the account that administers the forge and that Pave acts by.
const Bot = "pave"

// Options say what to start. Gitea and Dir are required.
type Options struct {
	Gitea string // the program, as testdata/tools/get leaves it
	Dir   string // new or empty; everything is kept there
	// Listen is the proxy's address; empty is a free port of the loopback.
	Listen     string
	Repository string // OWNER/NAME; the owner becomes an organisation
	// From is a folder that becomes the first commit of main, or a checkout
	// whose HEAD is pushed there; empty is a README.
	From      string
	Members   []string // may push
	Outsiders []string // may only read
	// Check is the status that main requires before a merge, Approvals how many
	// approvals it requires beside. Nobody pushes to main, and no administrator
	// merges past them.
	Check       string
	Approvals   int
	Unprotected bool // leaves all that out
	RateLimit   int  // requests an hour for each token
	// Webhook and Secret are a first webhook's; more are made as on GitHub, by
	// POST /repos/OWNER/NAME/hooks.
	Webhook, Secret string
	Log             io.Writer // nil discards
}

// Ready is how to reach what was started.
type Ready struct {
	URL        string          `json:"url"`        // of the proxy: pages and Git
	API        string          `json:"api"`        // GitHub's interface
	Gitea      string          `json:"gitea"`      // past the proxy, for what GitHub has no word for
	Repository string          `json:"repository"` // OWNER/NAME
	Clone      string          `json:"clone"`
	Branch     string          `json:"branch"`
	Users      map[string]User `json:"users"`
}

// User is an account. Its token is good for the interface and for Git.
type User struct {
	ID       int64  `json:"id"`
	Login    string `json:"login"`
	Email    string `json:"email"`
	Password string `json:"password"`
	Token    string `json:"token"`
}

// Hub is a running forge.
type Hub struct {
	Ready

	gitea  *gitea
	server *http.Server
	hooks  *hooks
}

func (o *Options) complete() error {
	o.Repository, o.Check = cmp.Or(o.Repository, DefaultRepository), cmp.Or(o.Check, DefaultCheck)
	o.Listen, o.RateLimit = cmp.Or(o.Listen, "127.0.0.1:0"), cmp.Or(o.RateLimit, defaultRateLimit)
	if o.Members == nil {
		o.Members = DefaultMembers
	}
	if o.Outsiders == nil {
		o.Outsiders = DefaultOutsiders
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	owner, name, found := strings.Cut(o.Repository, "/")
	switch {
	case o.Gitea == "":
		return errors.New("no gitea named: go run ./testdata/tools/get gitea prints where it is")
	case o.Dir == "":
		return errors.New("no folder named")
	case !found || owner == "" || name == "" || strings.Contains(name, "/"):
		return fmt.Errorf("the repository %q: expected OWNER/NAME", o.Repository)
	case o.Webhook != "" && o.Secret == "":
		return errors.New("a webhook needs a secret")
	}
	if host, _, err := net.SplitHostPort(o.Listen); err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("the address %q: expected one of the loopback, like 127.0.0.1:3000", o.Listen)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(o.Gitea), "templates")); err != nil {
		return fmt.Errorf("%s has no data beside it: go run ./testdata/tools/get gitea builds one that has", o.Gitea)
	}
	var err error
	o.Dir, err = filepath.Abs(o.Dir)
	return err
}

// Start starts a forge. It runs until Close, or until the context ends.
func Start(ctx context.Context, o Options) (_ *Hub, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	h := &Hub{Ready: Ready{URL: "http://" + listener.Addr().String(), Repository: o.Repository, Branch: branch, Users: map[string]User{}}}
	h.API, h.Clone = h.URL+"/api/v3/", h.URL+"/"+o.Repository+".git"
	defer func() {
		if err != nil {
			listener.Close()
			h.Close()
		}
	}()
	if h.gitea, err = startGitea(ctx, o, h.URL); err != nil {
		return nil, err
	}
	h.Gitea = h.gitea.url
	address, err := url.Parse(h.gitea.url)
	if err != nil {
		return nil, err
	}
	logger := log.New(o.Log, "forge: ", 0)
	s := setup{options: o, hub: h, secret: random()}
	h.hooks = newHooks(s.secret, logger)
	p := newProxy(address, h.URL, h.hooks, o.RateLimit, logger)
	h.server = &http.Server{Handler: p, ErrorLog: logger}
	go h.server.Serve(listener)
	if err := s.run(ctx, &p.client); err != nil {
		return nil, err
	}
	return h, nil
}

// Stopped is closed when Gitea has ended, whoever ended it.
func (h *Hub) Stopped() <-chan struct{} { return h.gitea.done }

// Close stops everything and waits for its end.
func (h *Hub) Close() error {
	var errs []error
	if h.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			errs = append(errs, h.server.Close())
		}
	}
	if h.gitea != nil {
		errs = append(errs, h.gitea.stop())
	}
	if h.hooks != nil {
		h.hooks.close()
	}
	return errors.Join(errs...)
}
