package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show what is ready and what is not, from the status branch of any clone",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withHistory(cmd.Context(), func(h history, tip string) error { return a.status(cmd.Context(), h, tip, args) })
		},
	}
	a.outputFlag(cmd, "text", "json")
	var revision string
	adopt := &cobra.Command{
		Use:   "adopt",
		Short: "Believe the status branch as it is, though this host did not write it",
		Long: `Believe the status branch as it is.

A host believes only what it wrote or signed itself. After a move to another
host, look at the branch (git log, pave status), then adopt it.

Where there is a forge, the revision that was in force last says who must approve
what comes after it. Where that is not known, or refused by this version of Pave,
--revision names another one: whoever may approve by it, may from there on.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.adopt(cmd.Context(), revision) },
	}
	adopt.Flags().StringVar(&revision, "revision", "", "the revision of the tracked branch that counts as the one that was in force last")
	cmd.AddCommand(adopt)
	return cmd
}

// history is a repository whose branches can be read.
type history interface {
	Part(ctx context.Context, commit string, paths ...string) (*reconciler.Tree, error)
	Log(ctx context.Context, tip string, max int, keep func(message string) bool) ([]git.Entry, error)
}

// withHistory opens the clone at --repo, or the mirror of an address, and finds
// the tip of the status branch.
func (a *app) withHistory(ctx context.Context, do func(h history, tip string) error) error {
	if path, local := git.Local(a.repo); local {
		clone, err := git.OpenClone(path)
		if err != nil {
			return err
		}
		defer clone.Close()
		tip, found, err := clone.Tip(a.statusBranch)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("there is no branch %s yet: `pave apply` or `pave serve` makes it; in a clone, `git fetch` brings it", a.statusBranch)
		}
		return do(clone, tip)
	}
	mirror, heads, err := a.recorded(ctx)
	if err != nil {
		return err
	}
	defer mirror.Close()
	return do(mirror, heads.Status)
}

// recorded fetches a repository that has a status branch.
func (a *app) recorded(ctx context.Context) (*git.Mirror, reconciler.Heads, error) {
	mirror, err := a.mirror(ctx)
	if err != nil {
		return nil, reconciler.Heads{}, err
	}
	heads, err := mirror.Fetch(ctx)
	if err == nil && heads.Status == "" {
		err = fmt.Errorf("there is no branch %s yet: `pave apply` or `pave serve` makes it", a.statusBranch)
	}
	if err != nil {
		mirror.Close()
		return nil, heads, err
	}
	return mirror, heads, nil
}

// readRecord reads the record at a commit of the status branch.
func readRecord(ctx context.Context, h history, tip string) (*reconciler.Record, error) {
	tree, err := reconciler.RecordTree(ctx, h, tip)
	if err != nil {
		return nil, err
	}
	return reconciler.ReadRecord(tree, tip)
}

func (a *app) status(ctx context.Context, h history, tip string, args []string) error {
	record, err := readRecord(ctx, h, tip)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		return a.statusOf(record, args[0])
	}
	summary := record.Summary()
	if a.output == "json" {
		if err := printJSON(a.stdout, summary); err != nil {
			return err
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REQUEST\tOWNER\tENVIRONMENT\tBLUEPRINT\tREADY\tREASON\tAPPLIED")
	for _, u := range summary.Units {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%s\t%.8s\n", u.Request, u.Owner, u.Environment, u.Blueprint, u.Ready, u.Reason, u.Applied)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	printSummary(a, summary)
	return nil
}

// statusOf shows one request or service.
func (a *app) statusOf(record *reconciler.Record, name string) error {
	unit, service := record.Units[name], record.Services[name]
	var conditions reconciler.Conditions
	switch {
	case unit != nil && a.output == "json":
		return printJSON(a.stdout, unit)
	case service != nil && a.output == "json":
		return printJSON(a.stdout, service)
	case unit != nil:
		conditions = unit.Conditions
		fmt.Fprintf(a.stdout, "request %s: %s for %s (%s) in %s\n", name, unit.Blueprint, unit.Service, unit.Owner, unit.Environment)
		applied := "never applied"
		if unit.AppliedRevision != "" {
			applied = fmt.Sprintf("applied at %.8s", unit.AppliedRevision)
		}
		fmt.Fprintf(a.stdout, "cost %.2f a month, %s, %s\n", unit.Cost, reconciler.Plural(len(unit.Resources), "resource"), applied)
	case service != nil:
		conditions = service.Conditions
		fmt.Fprintf(a.stdout, "service %s: owned by %s, %s\n", name, service.Owner, service.Lifecycle)
		fmt.Fprintf(a.stdout, "requests: %s\n", strings.Join(service.Requests, ", "))
	default:
		known := slices.Collect(maps.Keys(record.Units))
		known = slices.AppendSeq(known, maps.Keys(record.Services))
		return reconciler.Missing("the status branch knows no", name, known)
	}
	for _, c := range conditions {
		fmt.Fprintf(a.stdout, "  %-9s %-5v %s since %s\n", c.Type, c.Status, c.Reason, c.Since)
		if c.Message != "" {
			fmt.Fprintf(a.stdout, "            %s\n", printable(c.Message))
		}
	}
	if unit != nil {
		for name, value := range unit.Outputs.All() {
			fmt.Fprintf(a.stdout, "  output %s = %s\n", name, printable(string(value)))
		}
		for _, name := range unit.Sensitive {
			fmt.Fprintf(a.stdout, "  output %s is a secret\n", name)
		}
	}
	return nil
}

func (a *app) adopt(ctx context.Context, revision string) error {
	revision, err := a.commit(ctx, revision)
	if err != nil {
		return err
	}
	_, state, err := a.folders()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(state, runsFolder)) // a daemon would not notice
	if err != nil {
		return err
	}
	defer unlock()
	mirror, err := a.mirror(ctx)
	if err != nil {
		return err
	}
	defer mirror.Close()
	heads, err := mirror.Fetch(ctx)
	if err != nil {
		return err
	}
	record := reconciler.NewRecord()
	switch {
	case heads.Status != "":
		if record, err = readRecord(ctx, mirror, heads.Status); err != nil {
			return err
		}
	case revision == "":
		return fmt.Errorf("there is no branch %s to adopt", a.statusBranch)
	}
	if revision != "" {
		const most = 10000
		if line, _, err := mirror.Line(ctx, heads.Tracked, "", most); err != nil || !slices.Contains(line, revision) {
			return errors.Join(fmt.Errorf("--revision: %.8s is not on the tracked branch: see `git log --first-parent`", revision), err)
		}
	}
	if err := reconciler.NewTrust(filepath.Join(state, "status.json")).Adopt(record, revision); err != nil {
		return err
	}
	if heads.Status != "" {
		fmt.Fprintf(a.stdout, "adopted %.8s with %s\n", heads.Status, reconciler.Plural(len(record.Units), "request"))
	}
	if revision != "" {
		fmt.Fprintf(a.stdout, "what comes after %.8s is judged by what that says\n", revision)
	}
	return nil
}

func (a *app) logCommand() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "log [NAME]",
		Short: "Show what happened, or the history of one request",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withHistory(cmd.Context(), func(h history, tip string) error { return a.log(cmd.Context(), h, tip, most, args) })
		},
	}
	cmd.Flags().IntVarP(&most, "max", "n", 50, "the number of commits")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) log(ctx context.Context, h history, tip string, most int, args []string) error {
	keep := func(string) bool { return true }
	line := ""
	if len(args) == 1 {
		line = "Unit: " + args[0] + " "
		keep = func(message string) bool { return strings.Contains("\n"+message, "\n"+line) }
	}
	entries, err := h.Log(ctx, tip, most, keep)
	if err != nil {
		return err
	}
	if len(entries) == 0 && len(args) == 1 {
		return errors.New("nothing was recorded of " + args[0])
	}
	if a.output == "json" {
		return printJSON(a.stdout, entries)
	}
	for _, e := range entries {
		text := e.Subject
		for _, l := range strings.Split(e.Message, "\n") {
			if rest, found := strings.CutPrefix(l, line); found && line != "" {
				text = rest
			}
		}
		fmt.Fprintf(a.stdout, "%.8s  %s  %s\n", e.Commit, e.Time.UTC().Format("2006-01-02 15:04:05"), printable(text))
	}
	return nil
}

func keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}
