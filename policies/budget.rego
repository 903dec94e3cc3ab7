# METADATA
# title: What a team may spend
package pave.rules.budget

# METADATA
# title: A team stays within its budget
# description: A change that makes a request dearer is refused while its team's requests cost more than the team's budget.
# custom:
#   id: budget
#   severity: deny
deny contains {
	"id": "budget",
	"msg": sprintf("with %s more for this request, %s", [money(input.cost.monthly - input.cost.before), overspent]),
	"path": ["cost", "monthly"],
	"hint": sprintf("ask for less, remove what team %s no longer needs, or raise its budget", [input.service.owner]),
} if {
	over_budget
	dearer
}

# METADATA
# title: A team learns that it is over its budget
# description: Requests that become no dearer are kept, with a warning, while their team's requests cost more than the team's budget.
# custom:
#   id: budget-exceeded
#   severity: warn
warn contains {
	"id": "budget-exceeded",
	"msg": overspent,
	"path": ["cost", "monthly"],
	"hint": sprintf("remove what team %s no longer needs, or raise its budget", [input.service.owner]),
} if {
	over_budget
	not dearer
	input.cost.monthly > 0
}

over_budget if {
	input.kind == "request"
	input.change.action != "delete"
	input.cost.team.after > input.cost.team.budget
}

dearer if input.cost.monthly > input.cost.before

overspent := sprintf("team %s would spend %s a month, %s over its budget of %s", [
	input.service.owner,
	money(input.cost.team.after),
	money(input.cost.team.after - input.cost.team.budget),
	money(input.cost.team.budget),
])

money(amount) := trim_space(sprintf("%v %s", [round(amount * 100) / 100, currency]))

default currency := ""

currency := input.settings.currency
