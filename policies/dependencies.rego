# METADATA
# title: What a service may depend on
package pave.rules.dependencies

# METADATA
# title: Tier 1 depends on tier 1 and 2
# description: What most depends on must not itself depend on a service of tier 3 or 4.
# custom:
#   id: tier-dependency
#   severity: deny
deny contains {
	"id": "tier-dependency",
	"msg": sprintf("a service of tier 1 must not depend on %s, which is tier %d", [needed.name, needed.tier]),
	"path": ["dependsOn"],
	"hint": sprintf("raise service %s to tier 2, or remove it from dependsOn", [needed.name]),
} if {
	some needed in dependencies
	input.document.tier == 1
	needed.tier in {3, 4}
}

# METADATA
# title: Nothing should depend on a service that ends
# description: A dependency that is deprecated or retired must be replaced some day.
# custom:
#   id: ended-dependency
#   severity: warn
warn contains {
	"id": "ended-dependency",
	"msg": sprintf("depends on %s, which is %s", [needed.name, needed.lifecycle]),
	"path": ["dependsOn"],
	"hint": sprintf("move off service %s and remove it from dependsOn", [needed.name]),
} if {
	some needed in dependencies
	needed.lifecycle in {"deprecated", "retired"}
}

dependencies := input.dependencies if {
	input.kind == "service"
	input.change.action != "delete"
}
