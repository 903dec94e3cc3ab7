package pave.rules.access_test

import data.pave.rules.access

alice := {"id": "https://login.example alice", "name": "Alice", "role": "developer", "teams": ["payments"], "groups": []}

ask(person, team) := {
	"kind": "ask",
	"of": "request",
	"name": "ledger-db",
	"person": person,
	"team": team,
	"service": {"name": "ledger", "owner": team.name},
	"document": {"name": "ledger-db", "service": "ledger"},
	"change": {"action": "create"},
}

payments := {"name": "payments", "title": "Payments", "channel": "#team-payments", "lead": "bob", "members": ["bob", "carol"]}

search := {"name": "search", "title": "Search", "members": ["carol", "dave"]}

hints(input_) := {finding.hint | some finding in access.deny with input as input_}

test_members_ask if {
	count(access.deny) == 0 with input as ask(alice, payments)
}

test_others_do_not if {
	some finding in access.deny with input as ask(alice, search)
	finding.msg == "service ledger belongs to Search, and Alice is not in that team"
}

test_the_platform_team_does if {
	count(access.deny) == 0 with input as ask(object.union(alice, {"role": "platform", "teams": []}), search)
}

test_a_person_without_anything_does_not if {
	count(access.deny) == 1 with input as ask({"id": "x", "name": "X"}, search)
}

test_nobody_speaks_for_a_team_without_a_name if {
	count(access.deny) == 1 with input as object.union(ask(object.union(alice, {"teams": [""]}), {"name": "x", "title": "X"}), {"team": {"title": "X"}})
}

test_the_denial_says_whom_to_ask if {
	hints(ask(object.union(alice, {"teams": []}), payments)) == {"ask Payments in #team-payments"}
	hints(ask(object.union(alice, {"teams": []}), object.remove(payments, ["channel"]))) == {"ask bob, who leads Payments"}
	hints(ask(alice, search)) == {"ask carol, dave of Search"}
	hints(ask(alice, {"name": "new"})) == {"ask the platform team"}
}

test_nothing_is_said_of_other_subjects if {
	count(access.deny) == 0 with input as object.union(ask(alice, search), {"kind": "request"})
	count(access.deny) == 0 with input as object.union(ask(alice, search), {"kind": "view"})
}
