# METADATA
# title: Owners of critical services can be reached
# description: |
#   When a service of tier 1 fails, the whole company looks for its owners. They
#   have a channel, and the service a runbook or a dashboard to start from.
package acme.contact

deny contains msg if {
	critical
	not input.team.channel
	msg := sprintf("team %s owns a service of tier 1 and needs a channel in teams.cue", [input.document.owner])
}

warn contains msg if {
	critical
	not starting_point
	msg := "a service of tier 1 needs a link to a runbook or a dashboard"
}

critical if {
	input.kind == "service"
	not input.change.action == "delete"
	input.document.tier == 1
}

starting_point if {
	some link in input.document.links
	link.type in {"runbook", "dashboard"}
}
