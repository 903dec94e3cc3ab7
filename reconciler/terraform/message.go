package terraform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pave-dev/pave/reconciler"
)

// maxMessage bounds a message, in bytes; a status commit holds it as one line.
const maxMessage = 1000

// diagnostic is one error of an engine.
type diagnostic struct {
	Summary, Detail, Address, File string
	Line                           int
}

// String returns the diagnostic as "main.tf:3: summary: detail (address)".
func (d diagnostic) String() string {
	var b strings.Builder
	if d.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", d.File, d.Line)
	}
	b.WriteString(strings.TrimSuffix(d.Summary, "."))
	if d.Detail != "" {
		b.WriteString(": " + strings.TrimSpace(d.Detail))
	}
	if d.Address != "" {
		b.WriteString(" (" + d.Address + ")")
	}
	return b.String()
}

// joinDiagnostics makes one text of all errors, those that name a place first;
// empty if there is none.
func joinDiagnostics(ds []diagnostic) string {
	slices.SortStableFunc(ds, func(a, b diagnostic) int { return min(b.Line, 1) - min(a.Line, 1) })
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = d.String()
	}
	return strings.Join(texts, "; ")
}

// streamErrors reads the errors from the output of a command with -json, one
// JSON object a line. Other messages, and lines that are too long or no JSON,
// say nothing about errors.
func streamErrors(stream io.Reader) []diagnostic {
	var found []diagnostic
	reader := bufio.NewReaderSize(stream, 64<<10)
	for {
		line, err := readLine(reader)
		var message struct {
			Diagnostic struct {
				Severity string `json:"severity"`
				Summary  string `json:"summary"`
				Detail   string `json:"detail"`
				Address  string `json:"address"`
				Range    struct {
					Filename string `json:"filename"`
					Start    struct {
						Line int `json:"line"`
					} `json:"start"`
				} `json:"range"`
			} `json:"diagnostic"`
		}
		d := &message.Diagnostic
		if json.Unmarshal(line, &message) == nil && d.Severity == "error" {
			found = append(found, diagnostic{d.Summary, d.Detail, d.Address, d.Range.Filename, d.Range.Start.Line})
		}
		if err != nil {
			return found
		}
	}
}

// readLine returns the next line, empty if it is longer than a diagnostic may be.
func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		if len(line)+len(part) <= 1<<20 {
			line = append(line, part...)
		} else {
			line = line[:0:0]
		}
		if err != bufio.ErrBufferFull {
			return bytes.TrimSpace(line), err
		}
	}
}

var (
	errorStart = reconciler.Pattern(`^(Error|Warning|panic): (.*)$`)
	errorPlace = reconciler.Pattern(`^  on (\S+) line (\d+)`)
	errorOwner = reconciler.Pattern(`^  with (.*),$`)
)

// textErrors reads the errors from an engine's plain standard error. Each is a
// line "Error: summary", then indented lines that tell the place and quote the
// source, then the detail. A provider that crashed says so before its stack.
func textErrors(stderr string) []diagnostic {
	var found []diagnostic
	var current *diagnostic
	for line := range strings.Lines(stderr) {
		line = strings.TrimRight(strings.TrimPrefix(strings.TrimLeft(line, "╷│╵"), " \t"), " \r\n")
		if start := errorStart().FindStringSubmatch(line); start != nil {
			current = nil
			switch start[1] {
			case "Error":
				found = append(found, diagnostic{Summary: start[2]})
				current = &found[len(found)-1]
			case "panic": // of a provider, before its stack
				found = append(found, diagnostic{Summary: line})
			}
			continue
		}
		if current != nil {
			current.addLine(line)
		}
	}
	return found
}

func (d *diagnostic) addLine(line string) {
	if place := errorPlace().FindStringSubmatch(line); place != nil {
		d.File = place[1]
		d.Line, _ = strconv.Atoi(place[2])
		return
	}
	if owner := errorOwner().FindStringSubmatch(line); owner != nil {
		d.Address = owner[1]
		return
	}
	if strings.HasPrefix(line, "  ") && d.Detail == "" {
		return // a quoted line of source
	}
	d.Detail = strings.TrimSpace(d.Detail + " " + strings.TrimSpace(line))
}

// printable makes one line of a text that was not written by Pave: white space
// becomes single blanks; control, format and bidirectional characters become
// visible.
func printable(text string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(text), " ") {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// shorten cuts a text at a rune, and says so.
func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + " …"
}
