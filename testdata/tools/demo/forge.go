package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/pave-dev/pave/testdata/tools/forge/hub"
)

// Where the platform is on the forge.
const owner, name = "acme", "platform"

// host starts a forge that holds the platform, with an account for each member
// of a team.
func (d *demo) host(ctx context.Context) error {
	d.say("Starting a forge for it: Gitea, behind a proxy that speaks as GitHub does.")
	teams, err := d.teams()
	if err != nil {
		return err
	}
	var members []string
	for _, t := range teams {
		members = append(members, t.members...)
	}
	// Once it runs it ends by close alone, after the daemon, which uses it.
	starting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	started := context.AfterFunc(ctx, cancel)
	// The demo looks more often than a forge lets people.
	d.hub, err = hub.Start(starting, hub.Options{Gitea: d.gitea, Dir: filepath.Join(d.dir, "forge"), Repository: owner + "/" + name,
		From: d.repo, Members: members, Outsiders: []string{}, Approvals: 1, RateLimit: 1_000_000})
	started()
	if err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("start the forge: %w", err))
	}
	d.note("%s", d.page())
	d.note("main takes no push: a merge needs the check %s and one approval", hub.DefaultCheck)
	d.where = []string{"--repo", d.hub.Clone, "--branch", d.hub.Branch, "--token-file", d.secret("token")}
	return errors.Join(
		os.WriteFile(d.secret("token"), []byte(d.hub.Users[hub.Bot].Token), 0o600),
		os.WriteFile(d.secret("webhook"), []byte(rand.Text()), 0o600))
}

// page is the repository on the forge.
func (d *demo) page() string { return d.hub.URL + "/" + d.hub.Repository }

// secret is a file of what Pave must know to speak with the forge.
func (d *demo) secret(name string) string { return filepath.Join(d.dir, name) }

// team is a team of the platform.
type team struct {
	name    string
	members []string // by their handles on the forge
}

// teamBlock is how the example writes a team.
var teamBlock = regexp.MustCompile(`(?ms)^team: ([a-z-]+): \{.*?^\tmembers: \[(.*?)\]`)

func (d *demo) teams() ([]team, error) {
	text, err := os.ReadFile(filepath.Join(d.repo, "teams.cue"))
	if err != nil {
		return nil, err
	}
	var teams []team
	for _, found := range teamBlock.FindAllSubmatch(text, -1) {
		members := strings.Split(strings.ReplaceAll(string(found[2]), `"`, ""), ", ")
		teams = append(teams, team{string(found[1]), members})
	}
	if len(teams) == 0 {
		return nil, errors.New("teams.cue: expected blocks that open with: team: NAME: {")
	}
	return teams, nil
}

// listen lets the forge tell the daemon what happens.
func (d *demo) listen(ctx context.Context) error {
	if err := d.wait(ctx, func() bool { return d.address() != "" }); err != nil {
		return err
	}
	secret, err := os.ReadFile(d.secret("webhook"))
	if err != nil {
		return err
	}
	_, _, err = d.as(hub.Bot).Repositories.CreateHook(ctx, owner, name, &github.Hook{
		Active: github.Bool(true), Events: []string{"push", "pull_request", "pull_request_review"},
		Config: &github.HookConfig{URL: github.String(d.address() + "/webhook"), ContentType: github.String("json"), Secret: github.String(string(secret))}})
	if err != nil {
		return fmt.Errorf("make the webhook: %w", err)
	}
	return nil
}

// as is a client of a GitHub Enterprise Server, in somebody's name.
func (d *demo) as(login string) *github.Client {
	client, err := github.NewClient(nil).WithAuthToken(d.hub.Users[login].Token).WithEnterpriseURLs(d.hub.URL, d.hub.URL)
	if err != nil {
		panic(err) // the hub's address is none
	}
	return client
}

