package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/github/fake"
)

// process is `pave serve` as a process of its own, which is started again
// whenever it ends, as an init system would.
type process struct {
	*stand
	work sync.WaitGroup

	mu      sync.Mutex
	cmd     *exec.Cmd     // guarded by mu, as all below
	dead    chan struct{} // closed when cmd has ended
	stopped bool
}

// spawn starts the daemon as a process.
func (s *stand) spawn() *process {
	s.Helper()
	p := &process{stand: s}
	p.start()
	p.work.Go(func() {
		for {
			p.mu.Lock()
			dead := p.dead
			p.mu.Unlock()
			<-dead
			if !p.start() {
				return
			}
		}
	})
	s.Cleanup(func() {
		p.mu.Lock()
		p.stopped = true
		p.mu.Unlock()
		p.kill()
		p.work.Wait()
		if s.Failed() {
			s.Logf("what Pave said:\n%s", s.log.String())
		}
	})
	return p
}

// start starts the daemon, and tells whether it was to be started.
func (p *process) start() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	cmd := exec.Command("pave", append([]string{"serve", "--listen", "127.0.0.1:0"}, p.flags...)...)
	cmd.Env = []string{"HOME=" + p.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	dead := make(chan struct{})
	p.cmd, p.dead = cmd, dead
	if err := cmd.Start(); err != nil {
		p.Errorf("start Pave: %v", err)
		p.stopped = true
		close(dead)
		return false
	}
	go func() {
		cmd.Wait()
		close(dead)
	}()
	return true
}

// kill ends the daemon at once, and returns when it is gone.
func (p *process) kill() {
	p.mu.Lock()
	cmd, dead := p.cmd, p.dead
	p.mu.Unlock()
	cmd.Process.Kill()
	<-dead
}

// ending is what the forge and the record show of one pull request in the end,
// without what differs from one to the next.
type ending struct {
	Comment     string
	Head, Merge string // their last statuses
	Posted      int    // comments
	Repeated    int    // edits and statuses that said what stood already
	Applied     int    // times that the record says it
	Applies     int    // processes that applied
}

// counts is the ending without its words.
func (e ending) counts() ending {
	e.Comment, e.Head, e.Merge = "", "", ""
	return e
}

// acts are what people do to a pull request, each until Pave has answered.
const acts = 3

// tell lets carol change somebody else's box: the pull request is opened, approved
// by bob, and merged. before is called before each act, after once Pave's answer
// to it stands.
func (s *stand) tell(value string, before, after func(act int)) ending {
	s.Helper()
	posted, applies := s.server.Posted(), s.applied()
	was := regexp.MustCompile(`value: "[^"]*"`).FindString(s.read(ledgerFile))
	s.replace(ledgerFile, was, fmt.Sprintf("value: %q", value))
	before(0)
	p := s.open("carol", false)
	s.expect(p, p.HeadSHA, "pending", "`payments` must approve", "2 to change")
	after(0)
	before(1)
	s.review(p, "bob", "APPROVED")
	s.expect(p, p.HeadSHA, "success", "by `bob`")
	after(1)
	before(2)
	merge := s.merge(p, "carol")
	s.expect(p, merge, "success", "Deployed", "`ledger-box`")
	after(2)
	s.settle()
	return s.ended(p, merge, posted, applies)
}

// ended gathers how a pull request ended.
func (s *stand) ended(p *fake.Pull, merge string, posted, applies int) ending {
	s.Helper()
	e := ending{Posted: s.server.Posted() - posted, Applies: s.applied() - applies}
	for _, c := range s.server.Comments(p.Number) {
		e.Comment += normal(c.Body)
		e.Repeated += c.Repeated
		e.Head, e.Merge = s.last(p.HeadSHA, c.ID), s.last(merge, c.ID)
	}
	for _, commit := range []string{p.HeadSHA, merge} {
		all := s.server.Statuses(commit)
		for i := 1; i < len(all); i++ {
			if all[i].State == all[i-1].State && all[i].Description == all[i-1].Description && all[i].Target == all[i-1].Target {
				e.Repeated++
			}
		}
	}
	s.git("fetch", "--quiet")
	log := s.git("log", "--format=%B", "--grep", "Revision: "+merge, "origin/pave/status")
	e.Applied = strings.Count(log, "Unit: ledger-box applied")
	return e
}

