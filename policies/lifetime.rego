# METADATA
# title: How long a request lives
package pave.rules.lifetime

# METADATA
# title: Outside production everything ends
# description: A request outside production says when it ends or how long it lives, unless its blueprint has a default lifetime.
# custom:
#   id: lifetime-required
#   severity: deny
deny contains {
	"id": "lifetime-required",
	"msg": sprintf("environment %s is not production, so the request must say when it ends", [input.document.environment]),
	"path": ["expires"],
	"hint": sprintf(`add expires: "%s"`, [suggested]),
} if {
	temporary
	not input.document.expires
	not input.document.ttl
	not input.blueprint.lifetime["default"]
}

# METADATA
# title: Nothing outlives its blueprint's limit
# description: Outside production a request ends within the longest lifetime that its blueprint allows, counted from the commit.
# custom:
#   id: lifetime-max
#   severity: deny
deny contains {
	"id": "lifetime-max",
	"msg": sprintf("%s is later than blueprint %s allows: at most %s ahead", [input.document.expires, input.document.blueprint, input.blueprint.lifetime.max]),
	"path": ["expires"],
	"hint": sprintf(`set expires to "%s" or earlier`, [latest]),
} if {
	temporary
	input.document.expires > latest
}

# METADATA
# title: Nothing lives longer than its blueprint allows
# description: Outside production a request's ttl is no longer than the longest lifetime that its blueprint allows.
# custom:
#   id: lifetime-ttl
#   severity: deny
deny contains {
	"id": "lifetime-ttl",
	"msg": sprintf("%s is longer than blueprint %s allows: at most %s", [input.document.ttl, input.document.blueprint, input.blueprint.lifetime.max]),
	"path": ["ttl"],
	"hint": sprintf(`set ttl to "%s" or less`, [input.blueprint.lifetime.max]),
} if {
	temporary
	days(input.document.ttl) > days(input.blueprint.lifetime.max)
}

# METADATA
# title: There is one end
# description: A request has a last day or a time to live, not both.
# custom:
#   id: lifetime-once
#   severity: deny
deny contains {
	"id": "lifetime-once",
	"msg": "the request has a last day and a time to live, and they may differ",
	"path": ["ttl"],
	"hint": "keep expires or ttl, and remove the other one",
} if {
	input.kind == "request"
	input.document.expires
	input.document.ttl
}

# METADATA
# title: Nothing starts after its end
# description: A request that is added ends today or later.
# custom:
#   id: lifetime-past
#   severity: deny
deny contains {
	"id": "lifetime-past",
	"msg": sprintf("%s is past already", [input.document.expires]),
	"path": ["expires"],
	"hint": "set expires to a day to come, or remove the request",
} if {
	input.kind == "request"
	input.change.action == "create"
	input.document.expires < day_after(0)
}

temporary if {
	input.kind == "request"
	input.change.action != "delete"
	input.environment.stage != "production"
}

suggested := min({day_after(30), latest}) if latest

suggested := day_after(30) if not latest

latest := day_after(days(input.blueprint.lifetime.max))

days(text) := to_number(trim_suffix(text, "d"))

# day_after returns the date so many days after the commit. Dates compare as text.
day_after(days) := time.format([
	time.add_date(time.parse_rfc3339_ns(input.now), 0, 0, days),
	"UTC",
	"2006-01-02",
])
