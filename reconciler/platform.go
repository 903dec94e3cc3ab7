package reconciler

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Platform is a platform repository, evaluated: what the organisation wants. Nobody
// changes its services and requests: later revisions share those that say the same.
type Platform struct {
	Settings     Settings
	Teams        map[string]Team
	Environments map[string]Environment
	Blueprints   map[string]Blueprint
	Services     map[string]*Service
	Requests     map[string]*Request
}

// Service returns the service of a name; where there is none, one that says nothing.
func (p *Platform) Service(name string) *Service {
	if s := p.Services[name]; s != nil {
		return s
	}
	return &Service{}
}

// Request returns the request of a name; where there is none, one that says nothing.
func (p *Platform) Request(name string) *Request {
	if r := p.Requests[name]; r != nil {
		return r
	}
	return &Request{}
}

// Document is what every team, environment, blueprint, service and request
// carries beside its typed fields.
type Document struct {
	// JSON is the complete evaluated document, defaults included: what policies see.
	JSON json.RawMessage `json:"-"`
	// Digest identifies what the document says; empty where nobody computed it.
	Digest string `json:"-"`
	// Position is the document's opening in the file that declares it.
	Position Position `json:"-"`
	// Sources are the files that decide what the document says, sorted, without
	// those of the root and of blueprints.
	Sources []string `json:"-"`
}

// Settings is the document `platform`. Its fields mirror #Platform of the schema.
type Settings struct {
	Title    string `json:"title"`
	Owner    string `json:"owner"`
	Engine   string `json:"engine"`
	Currency string `json:"currency"`
	Guards   Guards `json:"guards"`
	Rollout  struct {
		Stages      []string `json:"stages"`
		MaxParallel int      `json:"maxParallel"`
		MaxFailures int      `json:"maxFailures"`
	} `json:"rollout"`
	Policy struct {
		Overrides map[string]Override `json:"overrides"`
		Waivers   []Waiver            `json:"waivers"`
		Providers []string            `json:"providers"`
	} `json:"policy"`
	Intervals struct {
		Poll  Interval `json:"poll"`
		Drift Interval `json:"drift"`
		Retry Interval `json:"retry"`
	} `json:"intervals"`
	Expiry struct {
		Warn Interval `json:"warn"`
	} `json:"expiry"`
	Limits struct {
		Parallel int      `json:"parallel"` // 0 means what suits the host, as with Memory
		Memory   uint64   `json:"memory"`   // in bytes
		RunTime  Interval `json:"runTime"`
	} `json:"limits"`
	Preview struct {
		// MaxUnits bounds the plans for a pull request that changes blueprints.
		MaxUnits int `json:"maxUnits"`
	} `json:"preview"`
	// AutoMerge merges pull requests that the rules call pre-approved.
	AutoMerge bool `json:"autoMerge"`
	Document  `json:"-"`
}

// Guards limits deletion.
type Guards struct {
	MaxDeletes        int `json:"maxDeletes"`        // per revision
	MaxDeletesPerHour int `json:"maxDeletesPerHour"` // over all revisions
	// MaxDeletesShare is in percent of the requests that run, and Shrink lets a
	// revision delete more, as long as so many are left.
	MaxDeletesShare int `json:"maxDeletesShare"`
	Shrink          *struct {
		To     int    `json:"to"`
		Reason string `json:"reason"`
	} `json:"shrink"`
	// RequirePullRequest lets only merged pull requests change the platform,
	// where a forge is configured.
	RequirePullRequest bool `json:"requirePullRequest"`
	Release            []struct {
		Request string `json:"request"`
		Reason  string `json:"reason"`
	} `json:"release"`
}

// Override changes the level of a built-in rule to "warn" or "off".
type Override struct {
	Level  string `json:"level"`
	Reason string `json:"reason"`
}

// Waiver lets one blueprint break one built-in rule.
type Waiver struct {
	Rule      string `json:"rule"`
	Blueprint string `json:"blueprint"`
	Reason    string `json:"reason"`
}

// Team is a group of people who own services.
type Team struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Lead    string   `json:"lead"`
	Members []string `json:"members"`
	Groups  struct {
		Forge string `json:"forge"` // the team's name on the forge, such as "acme/payments"
		OIDC  string `json:"oidc"`
	} `json:"groups"`
	OnCall  string   `json:"onCall"`
	Channel string   `json:"channel"`
	Budget  *float64 `json:"budget"` // a month; nil means none was set
	// Keys are the SSH public keys by which members sign approvals, by handle.
	Keys map[string]string `json:"keys"`

	Document `json:"-"`
}

// Environment is a place where infrastructure runs.
type Environment struct {
	Name      string                     `json:"name"`
	Stage     string                     `json:"stage"`
	Providers map[string]json.RawMessage `json:"providers"` // arguments by the provider's local name
	Backend   Backend                    `json:"backend"`
	Drift     struct {
		Every Interval `json:"every"` // 0 means that of the settings
		Do    string   `json:"do"`    // "report" or Heal
	} `json:"drift"`
	Freeze []Freeze `json:"freeze"`

	Document `json:"-"`
}

