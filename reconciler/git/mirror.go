package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/pave-dev/pave/reconciler"
)

// Options say which repository is mirrored, and how Pave signs what it records.
type Options struct {
	// URL is a path or an https or ssh address.
	URL string
	// Cache is the folder of the mirror, for this repository alone. It is
	// created with mode 0700 and may be deleted at any time.
	Cache string
	// Tracked is the short name of the branch that holds the desired state;
	// empty means the one that the repository's HEAD names when it is first fetched.
	Tracked string
	// Status is the short name of the branch that Publish writes.
	Status string
	// Approvals is the short name of the branch that Approve writes;
	// "pave/approvals" where it is empty.
	Approvals string
	// Author and Email stand in the commits that Pave makes; "Pave" and "pave@localhost"
	// where they are empty.
	Author, Email string
	// Signer signs status commits; nil leaves them unsigned.
	Signer *Signer `json:"-"`
	// Token is the password for https. SSH uses the agent and known_hosts.
	Token string
	// MaxFile is the size in bytes of the largest file that is read;
	// DefaultMaxFile where it is 0.
	MaxFile int64
	// Clone makes a mirror that has grown anew, into a folder: [CloneMirror] where it is nil.
	// Another process can do it by that, with these options: of all that a mirror does
	// this takes most memory, and the more the longer the history is.
	Clone func(ctx context.Context, options Options, dir string) error `json:"-"`
}

func (o *Options) validate() error {
	if o.Clone == nil {
		o.Clone = CloneMirror
	}
	if o.Author == "" {
		o.Author = "Pave"
	}
	if o.Email == "" {
		o.Email = "pave@localhost"
	}
	if o.Approvals == "" {
		o.Approvals = "pave/approvals"
	}
	if o.MaxFile == 0 {
		o.MaxFile = DefaultMaxFile
	}
	if o.Cache == "" {
		return errors.New("no cache folder for the mirror")
	}
	if err := checkBranch("status branch", o.Status); err != nil {
		return err
	}
	if err := checkBranch("approvals branch", o.Approvals); err != nil {
		return err
	}
	switch {
	case o.Tracked == o.Status:
		return refuse("the branch %q cannot be both tracked and the status branch", o.Status)
	case o.Tracked == o.Approvals:
		return refuse("the branch %q cannot be both tracked and the approvals branch", o.Approvals)
	case o.Status == o.Approvals:
		return refuse("the branch %q cannot be both the status and the approvals branch", o.Status)
	}
	if o.Tracked != "" {
		if err := checkBranch("tracked branch", o.Tracked); err != nil {
			return err
		}
	}
	return errors.Join(checkText("author name", o.Author, ""), checkText("author e-mail", o.Email, ""))
}

func checkBranch(what, name string) error {
	if err := plumbing.NewBranchReferenceName(name).Validate(); err != nil || strings.HasPrefix(name, "-") {
		return refuse("%s: %q is not a name for a branch", what, name)
	}
	return nil
}

// MissingBranchError reports that the tracked branch does not exist.
type MissingBranchError struct {
	Branch string   // the branch that was asked for; empty where HEAD names none
	Have   []string // the branches that exist, the one that HEAD names first
}

// Error says what exists and what to type.
func (e *MissingBranchError) Error() string {
	const most = 8
	what := fmt.Sprintf("branch %q does not exist", e.Branch)
	if e.Branch == "" {
		what = "HEAD names no branch that exists"
	}
	if len(e.Have) == 0 {
		return what + ", nor any other; push one: git push origin HEAD"
	}
	names, more := e.Have, ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("%s; expected one of: %s%s; choose: --branch %s", what, strings.Join(names, ", "), more, names[0])
}

// Mirror is a private copy of a repository. It may be used by several
// goroutines, and several processes may share its folder.
type Mirror struct {
	objects
	options Options
	address address

	remote  sync.Mutex // held while fetching
	rebuilt time.Time  // guarded by remote; when the mirror was found broken and made anew last
	due     time.Time  // guarded by remote; when it may be made anew because it is large
	cloning bool       // guarded by remote; that goes on

	life  context.Context // ends when the mirror is closed
	end   context.CancelFunc
	aside sync.WaitGroup // what goes on beside

	tips struct {
		sync.Mutex
		tracked string // the tracked branch, once it is known
		heads   reconciler.Heads
	}
}

var _ reconciler.Source = (*Mirror)(nil)

