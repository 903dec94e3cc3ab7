package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/catalog"
	"github.com/pave-dev/pave/reconciler/confine"
)

// What is found of a revision by what an earlier one was found to be is what is found
// by looking at all of it.
func TestCheckAgain(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			again(t, seed, 120)
		})
	}
}

// again makes so many random changes of a platform, one upon the other, and checks
// each twice.
func again(t *testing.T, seed uint64, changes int) {
	w := newWriter(t, seed)
	parts, anew := (&app{}).parts(), (&app{}).parts()
	parts.Evaluator.(*catalog.Evaluator).Stay(time.Minute)
	defer parts.Evaluator.(*catalog.Evaluator).Stay(0)
	inspections := &inspections{Inspector: parts.Inspector}
	parts.Inspector = inspections
	var earlier *reconciler.Checked
	refused := 0
	var said []string
	for n := range changes {
		said = append(said, fmt.Sprintf("%d: %s", n, w.change()))
		tree, revision := w.tree(), w.revision(n)
		found, err := reconciler.Check(t.Context(), parts, tree, revision, w.record, earlier)
		must(t, err)
		fresh := catalog.New(evaluator(), 0)
		if n%20 > 0 { // what CUE makes of a file is not in question
			answers, err := parts.Evaluator.(*catalog.Evaluator).Answers()
			must(t, err)
			must(t, fresh.Know(answers))
		}
		anew.Evaluator = fresh
		expected, err := reconciler.Check(t.Context(), anew, tree, revision, w.record, nil)
		must(t, err)
		if why := unlike(found, expected); why != "" {
			t.Fatalf("%s\nafter:\n%s", why, strings.Join(said, "\n"))
		}
		if found.Refused() {
			refused++
		} else if w.IntN(8) > 0 { // else it is not let into force
			earlier = found
			w.apply(found)
		}
	}
	if refused > changes/2 {
		t.Errorf("%d of %d revisions are refused, which leaves little to compare", refused, changes)
	}
	if inspections.made > changes/2 {
		t.Errorf("the code of the one blueprint was looked at %d times in %d revisions, of which few change it", inspections.made, changes)
	}
}

// inspections counts what an inspector is asked.
type inspections struct {
	reconciler.Inspector
	made int
}

func (i *inspections) Inspect(tree *reconciler.Tree, b reconciler.Blueprint) (reconciler.Module, []reconciler.Violation) {
	i.made++
	return i.Inspector.Inspect(tree, b)
}

// unlike says in what two checks of the same revision differ; nothing where they are
// alike.
func unlike(found, expected *reconciler.Checked) string {
	if found.Refused() != expected.Refused() || found.Complete != expected.Complete {
		return fmt.Sprintf("refused %v, complete %v, expected %v, %v", found.Refused(), found.Complete, expected.Refused(), expected.Complete)
	}
	for i, v := range found.Violations {
		if i >= len(expected.Violations) || !reflect.DeepEqual(v, expected.Violations[i]) {
			return fmt.Sprintf("violation %d: found %#v\nexpected %#v", i, v, expected.Violations[i:min(i+1, len(expected.Violations))])
		}
	}
	if missing := expected.Violations[len(found.Violations):]; len(missing) > 0 {
		return fmt.Sprintf("missed %v", missing)
	}
	if !reflect.DeepEqual(found.Platform, expected.Platform) {
		return "the platforms differ"
	}
	if have, want := slices.Sorted(maps.Keys(found.Units)), slices.Sorted(maps.Keys(expected.Units)); !slices.Equal(have, want) {
		return fmt.Sprintf("found the units %v\nexpected %v", have, want)
	}
	for name, u := range found.Units {
		if !reflect.DeepEqual(u, expected.Units[name]) {
			return fmt.Sprintf("found the unit %+v\nexpected %+v", u, expected.Units[name])
		}
	}
	return ""
}

// writer writes a platform, and changes it.
type writer struct {
	*rand.Rand
	files    map[string]string
	services map[string]*written
	requests map[string]*written
	record   *reconciler.Record
	day      time.Time
}

// written is a document. What it says are lines of CUE, by what they speak of.
type written struct {
	folder string
	says   map[string]string
}

func newWriter(t *testing.T, seed uint64) *writer {
	dir := t.TempDir()
	must(t, layOut(dir, "boxes"))
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 1)), files: map[string]string{}, services: map[string]*written{}, requests: map[string]*written{},
		record: reconciler.NewRecord(), day: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, failed := filepath.Rel(dir, path)
		w.files[filepath.ToSlash(name)] = string(content)
		return errors.Join(err, failed)
	}))
	w.teams()
	for range 40 {
		w.addService()
		w.addRequest()
	}
	return w
}

