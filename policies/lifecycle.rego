# METADATA
# title: What a service may ask for at the end of its life
package pave.rules.lifecycle

# METADATA
# title: Nothing more for a service that ends
# description: A deprecated or retired service keeps what it has, but no request is added for it.
# custom:
#   id: lifecycle-ended
#   severity: deny
deny contains {
	"id": "lifecycle-ended",
	"msg": sprintf("service %s is %s, so nothing may be added for it", [input.document.service, input.service.lifecycle]),
	"path": ["service"],
	"hint": "remove the request, or name the service that takes over",
} if {
	input.kind == "request"
	input.change.action == "create"
	input.service.lifecycle in {"deprecated", "retired"}
}
