// Package policies embeds the rules that Pave applies to every platform
// repository, with their tests. README.md lists them and describes their input.
package policies

import (
	"embed"
	"io/fs"
)

//go:embed *.rego
var files embed.FS

// Files returns the Rego of the built-in rules and of their tests (_test.rego)
// by file name. The map is the caller's own.
func Files() map[string]string {
	names, err := fs.Glob(files, "*.rego")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	out := make(map[string]string, len(names))
	for _, name := range names {
		source, err := files.ReadFile(name)
		if err != nil {
			panic(err) // the file is part of the binary
		}
		out[name] = string(source)
	}
	return out
}
