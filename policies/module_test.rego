package pave.rules.module_test

import data.pave.rules.module

blueprint(facts) := {
	"kind": "blueprint",
	"name": "postgres",
	"change": {"action": "update"},
	"blueprint": {"name": "postgres", "module": facts},
	"settings": {"policy": {"providers": ["hashicorp/*", "registry.example.com/acme/*"], "waivers": []}},
}

findings(subject) := found if found := module.deny with input as subject

ids(subject) := {finding.id | some finding in findings(subject)}

at := {"file": "main.tf", "line": 7}

provisioner := object.union(at, {"type": "local-exec", "resource": "terraform_data.x"})

provider(source) := object.union(at, {"name": "thing", "source": source, "version": "~> 3"})

remote := object.union(at, {"name": "net", "source": "acme/net/aws", "local": false, "pinned": false})

call(facts) := object.union(at, object.union({"function": "file", "argument": `"x"`, "leaves": false}, facts))

test_plain_module if {
	ids(blueprint({
		"providers": [provider("hashicorp/random")],
		"modules": [
			object.union(remote, {"pinned": true}),
			object.union(remote, {"local": true, "source": "./net"}),
		],
		"data": [object.union(at, {"type": "aws_region", "name": "here"})],
		"provisioners": [],
		"fileCalls": [call({"constant": true, "value": "x.tpl"})],
	})) == set()
}

test_provisioner if {
	some finding in findings(blueprint({"provisioners": [provisioner]}))
	finding.id == "module-provisioner"
	finding.msg == "provisioner local-exec of terraform_data.x runs commands that no plan shows"
	finding.file == "main.tf"
	finding.line == 7
	contains(finding.hint, `waivers: [{rule: "module-provisioner", blueprint: "postgres", reason: "…"}]`)
}

test_facts_that_are_missing_still_deny if {
	ids(blueprint({"provisioners": [{}]})) == {"module-provisioner"}
	ids(blueprint({"modules": [{}]})) == {"module-unpinned"}
	ids(blueprint({"providers": [{}]})) == set()
	ids(blueprint({"fileCalls": [{}]})) == {"module-file"}
}

test_data_sources if {
	every type in ["external", "http"] {
		some finding in findings(blueprint({"data": [object.union(at, {"type": type, "name": "x"})]}))
		finding.id == "module-data-source"
		finding.msg == sprintf("data source %s.x runs while planning, before anybody saw the plan", [type])
	}
}

test_unpinned_module if {
	some finding in findings(blueprint({"modules": [remote]}))
	finding.id == "module-unpinned"
	finding.msg == "module net comes from acme/net/aws, which may change unseen"
}

test_allowed_providers if {
	every source in [
		"hashicorp/random",
		"HashiCorp/Random",
		"registry.terraform.io/hashicorp/random",
		"random",
		"",
		"registry.example.com/acme/cloud",
		"terraform.io/builtin/terraform",
	] {
		ids(blueprint({"providers": [provider(source)]})) == set()
	}
}

test_other_providers if {
	every source in [
		"acme/random",
		"acme/cloud",
		"registry.example.com/hashicorp/random",
		"registry.terraform.io/acme/cloud",
		"evil.example.com/hashicorp/random",
		"registry.example.com/acme/deep/cloud",
		"terraform.io/builtin/other",
	] {
		some finding in findings(blueprint({"providers": [provider(source)]}))
		finding.id == "module-provider"
		finding.msg == sprintf("provider thing comes from %s, which the settings do not allow", [source])
	}
}

test_built_in_provider_without_a_source if {
	strict := object.union(
		blueprint({"providers": [{"name": "terraform", "source": ""}]}),
		{"settings": {"policy": {"providers": []}}},
	)
	ids(strict) == set()
}

test_no_settings_allow_no_provider if {
	ids(json.remove(blueprint({"providers": [provider("hashicorp/random")]}), ["settings"])) == {"module-provider"}
}

test_files_of_the_module if {
	every facts in [
		{"constant": true, "value": "files/x.tpl"},
		{"constant": true, "value": "a..b"},
		{"constant": false},
	] {
		ids(blueprint({"fileCalls": [call(facts)]})) == set()
	}
}

test_files_elsewhere if {
	every facts in [
		{"leaves": true},
		{"constant": true, "value": "/etc/passwd"},
		{"constant": true, "value": "~/.aws/credentials"},
		{"constant": true, "value": "../secret"},
		{"constant": true, "value": "a/../../secret"},
		{"constant": true, "value": ".."},
		{"constant": true, "value": `..\secret`},
		{"constant": true, "value": `C:/secret`},
	] {
		some finding in findings(blueprint({"fileCalls": [call(facts)]}))
		finding.id == "module-file"
		finding.msg == `file("x") may read a file outside the module`
	}
}

test_waiver if {
	waived := object.union(
		blueprint({"provisioners": [provisioner], "modules": [remote]}),
		{"settings": {"policy": {"waivers": [{"rule": "module-provisioner", "blueprint": "postgres", "reason": "…"}]}}},
	)
	ids(waived) == {"module-unpinned"}
}

test_waiver_of_another_blueprint if {
	waived := object.union(
		blueprint({"provisioners": [provisioner]}),
		{"settings": {"policy": {"waivers": [{"rule": "module-provisioner", "blueprint": "mysql", "reason": "…"}]}}},
	)
	ids(waived) == {"module-provisioner"}
}

test_other_kinds if {
	ids(object.union(blueprint({"provisioners": [provisioner]}), {"kind": "request"})) == set()
}
