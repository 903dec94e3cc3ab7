// Package schema embeds the CUE definitions of a platform repository: the
// single source of truth for the model.
package schema

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"sync"
)

// Module is the import path of the schema, and Folder the place of its copy
// within a platform repository, where plain `cue` finds it.
const (
	Module = "pave.dev/schema"
	Folder = "cue.mod/pkg/" + Module
)

// Source is the schema of this version of Pave.
//
//go:embed schema.cue
var Source []byte

// Digest identifies Source.
var Digest = sync.OnceValue(func() string {
	sum := sha256.Sum256(Source)
	return hex.EncodeToString(sum[:])
})
