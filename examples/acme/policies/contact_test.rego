package acme.contact_test

import data.acme.contact

runbook := {"type": "runbook", "title": "When it fails", "url": "https://wiki.acme.example/x"}

service(tier, team, links) := {
	"kind": "service",
	"change": {"action": "none"},
	"team": team,
	"document": {"owner": "payments", "tier": tier, "links": links},
}

test_channel_and_runbook if {
	ok := service(1, {"channel": "#team-payments"}, [runbook])
	count(contact.deny) == 0 with input as ok
	count(contact.warn) == 0 with input as ok
}

test_no_channel if {
	some msg in contact.deny with input as service(1, {}, [runbook])
	msg == "team payments owns a service of tier 1 and needs a channel in teams.cue"
}

test_no_place_to_start if {
	count(contact.warn) == 1 with input as service(1, {"channel": "#team-payments"}, [])
}

test_lower_tiers_may_do_without if {
	count(contact.deny) == 0 with input as service(2, {}, [])
	count(contact.warn) == 0 with input as service(2, {}, [])
}
