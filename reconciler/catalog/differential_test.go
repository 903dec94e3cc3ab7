package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue/parser"
	"golang.org/x/sync/errgroup"
	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/schema"
)

// More documents, or others:
//
//	go test -run AgreeWithCue ./reconciler/catalog -documents 5000 -seed 7
var (
	documentsFlag = flag.Int("documents", 600, "how many documents to generate")
	seedFlag      = flag.Uint64("seed", 1, "which documents to generate")
)

// The comparison with plain cue: what `cue vet -c` refuses Pave refuses, and
// what it accepts exports to the same JSON, whether the document's file is data
// or code.

func TestGeneratedDocumentsAgreeWithCue(t *testing.T) {
	cue := cueCommand(t)
	platform := archiveFiles(t, filepath.Join("testdata", "differential.txtar"))
	documents := map[string]string{}
	g := generator{rand.New(rand.NewPCG(*seedFlag, 0))}
	for n := range *documentsFlag {
		documents["catalog/"+documentName(n)] = g.file(n)
	}
	for n, text := range written {
		name := fmt.Sprintf("written-%04d", n)
		text = strings.ReplaceAll(text, `"NAME`, `"`+name)
		documents["catalog/"+name] = "package platform\n" + strings.ReplaceAll(text, "NAME", `"`+name+`"`) + "\n"
	}
	t.Run("data", func(t *testing.T) {
		literal := 0
		for _, text := range documents {
			if parsed, err := parser.ParseFile("", text); err == nil && isLiteral(parsed) {
				literal++
			}
		}
		if literal < *documentsFlag/3 {
			t.Errorf("of %d documents only %d are data", *documentsFlag, literal)
		}
		compare(t, cue, platform, documents)
	})
	t.Run("code", func(t *testing.T) {
		for folder, text := range documents {
			documents[folder] = code(text)
		}
		compare(t, cue, platform, documents)
	})
}

func TestExamplesAgreeWithCue(t *testing.T) {
	cue := cueCommand(t)
	for _, example := range []string{"acme", "aws"} {
		platform, documents := exampleFiles(t, filepath.Join("..", "..", "examples", example))
		for tier, turn := range map[string]func(string) string{"as it is": func(s string) string { return s }, "code": code} {
			t.Run(example+"/"+tier, func(t *testing.T) {
				files := maps.Clone(platform)
				folders := map[string]bool{}
				for file, text := range documents {
					files[file] = turn(text)
					folders[path.Dir(file)] = true
				}
				compareFolders(t, cue, files, slices.Sorted(maps.Keys(folders)))
			})
		}
		t.Run(example+"/data", func(t *testing.T) {
			compare(t, cue, platform, exported(t, platform, documents))
		})
	}
}

// layouts are files that touch each other. The bodies lack their first line.
var layouts = map[string]map[string]string{
	"a folder with a name of one letter": {
		"c/team/a.cue": `service: a: {title: "A", owner: "payments", type: "job", lifecycle: "production"}`,
		"d/a.cue":      `service: b: {title: "B", owner: "payments", type: "job", lifecycle: "production"}, _computes: true`,
	},
	"data in two folders": {
		"x/a.cue":   `service: a: {title: "A", owner: "payments", type: "job", lifecycle: "production"}`,
		"x/y/b.cue": `service: b: {title: "B", owner: "payments", type: "job", lifecycle: "production"}`,
	},
	"a pattern above": {
		"x/a.cue":   `service: [string]: {owner: "payments", type: "job"}`,
		"x/y/b.cue": `service: b: {title: "B", lifecycle: "production"}`,
	},
	"a pattern above that refuses": {
		"x/a.cue":   `service: [string]: owner: "platform"`,
		"x/y/b.cue": `service: b: {title: "B", owner: "payments", type: "job", lifecycle: "production"}`,
	},
	"a pattern below that refuses what is above": {
		"x/a.cue":   `service: a: {title: "A", owner: "payments", type: "job", lifecycle: "production"}`,
		"x/y/b.cue": `service: [string]: owner: "platform"`,
	},
	"a pattern below that adds to what is above": {
		"x/a.cue":   `service: a: {title: "A", owner: "payments", type: "job", lifecycle: "production"}`,
		"x/y/b.cue": `service: [string]: tier: 1`,
	},
	"a document above that is refused": {
		"x/a.cue":   `service: a: {title: "A", owner: "payments", type: "jab", lifecycle: "production"}`,
		"x/y/b.cue": `service: b: {title: "B", owner: "payments", type: "job", lifecycle: "production"}, _computes: true`,
	},
	"a use of what is above": {
		"x/a.cue":   `#owner: "payments"`,
		"x/y/b.cue": `service: b: {title: "B", owner: #owner, type: "job", lifecycle: "production"}`,
	},
	"a hidden field of the file beside": {
		"x/a.cue": `_owner: "payments"`,
		"x/b.cue": `service: b: {title: "B", owner: _owner, type: "job", lifecycle: "production"}`,
	},
	"a hidden field of the root": {
		"defaults.cue": `_owner: "payments"`,
		"x/b.cue":      `service: b: {title: "B", owner: _owner, type: "job", lifecycle: "production"}`,
	},
	"a constraint of the organisation": {
		"rules.cue": `#service: tier!: _`,
		"x/b.cue":   `service: b: {title: "B", owner: "payments", type: "job", lifecycle: "production"}`,
	},
	"an output of the file beside": {
		"x/a.cue": `request: a: {blueprint: "everything", service: "s", environment: "staging", inputs: text: "t"}`,
		"x/b.cue": `request: b: {blueprint: "everything", service: "s", environment: "staging", inputs: {text: "t", host: request.a.outputs.host}}`,
	},
	"what a blueprint's package brings": {
		"blueprints/bare/more.cue": "package bare\n" + `#Services: brought: {title: "B", owner: "payments", type: "job", lifecycle: "production"}`,
		"x/b.cue":                  "import \"acme.example/platform/blueprints/bare\"\n" + `service: bare.#Services`,
	},
	"no documents": {
		"x/a.cue": `// nothing yet`,
		"x/b.cue": `service: {}`,
	},
}

