// Command demo shows Pave at work on this machine: a company's whole platform,
// from nothing to Ready, then a change, a removal and a mistake.
//
//	go run ./testdata/tools/demo [-keep]
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

func main() {
	keep := flag.Bool("keep", false, "leave the temporary folder at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := run(ctx, *keep)
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool) (err error) {
	d, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close(keep)) }()
	for _, step := range []func(context.Context) error{
		d.prepare,
		d.platform,
		d.serve,
		d.converge,
		d.change,
		d.remove,
		d.mistake,
		d.look,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
