package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

// demo is one run of the demo.
type demo struct {
	options
	start time.Time
	dir   string   // the temporary folder; everything below is in it
	repo  string   // the platform repository, or a checkout of the one on the forge
	where []string // the flags that tell Pave which repository it is
	who   string   // the handle of whoever commits

	pave      string // the program under show
	engine    string // terraform or tofu
	providers string // the CLI configuration that finds the providers
	gitea     string // with -forge

	daemon *exec.Cmd  // pave serve, once it was started
	ended  chan error // receives the daemon's end
	units  map[string]unit
	pulse  pulse

	hub    *hub.Hub      // with -forge, once it was started
	checks map[int]check // what Pave says of each pull request
	// The first and the last pull request of the story.
	own, foreign int
}

func open(o options) (*demo, error) {
	dir, err := os.MkdirTemp("", "pave-")
	if err != nil {
		return nil, err
	}
	// The blueprints write below a folder that is named by its real path.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	repo := filepath.Join(dir, "platform")
	return &demo{options: o, start: time.Now(), dir: dir, repo: repo, where: []string{"--repo", repo}, who: "ines-duarte",
		units: map[string]unit{}, checks: map[int]check{}}, nil
}

// say prints a line of the story.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("\n%6.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// note prints a line of what happens meanwhile.
func (d *demo) note(format string, args ...any) {
	fmt.Printf("%6.1fs    %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// prepare builds Pave and makes what it drives.
func (d *demo) prepare(ctx context.Context) error {
	d.say("Building Pave; the first time that takes a minute or two.")
	bin, err := filepath.Abs("bin/pave")
	if err != nil {
		return err
	}
	d.pave = bin
	build := d.goCommand(ctx, "build", "-trimpath", "-o", bin, "./cmd/pave")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build Pave: %w", err)
	}
	d.say("Finding Terraform or OpenTofu, and the four providers of the example.")
	if err := d.get(ctx, "engine", &d.engine); err != nil {
		return err
	}
	if err := d.get(ctx, "providers", &d.providers); err != nil || !d.forge {
		return err
	}
	d.say("Finding Gitea; the first time that takes some minutes.")
	return d.get(ctx, "gitea", &d.gitea)
}

// get makes a tool, if need be, and notes where it is.
func (d *demo) get(ctx context.Context, tool string, path *string) error {
	get := d.goCommand(ctx, "run", "./testdata/tools/get", tool)
	get.Stderr = os.Stderr
	out, err := get.Output()
	if err != nil {
		return fmt.Errorf("get %s: %w", tool, err)
	}
	*path = strings.TrimSpace(string(out))
	d.note("%s", *path)
	return nil
}

// goCommand prepares the go command, in a process group of its own that is
// interrupted as one. It leaves its temporary folders then, so they are in ours.
func (d *demo) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOTMPDIR="+d.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// folderLine is the one line of the example that names a folder of the host.
var folderLine = regexp.MustCompile(`(?m)^let folder = ".*"$`)

// platform makes the example a repository of its own.
func (d *demo) platform(ctx context.Context) error {
	d.say("Making examples/acme a Git repository of its own: %s", d.repo)
	if err := os.CopyFS(d.repo, os.DirFS("examples/acme")); err != nil {
		return err
	}
	line := fmt.Sprintf("let folder = %q", d.infrastructure())
	if err := d.edit("platform.cue", func(text string) (string, error) {
		if len(folderLine.FindAllString(text, -1)) != 1 {
			return "", errors.New("expected one line that starts with: let folder =")
		}
		return folderLine.ReplaceAllLiteralString(text, line), nil
	}); err != nil {
		return err
	}
	if err := d.git(ctx, "init", "--quiet", "--initial-branch", "main"); err != nil {
		return err
	}
	// By this the daemon knows who signs in to its portal.
	who := fmt.Sprintf("[user]\n\tname = %s\n\temail = %s\n", d.who, address(d.who))
	if err := os.WriteFile(filepath.Join(d.dir, ".gitconfig"), []byte(who), 0o600); err != nil {
		return err
	}
	return d.commit(ctx, "Bring Acme's platform under Pave")
}

// infrastructure is where the example's blueprints keep buckets and zone files.
func (d *demo) infrastructure() string { return filepath.Join(d.dir, "infrastructure") }

// edit changes a file of the platform repository.
func (d *demo) edit(file string, change func(string) (string, error)) error {
	path := filepath.Join(d.repo, file)
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after, err := change(string(before))
	if err != nil {
		return fmt.Errorf("edit %s: %w", file, err)
	}
	return os.WriteFile(path, []byte(after), 0o644)
}

// replace returns an edit of the one place where the text stands.
func replace(from, to string) func(string) (string, error) {
	return func(text string) (string, error) {
		if n := strings.Count(text, from); n != 1 {
			return "", fmt.Errorf("expected %q once, found it %d times", from, n)
		}
		return strings.Replace(text, from, to, 1), nil
	}
}

// commit commits every change of the work tree.
func (d *demo) commit(ctx context.Context, message string) error {
	if err := d.git(ctx, "add", "--all"); err != nil {
		return err
	}
	return d.git(ctx, "commit", "--quiet", "--message", message)
}

// branch puts what was changed on a branch and returns to main.
func (d *demo) branch(ctx context.Context, branch, message string) error {
	if err := d.git(ctx, "switch", "--quiet", "--create", branch); err != nil {
		return err
	}
	if err := d.show(ctx, "git", "diff", "--unified=0"); err != nil {
		return err
	}
	if err := d.commit(ctx, message); err != nil {
		return err
	}
	return d.git(ctx, "switch", "--quiet", "main")
}

// merge puts what was changed on main as people do, from a branch.
func (d *demo) merge(ctx context.Context, branch, message string) error {
	if err := d.branch(ctx, branch, message); err != nil {
		return err
	}
	if err := d.git(ctx, "merge", "--quiet", "--no-ff", "--message", "Merge branch '"+branch+"'", branch); err != nil {
		return err
	}
	d.say("Merged branch %s.", branch)
	return nil
}

// command prepares a program in the platform repository. Nothing of the
// person's own configuration reaches it, and it leaves nothing outside.
func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.repo
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + d.dir, "TMPDIR=" + d.dir,
		"LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"),
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_PAGER=cat",
		"GIT_AUTHOR_NAME=" + d.who, "GIT_AUTHOR_EMAIL=" + address(d.who),
		"GIT_COMMITTER_NAME=" + d.who, "GIT_COMMITTER_EMAIL=" + address(d.who),
	}
	return cmd
}

