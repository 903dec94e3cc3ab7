package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pave-dev/pave/reconciler"
)

// homePage is the platform at a glance.
type homePage struct {
	Counts     []count      `json:"counts"`
	Cost       string       `json:"cost"`
	Ready      int          `json:"ready"`
	Recorded   int          `json:"recorded"`
	Percent    int          `json:"-"`
	Refused    *refusal     `json:"refused,omitempty"`
	Warnings   []string     `json:"warnings,omitempty"`
	Violations []fault      `json:"violations,omitempty"`
	MoreFaults int          `json:"moreViolations,omitempty"`
	Waiting    []*requestIn `json:"notReady"`
	MoreNot    int          `json:"moreNotReady,omitempty"`
	Drifted    []*requestIn `json:"drifted"`
	Ending     []*requestIn `json:"expiring"`
	Recent     []recent     `json:"recent"`
}

// count is how many there are of one kind.
type count struct {
	link
	Number int `json:"number"`
}

// refusal is a later revision that is not in force.
type refusal struct {
	Revision string  `json:"revision"`
	Waiting  bool    `json:"waiting"`
	Why      []fault `json:"why"`
}

// recent is a status commit as a list shows it.
type recent struct {
	Commit string `json:"commit"`
	Href   string `json:"href"`
	Time   string `json:"time"`
	Text   string `json:"text"`
}

// glance is how many rows of each list the home page shows.
const glance = 10

func home(v *view, _ *http.Request) (any, error) {
	v.title = cmp.Or(v.Platform.Settings.Title, "Platform")
	p := &homePage{
		Counts: []count{
			{link{"services", v.base + "/services"}, len(v.services)},
			{link{"requests", v.base + "/requests"}, len(v.requests)},
			{link{"blueprints", v.base + "/blueprints"}, len(v.Platform.Blueprints)},
			{link{"teams", v.base + "/teams"}, len(v.Platform.Teams)},
			{link{"environments", v.base + "/environments"}, len(v.Platform.Environments)},
		},
		Cost: v.Platform.Settings.Currency + " " + strconv.FormatFloat(v.index.cost, 'f', 0, 64), Warnings: v.Record.Platform.Warnings, Recorded: len(v.Record.Units),
		Waiting: v.rows(first(v.waiting)), MoreNot: max(0, len(v.waiting)-glance),
		Drifted: v.rows(first(v.drifted)), Ending: v.rows(first(v.ending)),
	}
	for _, u := range v.Record.Units {
		if u.Is(reconciler.Ready) {
			p.Ready++
		}
	}
	if p.Recorded > 0 {
		p.Percent = 100 * p.Ready / p.Recorded
	}
	p.Violations = v.faults(func(reconciler.Violation) bool { return true })
	if more := len(p.Violations) - glance; more > 0 {
		p.Violations, p.MoreFaults = p.Violations[:glance], more
	}
	if refused := v.Record.Platform.Refused; refused != nil {
		p.Refused = &refusal{Revision: short(refused.Revision), Waiting: refused.Waiting}
		for _, x := range first(refused.Violations) {
			p.Refused.Why = append(p.Refused.Why, v.fault(x))
		}
	}
	for _, c := range first(v.Log) {
		p.Recent = append(p.Recent, v.recent(c, c.Subject, "/"))
	}
	return p, nil
}

func first[T any](all []T) []T { return all[:min(glance, len(all))] }

// recent shows a status commit; it leads to a page as it was then.
func (v *view) recent(c Commit, text, page string) recent {
	return recent{c.ID[:min(8, len(c.ID))], "/at/" + short(c.ID) + page, moment(c.Time), text}
}

func (v *view) money(amount float64) string {
	return v.Platform.Settings.Currency + " " + strconv.FormatFloat(amount, 'f', 2, 64)
}

