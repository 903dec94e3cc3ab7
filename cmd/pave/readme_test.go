package main

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pave-dev/pave/reconciler"
)

// What a block of code in a README is for, by the language that it names:
//
//	console  a session: commands behind `$ `, and all that they print; a line
//	         with nothing but … stands for any number of lines
//	sh       commands that are run and whose output is not shown
//	bash     commands for the reader's machine: checked, not run
//
// Any other block behind a line with a path in backticks and a colon is the
// content of that file, which is written at this point of the session.

// document is a file of documentation.
type document struct {
	path string
	text string
}

// documents are all that is checked, by their paths from the top of the repository.
var documents = []string{
	"README.md", "policies/README.md", "examples/acme/README.md", "examples/aws/README.md",
}

func readDocument(t *testing.T, path string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	must(t, err)
	return document{path, string(text)}
}

// fence is one block of code.
type fence struct {
	language string
	file     string // whose content it is
	line     int    // of its first line
	text     string
}

var (
	fencePattern = regexp.MustCompile("(?ms)^```(\\S*)\n(.*?)^```$")
	fileBefore   = regexp.MustCompile("(?:^|\n)`([^`\n]+)`:\n\n$")
)

func (d document) fences() []fence {
	var all []fence
	for _, at := range fencePattern.FindAllStringSubmatchIndex(d.text, -1) {
		before := d.text[:at[0]]
		f := fence{language: d.text[at[2]:at[3]], line: strings.Count(before, "\n") + 2, text: d.text[at[4]:at[5]]}
		if m := fileBefore.FindStringSubmatch(before); m != nil {
			f.file = m[1]
		}
		all = append(all, f)
	}
	return all
}

// step is one command of a session.
type step struct {
	line    int
	command string
	shown   bool // whether the document shows what it prints
	prints  string
}

func (d document) steps(t *testing.T) []step {
	t.Helper()
	var all []step
	for _, f := range d.fences() {
		switch {
		case f.language == "console":
			all = append(all, console(t, d, f)...)
		case f.language == "sh":
			for i, line := range strings.Split(strings.TrimSpace(f.text), "\n") {
				if line != "" {
					all = append(all, step{line: f.line + i, command: line})
				}
			}
		case f.file != "":
			all = append(all, step{line: f.line, command: fmt.Sprintf("mkdir -p \"$(dirname %[1]s)\" && cat > %[1]s <<'END-OF-FILE'\n%[2]sEND-OF-FILE", f.file, f.text)})
		}
	}
	return all
}

func console(t *testing.T, d document, f fence) []step {
	t.Helper()
	var all []step
	for i, line := range strings.Split(strings.TrimSuffix(f.text, "\n"), "\n") {
		if command, found := strings.CutPrefix(line, "$ "); found {
			all = append(all, step{line: f.line + i, command: command, shown: true})
		} else if len(all) == 0 {
			t.Fatalf("%s:%d: expected a command behind `$ `; got %q", d.path, f.line+i, line)
		} else {
			all[len(all)-1].prints += line + "\n"
		}
	}
	return all
}

// finished is what became of a step.
type finished struct {
	step
	printed string
	code    int
}

// session is a person's shell, in a home of its own.
type session struct {
	*testing.T
	home string
	// prelude is run before everything else.
	prelude string
}

func newSession(t *testing.T) *session {
	t.Helper()
	home, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"),
		[]byte("[user]\nname = Jo\nemail = jo@example.org\n[init]\ndefaultBranch = main\n"), 0o600))
	bin := filepath.Join(home, ".bin")
	must(t, os.Mkdir(bin, 0o700))
	for name, path := range findEngines(t) {
		must(t, os.Symlink(path, filepath.Join(bin, name)))
	}
	return &session{T: t, home: home}
}

// link puts a program on the session's PATH.
func (s *session) link(name, path string) {
	s.Helper()
	must(s.T, os.Symlink(path, filepath.Join(s.home, ".bin", name)))
}

