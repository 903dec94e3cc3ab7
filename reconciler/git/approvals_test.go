package git

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pave-dev/pave/reconciler"
	"golang.org/x/crypto/ssh"
)

var digest = strings.Repeat("5a", 32)

func approvals(t *testing.T, m *Mirror, keys map[string][]string) string {
	t.Helper()
	found, err := m.Approvals(background, fetch(t, m).Approvals, keys)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, a := range found {
		said = append(said, a.Unit+" "+a.Plan[:4]+" "+a.By)
	}
	return strings.Join(said, ", ")
}

func TestApprove(t *testing.T) {
	remotes(t, func(t *testing.T, options Options, remote, work string) {
		ada, bob := signer(t, key(t, "ed25519", "")), signer(t, key(t, "ecdsa", ""))
		keys := map[string][]string{"ada": {ada.Public() + " ada@acme.example"}, "bob": {"", bob.Public()}}
		m := open(t, options)
		tracked := fetch(t, m).Tracked
		approve := func(unit, plan string, s *Signer) string {
			t.Helper()
			c, err := m.Approve(background, unit, plan, s)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := approve("checkout-db", digest, ada)
		second := approve("checkout-db", digest, bob)
		third := approve("ledger", digest, ada)
		equal(t, "tip", run(t, remote, "rev-parse", "pave/approvals"), third)
		equal(t, "line", run(t, remote, "rev-list", "pave/approvals"), third+"\n"+second+"\n"+first)
		equal(t, "content", run(t, remote, "ls-tree", "-r", third), "")
		equal(t, "commit", run(t, remote, "log", "-1", "--format=%an|%B", first), "Pave|Approve checkout-db\n\nApprove: checkout-db\nPlan: "+digest)
		run(t, remote, "fsck", "--full", "--strict")
		equal(t, "tracked", fetch(t, m).Tracked, tracked)
		want := "ledger 5a5a ada, checkout-db 5a5a bob, checkout-db 5a5a ada"
		equal(t, "approvals", approvals(t, m, keys), want)
		fresh := options
		fresh.Cache = ""
		equal(t, "approvals elsewhere", approvals(t, open(t, fresh), keys), want)
	})
}

func TestApproveRefuses(t *testing.T) {
	bare, _ := bareRemote(t)
	m := open(t, Options{URL: bare})
	ada := signer(t, key(t, "ed25519", ""))
	_, err := m.Approve(background, "db", digest, nil)
	refused(t, err, "approve db: ", "--signing-key")
	_, err = m.Approve(background, "DB\nApprove: x", digest, ada)
	refused(t, err, "is not the name of a unit")
	_, err = m.Approve(background, "db", digest[:12], ada)
	refused(t, err, "is not the digest of a plan")
	equal(t, "branch", fetch(t, m).Approvals, "")
}

func TestApprovalsCountOnlyWhatAKeySigned(t *testing.T) {
	bare, work := bareRemote(t)
	adas, eves := key(t, "ed25519", ""), key(t, "ed25519", "")
	ada, eve := signer(t, adas), signer(t, eves)
	tree := mktree(t, work, "")
	tip := ""
	// sign makes a commit as git does.
	sign := func(path, message string) {
		t.Helper()
		args := []string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + path, "commit-tree", "-m", message, tree}
		if path != "" {
			args = append(args, "-S")
		}
		if tip != "" {
			args = append(args, "-p", tip)
		}
		tip = run(t, work, args...)
	}
	good := "Approve good\n\nApprove: good\nPlan: " + digest
	sign(adas, good)
	sign("", strings.ReplaceAll(good, "good", "unsigned"))
	sign(eves, strings.ReplaceAll(good, "good", "eve"))
	sign(adas, "Approve: subject")
	sign(adas, "Approve: one-paragraph\nPlan: "+digest)
	sign(adas, "x\n\nApprove: body\nPlan: "+digest+"\n\nlast paragraph")
	sign(adas, "x\n\nApprove: one\nApprove: two\nPlan: "+digest)
	sign(adas, "x\n\nApprove: short\nPlan: "+digest[:12])
	sign(adas, "x\n\nApprove: upper\nPlan: "+strings.ToUpper(digest))
	sign(adas, "x\n\nApprove: ../up\nPlan: "+digest)
	sign(adas, "x\n\nApprove: no-plan")
	sign(adas, "x\n\nReason: tested\nApprove: also-good\nPlan: "+digest)
	raw, err := exec.Command("git", "-C", work, "cat-file", "commit", tip).Output()
	if err != nil {
		t.Fatal(err)
	}
	forge := exec.Command("git", "-C", work, "hash-object", "-t", "commit", "-w", "--stdin")
	forge.Stdin = bytes.NewReader(bytes.Replace(raw, []byte("also-good"), []byte("forged"), 1))
	out, err := forge.Output()
	if err != nil {
		t.Fatal(err)
	}
	run(t, work, "push", "-q", "origin", tip+":refs/heads/beside")
	run(t, work, "push", "-q", "origin", strings.TrimSpace(string(out))+":refs/heads/forged")
	// What a merge brings along stands on nobody's line.
	main := run(t, work, "rev-parse", "main")
	merge := run(t, work, "commit-tree", "-m", "merge", "-p", main, "-p", tip, tree)
	m := open(t, Options{URL: bare})
	says := func(commit string, keys map[string][]string) string {
		t.Helper()
		run(t, work, "push", "-q", "--force", "origin", commit+":refs/heads/pave/approvals")
		return approvals(t, m, keys)
	}
	keys := map[string][]string{"ada": {ada.Public()}}
	equal(t, "one key", says(tip, keys), "also-good 5a5a ada, good 5a5a ada")
	equal(t, "two keys", says(tip, map[string][]string{"ada": {ada.Public()}, "eve": {eve.Public()}}), "also-good 5a5a ada, eve 5a5a eve, good 5a5a ada")
	equal(t, "forged", says(strings.TrimSpace(string(out)), keys), "good 5a5a ada")
	equal(t, "merged", says(merge, keys), "")

	for name, c := range map[string]struct {
		keys map[string][]string
		want string
	}{
		"none":               {nil, ""},
		"malformed besides":  {map[string][]string{"ada": {"ssh-ed25519 AAAA", "# " + ada.Public(), ada.Public(), "\x00"}, "bob": {"nonsense"}}, "also-good 5a5a ada, good 5a5a ada"},
		"with options":       {map[string][]string{"ada": {`expiry-time="20200101" ` + ada.Public()}}, ""},
		"as an authority":    {map[string][]string{"ada": {"cert-authority " + ada.Public()}}, ""},
		"on a second line":   {map[string][]string{"ada": {"nonsense\n" + ada.Public()}}, ""},
		"twice":              {map[string][]string{"ada": {ada.Public(), ada.Public() + " again"}}, "also-good 5a5a ada, good 5a5a ada"},
		"under another name": {map[string][]string{"ada": {ada.Public()}, "eve": {eve.Public(), ada.Public()}}, "eve 5a5a eve"},
	} {
		equal(t, name, says(tip, c.keys), c.want)
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte("nonsense\n" + ada.Public())); err != nil {
		t.Error("the second line is refused for another reason")
	}
}

