package portal

import (
	"encoding/csv"
	"io"
	"strings"
)

// tabular is a page that can be had as a table, its first row the names of the
// columns.
type tabular interface{ table() [][]string }

// writeCSV writes a table. A cell that a spreadsheet would compute is made text.
func writeCSV(w io.Writer, t tabular) error {
	out := csv.NewWriter(w)
	for _, row := range t.table() {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = inert(visible(cell))
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inert puts an apostrophe before what begins as a formula does.
func inert(cell string) string {
	if strings.IndexAny(strings.TrimLeft(cell, " \t\r\n"), "=+-@|%＝＋－＠") == 0 || strings.IndexAny(cell, "\t\r\n") == 0 {
		return "'" + cell
	}
	return cell
}
