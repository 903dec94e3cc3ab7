package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
)

func (a *app) approveCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "approve REQUEST",
		Short: "Let the plan that a request waits with be applied, where there is no forge",
		Long: `Let the plan that a request waits with be applied.

The approval is a commit on the branch pave/approvals, signed with an SSH key that
a team lists in its document (team: payments: keys: alice: "ssh-ed25519 …"). It is
for the very plan that the request waits with. Where Pave works with a forge,
approve the pull request there.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("expected one request: see `pave approve --help`"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.approve(cmd.Context(), args[0], key) },
	}
	cmd.Flags().StringVar(&key, "key", "", "the SSH private key that signs the approval")
	return cmd
}

func (a *app) approve(ctx context.Context, name, keyFile string) error {
	if keyFile == "" {
		return usage(errors.New("an approval is signed: --key FILE"))
	}
	signer, err := git.LoadSigner(keyFile)
	if err != nil {
		return err
	}
	mirror, heads, err := a.recorded(ctx)
	if err != nil {
		return err
	}
	defer mirror.Close()
	plan, message, err := waiting(ctx, mirror, heads.Status, name)
	if err != nil {
		return err
	}
	handle, err := a.holder(ctx, mirror, heads.Tracked, signer)
	if err != nil {
		return err
	}
	commit, err := mirror.Approve(ctx, name, plan, signer)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "approved the plan %.12s of %s as %s: %.8s\n", plan, name, handle, commit)
	fmt.Fprintf(a.stderr, "it waited because %s\n", printable(message))
	return nil
}

// waiting returns the plan that a request waits with, and why it does.
func waiting(ctx context.Context, h history, tip, name string) (plan, message string, err error) {
	record, err := readRecord(ctx, h, tip)
	if err != nil {
		return "", "", err
	}
	unit := record.Units[name]
	if unit == nil {
		var all []string
		for _, u := range record.Summary().Units {
			all = append(all, u.Request)
		}
		return "", "", reconciler.Missing("there is no request", name, all)
	}
	if c, found := unit.Conditions.Get(reconciler.Approved); found && !c.Status && unit.Plan != nil && unit.Plan.Digest != "" {
		return unit.Plan.Digest, c.Message, nil
	}
	return "", "", fmt.Errorf("%s waits for no approval: see `pave status %s`", name, name)
}

// holder returns whose key it is, as the teams of the tracked branch say.
func (a *app) holder(ctx context.Context, mirror *git.Mirror, tracked string, signer *git.Signer) (string, error) {
	tree, err := mirror.Tree(ctx, tracked)
	if err != nil {
		return "", err
	}
	platform, violations, err := a.parts().Evaluator.Evaluate(ctx, tree)
	if err != nil {
		return "", err
	}
	if platform == nil {
		printViolations(a.stderr, violations)
		return "", errors.New("the tracked branch is refused: mend it first")
	}
	any := false
	for _, team := range platform.Teams {
		for handle, key := range team.Keys {
			any = true
			if sameKey(key, signer.Public()) && slices.Contains(team.Members, handle) {
				return handle, nil
			}
		}
	}
	if !any {
		return "", errors.New("no team lists a key, so nobody's approval would count: add one to teams.cue: team: NAME: keys: HANDLE: \"ssh-ed25519 …\"")
	}
	return "", errors.New("no team lists this key for one of its members: add it to teams.cue: team: NAME: keys: HANDLE: \"" + signer.Public() + "\"")
}

// sameKey compares two public keys without their comments.
func sameKey(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) >= 2 && len(y) >= 2 && x[0] == y[0] && x[1] == y[1]
}
