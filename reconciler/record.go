package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Record is what happened: the content of the status branch. What its maps hold is
// never changed, so that several records can share it.
type Record struct {
	Tip      string // the commit it was read from; empty where there is no branch yet
	Units    map[string]*UnitStatus
	Services map[string]*ServiceStatus
	Locks    map[string]Lock // by blueprint
	Platform PlatformStatus
}

// NewRecord returns the record of a platform where nothing has happened.
func NewRecord() *Record {
	return &Record{Units: map[string]*UnitStatus{}, Services: map[string]*ServiceStatus{}, Locks: map[string]Lock{}}
}

// without returns the record but for units that are not believed: to the rules
// what only they vouch for is asked for the first time.
func (r *Record) without(units map[string]bool) *Record {
	if len(units) == 0 {
		return r
	}
	believed := *r
	believed.Units = maps.Clone(r.Units)
	maps.DeleteFunc(believed.Units, func(name string, _ *UnitStatus) bool { return units[name] })
	return &believed
}

// unready are the units that are not as the last revision in force says, each with
// the revision that it was applied from.
func (r *Record) unready() map[string]string {
	units := map[string]string{}
	for name, status := range r.Units {
		if !status.Is(Ready) {
			units[name] = status.AppliedRevision
		}
	}
	return units
}

// PartSource reads parts of commits, see [Source].
type PartSource interface {
	Part(ctx context.Context, commit string, paths ...string) (*Tree, error)
}

// RecordTree returns the part of the status branch at a commit that ReadRecord reads.
func RecordTree(ctx context.Context, source PartSource, commit string) (*Tree, error) {
	return source.Part(ctx, commit, "locks", "platform.json", "requests", "services")
}

// RecordAt reads the status branch at a commit: of what is known of another one, only
// where that differs. known may be nil, and stays as it is.
func RecordAt(ctx context.Context, source PartSource, commit string, known *Record) (*Record, error) {
	if known != nil && known.Tip == commit {
		return known, nil
	}
	tree, err := RecordTree(ctx, source, commit)
	if err != nil {
		return nil, err
	}
	if known != nil && known.Tip != "" {
		if before, err := RecordTree(ctx, source, known.Tip); err == nil {
			return known.Reread(before, tree, commit)
		}
	}
	return ReadRecord(tree, commit)
}

// ReadRecord reads the status branch at a commit. A file that cannot be read
// is an error: a damaged record must not look like an empty one.
func ReadRecord(tree *Tree, tip string) (*Record, error) {
	r := NewRecord()
	r.Tip = tip
	files := slices.DeleteFunc(slices.Clone(tree.Files), func(f File) bool { return !isStatus(f) })
	read, stop := readAhead(tree, files)
	defer stop()
	for _, f := range files {
		if err := r.take(read, f); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// readAhead returns a function that reads the files, to be called for each once and
// in order. What comes next is read while the caller makes sense of the last.
func readAhead(tree *Tree, files []File) (read func(File) ([]byte, error), stop func()) {
	type content struct {
		data []byte
		err  error
	}
	contents, stopped := make(chan content, 64), make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for _, f := range files {
			data, err := tree.Read(f)
			select {
			case contents <- content{data, err}:
			case <-stopped:
				return
			}
		}
	})
	read = func(File) ([]byte, error) {
		next := <-contents
		return next.data, next.err
	}
	return read, func() {
		close(stopped)
		reading.Wait()
	}
}

// Reread reads the branch at another commit. What both trees have is not read
// again: the receiver is what the first of them holds, and stays so.
func (r *Record) Reread(before, tree *Tree, tip string) (*Record, error) {
	next := r.copy()
	next.Tip = tip
	changed := ChangedPaths(before, tree)
	for _, path := range changed {
		next.drop(path)
	}
	for _, path := range changed {
		if f, found := tree.Find(path); found {
			if err := next.take(tree.Read, f); err != nil {
				return nil, err
			}
		}
	}
	return next, nil
}

