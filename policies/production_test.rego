package pave.rules.production_test

import data.pave.rules.production

request := {
	"kind": "request",
	"change": {"action": "create"},
	"document": {"service": "checkout", "environment": "live"},
	"environment": {"stage": "production"},
	"service": {"owner": "payments"},
	"team": {"name": "payments"},
}

ids(subject) := {finding.id | some finding in findings(subject)}

findings(subject) := found if found := production.deny with input as subject

test_neither_on_call_nor_tier if {
	ids(request) == {"production-on-call", "production-tier"}
}

test_messages if {
	messages := {finding.msg | some finding in production.deny} with input as request
	messages == {
		"nobody is on call for service checkout, and environment live is production",
		"service checkout has no tier, and environment live is production",
	}
}

test_service_on_call if {
	ids(object.union(request, {"service": {"onCall": "pager", "tier": 4}})) == set()
}

test_team_on_call if {
	ids(object.union(request, {"service": {"tier": 1}, "team": {"onCall": "pager"}})) == set()
}

test_nobody_knows_the_team if {
	ids(json.remove(request, ["team"])) == {"production-on-call", "production-tier"}
}

test_other_stages if {
	ids(object.union(request, {"environment": {"stage": "staging"}})) == set()
}

test_removal if {
	ids(object.union(request, {"change": {"action": "delete"}})) == set()
}
