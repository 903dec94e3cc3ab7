package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
)

// What reads pull requests begins with nothing of an earlier process. Only what
// fetches them reaches the repository, as this process does, and neither knows
// anything else of the host.
func TestProposer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "quarantine")
	must(t, os.MkdirAll(filepath.Join(folder, "change-1", "git"), 0o700))
	if _, err := newProposer(folder, proposing{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
	const proxy = "HTTPS_PROXY=http://user:password@proxy.example:3128"
	t.Setenv("HTTPS_PROXY", strings.TrimPrefix(proxy, "HTTPS_PROXY="))
	t.Setenv("PAVE_TOKEN", "secret")
	if env := fetchEnviron(proposing{}, folder); !slices.Contains(env, proxy) || slices.Contains(env, "PAVE_TOKEN=secret") {
		t.Errorf("got %q", env)
	}
}

// proposal is a change of a platform, and what reads it.
type proposal struct {
	*proposer
	change reconciler.ProposedChange
}

// pushed lays out a platform, work, in a folder and pushes it to a repository, bare. run
// runs git in work.
func pushed(t testing.TB, dir string) (work, bare string, run func(args ...string) string) {
	t.Helper()
	work, bare = filepath.Join(dir, "work"), filepath.Join(dir, "platform.git")
	must(t, layOut(work, "platform"))
	run = func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(gitIn(t, dir, work, args...))
	}
	run("init", "--quiet", "--initial-branch", "main")
	run("init", "--quiet", "--bare", "--initial-branch", "main", bare)
	run("add", "--all")
	run("commit", "--quiet", "--message", "Start the platform")
	run("push", "--quiet", bare, "main")
	return work, bare, run
}

func newProposal(t testing.TB) *proposal {
	t.Helper()
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	work, bare, run := pushed(t, dir)
	m, err := git.Open(t.Context(), git.Options{URL: bare, Tracked: "main", Status: "pave/status", Cache: filepath.Join(cache, "mirror")})
	must(t, err)
	defer m.Close()
	heads, err := m.Fetch(t.Context())
	must(t, err)
	evaluator := (&app{}).parts().Evaluator.(*catalog.Evaluator)
	tree, err := m.Tree(t.Context(), heads.Tracked)
	must(t, err)
	if _, violations, err := evaluator.Evaluate(t.Context(), tree); err != nil || len(violations) > 0 {
		t.Fatal(violations, err)
	}
	must(t, os.WriteFile(filepath.Join(work, "teams.cue"), []byte("package platform\n\nteam: nobody: 1\n"), 0o644))
	run("commit", "--quiet", "--all", "--message", "Change it")
	run("push", "--quiet", bare, "HEAD:refs/pull/1/head")
	p, err := newProposer(filepath.Join(cache, "quarantine"), proposing{
		Quarantine: git.QuarantineOptions{URL: bare, Token: "s3cret-token", Mirror: filepath.Join(cache, "mirror"), Tracked: "main"},
	}, evaluator.Answers)
	must(t, err)
	return &proposal{p, reconciler.ProposedChange{Ref: "refs/pull/1/head", Head: run("rev-parse", "HEAD"), Base: heads.Tracked, InForce: heads.Tracked}}
}

// executable is this program by a name that means the same to every process.
func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}

