package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/schema"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// The test binary is Pave too: as `pave` in a script, and where a test that
// calls run makes Pave start itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		unmask(os.Args[1:])
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	// Most tests wait for a daemon, an engine or a disk more than they compute, so
	// that more of them go on at once than there are processors. The command line
	// counts, which is read later.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"pave": func() {
		os.Args = withEngine(os.Args)
		main()
	}})
}

// TestScripts runs what people type. Beside testscript's own commands the
// scripts have
//
//	platform DIR [NAME]     lay out testdata/platform.txtar or NAME.txtar, the
//	                        schema and a first commit in DIR; files that are
//	                        there stay
//	commit MESSAGE          commit all files of the folder
//	replace FILE OLD NEW    replace the one OLD in the file
//	big FILE SIZE           write a file of so many bytes
//	exits CODE COMMAND...   run a command that ends with the exit code
//	recorded REGEXP         wait until a message of the status branch matches
//	engines N               there were N starts of the engine since the last time
//
// and $ENGINE, the engine's name, and $ENGINES, a file with a line for each of
// its starts.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "terraform", "*")
}

// engineScripts are the scripts whose outcome is what an engine says: of plans,
// states, providers and failures. In the others Pave decides, of what every engine
// says in the same way.
var engineScripts = []string{
	"converge", "converge-cache", "converge-change", "converge-delete", "converge-drift", "converge-failed",
	"converge-failed-outputs", "converge-heal", "converge-import", "converge-missing", "converge-order",
	"converge-policy-plan", "converge-policy-protect", "converge-rename", "converge-retain", "converge-state",
	"converge-state-lost", "converge-state-moved", "converge-values",
}

// TestScriptsWithTofu runs the scripts whose outcome is an engine's once more.
func TestScriptsWithTofu(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built tofu: make test")
	}
	t.Parallel()
	runScripts(t, "tofu", engineScripts...)
}

// runScripts runs the scripts of patterns with an engine.
func runScripts(t *testing.T, engine string, patterns ...string) {
	engines := findEngines(t)
	if engines[engine] == "" {
		t.Fatalf("%s is not on the PATH: `go run ./testdata/tools/get %s` builds it", engine, engine)
	}
	var scripts []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join("..", "..", "testdata", "scripts", pattern+".txtar"))
		must(t, err)
		if len(found) == 0 {
			t.Fatalf("there is no script %s", pattern)
		}
		scripts = append(scripts, found...)
	}
	testscript.Run(t, testscript.Params{
		Files:              scripts,
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ENGINE", engine)
			return setupScript(env, engines)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"platform": layOutPlatform, "commit": commitAll, "replace": replaceText, "big": writeBig,
			"exits": exitsWith, "engines": countEngines,
			"recorded": waitForRecord,
		},
	})
}

// withEngine adds what the scripts' engines need to a command that runs one, and
// the engine, where that is not the one that settings name by default. What the
// script names itself comes later, and counts.
func withEngine(args []string) []string {
	starts, at := os.Getenv("ENGINES"), 2
	if len(args) > 2 && args[1] == "state" && args[2] != "list" {
		at = 3
	} else if len(args) < 2 || !slices.Contains([]string{"plan", "apply", "serve", "import"}, args[1]) {
		return args
	}
	if starts == "" {
		return args
	}
	flags := engineFlags(filepath.Dir(starts))
	if engine := os.Getenv("ENGINE"); engine != "terraform" {
		flags = append(flags, "--engine", engine)
	}
	return slices.Insert(slices.Clone(args), at, flags...)
}

// findEngines returns the engines that scripts may run, by name.
func findEngines(t testing.TB) map[string]string {
	t.Helper()
	engines := map[string]string{}
	for name, variable := range map[string]string{"terraform": "PAVE_TEST_TERRAFORM", "tofu": "PAVE_TEST_TOFU"} {
		path := os.Getenv(variable)
		if path == "" {
			path, _ = exec.LookPath(name)
		}
		if path != "" {
			engines[name] = path
		}
	}
	if engines["terraform"] == "" {
		t.Fatal("the scripts need terraform: `go run ./testdata/tools/get engine` finds or builds one")
	}
	return engines
}

