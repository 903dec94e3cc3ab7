package github_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/reconciler/github/fake"
)

var (
	alice = fake.User{ID: 1, Login: "alice"}
	bob   = fake.User{ID: 2, Login: "bob"}
	carol = fake.User{ID: 3, Login: "carol"}
	dave  = fake.User{ID: 4, Login: "dave"}
)

func sha(n int) string { return fmt.Sprintf("%040x", n) }

// open is a forge with pull request 12 from alice, whose head is sha(2).
func open(t *testing.T) (*fake.Server, *fake.Pull) {
	t.Helper()
	s := fake.New(t)
	for _, u := range []fake.User{alice, bob, carol, dave} {
		s.AddUser(u)
	}
	p := s.AddPull(fake.Pull{Number: 12, Title: "Add a database", Author: alice, State: "open", BaseRef: "main", BaseSHA: sha(1),
		HeadRef: "feature", HeadSHA: sha(2), Commits: []fake.Commit{commit(2, alice)}})
	s.AddPush(fake.Push{Owner: fake.Owner, Name: fake.Name, Ref: "refs/heads/feature", Before: sha(0), After: sha(2), Kind: "branch_creation", By: alice})
	return s, p
}

func commit(n int, by fake.User) fake.Commit {
	email := by.Login + "@acme.example"
	return fake.Commit{SHA: sha(n), Message: "change", Author: by, Committer: by, AuthorEmail: email, CommitterEmail: email}
}

func byToken(t *testing.T, s *fake.Server) *github.Forge {
	t.Helper()
	return connect(t, github.Options{Token: fake.Token, Transport: s.Transport()})
}

func byApp(t *testing.T, s *fake.Server) *github.Forge {
	t.Helper()
	return connect(t, github.Options{App: &github.App{ID: fake.AppID, Key: s.AppKey()}, Transport: s.Transport()})
}

func connect(t *testing.T, o github.Options) *github.Forge {
	t.Helper()
	if o.URL == "" {
		o.URL = "https://github.acme.example"
	}
	o.Owner, o.Name, o.Branch = fake.Owner, fake.Name, "main"
	f, err := github.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ways are the two ways to be somebody on the forge.
var ways = map[string]func(*testing.T, *fake.Server) *github.Forge{"token": byToken, "app": byApp}

// eachWay runs a test as an account and as an App, in fake time.
func eachWay(t *testing.T, test func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, way) })
		})
	}
}

func report(state reconciler.CheckState, units int) reconciler.Report {
	r := reconciler.Report{Number: 12, Base: sha(1), Head: sha(2), State: state, Headline: fmt.Sprintf("%d units change", units)}
	for i := range units {
		r.Units = append(r.Units, reconciler.PlannedUnit{Request: fmt.Sprintf("unit-%03d", i), Action: "apply", Outcome: reconciler.Changed,
			Plan: reconciler.PlanSummary{Add: 1, Change: i % 3, Changes: []reconciler.ChangedField{
				{Address: "random_password.this", Action: "create"}, {Address: fmt.Sprintf("local_file.file[%d]", i), Action: "update", Attributes: []string{"content"}}}}})
	}
	return r
}

func withViolations(r reconciler.Report, n int) reconciler.Report {
	for i := range n {
		r.Violations = append(r.Violations, reconciler.Violation{Level: reconciler.Deny, Rule: "acme.rule", Kind: "request", Name: "unit-000",
			Position: reconciler.Position{File: "catalog/a.cue", Line: i + 1, Column: 3}, Message: fmt.Sprintf("wrong for reason %d", i), Hint: "ask"})
	}
	return r
}

func writes(calls []fake.Call) int {
	n := 0
	for _, c := range calls {
		if c.Method != http.MethodGet && !strings.HasSuffix(c.Path, "/access_tokens") {
			n++
		}
	}
	return n
}

// standing fails unless one comment and one check of ours stand, as reported.
func standing(t *testing.T, s *fake.Server, r reconciler.Report) {
	t.Helper()
	comments := s.Comments(r.Number)
	if len(comments) != 1 {
		t.Fatalf("%d comments stand, want 1", len(comments))
	}
	if body := comments[0].Body; !strings.Contains(body, github.Markdown(r, "https://github.acme.example/acme/platform")) {
		t.Fatalf("the comment is not the report's:\n%s", body)
	}
	link := fmt.Sprintf("https://github.com/acme/platform/pull/12#issuecomment-%d", comments[0].ID)
	statuses, runs := s.Statuses(r.Head), s.Runs(r.Head)
	switch {
	case len(runs) > 0:
		run := runs[len(runs)-1]
		want := map[reconciler.CheckState]string{reconciler.CheckPassed: "completed success", reconciler.CheckFailed: "completed failure",
			reconciler.CheckWaiting: "completed action_required", reconciler.CheckPending: "in_progress "}[r.State]
		if got := run.Status + " " + run.Conclusion; got != want || run.Title != r.Headline || run.Details != link {
			t.Fatalf("the check run is %q %q %s, want %q %q %s", got, run.Title, run.Details, want, r.Headline, link)
		}
		if len(statuses) > 0 {
			t.Fatal("a check run and a status stand")
		}
		seen := map[any]bool{}
		for _, a := range run.Annotations {
			if seen[a["start_line"]] {
				t.Fatalf("the annotation of line %v stands twice", a["start_line"])
			}
			seen[a["start_line"]] = true
		}
		if want := min(len(r.Violations), 150); len(run.Annotations) != want {
			t.Fatalf("%d annotations stand, want %d", len(run.Annotations), want)
		}
	case len(statuses) > 0:
		last := statuses[len(statuses)-1]
		want := map[reconciler.CheckState]string{reconciler.CheckWaiting: "pending"}[r.State]
		if want == "" {
			want = string(r.State)
		}
		if last.State != want || last.Description != r.Headline || last.Context != "pave" || last.Target != link {
			t.Fatalf("the status is %+v, want %s %q", last, want, r.Headline)
		}
	default:
		t.Fatal("no check stands")
	}
}

// postedOnce fails where something was posted twice, also where it was deleted since.
func postedOnce(t *testing.T, s *fake.Server, commit string) {
	t.Helper()
	if n := s.Posted(); n != 1 {
		t.Errorf("%d comments were posted", n)
	}
	if n := len(s.Runs(commit)); n > 1 {
		t.Errorf("%d check runs were posted", n)
	}
	for i, status := range s.Statuses(commit) {
		if all := s.Statuses(commit); i > 0 && status.State == all[i-1].State && status.Description == all[i-1].Description && status.Target == all[i-1].Target {
			t.Errorf("the status %+v was posted twice", status)
		}
	}
}

