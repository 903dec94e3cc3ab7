# METADATA
# title: What a service needs before it runs in production
package pave.rules.production

# METADATA
# title: Production has somebody on call
# description: A service with requests in production names whom to page, itself or through its team.
# custom:
#   id: production-on-call
#   severity: deny
deny contains {
	"id": "production-on-call",
	"msg": sprintf("nobody is on call for service %s, and environment %s is production", [input.document.service, input.document.environment]),
	"path": ["service"],
	"hint": sprintf("add onCall to service %s or to team %s", [input.document.service, input.service.owner]),
} if {
	to_production
	not on_call
}

# METADATA
# title: Production has a tier
# description: A service with requests in production says how much depends on it.
# custom:
#   id: production-tier
#   severity: deny
deny contains {
	"id": "production-tier",
	"msg": sprintf("service %s has no tier, and environment %s is production", [input.document.service, input.document.environment]),
	"path": ["service"],
	"hint": sprintf("add tier to service %s, from 1 (most depends on it) to 4 (least)", [input.document.service]),
} if {
	to_production
	not input.service.tier
}

to_production if {
	input.kind == "request"
	input.change.action != "delete"
	input.environment.stage == "production"
}

on_call if input.service.onCall != ""

on_call if input.team.onCall != ""
