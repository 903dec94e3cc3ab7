package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/pave-dev/pave/reconciler"
)

// Edits let people change requests by forms. Nothing that a form does comes into
// force by itself: it becomes a proposal that others may look at.
type Edits struct {
	Writer   Writer
	Proposer Proposer
}

// Writer writes requests into files. What it returns is plain data, which says
// what the settings say and, beside that, what was said before.
type Writer interface {
	// Writable returns a [reconciler.Computed] where a form cannot change a request.
	Writable(tree *reconciler.Tree, request *reconciler.Request) error
	// Create returns a file with one request in it.
	Create(name string, settings []reconciler.Setting) ([]byte, error)
	// Change returns the request's file with the settings made.
	Change(tree *reconciler.Tree, request *reconciler.Request, settings []reconciler.Setting) ([]byte, error)
	// Retire returns the request's file without it, nil where nothing is left.
	Retire(tree *reconciler.Tree, request *reconciler.Request) ([]byte, error)
	// Data reads data as people type it, and Text writes it so.
	Data(text string) (json.RawMessage, error)
	Text(value json.RawMessage) string
}

// Draft is what somebody asks for: one file of a revision made another.
type Draft struct {
	// Snapshot is what it changes.
	Snapshot *Snapshot
	// Request is whose document it changes, File where that stands. Content is
	// what the file says then; nil removes it.
	Request, File string
	Content       []byte
	// Subject says in a line what it does, Why the person says.
	Subject, Why string
	By           Identity
}

// Outlook is what a change would do.
type Outlook struct {
	reconciler.Report
	// Request is the document afterwards, as it was evaluated; nil where it is
	// refused or gone.
	Request *reconciler.Request
}

// Proposal is where a change waits for others.
type Proposal struct {
	Branch string `json:"branch"`
	// URL is the pull request; empty where there is no forge.
	URL string `json:"url,omitempty"`
	// Command brings the branch to the tracked one where there is no forge.
	Command string `json:"command,omitempty"`
}

// Proposer judges changes and proposes them.
type Proposer interface {
	// Judge evaluates a change as if it were committed, by the rules of today.
	Judge(ctx context.Context, draft Draft) (Outlook, error)
	// Propose puts a change where others can review it. Who asked is its author,
	// and nobody whose approval of it counts. The same change is proposed once.
	Propose(ctx context.Context, draft Draft) (Proposal, error)
}

// checked is a judgement as a page shows it.
type checked struct {
	Denied     bool         `json:"denied"`
	Violations []fault      `json:"violations,omitempty"` // those that are of no field
	Effects    []string     `json:"effects,omitempty"`
	Approvals  []needed     `json:"approvals,omitempty"`
	Before     string       `json:"costBefore"`
	After      string       `json:"costAfter,omitempty"` // unknown where it is refused
	Costs      []teamCost   `json:"costs,omitempty"`
	Diff       string       `json:"diff"`
	Lines      []diffedLine `json:"-"`
}

type needed struct {
	Team   link   `json:"team"`
	Reason string `json:"reason"`
}

type teamCost struct {
	Team   link   `json:"team"`
	Before string `json:"before"`
	After  string `json:"after"`
	Budget string `json:"budget,omitempty"`
}

// diffedLine is a line of a diff and what became of it.
type diffedLine struct{ Kind, Text string }

// judge asks what a change would do. A violation that is of a field goes there.
func (f *form) judge(ctx context.Context, draft Draft) (*checked, error) {
	j, err := f.v.edits.Proposer.Judge(ctx, draft)
	if err != nil {
		return nil, err
	}
	before, is := f.v.Platform.Requests[draft.Request]
	var own []reconciler.Violation // what the rules say of this person
	switch {
	case j.Request != nil && !is:
		own = f.v.may(ctx, "create", j.Request)
	case j.Request != nil:
		own = f.v.may(ctx, "update", j.Request)
	case f.page.Retire:
		own = f.v.may(ctx, "delete", before)
	}
	hidden := f.v.Snapshot.hidden
	violations := append(hidden.violations(j.Violations), own...)
	c := &checked{Denied: reconciler.Denied(j.Violations) || denied(own), Before: "nothing"}
	if is {
		c.Before = f.v.money(before.Cost.Monthly)
	}
	switch {
	case j.Request != nil:
		f.compare(j.Request.JSON)
		c.After = f.v.money(j.Request.Cost.Monthly)
	case f.page.Retire:
		c.After = "nothing"
	}
	for _, x := range violations {
		if x.Level == reconciler.Deny && x.Kind == "request" && x.Name == draft.Request && f.blame(x) {
			continue
		}
		one := f.v.fault(x)
		if x.Position.File == draft.File {
			one.At.Href = "" // the file does not say it yet
		}
		c.Violations = append(c.Violations, one)
	}
	for _, e := range j.Effects {
		if hidden.documents[document{e.Kind, e.Name}] {
			continue
		}
		c.Effects = append(c.Effects, fmt.Sprintf("%s %s %s", e.Kind, e.Name, e.Message))
	}
	for _, n := range j.Approvals {
		if !n.Given && !(n.Insider && f.v.person != nil && slices.Contains(f.v.person.Teams, n.Team)) {
			c.Approvals = append(c.Approvals, needed{f.v.to("team", n.Team), n.Reason})
		}
	}
	for _, cost := range j.Costs {
		row := teamCost{Team: f.v.to("team", cost.Team), Before: f.v.money(cost.Before), After: f.v.money(cost.After)}
		if cost.Budget != nil {
			row.Budget = f.v.money(*cost.Budget)
		}
		c.Costs = append(c.Costs, row)
	}
	c.Diff, err = diffOf(draft)
	for line := range strings.Lines(c.Diff) {
		kind := map[byte]string{'+': "added", '-': "removed", '@': "place"}[line[0]]
		if strings.HasPrefix(line, "+++") || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "diff ") {
			kind = "place"
		}
		c.Lines = append(c.Lines, diffedLine{kind, strings.TrimSuffix(line, "\n")})
	}
	return c, err
}

