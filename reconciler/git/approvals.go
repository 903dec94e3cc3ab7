package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/pave-dev/pave/reconciler"
	"golang.org/x/crypto/ssh"
)

const (
	// maxApprovals is how many commits of the approvals branch are read.
	maxApprovals = 1000
	// maxPushes is how often a push is tried while others push as well.
	maxPushes = 20
)

var planDigest = reconciler.Pattern(`^[0-9a-f]{40,64}$`)

// Approvals returns what the latest commits of the approvals branch say, the
// newest first, of those that are signed by one of the keys; see
// [reconciler.Source]. A key that cannot be read, that carries options, or that
// stands under two names is nobody's.
func (o *objects) Approvals(ctx context.Context, tip string, keys map[string][]string) ([]reconciler.SignedApproval, error) {
	at, err := parseHash(tip)
	if err != nil {
		return nil, err
	}
	owners := ownKeys(keys)
	if len(owners) == 0 {
		return nil, nil
	}
	var approvals []reconciler.SignedApproval
	err = o.do(ctx, func(s store) error {
		approvals = nil
		commits, _, err := line(ctx, s, at, plumbing.ZeroHash, maxApprovals)
		if err != nil {
			return err
		}
		for _, commit := range commits {
			raw, err := rawCommit(s, plumbing.NewHash(commit))
			if err != nil {
				return err
			}
			if a, ok := approval(raw, owners); ok {
				approvals = append(approvals, a)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	return approvals, nil
}

// owner is a person with their keys.
type owner struct {
	name string
	keys []ssh.PublicKey
}

// ownKeys reads the keys, by the names of whom they belong to.
func ownKeys(keys map[string][]string) []owner {
	var owners []owner
	holders := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		o := owner{name: name}
		for _, line := range keys[name] {
			key := parseKey(line)
			if key == nil || slices.ContainsFunc(o.keys, func(k ssh.PublicKey) bool { return same(k, key) }) {
				continue
			}
			o.keys = append(o.keys, key)
			holders[string(key.Marshal())]++
		}
		owners = append(owners, o)
	}
	for i := range owners {
		owners[i].keys = slices.DeleteFunc(owners[i].keys, func(k ssh.PublicKey) bool { return holders[string(k.Marshal())] > 1 })
	}
	return slices.DeleteFunc(owners, func(o owner) bool { return len(o.keys) == 0 })
}

func same(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

// parseKey reads one line of authorized_keys; nil where it is anything but one
// plain key. Options such as expiry-time limit a key, and a certificate speaks
// for another: neither is ignored.
func parseKey(line string) ssh.PublicKey {
	line = strings.TrimSpace(line)
	if strings.ContainsAny(line, "\r\n") {
		return nil
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 {
		return nil
	}
	if _, is := key.(*ssh.Certificate); is {
		return nil
	}
	return key
}

// approval reads a commit of the approvals branch. ok is false where it
// approves nothing or nobody signed it.
func approval(raw []byte, owners []owner) (a reconciler.SignedApproval, ok bool) {
	_, message, _ := strings.Cut(string(raw), "\n\n")
	unit, plan := trailer(message, "Approve"), trailer(message, "Plan")
	if !reconciler.IsName(unit) || !planDigest().MatchString(plan) {
		return a, false
	}
	for _, o := range owners {
		if signedBy(raw, o.keys...) {
			return reconciler.SignedApproval{Unit: unit, Plan: plan, By: o.name}, true
		}
	}
	return a, false
}

// trailer returns what the last paragraph of a message says of the key; empty
// where it says nothing, or twice.
func trailer(message, key string) string {
	message = strings.TrimRight(message, "\n")
	last := strings.LastIndex(message, "\n\n")
	if last < 0 { // a subject alone
		return ""
	}
	found, times := "", 0
	for line := range strings.Lines(message[last:]) {
		if value, is := strings.CutPrefix(strings.TrimRight(line, "\n"), key+": "); is {
			found, times = value, times+1
		}
	}
	if times != 1 {
		return ""
	}
	return found
}

// Approve says on the approvals branch that the plan of the unit may be
// applied, in one commit that the signer signs, and returns it.
func (m *Mirror) Approve(ctx context.Context, unit, plan string, signer *Signer) (commit string, err error) {
	switch {
	case signer == nil:
		return "", refuse("approve %s: nobody would know whose word it is; sign it with your key: --signing-key FILE", unit)
	case !reconciler.IsName(unit):
		return "", refuse("approve: %q is not the name of a unit", unit)
	case !planDigest().MatchString(plan):
		return "", refuse("approve %s: %q is not the digest of a plan; copy it whole from: pave status %s", unit, plan, unit)
	}
	for range maxPushes {
		commit, err = m.approve(ctx, unit, plan, signer)
		if err == nil {
			return commit, nil
		}
		if !errors.Is(err, errMoved) {
			break
		}
	}
	return "", fmt.Errorf("approve %s: %w", unit, err)
}

// approve tries once.
func (m *Mirror) approve(ctx context.Context, unit, plan string, signer *Signer) (string, error) {
	heads, err := m.Fetch(ctx)
	if err != nil {
		return "", err
	}
	d := &draft{made: memory.NewStorage(), old: plumbing.NewHash(heads.Approvals)}
	if !d.old.IsZero() {
		d.parents = []plumbing.Hash{d.old}
	}
	pack, err := m.word(d, fmt.Sprintf("Approve %s\n\nApprove: %s\nPlan: %s\n", unit, unit, plan), signer)
	if err != nil {
		return "", err
	}
	if err := m.push(ctx, plumbing.NewBranchReferenceName(m.options.Approvals), d.old, d.commit, pack); err != nil {
		return "", err
	}
	m.adopt(ctx, d, pack, m.options.Approvals)
	m.tips.Lock()
	defer m.tips.Unlock()
	m.tips.heads.Approvals = d.commit.String()
	return d.commit.String(), nil
}
