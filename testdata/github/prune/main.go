// Command prune cuts what GitHub publishes of its interface to what Pave uses:
// the OpenAPI description to the operations listed here with all that they
// refer to, and the webhook examples to the events that Pave takes.
//
//	npm pack @octokit/openapi@23.0.2 @octokit/webhooks-examples@7.6.1
//	go run ./testdata/github/prune octokit-openapi-23.0.2.tgz octokit-webhooks-examples-7.6.1.tgz
//
// It is run from the root of the repository and writes below testdata/github.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The digests of the two packages as npm publishes them.
const (
	openapiDigest  = "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
	examplesDigest = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ=="
)

var operations = map[string][]string{
	"/app": {"get"},
	"/app/installations/{installation_id}/access_tokens": {"post"},
	"/user":                                                {"get"},
	"/users/{username}":                                    {"get"},
	"/repos/{owner}/{repo}/installation":                   {"get"},
	"/repos/{owner}/{repo}/activity":                       {"get"},
	"/repos/{owner}/{repo}/pulls":                          {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}":            {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}/commits":    {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}/reviews":    {"get"},
	"/repos/{owner}/{repo}/pulls/{pull_number}/merge":      {"put"},
	"/repos/{owner}/{repo}/branches/{branch}":              {"get"},
	"/repos/{owner}/{repo}/branches/{branch}/protection":   {"get"},
	"/repos/{owner}/{repo}/rules/branches/{branch}":        {"get"},
	"/repos/{owner}/{repo}/commits":                        {"get"},
	"/repos/{owner}/{repo}/commits/{commit_sha}/pulls":     {"get"},
	"/repos/{owner}/{repo}/commits/{ref}/status":           {"get"},
	"/repos/{owner}/{repo}/commits/{ref}/check-runs":       {"get"},
	"/repos/{owner}/{repo}/statuses/{sha}":                 {"post"},
	"/repos/{owner}/{repo}/check-runs":                     {"post"},
	"/repos/{owner}/{repo}/check-runs/{check_run_id}":      {"patch"},
	"/repos/{owner}/{repo}/issues/{issue_number}/comments": {"get", "post"},
	"/repos/{owner}/{repo}/issues/{issue_number}/events":   {"get"},
	"/repos/{owner}/{repo}/issues/comments/{comment_id}":   {"patch", "delete"},
}

var events = []string{"check_run", "check_suite", "merge_group", "ping", "pull_request", "pull_request_review", "push"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./testdata/github/prune OPENAPI.tgz WEBHOOKS-EXAMPLES.tgz")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
}

func run(openapi, examples string) error {
	description, err := extract(openapi, openapiDigest, "package/generated/api.github.com.json")
	if err != nil {
		return err
	}
	api, err := pruneAPI(description)
	if err != nil {
		return err
	}
	if err := write("api.json.gz", api); err != nil {
		return err
	}
	deliveries, err := extract(examples, examplesDigest, "package/api.github.com/index.json")
	if err != nil {
		return err
	}
	webhooks, err := pruneExamples(deliveries)
	if err != nil {
		return err
	}
	return write("webhooks.json.gz", webhooks)
}

// extract reads one file of an npm package whose digest is known.
func extract(archive, digest, name string) ([]byte, error) {
	data, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(data); base64.StdEncoding.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("%s is not the published package: its digest differs", archive)
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	for tr := tar.NewReader(zr); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s holds no %s", archive, name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		if header.Name == name {
			return io.ReadAll(tr)
		}
	}
}

// pruneAPI keeps the listed operations and the components that they refer to,
// directly or not.
func pruneAPI(data []byte) (any, error) {
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	all := doc["paths"].(map[string]any)
	paths := map[string]any{}
	for path, methods := range operations {
		from, ok := all[path].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the description has no path %s", path)
		}
		kept := map[string]any{}
		for _, method := range methods {
			if kept[method], ok = from[method]; !ok {
				return nil, fmt.Errorf("the description has no %s %s", method, path)
			}
		}
		paths[path] = strip(kept)
	}
	components := map[string]any{}
	refer(doc, paths, components)
	return map[string]any{"openapi": doc["openapi"], "info": doc["info"], "paths": paths, "components": components}, nil
}

// strip removes the examples of parameters and bodies: no check reads them.
func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v["schema"] != nil {
			delete(v, "examples")
		}
		for _, value := range v {
			strip(value)
		}
	case []any:
		for _, value := range v {
			strip(value)
		}
	}
	return v
}

// refer copies every component that v refers to.
func refer(doc map[string]any, v any, components map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			copyComponent(doc, ref, components)
		}
		for _, value := range v {
			refer(doc, value, components)
		}
	case []any:
		for _, value := range v {
			refer(doc, value, components)
		}
	}
}

func copyComponent(doc map[string]any, ref string, components map[string]any) {
	parts := strings.Split(ref, "/") // #/components/<kind>/<name>
	kind, name := parts[2], parts[3]
	group, ok := components[kind].(map[string]any)
	if !ok {
		group = map[string]any{}
		components[kind] = group
	}
	if _, done := group[name]; done {
		return
	}
	component := doc["components"].(map[string]any)[kind].(map[string]any)[name]
	group[name] = strip(component)
	refer(doc, component, components)
}

// pruneExamples flattens the examples of the events that Pave takes.
func pruneExamples(data []byte) (any, error) {
	var groups []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(data, &groups); err != nil {
		return nil, err
	}
	type example struct {
		Event   string
		Payload json.RawMessage
	}
	var kept []example
	for _, group := range groups {
		if slices.Contains(events, group.Name) {
			for _, payload := range group.Examples {
				kept = append(kept, example{group.Name, payload})
			}
		}
	}
	return kept, nil
}

func write(name string, v any) error {
	var packed bytes.Buffer
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(zw).Encode(v); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("testdata", "github", name), packed.Bytes(), 0o644)
}
