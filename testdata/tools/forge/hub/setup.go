package hub

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// setup fills a Gitea that has nothing but its administrator.
type setup struct {
	options Options
	hub     *Hub
	client  *client
	secret  string // of Gitea's webhook to the proxy
}

// step is one request of the administrator.
type step struct {
	method, path string
	body         object
}

func (s *setup) run(ctx context.Context, c *client) error {
	s.client = c
	owner, name, _ := strings.Cut(s.options.Repository, "/")
	s.hub.Users[Bot] = s.hub.gitea.admin
	for _, login := range append(append([]string{}, s.options.Members...), s.options.Outsiders...) {
		made, err := s.user(ctx, login)
		if err != nil {
			return fmt.Errorf("make the account %s: %w", login, err)
		}
		s.hub.Users[login] = made
	}
	repository := "/repos/" + s.options.Repository
	steps := []step{
		{http.MethodPost, "/orgs", object{"username": owner, "visibility": "public"}},
		// Of every repository, so that pushes to forks are known too.
		{http.MethodPost, "/admin/hooks", object{
			"type": "gitea", "active": true, "events": giteaEvents,
			"config": object{"url": s.hub.URL + hookPath, "content_type": "json", "secret": s.secret, "is_system_webhook": "true"},
		}},
		{http.MethodPost, "/orgs/" + url.PathEscape(owner) + "/repos", object{"name": name, "default_branch": branch, "auto_init": s.options.From == ""}},
	}
	for _, login := range s.options.Members {
		steps = append(steps, step{http.MethodPut, repository + "/collaborators/" + url.PathEscape(login), object{"permission": "write"}})
	}
	for _, one := range steps {
		if _, err := s.do(ctx, s.admin(), one.method, one.path, one.body); err != nil {
			return err
		}
	}
	if s.options.Webhook != "" {
		made := hook{Active: true, Events: []string{"*"}}
		made.Config.URL, made.Config.ContentType, made.Config.Secret = s.options.Webhook, "json", s.options.Secret
		if _, err := s.hub.hooks.add(s.options.Repository, made); err != nil {
			return err
		}
	}
	if s.options.From != "" {
		if err := s.push(ctx); err != nil {
			return fmt.Errorf("push %s: %w", s.options.From, err)
		}
		if err := s.awaitContent(ctx); err != nil {
			return err
		}
	}
	if s.options.Unprotected {
		return nil
	}
	_, err := s.do(ctx, s.admin(), http.MethodPost, repository+"/branch_protections", object{
		"rule_name": branch, "enable_push": false,
		"enable_status_check": true, "status_check_contexts": []string{s.options.Check},
		"required_approvals": s.options.Approvals, "block_admin_merge_override": true,
	})
	return err
}

func (s *setup) admin() string { return "Bearer " + s.hub.gitea.admin.Token }

// do makes anything but success an error.
func (s *setup) do(ctx context.Context, authorization, method, path string, body any) (object, error) {
	r, err := s.client.do(ctx, authorization, method, path, nil, body)
	if err == nil && !r.ok() {
		err = fmt.Errorf("answered %d: %v", r.status, r.body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return r.object(), nil
}

func (s *setup) user(ctx context.Context, login string) (User, error) {
	made := User{Login: login, Email: email(login), Password: random()}
	o, err := s.do(ctx, s.admin(), http.MethodPost, "/admin/users", object{
		"username": login, "email": made.Email, "password": made.Password, "must_change_password": false,
	})
	if err != nil {
		return made, err
	}
	made.ID = number(o["id"])
	// Only the account itself makes tokens.
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(login+":"+made.Password))
	o, err = s.do(ctx, basic, http.MethodPost, "/users/"+url.PathEscape(login)+"/tokens", object{"name": "forge", "scopes": []string{"all"}})
	if err != nil {
		return made, err
	}
	made.Token, _ = o["sha1"].(string)
	return made, nil
}

// push sends the folder to main: the HEAD of a checkout, or one commit with
// whatever is in it.
func (s *setup) push(ctx context.Context) error {
	store := []string{"-C", s.options.From}
	if _, err := os.Stat(filepath.Join(s.options.From, ".git")); errors.Is(err, os.ErrNotExist) {
		folder, err := filepath.Abs(s.options.From)
		if err != nil {
			return err
		}
		store = []string{"--git-dir", filepath.Join(s.options.Dir, "first.git"), "--work-tree", folder}
		for _, args := range [][]string{
			{"init", "--quiet"}, {"add", "--all", "."},
			{"-c", "user.name=" + Bot, "-c", "user.email=" + email(Bot), "-c", "commit.gpgSign=false", "commit", "--quiet", "--message", "Start the platform"},
		} {
			if err := git(ctx, nil, append(store, args...)...); err != nil {
				return err
			}
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte(Bot + ":" + s.hub.gitea.admin.Token))
	settings := map[string]string{"http.extraHeader": "Authorization: Basic " + basic, "http.proxy": ""}
	return git(ctx, settings, append(store, "push", "--quiet", s.hub.Clone, "HEAD:refs/heads/"+branch)...)
}

// awaitContent returns when Gitea has noticed the push: until then the
// repository counts as empty, and has no pull requests to list.
func (s *setup) awaitContent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		repository, err := s.do(ctx, s.admin(), http.MethodGet, "/repos/"+s.options.Repository, nil)
		if err != nil || repository["empty"] == false {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the first push does not arrive: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// git takes settings by the environment, where no other user sees them.
func git(ctx context.Context, settings map[string]string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", fmt.Sprint("GIT_CONFIG_COUNT=", len(settings)))
	i := 0
	for name, value := range settings {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, name), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
		i++
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git: %w\n%s", err, out)
	}
	return nil
}
