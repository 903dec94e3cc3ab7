package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"log/slog"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/github"
)

// forgeFlags say where changes are reviewed.
type forgeFlags struct {
	repository, url, tokenFile, check string
	appID                             int64
	appKey, webhookSecret             string
}

// forgeFlags adds what a command needs to know of the forge.
func (a *app) forgeFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&a.forge.repository, "github", "", "OWNER/NAME: the repository on GitHub, where changes are reviewed and approved")
	flags.StringVar(&a.forge.url, "github-url", "https://github.com", "the address of a GitHub Enterprise Server")
	flags.StringVar(&a.forge.tokenFile, "github-token-file", "", "a file with a token for GitHub (default: that of --token-file)")
	flags.Int64Var(&a.forge.appID, "github-app", 0, "the id of the GitHub App that Pave acts by, in place of a token")
	flags.StringVar(&a.forge.appKey, "github-app-key", "", "a file with the App's private key")
	flags.StringVar(&a.forge.check, "check", "pave", "the name of the check")
}

// forgeAddress is where people find the repository on the forge; nowhere where none
// is configured.
func (a *app) forgeAddress() string {
	if a.forge.repository == "" {
		return ""
	}
	return strings.TrimSuffix(a.forge.url, "/") + "/" + a.forge.repository
}

// openForge returns the forge; nil where none is configured.
func (a *app) openForge(branch string, log *slog.Logger) (reconciler.Forge, error) {
	f := a.forge
	if f.repository == "" {
		if f.appID != 0 || f.appKey != "" || f.webhookSecret != "" {
			return nil, usage(errors.New("--github-app, --github-app-key and --webhook-secret-file need --github OWNER/NAME"))
		}
		return nil, nil
	}
	owner, name, ok := strings.Cut(f.repository, "/")
	if !ok {
		return nil, usage(fmt.Errorf("--github: expected OWNER/NAME; got %q", f.repository))
	}
	options := github.Options{URL: f.url, Owner: owner, Name: name, Branch: branch, Check: f.check, Log: log}
	if (f.appID != 0) != (f.appKey != "") {
		return nil, usage(errors.New("--github-app and --github-app-key belong together"))
	}
	if f.appID != 0 {
		key, err := secretFile(f.appKey)
		if err != nil {
			return nil, fmt.Errorf("read the App's key: %w", err)
		}
		options.App = &github.App{ID: f.appID, Key: key}
	} else {
		token, err := a.forgeToken()
		if err != nil {
			return nil, err
		}
		options.Token = token
	}
	forge, err := github.New(options)
	if err != nil {
		return nil, usage(err)
	}
	return forge, nil
}

func (a *app) forgeToken() (string, error) {
	if a.forge.tokenFile == "" {
		token, err := a.token()
		if err == nil && token == "" {
			err = usage(errors.New("--github needs a token: --github-token-file, --token-file or $PAVE_TOKEN, or an App: --github-app"))
		}
		return token, err
	}
	content, err := secretFile(a.forge.tokenFile)
	return strings.TrimSpace(string(content)), err
}

// secretFile reads a file that nobody else may read.
func secretFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read %s; type: chmod 600 %[1]s", path)
	}
	return os.ReadFile(path)
}

// webhook returns the handler of deliveries; nil where no secret is configured.
func (a *app) webhook(poke func(number int)) (http.Handler, error) {
	if a.forge.webhookSecret == "" {
		return nil, nil
	}
	secret, err := secretFile(a.forge.webhookSecret)
	if err != nil {
		return nil, fmt.Errorf("read the webhook's secret: %w", err)
	}
	handler, err := github.Handler([]byte(strings.TrimSpace(string(secret))), a.forge.repository, func(e github.Event) { poke(e.Number) })
	if err != nil {
		return nil, usage(err)
	}
	return handler, nil
}

// proposals assembles what looks at pull requests.
func (a *app) proposals(ctx context.Context, r *reconciler.Reconciler, mirror *git.Mirror, log *slog.Logger) (*reconciler.Proposals, func(), error) {
	cache, state, err := a.folders()
	if err != nil {
		return nil, nil, err
	}
	runs := filepath.Join(state, pullsFolder)
	unlock, err := a.lock(ctx, runs)
	if err != nil {
		return nil, nil, err
	}
	runner, err := a.runner(cache, state, runs)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	quarantine, err := a.quarantine(cache, mirror)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	proposer, err := newProposer(filepath.Join(cache, "quarantine"), proposing{Quarantine: quarantine}, r.Evaluator.(*catalog.Evaluator).Answers)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return reconciler.NewProposals(reconciler.ProposalOptions{
		Forge: r.Forge, Runner: runner, Shown: r.Shown, Loop: r, Log: log, Proposer: proposer,
	}), func() { proposer.insiders.close(); unlock() }, nil
}

// quarantine says where the changes of pull requests are fetched from.
func (a *app) quarantine(cache string, mirror *git.Mirror) (git.QuarantineOptions, error) {
	token, err := a.token()
	return git.QuarantineOptions{URL: a.repo, Token: token, Mirror: filepath.Join(cache, "mirror"), Tracked: mirror.Branch(), Status: a.statusBranch}, err
}
