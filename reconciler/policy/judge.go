package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/pave-dev/pave/reconciler"
)

// Judge returns what all rules say of the subject, sorted. A subject that lacks
// a part that rules rely on gets no verdict but an error: its absence would read
// as permission. The parts are the time, and
//   - of a service the change and the document,
//   - of a request the change, the document, its service, environment and
//     blueprint, and its cost where no plan is judged,
//   - of either, where the change is a removal, only what was there before,
//   - of a blueprint its document with the facts of its code, and the settings,
//   - of what somebody views the document and its kind; where they ask for it,
//     the change, its service and team, and who they are, besides.
//
// Every other error means that the rules could not be evaluated, or not in time.
func (e *Engine) Judge(ctx context.Context, subject reconciler.Subject) ([]reconciler.Violation, error) {
	violations, err := e.judge(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("judge %s %s: %w", subject.Kind, subject.Name, err)
	}
	return violations, nil
}

func (e *Engine) judge(ctx context.Context, subject reconciler.Subject) ([]reconciler.Violation, error) {
	if err := complete(subject); err != nil {
		return nil, err
	}
	q := e.queries[subject.Kind]
	name, all := named{subject.Kind, subject.Name}, digest(subject)
	violations, known := e.said.of(name, all)
	if known && len(q.fresh) == 0 {
		return violations, nil
	}
	v := &view{engine: e, subject: subject, reads: &q.reads}
	if !known {
		var err error
		if violations, err = e.findings(ctx, q.kept, v); err != nil {
			return nil, err
		}
		e.said.keep(name, all, violations)
	}
	more, err := e.findings(ctx, q.fresh, v)
	if err != nil {
		return nil, err
	}
	return reconciler.SortViolations(append(violations, more...)), nil
}

// Speaks tells whether any rule can say anything about a kind of subject.
func (e *Engine) Speaks(kind string) bool {
	q := e.queries[kind]
	return len(q.kept)+len(q.fresh) > 0
}

// findings returns what some rules find about the subject. Only those are evaluated
// that did not see the same before.
func (e *Engine) findings(ctx context.Context, rules []int, v *view) ([]reconciler.Violation, error) {
	found := make([][]any, len(rules))
	keys := make([]key, len(rules))
	var todo []int
	for i, r := range rules {
		rule := &e.rules[r]
		if rule.Level == Off {
			continue
		}
		var err error
		if keys[i], err = v.key(rule.evaluation); err != nil {
			return nil, err
		}
		known := false
		if found[i], known = rule.evaluation.known(keys[i]); !known {
			todo = append(todo, i)
		}
	}
	if len(todo) > 0 {
		input, err := v.input()
		if err != nil {
			return nil, err
		}
		if err := e.evaluate(ctx, rules, todo, found, input); err != nil {
			return nil, err
		}
	}
	for _, i := range todo {
		e.rules[rules[i]].evaluation.keep(keys[i], found[i])
	}
	var violations []reconciler.Violation
	for i, r := range rules {
		for _, finding := range found[i] {
			violations = append(violations, violation(&e.rules[r], v.subject, finding))
		}
	}
	return reconciler.SortViolations(violations), nil
}

