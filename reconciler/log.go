package reconciler

import "time"

// RunLog is what a run that is to change something did, step by step. No text in it
// holds a secret that the run knew.
type RunLog struct {
	Run      string `json:"run"`
	Destroy  bool   `json:"destroy,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Ended is when it ended, and Outcome how; nothing while it goes on.
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Outcome   `json:"outcome,omitempty"`
	// Lines are the last ones; Left are those before them that are not kept.
	Lines []LogLine `json:"lines"`
	Left  int       `json:"left,omitempty"`
}

// LogLine is one line of a log.
type LogLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}
