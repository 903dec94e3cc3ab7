package git

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
)

// address is where a repository is and how one gets in.
type address struct {
	endpoint transport.Endpoint
	auth     transport.AuthMethod // nil where the transport finds its own
	shown    string               // for people, without a password
}

// Local returns the absolute path of a repository on this machine, and whether
// the address is one. It does not look whether anything is there.
func Local(address string) (string, bool) {
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "file" || (u.Host != "" && u.Host != "localhost") {
			return "", false
		}
		return filepath.Clean(u.Path), filepath.IsAbs(u.Path)
	}
	if _, _, ok := cutSCP(address); ok || address == "" {
		return "", false
	}
	path, err := filepath.Abs(address)
	return path, err == nil
}

// cutSCP splits ssh's short form, [user@]host:path. As in Git, a slash before
// the colon makes it a path.
func cutSCP(address string) (host, path string, ok bool) {
	host, path, ok = strings.Cut(address, ":")
	return host, path, ok && host != "" && !strings.ContainsAny(host, `/\`)
}

// RepositoryID returns 16 hexadecimal digits that stand for the repository in
// names of folders. It does not depend on who asks, on the protocol, or on the
// symbolic links in a path.
func RepositoryID(address string) string {
	sum := sha256.Sum256([]byte(canonical(address)))
	return hex.EncodeToString(sum[:8])
}

func canonical(address string) string {
	if path, ok := Local(address); ok {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		return filepath.ToSlash(path)
	}
	host, path, ok := cutSCP(address)
	if ok && !strings.HasPrefix(path, "//") {
		host = host[strings.LastIndex(host, "@")+1:]
	} else if u, err := url.Parse(address); err == nil {
		host, path = u.Host, u.Path
		if port := u.Port(); port == defaultPorts[u.Scheme] {
			host = strings.TrimSuffix(host, ":"+port)
		}
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	return strings.ToLower(host) + "/" + path
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "ssh": "22"}

// parseAddress reads an address as people write it. The token is the password
// for https.
func parseAddress(raw, token string) (address, error) {
	if path, ok := Local(raw); ok {
		return address{endpoint: transport.Endpoint{Protocol: "file", Path: path}, shown: path}, nil
	}
	if !strings.Contains(raw, "://") {
		return parseSSH(raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse repeats the address, password included.
		return address{}, refuse("read repository address: it is not a URL; expected a path, https://HOST/PATH or ssh://USER@HOST/PATH")
	}
	switch u.Scheme {
	case "https", "http":
		return parseHTTP(u, token)
	case "ssh":
		return parseSSH(raw)
	}
	return address{}, refuse("read repository address: expected a path, https:// or ssh://; got %q", u.Scheme+"://")
}

func parseSSH(raw string) (address, error) {
	ep, err := transport.NewEndpoint(raw)
	if err != nil || ep.Protocol != "ssh" || ep.Host == "" {
		return address{}, refuse("read repository address: expected a path, https://HOST/PATH or ssh://USER@HOST/PATH")
	}
	ep.Password = ""
	return address{endpoint: *ep, shown: printable(ep.String())}, nil
}

func parseHTTP(u *url.URL, token string) (address, error) {
	ep, err := transport.NewEndpoint((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
	if err != nil || ep.Host == "" {
		return address{}, refuse("read repository address: expected https://HOST/PATH")
	}
	a := address{endpoint: *ep, shown: printable(ep.String())}
	user := "x-access-token" // what forges accept beside a token
	if name := u.User.Username(); name != "" {
		user = name
	}
	if password, ok := u.User.Password(); ok && token == "" {
		token = password
	}
	if token == "" {
		return a, nil
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return address{}, refuse("a token is not sent to %s, where anyone on the way could read it; use https://", a.shown)
	}
	a.auth = &http.BasicAuth{Username: user, Password: token}
	return a, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Root returns the folder of the checkout that holds path: the nearest one, at
// or above it, with a `.git`. A bare repository is not a checkout.
func Root(path string) (string, bool) {
	dir, err := filepath.Abs(path)
	if err != nil || isGitDir(dir) {
		return "", false
	}
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// gitDirs returns the folder in which Git keeps a repository, and the one that
// its linked work trees share; they differ only in a linked work tree.
func gitDirs(path string) (dir, common string, err error) {
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case err != nil && isGitDir(path):
		return path, path, nil
	case err != nil:
		return "", "", fmt.Errorf("%w at %s", ErrNoRepository, path)
	case info.IsDir():
		return dot, dot, nil
	}
	dir, err = readPointer(dot, "gitdir: ", path)
	if err != nil {
		return "", "", err
	}
	if common, err = readPointer(filepath.Join(dir, "commondir"), "", dir); err != nil {
		common = dir // a submodule has a `.git` file and nothing to share
	}
	return dir, common, nil
}

// readPointer reads a file that holds nothing but a path, relative to base.
func readPointer(file, prefix, base string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(data)), prefix)
	if !ok || path == "" {
		return "", fmt.Errorf("%w: %s names no folder", ErrNoRepository, file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	return path, nil
}

func isGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}
