package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform/stores"
)

// gate is a host whose one request is applied no further than a provisioner that
// waits to be let through.
type gate struct {
	*host
	bin string // the folder of the engine, in which runs may write
}

func newGate(t *testing.T) *gate {
	t.Helper()
	h := newHost(t, "terraform", func(repo string) {
		must(t, layOut(repo, "boxes"))
		must(t, os.Remove(filepath.Join(repo, "catalog/shop/chain.cue")))
	})
	g := &gate{host: h, bin: filepath.Dir(h.starts)}
	h.replace("blueprints/box/main.tf", `resource "terraform_data" "lid" {`, fmt.Sprintf(`resource "terraform_data" "gate" {
  provisioner "local-exec" {
    command = "touch '%[1]s/arrived'; until [ -e '%[1]s/open' ]; do sleep 0.05; done"
  }
}

resource "terraform_data" "lid" {`, g.bin))
	h.replace("platform.cue", `platform: owner: "platform"`, `platform: {owner: "platform", policy: overrides: "module-provisioner": {level: "off", reason: "a gate needs one"}}`)
	h.commit("Put a gate before the box")
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() { must(g.T, os.WriteFile(filepath.Join(g.bin, "open"), nil, 0o600)) }

// until waits for something to be so.
func (g *gate) until(what string, so func() bool) {
	g.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.Fatalf("waited in vain until %s", what)
		}
	}
}

func (g *gate) arrived() {
	g.Helper()
	g.until("the apply is going on", func() bool {
		_, err := os.Stat(filepath.Join(g.bin, "arrived"))
		return err == nil
	})
}

// spawned is `pave serve` as a process of its own.
type spawned struct {
	*exec.Cmd
	g    *gate
	log  *syncBuffer
	dead chan struct{}
}

// spawn starts a program as the daemon of the host.
func (g *gate) spawn(program string, args ...string) *spawned {
	g.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--repo", g.repo, "--cache-dir", g.cache(), "--state-dir", g.state()}, args...)
	d := &spawned{Cmd: exec.Command(program, append(args, g.flags...)...), g: g, log: &syncBuffer{}, dead: make(chan struct{})}
	d.Env = []string{"HOME=" + g.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	d.Stdout, d.Stderr = d.log, d.log
	must(g.T, d.Start())
	go func() {
		d.Wait()
		close(d.dead)
	}()
	g.Cleanup(func() {
		d.Process.Kill()
		<-d.dead
		if g.Failed() {
			g.Logf("what process %d said:\n%s", d.Process.Pid, d.log.String())
		}
	})
	return d
}

func (d *spawned) said(text string) {
	d.g.Helper()
	d.g.until("the daemon says "+text, func() bool { return strings.Contains(d.log.String(), text) })
}

// ends waits for the process to end by itself, without an error.
func (d *spawned) ends() {
	d.g.Helper()
	d.g.until("the daemon ends", func() bool {
		select {
		case <-d.dead:
			return true
		default:
			return false
		}
	})
	if code := d.ProcessState.ExitCode(); code != 0 {
		d.g.Errorf("the daemon ended with %d", code)
	}
}

func (d *spawned) signal(s syscall.Signal) {
	d.g.Helper()
	must(d.g.T, d.Process.Signal(s))
}

// ready returns what /readyz answers.
func (d *spawned) ready() string {
	d.g.Helper()
	var at string
	d.g.until("the daemon says where it listens", func() bool {
		found := regexp.MustCompile(` listen=(\S+:\S+)`).FindAllStringSubmatch(d.log.String(), -1)
		if len(found) > 0 {
			at = found[len(found)-1][1]
		}
		return at != ""
	})
	response, err := http.Get("http://" + at + "/readyz")
	must(d.g.T, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(d.g.T, err)
	return fmt.Sprintf("%d %s", response.StatusCode, text)
}

// processes returns the processes of the host's runs, by command line, each with
// its id and when it was started.
func (g *gate) processes() map[string]string {
	g.Helper()
	found := map[string]string{}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(g.T, err)
	for _, path := range lines {
		line, _ := os.ReadFile(path)
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat"))
		if _, after, _ := strings.Cut(string(line), "\x00"); !strings.Contains(after, g.state()) || strings.HasPrefix(after, "serve\x00") {
			continue
		}
		_, fields, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(fields); len(f) > 19 && f[0] != "Z" {
			found[strings.ReplaceAll(string(line), "\x00", " ")] = filepath.Base(filepath.Dir(path)) + " since " + f[19]
		}
	}
	return found
}

func (g *gate) applies() int {
	g.Helper()
	text, err := os.ReadFile(g.starts)
	must(g.T, err)
	return strings.Count(string(text), "terraform apply ")
}

// ofPave returns a copy of Pave with a name of its own.
func (g *gate) ofPave(name string) string {
	g.Helper()
	path, err := exec.LookPath("pave")
	must(g.T, err)
	text, err := os.ReadFile(path)
	must(g.T, err)
	copied := filepath.Join(g.dir, "bin", name)
	must(g.T, os.MkdirAll(filepath.Dir(copied), 0o700))
	must(g.T, os.WriteFile(copied, text, 0o700))
	return copied
}

// A daemon on another host has another state directory. It stands by as long as the
// lease of the repository is renewed, and takes over when that ends.
func TestDaemonOfAnotherHostTakesOver(t *testing.T) {
	if testing.Short() {
		t.Skip("waits: make test")
	}
	t.Parallel()
	g := newGate(t)
	g.open()
	first := g.spawn("pave", "--lease-patience", "4s")
	first.said("outcome=applied")
	names, err := filepath.Glob(filepath.Join(g.state(), "*", "name"))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("the state directory has the names %q", names)
	}
	name, err := os.ReadFile(names[0])
	must(t, err)
	second := g.spawn("pave", "--lease-patience", "4s", "--state-dir", filepath.Join(g.dir, "other-state"), "--cache-dir", filepath.Join(g.dir, "other-cache"))
	second.said("standing by")
	time.Sleep(6 * time.Second)
	if got, want := second.ready(), "503 standing by for "+string(name); got != want {
		t.Errorf("got %q; expected %q", got, want)
	}
	first.signal(syscall.SIGKILL)
	second.said("msg=serving")
	second.said("was not written by this Pave") // it has another key, and looks first
	third := g.spawn("pave", "--lease-patience", "4s")
	third.said("standing by")
	second.signal(syscall.SIGTERM)
	second.ends()
	third.said("msg=serving")
	if n := g.applies(); n != 1 {
		t.Errorf("expected one apply, got %d", n)
	}
}

// Whoever replaces the daemon in the middle of an apply, in good order by a newer
// program or after a crash, finds the apply as it was and records how it ended.
func TestAnotherDaemonTakesOverInMidApply(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"upgrade": syscall.SIGTERM, "crash": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			program := g.ofPave("pave")
			first := g.spawn(program, "--patience", "0s")
			g.arrived()
			was := g.processes()
			if len(was) < 2 {
				t.Fatalf("expected a run and its engine, got %v", was)
			}
			if name == "upgrade" {
				must(t, os.Rename(g.ofPave("newer"), program))
			}
			second := g.spawn(program)
			second.said("standing by")
			if got, want := second.ready(), fmt.Sprintf("503 standing by for process %d\n", first.Process.Pid); got != want {
				t.Errorf("got %q; expected %q", got, want)
			}
			if said := g.lastSaid(exitFailure, "apply"); !strings.Contains(said, "is at work in") {
				t.Errorf("an apply does not refuse: %s", said)
			}
			first.signal(signal)
			if name == "upgrade" {
				first.ends()
				first.said("left a run going on")
			}
			second.said("found a run of an earlier process")
			if now := g.processes(); fmt.Sprint(now) != fmt.Sprint(was) {
				t.Errorf("the processes of the run were\n%v\nand are\n%v", was, now)
			}
			g.open()
			second.said("outcome=applied")
			second.signal(syscall.SIGTERM)
			second.ends()
			if n := g.applies(); n != 1 {
				t.Errorf("expected one apply, got %d", n)
			}
			g.expectAllReady(1)
		})
	}
}

