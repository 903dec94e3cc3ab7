package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// hosts are the registries whose names a provider goes by: Terraform looks for
// hashicorp/random at the first, OpenTofu at the second.
var hosts = []string{"registry.terraform.io", "registry.opentofu.org"}

// providers returns the path of a CLI configuration file for Terraform and OpenTofu.
func providers(ctx context.Context, c cache) (string, error) {
	aws, err := findAWS(awsPlaces())
	if err != nil {
		return "", err
	}
	m := mirror{aws: aws}
	if os.Getenv("PAVE_PROVIDERS") == "build" || !registriesAnswer(ctx) {
		t, err := open("providers")
		if err != nil {
			return "", err
		}
		if m.built, err = t.build(ctx, c); err != nil {
			return "", err
		}
		m.versions = t.Versions
	}
	dir := c.path("terraform", m.key())
	_, err = c.folder("terraform", m.key(), func(work string) error { return m.write(work, dir) })
	return filepath.Join(dir, "cli.tfrc"), err
}

// direct asks as Pave's runs do, to which no proxy of the environment is passed on.
var direct = http.Client{Transport: &http.Transport{}}

// registriesAnswer asks both registries what they offer, for at most three seconds.
func registriesAnswer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, host := range hosts {
		if !offersProviders(ctx, host) {
			return false
		}
	}
	return true
}

func offersProviders(ctx context.Context, host string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/terraform.json", nil)
	if err != nil {
		return false
	}
	response, err := direct.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var services map[string]any
	err = json.NewDecoder(response.Body).Decode(&services)
	return err == nil && response.StatusCode == http.StatusOK && services["providers.v1"] != nil
}

// mirror is a folder of providers and the configuration that points to it.
type mirror struct {
	built    string            // the folder with built providers; empty where the registries serve them
	versions map[string]string // of the built providers
	aws      string            // the folder with the AWS provider, .../VERSION/OS_ARCH; empty where there is none
}

func (m mirror) key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", m.built, m.aws))
	return hex.EncodeToString(sum[:])[:16]
}

// write lays out the mirror in work, which is renamed to dir afterwards.
func (m mirror) write(work, dir string) error {
	for name, version := range m.versions {
		program := filepath.Join(m.built, "terraform-provider-"+name)
		at := filepath.Join(name, version, platform, fmt.Sprintf("terraform-provider-%s_v%s", name, version))
		if err := m.place(work, at, program, os.Link); err != nil {
			return err
		}
	}
	if m.aws != "" {
		version := filepath.Base(filepath.Dir(m.aws))
		if err := m.place(work, filepath.Join("aws", version, platform), m.aws, os.Symlink); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(work, "cli.tfrc"), []byte(m.configuration(filepath.Join(dir, "mirror"))), 0o644)
}

// platform is how providers name the machine that they run on.
const platform = runtime.GOOS + "_" + runtime.GOARCH

// place puts a provider below each registry's name.
func (m mirror) place(work, at, source string, link func(from, to string) error) error {
	for _, host := range hosts {
		path := filepath.Join(work, "mirror", host, "hashicorp", at)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := link(source, path); err != nil {
			return err
		}
	}
	return nil
}

// configuration names what is in the mirror; where the registries answer,
// everything else comes from there.
func (m mirror) configuration(path string) string {
	names := slices.Sorted(maps.Keys(m.versions))
	if m.aws != "" {
		names = append(names, "aws")
	}
	text := "disable_checkpoint = true\n"
	if len(names) == 0 {
		return text
	}
	var sources []string
	for _, host := range hosts {
		for _, name := range names {
			sources = append(sources, fmt.Sprintf("%q", host+"/hashicorp/"+name))
		}
	}
	list := "[\n      " + strings.Join(sources, ",\n      ") + ",\n    ]"
	text += fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path    = %q\n    include = %s\n  }\n", path, list)
	if m.built == "" {
		text += fmt.Sprintf("  direct {\n    exclude = %s\n  }\n", list)
	}
	return text + "}\n"
}

// awsPlaces are the plugin folders where the AWS provider may be: the one that
// is named, else where people and images keep them.
func awsPlaces() (places []string, named bool) {
	if dir := os.Getenv("PAVE_AWS_PROVIDER_MIRROR"); dir != "" {
		return []string{dir}, true
	}
	places = []string{
		os.Getenv("TF_PLUGIN_CACHE_DIR"),
		"/usr/local/share/terraform/plugins",
		"/usr/share/terraform/plugins",
	}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places,
			filepath.Join(home, ".terraform.d", "plugins"),
			filepath.Join(home, ".terraform.d", "plugin-cache"),
			filepath.Join(home, ".local", "share", "terraform", "plugins"))
	}
	below, _ := filepath.Glob("/opt/*")
	return append(places, below...), false
}

// findAWS returns the folder with the AWS provider's program, which cannot be
// built here; empty where no place has it.
func findAWS(places []string, named bool) (string, error) {
	for _, place := range places {
		if place == "" {
			continue
		}
		pattern := filepath.Join(place, "registry.terraform.io", "hashicorp", "aws", "*", platform, "terraform-provider-aws_v*")
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Abs(filepath.Dir(found[len(found)-1]))
		}
	}
	if named {
		return "", fmt.Errorf("no registry.terraform.io/hashicorp/aws/VERSION/%s in %s, which PAVE_AWS_PROVIDER_MIRROR names", platform, places[0])
	}
	return "", nil
}
