package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform"
)

// maxState bounds what is read of a state file.
const maxState = 256 << 20

func (a *app) stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "List the states of requests, back one up, put one back, or move one",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the state of every request: backend, address, lineage and serial",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withHistory(cmd.Context(), func(h history, tip string) error { return a.states(cmd.Context(), h, tip) })
		},
	}
	a.outputFlag(list, "text", "json")
	backup := &cobra.Command{
		Use:   "backup REQUEST FILE",
		Short: "Write the state of a request to a new file; it may hold secrets",
		Args:  exactly("a request and a file", 2),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0], args[1]) },
	}
	restore := &cobra.Command{
		Use:   "restore REQUEST FILE",
		Short: "Put a backup in the place of a request's state",
		Long: `Put a backup in the place of a request's state.

It must be of the lineage that was recorded, and no other state may be there.
The daemon must not be at work: stop it first.`,
		Args: exactly("a request and a file", 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.restore(cmd.Context(), args[0], args[1]) },
	}
	move := &cobra.Command{
		Use:   "move REQUEST...",
		Short: "Let states move to where the environment's backend says, in one pass",
		Long: `Let the states of requests move to where the backend of their environment says by
now, and make one pass over the tracked branch as ` + "`pave apply`" + ` does.

A state is copied, read back and then withdrawn from where it was. Nothing moves
while the plan that follows is denied or waits for an approval.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			moves := map[string]bool{}
			for _, name := range args {
				moves[name] = true
			}
			return a.apply(cmd.Context(), func(r *reconciler.Reconciler) { r.Moves = moves })
		},
	}
	a.forgeFlags(move)
	a.outputFlag(move, "text", "json")
	for _, c := range []*cobra.Command{backup, restore, move} {
		a.engineFlags(c)
	}
	cmd.AddCommand(list, backup, restore, move)
	return cmd
}

// exactly asks for a number of arguments.
func exactly(what string, n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usage(fmt.Errorf("expected %s; got %d arguments: see `%s --help`", what, len(args), cmd.CommandPath()))
	}
}

// stateLine is one state, as it was recorded.
type stateLine struct {
	Request     string `json:"request"`
	Environment string `json:"environment"`
	Backend     string `json:"backend"`
	Address     string `json:"address"`
	Lineage     string `json:"lineage"`
	Serial      uint64 `json:"serial"`
}

func (a *app) states(ctx context.Context, h history, tip string) error {
	record, err := readRecord(ctx, h, tip)
	if err != nil {
		return err
	}
	lines := []stateLine{}
	for _, name := range slices.Sorted(slices.Values(keys(record.Units))) {
		u := record.Units[name]
		if !u.Exists() {
			continue
		}
		backend, _, _ := strings.Cut(u.State.Address, ":")
		lines = append(lines, stateLine{name, u.Environment, backend, u.State.Address, u.State.Lineage, u.State.Serial})
	}
	if a.output == "json" {
		return printJSON(a.stdout, lines)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REQUEST\tENVIRONMENT\tADDRESS\tLINEAGE\tSERIAL")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\n", l.Request, l.Environment, printable(l.Address), printable(l.Lineage), l.Serial)
	}
	return table.Flush()
}

func (a *app) backup(ctx context.Context, name, path string) error {
	var data []byte
	err := a.withState(ctx, name, previewsFolder, func(runner *terraform.Runner, job reconciler.Job) (err error) {
		data, err = runner.PullState(ctx, job)
		return err
	})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: choose another file", path)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	fmt.Fprintf(a.stdout, "wrote the state of %s to %s\n", name, path)
	return nil
}

func (a *app) restore(ctx context.Context, name, path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxState {
		err = fmt.Errorf("it is larger than %d bytes", maxState)
	}
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	var restored reconciler.State
	err = a.withState(ctx, name, runsFolder, func(runner *terraform.Runner, job reconciler.Job) (err error) {
		restored, err = runner.RestoreState(ctx, job, data)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "put the state of %s back at %s: lineage %s, serial %d\n", name, restored.Address, restored.Lineage, restored.Serial)
	return nil
}

// withState finds the state of a request, in a folder of runs that no other
// pave works in meanwhile.
func (a *app) withState(ctx context.Context, name, folder string, do func(*terraform.Runner, reconciler.Job) error) error {
	r, _, release, err := a.reconciler(ctx, nil, folder)
	if err != nil {
		return err
	}
	defer release()
	job, err := r.StateJob(ctx, name)
	if err != nil {
		return err
	}
	return do(r.Runner.(*terraform.Runner), job)
}

func (a *app) importCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "import REQUEST --state FILE",
		Short: "Let a request take over what exists, by a state file of Terraform or OpenTofu",
		Long: `Let a request that was never applied take over what exists, and make one pass over
the tracked branch as ` + "`pave apply`" + ` does.

The request must be on the tracked branch, with a blueprint whose code has the
resources of the state at the same addresses. It is planned against a copy of
the state first. Where that plan destroys or replaces anything, nothing is taken
over and the command says what it would be. The file is left as it is: do not
use it elsewhere from then on.`,
		Args: exactly("a request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return usage(errors.New("--state: expected the file of a state, as `terraform state pull` writes it"))
			}
			path, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			return a.apply(cmd.Context(), func(r *reconciler.Reconciler) { r.Imports = map[string]string{args[0]: path} })
		},
	}
	cmd.Flags().StringVar(&file, "state", "", "the state file")
	a.engineFlags(cmd)
	a.forgeFlags(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}
