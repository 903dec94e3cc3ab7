package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/pave-dev/pave/reconciler"
)

// progress shows how far a pass is, from its first second on: a bar on a
// terminal, a plain line every few seconds elsewhere. It speaks while nothing
// happens as well, for one run may take an hour.
type progress struct {
	app   *app
	what  string
	start time.Time

	stop, stopped chan struct{}

	mu  sync.Mutex
	now reconciler.Progress // guarded by mu

	bar  *progressbar.ProgressBar
	of   int // the units that the bar counts; 0 while they are not known
	last string
	said time.Time
}

// progressEvery is the shortest time between two plain lines, and before the
// first.
const progressEvery = 2 * time.Second

func (a *app) progress(what string) *progress {
	p := &progress{app: a, what: what, start: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	p.said = p.start
	go p.run()
	return p
}

// update takes the counts that are shown next.
func (p *progress) update(now reconciler.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// end leaves the terminal as it was.
func (p *progress) end() {
	close(p.stop)
	<-p.stopped
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) run() {
	defer close(p.stopped)
	if p.app.quiet {
		return
	}
	show := p.plain
	if terminal(p.app.stderr) {
		show = p.draw
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-second.C:
		}
		p.mu.Lock()
		now := p.now
		p.mu.Unlock()
		show(now)
	}
}

// plain writes a line where something changed.
func (p *progress) plain(now reconciler.Progress) {
	text := p.what
	if now.Units > 0 {
		text = fmt.Sprintf("%s: %d of %d ready, %d running, %d waiting, %d held", p.what, now.Ready, now.Units, now.Running, now.Waiting, now.Held)
	}
	if text != p.last && time.Since(p.said) >= progressEvery {
		fmt.Fprintln(p.app.stderr, text)
		p.last, p.said = text, time.Now()
	}
}

// draw draws the bar anew, or what turns while there is nothing to count.
func (p *progress) draw(now reconciler.Progress) {
	if p.bar == nil || p.of != now.Units {
		options := []progressbar.Option{progressbar.OptionSetWriter(p.app.stderr), progressbar.OptionSetWidth(20),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false)}
		most := -1
		if now.Units > 0 {
			most, options = now.Units, append(options, progressbar.OptionShowCount())
		}
		if p.bar != nil {
			_ = p.bar.Clear()
		}
		p.bar, p.of = progressbar.NewOptions(most, options...), now.Units
	}
	text := fmt.Sprintf("%s %s", p.what, time.Since(p.start).Round(time.Second))
	if now.Units == 0 {
		p.bar.Describe(text)
		_ = p.bar.Add(1)
		return
	}
	p.bar.Describe(fmt.Sprintf("%s, %d running, %d waiting, %d held", text, now.Running, now.Waiting, now.Held))
	_ = p.bar.Set(now.Ready)
}
