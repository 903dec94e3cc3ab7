package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// toolsDir holds one folder for each tool.
const toolsDir = "testdata/tools"

// tool is a folder of toolsDir, with what its tool.json says.
type tool struct {
	name   string
	folder string
	// Takes is how long the first build lasts on two cores.
	Takes string `json:"takes"`
	// Program is the file of an npm package that is wanted, where it is not the
	// command of the tool's name.
	Program string `json:"program"`
	// Flags are more flags for `go build`.
	Flags []string `json:"flags"`
	// Versions gives providers the version that they are offered as.
	Versions map[string]string `json:"versions"`
	// Data names folders of modules that the program reads when it runs. They
	// are put beside it.
	Data map[string][]string `json:"data"`
}

func open(name string) (tool, error) {
	t := tool{name: name, folder: filepath.Join(toolsDir, name)}
	data, err := os.ReadFile(filepath.Join(t.folder, "tool.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(toolsDir); err != nil {
			return tool{}, fmt.Errorf("no folder %s here: run this at the root of the checkout", toolsDir)
		}
		return tool{}, fmt.Errorf("unknown tool: expected one of: %s", strings.Join(known(), ", "))
	}
	if err != nil {
		return tool{}, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return tool{}, fmt.Errorf("read tool.json: %w", err)
	}
	return t, nil
}

// known are the names that get understands.
func known() []string {
	names := []string{"engine", "chromium"}
	files, _ := filepath.Glob(filepath.Join(toolsDir, "*", "tool.json"))
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names
}

func (t tool) npm() bool {
	_, err := os.Stat(filepath.Join(t.folder, "package-lock.json"))
	return err == nil
}

// program is where build leaves the tool's main program.
func (t tool) program(dir string) string {
	switch {
	case t.Program != "":
		return filepath.Join(dir, filepath.FromSlash(t.Program))
	case t.npm():
		return filepath.Join(dir, "node_modules", ".bin", t.name)
	}
	return filepath.Join(dir, t.name)
}

// build returns the folder with everything that the tool's folder asks for.
func (t tool) build(ctx context.Context, c cache) (string, error) {
	key, err := t.key()
	if err != nil {
		return "", err
	}
	return c.folder(t.name, key, func(dir string) error {
		cmd, from := t.goBuild(ctx, dir), "the Go module proxy"
		if t.npm() {
			cmd, from = t.npmInstall(ctx, dir), "the npm registry"
		}
		err := say(fmt.Sprintf("building %s from %s, about %s the first time", t.name, from, t.Takes), cmd)
		if err == nil {
			err = t.copyData(ctx, dir)
		}
		return errors.Join(err, os.RemoveAll(npmCache(dir)))
	})
}

// copyData puts the folders that the program reads beside it.
func (t tool) copyData(ctx context.Context, dir string) error {
	for module, folders := range t.Data {
		cmd := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
		cmd.Dir, cmd.Env, cmd.Stderr = t.folder, append(os.Environ(), "GOWORK=off"), os.Stderr
		source, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("find the module %s: %w", module, err)
		}
		for _, folder := range folders {
			from := os.DirFS(filepath.Join(strings.TrimSpace(string(source)), folder))
			if err := os.CopyFS(filepath.Join(dir, folder), from); err != nil {
				return fmt.Errorf("copy %s of %s: %w", folder, module, err)
			}
		}
	}
	return nil
}

// key identifies whatever decides the result of a build.
func (t tool) key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := fs.WalkDir(os.DirFS(t.folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// goBuild says every flag that decides the result, so that those in GOFLAGS do
// not. What it leaves when it is killed goes with the folder.
func (t tool) goBuild(ctx context.Context, dir string) *exec.Cmd {
	args := []string{"build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-p=2", "-ldflags=-s -w"}
	args = append(args, t.Flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", dir+string(filepath.Separator), "tool")...)
	cmd.Dir = t.folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOTMPDIR="+dir)
	return cmd
}

// npmInstall installs a copy, because npm writes beside the lock file. Scripts
// of packages are not run.
func (t tool) npmInstall(ctx context.Context, dir string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--no-update-notifier", "--cache", npmCache(dir))
	cmd.Dir = dir
	cmd.Err = errors.Join(cmd.Err, os.CopyFS(dir, os.DirFS(t.folder)))
	return cmd
}

func npmCache(dir string) string { return filepath.Join(dir, ".npm") }

// say runs the command and tells how it goes: what it does, every quarter of a
// minute that it still does it, how long it took; its own output only if it fails.
func say(what string, cmd *exec.Cmd) error {
	fmt.Fprintf(os.Stderr, "%s…\n", what)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	elapsed := func() time.Duration { return time.Since(start).Round(time.Second) }
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(os.Stderr, "  still at it after %s\n", elapsed())
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", cmd.Args[0], err, output.String())
			}
			fmt.Fprintf(os.Stderr, "  done in %s\n", elapsed())
			return nil
		}
	}
}