func (w *writer) tree() *reconciler.Tree {
	all := maps.Clone(w.files)
	for kind, documents := range map[string]map[string]*written{"service": w.services, "request": w.requests} {
		for name, d := range documents {
			all[fmt.Sprintf("catalog/%s/%s-%s.cue", d.folder, kind, name)] = d.cue(kind, name)
		}
	}
	tree := &reconciler.Tree{Read: func(f reconciler.File) ([]byte, error) { return []byte(all[f.Path]), nil }}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		tree.Files = append(tree.Files, reconciler.File{Path: path, Hash: fmt.Sprintf("%x", sha256.Sum256([]byte(all[path])))[:40], Size: int64(len(all[path]))})
	}
	return tree
}

func (d *written) cue(kind, name string) string {
	lines := []string{"package platform", "", fmt.Sprintf("%s: %q: {", kind, name)}
	for _, about := range slices.Sorted(maps.Keys(d.says)) {
		lines = append(lines, d.says[about])
	}
	return strings.Join(append(lines, "}", ""), "\n")
}

func (w *writer) revision(n int) reconciler.Revision {
	return reconciler.Revision{Commit: fmt.Sprintf("%040d", n), Time: w.day.Add(time.Duration(n) * time.Second)}
}

// one returns one of some texts.
func (w *writer) one(of ...string) string { return of[w.IntN(len(of))] }

func (w *writer) service() string { return fmt.Sprintf("service-%02d", w.IntN(24)) }
func (w *writer) request() string { return fmt.Sprintf("request-%02d", w.IntN(28)) }
func (w *writer) folder() string  { return w.one("payments", "payments/cards", "search") }

// some returns one of the documents that there are, by its name.
func (w *writer) some(documents map[string]*written) (string, *written) {
	names := slices.Sorted(maps.Keys(documents))
	if len(names) == 0 {
		return "", &written{says: map[string]string{}}
	}
	name := names[w.IntN(len(names))]
	return name, documents[name]
}

// wanted returns a name that some document speaks of and that none has, or any.
func (w *writer) wanted(name func() string) string {
	for range 20 {
		wanted := fmt.Sprintf("%q", name())
		unquoted := strings.Trim(wanted, `"`)
		if w.services[unquoted] != nil || w.requests[unquoted] != nil {
			continue
		}
		for _, documents := range []map[string]*written{w.services, w.requests} {
			for _, d := range documents {
				for _, line := range d.says {
					if strings.Contains(line, wanted) {
						return unquoted
					}
				}
			}
		}
	}
	return name()
}

func (w *writer) addService() {
	w.services[w.wanted(w.service)] = &written{w.folder(), map[string]string{"title": `title: "One"`, "owner": w.owner(), "type": `type: "service"`,
		"lifecycle": `lifecycle: "production"`, "tier": fmt.Sprintf("tier: %d", 1+w.IntN(4)), "dependsOn": w.dependsOn()}}
}

func (w *writer) addRequest() {
	service, _ := w.some(w.services)
	w.requests[w.wanted(w.request)] = &written{w.folder(), map[string]string{"blueprint": `blueprint: "box"`, "service": fmt.Sprintf("service: %q", service),
		"environment": w.environment(), "value": w.one(`inputs: value: "one"`, w.value())}}
}

func (w *writer) owner() string {
	return fmt.Sprintf("owner: %q", w.one("payments", "search", "platform"))
}

func (w *writer) dependsOn() string {
	return fmt.Sprintf("dependsOn: [%q, %q]", w.service(), w.service())
}

func (w *writer) value() string {
	return fmt.Sprintf("inputs: value: from: {request: %q, output: %q}", w.request(), w.one("value", "value", "value", "value", "key", "lost"))
}

func (w *writer) environment() string {
	return fmt.Sprintf("environment: %q", w.one("development", "staging", "production"))
}

func (w *writer) teams() {
	w.files["teams.cue"] = fmt.Sprintf("package platform\n\nteam: platform: {title: \"Platform\"%s}\nteam: payments: {title: \"Payments\", budget: %d}\nteam: search: title: \"Search\"\n",
		w.one("", `, onCall: "pagerduty:P1"`), 3+w.IntN(12))
}

// more is code of the blueprint, and wrong what nothing is made from.
const (
	more  = "blueprints/box/more.tf"
	wrong = "variable \"other\" {}\n"
)

