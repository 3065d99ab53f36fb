package layer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// CopyOptions says how CopyTree copies.
type CopyOptions struct {
	KeepOwners bool         // as in Options
	Logger     *slog.Logger // nil: silent
}

// CopyTree copies the directory src to dst, an existing empty directory, to be
// an image's tree. Links are copied, never followed, but for src itself; hard links among the
// files stay. The caller's files become root's, unless an attribute
// user.rootlesscontainers names another owner; other owners, and modes that had
// to be widened, are in the returned table. Sockets are left out, as are
// devices and what is below dev/. File contents are shared where the file
// system can (reflink).
func CopyTree(ctx context.Context, dst, src string, opts CopyOptions) (fakeroot.Table, error) {
	c := &copier{
		describe: func(_ string, st *unix.Stat_t) *member { return importMember(st, opts.KeepOwners) },
		skipDev:  !opts.KeepOwners,
		rootless: !opts.KeepOwners,
	}
	table, err := c.run(ctx, dst, src, opts.KeepOwners, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("copy %q: %w", src, err)
	}
	return table, nil
}

// ExportOptions says how Export copies.
type ExportOptions struct {
	// Owners makes owners, modes, devices and attributes of the table real. It
	// needs a real root.
	Owners bool
	// DropSetID leaves out set-user-id and set-group-id bits.
	DropSetID bool
	Logger    *slog.Logger // nil: silent
}

// Export copies a tree to dst, an existing empty directory, as a plain
// directory for people. Without ExportOptions.Owners everything belongs to the
// caller, with the modes that it has in the tree, devices are left out, and the
// attribute user.rootlesscontainers of files and directories names their owners.
func Export(ctx context.Context, dst, src string, owners fakeroot.Table, opts ExportOptions) error {
	c := &copier{describe: func(path string, st *unix.Stat_t) *member {
		return exportMember(path, st, owners, opts)
	}}
	if _, err := c.run(ctx, dst, src, opts.Owners, opts.Logger); err != nil {
		return fmt.Errorf("export to %q: %w", dst, err)
	}
	return nil
}

// statMember is a file as it is on disk.
func statMember(st *unix.Stat_t) *member {
	m := &member{
		mode:  st.Mode & 07777,
		uid:   st.Uid,
		gid:   st.Gid,
		size:  st.Size,
		mtime: st.Mtim,
		rdev:  uint64(st.Rdev),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		m.kind = kindFile
	case unix.S_IFDIR:
		m.kind = kindDir
	case unix.S_IFLNK:
		m.kind = kindSymlink
	case unix.S_IFIFO:
		m.kind = kindFifo
	case unix.S_IFCHR:
		m.kind = kindChar
	case unix.S_IFBLK:
		m.kind = kindBlock
	}
	return m // a socket has no kind
}

func importMember(st *unix.Stat_t, real bool) *member {
	m := statMember(st)
	if real {
		return m
	}
	if int(m.uid) == os.Geteuid() {
		m.uid = 0
	}
	if int(m.gid) == os.Getegid() {
		m.gid = 0
	}
	return m
}

