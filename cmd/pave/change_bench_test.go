package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
)

// BenchmarkChange measures what one changed unit of so many takes of processors, from
// the look that finds it to its record, without the run itself, and how long it takes
// until the revision has its verdict:
//
//	go test ./cmd/pave -run '^$' -bench Change -benchtime 20x
func BenchmarkChange(b *testing.B) {
	for _, units := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("Units=%d", units), func(b *testing.B) {
			c := newCrowd(b, units)
			verdicts := make(chan time.Time, 1)
			c.loop.Log = slog.New(listener{slog.DiscardHandler, verdicts})
			evaluator := c.loop.Evaluator.(*catalog.Evaluator)
			evaluator.Stay(time.Minute) // as the daemon lets it
			defer evaluator.Stay(0)
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.loop.Serve(ctx, reconciler.Leave{}) }()
			defer func() {
				stop()
				must(b, <-ended)
			}()
			var spent, waited time.Duration
			for i := 0; b.Loop(); i++ {
				c.unit(units/2, fmt.Sprint("as it is ", i))
				c.git("commit", "--quiet", "--all", "--message", "Change it")
				c.git("push", "--quiet", c.bare, "main")
				status := filepath.Join(c.bare, "refs/heads/pave/status")
				recorded, err := os.ReadFile(status)
				must(b, err)
				before, began := c.processor(b), time.Now()
				c.loop.Poke()
				verdict := <-verdicts
				for now := recorded; bytes.Equal(now, recorded); time.Sleep(time.Millisecond) {
					now, err = os.ReadFile(status)
					must(b, err)
				}
				if i > 0 { // the first finds nothing that it knows
					spent += c.processor(b) - before
					waited += verdict.Sub(began)
				}
			}
			b.ReportMetric(spent.Seconds()/float64(max(b.N-1, 1)), "s-processor/op")
			b.ReportMetric(float64(waited.Milliseconds())/float64(max(b.N-1, 1)), "ms-verdict/op")
		})
	}
}

// listener tells when a revision came into force.
type listener struct {
	slog.Handler
	verdicts chan time.Time
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "read a revision" {
		l.verdicts <- time.Now()
	}
	return nil
}
