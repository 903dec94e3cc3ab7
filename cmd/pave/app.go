package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/calendar"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/reconciler/policy"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// app holds what the flags say; its methods make the parts from it.
type app struct {
	stdout, stderr io.Writer

	repo, branch, statusBranch string
	cacheDir, stateDir         string
	output                     string

	engine, engineFolder, terraformConfig, credentials string
	confine, allowRead, allowWrite                     string
	signingKey, tokenFile                              string
	quiet                                              bool
	grace                                              time.Duration

	// standBy is called, with the process or the host that is at work, as long as
	// another pave is; nil refuses to wait for it.
	standBy     func(holder string)
	portal      portalFlags
	lease       leasing
	confinement terraform.Confinement // of the runs of the reconciler
	forge       forgeFlags
	memory      memory // for the next process
}

const help = `Pave keeps a whole internal developer platform in one Git repository.

It validates the repository with CUE and OPA, makes the infrastructure match
with Terraform or OpenTofu, and commits what happened to a branch of its own.

Exit codes: 0 converged or valid, 1 failure, 2 usage, 3 changes, drift or an
approval pending, 4 denied by policy, 130 interrupted.`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "pave", Short: "Reconcile a platform repository", Long: help,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.repo, "repo", ".", "the platform repository: a path or an https or ssh address")
	flags.StringVar(&a.branch, "branch", "", "the branch that holds the desired state (default: the repository's HEAD)")
	flags.StringVar(&a.statusBranch, "status-branch", "pave/status", "the branch that Pave records on")
	flags.StringVar(&a.cacheDir, "cache-dir", "", "what can be made again (default $XDG_CACHE_HOME/pave)")
	flags.StringVar(&a.stateDir, "state-dir", "", "runs and local states: yours to back up (default $XDG_STATE_HOME/pave)")
	flags.StringVar(&a.tokenFile, "token-file", "", "a file with the token for https (default: $PAVE_TOKEN)")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
	root.SetFlagErrorFunc(flagError)
	for _, cmd := range []*cobra.Command{
		a.initCommand(), a.validateCommand(), a.planCommand(), a.applyCommand(), a.serveCommand(),
		a.statusCommand(), a.logCommand(), a.approveCommand(), a.codeownersCommand(), a.portalCommand(), a.stateCommand(), a.importCommand(), a.upgradeCommand(), a.versionCommand(),
	} {
		root.AddCommand(cmd)
	}
	return root
}

func usage(err error) error { return codeError{exitUsage, err} }

// atMost refuses more arguments as a matter of usage.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		expected := "no argument"
		if n > 0 {
			expected = "at most " + reconciler.Plural(n, "argument")
		}
		return usage(fmt.Errorf("expected %s; got %q: see `%s --help`", expected, args[n], cmd.CommandPath()))
	}
}

// knownCommand refuses what is no command, which cobra leaves to the root.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(fmt.Errorf("there is no command %q: did you mean `pave %s`?", args[0], near[0]))
	}
	return usage(fmt.Errorf("there is no command %q: see `pave --help`", args[0]))
}

// flagError says what is wrong with a flag, in Pave's words.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		err = fmt.Errorf("--%s: expected %s; got %q", invalid.GetFlag().Name, invalid.GetFlag().Value.Type(), invalid.GetValue())
	}
	return usage(fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath()))
}

// outputFlag adds -o with the formats that the command knows, the first the default.
func (a *app) outputFlag(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&a.output, "output", "o", formats[0], "one of: "+strings.Join(formats, ", "))
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, a.output) {
			return usage(fmt.Errorf("--output: expected one of: %s; got %q", strings.Join(formats, ", "), a.output))
		}
		if pre != nil {
			return pre(cmd, args)
		}
		return nil
	}
}

// engineFlags adds what a command that runs the engine needs to know of the host.
func (a *app) engineFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&a.engine, "engine", "", "terraform or tofu, in place of what the settings say")
	flags.StringVar(&a.engineFolder, "engine-path", "", "folders to look the engine up in (default $PATH)")
	flags.StringVar(&a.terraformConfig, "terraform-config", "", "a CLI configuration file for the engine")
	flags.StringVar(&a.credentials, "credentials", "", "a folder of ENVIRONMENT.env files with KEY=VALUE lines, mode 0600, or of programs ENVIRONMENT that print such lines")
	flags.StringVar(&a.confine, "confine", "", "how runs are confined: landlock, users or off (default: the best that this machine has)")
	flags.StringVar(&a.allowRead, "allow-read", "", "folders that every run may read beside its own, separated by colons")
	flags.StringVar(&a.allowWrite, "allow-write", "", "folders that every run may change beside its own, separated by colons")
	flags.DurationVar(&a.grace, "grace", 5*time.Minute, "how long Terraform may take to end when it was interrupted, before it is killed")
	flags.StringVar(&a.signingKey, "signing-key", "", "an SSH private key that signs status commits")
}

// home returns one of the two base directories.
func home(flag, variable, fallback string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if base := os.Getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "pave"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a place for files: %w: set $%s", err, variable)
	}
	return filepath.Join(user, fallback, "pave"), nil
}

// folders returns where the cache and the state of the repository are.
func (a *app) folders() (cache, state string, err error) {
	id := git.RepositoryID(a.repo)
	if cache, err = home(a.cacheDir, "XDG_CACHE_HOME", ".cache"); err != nil {
		return "", "", err
	}
	if state, err = home(a.stateDir, "XDG_STATE_HOME", ".local/state"); err != nil {
		return "", "", err
	}
	return filepath.Join(cache, id), filepath.Join(state, id), nil
}