// address is the e-mail address of somebody.
func address(handle string) string { return handle + "@example.com" }

func (d *demo) git(ctx context.Context, args ...string) error {
	if out, err := d.command(ctx, "git", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// show runs a command for its output and prints the command as one would type it.
func (d *demo) show(ctx context.Context, name string, args ...string) error {
	fmt.Printf("\n    $ %s\n", typed(append([]string{filepath.Base(name)}, args...)))
	out, err := d.command(ctx, name, args...).CombinedOutput()
	for line := range strings.Lines(strings.TrimSpace(string(out)) + "\n") {
		fmt.Print("    ", line)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && name == d.pave {
		return ctx.Err() // the exit code is part of what pave says
	}
	return err
}

// typed quotes the arguments that a shell would split.
func typed(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; strings.ContainsAny(arg, " ^%") {
			quoted[i] = "'" + arg + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// close stops the daemon and what it started, then the forge, and removes the
// folder.
func (d *demo) close() error {
	var errs []error
	if d.daemon != nil {
		d.say("Stopping Pave.")
		d.stop()
	}
	if d.hub != nil {
		d.say("Stopping the forge.")
		errs = append(errs, d.hub.Close())
	}
	if d.keep {
		d.say("Left for you to look around: %s", d.dir)
		return errors.Join(errs...)
	}
	d.say("Removing %s.", d.dir)
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}
