package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/pave-dev/pave/reconciler"
)

// progress shows how far a pass is, from its first second on: a bar on a
// terminal, a plain line every few seconds elsewhere.
type progress struct {
	app   *app
	what  string
	start time.Time
	bar   *progressbar.ProgressBar
	last  string
	said  time.Time
}

// progressEvery is the shortest time between two plain lines.
const progressEvery = 2 * time.Second

func (a *app) progress(what string) *progress {
	return &progress{app: a, what: what, start: time.Now()}
}

func (p *progress) update(now reconciler.Progress) {
	if p.app.quiet || time.Since(p.start) < time.Second {
		return
	}
	text := fmt.Sprintf("%s: %d of %d ready, %d running, %d waiting, %d held", p.what, now.Ready, now.Units, now.Running, now.Waiting, now.Held)
	if !terminal(p.app.stderr) {
		if text != p.last && time.Since(p.said) >= progressEvery {
			fmt.Fprintln(p.app.stderr, text)
			p.last, p.said = text, time.Now()
		}
		return
	}
	if p.bar == nil || p.bar.GetMax() != now.Units {
		p.bar = progressbar.NewOptions(now.Units, progressbar.OptionSetWriter(p.app.stderr), progressbar.OptionSetWidth(20),
			progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false))
	}
	p.bar.Describe(fmt.Sprintf("%s, %d running, %d waiting, %d held", p.what, now.Running, now.Waiting, now.Held))
	_ = p.bar.Set(now.Ready)
}

// end leaves the terminal as it was.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
