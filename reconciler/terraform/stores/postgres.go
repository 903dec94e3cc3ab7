package stores

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgres is a server of its own on this machine.
type postgres struct {
	*testing.T
	dir, bin string
	port     string
	user     *syscall.Credential // whom it runs as, where that is another one
	cmd      *exec.Cmd
}

// newPostgres starts a PostgreSQL with nothing in it.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	must(t, err)
	if path, err := exec.LookPath("initdb"); err == nil && len(found) == 0 {
		path, err = filepath.EvalSymlinks(path) // to what lies beside it
		must(t, err)
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Fatal("there is no PostgreSQL on this machine: `apt-get install postgresql` brings it")
	}
	p := &postgres{T: t, bin: filepath.Dir(found[len(found)-1])}
	// The folder is of the user that the server runs as, which is never root.
	p.dir, err = os.MkdirTemp("", "pave-postgres-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(p.dir) })
	if os.Geteuid() == 0 {
		owner, err := user.Lookup("postgres")
		must(t, err)
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		p.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		must(t, os.Chown(p.dir, uid, gid))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, p.port, _ = net.SplitHostPort(listener.Addr().String())
	must(t, listener.Close())
	if out, err := p.command("initdb", "-D", p.data(), "-A", "trust", "-U", "postgres", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	return cmd
}

func (p *postgres) start() {
	p.Helper()
	p.cmd = p.command("postgres", "-D", p.data(), "-p", p.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	said, err := os.Create(filepath.Join(p.dir, "said"))
	must(p.T, err)
	defer said.Close()
	p.cmd.Stdout, p.cmd.Stderr = said, said
	must(p.T, p.cmd.Start())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := p.command("pg_isready", "-h", "127.0.0.1", "-p", p.port).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(said.Name())
			p.Fatalf("PostgreSQL does not answer: %v\n%s%s", err, out, text)
		}
	}
}

// stop ends the server at once; it recovers at the next start.
func (p *postgres) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *postgres) query(sql string) string {
	p.Helper()
	out, err := p.command("psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", p.port, "-U", "postgres", "-c", sql).CombinedOutput()
	if err != nil {
		p.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// store returns the server as a store.
func (p *postgres) store() Store {
	schema := func(unit string) string { return "pave_" + strings.ReplaceAll(unit, "-", "_") }
	return Store{
		Backend: "pg", Config: map[string]any{"conn_str": "postgres://postgres@127.0.0.1:" + p.port + "/postgres?sslmode=disable"},
		Stop: p.stop, Start: p.start,
		State: func(unit string) string { return p.query("SELECT data FROM " + schema(unit) + ".states") },
		Lose:  func(unit string) { p.query("DELETE FROM " + schema(unit) + ".states") },
		// The lock has the number of the row in it, so it names the unit among others.
		Locked: func(unit string) bool {
			return p.query("SELECT 1 FROM pg_locks JOIN "+schema(unit)+".states ON objid = id WHERE locktype = 'advisory'") != ""
		},
	}
}
