// Command demo shows Pave at work on this machine: a company's whole platform,
// from nothing to Ready, then a change, a removal and a mistake.
//
//	go run ./testdata/tools/demo [-keep] [-forge] [-once]
//
// With -forge the platform is on a forge, and what follows is three pull
// requests: one that is deployed, one that a rule denies, and one that another
// team must approve. Then it stays for a look around, in the portal as well, until
// Ctrl-C, or ends with the story, with -once.
//
// Run it at the root of the checkout. It needs Go and Git; what else it needs
// testdata/tools/get makes. Everything happens in a temporary folder, which is
// removed at the end, also after Ctrl-C: no cloud account, no container, no
// root. With -keep the folder stays, to look around in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

type options struct{ keep, forge, once bool }

func main() {
	var o options
	flag.BoolVar(&o.keep, "keep", false, "leave the temporary folder at the end")
	flag.BoolVar(&o.forge, "forge", false, "show pull requests on a forge")
	flag.BoolVar(&o.once, "once", false, "end with the story")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := run(ctx, o)
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	d, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	steps := []func(context.Context) error{
		d.prepare, d.platform, d.serve, d.converge,
		d.change, d.remove, d.mistake, d.look, d.visit,
	}
	if o.forge {
		steps = []func(context.Context) error{
			d.prepare, d.platform, d.host, d.serve, d.listen, d.converge,
			d.ownChange, d.denied, d.foreignChange, d.deploy, d.invite,
		}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
