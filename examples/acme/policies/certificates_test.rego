package acme.certificates_test

import data.acme.certificates

request(blueprint, stage, days) := {
	"kind": "request",
	"change": {"action": "update"},
	"environment": {"stage": stage},
	"document": {"blueprint": blueprint, "inputs": {"days": days}},
}

test_ninety_days_in_production if {
	count(certificates.deny) == 0 with input as request("tls-cert", "production", 90)
}

test_a_year_in_production if {
	some msg in certificates.deny with input as request("tls-cert", "production", 365)
	msg == "a certificate in production lasts 90 days at most; this one asks for 365"
}

test_a_year_in_staging_is_a_warning if {
	year := request("tls-cert", "staging", 365)
	count(certificates.deny) == 0 with input as year
	count(certificates.warn) == 1 with input as year
}

test_other_blueprints if {
	count(certificates.deny) == 0 with input as request("schedule", "production", 365)
}
