package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
)

// source is a tree that COPY and ADD read: the context, an earlier stage, or
// another image. Nothing outside its root is ever readable.
type source struct {
	root   *inroot.Root
	ignore filter
	// owners gives files their owners; with nil everything is root:root, as
	// Docker has it for the context.
	owners fakeroot.Table
	// digests remembers file contents between builds; nil for trees whose
	// contents are known by their key.
	digests *digestMemo
}

// item is one file system object to copy.
type item struct {
	src  string // path in the source's root
	rel  string // path below the match, "" for the match itself
	st   unix.Stat_t
	link string // target of a symbolic link
	// parent says that the item is a directory above the match, copied along
	// by --parents: its owner and times count only where it is new.
	parent bool
}

func (it *item) is(format uint32) bool { return it.st.Mode&unix.S_IFMT == format }

// match is what one source argument, or one match of its wildcard, names: a
// file, or a directory whose contents are copied.
type match struct {
	name  string // as it matched, below the root; its last component names the copy
	items []item // parents before children, siblings sorted; items[0] is the match itself
}

func (m *match) isDir() bool { return m.items[0].is(unix.S_IFDIR) }

// find lists what a source argument names, in sorted order. A wildcard
// (Go's path.Match, component by component) may match nothing; a plain name
// must exist. Links on the way and as the last component are followed inside
// the root; links below a directory are not.
func (s *source) find(ctx context.Context, arg string, exclude filter) ([]match, error) {
	return s.gather(arg, arg, func(e *SourceError) bool { return e.Ignored && wild(arg) }, func(name string) (*match, error) {
		return s.list(ctx, name, exclude)
	})
}

// gather lists each path that pattern names, the argument arg or a part of
// it. A source that is missing is no error where skip says so.
func (s *source) gather(arg, pattern string, skip func(*SourceError) bool, list func(name string) (*match, error)) ([]match, error) {
	names := []string{cleanSource(pattern)}
	if wild(pattern) {
		var err error
		if names, err = s.glob(names[0]); err != nil {
			return nil, fmt.Errorf("source %q: %w", arg, err)
		}
	}
	var out []match
	for _, name := range names {
		m, err := list(name)
		var missing *SourceError
		if errors.As(err, &missing) {
			if skip(missing) {
				continue
			}
			missing.Source = arg // as written
		}
		if err != nil {
			return nil, err
		}
		if m != nil {
			out = append(out, *m)
		}
	}
	return out, nil
}

// SourceError says that a COPY or ADD source does not exist in the context or
// stage, or that an ignore file hides it.
type SourceError struct {
	Source  string
	Ignored bool
}

func (e *SourceError) Error() string {
	if e.Ignored {
		return fmt.Sprintf("source %q: excluded by the ignore file", e.Source)
	}
	return fmt.Sprintf("source %q: no such file or directory", e.Source)
}

// Hint advises on the usual cause.
func (e *SourceError) Hint() string {
	if e.Ignored {
		return "remove the pattern from .dockerignore, or add a line with ! and the path"
	}
	if strings.Contains(e.Source, "..") {
		return "sources are looked up inside the build context and cannot leave it; give a context higher up, or --build-context"
	}
	return "sources are paths below the build context (or below the root of the --from stage)"
}

func cleanSource(arg string) string {
	return strings.TrimPrefix(path.Clean("/"+arg), "/")
}

