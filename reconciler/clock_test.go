package reconciler

import (
	"testing"
	"time"
)

// clockwork is a host whose clock may be wrong.
type clockwork struct {
	*testing.T
	r     *Reconciler
	real  time.Time
	begun time.Time
	wrong time.Duration // what the clock is ahead by
}

// newClockwork starts a daemon at noon on a host whose clock is ahead; the last
// commit is a week old.
func newClockwork(t *testing.T, wrong time.Duration) *clockwork {
	c := &clockwork{T: t, real: noon, begun: noon, wrong: wrong}
	c.r = New(Options{Now: func() time.Time { return c.real.Add(c.wrong) }, Steady: func() time.Duration { return c.real.Sub(c.begun) }})
	c.r.checked = &Checked{Revision: Revision{Commit: "second", Time: noon.AddDate(0, 0, -7)}}
	return c
}

// expect compares whether a request whose last day is the first of March is
// destroyed.
func (c *clockwork) expect(when string, destroyed bool) {
	c.Helper()
	s := newSituation(ask("a", expires("2027-03-01"))).applied("a")
	s.now, s.sure, s.checked.Revision = c.r.Now(), c.r.sure(), c.r.checked.Revision
	if made := s.decide()["a"]; (made.verb == destroy) != destroyed {
		c.Errorf("%s, at %s by a clock that says %s: %s", when, c.real, c.r.Now(), told(made))
	}
}

// after lets time pass.
func (c *clockwork) after(d time.Duration) *clockwork {
	c.real = c.real.Add(d)
	return c
}

const hours = time.Hour

func TestClockSetForward(t *testing.T) {
	c := newClockwork(t, 0)
	c.after(hours).wrong = 24 * hours
	c.expect("set forward by a day", false)
	c.wrong = 365 * 24 * hours
	c.expect("set forward by a year", false)
	c.after(10*hours).expect("on the last day", false)
	c.after(26*hours).expect("a day after the end", true)
}

func TestClockSetBack(t *testing.T) {
	c := newClockwork(t, 0)
	c.after(14 * hours).wrong = -24 * hours
	c.expect("set back by a day after the end", false)
	c.after(24*hours).expect("a day later", false)
	c.wrong = 0
	c.expect("put right", true)
}

func TestStartedWithAClockAhead(t *testing.T) {
	c := newClockwork(t, 24*hours)
	c.expect("at the start", false)
	c.after(11*hours).expect("on the last day", false)
	c.wrong = 0
	c.expect("put right", false)
	c.after(2*hours).expect("after the end", false)
	c.after(23*hours).expect("a day after the end", true)
}

func TestCommitEndsTheDoubt(t *testing.T) {
	c := newClockwork(t, 0)
	c.after(13*hours).expect("after the end", false)
	c.r.checked.Revision.Time = c.real
	c.expect("after a commit", true)
	c.after(-2 * hours).wrong = 0
	c.r.checked.Revision.Time = c.real.AddDate(0, 0, 2)
	c.expect("before the end, by a commit of somebody whose clock is ahead", false)
}

// The end is told ahead, once, and no longer once it is extended.
func TestExpiring(t *testing.T) {
	w := newWorld(t)
	expiring := func(day string) *Request { r := request("db"); r.Expires = day; return r }
	w.revise("one", expiring("2027-03-09"))
	w.checked.Platform.Settings.Expiry.Warn = Interval(7 * 24 * time.Hour)
	w.apply("db")
	w.expect("db", keep, ReasonApplied)
	if w.record.Units["db"].Is(Expiring) {
		t.Error("the end is told too early")
	}
	w.now = w.now.AddDate(0, 0, 2)
	clear(w.journal.events)
	w.expect("db", keep, ReasonApplied)
	c, _ := w.record.Units["db"].Conditions.Get(Expiring)
	if want := "is needed until the end of 2027-03-09: extend `expires` or `ttl` to keep it"; !c.Status || c.Message != want {
		t.Errorf("got %+v", c)
	}
	if said := w.journal.events["db"]; len(said) != 1 || said[0].trailer != "expiring on=2027-03-09" {
		t.Errorf("got %+v", said)
	}
	w.revise("two", expiring("2027-06-01"))
	w.checked.Platform.Settings.Expiry.Warn = Interval(7 * 24 * time.Hour)
	w.expect("db", keep, ReasonApplied)
	if w.record.Units["db"].Is(Expiring) {
		t.Error("what was extended is still told to end")
	}
}