// begun waits until the first revision is applied and recorded.
func (s *stand) begun() {
	s.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		log := s.git("ls-remote", "origin", "refs/heads/pave/status")
		if log != "" {
			s.git("fetch", "--quiet")
			if log = s.git("log", "--format=%B", "origin/pave/status"); strings.Count(log, "-box applied") == 3 {
				return
			}
		}
		if time.Now().After(end) {
			s.Fatalf("the first revision is not recorded:\n%s", log)
		}
	}
}

func (s *stand) read(file string) string {
	s.Helper()
	content, err := os.ReadFile(filepath.Join(s.work, file))
	must(s.TB, err)
	return string(content)
}

// starts are the starts of an engine so far, each on a line.
func (s *stand) starts() string {
	s.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, "engines", "starts"))
	if !errors.Is(err, fs.ErrNotExist) {
		must(s.TB, err)
	}
	return string(content)
}

// applied counts the processes that applied so far.
func (s *stand) applied() int { return strings.Count(s.starts(), "terraform apply ") }

// last is the last status of a commit, and whether it leads to the comment.
func (s *stand) last(commit string, comment int64) string {
	all := s.server.Statuses(commit)
	if len(all) == 0 {
		return "none"
	}
	last := all[len(all)-1]
	return fmt.Sprintf("%s: %s %v", last.State, normal(last.Description), strings.HasSuffix(last.Target, fmt.Sprintf("#issuecomment-%d", comment)))
}

// settle waits until the daemon has looked at the pull requests twice more.
func (s *stand) settle() {
	s.Helper()
	looks := func() (n int) {
		for _, call := range s.server.Calls() {
			if call.Operation == listing && call.Status < 400 {
				n++
			}
		}
		return n
	}
	from := looks()
	for end := time.Now().Add(time.Minute); looks() < from+3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatal("the daemon looks at no pull request")
		}
	}
}

var varying = regexp.MustCompile(`\b[0-9a-f]{7,64}\b|#[0-9]+|pull/[0-9]+|issuecomment-[0-9]+|\b[0-9.]+ ?(ms|s)\b|change-[0-9]+|127[.]0[.]0[.]1:[0-9]+`)

// normal is a text without what differs from one pull request to the next.
func normal(text string) string { return varying.ReplaceAllString(text, "…") }

// point is a call of the forge in the answer to an act: the nth of an operation.
type point struct {
	act       int
	operation string
	nth       int
	taken     bool // by the forge, before its caller is killed
}

func (p point) String() string {
	when := "before"
	if p.taken {
		when = "after"
	}
	return fmt.Sprintf("%s the forge has taken call %d of %s in act %d", when, p.nth, p.operation, p.act)
}

// everyCall makes the tests kill Pave at every call, and not only at some.
const everyCall = "PAVE_TEST_EVERY_CALL"

// aim is a point to be killed at, and what else of its kind does where the story,
// which is never told in the very same way, does not come by it.
type aim struct {
	points []point
	missed int
}

// miss takes the next point of the kind, and tells whether all were missed often.
func (a *aim) miss() (lost bool) {
	a.points = append(a.points[1:], a.points[0])
	a.missed++
	return a.missed >= 3+len(a.points)
}

