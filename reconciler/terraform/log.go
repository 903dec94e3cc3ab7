package terraform

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// logName is the log of a run: in its folder, and beside the run directories of a
// unit that of its last run that was forgotten.
const logName = "log.json"

// The lines of a log, and the bytes of one file.
const (
	mostLogLines = 200
	maxLog       = 4 << 20
)

// log is what a run says of itself while it goes on. What it knows to be secret by
// then is masked whenever the log is written, so a line is masked again once more is
// known.
type log struct {
	file  string // empty where nothing is kept
	said  reconciler.RunLog
	lines []logLine
}

// logLine is a line that is not masked yet.
type logLine struct {
	at   time.Time
	text string
	// foreign tells that somebody else wrote the text: a program that makes a secret
	// may print it, and the run learns of it from the state alone. It is told when
	// the run has ended.
	foreign bool
}

// beginLog starts the log of a run that is to change something. Those that only look
// are too many, and what they find is recorded.
func (e *execution) beginLog() {
	if e.job.Mode != reconciler.Converge {
		return
	}
	e.log.file = filepath.Join(e.dir, logName)
	e.log.said = reconciler.RunLog{Run: e.job.ID, Destroy: e.job.Destroy, Revision: e.job.Revision}
	e.note("begin, by %s %s", e.job.Engine.Name, e.job.Engine.Version)
}

// note adds a line in Pave's own words to the log, and writes it.
func (e *execution) note(format string, args ...any) {
	e.log.add(logLine{at: time.Now().UTC(), text: fmt.Sprintf(format, args...)})
	e.writeLog()
}

// add adds a line to be written, and drops the first where they are too many.
func (l *log) add(line logLine) {
	if l.file == "" {
		return
	}
	l.lines = append(l.lines, line)
	if more := len(l.lines) - mostLogLines; more > 0 {
		l.said.Left += more
		l.lines = slices.Delete(l.lines, 0, more)
	}
}

// writeLog writes what may be told by now. That it cannot be written is no fault of
// the run.
func (e *execution) writeLog() {
	l := &e.log
	if l.file == "" {
		return
	}
	l.said.Lines = l.said.Lines[:0]
	for _, line := range l.lines {
		if !line.foreign || !l.said.Ended.IsZero() {
			l.said.Lines = append(l.said.Lines, reconciler.LogLine{Time: line.at, Text: e.secrets.line(line.text)})
		}
	}
	data, err := json.Marshal(l.said)
	if err == nil {
		err = replaceFile(l.file, data, false)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "write the log: %v\n", err)
	}
}

// endLog says how the run ended, when all secrets are known that it could learn.
// Those that an apply made are not where its state could not be read.
func (e *execution) endLog() {
	r := &e.result
	e.log.said.Ended, e.log.said.Outcome = r.Finished, r.Outcome
	if exists(filepath.Join(e.dir, begunName)) && e.after == nil {
		e.log.lines = slices.DeleteFunc(e.log.lines, func(line logLine) bool { return line.foreign })
	}
	for _, v := range r.Violations {
		e.log.add(logLine{at: r.Finished, text: "rules: " + v.String()})
	}
	text := string(r.Outcome)
	if r.Message != "" {
		text += ": " + r.Message
	}
	e.note("%s", text)
}

// notePlan says what the plan is, by addresses alone.
func (e *execution) notePlan() {
	e.note("plan: %s", e.result.Plan)
	for _, c := range e.result.Plan.Changes {
		e.log.add(logLine{at: time.Now().UTC(), text: fmt.Sprintf("plan: %s %s", c.Action, c.Address)})
	}
	e.writeLog()
}

// streamed is what Pave tells of a message in the stream of an apply. Most of what an
// engine says holds values.
type streamed struct {
	Type string    `json:"type"`
	Time time.Time `json:"@timestamp"`
	Hook struct {
		Resource struct {
			Addr string `json:"addr"`
		} `json:"resource"`
		Action      string `json:"action"`
		Provisioner string `json:"provisioner"`
		Output      string `json:"output"`
		Elapsed     int    `json:"elapsed_seconds"`
	} `json:"hook"`
}

