package catalog

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/schema"
)

// MaxFile is the size of the largest CUE file that is read, in bytes.
const MaxFile = 64 << 10

// Package is the CUE package of every file that is not a blueprint's.
const Package = "platform"

// layout says what every CUE file of a tree is.
type layout struct {
	module           string            // the CUE module's path, without its version
	support          map[string]string // cue.mod and the blueprints' CUE
	root             map[string]string // the governance at the root
	catalog          map[string]*file  // the files of documents
	blueprints       []string
	blueprintPackage map[string]string
	blueprintAt      map[string]reconciler.Position // where each is defined
	folders          map[string][]string            // the paths of documents, sorted, by folder; nil until jobs are made
	asked            map[string]*asked              // by folder; of the layout before, until jobs are made
	tree             *reconciler.Tree               // of which there was nothing to say, and which knows what changes; else nil
	// broken tells that a file of the root was not read: what would be said of
	// the rest follows from that.
	broken bool
}

// file is one parsed file of documents.
type file struct {
	reconciler.File
	folder  string
	id      string // of its content
	literal bool   // nothing but literal documents
	// Of a file of literals: its requests, each with the blueprint of which it is
	// sure, and the requests whose outputs it uses.
	requests []offer
	uses     []string
}

// offer is a request and its blueprint; empty where nobody is sure of that.
type offer struct{ Name, Blueprint string }

func newFile(f reconciler.File, id string, entries []entry, literal bool) file {
	read := file{File: f, folder: folderOf(f.Path), id: id, literal: literal}
	for _, e := range entries {
		if !literal || e.kind != "request" {
			continue
		}
		read.requests = append(read.requests, offer{e.name, e.handsOut()})
		for _, u := range e.uses {
			read.uses = append(read.uses, u.request)
		}
	}
	slices.Sort(read.uses)
	read.uses = slices.Compact(read.uses)
	return read
}

// handsOut returns the blueprint that says what outputs a request has; empty where
// the request may say so itself.
func (e entry) handsOut() string {
	for _, field := range []string{"name", "outputs"} {
		if _, said := e.value[field]; said {
			return ""
		}
	}
	blueprint, _ := e.value["blueprint"].(string)
	return blueprint
}

// survey sorts the files of a tree, reading each once, but for files of documents
// that an earlier layout has as they are. It returns a nil layout where the tree is
// no platform at all.
func survey(tree *reconciler.Tree, earlier *layout, held *shelves) (*layout, []reconciler.Violation) {
	s := surveyor{tree: tree, earlier: earlier, held: held, layout: &layout{
		support: map[string]string{}, root: map[string]string{}, catalog: map[string]*file{},
		blueprintPackage: map[string]string{}, blueprintAt: map[string]reconciler.Position{},
	}}
	if len(tree.Files) == 0 {
		s.deny(reconciler.ScopeRevision, reconciler.Position{}, "the repository is empty: `git revert` the commit that emptied it, or begin with `pave init`", "")
		return nil, s.violations
	}
	if _, found := tree.Find("platform.cue"); !found {
		s.deny(reconciler.ScopeRevision, reconciler.Position{}, "there is no platform.cue at the root: this is not a platform repository",
			"run `pave init`, or say --repo with the repository that holds the platform")
		return nil, s.violations
	}
	if earlier != nil {
		if next := earlier.next(tree, held); next != nil {
			return next, nil
		}
		s.layout.asked = earlier.asked
	}
	s.checkSpelling()
	for _, f := range tree.Files {
		s.file(f)
	}
	s.checkBlueprints()
	s.checkModule()
	if len(s.violations) == 0 && !slices.ContainsFunc(tree.Files, func(f reconciler.File) bool { return f.Hash == "" }) {
		s.layout.tree = tree
	}
	return s.layout, s.violations
}

// next returns the layout of a tree that differs in files of documents that were
// there before, and of which there is nothing to say either; nil of any other.
func (l *layout) next(tree *reconciler.Tree, held *shelves) *layout {
	if l.tree == nil {
		return nil
	}
	next := *l
	next.tree, next.catalog = tree, maps.Clone(l.catalog)
	s := surveyor{tree: tree, earlier: l, held: held, layout: &next}
	for _, path := range reconciler.ChangedPaths(l.tree, tree) {
		f, found := tree.Find(path)
		if l.catalog[path] == nil || !found || folderOf(path) == "" {
			return nil
		}
		if s.file(f); len(s.violations) > 0 {
			return nil
		}
	}
	return &next
}