// Open prepares a mirror. Nothing is fetched yet.
func Open(ctx context.Context, options Options) (*Mirror, error) {
	if err := options.validate(); err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	at, err := parseAddress(options.URL, options.Token)
	if err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	m := &Mirror{options: options, address: at, due: time.Now().Add(time.Minute)}
	m.life, m.end = context.WithCancel(context.WithoutCancel(ctx))
	m.tips.tracked = options.Tracked
	m.objects = objects{maxFile: options.MaxFile, open: m.openStore, heal: m.restore}
	if err := m.once(ctx, func(store) error { return nil }); err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	// What cannot be removed is tried again when the mirror is opened next.
	sweep(m.options.Cache, func(name string) bool { return strings.HasPrefix(name, clones) })
	sweepPacks(m.dir())
	return m, nil
}

// Close releases the files that the mirror holds open.
func (m *Mirror) Close() {
	m.end()
	m.aside.Wait()
	m.forget()
}

// Branch returns the tracked branch; empty where the repository's HEAD decides
// and has not been asked.
func (m *Mirror) Branch() string {
	m.tips.Lock()
	defer m.tips.Unlock()
	return m.tips.tracked
}

func (m *Mirror) dir() string { return filepath.Join(m.options.Cache, "mirror.git") }

func (m *Mirror) openStore() (store, error) {
	if err := os.MkdirAll(m.options.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("make mirror: %w", err)
	}
	return initStorage(m.dir())
}

// initStorage opens a bare repository and makes it where there is none.
func initStorage(dir string) (*filesystem.Storage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make mirror: %w", err)
	}
	s := openStorage(osfs.New(dir))
	if _, err := gogit.Init(s, nil); err != nil && !errors.Is(err, gogit.ErrRepositoryAlreadyExists) {
		return nil, fmt.Errorf("make mirror: %w", err)
	}
	return s, nil
}

// Authentic tells whether the commit carries a valid signature of this host's
// key; false where the host has no key.
func (m *Mirror) Authentic(ctx context.Context, commit string) (bool, error) {
	return m.authentic(ctx, commit, m.options.Signer)
}

// Fetch brings the branches up to date and returns their tips. One round trip
// where there is nothing to bring. The errors are [ErrNoRepository],
// [ErrEmpty], [*MissingBranchError] and whatever the network says.
func (m *Mirror) Fetch(ctx context.Context) (reconciler.Heads, error) {
	m.remote.Lock()
	defer m.remote.Unlock()
	heads, err := m.fetch(ctx)
	if err != nil {
		return reconciler.Heads{}, fmt.Errorf("fetch %w", err)
	}
	return heads, nil
}

// fetch does it. The caller holds remote.
func (m *Mirror) fetch(ctx context.Context) (reconciler.Heads, error) {
	session, refs, heads, err := m.ask(ctx)
	if err != nil {
		return reconciler.Heads{}, err
	}
	defer session.Close()
	if _, err := os.Stat(filepath.Join(m.dir(), "HEAD")); err != nil {
		m.forget() // the cache was deleted; files that are still open would hide it
	}
	var wants, haves []plumbing.Hash
	err = m.retry(ctx, func(s store) (err error) {
		wants, haves, err = missing(s, heads)
		return err
	})
	switch {
	case damaged(err):
		err = m.rebuild(ctx, session, refs, heads)
	case err == nil && len(wants) > 0:
		err = m.bring(ctx, session, refs, wants, haves)
	}
	if err == nil {
		err = m.retry(ctx, func(s store) error { return m.setTips(s, heads) })
	}
	if err != nil {
		return reconciler.Heads{}, fmt.Errorf("%s: %w", m.address.shown, err)
	}
	m.compact(ctx, heads)
	m.tips.Lock()
	defer m.tips.Unlock()
	m.tips.heads = heads
	return heads, nil
}

// ask opens a session and resolves what it advertises.
func (m *Mirror) ask(ctx context.Context) (transport.UploadPackSession, advertised, reconciler.Heads, error) {
	session, refs, err := m.address.uploadPack(ctx)
	if err != nil {
		return nil, refs, reconciler.Heads{}, err
	}
	heads, err := m.resolve(refs)
	if err != nil {
		session.Close()
		return nil, refs, heads, fmt.Errorf("%s: %w", m.address.shown, err)
	}
	return session, refs, heads, nil
}

