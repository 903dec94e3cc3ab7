package hub

import (
	"fmt"
	"strings"
)

// actions are the words that Gitea and GitHub do not share.
var actions = map[any]string{
	"synchronized":  "synchronize",
	"label_updated": "labeled",
	"label_cleared": "unlabeled",
}

// translate turns a payload of Gitea's into GitHub's, in place, and returns
// GitHub's name of the event; empty where there is none.
func translate(event string, payload object) string {
	inside(payload, user, "sender")
	inside(payload, repository, "repository")
	inside(payload, pull, "pull_request")
	switch event {
	case "push":
		return push(payload)
	case "pull_request":
		return pullRequest(payload)
	case "pull_request_approved", "pull_request_rejected", "pull_request_comment":
		return pullRequestReview(event, payload)
	case "issue_comment":
		return issueComment(payload)
	case "status":
		payload["name"], payload["branches"] = dig(payload, "repository", "full_name"), list{}
		inside(payload, func(c object) { c["sha"] = c["id"] }, "commit")
		return event
	case "create", "delete":
		payload["pusher_type"] = "user"
		return event
	}
	return ""
}

func push(payload object) string {
	zero := func(name string) bool {
		sha, _ := payload[name].(string)
		return strings.Trim(sha, "0") == ""
	}
	payload["created"], payload["deleted"], payload["compare"] = zero("before"), zero("after"), payload["compare_url"]
	payload["base_ref"] = nil
	if pusher, _ := payload["pusher"].(object); pusher != nil {
		payload["pusher"] = object{"name": pusher["login"], "email": pusher["email"]}
	}
	if owner, _ := dig(payload, "repository", "owner").(object); owner != nil {
		owner["name"] = owner["login"]
	}
	return "push"
}

func pullRequest(payload object) string {
	if action, differs := actions[payload["action"]]; differs {
		payload["action"] = action
	}
	if payload["action"] == "synchronize" {
		payload["after"] = dig(payload, "pull_request", "head", "sha")
	}
	return "pull_request"
}

// pullRequestReview puts the review into the words of its event: Gitea sends
// what it says and not which it is.
func pullRequestReview(event string, payload object) string {
	state := map[string]string{
		"pull_request_approved": "approved",
		"pull_request_rejected": "changes_requested",
		"pull_request_comment":  "commented",
	}[event]
	payload["action"] = "submitted"
	payload["review"] = object{
		"user": payload["sender"], "state": state, "body": dig(payload, "review", "content"),
		"commit_id":    dig(payload, "pull_request", "head", "sha"),
		"submitted_at": dig(payload, "pull_request", "updated_at"),
		"html_url":     dig(payload, "pull_request", "html_url"),
	}
	return "pull_request_review"
}

func issueComment(payload object) string {
	inside(payload, comment, "comment")
	issue, _ := payload["issue"].(object)
	if issue == nil {
		return ""
	}
	// GitHub names the repository by its address here.
	issue["repository_url"] = dig(payload, "repository", "url")
	delete(issue, "repository")
	inside(issue, user, "user")
	if isPull, _ := payload["is_pull"].(bool); isPull {
		issue["pull_request"] = object{
			"url":      fmt.Sprint(dig(payload, "repository", "url"), "/pulls/", issue["number"]),
			"html_url": issue["html_url"],
		}
	}
	return "issue_comment"
}
