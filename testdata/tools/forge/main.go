// Command forge is a forge for tests and demos: a real Gitea with a repository,
// people, tokens and a protected branch, behind a proxy that speaks as GitHub
// does. README.md tells how to use it.
//
//	go run ./testdata/tools/get gitea -- go run ./testdata/tools/forge
//
// When all is ready it prints one line of JSON, and it ends on an interrupt, on
// SIGTERM, or when its standard input is a pipe that closes.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "forge:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	options, err := parse(args)
	if err != nil {
		return err
	}
	if options.Dir == "" {
		if options.Dir, err = os.MkdirTemp("", "forge"); err != nil {
			return err
		}
		defer os.RemoveAll(options.Dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	h, err := hub.Start(ctx, options)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(h.Ready); err != nil {
		h.Close()
		return err
	}
	select {
	case <-ctx.Done():
	case <-h.Stopped():
	}
	return h.Close()
}

func parse(args []string) (hub.Options, error) {
	o := hub.Options{Log: os.Stderr}
	flags := flag.NewFlagSet("forge", flag.ExitOnError)
	flags.StringVar(&o.Gitea, "gitea", os.Getenv("PAVE_TEST_GITEA"), "the gitea program, with its data beside it")
	flags.StringVar(&o.Dir, "dir", "", "an empty or new `folder` for everything; by default a temporary one, removed at the end")
	flags.StringVar(&o.Listen, "listen", "", "the `address` of the proxy, on the loopback; by default a free port")
	flags.StringVar(&o.Repository, "repository", hub.DefaultRepository, "OWNER/NAME")
	flags.StringVar(&o.From, "from", "", "a `folder` that becomes the first commit, or a checkout whose HEAD is pushed")
	flags.StringVar(&o.Check, "check", hub.DefaultCheck, "the status that the branch requires")
	flags.IntVar(&o.Approvals, "approvals", 1, "how many approvals the branch requires")
	flags.BoolVar(&o.Unprotected, "unprotected", false, "do not protect the branch")
	flags.IntVar(&o.RateLimit, "rate-limit", 0, "requests an hour for each token; by default 5000")
	flags.StringVar(&o.Webhook, "webhook", "", "the `address` that webhooks go to")
	flags.StringVar(&o.Secret, "secret", "", "the secret that webhooks are signed with")
	var members, outsiders string
	flags.StringVar(&members, "members", strings.Join(hub.DefaultMembers, ","), "who may push to the repository")
	flags.StringVar(&outsiders, "outsiders", strings.Join(hub.DefaultOutsiders, ","), "who may only read it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q; forge -help lists the flags", flags.Arg(0))
	}
	o.Members, o.Outsiders = split(members), split(outsiders)
	return o, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
