package hub

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const repo = "/repos/{owner}/{repo}"

// routes are GitHub's paths, below /api/v3. What is not here answers 404.
var routes = map[string]answer{
	"GET /user":                     same(user),
	"GET /users/{name}":             same(user),
	"GET /rate_limit":               rateLimit,
	"GET /app":                      noApp(http.StatusUnauthorized, "A JSON web token could not be decoded"),
	"GET " + repo:                   same(repository),
	"POST " + repo + "/forks":       fork,
	"GET " + repo + "/installation": noApp(http.StatusUnauthorized, "A JSON web token could not be decoded"),

	"GET " + repo + "/pulls":                                  pulls,
	"POST " + repo + "/pulls":                                 createPull,
	"GET " + repo + "/pulls/{number}":                         same(pull),
	"PATCH " + repo + "/pulls/{number}":                       same(pull),
	"GET " + repo + "/pulls/{number}/commits":                 each(commit),
	"GET " + repo + "/pulls/{number}/files":                   each(file),
	"GET " + repo + "/pulls/{number}/merge":                   same(nil),
	"PUT " + repo + "/pulls/{number}/merge":                   merge,
	"GET " + repo + "/pulls/{number}/reviews":                 reviews,
	"POST " + repo + "/pulls/{number}/reviews":                createReview,
	"GET " + repo + "/pulls/{number}/reviews/{id}":            same(review),
	"PUT " + repo + "/pulls/{number}/reviews/{id}/dismissals": dismiss,

	"POST " + repo + "/issues/{number}/comments": writeComment,
	"GET " + repo + "/issues/{first}/{second}":   ofIssue,
	"PATCH " + repo + "/issues/comments/{id}":    writeComment,
	"DELETE " + repo + "/issues/comments/{id}":   same(nil),

	"POST " + repo + "/statuses/{sha}":            createStatus,
	"GET " + repo + "/commits/{ref}/statuses":     statuses,
	"GET " + repo + "/commits/{ref}/status":       combined,
	"GET " + repo + "/commits/{ref}/check-runs":   noRuns("check_runs"),
	"GET " + repo + "/commits/{ref}/check-suites": noRuns("check_suites"),
	"POST " + repo + "/check-runs":                noApp(http.StatusForbidden, "You must authenticate via a GitHub App."),
	"PATCH " + repo + "/check-runs/{id}":          noApp(http.StatusForbidden, "You must authenticate via a GitHub App."),
	"POST " + repo + "/check-suites":              noApp(http.StatusForbidden, "You must authenticate via a GitHub App."),

	"GET " + repo + "/commits":                         commits,
	"GET " + repo + "/commits/{ref}":                   at("/git/commits/", "ref", commit),
	"GET " + repo + "/commits/{ref}/pulls":             pullsOfCommit,
	"GET " + repo + "/git/commits/{ref}":               at("/git/commits/", "ref", gitCommit),
	"GET " + repo + "/git/ref/{ref...}":                ref,
	"GET " + repo + "/compare/{basehead...}":           compare,
	"GET " + repo + "/branches/{branch}":               same(branchOf),
	"GET " + repo + "/contents/{path...}":              same(nil),
	"PUT " + repo + "/contents/{path...}":              same(nil),
	"GET " + repo + "/activity":                        activities,
	"GET " + repo + "/rules/branches/{branch}":         rules,
	"GET " + repo + "/branches/{branch}/protection":    at("/branch_protections/", "branch", protection),
	"GET " + repo + "/collaborators/{name}/permission": same(nil),

	"GET " + repo + "/hooks":         listHooks,
	"POST " + repo + "/hooks":        createHook,
	"DELETE " + repo + "/hooks/{id}": deleteHook,
}

// gitea asks Gitea with the caller's token.
func (c *call) gitea(method, path string, query url.Values, body any) (reply, error) {
	r, err := c.client.do(c.request.Context(), c.request.Header.Get("Authorization"), method, path, query, body)
	return asGitHub(r), err
}

