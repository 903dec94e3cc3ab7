package git

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// serveSSH serves the repositories of this machine to whoever holds a key.
func serveSSH(t *testing.T, host, user ssh.Signer) net.Addr {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSession(conn, config)
		}
	}()
	return l.Addr()
}

var gitCommand = regexp.MustCompile(`^(git-(?:upload|receive)-pack) '([^']+)'$`)

func serveSession(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var command struct{ Line string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			status := struct{ Code uint32 }{128}
			if m := gitCommand.FindStringSubmatch(command.Line); m != nil {
				if runSession(exec.Command(m[1], m[2]), channel) == nil {
					status.Code = 0
				}
			}
			channel.SendRequest("exit-status", false, ssh.Marshal(&status))
			channel.Close()
		}
	}
}

// runSession ends when the command does, as sshd ends a session, not when the
// client has nothing more to say.
func runSession(cmd *exec.Cmd, channel ssh.Channel) error {
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		io.Copy(stdin, channel)
		stdin.Close()
	}()
	return cmd.Run()
}

// serveAgent serves a key as ssh-agent does, and returns its socket.
func serveAgent(t *testing.T, private ed25519.PrivateKey) string {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, conn)
		}
	}()
	return l.Addr().String()
}

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

func TestSSH(t *testing.T) {
	bare, work := bareRemote(t)
	private, user := newKey(t)
	_, host := newKey(t)
	address := serveSSH(t, host, user)
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, filepath.Dir(known), "known_hosts", knownhosts.Line([]string{address.String()}, host.PublicKey())+"\n")
	t.Setenv("SSH_KNOWN_HOSTS", known)
	t.Setenv("SSH_AUTH_SOCK", serveAgent(t, private))

	m := open(t, Options{URL: "ssh://git@" + address.String() + bare})
	tip := fetch(t, m).Tracked
	equal(t, "tip", tip, run(t, work, "rev-parse", "HEAD"))
	status := publish(t, m, "", nil, put("README.md", "hello"))
	equal(t, "published", run(t, bare, "rev-parse", "pave/status"), status)
	equal(t, "fetched", fetch(t, m).Status, status)

	_, err := open(t, Options{URL: "ssh://git@" + address.String() + "/gone.git"}).Fetch(background)
	refused(t, err, "no Git repository at ssh://git@")

	_, impostor := newKey(t)
	write(t, filepath.Dir(known), "known_hosts", knownhosts.Line([]string{address.String()}, impostor.PublicKey())+"\n")
	_, err = m.Fetch(background)
	refused(t, err, "key mismatch")

	t.Setenv("SSH_AUTH_SOCK", "")
	_, err = m.Fetch(background)
	refused(t, err, "ssh-add")
}
