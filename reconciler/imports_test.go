package reconciler

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pave-dev/pave/"

// owners are the outside things that belong to one package each, which turns
// them into words of the domain. Everything that changes with a thing is there.
var owners = map[string]string{
	"cuelang.org/go":                                 "reconciler/catalog",
	"github.com/open-policy-agent/opa":               "reconciler/policy",
	"github.com/KimMachineGun/automemlimit":          "reconciler/terraform",
	"github.com/hashicorp/hcl/v2":                    "reconciler/terraform",
	"github.com/hashicorp/terraform-exec":            "reconciler/terraform",
	"github.com/hashicorp/terraform-json":            "reconciler/terraform",
	"github.com/google/go-github/v62":                "reconciler/github",
	"github.com/adhocore/gronx":                      "reconciler/calendar",
	"github.com/yuin/goldmark":                       "reconciler/portal",
	"github.com/coreos/go-oidc/v3":                   "reconciler/portal/oidc",
	"golang.org/x/oauth2":                            "reconciler/portal/oidc",
	"go.yaml.in/yaml":                                "reconciler/portal",
	"github.com/fsnotify/fsnotify":                   "reconciler/git",
	"github.com/go-git/go-git/v5/storage":            "reconciler/git",
	"github.com/go-git/go-git/v5/plumbing/transport": "reconciler/git",
	"github.com/landlock-lsm/go-landlock":            "reconciler/confine",
	"github.com/prometheus/client_golang":            "cmd/pave",
	"github.com/spf13/cobra":                         "cmd/pave",
}

// TestImports reads the imports of every package that is part of Pave, tests
// left out.
func TestImports(t *testing.T) {
	packages := 0
	for from, imports := range importsBelow(t, "..") {
		packages++
		for _, to := range imports {
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
	if packages < 6 {
		t.Errorf("expected to look at the whole of Pave, found %d packages", packages)
	}
}

// forbidden says why one package may not import another; nothing where it may.
func forbidden(from, to string) string {
	own, inside := strings.CutPrefix(to, module)
	if !inside {
		return foreign(from, to)
	}
	switch {
	case from == "reconciler":
		return "the domain knows nothing outside itself, so that it is understood and tested alone"
	case below(own, "cmd"):
		return "cmd ties the parts together; no part knows of it"
	case below(from, "schema") || below(from, "policies"):
		return "what is embedded is data: everybody may read it, so it reads nobody"
	case from == "reconciler/confine":
		return "it comes before everything else at each start of an engine, which would pay for what it imports"
	case own == "reconciler/limited" || own == "reconciler/confine": // they know the operating system and nothing of Pave
		return ""
	case below(from, "cmd") || own == "reconciler" || below(own, "schema") || below(own, "policies"):
		return ""
	case !below(own, "testdata") && adapter(own) != adapter(from):
		return "adapters know the domain and not each other, so that each can change alone"
	}
	return ""
}

// foreign judges an import from outside Pave.
func foreign(from, to string) string {
	if first, _, _ := strings.Cut(to, "/"); from == "reconciler" && strings.Contains(first, ".") {
		return "the domain uses the standard library only: no other project's change reaches it"
	}
	for library, owner := range owners {
		if below(to, library) && !below(from, owner) {
			return "only " + owner + " knows it: ask there, in words of the domain"
		}
	}
	return ""
}

// below tells whether a path is the folder or in it.
func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// adapter returns the first two parts of a path below reconciler.
func adapter(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// importsBelow returns the imports of every package by its path in the module.
func importsBelow(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || name == "examples" || len(name) > 2 && name[0] == '.') {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		folder := path.Dir(filepath.ToSlash(relative))
		for _, spec := range parsed.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			found[folder] = append(found[folder], to)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestForbiddenImports(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"reconciler", "fmt", true},
		{"reconciler", "golang.org/x/sync/errgroup", false},
		{"reconciler", module + "schema", false},
		{"reconciler/git", module + "reconciler", true},
		{"reconciler/git", module + "reconciler/terraform", false},
		{"reconciler/git", module + "cmd/pave", false},
		{"reconciler/github/fake", module + "reconciler/github", true},
		{"reconciler/catalog", module + "schema", true},
		{"reconciler/catalog", "cuelang.org/go/cue", true},
		{"reconciler/policy", "cuelang.org/go/cue", false},
		{"cmd/pave", "cuelang.org/go/cue", false},
		{"cmd/pave", module + "reconciler/git", true},
		{"schema", module + "reconciler", false},
	} {
		if why := forbidden(c.from, c.to); (why == "") != c.allowed {
			t.Errorf("%s imports %s: got %q", c.from, c.to, why)
		}
	}
}
