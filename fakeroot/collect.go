package fakeroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// birthSlack is how much earlier than the clock a file system's time stamps
// may be: they come from the last timer tick, 10 ms at most.
const birthSlack = int64(10 * time.Millisecond)

// Collect returns the table of the tree that a RUN made: upper is the overlay's
// upper directory (for a plain directory, the root itself), root the
// container's root as in Load, still mounted, and lower the table given to Load.
// It may be called from any thread once the container's processes are dead.
//
// A path that lower has a record for and that has none any more gets an empty
// record or one that is Gone, for [Merge].
func (r *Records) Collect(upper, root *os.File, lower Table) (Table, error) {
	c := collector{records: r, root: root, lower: lower, out: Table{}}
	here, err := c.open(int(upper.Fd()), int(root.Fd()), ".", ".")
	if err != nil {
		return nil, err
	}
	top, err := lstatBeneath(root, ".")
	if err != nil {
		return nil, fmt.Errorf("collect owners: %w", err)
	}
	rec := c.note(".", top, directory{}, nil)
	if err := c.walk(here, c.directory(top, rec)); err != nil {
		return nil, err
	}
	return c.out, c.gone()
}

type collector struct {
	records *Records
	root    *os.File
	lower   Table
	out     Table
}

// directory is what a file inherits from the directory it is in.
type directory struct {
	gid   uint32 // the group that files born after since get
	since int64
	gives bool
}

// directory looks at a directory, whose record is rec, for its children.
func (c *collector) directory(f file, rec Record) directory {
	if rec.wanted(f.mode)&unix.S_ISGID == 0 {
		return directory{}
	}
	c.records.mu.Lock()
	defer c.records.mu.Unlock()
	d := directory{gid: rec.GID, since: f.birth, gives: true}
	if e := c.records.find(f); e != nil {
		d.since = e.since
	}
	return d
}

// place is a directory, open in the upper tree and in the merged one.
type place struct {
	name   string
	upper  *os.File
	merged int // O_PATH
}

// open opens a directory in both trees; it closes what walk does not get.
func (c *collector) open(upper, merged int, base, name string) (*place, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	ufd, err := unix.Openat(upper, base, unix.O_RDONLY|flags, 0)
	if err == unix.EACCES { // a directory whose own mode shuts its owner out
		ufd, err = openLocked(upper, base)
	}
	if err != nil {
		return nil, fmt.Errorf("collect owners: open directory %q: %w", name, err)
	}
	mfd, err := unix.Openat(merged, base, unix.O_PATH|flags, 0)
	if err != nil {
		unix.Close(ufd)
		return nil, fmt.Errorf("collect owners: open directory %q in the container: %w", name, err)
	}
	return &place{name, os.NewFile(uintptr(ufd), name), mfd}, nil
}

func (p *place) close() {
	p.upper.Close()
	unix.Close(p.merged)
}

// walk notes everything in a directory of upper and below, and closes it.
func (c *collector) walk(p *place, d directory) error {
	defer p.close()
	entries, err := p.upper.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("collect owners: read directory %q: %w", p.name, err)
	}
	for _, e := range entries {
		if e.Type()&fs.ModeCharDevice != 0 { // a whiteout: see gone
			continue
		}
		child := path.Join(p.name, e.Name())
		var st unix.Statx_t
		err := unix.Statx(p.merged, e.Name(), unix.AT_SYMLINK_NOFOLLOW, statxWanted, &st)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTCONN) {
			continue // under a mount that RUN left behind, perhaps a dead one
		}
		if err != nil {
			return fmt.Errorf("collect owner of %q: %w", child, err)
		}
		f := fileOf(&st)
		rec := c.note(child, f, d, p.upper)
		if !e.IsDir() || !f.isDir() {
			continue
		}
		sub, err := c.open(int(p.upper.Fd()), p.merged, e.Name(), child)
		if err != nil {
			return err
		}
		if err := c.walk(sub, c.directory(f, rec)); err != nil {
			return err
		}
	}
	return nil
}

// openLocked opens a directory without u+rx by lending it these for a moment.
func openLocked(parent int, base string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if err := unix.Fchmodat(parent, base, st.Mode&0o7777|0o500, 0); err != nil {
		return -1, err
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if back := unix.Fchmodat(parent, base, st.Mode&0o7777, 0); err == nil && back != nil {
		unix.Close(fd)
		return -1, back
	}
	return fd, err
}

// note puts the record of one file into the table, and returns it; upper is
// the directory that it is in.
func (c *collector) note(name string, f file, parent directory, upper *os.File) (rec Record) {
	c.records.mu.Lock()
	e := c.records.find(f)
	c.records.mu.Unlock()
	switch {
	case e != nil:
		rec = e.Record
		rec.Perm, rec.HasPerm = permInForce(rec, f.mode)
		rec.Xattrs = aclsInForce(rec.Xattrs, f.mode)
	case upper == nil: // the root directory was there before
	case c.copiedUp(upper, name, f):
		rec = c.lower[name]
	case c.made(upper, name, f):
		rec = c.records.maker
		if parent.gives && f.birth >= parent.since-birthSlack && mayInherit(f) {
			rec.GID = parent.gid
		}
	}
	if _, below := c.lower[name]; below || !rec.IsZero() {
		c.out[name] = rec
	}
	return rec
}

// made reports whether a file without a record is new.
func (c *collector) made(upper *os.File, name string, f file) bool {
	if c.records.inPlace {
		return f.birth != 0 && f.birth >= c.records.started-birthSlack
	}
	return newIn(upper, name, f) && (f.mode&unix.S_IFMT != unix.S_IFREG || !hasOrigin(upper, name))
}

// newIn reports whether a file was made in the upper directory rather than
// copied up to it: a copy shows the number of its lower original.
func newIn(upper *os.File, name string, f file) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(upper.Fd()), path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Ino == f.ino
}

// copiedUp reports whether a file without a record is a copy of the lower file
// of that name, which has one. An overlay without an index gives a new number to
// the copy of a file with several links, so its record is not found.
func (c *collector) copiedUp(upper *os.File, name string, f file) bool {
	rec, ok := c.lower[name]
	return ok && !rec.Gone && f.mode&unix.S_IFMT == unix.S_IFREG && hasOrigin(upper, name)
}

// hasOrigin reports whether the overlay has marked a regular file as a copy.
func hasOrigin(upper *os.File, name string) bool {
	fd, err := unix.Openat(int(upper.Fd()), path.Base(name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Fgetxattr(fd, "user.overlay.origin", nil)
	return err == nil && n > 0
}

// permInForce drops a wanted mode that a later chmod has overruled.
func permInForce(rec Record, mode uint32) (uint32, bool) {
	if !rec.HasPerm || mode&0o7777 != Widen(rec.Perm, mode&unix.S_IFMT == unix.S_IFDIR) {
		return 0, false
	}
	return rec.Perm, true
}

// gone marks the paths that have records below and no longer exist.
func (c *collector) gone() error {
	for name, rec := range c.lower {
		if _, ok := c.out[name]; ok || rec.Gone {
			continue
		}
		switch _, err := lstatBeneath(c.root, name); err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR:
			c.out[name] = Record{Gone: true}
		default:
			return fmt.Errorf("collect owner of %q: %w", name, err)
		}
	}
	return nil
}
