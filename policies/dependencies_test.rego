package pave.rules.dependencies_test

import data.pave.rules.dependencies

service(tier, needed) := {
	"kind": "service",
	"change": {"action": "none"},
	"document": {"name": "checkout", "tier": tier, "dependsOn": ["mailer"]},
	"dependencies": [object.union({"name": "mailer", "lifecycle": "production"}, needed)],
}

ids(subject) := {finding.id | some finding in findings(subject)}

findings(subject) := found if found := dependencies.deny | dependencies.warn with input as subject

test_tier_1_on_tier_3_and_4 if {
	every tier in [3, 4] {
		ids(service(1, {"tier": tier})) == {"tier-dependency"}
	}
}

test_message if {
	some finding in dependencies.deny with input as service(1, {"tier": 4})
	finding.msg == "a service of tier 1 must not depend on mailer, which is tier 4"
	finding.path == ["dependsOn"]
}

test_tier_1_on_tier_1_and_2 if {
	every tier in [1, 2] {
		ids(service(1, {"tier": tier})) == set()
	}
}

test_tier_1_on_no_tier if {
	ids(service(1, {})) == set()
}

test_tier_2_on_tier_4 if {
	ids(service(2, {"tier": 4})) == set()
}

test_dependency_that_ends if {
	every stage in ["deprecated", "retired"] {
		ids(service(2, {"lifecycle": stage})) == {"ended-dependency"}
	}
}

test_removal if {
	ids(object.union(service(1, {"tier": 4}), {"change": {"action": "delete"}})) == set()
}