// resolve picks the branches. Which branch HEAD names is asked once: the
// HEAD of a checkout follows whoever works in it, and must not take along what
// is converged.
func (m *Mirror) resolve(refs advertised) (reconciler.Heads, error) {
	m.tips.Lock()
	defer m.tips.Unlock()
	tracked := m.tips.tracked
	if tracked == "" {
		tracked = refs.head()
	}
	tip := refs.tip(tracked)
	if tip.IsZero() {
		return reconciler.Heads{}, &MissingBranchError{Branch: printable(tracked), Have: m.choices(refs)}
	}
	if m.own(tracked) {
		return reconciler.Heads{}, refuse("HEAD names a branch that Pave writes; choose what to converge: --branch NAME")
	}
	m.tips.tracked = tracked
	heads := reconciler.Heads{Tracked: tip.String(), Queue: refs.queue(tracked)}
	if status := refs.tip(m.options.Status); !status.IsZero() {
		heads.Status = status.String()
	}
	if approvals := refs.tip(m.options.Approvals); !approvals.IsZero() {
		heads.Approvals = approvals.String()
	}
	return heads, nil
}

// own tells whether Pave writes the branch.
func (m *Mirror) own(branch string) bool {
	return branch == m.options.Status || branch == m.options.Approvals
}

// choices lists the branches that could be tracked, the default one first.
func (m *Mirror) choices(refs advertised) []string {
	var names []string
	for _, name := range refs.branches() {
		if !m.own(name) && checkText("branch", name, "<>") == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if i := slices.Index(names, refs.head()); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, refs.head())
	}
	return names
}

// missing returns the tips that are to be fetched, and commits that are here.
func missing(s store, heads reconciler.Heads) (wants, haves []plumbing.Hash, err error) {
	for _, tip := range []string{heads.Tracked, heads.Status, heads.Approvals} {
		if tip == "" {
			continue
		}
		hash := plumbing.NewHash(tip)
		err := s.HasEncodedObject(hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			wants = append(wants, hash)
		} else if err != nil {
			return nil, nil, err
		}
	}
	if len(wants) == 0 {
		return nil, nil, nil
	}
	return wants, known(s), nil
}

// known returns commits that the remote may have as well, so that it sends
// only what is new: each branch and some way back, in case it was rewritten.
// A reference that cannot be read costs a larger download, nothing else.
func known(s store) []plumbing.Hash {
	var tips []plumbing.Hash
	refs, err := s.IterReferences()
	if err != nil {
		return nil
	}
	refs.ForEach(func(ref *plumbing.Reference) error {
		tips = append(tips, ref.Hash())
		return nil
	})
	return ancestors(s, tips)
}

// ancestors returns the commits and some way back on their first-parent lines,
// as far as they are here.
func ancestors(s store, tips []plumbing.Hash) []plumbing.Hash {
	const back = 64
	var all []plumbing.Hash
	for _, hash := range tips {
		for range back {
			c, err := object.GetCommit(s, hash)
			if err != nil {
				break
			}
			all = append(all, hash)
			if len(c.ParentHashes) == 0 {
				break
			}
			hash = c.ParentHashes[0]
		}
	}
	return all
}

// bring downloads into the mirror.
func (m *Mirror) bring(ctx context.Context, session transport.UploadPackSession, refs advertised, wants, haves []plumbing.Hash) error {
	if err := download(ctx, session, refs, wants, haves, sink{&m.objects}); err != nil {
		return err
	}
	return m.retry(ctx, func(s store) error {
		for _, hash := range wants {
			if err := s.HasEncodedObject(hash); err != nil {
				return fmt.Errorf("the remote sent no %s: %w", hash, err)
			}
		}
		return setShallow(s, refs)
	})
}

// setShallow remembers where a shallow remote ends.
func setShallow(s store, refs advertised) error {
	if len(refs.Shallows) == 0 {
		return nil
	}
	return s.SetShallow(refs.Shallows)
}

// sink writes packs into the storage of the objects. It locks them only while
// the storage itself changes, so that a long download delays no reader.
type sink struct{ *objects }

func (s sink) PackfileWriter() (io.WriteCloser, error) {
	var w io.WriteCloser
	err := s.once(context.Background(), func(st store) (err error) {
		w, err = st.PackfileWriter()
		return err
	})
	return lockedCloser{w, &s.mu}, err
}

type lockedCloser struct {
	io.WriteCloser
	mu *sync.Mutex
}

func (c lockedCloser) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.WriteCloser.Close()
}

const publishedRef = plumbing.ReferenceName("refs/pave/published")

// setTips keeps the tips in the mirror. The one of a branch that no longer
// exists stays: it may be all that is left of it.
func (m *Mirror) setTips(s storer.ReferenceStorer, heads reconciler.Heads) error {
	for branch, tip := range map[string]string{
		m.Branch(): heads.Tracked, m.options.Status: heads.Status, m.options.Approvals: heads.Approvals,
	} {
		if tip == "" {
			continue
		}
		if err := setRef(s, plumbing.NewRemoteReferenceName("origin", branch), plumbing.NewHash(tip)); err != nil {
			return err
		}
	}
	return nil
}