// Freeze is a time in which nothing in an environment is changed or destroyed.
type Freeze struct {
	From     string   `json:"from"` // a schedule, see [Calendar]
	For      Interval `json:"for"`
	TimeZone string   `json:"timeZone"`
	Reason   string   `json:"reason"`
}

// Heal is what an environment does about drift to put it right.
const Heal = "heal"

// Backend tells where the state of an environment's units is kept.
type Backend struct {
	Type   string                     `json:"type"`
	Config map[string]json.RawMessage `json:"config,omitempty"`
}

// Production is the stage that must not break.
const Production = "production"

// Blueprint is a golden path, without its Terraform: that is in Folder.
type Blueprint struct {
	Name         string            `json:"name"`
	Title        string            `json:"title"`
	Description  string            `json:"description"`
	Outputs      map[string]Output `json:"outputs"`
	Environments []string          `json:"environments"`
	Lifetime     *struct {
		Default Interval `json:"default"`
		Max     Interval `json:"max"`
	} `json:"lifetime"`
	Stateful []string `json:"stateful"`
	Rollout  *struct {
		MaxParallel int `json:"maxParallel"`
		MaxFailures int `json:"maxFailures"`
	} `json:"rollout"`

	// Folder holds the blueprint's files, such as "blueprints/postgres".
	Folder string `json:"-"`
	// Inputs are the fields of its #Inputs by name, with the type that each
	// needs in Terraform; nil where the blueprint's CUE is refused.
	Inputs map[string]Input `json:"-"`

	Document `json:"-"`
}

// Output is a value that a blueprint hands out.
type Output struct {
	Type        string `json:"type"`
	Sensitive   bool   `json:"sensitive"`
	Description string `json:"description"`
}

// Input is a field of a blueprint's #Inputs.
type Input struct {
	// Type is the Terraform type that accepts every allowed value, in
	// Terraform's own notation: string, number, bool, list(T), map(T),
	// object({a=T,b=optional(T)}) or any.
	Type     string   `json:"type"`
	Optional bool     `json:"optional"` // may be absent, having no default
	Position Position `json:"position"`
	Field    Field    `json:"field"` // how a form shows it
}

// Service is something that a team runs or publishes.
type Service struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Owner     string   `json:"owner"`
	Type      string   `json:"type"`
	Lifecycle string   `json:"lifecycle"`
	Tier      int      `json:"tier"` // 1 to 4; 0 means none was set
	OnCall    string   `json:"onCall"`
	DependsOn []string `json:"dependsOn"`
	Aliases   []string `json:"aliases"`
	Sunset    string   `json:"sunset"`    // the last day that it is there, or empty
	Successor string   `json:"successor"` // the service that takes over

	Document `json:"-"`
}

// Request asks for the infrastructure of one blueprint.
type Request struct {
	Name        string                  `json:"name"`
	Blueprint   string                  `json:"blueprint"`
	Service     string                  `json:"service"`
	Environment string                  `json:"environment"`
	Inputs      Fields[json.RawMessage] `json:"inputs"`
	Expires     string                  `json:"expires"` // a day, or empty
	TTL         Interval                `json:"ttl"`     // from the first apply on; 0 where none is set
	Protect     bool                    `json:"protect"`
	BreakGlass  *BreakGlass             `json:"breakGlass"`
	Suspend     *struct {
		Reason string `json:"reason"`
	} `json:"suspend"`
	Replace      bool     `json:"replace"`
	Deletion     string   `json:"deletion"` // what its end does: destroy or retain
	RenamedFrom  string   `json:"renamedFrom"`
	ShareWith    []string `json:"shareWith"`
	AllowDestroy *struct {
		Resources []string `json:"resources"`
		Reason    string   `json:"reason"`
	} `json:"allowDestroy"`
	Cost struct {
		Monthly float64 `json:"monthly"`
	} `json:"cost"`

	Document `json:"-"`
}

// Retain is the deletion that leaves what exists.
const Retain = "retain"

// BreakGlass lets a request change while its environment is frozen.
type BreakGlass struct {
	Until  string `json:"until"` // a day
	Reason string `json:"reason"`
	// Used is when a run made use of it, as it is recorded.
	Used string `json:"used,omitempty"`
}

// Ref names another request's output.
type Ref struct {
	Request string `json:"request"`
	Output  string `json:"output"`
}

// Reference returns the output that an input's value names, and whether it
// names one: {"from": {"request": …, "output": …}}.
func Reference(value json.RawMessage) (Ref, bool) {
	if !strings.HasPrefix(strings.TrimSpace(string(value)), "{") {
		return Ref{}, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil || len(fields) != 1 || fields["from"] == nil {
		return Ref{}, false
	}
	var ref Ref
	if json.Unmarshal(fields["from"], &ref) != nil || ref.Request == "" || ref.Output == "" {
		return Ref{}, false
	}
	return ref, true
}

// Interval is a length of time written as "30s", "10m", "24h" or "30d".
type Interval time.Duration

// UnmarshalJSON reads the schema's #Interval and #Days.
func (i *Interval) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			return fmt.Errorf("read interval %q: %w", text, err)
		}
		*i = Interval(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read interval %q: %w", text, err)
	}
	*i = Interval(d)
	return nil
}
