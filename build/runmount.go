package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/parser"
	"virga/storage"
	"virga/unpriv"
)

// Secret is a --secret: a file, or the value of a variable.
type Secret struct {
	File  string // path on the host, absolute
	Value []byte // used if File is ""
}

// runMounts are the RUN --mounts of one instruction while it is worked on.
type runMounts struct {
	s      *stage
	list   []*parser.Mount
	froms  []*origin // by mount, nil for types that read nothing
	mounts []specs.Mount
	env    []string
	caches []*storage.Mount
	undo   []func() error
}

// newRunMounts finds what the mounts read from.
func (s *stage) newRunMounts(ctx context.Context, list []*parser.Mount) (*runMounts, error) {
	r := &runMounts{s: s, list: list, froms: make([]*origin, len(list))}
	for i, m := range list {
		if m.Type != parser.MountBind && (m.Type != parser.MountCache || m.From == "") {
			continue
		}
		o, err := s.origin(ctx, m.From)
		if err == nil && o.key == "" && o.src == nil {
			err = errNoContext
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--mount=type=%s: %w", m.Type, err), r.close(ctx))
		}
		r.froms[i] = o
	}
	return r, nil
}

// mountKey is what a RUN depends on through one mount.
type mountKey struct {
	Type, Source, Target, ID, Content string
	ReadOnly                          bool
	Size                              int64 `json:",omitempty"`
}

// keys describes the mounts for the cache. What a cache directory or a secret
// holds makes no difference, as with Docker. With content, what bind mounts
// show is read; otherwise a stage or image stands for itself.
func (r *runMounts) keys(ctx context.Context, content bool) ([]mountKey, error) {
	var out []mountKey
	for i, m := range r.list {
		k := mountKey{Type: m.Type, Source: m.Source, Target: m.Target, ID: m.ID, ReadOnly: m.ReadOnly, Size: m.Size}
		if o := r.froms[i]; o != nil && m.Type == parser.MountBind {
			k.Content = o.key
			if content {
				sum, err := r.contentOf(ctx, o, m)
				if err != nil {
					return nil, fmt.Errorf("--mount=type=bind: %w", err)
				}
				k.Content = sum
			}
		}
		out = append(out, k)
	}
	return out, nil
}

func (r *runMounts) contentOf(ctx context.Context, o *origin, m *parser.Mount) (string, error) {
	src, err := o.open(ctx)
	if err != nil {
		return "", err
	}
	found, err := src.list(ctx, cleanSource(m.Source), filter{})
	if err != nil {
		return "", err
	}
	if found == nil {
		return "", &SourceError{Source: m.Source, Ignored: true}
	}
	sum, err := src.digest(ctx, []match{*found})
	return fmt.Sprintf("%x", sum), err
}

// fromContext reports whether some mount shows the context, which can change
// under the same name.
func (r *runMounts) fromContext() bool {
	return slices.ContainsFunc(r.froms, func(o *origin) bool { return o != nil && o.key == "" })
}

// prepare makes the mounts. Cache directories are locked in the order of
// their ids, so that two builds never wait for each other.
func (r *runMounts) prepare(ctx context.Context, snap *snapshot) error {
	if err := r.takeCaches(ctx); err != nil {
		return err
	}
	for i, m := range r.list {
		var err error
		switch m.Type {
		case parser.MountBind:
			err = r.bind(ctx, r.froms[i], m, snap)
		case parser.MountCache:
			err = r.cache(ctx, i)
		case parser.MountTmpfs:
			r.tmpfs(m)
		case parser.MountSecret:
			err = r.secret(m, snap)
		case parser.MountSSH:
			err = r.ssh(m)
		}
		if err != nil {
			return fmt.Errorf("--mount=type=%s: %w", m.Type, err)
		}
	}
	return nil
}

func (r *runMounts) takeCaches(ctx context.Context) error {
	order := []int{}
	for i, m := range r.list {
		if m.Type == parser.MountCache {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(cacheID(r.list[a]), cacheID(r.list[b])) })
	r.caches = make([]*storage.Mount, len(r.list))
	for _, i := range order {
		m := r.list[i]
		how := map[string]storage.Sharing{"private": storage.Private, "locked": storage.Locked}[m.Sharing]
		c, err := r.s.b.store.CacheMount(ctx, cacheID(m), how)
		if err != nil {
			return err
		}
		r.caches[i] = c
		r.undo = append(r.undo, c.Close)
	}
	return nil
}

// cacheID is the name of a cache directory: id, else the target.
func cacheID(m *parser.Mount) string {
	if m.ID != "" {
		return m.ID
	}
	return path.Clean(m.Target)
}

func (r *runMounts) cache(ctx context.Context, i int) error {
	m, dir := r.list[i], r.caches[i].Path()
	if names, err := os.ReadDir(dir); err == nil && len(names) == 0 {
		if err := r.fillCache(ctx, i, dir); err != nil {
			return err
		}
	}
	return r.add(dir, r.target(m), m.ReadOnly)
}

