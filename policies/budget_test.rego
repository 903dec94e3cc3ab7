package pave.rules.budget_test

import data.pave.rules.budget

request(before, monthly, after) := {
	"kind": "request",
	"change": {"action": "update"},
	"document": {"service": "checkout"},
	"service": {"owner": "payments"},
	"settings": {"currency": "EUR"},
	"cost": {"before": before, "monthly": monthly, "team": {"before": 950, "after": after, "budget": 1000}},
}

ids(subject) := {finding.id | some finding in findings(subject)}

findings(subject) := found if found := budget.deny | budget.warn with input as subject

test_dearer_over_the_budget if {
	some finding in budget.deny with input as request(10, 60.5, 1000.505)
	finding.id == "budget"
	finding.msg == "with 50.5 EUR more for this request, team payments would spend 1000.51 EUR a month, 0.51 EUR over its budget of 1000 EUR"
	finding.path == ["cost", "monthly"]
}

test_dearer_within_the_budget if {
	ids(request(10, 60, 1000)) == set()
}

test_cheaper_over_the_budget if {
	ids(request(60, 50, 1200)) == {"budget-exceeded"}
}

test_unchanged_over_the_budget if {
	ids(request(60, 60, 1200)) == {"budget-exceeded"}
}

test_free_over_the_budget if {
	ids(request(0, 0, 1200)) == set()
}

test_no_budget if {
	ids(json.remove(request(10, 60, 5000), ["cost/team/budget"])) == set()
}

test_no_currency if {
	some finding in budget.warn with input as json.remove(request(60, 60, 1200), ["settings"])
	finding.msg == "team payments would spend 1200 a month, 200 over its budget of 1000"
}

test_removal if {
	ids(object.union(request(10, 0, 1200), {"change": {"action": "delete"}})) == set()
}
