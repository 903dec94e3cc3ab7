package reconciler

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The conditions of a unit. Each is true, false or, where nothing is known
// yet, absent.
const (
	Valid    = "Valid"    // the document keeps the schema and its references exist
	Allowed  = "Allowed"  // no rule denies it
	Planned  = "Planned"  // the engine made a plan
	Approved = "Approved" // nobody needs to approve the plan, or somebody did
	Done     = "Applied"  // what the revision asks for is what was applied last
	Ready    = "Ready"    // all of the above: what is in Git is what runs
	Drifted  = "Drifted"  // what runs differs from what was applied
	Expiring = "Expiring" // it is destroyed soon
	Stalled  = "Stalled"  // a person must act
)

// Reasons say in one word why a condition is as it is.
const (
	ReasonApplied          = "Applied"
	ReasonInvalid          = "Invalid"
	ReasonDenied           = "DeniedByPolicy"
	ReasonWaiting          = "Waiting"
	ReasonUpstream         = "WaitingForUpstream"
	ReasonRollout          = "Rollout"
	ReasonPlanFailed       = "PlanFailed"
	ReasonApplyFailed      = "ApplyFailed"
	ReasonUnknown          = "OutcomeUnknown"
	ReasonApproval         = "AwaitingApproval"
	ReasonForge            = "ForgeUnread"
	ReasonSuspended        = "Suspended"
	ReasonStateLost        = "StateLost"
	ReasonStateMoved       = "StateMoved"
	ReasonNotOwned         = "NotOwned"
	ReasonIdentity         = "IdentityChanged"
	ReasonProtected        = "Protected"
	ReasonDeletionGuard    = "DeletionGuard"
	ReasonReferenced       = "Referenced"
	ReasonExpired          = "Expired"
	ReasonExpires          = "Expires"
	ReasonRename           = "RenamePending"
	ReasonDrift            = "Drift"
	ReasonFreeze           = "Freeze"
	ReasonBlueprintInvalid = "BlueprintInvalid"
)

// Condition is one statement about a unit or a service.
type Condition struct {
	Type    string `json:"type"`
	Status  bool   `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	Since   string `json:"since"` // RFC 3339, when status or reason changed last
}

// Conditions are in the order in which they are met.
type Conditions []Condition

var conditionOrder = []string{Valid, Allowed, Planned, Approved, Done, Ready, Drifted, Expiring, Stalled}

// Get returns the condition of the type.
func (cs Conditions) Get(kind string) (Condition, bool) {
	for _, c := range cs {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

// Set states a condition, and tells whether that is news. It keeps the time where
// neither status nor reason change.
func (cs *Conditions) Set(kind string, status bool, reason, message string, now time.Time) (news bool) {
	if old, found := cs.Get(kind); found && old.Status == status && old.Reason == reason && old.Message == message {
		return false
	}
	c := Condition{Type: kind, Status: status, Reason: reason, Message: message, Since: now.UTC().Format(time.RFC3339)}
	for i, old := range *cs {
		if old.Type == kind {
			if old.Status == status && old.Reason == reason {
				c.Since = old.Since
			}
			(*cs)[i] = c
			return true
		}
	}
	*cs = append(*cs, c)
	slices.SortStableFunc(*cs, func(a, b Condition) int {
		return slices.Index(conditionOrder, a.Type) - slices.Index(conditionOrder, b.Type)
	})
	return true
}

// Drop withdraws a condition.
func (cs *Conditions) Drop(kind string) {
	for i, c := range *cs {
		if c.Type == kind {
			*cs = append((*cs)[:i:i], (*cs)[i+1:]...)
			return
		}
	}
}

// UnitStatus is what is known of one request: the file
// requests/<two digits>/<name>.json of the status branch, see shard.
type UnitStatus struct {
	Version     int    `json:"version"`
	Request     string `json:"request"`
	Service     string `json:"service,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Blueprint   string `json:"blueprint,omitempty"`
	Environment string `json:"environment,omitempty"`
	Stage       string `json:"stage,omitempty"`

	Conditions Conditions `json:"conditions"`
	// ObservedRevision is the last revision at which anything in here changed.
	ObservedRevision string `json:"observedRevision,omitempty"`
	AppliedRevision  string `json:"appliedRevision,omitempty"`
	// Fingerprint identifies what the engine was given at the last apply.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Module is the digest of the blueprint's code at the last apply.
	Module string `json:"module,omitempty"`
	// FailedModule is that of the last run, where it failed: a rollout stops at
	// it, whoever runs it next.
	FailedModule string `json:"failedModule,omitempty"`

	Protect bool `json:"protect"`
	// Unprotected is the revision that lifted the protection last.
	Unprotected string `json:"unprotected,omitempty"`

	// Retain tells that its end leaves what exists.
	Retain bool `json:"retain,omitempty"`

	Expires string  `json:"expires,omitempty"`
	Cost    float64 `json:"cost"`

	Plan  *PlanSummary `json:"plan,omitempty"` // of the last run
	Drift *Drift       `json:"drift,omitempty"`
	// BreakGlass is what let the last apply happen while the environment was frozen.
	BreakGlass *BreakGlass `json:"breakGlass,omitempty"`
	Resources  []string    `json:"resources,omitempty"`
	// IDs are what the providers call the resources, by address, see [Result].
	IDs Fields[string] `json:"ids,omitempty"`
	// Doubt are the addresses of what failed runs since the last apply may have made
	// and written down nowhere.
	Doubt []string `json:"doubt,omitempty"`

	Outputs   Fields[json.RawMessage] `json:"outputs,omitempty"`
	Sensitive []string                `json:"sensitiveOutputs,omitempty"`
	// OutputsVersion is the state's lineage and serial at the last change of an output.
	OutputsVersion string `json:"outputsVersion,omitempty"`
	// References are the inputs that came from other units at the last apply.
	References map[string]Ref `json:"references,omitempty"`

	Engine       string `json:"engine,omitempty"` // such as "terraform 1.11.4"
	State        State  `json:"state"`
	FirstApplied string `json:"firstApplied,omitempty"` // RFC 3339
	LastApplied  string `json:"lastApplied,omitempty"`
	// Document is the request as it was applied last, and Sources are the files
	// that decided what it said, then and at every revision since that waits.
	Document json.RawMessage `json:"document,omitempty"`
	Sources  []string        `json:"sources,omitempty"`
	// ServiceDigest identifies what the service's document said then: rules read it.
	ServiceDigest string `json:"serviceDigest,omitempty"`
}

