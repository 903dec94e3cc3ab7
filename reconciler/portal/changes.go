package portal

import "slices"

// changed returns the latest commits of the tracked branch that changed one of the
// files, at most so many, as indexes of Snapshot.Changes.
func (v *view) changed(most int, files ...string) []int {
	var at []int
	for _, file := range files {
		at = append(at, v.touched[file]...)
	}
	slices.Sort(at)
	at = slices.Compact(at)
	return at[:min(most, len(at))]
}

// change shows a commit of the tracked branch. It leads to what it changed.
func (v *view) change(i int) recent {
	c := v.Changes[i]
	to := "/at/" + short(c.ID) + "/"
	if i+1 < len(v.Changes) {
		to = "/compare/" + short(v.Changes[i+1].ID) + "..." + short(c.ID)
	}
	return recent{short(c.ID), to, moment(c.Time), c.Subject, c.Author}
}

// changesOf shows the latest commits that changed one of the files.
func (v *view) changesOf(most int, files ...string) []recent {
	var changes []recent
	for _, i := range v.changed(most, files...) {
		changes = append(changes, v.change(i))
	}
	return changes
}
