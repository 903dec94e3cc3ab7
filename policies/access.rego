# METADATA
# title: Who may ask for what in the portal
package pave.rules.access

# METADATA
# title: A team asks for what is its own
# description: Only a member of the team that owns the service, or of the platform team, asks for its requests to change.
# custom:
#   id: access-team
#   severity: deny
deny contains {
	"id": "access-team",
	"msg": sprintf("service %s belongs to %s, and %s is not in that team", [input.service.name, title, input.person.name]),
	"path": ["service"],
	"hint": sprintf("ask %s", [whom]),
} if {
	input.kind == "ask"
	not may_ask
}

may_ask if input.person.role == "platform"

may_ask if input.team.name in input.person.teams

default title := "another team"

title := input.team.title

# Whom to ask: where the team talks, else its head, else everybody in it.
default whom := "the platform team"

whom := sprintf("%s in %s", [title, input.team.channel]) if {
	input.team.channel
} else := sprintf("%s, who leads %s", [input.team.lead, title]) if {
	input.team.lead
} else := sprintf("%s of %s", [concat(", ", array.slice(input.team.members, 0, 3)), title]) if {
	count(input.team.members) > 0
}