func (c *call) all(path string, query url.Values) (reply, list, error) {
	r, items, err := c.client.all(c.request.Context(), c.request.Header.Get("Authorization"), path, query)
	return asGitHub(r), items, err
}

// asGitHub gives an error of Gitea GitHub's form.
func asGitHub(r reply) reply {
	if r.status < 400 {
		return r
	}
	message, _ := r.object()["message"].(string)
	if message == "" {
		message = http.StatusText(r.status)
	}
	return failure(r.status, "%s", message)
}

// repo is the path of the repository.
func (c *call) repo() string {
	return "/repos/" + url.PathEscape(c.request.PathValue("owner")) + "/" + url.PathEscape(c.request.PathValue("repo"))
}

// path is the path that was asked for, below /api/v3.
func (c *call) path() string {
	return strings.TrimPrefix(c.request.URL.EscapedPath(), prefix)
}

func (c *call) text(name string) string {
	text, _ := c.body[name].(string)
	return text
}

// same passes a request on as it is and shapes the object of the answer.
func same(shape func(object)) answer {
	return func(c *call) (reply, error) { return c.shaped(c.path(), shape) }
}

// at is same at another path below the repository, which a part of this one completes.
func at(path, part string, shape func(object)) answer {
	return func(c *call) (reply, error) {
		return c.shaped(c.repo()+path+url.PathEscape(c.request.PathValue(part)), shape)
	}
}

func (c *call) shaped(path string, shape func(object)) (reply, error) {
	var body any
	if c.body != nil {
		body = c.body
	}
	r, err := c.gitea(c.request.Method, path, c.query, body)
	if o := r.object(); err == nil && r.ok() && o != nil && shape != nil {
		shape(o)
	}
	return r, err
}

// each passes a request for a list on and shapes every object of the answer.
func each(shape func(object)) answer {
	return func(c *call) (reply, error) {
		r, items, err := c.all(c.path(), nil)
		if err != nil || !r.ok() {
			return r, err
		}
		for _, item := range items {
			shape(item.(object))
		}
		return c.page(items), nil
	}
}

// page answers with the page of a list that was asked for, as GitHub does.
func (c *call) page(items list) reply {
	size, number := atoi(c.query.Get("per_page"), 30), atoi(c.query.Get("page"), 1)
	size = min(size, 100)
	last := max(1, (len(items)+size-1)/size)
	link := func(page int, rel string) string {
		query := clone(c.query)
		query.Set("page", strconv.Itoa(page))
		return "<" + c.client.public + c.request.URL.Path + "?" + query.Encode() + `>; rel="` + rel + `"`
	}
	var links []string
	if number > 1 {
		links = append(links, link(number-1, "prev"), link(1, "first"))
	}
	if number < last {
		links = append(links, link(number+1, "next"), link(last, "last"))
	}
	start := min((number-1)*size, len(items))
	part := items[start:min(start+size, len(items))]
	return reply{status: http.StatusOK, header: http.Header{"Link": {strings.Join(links, ", ")}}, body: append(list{}, part...)}
}

