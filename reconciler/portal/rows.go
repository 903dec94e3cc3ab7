package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// The empty entries that a list ends with: at first, and where more were asked for;
// and the most that are read.
const (
	emptyRows   = 2
	moreRows    = 8
	mostEntries = 200
)

// more tells whether nothing but room for more entries was asked for.
func (f *form) more() bool { return f.sent != nil && f.sent.Get("do") == "more" }

// fillRows sets the entries that a list shows: those that were sent, or the value's,
// and empty ones after them.
func (f *form) fillRows(s *slot, value json.RawMessage) {
	rows, _ := f.rowsOf(s, value)
	if f.sent != nil {
		rows = f.sentRows(s)
	}
	empty := emptyRows
	if f.more() {
		empty = moreRows
	}
	for range empty {
		rows = append(rows, f.row(s, len(rows), func(_ int, c *slot) string { return f.shown(c, c.field.Default) }))
	}
	s.Rows = rows
}

// row makes an entry of a list, with what each of its fields shows.
func (f *form) row(s *slot, at int, value func(column int, of *slot) string) []*slot {
	row := make([]*slot, len(s.field.Columns))
	for i, column := range s.field.Columns {
		c := &slot{Name: fmt.Sprintf("%s.%d.%s", s.Name, at, column.Name), Label: cmp.Or(column.Label, column.Name), Help: column.Help, field: column.Field}
		if c.field.Control == reconciler.ControlSwitch { // of an entry that is not there nothing is said
			c.field.Control, c.field.Choices = reconciler.ControlChoice, []json.RawMessage{json.RawMessage("true"), json.RawMessage("false")}
		}
		c.describe()
		c.Required = false // an entry may be left empty
		if at > 0 {
			c.HelpAt = fmt.Sprintf("%s.0.%s", s.Name, column.Name)
		}
		c.Value = value(i, c)
		row[i] = c
	}
	return row
}

// rowsOf returns the entries of a value, and whether the fields can show all of it.
func (f *form) rowsOf(s *slot, value json.RawMessage) (rows [][]*slot, is bool) {
	var entries []map[string]json.RawMessage
	if value != nil && json.Unmarshal(value, &entries) != nil || len(entries) > mostEntries {
		return nil, false
	}
	for i, entry := range entries {
		shown := true
		rows = append(rows, f.row(s, i, func(column int, c *slot) string {
			name, control := s.field.Columns[column].Name, c.Control
			text := f.shown(c, entry[name])
			shown = shown && c.Control == control
			delete(entry, name)
			return text
		}))
		if !shown || len(entry) > 0 {
			return nil, false
		}
	}
	return rows, true
}

// sentRows returns the entries that were sent, without those that are empty.
func (f *form) sentRows(s *slot) (rows [][]*slot) {
	n, _ := strconv.Atoi(f.sent.Get(s.Name + ".rows")) // none where it is no number
	for i := range min(n, mostEntries) {
		row := f.row(s, len(rows), func(column int, _ *slot) string {
			return unix(f.sent.Get(fmt.Sprintf("%s.%d.%s", s.Name, i, s.field.Columns[column].Name)))
		})
		if !f.empty(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// empty tells whether an entry says nothing but what an empty one begins with.
func (f *form) empty(row []*slot) bool {
	return !slices.ContainsFunc(row, func(c *slot) bool {
		return strings.TrimSpace(c.Value) != "" && c.Value != f.shown(c, c.field.Default)
	})
}

// readRows returns the list that was entered; what is wrong is said at each field.
func (f *form) readRows(s *slot) (json.RawMessage, error) {
	var entries []json.RawMessage
	wrong := false
	for _, row := range s.Rows {
		if f.empty(row) {
			continue
		}
		var b bytes.Buffer
		for i, c := range row {
			value, err := f.read(c)
			if value == nil {
				value = c.field.Default
			}
			switch {
			case err != nil:
				c.Errors = []string{visible(err.Error())}
			case value == nil && c.field.Required:
				c.Errors = []string{"expected a value"}
			case value != nil:
				fmt.Fprintf(&b, "%s%s:%s", map[bool]string{true: ","}[b.Len() > 0], jsonText(s.field.Columns[i].Name), value)
			}
			wrong = wrong || len(c.Errors) > 0
		}
		entries = append(entries, json.RawMessage("{"+b.String()+"}"))
	}
	switch {
	case wrong:
		return nil, errors.New("an entry needs another look")
	case entries == nil:
		return nil, nil
	}
	return json.Marshal(entries)
}

// blame says what is wrong at the field of an entry that a path below the list leads
// to, and tells whether there is one.
func (s *slot) blame(path []string, text string) bool {
	if len(path) < 2 {
		return false
	}
	at, err := strconv.Atoi(path[0])
	if err != nil || at < 0 || at >= len(s.Rows) {
		return false
	}
	i := slices.IndexFunc(s.field.Columns, func(c reconciler.Column) bool { return c.Name == path[1] })
	if i < 0 {
		return false
	}
	s.Rows[at][i].Errors = append(s.Rows[at][i].Errors, text)
	return true
}

// excuse takes back what was said to be wrong.
func (s *slot) excuse() {
	s.Errors = nil
	for _, row := range s.Rows {
		for _, c := range row {
			c.Errors = nil
		}
	}
}

// agrees tells whether a platform says all that was entered, whatever it adds to that
// by itself, such as defaults.
func agrees(entered, said json.RawMessage) bool {
	var some, all map[string]json.RawMessage
	if json.Unmarshal(entered, &some) == nil && json.Unmarshal(said, &all) == nil && some != nil && all != nil {
		for name, value := range some {
			if other, is := all[name]; !is || !agrees(value, other) {
				return false
			}
		}
		return true
	}
	var list, other []json.RawMessage
	if json.Unmarshal(entered, &list) == nil && json.Unmarshal(said, &other) == nil && list != nil {
		return slices.EqualFunc(list, other, agrees)
	}
	return sameJSON(entered, said)
}
