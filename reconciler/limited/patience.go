package limited

import (
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// slack is how many times longer by the clock a process may take than by the
// processor: a machine that is busy with other things is no fault of it.
const slack = 6

// Patience watches one process.
type Patience struct {
	pid   int
	limit time.Duration
	over  func()

	mu    sync.Mutex
	timer *time.Timer // guarded by mu, as are both below
	began time.Time
	used  time.Duration
	asked time.Time // when used was
}

// NewPatience calls over once a process of this program has used a processor
// for longer than the limit since the last call of Renew, or has taken several times
// as long by the clock. Stop ends the watch.
func NewPatience(pid int, limit time.Duration, over func()) *Patience {
	p := &Patience{pid: pid, limit: limit, over: over}
	p.timer = time.AfterFunc(limit, p.look)
	p.Renew()
	return p
}

// Renew begins anew: the process answered something. What it used is not asked for
// more often than matters, as many answers may come within a moment.
func (p *Patience) Renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
	if p.began.Sub(p.asked) > p.limit/100 {
		p.used, p.asked = Processor(p.pid), p.began
	}
	p.timer.Reset(p.limit)
}

// Stop ends the watch.
func (p *Patience) Stop() { p.timer.Stop() }

func (p *Patience) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.limit - (Processor(p.pid) - p.used)
	if left <= 0 || time.Since(p.began) >= slack*p.limit {
		p.over()
		return
	}
	p.timer.Reset(max(left, 10*time.Millisecond))
}

// Processor returns the processor time that a process has used; zero where
// nobody tells, so that the clock alone counts.
func Processor(pid int) time.Duration {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	stat, err := process.Stat()
	if err != nil {
		return 0
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}