// drop forgets what the file at the path holds.
func (r *Record) drop(file string) {
	folder, _, _ := strings.Cut(file, "/")
	name := strings.TrimSuffix(path.Base(file), ".json")
	switch {
	case folder == "requests":
		delete(r.Units, name)
	case folder == "services":
		delete(r.Services, name)
	case folder == "locks":
		delete(r.Locks, strings.TrimSuffix(strings.TrimPrefix(file, "locks/"), ".json"))
	case file == "platform.json":
		r.Platform = PlatformStatus{}
	}
}

// isStatus tells whether a file of the branch is part of the record.
func isStatus(f File) bool {
	folder, _, _ := strings.Cut(f.Path, "/")
	return strings.HasSuffix(f.Path, ".json") && f.Mode == Regular &&
		(folder == "requests" || folder == "services" || folder == "locks" || f.Path == "platform.json")
}

// take takes in one file of the branch.
func (r *Record) take(read func(File) ([]byte, error), f File) error {
	if !isStatus(f) {
		return nil
	}
	folder, _, _ := strings.Cut(f.Path, "/")
	var into any
	var keep func() (path string, err error) // the path that the content belongs to
	switch {
	case folder == "requests":
		u := &UnitStatus{}
		into, keep = u, func() (string, error) {
			u.Document = compact(u.Document)
			r.Units[u.Request] = u
			return shard(folder, u.Request) + ".json", u.check()
		}
	case folder == "services":
		s := &ServiceStatus{}
		into, keep = s, func() (string, error) {
			r.Services[s.Service] = s
			return shard(folder, s.Service) + ".json", checkNames(s.Version, append([]string{s.Service, s.Owner}, s.Requests...)...)
		}
	case folder == "locks":
		name := strings.TrimSuffix(strings.TrimPrefix(f.Path, "locks/"), ".json")
		l := &Lock{}
		into, keep = l, func() (string, error) { r.Locks[name] = *l; return f.Path, checkNames(1, name) }
	default:
		into, keep = &r.Platform, func() (string, error) { return f.Path, r.Platform.check() }
	}
	content, err := read(f)
	if err != nil {
		return fmt.Errorf("read the status branch: %s: %w", f.Path, err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("read the status branch: %s: %w", f.Path, err)
	}
	belongs, err := keep()
	if err != nil {
		return fmt.Errorf("read the status branch: %s: %w", f.Path, err)
	}
	if belongs != f.Path {
		return fmt.Errorf("read the status branch: %s holds what belongs to %s", f.Path, belongs)
	}
	return nil
}

// compact returns a document without the spaces that people read it with, as the
// platform has it: what is the same needs no further look then.
func compact(document json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, document) != nil {
		return document
	}
	return b.Bytes()
}

// NameForm is the schema's #Name.
const NameForm = `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`

