// Command chaos kills Pave, its runs, Terraform and providers at random
// instants, while people push and a slow server is asked to make, change and
// remove objects, and tells whether anything was lost, done twice or not told:
//
//	make chaos [CHAOS=2h] [CHAOS_SEED=7] [CHAOS_KILLS=300]
//
// The seed decides what is pushed, what is killed and when; how the processes
// interleave is the machine's. It works in rounds. In each, pushes and kills go
// on together; then both rest, what is asked for must come to be, and target,
// states, record, files and history are compared.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := fromEnvironment()
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// options are what a run of chaos is given.
type options struct {
	length   time.Duration // at least
	kills    int           // at least
	round    time.Duration
	first    int // of the rounds
	seed     uint64
	pave     string
	engine   string
	provider string
	out      io.Writer
}

// settlePatience is how long everything may take to be as asked for.
const settlePatience = 2 * time.Minute

func fromEnvironment() (options, error) {
	o := options{length: 5 * time.Minute, kills: 300, round: 45 * time.Second, seed: rand.Uint64N(1e6), pave: "bin/pave",
		engine: os.Getenv("PAVE_TEST_TERRAFORM"), provider: os.Getenv("PAVE_TEST_TERRAFORM_PROVIDER_TARGET"), out: os.Stdout}
	var err error
	if text := os.Getenv("CHAOS"); text != "" {
		if o.length, err = time.ParseDuration(text); err != nil {
			return o, fmt.Errorf("CHAOS: expected a duration such as 2h; got %q", text)
		}
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if o.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return o, fmt.Errorf("CHAOS_SEED: expected a number; got %q", text)
		}
	}
	if text := os.Getenv("CHAOS_KILLS"); text != "" {
		if o.kills, err = strconv.Atoi(text); err != nil {
			return o, fmt.Errorf("CHAOS_KILLS: expected a number; got %q", text)
		}
	}
	if o.engine == "" || o.provider == "" {
		return o, errors.New("PAVE_TEST_TERRAFORM and PAVE_TEST_TERRAFORM_PROVIDER_TARGET name no programs: run make chaos")
	}
	return o, nil
}

// chaos is one run of it.
type chaos struct {
	options
	begun    time.Time
	random   *rand.Rand
	dir      string
	host     *host
	platform *platform
	target   *target
	kills    []killed
	again    map[string]bool // what was asked of the target once more
	byHand   int             // objects that nobody asked for any more and no state knew
}

// killed is one kill.
type killed struct {
	at        time.Time
	kind      kind
	unit, run string
	told      bool // the record must tell that the unit's run failed
}

// say prints a line with the time.
func (c *chaos) say(format string, args ...any) {
	fmt.Fprintf(c.out, "%6.1fs  %s\n", time.Since(c.begun).Seconds(), fmt.Sprintf(format, args...))
}

// rounds are what is killed in each, one after the other.
var rounds = [][]kind{
	{daemonKind},
	{daemonKind, runKind},
	{daemonKind, runKind, terraformKind, terraformKind, providerKind},
}

// run does the whole. Where it finds faults it leaves the folder for whoever
// looks for the cause.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	c := &chaos{options: o, begun: time.Now(), random: rand.New(rand.NewPCG(o.seed, 0)), dir: dir, again: map[string]bool{}}
	c.say("seed %d, in %s", o.seed, dir)
	if err := c.prepare(ctx); err != nil {
		return err
	}
	defer c.target.Close()
	defer c.host.stopRuns()
	defer func() { _ = c.host.end(syscall.SIGKILL, time.Minute) }()
	if missing := c.settle(ctx); len(missing) > 0 {
		return fmt.Errorf("not there before anything was killed: %s", strings.Join(missing, "; "))
	}
	faults := 0
	for i := c.first; time.Since(c.begun) < c.length || len(c.kills) < c.options.kills; i++ {
		found, err := c.oneRound(ctx, rounds[i%len(rounds)])
		if err != nil {
			return err
		}
		if faults += len(found); faults > 0 { // what comes after a fault says little
			break
		}
	}
	if err := c.host.end(syscall.SIGTERM, time.Minute); err != nil && ctx.Err() == nil {
		faults++
		c.say("FAULT: %v", err)
	}
	fmt.Fprint(c.out, c.counts(context.WithoutCancel(ctx)))
	if faults > 0 {
		return fmt.Errorf("faults: %d; seed %d, everything is in %s", faults, o.seed, dir)
	}
	c.say("no fault")
	return os.RemoveAll(dir)
}

