package reconciler

import (
	"fmt"
	"strings"
	"time"
)

// driftMemory is how long after its end drift is known again as the same, that
// came back.
const driftMemory = 24 * time.Hour

// drifted records that what runs is not what was applied. What is recorded
// already is not said again: every look would make a commit.
func (j *journal) drifted(job Job, result Result, now time.Time) {
	status := j.unit(job.Unit)
	again := status.Is(Drifted)
	if again && status.Drift != nil && status.Drift.Plan.Digest == result.Plan.Digest {
		return
	}
	if !again {
		status.Drift = status.Drift.appears(now)
	}
	status.Drift.Plan = result.Plan
	status.ObservedRevision = job.Revision
	message := status.Drift.describe()
	status.Conditions.Set(Drifted, true, ReasonDrift, message, now)
	e := event{unit: job.Unit, run: true, verb: "find drift in", trailer: "drifted " + result.Plan.String(), text: message}
	if n := status.Drift.Times; n > 1 {
		e.trailer += fmt.Sprintf(" times=%d", n)
	}
	j.event(e)
}

// undrift records that a unit is as it was applied, and tells whether that is news.
func (s *UnitStatus) undrift(now time.Time) bool {
	news := s.Is(Drifted)
	s.Conditions.Drop(Drifted)
	if news && s.Drift != nil {
		s.Drift.Ended = now.UTC().Format(time.RFC3339)
	}
	return news
}

// appears counts another appearance.
func (d *Drift) appears(now time.Time) *Drift {
	at := now.UTC().Format(time.RFC3339)
	if d != nil {
		if ended, err := time.Parse(time.RFC3339, d.Ended); err == nil && now.Sub(ended) < driftMemory {
			return &Drift{Times: d.Times + 1, First: d.First, Ended: d.Ended}
		}
	}
	return &Drift{Times: 1, First: at}
}

// describe says which resources differ, how, and who may have done it.
func (d *Drift) describe() string {
	var parts []string
	for i, c := range d.Plan.Changes {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more", len(d.Plan.Changes)-i))
			break
		}
		parts = append(parts, c.drift())
	}
	if len(parts) == 0 {
		parts = []string{"its outputs"}
	}
	said := "what runs differs from what was applied: " + strings.Join(parts, "; ")
	if d.Times > 1 {
		said += fmt.Sprintf(" (drifted again, %d times since %s)", d.Times, d.First)
	}
	return said
}

// drift says how a resource differs, seen from what would put it right.
func (c ChangedField) drift() string {
	differs := c.Address + " differs"
	if len(c.Attributes) > 0 {
		differs = fmt.Sprintf("%s differs in %s", c.Address, strings.Join(c.Attributes, ", "))
	}
	if c.By != "" {
		differs += ", changed last by " + oneLine(c.By, 100)
	}
	switch c.Action {
	case "create":
		return c.Address + " is gone"
	case "delete":
		return c.Address + " should not be there"
	case "replace":
		return differs + ", and only another one would be right"
	}
	return differs
}

// mostHealWait bounds how long drift that comes back stays.
const mostHealWait = 24 * time.Hour

// healable returns when drift may be put right: at once where it appears first,
// and ever later where it comes back, for somebody seems to want it.
func (d *Drift) healable(name string, wait time.Duration) time.Time {
	if d == nil || d.Times <= 1 {
		return time.Time{}
	}
	ended, err := time.Parse(time.RFC3339, d.Ended)
	if err != nil {
		return time.Time{}
	}
	return ended.Add(backoff(name, wait, d.Times-1, mostHealWait))
}
