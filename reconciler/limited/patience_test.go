package limited

import (
	"os/exec"
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	for _, test := range []struct {
		name, does  string
		least, most time.Duration // before it is over
	}{
		{"busy", "while :; do :; done", 200 * time.Millisecond, slack * 200 * time.Millisecond},
		{"idle", "sleep 60", slack * 200 * time.Millisecond, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("sh", "-c", test.does)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			over := make(chan time.Time, 1)
			began := time.Now()
			p := NewPatience(cmd.Process.Pid, 200*time.Millisecond, func() { over <- time.Now() })
			defer p.Stop()
			if took := (<-over).Sub(began); took < test.least || took > test.most+time.Second {
				t.Errorf("it was over after %s", took)
			}
		})
	}
}