// TestLayoutsAgreeWithCue compares platforms whose files touch each other: the
// platform as a whole is refused by both or by none.
func TestLayoutsAgreeWithCue(t *testing.T) {
	cue := cueCommand(t)
	platform := archiveFiles(t, filepath.Join("testdata", "differential.txtar"))
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(platform)
			for file, text := range layout {
				if !strings.HasPrefix(text, "package ") {
					text = "package platform\n" + text
				}
				files[file] = text + "\n"
			}
			theirs, ours := cueAnswers(t, cue, files, []string{"..."})["..."], together(paveAnswers(t, files))
			if (theirs.refused == "") != (ours.refused == "") {
				t.Errorf("cue: %s\nPave: %s", theirs.refused, ours.refused)
			}
			if theirs.refused == "" && !maps.Equal(theirs.documents, ours.documents) {
				t.Errorf("the documents differ:\n cue %v\npave %v", theirs.documents, ours.documents)
			}
		})
	}
}

// together joins what is said of folders.
func together(answers map[string]said) said {
	all := said{documents: map[string]string{}}
	for _, a := range answers {
		all.refused += a.refused
		maps.Copy(all.documents, a.documents)
	}
	return all
}

// code makes a file one that computes.
func code(text string) string { return text + "\n_computes: true\n" }

// exported writes every document of a platform as a file of its own, in which
// every field is a literal.
func exported(t *testing.T, platform, documents map[string]string) map[string]string {
	files := maps.Clone(platform)
	maps.Copy(files, documents)
	p, vs, err := testEvaluator(t).Evaluate(t.Context(), treeOf(files))
	if err != nil || reconciler.Denied(vs) {
		t.Fatalf("evaluate: %v\n%s", err, render(vs))
	}
	all := map[string]string{}
	for name, r := range p.Requests {
		all["catalog/request-"+name] = fmt.Sprintf("package platform\nrequest: %q: %s\n", name, r.JSON)
	}
	for name, s := range p.Services {
		all["catalog/service-"+name] = fmt.Sprintf("package platform\nservice: %q: %s\n", name, s.JSON)
	}
	return all
}

// compare lays each document into a folder of its own.
func compare(t *testing.T, cue string, platform, documents map[string]string) {
	files := maps.Clone(platform)
	for folder, text := range documents {
		files[folder+"/document.cue"] = text
	}
	compareFolders(t, cue, files, slices.Sorted(maps.Keys(documents)))
}

