# METADATA
# title: Where a request may run
package pave.rules.environment

# METADATA
# title: The blueprint allows the environment
# description: A request runs only in the environments that its blueprint lists; a blueprint that lists none may run in all.
# custom:
#   id: environment-allowed
#   severity: deny
deny contains {
	"id": "environment-allowed",
	"msg": sprintf("blueprint %s may not be used in environment %s", [input.document.blueprint, input.document.environment]),
	"path": ["environment"],
	"hint": sprintf("use one of: %s", [concat(", ", sort(allowed))]),
} if {
	input.kind == "request"
	input.change.action != "delete"
	allowed := input.blueprint.environments
	not input.document.environment in allowed
}
