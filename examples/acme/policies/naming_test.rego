package acme.naming_test

import data.acme.naming

request(name, service) := {
	"kind": "request",
	"change": {"action": "create"},
	"document": {"name": name, "service": service},
}

test_name_begins_with_service if {
	count(naming.deny) == 0 with input as request("checkout-db", "checkout")
}

test_name_of_another_service if {
	some violation in naming.deny with input as request("checkout-db", "ledger")
	violation.msg == `the name must begin with "ledger-", after the service that it is for`
}

test_service_name_alone_is_not_enough if {
	count(naming.deny) == 1 with input as request("checkouts", "checkout")
}

test_removal_is_always_allowed if {
	removal := object.union(request("old-name", "checkout"), {"change": {"action": "delete"}})
	count(naming.deny) == 0 with input as removal
}

test_services_are_named_freely if {
	count(naming.deny) == 0 with input as {
		"kind": "service",
		"change": {"action": "create"},
		"document": {"name": "ledger"},
	}
}
