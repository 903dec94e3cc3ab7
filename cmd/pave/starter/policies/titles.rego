# METADATA
# title: Titles of our services
# description: What this organisation asks of every service.
package ours.titles

# METADATA
# title: A title begins with a capital letter
# custom:
#   id: ours-title
warn contains {"msg": msg, "path": ["title"]} if {
	input.kind == "service"
	not regex.match(`^[A-Z]`, input.document.title)
	msg := sprintf("the title %q does not begin with a capital letter", [input.document.title])
}