// requestIn is a request in a list, with where its parts lead.
type requestIn struct {
	*requestRow
	Link     link   `json:"link"`
	Of       link   `json:"-"`
	By       link   `json:"-"`
	In       link   `json:"-"`
	From     link   `json:"-"`
	CostText string `json:"-"`
}

func (v *view) rows(rows []*requestRow) []*requestIn {
	shown := make([]*requestIn, len(rows))
	for i, r := range rows {
		shown[i] = &requestIn{
			requestRow: r, Link: v.to("request", r.Name), Of: v.to("service", r.Service), By: v.to("team", r.Owner),
			In: v.to("environment", r.Environment), From: v.to("blueprint", r.Blueprint), CostText: v.money(r.Cost),
		}
	}
	return shown
}

// serviceIn is a service in a list.
type serviceIn struct {
	*serviceRow
	Link link `json:"link"`
	By   link `json:"-"`
}

func (v *view) serviceRows(rows []*serviceRow) []*serviceIn {
	shown := make([]*serviceIn, len(rows))
	for i, s := range rows {
		shown[i] = &serviceIn{s, v.to("service", s.Name), v.to("team", s.Owner)}
	}
	return shown
}

// searchPage is what a query finds.
type searchPage struct {
	Query   string   `json:"query"`
	Results []result `json:"results"`
	Pager   pager    `json:"pager"`
}

// result is one thing that was found.
type result struct {
	link
	Kind  string `json:"kind"`
	Title string `json:"title"`
	About string `json:"about,omitempty"`
}

func search(v *view, r *http.Request) (any, error) {
	query := words(r.URL.Query().Get("q"))
	v.title = "Search"
	found := v.find(query)
	p := &searchPage{Query: query}
	for _, e := range paged(&p.Pager, v, r, found) {
		p.Results = append(p.Results, result{v.to(e.kind, e.name), e.kind, cmp.Or(e.title, e.name), e.about})
	}
	return p, nil
}

// fact is one thing that a document says, with the place where it says so.
type fact struct {
	Label string `json:"label"`
	Text  string `json:"text,omitempty"`
	Links []link `json:"links,omitempty"`
	At    link   `json:"at"`
}

// servicePage is a service.
type servicePage struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	Lifecycle   string       `json:"lifecycle"`
	Tier        int          `json:"tier,omitempty"`
	Type        string       `json:"type"`
	At          link         `json:"at"`
	Owner       link         `json:"owner"`
	Facts       []fact       `json:"facts"`
	Tags        []link       `json:"tags,omitempty"`
	SLOs        []slo        `json:"slos,omitempty"`
	APIs        []api        `json:"apis,omitempty"`
	Links       []external   `json:"links,omitempty"`
	Requests    []*requestIn `json:"requests"`
	Cost        string       `json:"cost"`
	Needs       []neighbour  `json:"dependsOn,omitempty"`
	NeededBy    []neighbour  `json:"dependents,omitempty"`
	Violations  []fault      `json:"violations,omitempty"`
}

// slo is what a service promises.
type slo struct {
	Name        string  `json:"name"`
	Objective   float64 `json:"objective"`
	Window      string  `json:"window"`
	Description string  `json:"description,omitempty"`
}

// api is an interface that a service offers.
type api struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
	File       link   `json:"file"` // where it is a file of the repository
	URL        string `json:"-"`    // where it is an address
}

// external leads out of the portal.
type external struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// neighbour is a service at the other end of a dependency.
type neighbour struct {
	link
	Title     string `json:"title"`
	Tier      int    `json:"tier,omitempty"`
	Lifecycle string `json:"lifecycle"`
}

// serviceDocument is what only people read of a service.
type serviceDocument struct {
	Description string     `json:"description"`
	System      string     `json:"system"`
	Repository  string     `json:"repository"`
	Language    string     `json:"language"`
	Links       []external `json:"links"`
	Docs        string     `json:"docs"`
	APIs        []api      `json:"apis"`
	SLOs        []slo      `json:"slos"`
	Tags        []string   `json:"tags"`
}

