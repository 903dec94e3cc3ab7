package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The names that a work directory adds to the blueprint's files.
const (
	generatedName = "pave.tf.json"
	variablesName = "terraform.tfvars.json"
	lockName      = ".terraform.lock.hcl"
	dataName      = ".terraform"
	stateName     = "state"
	backendName   = "terraform.tfstate" // in dataName: which backend was initialised
	erroredName   = "errored.tfstate"   // an engine's last resort for a state it cannot write
)

// code is a root module: what an engine is given but for the variables.
type code struct {
	files     map[string][]byte
	generated []byte
	lock      []byte // nil: the providers are chosen by init
}

// backend returns the type of the backend that the generated file names.
func (c code) backend() (string, error) {
	var file struct {
		Terraform struct {
			Backend map[string]json.RawMessage `json:"backend"`
		} `json:"terraform"`
	}
	if err := json.Unmarshal(c.generated, &file); err != nil {
		return "", fmt.Errorf("read %s: %w", generatedName, err)
	}
	if len(file.Terraform.Backend) != 1 {
		return "", fmt.Errorf("read %s: expected one backend, got %d", generatedName, len(file.Terraform.Backend))
	}
	for name := range file.Terraform.Backend {
		return name, nil
	}
	return "", nil
}

// local returns the code with the local backend in place of its own.
func (c code) local() (code, error) {
	var file map[string]json.RawMessage
	var settings map[string]json.RawMessage
	err := json.Unmarshal(c.generated, &file)
	if err == nil {
		err = json.Unmarshal(file["terraform"], &settings)
	}
	if err != nil {
		return code{}, fmt.Errorf("read %s: %w", generatedName, err)
	}
	settings["backend"] = json.RawMessage(`{"local":{"path":"` + stateName + `/terraform.tfstate"}}`)
	file["terraform"], err = json.Marshal(settings)
	if err != nil {
		return code{}, err
	}
	c.generated, err = json.Marshal(file)
	return c, err
}

// key names the template of this code: the hash of all that init reads.
func (e *execution) key(c code, cliConfig []byte) string {
	sum := sha256.New()
	part := func(data []byte) {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(data)))
		sum.Write(data)
	}
	part([]byte(e.job.Engine.Path))
	part([]byte(e.job.Engine.Version))
	part(cliConfig)
	part(canonical(c.generated))
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		part([]byte(name))
		part(c.files[name])
	}
	if c.lock != nil {
		part([]byte(lockName))
		part(c.lock)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// canonical writes JSON in one way, so that two spellings have one template.
func canonical(raw []byte) []byte {
	value, err := decode(raw)
	if err != nil {
		return raw
	}
	text, err := json.Marshal(value)
	if err != nil {
		return raw
	}
	return text
}

// template returns a folder of the cache in which the code was initialised,
// making it where it is missing. The backend's path is the same relative one
// for every unit with the local backend, so one template serves them all; with
// another backend there is one for each unit, which shares providers and
// modules with the local one.
func (e *execution) template(ctx context.Context, c code, env map[string]string) (string, error) {
	cliConfig, err := readFile(e.host.CLIConfig, 1<<20)
	if err != nil {
		return "", fmt.Errorf("read CLI configuration: %w", err)
	}
	root := filepath.Join(e.host.Cache, "templates")
	if err := e.host.makeDir(root); err != nil {
		return "", err
	}
	dir := filepath.Join(root, e.key(c, cliConfig))
	if exists(dir) {
		return dir, nil
	}
	lock, err := awaitLock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock(lock)
	if exists(dir) { // another run made it meanwhile
		return dir, nil
	}
	if err := e.makeTemplate(ctx, c, env, root, dir); err != nil || c.lock != nil {
		return dir, err
	}
	// The chosen providers make the same template as the given ones.
	c.lock, err = os.ReadFile(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) { // the code needs no provider
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	err = os.Symlink(filepath.Base(dir), filepath.Join(root, e.key(c, cliConfig)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}

// makeTemplate initialises the code in a new folder and gives it the name dir.
func (e *execution) makeTemplate(ctx context.Context, c code, env map[string]string, root, dir string) error {
	backend, err := c.backend()
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(root, ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	args := []string{"init", "-no-color", "-input=false"}
	if backend != "local" {
		local, err := c.local()
		if err != nil {
			return err
		}
		base, err := e.template(ctx, local, env)
		if err != nil {
			return err
		}
		if c.lock, err = readLock(base); err != nil {
			return err
		}
		if err := linkData(base, fresh, false); err != nil {
			return err
		}
		args = append(args, "-get=false") // the modules are the base's, in use by others
	}
	if c.lock != nil {
		args = append(args, "-lockfile=readonly") // a lock that does not fit is an error, not a suggestion
	}
	if err := c.write(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(fresh, stateName), 0o700); err != nil {
		return err
	}
	if err := e.own(fresh); err != nil {
		return err
	}
	if backend == "pg" { // the first two at once would both make what all states of a database share, and one fail
		alone, err := awaitLock(ctx, filepath.Join(root, ".pg.lock"))
		if err != nil {
			return err
		}
		defer unlock(alone)
	}
	if err := e.runInit(ctx, fresh, env, args); err != nil {
		return err
	}
	if err := e.disown(fresh); err != nil {
		return err
	}
	_ = os.Remove(dir) // a link to a template that was deleted, which would refuse the rename
	return os.Rename(fresh, dir)
}

func (e *execution) runInit(ctx context.Context, dir string, env map[string]string, args []string) error {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	stderr := &limited{limit: maxStderr}
	_, caches := e.host.providerStore()
	path, env := e.confined(env, templateReads(dir), append(caches, dir))
	err := command{
		path: path, dir: dir, env: env,
		stdout: io.Discard, stderr: stderr, grace: e.host.Grace,
	}.run(ctx, args...)
	if err != nil {
		return e.explain(ctx, "init", err, stderr.String(), textErrors(stderr.String()))
	}
	return nil
}

// readLock returns the provider lock of a folder; nil where it has none.
func readLock(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// write puts the code into a folder, and nothing outside it.
func (c code) write(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		if reservedFile(name) {
			return fmt.Errorf("write module: the name %s is reserved: rename the file", name)
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
		if err := root.WriteFile(name, c.files[name], 0o600); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
	}
	if c.lock != nil {
		if err := root.WriteFile(lockName, c.lock, 0o600); err != nil {
			return err
		}
	}
	return root.WriteFile(generatedName, c.generated, 0o600)
}

// reservedFile tells whether a file of a module would stand in for one of Pave's
// or for an engine's own.
func reservedFile(name string) bool {
	first, rest, _ := strings.Cut(path.Clean(name), "/")
	switch first {
	case generatedName, lockName, dataName, stateName, backendName, erroredName:
		return true
	}
	return rest == "" && (strings.HasSuffix(first, ".tfvars") || strings.HasSuffix(first, ".tfvars.json"))
}

// linkData gives a folder the initialised providers and modules of a template
// and, where asked, its own record of the backend. The record is a copy because
// engines write to it.
func linkData(template, dir string, backend bool) error {
	from, to := filepath.Join(template, dataName), filepath.Join(dir, dataName)
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("read template: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case name != backendName:
			err = os.Symlink(filepath.Join(from, name), filepath.Join(to, name))
		case backend:
			err = copyFile(filepath.Join(from, name), filepath.Join(to, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// workDir makes a folder in which an engine runs the code, initialised as the
// template is.
func (c code) workDir(template, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := c.write(dir); err != nil {
		return err
	}
	return linkData(template, dir, true)
}
