package portal

import (
	"net/url"

	"github.com/pave-dev/pave/reconciler"
)

// run is what a run says of itself, as a page shows it.
type run struct {
	reconciler.RunLog
	Ends  state     `json:"-"` // how it ended; without a word while it goes on
	Of    link      `json:"-"` // the request as the revision says it
	Began string    `json:"-"`
	Said  []runLine `json:"-"`
}

type runLine struct{ At, Text string }

// ends is how a run ended, in one tone.
func ends(outcome reconciler.Outcome) state {
	tone := "bad"
	switch outcome {
	case reconciler.Applied, reconciler.Unchanged, reconciler.Destroyed:
		tone = "good"
	case reconciler.AwaitingApproval, reconciler.Interrupted:
		tone = "wait"
	}
	return state{Word: string(outcome), Tone: tone}
}

// run returns the run of a request that goes on, or its last one; or why there is
// none to show.
func (v *view) run(request string) (shown *run, why string) {
	switch {
	case v.when != "": // what is past is what was recorded
		return nil, ""
	case v.runs == nil:
		return nil, "What a run says is with the daemon that starts it: the portal of pave serve shows it. Git has what came of it."
	}
	said, found := v.runs(request)
	if !found {
		return nil, "The daemon has no log of a run that was to change it."
	}
	shown = &run{RunLog: said, Ends: ends(said.Outcome)}
	for _, line := range said.Lines {
		shown.Said = append(shown.Said, runLine{line.Time.UTC().Format("15:04:05"), line.Text})
	}
	if len(said.Lines) > 0 {
		shown.Began = moment(said.Lines[0].Time)
	}
	if said.Revision != "" {
		at := short(said.Revision)
		shown.Of = link{at, "/at/" + at + "/requests/" + url.PathEscape(request)}
	}
	return shown, ""
}
