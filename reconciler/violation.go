package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Level says what a violation does.
type Level string

// The levels, gravest first.
const (
	Deny    Level = "deny"    // the subject keeps its last applied state
	Approve Level = "approve" // the subject waits for an approval
	Warn    Level = "warn"    // people are told, nothing is held
	// Preapprove says that the change needs nobody, where nothing else stands
	// against it.
	Preapprove Level = "preapprove"
)

// Holds tells whether a violation of the level keeps its subject from being
// applied. A level that is not known does.
func (l Level) Holds() bool { return l != Warn && l != Preapprove }

// Scope says how far a violation reaches.
type Scope string

// The scopes, widest first. A violation of a narrower scope never holds what
// lies outside it.
const (
	ScopeRevision  Scope = "revision"  // the whole revision is refused
	ScopeFile      Scope = "file"      // a file was not read: nothing is pruned in this revision
	ScopeBlueprint Scope = "blueprint" // the units of one blueprint hold
	ScopeDocument  Scope = "document"  // one service or request holds
)

// Position is a place in a file of the platform repository. Line and Column
// count from one; zero means unknown.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns file:line:column, as far as it is known.
func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Violation is something wrong with a revision: a broken constraint of the
// schema, a dangling reference, a rule of a policy. One of level Preapprove is
// what a rule says in favour of a change.
type Violation struct {
	Level Level  `json:"level"`
	Scope Scope  `json:"scope"`
	Rule  string `json:"rule,omitempty"` // the id of a policy's rule; empty for the model's own
	// Kind and Name tell the subject: "request" and "checkout-db". Empty where
	// the subject is the file or the revision.
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
	// Path leads to the field within the document, such as ["inputs", "size"].
	Path     []string `json:"path,omitempty"`
	Position Position `json:"position"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to type next
	Team     string   `json:"team,omitempty"` // who may approve, where Level is Approve
}

// String returns the violation as one line for a terminal, without its hint.
func (v Violation) String() string {
	var b strings.Builder
	if at := v.Position.String(); at != "" {
		b.WriteString(at + ": ")
	}
	switch v.Level {
	case Warn:
		b.WriteString("warning: ")
	case Preapprove:
		b.WriteString("pre-approved: ")
	}
	if v.Kind != "" && v.Name != "" {
		fmt.Fprintf(&b, "%s %s: ", v.Kind, v.Name)
	}
	if len(v.Path) > 0 {
		b.WriteString(strings.Join(v.Path, ".") + ": ")
	}
	b.WriteString(v.Message)
	if v.Rule != "" {
		fmt.Fprintf(&b, " (%s)", v.Rule)
	}
	return b.String()
}

// SortViolations orders by place, then by text, and removes repetitions.
func SortViolations(vs []Violation) []Violation {
	slices.SortStableFunc(vs, func(a, b Violation) int {
		order := cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
		if order != 0 {
			return order // without the texts, which are long and many
		}
		return cmp.Or(cmp.Compare(a.String(), b.String()), cmp.Compare(a.Team, b.Team))
	})
	return slices.CompactFunc(vs, func(a, b Violation) bool {
		return a.Position == b.Position && a.Level == b.Level && a.Team == b.Team && a.String() == b.String()
	})
}

// holding returns the violations that keep their subject from being applied.
func holding(vs []Violation) []Violation {
	return slices.DeleteFunc(slices.Clone(vs), func(v Violation) bool { return !v.Level.Holds() })
}

// Denied tells whether any of the violations denies.
func Denied(vs []Violation) bool {
	return slices.ContainsFunc(vs, func(v Violation) bool { return v.Level == Deny })
}
