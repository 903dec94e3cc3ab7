package terraform

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
)

func environmentWith(backend, config string) reconciler.Environment {
	environment := reconciler.Environment{Name: "production", Backend: reconciler.Backend{Type: backend}}
	if err := json.Unmarshal([]byte(config), &environment.Backend.Config); err != nil {
		panic(err)
	}
	return environment
}

var backendTests = []struct{ backend, config, want, address string }{
	{"local", `{}`,
		`{"local":{"path":"state/terraform.tfstate"}}`,
		`local:checkout-db`},
	{"s3", `{"bucket":"acme-state","region":"eu-west-1","use_lockfile":true,"max_retries":3}`,
		`{"s3":{"bucket":"acme-state","key":"pave/checkout-db.tfstate","max_retries":3,"region":"eu-west-1","use_lockfile":true}}`,
		`s3:region=eu-west-1,bucket=acme-state,key=pave/checkout-db.tfstate`},
	{"s3", `{"bucket":"b","key":"acme/platform/","endpoints":{"s3":"http://127.0.0.1:7070"}}`,
		`{"s3":{"bucket":"b","endpoints":{"s3":"http://127.0.0.1:7070"},"key":"acme/platform/checkout-db.tfstate"}}`,
		`s3:endpoints={"s3":"http://127.0.0.1:7070"},bucket=b,key=acme/platform/checkout-db.tfstate`},
	{"azurerm", `{"storage_account_name":"acme","container_name":"state","use_oidc":true}`,
		`{"azurerm":{"container_name":"state","key":"pave/checkout-db.tfstate","storage_account_name":"acme","use_oidc":true}}`,
		`azurerm:storage_account_name=acme,container_name=state,key=pave/checkout-db.tfstate`},
	{"consul", `{"address":"consul.example.com","scheme":"https"}`,
		`{"consul":{"address":"consul.example.com","path":"pave/checkout-db","scheme":"https"}}`,
		`consul:scheme=https,address=consul.example.com,path=pave/checkout-db`},
	{"cos", `{"region":"ap-guangzhou","bucket":"acme-1250000000"}`,
		`{"cos":{"bucket":"acme-1250000000","key":"pave/checkout-db.tfstate","region":"ap-guangzhou"}}`,
		`cos:region=ap-guangzhou,bucket=acme-1250000000,key=pave/checkout-db.tfstate`},
	{"gcs", `{"bucket":"acme","prefix":"platform"}`,
		`{"gcs":{"bucket":"acme","prefix":"platform/checkout-db"}}`,
		`gcs:bucket=acme,prefix=platform/checkout-db`},
	{"http", `{"address":"https://state.example.com/units"}`,
		`{"http":{"address":"https://state.example.com/units/checkout-db","lock_address":"https://state.example.com/units/checkout-db","unlock_address":"https://state.example.com/units/checkout-db"}}`,
		`http:address=https://state.example.com/units/checkout-db`},
	{"http", `{"address":"https://git.example.com/state/","lock_address":"/lock","unlock_address":"https://locks.example.com"}`,
		`{"http":{"address":"https://git.example.com/state/checkout-db","lock_address":"https://git.example.com/state/checkout-db/lock","unlock_address":"https://locks.example.com/checkout-db"}}`,
		`http:address=https://git.example.com/state/checkout-db`},
	{"kubernetes", `{"namespace":"state","in_cluster_config":true}`,
		`{"kubernetes":{"in_cluster_config":true,"namespace":"state","secret_suffix":"pave-checkout-db-state"}}`,
		`kubernetes:namespace=state,secret_suffix=pave-checkout-db-state`},
	{"oci", `{"bucket":"acme","namespace":"n"}`,
		`{"oci":{"bucket":"acme","key":"pave/checkout-db.tfstate","namespace":"n"}}`,
		`oci:namespace=n,bucket=acme,key=pave/checkout-db.tfstate`},
	{"oss", `{"bucket":"acme","prefix":"terraform"}`,
		`{"oss":{"bucket":"acme","key":"pave/checkout-db.tfstate","prefix":"terraform"}}`,
		`oss:bucket=acme,prefix=terraform,key=pave/checkout-db.tfstate`},
	{"pg", `{"conn_str":"postgres://pave@db.example.com/state"}`,
		`{"pg":{"conn_str":"postgres://pave@db.example.com/state","schema_name":"pave_checkout_db"}}`,
		`pg:conn_str=postgres://pave@db.example.com/state,schema_name=pave_checkout_db`},
	{"remote", `{"organization":"acme","workspaces":{"name":"platform"}}`,
		`{"remote":{"organization":"acme","workspaces":{"name":"platform-checkout-db"}}}`,
		`remote:organization=acme,workspaces={"name":"platform-checkout-db"}`},
	{"remote", `{"organization":"a,b=\n"}`,
		`{"remote":{"organization":"a,b=\n","workspaces":{"name":"pave-checkout-db"}}}`,
		`remote:organization="a,b=\n",workspaces={"name":"pave-checkout-db"}`},
}