func readService(s reconciler.Service) (d serviceDocument, err error) {
	if len(s.JSON) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(s.JSON, &d); err != nil {
		return d, fmt.Errorf("read service %s: %w", s.Name, err)
	}
	return d, nil
}

func service(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	s, found := v.Platform.Services[name]
	if !found {
		if now, renamed := v.aliases[name]; renamed {
			return nil, moved(v.to("service", now).Href)
		}
		return nil, v.missing("service", name, slices.Collect(maps.Keys(v.Platform.Services)))
	}
	v.title, v.here = s.Title, "/services"
	d, err := readService(s)
	if err != nil {
		return nil, err
	}
	p := &servicePage{
		Name: s.Name, Title: s.Title, Description: d.Description, Lifecycle: s.Lifecycle, Tier: s.Tier, Type: s.Type,
		At: v.at(s.Position), Owner: v.to("team", s.Owner), SLOs: d.SLOs, Links: d.Links, Requests: v.rows(v.requestsOf[name]),
		Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "service" && x.Name == name }),
		Needs:      v.neighbours(s.DependsOn), NeededBy: v.neighbours(v.dependents[name]),
	}
	cost := 0.0
	for _, row := range v.requestsOf[name] {
		cost += row.Cost
	}
	p.Cost = v.money(cost)
	for _, tag := range d.Tags {
		p.Tags = append(p.Tags, link{tag, v.among("search", "q", tag).Href})
	}
	for _, a := range d.APIs {
		if f, inside := v.Tree.Find(path.Clean(a.Definition)); inside {
			a.File = v.at(reconciler.Position{File: f.Path})
		} else if strings.HasPrefix(a.Definition, "http") {
			a.URL = a.Definition
		}
		p.APIs = append(p.APIs, a)
	}
	p.Facts = v.serviceFacts(s, d)
	return p, nil
}

func (v *view) serviceFacts(s reconciler.Service, d serviceDocument) []fact {
	t := v.Platform.Teams[s.Owner]
	var facts []fact
	add := func(label, text, field string, links ...link) {
		if text != "" || len(links) > 0 {
			facts = append(facts, fact{label, text, links, v.field(s.Position, "service", s.Name, field)})
		}
	}
	add("Owner", "", "owner", link{cmp.Or(t.Title, s.Owner), v.to("team", s.Owner).Href})
	if s.OnCall != "" {
		add("On call", s.OnCall, "onCall")
	} else if t.OnCall != "" {
		facts = append(facts, fact{"On call", t.OnCall, nil, v.field(t.Position, "team", t.Name, "onCall")})
	}
	if t.Channel != "" {
		facts = append(facts, fact{"Channel", t.Channel, nil, v.field(t.Position, "team", t.Name, "channel")})
	}
	if s.Tier > 0 {
		add("Tier", strconv.Itoa(s.Tier), "tier")
	}
	add("Lifecycle", s.Lifecycle, "lifecycle")
	add("Type", s.Type, "type")
	add("System", d.System, "system")
	add("Language", d.Language, "language")
	if d.Repository != "" {
		add("Repository", "", "repository", link{d.Repository, d.Repository})
	}
	if f, found := v.document(d.Docs, ""); found {
		add("Documentation", "", "docs", link{d.Docs, v.docsOf(s.Name, d.Docs, f.Path)})
	} else if d.Docs != "" {
		add("Documentation", "", "docs", v.at(reconciler.Position{File: d.Docs}))
	}
	add("Earlier names", strings.Join(s.Aliases, ", "), "aliases")
	return facts
}

func (v *view) neighbours(names []string) []neighbour {
	var all []neighbour
	for _, name := range names {
		s := v.Platform.Services[name]
		all = append(all, neighbour{v.to("service", name), s.Title, s.Tier, s.Lifecycle})
	}
	return all
}

