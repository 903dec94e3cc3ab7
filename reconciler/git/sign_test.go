package git

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// key makes an SSH key as people do.
func key(t *testing.T, kind, passphrase string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "pave", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return path
}

func signer(t *testing.T, path string) *Signer {
	t.Helper()
	s, err := LoadSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignedCommits(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			bare, _ := bareRemote(t)
			path := key(t, kind, "")
			mine := signer(t, path)
			m := open(t, Options{URL: bare, Signer: mine, Email: "pave@acme.example"})
			tracked := fetch(t, m).Tracked
			signed := publish(t, m, "", nil, put("a", "1"))

			allowed := filepath.Join(t.TempDir(), "allowed")
			if err := os.WriteFile(allowed, []byte("pave@acme.example "+mine.Public()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out := run(t, bare, "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "-v", signed)
			if !bytes.Contains([]byte(out), []byte(`Good "git" signature for pave@acme.example`)) {
				t.Errorf("git says %s", out)
			}
			run(t, bare, "fsck", "--full", "--strict")

			authentic := func(m *Mirror, commit string) bool {
				t.Helper()
				fetch(t, m)
				ok, err := m.Authentic(background, commit)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			equal(t, "own commit", authentic(m, signed), true)
			equal(t, "unsigned commit", authentic(m, tracked), false)
			equal(t, "host without a key", authentic(open(t, Options{URL: bare}), signed), false)
			other := open(t, Options{URL: bare, Signer: signer(t, key(t, "ed25519", ""))})
			equal(t, "other key", authentic(other, signed), false)
		})
	}
}

func TestForgedCommits(t *testing.T) {
	bare, _ := bareRemote(t)
	mine := signer(t, key(t, "ed25519", ""))
	m := open(t, Options{URL: bare, Signer: mine})
	fetch(t, m)
	signed := publish(t, m, "", nil, put("a", "1"))
	cmd := exec.Command("git", "cat-file", "commit", signed)
	cmd.Dir = bare
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "as it is", mine.verify(raw), true)

	blank := run(t, bare, "rev-parse", "main^{tree}")
	sig := raw[bytes.Index(raw, []byte("gpgsig ")):bytes.Index(raw, []byte("\n\n"))]
	for name, forged := range map[string][]byte{
		"other tree":      bytes.Replace(raw, raw[5:45], []byte(blank), 1),
		"another header":  bytes.Replace(raw, []byte("\ngpgsig "), []byte("\nx-note yes\ngpgsig "), 1),
		"second tree":     bytes.Replace(raw, []byte("\nauthor "), []byte("\ntree "+blank+"\nauthor "), 1),
		"other message":   bytes.Replace(raw, []byte("record"), []byte("recorD"), 1),
		"two signatures":  bytes.Replace(raw, []byte("\n\n"), append(append([]byte("\n"), sig...), "\n\n"...), 1),
		"signature gone":  bytes.Replace(raw, sig, []byte("x-none yes"), 1),
		"signature empty": bytes.Replace(raw, sig, []byte("gpgsig "), 1),
		"trailing text":   append(bytes.Clone(raw), 'x'),
		"no body":         raw[:bytes.Index(raw, []byte("\n\n"))],
		"nothing":         nil,
	} {
		if bytes.Equal(forged, raw) {
			t.Fatalf("%s: nothing was forged", name)
		}
		if mine.verify(forged) {
			t.Errorf("%s: taken for authentic", name)
		}
	}
	cmd = exec.Command("git", "hash-object", "-t", "commit", "-w", "--stdin")
	cmd.Dir, cmd.Stdin = bare, bytes.NewReader(bytes.Replace(raw, []byte("record"), []byte("recorD"), 1))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	forged := string(bytes.TrimSpace(out))
	run(t, bare, "update-ref", "refs/heads/pave/status", forged)
	equal(t, "tip", fetch(t, m), reconciler.Heads{Tracked: run(t, bare, "rev-parse", "main"), Status: forged})
	ok, err := m.Authentic(background, forged)
	if ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestLoadSignerErrors(t *testing.T) {
	_, err := LoadSigner(filepath.Join(t.TempDir(), "none"))
	refused(t, err, "read signing key")
	_, err = LoadSigner(key(t, "ed25519", "passphrase"))
	refused(t, err, "it needs a passphrase; make one without: ssh-keygen")
	public := key(t, "ed25519", "") + ".pub"
	os.Chmod(public, 0o600)
	_, err = LoadSigner(public)
	refused(t, err, "expected a private key as ssh-keygen makes it")
	open := key(t, "ed25519", "")
	os.Chmod(open, 0o644)
	_, err = LoadSigner(open)
	refused(t, err, "chmod 600 "+open)
}
