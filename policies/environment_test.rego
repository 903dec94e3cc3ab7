package pave.rules.environment_test

import data.pave.rules.environment

request := {
	"kind": "request",
	"change": {"action": "create"},
	"document": {"blueprint": "postgres", "environment": "production"},
	"blueprint": {"environments": ["staging", "development"]},
}

test_environment_not_listed if {
	some finding in environment.deny with input as request
	finding.id == "environment-allowed"
	finding.path == ["environment"]
	finding.msg == "blueprint postgres may not be used in environment production"
	finding.hint == "use one of: development, staging"
}

test_environment_listed if {
	listed := json.patch(request, [{"op": "replace", "path": "/document/environment", "value": "staging"}])
	count(environment.deny) == 0 with input as listed
}

test_blueprint_for_all_environments if {
	count(environment.deny) == 0 with input as json.remove(request, ["blueprint/environments"])
}

test_removal if {
	removal := json.patch(request, [{"op": "replace", "path": "/change/action", "value": "delete"}])
	count(environment.deny) == 0 with input as removal
}
