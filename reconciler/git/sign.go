package git

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Signer signs status commits with an SSH key, so that `git verify-commit`
// with gpg.format=ssh finds them good.
type Signer struct{ key ssh.Signer }

// signatureNamespace keeps a signature of a commit from being taken for one of
// something else; Git fixes it.
const signatureNamespace = "git"

// LoadSigner reads a private key in OpenSSH's format that needs no passphrase.
// A key that everyone on the machine may read is refused.
func LoadSigner(path string) (*Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("read signing key: everyone may read %s; type: chmod 600 %s", path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(data)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, fmt.Errorf("read signing key %s: it needs a passphrase; make one without: ssh-keygen -t ed25519 -N '' -f %s.pave", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read signing key %s: %w; expected a private key as ssh-keygen makes it", path, err)
	}
	return &Signer{key: key}, nil
}

// Public returns the public half as a line of authorized_keys, without a
// comment: what an allowedSignersFile holds after the e-mail address.
func (s *Signer) Public() string {
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
}

func (s *Signer) sign(payload []byte) (string, error) {
	sig, err := sshsig.Sign(bytes.NewReader(payload), s.key, sshsig.HashSHA512, signatureNamespace)
	if err != nil {
		return "", fmt.Errorf("sign commit: %w", err)
	}
	return string(sshsig.Armor(sig)), nil
}

// verify tells whether the raw commit carries a valid signature of this key.
func (s *Signer) verify(raw []byte) bool {
	return signedBy(raw, s.key.PublicKey())
}

// signedBy tells whether the raw commit carries a valid signature of one of
// the keys.
func signedBy(raw []byte, keys ...ssh.PublicKey) bool {
	payload, armor, ok := splitSignature(raw)
	if !ok {
		return false
	}
	sig, err := sshsig.Unarmor(armor)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(keys, func(key ssh.PublicKey) bool {
		return sshsig.Verify(bytes.NewReader(payload), sig, key, sig.HashAlgorithm, signatureNamespace) == nil
	})
}

// splitSignature takes the signature out of a raw commit. What is left is what
// was signed, byte for byte: a commit that is parsed and written again could
// differ from the one that everyone else reads. There must be exactly one
// signature.
func splitSignature(raw []byte) (payload, armor []byte, ok bool) {
	head, body, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return nil, nil, false
	}
	found, within := 0, false
	for line := range bytes.Lines(append(bytes.Clone(head), '\n')) {
		if first, is := bytes.CutPrefix(line, []byte("gpgsig ")); is {
			found, within = found+1, true
			armor = append(armor, first...)
			continue
		}
		if more, is := bytes.CutPrefix(line, []byte(" ")); is && within {
			armor = append(armor, more...)
			continue
		}
		within = false
		payload = append(payload, line...)
	}
	payload = append(append(payload, '\n'), body...)
	return payload, armor, found == 1
}