func TestBackends(t *testing.T) {
	seen := map[string]bool{"local": true}
	for _, test := range backendTests {
		seen[test.backend] = true
		block, address, err := renderBackend(environmentWith(test.backend, test.config), "checkout-db", "pave")
		if err != nil {
			t.Errorf("%s %s: %v", test.backend, test.config, err)
			continue
		}
		if got := string(marshal(block)); got != test.want {
			t.Errorf("%s %s:\n got %s\nwant %s", test.backend, test.config, got, test.want)
		}
		if address != test.address {
			t.Errorf("%s %s: address\n got %s\nwant %s", test.backend, test.config, address, test.address)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(backendKinds)) {
		if !seen[kind] {
			t.Errorf("backend %s has no test", kind)
		}
	}
}

// TestBackendArguments asks the engine whether it knows every argument that Pave
// sets: with one that nobody knows in the block, it complains about that one
// alone, before it connects to anything.
func TestBackendArguments(t *testing.T) {
	for _, test := range backendTests {
		if test.backend == "oci" {
			continue // Terraform knows it from 1.12 on
		}
		t.Run(test.backend, func(t *testing.T) {
			block, _, err := renderBackend(environmentWith(test.backend, test.config), "checkout-db", "pave")
			if err != nil {
				t.Fatal(err)
			}
			config := maps.Clone(block[test.backend].(map[string]any))
			config["nonsense"] = "x"
			dir := newFolder(t, map[string]string{"main.tf.json": string(marshal(map[string]any{
				"terraform": map[string]any{"backend": map[string]any{test.backend: config}}}))})
			output, err := dir.tryTerraform("init", "-input=false", "-no-color")
			if err == nil {
				t.Fatalf("init succeeded: %s", output)
			}
			if strings.Count(output, "Error:") != 1 || !strings.Contains(output, `"nonsense"`) {
				t.Errorf("init: got %s\nwant an error about nonsense alone", output)
			}
		})
	}
}

func TestBackendRefuses(t *testing.T) {
	const host = "; remove it and bind the credential to the environment on the host"
	tests := []struct{ backend, config, want string }{
		{"local", `{"path":"/tmp/x"}`, `backend.config.path: the local backend takes no arguments; remove it`},
		{"etcd", `{}`, `backend.type: expected a backend of the engine, such as local or s3; got "etcd"`},
		{"s3", `{"bucket":"${file(\"/etc/passwd\")}"}`, `backend.config.bucket: "${" and "%{" are refused; write the value itself`},
		{"s3", `{"endpoints":{"s3":["%{ if true }x%{ endif }"]}}`, `backend.config.endpoints: "${" and "%{" are refused; write the value itself`},
		{"s3", `{"$${x}":"x"}`, `backend.config.$${x}: "$${x}" is no name of an argument`},
		{"s3", `{"assume_role":{"//":"x"}}`, `backend.config.assume_role: "//" is no name of an argument`},
		{"s3", `{"access_key":"AKIA"}`, `backend.config.access_key: access_key is a secret` + host},
		{"s3", `{"secret_key":"x"}`, `backend.config.secret_key: secret_key is a secret` + host},
		{"azurerm", `{"sas_token":"x"}`, `backend.config.sas_token: sas_token is a secret` + host},
		{"gcs", `{"credentials":"{}"}`, `backend.config.credentials: credentials is a secret` + host},
		{"kubernetes", `{"exec":{"command":"sh"}}`, `backend.config.exec: exec is a secret` + host},
		{"s3", `{"assume_role":{"token":"x"}}`, `backend.config.assume_role: token is a secret` + host},
		{"pg", `{"conn_str":"postgres://pave:secret@db/state"}`, `backend.config.conn_str: the value holds a password` + host},
		{"pg", `{"conn_str":"host=db user=pave password=secret"}`, `backend.config.conn_str: the value holds a password` + host},
		{"pg", `{"conn_str":"postgres://db/state?user=pave&password=secret"}`, `backend.config.conn_str: the value holds a password` + host},
		{"pg", `{"conn_str":"postgres://pave:%zz@db/state"}`, `backend.config.conn_str: the value holds a password` + host},
		{"http", `{"address":"https://pave:secret@state/units"}`, `backend.config.address: the value holds a password` + host},
		{"http", `{}`, `backend.config.address: expected an address such as "https://state.example.com/units"; got null`},
		{"http", `{"address":"file:///etc/passwd"}`, `backend.config.address: expected an address such as "https://state.example.com/units"; got file:///etc/passwd`},
		{"http", `{"address":"https://a","lock_address":1}`, `backend.config.address: expected an address such as "https://state.example.com/units"; got 1`},
		{"s3", `{"key":"../other"}`, `backend.config.key: expected a prefix that matches ` + pathPrefix().String() + `; got "../other"`},
		{"s3", `{"key":"a//b"}`, `backend.config.key: expected a prefix that matches ` + pathPrefix().String() + `; got "a//b"`},
		{"s3", `{"key":1}`, `backend.config.key: expected text, which becomes the prefix of every state's name`},
		{"pg", `{"schema_name":"Acme"}`, `backend.config.schema_name: expected a prefix that matches ^[a-z_][a-z0-9_]*$; got "Acme"`},
		{"remote", `{"workspaces":{"prefix":"x-"}}`, `backend.config.workspaces: expected text, which becomes the prefix of every state's name`},
	}
	for _, test := range tests {
		_, _, err := renderBackend(environmentWith(test.backend, test.config), "checkout-db", "pave")
		if want := "environment production: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s %s:\n got %v\nwant %s", test.backend, test.config, err, want)
		}
	}
}

// TestStateNamesDiffer gives the longest names to the backends that limit them.
func TestStateNamesDiffer(t *testing.T) {
	a, b := strings.Repeat("a", 62)+"1", strings.Repeat("a", 62)+"2"
	for _, test := range []struct {
		style *style
		want  string
	}{
		{schemaName, "pave_" + strings.Repeat("a", 49) + "_"},
		{secretName, "pave-" + strings.Repeat("a", 43) + "-"},
		{workspaceName, "pave-" + strings.Repeat("a", 62)},
	} {
		one, other := test.style.name("pave", a), test.style.name("pave", b)
		if one == other || len(one) > test.style.limit || !strings.HasPrefix(one, test.want) || !strings.HasSuffix(one, test.style.suffix) {
			t.Errorf("got %s and %s, want two names of at most %d bytes that begin with %s", one, other, test.style.limit, test.want)
		}
	}
}
