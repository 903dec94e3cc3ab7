package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// breakVerb is a child that somebody broke into: it tries what it must not be
// able to, and says what it could do.
const breakVerb = "__break"

func init() {
	children[breakVerb] = func(_ context.Context, args []string, _ io.Reader, _ io.Writer) error {
		var said []string
		for _, try := range tries(args) {
			word := "could "
			if try.does() != nil {
				word = "could not "
			}
			said = append(said, word+try.what)
		}
		return errors.New(strings.Join(said, "; ") + ";")
	}
}

// newPrize returns what there is to steal, to spoil and to speak to: a folder with
// the file `token` and the socket `socket`, and a TCP and a UDP address.
func newPrize(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "token"), []byte("secret"), 0o600))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	file, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	for _, closer := range []io.Closer{tcp, udp, file} {
		t.Cleanup(func() { closer.Close() })
	}
	return []string{dir, tcp.Addr().String(), udp.LocalAddr().String()}
}

type try struct {
	what string
	does func() error
}

// tries are what a child tries with a prize.
func tries(prize []string) []try {
	token := filepath.Join(prize[0], "token")
	write := func(path string) func() error {
		return func() error { return os.WriteFile(path, []byte("secret"), 0o600) }
	}
	dial := func(network, address string) func() error {
		return func() error {
			conn, err := net.DialTimeout(network, address, time.Second)
			if err == nil {
				_, err = conn.Write([]byte("secret"))
			}
			return err
		}
	}
	return []try{
		{"read a token", func() error { _, err := os.ReadFile(token); return err }},
		{"list a folder", func() error { _, err := os.ReadDir(prize[0]); return err }},
		{"change a file", write(token)},
		{"make a file", write(filepath.Join(prize[0], "made"))},
		{"connect by TCP", dial("tcp", prize[1])},
		{"send by UDP", dial("udp", prize[2])},
		{"connect to a file", dial("unix", filepath.Join(prize[0], "socket"))},
		{"listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
		{"signal its parent", func() error { return syscall.Kill(os.Getppid(), 0) }},
	}
}

// TestReadersAreShutIn breaks into each process that reads what others wrote, and
// into the one that fetches it, which must reach others.
func TestReadersAreShutIn(t *testing.T) {
	if level := confine.Level(); level < confine.SignalLevel {
		t.Fatalf("the kernel has Landlock %d, and %d is needed: run this where there is that", level, confine.SignalLevel)
	}
	prize := newPrize(t)
	p := newProposal(t)
	// broken has another program answer in the place of a child.
	broken := func(verb string) error {
		q := *p.proposer
		q.self = filepath.Join(t.TempDir(), "pave")
		must(t, os.WriteFile(q.self, fmt.Appendf(nil, "#!/bin/sh\nif test $1 = %s; then set -- %s %s; fi\nexec '%s' \"$@\"\n",
			verb, breakVerb, strings.Join(prize, " "), executable(t)), 0o700))
		_, err := q.Propose(t.Context(), p.change)
		return err
	}
	work := t.TempDir()
	must(t, layOut(work, "platform"))
	tree, err := (&app{repo: work}).tree(t.Context())
	must(t, err)
	_, _, evaluating := catalog.New(append([]string{confine.Path, breakVerb}, prize...), 0).Evaluate(t.Context(), tree)
	for name, test := range map[string]struct {
		said error
		word string
	}{
		"the evaluator":                {evaluating, "could not "},
		"the reader of a pull request": {broken(proposeVerb), "could not "},
		"what fetches one":             {broken(fetchVerb), "could "},
	} {
		for _, try := range tries(prize) {
			if want := test.word + try.what + ";"; test.said == nil || !strings.Contains(test.said.Error(), want) {
				t.Errorf("%s: expected %q of: %v", name, want, test.said)
			}
		}
	}
}

// Whoever runs Pave is told where readers are not shut in.
func TestConfinementLine(t *testing.T) {
	runs := terraform.Confinement{Way: terraform.ByUsers}
	for level, want := range map[int]bool{0: true, confine.MinLevel - 1: true, confine.MinLevel: false} {
		if line := confinementLine(runs, level); strings.Contains(line, "what reads pull requests is not confined") != want {
			t.Errorf("level %d: %s", level, line)
		}
	}
}
