# Needed: Go, git, make and a C compiler. Everything else that a target uses is
# built from pinned sources the first time and kept in $PAVE_TOOLS (by default
# pave-tools in the user's cache folder); testdata/tools/get tells how.
#
# Tests find the programs that they drive in these variables, which `make test`
# sets. A test whose variable is not set takes the program on the PATH; where
# that is missing too it fails with the command that builds it,
# `go run ./testdata/tools/get NAME`.
#
#   PAVE_TEST_TERRAFORM  terraform, or tofu where the machine has no terraform
#   PAVE_TEST_TOFU       OpenTofu, always the pinned one
#   PAVE_TEST_PROVIDERS  a CLI configuration file (TF_CLI_CONFIG_FILE) by which
#                        both find random, local, tls and time; it names
#                        hashicorp/aws exactly when this machine has that provider
#   PAVE_TEST_CUE        the cue command
#   PAVE_TEST_VERSITYGW  an S3 server
#   PAVE_TEST_DYNALITE   a DynamoDB server
#   PAVE_TEST_CHROMIUM   a browser
#   PAVE_TEST_AXE        the script axe, which judges how accessible a page is
#   PAVE_TEST_OIDC       an OpenID provider
#   PAVE_TEST_GITEA      Gitea, with the folders beside it that it reads
#   PAVE_TEST_TERRAFORM_PROVIDER_TARGET
#                        the provider of the server that chaos starts
#
# A test that cannot do without one of them, terraform excepted, is left out by
# -short, and so by `make test-fast`; so is what takes long where something short
# shows the like. Each says how to run it, which -v shows.

GET := go run ./testdata/tools/get
ALL := ./... ./testdata/tools/...

# Checks keep what they remember in the checkout.
export STATICCHECK_CACHE := $(CURDIR)/.cache/staticcheck
export CUE_CACHE_DIR := $(CURDIR)/.cache/cue

.PHONY: help build demo demo-forge screenshots chaos bench test test-fast check format vet staticcheck policies examples modules imports

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/pave
	go build -trimpath -o bin/pave ./cmd/pave

demo: ## watch Pave run a whole platform on this machine, in a temporary folder
	@go run ./testdata/tools/demo

demo-forge: ## watch Pave answer three pull requests on a forge on this machine
	@go run ./testdata/tools/demo -forge

screenshots: ## make pictures of every page of the portal in screenshots/, those of the README in readme/ there (SCREENS=DIR for elsewhere)
	@$(GET) engine providers axe chromium -- go test -count=1 -v -run '^TestPages$$' ./reconciler/portal -screens "$${SCREENS:-$(CURDIR)/screenshots}"

chaos: build ## kill everything at random for minutes (CHAOS=2h for hours), and tell what was lost
	@$(GET) engine terraform-provider-target -- go run ./testdata/tools/chaos

bench: build ## measure Pave beside bare commands (BENCH_UNITS=100,1000 BENCH_ROUNDS=5 BENCH_CASES=validate,idle)
	@$(GET) engine providers cue -- env PAVE=$(CURDIR)/bin/pave go run ./testdata/tools/bench

# The tests start hundreds of processes beside each other. Of what fails, at most
# ten are run once more, alone; the summary still names each, and one that
# passes only then has a fault to be found.
test: ## get what the tests need, then run all of them
	@echo "test: getting the programs that the tests drive"
	@$(GET) engine tofu providers cue versitygw dynalite oidc gitea terraform-provider-target gotestsum axe chromium -- \
		sh -c 'env | grep ^PAVE_TEST_ | sort; \
			grep -q hashicorp/aws "$$PAVE_TEST_PROVIDERS" || echo "test: NOT RUN: examples/aws, for this machine has no AWS provider (PAVE_AWS_PROVIDER_MIRROR may name a plugin folder that has it)"; \
			echo "test: running every test"; exec "$$PAVE_TEST_GOTESTSUM" --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=10 --rerun-fails-run-root-test --packages="$(ALL)" -- -timeout 50m'

test-fast: ## run the tests that need only Go, git and terraform or tofu
	@$(GET) engine -- sh -c 'echo "test-fast: running the tests that need no built tool"; exec go test -timeout 5m -short $(ALL)'

check: format vet staticcheck policies examples modules imports ## everything that can be said without running Pave

format:
	@echo "check: gofmt"
	@files=$$(gofmt -l .) && if [ -n "$$files" ]; then echo "not formatted; run gofmt -w on:"; echo "$$files"; exit 1; fi

vet:
	@echo "check: go vet"
	@go vet $(ALL)

staticcheck:
	@echo "check: staticcheck"
	@$(GET) staticcheck -- sh -c '"$$PAVE_TEST_STATICCHECK" $(ALL)'

policies:
	@echo "check: the tests of the built-in policies and of each example's"
	@$(GET) opa -- sh -ec 'for dir in policies examples/*/policies; do \
		if [ -d "$$dir" ]; then echo "opa test $$dir"; "$$PAVE_TEST_OPA" test "$$dir"; fi; done'

examples:
	@echo "check: the examples against the schema, with plain cue"
	@$(GET) cue -- sh -ec 'for dir in examples/*/; do \
		echo "cue vet $$dir"; (cd "$$dir" && "$$PAVE_TEST_CUE" vet -c ./...); done'

modules:
	@echo "check: go.mod and go.sum"
	@go mod tidy -diff

# Asks for the test by name: a run that finds no such test passes.
imports:
	@echo "check: which package may import which"
	@out=$$(go test -count=1 -run '^TestImports$$' -v ./reconciler/ 2>&1); echo "$$out"; echo "$$out" | grep -q '^--- PASS: TestImports'