// IsName tells whether a text has that form: only such a one becomes part of a path,
// a reference or an argument. It is asked so often that no expression does it.
func IsName(text string) bool {
	return text != "" && len(text) <= 63 && 'a' <= text[0] && text[0] <= 'z' && text[len(text)-1] != '-' &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// checkNames refuses what another version of Pave wrote, and names that the
// schema would refuse: names reach paths, trailers and argument vectors, and
// whoever may push the branch may write them. The first name must be there.
func checkNames(version int, names ...string) error {
	if version != 1 {
		return fmt.Errorf("expected version 1, got %d: it was written by another version of Pave", version)
	}
	for i, name := range names {
		if (name != "" || i == 0) && !IsName(name) {
			return fmt.Errorf("expected a name that matches %s; got %q", NameForm, name)
		}
	}
	return nil
}

// check refuses a status that Pave would not have written.
func (s *UnitStatus) check() error {
	names := []string{s.Request, s.Service, s.Owner, s.Blueprint, s.Environment, s.Stage}
	for _, ref := range s.References {
		names = append(names, ref.Request)
	}
	return checkNames(s.Version, names...)
}

// check refuses a status of the platform that Pave would not have written.
func (s *PlatformStatus) check() error {
	err := checkNames(s.Version)
	for _, d := range s.Deletions {
		err = errors.Join(err, checkNames(s.Version, d.Request))
	}
	for _, o := range s.Orphans {
		err = errors.Join(err, checkNames(s.Version, o.Request, o.Owner, o.Blueprint, o.Environment))
	}
	return err
}

// The files that the branch keeps of a unit's last apply, beside the folder
// `module`.
const (
	generatedFile = "pave.tf.json"
	variablesFile = "terraform.tfvars.json"
	lockFile      = "terraform.lock.hcl"
)

// appliedFolder is where the branch keeps what a unit was applied from.
func appliedFolder(name string) string { return shard("applied", name) }

// message renders a status commit: a subject that a person reads, what is
// wrong, and trailers that `git log --grep` finds.
func message(subject string, revision Revision, remarks, credits []string, events []event) string {
	var b strings.Builder
	b.WriteString(subject + "\n\n")
	lines := slices.Clone(remarks)
	for _, e := range events {
		if e.text != "" {
			lines = append(lines, e.unit+": "+e.text)
		}
	}
	const most = 20
	for _, line := range lines[:min(most, len(lines))] {
		b.WriteString(remark(line) + "\n")
	}
	if more := len(lines) - most; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	if len(lines) > 0 {
		b.WriteString("\n")
	}
	if revision.Commit != "" {
		fmt.Fprintf(&b, "Revision: %s\n", revision.Commit)
	}
	for _, credit := range credits[:min(len(credits), 100)] {
		b.WriteString(oneLine(credit, 200) + "\n")
	}
	const mostUnits = 200
	for i, e := range events {
		if i == mostUnits {
			fmt.Fprintf(&b, "Units-Omitted: %d\n", len(events)-mostUnits)
			break
		}
		fmt.Fprintf(&b, "Unit: %s %s\n", e.unit, e.trailer)
	}
	b.WriteString("Pave-Record: v1\n")
	return b.String()
}

var trailerStart = Pattern(`^[A-Z][A-Za-z-]*:`)

// remark makes text a line of a message's body. One that begins as a trailer
// does is indented: a file may have such a name, and `git log --grep '^Unit: '`
// is to find what Pave says.
func remark(text string) string {
	line := oneLine(text, 300)
	if trailerStart().MatchString(line) {
		return "  " + line
	}
	return line
}

// event is what a status commit says of one unit.
type event struct {
	unit    string
	verb    string // for the subject: applied, destroyed, holds, fails, waits …
	trailer string // what follows the name in the Unit trailer
	text    string // for the body: why it does not run; empty where all is well
	run     bool   // whether a run did it, or it was only decided
	order   int    // when it was said, among the others
}

// subjectLine sums the events up: "Apply checkout-db and 2 more, hold ledger-db".
func subjectLine(events []event) string {
	if len(events) == 0 {
		return ""
	}
	var verbs []string
	names := map[string][]string{}
	for _, e := range events {
		if names[e.verb] == nil {
			verbs = append(verbs, e.verb)
		}
		names[e.verb] = append(names[e.verb], e.unit)
	}
	var parts []string
	for _, verb := range verbs {
		part := verb + " " + names[verb][0]
		if more := len(names[verb]) - 1; more > 0 {
			part += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, part)
		if len(parts) == 3 && len(verbs) > 3 {
			parts = append(parts, "…")
			break
		}
	}
	line := strings.Join(parts, ", ")
	return strings.ToUpper(line[:1]) + line[1:]
}

// oneLine makes text safe for one line of a commit message or a log.
func oneLine(text string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	clean = strings.Join(strings.Fields(clean), " ")
	if runes := []rune(clean); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return clean
}

// readme renders the page that the forge shows for the status branch.
func (r *Record) readme(title string) []byte {
	var b strings.Builder
	cost := 0.0
	for _, u := range r.Units {
		if u.Exists() {
			cost += u.Cost
		}
	}
	var rest []*UnitStatus
	for _, name := range sortedWhere(r.Units, func(_ string, u *UnitStatus) bool { return !u.Is(Ready) }) {
		rest = append(rest, r.Units[name])
	}
	fmt.Fprintf(&b, "# %s: status\n\nPave writes this branch; nothing reads it but people and Pave.\n\n", escapeMarkdown(title))
	fmt.Fprintf(&b, "%d of %d requests are ready. What runs costs %.2f a month.\n", len(r.Units)-len(rest), len(r.Units), cents(cost))
	if refused := r.Platform.Refused; refused != nil {
		state := "is refused"
		if refused.Waiting {
			state = "is held"
		}
		then := "the last good one stays in force"
		if r.Platform.Revision == "" || r.Platform.Doubted {
			then = "nothing is in force"
		}
		fmt.Fprintf(&b, "\nThe revision %s %s; %s:\n\n", shortHash(refused.Revision), state, then)
		for i, v := range refused.Violations {
			if i == 20 {
				fmt.Fprintf(&b, "- and %d more\n", len(refused.Violations)-i)
				break
			}
			fmt.Fprintf(&b, "- %s\n", escapeMarkdown(v.String()))
		}
	}
	for _, warning := range r.Platform.Warnings {
		fmt.Fprintf(&b, "\n**Warning:** %s\n", escapeMarkdown(warning))
	}
	if len(rest) > 0 {
		b.WriteString("\n| request | owner | environment | reason | what it says |\n|---|---|---|---|---|\n")
		for i, u := range rest {
			if i == 200 {
				fmt.Fprintf(&b, "\nand %d more\n", len(rest)-i)
				break
			}
			c, _ := u.Conditions.Get(Ready)
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", u.Request, u.Owner, u.Environment, escapeMarkdown(c.Reason), escapeMarkdown(c.Message))
		}
	}
	r.list(&b, Drifted, "What runs was changed behind Pave's back:", "what differs")
	r.list(&b, Expiring, "What is destroyed soon:", "what it says")
	if len(r.Platform.Orphans) > 0 {
		b.WriteString("\nThese requests ended and left what they had. Nothing looks after it:\n\n| request | owner | environment | resources |\n|---|---|---|---|\n")
		for i, o := range r.Platform.Orphans {
			if i == 200 {
				fmt.Fprintf(&b, "\nand %d more\n", len(r.Platform.Orphans)-i)
				break
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Request, o.Owner, o.Environment, escapeMarkdown(o.resources()))
		}
	}
	b.WriteString("\n`git log --grep '^Unit: NAME '` shows the history of one request.\n")
	return []byte(b.String())
}

// resources lists what was left, in one line.
func (o Orphan) resources() string {
	var list []string
	for _, r := range o.Resources {
		list = append(list, strings.TrimSuffix(r.Address+" "+r.ID, " "))
	}
	return strings.Join(list, ", ")
}

// list names the requests of which a condition is true, and what it says of each.
func (r *Record) list(b *strings.Builder, condition, title, what string) {
	for listed, name := range sortedWhere(r.Units, func(_ string, u *UnitStatus) bool { return u.Is(condition) }) {
		u := r.Units[name]
		c, _ := u.Conditions.Get(condition)
		if listed == 0 {
			fmt.Fprintf(b, "\n%s\n\n| request | owner | environment | since | %s |\n|---|---|---|---|---|\n", title, what)
		}
		if listed == 200 {
			b.WriteString("\nand more\n")
			return
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, u.Owner, u.Environment, c.Since, escapeMarkdown(c.Message))
	}
}

// escapeMarkdown makes text inert on a forge: no markup, link, image, mention or
// reference to an issue.
func escapeMarkdown(text string) string {
	var b strings.Builder
	for _, r := range oneLine(text, 300) {
		switch r {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		case '@':
			b.WriteString("&#64;")
		case ':':
			b.WriteString("&#58;")
		case '\\', '`', '*', '_', '{', '}', '[', ']', '(', ')', '#', '!', '|', '~':
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	// A forge makes a link of this without any markup.
	return strings.ReplaceAll(b.String(), "www.", `www\.`)
}

func shortHash(commit string) string { return commit[:min(8, len(commit))] }
