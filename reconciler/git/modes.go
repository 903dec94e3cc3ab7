package git

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/pave-dev/pave/reconciler"
)

const dirMode = filemode.Dir

// modes translates what a tree holds besides folders.
var modes = map[filemode.FileMode]reconciler.Mode{
	filemode.Regular:    reconciler.Regular,
	filemode.Deprecated: reconciler.Regular,
	filemode.Executable: reconciler.Executable,
	filemode.Symlink:    reconciler.Symlink,
	filemode.Submodule:  reconciler.Submodule,
}

// validName tells whether a name may stand in a tree: nothing that means
// another folder, or Git's own.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." &&
		!strings.EqualFold(name, ".git") && !strings.ContainsAny(name, "/\x00")
}
