package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
)

// rules is how members become files.
type rules struct {
	into      string // directory that names are relative to; "." for the root
	whiteouts bool   // names beginning with .wh. hide lower layers
	hiding    bool   // there is a lower layer to hide
	keepDev   bool   // what is below dev/ is created
	devices   bool   // what is below dev/ is created, devices recorded
}

// apply unpacks one archive over what is there.
func (t *tree) apply(ctx context.Context, r io.Reader, ru rules, fixes *Fixes) error {
	t.layer++
	t.touched = map[pathKey]struct{}{}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return t.flush()
		}
		if err != nil {
			return archiveError(err, n)
		}
		m, err := newMember(h, fixes)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if err := t.add(ctx, m, tr, ru, fixes); err != nil {
			return err
		}
	}
}

// archiveError describes what stopped the reader after n members.
func archiveError(err error, n int) error {
	switch {
	case errors.Is(err, tar.ErrHeader) && n == 0:
		return errors.New("neither a tar archive nor compressed in a known way")
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("archive is damaged after %d members: %w", n, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("archive ends early, after %d members", n)
	}
	return err
}

// contentError describes what stopped the reader inside a member.
func contentError(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("archive ends early")
	}
	return err
}

// add unpacks one member, whose content is read from r.
func (t *tree) add(ctx context.Context, m *member, r io.Reader, ru rules, fixes *Fixes) error {
	if !t.real && !ru.keepDev && !ru.devices && strings.HasPrefix(m.name, "dev/") {
		fixes.Devices++
		return nil
	}
	if ru.into != "." {
		m.name = strings.TrimSuffix(join(ru.into, m.name), "/.")
		if m.kind == kindHard {
			m.link = join(ru.into, m.link)
		}
	}
	if m.name == "." {
		t.touch(".")
		return t.describeDir(t.root.fd, ".", m)
	}
	up, base := splitName(m.name)
	if ru.whiteouts && strings.HasPrefix(base, whiteoutPrefix) {
		return t.whiteout(up, base, ru)
	}
	parent, err := t.dir(up)
	if err != nil {
		return err
	}
	defer parent.drop()
	path := join(parent.path, base)
	if err := t.settle(path); err != nil {
		return err
	}
	m.again = t.touch(path)
	switch m.kind {
	case kindDir:
		return t.addDir(parent, base, path, m)
	case kindHard:
		return t.addHard(parent, base, path, m, ru, fixes)
	}
	if err := t.clear(parent, base, path, m.again); err != nil {
		return err
	}
	if m.device() && !t.real && !m.standIn() {
		fixes.Devices++
		t.ghosts[path] = true
		return nil
	}
	return t.addNode(ctx, parent, base, path, m, r)
}

// clear removes what is at path, if anything. again says that this layer has
// had the path before.
func (t *tree) clear(parent *handle, base, path string, again bool) error {
	if t.vacant(parent, path, again) {
		return nil
	}
	_, err := statAt(parent.fd, base)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return failed("stat", path, err)
	}
	if err := t.sameName(parent.fd, base, path); err != nil {
		return err
	}
	return t.remove(parent.fd, base, path)
}

// addDir makes a directory, or describes anew the one that is there.
func (t *tree) addDir(parent *handle, base, path string, m *member) error {
	err := unix.Mkdirat(parent.fd, base, 0o700)
	born := t.layer
	if err == unix.EEXIST {
		born = 0
		st, serr := statAt(parent.fd, base)
		if serr != nil {
			return failed("stat", path, serr)
		}
		if err = t.sameName(parent.fd, base, path); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := t.remove(parent.fd, base, path); err != nil {
				return err
			}
			err = unix.Mkdirat(parent.fd, base, 0o700)
		}
	}
	if err != nil {
		return failed("create directory", path, err)
	}
	fd, err := openDir(parent.fd, base)
	if err != nil {
		return failed("open directory", path, err)
	}
	h := newHandle(fd, path)
	h.born = born
	defer h.drop()
	t.remember(m.name, h)
	return t.describeDir(fd, path, m)
}

