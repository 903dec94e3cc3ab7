// Package oidc knows OpenID providers: it turns what one says of somebody into
// an identity, and believes only what it signed for this portal and this login.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/pave-dev/pave/reconciler/portal"
)

// Config names a provider and what this portal is to it.
type Config struct {
	// Issuer is the provider's address, as its tokens give it.
	Issuer string
	// ClientID is this portal's name at the provider. ClientSecret may be empty,
	// where the provider needs none beside PKCE.
	ClientID, ClientSecret string
	// Redirect is where the provider sends browsers back to.
	Redirect string
	// Scopes are asked for beside openid, profile and email.
	Scopes []string
	// GroupsClaim is the claim that holds the ids of somebody's groups.
	GroupsClaim string
	// HandleClaim is the claim that names somebody's account on the forge, which they
	// cannot change themselves; empty where none does.
	HandleClaim string
	// GroupsURL is asked where they are too many for a token, as Microsoft Graph's
	// /me/getMemberGroups is. Where it is empty, or fails, they have no groups: the
	// address that a token names is never asked.
	GroupsURL string
	Log       *slog.Logger
}

// algorithms are those that a provider may sign with: each needs a key that only
// the provider has.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// Provider lets people sign in. It may be used by several goroutines.
type Provider struct {
	Config
	client *http.Client

	mu    sync.Mutex
	found *oidc.Provider // guarded by mu; nil before it was asked
}

// New checks a configuration. It asks nobody: the provider may be away when the
// portal starts.
func New(c Config) (*Provider, error) {
	if c.ClientID == "" {
		return nil, errors.New("the client has no id")
	}
	for what, address := range map[string]string{"issuer": c.Issuer, "redirect": c.Redirect, "groups address": c.GroupsURL} {
		if address == "" && what == "groups address" {
			continue
		}
		if err := private(address); err != nil {
			return nil, fmt.Errorf("the %s %q %w", what, address, err)
		}
	}
	return &Provider{Config: c, client: &http.Client{
		Timeout: 10 * time.Second, Transport: bounded{http.DefaultTransport},
		// A provider that moves is configured anew: a secret follows nobody.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// private refuses an address to which anything travels in the open.
func private(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("is no address")
	}
	ip := net.ParseIP(u.Hostname())
	if here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(); u.Scheme != "https" && !(u.Scheme == "http" && here) {
		return errors.New("does not begin with https://")
	}
	return nil
}

// bounded limits what an answer may hold.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, 1<<20), answer.Body}
	}
	return answer, err
}

// discover asks the provider where its parts are, until it has answered once. Its
// keys are asked for whenever a token names one that is new.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	found, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ask %s about itself: %w", p.Issuer, err)
	}
	var keys struct {
		Address string `json:"jwks_uri"`
	}
	if err := found.Claims(&keys); err != nil {
		return nil, fmt.Errorf("read what %s says about itself: %w", p.Issuer, err)
	}
	for _, address := range []string{found.Endpoint().AuthURL, found.Endpoint().TokenURL, keys.Address} {
		if err := private(address); err != nil {
			return nil, fmt.Errorf("the address %q of %s %w", address, p.Issuer, err)
		}
	}
	p.found = found
	return found, nil
}

func (p *Provider) oauth(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: p.Redirect,
		Scopes: append([]string{oidc.ScopeOpenID, "profile", "email"}, p.Scopes...),
	}
}

// Begin returns where a browser goes to sign in.
func (p *Provider) Begin(ctx context.Context, state, nonce, verifier string) (string, error) {
	found, err := p.discover(oidc.ClientContext(ctx, p.client))
	if err != nil {
		return "", err
	}
	return p.oauth(found).AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Identify returns who a browser came back as. The error says why that is not
// believed.
func (p *Provider) Identify(ctx context.Context, code, nonce, verifier string) (portal.Identity, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	found, err := p.discover(ctx)
	if err != nil {
		return portal.Identity{}, err
	}
	token, err := p.oauth(found).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return portal.Identity{}, fmt.Errorf("exchange the code: %w", err)
	}
	c, err := p.verify(ctx, found, token, nonce)
	if err != nil {
		return portal.Identity{}, err
	}
	return p.identity(ctx, found, token, c), nil
}

// verify returns what the provider signed about somebody for this login.
func (p *Provider) verify(ctx context.Context, found *oidc.Provider, token *oauth2.Token, nonce string) (claims, error) {
	raw, _ := token.Extra("id_token").(string)
	signed, err := found.Verifier(&oidc.Config{ClientID: p.ClientID, SupportedSigningAlgs: algorithms}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("verify the ID token: %w", err)
	}
	c := claims{}
	if err := signed.Claims(&c); err != nil {
		return nil, fmt.Errorf("read the ID token: %w", err)
	}
	switch party := c.text("azp"); {
	case signed.Nonce == "" || signed.Nonce != nonce:
		return nil, errors.New("the ID token is of another login")
	case party != "" && party != p.ClientID, party == "" && len(signed.Audience) > 1:
		return nil, fmt.Errorf("the ID token was made for %q", party)
	case c.text("sub") == "":
		return nil, errors.New("the ID token is about nobody")
	}
	return c, nil
}

// identity reads the claims, and asks for what is not among them.
func (p *Provider) identity(ctx context.Context, found *oidc.Provider, token *oauth2.Token, c claims) portal.Identity {
	who := portal.Identity{ID: p.Issuer + " " + c.text("sub")}
	// Entra ID has another subject for each application, and one object for all.
	if tenant, object := c.text("tid"), c.text("oid"); tenant != "" && object != "" && slices.Contains(strings.Split(p.Issuer, "/"), tenant) {
		who.ID = tenant + " " + object
	}
	elsewhere := c.elsewhere(p.GroupsClaim)
	if _, has := c[p.GroupsClaim]; !has && !elsewhere || c.text("name") == "" || p.HandleClaim != "" && c.text(p.HandleClaim) == "" {
		if err := p.more(ctx, found, token, c); err != nil {
			p.Log.Warn("the OpenID provider does not say more of somebody", "who", who.ID, "error", err)
		}
	}
	if who.Groups = c.texts(p.GroupsClaim); p.HandleClaim != "" {
		who.Handle = c.text(p.HandleClaim)
	}
	if elsewhere {
		groups, err := p.askGroups(ctx, token)
		if err != nil {
			p.Log.Warn("the groups of somebody are not known, so they have none", "who", who.ID, "error", err)
		}
		who.Groups = groups
	}
	if verified, said := c["email_verified"]; !said || verified == true || verified == "true" {
		who.Email = c.text("email")
	}
	for _, name := range []string{c.text("name"), c.text("preferred_username"), who.Email, c.text("sub")} {
		if who.Name == "" {
			who.Name = name
		}
	}
	return who
}
