# METADATA
# title: Names tell the service
# description: |
#   Whoever is paged at night sees a request's name first. It begins with the
#   name of the service that it is for.
package acme.naming

deny contains violation if {
	input.kind == "request"
	not input.change.action == "delete"
	prefix := sprintf("%s-", [input.document.service])
	not startswith(input.document.name, prefix)
	violation := {
		"msg": sprintf("the name must begin with %q, after the service that it is for", [prefix]),
		"path": ["service"],
	}
}
