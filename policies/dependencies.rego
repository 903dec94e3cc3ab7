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
	"msg": sprintf("a service of tier 1 must not depend on %s, which is tier %d", [input.dependencies[i].name, input.dependencies[i].tier]),
	"path": ["dependsOn"],
	"hint": sprintf("raise service %s to tier 2, or remove it from dependsOn", [input.dependencies[i].name]),
} if {
	asked
	input.document.tier == 1
	some i
	input.dependencies[i].tier in {3, 4}
}

# METADATA
# title: Nothing should depend on a service that ends
# description: A dependency that is deprecated or retired must be replaced some day.
# custom:
#   id: ended-dependency
#   severity: warn
warn contains {
	"id": "ended-dependency",
	"msg": sprintf("depends on %s, which is %s", [input.dependencies[i].name, input.dependencies[i].lifecycle]),
	"path": ["dependsOn"],
	"hint": sprintf("move off service %s and remove it from dependsOn", [input.dependencies[i].name]),
} if {
	asked
	some i
	input.dependencies[i].lifecycle in {"deprecated", "retired"}
}

asked if {
	input.kind == "service"
	input.change.action != "delete"
}
