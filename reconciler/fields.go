package reconciler

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
)

// Fields are values by name, in the order of their names. It is what a map would be
// that has few entries and of which there are tens of thousands: a map takes ten times
// the memory. Its JSON is an object.
type Fields[V any] []Named[V]

// Named is one of some fields.
type Named[V any] struct {
	Name  string
	Value V
}

// FieldsOf returns the entries of a map; nil of one that is nil.
func FieldsOf[V any](entries map[string]V) Fields[V] {
	if entries == nil {
		return nil
	}
	fields := make(Fields[V], 0, len(entries))
	for name, value := range entries {
		fields = append(fields, Named[V]{name, value})
	}
	slices.SortFunc(fields, func(a, b Named[V]) int { return cmp.Compare(a.Name, b.Name) })
	return fields
}

// Get returns the value of a name, and whether there is one.
func (f Fields[V]) Get(name string) (V, bool) {
	i, found := slices.BinarySearchFunc(f, name, func(field Named[V], name string) int { return cmp.Compare(field.Name, name) })
	if !found {
		var none V
		return none, false
	}
	return f[i].Value, true
}

// Of returns the value of a name; where there is none, the zero value.
func (f Fields[V]) Of(name string) V {
	value, _ := f.Get(name)
	return value
}

// All ranges over the names and values, in the order of the names.
func (f Fields[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, field := range f {
			if !yield(field.Name, field.Value) {
				return
			}
		}
	}
}

// MarshalJSON writes an object.
func (f Fields[V]) MarshalJSON() ([]byte, error) {
	if f == nil {
		return []byte("null"), nil
	}
	entries := make(map[string]V, len(f))
	for name, value := range f.All() {
		entries[name] = value
	}
	return json.Marshal(entries)
}

// UnmarshalJSON reads an object.
func (f *Fields[V]) UnmarshalJSON(text []byte) error {
	var entries map[string]V
	if err := json.Unmarshal(text, &entries); err != nil {
		return err
	}
	*f = FieldsOf(entries)
	return nil
}
