package terraform

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// masked stands for a secret in every text that leaves a run.
const masked = "(sensitive)"

// minSecret is the length from which a value is looked for in texts. Shorter
// ones stand in every text by chance.
const minSecret = 4

// secrets knows the secret values of one run and masks them. It errs on the
// side of masking too much: a secret "main" hides every "main".
type secrets struct {
	known    map[string]bool
	replacer *strings.Replacer // nil after a value was added
}

// add makes a text secret, in each spelling that it may have in an engine's
// messages: as it is, its lines alone, wrapped, in JSON, in an URL, in Base64.
func (s *secrets) add(text string) {
	spellings := append(strings.Split(text, "\n"), text,
		strings.Join(strings.Fields(text), " "),
		inJSON(text, true), inJSON(text, false), url.QueryEscape(text), url.PathEscape(text),
		base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
	for _, spelling := range spellings {
		s.addSpelling(strings.TrimSpace(spelling))
	}
}

func (s *secrets) addSpelling(text string) {
	if len(text) < minSecret || s.known[text] {
		return
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	s.known[text] = true
	s.replacer = nil
}

func inJSON(text string, escapeHTML bool) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(escapeHTML)
	_ = encoder.Encode(text) // a string always encodes
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// addValue makes every string and number within a decoded value secret. Map
// keys stay: they are names.
func (s *secrets) addValue(value any) {
	switch v := value.(type) {
	case string:
		s.add(v)
	case json.Number:
		s.add(v.String())
	case []any:
		for _, e := range v {
			s.addValue(e)
		}
	case map[string]any:
		for _, e := range v {
			s.addValue(e)
		}
	}
}

// addMarked makes the parts of a value secret that the marks name: marks have
// the value's structure, with true in place of what is sensitive.
func (s *secrets) addMarked(value, marks any) {
	switch m := marks.(type) {
	case bool:
		if m {
			s.addValue(value)
		}
	case map[string]any:
		fields, isMap := value.(map[string]any)
		if !isMap && marksAny(m) {
			s.addValue(value)
		}
		for key, mark := range m {
			s.addMarked(fields[key], mark)
		}
	case []any:
		elements, isList := value.([]any)
		if !isList && marksAny(m) {
			s.addValue(value)
		}
		for i, mark := range m {
			if i < len(elements) {
				s.addMarked(elements[i], mark)
			}
		}
	}
}

// unmasked is set by a test of the whole program alone, which shows that it finds
// what is not masked.
var unmasked bool

// mask returns the text with every known secret replaced.
func (s *secrets) mask(text string) string {
	if unmasked {
		return text
	}
	if s.replacer == nil {
		// The longest first: a secret may hold another one.
		values := slices.SortedFunc(maps.Keys(s.known), func(a, b string) int {
			return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
		})
		pairs := make([]string, 0, 2*len(values))
		for _, v := range values {
			pairs = append(pairs, v, masked)
		}
		s.replacer = strings.NewReplacer(pairs...)
	}
	return s.replacer.Replace(text)
}

// line is mask for a message: one line, printable, of bounded length. Masking
// comes first and once more after lines were joined, where a wrapped secret is
// whole again.
func (s *secrets) line(text string) string {
	return shorten(s.mask(printable(s.mask(text))))
}

// within tells whether a decoded value holds a secret.
func (s *secrets) within(value any) bool {
	switch v := value.(type) {
	case string:
		return s.mask(v) != v
	case json.Number:
		return s.mask(v.String()) != v.String()
	case []any:
		return slices.ContainsFunc(v, s.within)
	case map[string]any:
		for key, element := range v {
			if s.within(key) || s.within(element) {
				return true
			}
		}
	}
	return false
}

// decode reads one JSON value with its numbers as they are written.
func decode(raw []byte) (any, error) {
	var value any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err
}
