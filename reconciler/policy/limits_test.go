package policy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler/limited"
	"github.com/pave-dev/pave/reconciler/policy"
)

// The test binary is its own limited child.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "__policies" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childMemory is what a child that reads what nobody reviewed may use.
const childMemory = 512 << 20

// answer is what a child says of its sources.
type answer struct {
	Refused  []string
	Compiled time.Duration // how long that took
	Tests    []policy.TestResult
	Tested   time.Duration
	Judged   []string // the errors of two evaluations
	Judging  []time.Duration
}

// serve limits this process, then compiles, tests and judges by the sources
// that it reads.
func serve() error {
	limits := limited.Limits{Memory: childMemory, Seconds: 300, Files: 64, FileSize: 1 << 20}
	if err := limits.Enter(); err != nil {
		return err
	}
	var sources policy.Sources
	if err := json.NewDecoder(os.Stdin).Decode(&sources); err != nil {
		return err
	}
	var a answer
	timed := func(f func()) time.Duration {
		started := time.Now()
		f()
		return time.Since(started)
	}
	var engine *policy.Engine
	a.Compiled = timed(func() {
		compiled, violations := policy.Compile(context.Background(), sources)
		engine, a.Refused = compiled, lines(violations)
	})
	if engine != nil {
		a.Tested = timed(func() { a.Tests = engine.Test(context.Background()) })
		for range 2 {
			a.Judging = append(a.Judging, timed(func() {
				_, err := engine.Judge(context.Background(), request())
				a.Judged = append(a.Judged, fmt.Sprint(err))
			}))
		}
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// inChild asks a child. The text is why it died instead.
func inChild(t *testing.T, sources policy.Sources) (answer, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(sources)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithTimeout(t.Context(), 2*time.Minute)
	defer kill()
	cmd := exec.CommandContext(ctx, self, "__policies")
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.Stdin = bytes.NewReader(input)
	var said limited.Tail
	cmd.Stderr = &said
	output, err := cmd.Output()
	if ctx.Err() != nil {
		t.Fatal("the child hangs")
	}
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		died, err := limited.Why(ctx, ended, &said, childMemory, 0)
		if err != nil {
			died = err.Error()
		}
		return answer{}, died
	} else if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(output, &a); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return a, ""
}

// What is fine elsewhere is fine in a limited child.
func TestInLimitedChild(t *testing.T) {
	sources := own("package acme\n\ndeny contains \"large\" if input.document.inputs.size == \"large\"\n")
	sources.Organisation["policies/own_test.rego"] = `package acme_test

test_large if count(data.acme.deny) == 1 with input as {"document": {"inputs": {"size": "large"}}}

test_small if count(data.acme.deny) == 1 with input as {"document": {"inputs": {"size": "small"}}}
`
	a, died := inChild(t, sources)
	if died != "" || len(a.Refused) > 0 {
		t.Fatalf("died: %q, refused: %q", died, a.Refused)
	}
	if len(a.Tests) != 2 || !a.Tests[0].Passed || a.Tests[1].Passed || a.Judged[0] != "<nil>" {
		t.Errorf("got %+v", a)
	}
}

// repeated fills a module with rules up to the size that a file may have.
func repeated(start string, rule func(i int) string) string {
	var b strings.Builder
	b.WriteString("package acme\n\n" + start)
	for i := 0; ; i++ {
		next := rule(i)
		if b.Len()+len(next) > policy.MaxFile {
			return b.String()
		}
		b.WriteString(next)
	}
}

func nested(start, open, within, shut, end string, depth int) string {
	return "package acme\n\n" + start + strings.Repeat(open, depth) + within + strings.Repeat(shut, depth) + end + "\n"
}

// Whatever a module of the largest size says, compiling it ends in time: with an
// engine, with words that say what to do, or with the child's death by memory.
// The times are logged: `go test -v -run Hostile ./reconciler/policy`.
func TestHostileModules(t *testing.T) {
	const deep, slow = "this is nested too deeply", "compile the policies: it takes longer than "
	const limit = 2 * time.Second
	worst := time.Duration(0)
	for _, test := range []struct {
		name, module string
		refused      string // a part of how it must be refused; empty where that is up to the machine
	}{
		{"arrays", nested("x := ", "[", "1", "]", "", 30000), deep},
		{"object keys", nested("x := ", "{", "1", ":1}", "", 15000), deep},
		{"parentheses", nested("x := ", "(", "1", ")", "", 30000), deep},
		{"references", nested("x := ", "input[", "1", "]", "", 8000), deep},
		{"calls", nested("x := ", "abs(", "1", ")", "", 12000), deep},
		{"comprehensions", nested("x := ", "[y | y := ", "1", "]", "", 4500), deep},
		{"every", nested("deny contains 1 if {", "every x in [1] {", "x == 1", "}", "}", 3000), deep},
		{"templates", nested("x := ", `$"{`, "1", `}"`, "", 5000), deep},
		{"sums", nested("x := 1", "+1", "", "", "", 32000), deep},
		{"recursion", repeated("", func(i int) string { return fmt.Sprintf("r%d if r%d\n", i, (i+1)%3000) }), slow},

		{"comprehensions at the limit", repeated("", func(i int) string {
			return fmt.Sprintf("c%d := %s1%s\n", i, strings.Repeat("[y | y := ", 45), strings.Repeat("]", 45))
		}), ""},
		{"every at the limit", repeated("", func(i int) string {
			return fmt.Sprintf("e%d if {%sx == 1%s}\n", i, strings.Repeat("every x in [1] {", 200), strings.Repeat("}", 200))
		}), ""},
		{"rules of each other", repeated("", func(int) string {
			return "warn contains x if some x in deny\ndeny contains x if some x in input\n"
		}), ""},
		{"types that double", repeated("x0 := [1]\n", func(i int) string { return fmt.Sprintf("x%d := [x%d,x%d]\n", i+1, i, i) }), ""},
		{"objects that double", repeated("x0 := {\"a\":1}\n", func(i int) string {
			return fmt.Sprintf("x%d := {\"a\":x%d,\"b\":x%d}\n", i+1, i, i)
		}), ""},
		{"an index", repeated("", func(i int) string { return fmt.Sprintf("a if {input.a%d == 1; input.b == %d}\n", i, i) }), ""},
		{"one body", repeated("x if { y0 = 1", func(i int) string { return fmt.Sprintf("; y%d = y%d", i, i+1) }) + "}", ""},
		{"else", repeated("x := 0 if input.a\n", func(i int) string { return fmt.Sprintf("else := %d if input.b\n", i) }), ""},
		{"findings", repeated("", func(i int) string { return fmt.Sprintf("deny contains %d\n", i) }), ""},
		{"ten thousand rules", repeated("", func(int) string { return "a := b\n" }) + "b := 1\n", ""},
		{"tests", repeated("", func(i int) string { return fmt.Sprintf("test_%d if true\n", i) }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && test.refused != deep {
				t.Skip("compiles until a limit of time or memory: go test ./reconciler/policy -run TestHostileModules")
			}
			sources := own(test.module)
			if sources.Compilation = limit; test.refused == slow {
				sources.Compilation = 0 // the default must be one that ends, too
			}
			a, died := inChild(t, sources)
			switch {
			case died != "":
				t.Logf("died: %.100s", died)
				if test.refused != "" || !strings.Contains(died, "memory") {
					t.Errorf("died: %s", died)
				}
			case len(a.Refused) > 0:
				t.Logf("%6.2f s: %.150s", a.Compiled.Seconds(), a.Refused[0])
				if !strings.Contains(a.Refused[0], test.refused) || !strings.Contains(a.Refused[0], " | ") {
					t.Errorf("refused with %q", a.Refused)
				}
			default:
				t.Logf("%6.2f s: compiled", a.Compiled.Seconds())
				if test.refused != "" {
					t.Errorf("compiled, expected %q", test.refused)
				}
			}
			if bound := max(limit, 10*time.Second) + 10*time.Second; a.Compiled > bound {
				t.Errorf("took %s", a.Compiled)
			}
			worst = max(worst, a.Compiled)
		})
	}
	t.Logf("the longest compilation was given up or ended after %s", worst)
}

// A test and a rule end by their deadline, also where they call a function that
// no deadline stops, and memory ends at the child's limit.
func TestHostileEvaluation(t *testing.T) {
	const paths = `count(graph.reachable_paths({sprintf("%d", [i]): [sprintf("%d", [j]) | some j in numbers.range(1, 30)] | some i in numbers.range(1, 30)}, {"1"})) > 0`
	sources := own("package acme\n\ndeny contains \"x\" if " + paths + "\n")
	sources.Deadline = time.Second
	sources.Organisation["policies/own_test.rego"] = `package acme_test

test_endless if count([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i == j]) == 1

test_quick if true

test_unstoppable if ` + paths + "\n"
	a, died := inChild(t, sources)
	if died != "" || len(a.Refused) > 0 {
		t.Fatalf("died: %q, refused: %q", died, a.Refused)
	}
	t.Logf("tests ended after %s, evaluations after %s", a.Tested, a.Judging)
	last := len(a.Tests) - 1
	if want := "run the tests: one that is missing here takes longer than 1s and cannot be stopped"; a.Tests[last].Message != want || a.Tests[last].Passed {
		t.Errorf("got %+v", a.Tests)
	}
	if a.Tested > 20*time.Second || a.Judging[0] > 20*time.Second || a.Judging[1] > time.Second {
		t.Errorf("took %s and %s", a.Tested, a.Judging)
	}
	for _, said := range a.Judged {
		if said != "judge request orders-db: the policies took longer than 1s" {
			t.Errorf("got %s", said)
		}
	}

	sources = own("package acme\n")
	sources.Deadline = time.Minute
	sources.Organisation["policies/own_test.rego"] = "package acme_test\n\ntest_bomb if {\n\ta := \"" + strings.Repeat("a", 30000) + "\"\n" +
		"\tb := replace(a, \"a\", a)\n\tcount(b) > 0\n}\n"
	if a, died = inChild(t, sources); !strings.Contains(died, "memory") {
		t.Errorf("died: %q, answered: %+v", died, a)
	}
}
