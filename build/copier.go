package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/internal/inroot"
)

// copier writes matches below a destination in the stage's root, by the rules
// of BuildKit's COPY:
//
//   - a directory's contents are copied, not the directory; a destination
//     that does not exist is then created with mode 0755;
//   - a file goes into an existing directory, or one named with a final slash;
//   - below the destination a directory's mode and times are those of the
//     source, also where it exists already;
//   - a file replaces a file or link; a directory never replaces a file, and
//     a file never a directory, an empty one neither;
//   - parents that are made get the mode of an octal --chmod, too.
type copier struct {
	src   *source
	dst   *inroot.Root
	owner *fakeroot.Record // --chown; nil keeps the source's
	chmod func(mode uint32, dir bool) uint32
	// parentMode is that of directories made on the way; 0 means 0755.
	parentMode uint32
	// when is the time of all that comes from a build context, whose own times
	// are those of its checkout; nil keeps them.
	when *time.Time
	// real sets owners on disk, for real root.
	real bool
	// placed collects the record of every path created or replaced.
	placed fakeroot.Table
	buf    []byte               // of copyBytes
	links  map[[2]uint64]string // source inode to first destination
	times  []dirTime
}

type dirTime struct {
	path string
	st   unix.Stat_t
}

// copyTo copies m to dest, an absolute path in the root. isDir says that dest
// is meant as a directory whatever is there now.
func (c *copier) copyTo(ctx context.Context, m *match, dest string, isDir bool) error {
	target, err := c.target(m, dest, isDir)
	if err != nil {
		return err
	}
	return c.items(ctx, m.items, target)
}

// items copies objects to their places below target.
func (c *copier) items(ctx context.Context, items []item, target string) error {
	at := c.cursors()
	defer at.close()
	for i := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		it := &items[i]
		if err := c.put(it, target, at); err != nil {
			return fmt.Errorf("copy %q to %q: %w", it.src, "/"+path.Join(target, it.rel), plain(err))
		}
	}
	return nil
}

// plain drops the operation and path that os.PathError adds: the caller names
// both better.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// target is the resolved path that stands for the match itself. Its parent
// directories exist afterwards.
func (c *copier) target(m *match, dest string, isDir bool) (string, error) {
	if m.isDir() || isDir {
		dir, err := c.ensureDir(dest)
		if err != nil {
			return "", err
		}
		if m.isDir() {
			return dir, nil
		}
		return path.Join(dir, path.Base(m.name)), nil
	}
	p, err := c.dst.Resolve(dest, true, c.mkdir)
	if err != nil {
		return "", fmt.Errorf("destination %q: %w", dest, plain(err))
	}
	defer p.Close()
	if st, err := p.Stat(); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return path.Join(p.Path, path.Base(m.name)), nil
	}
	return p.Path, nil
}

// ensureDir creates dest and its parents where they are missing and returns
// its resolved path. What dest names must then be a directory.
func (c *copier) ensureDir(dest string) (string, error) {
	p, err := c.dst.Resolve(path.Join(dest, "x"), false, c.mkdir)
	if errors.Is(err, unix.ENOTDIR) {
		return "", fmt.Errorf("destination %q: cannot copy to non-directory", dest)
	}
	if err != nil {
		return "", fmt.Errorf("destination %q: %w", dest, plain(err))
	}
	defer p.Close()
	return path.Dir(p.Path), nil
}

// mkdir makes a missing parent directory, owned as --chown says.
func (c *copier) mkdir(p *inroot.Place) error {
	mode := c.parentMode
	if mode == 0 {
		mode = 0o755
	}
	switch err := unix.Mkdirat(p.Dir, p.Base, mode); {
	case err == unix.EEXIST:
	case err != nil:
		return err
	default: // the umask does not count
		if err := unix.Fchmodat(p.Dir, p.Base, mode, 0); err != nil {
			return err
		}
	}
	var rec fakeroot.Record
	if c.owner != nil {
		rec = *c.owner
	}
	return c.own(p, rec)
}

// own records the owner of a place just written, and sets it as real root.
func (c *copier) own(p *inroot.Place, rec fakeroot.Record) error {
	c.placed[p.Path] = rec
	if !c.real {
		return nil
	}
	return unix.Fchownat(p.Dir, p.Base, int(rec.UID), int(rec.GID), unix.AT_SYMLINK_NOFOLLOW)
}