func wild(s string) bool { return strings.ContainsAny(s, `*?[\`) }

func (s *source) glob(pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, err
	}
	names := []string{"."}
	for c := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range names {
			if !wild(c) {
				next = append(next, path.Join(dir, c))
				continue
			}
			entries, err := s.readNames(dir)
			if inroot.IsNotExist(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if ok, _ := path.Match(c, e); ok {
					next = append(next, path.Join(dir, e))
				}
			}
		}
		names = next
	}
	return slices.DeleteFunc(names, func(n string) bool {
		_, err := s.root.Lstat(n)
		return err != nil
	}), nil
}

func (s *source) readNames(dir string) ([]string, error) {
	f, err := s.root.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sortedNames(f)
}

func sortedNames(f *os.File) ([]string, error) {
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// list walks the match called name. It returns nil if exclude hides it.
func (s *source) list(ctx context.Context, name string, exclude filter) (*match, error) {
	return s.listAs(ctx, name, "", exclude)
}

// listAs is list where the match itself counts as rel for exclude and for the
// items; "" stands for the match.
func (s *source) listAs(ctx context.Context, name, rel string, exclude filter) (*match, error) {
	p, err := s.root.Resolve(name, true, nil)
	if inroot.IsNotExist(err) {
		return nil, &SourceError{Source: name}
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	st, err := p.Stat()
	if inroot.IsNotExist(err) {
		return nil, &SourceError{Source: name}
	}
	if err != nil {
		return nil, fmt.Errorf("stat %q: %w", name, err)
	}
	parent, err := s.ignore.parentInfo(p.Path)
	if err != nil {
		return nil, err
	}
	out, info, err := s.ignore.excluded(p.Path, parent)
	if err != nil {
		return nil, err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir {
		if out {
			return nil, &SourceError{Source: name, Ignored: true}
		}
		shown := rel
		if shown == "" {
			shown = path.Base(name)
		}
		if drop, err := exclude.hides(shown); err != nil || drop {
			return nil, err
		}
		return &match{name: name, items: []item{{src: p.Path, rel: rel, st: st}}}, nil
	}
	if out && s.ignore.prune() {
		return nil, &SourceError{Source: name, Ignored: true}
	}
	hidden, excluded, err := exclude.under(rel)
	if err != nil || hidden && exclude.prune() {
		return nil, err
	}
	fd, err := unix.Openat(p.Dir, p.Base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	w := lister{ctx: ctx, s: s, exclude: exclude}
	if s.ignore.pm == nil && exclude.pm == nil { // a matcher is for one at a time
		w.helpers = make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	}
	l := &dirItems{}
	if p.Path == "." {
		l.items = make([]item, 0, s.digests.count()+64) // as many as the last time
	}
	l.items = append(l.items, item{src: p.Path, rel: rel, st: st})
	if err := w.dir(l, fd, p.Path, rel, info, excluded); err != nil {
		return nil, err
	}
	items := l.all()
	if out && len(items) == 1 {
		return nil, &SourceError{Source: name, Ignored: true}
	}
	return &match{name: name, items: items}, nil
}

// lister collects a directory's items in depth-first order.
type lister struct {
	ctx     context.Context
	s       *source
	exclude filter
	helpers chan struct{} // who may list a subdirectory beside the others; nil: nobody
}

// dir appends what is in the directory open as fd, which it closes.
func (w *lister) dir(l *dirItems, fd int, src, rel string, ignored, excluded patternmatcher.MatchInfo) (err error) {
	f := os.NewFile(uintptr(fd), src)
	defer f.Close()
	names, err := sortedNames(f)
	if err != nil {
		return fmt.Errorf("read directory %q: %w", src, err)
	}
	subs := len(l.subs)
	for _, name := range names {
		if err = w.ctx.Err(); err != nil {
			break
		}
		full, below := joinBoth(src, rel, name)
		if err = w.entry(l, fd, name, item{src: full, rel: below}, ignored, excluded); err != nil {
			break
		}
	}
	for _, s := range l.subs[subs:] {
		if <-s.done; err == nil {
			err = s.err
		}
	}
	return err
}

// joinBoth joins name to a path and to the path below the match, which mostly
// is the end of the first: one string for both then.
func joinBoth(src, rel, name string) (full, below string) {
	full = path.Join(src, name)
	if n := len(rel) + 1 + len(name); rel != "" && strings.HasSuffix(src, rel) {
		return full, full[len(full)-n:]
	}
	if rel == "" {
		return full, full[len(full)-len(name):]
	}
	return full, path.Join(rel, name)
}

// dirItems is a directory's items, with those of subdirectories that other
// goroutines list.
type dirItems struct {
	items []item
	subs  []*subItems
}

// subItems is a subdirectory that is listed by another goroutine; its items
// belong behind the first at.
type subItems struct {
	dirItems
	at   int
	err  error
	done chan struct{}
}

// all puts everything in order.
func (l *dirItems) all() []item {
	if len(l.subs) == 0 {
		return l.items
	}
	return l.appendTo(make([]item, 0, l.count()))
}

func (l *dirItems) count() int {
	n := len(l.items)
	for _, s := range l.subs {
		n += s.count()
	}
	return n
}

func (l *dirItems) appendTo(out []item) []item {
	from := 0
	for _, s := range l.subs {
		out = s.appendTo(append(out, l.items[from:s.at]...))
		from = s.at
	}
	return append(out, l.items[from:]...)
}

func (w *lister) entry(l *dirItems, dir int, name string, it item, ignored, excluded patternmatcher.MatchInfo) error {
	drop, ignored, err := w.s.ignore.excluded(it.src, ignored)
	if err != nil {
		return err
	}
	drop2, excluded, err := w.exclude.excluded(it.rel, excluded)
	if err != nil {
		return err
	}
	if err := unix.Fstatat(dir, name, &it.st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			return nil // removed while we look
		}
		return fmt.Errorf("stat %q: %w", it.src, err)
	}
	switch it.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.enter(l, dir, name, it, drop, drop2, ignored, excluded)
	case unix.S_IFLNK:
		if it.link, err = readlink(dir, name); err != nil {
			return fmt.Errorf("read link %q: %w", it.src, err)
		}
	case unix.S_IFSOCK:
		return nil
	}
	if !drop && !drop2 {
		l.items = append(l.items, it)
	}
	return nil
}

// enter lists a subdirectory. One that is excluded stays only if something
// below it is included again.
func (w *lister) enter(l *dirItems, dir int, name string, it item, drop, drop2 bool, ignored, excluded patternmatcher.MatchInfo) error {
	if drop && w.s.ignore.prune() || drop2 && w.exclude.prune() {
		return nil
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", it.src, err)
	}
	n := len(l.items)
	l.items = append(l.items, it)
	select {
	case w.helpers <- struct{}{}:
		s := &subItems{at: len(l.items), done: make(chan struct{})}
		l.subs = append(l.subs, s)
		go func() {
			defer func() { <-w.helpers; close(s.done) }()
			s.err = w.dir(&s.dirItems, fd, it.src, it.rel, ignored, excluded)
		}()
		return nil
	default:
	}
	err = w.dir(l, fd, it.src, it.rel, ignored, excluded)
	if (drop || drop2) && len(l.items) == n+1 { // there are no helpers where something may be excluded
		l.items = l.items[:n]
	}
	return err
}

func readlink(dir int, name string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, b)
	return string(b[:max(n, 0)]), err
}
