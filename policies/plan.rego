# METADATA
# title: What the plan of a request destroys
package pave.rules.plan

# METADATA
# title: What is protected is not destroyed
# description: A protected request is neither removed nor planned away; protect is lifted first, in a revision of its own.
# custom:
#   id: protect
#   severity: deny
deny contains {
	"id": "protect",
	"msg": "the request is protected, and this would destroy it",
	"path": ["protect"],
	"hint": "set protect: false in a revision of its own; destroy in the next one",
} if {
	input.kind == "request"
	protected
	destroyed
}

# METADATA
# title: What is protected loses no resource
# description: A plan for a protected request deletes no resource that the request does not name in allowDestroy.
# custom:
#   id: protect-resource
#   severity: deny
deny contains {
	"id": "protect-resource",
	"msg": sprintf("the request is protected, and the plan deletes %s", [resource.address]),
	"path": ["allowDestroy"],
	"hint": permission(resource.address),
} if {
	some resource in destroys
	resource.change.actions == ["delete"]
	protected
	not destroyed
	not stateful(resource)
	not named(resource)

	# What a replacement that failed left behind was replaced, not taken away.
	not resource.deposed
}

# METADATA
# title: Data is not destroyed by accident
# description: A plan replaces or destroys a resource of a type that its blueprint lists as stateful only where the request names it in allowDestroy.
# custom:
#   id: stateful
#   severity: deny
deny contains {
	"id": "stateful",
	"msg": sprintf("the plan would %s %s, which holds data", [verb(resource), resource.address]),
	"path": ["allowDestroy"],
	"hint": permission(resource.address),
} if {
	some resource in destroys
	stateful(resource)
	input.change.action != "delete"
	not named(resource)
}

# METADATA
# title: Drift is put right without destroying anything
# description: A plan that only puts drift right replaces or destroys nothing that the request does not name in allowDestroy.
# custom:
#   id: heal-destroy
#   severity: deny
deny contains {
	"id": "heal-destroy",
	"msg": sprintf("putting drift right would %s %s, and nobody asked for that", [verb(resource), resource.address]),
	"path": ["allowDestroy"],
	"hint": permission(resource.address),
} if {
	input.heal
	some resource in destroys
	not named(resource)
	not stateful(resource)
}

# destroys are the resources that the plan deletes, replaced ones included.
destroys := [resource |
	some resource in input.plan.resource_changes
	not resource.mode == "data"
	"delete" in resource.change.actions
]

# protected holds what was recorded too: lifting it takes effect with the next revision.
protected if input.document.protect == true

protected if input.change.before.protect == true

destroyed if input.change.action == "delete"

destroyed if {
	count(destroys) > 0
	every resource in input.plan.resource_changes {
		leaves_nothing(resource)
	}
}

leaves_nothing(resource) if resource.mode == "data"

leaves_nothing(resource) if resource.change.actions in {["delete"], ["forget"]}

stateful(resource) if resource.type in input.blueprint.stateful

named(resource) if resource.address in input.document.allowDestroy.resources

named(resource) if resource.type in input.document.allowDestroy.resources

verb(resource) := "destroy" if resource.change.actions == ["delete"]

verb(resource) := "replace" if resource.change.actions != ["delete"]

permission(address) := sprintf(`if that is meant, add allowDestroy: {resources: [%s], reason: "…"}`, [json.marshal(address)])