func atoi(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// noApp answers what only an App may ask.
func noApp(status int, message string) answer {
	return func(*call) (reply, error) { return failure(status, "%s", message), nil }
}

// noRuns is the empty list that a commit has where no App wrote to it.
func noRuns(name string) answer {
	return func(*call) (reply, error) {
		return reply{status: http.StatusOK, body: object{"total_count": 0, name: list{}}}, nil
	}
}

// rules puts the protection of a branch into the rules of a ruleset; a branch
// without one has none. Only administrators may ask Gitea.
func rules(c *call) (reply, error) {
	r, err := c.gitea(http.MethodGet, c.repo()+"/branch_protections/"+url.PathEscape(c.request.PathValue("branch")), nil, nil)
	if err == nil && r.status == http.StatusNotFound {
		return c.page(list{}), nil
	}
	if err != nil || !r.ok() {
		return r, err
	}
	return c.page(rulesOf(r.object())), nil
}

func rateLimit(c *call) (reply, error) {
	h := http.Header{}
	c.limits.take(h, c.request.Header.Get("Authorization"), false)
	core := object{}
	for _, name := range []string{"Limit", "Remaining", "Used", "Reset"} {
		core[strings.ToLower(name)] = atoi(h.Get("X-RateLimit-"+name), 0)
	}
	return reply{status: http.StatusOK, body: object{"resources": object{"core": core}, "rate": core}}, nil
}

func fork(c *call) (reply, error) {
	if c.body == nil {
		c.body = object{}
	}
	return c.shaped(c.path(), repository)
}

// pulls lists pull requests. Gitea orders in other ways and filters by other names.
func pulls(c *call) (reply, error) {
	r, items, err := c.all(c.path(), url.Values{"state": {cmp.Or(c.query.Get("state"), "open")}})
	if err != nil || !r.ok() {
		return r, err
	}
	head, base := c.query.Get("head"), c.query.Get("base")
	items = keep(items, func(o object) bool {
		pullInList(o)
		return (head == "" || dig(o, "head", "label") == head) && (base == "" || dig(o, "base", "ref") == base)
	})
	key := "created_at"
	if c.query.Get("sort") == "updated" {
		key = "updated_at"
	}
	up := c.query.Get("direction") == "asc"
	slices.SortStableFunc(items, func(a, b any) int {
		order := byTime(a.(object), b.(object), key)
		if up {
			return order
		}
		return -order
	})
	return c.page(items), nil
}

func keep(items list, wanted func(object) bool) list {
	return slices.DeleteFunc(items, func(item any) bool {
		o, isObject := item.(object)
		return !isObject || !wanted(o)
	})
}

// byTime orders by a time, and by the number or id where that is equal.
func byTime(a, b object, key string) int {
	when := func(o object) time.Time {
		text, _ := o[key].(string)
		at, _ := time.Parse(time.RFC3339, text)
		return at
	}
	if order := when(a).Compare(when(b)); order != 0 {
		return order
	}
	return int(number(a["id"]) - number(b["id"]))
}

// pullsOfCommit lists the pull requests whose merge or whose head a commit is.
func pullsOfCommit(c *call) (reply, error) {
	r, items, err := c.all(c.repo()+"/pulls", url.Values{"state": {"all"}})
	if err != nil || !r.ok() {
		return r, err
	}
	sha := c.request.PathValue("ref")
	return c.page(keep(items, func(o object) bool {
		pullInList(o)
		return o["merge_commit_sha"] == sha || dig(o, "head", "sha") == sha
	})), nil
}

func createPull(c *call) (reply, error) {
	if draft, _ := c.body["draft"].(bool); draft {
		c.body["title"] = "WIP: " + c.text("title")
	}
	r, err := c.shaped(c.path(), pull)
	if r.status == http.StatusConflict {
		return failure(http.StatusUnprocessableEntity, "Validation Failed: %v", r.object()["message"]), err
	}
	return r, err
}

// mergeDeadline is how long a merge waits for Gitea to find out whether a pull
// request has conflicts.
const mergeDeadline = 20 * time.Second

func merge(c *call) (reply, error) {
	body := object{"do": cmp.Or(c.text("merge_method"), "merge"), "head_commit_id": c.text("sha"),
		"merge_title_field": c.text("commit_title"), "merge_message_field": c.text("commit_message")}
	var r reply
	for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		var err error
		if r, err = c.gitea(http.MethodPost, c.path(), nil, body); err != nil {
			return r, err
		}
		message, _ := r.object()["message"].(string)
		if r.status != http.StatusMethodNotAllowed || !strings.Contains(message, "try again later") ||
			time.Since(start) > mergeDeadline || c.request.Context().Err() != nil {
			break
		}
	}
	if r.status == http.StatusConflict {
		return failure(r.status, "Head branch was modified. Review and try the merge again."), nil
	}
	if !r.ok() {
		return r, nil
	}
	merged, err := c.gitea(http.MethodGet, strings.TrimSuffix(c.path(), "/merge"), nil, nil)
	if err != nil || !merged.ok() {
		return merged, err
	}
	return reply{status: http.StatusOK, body: object{
		"sha": merged.object()["merge_commit_sha"], "merged": true, "message": "Pull Request successfully merged",
	}}, nil
}

