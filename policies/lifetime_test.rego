package pave.rules.lifetime_test

import data.pave.rules.lifetime

request := {
	"kind": "request",
	"now": "2027-01-15T10:00:00Z",
	"change": {"action": "create"},
	"document": {"blueprint": "postgres", "environment": "lab"},
	"environment": {"stage": "development"},
	"blueprint": {},
}

expiring(day) := object.union(request, {"document": {"expires": day}})

limited(day) := object.union(expiring(day), {"blueprint": {"lifetime": {"max": "30d"}}})

findings(subject) := found if found := lifetime.deny with input as subject

ids(subject) := {finding.id | some finding in findings(subject)}

test_no_end if {
	some finding in findings(request)
	finding.id == "lifetime-required"
	finding.hint == `add expires: "2027-02-14"`
}

test_no_end_with_a_limit_suggests_the_limit if {
	some finding in findings(object.union(request, {"blueprint": {"lifetime": {"max": "7d"}}}))
	finding.id == "lifetime-required"
	finding.hint == `add expires: "2027-01-22"`
}

test_no_end_with_a_default if {
	ids(object.union(request, {"blueprint": {"lifetime": {"default": "7d"}}})) == set()
}

living(ttl) := object.union(request, {"document": {"ttl": ttl}, "blueprint": {"lifetime": {"max": "30d"}}})

test_ttl if {
	ids(living("30d")) == set()
}

test_ttl_beyond_the_limit if {
	some finding in findings(living("31d"))
	finding.id == "lifetime-ttl"
	finding.msg == "31d is longer than blueprint postgres allows: at most 30d"
	finding.hint == `set ttl to "30d" or less`
}

test_ttl_beyond_the_limit_in_production if {
	ids(object.union(living("31d"), {"environment": {"stage": "production"}})) == set()
}

test_ttl_without_a_limit if {
	ids(object.union(request, {"document": {"ttl": "900d"}})) == set()
}

test_two_ends if {
	ids(object.union(living("3d"), {"document": {"expires": "2027-02-01"}})) == {"lifetime-once"}
}

test_no_end_in_production if {
	ids(object.union(request, {"environment": {"stage": "production"}})) == set()
}

test_end if {
	ids(expiring("2027-03-01")) == set()
}

test_last_day_of_the_limit if {
	ids(limited("2027-02-14")) == set()
}

test_beyond_the_limit if {
	some finding in findings(limited("2027-02-15"))
	finding.id == "lifetime-max"
	finding.msg == "2027-02-15 is later than blueprint postgres allows: at most 30d ahead"
	finding.hint == `set expires to "2027-02-14" or earlier`
}

test_beyond_the_limit_in_production if {
	ids(object.union(limited("2028-01-01"), {"environment": {"stage": "production"}})) == set()
}

test_end_today if {
	ids(expiring("2027-01-15")) == set()
}

test_end_yesterday if {
	ids(expiring("2027-01-14")) == {"lifetime-past"}
}

test_end_yesterday_in_production if {
	ids(object.union(expiring("2027-01-14"), {"environment": {"stage": "production"}})) == {"lifetime-past"}
}

test_what_is_there_may_be_past if {
	ids(object.union(expiring("2027-01-14"), {"change": {"action": "update"}})) == set()
}

test_removal if {
	ids(object.union(request, {"change": {"action": "delete"}})) == set()
}
