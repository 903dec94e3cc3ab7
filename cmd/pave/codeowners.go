package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
)

func (a *app) codeownersCommand() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use:   "codeowners",
		Short: "Write the CODEOWNERS file that the catalog asks for",
		Long: `Write a CODEOWNERS file to standard output. Each file that declares services or
requests belongs to the teams that own them: their groups on the forge, or else
their members. Everything else belongs to the platform team.

With --write it goes to the checkout: where a CODEOWNERS file is, or else to
.github/CODEOWNERS. One that Pave did not write is not touched.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.codeowners(cmd.Context(), write) },
	}
	cmd.Flags().BoolVar(&write, "write", false, "write the file in the checkout")
	return cmd
}

func (a *app) codeowners(ctx context.Context, write bool) error {
	dir, local := git.Local(a.repo)
	if write && (!local || a.branch != "") {
		return usage(errors.New("--write: works on a checkout: name a folder by --repo, and no --branch"))
	}
	platform, err := a.platform(ctx)
	if err != nil {
		return err
	}
	for _, team := range reconciler.Ownerless(platform) {
		fmt.Fprintf(a.stderr, "warning: the team %s has neither members nor a group on the forge, so nobody is named for what it owns\n", team)
	}
	text := reconciler.Codeowners(platform)
	if !write {
		fmt.Fprint(a.stdout, text)
		return nil
	}
	if root, found := git.Root(dir); found {
		dir = root
	}
	return a.writeCodeowners(dir, text)
}

// platform evaluates what a command that reads looks at. It is an error where a
// document is missing from it.
func (a *app) platform(ctx context.Context) (*reconciler.Platform, error) {
	tree, err := a.tree(ctx)
	if err != nil {
		return nil, err
	}
	platform, violations, err := a.parts().Evaluator.Evaluate(ctx, tree)
	if err != nil {
		return nil, err
	}
	if platform == nil || reconciler.Denied(violations) {
		printViolations(a.stderr, violations)
		return nil, errors.New("the platform has errors: run `pave validate`")
	}
	return platform, nil
}

// writeCodeowners brings the checkout's file to the text.
func (a *app) writeCodeowners(dir, text string) error {
	place := reconciler.CodeownersPlaces[0]
	for _, candidate := range reconciler.CodeownersPlaces {
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(candidate)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file: remove it", candidate)
		}
		place = candidate
		break
	}
	target := filepath.Join(dir, filepath.FromSlash(place))
	switch content, err := os.ReadFile(target); {
	case err == nil && string(content) == text:
		fmt.Fprintf(a.stdout, "%s is up to date\n", place)
		return nil
	case err == nil && !reconciler.GeneratedCodeowners(content):
		return fmt.Errorf("%s was not written by Pave: remove it, then type this again", place)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s: commit it\n", place)
	return nil
}