func setRef(s storer.ReferenceStorer, name plumbing.ReferenceName, hash plumbing.Hash) error {
	if ref, err := s.Reference(name); err == nil && ref.Hash() == hash {
		return nil
	}
	return s.SetReference(plumbing.NewHashReference(name, hash))
}

// Published returns the status commit that this mirror published last; empty
// where it knows of none.
func (m *Mirror) Published(ctx context.Context) (string, error) {
	var commit string
	err := m.retry(ctx, func(s store) error {
		ref, err := s.Reference(publishedRef)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			return nil
		}
		if err == nil {
			commit = ref.Hash().String()
		}
		return err
	})
	return commit, err
}

// restore makes the mirror whole after reading from it failed.
func (m *Mirror) restore(ctx context.Context, cause error) error {
	m.remote.Lock()
	defer m.remote.Unlock()
	if errors.Is(cause, ErrUnknownCommit) {
		_, err := m.fetch(ctx)
		return err
	}
	// What a fresh copy did not mend, the next one will not: the repository itself is damaged.
	if time.Since(m.rebuilt) < time.Minute {
		return nil
	}
	return m.renew(ctx)
}

// renew clones the repository anew. The caller holds remote.
func (m *Mirror) renew(ctx context.Context) error {
	session, refs, heads, err := m.ask(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return m.rebuild(ctx, session, refs, heads)
}

// rebuild makes the mirror anew. The caller holds remote.
func (m *Mirror) rebuild(ctx context.Context, session transport.UploadPackSession, refs advertised, heads reconciler.Heads) error {
	m.rebuilt = time.Now()
	defer m.tire(m.rebuilt)
	made, err := m.beside(func(dir string) error { return clone(ctx, session, refs, heads, dir) })
	if err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	defer os.RemoveAll(made)
	published, _ := m.Published(ctx) // what cannot be read cannot be kept
	err = m.replace(made, func(dir string) error {
		s, err := initStorage(dir)
		if err != nil {
			return err
		}
		defer s.Close()
		if hash := plumbing.NewHash(published); published != "" && s.HasEncodedObject(hash) == nil {
			if err := setRef(s, publishedRef, hash); err != nil {
				return err
			}
		}
		return m.setTips(s, heads)
	})
	if err != nil {
		return fmt.Errorf("replace mirror: %w", err)
	}
	return nil
}

// tire lets the mirror be for fifty times as long as making it anew took. The
// caller holds remote.
func (m *Mirror) tire(began time.Time) {
	m.due = time.Now().Add(max(time.Minute, 50*time.Since(began)))
}

// clones is what the folders of clones begin with.
const clones = "clone-"

// beside has a clone made in a new folder, in which it is called "new".
func (m *Mirror) beside(clone func(dir string) error) (made string, err error) {
	if err := os.MkdirAll(m.options.Cache, 0o700); err != nil {
		return "", err
	}
	if made, err = os.MkdirTemp(m.options.Cache, clones); err != nil {
		return "", err
	}
	if err := clone(filepath.Join(made, "new")); err != nil {
		os.RemoveAll(made)
		return "", err
	}
	return made, nil
}

// CloneMirror clones the branches of a mirror into a new folder.
func CloneMirror(ctx context.Context, options Options, dir string) error {
	if err := options.validate(); err != nil {
		return err
	}
	at, err := parseAddress(options.URL, options.Token)
	if err != nil {
		return err
	}
	m := &Mirror{options: options, address: at}
	m.tips.tracked = options.Tracked
	session, refs, heads, err := m.ask(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return clone(ctx, session, refs, heads, dir)
}

func clone(ctx context.Context, session transport.UploadPackSession, refs advertised, heads reconciler.Heads, dir string) error {
	s, err := initStorage(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	wants, _, err := missing(s, heads)
	if err != nil {
		return err
	}
	if err := download(ctx, session, refs, wants, nil, s); err != nil {
		return err
	}
	return setShallow(s, refs)
}

// replace puts a clone in the place of the mirror, once it is complete. Nobody
// writes to the mirror meanwhile. The caller holds remote.
func (m *Mirror) replace(made string, complete func(dir string) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := filepath.Join(made, "new")
	if err := complete(dir); err != nil {
		return err
	}
	m.drop()
	// Removing takes its time, and others may read the mirror.
	if err := os.Rename(m.dir(), filepath.Join(made, "old")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(dir, m.dir())
}

// compact keeps the mirror small. Every fetch and every status commit brings a
// pack: small ones are made one, which loses nothing and does not take long. What
// they hold is not compared with what was there, as it is where a repository is
// cloned; so the mirror is cloned anew, beside, when it has grown to twice what it
// was then. A process that does not stay leaves that to one that does. The caller
// holds remote.
func (m *Mirror) compact(ctx context.Context, heads reconciler.Heads) {
	if m.cloning {
		return
	}
	before, err := packFiles(m.dir())
	if err != nil {
		return
	}
	gathered, err := gather(m.dir(), before)
	if gathered {
		m.forget() // the packs that are gone are still open
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil // another process gathers
	}
	if large := outgrown(m.dir(), before); err == nil && !large || time.Now().Before(m.due) {
		return
	}
	// A status commit that only the mirror holds would be lost.
	if published, err := m.Published(ctx); err != nil || (published != "" && published != heads.Status) {
		return
	}
	if before, err = packFiles(m.dir()); err != nil {
		return
	}
	m.cloning = true
	m.aside.Go(func() { m.cloneAside(before, heads) })
}

// cloneTimeout bounds a clone that nobody waits for.
const cloneTimeout = 10 * time.Minute

// cloneAside clones the mirror anew while it is used, and takes over what it has
// got since it had these packs and heads. Where that fails, the large mirror
// serves as well.
func (m *Mirror) cloneAside(before []packFile, heads reconciler.Heads) {
	began := time.Now()
	made, err := m.cloneNow()
	if err == nil {
		defer os.RemoveAll(made)
	}
	m.remote.Lock()
	defer m.remote.Unlock()
	if err == nil && m.life.Err() == nil {
		m.replace(made, func(dir string) error { return m.takeOver(dir, before, heads) })
	}
	m.cloning = false
	m.tire(began)
}

func (m *Mirror) cloneNow() (string, error) {
	ctx, cancel := context.WithTimeout(m.life, cloneTimeout)
	defer cancel()
	options := m.options
	options.Tracked = m.Branch()
	return m.beside(func(dir string) error { return m.options.Clone(ctx, options, dir) })
}

// takeOver gives a clone the packs that the mirror has got since and its
// references. It fails where the clone lacks what those packs go on from, or where
// the status commit that was published last would be lost. The caller holds mu.
func (m *Mirror) takeOver(dir string, before []packFile, heads reconciler.Heads) error {
	if err := holds(dir, heads); err != nil {
		return err
	}
	packs, err := packFiles(m.dir())
	if err != nil {
		return err
	}
	for _, p := range packs {
		if slices.Contains(before, p) {
			continue
		}
		for _, ending := range []string{".idx", ".pack"} { // a pack that is found must have its index
			err := os.Link(p.path+ending, filepath.Join(packFolder(dir), filepath.Base(p.path)+ending))
			if err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return copyRefs(dir, m.dir())
}

// holds fails where a repository lacks one of the heads.
func holds(dir string, heads reconciler.Heads) error {
	s, err := initStorage(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	wants, _, err := missing(s, heads)
	if err == nil && len(wants) > 0 {
		err = fmt.Errorf("%w: %s", ErrUnknownCommit, wants[0])
	}
	return err
}

// copyRefs gives a clone the references of the mirror, as far as what they lead to
// is there. It must be where it was published.
func copyRefs(to, from string) error {
	s, err := initStorage(to)
	if err != nil {
		return err
	}
	defer s.Close()
	old, err := initStorage(from)
	if err != nil {
		return err
	}
	defer old.Close()
	refs, err := old.IterReferences()
	if err != nil {
		return err
	}
	return refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference {
			return nil
		}
		err := s.HasEncodedObject(ref.Hash())
		if errors.Is(err, plumbing.ErrObjectNotFound) && ref.Name() != publishedRef {
			return nil
		}
		if err != nil {
			return err
		}
		return setRef(s, ref.Name(), ref.Hash())
	})
}

// slack is how many bytes a mirror may grow by however small it was.
const slack = 16 << 20

// outgrown tells whether the packs of a mirror take more than twice what they
// took when it was cloned, and more than the slack.
func outgrown(dir string, packs []packFile) bool {
	var size int64
	for _, p := range packs {
		size += p.size
	}
	var cloned int64
	data, err := os.ReadFile(clonedSize(dir))
	if err == nil {
		_, err = fmt.Sscan(string(data), &cloned)
	}
	if err != nil { // it was just made
		os.WriteFile(clonedSize(dir), fmt.Append(nil, size), 0o600) // tried again otherwise
		return false
	}
	return size > 2*cloned+slack
}

// clonedSize is the file that tells how large the packs were when the mirror was
// cloned.
func clonedSize(dir string) string { return filepath.Join(dir, "pave-cloned") }
