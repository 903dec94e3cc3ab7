package terraform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/pave-dev/pave/reconciler"
)

// ownershipOutput is the output that Pave adds to each root module: the
// state's record of whose it is.
const ownershipOutput = "pave"

// stateFile is what Pave reads of a state in Terraform's format 4. Its zero
// value is a state that does not exist.
type stateFile struct {
	Version   int                    `json:"version"`
	Serial    uint64                 `json:"serial"`
	Lineage   string                 `json:"lineage"`
	Outputs   map[string]stateOutput `json:"outputs"`
	Resources []stateResource        `json:"resources"`

	raw []byte // all of it
}

type stateOutput struct {
	Value     json.RawMessage `json:"value"`
	Sensitive bool            `json:"sensitive"`
}

type stateResource struct {
	Module    string `json:"module"`
	Mode      string `json:"mode"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Instances []struct {
		IndexKey   any             `json:"index_key"`
		Attributes json.RawMessage `json:"attributes"`
		// Sensitive are paths into Attributes.
		Sensitive [][]pathStep `json:"sensitive_attributes"`
	} `json:"instances"`
}

// pathStep is {"type": "get_attr", "value": NAME} or {"type": "index",
// "value": {"value": KEY, "type": …}}.
type pathStep struct {
	Value json.RawMessage `json:"value"`
}

// localState returns the path of a unit's state with the local backend.
func localState(host Host, unit string) string {
	return filepath.Join(host.State, unit, "terraform.tfstate")
}

// readLocalState reads a unit's state with the local backend; a missing file
// is a state that does not exist.
func readLocalState(host Host, unit string) (stateFile, error) {
	data, err := readOwn(localState(host, unit), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return stateFile{}, nil
	}
	if err != nil {
		return stateFile{}, err
	}
	return parseState(data)
}

// parseState reads a state; no bytes are a state that does not exist.
func parseState(data []byte) (stateFile, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return stateFile{}, nil
	}
	var s stateFile
	if err := json.Unmarshal(data, &s); err != nil {
		return stateFile{}, fmt.Errorf("parse state: %w", err)
	}
	if s.Version != 4 {
		return stateFile{}, fmt.Errorf("parse state: expected version 4, got %d", s.Version)
	}
	s.raw = data
	return s, nil
}

// empty tells whether the state holds nothing that an engine would remove.
func (s stateFile) empty() bool { return len(s.Resources) == 0 && len(s.Outputs) == 0 }

// owner returns the request that the ownership record names; empty if there is
// no record.
func (s stateFile) owner() string {
	var record struct {
		Request string `json:"request"`
	}
	if json.Unmarshal(s.Outputs[ownershipOutput].Value, &record) != nil {
		return ""
	}
	return record.Request
}

// identity is the state as it is recorded.
func (s stateFile) identity(address string) reconciler.State {
	return reconciler.State{Address: address, Lineage: s.Lineage, Serial: s.Serial}
}

// addresses returns the managed resources, sorted.
func (s stateFile) addresses() []string {
	var list []string
	for _, r := range s.Resources {
		if r.Mode != "managed" {
			continue
		}
		for _, instance := range r.Instances {
			list = append(list, r.address()+indexText(instance.IndexKey))
		}
	}
	slices.Sort(list)
	return slices.Compact(list) // an instance and its deposed predecessor share an address
}

// address is the resource's, without the index of an instance.
func (r stateResource) address() string {
	address := r.Type + "." + r.Name
	if r.Module != "" {
		address = r.Module + "." + address
	}
	return address
}

func indexText(key any) string {
	switch k := key.(type) {
	case string:
		return "[" + strconv.Quote(k) + "]"
	case float64:
		return "[" + strconv.FormatFloat(k, 'f', -1, 64) + "]"
	}
	return ""
}

// outputs returns the blueprint's outputs that are not sensitive, and the
// sorted names of those that are.
func (s stateFile) outputs() (plain map[string]json.RawMessage, sensitive []string) {
	plain = map[string]json.RawMessage{}
	for name, o := range s.Outputs {
		switch {
		case name == ownershipOutput:
		case o.Sensitive:
			sensitive = append(sensitive, name)
		default:
			plain[name] = o.Value
		}
	}
	slices.Sort(sensitive)
	return plain, sensitive
}

// sameOutputs tells whether the blueprint's outputs are equal, sensitive ones
// included.
func sameOutputs(a, b stateFile) bool {
	names := map[string]bool{}
	for name := range a.Outputs {
		names[name] = true
	}
	for name := range b.Outputs {
		names[name] = true
	}
	delete(names, ownershipOutput)
	for name := range names {
		x, inA := a.Outputs[name]
		y, inB := b.Outputs[name]
		if inA != inB || x.Sensitive != y.Sensitive || !bytes.Equal(compact(x.Value), compact(y.Value)) {
			return false
		}
	}
	return true
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// addState makes the sensitive outputs and attributes of a state secret.
func (s *secrets) addState(state stateFile) {
	for _, o := range state.Outputs {
		if value, err := decode(o.Value); err == nil && o.Sensitive {
			s.addValue(value)
		}
	}
	for _, r := range state.Resources {
		for _, instance := range r.Instances {
			attributes, err := decode(instance.Attributes)
			if err != nil {
				continue
			}
			for _, path := range instance.Sensitive {
				s.addValue(follow(attributes, path))
			}
		}
	}
}

// follow returns the part of a value that a path leads to. Where the path
// leaves the value, as into a set, it is all that was reached.
func follow(value any, path []pathStep) any {
	for _, step := range path {
		key, err := step.key()
		if err != nil {
			return value
		}
		switch v := value.(type) {
		case map[string]any:
			next, found := v[key]
			if wrapped, dynamic := v["value"].(map[string]any); !found && dynamic && len(v) == 2 {
				next, found = wrapped[key] // {"value": …, "type": …}: an attribute of any type
			}
			if !found {
				return value
			}
			value = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return value
			}
			value = v[i]
		default:
			return value
		}
	}
	return value
}

func (p pathStep) key() (string, error) {
	value, err := decode(p.Value)
	if index, ok := value.(map[string]any); ok {
		value = index["value"]
	}
	return fmt.Sprint(value), err
}
