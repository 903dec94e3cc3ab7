package terraform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/confine"
)

// Host is what this machine offers to runs. Every path is absolute; folders
// are made with mode 0700 where they are missing.
type Host struct {
	// Cache holds what can be made again: engine versions and work templates.
	// It may be deleted at any time.
	Cache string `json:"cache"`
	// State holds the states of units with the local backend, as
	// State/<unit>/terraform.tfstate. Losing it loses what runs.
	State string `json:"state"`
	// Runs holds a folder for each run, until it is forgotten.
	Runs string `json:"runs"`
	// CLIConfig is the engine's CLI configuration; empty means a generated one
	// that only switches off the check for new versions.
	CLIConfig string `json:"cliConfig"`
	// EnginePath lists the folders in which the engine is looked up, separated
	// as in PATH; empty means PATH itself.
	EnginePath string `json:"enginePath,omitempty"`
	// Credentials is a folder of <environment>.env files with lines KEY=VALUE,
	// readable by their owner alone, or of programs <environment> that print
	// such lines; empty means that runs get none. Runs that only look use
	// <environment>.plan.env or <environment>.plan where there is one.
	Credentials string `json:"credentials,omitempty"`
	// Self is the program that carries out a run, started as `Self __run DIR`;
	// empty means the running one, also when its file was replaced meanwhile.
	Self string `json:"self,omitempty"`
	// Confine is how engines are confined: ByLandlock, ByUsers or Unconfined;
	// empty means the best that the machine offers.
	Confine string `json:"confine"`
	// AllowRead and AllowWrite list folders, separated as in PATH, that every
	// engine may read, or read and change, beside its unit's own. Those to
	// change are made where they are missing.
	AllowRead  string `json:"allowRead,omitempty"`
	AllowWrite string `json:"allowWrite,omitempty"`
	// Grace is how long an engine that was interrupted may take to end before
	// it is killed; zero means five minutes.
	Grace time.Duration `json:"grace"`
}

const defaultGrace = 5 * time.Minute

// defaultCLIConfig is the content of the generated CLI configuration.
const defaultCLIConfig = "disable_checkpoint = true\n"

// Runner carries out runs on this host. It implements [reconciler.Runner].
type Runner struct {
	host        Host
	confinement Confinement
	// generated tells that the CLI configuration is made here.
	generated bool
}

var _ reconciler.Runner = (*Runner)(nil)

// NewRunner prepares the folders of the host and returns its runner. It starts
// nothing.
func NewRunner(host Host) (*Runner, error) {
	if host.Grace == 0 {
		host.Grace = defaultGrace
	}
	if host.Self == "" {
		host.Self = confine.Path
	}
	generated := host.CLIConfig == ""
	if generated {
		host.CLIConfig = filepath.Join(host.Cache, "cli.tfrc")
	}
	if err := host.validate(); err != nil {
		return nil, err
	}
	confinement, err := host.confinement()
	if err != nil {
		return nil, err
	}
	host.Confine = confinement.Way
	for _, dir := range []string{host.State, host.Runs} {
		if err := host.makeDir(dir); err != nil {
			return nil, fmt.Errorf("prepare host: %w", err)
		}
	}
	for _, dir := range filepath.SplitList(host.AllowWrite) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("prepare host: %w", err)
		}
	}
	r := &Runner{host: host, confinement: confinement, generated: generated}
	if err := r.prepareCache(); err != nil {
		return nil, err
	}
	return r, host.checkStore()
}

// prepareCache makes the cache, which may be deleted at any time, and in it the
// CLI configuration where that is a generated one.
func (r *Runner) prepareCache() error {
	if err := r.host.makeDir(r.host.Cache); err != nil {
		return fmt.Errorf("prepare host: %w", err)
	}
	switch {
	case exists(r.host.CLIConfig):
		return nil
	case !r.generated:
		return fmt.Errorf("read CLI configuration: %s does not exist", r.host.CLIConfig)
	}
	err := writeFile(r.host.CLIConfig, []byte(defaultCLIConfig))
	if err == nil && r.host.Confine == ByUsers {
		err = os.Chmod(r.host.CLIConfig, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write CLI configuration: %w", err)
	}
	return nil
}

// makeDir makes a folder on the way to what engines read and write. Where they
// have users of their own these must pass through it.
func (h Host) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil || h.Confine != ByUsers {
		return err
	}
	return os.Chmod(dir, 0o711)
}

// validate names the field that cannot be used.
func (h Host) validate() error {
	paths := []struct{ field, path string }{
		{"cache", h.Cache}, {"state", h.State}, {"runs", h.Runs}, {"self", h.Self}, {"CLI configuration", h.CLIConfig},
	}
	if h.Credentials != "" {
		paths = append(paths, struct{ field, path string }{"credentials", h.Credentials})
	}
	for _, list := range []struct{ field, paths string }{
		{"engine path", h.EnginePath}, {"paths to read", h.AllowRead}, {"paths to write", h.AllowWrite},
	} {
		for _, path := range filepath.SplitList(list.paths) {
			paths = append(paths, struct{ field, path string }{list.field, path})
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(p.path) {
			return fmt.Errorf("host %s: expected an absolute path, got %q", p.field, p.path)
		}
	}
	if h.Grace < 0 {
		return errors.New("host grace: expected a positive duration")
	}
	return nil
}

// Render returns what Pave adds to the blueprint for this unit.
func (r *Runner) Render(unit reconciler.Unit) (reconciler.Rendering, error) {
	return Render(unit, "pave")
}

// How long a text may be is told beside the pattern: a repetition that is counted
// costs every run.
var idPattern = reconciler.Pattern(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkJob refuses a job whose names could lead out of the host's folders or
// into an argument vector.
func checkJob(job reconciler.Job) error {
	if len(job.ID) > 100 || !idPattern().MatchString(job.ID) || job.ID == unitLock {
		return fmt.Errorf("job id: expected letters, digits, dots, dashes and underscores, got %q", job.ID)
	}
	names := []string{job.Unit, job.Environment}
	for request, up := range job.Upstream {
		names = append(names, request)
		if up.Environment != "" {
			names = append(names, up.Environment)
		}
	}
	for _, name := range names {
		if !reconciler.IsName(name) {
			return fmt.Errorf("job %s: expected a name of lower-case letters, digits and dashes, got %q", job.ID, name)
		}
	}
	if !knownEngine(job.Engine.Name) || !filepath.IsAbs(job.Engine.Path) {
		return fmt.Errorf("job %s: expected terraform or tofu by an absolute path, got %q", job.ID, job.Engine.Path)
	}
	return nil
}