// requestPage is a request.
type requestPage struct {
	*requestIn
	Description string          `json:"description,omitempty"`
	At          link            `json:"at"`
	Facts       []fact          `json:"facts"`
	Inputs      []input         `json:"inputs,omitempty"`
	Conditions  []condition     `json:"conditions,omitempty"`
	Outputs     []output        `json:"outputs,omitempty"`
	Users       []link          `json:"usedBy,omitempty"`
	Plan        *plan           `json:"plan,omitempty"`
	Drift       *plan           `json:"drift,omitempty"`
	Resources   []string        `json:"resources,omitempty"`
	History     []recent        `json:"history,omitempty"`
	Document    json.RawMessage `json:"document,omitempty"`
	Text        string          `json:"-"` // of the document
	Violations  []fault         `json:"violations,omitempty"`
}

// input is what a request says for one input of its blueprint.
type input struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  link   `json:"from"` // the request whose output it is
	At    link   `json:"at"`
}

// condition is a condition as pages show it.
type condition struct {
	reconciler.Condition
	Tone string `json:"-"`
	When string `json:"-"`
}

// output is a value that a request hands out, unless it is a secret.
type output struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Secret bool   `json:"secret,omitempty"`
	About  string `json:"about,omitempty"`
}

// plan is what a run was to do.
type plan struct {
	Summary string                    `json:"summary"`
	Changes []reconciler.ChangedField `json:"changes,omitempty"`
}

func planOf(p reconciler.PlanSummary) *plan {
	return &plan{fmt.Sprintf("%d to create, %d to change, %d to destroy", p.Add, p.Change, p.Destroy), p.Changes}
}

// troubles are the conditions that are good where they are false.
var troubles = map[string]bool{reconciler.Drifted: true, reconciler.Stalled: true, reconciler.Expiring: true}

// mostHistory bounds the history on the page of a request.
const mostHistory = 50

func request(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	row := v.index.request[name]
	if row == nil {
		return nil, v.missing("request", name, slices.Collect(maps.Keys(v.index.request)))
	}
	v.title, v.here = name, "/requests"
	q := v.Platform.Requests[name]
	p := &requestPage{
		requestIn: v.rows([]*requestRow{row})[0], Description: described(q.JSON).Description, At: v.at(q.Position),
		Document: q.JSON, Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "request" && x.Name == name }),
	}
	if len(q.JSON) > 0 {
		p.Text = indented(q.JSON)
	}
	for _, user := range v.users[name] {
		p.Users = append(p.Users, v.to("request", user))
	}
	for _, key := range slices.Sorted(maps.Keys(q.Inputs)) {
		in := input{Name: key, Value: plain(q.Inputs[key]), At: v.field(q.Position, "request", name, "inputs", key)}
		if ref, is := reconciler.Reference(q.Inputs[key]); is {
			in.Value, in.From = "", link{ref.Request + "." + ref.Output, v.to("request", ref.Request).Href}
		}
		p.Inputs = append(p.Inputs, in)
	}
	unit := v.Record.Units[name]
	p.Facts = v.requestFacts(q, unit, p.requestIn)
	if unit != nil {
		v.recorded(p, unit)
	}
	for _, c := range v.Log {
		if text, said := c.unit(name); said {
			p.History = append(p.History, v.recent(c, text, "/requests/"+name))
			if len(p.History) == mostHistory {
				break
			}
		}
	}
	return p, nil
}