func read(text []byte) (ast.Value, error) {
	if !json.Valid(text) {
		return nil, fmt.Errorf("read the input: %.50q is no JSON", text)
	}
	v, err := ast.ValueFromReader(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return v, nil
}

// documents are those that many subjects share, such as a blueprint, by their text.
// Reading them for each subject would take as long as judging it.
type documents struct {
	mu    sync.Mutex
	known map[string]*sharedDocument // guarded by mu
}

type sharedDocument struct {
	value  ast.Value
	fields map[string]json.RawMessage
}

// read returns a document as rules see it.
func (d *documents) read(text json.RawMessage) (ast.Value, error) {
	doc, err := d.document(text)
	if err != nil {
		return nil, err
	}
	return doc.value, nil
}

// decode returns the fields of a document.
func (d *documents) decode(text json.RawMessage) (map[string]json.RawMessage, error) {
	doc, err := d.document(text)
	if err != nil {
		return nil, err
	}
	return doc.fields, nil
}

func (d *documents) document(text json.RawMessage) (*sharedDocument, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if doc, found := d.known[string(text)]; found {
		return doc, nil
	}
	value, err := read(text)
	if err != nil {
		return nil, err
	}
	doc := &sharedDocument{value: value}
	if text[0] == '{' {
		if doc.fields, err = decodeFields(text); err != nil {
			return nil, err
		}
	}
	const most = 4096
	if d.known == nil || len(d.known) == most {
		d.known = map[string]*sharedDocument{}
	}
	d.known[string(text)] = doc
	return doc, nil
}

// evaluate completes the findings of the rules by those of which there are none yet.
func (e *Engine) evaluate(ctx context.Context, rules, todo []int, found [][]any, input ast.Value) error {
	timed, cancel := context.WithTimeout(ctx, e.deadline)
	defer cancel()
	err := e.bounded(timed, func() error {
		for _, i := range todo {
			var err error
			if found[i], err = e.rules[rules[i]].findings(timed, input); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil || e.stuck.Load():
		return fmt.Errorf("the policies took longer than %s", e.deadline)
	}
	return err
}

// bounded evaluates. Some functions of Rego do not look whether their time is over:
// an evaluation that goes on twice as long as it may is left to itself, and no other
// is started that would do the same.
func (e *Engine) bounded(ctx context.Context, evaluate func() error) error {
	if e.stuck.Load() {
		return nil
	}
	start, finished := e.worker.take()
	failed, err := bounded(context.WithoutCancel(ctx), 2*e.deadline, start, evaluate)
	if err != nil {
		e.stuck.Store(true)
		return err
	}
	finished()
	return failed
}

// worker is a goroutine that one evaluation after the other runs on, because its
// stack has grown to what they need: growing another for each takes a fifth of
// their time. One that comes while it is taken runs on a goroutine of its own.
type worker struct {
	tasks chan func()
	free  chan struct{} // holds a token while nobody has taken it
}

// newWorker starts a worker that ends when its owner is garbage.
func newWorker(owner *Engine) worker {
	w := worker{make(chan func()), make(chan struct{}, 1)}
	w.free <- struct{}{}
	go func() {
		for task := range w.tasks {
			task()
		}
	}()
	runtime.AddCleanup(owner, func(tasks chan func()) { close(tasks) }, w.tasks)
	return w
}

// take returns what starts one task, and what is to be called when that ended.
func (w worker) take() (start func(func()), finished func()) {
	select {
	case <-w.free:
		return func(task func()) { w.tasks <- task }, func() { w.free <- struct{}{} }
	default:
		return spawn, func() {}
	}
}

func spawn(task func()) { go task() }

// violation reads one finding of a rule. What is no finding denies, whatever
// the rule's level, because nobody can tell what it was meant to say.
func violation(rule *rule, subject reconciler.Subject, finding any) reconciler.Violation {
	v := reconciler.Violation{
		Level: reconciler.Level(rule.Level), Scope: reconciler.ScopeDocument,
		Rule: rule.ID, Kind: subject.Kind, Name: subject.Name,
	}
	switch subject.Kind {
	case "blueprint":
		v.Scope = reconciler.ScopeBlueprint
	case "view", "ask":
		v.Kind = subject.Of
	}
	switch finding := finding.(type) {
	case string:
		v.Message = finding
	case map[string]any:
		v.Message, _ = finding["msg"].(string)
		v.Hint, _ = finding["hint"].(string)
		v.Path = pathOf(finding["path"])
		v.Position = positionOf(finding)
		if team, _ := finding["team"].(string); team != "" && v.Level == reconciler.Approve {
			v.Team = team
			v.Hint = strings.TrimPrefix(v.Hint+fmt.Sprintf("\nask a member of %s to approve", team), "\n")
		}
	}
	if v.Message == "" {
		v.Level, v.Team, v.Position = reconciler.Deny, "", rule.at()
		v.Message = fmt.Sprintf("rule %s.%s yields %s, which is no finding", rule.Package, termName(rule.source.Head.Ref()[0]), brief(finding))
		v.Hint = `yield a text, or an object with a text "msg"`
	}
	return v
}

// pathOf reads a list of field names and indexes.
func pathOf(field any) []string {
	steps, _ := field.([]any)
	var path []string
	for _, step := range steps {
		path = append(path, fmt.Sprint(step))
	}
	return path
}

func positionOf(finding map[string]any) reconciler.Position {
	file, _ := finding["file"].(string)
	number, _ := finding["line"].(json.Number)
	line, err := number.Int64()
	if file == "" || err != nil || line < 0 {
		return reconciler.Position{File: file}
	}
	return reconciler.Position{File: file, Line: int(line)}
}

// brief returns the start of a value as JSON.
func brief(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("a %T", value)
	}
	if len(text) > 80 {
		return strings.ToValidUTF8(string(text[:80]), "") + "…"
	}
	return string(text)
}

// complete returns an error that names the first part that the subject lacks.
func complete(s reconciler.Subject) error {
	if s.Now.IsZero() {
		return missing("now")
	}
	switch s.Kind {
	case "service", "request":
		return completeDocument(s)
	case "blueprint":
		if err := absent(part{"blueprint", s.Blueprint}, part{"settings", s.Settings}); err != nil {
			return err
		}
		return completeModule(s.Blueprint)
	case "view":
		return absent(part{"document", s.Document})
	case "ask":
		return completeAsk(s)
	}
	return fmt.Errorf("the input's kind is %q: expected one of: service, request, blueprint, view, ask", s.Kind)
}

// completeAsk wants to know who asks, and of whom.
func completeAsk(s reconciler.Subject) error {
	switch {
	case s.Person == nil || s.Person.ID == "":
		return missing("person.id")
	case s.Change.Action != "create" && s.Change.Action != "update" && s.Change.Action != "delete":
		return fmt.Errorf("the input's change.action is %q: expected one of: create, update, delete", s.Change.Action)
	}
	return absent(part{"document", s.Document}, part{"service", s.Service}, part{"team", s.Team})
}

func completeDocument(s reconciler.Subject) error {
	if err := completePlan(s.Plan); err != nil {
		return err
	}
	switch s.Change.Action {
	case "delete":
		return absent(part{"change.before", s.Change.Before})
	case "create", "update", "none":
	default:
		return fmt.Errorf("the input's change.action is %q: expected one of: create, update, delete, none", s.Change.Action)
	}
	if s.Kind == "service" {
		return absent(part{"document", s.Document})
	}
	if s.Cost == nil && len(s.Plan) == 0 {
		return missing("cost")
	}
	return absent(
		part{"document", s.Document},
		part{"service", s.Service},
		part{"environment", s.Environment},
		part{"blueprint", s.Blueprint},
	)
}

type part struct {
	name string
	json json.RawMessage
}

func absent(parts ...part) error {
	for _, p := range parts {
		if len(p.json) == 0 || string(p.json) == "null" {
			return missing(p.name)
		}
	}
	return nil
}

func missing(name string) error { return fmt.Errorf("the input lacks %s", name) }

// completePlan refuses what is no plan, because it would read as one that
// changes nothing.
func completePlan(plan json.RawMessage) error {
	if len(plan) == 0 {
		return nil
	}
	var head struct {
		FormatVersion string `json:"format_version"`
	}
	if err := json.Unmarshal(plan, &head); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	if head.FormatVersion == "" {
		return missing("plan.format_version")
	}
	return nil
}

// completeModule makes sure that every list of facts was gathered.
func completeModule(blueprint json.RawMessage) error {
	var document struct {
		Module map[string]json.RawMessage `json:"module"`
	}
	if err := json.Unmarshal(blueprint, &document); err != nil {
		return fmt.Errorf("read the blueprint: %w", err)
	}
	for _, facts := range []string{"providers", "modules", "data", "provisioners", "fileCalls"} {
		if _, ok := document.Module[facts]; !ok {
			return missing("blueprint.module." + facts)
		}
	}
	return nil
}
