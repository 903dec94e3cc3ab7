package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// identity tells one program from another without starting it.
type identity struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Version  string    `json:"version"`
}

// versionTimeout bounds `version`, which does no work.
const versionTimeout = 30 * time.Second

func knownEngine(name string) bool { return name == "terraform" || name == "tofu" }

// Engine returns the engine that the settings name, found on this host. The
// program is asked for its version once and not again until it changes, by
// whichever process of Pave.
func (r *Runner) Engine(ctx context.Context, name string) (reconciler.Engine, error) {
	if !knownEngine(name) {
		return reconciler.Engine{}, fmt.Errorf("engine: expected one of: terraform, tofu; got %q", name)
	}
	path, err := r.lookUp(name)
	if err != nil {
		return reconciler.Engine{}, err
	}
	version, err := r.version(ctx, path)
	if err != nil {
		return reconciler.Engine{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return reconciler.Engine{Name: name, Path: path, Version: version}, nil
}

// lookUp finds the program on the host's engine path, or on PATH.
func (r *Runner) lookUp(name string) (string, error) {
	if r.host.EnginePath == "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s is not on the PATH: install it, or name its folder with --engine-path", name)
		}
		return filepath.Abs(path)
	}
	for _, dir := range filepath.SplitList(r.host.EnginePath) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s: install it there, or change --engine-path", name, r.host.EnginePath)
}

// version reads the version from the cache, or asks the program. A cache that
// cannot be read costs one more process and is replaced.
func (r *Runner) version(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(r.host.Cache, "engines.json")
	known := map[string]identity{}
	if readJSON(cache, 1<<20, &known) != nil || known == nil {
		known = map[string]identity{}
	}
	if k := known[path]; k.Version != "" && k.Size == info.Size() && k.Modified.Equal(info.ModTime()) {
		return k.Version, nil
	}
	version, err := r.askVersion(ctx, path)
	if err != nil {
		return "", err
	}
	known[path] = identity{Size: info.Size(), Modified: info.ModTime(), Version: version}
	return version, writeJSON(cache, known)
}

func (r *Runner) askVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	if err := r.prepareCache(); err != nil {
		return "", err
	}
	home, err := os.MkdirTemp(r.host.Cache, ".home-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home)
	stdout, stderr := &limited{limit: maxStderr}, &limited{limit: maxStderr}
	user := userOf("")
	if r.host.Confine == ByUsers {
		if err := give(home, user, nil); err != nil {
			return "", err
		}
	}
	path, env := r.host.confined(path, user, baseEnviron(r.host, home, home), r.host.stored(), nil)
	err = command{
		path: path, dir: home, env: env,
		stdout: stdout, stderr: stderr, grace: time.Second,
	}.run(ctx, "version", "-json")
	if err != nil {
		return "", errors.Join(err, errors.New(printable(stderr.String())))
	}
	var answer struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil || answer.Version == "" {
		return "", fmt.Errorf("expected JSON with terraform_version, got %q", printable(stdout.String()))
	}
	return answer.Version, nil
}
