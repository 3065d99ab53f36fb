package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// capture visits what one instruction changed: the upper directory of its
// overlay, quiet now.
type capture struct {
	ctx context.Context
	// record tells what the file at a path is recorded as.
	record func(path string, st *unix.Stat_t) fakeroot.Record
	// below holds the records of the trees underneath: a path in it needs a
	// record of its own, even an empty one, to be root's again.
	below fakeroot.Table
	// lowers are the directories of the trees underneath, top first; nil if dir
	// was not on an overlay.
	lowers []string
	epoch  *time.Time // later times are set back to it
	out    fakeroot.Table
	n      int // entries seen
}

// run walks dir and returns the tree's table.
func (c *capture) run(dir string) (fakeroot.Table, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	c.out = fakeroot.Table{}
	if err := c.dir(fd, ".", nil); err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	return c.out, nil
}

// dir visits the directory open as fd, which it closes. hides are the lower
// directories that it covers whole.
func (c *capture) dir(fd int, name string, hides stack) error {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	if err := c.uncover(fd, name, names, hides); err != nil {
		return err
	}
	for _, n := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(fd, n, path.Join(name, n), hides); err != nil {
			return fmt.Errorf("%q: %w", path.Join("/", name, n), err)
		}
	}
	return nil
}

func (c *capture) entry(dir int, base, name string, hides stack) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	c.n++
	if isWhiteout(&st) {
		c.out[name] = fakeroot.Whiteout
		return nil
	}
	rec := c.record(name, &st)
	if err := c.widen(dir, base, &st, &rec); err != nil {
		return err
	}
	if !rec.IsZero() {
		c.out[name] = rec
	} else if _, ok := c.below[name]; ok {
		c.out[name] = rec
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if hides, err = c.hidden(fd, name, hides); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		if err := c.dir(fd, name, hides); err != nil {
			return err
		}
	}
	return c.clamp(dir, base, &st)
}

// widen lets the owner read what RUN or COPY made unreadable; the wanted mode
// goes into the record. Without it nobody but the build could pack the tree.
func (c *capture) widen(dir int, base string, st *unix.Stat_t, rec *fakeroot.Record) error {
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	perm := st.Mode & 0o7777
	wide := fakeroot.Widen(perm, isDir)
	if wide == perm {
		return nil
	}
	rec.Perm, rec.HasPerm = perm, true
	return unix.Fchmodat(dir, base, wide, 0)
}

func (c *capture) clamp(dir int, base string, st *unix.Stat_t) error {
	if c.epoch == nil || st.Mtim.Nano() <= c.epoch.UnixNano() {
		return nil
	}
	// Access times are in no layer; but bindfs(1) sets neither time if one is
	// to be left as it is.
	t := unix.NsecToTimespec(c.epoch.UnixNano())
	ts := []unix.Timespec{t, t}
	return unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// isWhiteout recognises overlayfs's mark of a deleted file: a character
// device 0:0 (Documentation/filesystems/overlayfs.rst).
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