// setupScript gives a script a home of its own and engines that are counted.
func setupScript(env *testscript.Env, engines map[string]string) error {
	home := filepath.Join(env.WorkDir, ".home")
	bin := filepath.Join(env.WorkDir, ".engines")
	for _, dir := range []string{home, bin} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	starts, err := layOutEngines(bin, engines)
	if err != nil {
		return err
	}
	for key, value := range map[string]string{
		"HOME": home, "XDG_CACHE_HOME": filepath.Join(home, "cache"), "XDG_STATE_HOME": filepath.Join(home, "state"),
		"XDG_CONFIG_HOME": filepath.Join(home, "config"), "PATH": bin + string(filepath.ListSeparator) + env.Getenv("PATH"),
		"ENGINES": starts, "PAVE_TEST_TOFU": os.Getenv("PAVE_TEST_TOFU"), "PROVIDERS": os.Getenv("PAVE_TEST_PROVIDERS"),
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Maria", "GIT_AUTHOR_EMAIL": "maria@acme.example",
		"GIT_COMMITTER_NAME": "Maria", "GIT_COMMITTER_EMAIL": "maria@acme.example",
		"GIT_AUTHOR_DATE": "2026-03-01T12:00:00Z", "GIT_COMMITTER_DATE": "2026-03-01T12:00:00Z",
	} {
		env.Setenv(key, value)
	}
	return nil
}

// layOut writes the files of testdata/NAME.txtar and the schema into a folder.
// Files that are there stay.
func layOut(dir, name string) error {
	archive, err := txtar.ParseFile(filepath.Join("..", "..", "testdata", name+".txtar"))
	if err != nil {
		return err
	}
	for _, f := range append(archive.Files, txtar.File{Name: schema.Folder + "/schema.cue", Data: schema.Source}) {
		target := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(target); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func layOutPlatform(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: platform DIR [NAME]")
	}
	dir, name := ts.MkAbs(args[0]), "platform"
	if len(args) == 2 {
		name = args[1]
	}
	ts.Check(layOut(dir, name))
	ts.Check(ts.Exec("git", "init", "-q", "-b", "main", dir))
	ts.Check(ts.Exec("git", "-C", dir, "add", "-A"))
	ts.Check(ts.Exec("git", "-C", dir, "commit", "-q", "-m", "Start the platform"))
}

func commitAll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: commit MESSAGE")
	}
	ts.Check(ts.Exec("git", "add", "-A"))
	ts.Check(ts.Exec("git", "commit", "-q", "-m", args[0]))
}

func replaceText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		ts.Fatalf("%s holds %q %d times; expected once", args[0], args[1], n)
	}
	text = strings.Replace(text, args[1], strings.ReplaceAll(args[2], `\n`, "\n"), 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

func writeBig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: big FILE SIZE")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte("\n"), size), 0o644))
}

func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("expected exit code %d; got %d", want, got)
	}
}

// waitForRecord waits for what a daemon in the background records.
func waitForRecord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: recorded REGEXP")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var said []byte
	for range 600 {
		log := exec.Command("git", "-C", ts.MkAbs("."), "log", "--format=%B", "pave/status")
		if said, err = log.Output(); err == nil && pattern.Match(said) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("nothing that matches %s was recorded within a minute: %s", args[0], said)
}

// countEngines compares the starts of engines with what the script expects,
// then forgets them. A start counts whatever it was for.
func countEngines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: engines N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	content, err := os.ReadFile(ts.Getenv("ENGINES"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		ts.Fatalf("%v", err)
	}
	if got := bytes.Count(content, []byte("\n")); got != want {
		ts.Fatalf("expected %d starts of the engine; got %d:\n%s", want, got, content)
	}
	ts.Check(os.WriteFile(ts.Getenv("ENGINES"), nil, 0o600))
}
