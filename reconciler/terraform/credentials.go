package terraform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/confine"
)

// helperTimeout is how long a credentials helper may take.
const helperTimeout = time.Minute

var keyPattern = reconciler.Pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

// credentials returns the variables that the host binds to an environment; none
// where it binds nothing. A helper is asked once in a run.
func (e *execution) credentials(ctx context.Context, environment string) (map[string]string, error) {
	if env, asked := e.bound[environment]; asked {
		return env, nil
	}
	source, err := findCredentials(e.host, environment, e.job.Mode)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	env, err := source.held()
	if source.helper {
		ctx, cancel := e.timed(ctx)
		defer cancel()
		env, err = source.ask(ctx, environment, e.job)
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if e.bound == nil {
		e.bound = map[string]map[string]string{}
	}
	e.bound[environment] = env
	return env, nil
}

// credentialSource is where the credentials of an environment come from; an
// empty path means that there are none.
type credentialSource struct {
	path   string
	helper bool // a program that prints them, and not a file that holds them
}

// findCredentials returns the source that counts for a run. What changes
// nothing uses credentials that cannot, where there are some: those of plans.
func findCredentials(host Host, environment string, mode reconciler.Walk) (credentialSource, error) {
	if host.Credentials == "" || environment == "" {
		return credentialSource{}, nil
	}
	names := []string{environment}
	if mode != reconciler.Converge {
		names = []string{environment + ".plan", environment}
	}
	for _, name := range names {
		helper := filepath.Join(host.Credentials, name)
		file := helper + ".env"
		hasFile, hasHelper := present(file), present(helper)
		switch {
		case hasFile && hasHelper:
			return credentialSource{}, fmt.Errorf("there are both %s and %s: remove one of them", file, helper)
		case hasFile:
			return credentialSource{path: file}, nil
		case hasHelper:
			return credentialSource{path: helper, helper: true}, nil
		}
	}
	return credentialSource{}, nil
}

// present tells whether there is anything at a path, or may be: what cannot be
// looked at is an error of who reads it.
func present(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// held returns what stands in a file that nobody else may read. What a helper
// makes stands nowhere.
func (s credentialSource) held() (map[string]string, error) {
	if s.path == "" || s.helper {
		return nil, nil
	}
	info, err := os.Lstat(s.path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("expected %s to be a regular file with mode 0600, got %s: run chmod 600 on it", s.path, info.Mode())
	}
	data, err := readFile(s.path, maxCredentials)
	if err != nil {
		return nil, err
	}
	return parseCredentials(s.path, data)
}

// ask runs the helper and returns what it makes. Its errors never hold that:
// what goes wrong may be in the middle of a secret. The helper gets nothing of
// the host's environment and learns for whom it is asked.
func (s credentialSource) ask(ctx context.Context, environment string, job reconciler.Job) (map[string]string, error) {
	if err := s.checkHelper(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helperTimeout, fmt.Errorf("took longer than %s", helperTimeout))
	defer cancel()
	stdout := &limited{limit: maxCredentials}
	cmd := exec.CommandContext(ctx, s.path)
	cmd.Dir = filepath.Dir(s.path)
	cmd.Env = []string{
		"PATH=" + systemPath, "LANG=C.UTF-8",
		"PAVE_ENVIRONMENT=" + environment, "PAVE_REQUEST=" + job.Unit, "PAVE_MODE=" + string(job.Mode),
	}
	cmd.Stdout = stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what it started and left with its output
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the helper %s: %w: try `PAVE_ENVIRONMENT=%s PAVE_REQUEST=%s PAVE_MODE=%s %s` on the host", s.path, err, environment, job.Unit, job.Mode, s.path)
	case stdout.dropped:
		return nil, fmt.Errorf("the helper %s printed more than %d bytes: let it print lines KEY=VALUE and nothing else", s.path, maxCredentials)
	}
	return parseCredentials(s.path, stdout.Bytes())
}

// checkHelper refuses a program that others could have written.
func (s credentialSource) checkHelper() error {
	info, err := os.Lstat(s.path)
	if err != nil {
		return err
	}
	mode := info.Mode()
	if !mode.IsRegular() || mode.Perm()&0o022 != 0 || mode.Perm()&0o100 == 0 {
		return fmt.Errorf("expected the helper %s to be a program that only its owner may write, got %s: run chmod 700 on it", s.path, mode)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() && owner != 0 {
		return fmt.Errorf("expected the helper %s to be owned by root or the user %d that Pave runs as, got %d: run chown on it", s.path, os.Geteuid(), owner)
	}
	return nil
}

// parseCredentials reads lines KEY=VALUE. Values are literal: quotes and
// dollar signs mean themselves. Errors never show a line's content.
func parseCredentials(path string, data []byte) (map[string]string, error) {
	env := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxCredentials)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found || !keyPattern().MatchString(key) || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("%s:%d: expected KEY=VALUE", path, n)
		}
		if _, reserved := baseEnviron(Host{}, "", "")[key]; reserved || key == "TF_DATA_DIR" || key == confine.Variable ||
			len(tfexec.ProhibitedEnv(map[string]string{key: ""})) > 0 {
			return nil, fmt.Errorf("%s:%d: %s is set by Pave: remove the line", path, n, key)
		}
		env[key] = value
	}
	return env, lines.Err()
}