// run carries the steps out in one shell and returns what became of them.
func (s *session) run(steps []step) []finished {
	s.Helper()
	script := "exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n" + s.prelude + "\ncode=0\n"
	for _, at := range steps {
		quoted := "'" + strings.ReplaceAll(at.command, "'", `'\''`) + "'"
		script += fmt.Sprintf("(exit $code); eval %s; code=$?; printf '\\n\\001%%d\\n' $code\n", quoted)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = s.home
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + filepath.Join(s.home, ".bin") + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_PAGER=cat", "LC_ALL=C.UTF-8", "TZ=UTC", "TMPDIR=" + os.TempDir()}
	out, err := cmd.CombinedOutput()
	parts := regexp.MustCompile(`(?s)(.*?)\n\x01(\d+)\n`).FindAllStringSubmatch(string(out), -1)
	if len(parts) != len(steps) {
		s.Fatalf("the session ended after %d of %d steps: %v\n%s", len(parts), len(steps), err, out)
	}
	var done []finished
	for i, part := range parts {
		code, _ := strconv.Atoi(part[2])
		done = append(done, finished{steps[i], part[1], code})
	}
	return done
}

// check runs the session of a document and compares it with what is shown.
func (s *session) check(d document) {
	s.Helper()
	done := s.run(d.steps(s.T))
	for i, at := range done {
		where := fmt.Sprintf("%s:%d: %s", d.path, at.line, at.command)
		planned := at.code == exitPending && strings.HasPrefix(at.command, "pave plan")
		asked := i+1 < len(done) && done[i+1].command == "echo $?"
		if at.code != 0 && !planned && !asked {
			s.Errorf("%s\nends with %d:\n%s", where, at.code, at.printed)
		}
		if at.shown && !matches(s.home, at.prints, at.printed) {
			s.Errorf("%s\nprints\n%s\nbut the document shows\n%s", where, s.plain(at.printed), at.prints)
		}
	}
}

func (s *session) plain(text string) string { return strings.ReplaceAll(text, s.home, "/home/jo") }

// changing is what differs from one session to the next.
var changing = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`(?m)^(converging|planning|validating)(: .*)?\n`), ""}, // on a slow machine
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "LINEAGE"},
	{regexp.MustCompile(`\b[0-9a-f]{7,40}\b`), "HASH"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`), "TIME"},
	{regexp.MustCompile(`(?m)^Date: .*$`), "Date: TIME"},
	{regexp.MustCompile(`SHA256:\S+`), "SHA256:KEY"},
	{regexp.MustCompile(`(?m)[ \t]+$`), ""},
}

// matches compares what is printed with what is shown, but for what changes.
func matches(home, shown, printed string) bool {
	for _, c := range changing {
		shown = c.pattern.ReplaceAllString(shown, c.name)
		printed = c.pattern.ReplaceAllString(strings.ReplaceAll(printed, home, "/home/jo"), c.name)
	}
	pattern := regexp.QuoteMeta(strings.Trim(shown, "\n"))
	pattern = regexp.MustCompile(`(?m)^…$`).ReplaceAllString(pattern, `.*`)
	return regexp.MustCompile(`(?s)^` + pattern + `$`).MatchString(strings.Trim(printed, "\n"))
}

func TestReadme(t *testing.T) {
	t.Parallel()
	newSession(t).check(readDocument(t, "README.md"))
}

// examples lays a copy of the examples into the home, and lets what needs
// providers find them.
func (s *session) examples() {
	s.Helper()
	must(s.T, os.CopyFS(filepath.Join(s.home, "examples"), os.DirFS(filepath.Join("..", "..", "examples"))))
	s.prelude += fmt.Sprintf(`
pave() {
	case $1 in
	plan | apply) command pave "$@" --terraform-config '%s' ;;
	*) command pave "$@" ;;
	esac
}
`, findProviders(s.T))
}

func TestReadmeOfAcme(t *testing.T) {
	if testing.Short() {
		t.Skip("needs built providers: make test")
	}
	t.Parallel()
	s := newSession(t)
	s.examples()
	// What its blueprints write belongs below the session's folder.
	settings := filepath.Join(s.home, "examples", "acme", "platform.cue")
	text, err := os.ReadFile(settings)
	must(t, err)
	d := readDocument(t, "examples/acme/README.md")
	const folder = "/tmp/acme-platform"
	if !strings.Contains(string(text), `"`+folder+`"`) || !strings.Contains(d.text, "`"+folder+"`") {
		t.Fatalf("expected %s in the settings and in the README", folder)
	}
	infrastructure := filepath.Join(s.home, "infrastructure")
	must(t, os.WriteFile(settings, []byte(strings.ReplaceAll(string(text), folder, infrastructure)), 0o644))
	d.text = strings.ReplaceAll(d.text, folder, infrastructure)
	s.check(d)
}

func TestReadmeOfAWS(t *testing.T) {
	if testing.Short() {
		t.Skip("needs built providers and servers: make test")
	}
	t.Parallel()
	s := newSession(t)
	s.examples()
	config, err := os.ReadFile(findProviders(t))
	must(t, err)
	d := readDocument(t, "examples/aws/README.md")
	if !bytes.Contains(config, []byte("hashicorp/aws")) {
		fmt.Println("examples/aws/README.md: this machine has no AWS provider, so no more than `pave validate` was run")
		d.text = regexp.MustCompile("(?m)^(versitygw|dynalite|pave apply|pave status).*\n").ReplaceAllString(d.text, "")
		s.check(d)
		return
	}
	for name, variable := range map[string]string{"versitygw": "PAVE_TEST_VERSITYGW", "dynalite": "PAVE_TEST_DYNALITE"} {
		path := os.Getenv(variable)
		if path == "" {
			t.Fatalf("%s is not set: `go run ./testdata/tools/get %s` makes what it names, `make test` sets it", variable, name)
		}
		s.link(name, path)
	}
	settings := filepath.Join(s.home, "examples", "aws", "environments.cue")
	text, err := os.ReadFile(settings)
	must(t, err)
	for _, port := range []string{"7070", "4569"} {
		free := freePort(t)
		if !bytes.Contains(text, []byte("127.0.0.1:"+port)) || !strings.Contains(d.text, port) {
			t.Fatalf("expected port %s in the settings and in the README", port)
		}
		text = bytes.ReplaceAll(text, []byte(port), []byte(free))
		d.text = strings.ReplaceAll(d.text, port, free)
		s.prelude += fmt.Sprintf("ports=\"$ports %s\"\n", free)
	}
	must(t, os.WriteFile(settings, text, 0o644))
	d.text = strings.ReplaceAll(d.text, "/tmp/studio", filepath.Join(s.home, "servers"))
	// A person is slower than a server.
	d.text = strings.ReplaceAll(d.text, "pave apply", "answering; pave apply")
	s.prelude += `