func (v *view) requestFacts(q reconciler.Request, unit *reconciler.UnitStatus, row *requestIn) []fact {
	var facts []fact
	add := func(label, text, field string, links ...link) {
		if text == "" && len(links) == 0 {
			return
		}
		at := link{}
		if field != "" && !row.Gone {
			at = v.field(q.Position, "request", q.Name, field)
		}
		facts = append(facts, fact{label, text, links, at})
	}
	add("Service", "", "service", row.Of)
	add("Owner", "", "", row.By)
	add("Blueprint", "", "blueprint", row.From)
	add("Environment", "", "environment", row.In)
	add("Cost a month", row.CostText, "")
	if !row.Gone {
		add("Protected", map[bool]string{true: "yes", false: "no"}[q.Protect], "protect")
	}
	add("Expires", row.Expires, "expires")
	if q.Suspend != nil {
		add("Suspended", q.Suspend.Reason, "suspend")
	}
	if unit == nil {
		return facts
	}
	add("First applied", moments(unit.FirstApplied), "")
	add("Last applied", moments(unit.LastApplied), "")
	if unit.AppliedRevision != "" {
		add("Applied revision", "", "", link{short(unit.AppliedRevision), "/at/" + short(unit.AppliedRevision) + "/requests/" + row.Name})
	}
	add("Engine", unit.Engine, "")
	return facts
}

// moments is a time of the record for people.
func moments(at string) string {
	if len(at) < len("2006-01-02T15:04") {
		return at
	}
	return at[:10] + " " + at[11:16]
}

// recorded adds what happened to a request.
func (v *view) recorded(p *requestPage, unit *reconciler.UnitStatus) {
	p.Resources = unit.Resources
	for _, c := range unit.Conditions {
		tone := "good"
		if c.Status == troubles[c.Type] {
			tone = "bad"
			if waitingReasons[c.Reason] || c.Type == reconciler.Expiring || c.Type == reconciler.Drifted {
				tone = "wait"
			}
		}
		p.Conditions = append(p.Conditions, condition{c, tone, moments(c.Since)})
	}
	declared := v.Platform.Blueprints[unit.Blueprint].Outputs
	for _, key := range slices.Sorted(maps.Keys(unit.Outputs)) {
		if declared[key].Sensitive || slices.Contains(unit.Sensitive, key) {
			continue
		}
		p.Outputs = append(p.Outputs, output{Name: key, Value: plain(unit.Outputs[key]), About: declared[key].Description})
	}
	for _, key := range unit.Sensitive {
		p.Outputs = append(p.Outputs, output{Name: key, Secret: true, About: declared[key].Description})
	}
	if unit.Plan != nil {
		p.Plan = planOf(*unit.Plan)
	}
	if unit.Drift != nil && unit.Drift.Ended == "" {
		p.Drift = planOf(unit.Drift.Plan)
	}
}

// plain shows a value: a string as it is, anything else as JSON.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return visible(text)
	}
	return indented(value)
}

// visible spells out what would hide or turn text: nobody checked what stands in
// a file or an output.
func visible(text string) string {
	return visibly.ReplaceAllStringFunc(text, func(s string) string { return fmt.Sprintf("\\u{%x}", []rune(s)[0]) })
}

var visibly = regexp.MustCompile(`[\x{0}-\x{8}\x{b}-\x{1f}\x{7f}-\x{9f}\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2069}\x{feff}]`)

func indented(value json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return visible(string(value))
	}
	return visible(b.String())
}

// teamsPage lists the teams.
type teamsPage struct {
	Teams []teamRow `json:"teams"`
}

type teamRow struct {
	link
	Title    string `json:"title"`
	About    string `json:"about,omitempty"`
	Services int    `json:"services"`
	Requests int    `json:"requests"`
	Cost     string `json:"cost"`
}

func teams(v *view, _ *http.Request) (any, error) {
	v.title, v.here = "Teams", "/teams"
	p := &teamsPage{}
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Teams)) {
		t := v.Platform.Teams[name]
		p.Teams = append(p.Teams, teamRow{
			v.to("team", name), t.Title, described(t.JSON).Description, len(v.servicesOf[name]), len(v.requestsFor[name]), v.money(sum(v.requestsFor[name])),
		})
	}
	return p, nil
}

func sum(rows []*requestRow) float64 {
	cost := 0.0
	for _, r := range rows {
		cost += r.Cost
	}
	return cost
}