// aims are the calls to be killed at, of those that an undisturbed story made,
// in an order that chance chooses: every kind of look once, somewhere, and every
// kind of change in the answer to each act, before and after it is made. A look
// changes nothing, so that one time is the other. With everyCall it is all of them.
func aims(told [acts][]fake.Call, chance *rand.Rand) []*aim {
	looks, changes := map[string][]point{}, map[string][]point{}
	for act, calls := range told {
		nth := map[string]int{}
		for _, call := range calls {
			nth[call.Operation]++
			at := point{act, call.Operation, nth[call.Operation], chance.IntN(2) == 0}
			if call.Method != http.MethodGet {
				kind := fmt.Sprintf("%s %d", call.Operation, act)
				changes[kind] = append(changes[kind], at)
			} else if call.Operation != listing || at.nth <= 2 { // however often it had to wait
				looks[call.Operation] = append(looks[call.Operation], at)
			}
		}
	}
	var chosen []*aim
	take := func(kind []point) {
		chance.Shuffle(len(kind), func(i, j int) { kind[i], kind[j] = kind[j], kind[i] })
		for i := range kind {
			if i == 0 || os.Getenv(everyCall) != "" {
				chosen = append(chosen, &aim{points: slices.Concat(kind[i:], kind[:i])})
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(looks)) {
		take(looks[kind])
	}
	for _, kind := range slices.Sorted(maps.Keys(changes)) {
		for _, taken := range []bool{false, true} {
			for i := range changes[kind] {
				changes[kind][i].taken = taken
			}
			take(changes[kind])
		}
	}
	chance.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen
}

const listing = "pulls/list"

// trap kills the daemon at the point; it returns what is closed when that was done.
func (p *process) trap(at point) <-chan struct{} {
	done := make(chan struct{})
	count := 0
	killed := false
	p.server.SetFault(func(_ int, r *http.Request) fake.Fault {
		if killed || p.server.Operation(r) != at.operation {
			return fake.Fault{}
		}
		if count++; count < at.nth {
			return fake.Fault{}
		}
		killed = true
		p.kill()
		close(done)
		return fake.Fault{Before: !at.taken, After: at.taken}
	})
	return done
}

// together runs tests beside each other: they wait more than they work.
func together(t *testing.T, tests map[string]func(t *testing.T)) {
	var all sync.WaitGroup
	for name, test := range tests {
		all.Go(func() { t.Run(name, test) })
	}
	all.Wait()
}

// Wherever Pave is killed, the next start puts right what the forge shows, posts
// nothing twice and applies nothing twice. By default some
// calls of each kind are tried; every one where $PAVE_TEST_EVERY_CALL is set.
func TestKilledAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	var told [acts][]fake.Call
	var undisturbed ending
	t.Run("Never", func(t *testing.T) {
		s := newStand(t)
		d := s.spawn()
		s.begun()
		undisturbed = s.tell("undisturbed", func(act int) {
			s.server.SetFault(nil)
			if act == 0 {
				d.kill() // so that a start's own calls are among them
			}
		}, func(act int) {
			told[act] = s.server.Calls()
		})
	})
	if want := (ending{Posted: 1, Applied: 1, Applies: 1}); t.Failed() || undisturbed.counts() != want {
		t.Fatalf("undisturbed: %+v", undisturbed)
	}
	const lanes = 3
	var shares [lanes][]*aim
	for i, a := range aims(told, rand.New(rand.NewPCG(seed, 0))) {
		shares[i%lanes] = append(shares[i%lanes], a)
	}
	tests := map[string]func(t *testing.T){"AfterAQuietMerge": killedAfterAQuietMerge}
	for i, share := range shares {
		tests[fmt.Sprintf("Lane%d", i)] = func(t *testing.T) { killedAt(t, share, undisturbed) }
	}
	together(t, tests)
}

// killedAt tells the story again and again, with Pave killed once in the answer to
// each act, until it was killed at all that is aimed at.
func killedAt(t *testing.T, left []*aim, undisturbed ending) {
	s := newStand(t)
	d := s.spawn()
	s.begun()
	for n := 1; len(left) > 0; n++ {
		var aimed [acts]*aim
		var at [acts]*point
		left = slices.DeleteFunc(left, func(a *aim) bool {
			p := a.points[0]
			free := at[p.act] == nil
			if free {
				aimed[p.act], at[p.act] = a, &p
			}
			return free
		})
		var killed <-chan struct{}
		got := s.tell(fmt.Sprintf("killed %d", n), func(act int) {
			s.server.SetFault(nil)
			if act == 0 {
				d.kill()
			}
			if at[act] != nil {
				killed = d.trap(*at[act])
			}
		}, func(act int) {
			p := at[act]
			if p == nil {
				return
			}
			select {
			case <-killed:
			case <-time.After(5 * time.Second):
				at[act] = nil
				if a := aimed[act]; a.miss() {
					t.Errorf("Pave never was killed at any of %v", a.points)
				} else {
					left = append(left, a)
				}
			}
		})
		t.Logf("killed %v", at)
		if got != undisturbed {
			t.Errorf("killed %v:\n%+v\nand undisturbed:\n%+v", at, got, undisturbed)
		}
	}
}

// What changes no unit is told of all the same when it is merged, though nothing
// is left to do by which the next start would come upon it.
func killedAfterAQuietMerge(t *testing.T) {
	s := newStand(t)
	d := s.spawn()
	s.begun()
	for _, taken := range []bool{false, true} {
		must(t, os.WriteFile(filepath.Join(s.work, "NOTES.md"), fmt.Appendf(nil, "%v\n", taken), 0o644))
		p := s.open("alice", false)
		s.expect(p, p.HeadSHA, "success", "Nothing to do")
		killed := d.trap(point{operation: "repos/list-pull-requests-associated-with-commit", nth: 1, taken: taken})
		merge := s.merge(p, "alice")
		<-killed
		s.expect(p, merge, "success", "Merged and in force")
	}
}

// storm is what the forge does to a request, so long after somebody acted.
type storm func(call int, since time.Duration) fake.Fault

// Through whatever storms the forge goes while a pull request is opened, approved
// and merged, it says in the end what it would have said, once.
func TestStorms(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	t.Parallel()
	const length = 6 * time.Second
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	lottery := func(faults ...fake.Fault) storm {
		var mu sync.Mutex
		chance := rand.New(rand.NewPCG(seed, uint64(len(faults))))
		return func(int, time.Duration) fake.Fault {
			mu.Lock()
			defer mu.Unlock()
			return faults[chance.IntN(len(faults))]
		}
	}
	refusal := func(status int, header ...string) fake.Fault {
		f := fake.Fault{Status: status, Header: http.Header{}}
		for i := 0; i < len(header); i += 2 {
			f.Header.Set(header[i], header[i+1])
		}
		return f
	}
	storms := map[string]storm{
		"Secondary429": func(int, time.Duration) fake.Fault { return refusal(429, "Retry-After", "1") },
		"Secondary403": func(int, time.Duration) fake.Fault { return refusal(403, "Retry-After", "2") },
		"Primary": func(_ int, since time.Duration) fake.Fault {
			return refusal(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(time.Now().Add(length-since).Unix()))
		},
		"ServerErrors": lottery(fake.Fault{}, refusal(500), refusal(502), refusal(503)),
		"LostAnswers":  lottery(fake.Fault{}, fake.Fault{Before: true}, fake.Fault{After: true}),
		"Everything":   lottery(fake.Fault{}, fake.Fault{Before: true}, fake.Fault{After: true}, refusal(429, "Retry-After", "1"), refusal(502)),
	}
	storms["Calm"] = func(int, time.Duration) fake.Fault { return fake.Fault{} }
	const lanes = 3
	var shares [lanes][]string
	for i, name := range slices.Sorted(maps.Keys(storms)) {
		shares[i%lanes] = append(shares[i%lanes], name)
	}
	var mu sync.Mutex
	endings := map[string]ending{}
	tests := map[string]func(t *testing.T){}
	for i, share := range shares {
		tests[fmt.Sprintf("Lane%d", i)] = func(t *testing.T) {
			s := newStand(t)
			s.spawn()
			s.begun()
			for _, name := range share {
				e := s.tell(name, func(int) {
					began := time.Now()
					s.server.SetFault(func(call int, _ *http.Request) fake.Fault {
						if since := time.Since(began); since < length {
							return storms[name](call, since)
						}
						return fake.Fault{}
					})
				}, func(int) {})
				mu.Lock()
				endings[name] = e
				mu.Unlock()
			}
		}
	}
	together(t, tests)
	calm := endings["Calm"]
	if want := (ending{Posted: 1, Applied: 1, Applies: 1}); t.Failed() || calm.counts() != want {
		t.Fatalf("in calm weather: %+v", calm)
	}
	for name, got := range endings {
		if got != calm {
			t.Errorf("%s:\n%+v\nand in calm weather:\n%+v", name, got, calm)
		}
	}
}

// A forge that is dead is asked again for as long as it is, at a bounded rate, and
// gets the last word of everything, once, when it is back. What needs nothing of
// it goes on meanwhile: the first revision, which is the operator's word, and the
// looking for drift.
//
// It is dead for less than ten minutes, but for longer than every wait of the
// daemon between two tries but one: four tries of a request in 7 seconds at most,
// 20 seconds until the gate asks again, and the seconds between two polls. None of
// them counts for how long the forge was away, so the next nine minutes are like
// the first. The one that grows, from a preview that failed to its next try,
// grows to five minutes at most. TestPublishAfterTenDeadMinutes has a clock of its own and
// waits for all of them; $PAVE_TEST_DEAD_FORGE, such as 10m, is how long the forge is
// dead here after the merge.
func TestForgeIsDead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make test")
	}
	t.Parallel()
	s := newStand(t)
	s.replace("platform.cue", `intervals: poll: "1s"`, `intervals: {poll: "1s", drift: "5s"}`)
	s.commit("Look for drift")
	s.git("push", "--quiet", "origin", "main")
	var mu sync.Mutex
	dead := func(length time.Duration) (calls func() int) {
		until, count := time.Now().Add(length), 0
		s.server.SetFault(func(int, *http.Request) fake.Fault {
			mu.Lock()
			defer mu.Unlock()
			if time.Now().After(until) {
				return fake.Fault{}
			}
			count++
			return fake.Fault{Before: true}
		})
		return func() int {
			time.Sleep(time.Until(until))
			mu.Lock()
			defer mu.Unlock()
			return count
		}
	}
	calls := dead(15 * time.Second)
	s.spawn()
	s.begun()
	if n := calls(); n == 0 || n > 30 {
		t.Errorf("%d requests in 15 dead seconds", n)
	}
	lengths := [acts]time.Duration{20 * time.Second, 10 * time.Second, 45 * time.Second}
	if longer, err := time.ParseDuration(os.Getenv("PAVE_TEST_DEAD_FORGE")); err == nil {
		lengths[acts-1], s.patience = longer, longer
	}
	looks := func() int { return strings.Count(s.starts(), "terraform plan ") }
	before := 0
	e := s.tell("buried", func(act int) {
		before, calls = looks(), dead(lengths[act])
	}, func(act int) {
		n, length := calls(), lengths[act]
		if most := 2 * int(length/time.Second); n == 0 || n > most {
			t.Errorf("%d requests in %v in which the forge was dead, want at most %d", n, length, most)
		}
		if n := looks() - before; n < 3 {
			t.Errorf("%d looks for drift in %v in which the forge was dead", n, length)
		}
		t.Logf("dead for %v: %d requests, %d plans", length, n, looks()-before)
	})
	if want := (ending{Posted: 1, Applied: 1, Applies: 1}); e.counts() != want {
		t.Errorf("got %+v", e)
	}
}