answering() {
	for port in $ports; do
		for try in {1..100}; do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
	done
}
`
	s.check(d)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// TestReadmeBlocks checks that every block is of a kind that is known here, so
// that no command escapes by its language.
func TestReadmeBlocks(t *testing.T) {
	languages := []string{"console", "sh", "bash", "cue", "hcl", "rego", "json", "ini", ""}
	for _, path := range documents {
		d := readDocument(t, path)
		for _, f := range d.fences() {
			if !slices.Contains(languages, f.language) {
				t.Errorf("%s:%d: unknown kind of block %q", path, f.line, f.language)
			}
			if f.language == "" && strings.Contains(f.text, "pave ") {
				t.Errorf("%s:%d: commands stand in blocks of console, sh or bash", path, f.line)
			}
		}
	}
}

// TestReadmeTargets checks that what the documents make can be made.
func TestReadmeTargets(t *testing.T) {
	makefile := readDocument(t, "Makefile").text
	made := regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")
	for _, path := range documents {
		for _, m := range made.FindAllStringSubmatch(readDocument(t, path).text, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: `make %s` makes nothing", path, m[1])
			}
		}
	}
}

// TestReadmeFlags checks that every command and every flag that the documents
// mention exists.
func TestReadmeFlags(t *testing.T) {
	root := newRoot(&app{stdout: io.Discard, stderr: io.Discard})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	commands := regexp.MustCompile("(?m)(?:^|[`/(]|[$;&] )pave ([^\n`|&;)]+)")
	flags := regexp.MustCompile(`(?:^| )(--?[a-z][a-z-]*)`)
	anywhere := regexp.MustCompile("`(--[a-z-]+)[^`]*`")
	checked := 0
	for _, path := range documents {
		d := readDocument(t, path)
		var code strings.Builder
		for _, f := range d.fences() {
			if slices.Contains([]string{"console", "sh", "bash", "ini"}, f.language) {
				code.WriteString(f.text)
			}
		}
		for _, m := range regexp.MustCompile("`[^`\n]+`").FindAllString(fencePattern.ReplaceAllString(d.text, ""), -1) {
			code.WriteString(m + "\n")
		}
		for _, m := range commands.FindAllStringSubmatch(code.String(), -1) {
			if strings.HasPrefix(m[1], "COMMAND") {
				continue
			}
			checked++
			cmd, _, err := root.Find(strings.Fields(m[1]))
			if err != nil || cmd == root {
				t.Errorf("%s: there is no `pave %s`", path, m[1])
				continue
			}
			for _, flag := range flags.FindAllStringSubmatch(m[1], -1) {
				if !hasFlag(cmd, flag[1]) {
					t.Errorf("%s: `pave %s` has no flag %s", path, cmd.Name(), flag[1])
				}
			}
		}
		for _, m := range anywhere.FindAllStringSubmatch(d.text, -1) {
			if !anyHasFlag(root, m[1]) {
				t.Errorf("%s: no command has the flag %s", path, m[1])
			}
		}
	}
	if checked < 30 {
		t.Errorf("found %d commands only", checked)
	}
}

func hasFlag(cmd *cobra.Command, flag string) bool {
	cmd.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags()} {
		name := strings.TrimLeft(flag, "-")
		if strings.HasPrefix(flag, "--") && set.Lookup(name) != nil || len(name) == 1 && set.ShorthandLookup(name) != nil {
			return true
		}
	}
	return false
}

func anyHasFlag(root *cobra.Command, flag string) bool {
	return hasFlag(root, flag) || slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return hasFlag(c, flag) })
}