// The process that reads what strangers wrote is told nothing by which the
// repository is reached, and nobody tells what fetches it where others see it.
func TestReaderHasNoCredentials(t *testing.T) {
	p := newProposal(t)
	t.Setenv("SSH_AUTH_SOCK", "/s3cret-agent")
	t.Setenv("HTTPS_PROXY", "http://s3cret-proxy.example")
	told := t.TempDir()
	self := filepath.Join(told, "pave")
	must(t, os.WriteFile(self, fmt.Appendf(nil, "#!/bin/sh\nenv >'%[1]s/env'$1\necho \"$@\" >'%[1]s/argv'$1\ntee '%[1]s/stdin'$1 | exec '%[2]s' \"$@\"\n", told, executable(t)), 0o700))
	p.self = self
	proposal, err := p.Propose(t.Context(), p.change)
	must(t, err)
	if got := fmt.Sprint(proposal.Report.Violations); !strings.Contains(got, "teams.cue") {
		t.Errorf("the change was not read: %s", got)
	}
	secrets := func(what string) (found []string) {
		content, err := os.ReadFile(filepath.Join(told, what))
		must(t, err)
		for _, secret := range []string{"s3cret-token", "s3cret-agent", "s3cret-proxy"} {
			if strings.Contains(string(content), secret) {
				found = append(found, secret)
			}
		}
		return found
	}
	for what, want := range map[string][]string{
		"stdin" + fetchVerb: {"s3cret-token"}, "env" + fetchVerb: {"s3cret-agent", "s3cret-proxy"}, "argv" + fetchVerb: nil,
		"stdin" + proposeVerb: nil, "env" + proposeVerb: nil, "argv" + proposeVerb: nil,
	} {
		if got := secrets(what); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

// A repository that does not answer, and a process that somebody kills, are no
// fault of the change; what takes longer to read than it may is.
func TestWhoseFaultItIs(t *testing.T) {
	p := newProposal(t)
	t.Run("a repository that hangs", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer listener.Close()
		q := *p.proposer
		q.input.Quarantine.URL = "http://" + listener.Addr().String() + "/platform.git"
		q.fetch.deadline = 500 * time.Millisecond
		if got, err := q.Propose(t.Context(), p.change); !errors.Is(err, reconciler.ErrNotFetched) || !strings.Contains(err.Error(), "took longer") {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	for name, test := range map[string]struct {
		does     string // in place of reading
		deadline time.Duration
		denied   string
	}{
		"a change that takes for ever": {"sleep 60", 500 * time.Millisecond, "reading it took longer than 500ms"},
		"a process that is killed":     {"kill -9 $$", time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			self := filepath.Join(t.TempDir(), "pave")
			must(t, os.WriteFile(self, fmt.Appendf(nil, "#!/bin/sh\nif test $1 = %s; then %s; fi\nexec '%s' \"$@\"\n", proposeVerb, test.does, executable(t)), 0o700))
			q := *p.proposer
			q.self, q.read.deadline = self, test.deadline
			got, err := q.Propose(t.Context(), p.change)
			switch {
			case test.denied == "":
				if _, ended := errors.AsType[*exec.ExitError](err); !ended {
					t.Errorf("got %+v, %v", got, err)
				}
			case err != nil || len(got.Report.Violations) != 1 || !strings.Contains(got.Report.Violations[0].Message, test.denied):
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	t.Run("nobody waits any more", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Propose(ctx, p.change); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Insiders' changes are read by one process, and it says of each what a process of
// the change's own would say, whatever it read before and whatever came into force
// since.
func TestReaderIsKept(t *testing.T) {
	c := newCrowd(t, 3)
	starts := filepath.Join(t.TempDir(), "starts")
	c.self = filepath.Join(t.TempDir(), "pave")
	must(t, os.WriteFile(c.self, fmt.Appendf(nil, "#!/bin/sh\necho $1 >>'%s'\nexec '%s' \"$@\"\n", starts, executable(t)), 0o700))
	readers := func() int {
		content, err := os.ReadFile(starts)
		must(t, err)
		return strings.Count(string(content), proposeVerb)
	}
	said := func(change reconciler.ProposedChange, insider bool) string {
		t.Helper()
		change.Insider = insider
		got, err := c.Propose(t.Context(), change)
		must(t, err)
		for i := range got.Jobs {
			got.Jobs[i].ID = "" // another one each time
		}
		text, err := json.MarshalIndent(got, "", "  ")
		must(t, err)
		return string(text)
	}
	changes := func() []reconciler.ProposedChange {
		var all []reconciler.ProposedChange
		for _, change := range []func(){
			func() { c.unit(1, "as it will be") },
			func() { c.unit(7, "and one more") },
			func() { must(t, os.Remove(filepath.Join(c.work, crowded(1)))) },
			func() { c.write(crowded(1), "package platform\n\nrequest: \"one-00001-box\": 1\n") },
			func() { c.write("teams.cue", "package platform\n\nteam: nobody: 1\n") },
			func() {
				c.write("policies/new.rego", "package acme.new\n\ndeny contains \"never\" if input.kind == \"request\"\n")
			},
			func() { c.write("blueprints/box/new.tf", "resource \"terraform_data\" \"new\" {}\n") },
			func() { c.unit(1, "as it will be") },
		} {
			change()
			all = append(all, c.propose())
		}
		return all
	}
	strangers := 0
	for range 2 {
		for i, change := range changes() {
			strangers++
			want := said(change, false)
			if got := said(change, true); got != want {
				t.Errorf("change %d: got %s, want %s", i, got, want)
			}
			if got := readers() - strangers; got != 1 {
				t.Errorf("change %d: %d readers of insiders' changes were started", i, got)
			}
		}
		c.unit(2, fmt.Sprint("the other way ", c.pulls))
		must(t, os.RemoveAll(filepath.Join(c.work, crowded(0))))
		c.converge()
		c.unit(0, "again")
		c.converge()
	}
	t.Run("that is killed", func(t *testing.T) {
		c.unit(1, "as it will be")
		change := c.propose()
		want := said(change, false)
		must(t, c.insiders.reader.cmd.Process.Kill())
		before := readers()
		for range 3 {
			if got := said(change, true); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if got := readers() - before; got != 2 { // one for the change that met the end, one that is kept
			t.Errorf("%d readers were started", got)
		}
	})
	c.insiders.close()
	if left, err := os.ReadDir(c.folder); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
