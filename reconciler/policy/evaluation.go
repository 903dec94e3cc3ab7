package policy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/pave-dev/pave/reconciler"
)

// evaluation is how a rule is evaluated, and what it found before: many subjects
// are alike in the few fields that one rule reads.
type evaluation struct {
	compiler *ast.Compiler
	ref      ast.Ref
	timed    bool      // it may read the time of the day
	unlike   bool      // no two subjects are known to be alike: it may read anything, or the time
	sees     []portion // what it reads, where that is not everything

	once     sync.Once
	prepared rego.PreparedEvalQuery // when once is over
	failed   error                  // to prepare it

	mu    sync.Mutex
	found map[key][]any // guarded by mu
}

// portion is what a rule reads of one part of a subject: some fields, or all of it
// where there are none.
type portion struct {
	name   string
	fields []string // of the part, or of each of its elements
}

// portions returns the first two steps of what is read, sorted.
func (r *reads) portions() []portion {
	var portions []portion
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		of := r.fields[name]
		p := portion{name: name}
		if name == "dependencies" && of.each != nil { // the one part that is a list
			of = of.each
		}
		if of.each == nil {
			p.fields = slices.Sorted(maps.Keys(of.fields))
		}
		portions = append(portions, p)
	}
	return portions
}

// key identifies all that a rule reads of a subject; it is zero where what
// is read happens once.
type key [sha256.Size]byte

// mostFound is how many findings of one rule are remembered.
const mostFound = 1 << 10

func (e *evaluation) known(k key) ([]any, bool) {
	if k == (key{}) {
		return nil, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	found, known := e.found[k]
	return found, known
}

func (e *evaluation) keep(k key, found []any) {
	if k == (key{}) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.found == nil || len(e.found) >= mostFound {
		e.found = map[key][]any{}
	}
	e.found[k] = found
}

// findings evaluates the rule.
func (r *rule) findings(ctx context.Context, input ast.Value) ([]any, error) {
	e := r.evaluation
	e.once.Do(func() {
		e.prepared, e.failed = rego.New(
			rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(e.ref)))),
			rego.Compiler(e.compiler),
			rego.Capabilities(capabilities()),
			rego.StrictBuiltinErrors(true),
		).PrepareForEval(context.WithoutCancel(ctx))
	})
	if e.failed != nil {
		return nil, fmt.Errorf("prepare rule %s: %w", r.ID, e.failed)
	}
	results, err := e.prepared.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, errors.New("the policies gave no result")
	}
	found, ok := results[0].Expressions[0].Value.([]any)
	if !ok {
		return nil, fmt.Errorf("rule %s is no set of findings", r.ID)
	}
	return found, nil
}

// view is a subject while it is judged.
type view struct {
	engine  *Engine
	subject reconciler.Subject
	reads   *reads // by all rules

	fields map[*byte]map[string]json.RawMessage // of documents, by their first byte
	value  ast.Value
}

// input returns as much of the subject as rules read.
func (v *view) input() (ast.Value, error) {
	if v.value != nil {
		return v.value, nil
	}
	s := &v.subject
	input := ast.NewObject(
		ast.Item(ast.StringTerm("kind"), ast.StringTerm(s.Kind)),
		ast.Item(ast.StringTerm("name"), ast.StringTerm(s.Name)),
		ast.Item(ast.StringTerm("now"), ast.StringTerm(s.Now.Format(time.RFC3339Nano))),
	)
	for name, is := range map[string]bool{"heal": s.Heal, "reviewed": s.Reviewed} {
		if is {
			input.Insert(ast.StringTerm(name), ast.BooleanTerm(true))
		}
	}
	if s.Of != "" {
		input.Insert(ast.StringTerm("of"), ast.StringTerm(s.Of))
	}
	change, err := v.change()
	if err != nil {
		return nil, err
	}
	input.Insert(ast.StringTerm("change"), ast.NewTerm(change))
	if v.reads.field("cost") != nil && s.Cost != nil {
		if err := insertValue(input, "cost", s.Cost); err != nil {
			return nil, err
		}
	}
	if v.reads.field("person") != nil && s.Person != nil {
		if err := insertValue(input, "person", s.Person); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]json.RawMessage{"document": s.Document, "service": s.Service, "plan": s.Plan} {
		if err := v.insert(input, v.reads.field(name), name, text); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]json.RawMessage{"team": s.Team, "environment": s.Environment, "blueprint": s.Blueprint, "settings": s.Settings} {
		if len(text) == 0 || v.reads.field(name) == nil {
			continue
		}
		of, err := v.engine.shared.read(text)
		if err != nil {
			return nil, err
		}
		input.Insert(ast.StringTerm(name), ast.NewTerm(of))
	}
	if of := v.reads.field("dependencies"); of != nil && len(s.Dependencies) > 0 {
		all, err := of.list(s.Dependencies)
		if err != nil {
			return nil, err
		}
		input.Insert(ast.StringTerm("dependencies"), ast.NewTerm(all))
	}
	v.value = input
	return input, nil
}

