package reconciler

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestFields(t *testing.T) {
	var f Fields[json.RawMessage]
	if err := json.Unmarshal([]byte(`{"size": "small", "b": [1, 2], "a<": null, "size": 3}`), &f); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(f)
	if want := `{"a\u003c":null,"b":[1,2],"size":3}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want what the map says: %s", text, err, want)
	}
	if value, found := f.Get("b"); !found || string(value) != "[1, 2]" {
		t.Errorf("b is %s, %v", value, found)
	}
	if value, found := f.Get("c"); found || value != nil {
		t.Errorf("c is %s", value)
	}
	if cap(f) != 3 {
		t.Errorf("%d fields take the room of %d", len(f), cap(f))
	}
	for text, want := range map[string]string{`{}`: `{}`, `null`: `null`} {
		var f Fields[string]
		err := json.Unmarshal([]byte(text), &f)
		if again, wrong := json.Marshal(f); err != nil || wrong != nil || string(again) != want {
			t.Errorf("%s became %s: %v", text, again, errors.Join(err, wrong))
		}
	}
	if err := json.Unmarshal([]byte(`{"a": 1}`), new(Fields[string])); err == nil {
		t.Error("a number was read as a text")
	}
}