// cursors are where the objects are read and written.
type cursors struct{ from, to *inroot.Cursor }

func (c *copier) cursors() cursors { return cursors{c.src.root.Cursor(), c.dst.Cursor()} }

func (at cursors) close() {
	at.from.Close()
	at.to.Close()
}

// item copies one object to target/rel.
func (c *copier) item(it *item, target string) error {
	at := c.cursors()
	defer at.close()
	return c.put(it, target, at)
}

func (c *copier) put(it *item, target string, at cursors) error {
	if it.rel == "" && it.is(unix.S_IFDIR) {
		return nil
	}
	p, err := at.to.Resolve(path.Join(target, it.rel))
	if err != nil {
		return err
	}
	switch it.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.dir(it, p)
	case unix.S_IFREG:
		return c.file(it, p, at.from)
	case unix.S_IFLNK:
		err = c.replace(p, func() error { return unix.Symlinkat(it.link, p.Dir, p.Base) })
	case unix.S_IFIFO:
		err = c.replace(p, func() error { return unix.Mknodat(p.Dir, p.Base, unix.S_IFIFO|0o600, 0) })
	default:
		return fmt.Errorf("cannot copy a device")
	}
	if err != nil {
		return err
	}
	return c.finish(it, p)
}

// finish gives a place its owner, mode and times.
func (c *copier) finish(it *item, p *inroot.Place) error {
	if err := c.own(p, c.record(it)); err != nil {
		return err
	}
	if c.when != nil && c.src.owners == nil {
		it.st.Mtim = unix.NsecToTimespec(c.when.UnixNano())
	}
	if !it.is(unix.S_IFLNK) {
		if err := unix.Fchmodat(p.Dir, p.Base, c.mode(it), 0); err != nil {
			return err
		}
	}
	if it.is(unix.S_IFDIR) {
		c.times = append(c.times, dirTime{p.Path, it.st})
		return nil
	}
	return setTimes(p, &it.st)
}