// propose opens a pull request with what was changed, and shows what Pave says of
// it once its check is in this state with these words.
func (d *demo) propose(ctx context.Context, login, branch, title, state, words string) (number int, err error) {
	d.who = login
	if err := d.branch(ctx, branch, title); err != nil {
		return 0, err
	}
	to, err := url.Parse(d.hub.Clone)
	if err != nil {
		return 0, err
	}
	to.User = url.UserPassword(login, d.hub.Users[login].Token)
	if err := d.git(ctx, "push", "--quiet", to.String(), branch); err != nil {
		return 0, err
	}
	made, _, err := d.as(login).PullRequests.Create(ctx, owner, name, &github.NewPullRequest{Title: &title, Head: &branch, Base: &d.hub.Branch})
	if err != nil {
		return 0, fmt.Errorf("open a pull request: %w", err)
	}
	number = made.GetNumber()
	d.say("%s opened pull request %d: %s", login, number, made.GetHTMLURL())
	if err := d.says(ctx, number, state, words); err != nil {
		return 0, err
	}
	return number, d.comment(ctx, number)
}

// check is what Pave's check says of a commit.
type check struct {
	page        string // of the pull request
	commit      string // its head, then its merge
	state, says string
}

func (c check) String() string {
	marks := map[string]string{"success": "✓", "pending": "…"}
	mark, known := marks[c.state]
	if !known {
		mark = "✗"
	}
	return mark + " " + c.says
}

// review prints what the check says of each pull request where that changed.
func (d *demo) review(ctx context.Context) error {
	client := d.as(hub.Bot)
	pulls, _, err := client.PullRequests.List(ctx, owner, name, &github.PullRequestListOptions{State: "all", Sort: "created", Direction: "asc"})
	if err != nil {
		return fmt.Errorf("list the pull requests: %w", err)
	}
	for _, pull := range pulls {
		number, commit := pull.GetNumber(), pull.GetHead().GetSHA()
		if pull.MergedAt != nil {
			commit = pull.GetMergeCommitSHA()
		}
		statuses, _, err := client.Repositories.GetCombinedStatus(ctx, owner, name, commit, nil)
		if err != nil {
			return fmt.Errorf("read the check of pull request %d: %w", number, err)
		}
		i := slices.IndexFunc(statuses.Statuses, func(s *github.RepoStatus) bool { return s.GetContext() == hub.DefaultCheck })
		if i < 0 {
			continue // it has not been looked at
		}
		now := check{pull.GetHTMLURL(), commit, statuses.Statuses[i].GetState(), statuses.Statuses[i].GetDescription()}
		if now != d.checks[number] {
			d.checks[number] = now
			d.note("  #%d %s", number, now)
		}
	}
	return nil
}

// says waits until the check is in this state and says these words.
func (d *demo) says(ctx context.Context, number int, state, words string) error {
	return d.wait(ctx, func() bool {
		now := d.checks[number]
		return now.state == state && strings.Contains(now.says, words)
	})
}

// link is a link of the comment; a terminal shows its text.
var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// comment prints Pave's comment on a pull request.
func (d *demo) comment(ctx context.Context, number int) error {
	comments, _, err := d.as(hub.Bot).Issues.ListComments(ctx, owner, name, number, nil)
	if err != nil {
		return fmt.Errorf("read the comments: %w", err)
	}
	i := slices.IndexFunc(comments, func(c *github.IssueComment) bool { return c.GetUser().GetLogin() == hub.Bot })
	if i < 0 {
		return fmt.Errorf("pull request %d has no comment of Pave", number)
	}
	d.say("Pave's comment on it:")
	_, body, _ := strings.Cut(comments[i].GetBody(), "\n") // the first line is a hidden mark
	fmt.Println()
	for line := range strings.Lines(link.ReplaceAllString(body, "$1")) {
		fmt.Print("    ", line)
	}
	return nil
}

func (d *demo) approve(ctx context.Context, login string, number int) error {
	_, _, err := d.as(login).PullRequests.CreateReview(ctx, owner, name, number, &github.PullRequestReviewRequest{Event: github.String("APPROVE")})
	if err != nil {
		return fmt.Errorf("approve as %s: %w", login, err)
	}
	d.say("%s approved pull request %d.", login, number)
	return nil
}

func (d *demo) mergePull(ctx context.Context, login string, number int) error {
	if _, _, err := d.as(login).PullRequests.Merge(ctx, owner, name, number, "", nil); err != nil {
		return fmt.Errorf("merge as %s: %w", login, err)
	}
	return nil
}