type surveyor struct {
	tree       *reconciler.Tree
	earlier    *layout // nil where there is none
	layout     *layout
	held       *shelves
	violations []reconciler.Violation
}

func (s *surveyor) deny(scope reconciler.Scope, at reconciler.Position, message, hint string) {
	v := reconciler.Violation{Level: reconciler.Deny, Scope: scope, Position: at, Message: message, Hint: hint}
	if name, ok := blueprintOf(at.File); ok && scope == reconciler.ScopeBlueprint {
		v.Kind, v.Name = "blueprint", name
	}
	s.violations = append(s.violations, v)
}

// checkSpelling refuses paths that are one file on some computers.
func (s *surveyor) checkSpelling() {
	seen := make(map[string]string, len(s.tree.Files))
	for _, f := range s.tree.Files {
		folded := strings.ToLower(f.Path)
		if other, found := seen[folded]; found {
			s.deny(scopeOf(f.Path), reconciler.Position{File: f.Path},
				fmt.Sprintf("differs from %s only by upper and lower case", other), "rename one of them")
		}
		seen[folded] = f.Path
	}
}

// file sorts one file.
func (s *surveyor) file(f reconciler.File) {
	at := reconciler.Position{File: f.Path}
	if _, ok := blueprintOf(f.Path); ok && !strings.HasSuffix(f.Path, ".cue") && (f.Mode == reconciler.Symlink || f.Mode == reconciler.Submodule) {
		return // the inspector refuses it with the rest of the blueprint
	}
	switch f.Mode {
	case reconciler.Symlink:
		s.deny(scopeOf(f.Path), at, "is a symbolic link, which is never followed", "commit a regular file in its place")
		return
	case reconciler.Submodule:
		s.deny(scopeOf(f.Path), at, "is a submodule, which is never fetched", "commit the files themselves")
		return
	}
	switch ext := path.Ext(f.Path); {
	case strings.EqualFold(ext, ".cue"):
		s.cueFile(f)
	case ext == ".yaml" || ext == ".yml" || ext == ".json":
		s.otherData(f)
	case ext == ".rego" && !strings.HasPrefix(f.Path, "policies/"):
		s.deny(reconciler.ScopeRevision, at, "is a policy outside policies/, where it would never be read", "move it to policies/")
	}
}

func (s *surveyor) cueFile(f reconciler.File) {
	at := reconciler.Position{File: f.Path}
	if known := s.known(f); known != nil {
		s.layout.catalog[f.Path] = known
		return
	}
	content, ok := s.read(f)
	if !ok {
		return
	}
	if strings.HasPrefix(f.Path, "cue.mod/") {
		s.layout.support[f.Path] = content
		return
	}
	if name, ok := blueprintOf(f.Path); ok {
		s.blueprintFile(f, name, content)
		return
	}
	if entries, literal := quickEntries(f.Path, content); literal && s.named(f.Path) {
		s.take(f, content, entries, literal)
		return
	}
	parsed, err := parser.ParseFile(f.Path, content, parser.ParseComments)
	if err != nil {
		s.syntax(f.Path, err)
	}
	if err != nil || !s.readable(f.Path, parsed) {
		s.layout.broken = s.layout.broken || folderOf(f.Path) == ""
		return
	}
	kinds := documentKinds(parsed.Decls)
	if kinds.unknown != "" {
		v := reconciler.Violation{Level: reconciler.Deny, Scope: scopeOf(f.Path), Position: position(kinds.unknownAt),
			Message: fmt.Sprintf("unknown kind of document %q: expected one of: %s", kinds.unknown, strings.Join(reconciler.Nearest(kinds.unknown, knownKinds, 8), ", "))}
		if near := reconciler.Nearest(kinds.unknown, knownKinds, 1)[0]; reconciler.Similar(kinds.unknown, near) {
			v.Hint = fmt.Sprintf("write %s in place of %s", near, kinds.unknown)
		}
		s.violations = append(s.violations, v)
		if folderOf(f.Path) != "" {
			return
		}
	}
	if folderOf(f.Path) == "" {
		if kinds.documents && kinds.governance {
			s.deny(reconciler.ScopeRevision, at, "holds services or requests beside the platform's own settings",
				"move the services and requests to a file of their own, such as catalog/"+path.Base(f.Path))
			s.layout.broken = true
			return
		}
		if !kinds.documents {
			s.layout.root[f.Path] = content
			return
		}
	}
	if kinds.governance {
		pos := position(kinds.at)
		s.deny(reconciler.ScopeFile, pos, fmt.Sprintf("declares %q, which belongs to the root of the repository", kinds.name),
			"move it to platform.cue, teams.cue or environments.cue")
		return
	}
	entries, literal := literalEntries(parsed)
	s.take(f, content, entries, literal)
}