// reviews leaves out what GitHub keeps elsewhere: requests for a review, and
// reviews that are not submitted.
func reviews(c *call) (reply, error) {
	r, items, err := c.all(c.path(), nil)
	if err != nil || !r.ok() {
		return r, err
	}
	slices.SortStableFunc(items, func(a, b any) int { return byTime(a.(object), b.(object), "submitted_at") })
	restore(items)
	return c.page(keep(items, func(o object) bool {
		review(o)
		return o["state"] != "REQUEST_REVIEW" && o["state"] != "PENDING"
	})), nil
}

// restore takes back a dismissal that only a later word of the same person
// caused: Gitea dismisses what is replaced, and GitHub does not.
func restore(items list) {
	later := map[any]bool{}
	for _, item := range slices.Backward(items) {
		o, _ := item.(object)
		who := dig(o, "user", "login")
		if later[who] {
			o["dismissed"] = false
		}
		if o["state"] == "APPROVED" || o["state"] == "REQUEST_CHANGES" {
			later[who] = true
		}
	}
}

func createReview(c *call) (reply, error) {
	if c.body["event"] == "APPROVE" {
		c.body["event"] = "APPROVED"
	}
	return c.shaped(c.path(), review)
}

func dismiss(c *call) (reply, error) {
	r, err := c.gitea(http.MethodPost, c.path(), nil, object{"message": c.text("message")})
	if o := r.object(); r.ok() && o != nil {
		review(o)
	}
	return r, err
}

const (
	maxComment     = 65536
	maxDescription = 140
)

// ofIssue answers for the comments or the events of an issue, /issues/N/comments
// and /issues/N/events, or for a single comment, /issues/comments/ID: paths that a
// pattern cannot tell apart.
func ofIssue(c *call) (reply, error) {
	switch {
	case c.request.PathValue("first") == "comments":
		return same(comment)(c)
	case c.request.PathValue("second") == "comments":
		return each(comment)(c)
	case c.request.PathValue("second") == "events":
		return events(c)
	}
	return unknown(c)
}

// events are the changes of a pull request's base; Gitea's other events are left
// out. Its timeline counts no more than the page that was asked for, so the end
// is an empty one.
func events(c *call) (reply, error) {
	path := c.repo() + "/issues/" + url.PathEscape(c.request.PathValue("first")) + "/timeline"
	var all list
	for page := 1; ; page++ {
		r, err := c.gitea(http.MethodGet, path, url.Values{"limit": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)}}, nil)
		if err != nil || !r.ok() {
			return r, err
		}
		found, _ := r.body.(list)
		if len(found) == 0 {
			return c.page(all), nil
		}
		all = append(all, keep(found, func(o object) bool {
			changed := o["type"] == "change_target_branch"
			event(o)
			return changed
		})...)
	}
}

func writeComment(c *call) (reply, error) {
	if utf8.RuneCountInString(c.text("body")) > maxComment {
		return failure(http.StatusUnprocessableEntity, "Validation Failed: body is too long (maximum is %d characters)", maxComment), nil
	}
	return c.shaped(c.path(), comment)
}

func createStatus(c *call) (reply, error) {
	switch state := c.text("state"); {
	case !slices.Contains([]string{"pending", "success", "failure", "error"}, state):
		return failure(http.StatusUnprocessableEntity, "Validation Failed: State is not included in the list"), nil
	case utf8.RuneCountInString(c.text("description")) > maxDescription:
		return failure(http.StatusUnprocessableEntity, "Validation Failed: description is too long (maximum is %d characters)", maxDescription), nil
	}
	return c.shaped(c.path(), status)
}