func setTimes(p *inroot.Place, st *unix.Stat_t) error {
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	return unix.UtimesNanoAt(p.Dir, p.Base, ts, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) mode(it *item) uint32 {
	mode := it.st.Mode & 0o7777
	if c.src != nil {
		if rec := c.src.owners[it.src]; rec.HasPerm {
			mode = rec.Perm
		}
	}
	if c.chmod != nil {
		mode = c.chmod(mode, it.is(unix.S_IFDIR))
	}
	return mode
}

// record is what disk cannot say of the copy.
func (c *copier) record(it *item) fakeroot.Record {
	rec := c.src.owners[it.src]
	rec.HasPerm, rec.Perm = false, 0
	if c.real && c.src.owners != nil {
		rec.UID, rec.GID = it.st.Uid, it.st.Gid
	}
	if c.owner != nil {
		rec.UID, rec.GID = c.owner.UID, c.owner.GID
	}
	return rec
}

func (c *copier) dir(it *item, p *inroot.Place) error {
	err := unix.Mkdirat(p.Dir, p.Base, 0o700)
	if err == unix.EEXIST {
		st, serr := p.Stat()
		if serr != nil {
			return serr
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return fmt.Errorf("cannot copy to non-directory")
		}
		if it.parent {
			return unix.Fchmodat(p.Dir, p.Base, c.mode(it), 0)
		}
	} else if err != nil {
		return err
	}
	return c.finish(it, p)
}

// replace runs create, which must fail with EEXIST if the name is taken; what
// holds the name is then removed first, unless it is a directory.
func (c *copier) replace(p *inroot.Place, create func() error) error {
	err := create()
	if err != unix.EEXIST {
		return err
	}
	switch err := unix.Unlinkat(p.Dir, p.Base, 0); err {
	case nil, unix.ENOENT:
	case unix.EISDIR:
		return errors.New("cannot replace a directory by a file")
	default:
		return err
	}
	return create()
}

// create makes a new file, in the place of what had the name.
func (c *copier) create(p *inroot.Place) (fd int, err error) {
	err = c.replace(p, func() (err error) {
		fd, err = unix.Openat(p.Dir, p.Base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, err
}

func (c *copier) file(it *item, p *inroot.Place, from *inroot.Cursor) error {
	key := [2]uint64{uint64(it.st.Dev), it.st.Ino}
	if it.st.Nlink > 1 {
		if first, ok := c.links[key]; ok {
			return c.link(first, p)
		}
	}
	in, err := from.OpenFile(it.src, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	out, err := c.create(p)
	if err != nil {
		return errors.Join(err, unix.Close(in))
	}
	err = c.copyData(out, in, it.st.Size)
	if err == nil && c.src.owners != nil {
		err = copyXattrs(out, in)
	}
	err = errors.Join(err, unix.Close(out), unix.Close(in))
	if err != nil {
		return err
	}
	if it.st.Nlink > 1 {
		c.links[key] = p.Path
	}
	return c.finish(it, p)
}

func (c *copier) link(first string, p *inroot.Place) error {
	q, err := c.dst.Resolve(first, false, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	c.placed[p.Path] = c.placed[first]
	return c.replace(p, func() error { return unix.Linkat(q.Dir, q.Base, p.Dir, p.Base, 0) })
}

// smallCopy is the size, in bytes, from which the kernel copies a file or
// shares its blocks: asking it costs more than a read and a write of less.
const smallCopy = 64 << 10

func (c *copier) copyData(out, in int, size int64) error {
	if size < smallCopy {
		return c.copyBytes(out, in)
	}
	if unix.IoctlFileClone(out, in) == nil {
		return nil
	}
	for {
		n, err := unix.CopyFileRange(in, nil, out, nil, 1<<30, 0)
		switch {
		case err == unix.EINTR:
		case err != nil: // not between these file systems; what is left goes by hand
			return c.copyBytes(out, in)
		case n == 0:
			return nil
		}
	}
}

// copyBytes copies what is left of a file.
func (c *copier) copyBytes(out, in int) error {
	if c.buf == nil {
		c.buf = make([]byte, smallCopy)
	}
	for {
		n, err := unix.Read(in, c.buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return err
		}
		for b := c.buf[:n]; len(b) > 0; {
			m, err := unix.Write(out, b)
			if err != nil && err != unix.EINTR {
				return err
			}
			b = b[max(m, 0):]
		}
	}
}

// copyXattrs copies user.* attributes and file capabilities; overlay's own
// marks stay behind.
func copyXattrs(dst, src int) error {
	buf := make([]byte, 4096)
	n, err := unix.Flistxattr(src, buf)
	if err != nil || n == 0 {
		return nil // none, or a file system without
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if !copiedXattr(name) {
			continue
		}
		val := make([]byte, 64<<10)
		m, err := unix.Fgetxattr(src, name, val)
		if err != nil {
			continue
		}
		if err := unix.Fsetxattr(dst, name, val[:m], 0); err != nil && err != unix.ENOTSUP && err != unix.EPERM {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}

// copiedXattr tells which attributes on disk a copy takes along.
func copiedXattr(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") || name == "security.capability"
}

// finishTimes sets the times of the directories copied, deepest last written
// first, when nothing is created in them any more.
func (c *copier) finishTimes() error {
	for i := len(c.times) - 1; i >= 0; i-- {
		p, err := c.dst.Resolve(c.times[i].path, false, nil)
		if err != nil {
			return err
		}
		err = setTimes(p, &c.times[i].st)
		p.Close()
		if err != nil {
			return fmt.Errorf("set times of %q: %w", c.times[i].path, err)
		}
	}
	return nil
}

// inline writes a here-document as a file of mode 0644.
func (c *copier) inline(f inlineFile, dest string, isDir bool) error {
	m := match{name: f.Name, items: []item{{st: unix.Stat_t{Mode: unix.S_IFREG | 0o644}}}}
	target, err := c.target(&m, dest, isDir)
	if err != nil {
		return err
	}
	p, err := c.dst.Resolve(target, false, nil)
	if err != nil {
		return fmt.Errorf("destination %q: %w", dest, plain(err))
	}
	defer p.Close()
	fd, err := c.create(p)
	if err != nil {
		return fmt.Errorf("write %q: %w", "/"+target, err)
	}
	out := os.NewFile(uintptr(fd), target)
	_, err = out.WriteString(f.Content)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", "/"+target, plain(err))
	}
	var rec fakeroot.Record
	if c.owner != nil {
		rec = *c.owner
	}
	if err := c.own(p, rec); err != nil {
		return err
	}
	return unix.Fchmodat(p.Dir, p.Base, c.mode(&m.items[0]), 0)
}
