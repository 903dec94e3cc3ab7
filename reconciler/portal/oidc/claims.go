package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// claims are what a provider says of somebody.
type claims map[string]any

// text is a claim that may stand in a line of a commit; empty where it may not.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '<' || r == '>' || r == unicode.ReplacementChar }
	if len(s) > 320 || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}

// texts are those of a list, or of a single one.
func (c claims) texts(name string) []string {
	var all []string
	switch v := c[name].(type) {
	case string:
		all = []string{v}
	case []any:
		for _, one := range v {
			if s, is := one.(string); is {
				all = append(all, s)
			}
		}
	}
	return all
}

// elsewhere tells whether a token leaves the groups out because they are too many.
func (c claims) elsewhere(groups string) bool {
	names, _ := c["_claim_names"].(map[string]any)
	_, named := names[groups]
	has, _ := c["hasgroups"].(bool)
	return named || has || c.text("hasgroups") == "true"
}

// more adds what the provider's /userinfo says and the token does not.
func (p *Provider) more(ctx context.Context, found *oidc.Provider, token *oauth2.Token, c claims) error {
	if found.UserInfoEndpoint() == "" {
		return nil
	}
	if err := private(found.UserInfoEndpoint()); err != nil {
		return fmt.Errorf("the address %q %w", found.UserInfoEndpoint(), err)
	}
	info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return err
	}
	if info.Subject != c.text("sub") {
		return errors.New("it speaks of somebody else")
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return err
	}
	// Who somebody is and for whom that was said is what was signed.
	for _, name := range []string{p.GroupsClaim, p.HandleClaim, "name", "preferred_username", "email", "email_verified"} {
		if v, said := more[name]; said && c[name] == nil {
			c[name] = v
		}
	}
	return nil
}

// askGroups asks for the groups that a token has no room for.
func (p *Provider) askGroups(ctx context.Context, token *oauth2.Token) ([]string, error) {
	if p.GroupsURL == "" {
		return nil, errors.New("they are too many for a token, and no address is configured to ask for them")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.GroupsURL, strings.NewReader(`{"securityEnabledOnly": false}`))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	token.SetAuthHeader(request)
	answer, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", p.GroupsURL, answer.Status)
	}
	var groups struct {
		Value []string `json:"value"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&groups); err != nil {
		return nil, fmt.Errorf("read what %s answers: %w", p.GroupsURL, err)
	}
	return groups.Value, nil
}