// statuses lists the latest first, as GitHub does.
func statuses(c *call) (reply, error) {
	r, items, err := c.all(c.path(), nil)
	if err != nil || !r.ok() {
		return r, err
	}
	items = keep(items, func(o object) bool { status(o); return true })
	slices.SortStableFunc(items, func(a, b any) int { return int(number(b.(object)["id"]) - number(a.(object)["id"])) })
	return c.page(items), nil
}

// combined is Gitea's, but for a commit without a status, which is pending.
func combined(c *call) (reply, error) {
	r, err := c.gitea(http.MethodGet, c.path(), url.Values{"limit": {strconv.Itoa(pageSize)}}, nil)
	o := r.object()
	if err != nil || !r.ok() || o == nil {
		return r, err
	}
	items, _ := o["statuses"].(list)
	o["statuses"] = keep(append(list{}, items...), func(o object) bool { status(o); return true })
	if o["state"] == "" {
		o["state"] = "pending"
	}
	if repo, _ := o["repository"].(object); repo != nil {
		repository(repo)
	}
	return r, nil
}

// commits lists the commits of a branch. Gitea knows no filter by author, which
// is an address or a handle.
func commits(c *call) (reply, error) {
	query := url.Values{"stat": {"false"}, "files": {"false"}}
	for _, name := range []string{"sha", "path", "since", "until"} {
		if value := c.query.Get(name); value != "" {
			query.Set(name, value)
		}
	}
	r, items, err := c.all(c.path(), query)
	if err != nil || !r.ok() {
		return r, err
	}
	author := c.query.Get("author")
	return c.page(keep(items, func(o object) bool {
		commit(o)
		address, _ := dig(o, "commit", "author", "email").(string)
		return author == "" || strings.EqualFold(address, author) || dig(o, "author", "login") == author
	})), nil
}

// ref answers with the one of that name; Gitea's list holds every name that
// begins so.
func ref(c *call) (reply, error) {
	name := c.request.PathValue("ref")
	r, err := c.gitea(http.MethodGet, c.repo()+"/git/refs/"+escapeSegments(name), nil, nil)
	if err != nil || !r.ok() {
		return r, err
	}
	found, isList := r.body.(list)
	if !isList {
		found = list{r.body}
	}
	for _, item := range found {
		if o, _ := item.(object); o["ref"] == "refs/"+name {
			return reply{status: http.StatusOK, body: withNode(o, "REF")}, nil
		}
	}
	return failure(http.StatusNotFound, "Not Found"), nil
}

func escapeSegments(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// compare says how far two revisions are apart, by Gitea's comparison in both
// directions. It lists no files.
func compare(c *call) (reply, error) {
	base, head, found := strings.Cut(c.request.PathValue("basehead"), "...")
	if !found {
		return failure(http.StatusNotFound, "Not Found"), nil
	}
	between := func(from, to string) (reply, error) {
		return c.gitea(http.MethodGet, c.repo()+"/compare/"+escapeSegments(from)+"..."+escapeSegments(to), url.Values{"files": {"false"}}, nil)
	}
	ahead, err := between(base, head)
	if err != nil || !ahead.ok() {
		return ahead, err
	}
	behind, err := between(head, base)
	if err != nil || !behind.ok() {
		return behind, err
	}
	o := ahead.object()
	items, _ := o["commits"].(list)
	slices.Reverse(items) // Gitea's are the latest first
	for _, item := range items {
		commit(item.(object))
	}
	forward, back := number(o["total_commits"]), number(behind.object()["total_commits"])
	o["ahead_by"], o["behind_by"], o["files"] = forward, back, list{}
	switch {
	case forward > 0 && back > 0:
		o["status"] = "diverged"
	case forward > 0:
		o["status"] = "ahead"
	case back > 0:
		o["status"] = "behind"
	default:
		o["status"] = "identical"
	}
	return ahead, nil
}