// A daemon in a container takes its runs with it: it stops them in good order.
func TestStoppedDaemonInterruptsRuns(t *testing.T) {
	g := newGate(t)
	d := g.spawn("pave", "--patience", "1h", "--on-stop", "interrupt", "--grace", "20s")
	g.arrived()
	d.signal(syscall.SIGTERM)
	d.signal(syscall.SIGTERM)
	for time.Sleep(500 * time.Millisecond); !strings.Contains(d.log.String(), "asked a run to stop"); time.Sleep(500 * time.Millisecond) {
		d.signal(syscall.SIGTERM) // the second came with the first
	}
	d.ends()
	if left := g.processes(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if u := g.units()["alone"]; u.Ready || u.Reason != reconciler.ReasonApplyFailed || !strings.Contains(u.Message, "stopped on request") {
		t.Errorf("got %+v", u)
	}
	if !strings.Contains(g.stateOf("alone"), `"terraform_data"`) {
		t.Error("the state does not tell what was made")
	}
	g.open()
	g.pave(0, "apply")
	g.expectAllReady(1)
}

// What ends within the patience is recorded before the daemon ends.
func TestStoppedDaemonRecordsWhatEnds(t *testing.T) {
	g := newGate(t)
	d := g.spawn("pave", "--patience", "1h")
	g.arrived()
	d.signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	g.open()
	d.ends()
	g.expectAllReady(1)
	if n := g.applies(); n != 1 {
		t.Errorf("expected one apply, got %d", n)
	}
}

// What a killed apply made, and wrote down nowhere, is not destroyed with the
// request: the record says where to look for it.
func TestDestroyAfterKilledApply(t *testing.T) {
	t.Run("run and engine", func(t *testing.T) { destroyAfterKills(t, "unknown", " __run ", " apply ") })
	t.Run("engine", func(t *testing.T) { destroyAfterKills(t, "apply-failed", " apply ") })
}

func destroyAfterKills(t *testing.T, outcome string, kills ...string) {
	g := newGate(t)
	g.keepStatesIn(stores.New(t, "http")) // where a state is written at the end alone
	d := g.spawn("pave")
	g.arrived()
	kill := func(words string) {
		for line, process := range g.processes() {
			id, _, _ := strings.Cut(process, " ")
			pid, err := strconv.Atoi(id)
			must(t, err)
			if strings.Contains(line, words) {
				must(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}
	}
	for _, words := range kills {
		kill(words)
	}
	d.said("outcome=" + outcome)
	must(t, os.Remove(filepath.Join(g.repo, "catalog/shop/alone.cue")))
	g.commit("It is needed no more")
	d.said("outcome=destroyed")
	d.signal(syscall.SIGTERM)
	d.ends()
	g.expectRecorded("alone destroyed")
	if log := g.pave(0, "log", "alone"); !strings.Contains(log, "destroyed +0 ~0 -0 blueprint=box doubt=3") {
		t.Errorf("the doubt is not recorded:\n%s", log)
	}
	message := g.git("log", "-1", "--format=%B", "pave/status")
	if !strings.Contains(message, "alone: look in development for what a run before it may have left") || !strings.Contains(message, "terraform_data.gate") {
		t.Errorf("the record does not say where to look:\n%s", message)
	}
}
