package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what something took.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes of memory of the largest process; zero where that is not known
}

func (c cost) plus(other cost) cost {
	return cost{c.wall + other.wall, c.cpu + other.cpu, max(c.peak, other.peak)}
}

// measure runs a command to its end. An exit code that it may have is no error.
func measure(cmd *exec.Cmd, may ...int) (cost, error) {
	var said bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &said
	}
	cmd.Stderr = &said
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil && !(cmd.ProcessState != nil && slices.Contains(may, cmd.ProcessState.ExitCode())) {
		return cost{}, fmt.Errorf("%s: %w: %.2000s", cmd.Args, err, &said)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss << 10}, nil
}

// contender is one way to do what is compared.
type contender struct {
	name string
	do   func(ctx context.Context, round int) (cost, error)
}

// compare lets the contenders do their work in turns, each round in another order,
// and prints their medians, and the ratio of the first to the others.
func (b *bench) compare(ctx context.Context, title string, contenders ...contender) error {
	_, err := b.compareIn(ctx, b.rounds, title, contenders...)
	return err
}

// compareIn compares in so many rounds, and returns the medians.
func (b *bench) compareIn(ctx context.Context, rounds int, title string, contenders ...contender) ([]cost, error) {
	costs := make([][]cost, len(contenders))
	for round := range rounds {
		for i := range contenders {
			at := (i + round) % len(contenders)
			c, err := contenders[at].do(ctx, round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contenders[at].name, err)
			}
			costs[at] = append(costs[at], c)
		}
	}
	var medians []cost
	for i := range contenders {
		medians = append(medians, median(costs[i]))
	}
	b.say("\n%s (median of %d)\n  %-28s %11s %20s %18s\n", title, rounds, "", "processor", "time", "memory")
	for i, m := range medians {
		b.say("%s\n", strings.TrimRight(fmt.Sprintf("  %-28s %9.4f s %-8s %9.4f s %-8s %s", contenders[i].name,
			m.cpu.Seconds(), times(i, medians[0].cpu, m.cpu), m.wall.Seconds(), times(i, medians[0].wall, m.wall), memoryOf(i, medians[0], m)), " "))
	}
	return medians, nil
}

// times is how many times as much the first takes, beside all others.
func times[T time.Duration | int64](i int, first, other T) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprintf("x %.2f", float64(first)/float64(max(other, 1)))
}

// memoryOf is empty where it is not known.
func memoryOf(i int, first, m cost) string {
	if m.peak == 0 {
		return ""
	}
	text := fmt.Sprintf("%5d MB", m.peak>>20)
	if first.peak == 0 {
		return text
	}
	return text + " " + times(i, first.peak, m.peak)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

// median returns the median of each figure by itself.
func median(costs []cost) cost {
	of := func(figure func(cost) int64) int64 {
		sorted := slices.Clone(costs)
		slices.SortFunc(sorted, func(a, b cost) int { return cmp.Compare(figure(a), figure(b)) })
		return figure(sorted[len(sorted)/2])
	}
	return cost{
		time.Duration(of(func(c cost) int64 { return int64(c.wall) })),
		time.Duration(of(func(c cost) int64 { return int64(c.cpu) })),
		of(func(c cost) int64 { return c.peak }),
	}
}

// threadTime is what a thread took so far, in more detail than the kernel's ticks.
func threadTime(task string) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(task, "schedstat"))
	if err != nil {
		return 0, err
	}
	ran, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseInt(ran, 10, 64)
	return time.Duration(n), err
}
