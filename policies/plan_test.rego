package pave.rules.plan_test

import data.pave.rules.plan

resource(type, actions) := {
	"address": sprintf("%s.main", [type]),
	"mode": "managed",
	"type": type,
	"change": {"actions": actions},
}

kept := resource("random_pet", ["no-op"])

request(document, changes) := {
	"kind": "request",
	"change": {"action": "update"},
	"document": document,
	"blueprint": {"stateful": ["aws_db_instance"]},
	"plan": {"format_version": "1.2", "resource_changes": changes},
}

removal(before) := {"kind": "request", "change": {"action": "delete", "before": before}}

findings(subject) := found if found := plan.deny with input as subject

ids(subject) := {finding.id | some finding in findings(subject)}

protected := {"protect": true}

exposed := {"protect": false}

allowing(name) := {"protect": true, "allowDestroy": {"resources": [name], "reason": "moved elsewhere"}}

test_healing_destroys_nothing if {
	some finding in findings(healing(exposed))
	finding.id == "heal-destroy"
	finding.msg == "putting drift right would replace random_pet.main, and nobody asked for that"
}

test_healing_destroys_what_is_allowed if {
	ids(healing({"protect": false, "allowDestroy": {"resources": ["random_pet"]}})) == set()
}

test_changing_may_destroy if {
	ids(object.union(healing(exposed), {"heal": false})) == set()
}

healing(document) := object.union(request(document, [resource("random_pet", ["delete", "create"])]), {"heal": true})

test_removal_of_a_protected_request if {
	ids(removal(protected)) == {"protect"}
}

test_removal_of_another_request if {
	ids(removal(exposed)) == set()
}

test_plan_that_destroys_a_protected_request if {
	ids(request(protected, [resource("random_pet", ["delete"])])) == {"protect"}
}

test_data_sources_do_not_keep_a_request if {
	read := {"address": "data.x.y", "mode": "data", "type": "x", "change": {"actions": ["read"]}}
	ids(request(protected, [read, resource("random_pet", ["delete"])])) == {"protect"}
}

test_allow_destroy_does_not_lift_protect if {
	ids(request(allowing("random_pet"), [resource("random_pet", ["delete"])])) == {"protect"}
}

test_lifting_takes_effect_with_the_next_revision if {
	lifted := object.union(
		request(exposed, [resource("random_pet", ["delete"])]),
		{"change": {"before": protected}},
	)
	ids(lifted) == {"protect"}
}

test_plan_that_destroys_another_request if {
	ids(request(exposed, [resource("random_pet", ["delete"])])) == set()
}

test_plan_that_deletes_a_part_of_a_protected_request if {
	some finding in findings(request(protected, [kept, resource("tls_private_key", ["delete"])]))
	finding.id == "protect-resource"
	finding.msg == "the request is protected, and the plan deletes tls_private_key.main"
	finding.hint == `if that is meant, add allowDestroy: {resources: ["tls_private_key.main"], reason: "…"}`
}

test_part_that_is_named if {
	every name in ["tls_private_key", "tls_private_key.main"] {
		ids(request(allowing(name), [kept, resource("tls_private_key", ["delete"])])) == set()
	}
}

test_part_of_another_request if {
	ids(request(exposed, [kept, resource("tls_private_key", ["delete"])])) == set()
}

test_replacement_in_a_protected_request if {
	ids(request(protected, [resource("tls_private_key", ["delete", "create"])])) == set()
}

test_remains_of_a_replacement if {
	remains := object.union(resource("tls_private_key", ["delete"]), {"deposed": "1f2e3d4c"})
	ids(request(protected, [kept, remains])) == set()
}

test_stateful_replaced if {
	every actions in [["delete", "create"], ["create", "delete"]] {
		some finding in findings(request(exposed, [resource("aws_db_instance", actions)]))
		finding.id == "stateful"
		finding.msg == "the plan would replace aws_db_instance.main, which holds data"
		finding.path == ["allowDestroy"]
	}
}

test_stateful_destroyed if {
	some finding in findings(request(protected, [kept, resource("aws_db_instance", ["delete"])]))
	finding.id == "stateful"
	finding.msg == "the plan would destroy aws_db_instance.main, which holds data"
}

test_stateful_told_once if {
	ids(request(protected, [kept, resource("aws_db_instance", ["delete"])])) == {"stateful"}
}

test_stateful_named if {
	every name in ["aws_db_instance", "aws_db_instance.main"] {
		ids(request(allowing(name), [resource("aws_db_instance", ["delete", "create"])])) == set()
	}
}

test_another_resource_named if {
	ids(request(allowing("aws_db_instance.other"), [resource("aws_db_instance", ["delete", "create"])])) == {"stateful"}
}

test_stateful_updated if {
	ids(request(protected, [resource("aws_db_instance", ["update"])])) == set()
}

test_stateful_of_a_removed_request if {
	with_plan := object.union(removal(exposed), {
		"blueprint": {"stateful": ["aws_db_instance"]},
		"plan": {"format_version": "1.2", "resource_changes": [resource("aws_db_instance", ["delete"])]},
	})
	ids(with_plan) == set()
}
