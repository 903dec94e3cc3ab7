package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

const upstreamModule = `
resource "terraform_data" "main" {}
output "host"     { value = "db.example" }
output "password" {
  value     = ` + "\"s3cret \\\"canary\\\" & more\"" + `
  sensitive = true
}`

// upstream applies a unit with a sensitive output and returns how others use it.
func (b *bench) upstream() reconciler.Upstream {
	b.Helper()
	job := b.job("ledger-db", upstreamModule, nil)
	result := b.run(job, reconciler.Applied)
	if !slices.Equal(result.Sensitive, []string{"password"}) || len(result.Outputs) != 1 {
		b.Fatalf("got outputs %v and sensitive %v", result.Outputs, result.Sensitive)
	}
	return reconciler.Upstream{
		Outputs: result.Outputs, Generated: job.Rendering.Generated, State: result.State, Environment: "staging",
	}
}

func (b *bench) downstream(module string) reconciler.Job {
	b.Helper()
	job := b.job("checkout-db", module, inputs(
		"host", `{"from":{"request":"ledger-db","output":"host"}}`,
		"password", `{"from":{"request":"ledger-db","output":"password"}}`))
	job.Upstream = map[string]reconciler.Upstream{"ledger-db": b.upstream()}
	return job
}

const usesPassword = `
variable "host" { type = string }
variable "password" {
  type      = string
  sensitive = true
}
`

func TestSensitiveOutputReachesOnlyTheRun(t *testing.T) {
	b := newBench(t)
	job := b.downstream(usesPassword + `
resource "terraform_data" "main" { input = { host = var.host, password = var.password } }
output "length" { value = nonsensitive(length(var.password)) }
output "host"   { value = var.host }
output "leak"   { value = nonsensitive("user:${var.password}") }`)
	run := b.start(job)
	result := b.wait(run, reconciler.Applied)
	if string(result.Outputs.Of("length")) != "22" || string(result.Outputs.Of("host")) != `"db.example"` {
		t.Errorf("got outputs %s", result.Outputs)
	}
	if _, leaked := result.Outputs.Get("leak"); leaked || !slices.Contains(result.Sensitive, "leak") {
		t.Errorf("an output that holds a secret was reported: %s", result.Outputs)
	}
	lacks(t, b.leftBy(run), "s3cret", "canary")
	if exists(filepath.Join(b.dir(job), workName, variablesName)) {
		t.Error("the variables are left")
	}
	state, err := os.ReadFile(localState(b.host, "checkout-db"))
	must(t, err)
	contains(t, string(state), "canary") // it did arrive
}

func TestSecretsAreMasked(t *testing.T) {
	b := newBench(t)
	resource := `resource "terraform_data" "main" { input = var.password }`
	modules := map[string]struct {
		text    string
		policy  string
		outcome reconciler.Outcome
	}{
		"plan": {usesPassword + `resource "terraform_data" "main" {
  lifecycle {
    precondition {
      condition     = var.host == "other"
      error_message = "No: ${nonsensitive(var.password)}."
    }
  }
}`, "", reconciler.PlanFailed},
		"apply": {usesPassword + `resource "terraform_data" "main" {
  provisioner "local-exec" {
    command = "echo \"$P\" >&2; exit 1"
    environment = { P = nonsensitive(var.password) }
  }
}`, "", reconciler.ApplyFailed},
		"judge":         {usesPassword + resource, `{"level":"deny","quote":true}`, reconciler.DeniedByPolicy},
		"judge's error": {usesPassword + resource, `{"error":"cannot compare s3cret \"canary\" & more"}`, reconciler.DeniedByPolicy},
	}
	for name, m := range modules {
		job := b.downstream(m.text)
		job.Unit = strings.NewReplacer(" ", "-", "'", "").Replace("masked-" + name)
		job.Policy = json.RawMessage(m.policy)
		run := b.start(job)
		result := b.wait(run, m.outcome)
		text, err := json.Marshal(result)
		must(t, err)
		lacks(t, string(text), "canary")
		contains(t, string(text), masked)
		if name != "judge's error" { // there the test's own policy holds it
			lacks(t, b.leftBy(run), "canary")
		}
		must(t, run.Forget())
		must(t, os.RemoveAll(filepath.Join(b.host.State, "ledger-db")))
	}
}

