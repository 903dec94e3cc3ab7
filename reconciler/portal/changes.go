package portal

import "slices"

// changesOf returns the latest commits of the tracked branch that changed one of
// the files, at most so many. Each leads to what it changed.
func (v *view) changesOf(most int, files ...string) []recent {
	var at []int
	for _, file := range files {
		at = append(at, v.touched[file]...)
	}
	slices.Sort(at)
	at = slices.Compact(at)
	var changes []recent
	for _, i := range at[:min(most, len(at))] {
		c := v.Changes[i]
		to := "/at/" + short(c.ID) + "/"
		if i+1 < len(v.Changes) {
			to = "/compare/" + short(v.Changes[i+1].ID) + "..." + short(c.ID)
		}
		changes = append(changes, recent{short(c.ID), to, moment(c.Time), c.Subject, c.Author})
	}
	return changes
}
