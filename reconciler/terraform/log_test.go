package terraform

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// told is what the log of a unit says.
func (b *bench) told(unit string) (said reconciler.RunLog, text string) {
	b.Helper()
	said, found := b.runner.Log(unit)
	if !found {
		b.Fatalf("there is no log of %s", unit)
	}
	var all strings.Builder
	for _, line := range said.Lines {
		if line.Time.IsZero() {
			b.Errorf("it is not said when: %s", line.Text)
		}
		all.WriteString(line.Text + "\n")
	}
	return said, all.String()
}

// tells waits for the log of a unit to say something.
func (b *bench) tells(unit, text string) string {
	b.Helper()
	said := ""
	b.await("the log to say "+text, func() bool {
		if _, found := b.runner.Log(unit); found {
			_, said = b.told(unit)
		}
		return strings.Contains(said, text)
	})
	return said
}

// A program that an apply starts prints a secret of another unit and one that the
// apply itself makes.
func TestLog(t *testing.T) {
	b := newBench(t)
	folder := b.outside()
	job := b.downstream(usesPassword + fmt.Sprintf(`
resource "terraform_data" "key" {
  input = "made-${uuid()}"
  provisioner "local-exec" {
    command     = "echo it is $KEY and $P; touch %[1]s/said; while [ ! -e %[1]s/go ]; do sleep 0.1; done"
    environment = { KEY = self.output, P = nonsensitive(var.password) }
  }
}
resource "terraform_data" "other" { input = var.host }
output "key" {
  value     = terraform_data.key.output
  sensitive = true
}`, folder))
	run := b.start(job)
	live := b.tells(job.Unit, "terraform_data.key: local-exec")
	b.await("the provisioner", func() bool { return exists(filepath.Join(folder, "said")) })
	contains(t, live, "begin, by terraform", "plan: +2 ~0 -0", "plan: create terraform_data.key", "apply", "terraform_data.key: create")
	lacks(t, live, "made-", "canary", "it is")
	if said, _ := b.told(job.Unit); !said.Ended.IsZero() || said.Outcome != "" || said.Run != job.ID {
		t.Errorf("it goes on, and its log says %+v", said)
	}
	must(t, os.WriteFile(filepath.Join(folder, "go"), nil, 0o600))
	result := b.wait(run, reconciler.Applied)
	expect := func() {
		t.Helper()
		said, text := b.told(job.Unit)
		contains(t, text, "terraform_data.key: local-exec: it is "+masked+" and "+masked, "terraform_data.key: create: done after", "\napplied\n")
		lacks(t, text, "made-", "canary")
		if said.Ended.IsZero() || said.Outcome != reconciler.Applied {
			t.Errorf("it has ended, and its log says %+v", said)
		}
	}
	expect()
	must(t, run.Forget())
	expect()

	look := b.again(job, result)
	look.Mode = reconciler.Observe
	run = b.start(look)
	b.wait(run, reconciler.Changed) // the key is another each time
	must(t, run.Forget())
	expect()

	gone := b.again(job, result)
	gone.Destroy = true
	run = b.start(gone)
	b.wait(run, reconciler.Destroyed)
	if said, text := b.told(job.Unit); !said.Destroy || !strings.Contains(text, "plan: delete terraform_data.key") {
		t.Errorf("the log of the end says %+v", said)
	}
	must(t, run.Forget())
	if said, found := b.runner.Log(job.Unit); found {
		t.Errorf("the unit is gone, and its log says %+v", said)
	}
}

func TestLogOfAFailure(t *testing.T) {
	b := newBench(t)
	job := b.downstream(usesPassword + `
resource "terraform_data" "main" {
  count = 300
  lifecycle {
    postcondition {
      condition     = count.index < 290
      error_message = "No: ${nonsensitive(var.password)}."
    }
  }
}`)
	run := b.start(job)
	b.wait(run, reconciler.PlanFailed)
	said, text := b.told(job.Unit)
	contains(t, text, "plan: main.tf:", "No: "+masked, "plan-failed: ")
	lacks(t, text, "canary")
	if said.Outcome != reconciler.PlanFailed || len(said.Lines) > mostLogLines {
		t.Errorf("got %d lines of %s", len(said.Lines), said.Outcome)
	}
	must(t, run.Forget())
	long := b.again(job, reconciler.Result{})
	long.Module = map[string][]byte{"main.tf": []byte(usesPassword + `resource "terraform_data" "main" { count = 300 }`)}
	b.run(long, reconciler.Applied)
	said, text = b.told(job.Unit)
	if len(said.Lines) != mostLogLines || said.Left == 0 || !strings.HasSuffix(text, "applied\n") {
		t.Errorf("got %d lines and %d that are left out, the last %q", len(said.Lines), said.Left, said.Lines[len(said.Lines)-1].Text)
	}
}

// A run that is killed does not go on, and neither does its log.
func TestLogOfARunThatDied(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", slowModule(1), nil)
	run := b.start(job)
	b.awaitProvisioner(job)
	must(t, syscall.Kill(b.pidOf("__run", b.dir(job)), syscall.SIGKILL))
	b.wait(run, reconciler.Unknown)
	said, text := b.told(job.Unit)
	contains(t, text, "apply", "unknown: the run ended without a result")
	if said.Ended.IsZero() || said.Outcome != reconciler.Unknown {
		t.Errorf("got %+v", said)
	}
}

func TestNoLog(t *testing.T) {
	b := newBench(t)
	for _, unit := range []string{"checkout-db", "../runs", ""} {
		if said, found := b.runner.Log(unit); found {
			t.Errorf("%q: got %+v", unit, said)
		}
	}
}

// A stream is read while it is written, and may be cut to nothing.
func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stream")
	var read tail
	for _, step := range []struct{ write, want string }{
		{"", ""}, {"one\ntw", "one\n"}, {"o\n", "two\n"}, {"cut", ""}, {"three\n", "three\n"}, {strings.Repeat("x", maxTail) + "\nlast\n", "last\n"},
	} {
		if step.write == "cut" {
			must(t, os.Truncate(file, 0))
			step.write = ""
		}
		out, err := createLog(file)
		must(t, err)
		_, err = out.WriteString(step.write)
		must(t, err)
		must(t, out.Close())
		if got := string(read.news(file)); !strings.HasSuffix(got, step.want) || step.want == "" && got != "" {
			t.Errorf("after %.20q: got %.40q, expected %q", step.write, got, step.want)
		}
	}
}