// prepare starts the target, makes the platform and starts the daemon on it.
func (c *chaos) prepare(ctx context.Context) (err error) {
	if c.target, err = startTarget(c.seed); err != nil {
		return err
	}
	if c.platform, err = newPlatform(ctx, c.dir, c.target.address, c.seed); err != nil {
		return err
	}
	config, err := c.mirror()
	if err != nil {
		return err
	}
	pave, err := filepath.Abs(c.pave)
	if err != nil {
		return err
	}
	c.host = &host{dir: c.dir, pave: pave}
	c.host.args = []string{"serve", "--repo", c.platform.remote, "--branch", "main", "--listen", "127.0.0.1:0",
		"--cache-dir", filepath.Join(c.dir, "cache"), "--state-dir", c.host.stateDir(),
		"--engine", filepath.Base(c.engine), "--engine-path", filepath.Dir(c.engine), "--terraform-config", config}
	if err := os.Mkdir(c.host.tmp(), 0o700); err != nil {
		return err
	}
	return c.host.start()
}

// mirror lays out the provider as both engines look for it.
func (c *chaos) mirror() (config string, err error) {
	provider, err := os.ReadFile(c.provider)
	if err != nil {
		return "", err
	}
	for _, registry := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		at := filepath.Join(c.dir, "mirror", registry, "pave", "target", "1.0.0", runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return "", err
		}
		// A link would lead out of what engines may read.
		if err := os.WriteFile(filepath.Join(at, "terraform-provider-target_v1.0.0"), provider, 0o700); err != nil {
			return "", err
		}
	}
	config = filepath.Join(c.dir, "cli.tfrc")
	text := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(c.dir, "mirror"))
	return config, os.WriteFile(config, []byte(text), 0o600)
}

// oneRound pushes and kills, lets everything come to rest, and returns the faults.
func (c *chaos) oneRound(ctx context.Context, kinds []kind) ([]string, error) {
	c.target.be(len(kinds) > 2)
	before := len(c.kills)
	end := time.Now().Add(c.round)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return c.platform.changes(both, end) })
	group.Go(func() error {
		for time.Now().Before(end) && both.Err() == nil {
			time.Sleep(c.pause())
			if err := c.killOne(kinds[c.random.IntN(len(kinds))]); err != nil {
				return err
			}
		}
		return both.Err()
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := c.platform.repair(); err != nil {
		return nil, err
	}
	if err := c.platform.push(ctx, "Come to rest"); err != nil {
		return nil, err
	}
	rest := time.Now()
	faults := c.settle(ctx)
	for i, fault := range faults {
		faults[i] = "not there after " + settlePatience.String() + ": " + fault
	}
	// A look for drift may be going on. What is a fault stays one.
	for try := 0; len(faults) == 0 && try < 5; try++ {
		if faults = c.verify(ctx); len(faults) == 0 {
			break
		}
		time.Sleep(2 * time.Second)
		if again := c.settle(ctx); len(again) == 0 && try < 4 {
			faults = nil
		}
	}
	c.say("round of %s: %d kills, at rest after %.1fs, %d objects, %d faults", join(kinds), len(c.kills)-before, time.Since(rest).Seconds(), len(c.platform.objects()), len(faults))
	for _, fault := range faults {
		c.say("FAULT: %s", fault)
	}
	return faults, ctx.Err()
}

func join(kinds []kind) string {
	var words []string
	for _, k := range kinds {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

// pause is most often short: kills come in bursts, between which something may
// get done.
func (c *chaos) pause() time.Duration {
	if c.random.IntN(10) < 6 {
		return time.Duration(c.random.IntN(300)) * time.Millisecond
	}
	return time.Duration(300+c.random.IntN(1700)) * time.Millisecond
}

// killOne kills a process of the kind; where none lives, the daemon.
func (c *chaos) killOne(k kind) error {
	for end := time.Now().Add(kindPatience); k != daemonKind && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c.killInRun(k) {
			return nil
		}
	}
	return c.killDaemon()
}

// kindPatience is how long a kill waits for a process of its kind.
const kindPatience = 1500 * time.Millisecond

func (c *chaos) killDaemon() error {
	k := killed{at: time.Now(), kind: daemonKind}
	if err := c.host.end(syscall.SIGKILL, time.Minute); err != nil {
		return err
	}
	c.kills = append(c.kills, k)
	return c.host.start()
}

// killInRun kills one process of a run, and notes what must be told of it.
func (c *chaos) killInRun(wanted kind) bool {
	all := c.host.processes()
	defer func() {
		for _, p := range all {
			p.close()
		}
	}()
	c.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, p := range all {
		if p.kind != wanted {
			continue
		}
		k := killed{at: time.Now(), kind: p.kind, unit: p.unit, run: p.run}
		if p.kill() != nil {
			continue
		}
		k.told = wanted == runKind && waitDead(p) && c.host.owes(p)
		c.kills = append(c.kills, k)
		return true
	}
	return false
}

// waitDead waits for the end of a process that was killed.
func waitDead(p process) bool {
	for range 200 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		if err != nil {
			return true
		}
		if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "Z") {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}
