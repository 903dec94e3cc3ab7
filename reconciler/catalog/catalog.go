// Package catalog evaluates a platform repository with CUE.
//
// The parent process parses files and tells what each is; it evaluates
// nothing. Evaluation happens in a child with a memory limit and a deadline,
// because the evaluator can be neither cancelled nor bounded: a file of 500
// bytes may ask for gigabytes. A file of literals is checked entry by entry
// against the schema compiled once (the data tier); every other file is
// evaluated together with its folder, as plain `cue` does (the code tier). Both
// give the same answer.
package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/schema"
)

// BlueprintFolder is the folder whose subfolders are the blueprints.
const BlueprintFolder = "blueprints"

// Evaluator implements reconciler.Evaluator. It remembers the answers of its
// last pass, so that what did not change is not evaluated again. It may be used
// by one goroutine at a time.
type Evaluator struct {
	command  []string
	deadline time.Duration
	parsed   syntax // for Locate

	mu       sync.Mutex
	cache    map[digest]*answer // by the digest of everything the answer depends on
	layout   *layout            // of the last tree
	gathered gathered           // from it
	news     int                // how many answers came since they were remembered
	held     *shelves           // on which all of that stands
	place    *place             // of the child that waits for the next pass
}

// New returns an evaluator whose children are started with the command: the
// Pave binary and the verb that calls Serve. One job of a child may take as
// long as the deadline; zero means ten seconds.
func New(command []string, deadline time.Duration) *Evaluator {
	if deadline == 0 {
		deadline = 10 * time.Second
	}
	return &Evaluator{command: command, deadline: deadline, cache: map[digest]*answer{}, held: &shelves{}, place: &place{}}
}

// Answers returns what the last pass remembers, for another process of the same
// binary to Know; nothing while a pass goes on.
func (e *Evaluator) Answers() (json.RawMessage, error) {
	if !e.mu.TryLock() {
		return nil, nil
	}
	defer e.mu.Unlock()
	return json.Marshal(e.cache)
}

// Know has the next pass find the answers of another evaluator, which are
// believed: they must come from a process that evaluated what is trusted.
func (e *Evaluator) Know(answers json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(answers) == 0 {
		return nil
	}
	if err := json.Unmarshal(answers, &e.cache); err != nil {
		return fmt.Errorf("read the answers of another evaluator: %w", err)
	}
	return nil
}

// Evaluate returns the platform of the tree and all its violations. Documents
// with violations are absent from the platform.
func (e *Evaluator) Evaluate(ctx context.Context, tree *reconciler.Tree) (*reconciler.Platform, []reconciler.Violation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gathered.worn() {
		e.renew()
	}
	layout, violations := survey(tree, e.layout, e.held)
	if layout == nil || layout.broken {
		return nil, reconciler.SortViolations(violations), nil
	}
	e.layout = layout
	jobs, answers, err := e.evaluate(ctx, tree)
	if err != nil {
		return nil, nil, fmt.Errorf("evaluate the platform: %w", err)
	}
	governance := answers[0].Governance
	for _, a := range answers {
		violations = append(violations, a.Violations...)
	}
	if governance == nil {
		return nil, reconciler.SortViolations(violations), nil
	}
	platform, err := governance.platform()
	if err != nil {
		return nil, nil, err
	}
	layout.place(platform)
	violations = append(violations, layout.unlisted(platform)...)
	next, vs := e.gathered.next(platform, jobs[1:], answers[1:], e.held)
	e.gathered = next
	violations = append(violations, vs...)
	return platform, reconciler.SortViolations(violations), nil
}

// renew puts all that is remembered on new shelves. What was made of it before stays
// what it was.
func (e *Evaluator) renew() {
	held := &shelves{}
	layout := *e.layout
	layout.catalog, layout.asked, layout.folders = make(map[string]*file, len(e.layout.catalog)), nil, nil
	for path, f := range e.layout.catalog {
		layout.catalog[path] = held.file(*f)
	}
	cache := make(map[digest]*answer, len(e.cache))
	for key, a := range e.cache {
		cache[key] = held.answer(*a, layout.catalog)
	}
	e.layout, e.cache, e.gathered, e.held = &layout, cache, gathered{}, held
}

// evaluate returns the jobs of the layout, with the answers to them. A folder in
// which a document uses what no blueprint is known to hand out is evaluated as one
// that computes.
func (e *Evaluator) evaluate(ctx context.Context, tree *reconciler.Tree) ([]*job, []*answer, error) {
	next := make(map[digest]*answer, len(e.cache))
	jobs := e.layout.jobs(nil, e.held)
	answers, err := e.answers(ctx, tree, jobs, next)
	if err != nil {
		return nil, nil, err
	}
	computing := map[string]bool{}
	for i, a := range answers {
		if a.Unsure {
			computing[jobs[i].Folder] = true
		}
	}
	if len(computing) > 0 {
		jobs = e.layout.jobs(computing, e.held)
		if answers, err = e.answers(ctx, tree, jobs, next); err != nil {
			return nil, nil, err
		}
	}
	e.cache = next
	return jobs, answers, nil
}

