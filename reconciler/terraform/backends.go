package terraform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// backendKind tells how a backend of the engine finds the state of one unit.
type backendKind struct {
	argument string   // names the unit's state; Pave sets it
	style    *style   // how the name is written
	locates  []string // the other arguments that tell where the state is
}

// backendKinds holds every backend but "local" that Terraform knows.
var backendKinds = map[string]backendKind{
	"azurerm":    {"key", objectName, []string{"environment", "storage_account_name", "container_name"}},
	"consul":     {"path", folderName, []string{"scheme", "address", "datacenter"}},
	"cos":        {"key", objectName, []string{"region", "endpoint", "domain", "bucket", "prefix"}},
	"gcs":        {"prefix", folderName, []string{"storage_custom_endpoint", "bucket"}},
	"http":       {"address", addressName, nil},
	"kubernetes": {"secret_suffix", secretName, []string{"host", "config_context", "config_context_cluster", "namespace"}},
	"oci":        {"key", objectName, []string{"region", "namespace", "bucket"}},
	"oss":        {"key", objectName, []string{"region", "endpoint", "bucket", "prefix"}},
	"pg":         {"schema_name", schemaName, []string{"conn_str"}},
	"remote":     {"workspaces", workspaceName, []string{"hostname", "organization"}},
	"s3":         {"key", objectName, []string{"region", "endpoint", "endpoints", "bucket"}},
}

// style is a way to write prefix and unit as the name of a state. Two units
// never get the same name: what is shortened carries a hash of the whole.
type style struct {
	prefix    func() *regexp.Regexp // what the environment may ask for; nil means an address
	separator string
	suffix    string
	limit     int // in bytes; 0 means none
	fold      func(string) string
}

var (
	pathPrefix = reconciler.Pattern(`^[A-Za-z0-9_=][A-Za-z0-9._=-]*(/[A-Za-z0-9_=][A-Za-z0-9._=-]*)*$`)

	objectName    = &style{prefix: pathPrefix, separator: "/", suffix: ".tfstate"}
	folderName    = &style{prefix: pathPrefix, separator: "/"}
	workspaceName = &style{prefix: reconciler.Pattern(`^[A-Za-z0-9_-]+$`), separator: "-", limit: 90}
	// Postgres cuts longer identifiers without a word.
	schemaName = &style{prefix: reconciler.Pattern(`^[a-z_][a-z0-9_]*$`), separator: "_", limit: 63,
		fold: func(s string) string { return strings.ReplaceAll(s, "-", "_") }}
	// The name is a label, too; a number at its end would read as a part of a state in several secrets.
	secretName  = &style{prefix: reconciler.Pattern(`^[a-z0-9][a-z0-9-]*$`), separator: "-", suffix: "-state", limit: 63}
	addressName = &style{}
)

func (s *style) name(prefix, unit string) string {
	name := unit
	if prefix != "" {
		name = prefix + s.separator + unit
	}
	if s.fold != nil {
		name = s.fold(name)
	}
	if room := s.limit - len(s.suffix); s.limit > 0 && len(name) > room {
		sum := sha256.Sum256([]byte(name))
		name = name[:room-9] + s.separator + hex.EncodeToString(sum[:4])
	}
	return name + s.suffix
}

// secretArguments are refused in a backend's configuration at any depth:
// credentials and the programs that fetch them belong to the host.
var secretArguments = []string{
	"access_key", "access_token", "client_certificate", "client_certificate_password", "client_key",
	"client_private_key_pem", "client_secret", "credentials", "encryption_key", "exec", "http_auth",
	"oidc_request_token", "oidc_token", "password", "private_key", "private_key_password", "sas_token",
	"secret_id", "secret_key", "security_token", "sse_customer_key", "token", "web_identity_token",
}

// localBackend keeps the state in a folder that the run links to the unit's
// place in the host's state directory.
var localBackend = map[string]any{"local": map[string]any{"path": "state/terraform.tfstate"}}

// renderBackend returns the block of the backend and the address of the unit's
// state: where it is, as one line.
func renderBackend(environment reconciler.Environment, unit, prefix string) (map[string]any, string, error) {
	backend := environment.Backend
	if backend.Type == "local" {
		for _, key := range slices.Sorted(maps.Keys(backend.Config)) {
			return nil, "", fmt.Errorf("environment %s: backend.config.%s: the local backend takes no arguments; remove it", environment.Name, key)
		}
		return localBackend, "local:" + unit, nil
	}
	kind, known := backendKinds[backend.Type]
	if !known {
		return nil, "", fmt.Errorf("environment %s: backend.type: expected a backend of the engine, such as local or s3; got %q", environment.Name, backend.Type)
	}
	config, err := literals(environment)
	if err != nil {
		return nil, "", err
	}
	if err := kind.nameState(config, unit, prefix); err != nil {
		return nil, "", fmt.Errorf("environment %s: backend.config.%s: %w", environment.Name, kind.argument, err)
	}
	return map[string]any{backend.Type: config}, backend.Type + ":" + kind.address(config), nil
}

