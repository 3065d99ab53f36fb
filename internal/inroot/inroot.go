// Package inroot resolves paths inside a directory tree as a process chrooted
// there would: absolute links and ".." stay inside, whatever the tree
// contains and whoever changes it meanwhile. Every step is an openat(2) with
// O_NOFOLLOW relative to a handle already held, so it needs no privilege and
// works on every kernel (openat2(2) RESOLVE_IN_ROOT needs 5.6).
//
//	root, err := inroot.Open(dir)
//	f, err := root.OpenFile("etc/passwd", unix.O_RDONLY, 0)
package inroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the number of symbolic links followed in one path before ELOOP,
// the kernel's own limit (path_resolution(7)).
const maxLinks = 40

// Root is an open directory that paths are resolved in. It is safe for
// concurrent use until Close.
type Root struct {
	fd   int
	name string
}

// Open opens dir as a root.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{fd: fd, name: dir}, nil
}

// Close releases the root's handle.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Name returns the path the root was opened by.
func (r *Root) Name() string { return r.name }

// Place is a name in an open directory: the resolved position of a path whose
// last component may not exist. Close it after use.
type Place struct {
	Dir  int    // O_PATH handle of the parent directory
	Base string // last component, "." for the root itself
	Path string // resolved path below the root, "." for the root itself
}

// Close releases the parent's handle.
func (p *Place) Close() error { return unix.Close(p.Dir) }

// Stat is fstatat(2) of the place, not following a link.
func (p *Place) Stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(p.Dir, p.Base, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH)
	return st, err
}

// Mkdir tells Resolve what to do about a missing directory on the way: nil
// means the error ENOENT, otherwise it is called with the missing place and
// must create a directory there.
type Mkdir func(p *Place) error

// Resolve finds name in the root. Links in every component but the last are
// followed, the last one too if follow is set. With mkdir, missing parent
// directories are created (a dangling link leads to the creation of what it
// names, inside the root). The last component may be missing.
func (r *Root) Resolve(name string, follow bool, mkdir Mkdir) (*Place, error) {
	w := walk{mkdir: mkdir, follow: follow}
	top, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	w.dirs = []int{top}
	p, err := w.run(name)
	if err != nil {
		w.close(0)
		return nil, &os.PathError{Op: "resolve", Path: name, Err: err}
	}
	w.close(1)
	return p, nil
}

// walk is one resolution: the handles and names of the directories entered.
type walk struct {
	dirs   []int // dirs[0] is the root
	names  []string
	links  int
	follow bool
	mkdir  Mkdir
}

// close closes all handles but the last keep ones.
func (w *walk) close(keep int) {
	for _, fd := range w.dirs[:len(w.dirs)-keep] {
		unix.Close(fd)
	}
}

func (w *walk) run(name string) (*Place, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return nil, unix.EINVAL
	}
	todo := split(name)
	slash := strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.")
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		if c == ".." {
			w.up()
			continue
		}
		last := len(todo) == 0
		link, err := w.step(c, last, last && !w.follow && !slash)
		if err != nil {
			return nil, err
		}
		if link == nil {
			if last && len(w.names) > 0 && w.names[len(w.names)-1] == "" {
				w.names = w.names[:len(w.names)-1]
				return w.place(c), nil
			}
			continue
		}
		if w.links++; w.links > maxLinks {
			return nil, unix.ELOOP
		}
		if strings.HasPrefix(*link, "/") {
			for len(w.dirs) > 1 {
				w.up()
			}
		}
		todo = append(split(*link), todo...)
	}
	return w.here()
}

// step enters component c. It returns the target if c is a link to follow.
// If c is the last component and not a directory (or stop is set), it stays
// and marks that with an empty name.
func (w *walk) step(c string, last, stop bool) (link *string, err error) {
	dir := w.dirs[len(w.dirs)-1]
	if !stop {
		fd, err := unix.Openat(dir, c, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			w.dirs, w.names = append(w.dirs, fd), append(w.names, c)
			return nil, nil
		}
		if err == unix.ENOENT && !last && w.mkdir != nil {
			p := w.place(c)
			if err := w.mkdir(p); err != nil {
				return nil, err
			}
			w.mkdirDone()
			return w.step(c, last, stop)
		}
		if err != unix.ENOTDIR && err != unix.ELOOP && (err != unix.ENOENT || !last) {
			return nil, err
		}
		target, lerr := readlinkat(dir, c)
		if lerr == nil {
			return &target, nil
		}
		if err != unix.ENOENT && !last {
			return nil, unix.ENOTDIR
		}
	}
	w.names = append(w.names, "")
	return nil, nil
}

