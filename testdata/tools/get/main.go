// Command get makes the programs that Pave's tests, checks and demo need and
// that Pave itself does not:
//
//	go run ./testdata/tools/get TOOL... [-- COMMAND [ARG...]]
//
// Run it at the root of the checkout. It prints where each tool is, one a line;
// with a command it starts that instead, each path in the environment as
// PAVE_TEST_ and the tool's name in capitals.
//
// A tool is a folder beside this one: a Go module whose `tool` directives are
// built, or an npm package that is installed as its lock file says. Its
// tool.json tells how long that takes, with which flags, and which folders of
// modules the program reads when it runs: those are put beside it. One more
// folder is one more tool; its program has the folder's name.
//
// Three more names are understood. `chromium` is the browser on the PATH, which is
// installed first where this is root on Debian. `engine` is terraform or tofu on the PATH, else
// the tool tofu; its variable is PAVE_TEST_TERRAFORM. `providers` is a CLI
// configuration file for either engine, by which it finds the providers random,
// local, tls and time: in the registries where they answer, else in a folder of
// providers built here. It names hashicorp/aws exactly when the AWS provider was
// found on this machine.
//
// What was made is kept in $PAVE_TOOLS (by default pave-tools in the user's
// cache folder), under a name that changes with whatever could change the
// result. Nothing else outside Go's own caches is written.
//
//	PAVE_TOOLS                where the tools are kept
//	PAVE_PROVIDERS            "build" asks no registry for providers
//	PAVE_AWS_PROVIDER_MIRROR  a plugin folder that holds the AWS provider
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const usage = "usage: go run ./testdata/tools/get TOOL... [-- COMMAND [ARG...]]"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "get:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	names, command := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		names, command = args[:i], args[i+1:]
	}
	if len(names) == 0 {
		return fmt.Errorf("no tool named\n%s\ntools: %s", usage, strings.Join(known(), ", "))
	}
	cache, err := openCache()
	if err != nil {
		return err
	}
	for _, name := range names {
		path, err := get(ctx, cache, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(command) == 0 {
			fmt.Println(path)
			continue
		}
		if err := os.Setenv(variable(name), path); err != nil {
			return err
		}
	}
	if len(command) == 0 {
		return nil
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, command, os.Environ())
}

// get returns the path of the tool's program, after making it if need be.
func get(ctx context.Context, c cache, name string) (string, error) {
	switch name {
	case "chromium":
		return chromium(ctx)
	case "engine":
		return engine(ctx, c)
	case "providers":
		return providers(ctx, c)
	}
	t, err := open(name)
	if err != nil {
		return "", err
	}
	dir, err := t.build(ctx, c)
	if err != nil {
		return "", err
	}
	return t.program(dir), nil
}

// engine prefers the machine's own: it is there at once.
func engine(ctx context.Context, c cache) (string, error) {
	for _, name := range []string{"terraform", "tofu"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return get(ctx, c, "tofu")
}

// chromium finds the browser: it is too large to be built, and packaged everywhere.
func chromium(ctx context.Context) (string, error) {
	find := func() (string, error) {
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
			if path, err := exec.LookPath(name); err == nil {
				return filepath.Abs(path)
			}
		}
		return "", errors.New("there is no browser on the PATH: install Chromium, on Debian with: apt-get update && apt-get install --no-install-recommends chromium")
	}
	path, missing := find()
	if missing == nil {
		return path, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return "", missing
	}
	install := exec.CommandContext(ctx, "sh", "-ec", "apt-get update; exec apt-get install -y --no-install-recommends chromium")
	install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if err := say("installing chromium, about 1 minute the first time", install); err != nil {
		return "", err
	}
	return find()
}

func variable(name string) string {
	if name == "engine" {
		name = "terraform"
	}
	return "PAVE_TEST_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