// Drift is what is known of how what runs differs from what was applied, also
// after that is over: it may come back.
type Drift struct {
	// Plan is what would put it right.
	Plan PlanSummary `json:"plan"`
	// Times counts how often it appeared since First, in a row.
	Times int    `json:"times"`
	First string `json:"first"`           // RFC 3339
	Ended string `json:"ended,omitempty"` // when it was over last
}

// Exists tells whether anything was ever applied, or may have been.
func (s *UnitStatus) Exists() bool { return s != nil && s.State.Address != "" }

// Is tells whether the condition is stated and true.
func (s *UnitStatus) Is(kind string) bool {
	c, found := s.Conditions.Get(kind)
	return found && c.Status
}

// ServiceStatus is the file services/<two digits>/<name>.json.
type ServiceStatus struct {
	Version    int        `json:"version"`
	Service    string     `json:"service"`
	Owner      string     `json:"owner"`
	Lifecycle  string     `json:"lifecycle"`
	Tier       int        `json:"tier,omitempty"`
	Conditions Conditions `json:"conditions"`
	Requests   []string   `json:"requests,omitempty"`
}

// PlatformStatus is the file platform.json.
type PlatformStatus struct {
	Version int `json:"version"`
	// Revision is the last revision in force when anything was recorded.
	Revision string `json:"revision"`
	// Doubted tells that Revision is only what a branch says that was not believed.
	// Nothing comes into force then but by an operator's word, where there is a forge.
	Doubted bool `json:"doubted,omitempty"`
	// Refused is a later revision that was refused whole, and why.
	Refused *Refusal `json:"refused,omitempty"`
	// Warnings say where something else lets changes past Pave.
	Warnings []string `json:"warnings,omitempty"`
	// Deletions are the units destroyed within the last hour before the last
	// record, for the hourly guard.
	Deletions []Deletion `json:"deletions,omitempty"`
	// Orphans are what requests with deletion: "retain" left behind.
	Orphans []Orphan `json:"orphans,omitempty"`
}

// Orphan is what was left of a request: it exists, and nothing looks after it.
type Orphan struct {
	Request     string             `json:"request"`
	Owner       string             `json:"owner"`
	Blueprint   string             `json:"blueprint"`
	Environment string             `json:"environment"`
	Revision    string             `json:"revision"` // the one that asked for it no longer
	At          string             `json:"at"`       // RFC 3339
	Resources   []RetainedResource `json:"resources"`
}

// Refusal says why a revision is not in force.
type Refusal struct {
	Revision   string      `json:"revision"`
	Violations []Violation `json:"violations"`
	// Waiting tells that nothing is wrong with it but that an approval is missing,
	// or an operator's word.
	Waiting bool `json:"waiting,omitempty"`
}

// Deletion is one destroyed unit.
type Deletion struct {
	Request  string `json:"request"`
	Revision string `json:"revision"` // the one that asked for it no longer
	At       string `json:"at"`       // RFC 3339
}

// Lock is a provider lock that the first initialisation of a blueprint chose:
// the file locks/<blueprint>.json. It holds until the blueprint or the engine changes.
type Lock struct {
	Module  string `json:"module"`
	Engine  string `json:"engine"`
	Content string `json:"content"`
}

// encode renders a status file: indented, so that a diff reads well.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return b.Bytes(), nil
}

// shard spreads files over folders, by the first two digits of the SHA-256 of their
// name: names that begin alike would fill one folder, which every commit writes anew.
func shard(folder, name string) string {
	digest := sha256.Sum256([]byte(name))
	return folder + "/" + hex.EncodeToString(digest[:1]) + "/" + name
}
