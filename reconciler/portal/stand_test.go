package portal_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// stand is examples/acme as a repository that was converged twice, and its portal.
type stand struct {
	dir, repo, pave string
	address         string        // of the portal, without a slash
	doors           <-chan string // the addresses by which one browser each signs in
	client          http.Client   // of somebody who is signed in
	end             func()
}

// openStand makes a stand in a folder.
func openStand(ctx context.Context, dir, pave string) (*stand, error) {
	s := &stand{dir: dir, repo: filepath.Join(dir, "platform"), pave: pave, end: func() {}}
	if err := os.CopyFS(s.repo, os.DirFS("../../examples/acme")); err != nil {
		return nil, err
	}
	steps := []func(context.Context) error{s.own, s.begin, s.converge, s.change, s.converge, s.show}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *stand) close() { s.end() }

var folderLine = regexp.MustCompile(`(?m)^let folder = ".*"$`)

// own lets the example write below the folder of the stand.
func (s *stand) own(context.Context) error {
	return s.edit("platform.cue", func(text string) string {
		return folderLine.ReplaceAllLiteralString(text, fmt.Sprintf("let folder = %q", filepath.Join(s.dir, "infrastructure")))
	})
}

func (s *stand) edit(name string, change func(string) string) error {
	file := filepath.Join(s.repo, name)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := change(string(text))
	if changed == string(text) {
		return fmt.Errorf("%s has no place to be changed at", name)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}

func (s *stand) begin(ctx context.Context) error {
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch", "main"}, {"config", "user.name", "Alice"}, {"config", "user.email", "alice@acme.example"}} {
		if err := s.git(ctx, args...); err != nil {
			return err
		}
	}
	return s.commit(ctx, "Bring Acme's platform under Pave")
}

// change hands the checkout over, so that there is something to compare.
func (s *stand) change(ctx context.Context) error {
	if err := s.edit("catalog/payments/checkout.cue", func(text string) string {
		return strings.Replace(text, `lifecycle:   "production"`, `lifecycle:   "deprecated"`, 1)
	}); err != nil {
		return err
	}
	return s.commit(ctx, "Deprecate the checkout")
}

func (s *stand) commit(ctx context.Context, subject string) error {
	if err := s.git(ctx, "add", "-A"); err != nil {
		return err
	}
	return s.git(ctx, "commit", "--quiet", "-m", subject)
}

func (s *stand) git(ctx context.Context, args ...string) error {
	return s.command(ctx, "git", append([]string{"-C", s.repo}, args...)...)
}

func (s *stand) converge(ctx context.Context) error {
	args := []string{"apply", "--repo", s.repo, "--allow-write", filepath.Join(s.dir, "infrastructure")}
	if config := os.Getenv("PAVE_TEST_PROVIDERS"); config != "" {
		args = append(args, "--terraform-config", config)
	}
	return s.command(ctx, s.pave, args...)
}

// command runs a program in the environment of the stand; what it says is the error.
func (s *stand) command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = s.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return nil
}

func (s *stand) environment() []string {
	path := os.Getenv("PATH")
	if engine := os.Getenv("PAVE_TEST_TERRAFORM"); engine != "" {
		path = filepath.Dir(engine) + string(filepath.ListSeparator) + path
	}
	return []string{"HOME=" + filepath.Join(s.dir, "home"), "PATH=" + path, "TMPDIR=" + os.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}
}

// show starts the portal.
func (s *stand) show(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, s.pave, "portal", "--repo", s.repo)
	cmd.Env = s.environment()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return err
	}
	s.end = func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	doors := make(chan string, 8)
	s.doors = doors
	said := make(chan struct{})
	go func() {
		defer close(doors)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if door, is := strings.CutPrefix(lines.Text(), "to sign in: "); is {
				doors <- door
			} else {
				s.address = strings.TrimRight(lines.Text(), "/")
				close(said)
			}
		}
	}()
	select {
	case <-said:
		return nil
	case <-ctx.Done():
		return errors.New("the portal did not say its address")
	}
}

// door is the path by which somebody signs in, once.
func (s *stand) door() string { return strings.TrimPrefix(<-s.doors, s.address) }

// page is one page of a kind.
type page struct{ kind, path string }

// more are pages to which no link leads.
var more = []page{
	{"search", "/search?q=checkout"},
	{"missing", "/services/chekout"},
}

var href = regexp.MustCompile(`(?:href|action)="(/[^"#]*)`)

// kinds returns the page with the most on it of each kind, as somebody sees it who is
// signed in; and the home page of the past.
func (s *stand) kinds(ctx context.Context) ([]page, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	s.client.Jar = jar
	if _, err := s.get(ctx, s.door()); err != nil {
		return nil, err
	}
	past := ""
	pages, err := s.crawl(ctx, "/", func(path string) bool {
		if strings.HasPrefix(path, "/at/") {
			past = cmp.Or(past, path)
		}
		return !strings.Contains(path, "format=") && (!strings.HasPrefix(path, "/at/") || strings.Contains(path, "/source/"))
	})
	if err != nil {
		return nil, err
	}
	best, size := map[string]page{}, map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(pages)) {
		kind, got := kindOf(path), pages[path]
		if got.page && len(got.body) > size[kind] && len(got.body) < 64<<10 { // a page of more says nothing else, for longer
			best[kind], size[kind] = page{kind, path}, len(got.body)
		}
	}
	all := append(slices.Collect(maps.Values(best)), more...)
	all = append(all, page{"past", past})
	slices.SortFunc(all, func(a, b page) int { return cmp.Compare(a.kind, b.kind) })
	return all, nil
}

// answer is what is at an address.
type answer struct {
	body string
	page bool // it is HTML
}

// crawl follows the links from a page, those that follow lets it, and returns what is
// at each address.
func (s *stand) crawl(ctx context.Context, from string, follow func(path string) bool) (map[string]answer, error) {
	all, seen := map[string]answer{}, map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		got, err := s.get(ctx, queue[0])
		if err != nil {
			return nil, err
		}
		all[queue[0]] = got
		if !got.page {
			continue
		}
		for _, m := range href.FindAllStringSubmatch(got.body, -1) {
			next := html.UnescapeString(m[1])
			if !seen[next] && !strings.HasPrefix(next, "/static/") && next != "/logout" && follow(next) {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return all, nil
}

// get asks for an address.
func (s *stand) get(ctx context.Context, path string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address+path, nil)
	if err != nil {
		return answer{}, err
	}
	got, err := s.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, got.Status)
	}
	return answer{string(body), strings.HasPrefix(got.Header.Get("Content-Type"), "text/html")}, err
}

// kindOf names the kind of a page by its address: service is one of services.
func kindOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if rest, past := strings.CutPrefix(path, "/at/"); past {
		_, path, _ = strings.Cut(rest, "/")
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case parts[0] == "":
		return "home"
	case len(parts) == 1:
		return parts[0]
	case parts[0] == "source":
		return "source-file"
	case len(parts) == 2:
		return strings.TrimSuffix(parts[0], "s")
	default:
		return strings.TrimSuffix(parts[0], "s") + "-" + parts[2]
	}
}
