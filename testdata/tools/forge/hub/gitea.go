package hub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// branch is the repository's default branch.
const branch = "main"

const (
	startDeadline = 2 * time.Minute // machines that run tests are busy
	stopDeadline  = 15 * time.Second
)

// gitea is a running Gitea.
type gitea struct {
	program, config, dir string
	url                  string
	admin                User

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// configuration is Gitea's app.ini: everything below one folder, nothing that
// leaves the machine. Addresses in answers and on pages are the proxy's.
var configuration = template.Must(template.New("app.ini").Parse(`RUN_MODE = prod
WORK_PATH = {{.Dir}}/site
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true

[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {{.Port}}
LOCAL_ROOT_URL = http://127.0.0.1:{{.Port}}/
ROOT_URL = {{.Public}}/
PUBLIC_URL_DETECTION = never
STATIC_ROOT_PATH = {{.Data}}
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false

[database]
DB_TYPE = sqlite3
PATH = {{.Dir}}/site/gitea.db
SQLITE_JOURNAL_MODE = WAL

[security]
INSTALL_LOCK = true
SECRET_KEY = {{.Secret}}
INTERNAL_TOKEN = {{.Internal}}
PASSWORD_HASH_ALGO = pbkdf2

[oauth2]
JWT_SECRET = {{.JWT}}

[service]
DISABLE_REGISTRATION = true

[webhook]
ALLOWED_HOST_LIST = loopback
DELIVER_TIMEOUT = 5

[api]
; As GitHub's.
DEFAULT_PAGING_NUM = 30
MAX_RESPONSE_ITEMS = 100

[cron]
ENABLED = false

[cron.update_checker]
ENABLED = false

[actions]
ENABLED = false

[packages]
ENABLED = false

[repository]
DEFAULT_BRANCH = main
ROOT = {{.Dir}}/site/repos

[log]
MODE = console
LEVEL = Info
`))

func startGitea(ctx context.Context, o Options, public string) (*gitea, error) {
	g := &gitea{program: o.Gitea, dir: o.Dir, config: filepath.Join(o.Dir, "app.ini"), done: make(chan struct{})}
	if err := os.MkdirAll(filepath.Join(o.Dir, "home"), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(g.config); err == nil {
		return nil, fmt.Errorf("%s holds a forge already: name another folder", o.Dir)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	g.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := g.configure(port, public); err != nil {
		return nil, fmt.Errorf("write Gitea's configuration: %w", err)
	}
	if err := g.createAdmin(ctx); err != nil {
		return nil, err
	}
	if err := g.start(ctx); err != nil {
		return nil, fmt.Errorf("start Gitea: %w", err)
	}
	if err := g.await(ctx); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

// freePort may lose its port to somebody else before Gitea takes it; Gitea
// then ends and says so.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (g *gitea) configure(port int, public string) error {
	file, err := os.OpenFile(g.config, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = configuration.Execute(file, map[string]any{
		"Dir": g.dir, "Port": port, "Public": public, "Data": filepath.Dir(g.program),
		"Secret": random(), "Internal": random(), "JWT": random(),
	})
	return errors.Join(err, file.Close())
}

// random returns a secret of 43 characters, the form that Gitea wants of its own.
func random() string {
	var secret [32]byte
	rand.Read(secret[:])
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// command runs Gitea in an environment of its own, so that neither the user's
// Git configuration nor a proxy reaches it.
func (g *gitea) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.program, append([]string{"--config", g.config}, args...)...)
	cmd.Dir = g.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(g.dir, "home"), "LANG=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1"}
	if name := os.Getenv("USER"); name != "" {
		cmd.Env = append(cmd.Env, "USER="+name)
	}
	return cmd
}

// createAdmin makes the database and the account that makes everything else.
func (g *gitea) createAdmin(ctx context.Context) error {
	if out, err := g.command(ctx, "migrate").CombinedOutput(); err != nil {
		return fmt.Errorf("make Gitea's database: %w\n%s", err, out)
	}
	g.admin = User{ID: 1, Login: Bot, Email: email(Bot), Password: random()}
	out, err := g.command(ctx, "admin", "user", "create", "--admin", "--must-change-password=false",
		"--username", Bot, "--password", g.admin.Password, "--email", g.admin.Email,
		"--access-token", "--access-token-name", "forge", "--access-token-scopes", "all").CombinedOutput()
	words := strings.Fields(string(out))
	if err != nil || len(words) == 0 {
		return fmt.Errorf("make Gitea's first account: %w\n%s", err, out)
	}
	g.admin.Token = words[len(words)-1]
	return nil
}

func email(login string) string { return login + "@example.com" }

// start runs Gitea in a process group of its own: an interrupt at a terminal is
// for the program that stops it in order.
func (g *gitea) start(ctx context.Context) error {
	file, err := os.Create(g.logFile())
	if err != nil {
		return err
	}
	defer file.Close()
	g.cmd = g.command(ctx, "web")
	g.cmd.Stdout, g.cmd.Stderr = file, file
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.cmd.Cancel = func() error { return g.cmd.Process.Signal(syscall.SIGTERM) }
	g.cmd.WaitDelay = stopDeadline
	if err := g.cmd.Start(); err != nil {
		return err
	}
	go func() {
		g.cmd.Wait()
		close(g.done)
	}()
	return nil
}

func (g *gitea) logFile() string { return filepath.Join(g.dir, "gitea.log") }

// await returns when Gitea answers.
func (g *gitea) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/api/healthz", nil)
		if err != nil {
			return err
		}
		if response, err := direct.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.done:
			return fmt.Errorf("gitea ended: %s\n%s", g.cmd.ProcessState, g.logTail())
		case <-ctx.Done():
			return fmt.Errorf("gitea does not answer: %w\n%s", ctx.Err(), g.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// direct passes no proxy of the environment.
var direct = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}

func (g *gitea) logTail() string {
	text, _ := os.ReadFile(g.logFile())
	return string(text[max(0, len(text)-4096):])
}

// stop ends Gitea and waits for that.
func (g *gitea) stop() error {
	if g.cmd == nil || g.cmd.Process == nil {
		return nil
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
		return nil
	case <-time.After(stopDeadline):
	}
	err := g.cmd.Process.Kill()
	<-g.done
	return err
}
