package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// BenchmarkPropose measures what reading a pull request takes of processors that
// changes one of so many units, all of which run, with all rules on:
//
//	go test ./cmd/pave -run '^$' -bench Propose -benchtime 10x
//
// s-processor is of this process and of all that it starts. Insiders' changes are
// read by one process, which was started before.
func BenchmarkPropose(b *testing.B) {
	for _, units := range []int{1, 100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("Units=%d", units), func(b *testing.B) {
			c := newCrowd(b, units)
			c.unit(units/2, "as it will be")
			change := c.propose()
			for name, insider := range map[string]bool{"Insider": true, "Stranger": false} {
				b.Run(name, func(b *testing.B) {
					change.Insider = insider
					propose := func() {
						got, err := c.Propose(b.Context(), change)
						must(b, err)
						if len(got.Report.Violations) > 0 || len(got.Jobs) != 1 {
							b.Fatalf("got %+v", got.Report)
						}
					}
					propose()
					before := c.processor(b)
					for b.Loop() {
						propose()
					}
					b.ReportMetric((c.processor(b)-before).Seconds()/float64(b.N), "s-processor/op")
				})
			}
		})
	}
}

// processor is what this process, those that it waited for, and the reader that is
// kept took so far.
func (c *crowd) processor(b *testing.B) time.Duration {
	var all time.Duration
	if r := c.insiders.reader; r != nil {
		proc, err := procfs.NewProc(r.cmd.Process.Pid)
		must(b, err)
		stat, err := proc.Stat()
		must(b, err)
		const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go knows
		all = time.Duration(int(stat.UTime)+int(stat.STime)+stat.CUTime+stat.CSTime) * tick
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		must(b, syscall.Getrusage(who, &usage))
		all += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return all
}
