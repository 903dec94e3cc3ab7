# METADATA
# title: Changing what is frozen
package pave.rules.freeze

# METADATA
# title: The glass is not broken alone
# description: Where changes are reviewed on a forge, the platform team approves that a request may change while its environment is frozen.
# custom:
#   id: break-glass
#   severity: approve
require_approval contains {
	"id": "break-glass",
	"msg": sprintf("breakGlass lets it change until the end of %s while %s is frozen", [input.document.breakGlass.until, input.document.environment]),
	"path": ["breakGlass"],
	"team": input.settings.owner,
} if {
	input.kind == "request"
	input.reviewed
	input.document.breakGlass.until >= day_after(0)
}

# METADATA
# title: The glass is broken for a week at most
# description: The last day of breakGlass is within seven days of the commit.
# custom:
#   id: break-glass-max
#   severity: deny
deny contains {
	"id": "break-glass-max",
	"msg": sprintf("%s is more than seven days ahead", [input.document.breakGlass.until]),
	"path": ["breakGlass", "until"],
	"hint": sprintf(`set until to "%s" or earlier`, [day_after(7)]),
} if {
	input.kind == "request"
	input.document.breakGlass.until > day_after(7)
}

# METADATA
# title: Broken glass is swept up
# description: A breakGlass whose last day is over does nothing.
# custom:
#   id: break-glass-over
#   severity: warn
warn contains {
	"id": "break-glass-over",
	"msg": sprintf("breakGlass ended with %s", [input.document.breakGlass.until]),
	"path": ["breakGlass"],
	"hint": "remove breakGlass",
} if {
	input.kind == "request"
	input.change.action != "delete"
	input.document.breakGlass.until < day_after(0)
}

# day_after returns the date so many days after the commit. Dates compare as text.
day_after(days) := time.format([
	time.add_date(time.parse_rfc3339_ns(input.now), 0, 0, days),
	"UTC",
	"2006-01-02",
])
