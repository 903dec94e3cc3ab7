package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// host is a machine with a platform repository, an engine and Pave's folders,
// all of them below one temporary folder.
type host struct {
	*testing.T
	dir    string
	repo   string
	starts string   // a file with a line for each start of the engine
	flags  []string // what the commands that run the engine are given
	said   bytes.Buffer
}

// newHost makes a host whose Pave runs the named engine. Its repository is what
// layOut puts in the folder.
func newHost(t *testing.T, engine string, layOut func(repo string)) *host {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	h := &host{T: t, dir: dir, repo: filepath.Join(dir, "platform")}
	bin := filepath.Join(dir, "engines")
	must(t, os.Mkdir(bin, 0o700))
	h.starts, err = layOutEngines(bin, findEngines(t))
	must(t, err)
	h.flags = append(engineFlags(bin), "--engine", engine)
	layOut(h.repo)
	h.git("init", "--quiet", "--initial-branch", "main")
	h.commit("Start the platform")
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// layOutEngines fills a folder with engines that are counted, and returns the
// file that gets a line for each start. An engine's environment is closed, so
// the paths stand in the programs.
func layOutEngines(bin string, engines map[string]string) (starts string, err error) {
	starts = filepath.Join(bin, "starts")
	for name, path := range engines {
		counting := fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >>'%s'\nexec '%s' \"$@\"\n", name, starts, path)
		if err := os.WriteFile(filepath.Join(bin, name), []byte(counting), 0o700); err != nil {
			return "", err
		}
	}
	return starts, nil
}

// engineFlags are what a Pave needs to run the engines of a folder: they are
// programs that write beside themselves, and the one that was built is kept
// where runs may not read.
func engineFlags(bin string) []string {
	flags := []string{"--engine-path", bin, "--allow-write", bin}
	if built := os.Getenv("PAVE_TEST_TOFU"); built != "" {
		flags = append(flags, "--allow-read", filepath.Dir(built))
	}
	return flags
}

// findProviders returns the CLI configuration by which engines find the
// providers of the examples.
func findProviders(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PAVE_TEST_PROVIDERS")
	if path == "" {
		t.Fatal("PAVE_TEST_PROVIDERS is not set: `go run ./testdata/tools/get providers` makes what it names, `make test` sets it")
	}
	return path
}

func (h *host) cache() string { return filepath.Join(h.dir, "cache") }
func (h *host) state() string { return filepath.Join(h.dir, "state") }

// pave runs a command that is expected to end with an exit code, and returns
// its standard output.
func (h *host) pave(code int, args ...string) string {
	h.Helper()
	if slices.Contains([]string{"plan", "apply", "serve", "import"}, args[0]) || args[0] == "state" && args[1] != "list" {
		args = append(args, h.flags...)
	}
	args = append(args, "--repo", h.repo, "--cache-dir", h.cache(), "--state-dir", h.state())
	var stdout, stderr bytes.Buffer
	got := run(h.Context(), args, strings.NewReader(""), &stdout, &stderr)
	fmt.Fprintf(&h.said, "%s%s", &stdout, &stderr)
	if got != code {
		h.Fatalf("pave %s: expected exit code %d, got %d\n%s%s", args[0], code, got, &stdout, &stderr)
	}
	return stdout.String()
}

// git runs Git in the platform repository.
func (h *host) git(args ...string) string {
	h.Helper()
	return gitIn(h.T, h.dir, h.repo, args...)
}

// gitIn runs Git in a folder, with a home and without anybody's configuration.
func gitIn(t testing.TB, home, folder string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Maria", "GIT_AUTHOR_EMAIL=maria@acme.example",
		"GIT_COMMITTER_NAME=Maria", "GIT_COMMITTER_EMAIL=maria@acme.example",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *host) commit(message string) {
	h.Helper()
	h.git("add", "--all")
	h.git("commit", "--quiet", "--message", message)
}

// replace changes the one place of a file where the text stands.
func (h *host) replace(file, old, new string) {
	h.Helper()
	path := filepath.Join(h.repo, file)
	text, err := os.ReadFile(path)
	must(h.T, err)
	if n := strings.Count(string(text), old); n != 1 {
		h.Fatalf("%s holds %q %d times; expected once", file, old, n)
	}
	must(h.T, os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644))
}

// cut removes a request that is written as a block of its own.
func (h *host) cut(file, name string) {
	h.Helper()
	text, err := os.ReadFile(filepath.Join(h.repo, file))
	must(h.T, err)
	_, block, found := strings.Cut(string(text), "request: \""+name+"\": {\n")
	block, _, closed := strings.Cut(block, "\n}\n")
	if !found || !closed {
		h.Fatalf("%s has no block of its own for %s", file, name)
	}
	h.replace(file, "request: \""+name+"\": {\n"+block+"\n}\n", "")
}

// units returns what `pave status` says of every request.
func (h *host) units() map[string]reconciler.UnitSummary {
	h.Helper()
	var summary reconciler.Summary
	must(h.T, json.Unmarshal([]byte(h.pave(0, "status", "-o", "json")), &summary))
	units := map[string]reconciler.UnitSummary{}
	for _, u := range summary.Units {
		units[u.Request] = u
	}
	return units
}