// compare says at a field where the platform would say something else than was
// entered: another place has a say in it.
func (f *form) compare(evaluated json.RawMessage) {
	for _, s := range f.slots {
		value, err := f.read(s)
		if s.path == nil || value == nil || err != nil {
			continue
		}
		said := evaluated
		for _, step := range s.path {
			var fields map[string]json.RawMessage
			_ = json.Unmarshal(said, &fields) // or there is no such field
			said = fields[step]
		}
		if !agrees(value, said) {
			s.Errors = append(s.Errors, "something else than the file decides what this is: "+plain(said))
		}
	}
}

// diffOf returns the unified diff of a change.
func diffOf(draft Draft) (string, error) {
	old, new := "a/"+draft.File, "b/"+draft.File
	var before []byte
	if f, found := draft.Snapshot.Tree.Find(draft.File); found {
		var err error
		if before, err = draft.Snapshot.Tree.Read(f); err != nil {
			return "", fmt.Errorf("read %s: %w", draft.File, err)
		}
	} else {
		old = "/dev/null"
	}
	if draft.Content == nil {
		new = "/dev/null"
	}
	_, text, _ := strings.Cut(string(diff.Diff(old, before, new, draft.Content)), "\n") // without its own first line
	return text, nil
}

// blame tells the field that a violation is of, and whether there is one.
func (f *form) blame(x reconciler.Violation) bool {
	text := x.Message
	if x.Hint != "" && !strings.HasPrefix(x.Hint, "add  ") { // which is said of files
		text += ": " + x.Hint
	}
	if x.Rule != "" {
		text += " (" + x.Rule + ")"
	}
	for n := len(x.Path); n > 0; n-- {
		for _, s := range f.slots {
			if slices.Equal(s.path, x.Path[:n]) && s.blame(x.Path[n:], visible(text)) {
				return true
			}
			if slices.Equal(s.path, x.Path[:n]) || n == len(s.path)-1 && slices.Equal(s.path[:n], x.Path[:n]) && s.alone {
				if rest := strings.Join(x.Path[n:], "."); rest != "" {
					text = rest + ": " + text
				}
				s.Errors = append(s.Errors, text)
				return true
			}
		}
	}
	return false
}

// send judges what was entered and, where that was asked for and nothing stands
// against it, proposes it.
func (f *form) send(ctx context.Context, draft Draft, submit bool) error {
	if f.wrong() || f.more() {
		return nil
	}
	var err error
	if f.page.Checked, err = f.judge(ctx, draft); err != nil {
		return err
	}
	if !submit || f.page.Checked.Denied || f.wrong() {
		return nil
	}
	proposal, err := f.v.edits.Proposer.Propose(ctx, draft)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		f.page.Errors = append(f.page.Errors, "It could not be proposed: "+err.Error())
		return nil
	}
	f.page.Proposed = &proposal
	return nil
}

// wrong tells whether something that was entered cannot be meant.
func (f *form) wrong() bool {
	return len(f.page.Errors) > 0 || slices.ContainsFunc(f.slots, func(s *slot) bool { return len(s.Errors) > 0 })
}

// unwritten says why what was entered cannot be written.
func (f *form) unwritten(err error) {
	var computed *reconciler.Computed
	if errors.As(err, &computed) {
		f.page.Computed = &fault{Level: "deny", Text: computed.Why, At: f.v.at(computed.Position)}
		return
	}
	f.page.Errors = append(f.page.Errors, err.Error())
}

// amount writes a number of a bound for an attribute.
func amount(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
