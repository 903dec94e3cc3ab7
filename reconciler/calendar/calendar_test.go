package calendar

import (
	"strings"
	"testing"
	"time"
)

func TestLast(t *testing.T) {
	for _, test := range []struct{ schedule, zone, at, want string }{
		{"0 18 * * FRI", "UTC", "2027-03-01T12:00:00Z", "2027-02-26T18:00:00Z"},
		{"0 18 * * FRI", "Europe/Berlin", "2027-03-01T12:00:00Z", "2027-02-26T17:00:00Z"},
		{"0 18 * * FRI", "Europe/Berlin", "2027-02-26T17:00:00Z", "2027-02-26T17:00:00Z"},
		{"0 18 * * FRI", "Europe/Berlin", "2027-02-26T16:59:59Z", "2027-02-19T17:00:00Z"},
		{"0 18 * * FRI", "Europe/Berlin", "2027-04-05T12:00:00Z", "2027-04-02T16:00:00Z"}, // summer time
		{"0 0 20 12 *", "America/New_York", "2027-01-02T09:00:00Z", "2026-12-20T05:00:00Z"},
		{"* * * * *", "UTC", "2027-03-01T12:00:59Z", "2027-03-01T12:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2027-03-28T12:00:00Z", "2027-03-27T01:30:00Z"}, // skipped by the clock
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Calendar{}.Last(test.schedule, test.zone, at)
		if err != nil || got.UTC().Format(time.RFC3339) != test.want {
			t.Errorf("%s in %s, at %s: got %s, %v; want %s", test.schedule, test.zone, test.at, got.UTC(), err, test.want)
		}
	}
	for _, test := range []struct{ schedule, zone, want string }{
		{"61 * * * *", "UTC", `expected the five fields of cron; got "61 * * * *"`},
		{"0 0 31 2 *", "UTC", `the schedule "0 0 31 2 *" never begins`},
		{"0 0 * * *", "Europe/Bonn", `there is no time zone "Europe/Bonn"`},
		{"0 0 * * *", "Local", `there is no time zone "Local"`},
	} {
		if _, err := (Calendar{}).Last(test.schedule, test.zone, time.Now()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s in %s: got %v", test.schedule, test.zone, err)
		}
	}
}