// take takes a file of documents.
func (s *surveyor) take(f reconciler.File, content string, entries []entry, literal bool) {
	id := f.Hash
	if id == "" {
		id = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	}
	s.layout.catalog[f.Path] = s.held.file(newFile(f, id, entries, literal))
}

// known returns the file as an earlier layout has it, of which there was nothing to
// say. A file at the root is looked at anew: of that there may have been.
func (s *surveyor) known(f reconciler.File) *file {
	if s.earlier == nil || f.Hash == "" || folderOf(f.Path) == "" {
		return nil
	}
	if known := s.earlier.catalog[f.Path]; known != nil && known.File == f {
		return known
	}
	return nil
}

// read returns the content of a regular file, or reports why not.
func (s *surveyor) read(f reconciler.File) (string, bool) {
	at := reconciler.Position{File: f.Path}
	if f.Size > MaxFile {
		s.deny(scopeOf(f.Path), at, fmt.Sprintf("has %d bytes; a CUE file may have %d", f.Size, MaxFile), "split it")
		return "", false
	}
	content, err := s.tree.Read(f)
	if err != nil {
		s.deny(scopeOf(f.Path), at, fmt.Sprintf("cannot be read: %v", err), "")
		return "", false
	}
	return string(content), true
}

func (s *surveyor) syntax(file string, err error) {
	for _, p := range cueProblems(errors.Errors(err)) {
		at := p.position
		if at.File == "" {
			at.File = file
		}
		s.deny(scopeOf(file), at, "syntax error: "+p.message, p.hint)
	}
}

// readable refuses files that plain CUE would pass over without a word: a
// document that stops being read must never look like a deletion.
func (s *surveyor) readable(file string, parsed *ast.File) bool {
	if !s.named(file) {
		return false
	}
	at := reconciler.Position{File: file, Line: 1, Column: 1}
	scope := scopeOf(file)
	if name := parsed.PackageName(); name == "" {
		s.deny(scope, at, "would be ignored: it has no package clause", "add as its first line:  package "+Package)
		return false
	} else if name != Package {
		s.deny(scope, at, fmt.Sprintf("would be ignored: it is in package %q", name), "write:  package "+Package)
		return false
	}
	for _, d := range parsed.Decls {
		a, ok := d.(*ast.Attribute)
		switch {
		case !ok:
		case strings.HasPrefix(a.Text, "@if("), strings.HasPrefix(a.Text, "@ignore("):
			s.deny(scope, position(a.Pos()), fmt.Sprintf("might be ignored: it has the build attribute %s", a.Text), "remove the attribute")
			return false
		case strings.HasPrefix(a.Text, "@extern("):
			s.deny(scope, position(a.Pos()), fmt.Sprintf("takes in what is not CUE: it has the attribute %s", a.Text),
				"remove the attribute, and write what it takes in as CUE")
			return false
		}
	}
	return true
}

// named refuses a file that CUE would pass over for its name.
func (s *surveyor) named(file string) bool {
	at := reconciler.Position{File: file, Line: 1, Column: 1}
	scope := scopeOf(file)
	for _, part := range strings.Split(file, "/") {
		if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") {
			s.deny(scope, at, fmt.Sprintf("would be ignored: CUE does not read %q, whose name starts with %q", part, part[:1]), "rename it")
			return false
		}
	}
	for _, suffix := range []string{"_test.cue", "_tool.cue"} {
		if strings.HasSuffix(file, suffix) {
			s.deny(scope, at, fmt.Sprintf("would be ignored: CUE reads no file whose name ends in %q here", suffix), "rename it")
			return false
		}
	}
	if !strings.HasSuffix(file, ".cue") {
		s.deny(scope, at, "would be ignored: CUE reads only files that end in \".cue\", in lower case", "rename it")
		return false
	}
	return true
}