// teamPage is a team.
type teamPage struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	At          link         `json:"at"`
	Facts       []fact       `json:"facts"`
	Members     []string     `json:"members"`
	Lead        string       `json:"lead,omitempty"`
	Services    []*serviceIn `json:"services"`
	MoreOf      count        `json:"allServices"`
	Requests    []*requestIn `json:"requests"`
	MoreFor     count        `json:"allRequests"`
}

// mostRows bounds the lists on pages that are about something else.
const mostRows = 50

func team(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	t, found := v.Platform.Teams[name]
	if !found {
		return nil, v.missing("team", name, slices.Collect(maps.Keys(v.Platform.Teams)))
	}
	v.title, v.here = t.Title, "/teams"
	of, asked := v.servicesOf[name], v.requestsFor[name]
	p := &teamPage{
		Name: name, Title: t.Title, Description: described(t.JSON).Description, At: v.at(t.Position), Members: t.Members, Lead: t.Lead,
		Services: v.serviceRows(of[:min(mostRows, len(of))]), MoreOf: count{link{"all services", v.among("services", "owner", name).Href}, len(of)},
		Requests: v.rows(asked[:min(mostRows, len(asked))]), MoreFor: count{link{"all requests", v.among("requests", "owner", name).Href}, len(asked)},
	}
	add := func(label, text, field string) {
		if text != "" {
			p.Facts = append(p.Facts, fact{label, text, nil, v.field(t.Position, "team", name, field)})
		}
	}
	add("On call", t.OnCall, "onCall")
	add("Channel", t.Channel, "channel")
	add("Forge team", t.Groups.Forge, "groups")
	add("Lead", t.Lead, "lead")
	cost := v.money(sum(asked))
	if t.Budget != nil {
		cost += " of " + v.money(*t.Budget)
	}
	add("Cost a month", cost, "budget")
	return p, nil
}

// environmentsPage lists the environments.
type environmentsPage struct {
	Environments []environmentRow `json:"environments"`
}

type environmentRow struct {
	link
	Title    string `json:"title,omitempty"`
	Stage    string `json:"stage"`
	Requests int    `json:"requests"`
	NotReady int    `json:"notReady"`
	Cost     string `json:"cost"`
}

func environments(v *view, _ *http.Request) (any, error) {
	v.title, v.here = "Environments", "/environments"
	p := &environmentsPage{}
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Environments)) {
		e, in := v.Platform.Environments[name], v.requestsIn[name]
		row := environmentRow{v.to("environment", name), described(e.JSON).Title, e.Stage, len(in), 0, v.money(sum(in))}
		for _, r := range in {
			if r.State.Tone == "bad" || r.State.Tone == "wait" {
				row.NotReady++
			}
		}
		p.Environments = append(p.Environments, row)
	}
	return p, nil
}

// environmentPage is an environment.
type environmentPage struct {
	Name     string       `json:"name"`
	Title    string       `json:"title,omitempty"`
	Stage    string       `json:"stage"`
	At       link         `json:"at"`
	Facts    []fact       `json:"facts"`
	Freezes  []freeze     `json:"freezes,omitempty"`
	Requests []*requestIn `json:"requests"`
	More     count        `json:"allRequests"`
	Text     string       `json:"-"`
}

type freeze struct {
	From   string `json:"from"`
	For    string `json:"for"`
	Zone   string `json:"timeZone"`
	Reason string `json:"reason"`
}