// compareFolders compares what Pave and what cue say of each folder.
func compareFolders(t *testing.T, cue string, files map[string]string, folders []string) {
	plain := cueAnswers(t, cue, files, folders)
	ours := paveAnswers(t, files)
	accepted := 0
	for _, folder := range folders {
		theirs, mine := plain[folder], ours[folder]
		source := files[folder+"/document.cue"]
		switch {
		case theirs.refused != "" && mine.refused == "":
			t.Errorf("%s: cue refuses what Pave accepts:\n%s\n%s", folder, theirs.refused, source)
		case theirs.refused == "" && mine.refused != "":
			t.Errorf("%s: Pave refuses what cue accepts:\n%s\n%s", folder, mine.refused, source)
		case theirs.refused == "":
			accepted++
			if !maps.Equal(theirs.documents, mine.documents) {
				t.Errorf("%s: the documents differ:\n cue %v\npave %v\n%s", folder, theirs.documents, mine.documents, source)
			}
		}
	}
	if share := float64(accepted) / float64(len(folders)); share < 0.2 {
		t.Errorf("of %d folders only %d are accepted: the comparison says little", len(folders), accepted)
	}
}

// said is what one of the two says of a folder: why it refuses it, or its
// documents as JSON by kind and name.
type said struct {
	refused   string
	documents map[string]string
}

func paveAnswers(t *testing.T, files map[string]string) map[string]said {
	platform, violations, err := testEvaluator(t).Evaluate(t.Context(), treeOf(files))
	if err != nil {
		t.Fatal(err)
	}
	if platform == nil {
		t.Fatalf("the platform itself is refused:\n%s", render(violations))
	}
	answers := map[string]said{}
	add := func(at reconciler.Position, document string, doc json.RawMessage) {
		folder := path.Dir(at.File)
		if answers[folder].documents == nil {
			answers[folder] = said{documents: map[string]string{}}
		}
		answers[folder].documents[document] = string(doc)
	}
	for name, s := range platform.Services {
		add(s.Position, "service "+name, s.JSON)
	}
	for name, r := range platform.Requests {
		add(r.Position, "request "+name, r.JSON)
	}
	for _, v := range violations {
		if v.Level != reconciler.Deny {
			continue
		}
		answers[path.Dir(v.Position.File)] = said{refused: v.String()}
	}
	return answers
}

// cueAnswers asks the cue command about every folder, each in a process of its
// own: one would stop at the first folder that it refuses.
func cueAnswers(t *testing.T, cue string, files map[string]string, folders []string) map[string]said {
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "CUE_REGISTRY=none", "CUE_CACHE_DIR="+t.TempDir())
	all := make([]said, len(folders))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, folder := range folders {
		work.Go(func() error {
			run := func(args ...string) ([]byte, error) {
				cmd := exec.CommandContext(t.Context(), cue, append(args, "./"+folder)...)
				cmd.Dir, cmd.Env = root, env
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
					all[i].refused = stderr.String()
					return nil, nil
				}
				return out, err
			}
			if _, err := run("vet", "-c"); err != nil || all[i].refused != "" {
				return err
			}
			out, err := run("export")
			if err != nil || all[i].refused != "" {
				return err
			}
			all[i].documents, err = documentsOf(out)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	answers := map[string]said{}
	for i, folder := range folders {
		answers[folder] = all[i]
	}
	return answers
}

// documentsOf returns the documents of exported folders, their fields sorted.
func documentsOf(export []byte) (map[string]string, error) {
	documents := map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(export))
	for {
		var root struct{ Service, Request map[string]json.RawMessage }
		if err := dec.Decode(&root); err == io.EOF {
			return documents, nil
		} else if err != nil {
			return nil, err
		}
		for kind, all := range map[string]map[string]json.RawMessage{"service": root.Service, "request": root.Request} {
			for name, doc := range all {
				sorted, err := sortFields(doc)
				if err != nil {
					return nil, err
				}
				// A document is what it is in the folder that declares it, which
				// comes before the folders below.
				if key := kind + " " + name; documents[key] == "" {
					documents[key] = string(sorted)
				}
			}
		}
	}
}

// cueCommand returns the cue command that the comparison is with.
func cueCommand(t *testing.T) string {
	if testing.Short() {
		t.Skip("needs the cue command, which is built: make test")
	}
	if program := os.Getenv("PAVE_TEST_CUE"); program != "" {
		return program
	}
	program, err := exec.LookPath("cue")
	if err != nil {
		t.Fatal("there is no cue command on the PATH: run: go run ./testdata/tools/get cue")
	}
	return program
}

// archiveFiles returns the files of an archive, with the schema beside them.
func archiveFiles(t *testing.T, name string) map[string]string {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{schema.Folder + "/schema.cue": string(schema.Source)}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

// exampleFiles returns the files of an example: its platform and its documents.
func exampleFiles(t *testing.T, dir string) (platform, documents map[string]string) {
	platform, documents = map[string]string{}, map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		content, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if strings.HasPrefix(name, "catalog/") && strings.HasSuffix(name, ".cue") {
			documents[name] = string(content)
		} else {
			platform[name] = string(content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return platform, documents
}