func publish(t *testing.T, f *github.Forge, r reconciler.Report) time.Time {
	t.Helper()
	at, err := publishAt(t.Context(), f, r)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// publishAt publishes, and returns when the comment was brought to what it says.
func publishAt(ctx context.Context, f *github.Forge, r reconciler.Report) (at time.Time, err error) {
	err = f.Publish(ctx, r, func(shown time.Time) error { at = shown; return nil })
	return at, err
}

func TestPublishOnceWhateverTheSize(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		var first, next, restarted []int
		asApp := false
		for _, units := range []int{1, 50, 300} {
			s, _ := open(t)
			f := connect(t, s)
			r := report(reconciler.CheckPassed, units)
			publish(t, f, r)
			standing(t, s, r)
			first = append(first, len(s.Calls()))
			asApp = len(s.Runs(r.Head)) > 0
			if n := writes(s.Calls()); n != 2 {
				t.Errorf("%d units: %d changes, want one comment and one check", units, n)
			}

			s.SetFault(nil)
			publish(t, f, r)
			if calls := s.Calls(); len(calls) != 0 {
				t.Errorf("%d units: the same again costs %v", units, calls)
			}
			r.Headline, r.State = "something else", reconciler.CheckFailed
			publish(t, f, r)
			standing(t, s, r)
			next = append(next, len(s.Calls()))

			s.SetFault(nil)
			publish(t, connect(t, s), r)
			if calls := s.Calls(); writes(calls) != 0 {
				t.Errorf("%d units: the same after a restart changes something: %v", units, calls)
			}

			s.SetFault(nil)
			r.Headline = "something else again"
			publish(t, connect(t, s), r)
			standing(t, s, r)
			restarted = append(restarted, len(s.Calls()))
		}
		// As the package's documentation says.
		who := map[bool]int{false: 1, true: 4}[asApp]
		for what, c := range map[string]struct {
			got  []int
			want int
		}{"a first report": {first, who + 5}, "another": {next, 3}, "another after a restart": {restarted, who + 4}} {
			if !slices.Equal(c.got, []int{c.want, c.want, c.want}) {
				t.Errorf("%s costs %v requests for 1, 50 and 300 units, want %d", what, c.got, c.want)
			}
		}
	})
}

func TestPublishEveryState(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		f := connect(t, s)
		for _, state := range []reconciler.CheckState{reconciler.CheckPending, reconciler.CheckFailed, reconciler.CheckPending,
			reconciler.CheckWaiting, reconciler.CheckPassed} {
			r := report(state, 2)
			publish(t, f, r)
			standing(t, s, r)
		}
	})
}

// Whichever request is the last that a process makes, and whether the forge
// had taken it or not, the next process ends with the same, once.
func TestPublishKilledAnywhere(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		before, after := report(reconciler.CheckPending, 1), withViolations(report(reconciler.CheckFailed, 50), 120)
		for _, begun := range []bool{false, true} {
			for _, taken := range []bool{false, true} {
				for k := 1; ; k++ {
					s, _ := open(t)
					f := connect(t, s)
					if begun {
						publish(t, f, before)
					}
					killed := false
					ctx, kill := context.WithCancel(t.Context())
					s.SetFault(func(call int, _ *http.Request) fake.Fault {
						if call < k {
							return fake.Fault{}
						}
						kill()
						killed = true
						return fake.Fault{Before: !taken || call > k, After: taken}
					})
					_, err := publishAt(ctx, f, after)
					kill()
					if killed && err == nil {
						t.Fatalf("killed at call %d, and no error", k)
					}
					s.SetFault(nil)
					publish(t, connect(t, s), after)
					standing(t, s, after)
					postedOnce(t, s, after.Head)
					if n := len(s.Comments(12)); t.Failed() {
						t.Fatalf("killed at call %d (the forge had taken it: %v), with %d comments", k, taken, n)
					}
					if !killed {
						break
					}
				}
			}
		}
	})
}

