package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/github/fake"
)

// preview measures the way of a pull request that changes one request among so many,
// from the webhook to the check that says what would happen, with all rules, beside
// the engine's bare plan and show of the same unit in a folder that is initialised
// and one fetch. The forge answers within milliseconds, from this process's memory.
func (b *bench) preview(ctx context.Context, units int) (err error) {
	s, err := b.stage(ctx, units, provided)
	if err != nil {
		return err
	}
	p, err := s.previews(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	bare, err := b.bareUnit(ctx, s.name+"-preview", s.p)
	if err != nil {
		return err
	}
	err = b.compare(ctx, fmt.Sprintf("Preview of a pull request that changes one of %d units (%s)", units, provided),
		contender{"pave serve", func(ctx context.Context, _ int) (cost, error) { return p.one(ctx) }},
		contender{"plan, show, git fetch", bare.plan})
	return errors.Join(err, p.sayPeak())
}

// previews is a daemon that looks at pull requests, with their forge.
type previews struct {
	*daemon
	forge   *forge
	served  *httptest.Server
	webhook string // where the daemon is told
}

// previews starts a daemon with a forge.
func (s *stage) previews(ctx context.Context) (*previews, error) {
	p := &previews{forge: newForge(s.p.units)}
	hook, token := filepath.Join(s.dir, "hook"), filepath.Join(s.dir, "token")
	if err := errors.Join(os.WriteFile(hook, []byte(secret), 0o600), os.WriteFile(token, []byte(fake.Token), 0o600)); err != nil {
		return nil, err
	}
	p.served = httptest.NewServer(p.forge.server)
	var err error
	if p.daemon, err = s.serve(ctx, options{flags: []string{"--github", fake.Owner + "/" + fake.Name, "--github-url", p.served.URL,
		"--token-file", token, "--webhook-secret-file", hook}}); err != nil {
		p.served.Close()
		return nil, err
	}
	if p.webhook, err = p.daemon.address(ctx); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// end ends the daemon and the forge, and tells what that found wrong.
func (p *previews) end() error {
	err := p.stop()
	p.served.Close()
	return errors.Join(err, p.forge.err())
}

// apart is what passes between two pull requests. Several things are said of each, and
// GitHub asks for no more than one a second: closer together, the daemon would wait.
const apart = 4 * time.Second

// one opens a pull request and waits for what is said of it.
func (p *previews) one(ctx context.Context) (cost, error) {
	if err := p.settle(ctx, apart); err != nil {
		return cost{}, err
	}
	pull, err := p.forge.open(ctx, p.stage)
	if err != nil {
		return cost{}, err
	}
	before, err := p.processor()
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := deliver(ctx, p.webhook, pull.Number); err != nil {
		return cost{}, err
	}
	if err := p.answered(ctx, p.forge, pull); err != nil {
		return cost{}, err
	}
	took := time.Since(began)
	err = p.rests(ctx) // what is tidied up afterwards belongs to it
	after, failed := p.processor()
	p.forge.server.Do(func() { pull.State = "closed" })
	return cost{wall: took, cpu: after - before}, errors.Join(err, failed)
}

const secret = "the secret of the webhook"

// forge is a GitHub in memory. What it finds wrong with what it is asked is an error
// of the bench.
type forge struct {
	testing.TB // nil: the fake asks for nothing but what is below
	server     *fake.Server

	mu    sync.Mutex
	wrong []error // guarded by mu
}

// newForge returns a forge that knows the people of a platform of so many units.
func newForge(units int) *forge {
	f := &forge{}
	f.server = fake.New(f)
	f.server.AddUser(fake.User{ID: 100, Login: "ines"})
	f.server.AddUser(author)
	for team := range (units + perTeam - 1) / perTeam {
		f.server.AddUser(fake.User{ID: int64(200_000 + team), Login: fmt.Sprintf("lead-%d", team)})
		if team > 0 {
			f.server.AddUser(fake.User{ID: int64(100_000 + team), Login: fmt.Sprintf("member-%d", team)})
		}
	}
	return f
}

// author is a member of the first team.
var author = fake.User{ID: 101, Login: "member-0"}

func (f *forge) Helper() {}

func (f *forge) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Errorf(format, args...))
}

func (f *forge) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (f *forge) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (f *forge) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.wrong...)
}

// open opens a pull request that changes the first unit.
func (f *forge) open(ctx context.Context, s *stage) (*fake.Pull, error) {
	s.pulls++
	number := s.pulls
	branch := fmt.Sprintf("change-%d", number)
	base, head, err := s.propose(ctx, branch)
	if err != nil {
		return nil, err
	}
	if _, err := s.push(ctx, fmt.Sprintf("%s:refs/pull/%d/head", branch, number)); err != nil {
		return nil, err
	}
	f.server.AddPush(fake.Push{Owner: fake.Owner, Name: fake.Name, Ref: "refs/heads/" + branch, Before: strings.Repeat("0", 40), After: head, Kind: "branch_creation", By: author})
	return f.server.AddPull(fake.Pull{Number: number, Title: branch, Author: author, State: "open", BaseRef: "main", BaseSHA: base, HeadRef: branch, HeadSHA: head,
		Commits: []fake.Commit{{SHA: head, Message: "Change", Author: author, Committer: author, AuthorEmail: "bench@localhost", CommitterEmail: "bench@localhost"}}}), nil
}

// deliver sends the webhook that a pull request was opened.
func deliver(ctx context.Context, address string, number int) error {
	body := fmt.Appendf(nil, `{"action":"opened","number":%d,"repository":{"full_name":"%s/%s"}}`, number, fake.Owner, fake.Name)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/webhook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "pull_request")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the webhook was answered %s", resp.Status)
	}
	return nil
}

// answered waits until a pull request has its verdict, which is that it may be merged
// and what it changes.
func (d *daemon) answered(ctx context.Context, forge *forge, pull *fake.Pull) error {
	return d.await(ctx, 5*time.Minute, func() (bool, error) {
		statuses := forge.server.Statuses(pull.HeadSHA)
		if len(statuses) == 0 {
			return false, nil
		}
		switch last := statuses[len(statuses)-1]; last.State {
		case "pending":
			return false, nil
		case "success":
			said := ""
			for _, c := range forge.server.Comments(pull.Number) {
				said += c.Body
			}
			if !strings.Contains(said, unitName(0)) {
				return false, nil
			}
			return true, nil
		default:
			return false, fmt.Errorf("the check says %s: %s", last.State, last.Description)
		}
	})
}
