package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/spf13/cobra"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/git"
	"github.com/pave-dev/pave/schema"
)

// starter is the platform that `pave init` begins with. It converges with any
// engine and needs no provider.
//
//go:embed all:starter
var starter embed.FS

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Start a platform repository that converges as it stands",
		Long: `Start a platform repository in a folder. Files that exist already are never
overwritten. Where the folder is no Git repository yet it becomes one, with a
first commit.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.initialize(cmd.Context(), dir)
		},
	}
}

// nameUnfit is what a CUE module path does not take.
var nameUnfit = reconciler.Pattern(`[^a-z0-9-]+`)

func (a *app) initialize(_ context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	files, err := starterFiles(filepath.Base(dir))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s exists already: nothing was written; `pave upgrade` brings the schema up to date", filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for name, content := range files {
		target := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stdout, "started a platform repository in %s\n", dir)
	if _, inside := git.Root(dir); inside {
		fmt.Fprintln(a.stdout, "next: commit the files, then `pave apply`")
		return nil
	}
	if err := firstCommit(dir); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "made the first commit on main\nnext: pave apply --repo %s\n", dir)
	return nil
}

// starterFiles returns the files of a platform by their paths.
func starterFiles(name string) (map[string][]byte, error) {
	name = strings.Trim(nameUnfit().ReplaceAllString(strings.ToLower(name), "-"), "-")
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		name = "platform"
	}
	files := map[string][]byte{schema.Folder + "/schema.cue": schema.Source}
	err := fs.WalkDir(starter, "starter", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := starter.ReadFile(file)
		if err != nil {
			return err
		}
		rel, _ := strings.CutPrefix(file, "starter/")
		files[path.Clean(rel)] = []byte(strings.ReplaceAll(string(content), "example.org/starter", "example.org/"+name))
		return nil
	})
	return files, err
}

// firstCommit makes the folder a repository whose branch main holds its files.
func firstCommit(dir string) error {
	repo, err := gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{InitOptions: gogit.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName("main")}})
	if err != nil {
		return fmt.Errorf("make %s a repository: %w", dir, err)
	}
	work, err := repo.Worktree()
	if err != nil {
		return err
	}
	if err := work.AddWithOptions(&gogit.AddOptions{All: true}); err != nil {
		return fmt.Errorf("add the files: %w", err)
	}
	author := &object.Signature{Name: "Pave", Email: "pave@localhost", When: time.Now()}
	if name, email, err := git.User(dir); err == nil && name != "" && email != "" {
		author.Name, author.Email = name, email
	}
	if _, err := work.Commit("Start the platform", &gogit.CommitOptions{Author: author}); err != nil {
		return fmt.Errorf("make the first commit: %w", err)
	}
	return nil
}

func (a *app) upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Bring the schema in a checkout up to this version of Pave",
		Args:  atMost(0),
		RunE:  func(*cobra.Command, []string) error { return a.upgrade() },
	}
}

func (a *app) upgrade() error {
	dir, local := git.Local(a.repo)
	if !local {
		return usage(errors.New("--repo: upgrade works on a checkout: name a folder"))
	}
	if root, found := git.Root(dir); found {
		dir = root
	}
	if _, err := os.Stat(filepath.Join(dir, "platform.cue")); err != nil {
		return fmt.Errorf("there is no platform.cue in %s: run `pave init` to start a platform", dir)
	}
	folder := filepath.Join(dir, filepath.FromSlash(schema.Folder))
	target := filepath.Join(folder, "schema.cue")
	if entries, err := os.ReadDir(folder); err == nil && len(entries) == 1 {
		if content, err := os.ReadFile(target); err == nil && string(content) == string(schema.Source) {
			fmt.Fprintln(a.stdout, "the schema is up to date")
			return nil
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, schema.Source, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s/schema.cue: run `pave validate`, then commit it\n", schema.Folder)
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of Pave and of its schema",
		Args:  atMost(0),
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(a.stdout, "pave %s\nschema %.12s\n", version(), schema.Digest())
			return nil
		},
	}
}

// version is what the build says of itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