func exportMember(path string, st *unix.Stat_t, owners fakeroot.Table, opts ExportOptions) *member {
	m := statMember(st)
	rec := owners[path]
	if rec.Type != 0 && m.kind == kindFile {
		m.kind, m.rdev = kindBlock, rec.Rdev
		if rec.Type == unix.S_IFCHR {
			m.kind = kindChar
		}
	}
	if opts.Owners {
		m.uid, m.gid = rec.UID, rec.GID
		m.mode = truePerm(m, rec)
		for name, value := range rec.Xattrs {
			if m.xattrs == nil {
				m.xattrs = map[string]string{}
			}
			m.xattrs[name] = string(value)
		}
	} else {
		m.uid, m.gid = 0, 0
		m.writeRootless(rec)
	}
	if opts.DropSetID {
		m.mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return m
}

// truePerm is the mode that a file is meant to have: the recorded one, unless
// the mode on disk has been changed since.
func truePerm(m *member, rec fakeroot.Record) uint32 {
	if rec.HasPerm && m.mode == fakeroot.Widen(rec.Perm, m.kind == kindDir) {
		return rec.Perm
	}
	return m.mode
}

// copier copies one directory tree to another.
type copier struct {
	describe func(path string, st *unix.Stat_t) *member // what a file becomes
	skipDev  bool
	rootless bool // owners are in attributes
	t        *tree
	first    map[inode]string // files with several names: the one copied first
}

type inode struct{ dev, ino uint64 }

func (c *copier) run(ctx context.Context, dst, src string, real bool, log *slog.Logger) (fakeroot.Table, error) {
	fd, err := unix.Open(src, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	from := newHandle(fd, ".")
	defer from.drop()
	if c.t, err = newTree(dst, real, log); err != nil {
		return nil, err
	}
	defer c.t.close()
	c.first = map[inode]string{}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	m := c.describe(".", &st)
	m.name = "."
	if c.rootless {
		m.readRootless(fd, ".")
	}
	if err := c.attributes(m, from); err != nil {
		return nil, err
	}
	if err := c.t.describeDir(c.t.root.fd, ".", m); err != nil {
		return nil, err
	}
	if err := c.dir(ctx, from, c.t.root); err != nil {
		return nil, err
	}
	if err := c.t.finish(ctx); err != nil {
		return nil, err
	}
	return c.t.table, nil
}

// attributes adds a directory's extended attributes on disk to those of m.
func (c *copier) attributes(m *member, from *handle) error {
	attrs, err := diskXattrs(from.fd, c.t.real)
	if err != nil {
		return failed("list attributes", m.name, err)
	}
	for name, value := range attrs {
		if m.xattrs == nil {
			m.xattrs = map[string]string{}
		}
		m.xattrs[name] = value
	}
	return nil
}

func (c *copier) dir(ctx context.Context, from, to *handle) error {
	names, err := namesIn(from.fd, ".")
	if err != nil {
		return failed("list directory", from.path, err)
	}
	slices.Sort(names)
	for _, base := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(ctx, from, to, base); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) entry(ctx context.Context, from, to *handle, base string) error {
	path := join(to.path, base)
	st, err := statAt(from.fd, base)
	if err != nil {
		return failed("stat", path, err)
	}
	m := c.describe(path, &st)
	m.name = path
	if c.rootless {
		m.readRootless(from.fd, base)
	}
	switch {
	case m.kind == 0:
		c.t.log.Debug("socket left out", "path", path)
		return nil
	case m.device() && !c.t.real, c.skipDev && to.path == "dev":
		c.t.log.Debug("device left out", "path", path)
		return nil
	case m.kind == kindDir:
		return c.subdir(ctx, from, to, base, m)
	case st.Nlink > 1:
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := c.first[id]; ok {
			return c.hardlink(first, to, base, path)
		}
		c.first[id] = path
	}
	return c.file(from, to, base, path, m)
}

func (c *copier) subdir(ctx context.Context, from, to *handle, base string, m *member) error {
	fd, err := openDir(from.fd, base)
	if err != nil {
		return failed("open directory", m.name, err)
	}
	sub := newHandle(fd, m.name)
	defer sub.drop()
	if err := c.attributes(m, sub); err != nil {
		return err
	}
	if err := c.t.addDir(to, base, m.name, m); err != nil {
		return err
	}
	into, err := c.t.strict(m.name)
	if err != nil {
		return failed("open directory", m.name, err)
	}
	defer into.drop()
	return c.dir(ctx, sub, into)
}

func (c *copier) hardlink(first string, to *handle, base, path string) error {
	m := &member{name: path, kind: kindHard, link: first}
	return c.t.addHard(to, base, path, m, rules{}, &Fixes{})
}

// file hands a file to the writers, who read its content themselves.
func (c *copier) file(from, to *handle, base, path string, m *member) error {
	if err := c.t.writers.failure(); err != nil {
		return err
	}
	if m.kind == kindSymlink {
		var err error
		if m.link, err = readlinkAt(from.fd, base); err != nil {
			return failed("read link", path, err)
		}
	}
	mode := m.mode
	if !c.t.real {
		mode = fakeroot.Widen(mode, false)
	}
	j := job{dir: to.hold(), base: base, m: m, mode: mode}
	if m.kind == kindFile {
		j.src, j.from = from.hold(), base
	}
	c.t.record(path, m, nil)
	c.t.writers.submit(j)
	return nil
}

// copyFile makes a file with the content of another one.
func (t *tree) copyFile(j job) (err error) {
	src, err := openAt(j.src.fd, j.from, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := openAt(j.dir.fd, j.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, j.mode&0o777)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := unix.Close(dst); err == nil {
			err = cerr
		}
	}()
	if err := copyContent(dst, src, j.m.size); err != nil {
		return err
	}
	if err := sealFile(dst, j.m, j.mode, t.real, t.umask); err != nil {
		return err
	}
	attrs, err := diskXattrs(src, t.real)
	if err != nil {
		return err
	}
	for name, value := range j.m.xattrs {
		attrs[name] = value
	}
	if len(attrs) == 0 {
		return nil
	}
	if left := t.setXattrs(dst, "", &member{name: j.m.name, xattrs: attrs}); left != nil {
		t.lateMu.Lock()
		defer t.lateMu.Unlock()
		t.late[j.m.name] = left
	}
	return nil
}
