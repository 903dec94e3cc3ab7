package github_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pave-dev/pave/reconciler/github"
	"github.com/pave-dev/pave/reconciler/github/fake"
)

// rule is one of a ruleset, as the forge writes it.
func rule(kind string, parameters map[string]any) map[string]any {
	r := map[string]any{"type": kind, "ruleset_source_type": "Repository", "ruleset_source": "acme/platform", "ruleset_id": 1}
	if parameters != nil {
		r["parameters"] = parameters
	}
	return r
}

// requiredCheck is the rule that a check is required, from an App where one is named.
func requiredCheck(name string, app int) map[string]any {
	check := map[string]any{"context": name}
	if app != 0 {
		check["integration_id"] = app
	}
	return rule("required_status_checks", map[string]any{"required_status_checks": []any{map[string]any{"context": "lint"}, check},
		"strict_required_status_checks_policy": false})
}

func pullRequestRule() map[string]any {
	return rule("pull_request", map[string]any{"dismiss_stale_reviews_on_push": false, "require_code_owner_review": false,
		"require_last_push_approval": false, "required_approving_review_count": 1, "required_review_thread_resolution": false})
}

// protection is a branch's, by which the check is required from the App; nil is anybody.
func protection(check string, app any, change func(map[string]any)) map[string]any {
	p := map[string]any{
		"required_status_checks":        map[string]any{"strict": false, "contexts": []any{check}, "checks": []any{map[string]any{"context": check, "app_id": app}}},
		"required_pull_request_reviews": map[string]any{"dismiss_stale_reviews": false, "require_code_owner_reviews": false, "required_approving_review_count": 1},
		"enforce_admins":                map[string]any{"url": "https://example.com", "enabled": true},
		"allow_force_pushes":            map[string]any{"enabled": false},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestGaps(t *testing.T) {
	force, unknown := rule("non_fast_forward", nil), rule("max_file_size", map[string]any{"max_file_size": 10})
	for name, c := range map[string]struct {
		rules      []map[string]any
		protection map[string]any
		denied     map[string]int
		app, token []string // what each sentence says, in order
	}{
		"nothing": {app: []string{"not protected"}, token: []string{"not protected"}},
		"rules": {rules: []map[string]any{requiredCheck("pave", fake.AppID), pullRequestRule(), force},
			token: []string{"not Pave's"}},
		"rules, the check from anybody": {rules: []map[string]any{unknown, requiredCheck("pave", 0), pullRequestRule(), force},
			app: []string{"whoever may write statuses can set it. Choose Pave's App, 77,"}, token: []string{"act as an App"}},
		"rules, the check from another App": {rules: []map[string]any{requiredCheck("pave", 99), pullRequestRule(), force},
			app: []string{"from the App 99"}, token: []string{"from the App 99"}},
		"rules, another check": {rules: []map[string]any{requiredCheck("other", fake.AppID), pullRequestRule(), force},
			app: []string{"not required"}, token: []string{"not required"}},
		"rules, only the check": {rules: []map[string]any{requiredCheck("pave", fake.AppID)},
			app: []string{"without a pull request", "force push"}, token: []string{"not Pave's", "without a pull request", "force push"}},
		"protection": {protection: protection("pave", fake.AppID, nil), token: []string{"not Pave's"}},
		"protection, the check from anybody": {protection: protection("pave", -1, nil),
			app: []string{"can set it"}, token: []string{"can set it"}},
		"protection, the check from whoever set it first": {protection: protection("pave", nil, nil),
			app: []string{"can set it"}, token: []string{"can set it"}},
		"protection without checks": {protection: protection("pave", nil, func(p map[string]any) { delete(p, "required_status_checks") }),
			app: []string{"not required"}, token: []string{"not required"}},
		"protection with everything else open": {protection: protection("pave", fake.AppID, func(p map[string]any) {
			delete(p, "required_pull_request_reviews")
			p["allow_force_pushes"] = map[string]any{"enabled": true}
			p["enforce_admins"] = map[string]any{"url": "https://example.com", "enabled": false}
		}), app: []string{"without a pull request", "force push", "administrators"}, token: []string{"not Pave's", "without a pull request", "force push", "administrators"}},
		"both, each with a part": {rules: []map[string]any{pullRequestRule(), force, requiredCheck("pave", 0)},
			protection: protection("pave", fake.AppID, func(p map[string]any) { delete(p, "required_pull_request_reviews") }), token: []string{"not Pave's"}},
		"a protection that only administrators see": {protection: protection("pave", fake.AppID, func(p map[string]any) { delete(p, "required_pull_request_reviews") }),
			denied: map[string]int{"repos/get-branch-protection": 403}, token: []string{"not Pave's"}},
		"a protection that only administrators see, without the check": {protection: protection("other", nil, nil),
			denied: map[string]int{"repos/get-branch-protection": 404}, app: []string{"not required"}, token: []string{"not required"}},
		"rules that are not shown":     {denied: map[string]int{"repos/get-branch-rules": 403}},
		"rules that do not exist":      {denied: map[string]int{"repos/get-branch-rules": 404}},
		"a branch that is not shown":   {denied: map[string]int{"repos/get-branch": 403}},
		"a branch that does not exist": {denied: map[string]int{"repos/get-branch": 404}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for way, want := range map[string][]string{"app": c.app, "token": c.token} {
					s, _ := open(t)
					s.Rules, s.Protection, s.Denied = c.rules, c.protection, c.denied
					got, err := ways[way](t, s).Gaps(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					matches := len(got) == len(want)
					for i := 0; matches && i < len(got); i++ {
						matches = strings.Contains(got[i], want[i]) && strings.Contains(got[i], "main") && strings.HasSuffix(got[i], ".")
					}
					if !matches || want == nil && got != nil {
						t.Errorf("as %s the gaps are %q, want %q", way, got, want)
					}
					if n := len(s.Calls()); way == "token" && n > 3 {
						t.Errorf("it costs %d requests", n)
					}
				}
			})
		})
	}
}

func TestGapsOfABranchWithASlash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t)
		s.Branch, s.Rules = "release/1", []map[string]any{requiredCheck("pave", 0), pullRequestRule(), rule("non_fast_forward", nil)}
		for range 150 { // another page
			s.Rules = append(s.Rules, rule("deletion", nil))
		}
		s.Rules = append(s.Rules, requiredCheck("pave", fake.AppID))
		f, err := github.New(github.Options{URL: "https://github.acme.example", Owner: fake.Owner, Name: fake.Name, Branch: "release/1",
			App: &github.App{ID: fake.AppID, Key: s.AppKey()}, Transport: s.Transport()})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Gaps(t.Context()); err != nil || got != nil {
			t.Errorf("the gaps are %q (%v)", got, err)
		}
	})
}

// A fault is no word on the branch.
func TestGapsInTrouble(t *testing.T) {
	for _, operation := range []string{"repos/get-branch-rules", "repos/get-branch", "repos/get-branch-protection"} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := open(t)
			s.Protection, s.Denied = protection("pave", nil, nil), map[string]int{operation: 500}
			if got, err := byToken(t, s).Gaps(t.Context()); err == nil || got != nil {
				t.Errorf("%s: the gaps are %q (%v)", operation, got, err)
			}
		})
	}
}