// fillCache gives a new cache directory its mode and, with from=, content.
func (r *runMounts) fillCache(ctx context.Context, i int, dir string) error {
	m := r.list[i]
	mode := uint32(0o755)
	if m.Mode != nil {
		mode = *m.Mode
	}
	if err := unix.Chmod(dir, mode); err != nil {
		return err
	}
	if r.froms[i] == nil {
		return nil
	}
	src, err := r.hostPath(r.froms[i], m.Source)
	if err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(src))
}

// hostPath is the path on the host of what source names in o, resolved inside.
func (r *runMounts) hostPath(o *origin, source string) (string, error) {
	src, err := o.open(context.Background())
	if err != nil {
		return "", err
	}
	p, err := src.root.Resolve(path.Join("/", source), true, nil)
	if err == nil {
		defer p.Close()
		_, err = p.Stat()
	}
	if err != nil {
		return "", &SourceError{Source: source}
	}
	return filepath.Join(src.root.Name(), p.Path), nil
}

// bind shows a file or directory of the context, a stage or an image. With rw,
// what is written is dropped afterwards.
func (r *runMounts) bind(ctx context.Context, o *origin, m *parser.Mount, snap *snapshot) error {
	host, err := r.hostPath(o, m.Source)
	if err != nil {
		return err
	}
	if m.ReadOnly {
		return r.add(host, r.target(m), true)
	}
	fi, err := os.Stat(host)
	if err != nil {
		return err
	}
	name := snap.path("rw" + strconv.Itoa(len(r.mounts)))
	if !fi.IsDir() {
		b, err := os.ReadFile(host)
		if err == nil {
			err = os.WriteFile(name, b, fi.Mode().Perm())
		}
		if err != nil {
			return err
		}
		return r.add(name, r.target(m), false)
	}
	for _, d := range []string{name, name + "/upper", name + "/work", name + "/merged"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := unpriv.MountOverlay(name+"/merged", unpriv.Overlay{Lower: []string{host}, Upper: name + "/upper", Work: name + "/work", Volatile: true}); err != nil {
		return err
	}
	r.undo = append(r.undo, func() error { return unpriv.Unmount(name + "/merged") })
	return r.add(name+"/merged", r.target(m), false)
}

func (r *runMounts) tmpfs(m *parser.Mount) {
	opts := []string{"nosuid", "nodev", "mode=1777", unpriv.Create}
	if m.Size > 0 {
		opts = append(opts, "size="+strconv.FormatInt(m.Size, 10))
	}
	r.mounts = append(r.mounts, specs.Mount{Destination: r.target(m), Type: "tmpfs", Source: "tmpfs", Options: opts})
}

// secret shows a secret as a file, or sets it as a variable, or both.
func (r *runMounts) secret(m *parser.Mount, snap *snapshot) error {
	id := m.ID
	if id == "" {
		id = path.Base(m.Target)
	}
	sec, ok := r.s.b.Secrets[id]
	if !ok {
		if m.Required {
			return fmt.Errorf("secret %q is required and was not given: --secret id=%s,src=FILE", id, id)
		}
		return nil
	}
	value := sec.Value
	if sec.File != "" {
		var err error
		if value, err = os.ReadFile(sec.File); err != nil {
			return fmt.Errorf("secret %q: %w", id, plain(err))
		}
	}
	if m.Env != nil {
		name := *m.Env
		if name == "" {
			name = id
		}
		r.env = append(r.env, name+"="+string(value))
		if m.Target == "" {
			return nil
		}
	}
	mode := os.FileMode(0o400)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode & 0o777)
	}
	target := m.Target
	if target == "" {
		target = "/run/secrets/" + id
	}
	file := snap.path("secret" + strconv.Itoa(len(r.mounts)))
	if err := os.WriteFile(file, value, mode); err != nil {
		return err
	}
	return r.add(file, r.absolute(target), true)
}

// ssh shows the caller's agent.
func (r *runMounts) ssh(m *parser.Mount) error {
	id := m.ID
	if id == "" {
		id = "default"
	}
	sock, ok := r.s.b.SSH[id]
	if !ok {
		if m.Required {
			return fmt.Errorf("ssh agent %q is required and was not given: --ssh %s", id, id)
		}
		return nil
	}
	target := m.Target
	if target == "" {
		target = "/run/buildkit/ssh_agent." + strconv.Itoa(len(r.mounts))
	}
	r.env = append(r.env, "SSH_AUTH_SOCK="+r.absolute(target))
	return r.add(sock, r.absolute(target), false)
}

func (r *runMounts) target(m *parser.Mount) string { return r.absolute(m.Target) }

func (r *runMounts) absolute(target string) string { return workdir(r.s.set.WorkingDir, target) }

func (r *runMounts) add(host, target string, readOnly bool) error {
	m, err := unpriv.Bind(host, target, readOnly, true)
	r.mounts = append(r.mounts, m)
	return err
}

// release takes back what prepare did, the last first.
func (r *runMounts) release() error {
	var err error
	for _, undo := range slices.Backward(r.undo) {
		err = errors.Join(err, undo())
	}
	r.undo = nil
	return err
}

// close lets go of what the mounts read from.
func (r *runMounts) close(ctx context.Context) error {
	var err error
	for _, o := range r.froms {
		if o != nil {
			err = errors.Join(err, o.close(ctx))
		}
	}
	r.froms = nil
	return err
}