// blueprintFile takes a file of a blueprint; the child parses and judges it.
func (s *surveyor) blueprintFile(f reconciler.File, name, content string) {
	s.layout.support[f.Path] = content
	if path.Dir(f.Path) != path.Join(BlueprintFolder, name) {
		return
	}
	if !slices.Contains(s.layout.blueprints, name) {
		s.layout.blueprints = append(s.layout.blueprints, name)
	}
	parsed, err := parser.ParseFile(f.Path, content)
	if err != nil {
		return // the child reports it
	}
	if parsed.PackageName() != "" {
		s.layout.blueprintPackage[name] = parsed.PackageName()
	}
	if field, found := findField(parsed.Decls, []string{"#Blueprint"}); found {
		s.layout.blueprintAt[name] = position(field.Label.Pos())
	}
}

// checkBlueprints refuses folders of Terraform that no CUE describes: nobody
// could ask for them, and nothing would say so.
func (s *surveyor) checkBlueprints() {
	described := slices.Clone(s.layout.blueprints)
	for _, f := range s.tree.Files {
		name, ok := blueprintOf(f.Path)
		folder := path.Join(BlueprintFolder, name)
		terraform := strings.HasSuffix(f.Path, ".tf") || strings.HasSuffix(f.Path, ".tf.json")
		if !ok || !terraform || path.Dir(f.Path) != folder || slices.Contains(described, name) {
			continue
		}
		described = append(described, name)
		s.deny(reconciler.ScopeBlueprint, reconciler.Position{File: f.Path}, "holds Terraform, but no blueprint.cue that describes it",
			fmt.Sprintf("write in %s/blueprint.cue:  #Blueprint: schema.#Blueprint & {name: %q, …}", folder, name))
	}
}

var documentLine = reconciler.Pattern(`(?m)^["']?(service|request|team|environment|platform)["']?:`)

// otherData refuses YAML and JSON that look like documents.
func (s *surveyor) otherData(f reconciler.File) {
	if f.Size > MaxFile || strings.HasPrefix(f.Path, BlueprintFolder+"/") {
		return
	}
	content, err := s.tree.Read(f)
	if err != nil {
		return
	}
	looks := documentLine().Match(content)
	if path.Ext(f.Path) == ".json" {
		var fields map[string]json.RawMessage
		looks = json.Unmarshal(content, &fields) == nil && (fields["service"] != nil || fields["request"] != nil)
	}
	if looks {
		s.deny(reconciler.ScopeFile, reconciler.Position{File: f.Path, Line: 1, Column: 1},
			"looks like documents, but only CUE is read", "write it as CUE: `cue import "+f.Path+"` converts it")
	}
}

// moduleFile describes the CUE module of a repository.
const moduleFile = "cue.mod/module.cue"

var moduleLine = reconciler.Pattern(`(?m)^module:\s*"([^"@]+)(@[^"]*)?"`)

// modulePath returns the path of the module, without its version.
func modulePath(file string) string {
	if m := moduleLine().FindStringSubmatch(file); m != nil {
		return m[1]
	}
	return ""
}

// checkModule finds the CUE module and compares the vendored schema.
func (s *surveyor) checkModule() {
	content, found := s.layout.support[moduleFile]
	if !found {
		s.deny(reconciler.ScopeRevision, reconciler.Position{File: moduleFile}, "is missing: CUE finds the schema and the blueprints through it",
			"write:  module: \"example.org/platform@v0\"\n        language: version: \"v0.17.0\"")
		s.layout.broken = true
		return
	}
	s.layout.module = modulePath(content)
	vendored := schema.Folder + "/schema.cue"
	switch content, found := s.layout.support[vendored]; {
	case !found:
		s.deny(reconciler.ScopeRevision, reconciler.Position{File: vendored}, "is missing: plain `cue` and editors need the schema", "run `pave upgrade`")
	case content != string(schema.Source):
		s.deny(reconciler.ScopeRevision, reconciler.Position{File: vendored}, "differs from the schema of this version of Pave", "run `pave upgrade`")
	}
	for name := range s.layout.support {
		if strings.HasPrefix(name, schema.Folder+"/") && name != vendored {
			s.deny(reconciler.ScopeRevision, reconciler.Position{File: name}, "is not part of the schema", "remove it, or run `pave upgrade`")
			delete(s.layout.support, name)
		}
	}
	s.layout.support[vendored] = string(schema.Source)
}