func environment(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	e, found := v.Platform.Environments[name]
	if !found {
		return nil, v.missing("environment", name, slices.Collect(maps.Keys(v.Platform.Environments)))
	}
	v.title, v.here = name, "/environments"
	var d struct {
		Title  string   `json:"title"`
		Freeze []freeze `json:"freeze"`
	}
	if len(e.JSON) > 0 {
		if err := json.Unmarshal(e.JSON, &d); err != nil {
			return nil, fmt.Errorf("read environment %s: %w", name, err)
		}
	}
	in := v.requestsIn[name]
	p := &environmentPage{
		Name: name, Title: d.Title, Stage: e.Stage, At: v.at(e.Position), Freezes: d.Freeze,
		Requests: v.rows(in[:min(mostRows, len(in))]), More: count{link{"all requests", v.among("requests", "environment", name).Href}, len(in)},
	}
	add := func(label, text, field string) {
		if text != "" {
			p.Facts = append(p.Facts, fact{label, text, nil, v.field(e.Position, "environment", name, field)})
		}
	}
	add("Stage", e.Stage, "stage")
	add("State is kept in", e.Backend.Type, "backend")
	add("Providers", strings.Join(slices.Sorted(maps.Keys(e.Providers)), ", "), "providers")
	add("Drift", map[string]string{reconciler.Heal: "put right", "report": "reported"}[e.Drift.Do], "drift")
	add("Cost a month", v.money(sum(in)), "")
	return p, nil
}

// blueprintsPage is the gallery.
type blueprintsPage struct {
	Blueprints []blueprintRow `json:"blueprints"`
}

type blueprintRow struct {
	link
	Title string `json:"title"`
	About string `json:"about,omitempty"`
	Used  int    `json:"used"`
	Cost  string `json:"cost,omitempty"`
}

func blueprints(v *view, _ *http.Request) (any, error) {
	v.title, v.here = "Blueprints", "/blueprints"
	p := &blueprintsPage{}
	for _, name := range slices.Sorted(maps.Keys(v.Platform.Blueprints)) {
		b := v.Platform.Blueprints[name]
		p.Blueprints = append(p.Blueprints, blueprintRow{v.to("blueprint", name), b.Title, b.Description, len(v.requestsBy[name]), v.costs(name)})
	}
	return p, nil
}

// costs is what the requests of a blueprint cost, from the least to the most.
func (v *view) costs(blueprint string) string {
	rows := v.requestsBy[blueprint]
	if len(rows) == 0 {
		return ""
	}
	least, most := rows[0].Cost, rows[0].Cost
	for _, r := range rows {
		least, most = min(least, r.Cost), max(most, r.Cost)
	}
	if least == most {
		return v.money(least)
	}
	return v.money(least) + " – " + strconv.FormatFloat(most, 'f', 2, 64)
}

// blueprintPage is a blueprint.
type blueprintPage struct {
	Name         string         `json:"name"`
	Title        string         `json:"title"`
	Description  string         `json:"description,omitempty"`
	At           link           `json:"at"`
	Folder       link           `json:"folder"`
	Facts        []fact         `json:"facts"`
	Inputs       []blueprintIn  `json:"inputs"`
	Outputs      []blueprintOut `json:"outputs"`
	Requests     []*requestIn   `json:"requests"`
	More         count          `json:"allRequests"`
	Violations   []fault        `json:"violations,omitempty"`
	Environments []link         `json:"environments,omitempty"`
}

type blueprintIn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Optional bool   `json:"optional"`
	At       link   `json:"at"`
}

type blueprintOut struct {
	Name string `json:"name"`
	reconciler.Output
	At link `json:"at"`
}