func TestPublishThroughFaults(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	faults := map[string]func(call int, r *http.Request) fake.Fault{
		"every second answer, by chance, is 502": func(int, *http.Request) fake.Fault {
			if chance.IntN(2) == 0 {
				return fake.Fault{Status: 502}
			}
			return fake.Fault{}
		},
		"every third answer, by chance, is lost": func(int, *http.Request) fake.Fault { return fake.Fault{After: chance.IntN(3) == 0} },
		"every second answer is lost":            func(call int, _ *http.Request) fake.Fault { return fake.Fault{After: call%2 == 0} },
		"the first twenty are 429": func(call int, _ *http.Request) fake.Fault {
			if call <= 20 {
				return fake.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}
			}
			return fake.Fault{}
		},
		"403 by wording": func(call int, _ *http.Request) fake.Fault {
			if call%3 == 1 {
				return fake.Fault{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`}
			}
			return fake.Fault{}
		},
		"the first ten are 403 with Retry-After": func(call int, _ *http.Request) fake.Fault {
			if call <= 10 {
				return fake.Fault{Status: 403, Header: http.Header{"Retry-After": {"60"}}}
			}
			return fake.Fault{}
		},
		"every second is 403 with nothing left": func(call int, _ *http.Request) fake.Fault {
			return limitedUntil(403, call%2 == 1)
		},
		"every second is 429 with nothing left": func(call int, _ *http.Request) fake.Fault {
			return limitedUntil(429, call%2 == 1)
		},
		"429 and 403 in turn, for a while": func(call int, _ *http.Request) fake.Fault {
			if call > 30 {
				return fake.Fault{}
			}
			return []fake.Fault{{Status: 429}, {Status: 403, Header: http.Header{"Retry-After": {"3"}}}, limitedUntil(403, true)}[call%3]
		},
		"bursts of 5xx": func(call int, _ *http.Request) fake.Fault {
			if call%6 < 3 {
				return fake.Fault{Status: []int{500, 502, 503, 504}[call%4]}
			}
			return fake.Fault{}
		},
		"nonsense for an answer": func(call int, _ *http.Request) fake.Fault {
			if call == 2 {
				return fake.Fault{Status: 503, Body: "<html>unicorn"}
			}
			return fake.Fault{}
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
				s, _ := open(t)
				s.SetFault(fault)
				f := connect(t, s)
				r := withViolations(report(reconciler.CheckFailed, 3), 3)
				for tries := 1; ; tries++ {
					_, err := publishAt(t.Context(), f, r)
					if err == nil {
						break
					}
					if tries == 10 {
						t.Fatal(err)
					}
				}
				standing(t, s, r)
				postedOnce(t, s, r.Head)
			})
		})
	}
}

// limitedUntil is a limit that ends after five minutes, as an answer states it.
func limitedUntil(status int, limited bool) fake.Fault {
	if !limited {
		return fake.Fault{}
	}
	return fake.Fault{Status: status, Header: http.Header{"X-RateLimit-Remaining": {"0"},
		"X-RateLimit-Reset": {strconv.FormatInt(time.Now().Add(5*time.Minute).Unix(), 10)}}}
}

// A forge that is away for ten minutes gets the last report, however often the
// loop tries meanwhile, and only that one.
func TestPublishAfterTenDeadMinutes(t *testing.T) {
	for _, fault := range []fake.Fault{{Before: true}, {Status: 503}, {After: true}} {
		eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
			s, _ := open(t)
			f := connect(t, s)
			publish(t, f, report(reconciler.CheckPending, 1))
			begin := time.Now()
			s.SetFault(func(int, *http.Request) fake.Fault {
				if time.Since(begin) < 10*time.Minute {
					return fault
				}
				return fake.Fault{}
			})
			tries := 0
			for r := report(reconciler.CheckFailed, 1); ; r.Headline = fmt.Sprintf("try %d", tries) {
				tries++
				_, err := publishAt(t.Context(), f, r)
				if err == nil {
					standing(t, s, r)
					break
				}
				if time.Since(begin) > 12*time.Minute {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second)
			}
			if n := len(s.Calls()); n > 40*tries {
				t.Errorf("%d requests in %d tries", n, tries)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		f := byToken(t, s)
		s.Do(func() { s.Limit, s.Reset = 3, time.Now().Add(17*time.Minute) })
		begin := time.Now()
		r := report(reconciler.CheckPassed, 1)
		publish(t, f, r)
		standing(t, s, r)
		if waited := time.Since(begin); waited < 17*time.Minute || waited > 18*time.Minute {
			t.Errorf("waited %v for a limit that ends after 17m", waited)
		}
		for _, c := range s.Calls() {
			if c.Status == http.StatusForbidden {
				t.Error("it asked although it knew that nothing was left")
			}
		}

		s.Do(func() { s.Limit, s.Reset = 0, time.Now().Add(time.Hour) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a minute's patience: %v", err)
		}
	})
}

// Two hundred reports at once stay below the forge's secondary limit.
func TestChangesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		f := byToken(t, s)
		for i := range 100 {
			r := report(reconciler.CheckPassed, 1)
			r.Headline = strconv.Itoa(i)
			publish(t, f, r)
		}
		for _, c := range s.Calls() {
			if c.Status == http.StatusForbidden {
				t.Fatal("it met the secondary limit")
			}
		}
	})
}

func TestCommentIsOursAndOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		for range 150 {
			s.AddComment(12, alice, "chat")
		}
		forged := s.AddComment(12, bob, "<!-- pave: pave -->\nall is well")
		other := s.AddComment(12, fake.Bot, "by hand")
		first := s.AddComment(12, fake.Bot, "<!-- pave: pave -->\nan earlier process")
		s.AddComment(12, fake.Bot, "<!-- pave: pave -->\na racing process")
		f := byToken(t, s)
		r := report(reconciler.CheckPassed, 1)
		publish(t, f, r)
		comments := s.Comments(12)
		if len(comments) != 153 {
			t.Fatalf("%d comments stand, want those of others and one", len(comments))
		}
		for _, c := range comments {
			if (c.ID == forged || c.ID == other) && c.Edited > 0 {
				t.Errorf("it edited comment %q", c.Body)
			}
			if c.ID == first && !strings.Contains(c.Body, "1 units change") {
				t.Errorf("the first of ours says %q", c.Body)
			}
		}

		// Deleted by hand: the next different report brings it back.
		r.Headline = "again"
		remove(t, s, first)
		publish(t, f, r)
		if n := len(s.Comments(12)); n != 153 {
			t.Errorf("%d comments stand after ours was deleted", n)
		}
	})
}

// A comment may be missing from the list for a moment after it was made.
func TestCommentIsNotListedYet(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		for lag := range 4 {
			s, _ := open(t)
			s.AddComment(12, alice, "chat")
			f := connect(t, s)
			r := report(reconciler.CheckPassed, 1)
			s.SetFault(func(_ int, r *http.Request) fake.Fault {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/comments") {
					s.Unlisted = lag
				}
				return fake.Fault{}
			})
			publish(t, f, r)
			r.Headline = "something else"
			publish(t, f, r)
			postedOnce(t, s, r.Head)
			if all := s.Comments(12); len(all) != 2 || !strings.Contains(all[1].Body, "something else") {
				t.Errorf("%d comments stand", len(all))
			}
		}
	})
}

// remove deletes a comment as its author does on the page.
func remove(t *testing.T, s *fake.Server, id int64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, fmt.Sprintf("https://github.acme.example/api/v3/repos/acme/platform/issues/comments/%d", id), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+fake.Token)
	resp, err := s.Transport().RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp, err)
	}
}

// Processes that publish at the same time leave one comment, once they have all
// published what holds.
func TestRacingProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		r := report(reconciler.CheckPassed, 1)
		done := make(chan error)
		for range 8 {
			f := byToken(t, s)
			go func() {
				_, err := publishAt(t.Context(), f, r)
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		publish(t, byToken(t, s), r)
		standing(t, s, r)
	})
}

func TestAnnotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		f := byApp(t, s)
		many := withViolations(report(reconciler.CheckFailed, 1), 400)
		publish(t, f, many)
		standing(t, s, many)
		if n := writes(s.Calls()); n != 4 {
			t.Errorf("%d changes, want a comment and three batches", n)
		}
		// Others cannot replace them in the same run.
		few := withViolations(report(reconciler.CheckFailed, 1), 2)
		publish(t, f, few)
		standing(t, s, few)
		if n := len(s.Runs(sha(2))); n != 2 {
			t.Errorf("%d check runs, want a second one for other annotations", n)
		}
		few.Headline = "the same places"
		publish(t, f, few)
		standing(t, s, few)
		if n := len(s.Runs(sha(2))); n != 2 {
			t.Errorf("%d check runs, want the same one for the same annotations", n)
		}
	})
}

func TestAppWithoutChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		s.ChecksDenied = true
		r := report(reconciler.CheckWaiting, 1)
		publish(t, byApp(t, s), r)
		standing(t, s, r)
		if len(s.Statuses(sha(2))) != 1 {
			t.Error("no status stands")
		}
	})
}

func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		f := byApp(t, s)
		for range 3 {
			if _, err := f.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Minute)
		}
	})
}

// says is what the check of a commit says: that of the last status or check run.
func says(s *fake.Server, commit string) string {
	if runs := s.Runs(commit); len(runs) > 0 {
		return cmp.Or(runs[len(runs)-1].Conclusion, runs[len(runs)-1].Status)
	}
	if all := s.Statuses(commit); len(all) > 0 {
		return all[len(all)-1].State
	}
	return ""
}

// The worst of several pull requests with one head is what their commit says, in
// whatever order they report, without flapping, and after a restart.
func TestOneHeadSeveralPullRequests(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		var reports []reconciler.Report
		for i, state := range []reconciler.CheckState{reconciler.CheckPassed, reconciler.CheckFailed, reconciler.CheckWaiting, reconciler.CheckPending} {
			r := report(state, i+1)
			r.Number += i
			reports = append(reports, r)
			if i > 0 {
				s.AddPull(fake.Pull{Number: r.Number, Title: "the same", Author: bob, State: "open", BaseRef: "main", BaseSHA: sha(1), HeadRef: "feature", HeadSHA: sha(2)})
			}
		}
		look := func(f *github.Forge) {
			t.Helper()
			if _, err := f.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 { // a process each, that reports in another order
			f := connect(t, s)
			look(f)
			for range 3 {
				for _, r := range reports {
					publish(t, f, r)
					if got := says(s, sha(2)); got == "success" {
						t.Errorf("after the report of %d the commit says %s", r.Number, got)
					}
				}
				if got := says(s, sha(2)); got != "failure" {
					t.Errorf("with all reports in, the commit says %s", got)
				}
			}
			s.SetFault(nil)
			for _, r := range reports {
				publish(t, f, r)
			}
			if n := len(s.Calls()); n != 0 {
				t.Errorf("the same reports again cost %d requests", n)
			}
			reports = append(reports[1:], reports[0])
		}
		// Once the worse ones are closed the next one counts.
		f := connect(t, s)
		look(f)
		for _, r := range reports {
			publish(t, f, r)
		}
		for _, step := range []struct {
			closes int
			want   []string
		}{{13, []string{"action_required", "pending"}}, {14, []string{"in_progress", "pending"}}, {15, []string{"success"}}} {
			s.Do(func() { s.Pull(step.closes).State = "closed" })
			look(f)
			publish(t, f, report(reconciler.CheckPassed, 1))
			if got := says(s, sha(2)); !slices.Contains(step.want, got) {
				t.Errorf("once %d is closed the commit says %s, want %v", step.closes, got, step.want)
			}
		}
		for i := range 4 {
			if n := len(s.Comments(12 + i)); n != 1 {
				t.Errorf("pull request %d has %d comments", 12+i, n)
			}
		}
	})
}

func TestTooManyStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		s.AddStatuses(sha(2), "pave", 1000)
		_, err := publishAt(t.Context(), byToken(t, s), report(reconciler.CheckPassed, 1))
		if err == nil || !strings.Contains(err.Error(), "push") {
			t.Errorf("the error is %v, want one that says to push another commit", err)
		}
		if len(s.Comments(12)) != 1 {
			t.Error("the comment did not come")
		}
	})
}

func TestState(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		f := connect(t, s)
		for range 3 {
			if err := f.State(t.Context(), sha(9), reconciler.CheckPassed, strings.Repeat("ü", 500)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(s.Statuses(sha(9))) + len(s.Runs(sha(9))); n != 1 {
			t.Errorf("%d checks stand", n)
		}
		if err := f.State(t.Context(), "main", reconciler.CheckPassed, "x"); err == nil {
			t.Error("a branch passed for a commit")
		}
	})
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t)
		for i := range 250 {
			s.AddPull(fake.Pull{Number: 100 + i, Title: "x", Author: bob, State: "open", BaseRef: "main", BaseSHA: sha(1), HeadRef: "f", HeadSHA: sha(i + 10), HeadOwner: "bob", HeadName: "platform"})
		}
		s.AddPull(fake.Pull{Number: 900, Author: bob, State: "open", BaseRef: "release", BaseSHA: sha(1), HeadRef: "f", HeadSHA: sha(3)})
		s.AddPull(fake.Pull{Number: 901, Author: bob, State: "closed", BaseRef: "main", BaseSHA: sha(1), HeadRef: "f", HeadSHA: sha(3)})
		f := byToken(t, s)
		for range 2 {
			s.SetFault(nil)
			pulls, err := f.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(pulls) != 251 || pulls[0].Number != 12 || pulls[0].Fork || !pulls[250].Fork || pulls[0].Author != (reconciler.Person{ID: 1, Handle: "alice"}) {
				t.Fatalf("%d pull requests, the first %+v", len(pulls), pulls[0])
			}
		}
		for _, c := range s.Calls() {
			if c.Status != http.StatusNotModified {
				t.Errorf("the second look costs %+v", c)
			}
		}
		s.Do(func() { p.HeadSHA = sha(77) })
		pulls, err := f.Open(t.Context())
		if err != nil || pulls[0].Head != sha(77) {
			t.Errorf("after a push the head is %s (%v)", pulls[0].Head, err)
		}
		s.Do(func() { p.HeadSHA = "--upload-pack=x" })
		if _, err := f.Open(t.Context()); err == nil {
			t.Error("an option passed for a commit")
		}
	})
}

// Pull requests of other branches are looked at where the check passed on their
// heads, and few of them, however many there are.
func TestStrays(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		for i := range 100 {
			s.AddPull(fake.Pull{Number: 100 + i, Title: "x", Author: bob, State: "open", BaseRef: "release", BaseSHA: sha(1), HeadRef: "f", HeadSHA: sha(i + 10)})
		}
		s.AddPull(fake.Pull{Number: 300, Title: "x", Author: bob, State: "open", BaseRef: "main", BaseSHA: sha(1), HeadRef: "f", HeadSHA: sha(3)})
		f := connect(t, s)
		for n, state := range map[int]reconciler.CheckState{3: reconciler.CheckPassed, 11: reconciler.CheckPassed, 107: reconciler.CheckPassed, 108: reconciler.CheckFailed} {
			if err := f.State(t.Context(), sha(n), state, "said before"); err != nil {
				t.Fatal(err)
			}
		}
		f = connect(t, s)
		s.SetFault(nil)
		strays, err := f.Strays(t.Context())
		if err != nil || len(strays) != 1 || strays[0].Number != 197 {
			t.Errorf("got %+v (%v)", strays, err)
		}
		if n := len(s.Calls()); n > 35 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t)
		f := byToken(t, s)
		s.Do(func() { p.MergeSHA = sha(50) }) // the forge's own try
		if _, found, err := f.Merged(t.Context(), sha(50)); found || err != nil {
			t.Errorf("a try passes for a merge (%v)", err)
		}
		s.Do(func() { p.State, p.MergedAt, p.MergedBy = "closed", time.Now(), bob })
		got, found, err := f.Merged(t.Context(), sha(50))
		if err != nil || !found || got.Number != 12 || got.Merge != sha(50) || got.MergedBy.ID != bob.ID || got.Open {
			t.Errorf("the merge is %+v, %v (%v)", got, found, err)
		}
		if _, found, err := f.Merged(t.Context(), sha(51)); found || err != nil {
			t.Errorf("a commit of nobody's passes for a merged one (%v)", err)
		}
		// A rebase made these of its commits, the last of which is its merge.
		s.Do(func() { p.Commits = append(p.Commits, commit(48, alice), commit(49, alice)) })
		for _, other := range []string{sha(48), sha(49)} {
			if got, found, err := f.Merged(t.Context(), other); err != nil || !found || got.Number != 12 || got.Merge != sha(50) || got.MergedBy.ID != bob.ID {
				t.Errorf("%s was brought by %+v, %v (%v)", other, got, found, err)
			}
		}
		s.Do(func() { p.BaseRef = "release" })
		if _, found, _ := f.Merged(t.Context(), sha(50)); found {
			t.Error("a merge into another branch counts")
		}
	})
}

// Of several pull requests with a commit only those count that were merged into
// the tracked branch: the one whose merge it is, or else the first.
func TestMergedOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t) // number 12 is open, with the commit 2
		at := time.Now()
		for number, change := range map[int]fake.Pull{
			20: {MergeSHA: sha(60), MergedAt: at.Add(2 * time.Hour)},
			21: {MergeSHA: sha(61), MergedAt: at.Add(1 * time.Hour)},
			22: {MergeSHA: sha(62), MergedAt: at, BaseRef: "release"},
			23: {MergeSHA: sha(2), MergedAt: at.Add(3 * time.Hour)},
			24: {}, // closed without a merge
		} {
			change.Number, change.Author, change.State, change.HeadRef, change.HeadSHA, change.BaseSHA = number, bob, "closed", "f", sha(2), sha(1)
			change.BaseRef, change.Commits = cmp.Or(change.BaseRef, "main"), []fake.Commit{commit(2, alice), commit(3, alice)}
			s.AddPull(change)
		}
		f := byToken(t, s)
		for of, want := range map[string]int{sha(2): 23, sha(3): 21, sha(60): 20} {
			if got, found, err := f.Merged(t.Context(), of); err != nil || !found || got.Number != want {
				t.Errorf("%s was brought by %d, %v (%v), want %d", of, got.Number, found, err, want)
			}
		}
	})
}

// The time of a comment is the forge's, and does not move while nothing is said anew.
func TestPublishSaysWhen(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		f := connect(t, s)
		r := report(reconciler.CheckWaiting, 1)
		begin := time.Now()
		first := publish(t, f, r)
		if !first.Equal(s.Comments(12)[0].At) || first.Sub(begin) > 10*time.Second {
			t.Errorf("it was written at %v, and it says %v", s.Comments(12)[0].At, first)
		}
		time.Sleep(time.Hour)
		r.State = reconciler.CheckPending // the check changes, and the headline's icon with it
		second := publish(t, f, r)
		if second.Sub(first) < time.Hour || !second.Equal(s.Comments(12)[0].At) {
			t.Errorf("it was edited at %v, and it says %v", s.Comments(12)[0].At, second)
		}
		time.Sleep(time.Hour)
		if again := publish(t, f, r); !again.Equal(second) {
			t.Errorf("it stands since %v, and it says %v", second, again)
		}
		if again := publish(t, connect(t, s), r); !again.Equal(second) {
			t.Errorf("after a restart: it stands since %v, and it says %v", second, again)
		}
		s.SetFault(func(int, *http.Request) fake.Fault { return fake.Fault{Status: 422} })
		r.Headline = "refused"
		if at, err := publishAt(t.Context(), f, r); err == nil || !at.IsZero() {
			t.Errorf("what failed happened at %v (%v)", at, err)
		}
	})
}

// What was shown is remembered before the check can let anybody merge: where that
// fails, or Pave is killed, the check stays as it was.
func TestPublishShowsFirst(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, _ := open(t)
		f := connect(t, s)
		r := report(reconciler.CheckPassed, 1)
		full := errors.New("the disk is full")
		if err := f.Publish(t.Context(), r, func(time.Time) error { return full }); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		if n := len(s.Comments(12)); n != 1 {
			t.Errorf("%d comments", n)
		}
		if n := len(s.Statuses(r.Head)) + len(s.Runs(r.Head)); n != 0 {
			t.Errorf("%d checks, and nobody remembers what was shown", n)
		}
		publish(t, f, r)
		standing(t, s, r)
	})
}

func TestMerge(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		for name, c := range map[string]struct {
			change func(s *fake.Server, p *fake.Pull)
			moved  string // what the error says; empty: it is merged
			puts   int
		}{
			"as it should be":           {func(*fake.Server, *fake.Pull) {}, "", 1},
			"only squashing is allowed": {func(s *fake.Server, _ *fake.Pull) { s.MergeMethods = []string{"squash", "rebase"} }, "", 1},
			"only rebasing is allowed":  {func(s *fake.Server, _ *fake.Pull) { s.MergeMethods = []string{"rebase"} }, "", 1},
			"another head":              {func(_ *fake.Server, p *fake.Pull) { p.HeadSHA = sha(7) }, "head", 0},
			"another base":              {func(_ *fake.Server, p *fake.Pull) { p.BaseRef = "release" }, "branch", 0},
			"closed":                    {func(_ *fake.Server, p *fake.Pull) { p.State = "closed" }, "closed", 0},
			"merged already": {func(_ *fake.Server, p *fake.Pull) {
				p.State, p.MergedAt, p.MergedBy, p.MergeSHA = "closed", time.Now(), bob, sha(50)
			}, "", 0},
			"the forge's rules forbid it": {func(_ *fake.Server, p *fake.Pull) { p.Refuses = "Required status check \"pave\" is expected." }, "expected", 1},
		} {
			s, p := open(t)
			c.change(s, p)
			err := connect(t, s).Merge(t.Context(), 12, sha(2))
			if n := writes(s.Calls()); n != c.puts {
				t.Errorf("%s: %d changes, want %d", name, n, c.puts)
			}
			if c.moved == "" && (err != nil || p.MergedAt.IsZero()) {
				t.Errorf("%s: it is not merged (%v)", name, err)
			}
			if c.moved != "" && (!errors.Is(err, reconciler.ErrMoved) || !strings.Contains(err.Error(), c.moved)) {
				t.Errorf("%s: the error is %v, want ErrMoved with %q", name, err, c.moved)
			}
		}
	})
}

// Nobody but Pave would have wanted what it proposes and merges itself.
func TestMergeNothingOfItsOwn(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		refused := 0
		for _, author := range []fake.User{fake.Bot, fake.AppIs} {
			s, p := open(t)
			p.Author = author
			err := connect(t, s).Merge(t.Context(), 12, sha(2))
			if errors.Is(err, reconciler.ErrMoved) && strings.Contains(err.Error(), "Pave opened it itself") && p.MergedAt.IsZero() {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("refused %d times, want once", refused)
		}
	})
}

// A head that moves between the look and the merge is the forge's to refuse; an
// answer that is lost merges nothing twice; a want of permission is no move.
func TestMergeInTrouble(t *testing.T) {
	eachWay(t, func(t *testing.T, connect func(*testing.T, *fake.Server) *github.Forge) {
		s, p := open(t)
		s.SetFault(func(_ int, r *http.Request) fake.Fault {
			if r.Method == http.MethodPut {
				p.HeadSHA = sha(7)
			}
			return fake.Fault{}
		})
		if err := connect(t, s).Merge(t.Context(), 12, sha(2)); !errors.Is(err, reconciler.ErrMoved) || !p.MergedAt.IsZero() {
			t.Errorf("the error is %v, want ErrMoved", err)
		}

		s, p = open(t)
		s.SetFault(func(_ int, r *http.Request) fake.Fault { return fake.Fault{After: r.Method == http.MethodPut} })
		if err := connect(t, s).Merge(t.Context(), 12, sha(2)); err != nil || p.MergedAt.IsZero() || writes(s.Calls()) != 1 {
			t.Errorf("the error is %v after %d changes", err, writes(s.Calls()))
		}

		s, _ = open(t)
		s.Denied = map[string]int{"pulls/merge": http.StatusForbidden}
		if err := connect(t, s).Merge(t.Context(), 12, sha(2)); err == nil || errors.Is(err, reconciler.ErrMoved) || !strings.Contains(err.Error(), "permission") {
			t.Errorf("the error is %v, want one about the permission", err)
		}
		if err := connect(t, s).Merge(t.Context(), 12, "main"); err == nil {
			t.Error("a branch passed for a commit")
		}
	})
}

func TestReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t)
		at := time.Unix(1_700_000_000, 0)
		for i, state := range []string{"APPROVED", "CHANGES_REQUESTED", "DISMISSED", "COMMENTED", "PENDING"} {
			p.Reviews = append(p.Reviews, fake.Review{By: bob, State: state, Commit: sha(2), Submitted: at.Add(time.Duration(i) * time.Hour)})
		}
		p.Reviews = append(p.Reviews, fake.Review{State: "APPROVED", Commit: sha(2), Submitted: at}) // a deleted account's
		for range 200 {
			p.Reviews = append(p.Reviews, fake.Review{By: carol, State: "COMMENTED", Commit: sha(1), Submitted: at})
		}
		got, err := byToken(t, s).Reviews(t.Context(), 12)
		if err != nil || len(got) != 204 {
			t.Fatalf("%d reviews (%v)", len(got), err)
		}
		for i, want := range []reconciler.ReviewState{reconciler.ReviewApproved, reconciler.ReviewRejected, reconciler.ReviewDismissed, reconciler.ReviewComment} {
			if got[i].State != want || got[i].By.ID != bob.ID || got[i].Commit != sha(2) || !got[i].Submitted.Equal(at.Add(time.Duration(i)*time.Hour)) {
				t.Errorf("review %d is %+v, want %s", i, got[i], want)
			}
		}
	})
}

// A review counts from the last change of the base on, by whichever page the event
// is on; without the events none does.
func TestReviewsOfAnotherBase(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	minute := func(n int) time.Time { return at.Add(time.Duration(n) * time.Minute) }
	changed := func(kind string, n int) fake.Event { return fake.Event{By: alice, Kind: kind, At: minute(n)} }
	labels := slices.Repeat([]fake.Event{changed("labeled", 9)}, 150)
	for name, c := range map[string]struct {
		events []fake.Event
		want   []int // the minutes of the reviews that count
	}{
		"never changed":      {want: []int{1, 3, 5}},
		"other events":       {labels, []int{1, 3, 5}},
		"a failed change":    {[]fake.Event{changed("automatic_base_change_failed", 9)}, []int{1, 3, 5}},
		"changed before":     {[]fake.Event{changed("base_ref_changed", 0)}, []int{1, 3, 5}},
		"changed once":       {[]fake.Event{changed("base_ref_changed", 2)}, []int{3, 5}},
		"there and back":     {[]fake.Event{changed("base_ref_changed", 2), changed("base_ref_changed", 4)}, []int{5}},
		"in another order":   {[]fake.Event{changed("base_ref_changed", 4), changed("base_ref_changed", 2)}, []int{5}},
		"its branch is gone": {[]fake.Event{changed("automatic_base_change_succeeded", 4)}, []int{5}},
		"at the same second": {[]fake.Event{changed("base_ref_changed", 5)}, nil},
		"changed after":      {[]fake.Event{changed("base_ref_changed", 6)}, nil},
		"on the second page": {append(slices.Clone(labels), changed("base_ref_changed", 4)), []int{5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := open(t)
				for _, n := range []int{1, 3, 5} {
					p.Reviews = append(p.Reviews, fake.Review{By: bob, State: "APPROVED", Commit: sha(2), Submitted: minute(n)})
				}
				f := byToken(t, s)
				reviews := func() (minutes []int) {
					t.Helper()
					got, err := f.Reviews(t.Context(), 12)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range got {
						minutes = append(minutes, int(r.Submitted.Sub(at).Minutes()))
					}
					return minutes
				}
				if got := reviews(); !slices.Equal(got, []int{1, 3, 5}) {
					t.Errorf("before any event the reviews are of the minutes %v", got)
				}
				s.Do(func() { p.Events = c.events })
				s.SetFault(nil)
				if got := reviews(); !slices.Equal(got, c.want) {
					t.Errorf("the reviews are of the minutes %v, want %v", got, c.want)
				}
				if n, want := len(s.Calls()), 2+len(c.events)/100; n != want {
					t.Errorf("it costs %d requests, want %d", n, want)
				}
				s.Denied = map[string]int{"issues/list-events": http.StatusForbidden}
				if got, err := f.Reviews(t.Context(), 12); err == nil || !strings.Contains(err.Error(), "events of pull request 12") || got != nil {
					t.Errorf("without the events the reviews are %v (%v)", got, err)
				}
			})
		})
	}
}

func TestPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		f := byToken(t, s)
		if got, err := f.Person(t.Context(), "Alice"); err != nil || got.ID != alice.ID {
			t.Errorf("alice is %+v (%v)", got, err)
		}
		for _, handle := range []string{"nobody", "", "../orgs/acme", "a?b", "a/b"} {
			if got, err := f.Person(t.Context(), handle); err == nil {
				t.Errorf("%q is %+v", handle, got)
			}
		}
	})
}

func TestParticipants(t *testing.T) {
	webFlow := fake.Commit{SHA: sha(3), Message: "Merge", Author: alice, AuthorEmail: "a@x", CommitterEmail: "noreply@github.acme.example", Verified: true}
	unsigned := webFlow
	unsigned.Verified = false
	with := func(message string) fake.Commit {
		c := commit(3, alice)
		c.Message = message
		return c
	}
	pushed := func(kind string, before, after int, by fake.User) fake.Push {
		return fake.Push{Owner: fake.Owner, Name: fake.Name, Ref: "refs/heads/feature", Kind: kind, Before: sha(before), After: sha(after), By: by}
	}
	cases := []struct {
		name     string
		change   func(s *fake.Server, p *fake.Pull)
		want     []int64
		complete bool
	}{
		{"alone", func(*fake.Server, *fake.Pull) {}, []int64{1}, true},
		{"another author", func(_ *fake.Server, p *fake.Pull) { p.Commits = append(p.Commits, commit(2, bob)) }, []int64{1, 2}, true},
		{"the web's commits", func(_ *fake.Server, p *fake.Pull) { p.Commits = append(p.Commits, webFlow) }, []int64{1}, true},
		{"a pretended web commit", func(_ *fake.Server, p *fake.Pull) { p.Commits = append(p.Commits, unsigned) }, []int64{1}, false},
		{"a co-author by id", func(_ *fake.Server, p *fake.Pull) {
			p.Commits = append(p.Commits, with("x\n\nCo-Authored-By: B <2+bob@users.noreply.github.acme.example>"))
		}, []int64{1, 2}, true},
		{"a co-author by another forge's id", func(_ *fake.Server, p *fake.Pull) {
			p.Commits = append(p.Commits, with("x\n\nCo-authored-by: B <2+bob@users.noreply.evil.example>"))
		}, []int64{1}, false},
		{"a co-author who commits as well", func(_ *fake.Server, p *fake.Pull) {
			p.Commits = append(p.Commits, commit(4, bob), with("x\n\nco-authored-by: B <BOB@acme.example>"))
		}, []int64{1, 2}, true},
		{"a co-author who committed before", func(s *fake.Server, p *fake.Pull) {
			s.AddCommit(commit(99, carol))
			p.Commits = append(p.Commits, with("x\n\nCo-authored-by: C <carol@acme.example>"))
		}, []int64{1, 3}, true},
		{"an unknown co-author", func(_ *fake.Server, p *fake.Pull) {
			p.Commits = append(p.Commits, with("x\n\nCo-authored-by: C <c@nowhere.example>"))
		}, []int64{1}, false},
		{"a broken co-author", func(_ *fake.Server, p *fake.Pull) {
			p.Commits = append(p.Commits, with("x\r\n\r\nCo-authored-by: bob\r"))
		}, []int64{1}, false},
		{"a deleted author", func(_ *fake.Server, p *fake.Pull) { p.Author = fake.User{ID: 10137, Login: "ghost"} }, []int64{1}, false},
		{"another who pushed", func(s *fake.Server, p *fake.Pull) {
			p.HeadSHA = sha(3)
			p.Commits = append(p.Commits, commit(3, alice))
			s.AddPush(pushed("push", 2, 3, dave))
		}, []int64{1, 4}, true},
		{"another who rewrote it", func(s *fake.Server, p *fake.Pull) {
			p.HeadSHA = sha(3)
			p.Commits = []fake.Commit{commit(3, alice)}
			s.AddPush(pushed("push", 2, 5, bob))
			s.AddPush(pushed("force_push", 5, 3, dave))
		}, []int64{1, 2, 4}, true},
		{"pushes before it do not count", func(s *fake.Server, p *fake.Pull) {
			p.HeadSHA = sha(6)
			p.Commits = []fake.Commit{commit(6, alice)}
			s.AddPush(pushed("push", 2, 5, bob))
			s.AddPush(pushed("push", 5, 6, alice))
		}, []int64{1}, true},
		{"pushes after it do not count", func(s *fake.Server, _ *fake.Pull) { s.AddPush(pushed("push", 2, 7, bob)) }, []int64{1}, true},
		{"a push nobody recorded", func(_ *fake.Server, p *fake.Pull) { p.HeadSHA = sha(8) }, []int64{1}, false},
		{"a fork that is gone", func(_ *fake.Server, p *fake.Pull) { p.HeadOwner, p.HeadName, p.HeadGone = "alice", "platform", true }, []int64{1}, false},
		{"a fork", func(s *fake.Server, p *fake.Pull) {
			p.HeadOwner, p.HeadName = "alice", "mine"
			s.AddPush(fake.Push{Owner: "alice", Name: "mine", Ref: "refs/heads/feature", Kind: "branch_creation", Before: sha(0), After: sha(2), By: dave})
		}, []int64{1, 4}, true},
		{"many pushes", func(s *fake.Server, p *fake.Pull) {
			for i := range 150 {
				s.AddPush(pushed("force_push", 1000+i, 1001+i, dave))
			}
			p.HeadSHA = sha(1150)
			p.Commits = []fake.Commit{commit(1150, alice)}
		}, []int64{1, 4}, true},
		{"too many commits to list", func(_ *fake.Server, p *fake.Pull) {
			for i := range 260 {
				p.Commits = append(p.Commits, commit(2000+i, alice))
			}
		}, []int64{1}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := open(t)
				c.change(s, p)
				took, err := byToken(t, s).Participants(t.Context(), 12)
				if err != nil {
					t.Fatal(err)
				}
				var ids []int64
				for _, one := range took.People {
					ids = append(ids, one.ID)
				}
				if fmt.Sprint(ids) != fmt.Sprint(c.want) || took.Complete != c.complete {
					t.Errorf("participants are %v, complete %v; want %v, %v", ids, took.Complete, c.want, c.complete)
				}
				if took.Courier != 0 {
					t.Errorf("Pave carries what it did not open: %d", took.Courier)
				}
			})
		})
	}
}

// TestCourier tells a pull request that Pave opened for somebody, and that nobody
// else touched, from all others; whoever asked for it never approves it.
func TestCourier(t *testing.T) {
	asked := func(n int, trailer string) fake.Commit {
		return fake.Commit{SHA: sha(n), Message: "Ask for it\n\n" + trailer, Author: bob, AuthorEmail: "2+bob@users.noreply.github.acme.example",
			Committer: fake.Bot, CommitterEmail: "1001+pave-bot@users.noreply.github.acme.example"}
	}
	push := func(kind string, before, after int, by fake.User) fake.Push {
		return fake.Push{Owner: fake.Owner, Name: fake.Name, Ref: "refs/heads/pave/box", Kind: kind, Before: sha(before), After: sha(after), By: by}
	}
	for name, c := range map[string]struct {
		change   func(s *fake.Server, p *fake.Pull)
		want     []int64
		complete bool
		courier  int64
	}{
		"for bob":                 {func(*fake.Server, *fake.Pull) {}, []int64{2, 1001}, true, 1001},
		"for bob by the trailer":  {func(_ *fake.Server, p *fake.Pull) { p.Commits[0].Author = fake.Bot }, []int64{2, 1001}, true, 1001},
		"somebody opened it":      {func(_ *fake.Server, p *fake.Pull) { p.Author = carol }, []int64{2, 3, 1001}, true, 0},
		"for nobody on the forge": {func(_ *fake.Server, p *fake.Pull) { p.Commits[0].Message = "x\n\nPave-Requested-By: zoe" }, []int64{2, 1001}, false, 1001},
		"for what is no handle":   {func(_ *fake.Server, p *fake.Pull) { p.Commits[0].Message = "x\n\npave-requested-by:" }, []int64{2, 1001}, false, 1001},
		"a trailer names another": {func(_ *fake.Server, p *fake.Pull) { p.Commits[0].Message = "x\n\nPave-Requested-By: carol" }, []int64{2, 3, 1001}, true, 1001},
		"somebody pushed to it too": {func(s *fake.Server, p *fake.Pull) {
			p.HeadSHA = sha(3)
			p.Commits = append(p.Commits, asked(3, "Pave-Requested-By: bob"))
			s.AddPush(push("push", 2, 3, dave))
		}, []int64{2, 4, 1001}, true, 0},
		"a push nobody recorded": {func(_ *fake.Server, p *fake.Pull) { p.HeadSHA = sha(9) }, []int64{2, 1001}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := open(t)
				p.Author, p.HeadRef = fake.Bot, "pave/box"
				p.Commits = []fake.Commit{asked(2, "Pave-Requested-By: bob")}
				s.AddPush(push("branch_creation", 0, 2, fake.Bot))
				c.change(s, p)
				took, err := byToken(t, s).Participants(t.Context(), 12)
				if err != nil {
					t.Fatal(err)
				}
				var ids []int64
				for _, one := range took.People {
					ids = append(ids, one.ID)
				}
				if fmt.Sprint(ids) != fmt.Sprint(c.want) || took.Complete != c.complete || took.Courier != c.courier {
					t.Errorf("participants are %v, complete %v, by %d; want %v, %v, %d", ids, took.Complete, took.Courier, c.want, c.complete, c.courier)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := github.Options{Owner: "a", Name: "b", Branch: "main", Token: "t"}
	if _, err := github.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*github.Options){
		"no credentials":    func(o *github.Options) { o.Token = "" },
		"two credentials":   func(o *github.Options) { o.App = &github.App{ID: 1} },
		"plain http":        func(o *github.Options) { o.URL = "http://github.acme.example" },
		"another scheme":    func(o *github.Options) { o.URL = "ssh://git@github.com" },
		"a path":            func(o *github.Options) { o.URL = "https://github.com/acme" },
		"user and password": func(o *github.Options) { o.URL = "https://a:b@github.com" },
		"no branch":         func(o *github.Options) { o.Branch = "" },
		"a path for a name": func(o *github.Options) { o.Name = "b/../c" },
		"dots for a name":   func(o *github.Options) { o.Name = ".." },
		"a check's marker":  func(o *github.Options) { o.Check = "x --> y" },
		"a bad key":         func(o *github.Options) { o.Token, o.App = "", &github.App{ID: 1, Key: []byte("x")} },
	} {
		o := good
		change(&o)
		if _, err := github.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Over a real connection: redirects elsewhere are not followed, an answer without
// end is given up.
func TestRealConnection(t *testing.T) {
	s, _ := open(t)
	address := s.Listen()
	f := connect(t, github.Options{URL: address, Token: fake.Token})
	if pulls, err := f.Open(t.Context()); err != nil || len(pulls) != 1 {
		t.Errorf("%d pull requests (%v)", len(pulls), err)
	}
	s.SetFault(func(int, *http.Request) fake.Fault {
		return fake.Fault{Status: 302, Header: http.Header{"Location": {"http://localhost:1/x"}}}
	})
	if _, err := f.PullRequest(t.Context(), 12); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("a redirect elsewhere: %v", err)
	}
}
