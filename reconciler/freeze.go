package reconciler

import (
	"encoding/json"
	"fmt"
	"time"
)

// checkFreezes reads the schedules of all freezes: one that cannot be read must
// not look like none.
func checkFreezes(p *Platform, calendar Calendar, now time.Time) []Violation {
	var violations []Violation
	for _, name := range sortedNames(p.Environments) {
		e := p.Environments[name]
		for i, f := range e.Freeze {
			if _, err := calendar.Last(f.From, f.TimeZone, now); err != nil {
				violations = append(violations, Violation{Level: Deny, Scope: ScopeRevision, Kind: "environment", Name: name, Position: e.Position,
					Path: []string{"freeze", fmt.Sprint(i)}, Message: err.Error(),
					Hint: `write minute, hour, day, month and weekday, such as "0 18 * * FRI", and a zone such as "Europe/Berlin"`})
			}
		}
	}
	return violations
}

// frozen says until when and why nothing in an environment is changed; empty
// where it may be.
func (d *decider) frozen(environment string) string {
	if said, known := d.freezes[environment]; known {
		return said
	}
	said, end := "", time.Time{}
	for _, f := range d.checked.Platform.Environments[environment].Freeze {
		from, err := d.calendar.Last(f.From, f.TimeZone, d.now)
		if err != nil { // it was read when the revision was
			said = fmt.Sprintf("%s is frozen: %v", environment, err)
			break
		}
		if until := from.Add(time.Duration(f.For)); d.now.Before(until) && until.After(end) {
			end, said = until, fmt.Sprintf("%s is frozen until %s: %s", environment, until.Format("2006-01-02 15:04 MST"), f.Reason)
		}
	}
	d.freezes[environment] = said
	return said
}

// thawed lets a unit be changed or destroyed as decided, unless its environment
// is frozen and nobody may break the glass.
func (d *decider) thawed(environment string, glass *BreakGlass, made decision) decision {
	said := d.frozen(environment)
	switch {
	case said == "":
	case glass != nil && !hasEnded(glass.Until, d.now):
		made.glass = glass
	case made.heals:
		made.verb, made.reason, made.message, made.heals = keep, ReasonApplied, "", false
	default:
		return decision{verb: wait, reason: ReasonFreeze, basis: made.basis, deletes: made.deletes,
			message: said + "; what cannot wait says `breakGlass`"}
	}
	return made
}

// glass is what the request said of breaking the glass, as it was applied last:
// one that was removed says so before.
func (s *UnitStatus) glass() *BreakGlass {
	var document struct {
		BreakGlass *BreakGlass `json:"breakGlass"`
	}
	if json.Unmarshal(s.Document, &document) != nil {
		return nil
	}
	return document.BreakGlass
}

// used notes in a run that it breaks the glass.
func (j *Job) used(glass *BreakGlass, now time.Time) {
	if glass == nil {
		return
	}
	noted := *glass
	noted.Used = now.UTC().Format(time.RFC3339)
	j.Credits = append(j.Credits, fmt.Sprintf("Break-Glass: %s until %s: %s", j.Unit, glass.Until, glass.Reason))
	if j.Success != nil {
		j.Success.BreakGlass = &noted
	}
}
