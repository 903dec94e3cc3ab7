package portal

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

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
	Name        string         `json:"name"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	At          spot           `json:"at"`
	Folder      spot           `json:"folder"`
	Facts       []fact         `json:"facts"`
	Ask         link           `json:"ask"` // the form for a request of it
	Inputs      []blueprintIn  `json:"inputs"`
	Outputs     []blueprintOut `json:"outputs"`
	Requests    []*requestIn   `json:"requests"`
	More        count          `json:"allRequests"`
	Violations  []fault        `json:"violations,omitempty"`
}

type blueprintIn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Help     string `json:"help,omitempty"`
	Default  string `json:"default,omitempty"`
	Required bool   `json:"required"`
	Fixed    bool   `json:"fixed,omitempty"` // the platform says it
	At       spot   `json:"at"`
}

type blueprintOut struct {
	Name string `json:"name"`
	reconciler.Output
	At spot `json:"at"`
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
		Name: name, Title: b.Title, Description: b.Description, Ask: v.formAt("Ask for one", "/blueprints/"+url.PathEscape(name)+"/new"), At: v.at(b.Position), Folder: v.at(reconciler.Position{File: b.Folder}),
		Requests: v.rows(by[:min(mostRows, len(by))]), More: count{link: link{"all requests", v.among("requests", "blueprint", name).Href}, Number: len(by)},
		Violations: v.faults(func(x reconciler.Violation) bool { return x.Kind == "blueprint" && x.Name == name }),
	}
	for _, key := range slices.Sorted(maps.Keys(b.Inputs)) {
		in := b.Inputs[key]
		p.Inputs = append(p.Inputs, blueprintIn{key, in.Type, in.Field.Help, string(in.Field.Default), in.Field.Required, in.Field.Fixed, v.at(in.Position)})
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
		parts = append(parts, reconciler.Plural(n, "day")+" unless a request says otherwise")
	}
	if n := days(b.Lifetime.Max); n > 0 {
		parts = append(parts, "at most "+reconciler.Plural(n, "day"))
	}
	return strings.Join(parts, ", ") + ", outside production"
}
