# METADATA
# title: What the Terraform of a blueprint may do
# description: These rules read the parsed code, so they hold before anything of it runs. Settings may waive each for one blueprint.
package pave.rules.module

# METADATA
# title: No provisioners
# description: A provisioner runs commands that no plan shows.
# custom:
#   id: module-provisioner
#   severity: deny
deny contains finding(
	"module-provisioner",
	provisioner,
	sprintf("provisioner %s of %s runs commands that no plan shows", [
		text(provisioner, "type"),
		text(provisioner, "resource"),
	]),
	"remove the provisioner",
) if {
	input.kind == "blueprint"
	some provisioner in facts("module-provisioner").provisioners
}

# METADATA
# title: No data sources that run or call what they like
# description: The data sources external and http run programs and call addresses while planning.
# custom:
#   id: module-data-source
#   severity: deny
deny contains finding(
	"module-data-source",
	read,
	sprintf("data source %s.%s runs while planning, before anybody saw the plan", [
		text(read, "type"),
		text(read, "name"),
	]),
	"make the value an input of the blueprint",
) if {
	input.kind == "blueprint"
	some read in facts("module-data-source").data
	read.type in {"external", "http"}
}

# METADATA
# title: Remote modules are pinned
# description: A module from elsewhere names an exact version or a commit, so that it cannot change unseen.
# custom:
#   id: module-unpinned
#   severity: deny
deny contains finding(
	"module-unpinned",
	called,
	sprintf("module %s comes from %s, which may change unseen", [
		text(called, "name"),
		text(called, "source"),
	]),
	`name an exact version ("1.2.3") or a commit (?ref= and its 40 digits)`,
) if {
	input.kind == "blueprint"
	some called in facts("module-unpinned").modules
	not called.local
	not called.pinned
}

# METADATA
# title: Providers come from the allow-list
# description: A provider is a program with the environment's credentials. Its source matches an entry of policy.providers in the settings.
# custom:
#   id: module-provider
#   severity: deny
deny contains finding(
	"module-provider",
	provider,
	sprintf("provider %s comes from %s, which the settings do not allow", [
		text(provider, "name"),
		source(provider),
	]),
	sprintf("use one of %s, or add %s to policy.providers in the settings", [
		concat(", ", patterns),
		json.marshal(source(provider)),
	]),
) if {
	input.kind == "blueprint"
	some provider in facts("module-provider").providers
	not allowed(source(provider))
}

# METADATA
# title: Functions read the module's own files
# description: A path given to file, templatefile, fileset and the like lies within the module and can be told without running it.
# custom:
#   id: module-file
#   severity: deny
deny contains finding(
	"module-file",
	call,
	sprintf("%s(%s) may read a file outside the module", [
		text(call, "function"),
		text(call, "argument"),
	]),
	`write the path as it is, below "${path.module}/"`,
) if {
	input.kind == "blueprint"
	some call in facts("module-file").fileCalls
	not inside(call)
}

# facts are those of the blueprint's code, unless the settings waive the rule for it.
facts(rule) := input.blueprint.module if not waived(rule)

waived(rule) if {
	some waiver in input.settings.policy.waivers
	waiver.rule == rule
	waiver.blueprint == input.name
}

# finding never depends on a fact that may be missing: a finding that cannot be
# told would be no finding.
finding(rule, fact, msg, hint) := {
	"id": rule,
	"msg": msg,
	"hint": sprintf("%s; or waive it: platform: policy: waivers: [{rule: %s, blueprint: %s, reason: \"…\"}]", [
		hint,
		json.marshal(rule),
		json.marshal(input.name),
	]),
	"file": object.get(fact, "file", ""),
	"line": object.get(fact, "line", 0),
}

text(fact, name) := sprintf("%v", [object.get(fact, name, "?")])

# source is where a provider comes from; without one Terraform takes hashicorp's of that name.
source(provider) := provider.source if provider.source != ""

source(provider) := "terraform.io/builtin/terraform" if {
	object.get(provider, "source", "") == ""
	provider.name == "terraform"
}

source(provider) := sprintf("hashicorp/%s", [text(provider, "name")]) if {
	object.get(provider, "source", "") == ""
	not provider.name == "terraform"
}

allowed("terraform.io/builtin/terraform")

allowed(source) if {
	some pattern in patterns
	glob.match(address(pattern), ["/"], address(source))
}

# address spells a source or a pattern out, with its host; Terraform ignores case.
address(source) := lower(source) if count(split(source, "/")) == 3

address(source) := sprintf("registry.terraform.io/%s", [lower(source)]) if count(split(source, "/")) == 2

address(source) := sprintf("registry.terraform.io/hashicorp/%s", [lower(source)]) if not contains(source, "/")

default patterns := []

patterns := input.settings.policy.providers

# inside trusts the parser, but not with a path that plainly leads away.
inside(call) if {
	call.leaves == false
	not leads_away(call)
}

leads_away(call) if {
	call.constant
	regex.match(`^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)`, call.value)
}
