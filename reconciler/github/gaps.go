package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/go-github/v62/github"
)

// Gaps implements [reconciler.Forge]. A branch is guarded by rules, which
// everybody may read who may read the repository, and by a protection, of
// which others than its administrators see no more than the checks.
func (f *Forge) Gaps(ctx context.Context) ([]string, error) {
	g, known, err := f.guards(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what guards the branch %s: %w", f.branch, err)
	}
	if !known {
		return nil, nil
	}
	return f.gaps(g), nil
}

// guards are what stands between a change and the tracked branch.
type guards struct {
	rules      []rule
	protection *github.Protection // nil where there is none
	whole      bool               // the protection is known whole, not its checks alone
}

// rule is one rule of a branch. The client library's own type refuses rules that
// it does not know.
type rule struct {
	Type       string `json:"type"`
	Parameters struct {
		Checks []struct {
			Context string `json:"context"`
			App     int64  `json:"integration_id"`
		} `json:"required_status_checks"`
	} `json:"parameters"`
}

// guards reads them; known is false where Pave may not.
func (f *Forge) guards(ctx context.Context) (g guards, known bool, err error) {
	g.rules, err = pages(func(page github.ListOptions) ([]rule, *github.Response, error) {
		return f.rules(ctx, page)
	})
	if hidden(err) {
		return g, false, nil
	}
	if err != nil {
		return g, false, err
	}
	var branch github.Branch
	_, err = f.get(ctx, "branches/"+url.PathEscape(f.branch), nil, &branch)
	if hidden(err) {
		return g, false, nil
	}
	if err != nil {
		return g, false, err
	}
	if !branch.GetProtected() {
		return g, true, nil
	}
	protection, _, err := f.client.Repositories.GetBranchProtection(ctx, f.owner, f.name, f.branch)
	switch {
	case err == nil:
		g.protection, g.whole = protection, true
	case errors.Is(err, github.ErrBranchNotProtected): // by rules alone
		g.whole = true
	case hidden(err):
		g.protection = cmp.Or(branch.Protection, &github.Protection{})
	default:
		return g, false, err
	}
	return g, true, nil
}

// hidden tells that the forge does not show something.
func hidden(err error) bool {
	return isStatus(err, http.StatusForbidden) || isStatus(err, http.StatusNotFound)
}

func (f *Forge) rules(ctx context.Context, page github.ListOptions) ([]rule, *github.Response, error) {
	query := url.Values{"per_page": {strconv.Itoa(page.PerPage)}, "page": {strconv.Itoa(max(page.Page, 1))}}
	var found []rule
	resp, err := f.get(ctx, "rules/branches/"+url.PathEscape(f.branch), query, &found)
	return found, resp, err
}

// get reads what the client library has no call for, or none that fits.
func (f *Forge) get(ctx context.Context, path string, query url.Values, into any) (*github.Response, error) {
	return f.getOf(ctx, f.owner, f.name, path, query, into)
}

// getOf is get for another repository.
func (f *Forge) getOf(ctx context.Context, owner, name, path string, query url.Values, into any) (*github.Response, error) {
	req, err := f.client.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/%s?%s", owner, name, path, query.Encode()), nil)
	if err != nil {
		return nil, err
	}
	return f.client.Do(ctx, req, into)
}

// gaps says where the guards let a change past the check.
func (f *Forge) gaps(g guards) []string {
	if len(g.rules) == 0 && g.protection == nil {
		return []string{fmt.Sprintf("The branch %s is not protected: whoever may write to %s/%s may push to it, past the check %s. "+
			"Give it a rule that requires pull requests and this check.", f.branch, f.owner, f.name, f.check)}
	}
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if gap := f.checkGap(g); gap != "" {
		say("%s", gap)
	}
	if g.protection != nil && !g.whole {
		return all // what else it holds only administrators see
	}
	if !g.requiresPullRequests() {
		say("Commits may be pushed to %s without a pull request. Let the branch's rules require one.", f.branch)
	}
	if !g.forbidsForce() {
		say("The branch %s may be rewritten by a force push. Let the branch's rules forbid it.", f.branch)
	}
	if p := g.protection; p != nil && p.EnforceAdmins != nil && !p.EnforceAdmins.Enabled && len(g.checks(f.check, false)) == 0 {
		say("The protection of %s does not bind administrators: they may merge past the check %s. Let it allow no bypass.", f.branch, f.check)
	}
	return all
}

// checkGap says what is wrong with the requirement of the check.
func (f *Forge) checkGap(g guards) string {
	apps := g.checks(f.check, true)
	if len(apps) == 0 {
		return fmt.Sprintf("The check %s is not required on %s: whatever it says, a change may be merged. Require it in the branch's rules.", f.check, f.branch)
	}
	pinned := slices.DeleteFunc(slices.Clone(apps), func(app int64) bool { return app <= 0 })
	switch {
	case f.app != nil && slices.Contains(pinned, f.app.app.ID):
		return ""
	case len(pinned) > 0:
		return fmt.Sprintf("The check %s is required on %s from the App %d, and that is not Pave's: what Pave says does not count. "+
			"Choose Pave's App as the check's source.", f.check, f.branch, pinned[0])
	case f.app != nil:
		return fmt.Sprintf("The check %s is required on %s from anybody: whoever may write statuses can set it. "+
			"Choose Pave's App, %d, as the check's source.", f.check, f.branch, f.app.app.ID)
	}
	return fmt.Sprintf("The check %s is required on %s from anybody: whoever may write statuses can set it. "+
		"Let Pave act as an App in place of a token, and choose it as the check's source.", f.check, f.branch)
}

// checks returns from which Apps the check is required, zero or less for anybody,
// by the rules and, where asked for, by the protection.
func (g guards) checks(name string, protection bool) []int64 {
	var apps []int64
	for _, r := range g.rules {
		for _, c := range r.Parameters.Checks {
			if r.Type == "required_status_checks" && c.Context == name {
				apps = append(apps, c.App)
			}
		}
	}
	if !protection || g.protection == nil {
		return apps
	}
	required := g.protection.GetRequiredStatusChecks()
	if required == nil || required.Checks == nil {
		return apps
	}
	for _, c := range *required.Checks {
		if c.Context == name {
			apps = append(apps, c.GetAppID())
		}
	}
	return apps
}

func (g guards) has(types ...string) bool {
	return slices.ContainsFunc(g.rules, func(r rule) bool { return slices.Contains(types, r.Type) })
}

func (g guards) requiresPullRequests() bool {
	return g.has("pull_request", "merge_queue", "update") || g.protection != nil && g.protection.RequiredPullRequestReviews != nil
}

func (g guards) forbidsForce() bool {
	if g.has("non_fast_forward", "update") {
		return true
	}
	if g.protection == nil {
		return false
	}
	allowed := g.protection.GetAllowForcePushes()
	return allowed == nil || !allowed.Enabled // unsaid, a protected branch is not rewritten
}