// line returns the line of a message, and whether there is one.
func (s streamed) line() (logLine, bool) {
	at, h := s.Time.UTC(), s.Hook
	own := func(format string, args ...any) (logLine, bool) {
		return logLine{at: at, text: h.Resource.Addr + ": " + fmt.Sprintf(format, args...)}, true
	}
	switch s.Type {
	case "apply_start":
		return own("%s", h.Action)
	case "apply_progress":
		return own("%s, for %d s", h.Action, h.Elapsed)
	case "apply_complete":
		return own("%s: done after %d s", h.Action, h.Elapsed)
	case "apply_errored":
		return own("%s: failed after %d s", h.Action, h.Elapsed)
	case "provision_start":
		return own("%s", h.Provisioner)
	case "provision_progress":
		return logLine{at: at, text: h.Resource.Addr + ": " + h.Provisioner + ": " + h.Output, foreign: true}, true
	}
	return logLine{}, false
}

// follow notes what an apply says in its stream, until the returned function is
// called. Nobody else may use the log or the secrets meanwhile.
func (e *execution) follow(path string) (stop func()) {
	if e.log.file == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var read tail
		for wait := lockPoll; ; wait = min(2*wait, time.Second) {
			ended := sleep(ctx, wait) != nil
			if e.noteStream(read.news(path)) {
				e.writeLog()
			}
			if ended {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// noteStream adds the lines of a part of a stream, and tells whether there are any.
func (e *execution) noteStream(part []byte) bool {
	news := false
	for line := range bytes.Lines(part) {
		var message streamed
		if json.Unmarshal(line, &message) != nil {
			continue
		}
		if said, is := message.line(); is {
			e.log.add(said)
			news = true
		}
	}
	return news
}

// tail reads a file that is written to meanwhile, and may be cut to nothing.
type tail struct {
	at   int64
	half []byte // of a line that is not written whole yet
}

// maxTail bounds what is read at a time.
const maxTail = 1 << 20

// news returns the lines that were written since the last time.
func (t *tail) news(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	if info.Size() < t.at { // it was cut
		t.at, t.half = 0, nil
	}
	if skip := info.Size() - maxTail; skip > t.at { // half a line is no message
		t.at, t.half = skip, nil
	}
	part := make([]byte, info.Size()-t.at)
	n, err := file.ReadAt(part, t.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	t.at += int64(n)
	part = append(t.half, part[:n]...)
	end := bytes.LastIndexByte(part, '\n') + 1
	if t.half = slices.Clone(part[end:]); len(t.half) > maxTail { // no message is so long
		t.half = nil
	}
	return part[:end]
}

// Log returns the log of a unit's run that goes on, or of its last one; false where
// none is kept.
func (r *Runner) Log(unit string) (reconciler.RunLog, bool) {
	if !reconciler.IsName(unit) {
		return reconciler.RunLog{}, false
	}
	folder := filepath.Join(r.host.Runs, unit)
	runs, _ := fs.Glob(os.DirFS(folder), "*/"+logName)                        // none where there is no such folder
	slices.SortFunc(runs, func(a, b string) int { return cmp.Compare(b, a) }) // the latest first
	for _, file := range append(runs, logName) {
		var said reconciler.RunLog
		if readJSON(filepath.Join(folder, file), maxLog, &said) == nil {
			return said, true
		}
	}
	return reconciler.RunLog{}, false
}

// ownLog reads the log in the run's folder.
func (p *running) ownLog() (said reconciler.RunLog, found bool) {
	err := readJSON(filepath.Join(p.dir, logName), maxLog, &said)
	return said, err == nil
}

// endLog ends the log of a run that did not do that itself.
func (p *running) endLog(result reconciler.Result) {
	said, found := p.ownLog()
	if !found || !said.Ended.IsZero() {
		return
	}
	said.Ended, said.Outcome = result.Finished, result.Outcome
	said.Lines = append(said.Lines, reconciler.LogLine{Time: result.Finished, Text: string(result.Outcome) + ": " + result.Message})
	if data, err := json.Marshal(said); err == nil {
		_ = replaceFile(filepath.Join(p.dir, logName), data, false) // or it says that the run goes on
	}
}

// keepLog keeps the log of a run that is forgotten for as long as there is anything of
// its unit: another one of that name is somebody else's.
func (p *running) keepLog() {
	said, found := p.ownLog()
	kept := filepath.Join(filepath.Dir(p.dir), logName)
	switch {
	case !found:
	case said.Outcome == reconciler.Destroyed:
		_ = os.Remove(kept) // there may be none
	default:
		_ = os.Rename(filepath.Join(p.dir, logName), kept) // or there is none
	}
}