func (h *host) expectAllReady(count int) {
	h.Helper()
	units := h.units()
	if len(units) != count {
		h.Errorf("expected %d requests, got %d", count, len(units))
	}
	for _, u := range units {
		if !u.Ready {
			h.Errorf("%s is not ready: %s: %s", u.Request, u.Reason, u.Message)
		}
	}
}

func (h *host) expectHeld(name, reason string) {
	h.Helper()
	if u := h.units()[name]; u.Ready || u.Reason != reason {
		h.Errorf("expected %s to be held as %s, got %+v", name, reason, u)
	}
}

// expectStarts compares the engine's processes since the last call with the
// subcommands of which there may be any number, and forgets them.
func (h *host) expectStarts(subcommands ...string) {
	h.Helper()
	text, err := os.ReadFile(h.starts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.Fatal(err)
	}
	must(h.T, os.WriteFile(h.starts, nil, 0o600))
	got := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		got[strings.Fields(line)[1]] = true
	}
	want := map[string]bool{}
	for _, s := range subcommands {
		want[s] = true
	}
	if len(got) != len(want) || slices.ContainsFunc(subcommands, func(s string) bool { return !got[s] }) {
		h.Errorf("expected the engine to be started for %q, got:\n%s", subcommands, text)
	}
}

var unitLine = regexp.MustCompile(`(?m)^Unit: (\S+) (\S+)`)

// expectRecorded compares what the last status commit says of units, as
// "NAME applied", with what is expected.
func (h *host) expectRecorded(want ...string) {
	h.Helper()
	var got []string
	message := h.git("log", "-1", "--format=%B", "pave/status")
	for _, m := range unitLine.FindAllStringSubmatch(message, -1) {
		got = append(got, m[1]+" "+m[2])
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		h.Errorf("expected the record to say %q, got:\n%s", want, message)
	}
}

// recorded is where the status branch keeps what it has of a name.
func recorded(folder, name string) string {
	digest := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s/%x/%s", folder, digest[:1], name)
}

// place makes the folder of a file, and returns the file's path.
func (h *host) place(dir, file string) string {
	h.Helper()
	path := filepath.Join(dir, file)
	must(h.T, os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

// loseCache deletes what may be deleted at any time.
func (h *host) loseCache() {
	h.Helper()
	lose(h.T, h.cache())
}

// lose deletes a folder that a daemon may be writing to. What is made in the folder
// while it is being emptied makes that fail, so it is tried again, as a person would.
func lose(t *testing.T, folder string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		// Modules and providers are kept in folders that nobody may write to.
		filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
		if err = os.RemoveAll(folder); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// files lists the files below a folder of the host.
func (h *host) files(folder string) []string {
	h.Helper()
	var files []string
	root := filepath.Join(h.dir, folder)
	must(h.T, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			files = append(files, filepath.ToSlash(name))
		}
		return err
	}))
	return files
}

// stateOf returns the state of a unit that this host keeps.
func (h *host) stateOf(unit string) string {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.state(), "*", "units", unit, "terraform.tfstate"))
	must(h.T, err)
	if len(files) != 1 {
		h.Fatalf("expected one state of %s, got %q", unit, files)
	}
	text, err := os.ReadFile(files[0])
	must(h.T, err)
	return string(text)
}

// secrets returns the sensitive outputs of the states on this host.
func (h *host) secrets() []string {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.state(), "*", "units", "*", "terraform.tfstate"))
	must(h.T, err)
	var found []string
	for _, file := range files {
		var state struct {
			Outputs map[string]struct {
				Value     any
				Sensitive bool
			}
		}
		text, err := os.ReadFile(file)
		must(h.T, err)
		must(h.T, json.Unmarshal(text, &state))
		for _, output := range state.Outputs {
			if text, ok := output.Value.(string); ok && output.Sensitive {
				// Line by line, for other files break lines in other ways.
				found = append(found, longestLine(text))
			}
		}
	}
	return found
}

func longestLine(text string) string {
	return slices.MaxFunc(strings.Split(text, "\n"), func(a, b string) int { return len(a) - len(b) })
}

// expectNowhere looks for texts wherever Pave leaves anything, but for the
// states of units: in files, in what it said and in every object of Git.
func (h *host) expectNowhere(texts []string) {
	h.Helper()
	places := h.leftBehind()
	for _, text := range texts {
		for place, content := range places {
			if strings.Contains(content, text) {
				h.Errorf("the secret %.4s… is in %s", text, place)
			}
		}
	}
}

// leftBehind returns the content of all that expectNowhere looks at.
func (h *host) leftBehind() map[string]string {
	h.Helper()
	places := map[string]string{"what was said": h.said.String()}
	must(h.T, filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "units" && filepath.Dir(filepath.Dir(path)) == h.state() {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), "terraform-provider-") {
			text, err := os.ReadFile(path)
			places[path] = string(text)
			return err
		}
		return nil
	}))
	mirrors, err := filepath.Glob(filepath.Join(h.cache(), "*", "mirror", "*.git"))
	must(h.T, err)
	if len(mirrors) != 1 {
		h.Errorf("expected one mirror, got %q", mirrors)
	}
	for _, repository := range append(mirrors, h.repo) {
		places["the objects of "+repository] = h.git("-C", repository, "cat-file", "--batch-all-objects", "--batch")
	}
	return places
}
