# METADATA
# title: Certificates of production are short-lived
# description: |
#   A key that leaks is of use until its certificate ends. In production that
#   takes 90 days at most; elsewhere a long one is worth a question.
package acme.certificates

longest := 90

deny contains msg if {
	certificate
	input.environment.stage == "production"
	input.document.inputs.days > longest
	msg := sprintf("a certificate in production lasts %d days at most; this one asks for %d", [longest, input.document.inputs.days])
}

warn contains msg if {
	certificate
	not input.environment.stage == "production"
	input.document.inputs.days > longest
	msg := sprintf("%d days are more than production allows: will it work there?", [input.document.inputs.days])
}

certificate if {
	input.kind == "request"
	not input.change.action == "delete"
	input.document.blueprint == "tls-cert"
}
