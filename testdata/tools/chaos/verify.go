package main

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pave-dev/pave/reconciler"
)

// record reads the status branch of the remote.
func (c *chaos) record(ctx context.Context) (map[string]reconciler.UnitStatus, error) {
	out, err := c.platform.git(ctx, "-C", c.platform.remote, "archive", "--format=tar", statusBranch)
	if err != nil {
		return nil, err
	}
	units := map[string]reconciler.UnitStatus{}
	for archive := tar.NewReader(strings.NewReader(out)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(header.Name, "requests/") || path.Ext(header.Name) != ".json" {
			continue
		}
		var u reconciler.UnitStatus
		if err := json.NewDecoder(archive).Decode(&u); err != nil {
			return nil, fmt.Errorf("%s: %w", header.Name, err)
		}
		units[u.Request] = u
	}
}

const statusBranch = "pave/status"

// settle waits until what is asked for is there, is recorded, and no run is
// left; it returns what is missing when the patience is over.
func (c *chaos) settle(ctx context.Context) []string {
	var missing []string
	for deadline := time.Now().Add(settlePatience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		if missing = c.missing(ctx); len(missing) == 0 {
			return nil
		}
	}
	return missing
}

// missing tells what is not as it is to be in the end.
func (c *chaos) missing(ctx context.Context) []string {
	var missing []string
	want := c.platform.objects()
	have, quiet := c.target.now()
	if !quiet {
		missing = append(missing, "the target has not finished")
	} else if err := c.tidy(ctx, have, want); err != nil {
		missing = append(missing, err.Error())
	}
	if !maps.Equal(have, want) {
		missing = append(missing, fmt.Sprintf("there is %v, asked for is %v", have, want))
	}
	units, err := c.record(ctx)
	if err != nil {
		return append(missing, err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		u, found := units[name]
		ready, _ := u.Conditions.Get(reconciler.Ready)
		switch {
		case !found:
			missing = append(missing, name+" is not recorded")
		case !ready.Status:
			missing = append(missing, fmt.Sprintf("%s is not ready: %s: %s", name, ready.Reason, ready.Message))
		case string(u.Outputs.Of("content")) != strconv.Quote(want[name]):
			missing = append(missing, fmt.Sprintf("%s is recorded with %s, asked for is %q", name, u.Outputs.Of("content"), want[name]))
		}
		delete(units, name)
	}
	for name := range units {
		missing = append(missing, name+" is recorded and not asked for")
	}
	if runs := c.glob("runs", "*", "*", "intent.json"); len(runs) > 0 {
		missing = append(missing, fmt.Sprintf("runs have not ended: %v", runs))
	}
	return missing
}

// tidy removes, as somebody does who reads the record, what it says that a run
// may have left that was killed before it wrote that down.
func (c *chaos) tidy(ctx context.Context, have, want map[string]string) error {
	all, err := c.sayings(ctx)
	if err != nil {
		return err
	}
	last := map[string]string{}
	for _, s := range all {
		last[s.unit] = s.text
	}
	for name := range have {
		if _, asked := want[name]; !asked && c.lost(name) && strings.HasPrefix(last[name], "destroyed ") && strings.Contains(last[name], " doubt=") {
			c.byHand++
			c.target.change(http.MethodDelete, name, "")
			c.say("removed %s, which the record doubts", name)
			delete(have, name)
		}
	}
	return nil
}

// glob finds files below the state of the repository.
func (c *chaos) glob(pattern ...string) []string {
	found, _ := filepath.Glob(filepath.Join(append([]string{c.host.stateDir(), "*"}, pattern...)...))
	return found
}

// verify compares target, states, record and files once all is quiet. Each
// sentence that it returns is a fault.
func (c *chaos) verify(ctx context.Context) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	units, err := c.record(ctx)
	if err != nil {
		fault("the record cannot be read: %v", err)
	}
	c.verifyStates(units, fault)
	c.verifyFiles(fault)
	c.verifyHistory(ctx, fault)
	c.verifyLog(fault)
	c.host.mu.Lock()
	for _, end := range c.host.died {
		fault("the daemon ended by itself: %s", end)
	}
	c.host.mu.Unlock()
	return faults
}

// state is what is read of a Terraform state.
type state struct {
	Lineage   string
	Serial    uint64
	Resources []struct {
		Type      string
		Instances []struct {
			Attributes struct{ Name, Content string }
		}
	}
}