// insertValue adds what is no document to the input.
func insertValue(input ast.Object, name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the input: %w", err)
	}
	of, err := read(text)
	if err != nil {
		return err
	}
	input.Insert(ast.StringTerm(name), ast.NewTerm(of))
	return nil
}

func (v *view) change() (ast.Object, error) {
	s := &v.subject
	change := ast.NewObject(ast.Item(ast.StringTerm("action"), ast.StringTerm(s.Change.Action)))
	if len(s.Change.Fields) > 0 {
		fields := make([]*ast.Term, len(s.Change.Fields))
		for i, name := range s.Change.Fields {
			fields[i] = ast.StringTerm(name)
		}
		change.Insert(ast.StringTerm("fields"), ast.ArrayTerm(fields...))
	}
	return change, v.reads.field("change").insert(change, "before", s.Change.Before)
}

// insert adds a document to the input, of which so much is read.
func (v *view) insert(input ast.Object, of *reads, name string, text json.RawMessage) error {
	if of == nil || len(text) == 0 {
		return nil
	}
	if of.whole || of.each != nil || text[0] != '{' {
		return v.reads.insert(input, name, text)
	}
	all, err := v.decode(text)
	if err != nil {
		return err
	}
	part, err := of.object(all)
	if err != nil {
		return err
	}
	input.Insert(ast.StringTerm(name), ast.NewTerm(part))
	return nil
}

// decode returns the fields of a document.
func (v *view) decode(text json.RawMessage) (map[string]json.RawMessage, error) {
	if all, done := v.fields[&text[0]]; done {
		return all, nil
	}
	all, err := decodeFields(text)
	if err != nil {
		return nil, err
	}
	if v.fields == nil {
		v.fields = map[*byte]map[string]json.RawMessage{}
	}
	v.fields[&text[0]] = all
	return all, nil
}

// key identifies what a rule reads of the subject.
func (v *view) key(e *evaluation) (key, error) {
	if e.unlike || len(v.subject.Plan) > 0 {
		return key{}, nil
	}
	h := sha256.New()
	for _, p := range e.sees {
		add(h, []byte(p.name))
		if err := v.add(h, p); err != nil {
			return key{}, err
		}
	}
	return key(h.Sum(nil)), nil
}

// add writes a part of the subject.
func (v *view) add(h hash.Hash, p portion) error {
	s := &v.subject
	switch p.name {
	case "kind":
		add(h, []byte(s.Kind))
	case "name":
		add(h, []byte(s.Name))
	case "heal", "reviewed":
		add(h, fmt.Append(nil, s.Heal, s.Reviewed))
	case "now":
		add(h, fmt.Append(nil, day(s.Now)))
	case "of":
		add(h, []byte(s.Of))
	case "cost":
		return addValue(h, s.Cost)
	case "person":
		return addValue(h, s.Person)
	case "change":
		add(h, []byte(s.Change.Action))
		if !slices.Equal(p.fields, []string{"action"}) {
			add(h, fmt.Appendf(nil, "%q", s.Change.Fields))
			add(h, s.Change.Before)
		}
	case "dependencies":
		for _, doc := range s.Dependencies {
			if err := v.addFields(h, p, doc, v.decode); err != nil {
				return err
			}
		}
	case "document":
		return v.addFields(h, p, s.Document, v.decode)
	case "service":
		return v.addFields(h, p, s.Service, v.decode)
	case "team":
		return v.addFields(h, p, s.Team, v.engine.shared.decode)
	case "environment":
		return v.addFields(h, p, s.Environment, v.engine.shared.decode)
	case "blueprint":
		return v.addFields(h, p, s.Blueprint, v.engine.shared.decode)
	case "settings":
		return v.addFields(h, p, s.Settings, v.engine.shared.decode)
	}
	return nil // else no subject has it
}

// addValue writes what is no document.
func addValue(h hash.Hash, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the input: %w", err)
	}
	add(h, text)
	return nil
}

// addFields writes the fields of a document that are read.
func (v *view) addFields(h hash.Hash, p portion, text json.RawMessage, decode func(json.RawMessage) (map[string]json.RawMessage, error)) error {
	if p.fields == nil || len(text) == 0 || text[0] != '{' {
		add(h, text)
		return nil
	}
	all, err := decode(text)
	if err != nil {
		return err
	}
	for _, name := range p.fields {
		add(h, all[name])
	}
	return nil
}

func decodeFields(text json.RawMessage) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return all, nil
}

// add writes a text so that where it ends is known.
func add(h hash.Hash, text []byte) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(text)))
	h.Write(size[:])
	h.Write(text)
}
