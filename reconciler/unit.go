package reconciler

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Module is a blueprint's Terraform, read but never run.
type Module struct {
	// Files are what Terraform is given, with paths relative to the blueprint's
	// folder: all of it but CUE, tests, the README and the lock file.
	Files []File
	// Digest changes exactly when a file of Files does.
	Digest string
	// Lock is the committed .terraform.lock.hcl; nil where there is none.
	Lock []byte
	// Providers are the local names of the providers that the root module requires.
	Providers []string
	// Sensitive holds the variables that are declared sensitive.
	Sensitive map[string]bool
	// DeclaresPave tells whether the module declares `variable "pave"` itself.
	DeclaresPave bool
	// Facts is what policies see of the code, as input.blueprint.module.
	Facts json.RawMessage
}

// Unit is one request with all that it refers to, which other units may share: one
// root module, one state.
type Unit struct {
	Request     *Request
	Service     *Service
	Environment *Environment
	Blueprint   *Blueprint
	Module      *Module
}

// Name is the unit's identity: the request's name.
func (u Unit) Name() string { return u.Request.Name }

// Rendering is what Pave adds to a blueprint's folder for one unit. It is a
// pure function of the unit.
type Rendering struct {
	// Generated is the content of pave.tf.json: backend, providers, the
	// variable `pave` and its output. It is constant but for the backend.
	Generated []byte `json:"generated"`
	// Variables is the content of terraform.tfvars.json, without the inputs
	// that come from other units.
	Variables map[string]json.RawMessage `json:"variables"`
	// References are the inputs that come from other units.
	References map[string]Ref `json:"references,omitempty"`
	// Address says where the unit's state is: backend type, configuration and
	// key, as one line without secrets.
	Address string `json:"address"`
}

// Engine is the program that runs blueprints.
type Engine struct {
	Name    string `json:"name"`    // terraform or tofu
	Path    string `json:"path"`    // absolute
	Version string `json:"version"` // such as 1.11.4
}

// State is one state of Terraform, as it was seen last.
type State struct {
	Address string `json:"address,omitempty"`
	Lineage string `json:"lineage,omitempty"`
	Serial  uint64 `json:"serial,omitempty"`
}

// Job is one run, complete and serialisable: the process that carries it out
// needs nothing else from Pave. It holds no secret.
type Job struct {
	ID       string `json:"id"`   // unique among all runs of a host
	Unit     string `json:"unit"` // the request's name
	Mode     Walk   `json:"mode"`
	Destroy  bool   `json:"destroy,omitempty"`
	Revision string `json:"revision"`
	// Basis is the fingerprint of all that this job gives the engine but the
	// provider lock, which the run may be the first to know.
	Basis string `json:"basis"`

	Engine    Engine            `json:"engine"`
	Module    map[string][]byte `json:"module"` // files by path relative to the root module
	Lock      []byte            `json:"lock,omitempty"`
	Rendering Rendering         `json:"rendering"`
	// Upstream tells how to read the outputs that References name, by request.
	Upstream map[string]Upstream `json:"upstream,omitempty"`
	// Environment is whose credentials the run gets.
	Environment string `json:"environment"`
	// Recorded is the state at the unit's last apply. Where it names a lineage
	// the run refuses an empty state and every other lineage.
	Recorded State `json:"recorded"`
	// Takes is a state that becomes the unit's own first; nil where it has one
	// or begins with none.
	Takes *Takeover `json:"takes,omitempty"`
	// Retain tells a destroy to forget the state and to leave what it describes.
	Retain bool `json:"retain,omitempty"`
	// Policy is what the judge of plans needs, opaque to everyone else.
	Policy json.RawMessage `json:"policy,omitempty"`
	// Gated tells that the plan needs an approval whatever the rules say of it.
	// Approved are the plans that have all that were known to be needed, by their
	// digests, each with the teams that gave one.
	Gated    bool                `json:"gated,omitempty"`
	Approved map[string][]string `json:"approved,omitempty"`
	// Heals tells that the run only puts drift right: nobody asked for a change.
	Heals bool `json:"heals,omitempty"`
	// Owner is the team that speaks where a rule that asks for an approval names none.
	Owner string `json:"owner,omitempty"`
	// Pulls are the pull requests that brought what this run does, and Credits
	// the trailers by which the record names them and who approved.
	Pulls   []int    `json:"pulls,omitempty"`
	Credits []string `json:"credits,omitempty"`
	// Timeout bounds each step of the run.
	Timeout time.Duration `json:"timeout"`

	// Folder is the blueprint's folder at Revision, and Success the status to
	// record where the run succeeds: whoever finds the result needs no more.
	Folder  string      `json:"folder,omitempty"`
	Success *UnitStatus `json:"success,omitempty"`
}

// Lacks tells whether a plan lacks an approval, of those that the job needs or of
// those that rules ask for once they see it.
func (j Job) Lacks(plan string, violations []Violation) bool {
	teams, approved := j.Approved[plan]
	if j.Gated && !approved {
		return true
	}
	return slices.ContainsFunc(violations, func(v Violation) bool {
		return v.Level.Holds() && (v.Level != Approve || !slices.Contains(teams, cmp.Or(v.Team, j.Owner)))
	})
}

// Takeover is a state that a unit takes over: that of the name it had before,
// its own at another address, or one of a file.
type Takeover struct {
	// Unit is whose state it is; empty where it is a file's.
	Unit string `json:"unit,omitempty"`
	// State is where it is and which one, as it was recorded.
	State State `json:"state"`
	// Generated locates it, with the credentials of Environment.
	Generated   []byte `json:"generated,omitempty"`
	Environment string `json:"environment,omitempty"`
	// File is a path of this host.
	File string `json:"file,omitempty"`
	// Keeps tells that nothing is taken over where the plan then destroys
	// something.
	Keeps bool `json:"keeps,omitempty"`
}