func TestUpstreamThatHasNotGotTheOutput(t *testing.T) {
	b := newBench(t)
	up := b.upstream()
	moved := up
	moved.State.Lineage = "other"
	for message, upstream := range map[string]map[string]reconciler.Upstream{
		"input token: request ledger-db has no output token":                              {"ledger-db": up},
		"input token: read state of ledger-db: expected lineage other at local:ledger-db": {"ledger-db": moved},
		"input token: request ledger-db was never applied":                                nil,
	} {
		job := b.job("checkout-db", simple, inputs("size", `"small"`, "token", `{"from":{"request":"ledger-db","output":"token"}}`))
		job.Upstream = upstream
		contains(t, b.run(job, reconciler.PlanFailed).Message, message)
	}
}

func TestCredentialsReachTheirEnvironmentOnly(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of the host")
	t.Setenv("TF_VAR_size", "of the host")
	t.Setenv("TF_LOG", "trace")
	b := newBenchAlone(t)
	b.host.Credentials = t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(b.host.Credentials, name)
		must(t, os.WriteFile(path, []byte(text), mode))
		must(t, os.Chmod(path, mode))
	}
	write("staging.env", "# a comment\n\nAWS_SECRET_ACCESS_KEY=staging \"key\" = $1\n", 0o600)
	write("production.env", "AWS_SECRET_ACCESS_KEY=production key\n", 0o600)
	write("open.env", "AWS_SECRET_ACCESS_KEY=open key\n", 0o644)
	write("broken.env", "AWS_SECRET_ACCESS_KEY\n", 0o600)
	write("clever.env", "TF_CLI_ARGS=-var x=y\n", 0o600)
	write("path.env", "PATH=/tmp\n", 0o600)
	b.restart()

	for environment, want := range map[string]string{"staging": `staging "key" = $1`, "production": "production key", "other": ""} {
		b.forgetStarts()
		job := b.job("unit-"+environment, simple, inputs("size", `"small"`))
		job.Environment = environment
		run := b.start(job)
		b.wait(run, reconciler.Applied)
		lacks(t, b.leftBy(run), "staging \"key", "production key")
		for _, s := range b.starts() {
			expectEnviron(t, s, want)
		}
	}
	write("staging.plan.env", "AWS_SECRET_ACCESS_KEY=plan only\n", 0o600)
	for mode, want := range map[reconciler.Walk]string{
		reconciler.Preview: "plan only", reconciler.Observe: "plan only", reconciler.Converge: `staging "key" = $1`,
	} {
		b.forgetStarts()
		job := b.job("unit-"+string(mode), simple, inputs("size", `"small"`))
		job.Environment, job.Mode = "staging", mode
		outcome := reconciler.Applied
		if mode != reconciler.Converge {
			outcome = reconciler.Changed
		}
		b.run(job, outcome)
		for _, s := range b.starts() {
			expectEnviron(t, s, want)
		}
	}
	for environment, want := range map[string]string{
		"open": "chmod 600", "broken": "broken.env:1: expected KEY=VALUE", "clever": "TF_CLI_ARGS is set by Pave", "path": "PATH is set by Pave",
	} {
		job := b.job("unit-"+environment, simple, inputs("size", `"small"`))
		job.Environment = environment
		result := b.run(job, reconciler.PlanFailed)
		contains(t, result.Message, want)
		lacks(t, result.Message, "open key")
	}
}