// answers returns the answer to each job, from the last pass or from a child, and
// keeps it in next.
func (e *Evaluator) answers(ctx context.Context, tree *reconciler.Tree, jobs []*job, next map[digest]*answer) ([]*answer, error) {
	answers := make([]*answer, len(jobs))
	var missing []int
	basis := jobs[0].digest(digest{})
	keys := make([]digest, len(jobs))
	for i := range jobs {
		keys[i] = jobs[i].keyBy(basis)
		a, found := next[keys[i]]
		if !found {
			a, found = e.cache[keys[i]]
		}
		if found {
			answers[i] = a
			next[keys[i]] = a
		} else {
			missing = append(missing, i)
		}
	}
	e.news += len(missing)
	if len(missing) > 0 {
		todo := []job{*jobs[0]} // every child begins with the governance
		for _, i := range missing {
			if i > 0 {
				todo = append(todo, *jobs[i])
			}
		}
		for i := range todo {
			if err := todo[i].load(tree); err != nil {
				return nil, err
			}
		}
		fresh, err := e.ask(ctx, basis, todo)
		if err != nil {
			return nil, err
		}
		if missing[0] == 0 {
			answers[0] = fresh[0]
			next[keys[0]] = fresh[0]
		}
		fresh = fresh[1:]
		for _, i := range missing {
			if i > 0 {
				answers[i], fresh = fresh[0], fresh[1:]
				next[keys[i]] = answers[i]
			}
		}
	}
	return answers, nil
}

// job is one piece of work for a child. The first job of a child is always the
// governance; the others are judged by it.
type job struct {
	Kind   string            `json:"kind"`   // governance, data or folder
	Folder string            `json:"folder"` // for a folder: which one
	Files  map[string]string `json:"files"`  // content by path in the repository
	// Own are the paths of Files whose documents this job answers for.
	Own []string `json:"own,omitempty"`
	// Blueprints are the names of the blueprint folders.
	Blueprints []string `json:"blueprints,omitempty"`
	// Uses are the requests whose outputs are used, with their blueprints.
	Uses reconciler.Fields[string] `json:"uses,omitempty"`
	// sources are what its documents name as theirs. The answer does not depend
	// on them.
	sources []string
	// key is what digest returned last, for the basis.
	key, basis digest
	// reads are the files of documents that become Files once a child is to do the
	// job; the governance, which has Files from the start, has none.
	reads []*file
}

// load reads what the child gets.
func (j *job) load(tree *reconciler.Tree) error {
	if len(j.reads) == 0 {
		return nil
	}
	j.Files = make(map[string]string, len(j.reads))
	for _, f := range j.reads {
		content, err := tree.Read(f.File)
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Path, err)
		}
		j.Files[f.Path] = string(content)
	}
	return nil
}

// The kinds of jobs.
const (
	governanceJob = "governance"
	dataJob       = "data"
	folderJob     = "folder"
)

// keyBy returns the digest, as it was computed last where it is the same.
func (j *job) keyBy(basis digest) digest {
	if j.key == (digest{}) || j.basis != basis {
		j.key, j.basis = j.digest(basis), basis
	}
	return j.key
}

func (j job) digest(basis digest) digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%x\x00%s\x00%s\x00", schema.Digest(), basis, j.Kind, j.Folder)
	for _, name := range slices.Sorted(maps.Keys(j.Files)) {
		fmt.Fprintf(h, "%s\x00%d\x00%s", name, len(j.Files[name]), j.Files[name])
	}
	for _, f := range j.reads {
		fmt.Fprintf(h, "\x00%s\x00%s", f.Path, f.id)
	}
	fmt.Fprintf(h, "\x00%q%q%q", j.Own, j.Blueprints, j.Uses)
	return digest(h.Sum(nil))
}

// digest identifies what an answer depends on.
type digest [sha256.Size]byte

// MarshalText writes it as the key of an object.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *digest) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	if err != nil || copy(d[:], decoded) != len(decoded) || len(decoded) != len(d) {
		return fmt.Errorf("read the key of an answer: %.80q is none", text)
	}
	return nil
}

// answer is what a child says to one job.
type answer struct {
	Violations []reconciler.Violation `json:"violations,omitempty"`
	Documents  []document             `json:"documents,omitempty"`
	Governance *governance            `json:"governance,omitempty"`
	// Unsure tells that the folder must be evaluated together to know.
	Unsure bool `json:"unsure,omitempty"`
	// exceeded tells that no child could finish the job, which may be the child's
	// or the machine's fault.
	exceeded bool
}

// document is one evaluated service or request; its JSON is nil where it was refused.
type document struct {
	Kind     string              `json:"kind"`
	Name     string              `json:"name"`
	JSON     json.RawMessage     `json:"json,omitempty"` // its fields sorted
	Position reconciler.Position `json:"position"`
}