// mkdirDone bounds the number of creations in one resolution, so that a
// process removing what is created cannot hold the walk for ever.
func (w *walk) mkdirDone() { w.links++ }

func (w *walk) up() {
	if n := len(w.dirs); n > 1 {
		unix.Close(w.dirs[n-1])
		w.dirs, w.names = w.dirs[:n-1], w.names[:len(w.names)-1]
	}
}

func (w *walk) place(base string) *Place {
	return &Place{Dir: w.dirs[len(w.dirs)-1], Base: base, Path: path.Join(append(w.names[:len(w.names):len(w.names)], base)...)}
}

// here is the place of the directory just entered: its parent and name.
func (w *walk) here() (*Place, error) {
	if len(w.dirs) == 1 {
		return &Place{Dir: w.dirs[0], Base: ".", Path: "."}, nil
	}
	n := len(w.dirs) - 1
	base := w.names[n-1]
	unix.Close(w.dirs[n])
	w.dirs, w.names = w.dirs[:n], w.names[:n-1]
	return w.place(base), nil
}

func split(name string) []string {
	var out []string
	for c := range strings.SplitSeq(name, "/") {
		if c != "" && c != "." {
			out = append(out, c)
		}
	}
	return out
}

func readlinkat(dir int, name string) (string, error) {
	for n := 256; ; n *= 2 {
		b := make([]byte, n)
		m, err := unix.Readlinkat(dir, name, b)
		if err != nil {
			return "", err
		}
		if m < n {
			return string(b[:m]), nil
		}
	}
}

// OpenFile opens name in the root, following links, with open(2) flags. With
// O_CREAT the parent must exist.
func (r *Root) OpenFile(name string, flags int, perm uint32) (*os.File, error) {
	p, err := r.Resolve(name, true, nil)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fd, err := unix.Openat(p.Dir, p.Base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile reads a regular file of at most limit bytes.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("read %q: not a regular file", name)
	}
	if fi.Size() > limit {
		return nil, fmt.Errorf("read %q: %d bytes, more than the limit of %d", name, fi.Size(), limit)
	}
	b := make([]byte, fi.Size())
	n, err := f.ReadAt(b, 0)
	if err != nil && n < len(b) {
		return nil, err
	}
	return b, nil
}

// Stat is stat(2) in the root, following links.
func (r *Root) Stat(name string) (unix.Stat_t, error) { return r.stat(name, true) }

// Lstat is lstat(2) in the root.
func (r *Root) Lstat(name string) (unix.Stat_t, error) { return r.stat(name, false) }

func (r *Root) stat(name string, follow bool) (unix.Stat_t, error) {
	p, err := r.Resolve(name, follow, nil)
	if err != nil {
		return unix.Stat_t{}, err
	}
	defer p.Close()
	st, err := p.Stat()
	if err != nil {
		return st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// IsNotExist reports whether err says that a path does not exist, a missing
// or non-directory parent included.
func IsNotExist(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// Cursor resolves many paths of one root, most of them in the directory of the
// one before, whose handle it keeps. A directory it has entered must not be
// replaced by another one meanwhile if that is to be seen. It is for one
// goroutine. Close it.
type Cursor struct {
	root *Root
	dir  string // as it was asked for, with a final slash; "" before the first
	at   Place  // what was found there last
}

// Cursor returns one without a position.
func (r *Root) Cursor() *Cursor { return &Cursor{root: r, at: Place{Dir: -1}} }

// Resolve is Root's without following the last component or making
// directories. The place is good until the next call; it is not to be closed.
func (c *Cursor) Resolve(name string) (*Place, error) {
	dir, base := path.Split(name)
	if plain := base != "" && base != "." && base != ".."; plain && c.at.Dir >= 0 && dir == c.dir && strings.IndexByte(base, 0) < 0 {
		c.at.Path = path.Join(c.at.Path[:len(c.at.Path)-len(c.at.Base)], base)
		c.at.Base = base
		return &c.at, nil
	}
	p, err := c.root.Resolve(name, false, nil)
	if err != nil {
		return nil, err
	}
	c.Close()
	c.dir, c.at = dir, *p
	if base != p.Base { // "", "." or "..": no directory to go on in
		c.dir = "\x00"
	}
	return &c.at, nil
}

// OpenFile opens a file as Resolve finds it: a link is an error (ELOOP).
func (c *Cursor) OpenFile(name string, flags int) (fd int, err error) {
	p, err := c.Resolve(name)
	if err != nil {
		return -1, err
	}
	return unix.Openat(p.Dir, p.Base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// Close releases the handle.
func (c *Cursor) Close() {
	if c.at.Dir >= 0 {
		unix.Close(c.at.Dir)
		c.at.Dir = -1
	}
}
