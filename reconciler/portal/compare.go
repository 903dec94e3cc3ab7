package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// comparePage is what changed from one time to another; without them, the form
// that asks for two.
type comparePage struct {
	From    commits        `json:"from,omitzero"`
	To      commits        `json:"to,omitzero"`
	Kinds   []kindChange   `json:"kinds,omitempty"`
	States  []stateChange  `json:"states,omitempty"`
	MoreOf  int            `json:"moreStates,omitempty"`
	Cost    costDifference `json:"cost,omitzero"`
	Nothing bool           `json:"nothing"`

	Action string `json:"-"`
	A, B   string `json:"-"` // as they were asked for
}

// commits are the two that a side of a comparison is made of.
type commits struct {
	Revision commit `json:"revision"`
	Status   commit `json:"status"`
	Home     string `json:"href"`
}

// kindChange is what changed among the documents of one kind.
type kindChange struct {
	Kind    string           `json:"kind"`
	Added   []documentChange `json:"added,omitempty"`
	Removed []documentChange `json:"removed,omitempty"`
	Changed []documentChange `json:"changed,omitempty"`
	Rows    []documentChange `json:"-"` // all of them
	More    int              `json:"more,omitempty"`
}

// documentChange is what became of a document. It leads to both times.
type documentChange struct {
	Name   string        `json:"name"`
	What   string        `json:"what"` // added, removed, changed, refused
	Before link          `json:"before,omitzero"`
	After  link          `json:"after,omitzero"`
	Fields []fieldChange `json:"fields,omitempty"`
	More   int           `json:"moreFields,omitempty"`
}

// fieldChange is a field that says something else.
type fieldChange struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// stateChange is a request that stands otherwise.
type stateChange struct {
	Name   string   `json:"name"`
	Before standing `json:"before"`
	After  standing `json:"after"`
}

// standing is how a request stands at one time.
type standing struct {
	state
	Drifted bool `json:"drifted"`
	Link    link `json:"link"`
}

// costDifference is what the platform cost a month, then and later.
type costDifference struct {
	Before     string `json:"before"`
	After      string `json:"after"`
	Difference string `json:"difference"`
}

// The rows of one kind, and the fields of one document, that a comparison shows.
const (
	mostChanged = 200
	mostFields  = 30
	mostValue   = 300 // runes
)

func compare(v *view, r *http.Request) (any, error) {
	v.title, v.here = "What changed", "/compare"
	query := r.URL.Query()
	p := &comparePage{Action: v.base + "/compare", A: query.Get("from"), B: query.Get("to")}
	if p.A != "" {
		return nil, moved(p.Action + "/" + url.PathEscape(p.A) + "..." + url.PathEscape(p.B))
	}
	between := r.PathValue("between")
	if between == "" {
		return p, nil
	}
	var two bool
	if p.A, p.B, two = strings.Cut(between, "..."); !two || p.A == "" {
		return nil, fmt.Errorf("%w: expected two commits or days such as 2026-03-01...2026-04-01; got %q", ErrNoSuchTime, between)
	}
	from, err := v.snapshots.At(r.Context(), p.A)
	if err != nil {
		return nil, err
	}
	to := v.Snapshot
	if p.B != "" {
		if to, err = v.snapshots.At(r.Context(), p.B); err != nil {
			return nil, err
		}
	}
	p.compare(fixedView(from), fixedView(to))
	return p, nil
}

// fixedView sees a snapshot at its own address.
func fixedView(s *Snapshot) *view {
	v := &view{Snapshot: s, index: s.indexed()}
	v.base = v.permanent()
	return v
}

func (v *view) commits() commits {
	return commits{v.commit(v.Revision), v.commit(v.Status), v.base + "/"}
}

func (p *comparePage) compare(from, to *view) {
	p.From, p.To = from.commits(), to.commits()
	p.Nothing = true
	for _, kind := range kinds {
		k := changesOf(kind, from, to)
		p.Nothing = p.Nothing && len(k.Rows) == 0
		p.Kinds = append(p.Kinds, k)
	}
	p.states(from, to)
	difference := to.cost - from.cost
	p.Cost = costDifference{from.money(from.cost), to.money(to.cost), to.money(difference)}
	if difference > 0 {
		p.Cost.Difference = "+" + p.Cost.Difference
	}
	p.Nothing = p.Nothing && len(p.States) == 0 && difference == 0
}

// kinds are the kinds of documents that are compared, with what they say.
var kinds = []documentKind{
	{"service", func(p *reconciler.Platform) documents {
		return documentsOf(p.Services, func(s *reconciler.Service) reconciler.Document { return s.Document })
	}},
	{"request", func(p *reconciler.Platform) documents {
		return documentsOf(p.Requests, func(r *reconciler.Request) reconciler.Document { return r.Document })
	}},
	{"team", func(p *reconciler.Platform) documents {
		return documentsOf(p.Teams, func(t reconciler.Team) reconciler.Document { return t.Document })
	}},
	{"environment", func(p *reconciler.Platform) documents {
		return documentsOf(p.Environments, func(e reconciler.Environment) reconciler.Document { return e.Document })
	}},
	{"blueprint", func(p *reconciler.Platform) documents {
		return documentsOf(p.Blueprints, func(b reconciler.Blueprint) reconciler.Document { return b.Document })
	}},
}

