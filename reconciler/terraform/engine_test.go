package terraform

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const platform = runtime.GOOS + "_" + runtime.GOARCH

func TestEngineIsAskedOnce(t *testing.T) {
	b := newBench(t)
	b.restart()
	engine, err := b.runner.Engine(t.Context(), "terraform")
	must(t, err)
	if engine != b.engine || engine.Version == "" || engine.Path != filepath.Join(b.bin, "terraform") {
		t.Errorf("got %+v", engine)
	}
	b.expectStarts() // newBench asked

	// Another program of the same name is asked anew.
	copied := filepath.Join(b.bin, "terraform")
	self, err := os.ReadFile(b.host.Self)
	must(t, err)
	must(t, os.Remove(copied))
	must(t, os.WriteFile(copied, self, 0o700))
	_, err = b.runner.Engine(t.Context(), "terraform")
	must(t, err)
	b.expectStarts("version")

	// So is one that was changed in place, and after the cache was lost.
	must(t, os.Chtimes(copied, time.Time{}, time.Now().Add(time.Hour)))
	_, err = b.runner.Engine(t.Context(), "terraform")
	must(t, err)
	b.expectStarts("version")
	must(t, os.WriteFile(filepath.Join(b.host.Cache, "engines.json"), []byte("null"), 0o600))
	_, err = b.runner.Engine(t.Context(), "terraform")
	must(t, err)
	b.expectStarts("version")
}

func TestEngineMissing(t *testing.T) {
	b := newBenchAlone(t)
	for name, want := range map[string]string{
		"tofu":      "tofu is not in " + b.bin + ": install it there, or change --engine-path",
		"terragrun": `engine: expected one of: terraform, tofu; got "terragrun"`,
		"../sh":     `engine: expected one of: terraform, tofu; got "../sh"`,
	} {
		if _, err := b.runner.Engine(t.Context(), name); err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	b.host.EnginePath = ""
	b.restart()
	t.Setenv("PATH", t.TempDir())
	_, err := b.runner.Engine(t.Context(), "terraform")
	want := "terraform is not on the PATH: install it, or name its folder with --engine-path"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestEngineThatIsNone(t *testing.T) {
	b := newBench(t)
	must(t, os.WriteFile(filepath.Join(b.bin, "tofu"), []byte("#!/bin/sh\necho hello\n"), 0o700))
	_, err := b.runner.Engine(t.Context(), "tofu")
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "ask "+b.bin+"/tofu for its version", `got "hello"`)
}

func TestHostIsChecked(t *testing.T) {
	good := Host{Cache: t.TempDir(), State: t.TempDir(), Runs: t.TempDir()}
	_, err := NewRunner(good)
	must(t, err)
	for want, change := range map[string]func(*Host){
		`host cache: expected an absolute path, got "cache"`: func(h *Host) { h.Cache, h.CLIConfig = "cache", "/dev/null" },
		`host state: expected an absolute path, got ""`:      func(h *Host) { h.State = "" },
		`host engine path: expected an absolute path, got "bin"`: func(h *Host) {
			h.EnginePath = "/usr/bin:bin"
		},
		`read CLI configuration: /nowhere does not exist`: func(h *Host) { h.CLIConfig = "/nowhere" },
	} {
		host := good
		change(&host)
		if _, err := NewRunner(host); err == nil || err.Error() != want {
			t.Errorf("expected %s, got %v", want, err)
		}
	}
}
