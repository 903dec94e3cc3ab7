package reconciler

import (
	"encoding/json"
	"time"
)

// Subject is the one input that every rule sees as `input`, built-in and the
// organisation's own. Parts that do not apply are absent.
type Subject struct {
	// Kind is "service", "request" or "blueprint"; with a plan it is "request". It
	// is "view" or "ask" where a person is about to see a document in the portal, or
	// to ask there for a request to be as the document says.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Of is the kind of the document that is viewed or asked for.
	Of string `json:"of,omitempty"`
	// Person is who views or asks; nil is nobody in particular, who never asks.
	Person *Visitor `json:"person,omitempty"`
	// Document is the evaluated document with its defaults.
	Document json.RawMessage `json:"document,omitempty"`
	Change   Change          `json:"change"`
	// Team owns the service; for a request, the owner of its service.
	Team        json.RawMessage `json:"team,omitempty"`
	Service     json.RawMessage `json:"service,omitempty"`
	Environment json.RawMessage `json:"environment,omitempty"`
	// Blueprint is the document of the blueprint; a field `module` holds the facts of its code.
	Blueprint json.RawMessage `json:"blueprint,omitempty"`
	// Dependencies are the services that a service depends on, directly.
	Dependencies []json.RawMessage `json:"dependencies,omitempty"`
	Cost         *Cost             `json:"cost,omitempty"`
	// Plan is the engine's plan in its own JSON (`show -json`), only while a run judges it.
	Plan json.RawMessage `json:"plan,omitempty"`
	// Heal tells that the plan only puts drift right: nobody asked for a change.
	Heal bool `json:"heal,omitempty"`
	// Reviewed tells that changes are reviewed on a forge.
	Reviewed bool `json:"reviewed,omitempty"`
	// Settings is the document `platform`.
	Settings json.RawMessage `json:"settings,omitempty"`
	// Now is the commit time of the revision: the same revision gets the same verdict.
	Now time.Time `json:"now"`
}

// Visitor is who uses the portal, as rules see them.
type Visitor struct {
	// ID stays theirs for ever, and is nobody else's. The name is for messages.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Role is viewer, developer or platform, and Teams are the names of their teams.
	Role  string   `json:"role"`
	Teams []string `json:"teams"`
	// Groups are the ids of their groups where they signed in.
	Groups []string `json:"groups"`
}

// Change says what the revision does to the subject, compared with what was
// recorded last.
type Change struct {
	Action string `json:"action"` // create, update, delete or none
	// Fields are the top-level fields that differ, sorted.
	Fields []string        `json:"fields,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
}

// Cost is a request's price and its team's, a month, in the platform's currency.
type Cost struct {
	Monthly float64  `json:"monthly"`
	Before  float64  `json:"before"` // what the request cost when it was applied last
	Team    TeamCost `json:"team"`
}

// TeamCost sums the requests of a team.
type TeamCost struct {
	Before float64  `json:"before"`
	After  float64  `json:"after"`
	Budget *float64 `json:"budget,omitempty"`
}