type documentKind struct {
	name string
	of   func(*reconciler.Platform) documents
}

// documents is what documents of one kind say, by name.
type documents map[string]json.RawMessage

func documentsOf[T any](all map[string]T, of func(T) reconciler.Document) documents {
	said := make(documents, len(all))
	for name, d := range all {
		said[name] = of(d).JSON
	}
	return said
}

// changesOf compares the documents of a kind.
func changesOf(kind documentKind, from, to *view) kindChange {
	k := kindChange{Kind: kind.name}
	before, after := kind.of(from.Platform), kind.of(to.Platform)
	names := slices.Collect(maps.Keys(before))
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c, is := changeOf(kind.name, name, from, to, before, after)
		switch {
		case !is:
		case len(k.Rows) == mostChanged:
			k.More++
		default:
			k.add(c)
		}
	}
	return k
}

func (k *kindChange) add(c documentChange) {
	k.Rows = append(k.Rows, c)
	switch c.What {
	case "added":
		k.Added = append(k.Added, c)
	case "changed":
		k.Changed = append(k.Changed, c)
	default:
		k.Removed = append(k.Removed, c)
	}
}

// changeOf tells what became of one document, and whether anything did.
func changeOf(kind, name string, from, to *view, before, after documents) (documentChange, bool) {
	c := documentChange{Name: name, What: "changed"}
	old, was := before[name]
	now, is := after[name]
	switch {
	case !was:
		c.What = "added"
	case !is:
		c.What = "removed"
		if slices.ContainsFunc(to.Violations, func(x reconciler.Violation) bool { return x.Kind == kind && x.Name == name }) {
			c.What = "refused"
		}
	default:
		if !bytes.Equal(old, now) {
			c.Fields = fieldChanges(old, now)
		}
		if kind == "blueprint" {
			c.Fields = append(c.Fields, fileChanges(from, to, from.Platform.Blueprints[name].Folder, to.Platform.Blueprints[name].Folder)...)
		}
		if len(c.Fields) == 0 {
			return c, false
		}
	}
	if more := len(c.Fields) - mostFields; more > 0 {
		c.Fields, c.More = c.Fields[:mostFields], more
	}
	if was {
		c.Before = from.to(kind, name)
	}
	if is {
		c.After = to.to(kind, name)
	}
	return c, true
}

// fieldChanges compares what two documents say, field by field.
func fieldChanges(before, after json.RawMessage) []fieldChange {
	old, now := map[string]string{}, map[string]string{}
	flatten(before, "", old)
	flatten(after, "", now)
	paths := slices.Collect(maps.Keys(old))
	for path := range now {
		if _, both := old[path]; !both {
			paths = append(paths, path)
		}
	}
	var changes []fieldChange
	for _, path := range slices.SortedFunc(slices.Values(paths), cmp.Compare[string]) {
		if old[path] != now[path] {
			changes = append(changes, fieldChange{path, cutTo(old[path], mostValue), cutTo(now[path], mostValue)})
		}
	}
	return changes
}

// flatten notes the value of every field by its path. A list is one value.
func flatten(value json.RawMessage, path string, into map[string]string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil || path != "" && len(fields) == 0 {
		into[path] = plain(value)
		return
	}
	for name, field := range fields {
		flatten(field, strings.TrimPrefix(path+"."+name, "."), into)
	}
}

// cutTo bounds a text for people.
func cutTo(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// fileChanges compares the files of two folders.
func fileChanges(from, to *view, old, now string) []fieldChange {
	before, after := hashes(from, old), hashes(to, now)
	names := slices.Collect(maps.Keys(before))
	for name := range after {
		if before[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var changes []fieldChange
	for _, name := range names {
		if before[name] != after[name] {
			changes = append(changes, fieldChange{name, before[name], after[name]})
		}
	}
	return changes
}

// hashes returns the beginning of the hash of each file of a folder.
func hashes(v *view, folder string) map[string]string {
	all := map[string]string{}
	if folder == "" {
		return all
	}
	for _, f := range v.Tree.Under(folder) {
		all[strings.TrimPrefix(f.Path, folder+"/")] = cmp.Or(short(f.Hash), "?")
	}
	return all
}

// states compares how requests stand, of those that are at both times.
func (p *comparePage) states(from, to *view) {
	for _, now := range to.requests {
		then := from.index.request[now.Name]
		if then == nil || then.State.Word == now.State.Word && then.Drifted == now.Drifted {
			continue
		}
		if len(p.States) == mostChanged {
			p.MoreOf++
			continue
		}
		p.States = append(p.States, stateChange{now.Name, from.standing(then), to.standing(now)})
	}
}

func (v *view) standing(r *requestRow) standing {
	return standing{r.State, r.Drifted, v.to("request", r.Name)}
}
