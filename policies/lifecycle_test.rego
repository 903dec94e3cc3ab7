package pave.rules.lifecycle_test

import data.pave.rules.lifecycle

request(action, stage) := {
	"kind": "request",
	"change": {"action": action},
	"document": {"service": "checkout"},
	"service": {"lifecycle": stage},
}

test_addition_for_a_service_that_ends if {
	every stage in ["deprecated", "retired"] {
		findings := lifecycle.deny with input as request("create", stage)
		{finding.id | some finding in findings} == {"lifecycle-ended"}
	}
}

test_message if {
	some finding in lifecycle.deny with input as request("create", "retired")
	finding.msg == "service checkout is retired, so nothing may be added for it"
}

test_addition_for_a_service_that_lives if {
	every stage in ["experimental", "production"] {
		count(lifecycle.deny) == 0 with input as request("create", stage)
	}
}

test_what_is_there_stays if {
	every action in ["update", "none", "delete"] {
		count(lifecycle.deny) == 0 with input as request(action, "retired")
	}
}
