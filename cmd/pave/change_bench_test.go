package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// BenchmarkChange measures what one changed unit of so many takes of processors, from
// the look that finds it to its record, without the run itself:
//
//	go test ./cmd/pave -run '^$' -bench Change -benchtime 20x
func BenchmarkChange(b *testing.B) {
	for _, units := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("Units=%d", units), func(b *testing.B) {
			c := newCrowd(b, units)
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.loop.Serve(ctx, reconciler.Leave{}) }()
			defer func() {
				stop()
				must(b, <-ended)
			}()
			var spent time.Duration
			for i := 0; b.Loop(); i++ {
				c.unit(units/2, fmt.Sprint("as it is ", i))
				c.git("commit", "--quiet", "--all", "--message", "Change it")
				c.git("push", "--quiet", c.bare, "main")
				status := filepath.Join(c.bare, "refs/heads/pave/status")
				recorded, err := os.ReadFile(status)
				must(b, err)
				before := c.processor(b)
				c.loop.Poke()
				for now := recorded; bytes.Equal(now, recorded); time.Sleep(time.Millisecond) {
					now, err = os.ReadFile(status)
					must(b, err)
				}
				if i > 0 { // the first finds nothing that it knows
					spent += c.processor(b) - before
				}
			}
			b.ReportMetric(spent.Seconds()/float64(max(b.N-1, 1)), "s-processor/op")
		})
	}
}
