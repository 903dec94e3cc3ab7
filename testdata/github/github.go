// Package github holds what GitHub publishes of its interface, cut to what Pave
// uses, for tests: the OpenAPI description that every request to the fake forge and
// every answer of it must fit, and real webhook deliveries.
//
// The package in prune writes the two files. Both sources are published by
// GitHub under the MIT licence, which NOTICE repeats.
package github

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

//go:embed api.json.gz
var api []byte

//go:embed webhooks.json.gz
var webhooks []byte

// Example is one published webhook delivery.
type Example struct {
	Event   string
	Payload json.RawMessage
}

// API returns the OpenAPI description as JSON.
func API() ([]byte, error) { return unpack(api) }

// Webhooks returns the published deliveries of the events that Pave takes.
func Webhooks() ([]Example, error) {
	data, err := unpack(webhooks)
	if err != nil {
		return nil, err
	}
	var examples []Example
	if err := json.Unmarshal(data, &examples); err != nil {
		return nil, fmt.Errorf("read webhook examples: %w", err)
	}
	return examples, nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return io.ReadAll(r)
}
