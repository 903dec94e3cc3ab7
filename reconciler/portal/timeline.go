package portal

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// step is one thing that happened to a request: a commit that changed what is asked
// for, or what a status commit records.
type step struct {
	recent
	Did      state  `json:"did"`
	About    string `json:"about,omitempty"` // why, where that is recorded
	Revision link   `json:"revision"`        // that was in force
	Pulls    string `json:"pulls,omitempty"`
	Approved string `json:"approved,omitempty"`

	at time.Time
}

// mostHistory bounds the history on the page of a request.
const mostHistory = 50

// timeline is what happened to a request, from the commits that asked for it to what
// became of them, the latest first.
func (v *view) timeline(name string, files []string) []step {
	var steps []step
	page := "/requests/" + url.PathEscape(name)
	recorded := 0
	for _, c := range v.Log {
		if recorded >= mostHistory {
			break
		}
		if _, says := c.unit(name); !says {
			continue
		}
		recorded++
		steps = append(steps, v.recorded(c, name, page)...)
	}
	for _, i := range v.changed(mostHistory, files...) {
		c := v.Changes[i]
		steps = append(steps, step{recent: v.change(i), Did: state{Word: "committed", Tone: "none"}, at: c.Time})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return b.at.Compare(a.at) })
	return steps[:min(mostHistory, len(steps))]
}

// recorded is what a status commit says of a request, the last thing first.
func (v *view) recorded(c Commit, name, page string) []step {
	said := c.said()
	var steps []step
	for _, unit := range slices.Backward(said.units) {
		text, of := strings.CutPrefix(unit, name+" ")
		if !of {
			continue
		}
		did, rest, _ := strings.Cut(text, " ")
		s := step{recent: v.recent(c, rest, page), Did: state{did, toneOf(did), ""}, Pulls: said.pulls, Approved: said.approved, at: c.Time}
		s.By = said.by
		if said.revision != "" {
			at := short(said.revision)
			s.Revision = link{at, "/at/" + url.PathEscape(at) + page}
		}
		if len(steps) == 0 { // the remarks are not told apart
			s.About = c.remarks(name)
		}
		steps = append(steps, s)
	}
	return steps
}

// toneOf is the tone of the word that a status commit has for what happened.
func toneOf(did string) string {
	switch did {
	case "applied", "healed", "unchanged", "undrifted", "released":
		return "good"
	case "failed":
		return "bad"
	case "held", "waiting", "drifted", "expiring":
		return "wait"
	}
	return "none"
}

// remarks are what a status commit says of a unit in words.
func (c Commit) remarks(unit string) string {
	var all []string
	for line := range strings.Lines(c.Message) {
		if text, of := strings.CutPrefix(strings.TrimSpace(line), unit+": "); of {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// credited is what a status commit says of units, and who it says brought that about.
type credited struct {
	revision            string
	units               []string // a unit, a word and what else there is
	by, pulls, approved string
}

// said reads the trailers of a status commit.
func (c Commit) said() (said credited) {
	var pulls, people, approved []string
	_, lines, _ := strings.Cut(c.Message, "\n\n")
	for line := range strings.Lines(lines) {
		key, value, is := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case !is:
		case key == "Unit":
			said.units = append(said.units, value)
		case key == "Revision":
			said.revision = value
		case key == "Pull-Request":
			pull, by, _ := strings.Cut(value, " by ")
			pulls = append(pulls, pull)
			if by != "" && !slices.Contains(people, by) {
				people = append(people, by)
			}
		case key == "Approved-By":
			approved = append(approved, value)
		}
	}
	said.by, said.pulls, said.approved = strings.Join(people, ", "), strings.Join(pulls, ", "), strings.Join(approved, ", ")
	return said
}
