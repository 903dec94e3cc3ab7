package fake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v4"
)

// caller is who asks: an account, and whether as the App itself or as its
// installation.
type caller struct {
	user         User
	app, install bool
}

func (s *Server) authenticated(q request, operation string) answer {
	who, ok := s.caller(q)
	if !ok {
		return s.refuse(http.StatusUnauthorized, "Bad credentials")
	}
	asApp := map[string]func(request) answer{
		"apps/get-authenticated": s.getApp, "apps/get-repo-installation": s.getInstallation,
		"apps/create-installation-access-token": s.createToken,
	}
	if handle, found := asApp[operation]; found {
		if !who.app {
			return s.refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")
		}
		return handle(q)
	}
	if who.app {
		return s.refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	if owner := q.params["owner"]; owner != "" && operation != "repos/list-activities" && (owner != Owner || q.params["repo"] != Name) {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	handlers := map[string]func(caller, request) answer{
		"users/get-authenticated": s.getSelf, "users/get-by-username": s.getUser,
		"pulls/list": s.listPulls, "pulls/get": s.getPull, "pulls/list-commits": s.listPullCommits, "pulls/list-reviews": s.listReviews,
		"repos/list-commits": s.listCommits, "repos/list-pull-requests-associated-with-commit": s.listCommitPulls,
		"pulls/merge":                       s.mergePull,
		"repos/get-branch":                  s.getBranch,
		"repos/get-branch-protection":       s.getProtection,
		"repos/get-branch-rules":            s.listRules,
		"repos/list-activities":             s.listActivities,
		"repos/get-combined-status-for-ref": s.getCombined,
		"repos/create-commit-status":        s.createStatus,
		"checks/list-for-ref":               s.listRuns,
		"checks/create":                     s.createRun,
		"checks/update":                     s.updateRun,
		"issues/list-events":                s.listEvents,
		"issues/list-comments":              s.listComments,
		"issues/create-comment":             s.createComment,
		"issues/update-comment":             s.updateComment,
		"issues/delete-comment":             s.deleteComment,
	}
	if status := s.Denied[operation]; status != 0 {
		return s.refuse(status, http.StatusText(status))
	}
	handle, found := handlers[operation]
	if !found {
		s.t.Errorf("the fake does not handle %s", operation)
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	return handle(who, q)
}

func (s *Server) caller(q request) (caller, bool) {
	kind, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if kind != "Bearer" && kind != "token" {
		return caller{}, false
	}
	if token == Token {
		return caller{user: Bot}, true
	}
	if until, found := s.tokens[token]; found {
		return caller{user: AppIs, install: true}, time.Now().Before(until)
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"}))
	return caller{app: true}, err == nil && claims.Issuer == strconv.Itoa(AppID)
}

func (s *Server) getApp(request) answer {
	return s.reply(http.StatusOK, s.object("integration", map[string]any{"id": AppID, "slug": "pave-app", "name": "Pave"}))
}

func (s *Server) getInstallation(q request) answer {
	if q.params["owner"] != Owner || q.params["repo"] != Name {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	return s.reply(http.StatusOK, s.object("installation", map[string]any{"id": Installation, "app_id": AppID}))
}

func (s *Server) createToken(q request) answer {
	if q.number("installation_id") != Installation {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	var in struct{ Repositories []string }
	if json.Unmarshal(q.body, &in) != nil || !slices.Equal(in.Repositories, []string{Name}) {
		s.t.Errorf("the installation's token is asked for %v, not for the repository alone", in.Repositories)
	}
	permissions := map[string]any{"checks": "write", "pull_requests": "write", "statuses": "write", "contents": "write", "administration": "read"}
	if s.ChecksDenied {
		delete(permissions, "checks")
	}
	s.nextID++
	token, until := fmt.Sprintf("ghs_%d", s.nextID), time.Now().Add(time.Hour)
	s.tokens[token] = until
	return s.reply(http.StatusCreated, map[string]any{"token": token, "expires_at": until.UTC().Format(time.RFC3339), "permissions": permissions})
}

func (s *Server) getSelf(who caller, _ request) answer {
	if who.install {
		return s.refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return s.reply(http.StatusOK, s.object("private-user", map[string]any{"id": who.user.ID, "login": who.user.Login, "user_view_type": "private", "type": "User"}))
}

func (s *Server) getUser(_ caller, q request) answer {
	for _, u := range s.users {
		if strings.EqualFold(u.Login, q.params["username"]) {
			return s.reply(http.StatusOK, s.object("public-user", map[string]any{"id": u.ID, "login": u.Login, "user_view_type": "public", "type": "User"}))
		}
	}
	return s.refuse(http.StatusNotFound, "Not Found")
}

func (s *Server) listPulls(_ caller, q request) answer {
	query := q.URL.Query()
	var found []any
	for _, p := range s.pulls {
		if (query.Get("state") == "all" || p.State == query.Get("state")) && (query.Get("base") == "" || p.BaseRef == query.Get("base")) {
			found = append(found, s.pull("pull-request-simple", p))
		}
	}
	if query.Get("direction") != "asc" {
		slices.Reverse(found)
	}
	return s.page(q, found, list)
}

func (s *Server) findPull(number int64) *Pull {
	for _, p := range s.pulls {
		if int64(p.Number) == number {
			return p
		}
	}
	return nil
}

func (s *Server) getPull(_ caller, q request) answer {
	p := s.findPull(q.number("pull_number"))
	if p == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	return s.reply(http.StatusOK, s.pull("pull-request", p))
}

// mergePull merges as the documentation says: the head must be the given one.
func (s *Server) mergePull(who caller, q request) answer {
	p := s.findPull(q.number("pull_number"))
	if p == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	var in struct {
		SHA    string
		Method string `json:"merge_method"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return s.refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	method := cmp.Or(in.Method, "merge")
	switch {
	case in.SHA == "":
		s.t.Errorf("Pave merges pull request %d whatever its head is", p.Number)
		return s.refuse(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	case p.State != "open" || p.Refuses != "":
		return s.refuse(http.StatusMethodNotAllowed, cmp.Or(p.Refuses, "Pull Request is not mergeable"))
	case !s.allows(method):
		return s.refuse(http.StatusMethodNotAllowed, "The merge method "+method+" is not allowed on this repository")
	case in.SHA != p.HeadSHA:
		return s.refuse(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	s.nextID++
	p.State, p.MergedAt, p.MergedBy, p.MergeSHA = "closed", time.Now(), who.user, fmt.Sprintf("%040x", s.nextID)
	return s.reply(http.StatusOK, s.object("pull-request-merge-result", map[string]any{"sha": p.MergeSHA, "merged": true, "message": "Pull Request successfully merged"}))
}

func (s *Server) allows(method string) bool {
	return s.MergeMethods == nil || slices.Contains(s.MergeMethods, method)
}

// getBranch shows everybody whether a branch is protected, and its checks.
func (s *Server) getBranch(_ caller, q request) answer {
	name := cmp.Or(s.Branch, "main")
	if q.params["branch"] != name {
		return s.refuse(http.StatusNotFound, "Branch not found")
	}
	checks := map[string]any{"enforcement_level": "off", "contexts": []any{}, "checks": []any{}}
	if required, found := s.Protection["required_status_checks"].(map[string]any); found {
		checks = required
	}
	return s.reply(http.StatusOK, s.object("branch-with-protection", map[string]any{"name": name, "protected": s.Protection != nil || len(s.Rules) > 0,
		"commit":     s.commit(Commit{SHA: "0000000000000000000000000000000000000001"}),
		"protection": map[string]any{"enabled": s.Protection != nil, "required_status_checks": checks}}))
}

func (s *Server) getProtection(_ caller, q request) answer {
	if s.Protection == nil || q.params["branch"] != cmp.Or(s.Branch, "main") {
		return s.refuse(http.StatusNotFound, "Branch not protected")
	}
	return s.reply(http.StatusOK, s.object("branch-protection", s.Protection))
}

func (s *Server) listRules(_ caller, q request) answer {
	var found []any
	if q.params["branch"] == cmp.Or(s.Branch, "main") {
		for _, rule := range s.Rules {
			found = append(found, rule)
		}
	}
	return s.page(q, found, list)
}

func (s *Server) listPullCommits(_ caller, q request) answer {
	p := s.findPull(q.number("pull_number"))
	if p == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	var found []any
	for _, c := range p.Commits[:min(len(p.Commits), 250)] {
		found = append(found, s.commit(c))
	}
	return s.page(q, found, list)
}

func (s *Server) listReviews(_ caller, q request) answer {
	p := s.findPull(q.number("pull_number"))
	if p == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	var found []any
	for i, r := range p.Reviews {
		found = append(found, s.object("pull-request-review", map[string]any{"id": i + 1, "user": s.user(r.By), "state": r.State,
			"commit_id": r.Commit, "submitted_at": r.Submitted.UTC().Format(time.RFC3339)}))
	}
	return s.page(q, found, list)
}

// listEvents gives every event the fields that all have: the description has no
// schema of its own for most kinds.
func (s *Server) listEvents(_ caller, q request) answer {
	p := s.findPull(q.number("issue_number"))
	if p == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	var found []any
	for i, e := range p.Events {
		found = append(found, s.object("added-to-project-issue-event", map[string]any{"id": i + 1, "actor": s.user(e.By), "event": e.Kind,
			"created_at": e.At.UTC().Format(time.RFC3339)}))
	}
	return s.page(q, found, list)
}

func (s *Server) listCommits(_ caller, q request) answer {
	var found []any
	for _, c := range s.commits {
		if author := q.URL.Query().Get("author"); author == "" || strings.EqualFold(c.AuthorEmail, author) {
			found = append(found, s.commit(c))
		}
	}
	return s.page(q, found, list)
}

func (s *Server) listCommitPulls(_ caller, q request) answer {
	var found []any
	for _, p := range s.pulls {
		has := slices.ContainsFunc(p.Commits, func(c Commit) bool { return c.SHA == q.params["commit_sha"] })
		if has || p.MergeSHA == q.params["commit_sha"] {
			found = append(found, s.pull("pull-request-simple", p))
		}
	}
	return s.page(q, found, list)
}

func (s *Server) listActivities(_ caller, q request) answer {
	query := q.URL.Query()
	var found []any
	for _, p := range s.pushes {
		if p.Owner == q.params["owner"] && p.Name == q.params["repo"] && p.Ref == query.Get("ref") {
			found = append(found, s.object("activity", map[string]any{"before": p.Before, "after": p.After, "ref": p.Ref, "activity_type": p.Kind, "actor": s.user(p.By)}))
		}
	}
	// Pages go by a cursor, not by a number.
	from, _ := strconv.Atoi(query.Get("after"))
	size, err := strconv.Atoi(query.Get("per_page"))
	if err != nil {
		size = 30
	}
	from = min(from, len(found))
	to := min(from+size, len(found))
	a := s.reply(http.StatusOK, append([]any{}, found[from:to]...))
	if to < len(found) {
		query.Set("after", strconv.Itoa(to))
		a.header.Set("Link", fmt.Sprintf(`<http://%s%s%s?%s>; rel="next"`, q.Host, prefix, q.URL.Path, query.Encode()))
	}
	return a
}

func (s *Server) getCombined(_ caller, q request) answer {
	latest := map[string]Status{}
	for _, status := range s.statuses {
		if status.SHA == q.params["ref"] {
			latest[status.Context] = status
		}
	}
	found := []any{}
	for _, status := range latest {
		found = append(found, s.object("simple-commit-status", status.fields()))
	}
	return s.page(q, found, func(part []any) any {
		return s.object("combined-commit-status", map[string]any{"sha": q.params["ref"], "state": "pending", "total_count": len(found), "statuses": part})
	})
}

func (c Status) fields() map[string]any {
	return map[string]any{"id": c.ID, "state": c.State, "context": c.Context, "description": c.Description, "target_url": orNull(c.Target)}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (s *Server) createStatus(who caller, q request) answer {
	var in struct {
		State, Context, Description string
		Target                      string `json:"target_url"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return s.refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	stands := 0
	for _, c := range s.statuses {
		if c.SHA == q.params["sha"] && c.Context == in.Context {
			stands++
		}
	}
	switch {
	case utf8.RuneCountInString(in.Description) > 140:
		return s.invalid("description", "description is too long (maximum is 140 characters)")
	case utf8.RuneCountInString(in.Context) > 255:
		return s.invalid("context", "context is too long (maximum is 255 characters)")
	case stands >= 1000:
		return s.invalid("base", "This SHA and context has reached the maximum number of statuses.")
	}
	s.nextID++
	made := Status{ID: s.nextID, SHA: q.params["sha"], State: in.State, Context: in.Context, Description: in.Description, Target: in.Target, By: who.user}
	s.statuses = append(s.statuses, made)
	fields := made.fields()
	fields["creator"] = s.user(who.user)
	return s.reply(http.StatusCreated, s.object("status", fields))
}

func (s *Server) listRuns(_ caller, q request) answer {
	query := q.URL.Query()
	var found []any
	for i, run := range s.runs {
		newer := slices.ContainsFunc(s.runs[i+1:], func(other Run) bool { return other.SHA == run.SHA && other.Name == run.Name })
		if run.SHA != q.params["ref"] || query.Get("check_name") != "" && run.Name != query.Get("check_name") ||
			query.Get("filter") != "all" && newer || query.Get("app_id") != "" && query.Get("app_id") != strconv.Itoa(AppID) {
			continue
		}
		found = append(found, s.run(run))
	}
	return s.page(q, found, func(part []any) any { return map[string]any{"total_count": len(found), "check_runs": part} })
}

// runInput is what creates or changes a check run.
type runInput struct {
	Name, Status, Conclusion string
	HeadSHA                  string `json:"head_sha"`
	DetailsURL               string `json:"details_url"`
	ExternalID               string `json:"external_id"`
	Output                   struct {
		Title, Summary string
		Annotations    []map[string]any
	}
}

// readRun reads a check run as far as the documented limits allow.
func (s *Server) readRun(who caller, q request) (in runInput, refusal *answer) {
	no := func(a answer) (runInput, *answer) { return in, &a }
	if !who.install || s.ChecksDenied {
		return no(s.refuse(http.StatusForbidden, "Resource not accessible by integration"))
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return no(s.refuse(http.StatusBadRequest, "Problems parsing JSON"))
	}
	switch {
	case len(in.Output.Annotations) > 50:
		return no(s.invalid("annotations", "no more than 50 annotations"))
	case utf8.RuneCountInString(in.Output.Summary) > 65535:
		return no(s.invalid("summary", "summary is too long (maximum is 65535 characters)"))
	case utf8.RuneCountInString(in.Output.Title) > 255:
		return no(s.invalid("title", "title is too long"))
	case in.Output.Title == "" || in.Output.Summary == "":
		return no(s.invalid("output", "title and summary are required"))
	case in.Status == "completed" && in.Conclusion == "":
		return no(s.invalid("conclusion", "conclusion is required"))
	}
	for _, a := range in.Output.Annotations {
		if message, _ := a["message"].(string); message == "" || len(message) > 64<<10 {
			return no(s.invalid("message", "an annotation needs a message of at most 64 KB"))
		}
	}
	return in, nil
}

func (s *Server) createRun(who caller, q request) answer {
	in, refusal := s.readRun(who, q)
	if refusal != nil {
		return *refusal
	}
	s.nextID++
	run := Run{ID: s.nextID, SHA: in.HeadSHA, Name: in.Name, At: time.Now()}
	run.take(in)
	s.runs = append(s.runs, run)
	return s.reply(http.StatusCreated, s.run(run))
}

func (s *Server) updateRun(who caller, q request) answer {
	in, refusal := s.readRun(who, q)
	if refusal != nil {
		return *refusal
	}
	for i := range s.runs {
		if s.runs[i].ID == q.number("check_run_id") {
			if s.runs[i].Status == "completed" && in.Status != "completed" {
				return s.invalid("status", "a completed check run stays completed")
			}
			s.runs[i].take(in)
			return s.reply(http.StatusOK, s.run(s.runs[i]))
		}
	}
	return s.refuse(http.StatusNotFound, "Not Found")
}

// take adds annotations; everything else it replaces.
func (r *Run) take(in runInput) {
	r.Status, r.Conclusion, r.Title, r.Summary, r.ExternalID = in.Status, in.Conclusion, in.Output.Title, in.Output.Summary, in.ExternalID
	r.Details = in.DetailsURL
	r.Annotations = append(r.Annotations, in.Output.Annotations...)
}

func (s *Server) run(r Run) any {
	fields := map[string]any{"id": r.ID, "head_sha": r.SHA, "name": r.Name, "status": r.Status, "conclusion": orNull(r.Conclusion), "external_id": r.ExternalID,
		"details_url": orNull(r.Details), "app": s.object("integration", map[string]any{"id": AppID, "slug": "pave-app", "name": "Pave"}),
		"output": map[string]any{"title": r.Title, "summary": r.Summary, "text": nil, "annotations_count": len(r.Annotations), "annotations_url": "https://example.com"}}
	return s.object("check-run", fields)
}

func (s *Server) listComments(_ caller, q request) answer {
	var found []any
	for _, c := range s.comments {
		if int64(c.Pull) == q.number("issue_number") {
			found = append(found, s.comment(c))
		}
	}
	if s.Unlisted > 0 && len(found) > 0 {
		s.Unlisted--
		found = found[:len(found)-1]
	}
	return s.page(q, found, list)
}

func (s *Server) readComment(q request) (string, *answer) {
	var in struct{ Body string }
	if err := json.Unmarshal(q.body, &in); err != nil {
		a := s.refuse(http.StatusBadRequest, "Problems parsing JSON")
		return "", &a
	}
	if strings.TrimSpace(in.Body) == "" || utf8.RuneCountInString(in.Body) > 65535 {
		a := s.invalid("body", "body is too long (maximum is 65536 characters) or blank")
		return "", &a
	}
	return in.Body, nil
}

func (s *Server) createComment(who caller, q request) answer {
	body, refusal := s.readComment(q)
	if refusal != nil {
		return *refusal
	}
	number := q.number("issue_number")
	if s.findPull(number) == nil {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	s.nextID++
	s.posted++
	c := Comment{ID: s.nextID, Pull: int(number), By: who.user, Body: body, At: time.Now()}
	s.comments = append(s.comments, c)
	return s.reply(http.StatusCreated, s.comment(c))
}

func (s *Server) findComment(id int64) int {
	return slices.IndexFunc(s.comments, func(c Comment) bool { return c.ID == id })
}

func (s *Server) updateComment(who caller, q request) answer {
	body, refusal := s.readComment(q)
	if refusal != nil {
		return *refusal
	}
	i := s.findComment(q.number("comment_id"))
	if i < 0 {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	if s.comments[i].By != who.user {
		s.t.Errorf("Pave edits a comment of %s", s.comments[i].By.Login)
	}
	if s.comments[i].Body == body {
		s.comments[i].Repeated++
	}
	s.comments[i].Body = body
	s.comments[i].Edited++
	s.comments[i].At = time.Now()
	return s.reply(http.StatusOK, s.comment(s.comments[i]))
}

func (s *Server) deleteComment(who caller, q request) answer {
	i := s.findComment(q.number("comment_id"))
	if i < 0 {
		return s.refuse(http.StatusNotFound, "Not Found")
	}
	if s.comments[i].By != who.user {
		s.t.Errorf("Pave deletes a comment of %s", s.comments[i].By.Login)
	}
	s.comments = slices.Delete(s.comments, i, i+1)
	return s.reply(http.StatusNoContent, nil)
}

func (s *Server) comment(c Comment) any {
	return s.object("issue-comment", map[string]any{"id": c.ID, "body": c.Body, "user": s.user(c.By),
		"updated_at": c.At.UTC().Format(time.RFC3339),
		"html_url":   fmt.Sprintf("https://github.com/%s/%s/pull/%d#issuecomment-%d", Owner, Name, c.Pull, c.ID)})
}