// verifyStates: every object is in exactly one state as it is, and every state
// is the recorded one.
func (c *chaos) verifyStates(units map[string]reconciler.UnitStatus, fault func(string, ...any)) {
	objects, _ := c.target.now()
	for _, file := range c.glob("units", "*", "terraform.tfstate") {
		unit := filepath.Base(filepath.Dir(file))
		var s state
		recorded, known := units[unit]
		if err := readJSON(file, &s); err != nil {
			fault("half-written: %s: %v", file, err)
			continue
		}
		if known && (recorded.State.Lineage != s.Lineage || recorded.State.Serial != s.Serial) {
			fault("%s: the state is %s serial %d, recorded is %s serial %d", unit, s.Lineage, s.Serial, recorded.State.Lineage, recorded.State.Serial)
		}
		for _, r := range s.Resources {
			for _, i := range r.Instances {
				content, found := objects[i.Attributes.Name]
				same := content == i.Attributes.Content || c.unwritten(unit, i.Attributes.Content, content)
				if !found || !same || i.Attributes.Name != unit {
					fault("%s: the state has %s with %q; there is %q (%v)", unit, i.Attributes.Name, i.Attributes.Content, content, found)
				}
				delete(objects, i.Attributes.Name)
			}
		}
	}
	for name := range objects {
		fault("%s exists and is in no state", name)
	}
}

// writing is more than it takes from the answer of the target to the state.
const writing = 2 * time.Second

// unwritten tells whether the last change of an object was that from one content
// to another, and Terraform or its provider was killed before it could write that
// down. The next plan finds what is asked for, and Terraform writes no state for
// that, though it has compared it with what is there.
func (c *chaos) unwritten(name, from, to string) bool {
	var last entry
	for _, e := range c.target.history() {
		if e.name == name && !e.refused {
			last = e
		}
	}
	return last.method == http.MethodPut && last.before == from && last.after == to && c.cutOff(name, last.asked, last.done.Add(writing))
}

// lost tells whether Terraform or its provider was killed before it could write
// down that it made the object. What is asked for still is found by its name, and
// of what is not no state can know: a person has to remove it.
func (c *chaos) lost(name string) bool {
	var made entry
	for _, e := range c.target.history() {
		if e.name == name && e.method == http.MethodPost && !e.refused {
			made = e
		}
	}
	return !made.asked.IsZero() && c.cutOff(name, made.asked, made.done.Add(writing))
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// verifyFiles: no lock is held or left, nothing is half-written, no run and no
// process is left.
func (c *chaos) verifyFiles(fault func(string, ...any)) {
	_ = filepath.WalkDir(c.host.stateDir(), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name := entry.Name()
		switch {
		case entry.IsDir():
		case strings.HasPrefix(name, ".new-"), strings.HasSuffix(name, ".tmp"), name == "errored.tfstate":
			fault("left behind: %s", file)
		case strings.HasSuffix(name, ".lock.info"):
			fault("left behind: %s", file)
		case name == "lock" && !free(file):
			fault("still locked: %s", file)
		case name == "terraform.tfstate": // its content is compared
			if pid := stateLock(file); pid != 0 {
				fault("still locked: %s by process %d", file, pid)
			}
		case path.Ext(name) == ".json":
			var v any
			if err := readJSON(file, &v); err != nil {
				fault("half-written: %s: %v", file, err)
			}
		}
		return nil
	})
	for _, run := range c.glob("runs", "*", "*") {
		if info, err := os.Stat(run); err == nil && info.IsDir() {
			fault("left behind: %s", run)
		}
	}
	tmp, _ := os.ReadDir(c.host.tmp())
	for _, entry := range tmp {
		if strings.HasPrefix(entry.Name(), "pave-run-") {
			fault("left behind: temporary folder %s", entry.Name())
		}
	}
	for _, p := range c.host.processes() {
		fault("left behind: process %d of %s/%s: %q", p.pid, p.unit, p.run, p.args)
		p.close()
	}
}

// saying is what one status commit says of one unit.
type saying struct{ unit, text string }

var unitTrailer = regexp.MustCompile(`(?m)^Unit: (\S+) (.*)$`)

// sayings returns what the record says, the oldest first.
func (c *chaos) sayings(ctx context.Context) ([]saying, error) {
	log, err := c.platform.git(ctx, "-C", c.platform.remote, "log", "--reverse", "--format=%x00%B", statusBranch)
	if err != nil {
		return nil, err
	}
	var all []saying
	for _, message := range strings.Split(log, "\x00")[1:] {
		for _, m := range unitTrailer.FindAllStringSubmatch(message, -1) {
			all = append(all, saying{m[1], m[2]})
		}
	}
	return all, nil
}

// verifyHistory: every status commit that the remote ever had led to its tip,
// and of every run that was killed the record says what became of it.
func (c *chaos) verifyHistory(ctx context.Context, fault func(string, ...any)) {
	seen, err := c.platform.git(ctx, "-C", c.platform.remote, "log", "--walk-reflogs", "--format=%H", statusBranch)
	if err != nil {
		fault("%v", err)
		return
	}
	reached, err := c.platform.git(ctx, "-C", c.platform.remote, "rev-list", statusBranch)
	if err != nil {
		fault("%v", err)
		return
	}
	led := map[string]bool{}
	for _, commit := range strings.Fields(reached) {
		led[commit] = true
	}
	for _, commit := range strings.Fields(seen) {
		if !led[commit] {
			fault("lost: the status commit %s", commit)
		}
	}
	all, err := c.sayings(ctx)
	if err != nil {
		fault("%v", err)
		return
	}
	for _, k := range c.kills {
		if !k.told {
			continue
		}
		if !slices.ContainsFunc(all, func(s saying) bool { return s.unit == k.unit && s.unknown() == k.run }) {
			fault("unreported: the %s of %s that was killed at %s (run %s)", k.kind, k.unit, k.at.Format(time.TimeOnly), k.run)
		}
	}
	for unit, runs := range unhealed(all) {
		fault("unhealed: %s, whose runs %q ended as unknown", unit, runs)
	}
}