// rows returns the first cells of every table row of README.md below a heading,
// with what stands behind them.
func rows(t *testing.T, heading string) map[string]string {
	t.Helper()
	_, below, found := strings.Cut(readDocument(t, "README.md").text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("README.md has no heading %q", heading)
	}
	below = regexp.MustCompile("(?s)\n##+ .*").ReplaceAllString(below, "")
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `?([A-Za-z0-9_]+)`? \\| (.*) \\|$").FindAllStringSubmatch(below, -1) {
		if _, twice := all[m[1]]; twice {
			t.Errorf("README.md lists %s twice", m[1])
		}
		all[m[1]] = m[2]
	}
	return all
}

// sameRows compares the rows of a table, below its first, with what exists.
func sameRows(t *testing.T, heading, title string, exists []string) map[string]string {
	t.Helper()
	listed := rows(t, heading)
	delete(listed, title)
	for _, name := range exists {
		if _, found := listed[name]; !found {
			t.Errorf("README.md does not list %s below %q", name, heading)
		}
	}
	for name := range listed {
		if !slices.Contains(exists, name) {
			t.Errorf("README.md lists %s below %q; there is no such thing", name, heading)
		}
	}
	return listed
}

// TestReadmeConditions compares the tables with the conditions and reasons of
// the domain, and the exit codes with those of a pass.
func TestReadmeConditions(t *testing.T) {
	conditions, reasons := statusNames(t)
	sameRows(t, "### Conditions", "Condition", conditions)
	listed := sameRows(t, "### Reasons", "Reason", reasons)
	for _, reason := range reasons {
		ready := slices.Contains([]string{reconciler.ReasonApplied, reconciler.ReasonDrift, reconciler.ReasonExpires}, reason)
		code := 0
		if err := outcome(&reconciler.Summary{Units: []reconciler.UnitSummary{{Ready: ready, Reason: reason}}}); err != nil {
			code = err.(codeError).code
		}
		if !strings.HasPrefix(listed[reason], fmt.Sprint(code)+" |") {
			t.Errorf("README.md says of %s: %s\nbut a pass that ends with it has the exit code %d", reason, listed[reason], code)
		}
	}
}

// statusNames returns the conditions and reasons that reconciler/status.go declares.
func statusNames(t *testing.T) (conditions, reasons []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "reconciler", "status.go"), nil, 0)
	must(t, err)
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			must(t, err)
			if strings.HasPrefix(value.Names[0].Name, "Reason") {
				reasons = append(reasons, text)
			} else {
				conditions = append(conditions, text)
			}
		}
	}
	if len(conditions) < 8 || len(reasons) < 20 {
		t.Fatalf("found %d conditions and %d reasons", len(conditions), len(reasons))
	}
	return conditions, reasons
}

