package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestKeyChangesWithEveryFile(t *testing.T) {
	subject := tool{name: "x", folder: t.TempDir()}
	seen := map[string]bool{}
	for _, file := range []string{"go.mod", "go.sum", "tool.json", "sub/main.go"} {
		write(t, filepath.Join(subject.folder, file), "a")
		key, err := subject.key()
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := subject.key(); again != key || seen[key] {
			t.Errorf("after %s: key %s, then %s; seen before: %v", file, key, again, seen[key])
		}
		seen[key] = true
	}
}

func TestFolderIsMadeOnceAndWhole(t *testing.T) {
	c := cache(t.TempDir())
	if _, err := c.folder("x", "1", func(string) error { return errors.New("no") }); err == nil || exists(c.path("x", "1")) {
		t.Fatalf("a failed build: error %v, folder left: %v", err, exists(c.path("x", "1")))
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := c.folder("x", "1", func(work string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(work, "program"), nil, 0o755)
			})
			if err != nil || !exists(filepath.Join(dir, "program")) {
				t.Errorf("folder %s: error %v or no program in it", dir, err)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times, want once", n)
	}
}

func TestMirrorOffersProvidersToBothEngines(t *testing.T) {
	built, aws := t.TempDir(), filepath.Join(t.TempDir(), "5.1.0", platform)
	write(t, filepath.Join(built, "terraform-provider-tls"), "tls")
	write(t, filepath.Join(aws, "terraform-provider-aws_v5.1.0"), "aws")
	work := t.TempDir()
	m := mirror{built: built, versions: map[string]string{"tls": "4.3.0"}, aws: aws}
	if err := m.write(work, "/tools"); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		for file, want := range map[string]string{
			"tls/4.3.0/" + platform + "/terraform-provider-tls_v4.3.0": "tls",
			"aws/5.1.0/" + platform + "/terraform-provider-aws_v5.1.0": "aws",
		} {
			got, err := os.ReadFile(filepath.Join(work, "mirror", host, "hashicorp", file))
			if err != nil || string(got) != want {
				t.Errorf("%s of %s: %q, %v", file, host, got, err)
			}
		}
	}
}

func TestConfigurationNeverLeavesTheMirrorWhereRegistriesAreSilent(t *testing.T) {
	for name, c := range map[string]struct {
		mirror      mirror
		direct, aws bool
		filesystem  bool
	}{
		"built":            {mirror: mirror{built: "b", versions: map[string]string{"tls": "1"}}, filesystem: true},
		"built with aws":   {mirror: mirror{built: "b", versions: map[string]string{"tls": "1"}, aws: "a"}, filesystem: true, aws: true},
		"registry":         {mirror: mirror{}},
		"registry and aws": {mirror: mirror{aws: "a"}, filesystem: true, direct: true, aws: true},
	} {
		text := c.mirror.configuration("/tools/mirror")
		for word, want := range map[string]bool{
			"disable_checkpoint = true": true,
			"filesystem_mirror {":       c.filesystem,
			"direct {":                  c.direct,
			"hashicorp/aws":             c.aws,
		} {
			if strings.Contains(text, word) != want {
				t.Errorf("%s: %q present: %v, want %v in\n%s", name, word, !want, want, text)
			}
		}
	}
}

func TestFindAWS(t *testing.T) {
	empty, place := t.TempDir(), t.TempDir()
	want := filepath.Join(place, "registry.terraform.io", "hashicorp", "aws", "5.1.0", platform)
	write(t, filepath.Join(want, "terraform-provider-aws_v5.1.0_x5"), "")
	if got, err := findAWS([]string{"", empty, place}, false); got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if got, err := findAWS([]string{empty}, false); got != "" || err != nil {
		t.Errorf("nowhere: got %q, %v; want nothing", got, err)
	}
	if _, err := findAWS([]string{empty}, true); err == nil {
		t.Error("nothing in the folder that was named, and no error")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