func (a *app) token() (string, error) {
	if a.tokenFile == "" {
		return os.Getenv("PAVE_TOKEN"), nil
	}
	content, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// mirror opens the mirror of the repository.
func (a *app) mirror(ctx context.Context) (*git.Mirror, error) {
	cache, _, err := a.folders()
	if err != nil {
		return nil, err
	}
	options := git.Options{URL: a.repo, Cache: filepath.Join(cache, "mirror"), Tracked: a.branch, Status: a.statusBranch, Clone: cloneBeside}
	if options.Token, err = a.token(); err != nil {
		return nil, err
	}
	if a.signingKey != "" {
		if options.Signer, err = git.LoadSigner(a.signingKey); err != nil {
			return nil, err
		}
	}
	return git.Open(ctx, options)
}

// parts returns the adapters that read and judge a revision.
func (a *app) parts() reconciler.Parts {
	return reconciler.Parts{
		Evaluator: a.evaluator(),
		Inspector: terraform.Inspector{},
		Rules:     &policy.Compiler{},
		Calendar:  calendar.Calendar{},
	}
}

func (a *app) evaluator() reconciler.Evaluator {
	return catalog.New([]string{confine.Path, evalVerb}, 0)
}

// The folders of runs, below the state of a repository. A preview has its own,
// so that it neither holds up nor is taken for a run that changes something.
const (
	runsFolder     = "runs"
	previewsFolder = "previews"
	pullsFolder    = "pulls" // the plans of the daemon for pull requests
)

// reconciler assembles the loop, whose runs are in the folder; no other pave
// may be at work in it. The returned function releases what it holds.
func (a *app) reconciler(ctx context.Context, log *slog.Logger, runs string) (_ *reconciler.Reconciler, _ *git.Mirror, release func(), err error) {
	cache, state, err := a.folders()
	if err != nil {
		return nil, nil, nil, err
	}
	if a.engine != "" && a.engine != "terraform" && a.engine != "tofu" {
		return nil, nil, nil, usage(fmt.Errorf("--engine: expected terraform or tofu; got %q", a.engine))
	}
	// From here on this process holds keys and tokens.
	if err := confine.Protect(); err != nil {
		return nil, nil, nil, err
	}
	acts := runs == runsFolder
	runs = filepath.Join(state, runs)
	unlock, err := a.lock(ctx, runs)
	if err != nil {
		return nil, nil, nil, err
	}
	if acts {
		sweep(state)
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	mirror, err := a.mirror(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	runner, err := a.runner(cache, state, runs)
	if err != nil {
		mirror.Close()
		return nil, nil, nil, err
	}
	a.confinement = runner.Confinement()
	branch := a.branch
	if a.forge.repository != "" && branch == "" { // the forge must be told
		if _, err := mirror.Fetch(ctx); err != nil {
			mirror.Close()
			return nil, nil, nil, err
		}
		branch = mirror.Branch()
	}
	forge, err := a.openForge(branch, log)
	if err != nil {
		mirror.Close()
		return nil, nil, nil, err
	}
	r := reconciler.New(reconciler.Options{
		Parts: a.parts(), Source: mirror, Runner: runner, Engine: a.engine, Machine: terraform.ThisMachine(), Log: log,
		Trust: reconciler.NewTrust(filepath.Join(state, "status.json")),
		Forge: forge, Shown: reconciler.NewShown(filepath.Join(state, "shown.json")), Accounts: reconciler.NewAccounts(filepath.Join(state, "people.json")),
	})
	a.memory = newMemory(cache, r)
	a.memory.recall()
	release = func() {
		if acts { // a preview reads what nobody let in
			_ = a.memory.keep() // or else the next process begins anew
		}
		mirror.Close()
		unlock()
	}
	return r, mirror, release, nil
}

// runner carries out runs in a folder, on this host.
func (a *app) runner(cache, state, runs string) (*terraform.Runner, error) {
	return terraform.NewRunner(terraform.Host{
		Cache: filepath.Join(cache, "engine"), State: filepath.Join(state, "units"), Runs: runs,
		CLIConfig: absolute(a.terraformConfig), EnginePath: a.engineFolder, Credentials: absolute(a.credentials),
		Confine: a.confine, AllowRead: a.allowRead, AllowWrite: a.allowWrite,
		Grace: a.grace,
	})
}

// absolute returns the path that a flag means; the daemon's runs have another
// working directory.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// tree returns what a command that reads looks at: the checkout as it is, else
// the tracked branch.
func (a *app) tree(ctx context.Context) (*reconciler.Tree, error) {
	if path, local := git.Local(a.repo); local && a.branch == "" {
		if root, found := git.Root(path); found {
			return git.WorkTree(root)
		}
		if _, err := os.Stat(filepath.Join(path, "platform.cue")); err == nil {
			return git.WorkTree(path)
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no folder %s", path)
		}
	}
	mirror, err := a.mirror(ctx)
	if err != nil {
		return nil, err
	}
	defer mirror.Close()
	heads, err := mirror.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	return mirror.Tree(ctx, heads.Tracked)
}

// ignored tells how many files of the checkout a command that reads commits
// does not see.
func (a *app) ignored() {
	path, local := git.Local(a.repo)
	if !local {
		return
	}
	root, found := git.Root(path)
	if !found {
		return
	}
	if n, err := git.Uncommitted(root); err == nil && n > 0 {
		files := "files are"
		if n == 1 {
			files = "file is"
		}
		fmt.Fprintf(a.stderr, "%d uncommitted %s ignored\n", n, files)
	}
}

// terminal tells whether the writer is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