// Upstream is another unit whose outputs a run uses.
type Upstream struct {
	// Outputs are the recorded outputs that are not sensitive.
	Outputs Fields[json.RawMessage] `json:"outputs,omitempty"`
	// Generated and Backend locate its state, where a sensitive output is needed.
	Generated []byte `json:"generated,omitempty"`
	State     State  `json:"state"`
	// Engine reads it.
	Environment string `json:"environment,omitempty"`
}

// Walk is the mode of a walk: how far it goes.
type Walk string

// The modes.
const (
	Converge Walk = "converge" // plan, judge, apply, record
	Preview  Walk = "preview"  // plan and judge at a revision that is not tracked
	Observe  Walk = "observe"  // plan at the applied revision: what differs is drift
)

// Outcome says how a run ended.
type Outcome string

// The outcomes. Drift, no change and a missing approval are results, not errors.
const (
	Unchanged        Outcome = "unchanged"         // the plan was empty
	Changed          Outcome = "changed"           // preview or observe: the plan is not empty
	Applied          Outcome = "applied"           // everything planned was done
	Destroyed        Outcome = "destroyed"         // nothing of the unit is left
	AwaitingApproval Outcome = "awaiting-approval" // the plan needs an approval; nothing was done
	DeniedByPolicy   Outcome = "denied"            // the plan breaks a rule; nothing was done
	PlanFailed       Outcome = "plan-failed"       // nothing was done
	ApplyFailed      Outcome = "apply-failed"      // part of the plan may have been done
	StateLost        Outcome = "state-lost"        // the recorded state is empty, another or not the last one; nothing was done
	NotOwned         Outcome = "not-owned"         // the state carries no ownership record of this unit; nothing was done
	Interrupted      Outcome = "interrupted"       // asked to stop before the apply; nothing was done
	Unknown          Outcome = "unknown"           // the run died; what it did must be observed
)

// Result is what a run found and did. No text in it holds a secret.
type Result struct {
	ID      string  `json:"id"`
	Unit    string  `json:"unit"`
	Outcome Outcome `json:"outcome"`
	// Message is one line for people: the engine's error with secrets masked,
	// or empty.
	Message    string      `json:"message,omitempty"`
	Violations []Violation `json:"violations,omitempty"`
	// Invalid tells that no plan could be made because the engine cannot read the
	// code: trying it again changes nothing.
	Invalid bool        `json:"invalid,omitempty"`
	Plan    PlanSummary `json:"plan"`
	// Lock is the provider lock that was used.
	Lock []byte `json:"lock,omitempty"`
	// State is the state after the run.
	State State `json:"state"`
	// Moved tells that the state was taken over from where it was before.
	Moved bool `json:"moved,omitempty"`
	// Retained are the resources that were left when the state was forgotten.
	Retained []RetainedResource `json:"retained,omitempty"`
	// OutputsChanged tells whether the apply changed an output, sensitive ones included.
	OutputsChanged bool `json:"outputsChanged,omitempty"`
	// Outputs are those that are not sensitive; Sensitive names the others.
	Outputs   Fields[json.RawMessage] `json:"outputs,omitempty"`
	Sensitive []string                `json:"sensitive,omitempty"`
	Resources []string                `json:"resources,omitempty"` // addresses after the run, sorted
	// IDs are the identities that the providers gave them, by address, of those that
	// are no secret.
	IDs Fields[string] `json:"ids,omitempty"`
	// Doubt are the addresses of what may exist though no state has it: the run was
	// to make it, and was ended before it wrote down what it had made.
	Doubt    []string  `json:"doubt,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}

// RetainedResource is something that exists and that no state describes any longer.
type RetainedResource struct {
	Address string `json:"address"`
	ID      string `json:"id,omitempty"` // the provider's, where it is not sensitive
}

// PlanSummary is what may be shown of a plan: counts, addresses and attribute
// names, and no value but the name of who changed a resource last.
type PlanSummary struct {
	Add     int            `json:"add"`
	Change  int            `json:"change"`
	Destroy int            `json:"destroy"`
	Digest  string         `json:"digest,omitempty"` // see [Job.PlanDigest]
	Changes []ChangedField `json:"changes,omitempty"`
}

// ChangedField is one resource of a plan.
type ChangedField struct {
	Address    string   `json:"address"`
	Action     string   `json:"action"`               // create, update, replace or delete
	Attributes []string `json:"attributes,omitempty"` // top-level names that change
	// By is who changed the resource last, as the provider says; only of drift.
	By string `json:"by,omitempty"`
}

// Empty tells whether the plan changes nothing.
func (p PlanSummary) Empty() bool { return p.Add+p.Change+p.Destroy == 0 }

// Makes returns the addresses of what the plan creates, beside or in place of
// what there is.
func (p PlanSummary) Makes() []string {
	var made []string
	for _, c := range p.Changes {
		if c.Action == "create" || c.Action == "replace" {
			made = append(made, c.Address)
		}
	}
	return made
}

// Unwritten says in words what a run may have made that was ended before it wrote
// that down; nothing where there is none.
func Unwritten(addresses []string) string {
	if len(addresses) == 0 {
		return ""
	}
	named := addresses
	if more := len(addresses) - 8; more > 0 {
		named = append(slices.Clone(addresses[:8]), fmt.Sprintf("and %d more", more))
	}
	return "what it was to make may exist though no state has it: " + strings.Join(named, ", ")
}

// String returns the counts as they stand in status commits: "+1 ~0 -0".
func (p PlanSummary) String() string {
	return sprintCounts(p.Add, p.Change, p.Destroy)
}