func blueprint(v *view, r *http.Request) (any, error) {
	name := r.PathValue("name")
	b, found := v.Platform.Blueprints[name]
	if !found {
		return nil, v.missing("blueprint", name, slices.Collect(maps.Keys(v.Platform.Blueprints)))
	}
	v.title, v.here = b.Title, "/blueprints"
	by := v.requestsBy[name]
	p := &blueprintPage{
		Name: name, Title: b.Title, Description: b.Description, At: v.at(b.Position), Folder: v.at(reconciler.Position{File: b.Folder}),
		Requests: v.rows(by[:min(mostRows, len(by))]), More: count{link{"all requests", v.among("requests", "blueprint", name).Href}, len(by)},
		Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "blueprint" && x.Name == name }),
	}
	for _, key := range slices.Sorted(maps.Keys(b.Inputs)) {
		p.Inputs = append(p.Inputs, blueprintIn{key, b.Inputs[key].Type, b.Inputs[key].Optional, v.at(b.Inputs[key].Position)})
	}
	for _, key := range slices.Sorted(maps.Keys(b.Outputs)) {
		p.Outputs = append(p.Outputs, blueprintOut{key, b.Outputs[key], v.field(b.Position, "blueprint", name, "outputs", key)})
	}
	add := func(label, text, field string, links ...link) {
		if text != "" || len(links) > 0 {
			p.Facts = append(p.Facts, fact{label, text, links, v.field(b.Position, "blueprint", name, field)})
		}
	}
	add("Cost a month, in use", v.costs(name), "request")
	var where []link
	for _, e := range b.Environments {
		where = append(where, v.to("environment", e))
	}
	add("Environments", map[bool]string{true: "all"}[len(where) == 0], "environments", where...)
	add("Lifetime", lifetime(b), "lifetime")
	add("Holds data in", strings.Join(b.Stateful, ", "), "stateful")
	return p, nil
}

// lifetime says how long a request of a blueprint lives.
func lifetime(b reconciler.Blueprint) string {
	if b.Lifetime == nil {
		return ""
	}
	days := func(i reconciler.Interval) int { return int(i / reconciler.Interval(24*3600*1e9)) }
	var parts []string
	if n := days(b.Lifetime.Default); n > 0 {
		parts = append(parts, fmt.Sprintf("%d days unless a request says otherwise", n))
	}
	if n := days(b.Lifetime.Max); n > 0 {
		parts = append(parts, fmt.Sprintf("at most %d days", n))
	}
	return strings.Join(parts, ", ") + ", outside production"
}

// sourcePage is a file or a folder of the revision.
type sourcePage struct {
	Path   string   `json:"path"`
	Crumbs []link   `json:"-"`
	Files  []link   `json:"files,omitempty"` // of a folder
	Text   string   `json:"text,omitempty"`
	Lines  []string `json:"-"`
	Note   string   `json:"note,omitempty"` // why there is no text
}

func source(v *view, r *http.Request) (any, error) {
	name := strings.TrimSuffix(r.PathValue("path"), "/")
	v.title = cmp.Or(name, "Source")
	p := &sourcePage{Path: name, Crumbs: v.crumbs(name)}
	f, found := v.Tree.Find(name)
	if !found {
		if p.Files = v.folder(name); len(p.Files) == 0 {
			return nil, notFound{Kind: "file", Name: name, Why: "This revision has no file " + name + ".", Near: []link{{"all files", v.base + "/source/"}}}
		}
		return p, nil
	}
	content, err := v.Tree.Read(f)
	switch {
	case f.Mode != reconciler.Regular && f.Mode != reconciler.Executable:
		p.Note = "This is no regular file."
	case err != nil:
		p.Note = err.Error()
	case !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0:
		p.Note = fmt.Sprintf("This file is no text. It has %d bytes.", f.Size)
	default:
		p.Text = string(content)
		p.Lines = strings.Split(strings.TrimSuffix(visible(p.Text), "\n"), "\n")
	}
	return p, nil
}

// crumbs lead from the root to a path.
func (v *view) crumbs(name string) []link {
	crumbs := []link{{"source", v.base + "/source/"}}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		if part != "" {
			at = path.Join(at, part)
			crumbs = append(crumbs, link{part, v.base + "/source/" + escapePath(at)})
		}
	}
	return crumbs
}

// folder lists what is in a folder.
func (v *view) folder(name string) []link {
	var all []link
	last := ""
	for _, f := range v.Tree.Under(name) {
		rest := strings.TrimPrefix(strings.TrimPrefix(f.Path, name), "/")
		entry, _, deeper := strings.Cut(rest, "/")
		if entry == last {
			continue
		}
		last = entry
		text := entry
		if deeper {
			text += "/"
		}
		all = append(all, link{text, v.base + "/source/" + escapePath(path.Join(name, entry))})
	}
	return all
}