// nameState sets the arguments that name the unit's state. What the
// environment says in their place is a prefix.
func (k backendKind) nameState(config map[string]any, unit, prefix string) error {
	switch k.style {
	case addressName:
		return nameAddress(config, unit)
	case workspaceName:
		name, err := k.style.named(workspacePrefix(config["workspaces"]), unit, prefix)
		config["workspaces"] = map[string]any{"name": name}
		return err
	}
	name, err := k.style.named(config[k.argument], unit, prefix)
	config[k.argument] = name
	return err
}

// named returns the state's name below the prefix that was configured, which is nil
// where the environment says nothing.
func (s *style) named(configured any, unit, prefix string) (string, error) {
	if configured != nil {
		text, ok := configured.(string)
		if !ok {
			return "", errors.New("expected text, which becomes the prefix of every state's name")
		}
		prefix = strings.TrimSuffix(text, "/")
	}
	if prefix != "" && !s.prefix().MatchString(prefix) {
		return "", fmt.Errorf("expected a prefix that matches %s; got %q", s.prefix(), prefix)
	}
	return s.name(prefix, unit), nil
}

// workspacePrefix returns the name in {"name": …}, and anything else as it is,
// for named to refuse.
func workspacePrefix(workspaces any) any {
	if fields, ok := workspaces.(map[string]any); ok && len(fields) == 1 && fields["name"] != nil {
		return fields["name"]
	}
	return workspaces
}

// nameAddress appends the unit to the address. State is always locked: at the
// same address, unless the environment gives another one or a path below it,
// such as "/lock".
func nameAddress(config map[string]any, unit string) error {
	base, err := parseAddress(config["address"])
	if err != nil {
		return err
	}
	state := base.JoinPath(unit)
	config["address"] = state.String()
	for _, argument := range []string{"lock_address", "unlock_address"} {
		text, _ := config[argument].(string)
		switch {
		case config[argument] == nil:
			config[argument] = state.String()
		case strings.HasPrefix(text, "/"):
			config[argument] = state.JoinPath(text).String()
		default:
			other, err := parseAddress(config[argument])
			if err != nil {
				return err
			}
			config[argument] = other.JoinPath(unit).String()
		}
	}
	return nil
}

func parseAddress(value any) (*url.URL, error) {
	text, _ := value.(string)
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, fmt.Errorf("expected an address such as \"https://state.example.com/units\"; got %s", oneLine(value))
	}
	return u, nil
}

// address writes the arguments that tell where the state is, the unit's own last.
func (k backendKind) address(config map[string]any) string {
	var parts []string
	for _, argument := range append(slices.Clone(k.locates), k.argument) {
		if value, ok := config[argument]; ok {
			parts = append(parts, argument+"="+oneLine(value))
		}
	}
	return strings.Join(parts, ",")
}

var plainValue = reconciler.Pattern(`^[A-Za-z0-9._:/@?&%+~-]+$`)

// oneLine writes a value without anything that could be taken for another argument.
func oneLine(value any) string {
	if text, ok := value.(string); ok && plainValue().MatchString(text) {
		return text
	}
	return string(marshal(value))
}

// literals returns the backend's configuration, which Terraform reads as
// templates, after refusing all that is not literal and all that is secret.
func literals(environment reconciler.Environment) (map[string]any, error) {
	config := map[string]any{}
	for key, raw := range environment.Backend.Config {
		value, err := decode(raw)
		if err == nil {
			err = checkLiteral(value)
		}
		if err == nil {
			err = checkArgument(key)
		}
		if err != nil {
			return nil, fmt.Errorf("environment %s: backend.config.%s: %w", environment.Name, key, err)
		}
		config[key] = value
	}
	return config, nil
}

func checkArgument(key string) error {
	if !identifier().MatchString(key) {
		return fmt.Errorf("%q is no name of an argument", key)
	}
	if slices.Contains(secretArguments, key) {
		return fmt.Errorf("%s is a secret; remove it and bind the credential to the environment on the host", key)
	}
	return nil
}

func checkLiteral(value any) error {
	switch value := value.(type) {
	case string:
		if strings.Contains(value, "${") || strings.Contains(value, "%{") {
			return errors.New(`"${" and "%{" are refused; write the value itself`)
		}
		if holdsPassword(value) {
			return errors.New("the value holds a password; remove it and bind the credential to the environment on the host")
		}
	case []any:
		for _, element := range value {
			if err := checkLiteral(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if err := errors.Join(checkArgument(key), checkLiteral(value[key])); err != nil {
				return err
			}
		}
	}
	return nil
}

var passwordSetting = reconciler.Pattern(`(?i)(^|[\s?&;])(sslpassword|password)\s*=`)

// holdsPassword finds the password of an address or of a connection string.
// Whatever looks like an address and cannot be read counts as one that has a password.
func holdsPassword(text string) bool {
	if passwordSetting().MatchString(text) {
		return true
	}
	if !strings.Contains(text, "://") {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		return true
	}
	_, set := u.User.Password()
	return set
}

// marshal writes a value that was built from decoded JSON, for people to read.
func marshal(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // maps, lists, text and numbers always encode
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