func TestReadmeExitCodes(t *testing.T) {
	var codes []string
	for _, code := range []int{0, exitFailure, exitUsage, exitPending, exitDenied, exitInterrupted} {
		codes = append(codes, strconv.Itoa(code))
	}
	sameRows(t, "## Exit codes", "Code", codes)
}

func TestReadmeMetrics(t *testing.T) {
	answer := httptest.NewRecorder()
	(&monitor{}).handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var exposed []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(answer.Body.String(), -1) {
		exposed = append(exposed, m[1])
	}
	sameRows(t, "### Health and metrics", "Metric", exposed)
}

// TestReadmeDaemon starts the daemon with the command of the systemd unit, with
// places of this machine in the place of those of the README.
func TestReadmeDaemon(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	found := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/(pave serve .*)$`).FindStringSubmatch(readDocument(t, "README.md").text)
	if found == nil {
		t.Fatal("README.md has no unit that starts the daemon")
	}
	command := strings.NewReplacer("https://git.example.org/acme/platform.git", "acme", "/etc/pave", "etc",
		"/var/cache/pave", "cache", "/var/lib/pave", "state").Replace(found[1])
	if strings.Contains(command, " /") {
		t.Fatalf("the command names a place that this test does not know: %s", command)
	}
	done := s.run([]step{
		{command: "pave init --quiet acme"},
		{command: "mkdir -p -m 700 etc/credentials && (umask 077; echo secret > etc/token; echo KEY=value > etc/credentials/development.env)"},
		{command: "cat > etc/terraform.tfrc <<'END'\n" + cliConfig(t) + "END"},
		{command: "ssh-keygen -q -t ed25519 -N '' -f etc/signing-key"},
		{command: command + " --listen 127.0.0.1:0 2>log & daemon=$!"},
		{command: `for try in {1..300}; do at=$(sed -n 's/.* listen=\(\S*\).*/\1/p' log); [ -n "$at" ] && break; sleep 0.1; done; echo $at`},
		{command: `for try in {1..300}; do grep -q 'outcome=applied.*\bwelcome-quote\|welcome-quote.*outcome=applied' log && break; sleep 0.1; done`},
		{command: "get() { exec 3<>/dev/tcp/${at/://}; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' $1 >&3; cat <&3; }; for path in /healthz /readyz /metrics; do get $path; done"},
		{command: "kill -TERM $daemon; wait $daemon"},
		{command: "pave status --repo acme"},
		{command: "cat log"},
	})
	log := done[len(done)-1].printed
	for _, at := range done {
		if at.code != 0 {
			t.Fatalf("%s\nends with %d:\n%s\n%s", at.command, at.code, at.printed, log)
		}
	}
	health, status := done[7].printed, done[9].printed
	for _, want := range []string{"\nok\n", "in force", "pave_requests 2", "pave_requests_ready"} {
		if !strings.Contains(health, want) {
			t.Errorf("the daemon does not say %q:\n%s\n%s", want, health, log)
		}
	}
	if !strings.Contains(status, "2 of 2 requests are ready") {
		t.Errorf("the daemon did not converge:\n%s\n%s", status, log)
	}
}

// cliConfig returns the CLI configuration for Terraform that README.md shows.
func cliConfig(t *testing.T) string {
	t.Helper()
	for _, f := range readDocument(t, "README.md").fences() {
		if f.language == "hcl" && strings.Contains(f.text, "provider_installation") {
			return f.text
		}
	}
	t.Fatal("README.md shows no CLI configuration")
	return ""
}

// TestReadmeLinks checks that what the documents point to is there.
func TestReadmeLinks(t *testing.T) {
	unfit := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, path := range documents {
		headings := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(readDocument(t, path).text, -1) {
			headings["#"+strings.ReplaceAll(unfit.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
		}
		for _, m := range regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)"\s]+)[)"]`).FindAllStringSubmatch(readDocument(t, path).text, -1) {
			if strings.Contains(m[1], "://") || headings[m[1]] {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(path), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
