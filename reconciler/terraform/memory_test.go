package terraform

import (
	"fmt"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

// hungryModule is a module whose apply takes so many megabytes beside the engine.
func hungryModule(megabytes int) string {
	return fmt.Sprintf(`
resource "terraform_data" "hungry" {
  triggers_replace = %d
  provisioner "local-exec" { command = "dd if=/dev/zero of=/dev/null bs=%[1]dM count=8 status=none; sleep 0.3" }
}`, megabytes)
}

// What a run takes is expected of the next one: as much as the last apply took,
// which a run that changes nothing does not make less.
func TestMemoryIsMeasured(t *testing.T) {
	b := newBench(t)
	job := b.job("checkout-db", hungryModule(300), nil)
	if got := b.runner.Memory(job.Unit); got != unmeasured {
		t.Errorf("expected of a unit that never ran: %d", got)
	}
	expect := func(least, most uint64) {
		t.Helper()
		if got := b.runner.Memory(job.Unit) >> 20; got < least || got > most {
			t.Errorf("expected %d to %d MB, got %d", least, most, got)
		}
	}
	first := b.run(job, reconciler.Applied)
	expect(350, 800)
	last := b.run(b.again(job, first), reconciler.Unchanged)
	expect(350, 800)
	b.restart()
	expect(350, 800)
	job.Module["main.tf"] = []byte(hungryModule(1))
	last = b.run(b.again(job, last), reconciler.Applied)
	expect(50, 340)
	job.Module["main.tf"] = []byte(hungryModule(400) + `
resource "terraform_data" "bad" {
  depends_on = [terraform_data.hungry]
  provisioner "local-exec" { command = "false" }
}`)
	b.run(b.again(job, last), reconciler.ApplyFailed)
	expect(450, 900)
}
