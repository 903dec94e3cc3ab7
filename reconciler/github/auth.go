package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v62/github"
)

// App is a GitHub App by which Pave acts.
type App struct {
	ID int64
	// Key is the App's private key in PEM.
	Key []byte
	// Installation is the App's installation at the repository; zero asks the forge.
	Installation int64
}

// self is who Pave is on the forge.
type self struct {
	account int64 // the author of our comments
	login   string
	app     int64 // the author of our check runs; zero where they are commit statuses
}

// bearer authenticates by a token.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

// application authenticates as an App's installation, with tokens for the one
// repository alone.
type application struct {
	app         App
	owner, name string
	apps        *ghinstallation.AppsTransport
	client      *github.Client // speaks for the App itself

	mu        sync.Mutex
	installed *ghinstallation.Transport // guarded by mu
}

func (a *application) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := a.installation(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	if refused := answerTo(nil, err); refused != nil && refused.StatusCode == http.StatusNotFound {
		a.mu.Lock()
		a.installed = nil // removed and perhaps installed again, under another id
		a.mu.Unlock()
	}
	return resp, err
}

func (a *application) installation(ctx context.Context) (*ghinstallation.Transport, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.installed != nil {
		return a.installed, nil
	}
	id := a.app.Installation
	if id == 0 {
		found, _, err := a.client.Apps.FindRepositoryInstallation(ctx, a.owner, a.name)
		if isStatus(err, http.StatusNotFound) {
			return nil, fmt.Errorf("the App %d is not installed at %s/%s: install it there", a.app.ID, a.owner, a.name)
		}
		if err != nil {
			return nil, fmt.Errorf("find the App's installation: %w", err)
		}
		id = found.GetID()
	}
	a.installed = ghinstallation.NewFromAppsTransport(a.apps, id)
	a.installed.InstallationTokenOptions = &github.InstallationTokenOptions{Repositories: []string{a.name}}
	return a.installed, nil
}

// self asks who Pave is, once.
func (f *Forge) self(ctx context.Context) (self, error) {
	f.mu.Lock()
	known := f.me
	f.mu.Unlock()
	if known.account != 0 {
		return known, nil
	}
	me, err := f.whoami(ctx)
	if err != nil {
		return self{}, fmt.Errorf("ask who Pave is on the forge: %w", err)
	}
	f.mu.Lock()
	f.me = me
	f.mu.Unlock()
	return me, nil
}

func (f *Forge) whoami(ctx context.Context) (self, error) {
	if f.app == nil {
		user, _, err := f.client.Users.Get(ctx, "")
		if err != nil {
			return self{}, err
		}
		return accountOf(user, 0)
	}
	app, _, err := f.app.client.Apps.Get(ctx, "")
	if err != nil {
		return self{}, err
	}
	user, _, err := f.client.Users.Get(ctx, app.GetSlug()+"[bot]")
	if err != nil {
		return self{}, err
	}
	// That answer came with the installation's token, so its permissions are known.
	t, err := f.app.installation(ctx)
	if err != nil {
		return self{}, err
	}
	granted, err := t.Permissions()
	if err != nil {
		return self{}, err
	}
	if granted.GetChecks() != "write" {
		return accountOf(user, 0)
	}
	return accountOf(user, app.GetID())
}

func accountOf(user *github.User, app int64) (self, error) {
	if user.GetID() == 0 {
		return self{}, errors.New("the forge answered without an account")
	}
	return self{account: user.GetID(), login: user.GetLogin(), app: app}, nil
}

// apiAddress returns the address of the interface of the forge whose pages are at web.
func apiAddress(scheme, host string) string {
	switch {
	case host == "github.com":
		return "https://api.github.com/"
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host + "/"
	}
	return scheme + "://" + host + "/api/v3/"
}

// isStatus tells whether the forge answered with the status.
func isStatus(err error, status int) bool {
	var answered *github.ErrorResponse
	return errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode == status
}