var unknownRun = regexp.MustCompile(" reason=" + reconciler.ReasonUnknown + ` run=(\S+)`)

// unknown returns the run of which it says that nobody knows how it ended, if it
// says so of one.
func (s saying) unknown() string {
	if m := unknownRun.FindStringSubmatch(s.text); m != nil {
		return m[1]
	}
	return ""
}

// healed tells whether it says how things are after a run of which nobody knows
// how it ended. A unit is released where that was a look, and the next one found
// what was applied.
func (s saying) healed() bool {
	first, _, _ := strings.Cut(s.text, " ")
	return first == "applied" || first == "unchanged" || first == "destroyed" || first == "released"
}

// unhealed returns, by unit, the runs that ended as unknown and after which the
// record does not say how things are.
func unhealed(all []saying) map[string][]string {
	open := map[string][]string{}
	for _, s := range all {
		if run := s.unknown(); run != "" {
			open[s.unit] = append(open[s.unit], run)
		} else if s.healed() {
			delete(open, s.unit)
		}
	}
	return open
}

// verifyLog: nothing was made, changed or removed twice, unless what did it was
// killed before it could write that down.
func (c *chaos) verifyLog(fault func(string, ...any)) {
	last := map[string]time.Time{} // when the last change of an object was asked for
	for _, e := range c.target.history() {
		before := last[e.name]
		last[e.name] = e.asked
		var what string
		switch {
		case e.method == http.MethodPost && e.existed:
			what = "made twice"
		case e.method == http.MethodPut && e.existed && e.before == e.after:
			what = "changed twice to " + e.after
		case e.method != http.MethodPost && !e.existed:
			what = "not there for " + e.method
		default:
			continue
		}
		if !c.cutOff(e.name, before, e.asked) {
			fault("%s: %s at %s, refused: %v", e.name, what, e.asked.Format(time.TimeOnly), e.refused)
		}
		c.again[fmt.Sprint(e.name, e.asked)] = true
	}
}

// cutOff tells whether Terraform or its provider was killed for the unit within
// a time: what they did before, they may not have written down.
func (c *chaos) cutOff(unit string, after, before time.Time) bool {
	return slices.ContainsFunc(c.kills, func(k killed) bool {
		return k.unit == unit && (k.kind == terraformKind || k.kind == providerKind) && k.at.After(after) && k.at.Before(before)
	})
}

// counts sums up what happened.
func (c *chaos) counts(ctx context.Context) string {
	var b strings.Builder
	kinds := map[kind]int{}
	for _, k := range c.kills {
		kinds[k.kind]++
	}
	fmt.Fprintf(&b, "kills %d:", len(c.kills))
	for _, k := range []kind{daemonKind, runKind, terraformKind, providerKind} {
		fmt.Fprintf(&b, " %s %d", k, kinds[k])
	}
	said := map[string]int{}
	if log, err := os.Open(c.host.logFile()); err == nil {
		defer log.Close()
		for lines := bufio.NewScanner(log); lines.Scan(); {
			for _, text := range []string{`msg="started a run"`, `msg="found a run of an earlier process"`} {
				if strings.Contains(lines.Text(), text) {
					said[text]++
				}
			}
		}
	}
	fmt.Fprintf(&b, "\ndaemons %d, runs %d, adopted %d", c.host.starts, said[`msg="started a run"`], said[`msg="found a run of an earlier process"`])
	all, _ := c.sayings(ctx)
	word := map[string]int{}
	unknown := 0
	for _, s := range all {
		first, _, _ := strings.Cut(s.text, " ")
		word[first]++
		if s.unknown() != "" {
			unknown++
		}
	}
	healed := unknown
	for _, runs := range unhealed(all) {
		healed -= len(runs)
	}
	changes := map[string]int{}
	for _, e := range c.target.history() {
		changes[e.method]++
	}
	commits, _ := c.platform.git(ctx, "-C", c.platform.remote, "rev-list", "--count", statusBranch)
	fmt.Fprintf(&b, "\nrecorded: applied %d, unchanged %d, destroyed %d, failed %d, of these unknown %d, healed %d; status commits %s, pushes %d",
		word["applied"], word["unchanged"], word["destroyed"], word["failed"], unknown, healed, strings.TrimSpace(commits), c.platform.pushes)
	fmt.Fprintf(&b, "\ntarget: made %d, changed %d, removed %d; after kills of Terraform done again %d, left to a person %d\n",
		changes[http.MethodPost], changes[http.MethodPut], changes[http.MethodDelete], len(c.again), c.byHand)
	return b.String()
}