// addNode makes anything but a directory or hard link, in the background if
// that is possible.
func (t *tree) addNode(ctx context.Context, parent *handle, base, path string, m *member, r io.Reader) error {
	mode := m.mode
	if !t.real {
		mode = fakeroot.Widen(mode, false)
	}
	j := job{dir: parent, base: base, m: m, mode: mode}
	if m.kind == kindFile && (m.size > smallFile || m.sparse || m.xattrs != nil) {
		left, err := t.writeFile(ctx, j, path, r)
		if err != nil {
			return failed("write", path, err)
		}
		t.record(path, m, left)
		return nil
	}
	if m.kind == kindFile && m.size > 0 {
		j.buf = t.writers.bufs.get(m.size)
		j.data = (*j.buf)[:m.size]
		if _, err := io.ReadFull(r, j.data); err != nil {
			return failed("read", path, contentError(err))
		}
	}
	var left map[string][]byte
	if m.xattrs != nil {
		if err := createNode(parent.fd, base, m, mode, nil, t.real, t.umask); err != nil {
			return failed("create", path, err)
		}
		left = t.setXattrs(parent.fd, base, m)
	} else {
		if err := t.writers.failure(); err != nil {
			return err
		}
		t.pending[path] = struct{}{}
		parent.hold()
		t.writers.submit(j)
	}
	t.record(path, m, left)
	return nil
}

// writeFile writes a file that is large or has attributes, as it is read.
func (t *tree) writeFile(ctx context.Context, j job, path string, r io.Reader) (left map[string][]byte, err error) {
	fd, err := openAt(j.dir.fd, j.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, j.mode&0o777)
	if err == unix.EEXIST {
		err = errOneName
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
	}()
	buf := t.writers.bufs.get(smallFile)
	defer t.writers.bufs.put(buf)
	r = &interruptible{ctx, r}
	if j.m.sparse {
		err = copySparse(fd, r, j.m.size, *buf)
	} else {
		err = copyAll(fd, r, j.m.size, *buf)
	}
	if err != nil {
		return nil, err
	}
	if err = sealFile(fd, j.m, j.mode, t.real, t.umask); err != nil {
		return nil, err
	}
	// After chown(2), which removes security.capability.
	return t.setXattrs(fd, "", j.m), nil
}

func copyAll(fd int, r io.Reader, size int64, buf []byte) error {
	for size > 0 {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size)])
		if err != nil {
			return contentError(err)
		}
		if err := writeAll(fd, buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// addHard makes another name for a file that is there.
func (t *tree) addHard(parent *handle, base, path string, m *member, ru rules, fixes *Fixes) error {
	if err := t.flush(); err != nil {
		return err
	}
	if !t.real && (t.ghosts[m.link] || !ru.devices && strings.HasPrefix(m.link, "dev/")) {
		return t.addGhost(parent, base, path, m, fixes)
	}
	target, err := t.in.Resolve(m.link, false, nil)
	if err != nil {
		return linkError(m, err)
	}
	defer target.Close()
	if t.ghosts[target.Path] {
		return t.addGhost(parent, base, path, m, fixes)
	}
	st, err := target.Stat()
	if err != nil {
		return linkError(m, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("hard link %q: target %q is a directory", m.name, m.link)
	}
	if old, err := statAt(parent.fd, base); err == nil && old.Ino == st.Ino && old.Dev == st.Dev {
		return nil
	}
	if err := t.clear(parent, base, path, m.again); err != nil {
		return err
	}
	// Clearing the place may have removed the target itself, below it.
	if err := link(target, parent.fd, base, &st); err != nil {
		return linkError(m, err)
	}
	t.gone(path)
	if rec, ok := t.table[target.Path]; ok {
		t.table[path] = rec
	}
	return nil
}

func (t *tree) addGhost(parent *handle, base, path string, m *member, fixes *Fixes) error {
	fixes.Devices++
	if err := t.clear(parent, base, path, m.again); err != nil {
		return err
	}
	t.ghosts[path] = true
	return nil
}

func linkError(m *member, err error) error {
	if inroot.IsNotExist(err) {
		return fmt.Errorf("hard link %q: target %q does not exist", m.name, m.link)
	}
	return failed("create hard link", m.name, err)
}

// link makes a hard link, or a copy where the file system refuses: it has no
// links, or too many of this file.
func link(target *inroot.Place, dirfd int, base string, st *unix.Stat_t) error {
	err := unix.Linkat(target.Dir, target.Base, dirfd, base, 0)
	switch err {
	case unix.EPERM, unix.EMLINK, unix.ENOTSUP, unix.EXDEV:
	default:
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	return copyFileAt(target.Dir, target.Base, dirfd, base, st)
}