// What only looks lets everything else go first: changes overtake drift.
func TestLooksGoLast(t *testing.T) {
	b := newBench(t)
	b.host.Credentials = t.TempDir()
	must(t, os.WriteFile(filepath.Join(b.host.Credentials, "staging"), []byte("#!/bin/sh\nnice >$PAVE_MODE\n"), 0o700))
	b.restart()
	nice := map[reconciler.Walk]string{}
	for _, mode := range []reconciler.Walk{reconciler.Observe, reconciler.Preview} {
		job := b.job("unit-"+string(mode), simple, inputs("size", `"small"`))
		job.Environment, job.Mode = "staging", mode
		b.run(job, reconciler.Changed)
		said, err := os.ReadFile(filepath.Join(b.host.Credentials, string(mode)))
		must(t, err)
		nice[mode] = strings.TrimSpace(string(said))
	}
	usual, err := strconv.Atoi(nice[reconciler.Preview])
	must(t, err)
	if want := strconv.Itoa(min(usual+10, 19)); nice[reconciler.Observe] != want {
		t.Errorf("the niceness of a look is %s, expected %s", nice[reconciler.Observe], want)
	}
}

func TestCredentialsFromAHelper(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of the host")
	b := newBenchAlone(t)
	b.host.Credentials = t.TempDir()
	write := func(name, script string, mode os.FileMode) {
		path := filepath.Join(b.host.Credentials, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), mode))
		must(t, os.Chmod(path, mode))
	}
	const prints = `echo asked >>asked
echo "AWS_SECRET_ACCESS_KEY=canary of $PAVE_ENVIRONMENT for $PAVE_REQUEST to $PAVE_MODE; host: $AWS_SECRET_ACCESS_KEY$HOME"
`
	write("staging", prints, 0o700)
	write("production", prints, 0o755)
	write("production.plan", prints+"echo AWS_SESSION_TOKEN=", 0o700)
	b.restart()
	job := func(unit, environment string, mode reconciler.Walk) reconciler.Job {
		b.forgetStarts()
		job := b.job(unit, `
resource "terraform_data" "main" {
  provisioner "local-exec" { command = "echo The key is $AWS_SECRET_ACCESS_KEY.; exit 1" }
}`, nil)
		job.Environment, job.Mode, job.Timeout = environment, mode, 30*time.Second
		return job
	}

	run := b.start(job("one", "staging", reconciler.Converge))
	result := b.wait(run, reconciler.ApplyFailed)
	contains(t, result.Message, "The key is "+masked)
	lacks(t, result.Message+b.leftBy(run), "canary")
	for _, s := range b.starts() {
		expectEnviron(t, s, "canary of staging for one to converge; host: ")
	}
	asked, err := os.ReadFile(filepath.Join(b.host.Credentials, "asked"))
	must(t, err)
	if string(asked) != "asked\n" {
		t.Errorf("expected one start of the helper for a run, got %q", asked)
	}
	b.run(job("two", "production", reconciler.Observe), reconciler.Changed)
	for _, s := range b.starts() {
		s.Env = slices.DeleteFunc(s.Env, func(v string) bool { return v == "AWS_SESSION_TOKEN=" })
		expectEnviron(t, s, "canary of production for two to observe; host: ")
	}
	b.run(job("three", "other", reconciler.Preview), reconciler.Changed)
	for _, s := range b.starts() {
		expectEnviron(t, s, "")
	}

	// Whatever is wrong with a helper, nothing starts, and what it printed is not told.
	write("fails", "echo K=canary; echo canary >&2; exit 3", 0o700)
	write("hangs", "echo K=canary; sleep 60 & exec sleep 60", 0o700)
	write("chatty", "echo canary", 0o700)
	write("floods", "echo K=canary; exec head -c 2000000 /dev/zero", 0o700)
	write("open", "echo K=canary", 0o770)
	write("still", "echo K=canary", 0o600)
	write("both", "echo K=canary", 0o700)
	write("both.env", "", 0o600)
	for environment, want := range map[string]string{
		"fails":  "/fails: exit status 3: try `PAVE_ENVIRONMENT=fails PAVE_REQUEST=unit-fails PAVE_MODE=converge ",
		"hangs":  "/hangs: took longer than 1s",
		"chatty": "/chatty:1: expected KEY=VALUE",
		"floods": "/floods printed more than 1048576 bytes",
		"open":   "run chmod 700 on it",
		"still":  "run chmod 700 on it",
		"both":   "/both: remove one of them",
	} {
		job := job("unit-"+environment, environment, reconciler.Converge)
		if environment == "hangs" {
			job.Timeout = time.Second
		}
		run := b.start(job)
		result := b.wait(run, reconciler.PlanFailed)
		contains(t, result.Message, want)
		lacks(t, result.Message+b.leftBy(run), "canary")
		b.expectStarts()
	}
}

