// Package calendar knows cron: when a schedule began. It brings the time zones
// along, so that it answers the same on every host.
package calendar

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container may have none

	"github.com/adhocore/gronx"
)

// Calendar is the domain's Calendar.
type Calendar struct{}

// Last returns when a schedule of five fields began last, at or before a time, in
// the time zone.
func (Calendar) Last(schedule, timeZone string, at time.Time) (time.Time, error) {
	zone, err := time.LoadLocation(timeZone)
	if err != nil || timeZone == "Local" {
		return time.Time{}, fmt.Errorf("there is no time zone %q", timeZone)
	}
	if !gronx.IsValid(schedule) {
		return time.Time{}, fmt.Errorf("expected the five fields of cron; got %q", schedule)
	}
	last, err := gronx.PrevTickBefore(schedule, at.In(zone).Truncate(time.Minute), true)
	if err != nil {
		return time.Time{}, fmt.Errorf("the schedule %q never begins", schedule)
	}
	return last, nil
}