// jobs returns the work of a pass: the governance, then a job for each literal
// file, and one for each folder that computes, by itself or because it is among
// those that computing names.
func (l *layout) jobs(computing map[string]bool, held *shelves) []*job {
	governed := job{Kind: governanceJob, Files: map[string]string{}, Blueprints: l.blueprints}
	for name, content := range l.support {
		governed.Files[name] = content
	}
	for name, content := range l.root {
		governed.Files[name] = content
	}
	jobs := []*job{&governed}
	if l.folders == nil {
		l.folders = map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(l.catalog)) {
			folder := l.catalog[name].folder
			l.folders[folder] = append(l.folders[folder], name)
		}
	}
	byFolder := l.folders
	asked := map[string]*asked{}
	plain := map[string]bool{}
	folders := slices.Sorted(maps.Keys(byFolder))
	for _, folder := range folders { // those above come first
		asked[folder] = l.ask(byFolder, folder, held)
		plain[folder] = !computing[folder] && asked[folder].plain
	}
	for _, folder := range folders {
		a := asked[folder]
		computes := slices.ContainsFunc(ancestors(folder), func(f string) bool { return len(byFolder[f]) > 0 && !plain[f] })
		if a.jobs == nil || a.computes != computes {
			a.computes, a.jobs = computes, l.folderJobs(byFolder, folder, computes, held)
		}
		jobs = append(jobs, a.jobs...)
	}
	l.asked = asked
	return jobs
}

// asked is what is asked about a folder. As long as the files that it reads are the
// same, it is the same as well.
type asked struct {
	reads    []*file // of the folder and of those above
	plain    bool    // nothing is computed in the folder's own files
	computes bool    // something is, in these or in those above
	jobs     []*job
}

// ask returns what was asked about a folder, or begins anew.
func (l *layout) ask(byFolder map[string][]string, folder string, held *shelves) *asked {
	var reads []*file
	for _, above := range ancestors(folder) {
		for _, name := range byFolder[above] {
			reads = append(reads, l.catalog[name])
		}
	}
	if last := l.asked[folder]; last != nil && slices.Equal(last.reads, reads) {
		return last
	}
	return held.asked.HoldOne(asked{reads: held.reads.Hold(reads), plain: l.plain(byFolder[folder], l.scope(byFolder, folder))})
}

// folderJobs returns the jobs of one folder.
func (l *layout) folderJobs(byFolder map[string][]string, folder string, computes bool, held *shelves) []*job {
	own := byFolder[folder]
	if computes {
		j := job{Kind: folderJob, Folder: folder, Own: own, sources: sources(byFolder, folder, own...)}
		for _, above := range ancestors(folder) {
			for _, name := range byFolder[above] {
				j.reads = append(j.reads, l.catalog[name])
			}
		}
		return []*job{held.job(j)}
	}
	jobs := make([]*job, 0, len(own))
	known := l.scope(byFolder, folder)
	for _, name := range own {
		uses, declared := known.of(l.catalog[name].uses)
		j := job{Kind: dataJob, Folder: folder, Own: []string{name}, Uses: uses,
			reads: []*file{l.catalog[name]}, sources: sources(byFolder, folder, append(declared, name)...)}
		if last := l.asked[folder].job(name); last != nil && last.like(j) {
			jobs = append(jobs, last)
		} else {
			jobs = append(jobs, held.job(j))
		}
	}
	return jobs
}

// job returns the job of a file, where it was asked about by itself.
func (a *asked) job(file string) *job {
	if a == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(a.jobs, file, func(j *job, file string) int { return strings.Compare(j.Own[0], file) })
	if !found {
		return nil
	}
	return a.jobs[i]
}

// like tells whether two jobs are the same work about the same files.
func (j *job) like(other job) bool {
	return j.Kind == other.Kind && slices.Equal(j.reads, other.reads) && slices.Equal(j.Uses, other.Uses) && slices.Equal(j.sources, other.sources)
}

// scope holds the literal requests whose outputs a folder's documents may use.
type scope map[string]supplier

// supplier is a literal request: where it stands, and the blueprint that says what
// it hands out, empty where nobody is sure.
type supplier struct{ file, blueprint string }

