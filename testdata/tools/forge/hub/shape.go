package hub

import (
	"encoding/json"
	"fmt"
)

// The functions here turn an object of Gitea's into GitHub's, in place. Fields
// that both have, and fields that only Gitea has, stay.

// dig returns what lies at a path of objects, or nil.
func dig(o object, path ...string) any {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(object)
	}
	return o[path[len(path)-1]]
}

func number(value any) int64 {
	switch n := value.(type) {
	case json.Number:
		i, _ := n.Int64()
		return i
	case int64:
		return n
	}
	return 0
}

func withNode(o object, kind string) object {
	o["node_id"] = fmt.Sprintf("%s_%v", kind, o["id"])
	return o
}

// inside shapes the objects of these names, where they are.
func inside(o object, shape func(object), names ...string) {
	for _, name := range names {
		if inner, _ := o[name].(object); inner != nil {
			shape(inner)
		}
	}
}

func user(o object) {
	withNode(o, "U")
	o["type"], o["site_admin"], o["name"] = "User", o["is_admin"], o["full_name"]
	if o["name"] == "" {
		o["name"] = nil
	}
	if _, found := o["created"]; found {
		o["created_at"], o["updated_at"] = o["created"], o["created"]
	}
	for _, name := range []string{"is_admin", "login_name", "source_id", "last_login", "created"} {
		delete(o, name)
	}
}

func repository(o object) {
	withNode(o, "R")
	inside(o, user, "owner")
	inside(o, repository, "parent")
	if parent, _ := o["parent"].(object); parent != nil {
		o["source"] = parent
	}
}

func pull(o object) {
	withNode(o, "PR")
	inside(o, user, "user", "merged_by", "assignee")
	inside(o, side, "head", "base")
	o["requested_teams"], o["auto_merge"] = list{}, nil
	// Gitea says of conflicts no more than this, and says no while it looks.
	if mergeable, _ := o["mergeable"].(bool); mergeable {
		o["mergeable_state"] = "clean"
	} else {
		o["mergeable"], o["mergeable_state"] = nil, "unknown"
	}
	if number := o["number"]; number != nil {
		o["issue_url"] = fmt.Sprint(dig(o, "base", "repo", "url"), "/issues/", number)
		o["comments_url"] = fmt.Sprint(o["issue_url"], "/comments")
	}
}

// pullInList lacks what GitHub says only of a single one.
func pullInList(o object) {
	pull(o)
	for _, name := range []string{"merged", "merged_by", "mergeable", "mergeable_state", "comments", "review_comments",
		"commits", "additions", "deletions", "changed_files"} {
		delete(o, name)
	}
}

// side is one of the two sides of a pull request. Its label holds the owner;
// its ref is the branch, also where Gitea has only its own ref of the pull
// request left.
func side(o object) {
	inside(o, repository, "repo")
	owner := dig(o, "repo", "owner")
	o["user"] = owner
	if name, _ := o["label"].(string); name != "" {
		o["ref"] = name
	}
	login := "unknown"
	if owner, _ := owner.(object); owner != nil {
		login = fmt.Sprint(owner["login"])
	}
	o["label"] = fmt.Sprintf("%s:%v", login, o["ref"])
}

func file(o object) {
	switch o["status"] {
	case "changed":
		o["status"] = "modified"
	case "deleted":
		o["status"] = "removed"
	}
}

func review(o object) {
	withNode(o, "PRR")
	inside(o, user, "user")
	if dismissed, _ := o["dismissed"].(bool); dismissed {
		o["state"] = "DISMISSED"
	}
	switch o["state"] {
	case "REQUEST_CHANGES":
		o["state"] = "CHANGES_REQUESTED"
	case "COMMENT":
		o["state"] = "COMMENTED"
	}
}

func comment(o object) {
	withNode(o, "IC")
	inside(o, user, "user")
}

// event is a change of a pull request's base.
func event(o object) {
	withNode(o, "BRCE")
	inside(o, user, "user")
	o["actor"], o["event"] = o["user"], "base_ref_changed"
	o["commit_id"], o["commit_url"], o["performed_via_github_app"] = nil, nil, nil
}

func status(o object) {
	withNode(o, "SC")
	inside(o, user, "creator")
	o["state"] = o["status"]
	delete(o, "status")
}

func commit(o object) {
	o["node_id"] = fmt.Sprint("C_", o["sha"])
	inside(o, user, "author", "committer")
}

// gitCommit is the commit alone, as `git cat-file` tells of it.
func gitCommit(o object) {
	inner, _ := o["commit"].(object)
	for name := range o {
		if name != "sha" && name != "url" && name != "html_url" && name != "parents" {
			delete(o, name)
		}
	}
	for _, name := range []string{"author", "committer", "message", "tree", "verification"} {
		o[name] = inner[name]
	}
	o["node_id"] = fmt.Sprint("C_", o["sha"])
}

// branchOf is a branch and, in short, what protects it.
func branchOf(o object) {
	inside(o, func(commit object) { commit["sha"] = commit["id"] }, "commit")
	o["protection"] = object{"enabled": o["protected"], "required_status_checks": requiredChecks(o)}
}

func protection(o object) {
	if enabled, _ := o["enable_status_check"].(bool); enabled {
		o["required_status_checks"] = requiredChecks(o)
	}
	o["required_pull_request_reviews"] = object{
		"required_approving_review_count": o["required_approvals"],
		"dismiss_stale_reviews":           o["dismiss_stale_approvals"],
	}
	o["enforce_admins"] = object{"enabled": o["block_admin_merge_override"]}
	o["allow_force_pushes"] = object{"enabled": o["enable_force_push"] == true}
}

// rulesOf are the rules that a protection amounts to.
func rulesOf(o object) list {
	rule := func(kind string, parameters object) object {
		r := object{"type": kind, "ruleset_source_type": "Repository", "ruleset_source": "gitea", "ruleset_id": 1}
		if parameters != nil {
			r["parameters"] = parameters
		}
		return r
	}
	var all list
	if o["enable_push"] != true {
		all = append(all, rule("pull_request", object{"required_approving_review_count": o["required_approvals"],
			"dismiss_stale_reviews_on_push": o["dismiss_stale_approvals"], "require_code_owner_review": false,
			"require_last_push_approval": false, "required_review_thread_resolution": false}))
	}
	if o["enable_status_check"] == true {
		checks := list{}
		contexts, _ := o["status_check_contexts"].(list)
		for _, name := range contexts {
			checks = append(checks, object{"context": name})
		}
		all = append(all, rule("required_status_checks", object{"required_status_checks": checks,
			"strict_required_status_checks_policy": o["block_on_outdated_branch"] == true}))
	}
	if o["enable_force_push"] != true {
		all = append(all, rule("non_fast_forward", nil))
	}
	return all
}

// requiredChecks are pinned to no App, because Gitea has none.
func requiredChecks(o object) object {
	contexts, _ := o["status_check_contexts"].(list)
	checks := list{}
	for _, name := range contexts {
		checks = append(checks, object{"context": name, "app_id": nil})
	}
	return object{"strict": o["block_on_outdated_branch"] == true, "contexts": append(list{}, contexts...), "checks": checks}
}
