package pave.rules.freeze_test

import data.pave.rules.freeze

request(until) := {
	"kind": "request",
	"now": "2027-01-15T10:00:00Z",
	"reviewed": true,
	"change": {"action": "update"},
	"document": {"environment": "production", "breakGlass": {"until": until, "reason": "the shop is down"}},
	"settings": {"owner": "platform"},
}

ids(findings) := {finding.id | some finding in findings}

test_platform_team_approves if {
	some finding in freeze.require_approval with input as request("2027-01-15")
	finding.team == "platform"
	finding.msg == "breakGlass lets it change until the end of 2027-01-15 while production is frozen"
}

test_nobody_is_known_without_a_forge if {
	count(freeze.require_approval) == 0 with input as object.union(request("2027-01-15"), {"reviewed": false})
}

test_what_is_over_needs_nobody if {
	count(freeze.require_approval) == 0 with input as request("2027-01-14")
	ids(freeze.warn) == {"break-glass-over"} with input as request("2027-01-14")
}

test_a_week if {
	count(freeze.deny) == 0 with input as request("2027-01-22")
	count(freeze.warn) == 0 with input as request("2027-01-22")
}

test_more_than_a_week if {
	some finding in freeze.deny with input as request("2027-01-23")
	finding.id == "break-glass-max"
	finding.hint == `set until to "2027-01-22" or earlier`
}

test_without if {
	unbroken := object.remove(request("2027-01-15"), ["document"])
	count(freeze.require_approval) == 0 with input as unbroken
	count(freeze.deny) == 0 with input as unbroken
	count(freeze.warn) == 0 with input as unbroken
}