func TestApprovalsAreBounded(t *testing.T) {
	bare, work := bareRemote(t)
	ada := signer(t, key(t, "ed25519", ""))
	m := open(t, Options{URL: bare})
	if _, err := m.Approve(background, "old", digest, ada); err != nil {
		t.Fatal(err)
	}
	var stream strings.Builder
	fmt.Fprintf(&stream, "reset refs/heads/pave/approvals\nfrom %s\n", run(t, bare, "rev-parse", "pave/approvals"))
	for range maxApprovals - 1 {
		stream.WriteString("commit refs/heads/pave/approvals\ncommitter Eve <eve@acme.example> 1767323045 +0000\ndata 1\nx\n")
	}
	flood := exec.Command("git", "-C", bare, "fast-import", "--quiet")
	flood.Stdin = strings.NewReader(stream.String())
	if out, err := flood.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keys := map[string][]string{"ada": {ada.Public()}}
	equal(t, "just in reach", approvals(t, m, keys), "old 5a5a ada")
	tree := mktree(t, work, "")
	run(t, work, "fetch", "-q", "origin", "pave/approvals")
	run(t, work, "push", "-q", "origin", run(t, work, "commit-tree", "-m", "x", "-p", "FETCH_HEAD", tree)+":refs/heads/pave/approvals")
	equal(t, "out of reach", approvals(t, m, keys), "")
}

func TestApproveRaces(t *testing.T) {
	bare, _ := bareRemote(t)
	const people, times = 4, 3
	keys := map[string][]string{}
	var wg sync.WaitGroup
	for i := range people {
		mine := signer(t, key(t, "ed25519", ""))
		keys[fmt.Sprint("person-", i)] = []string{mine.Public()}
		m := open(t, Options{URL: bare})
		wg.Go(func() {
			for n := range times {
				if _, err := m.Approve(background, fmt.Sprintf("unit-%d-%d", i, n), digest, mine); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m := open(t, Options{URL: bare})
	found, err := m.Approvals(background, fetch(t, m).Approvals, keys)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reconciler.SignedApproval]bool{}
	for _, a := range found {
		seen[a] = true
	}
	equal(t, "approvals", len(seen), people*times)
}
