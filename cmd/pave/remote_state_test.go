package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/terraform/stores"
	"github.com/pave-dev/pave/schema"
)

// tokens is a platform of two requests: one makes a token, the other uses it.
const tokens = `
-- cue.mod/module.cue --
module: "tokens.example/platform@v0"
language: version: "v0.17.0"
-- platform.cue --
package platform

import (
	"pave.dev/schema"
	"tokens.example/platform/blueprints/token"
	"tokens.example/platform/blueprints/user"
)

schema.#Root

platform: owner: "platform"

team: platform: title: "Platform"

#blueprints: {
	"token": token.#Blueprint
	"user":  user.#Blueprint
}
-- blueprints/token/blueprint.cue --
package token

import "pave.dev/schema"

#Inputs: generation!: int

#Blueprint: schema.#Blueprint & {
	name:  "token"
	title: "Token"
	outputs: token: sensitive: true
	lifetime: {default: "90d", max: "365d"}
	request: {
		inputs: #Inputs
		cost: monthly: 1
	}
}
-- blueprints/token/main.tf --
variable "generation" {
  type = number
}

resource "terraform_data" "token" {
  triggers_replace = var.generation
}

output "token" {
  value     = terraform_data.token.id
  sensitive = true
}
-- blueprints/user/blueprint.cue --
package user

import "pave.dev/schema"

#Inputs: token!: schema.#Ref

#Blueprint: schema.#Blueprint & {
	name:  "user"
	title: "User of a token"
	outputs: digest: {}
	lifetime: {default: "90d", max: "365d"}
	request: {
		inputs: #Inputs
		cost: monthly: 1
	}
}
-- blueprints/user/main.tf --
variable "token" {
  type      = string
  sensitive = true
}

resource "terraform_data" "digest" {
  input = nonsensitive(sha256(var.token))
}

output "digest" {
  value = terraform_data.digest.output
}
-- catalog/api.cue --
package platform

service: api: {title: "API", owner: "platform", type: "service", lifecycle: "experimental", tier: 3}

request: "api-token": {
	blueprint:   "token"
	service:     "api"
	environment: "development"
	inputs: generation: 1
}
request: "api-user": {
	blueprint:   "user"
	service:     "api"
	environment: "development"
	inputs: token: request."api-token".outputs.token
}
`

// newTokens makes a host with the platform of tokens, which lacks its
// environment: see keepStatesIn.
func newTokens(t *testing.T, engine string) *host {
	t.Helper()
	return newHost(t, engine, func(repo string) {
		files := txtar.Parse([]byte(tokens)).Files
		files = append(files, txtar.File{Name: schema.Folder + "/schema.cue", Data: schema.Source})
		for _, f := range files {
			path := filepath.Join(repo, f.Name)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, f.Data, 0o644))
		}
	})
}

func TestStateInS3(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a built server: make test")
	}
	t.Parallel()
	for _, engine := range []string{"terraform", "tofu"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			keepStateInS3(t, engine)
		})
	}
}

const tokenState = "/states/pave/api-token.tfstate"

func keepStateInS3(t *testing.T, engine string) {
	server := stores.StartS3(t)
	store := server.Store()
	server.Expect(200, http.MethodPut, "/elsewhere")
	h := newTokens(t, engine)
	h.bind("development")
	h.keepStatesIn(store)

	// The token travels from one remote state to the other's run, and nowhere else.
	h.pave(0, "apply")
	h.expectAllReady(2)
	first := tokenIn(t, server.Expect(200, http.MethodGet, tokenState))
	h.expectDigestOf(first)
	server.Expect(404, http.MethodHead, tokenState+".tflock")
	h.replace("catalog/api.cue", "generation: 1", "generation: 2")
	h.commit("Make another token")
	h.pave(0, "apply")
	second := tokenIn(t, server.Expect(200, http.MethodGet, tokenState))
	if first == second {
		t.Error("expected another token")
	}
	h.expectDigestOf(second)
	h.pave(0, "status", "api-token")
	h.expectNowhere([]string{first, second, stores.SecretKey})

	// Another address is not where the state is.
	h.expectStarts("version", "init", "state", "plan", "show", "apply")
	h.replace("environments.cue", `"states"`, `"elsewhere"`)
	h.commit("Use another bucket")
	h.pave(1, "apply")
	h.expectHeld("api-token", reconciler.ReasonStateMoved)
	h.expectHeld("api-user", reconciler.ReasonStateMoved)
	h.git("revert", "--no-edit", "HEAD")
	h.pave(0, "apply")
	h.expectAllReady(2)
	h.expectStarts()

	// A state that is gone is not begun anew.
	server.Expect(204, http.MethodDelete, tokenState)
	h.replace("catalog/api.cue", "generation: 2", "generation: 3")
	h.commit("Make a third token")
	h.pave(1, "apply")
	h.expectHeld("api-token", reconciler.ReasonStateLost)
	if user := h.units()["api-user"]; !user.Ready {
		t.Errorf("expected the user of the token to stay as it is, got %+v", user)
	}
	server.Expect(404, http.MethodHead, tokenState)
}

// tokenIn returns the token that a state holds.
func tokenIn(t *testing.T, text string) string {
	t.Helper()
	var state struct {
		Outputs struct{ Token struct{ Value string } }
	}
	must(t, json.Unmarshal([]byte(text), &state))
	if len(state.Outputs.Token.Value) < 16 {
		t.Fatalf("expected a state with a token, got %s", text)
	}
	return state.Outputs.Token.Value
}

// expectDigestOf compares what was made of the token with the token.
func (h *host) expectDigestOf(token string) {
	h.Helper()
	if user := h.pave(0, "status", "api-user", "-o", "json"); !strings.Contains(user, fmt.Sprintf("%x", sha256.Sum256([]byte(token)))) {
		h.Errorf("expected the digest of the token %.4s…, got %s", token, user)
	}
}
