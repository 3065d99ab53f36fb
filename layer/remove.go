package layer

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// whiteout hides what lower layers have at a name, or in the directory up
// (OCI image specification, layer.md, "Whiteouts"). What this layer has stays,
// whether it came before or comes later.
func (t *tree) whiteout(up, base string, ru rules) error {
	name := strings.TrimPrefix(base, whiteoutPrefix)
	opaque := base == opaqueMark
	switch {
	case opaque:
	case strings.HasPrefix(base, metaPrefix):
		return nil
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("whiteout %q names nothing", join(up, base))
	}
	if t.change && opaque {
		return errOpaque
	}
	if t.change {
		return t.markGone(up, name)
	}
	if !ru.hiding {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	dir, err := t.find(up)
	if dir == nil || err != nil {
		return err
	}
	defer dir.drop()
	if opaque {
		_, err = t.pruneIn(dir.fd, dir.path, true)
	} else {
		_, err = t.prune(dir.fd, name, join(dir.path, name), true)
	}
	return err
}

// find opens a directory, following links inside the root, or returns nil if there is none.
func (t *tree) find(name string) (*handle, error) {
	if h := t.open[name]; h != nil {
		return h.hold(), nil
	}
	p, err := t.in.Resolve(name, true, nil)
	if inroot.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fd, err := openDir(p.Dir, p.Base)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, nil
	}
	if err != nil {
		return nil, failed("open directory", p.Path, err)
	}
	return newHandle(fd, p.Path), nil
}

// remove removes what is at path, and all that is known about it.
func (t *tree) remove(dirfd int, base, path string) error {
	if err := t.flush(); err != nil {
		return err
	}
	_, err := t.prune(dirfd, base, path, false)
	return err
}

// prune removes what is at path, never following a link; with keep, all but
// what this layer has, and the directories above that. It reports whether
// something is left.
func (t *tree) prune(dirfd int, base, path string, keep bool) (left bool, err error) {
	st, err := statAt(dirfd, base)
	if err == unix.ENOENT {
		t.gone(path)
		return false, nil
	}
	if err != nil {
		return false, failed("stat", path, err)
	}
	_, mine := t.touched[t.key(path)]
	mine = mine && keep
	how := 0
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if left, err = t.pruneDir(dirfd, base, path, keep); err != nil {
			return false, err
		}
		if left && !mine {
			// The lower layer's directory is hidden; this layer's is one that it
			// does not describe.
			return true, t.setImplicit(dirfd, base, path)
		}
		how = unix.AT_REMOVEDIR
		t.forget()
	case unix.S_IFLNK:
		t.forget()
	}
	if mine {
		return true, nil
	}
	if err := unix.Unlinkat(dirfd, base, how); err != nil {
		return false, failed("remove", path, err)
	}
	t.gone(path)
	return false, nil
}

func (t *tree) pruneDir(dirfd int, base, path string, keep bool) (left bool, err error) {
	fd, err := openDir(dirfd, base)
	if err != nil {
		return false, failed("open directory", path, err)
	}
	defer unix.Close(fd)
	return t.pruneIn(fd, path, keep)
}

// pruneIn prunes all entries of the open directory at path.
func (t *tree) pruneIn(fd int, path string, keep bool) (left bool, err error) {
	names, err := namesIn(fd, ".")
	if err != nil {
		return false, failed("list directory", path, err)
	}
	for _, n := range names {
		l, err := t.prune(fd, n, join(path, n), keep)
		if err != nil {
			return false, err
		}
		left = left || l
	}
	return left, nil
}