// scope returns the requests of a folder and of those above it.
func (l *layout) scope(byFolder map[string][]string, folder string) scope {
	var s scope
	if !slices.ContainsFunc(byFolder[folder], func(name string) bool { return len(l.catalog[name].uses) > 0 }) {
		return s
	}
	s = scope{}
	for _, f := range ancestors(folder) {
		for _, file := range byFolder[f] {
			for _, d := range l.catalog[file].requests {
				if _, twice := s[d.Name]; twice {
					d.Blueprint = ""
				}
				s[d.Name] = supplier{file, d.Blueprint}
			}
		}
	}
	return s
}

// plain tells whether nothing but uses of requests that are in scope is computed
// in the files.
func (l *layout) plain(files []string, known scope) bool {
	for _, name := range files {
		f := l.catalog[name]
		if !f.literal || slices.ContainsFunc(f.uses, func(request string) bool { return known[request].blueprint == "" }) {
			return false
		}
	}
	return true
}

// of returns the blueprints of some requests, which are sorted, and the files that declare them.
func (s scope) of(requests []string) (blueprints reconciler.Fields[string], files []string) {
	for _, name := range requests {
		blueprints = append(blueprints, reconciler.Named[string]{Name: name, Value: s[name].blueprint})
		files = append(files, s[name].file)
	}
	return blueprints, files
}

// sources returns a folder's own files and all files of the folders above it,
// sorted. What stands at the root decides every document, so nobody needs to
// be told. Files of data are named as well: whether one of them computes is up
// to what it says.
func sources(byFolder map[string][]string, folder string, own ...string) []string {
	all := slices.Clone(own)
	for _, above := range ancestors(folder) {
		if above != "" && above != folder {
			all = append(all, byFolder[above]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kindsOf tells what a file declares at its top level.
type kindsOf struct {
	documents, governance bool
	name                  string    // the governance field
	at                    token.Pos // where it is
	unknown               string    // a field of no known kind
	unknownAt             token.Pos
}

// knownKinds are the kinds of documents, as the schema's #Root lists them.
var knownKinds = []string{"platform", "team", "environment", "service", "request"}

// documentKinds looks at the labels of a file's fields, those that a
// comprehension would produce included.
func documentKinds(decls []ast.Decl) kindsOf {
	var k kindsOf
	var visit func(decls []ast.Decl)
	visit = func(decls []ast.Decl) {
		for _, d := range decls {
			switch d := d.(type) {
			case *ast.Field:
				switch name := labelOf(d.Label); name {
				case "service", "request":
					k.documents = true
				case "platform", "team", "environment", "#blueprints", "#service", "#request":
					if !k.governance {
						k.governance, k.name, k.at = true, name, d.Pos()
					}
				default:
					if name != "" && name[0] != '#' && name[0] != '_' && k.unknown == "" {
						k.unknown, k.unknownAt = name, d.Pos()
					}
				}
			case *ast.Comprehension:
				if s, ok := d.Value.(*ast.StructLit); ok {
					visit(s.Elts)
				}
			case *ast.EmbedDecl:
				if s, ok := d.Expr.(*ast.StructLit); ok {
					visit(s.Elts)
				}
			}
		}
	}
	visit(decls)
	return k
}

// labelOf returns the name of a field where the source states it.
func labelOf(l ast.Label) string {
	name, _, err := ast.LabelName(l)
	if err != nil {
		return ""
	}
	return name
}

// blueprintOf returns the name of the blueprint that the file belongs to.
func blueprintOf(file string) (string, bool) {
	rest, ok := strings.CutPrefix(file, BlueprintFolder+"/")
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "/")
	return name, ok
}

// scopeOf says how far an unreadable file reaches.
func scopeOf(file string) reconciler.Scope {
	if _, ok := blueprintOf(file); ok {
		return reconciler.ScopeBlueprint
	}
	if folderOf(file) == "" || strings.HasPrefix(file, "cue.mod/") || strings.HasPrefix(file, "policies/") {
		return reconciler.ScopeRevision
	}
	return reconciler.ScopeFile
}

func position(p token.Pos) reconciler.Position {
	if !p.IsValid() {
		return reconciler.Position{}
	}
	return reconciler.Position{File: strings.TrimPrefix(p.Filename(), virtualRoot+"/"), Line: p.Line(), Column: p.Column()}
}
