package reconciler

import "encoding/json"

// Control is the kind of a form's field, by what a person enters there.
type Control string

// The controls.
const (
	ControlText   Control = "text"
	ControlNumber Control = "number"
	ControlWhole  Control = "whole"  // a number without a fraction
	ControlSwitch Control = "switch" // yes or no
	ControlChoice Control = "choice" // one of Choices
	ControlLines  Control = "lines"  // a list of texts, each on a line of its own
	ControlRows   Control = "rows"   // a list of entries, each with the fields of Columns
	ControlData   Control = "data"   // anything else: CUE data
)

// Field is what a form needs to know of an input. What it says of values helps
// whoever enters one; only the evaluator judges.
type Field struct {
	// Label, Group and Order are what the attribute @pave says; empty where it
	// says nothing.
	Label string `json:"label,omitempty"`
	Group string `json:"group,omitempty"`
	Order int    `json:"order,omitempty"`
	Help  string `json:"help,omitempty"` // the doc comment

	Control   Control           `json:"control"`
	Choices   []json.RawMessage `json:"choices,omitempty"`
	Min       string            `json:"min,omitempty"` // numbers as CUE writes them
	Max       string            `json:"max,omitempty"`
	MinLength int               `json:"minLength,omitempty"` // of a text, in characters
	MaxLength int               `json:"maxLength,omitempty"` // 0 is any
	Pattern   string            `json:"pattern,omitempty"`   // a regular expression of Go that finds something in the text
	Default   json.RawMessage   `json:"default,omitempty"`
	Columns   []Column          `json:"columns,omitempty"`
	// Required tells that a request must say it.
	Required bool `json:"required,omitempty"`
	// Reference tells that another request's output may stand in its place.
	Reference bool `json:"reference,omitempty"`
	// Fixed tells that the platform says it, and no request may say anything else.
	Fixed bool `json:"fixed,omitempty"`
}

// Column is a field of each entry of a list. Its control is none that holds lists or
// data.
type Column struct {
	Name string `json:"name"`
	Field
}

// Setting is a value that a document is to say: at a path within it, such as
// ["inputs", "size"]. Without a value the document is to say nothing there.
type Setting struct {
	Path  []string        `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Computed is the error for a document that no form can change, because its file
// does not state it plainly: where it is computed, and how.
type Computed struct {
	Position Position
	Why      string
}

func (c *Computed) Error() string { return c.Position.String() + ": " + c.Why }