// A run that died may have left what a helper made, which nobody knows any more.
func TestTracesOfHelpersAreNotShown(t *testing.T) {
	for name, shown := range map[string]bool{"staging": false, "staging.env": true} {
		b := newBenchAlone(t)
		b.host.Credentials = t.TempDir()
		must(t, os.WriteFile(filepath.Join(b.host.Credentials, name), []byte("K=long enough\n"), 0o600))
		run := &running{host: b.host, job: b.job("one", simple, nil), dir: t.TempDir()}
		must(t, os.WriteFile(filepath.Join(run.dir, stderrName), []byte("it crashed"), 0o600))
		if got := strings.Contains(run.unknown().Message, "it crashed"); got != shown {
			t.Errorf("%s: expected what the run wrote to be shown: %v, got %q", name, shown, run.unknown().Message)
		}
	}
}

// expectEnviron checks that an engine got its few variables, the credential,
// and nothing else.
func expectEnviron(t *testing.T, s start, credential string) {
	t.Helper()
	allowed := []string{"PATH", "HOME", "TMPDIR", "LANG", "CHECKPOINT_DISABLE", "TF_CLI_CONFIG_FILE", "TF_IN_AUTOMATION", "TF_INPUT",
		"TF_APPEND_USER_AGENT", "TF_LOG", "TF_LOG_CORE", "TF_LOG_PATH", "TF_LOG_PROVIDER"} // the last five are terraform-exec's
	got := ""
	for _, variable := range s.Env {
		key, value, _ := strings.Cut(variable, "=")
		switch {
		case key == "AWS_SECRET_ACCESS_KEY":
			got = value
		case strings.HasPrefix(key, "TF_LOG") && value != "":
			t.Errorf("%v: %s is set", s.Args, key)
		case !slices.Contains(allowed, key):
			t.Errorf("%v: unexpected variable %s", s.Args, key)
		}
	}
	if got != credential {
		t.Errorf("%v: expected the credential %q, got %q", s.Args, credential, got)
	}
}

// Defaults of sensitive variables are secret in whatever way they are written, and
// truth is not.
func TestDefaultsOfSensitiveVariables(t *testing.T) {
	var s secrets
	s.addDefaults(map[string][]byte{
		"main.tf": []byte(`
variable "pin" {
  default   = { codes = ["first-code", "${"second"}-code", 471147], open = true }
  sensitive = true
}
variable "text" {
  default   = <<-EOT
    one line
    another line
  EOT
  sensitive = "true"
}
variable "plain" { default = "everybody" }`),
		"more.tf.json":    []byte(`{"variable": {"key": {"default": {"deep": ["json-code"]}, "sensitive": true}, "other": {"default": "known"}}}`),
		"nested/other.tf": []byte("variable \"x\" {\n  default = \"elsewhere\"\n  sensitive = true\n}"),
		"broken.tf":       []byte(`variable "x" {`),
	})
	const text = "first-code second 471147 one line another line json-code"
	if got := s.mask(text); strings.ContainsAny(strings.ReplaceAll(got, masked, ""), "abcdefghijklmnopqrstuvwxyz0123456789") {
		t.Errorf("got %q", got)
	}
	const open = "true everybody known elsewhere"
	if got := s.mask(open); got != open {
		t.Errorf("got %q", got)
	}
}