// change changes one thing, and says what.
func (w *writer) change() string {
	if w.files[more] == wrong && w.IntN(3) == 0 {
		w.files[more] = ""
		return more + " is put right"
	}
	service, s := w.some(w.services)
	request, r := w.some(w.requests)
	change := func(name string, d *written, about, line string) string {
		if d.says[about] = line; w.IntN(3) == 0 {
			delete(d.says, about)
			line = "no " + about
		}
		return name + " says " + line
	}
	switch w.IntN(32) {
	case 0, 1:
		w.addService()
		return "add a service"
	case 2, 3:
		w.addRequest()
		return "add a request"
	case 4:
		delete(w.services, service)
		return "remove " + service
	case 5:
		delete(w.requests, request)
		return "remove " + request
	case 6:
		return change(service, s, "dependsOn", w.dependsOn())
	case 7, 30, 31:
		return change(service, s, "aliases", fmt.Sprintf("aliases: [%q]", w.wanted(w.service)))
	case 8:
		s.says["owner"] = w.owner()
		return service + " says " + s.says["owner"]
	case 9, 10:
		r.says["value"] = w.one(`inputs: value: "two"`, w.value(), w.value())
		return request + " says " + r.says["value"]
	case 11:
		return change(request, r, "key", fmt.Sprintf("inputs: key: from: {request: %q, output: \"key\"}", w.request()))
	case 12:
		return change(request, r, "renamedFrom", fmt.Sprintf("renamedFrom: %q", w.request()))
	case 13:
		return change(request, r, "shareWith", fmt.Sprintf("shareWith: [%q]", w.one("payments", "search", "nobody")))
	case 14:
		r.says["service"] = fmt.Sprintf("service: %q", w.service())
		return request + " says " + r.says["service"]
	case 15:
		r.says["environment"] = w.environment()
		return request + " says " + r.says["environment"]
	case 16:
		return change(request, r, "expires", fmt.Sprintf("expires: \"2027-03-%02d\"", 1+w.IntN(28)))
	case 17: // moves fields and not the document
		return change(request, r, "a remark", "// A remark.")
	case 18:
		return change(request, r, "wrong", "inputs: nonsense: 1")
	case 19:
		s.folder = w.folder()
		return service + " is in " + s.folder
	case 20: // under another name
		other := w.request()
		delete(w.requests, request)
		r.says["renamedFrom"] = fmt.Sprintf("renamedFrom: %q", request)
		w.requests[other] = r
		return request + " becomes " + other
	case 21:
		w.files["catalog/twice.cue"] = w.one("package platform\n", "package platform\n// Nothing.\n", fmt.Sprintf("package platform\n\nservice: %q: {title: \"Two\", owner: \"search\", type: \"job\", lifecycle: \"production\"}\n", service), "package platform\n\nservice: {\n")
		return "twice.cue is " + w.files["catalog/twice.cue"]
	}
	return w.govern()
}

// govern changes what every document is judged by, now and then.
func (w *writer) govern() string {
	switch w.IntN(12) {
	case 0:
		w.teams()
		return "teams.cue is " + w.files["teams.cue"]
	case 1:
		w.files["platform.cue"] = strings.Split(w.files["platform.cue"], "\nplatform: guards")[0] + w.one("", "\nplatform: guards: maxDeletes: 7\n", "\nplatform: guards: requirePullRequest: false\n")
		return "platform.cue is another one"
	case 2:
		box := w.files["blueprints/box/blueprint.cue"]
		for _, price := range []string{"monthly: 1\n", "monthly: 4\n"} {
			box = strings.Replace(box, price, w.one("monthly: 1\n", "monthly: 4\n"), 1)
		}
		for _, outputs := range []string{"{value: {}, key: sensitive: true}", "{value: {}, key: {}}"} {
			box = strings.Replace(box, outputs, w.one("{value: {}, key: sensitive: true}", "{value: {}, key: {}}"), 1)
		}
		w.files["blueprints/box/blueprint.cue"] = box
		return "the blueprint is another one"
	case 3:
		w.files["policies/own.rego"] = w.policy()
		return "own.rego is " + w.files["policies/own.rego"]
	case 4:
		w.files[more] = w.one("locals { one = 1 }\n", "locals { two = 2 }\n", wrong)
		return more + " is " + w.files[more]
	}
	w.addRequest()
	return "add a request"
}

func (w *writer) policy() string {
	return "package acme.own\n\n" + w.one("",
		"warn contains {\"msg\": \"is for production\", \"path\": [\"environment\"]} if input.document.environment == \"production\"\n",
		"deny contains sprintf(\"comes at %v\", [input.now]) if input.document.tier == 1\n",
		"require_approval contains {\"msg\": \"is of tier 1\", \"team\": \"nobody\"} if input.document.tier == 1\n\ndeny contains \"needs too much\" if input.dependencies[_].tier > input.document.tier\n")
}

// apply records some of what a revision asks for, and lets time pass.
func (w *writer) apply(c *reconciler.Checked) {
	for _, name := range slices.Sorted(maps.Keys(c.Platform.Services)) {
		if w.record.Services[name] == nil && w.IntN(2) == 0 {
			w.record.Services[name] = &reconciler.ServiceStatus{Version: 1, Service: name}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Units)) {
		if w.IntN(3) > 0 {
			continue
		}
		u := c.Units[name]
		w.record.Units[name] = &reconciler.UnitStatus{Version: 1, Request: name, Owner: u.Service.Owner, Document: u.Request.JSON, Cost: u.Request.Cost.Monthly,
			State: reconciler.State{Address: "local:" + name, Lineage: name, Serial: 1}}
	}
	if name := w.request(); w.IntN(4) == 0 {
		delete(w.record.Units, name)
	}
	if w.IntN(12) == 0 {
		w.day = w.day.AddDate(0, 0, 1)
	}
}

// evaluator is the command that evaluates CUE.
func evaluator() []string { return []string{confine.Path, evalVerb} }
