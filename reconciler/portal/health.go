package portal

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// Health is what the process that keeps the platform says of itself, which is not in
// Git.
type Health struct {
	Progress reconciler.Progress
	Version  string
	Forge    string // where changes are reviewed; empty where nowhere
	// Confinement is a line about what runs may reach.
	Confinement string
}

// healthPage is how the platform stands, and who keeps it.
type healthPage struct {
	Daemon     []fact       `json:"daemon,omitempty"`
	Error      string       `json:"lastError,omitempty"`
	Record     []fact       `json:"record"`
	Counts     []count      `json:"counts"`
	Refused    *refusal     `json:"refused,omitempty"`
	Warnings   []string     `json:"warnings,omitempty"`
	Stalled    []*requestIn `json:"stalled,omitempty"`
	Failing    []*requestIn `json:"failing,omitempty"`
	MoreFail   int          `json:"moreFailing,omitempty"`
	Queue      []*requestIn `json:"waiting,omitempty"`
	MoreWait   int          `json:"moreWaiting,omitempty"`
	Drifted    []*requestIn `json:"drifted,omitempty"`
	MoreDrift  int          `json:"moreDrifted,omitempty"`
	Unknown    []*requestIn `json:"notRecorded,omitempty"`
	MoreNew    int          `json:"moreNotRecorded,omitempty"`
	Failures   []auditRow   `json:"lastFailures,omitempty"`
	Orphans    []orphan     `json:"leftBehind,omitempty"`
	Violations []fault      `json:"violations,omitempty"`
	MoreFaults int          `json:"moreViolations,omitempty"`
	Unfinished bool         `json:"-"`
}

// orphan is what a request left behind.
type orphan struct {
	Request   string                        `json:"request"`
	Owner     string                        `json:"owner"`
	In        string                        `json:"environment"`
	At        string                        `json:"at"`
	Resources []reconciler.RetainedResource `json:"resources"`
}

func health(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Health", "/health"
	p := &healthPage{Warnings: v.Record.Platform.Warnings, Refused: v.refused()}
	if v.health != nil && v.when == "" {
		p.daemon(v, v.health())
	}
	p.record(v)
	var stalled, failing, waiting, unknown []*requestRow
	for _, row := range v.requests {
		unit := v.Record.Units[row.Name]
		switch {
		case unit != nil && unit.Is(reconciler.Stalled):
			stalled = append(stalled, row)
		case row.State.Tone == "bad":
			failing = append(failing, row)
		case row.State.Tone == "wait":
			waiting = append(waiting, row)
		case unit == nil:
			unknown = append(unknown, row)
		}
	}
	p.Counts = []count{
		{link: link{Text: "stalled: a person must act"}, Number: len(stalled)}, {link: link{Text: "failing"}, Number: len(failing)}, {link: link{Text: "waiting"}, Number: len(waiting)},
		{link: link{"drifted", v.among("requests", "drift", "drifted").Href}, Number: len(v.drifted)}, {link: link{Text: "not recorded yet"}, Number: len(unknown)},
	}
	p.Stalled = v.rows(stalled[:min(mostRows, len(stalled))])
	p.Failing, p.MoreFail = v.rows(first(failing)), max(0, len(failing)-glance)
	p.Queue, p.MoreWait = v.rows(first(waiting)), max(0, len(waiting)-glance)
	p.Drifted, p.MoreDrift = v.rows(first(v.drifted)), max(0, len(v.drifted)-glance)
	p.Unknown, p.MoreNew = v.rows(first(unknown)), max(0, len(unknown)-glance)
	p.Unfinished = v.when == "" && len(waiting)+len(unknown) > 0
	for _, e := range v.events {
		if e.Did == "failed" && len(p.Failures) < glance {
			p.Failures = append(p.Failures, v.auditRow(e))
		}
	}
	for _, o := range v.Record.Platform.Orphans {
		if len(p.Orphans) < mostRows {
			p.Orphans = append(p.Orphans, orphan{o.Request, o.Owner, o.Environment, moments(o.At), o.Resources})
		}
	}
	violations := v.Snapshot.Violations
	if verdict, known, err := v.verdict(r.Context(), 0); known && err == nil {
		violations = verdict.Violations
	}
	for _, x := range violations {
		if len(p.Violations) == mostRows {
			p.MoreFaults = len(violations) - mostRows
			break
		}
		p.Violations = append(p.Violations, v.fault(x))
	}
	return p, nil
}

// daemon adds what the process says.
func (p *healthPage) daemon(v *view, h Health) {
	add := func(label, text string, links ...link) {
		if text != "" || len(links) > 0 {
			p.Daemon = append(p.Daemon, fact{label, text, links, spot{}})
		}
	}
	g := h.Progress
	if v.whole == nil { // it may speak of anything
		p.Error = g.LastError
	}
	if g.Revision.Commit != "" {
		add("Revision in force", "", link{short(g.Revision.Commit), v.commit(g.Revision).Href})
	}
	add("Repository fetched", instant(g.LastFetch))
	add("Status published", instant(g.LastRecord))
	add("Runs going on", strconv.Itoa(g.Running))
	add("Requests that wait", strconv.Itoa(g.Waiting))
	add("Runs since it started", strconv.Itoa(g.Started)+": "+strconv.Itoa(g.Succeeded)+" succeeded, "+strconv.Itoa(g.Failed)+" failed, "+strconv.Itoa(g.Destroyed)+" destroyed something")
	add("Forge", cmp.Or(h.Forge, "none: changes are reviewed elsewhere"))
	add("Runs", h.Confinement)
	add("Version", h.Version)
}

// record adds what the status branch says as a whole.
func (p *healthPage) record(v *view) {
	add := func(label, text string, links ...link) {
		if text != "" || len(links) > 0 {
			p.Record = append(p.Record, fact{label, text, links, spot{}})
		}
	}
	recorded := v.Record.Platform.Revision
	if recorded != "" {
		add("Revision", v.lag(recorded), link{short(recorded), "/at/" + short(recorded) + "/"})
	}
	if v.Status.Commit != "" {
		add("Recorded last", instant(v.Status.Time))
	}
	add("Engine of the settings", v.Platform.Settings.Engine)
	engines := map[string]int{}
	for _, unit := range v.Record.Units {
		if unit.Engine != "" {
			engines[unit.Engine]++
		}
	}
	var used []string
	for _, engine := range slices.Sorted(maps.Keys(engines)) {
		used = append(used, engine+" ("+strconv.Itoa(engines[engine])+")")
	}
	add("Applied with", strings.Join(used, ", "))
	if n := len(v.Record.Platform.Deletions); n > 0 {
		add("Deleted within the hour before", strconv.Itoa(n))
	}
	if v.Record.Platform.Doubted {
		add("Doubt", "the branch says so, and was not believed")
	}
}

// lag says how far the record is behind the tracked branch.
func (v *view) lag(recorded string) string {
	behind := slices.IndexFunc(v.Changes, func(c Change) bool { return c.ID == recorded })
	switch {
	case v.Record.Platform.Refused != nil:
		return "the tip of the tracked branch is not in force"
	case behind == 0:
		return "up to date"
	case behind > 0:
		return reconciler.Plural(behind, "commit") + " behind the tracked branch"
	}
	return "not a commit of the tracked branch that is known here"
}

// instant is a time for people; nothing where there is none.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return moment(t)
}