// governance is the evaluated root of a platform repository.
type governance struct {
	Settings     document             `json:"settings"`
	Teams        []document           `json:"teams"`
	Environments []document           `json:"environments"`
	Blueprints   []evaluatedBlueprint `json:"blueprints"`
	read         *reconciler.Platform // once it was
}

type evaluatedBlueprint struct {
	document
	Inputs map[string]reconciler.Input `json:"inputs"`
	Folder string                      `json:"folder"`
}

// platform returns the governance as a platform without services and requests.
func (g *governance) platform() (*reconciler.Platform, error) {
	if g.read == nil {
		p, err := g.decode()
		if err != nil {
			return nil, err
		}
		g.read = p
	}
	p := *g.read
	p.Blueprints = maps.Clone(p.Blueprints) // which are placed
	p.Services, p.Requests = nil, nil       // which are gathered
	return &p, nil
}

func (g *governance) decode() (*reconciler.Platform, error) {
	p := &reconciler.Platform{
		Teams: map[string]reconciler.Team{}, Environments: map[string]reconciler.Environment{},
		Blueprints: map[string]reconciler.Blueprint{}, Services: map[string]*reconciler.Service{},
		Requests: map[string]*reconciler.Request{},
	}
	if err := json.Unmarshal(g.Settings.JSON, &p.Settings); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	p.Settings.Document = g.Settings.meta()
	for _, d := range g.Teams {
		t, err := decode[reconciler.Team](d)
		if err != nil {
			return nil, err
		}
		t.Document = d.meta()
		p.Teams[d.Name] = t
	}
	for _, d := range g.Environments {
		env, err := decode[reconciler.Environment](d)
		if err != nil {
			return nil, err
		}
		env.Document = d.meta()
		p.Environments[d.Name] = env
	}
	for _, d := range g.Blueprints {
		b, err := decode[reconciler.Blueprint](d.document)
		if err != nil {
			return nil, err
		}
		b.Folder, b.Inputs, b.Document = d.Folder, d.Inputs, d.meta()
		p.Blueprints[d.Name] = b
	}
	return p, nil
}

// decode reads a document into its type of the domain.
func decode[T any](d document) (T, error) {
	var v T
	if err := json.Unmarshal(d.JSON, &v); err != nil {
		return v, fmt.Errorf("read %s %s: %w", d.Kind, d.Name, err)
	}
	return v, nil
}

func (d document) meta() reconciler.Document {
	return reconciler.Document{JSON: d.JSON, Digest: reconciler.DocumentDigest(d.JSON), Position: d.Position}
}

// place gives blueprints whose evaluated value tells no position the one where
// their folder defines them.
func (l *layout) place(p *reconciler.Platform) {
	for name, b := range p.Blueprints {
		if at, found := l.blueprintAt[path.Base(b.Folder)]; found && b.Position.Line == 0 {
			b.Position = at
			p.Blueprints[name] = b
		}
	}
}

// unlisted reports the blueprint folders that platform.cue does not list, or
// lists under another name: what is said of a folder must reach its requests.
func (l *layout) unlisted(p *reconciler.Platform) []reconciler.Violation {
	var violations []reconciler.Violation
	listed := map[string]bool{}
	for _, b := range p.Blueprints {
		listed[b.Folder] = true
		if folder := path.Join(BlueprintFolder, b.Name); b.Folder != folder {
			violations = append(violations, reconciler.Violation{
				Level: reconciler.Deny, Scope: reconciler.ScopeBlueprint, Kind: "blueprint", Name: b.Name, Position: b.Position,
				Message: fmt.Sprintf("stands in %s: expected the folder %s", b.Folder, folder),
				Hint:    "rename the folder, or the blueprint",
			})
		}
	}
	for _, name := range l.blueprints {
		folder := path.Join(BlueprintFolder, name)
		if listed[folder] {
			continue
		}
		at, found := l.blueprintAt[name]
		if !found {
			at = reconciler.Position{File: folder + "/blueprint.cue"}
		}
		pkg := l.blueprintPackage[name]
		imported := l.module + "/" + folder
		if pkg != path.Base(folder) {
			imported += ":" + pkg
		}
		violations = append(violations, reconciler.Violation{
			Level: reconciler.Deny, Scope: reconciler.ScopeBlueprint, Kind: "blueprint", Name: name,
			Position: at,
			Message:  "is not listed in platform.cue, so no request can use it",
			Hint: fmt.Sprintf("add to the imports of platform.cue:  %q\nand below:  #blueprints: %q: %s.#Blueprint",
				imported, name, pkg),
		})
	}
	return violations
}

func folderOf(file string) string {
	if dir := path.Dir(file); dir != "." {
		return dir
	}
	return ""
}

// ancestors returns the folder and all above it, the root ("") first.
func ancestors(folder string) []string {
	all := []string{""}
	if folder == "" {
		return all
	}
	parts := strings.Split(folder, "/")
	for i := range parts {
		all = append(all, strings.Join(parts[:i+1], "/"))
	}
	return all
}
