package terraform

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func TestIdentified(t *testing.T) {
	var state stateFile
	must(t, json.Unmarshal([]byte(`{"resources": [
		{"mode": "managed", "type": "aws_db_instance", "name": "main", "instances": [{"attributes": {"id": "db-1"}}, {"index_key": "b", "attributes": {"id": "db-2"}, "sensitive_attributes": [[{"type": "get_attr", "value": "id"}]]}]},
		{"mode": "managed", "type": "random_id", "name": "token", "instances": [{"attributes": {"id": "c2VjcmV0"}}]},
		{"mode": "managed", "type": "local_file", "name": "secret", "instances": [{"attributes": {"id": "4df8aba9"}}]},
		{"mode": "data", "type": "aws_vpc", "name": "main", "instances": [{"attributes": {"id": "vpc-1"}}]}]}`), &state))
	want := []reconciler.RetainedResource{{Address: "aws_db_instance.main", ID: "db-1"}, {Address: `aws_db_instance.main["b"]`}}
	if got := state.identified(); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if len(state.retained()) != 4 {
		t.Errorf("what is left behind is all of it: got %+v", state.retained())
	}
}
